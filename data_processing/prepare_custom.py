"""One's own images and labels to the processed layout of either data set, one scene per call.

    python data_processing/prepare_custom.py --images city/ --moment-raster labels.tif \\
        --dataset dynamic --split train --name Scene01 --data-root data
    python data_processing/prepare_custom.py --images "city/*.tif" --masks masks/ …
    python data_processing/prepare_custom.py --images city/ --polygons changes.geojson …

Images are co-registered GeoTIFFs, one per date, with the date in the name; dynamic takes 6 of
them, spacenet7 takes 9. Labels are one of three kinds: a raster of the change moment, a binary
mask per date, or polygons with the date of their change. Further calls add scenes to the same data
root. docs/data.md says more.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.labels.own_labels import (
    Labels,
    balance,
    labels_from_masks,
    labels_from_polygons,
    labels_from_raster,
)
from data_processing.labels.transitions import EVENTS, TRANSITIONS
from data_processing.own_series.finding import (
    Series,
    band_numbers,
    find_rasters,
    open_series,
    read_image,
)
from data_processing.rasters.date_choice import DATE_RULES, check_rule, choose_dates
from data_processing.raw.plan import Gap, Plan, SceneTask
from data_processing.raw.preparation import add_run_flags, prepare
from data_processing.scenes.spec import DATASET_NAMES, SPLITS, DatasetSpec, spec_by_name
from data_processing.scenes.writing import scene_bytes, write_scene
from utils.errors import DataError, UserError, run_program
from utils.files import plain_name, read_json
from utils.progress import say
from utils.settings import program_parser

__all__ = ["main"]

PROGRAM, VERSION = "prepare_custom.py", 1
SOURCE = {"made_from": "one's own images; what each scene is made from stands with it"}
NOTES = {
    "data_set": "one's own",
    "classes": "0 unchanged, k = changed between date k-1 and date k, 255 unknown",
    "area": "(moment > 0)",
    "no_data": "by the nodata tag, NaN, or alpha 0 of the images",
}
# flags that mean something for one kind of labels, with what they are if left out
KINDS: dict[str, dict[str, Any]] = {
    "moment_raster": {},
    "masks": {"event": "last", "transitions": "both"},
    "polygons": {"event": "last", "all_touched": False, "date_field": "date"},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Plan and run.

    Raises:
        UserError: A flag cannot be used.
        DataError: Images or labels are at fault.
    """
    flags = _parser().parse_args(arguments)
    spec = spec_by_name(flags.dataset)
    kind, settings = _label_settings(flags)
    check_rule(flags.dates, spec.num_dates)
    _check_name(flags, spec)
    bands = band_numbers(flags.bands, spec)
    series = open_series(find_rasters(flags.images, "--images"), flags.image_dates, spec, bands)
    for remark in series.remarks:
        say(f"{flags.split}/{flags.name}: {remark}")
    gaps: list[Gap] = []
    dates = _chosen(series, spec, flags, gaps)
    labels = _labels(kind, settings, series, dates, spec, flags)
    gaps += [Gap(flags.name, found, done) for found, done in labels.gaps]
    for line in [*labels.remarks, *balance(labels.moment, spec.num_classes)]:
        say(f"{flags.split}/{flags.name}: {line}")
    facts = {"dates": [str(date) for date in dates], "labels": kind, **settings}
    _say_what_differs(flags, spec, series, settings)
    task = _task(series, dates, labels, facts, spec, flags)
    notes = {**NOTES, "bands": list(spec.bands)}
    plan = Plan(
        PROGRAM, VERSION, spec, flags.data_root, SOURCE, {}, notes, [task], gaps, adds=True
    )  # fmt: skip
    prepare(plan, write_custom, flags)


def write_custom(task: SceneTask, folder: Path) -> dict[str, Any]:
    """Write a scene of one's own.

    Raises:
        DataError: Images cannot be read, all of them told.
    """
    work = task.work
    series, spec, moment = work["series"], work["spec"], work["moment"]
    gaps: list[Gap] = []
    valid = np.ones(moment.shape, dtype=np.bool_)
    images = _images(task, valid, gaps)
    facts = write_scene(folder, spec, images, series.grid, moment, valid, series.nodata)
    return {**facts, **work["provenance"], "gaps": gaps}


def _images(
    task: SceneTask, valid: NDArray[np.bool_], gaps: list[Gap]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The images one after the other; ``valid`` loses the pixels that lack data in any."""
    series, spec = task.work["series"], task.work["spec"]
    faults: list[str] = []
    for date in task.work["dates"]:
        path = series.files[date]
        try:
            image = read_image(path, series, spec)
        except DataError as error:
            faults += [f"{path.name}: {fault}" for fault in error.faults]
            continue
        gaps += [Gap(task.name, found, done) for found, done in image.remarks]
        valid &= image.seen
        yield spec.image_file(date, task.name), image.bands
    if faults:
        raise DataError(task.area, faults)


def _parser() -> argparse.ArgumentParser:
    parser = program_parser(__doc__)
    add = parser.add_argument
    add("--images", nargs="+", required=True, metavar="PATH",
        help='a folder of GeoTIFFs, a pattern such as "city/*.tif", or files')  # fmt: skip
    add("--dataset", choices=DATASET_NAMES, required=True,
        help="whose layout: 6 dates or 9 dates")  # fmt: skip
    add("--split", choices=SPLITS, required=True)
    add("--name", required=True, help="of the scene, for example Scene01")
    labels = parser.add_argument_group("labels, one kind of them")
    more = labels.add_argument
    more("--moment-raster", type=Path, help="0 unchanged, k changed between date k-1 and date k")
    more("--masks", nargs="+", metavar="PATH",
         help="a binary raster per date, its date in the name; given as --images")  # fmt: skip
    more("--polygons", type=Path, help="GeoJSON with the date of change of every polygon")
    more("--event", choices=EVENTS, help="of several changes; masks, polygons (default last)")
    more("--transitions", choices=TRANSITIONS, help="masks: default both")
    more("--date-field", help="polygons: property that holds the date (default date)")
    more("--all-touched", action="store_true", default=None,
         help="polygons: draw every pixel that one touches")  # fmt: skip
    add("--image-dates", help="2020-01,2020-04,…: in the order of the names, where these say none")
    add("--dates", default="even",
        help=f"which dates if there are more: {DATE_RULES} (default even)")  # fmt: skip
    add("--bands", help="1,2,3,4: bands to take in the data set's order, from 1")
    add_run_flags(parser, "Images_<name>/ of the data set")
    return parser


def _label_settings(flags: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The kind of labels, and what is set for it.

    Raises:
        UserError: There is none, there are several, or a flag of another kind is given.
    """
    given = [kind for kind in KINDS if getattr(flags, kind) is not None]
    names = ", ".join(map(_flag, KINDS))
    if not given:
        raise UserError(
            f"found no label, expected one of {names}. Training and scoring need labels; to make "
            "maps of images without any, they need not be brought into this layout."
        )
    if len(given) > 1:
        raise UserError(
            f"found {' and '.join(map(_flag, given))}, expected one of {names}. Labels of several "
            "kinds may contradict each other: give the one that counts."
        )
    kind = given[0]
    known = dict.fromkeys(name for settings in KINDS.values() for name in settings)
    foreign = [n for n in known if n not in KINDS[kind] and getattr(flags, n) is not None]
    if foreign:
        raise UserError(
            f"found {', '.join(map(_flag, foreign))} together with {_flag(kind)}, where it has no "
            "effect. Leave it out."
        )
    settings = KINDS[kind].items()
    return kind, {n: v if getattr(flags, n) is None else getattr(flags, n) for n, v in settings}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_name(flags: argparse.Namespace, spec: DatasetSpec) -> None:
    """Refuse what is no folder name, and a scene that another split has.

    Raises:
        UserError: See above.
    """
    try:
        name = plain_name(flags.name)
    except ValueError as error:
        raise UserError(
            f"--name: found {error}, expected the name of a folder, such as {spec.scene_example}."
        ) from error
    folder = flags.data_root / spec.images_root
    there = [s for s in SPLITS if s != flags.split and (folder / s / name).is_dir()]
    if there:
        raise UserError(
            f"--name: {folder / there[0] / name} is there already, expected a scene in one split "
            f"only. Give another --name than {name!r}, or remove that folder."
        )


def _chosen(
    series: Series, spec: DatasetSpec, flags: argparse.Namespace, gaps: list[Gap]
) -> list[datetime.date]:
    """The dates of the scene.

    Raises:
        UserError: The layout cannot hold them, or a moment raster would not refer to them.
        DataError: There are too few.
    """
    at_hand = list(series.files)
    dates, remarks = choose_dates(at_hand, spec.num_dates, flags.dates)
    if not dates:
        where = str(next(iter(series.files.values())).parent)
        listed = f"{where}: dates {', '.join(map(str, at_hand))}"
        raise DataError(
            listed, remarks, f"A scene of {spec.title}'s layout has {spec.num_dates} dates."
        )
    gaps += [Gap(flags.name, remark, "see dataset.json") for remark in remarks]
    surplus = [date for date in at_hand if date not in dates]
    if surplus:
        if flags.moment_raster is not None:
            raise UserError(
                f"--moment-raster: found {len(at_hand)} images, expected {spec.num_dates}: its "
                "numbers are intervals between the dates of the scene, and would mean others "
                f"where dates are left out (here {', '.join(map(str, surplus))}). Name the "
                f"{spec.num_dates} images it was made for with --images."
            )
        say(
            f"{len(at_hand)} dates, of which the layout takes {spec.num_dates}: chosen by --dates "
            f"{flags.dates}: {', '.join(map(str, dates))}"
        )
    if len({spec.image_file(date, flags.name) for date in dates}) < len(dates):
        raise UserError(
            f"--dates: found {', '.join(map(str, dates))}, expected one date a month: the names "
            f"of {spec.title}'s layout hold no day. Choose others, or another --dataset."
        )
    return dates


def _labels(
    kind: str,
    settings: dict[str, Any],
    series: Series,
    dates: Sequence[datetime.date],
    spec: DatasetSpec,
    flags: argparse.Namespace,
) -> Labels:
    """Labels of the one kind that is given."""
    grid = series.grid
    if kind == "masks":
        return labels_from_masks(find_rasters(flags.masks, "--masks"), dates, grid, **settings)
    path: Path = getattr(flags, kind)
    if not path.is_file():
        raise UserError(f"{_flag(kind)}: there is no file {path}.")
    if kind == "moment_raster":
        return labels_from_raster(path, grid, spec.num_classes)
    if grid.crs is None:
        raise UserError(
            "--polygons: the images have no coordinate system, so that polygons cannot be placed. "
            "Georeference the images, or draw the polygons on their pixels and give --masks."
        )
    return labels_from_polygons(path, dates, grid, **settings)


def _say_what_differs(
    flags: argparse.Namespace, spec: DatasetSpec, series: Series, settings: dict[str, Any]
) -> None:
    """Warn of scenes of the data root that do not go well with this one."""
    try:
        scenes = read_json(flags.data_root / spec.images_root / "dataset.json")["scenes"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    folder = _folder(series)
    for scene in scenes:
        label = f"{scene['split']}/{scene['name']}"
        if scene["split"] != flags.split and scene.get("images_from") == folder:
            say(f"warning: {label} is made from {folder}, too; splits shall not share a place")
        if label == f"{flags.split}/{flags.name}":
            continue
        for rule in settings.keys() & {"event", "transitions"}:
            if scene.get(rule, settings[rule]) != settings[rule]:
                say(
                    f"warning: labels of {label} were made with {_flag(rule)} {scene[rule]}, these "
                    f"with {settings[rule]}"
                )


def _folder(series: Series) -> str:
    return str(next(iter(series.files.values())).resolve().parent)


def _task(
    series: Series,
    dates: Sequence[datetime.date],
    labels: Labels,
    facts: dict[str, Any],
    spec: DatasetSpec,
    flags: argparse.Namespace,
) -> SceneTask:
    """The scene to be written; what does not change it stands in ``provenance`` only."""
    grid, folder = series.grid, _folder(series)
    files = [*(series.files[date] for date in dates), *labels.files]
    states = [(file.name, file.stat()) for file in files]
    provenance = {
        "images_from": folder,
        "made_from": [file.name for file in files],
        "dates_chosen_by": flags.dates,
    }
    work = {
        "series": series, "spec": spec, "dates": dates, "moment": labels.moment,
        "provenance": provenance,
    }  # fmt: skip
    return SceneTask(
        flags.name, flags.split, Path(folder).name,
        scene_bytes(spec, grid.height, grid.width, np.dtype(grid.dtype).itemsize),
        [(name, state.st_size, state.st_mtime_ns) for name, state in states],
        {**facts, "bands_taken": None if series.bands is None else list(series.bands)},
        work,
    )  # fmt: skip


if __name__ == "__main__":
    run_program(main)
