"""SpaceNet7 from the download to the processed layout: 9 dates, change moment, change area.

    python data_processing/prepare_spacenet7.py --source SN7_buildings_train.tar.gz --data-root data
    python data_processing/prepare_spacenet7.py --source train/ --data-root data --dry-run

Takes the tarball, a zip or an unpacked folder. Of each area 9 months are chosen by a rule, the
building footprints of each are drawn on the image's grid, and their transitions give the change
moment. Masked pixels (alpha, UDM) are no data. docs/data.md says where to get the data, how long
this takes and what is not known about the authors' choice.
"""

from __future__ import annotations

import datetime
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.labels.transitions import Event, Transitions, change_moment, without_slivers
from data_processing.rasters.date_choice import check_rule, choose_dates, months_between
from data_processing.rasters.grids import require_one_grid
from data_processing.raw.archives import (
    find_files,
    is_tarball,
    list_tarball,
    remove_unpacked,
    unpack_tarball,
)
from data_processing.raw.plan import Gap, Plan, RunSettings, SceneTask
from data_processing.raw.preparation import is_complete, prepare
from data_processing.raw.spacenet7 import (
    Area,
    FootprintSource,
    Month,
    SeenMonth,
    find_areas,
    is_wanted,
    read_month,
)
from data_processing.raw.split_choice import assign_splits, read_split_file, split_file_path
from data_processing.scenes.spec import SPACENET7
from data_processing.scenes.writing import scene_bytes, write_scene
from utils.errors import UserError, run_program
from utils.files import sha256
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """One value a line; each is also a flag. Those of all such programs stand in RunSettings."""

    source: Path  # the tarball, a zip, or the unpacked folder
    dates: str = "even"  # which 9 usable months: even, first, every:N, or YYYY-MM,YYYY-MM,…
    event: Event = "last"  # of several changes
    transitions: Transitions = "both"  # both = built and removed; appear = built only
    footprints: FootprintSource = "labels_match"  # which of the label folders
    all_touched: bool = False  # draw every pixel that a footprint touches
    drop_slivers: bool = False  # a building with the same Id keeps its first outline
    allow_masked: bool = False  # months with a UDM file are usable, too
    split_file: str = "spacenet7_48_6_6"  # which area goes where (docs/data.md)
    keep_unpacked: bool = False  # keep what was unpacked from a tarball


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

PROGRAM, VERSION = "prepare_spacenet7.py", 1
SIDE = 1024  # of an image, for sizes told before anything is read
NOTES = {
    "data_set": "SpaceNet7 (MUDS), Van Etten et al. 2021, CC BY-SA 4.0",
    "bands": list(SPACENET7.bands),
    "classes": "0 unchanged, k = changed between date k-1 and date k, 255 never seen",
    "area": "(moment > 0)",
    "no_data": "alpha 0: masked in the image, or unusable by the UDM file",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Plan and run.

    Raises:
        UserError: A flag cannot be used.
        DataError: The raw data are incomplete (``--strict``) or at fault.
    """
    settings = read_settings(Settings, arguments)
    check_rule(settings.dates, SPACENET7.num_dates)
    split_file = split_file_path(settings.split_file)
    rules = {
        "dates": settings.dates,
        "event": settings.event,
        "transitions": settings.transitions,
        "footprints": settings.footprints,
        "all_touched": settings.all_touched,
        "drop_slivers": settings.drop_slivers,
        "masked_months": settings.allow_masked,
        "split_file": split_file.name,
        "split_file_sha256": sha256(split_file),
    }
    source, packed = _source(settings.source), is_tarball(settings.source)
    if packed and is_complete(settings.data_root, SPACENET7, PROGRAM, source, rules):
        say(f"{settings.data_root}: complete already, made with the same settings; nothing done")
        return
    folder = _unpacked(settings) if packed and not settings.dry_run else settings.source
    if packed and settings.dry_run:
        files = list_tarball(settings.source, lambda name: is_wanted(name, settings.footprints))
    else:
        files = find_files(folder)
    tasks, gaps = _tasks(find_areas(files), rules, read_split_file(split_file))
    plan = Plan(PROGRAM, VERSION, SPACENET7, settings.data_root, source, rules, NOTES, tasks, gaps)
    prepare(plan, write_area, settings)
    if folder != settings.source and not settings.keep_unpacked:
        remove_unpacked(folder)


def write_area(task: SceneTask, folder: Path) -> dict[str, Any]:
    """Read the chosen months of an area and write its scene.

    Raises:
        DataError: A file is damaged or lies on another grid than the others.
    """
    rules, names = task.work["rules"], []
    gaps: list[Gap] = []
    months: list[SeenMonth] = []
    for date, files in task.work["months"]:
        month = read_month(files, rules["footprints"], rules["all_touched"])
        months.append(month)
        names.append(Path(files["image"].name).name)
        for remark, count in month.footprints.remarks.items():
            where = f"{task.area}, {date:%Y-%m}"
            gaps.append(Gap(where, f"{remark} ({count})", "they give no building"))
    months = _cropped(task.area, names, months, gaps)
    if rules["drop_slivers"]:
        built = without_slivers(
            [month.footprints.ids for month in months],
            [month.footprints.names for month in months],
        )
    else:
        built = [month.footprints.built for month in months]
    valid = np.stack([month.usable for month in months])
    moment = change_moment(
        np.stack(built).astype(np.uint8), valid, rules["event"], rules["transitions"]
    )
    images = [(name, month.image) for name, month in zip(names, months, strict=True)]
    facts = write_scene(
        folder, SPACENET7, images, months[0].grid, moment, np.asarray(valid.all(axis=0))
    )
    return {**facts, "built_share": [round(float(b.mean()), 5) for b in built], "gaps": gaps}


def _source(path: Path) -> dict[str, Any]:
    """The source as dataset.json names it; a tarball has no checksum, which would take minutes."""
    if not path.exists():
        raise UserError(f"--source: there is nothing at {path}, expected the SpaceNet7 download.")
    status = path.stat()
    size = {"bytes": status.st_size, "mark": status.st_mtime_ns} if path.is_file() else {}
    return {"path": str(path.resolve()), **size}


def _unpacked(settings: Settings) -> Path:
    """The files needed of a tarball, unpacked beside the result."""
    folder: Path = settings.data_root / f".unpacked-{settings.source.name}"
    needed = settings.source.stat().st_size
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not folder.exists() and shutil.disk_usage(place).free < needed:
        raise UserError(
            f"{place}: {shutil.disk_usage(place).free / 1e9:.1f} GB are free, expected "
            f"{needed / 1e9:.1f} GB to unpack {settings.source.name} for the time of the run. Make "
            "room, or unpack it elsewhere and name the folder."
        )
    say(f"unpacking what is needed of {settings.source} into {folder}")
    unpack_tarball(settings.source, folder, lambda name: is_wanted(name, settings.footprints))
    return folder


def _tasks(
    areas: dict[str, Area], rules: dict[str, Any], split_file: dict[str, Any]
) -> tuple[list[SceneTask], list[Gap]]:
    """A task for every area with enough months, and what is missing."""
    gaps: list[Gap] = []
    chosen: dict[str, list[datetime.date]] = {}
    for area in areas.values():
        usable = _usable_months(area, rules, gaps)
        first = min(area.months)
        dates, remarks = choose_dates(usable, SPACENET7.num_dates, rules["dates"], first)
        done = "the area is left out" if not dates else "see dataset.json"
        gaps += [Gap(area.name, remark, done) for remark in remarks]
        if dates:
            chosen[area.name] = dates
    splits = assign_splits(list(areas), split_file)
    tasks = []
    for name, dates in chosen.items():
        split = splits[name]
        if split is None:
            gaps.append(Gap(name, "the split file gives it no split", "the area is left out"))
            continue
        months = [(date, _month_files(areas[name], date, rules)) for date in dates]
        raw = [file for _, files in months for file in files.values() if file is not None]
        tasks.append(
            SceneTask(
                name, split, name, scene_bytes(SPACENET7, SIDE, SIDE, 1),
                [(file.name, file.size, file.mark) for file in raw],
                {"dates": [str(date) for date in dates]},
                {"rules": rules, "months": months},
            )
        )  # fmt: skip
    return tasks, gaps


def _usable_months(area: Area, rules: dict[str, Any], gaps: list[Gap]) -> list[datetime.date]:
    """Months with image and footprints and, unless allowed, without masked pixels.

    Every month from the first to the last of which there is any file counts as one of the series.
    """
    usable, masked = [], []
    for date in months_between(min(area.months), max(area.months)):
        month = area.months.get(date, Month())
        labels = rules["footprints"]
        needed = {"image": month.image, labels: month.labels.get(labels)}
        missing = [what for what, file in needed.items() if file is None]
        if missing:
            remark = f"{date:%Y-%m} has no {' and no '.join(missing)}"
            gaps.append(Gap(area.name, remark, "the month is left out"))
        elif month.udm is not None and not rules["masked_months"]:
            masked.append(f"{date:%Y-%m}")
        else:
            usable.append(date)
    if masked:
        remark = f"{len(masked)} months with unusable data ({', '.join(masked)})"
        gaps.append(Gap(area.name, remark, "they are left out (--allow-masked takes them)"))
    return usable


def _month_files(area: Area, date: datetime.date, rules: dict[str, Any]) -> dict[str, Any]:
    month = area.months[date]
    label = month.labels[rules["footprints"]]
    return {"image": month.image, "labels": label, "udm": month.udm}


def _cropped(
    area: str, names: Sequence[str], months: Sequence[SeenMonth], gaps: list[Gap]
) -> list[SeenMonth]:
    """All months on the rows and columns that all of them have; some sides are 1023."""
    headers = [(name, month.grid) for name, month in zip(names, months, strict=True)]
    require_one_grid(area, headers, sizes=False)
    sizes = {(month.grid.height, month.grid.width) for month in months}
    if len(sizes) == 1:
        return list(months)
    height, width = min(h for h, _ in sizes), min(w for _, w in sizes)
    gaps.append(
        Gap(area, f"images of sizes {sorted(sizes)}", f"cut to the first {height}×{width} pixels")
    )
    return [month.cropped(height, width) for month in months]


if __name__ == "__main__":
    run_program(main)
