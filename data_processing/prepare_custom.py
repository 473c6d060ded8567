"""One's own images and labels to the processed layout of a data set, one scene per call.

    python data_processing/prepare_custom.py --images city/ --polygons changes.geojson \\
        --dataset custom --split train --name Scene01 --data-root data
    python data_processing/prepare_custom.py --images "city/*.tif" --masks masks/ …
    python data_processing/prepare_custom.py --images city/ --moment-raster labels.tif …

Images are co-registered GeoTIFFs, one per date, with the date in the name. custom takes any bands
and any number of dates from 2 on, the same for all scenes of a data root, and keeps them in
dataset.json; dynamic takes 6 dates and spacenet7 9, of the paper's bands. Labels are one of three
kinds: a raster of the change moment, a binary mask per date, or polygons with the date of their
change. Further calls add scenes to the same data root. docs/data.md says more.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from data_processing.labels.transitions import Event, Transitions
from data_processing.own_series.facts import FactSettings, spec_for_images
from data_processing.own_series.finding import find_files, words_of_bands
from data_processing.own_series.gathering import gather
from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import COMPUTED, SeriesOptions, is_computed
from data_processing.own_series.series import RasterSeries
from data_processing.rasters.cloud_codes import CloudCodes
from data_processing.rasters.date_choice import DATE_RULES
from data_processing.rasters.reading import require_room
from data_processing.rasters.sources import folder_of, stamps_of
from data_processing.raw.plan import Gap, Plan, RunSettings, SceneTask
from data_processing.raw.preparation import prepare
from data_processing.scenes.custom import facts_of
from data_processing.scenes.spec import CUSTOM, SPLITS, DatasetSpec, Split
from data_processing.scenes.writing import SceneImage, scene_bytes, write_scene
from utils.errors import DataError, UserError, run_program
from utils.fields import PathPattern, Positive
from utils.files import plain_name, read_json
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings, FactSettings):
    """One value a line; each is also a flag.

    Those of all such programs stand in RunSettings, what says which data set in FactSettings.
    """

    images: tuple[PathPattern, ...]  # folder of GeoTIFFs, pattern (city/*.tif), or files
    split: Split  # where the scene goes
    name: str  # of the scene, for example Scene01
    # labels, one kind of them
    moment_raster: Path | None = None  # 0 unchanged, k changed between date k-1 and date k
    masks: tuple[PathPattern, ...] | None = None  # a binary raster per date, named as images are
    polygons: Path | None = None  # GeoJSON, .gpkg, .fgb, .parquet, .shp; each with its date
    event: Event | None = None  # of several changes; masks, polygons: none = last
    transitions: Transitions | None = None  # masks: none = both
    date_field: str | None = None  # polygons: property that holds the date; none = date
    all_touched: bool = False  # polygons: draw every pixel that one touches
    # dates and bands
    dates: str | None = None  # 2020-01,2020-04,… in the order of names that say none
    choose_dates: str = "even"  # if there are more: even, first, every:N, YYYY-MM,YYYY-MM,…
    bands_per_date: Positive | None = None  # of a file that holds several dates: give --dates, too
    assets: str | None = None  # of STAC items (--images items.json): blue,green,red,nir08
    align: bool = False  # resample other grids to that of the first image
    # values: auto, type, tags, landsat-c2, sentinel2-offset, sentinel2-by-baseline, 0.0001,-0.1
    scaling: str = "auto"
    # cloud masks as agencies ship them, with dates in their names; auto = computed from the images
    clouds: tuple[PathPattern, ...] | None = None
    cloud_codes: CloudCodes = "auto"  # what their values mean; auto = as they tell


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

PROGRAM, VERSION = "prepare_custom.py", 1
SOURCE = {"made_from": "one's own images; what each scene is made from stands with it"}
NOTES = {
    "data_set": "one's own",
    "classes": "0 unchanged, k = changed between date k-1 and date k, 255 unknown",
    "area": "(moment > 0)",
    "no_data": "by the nodata tag, NaN, mask or alpha 0 of the images, and by cloud masks",
}
# settings that mean something for one kind of labels, with what they are if left out
UNSAID = (None, False)  # of a flag that is not given
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
    settings = read_settings(Settings, arguments)
    kind, rules = _label_settings(settings)
    options = SeriesOptions(
        settings.dates, settings.choose_dates, settings.bands, settings.align, settings.clouds,
        settings.cloud_codes, scaling=settings.scaling, bands_per_date=settings.bands_per_date,
        assets=settings.assets,
    )  # fmt: skip
    spec = _spec(settings, options)
    _check_name(settings, spec)
    if settings.choose_dates == "all":
        raise UserError(
            f"--choose-dates: found all, expected a rule that gives {spec.num_dates} dates as in "
            f"{spec.title}: {DATE_RULES}."
        )
    series = open_raster_series(settings.images, spec, options, settings.name)
    for remark in series.remarks:
        say(f"{settings.split}/{settings.name}: {remark}")
    _check_dates(series, settings)
    require_room(str(series.files[0]), series.grid)
    gaps = [Gap(settings.name, gap, "see dataset.json") for gap in series.gaps]
    labels = _labels(kind, rules, series, settings)
    gaps += [Gap(settings.name, remark, done) for remark, done in labels.gaps]
    for line in [*labels.remarks, *balance(labels.moment, spec.num_classes)]:
        say(f"{settings.split}/{settings.name}: {line}")
    facts = {"dates": [str(date) for date in series.dates], "labels": kind, **rules}
    if is_computed(settings.clouds):
        facts["clouds"] = COMPUTED
    if any(series.scaling):
        facts["scaling"] = series.scaling
    if settings.dataset == CUSTOM:
        facts["bands"] = list(spec.bands)
    _say_what_differs(settings, spec, series, rules)
    task = _task(series, labels, facts, settings)
    notes = {**NOTES, **facts_of(spec)}
    plan = Plan(
        PROGRAM, VERSION, spec, settings.data_root, SOURCE, {}, notes, [task], gaps, adds=True
    )  # fmt: skip
    prepare(plan, write_custom, settings)


def write_custom(task: SceneTask, folder: Path) -> dict[str, Any]:
    """Write a scene of one's own.

    Raises:
        DataError: Images cannot be read, all of them told.
    """
    series, moment = task.work["series"], task.work["moment"]
    valid = np.ones(moment.shape, dtype=np.bool_)
    images = _images(task.area, series, valid)
    facts = write_scene(folder, series.spec, images, series.grid, moment, valid)
    return {**facts, **task.work["provenance"]}


def _images(scene: str, series: RasterSeries, valid: NDArray[np.bool_]) -> Iterator[SceneImage]:
    """The images one after the other; ``valid`` loses the pixels that are not seen in any."""
    faults: list[str] = []
    alpha = series.spec.alpha_band
    for place, (date, path) in enumerate(zip(series.dates, series.files, strict=True)):
        try:
            bands, observed = series.read_stored(place)
        except DataError as error:
            faults += [f"{path.name}: {fault}" for fault in error.faults]
            continue
        valid &= observed
        nodata = series.nodata(place)
        if nodata is None and bands.dtype.kind == "f":
            nodata = math.nan
        name = series.spec.image_file(date, series.name)
        if alpha is None:
            yield SceneImage(name, bands, nodata, observed)
        else:
            bands[alpha] = np.where(observed, bands[alpha], 0)
            yield SceneImage(name, bands, nodata)
    series.close()
    if faults:
        raise DataError(scene, faults)


def _spec(settings: Settings, options: SeriesOptions) -> DatasetSpec:
    """The facts of the data set that the scene goes into; T is as --choose-dates lists, or all."""
    images = gather(settings.images, options, words_of_bands(settings.bands)[1]).rasters
    listed = settings.choose_dates.count(",") + 1
    return spec_for_images(
        settings, settings.data_root, images, listed if listed > 1 else len(images),
        (settings.split, settings.name),
    )  # fmt: skip


def _label_settings(settings: Settings) -> tuple[str, dict[str, Any]]:
    """The kind of labels, and what is set for it.

    Raises:
        UserError: There is none, there are several, or a flag of another kind is given.
    """
    given = [kind for kind in KINDS if getattr(settings, kind) is not None]
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
    rule_names = dict.fromkeys(name for rules in KINDS.values() for name in rules)
    foreign = [n for n in rule_names if n not in KINDS[kind] and getattr(settings, n) not in UNSAID]
    if foreign:
        raise UserError(
            f"found {', '.join(map(_flag, foreign))} together with {_flag(kind)}, where it has no "
            "effect. Leave it out."
        )
    said = {n: getattr(settings, n) for n in KINDS[kind]}
    return kind, {n: v if said[n] in UNSAID else said[n] for n, v in KINDS[kind].items()}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_name(settings: Settings, spec: DatasetSpec) -> None:
    """Refuse what is no folder name, and a scene that another split has.

    Raises:
        UserError: See above.
    """
    try:
        name = plain_name(settings.name)
    except ValueError as error:
        raise UserError(
            f"--name: found {error}, expected the name of a folder, such as {spec.scene_example}."
        ) from error
    folder = settings.data_root / spec.images_root
    other_splits = [s for s in SPLITS if s != settings.split and (folder / s / name).is_dir()]
    if other_splits:
        raise UserError(
            f"--name: {folder / other_splits[0] / name} is there already, expected a scene in one "
            f"split only. Give another --name than {name!r}, or remove that folder."
        )


def _check_dates(series: RasterSeries, settings: Settings) -> None:
    """Refuse dates that the layout cannot hold, or that a moment raster would not refer to.

    Raises:
        UserError: See above.
    """
    dates, spec = series.dates, series.spec
    if series.left_out and settings.moment_raster is not None:
        number = len(dates) + len(series.left_out)
        raise UserError(
            f"--moment-raster: found {number} images, expected {len(dates)}: its "
            "numbers are intervals between the dates of the scene, and would mean others "
            f"where dates are left out (here {', '.join(map(str, series.left_out))}). Name the "
            f"{len(dates)} images it was made for with --images."
        )
    if len({spec.image_file(date, settings.name) for date in dates}) < len(dates):
        raise UserError(
            f"--choose-dates: found {', '.join(map(str, dates))}, expected one date a month: the "
            f"names of {spec.title}'s layout hold no day. Choose others, or another --dataset."
        )


def _labels(
    kind: str,
    rules: dict[str, Any],
    series: RasterSeries,
    settings: Settings,
) -> Labels:
    """Labels of the one kind that is given."""
    grid, dates = series.grid, series.dates
    if settings.masks is not None:
        return labels_from_masks(find_files(settings.masks, "--masks"), dates, grid, **rules)
    path: Path = getattr(settings, kind)
    if not path.is_file():
        raise UserError(f"{_flag(kind)}: there is no file {path}.")
    if kind == "moment_raster":
        return labels_from_raster(path, grid, series.spec.num_classes)
    if grid.crs is None:
        raise UserError(
            "--polygons: the images have no coordinate system, so that polygons cannot be placed. "
            "Georeference the images, or draw the polygons on their pixels and give --masks."
        )
    return labels_from_polygons(path, dates, grid, **rules)


def _say_what_differs(
    settings: Settings, spec: DatasetSpec, series: RasterSeries, rules: dict[str, Any]
) -> None:
    """Warn of scenes of the data root that do not go well with this one."""
    try:
        scenes = read_json(settings.data_root / spec.images_root / "dataset.json")["scenes"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    folder = _folder(series)
    for scene in scenes:
        label = f"{scene['split']}/{scene['name']}"
        if scene["split"] != settings.split and scene.get("images_from") == folder:
            say(f"warning: {label} is made from {folder}, too; splits shall not share a place")
        if label == f"{settings.split}/{settings.name}":
            continue
        for rule in rules.keys() & {"event", "transitions"}:
            if scene.get(rule, rules[rule]) != rules[rule]:
                say(
                    f"warning: labels of {label} were made with {_flag(rule)} {scene[rule]}, these "
                    f"with {rules[rule]}"
                )


def _folder(series: RasterSeries) -> str:
    image = series.files[0]
    return str(image.resolve().parent) if isinstance(image, Path) else folder_of(image)


def _task(
    series: RasterSeries, labels: Labels, facts: dict[str, Any], settings: Settings
) -> SceneTask:
    """The scene to be written; what does not change it stands in ``provenance`` only."""
    grid, folder = series.grid, _folder(series)
    rasters = [*series.files, *series.cloud_files, *labels.files]
    provenance = {
        "images_from": folder,
        "made_from": [raster.name for raster in rasters],
        "dates_chosen_by": settings.choose_dates,
        "remarks": series.remarks,
    }
    return SceneTask(
        settings.name, settings.split, Path(folder).name,
        scene_bytes(series.spec, grid.height, grid.width, series.itemsize),
        [(path.name, size, time) for path, (size, time, _) in stamps_of(rasters).items()],
        {**facts, "bands_taken": settings.bands, "align": settings.align},
        {"series": series, "moment": labels.moment, "provenance": provenance},
    )  # fmt: skip


if __name__ == "__main__":
    run_program(main)
