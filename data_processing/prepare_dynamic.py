"""DynamicEarthNet from the download to the processed layout: 6 dates, change moment, change area.

    python data_processing/prepare_dynamic.py --source downloads/ --data-root data --dry-run
    python data_processing/prepare_dynamic.py --source downloads/ --data-root data

Takes the folder of the zone zips and labels.zip, unpacked, not unpacked or mixed; zips are read in
place. Of 24 months 6 are chosen by a rule; the land cover classes of each give the change moment.
docs/data.md says where to get the data, how long this takes and what is not known about the
authors' choice.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.labels.transitions import UNKNOWN, Event, change_moment
from data_processing.rasters.date_choice import check_rule, choose_dates, months_between
from data_processing.rasters.grids import require_one_grid
from data_processing.rasters.reading import RasterInfo
from data_processing.rasters.values import has_data
from data_processing.raw.archives import find_files
from data_processing.raw.dynamic import (
    CLASSES,
    NO_CLASS,
    SNOW,
    Area,
    find_areas,
    read_classes,
    read_image,
)
from data_processing.raw.plan import Gap, Plan, RunSettings, SceneTask
from data_processing.raw.preparation import prepare
from data_processing.raw.split_choice import assign_splits, read_split_file, split_file_path
from data_processing.scenes.spec import DYNAMIC
from data_processing.scenes.writing import scene_bytes, write_scene
from utils.errors import run_program
from utils.files import sha256
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """One value a line; each is also a flag. Those of all such programs stand in RunSettings."""

    source: Path  # folder of the zips, or of what is in them
    dates: str = "every:4"  # which 6 months: even, first, every:N, or YYYY-MM,YYYY-MM,…
    event: Event = "last"  # of several changes
    snow: Literal["class", "exclude"] = "class"  # exclude: says nothing about what lies under it
    # reflectance: float32 0…1; stored: the integers, half as large
    pixels: Literal["reflectance", "stored"] = "reflectance"
    # which area goes where; dynamic_24_3_3 takes 30 areas (docs/data.md)
    split_file: str = "dynamic_8_1_1"


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

PROGRAM, VERSION = "prepare_dynamic.py", 1
SIDE = 1024  # of an image, for sizes told before anything is read
MONTHS = (datetime.date(2018, 1, 1), datetime.date(2019, 12, 1))  # first and last of each area
PUBLIC, ALL = 55, 75  # areas with labels in the first record, and areas of the data set
OTHER_RECORD = (
    f"The first record (mediatum.ub.tum.de/1650201) has labels of {PUBLIC} areas; those of the "
    "others lie in record 1738088."
)
NOTES = {
    "data_set": "DynamicEarthNet, Toker et al. 2022, CC BY-SA 4.0",
    "bands": list(DYNAMIC.bands),
    "land_cover": list(CLASSES),
    "classes": "0 unchanged, k = changed between date k-1 and date k, 255 without class",
    "area": "(moment > 0)",
    "no_data": "pixels without a class at any chosen date are not counted",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Plan and run.

    Raises:
        UserError: A flag cannot be used.
        DataError: The raw data are incomplete (``--strict``) or at fault.
    """
    settings = read_settings(Settings, arguments)
    check_rule(settings.dates, DYNAMIC.num_dates)
    split_file = split_file_path(settings.split_file)
    rules = {
        "dates": settings.dates,
        "event": settings.event,
        "snow": settings.snow,
        "pixels": settings.pixels,
        "split_file": split_file.name,
        "split_file_sha256": sha256(split_file),
    }
    areas = find_areas(find_files(settings.source))
    tasks, gaps = _tasks(areas, rules, read_split_file(split_file))
    source = {"path": str(settings.source.resolve())}
    notes = {**NOTES, "scenes_are_numbered": "by the name of the area, all areas with labels"}
    plan = Plan(PROGRAM, VERSION, DYNAMIC, settings.data_root, source, rules, notes, tasks, gaps)
    prepare(plan, write_area, settings)


def write_area(task: SceneTask, folder: Path) -> dict[str, Any]:
    """Read the chosen months of an area and write its scene.

    Raises:
        DataError: A file is damaged or lies on another grid than the others.
    """
    rules, months = task.work["rules"], task.work["months"]
    gaps: list[Gap] = []
    read = [(Path(label.name).name, *read_classes(label)) for _, _, label in months]
    require_one_grid(task.area, [(name, grid) for name, _, grid in read])
    classes = np.stack([values for _, values, _ in read])
    missing = classes == NO_CLASS
    if missing.any():
        gap = f"{int(missing.any(axis=0).sum())} pixels without a class at some chosen date"
        gaps.append(Gap(task.area, gap, "they are 255 in the labels and not counted"))
    labelled = ~missing
    if rules["snow"] == "exclude":
        labelled &= classes != SNOW
    moment = change_moment(classes, labelled, rules["event"])
    moment[missing.any(axis=0)] = UNKNOWN
    reflectance = rules["pixels"] == "reflectance"
    valid = np.ones(moment.shape, dtype=np.bool_)
    images = _images(task, reflectance, read[0][2], valid)
    name, image, grid = next(images)
    nodata = float("nan") if reflectance and grid.nodata is not None else grid.nodata
    series = chain([(name, image)], ((name, image) for name, image, _ in images))
    facts = write_scene(folder, DYNAMIC, series, grid, moment, valid, nodata)
    return {**facts, "gaps": gaps}


def _images(
    task: SceneTask, reflectance: bool, grid: RasterInfo, valid: NDArray[np.bool_]
) -> Iterator[tuple[str, NDArray[Any], RasterInfo]]:
    """Name, image and header by date; ``valid`` loses the pixels that lack data in any."""
    for date, file, _ in task.work["months"]:
        image, header = read_image(file, reflectance)
        require_one_grid(task.area, [("labels", grid), (file.name, header)])
        valid &= has_data(image, None if reflectance else header.nodata)
        yield f"{date}.tif", image, header


def _tasks(
    areas: dict[str, Area], rules: dict[str, Any], split_file: dict[str, Any]
) -> tuple[list[SceneTask], list[Gap]]:
    """A task for every area with images and labels, and what is missing."""
    gaps: list[Gap] = []
    _say_areas(areas)
    labelled = [name for name, area in areas.items() if area.labels]
    numbers = {name: number for number, name in enumerate(labelled, start=1)}
    splits = assign_splits(labelled, split_file)
    itemsize = 4 if rules["pixels"] == "reflectance" else 2
    tasks = []
    for name, area in areas.items():
        dates = _chosen(area, rules["dates"], gaps)
        if not dates:
            continue
        split = splits[name]
        if split is None:
            gaps.append(Gap(name, "the split file gives it no split", "the area is left out"))
            continue
        months = [(date, area.images[date], area.labels[date]) for date in dates]
        tasks.append(
            SceneTask(
                f"Scene{numbers[name]:02d}", split, name,
                scene_bytes(DYNAMIC, SIDE, SIDE, itemsize),
                [(f.name, f.size, f.mark) for _, *files in months for f in files],
                {"dates": [str(date) for date in dates], "place": area.place},
                {"rules": rules, "months": months},
            )
        )  # fmt: skip
    return tasks, gaps


def _chosen(area: Area, rule: str, gaps: list[Gap]) -> list[datetime.date]:
    """The dates of an area's series; none when it cannot be made."""
    if not area.labels or not area.images:
        what, advice = ("labels", OTHER_RECORD) if not area.labels else (
            "images of the first of a month", "Images lie in one zip per UTM zone.")  # fmt: skip
        gaps.append(Gap(area.name, f"no {what}. {advice}", "the area is left out"))
        return []
    usable = sorted(area.images.keys() & area.labels.keys())
    first, last = min(*MONTHS, *area.images, *area.labels), max(*MONTHS, *area.images, *area.labels)
    incomplete = [date for date in months_between(first, last) if date not in usable]
    if incomplete:
        named = ", ".join(f"{date:%Y-%m} ({_lacking(area, date)})" for date in incomplete)
        gaps.append(Gap(area.name, f"incomplete months {named}", "these months are left out"))
    dates, remarks = choose_dates(usable, DYNAMIC.num_dates, rule, first)
    done = "see dataset.json" if dates else "the area is left out"
    gaps += [Gap(area.name, remark, done) for remark in remarks]
    return dates


def _lacking(area: Area, date: datetime.date) -> str:
    files = {"no image": area.images, "no label": area.labels}
    return " and ".join(what for what, by_date in files.items() if date not in by_date)


def _say_areas(areas: dict[str, Area]) -> None:
    """Recognise the downloads by the number of areas."""
    images = sum(bool(area.images) for area in areas.values())
    labels = sum(bool(area.labels) for area in areas.values())
    say(f"found {len(areas)} areas: {images} with images, {labels} with labels")
    if labels and images > labels:
        say(f"{images - labels} areas have images and no labels. {OTHER_RECORD}")
    if labels == PUBLIC:
        say(f"These are the labels of the first record; the data set has {ALL} areas.")


if __name__ == "__main__":
    run_program(main)
