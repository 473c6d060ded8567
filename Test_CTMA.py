"""Score CTMA on pairs of images and write its change maps.

    python Test_CTMA.py --dataset levir --data-root data/LEVIR --checkpoint runs/x/best.pth
    python Test_CTMA.py eval --exp_config configs/levir.yaml --resume runs/x/best.pth --subset test

Takes weights of ours and the authors'. Writes runs/test_ctma/<time>/: metrics.json, per pair
maps/<name>.png (0/255) and, where georeferenced, maps/<name>.tif, and overviews/<name>.png.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from data_processing.pairs.dataset import PairDataset, open_pair_split, padded_size, tiles, whole
from data_processing.pairs.spec import PairSpec, pair_spec_by_name
from data_processing.rasters.reading import bound_decoded_blocks
from mapping.pair_maps import PairMapWriter
from mapping.pair_scoring import pair_table, score_pairs, write_pair_scores
from models.weights.pair_weights import load_pair_weights
from utils.authors_commands import authors_form
from utils.batches import Batches
from utils.device import choose_device
from utils.errors import run_program
from utils.execution import ready_to_run
from utils.progress import say
from utils.run_folder import start_run
from utils.settings import override, setting

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
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
    spec = pair_spec_by_name(settings.dataset)
    settings = replace(settings, label_rule=settings.label_rule or spec.label_rule)
    device = choose_device(settings.device)
    weights = load_pair_weights(settings, spec.fusion_weights)
    windows, batch_size = open_windows(settings, spec)
    folder = start_run("test_ctma", settings, device)
    source = settings.checkpoint.name if settings.checkpoint else ""
    writer = PairMapWriter(folder, source, settings.overviews)
    report = score_pairs(
        ready_to_run(weights.build(), device, settings.precision, compiled=settings.compile),
        Batches(windows, batch_size, num_workers=settings.num_workers, device=device),
        windows.scenes,
        writer if settings.save_on else None,
        precision=settings.precision,
        threshold=settings.threshold,
    )
    write_pair_scores(folder / "metrics.json", report, settings, weights, device)
    say(pair_table(report))
    maps = f"; maps: {folder / 'maps'}" if settings.save_on else ""
    say(f"scores: {folder / 'metrics.json'}{maps}")


def open_windows(settings: Settings, spec: PairSpec) -> tuple[PairDataset, int]:
    """Whole pairs or sliding windows, and how many at a time."""
    bound_decoded_blocks()
    pairs = open_pair_split(
        settings.data_root, spec, settings.subset, label_rule=settings.label_rule,
        bands=settings.bands, pixel_scale=settings.pixel_scale, list_file=settings.list_file,
    )  # fmt: skip
    side = settings.window_size
    if side is not None:
        windows = PairDataset(pairs, tiles(pairs, side, settings.stride), (side, side))
        return windows, settings.batch_size
    sizes = {padded_size(pair) for pair in pairs}
    return PairDataset(pairs, whole(pairs)), settings.batch_size if len(sizes) == 1 else 1


if __name__ == "__main__":
    run_program(main)
