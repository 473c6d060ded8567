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

from data_processing.pairs.authors_commands import authors_form
from data_processing.pairs.files import find_pairs
from data_processing.pairs.spec import pair_spec_by_name
from mapping.scoring_settings import PairScoring
from utils.errors import run_program
from utils.fields import (
    ExistingPath,
    Fraction,
    Frames,
    Natural,
    NonNegative,
    PairSide,
    Positive,
    WeightsFile,
    Workers,
)
from utils.settings import read_settings

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings(PairScoring):
    """One value a line, ordered by how often it is edited; each is also a flag."""

    # paths
    dataset: Literal["svcd", "levir", "whu", "folder"] = "folder"  # whose layout and labels
    data_root: Path = Path("data/pairs")  # folder that holds test/
    checkpoint: WeightsFile | None = None  # weights file
    output_dir: Path | None = None  # results; none = runs/test_ctma/<time>
    overwrite: bool = False  # replace results in an output folder that is not empty
    # data
    split: Literal["train", "val", "test"] = "test"  # pairs to score
    list_file: ExistingPath | None = None  # text file with a name a line: only these pairs
    window_size: PairSide | None = None  # side of a sliding window, such as 256; none = whole pairs
    stride: Positive = 64  # step of the sliding window
    # probability above which a pixel is changed; none = by --decision, 0.5 if plain
    threshold: Fraction | None = None
    # calibrated = by the offset that the weights carry; plain = which is larger
    decision: Literal["calibrated", "plain"] = "calibrated"
    # what counts as changed in labels; none = the data set's
    label_rule: Literal["exact", "nonzero", "above_127"] | None = None
    # three bands to take, from 1; none = those of an RGB image
    bands: tuple[Positive, ...] | None = None
    # auto = 8-bit / 255, reflectance = 16-bit / 10000, stored = float 0…1
    pixel_scale: Literal["auto", "reflectance", "stored"] = "auto"
    # model
    fusion_weights: tuple[NonNegative, NonNegative] | None = None  # of decoders; none = as trained
    # coarse probability that branch 2 looks at; none = as trained
    mask_threshold: Fraction | None = None
    video_len: Frames | None = None  # frames of the pseudo-video; none = as trained
    # speed
    batch_size: Positive = 8  # windows or pairs at a time
    # auto = bfloat16 where the processor has it and the weights' maps agree, else float32
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False  # torch.compile
    num_workers: Workers | None = None  # reading processes; none = 2, on a CPU 0
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    threads: Positive | None = None  # of a CPU; none = as many as help, measured at the start
    # output
    save_on: bool = True  # write maps and pictures
    overviews: Natural = 20  # pictures of so many pairs


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Load weights and pairs, score, write maps."""
    settings = read_settings(Settings, authors_form(Settings, "eval"))
    spec = pair_spec_by_name(settings.dataset)
    find_pairs(settings.data_root, spec, settings.split, settings.list_file)  # are they there?
    from mapping.scoring import score_pairs  # PyTorch is loaded for settings that can be used only

    score_pairs(spec, settings)


if __name__ == "__main__":
    run_program(main)
