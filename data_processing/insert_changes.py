"""Labelled scenes without labels: changes inserted into one's own unlabelled series.

    python data_processing/insert_changes.py --images city/ farmland/ coast/ --dataset dynamic \\
        --data-root inserted
    python data_processing/insert_changes.py --images "areas/*/" --dataset spacenet7 \\
        --scenes-per-area 4 --data-root inserted

Every folder is one area: co-registered GeoTIFFs with the date in the name, at least as many dates
as a scene takes (dynamic 6, spacenet7 9, custom --num-dates), any number more. Into scenes of the
usual layout regions of another area of the same split are inserted from a date on, as seen at about
the same dates: season, light and haze stay real, and the change is known exactly. Areas are dealt
out to training, validation and test whole, so that none of them lends a region to another split.
What was inserted where stands in dataset.json. The network learns to tell a lasting step from
season and weather; slow change, and which changes are likely where, it cannot learn from this.
"""

from __future__ import annotations

import dataclasses
import datetime
import glob
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.own_series.facts import FactSettings, spec_for_images
from data_processing.own_series.finding import find_files
from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import SeriesOptions
from data_processing.own_series.series import RasterSeries
from data_processing.rasters.dates import dates_of
from data_processing.rasters.values import unscale_pixels
from data_processing.raw.plan import Gap, Plan, RunSettings, SceneTask
from data_processing.raw.preparation import prepare
from data_processing.scenes.custom import facts_of
from data_processing.scenes.insertion import (
    Insertion,
    InsertionRules,
    draw_insertions,
    insert_changes,
)
from data_processing.scenes.spec import CUSTOM, SPLITS, DatasetSpec, Split
from data_processing.scenes.writing import scene_bytes, write_scene
from utils.codes import NO_DATA
from utils.errors import DataError, UserError, run_program
from utils.fields import Bounds, Fraction, NonNegative, PathPattern, Positive, Seed
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────

SceneSide = Annotated[int, Bounds(minimum=64)]
Share = Annotated[float, Bounds(minimum=0, below=0.5)]


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, FactSettings):
    """One value a line; each is also a flag.

    Those of all such programs stand in RunSettings, what says which data set in FactSettings.
    """

    images: tuple[PathPattern, ...]  # a folder of GeoTIFFs per area, or a pattern: "areas/*/"
    scenes_per_area: Positive = 2  # each with other dates
    scene_size: SceneSide = 256  # largest side in pixels
    changes: Positive = 12  # most insertions per 128×128 pixels
    val_share: Share = 0.15  # of the areas, at least one
    test_share: Share = 0.15  # of the areas, at least one
    feathered: Fraction = 0.2  # probability of a soft edge
    least_visible: NonNegative = 0.6  # times the place's noise; fainter insertions are left out
    # values: auto, type, tags, landsat-c2, sentinel2-offset, sentinel2-by-baseline, 0.0001,-0.1
    scaling: str = "auto"
    seed: Seed = 1  # of splits, dates, places and shapes


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

PROGRAM, VERSION = "insert_changes.py", 1
USUAL = 128**2  # pixels to which --changes refers
TRIES = 10  # to find a donor window that is seen at all dates
NOTES = {
    "data_set": "one's own series with inserted changes",
    "labels": "EXACT BY CONSTRUCTION: regions of another area inserted from a date on; the changes "
    "are real images in a place where they never were",
    "classes": "0 unchanged, k = inserted between date k-1 and date k, 255 unknown",
    "area": "(moment > 0)",
}


@dataclass(frozen=True)
class Area:
    """One folder: its name, files by date, and side lengths in pixels."""

    name: str
    files: Mapping[datetime.date, Path]
    height: int
    width: int
    itemsize: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Plan and run.

    Raises:
        UserError: A flag cannot be used.
        DataError: Images are at fault.
    """
    flags = read_settings(Settings, arguments)
    folders = _folders(flags)
    images = find_files([str(folders[0])], "--images")
    spec = spec_for_images(flags, flags.data_root, images, None)
    gaps: list[Gap] = []
    areas = _areas(folders, flags, spec, gaps)
    splits = _dealt(areas, flags)
    rules = InsertionRules(feathered=flags.feathered, least_visible=flags.least_visible)
    settings = {
        name: getattr(flags, name)
        for name in ("scenes_per_area", "scene_size", "changes", "seed", "bands", "scaling")
    } | {"rules": asdict(rules)}
    if flags.dataset == CUSTOM:
        settings["facts"] = facts_of(spec)
    tasks = [
        _task(number, area, split, splits[split], rules, spec, flags)
        for split in SPLITS
        for area in splits[split]
        for number in range(flags.scenes_per_area)
    ]
    source = {"areas": {split: [area.name for area in splits[split]] for split in SPLITS}}
    notes = {**NOTES, **facts_of(spec)}
    plan = Plan(PROGRAM, VERSION, spec, flags.data_root, source, settings, notes, tasks, gaps)
    prepare(plan, write_inserted, flags)


def _folders(flags: Settings) -> list[Path]:
    """The folders that are named, each once.

    Raises:
        UserError: A word names none.
    """
    folders: list[Path] = []
    for word in flags.images:
        matches = [path for path in sorted(map(Path, glob.glob(str(word)))) if path.is_dir()]
        if not matches:
            raise UserError(
                f"--images: found no folder {word}, expected one per area, each with the "
                "GeoTIFFs of its dates."
            )
        folders += matches
    return list(dict.fromkeys(path.resolve() for path in folders))


def _areas(
    folders: Sequence[Path], flags: Settings, spec: DatasetSpec, gaps: list[Gap]
) -> list[Area]:
    """Every folder that has dates enough, in the order of their names.

    Raises:
        DataError: Files are at fault, or less than three areas are left.
    """
    areas = []
    for folder in folders:
        faults: list[str] = []
        dated = dates_of(find_files([str(folder)], "--images"), None, faults, [], tags=False)
        if faults:
            raise DataError(str(folder), faults, "Rename the files: a date in each name.")
        if len(dated) < spec.num_dates:
            found_dates = f"found {len(dated)} dates, expected {spec.num_dates} or more"
            gaps.append(Gap(folder.name, found_dates, "left out"))
            continue
        first = sorted(dated)[: spec.num_dates]
        opened = _opened(folder.name, dated, first, spec, _reading(flags))
        grid = opened.grid
        itemsize = np.dtype(grid.dtype).itemsize
        areas.append(Area(folder.name, dated, grid.height, grid.width, itemsize))
        opened.close()
    if len(areas) < len(SPLITS):
        raise DataError(
            ", ".join(str(folder) for folder in folders[:3]),
            [f"found {len(areas)} areas with {spec.num_dates} dates, expected 3 or more: one for "
             "each of training, validation and test"],
            "Name more folders, or cut one large area into three with other names.",
        )  # fmt: skip
    return sorted(areas, key=lambda area: area.name)


def _dealt(areas: Sequence[Area], flags: Settings) -> dict[Split, list[Area]]:
    """Areas by split, shuffled by the seed; each split has one at least."""
    order = np.random.default_rng(flags.seed).permutation(len(areas))
    shuffled = [areas[number] for number in order]
    val = max(1, round(flags.val_share * len(areas)))
    test = max(1, round(flags.test_share * len(areas)))
    test = min(test, len(areas) - 1 - val) if val + test >= len(areas) else test
    return {
        "val": shuffled[:val],
        "test": shuffled[val : val + test],
        "train": shuffled[val + test :],
    }


def _task(
    number: int,
    area: Area,
    split: Split,
    peers: Sequence[Area],
    rules: InsertionRules,
    spec: DatasetSpec,
    flags: Settings,
) -> SceneTask:
    """One scene: its dates and window are drawn here, its changes when it is written."""
    rng = np.random.default_rng([flags.seed, SPLITS.index(split), *area.name.encode(), number])
    dates = _drawn_dates(rng, sorted(area.files), spec)
    height, width = (min(flags.scene_size, side) for side in (area.height, area.width))
    row = int(rng.integers(area.height - height + 1))
    col = int(rng.integers(area.width - width + 1))
    name = f"{area.name}_{number + 1}"
    states = [(area.files[date].name, area.files[date].stat()) for date in dates]
    facts = {"dates": [str(date) for date in dates], "window": [row, col, height, width]}
    most = max(1, round(flags.changes * height * width / USUAL))
    work = {
        "area": area, "donors": [peer for peer in peers if peer is not area] or [area],
        "spec": spec, "dates": dates, "reading": _reading(flags), "scene": name,
        "rules": dataclasses.replace(rules, most=most), "seed": int(rng.integers(2**32)),
    }  # fmt: skip
    return SceneTask(
        name, split, area.name, scene_bytes(spec, height, width, area.itemsize),
        [(name, state.st_size, state.st_mtime_ns) for name, state in states], facts, work,
    )  # fmt: skip


def _drawn_dates(
    rng: np.random.Generator, at_hand: Sequence[datetime.date], spec: DatasetSpec
) -> list[datetime.date]:
    """T dates: about evenly spread, or any; one a month for layouts whose names hold no day."""
    at_hand = list({spec.image_file(date, ""): date for date in at_hand}.values())
    N, T = len(at_hand), spec.num_dates
    if N < T:
        raise DataError(
            str(at_hand[0]), [f"found {N} months, expected {T}"], "Take --dataset dynamic."
        )
    spread = np.unique(np.rint(np.linspace(0, N - 1, T) + rng.uniform(-0.4, 0.4, T)).clip(0, N - 1))
    chosen = spread if rng.random() < 0.5 and len(spread) == T else rng.choice(N, T, replace=False)
    return [at_hand[int(number)] for number in np.sort(chosen)]


def _opened(
    name: str,
    files: Mapping[datetime.date, Path],
    dates: Sequence[datetime.date],
    spec: DatasetSpec,
    reading: SeriesOptions,
) -> RasterSeries:
    return open_raster_series([files[date] for date in dates], spec, reading, name)


def _reading(flags: Settings) -> SeriesOptions:
    return SeriesOptions(bands=flags.bands, scaling=flags.scaling)


def write_inserted(task: SceneTask, folder: Path) -> dict[str, Any]:
    """Write a scene with its changes.

    Raises:
        DataError: Images cannot be read.
    """
    work, spec = task.work, task.work["spec"]
    row, col, height, width = task.facts["window"]
    series = _opened(work["scene"], work["area"].files, work["dates"], spec, work["reading"])
    window = series.read(row, col, height, width)
    rng = np.random.default_rng(work["seed"])
    lent: list[dict[str, Any]] = []

    def cut(generator: np.random.Generator) -> NDArray[np.float32]:
        return _donor(generator, task, lent)

    drawn = draw_insertions(rng, window.images, cut, work["rules"], least=1)
    label = np.where(window.observed, 0, -1).astype(np.int64)
    images, moment = insert_changes(window.images, label, drawn)
    if spec.alpha_band is not None:
        images[:, spec.alpha_band] = window.images[:, spec.alpha_band]
    grid = dataclasses.replace(
        series.grid, height=height, width=width, nodata=None,
        transform=series.grid.transform @ Affine.translation(col, row),
    )  # fmt: skip
    stored = np.where(moment < 0, NO_DATA, moment).astype(np.uint8)
    named = [
        (spec.image_file(date, task.name), unscale_pixels(image, series.grid.dtype))
        for date, image in zip(work["dates"], images, strict=True)
    ]
    facts = write_scene(folder, spec, named, grid, stored, window.observed)
    return {**facts, "insertions": [_record(one, lent) for one in drawn]}


def _donor(
    rng: np.random.Generator, task: SceneTask, lent: list[dict[str, Any]]
) -> NDArray[np.float32]:
    """A turned window of another area of the split at about the scene's dates."""
    work, (_, _, height, width) = task.work, task.facts["window"]
    area = work["donors"][rng.integers(len(work["donors"]))]
    dates = _nearest(sorted(area.files), work["dates"])
    series = _opened(area.name, area.files, dates, work["spec"], work["reading"])
    for _ in range(TRIES):
        row = int(rng.integers(max(1, series.height - height + 1)))
        col = int(rng.integers(max(1, series.width - width + 1)))
        window = series.read(row, col, height, width)
        if window.observed.all():
            break
    series.close()
    images = np.rot90(window.images, 2 * int(rng.integers(2)), (2, 3))
    images = np.ascontiguousarray(images[..., ::-1] if rng.random() < 0.5 else images)
    lent.append({"area": area.name, "dates": [str(date) for date in dates]})
    return images


def _nearest(
    at_hand: Sequence[datetime.date], wanted: Sequence[datetime.date]
) -> list[datetime.date]:
    """As many dates as wanted, each another one, as near to them as can be."""
    from scipy.optimize import linear_sum_assignment  # late: it takes a while to import

    apart = np.abs(np.subtract.outer([d.toordinal() for d in wanted],
                                     [d.toordinal() for d in at_hand]))  # fmt: skip
    _, taken = linear_sum_assignment(apart)
    return [at_hand[int(number)] for number in np.sort(taken)]


def _record(insertion: Insertion, lent: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The record of an insertion in dataset.json."""
    rows, cols = np.nonzero(insertion.region)
    return {
        "moment": insertion.moment,
        "pixels": len(rows),
        "rows": [int(rows.min()), int(rows.max())],
        "cols": [int(cols.min()), int(cols.max())],
        "donor": dict(lent[insertion.number]),
    }


if __name__ == "__main__":
    run_program(main)
