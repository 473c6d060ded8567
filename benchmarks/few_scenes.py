"""A few labelled squares of one's own: what they give on top of shipped weights, or alone.

    python benchmarks/few_scenes.py --scene demo/real/Images_Dynamic/test/Scene01 \\
        --output-dir runs/few_scenes

Cuts a labelled scene of six dates into squares. Train_Dynamic.py learns from 1, 4 and 8 squares of
one half, from shipped weights and anew, for the same number of steps; Test_Dynamic.py scores the
best weights on the other half, and the shipped ones as they are (0 squares). Odd seeds learn in the
west, even ones in the east. No square is kept back: the best epoch and the decision's offset are
chosen on those learnt from. A row per run goes into benchmarks/results/few_scenes.csv; a run that
has its row is not made again.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.transform import Affine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fine_tuning import ANEW, Run, compare_starts, link
from benchmarks.measuring import RESULTS, run_program_measured
from benchmarks.real_areas import Area, read_scene
from data_processing.rasters.header import RasterInfo
from data_processing.scenes.spec import DYNAMIC
from data_processing.scenes.writing import write_scene
from utils.codes import NO_DATA
from utils.errors import UserError, run_program
from utils.fields import LearningRate, Positive, Seed, WeightsFile
from utils.files import read_json
from utils.settings import read_settings

__all__ = ["Settings", "halves_of", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    scene: Path  # folder of a labelled scene of Dynamic
    output_dir: Path  # gets squares and halves, and a folder per run
    squares: tuple[Positive, ...] = (1, 4, 8)  # to learn from, a run each
    seeds: tuple[Seed, ...] = (1, 2, 3, 4)  # of choice, order and new weights; odd ones: west
    steps: Positive = 160  # of every run
    lr: LearningRate = 1e-4  # that falls along a cosine
    checkpoint: WeightsFile = Path("best_model/Pretrained_model_Dynamic.pth")  # to start from
    results: Path = RESULTS / "few_scenes.csv"  # gets a row per run


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

SIDE = 24  # pixels of a square, which is one patch: an epoch is one step
PATCHES = ("--patch-size", SIDE, "--stride", SIDE)
FLAGS = (
    *PATCHES, "--schedule", "cosine", "--augment", "--precision", "bfloat16", "--cache",
)  # fmt: skip
SAME_SIZE = ("--width", 32, "--cam-start", "mean")  # of a new network, as large as the shipped one


def main(arguments: Sequence[str] | None = None) -> None:
    """Cut the scene, then train and score every run that has no row yet."""
    settings = read_settings(Settings, arguments)
    shipped, most = settings.checkpoint, max(settings.squares)
    for name, (half, squares) in halves_of(read_scene(settings.scene, DYNAMIC)):
        if len(squares) < most:
            raise UserError(
                f"--squares: found {most}, expected {len(squares)} at most, those of the {name}."
            )
        folder = settings.output_dir / name
        for place, area in (("half/Scene01", half), *_numbered(squares)):
            _write(folder / place, area)
    runs: list[Run] = []
    for seed in settings.seeds:
        runs += [(shipped, 0, seed)]
        runs += [(start, n, seed) for n in settings.squares for start in (None, shipped)]
    compare_starts(
        settings.results, runs, settings.steps, lambda *run: _run(settings, *run),
        {"lr": settings.lr},
    )  # fmt: skip


def halves_of(scene: Area) -> list[tuple[str, tuple[Area, list[Area]]]]:
    """West and east of a scene: each half, and the squares that fit into it."""
    height, width = scene.images.shape[2:]
    parts = []
    for name, first in (("west", 0), ("east", width // 2)):
        squares = [
            _cut(scene, slice(row, row + SIDE), slice(col, col + SIDE))
            for row in range(0, height - SIDE + 1, SIDE)
            for col in range(first, first + width // 2 - SIDE + 1, SIDE)
        ]
        half = _cut(scene, slice(None), slice(first, first + width // 2))
        parts.append((name, (half, squares)))
    return parts


def _cut(scene: Area, rows: slice, columns: slice) -> Area:
    assert scene.label is not None
    images, label = scene.images[..., rows, columns], scene.label[rows, columns]
    return Area(scene.name, images, scene.days, label)


def _numbered(squares: Sequence[Area]) -> list[tuple[str, Area]]:
    return [(f"squares/Scene{number:02d}", one) for number, one in enumerate(squares, start=1)]


def _write(folder: Path, area: Area) -> None:
    """A scene in the usual layout, without a place on the ground."""
    assert area.label is not None
    _, bands, height, width = area.images.shape
    dtype = area.images.dtype.name
    images = [
        (f"{datetime.date.fromordinal(int(day))}.tif", image)
        for day, image in zip(area.days, area.images, strict=True)
    ]
    moment = np.where(area.label < 0, NO_DATA, area.label).astype(np.uint8)
    nowhere = RasterInfo(width, height, bands, dtype, None, Affine.identity(), None)
    write_scene(folder, DYNAMIC, images, nowhere, moment)


def _run(settings: Settings, start: Path | None, squares: int, seed: int) -> dict[str, Any]:
    """Train, unless on nothing at all, and score."""
    learnt, scored = ("west", "east") if seed % 2 else ("east", "west")
    name = f"{start.stem if start else ANEW}_{squares}_{seed}_lr{settings.lr:g}"
    folder = settings.output_dir / name
    root, seconds, weights = folder / "data", 0.0, start
    common = ("--data-root", root, "--num-workers", 0, "--overwrite")
    pool = sorted((settings.output_dir / learnt / "squares").iterdir())
    order = np.random.default_rng(seed).permutation(len(pool))[:squares]
    images = root / DYNAMIC.images_root
    link(settings.output_dir / scored / "half/Scene01", images / "test/Scene01")
    if squares:
        for split, number in product(("train", "val"), order):
            link(pool[number], images / split / pool[number].name)
        run_program_measured("data_processing/Dynamic_Fsplit.py", "--data-root", root)
        run_program_measured("data_processing/Dynamic_create_xys.py", "--data-root", root, *PATCHES)
        seconds, _ = run_program_measured(
            "Train_Dynamic.py", *common, *FLAGS, "--output-dir", folder / "train", "--seed", seed,
            "--epochs", settings.steps, "--batch-size", squares, "--lr", settings.lr,
            *(SAME_SIZE if start is None else ("--checkpoint", start)),
        )  # fmt: skip
        weights = folder / "train/best.pth"
    run_program_measured(
        "Test_Dynamic.py", *common, "--checkpoint", weights, "--output-dir", folder / "test"
    )
    report = read_json(folder / "test/metrics.json")
    return {
        "scored": scored,
        "area_f1": round(report["area"]["f1"], 4),
        "moment_f1_macro_all": round(report["moment"]["f1_macro_all"], 4),
        "moment_kappa": round(report["moment"]["kappa"], 4),
        "false_alarms": round(report["area"]["fpr"], 4),
        "training_seconds": round(seconds),
    }


if __name__ == "__main__":
    run_program(main)
