"""A few labelled scenes of another sensor: what they give on top of shipped weights, or alone.

    python benchmarks/few_scenes.py --landsat LANDSAT --output-dir runs/few_scenes

Labelled scenes of six dates are made from a Landsat series (a folder with images/ and cfmask/) by
inserting changes: those to learn from in its western half, in all years but one, those to be scored
on in its eastern half, in that year. Train_Dynamic.py learns from 1, 4 and 16 of them, from shipped
weights and anew, for the same number of steps; Test_Dynamic.py scores the last weights, and the
shipped ones as they are (0 scenes). No scene is kept back: the decision's offset is chosen on those
learnt from. A row per run goes into benchmarks/results/few_scenes.csv; a run that has its row is
not made again.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.transform import Affine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fine_tuning import ANEW, compare_starts
from benchmarks.measuring import RESULTS, run_program_measured
from benchmarks.real_areas import Area, landsat_series, picked, split_years
from benchmarks.real_sources import inserted_scenes, landsat_changes
from data_processing.rasters.header import RasterInfo
from data_processing.scenes.insertion import InsertionRules
from data_processing.scenes.spec import DYNAMIC
from data_processing.scenes.writing import write_scene
from utils.codes import NO_DATA
from utils.errors import UserError, run_program
from utils.fields import NonNegative, Positive, Seed, WeightsFile
from utils.files import read_json
from utils.settings import read_settings

__all__ = ["Settings", "main", "scenes_of"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    landsat: Path  # folder with images/ and, under the same names, cfmask/
    output_dir: Path  # gets the scenes, and a folder per run
    scenes: tuple[Positive, ...] = (1, 4, 16)  # to learn from, a run each
    seeds: tuple[Seed, ...] = (1, 2)  # of choice, order and new weights
    steps: Positive = 160  # of every run
    held_out: Positive = 2004  # year of the scenes that are scored
    visible_only: NonNegative = 0.8  # times its noise from which a pixel is labelled
    checkpoint: WeightsFile = Path("best_model/Pretrained_model_Dynamic.pth")  # to start from
    results: Path = RESULTS / "few_scenes.csv"  # gets a row per run


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

CLEAR_SHARE = 0.7  # of the pixels of a day that is taken
DRAWN_TWICE = (1, 2)  # seeds of insertions: each year's series with two sets of changes
PIXEL = 30.0  # metres
PATCHES = ("--patch-size", 32, "--stride", 32)
FLAGS = (
    *PATCHES, "--batch-size", 8, "--lr", 1e-3, "--schedule", "cosine", "--augment",
    "--random-crops", "--precision", "bfloat16", "--cache",
)  # fmt: skip
SAME_SIZE = ("--width", 32, "--cam-start", "mean")  # of a new network, as large as the shipped one


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the scenes, then train and score every run that has no row yet."""
    settings = read_settings(Settings, arguments)
    pool, scored = scenes_of(landsat_series(settings.landsat, CLEAR_SHARE), settings)
    most = max(settings.scenes)
    if len(pool) < most:
        raise UserError(f"--scenes: found {most}, expected {len(pool)} at most, all there are.")
    for split, areas in (("train", pool), ("test", scored)):
        for number, area in enumerate(areas, start=1):
            _write(settings.output_dir / "scenes" / split / f"Scene{number:02d}", area)
    compare_starts(
        settings.results, settings.checkpoint, settings.scenes, settings.seeds, settings.steps,
        lambda start, scenes, seed: _run(settings, start, scenes, seed),
    )  # fmt: skip


def scenes_of(series: Area, settings: Settings) -> tuple[list[Area], list[Area]]:
    """Labelled scenes to learn from, and those to be scored on: other places, another year."""
    half = series.images.shape[3] // 2
    west, east = (_columns(series, part) for part in (slice(None, half), slice(half, None)))
    changes = landsat_changes(settings.visible_only)
    years = {datetime.date.fromordinal(int(day)).year for day in series.days}
    pool = [
        scene
        for seed in DRAWN_TWICE
        for year in sorted(years - {settings.held_out})
        for scene in _of_year(west, year, changes, 10_000 * seed + year)
    ]
    return pool, _of_year(east, settings.held_out, changes, settings.held_out)


def _of_year(area: Area, year: int, changes: InsertionRules, seed: int) -> list[Area]:
    """Scenes of a year that share no day."""
    _, days = split_years(area, year)
    number = len(days.days) // DYNAMIC.num_dates
    return inserted_scenes(days, changes, seed, DYNAMIC.num_dates, number)


def _columns(area: Area, part: slice) -> Area:
    """Some columns of an area."""
    area = picked(area, np.arange(len(area.days)))
    missing = None if area.missing is None else area.missing[..., part]
    return Area(area.name, area.images[..., part], area.days, missing=missing)


def _write(folder: Path, area: Area) -> None:
    """A scene in the usual layout; pixels without data are 0."""
    assert area.label is not None
    _, bands, height, width = area.images.shape
    pixels = np.rint(np.asarray(area.images, np.float64) * 10_000).clip(1, 65_535).astype(np.uint16)
    missing = np.zeros((len(pixels), height, width), np.bool_)
    missing = missing if area.missing is None else area.missing
    pixels[np.broadcast_to(missing[:, None], pixels.shape)] = 0
    names = [f"{datetime.date.fromordinal(int(day))}.tif" for day in area.days]
    grid = RasterInfo(
        width, height, bands, "uint16", None, Affine(PIXEL, 0, 0, 0, -PIXEL, 0), 0
    )  # fmt: skip
    moment = np.where(area.label < 0, NO_DATA, area.label).astype(np.uint8)
    write_scene(
        folder, DYNAMIC, list(zip(names, pixels, strict=True)), grid, moment,
        ~missing.any(axis=0), nodata=0,
    )  # fmt: skip


def _run(settings: Settings, start: Path | None, scenes: int, seed: int) -> dict[str, Any]:
    """Train, unless on nothing at all, and score."""
    folder = settings.output_dir / f"{start.stem if start else ANEW}_{scenes}_{seed}"
    root, seconds, weights = folder / "data", 0.0, start
    common = ("--data-root", root, "--num-workers", 0, "--overwrite")
    pool = sorted((settings.output_dir / "scenes/train").iterdir())
    order = np.random.default_rng(seed).permutation(len(pool))[:scenes]
    _link(root, "test", sorted((settings.output_dir / "scenes/test").iterdir()))
    if scenes:
        for split in ("train", "val"):
            _link(root, split, [pool[number] for number in order])
        run_program_measured("data_processing/Dynamic_Fsplit.py", "--data-root", root)
        run_program_measured("data_processing/Dynamic_create_xys.py", "--data-root", root, *PATCHES)
        seconds, _ = run_program_measured(
            "Train_Dynamic.py", *common, *FLAGS, "--output-dir", folder / "train", "--seed", seed,
            "--epochs", max(1, settings.steps // scenes),
            *(SAME_SIZE if start is None else ("--checkpoint", start)),
        )  # fmt: skip
        weights = folder / "train/last.pth"
    run_program_measured(
        "Test_Dynamic.py", *common, "--checkpoint", weights, "--output-dir", folder / "test"
    )
    report = read_json(folder / "test/metrics.json")
    return {
        "scored": len(report["scenes"]),
        "area_f1": round(report["area"]["f1"], 4),
        "moment_f1_macro_all": round(report["moment"]["f1_macro_all"], 4),
        "moment_kappa": round(report["moment"]["kappa"], 4),
        "false_alarms": round(report["area"]["fpr"], 4),
        "training_seconds": round(seconds),
    }


def _link(root: Path, split: str, scenes: Sequence[Path]) -> None:
    """Scenes of a split as links, under their own names."""
    for scene in scenes:
        target = root / DYNAMIC.images_root / split / scene.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.symlink(scene.resolve(), target)


if __name__ == "__main__":
    run_program(main)
