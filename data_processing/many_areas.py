"""Several areas in one run: a folder of folders, mapped one by one, with a table of them all.

Not in the paper.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_processing.area_maps import MapOptions, map_area
from data_processing.custom_series import SUFFIXES
from data_processing.raster_series import SeriesOptions
from data_processing.series_opening import open_raster_series
from utils.errors import CaimError, DataError, UserError
from utils.model import Model
from utils.processes import Processes
from utils.progress import say
from utils.run_log import write_csv_rows

__all__ = ["area_folders", "map_areas"]


def area_folders(images: Sequence[str]) -> list[Path]:
    """The areas of a folder of folders; none where the images are those of one area.

    Args:
        images: The value of ``--images``.
    """
    if len(images) != 1 or not Path(images[0]).is_dir() or _holds_rasters(Path(images[0])):
        return []
    folders = sorted(path for path in Path(images[0]).iterdir() if path.is_dir())
    return [folder for folder in folders if folder.name[0] != "." and _holds_rasters(folder)]


def map_areas(
    images: Sequence[str],
    model: Model,
    reading: SeriesOptions,
    options: MapOptions,
    folder: Path,
    processes: Processes,
) -> list[dict[str, Any]]:
    """Map one area into ``folder``, or each area of a folder of folders into one of its own.

    Areas at fault are told at the end, the others are mapped. ``areas.csv`` lists them all.

    Args:
        images: The value of ``--images``: files, a folder, a pattern, or a folder of folders.
        model: The weights.
        reading: How series are put together.
        options: How areas are mapped.
        folder: Of the run.
        processes: Those that share the work.

    Returns:
        Summaries of the areas that were mapped.

    Raises:
        UserError: A flag cannot be used as given.
        DataError: Images are missing or at fault.
    """
    areas = area_folders(images)
    if not areas:
        series = open_raster_series(images, model.bands, model.num_dates, reading)
        return [map_area(series, model, options, folder, processes)]
    if reading.dates is not None:
        raise UserError(
            f"--dates: found {len(areas)} areas in {images[0]}, expected one; for several areas "
            "dates come from the names or tags of the images."
        )
    summaries, rows, errors = [], [], []
    for area in areas:
        begun = time.perf_counter()
        row: dict[str, Any] = {"area": area.name, "state": "mapped"}
        try:
            summary = _mapped(area, model, reading, options, folder, processes)
            summaries.append(summary)
            row |= _row(summary) if summary else {}
        except DataError as error:
            say(f"{area.name}: not mapped. {error}")
            errors.append(error)
            row |= {"state": "at fault", "message": "; ".join(error.faults) or str(error)}
        rows.append({**row, "seconds": f"{time.perf_counter() - begun:.1f}"})
        if processes.is_first:
            write_csv_rows(folder / "areas.csv", rows)
    if errors:
        faults = [f"{error.where}: {fault}" for error in errors for fault in error.faults]
        raise DataError(
            f"{len(errors)} of {len(areas)} areas", faults,
            f"The others are mapped; {folder / 'areas.csv'} lists all.",
        )  # fmt: skip
    return summaries


def _mapped(
    area: Path,
    model: Model,
    reading: SeriesOptions,
    options: MapOptions,
    folder: Path,
    processes: Processes,
) -> dict[str, Any]:
    """The summary of one of several areas.

    Raises:
        DataError: Its images are at fault.
        CaimError: The same, found by one of several processes while it reads: the others wait for
            it, so that all have to end.
    """
    own = _of_area(reading, area.name)
    series = open_raster_series([area], model.bands, model.num_dates, own, area.name)
    try:
        return map_area(series, model, options, folder / area.name, processes)
    except DataError as error:
        if processes.size > 1:
            raise CaimError(f"{area.name}: {error}") from error
        raise


def _holds_rasters(folder: Path) -> bool:
    return any(path.suffix.lower() in SUFFIXES and path.is_file() for path in folder.iterdir())


def _of_area(reading: SeriesOptions, name: str) -> SeriesOptions:
    """How the series of one area is read: its cloud masks lie in a folder of its name."""
    if reading.clouds is None:
        return reading
    own = Path(reading.clouds[0]) / name
    if len(reading.clouds) != 1 or not Path(reading.clouds[0]).is_dir():
        raise UserError(
            "--clouds: found files or a pattern, expected a folder that holds a folder of masks "
            "for each area, named as the area."
        )
    return replace(reading, clouds=(str(own),) if own.is_dir() else None)


def _row(summary: Mapping[str, Any]) -> dict[str, Any]:
    """An area's row of the table."""
    hectares = summary["hectares"] or {}
    pixels = summary["pixels"]
    return {
        "first_date": summary["dates"][0],
        "last_date": summary["dates"][-1],
        "mapped_pixels": pixels["mapped"],
        "changed_pixels": pixels["changed"],
        "mapped_hectares": _number(hectares.get("mapped")),
        "changed_hectares": _number(hectares.get("changed")),
        **{f"pixels_moment_{row['moment']}": row["pixels"] for row in summary["intervals"]},
        **{
            f"hectares_moment_{row['moment']}": _number(row["hectares"])
            for row in summary["intervals"]
        },
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
