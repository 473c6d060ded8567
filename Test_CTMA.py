"""Score CTMA on pairs of images and write its change maps.

    python Test_CTMA.py --dataset levir --data-root data/LEVIR --checkpoint runs/x/best.pth
    python Test_CTMA.py eval --exp_config configs/levir.yaml --resume runs/x/best.pth --subset test

Takes weights of ours and the authors'. Writes runs/test_ctma/<time>/: metrics.json, per pair
maps/<name>.png (0/255) and, where georeferenced, maps/<name>.tif, and overviews/<name>.png.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_processing.pairs.spec import pair_spec_by_name
from mapping.scoring_settings import PairScoring
from utils.authors_commands import authors_form
from utils.errors import run_program
from utils.settings import override, setting

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings(PairScoring):
    """One value a line, ordered by how often it is edited; each is also a flag."""

    # paths
    dataset: Literal["svcd", "levir", "whu", "folder"] = setting(
        "folder", "whose layout, labels and fusion weights", "paths"
    )
    data_root: Path = setting(Path("data/pairs"), "folder that holds test/")
    checkpoint: Path | None = setting(None, "weights file")
    output_dir: Path | None = setting(None, "results; none = runs/test_ctma/<time>")
    overwrite: bool = setting(False, "replace results in an output folder that is not empty")
    # data
    subset: Literal["train", "val", "test"] = setting("test", "pairs to score", "data")
    list_file: Path | None = setting(None, "text file with a name a line: only these pairs")
    window_size: int | None = setting(
        None, "side of a sliding window, such as 256; none = whole pairs", minimum=8, multiple_of=8
    )
    stride: int = setting(64, "step of the sliding window", minimum=1)
    threshold: float = setting(0.5, "probability above which a pixel is changed", minimum=0)
    label_rule: Literal["exact", "nonzero", "above_127"] | None = setting(
        None, "what counts as changed in labels; none = the data set's"
    )
    bands: tuple[int, ...] | None = setting(
        None, "three bands to take, from 1; none = those of an RGB image", minimum=1
    )
    pixel_scale: Literal["auto", "reflectance", "stored"] = setting(
        "auto", "auto = 8-bit / 255, reflectance = 16-bit / 10000, stored = float 0…1"
    )
    # model
    fusion_weights: tuple[float, float] | None = setting(
        None, "of the two decoders; none = as trained, for released weights the data set's",
        "model", minimum=0,
    )  # fmt: skip
    mask_threshold: float | None = setting(
        None, "coarse probability that branch 2 looks at; none = as trained", minimum=0, below=1
    )
    video_len: int | None = setting(
        None, "frames of the pseudo-video; none = as trained", minimum=2
    )
    # speed
    batch_size: int = setting(8, "windows or pairs at a time", "speed", minimum=1)
    precision: Literal["float32", "bfloat16"] = setting("float32", "bfloat16 = autocast")
    compile: bool = setting(False, "torch.compile")
    num_workers: int | None = setting(None, "reading processes; none = 2, on a CPU 0", minimum=0)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps")
    # output
    save_on: bool = setting(True, "write maps and pictures", "output")
    overviews: int = setting(20, "pictures of so many pairs", minimum=0)


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Load weights and pairs, score, write maps."""
    settings = override(Settings(), authors_form(Settings(), "eval"))
    from mapping.scoring import score_pairs  # PyTorch is loaded for settings that can be used only

    score_pairs(pair_spec_by_name(settings.dataset), settings)


if __name__ == "__main__":
    run_program(main)
