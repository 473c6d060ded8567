"""Which rasters of a place make up its series, and whether they fit each other and the network.

Dates come from flags, names or tags; headers are compared before any pixel is read, and all faults
are told at once. Reading is in ``raster_series``. Not in the paper.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_processing.custom_series import (
    band_numbers,
    dates_of,
    different,
    find_rasters,
    headers_of,
    unusable,
)
from data_processing.dataset_spec import DatasetSpec
from data_processing.date_choice import check_rule, choose_dates
from data_processing.open_image import OpenImage, tagged_date
from data_processing.raster_series import RasterSeries, SeriesOptions, spec_for
from data_processing.rasters import RasterInfo
from utils.errors import DataError, UserError

__all__ = ["open_raster_series"]

ADVICE = (
    "Bring all images to one grid, type and number of bands, or let --align resample them to the "
    "grid of the first."
)
LARGEST_REFLECTANCE = 10.0  # float values above are hardly the 0…1 that networks take
# what band descriptions are called; exact words only, since "coastal blue" is not blue
NAMES_OF_BANDS = {
    "blue": "blue", "b": "blue", "b02": "blue", "green": "green", "g": "green", "b03": "green",
    "red": "red", "r": "red", "b04": "red", "nir": "nir", "n": "nir", "b08": "nir",
    "near infrared": "nir", "near-infrared": "nir", "nir1": "nir", "alpha": "alpha", "a": "alpha",
}  # fmt: skip


def open_raster_series(
    given: Sequence[str | Path],
    bands: Sequence[str],
    num_dates: int,
    options: SeriesOptions | None = None,
    name: str | None = None,
) -> RasterSeries:
    """Put the images of one place together and make sure that they fit each other and the network.

    Args:
        given: Files, a folder, or a pattern.
        bands: The network's bands in order.
        num_dates: T that the network takes.
        options: See :class:`SeriesOptions`.
        name: Of the area; that of the images' folder if left out.

    Raises:
        UserError: A flag cannot be used as given, or there are more dates than the network takes
            and no rule to choose.
        DataError: With all faults of dates and headers.
    """
    options = options or SeriesOptions()
    spec = spec_for(bands, num_dates)
    numbers = band_numbers(options.bands, spec)
    minimum = options.min_valid_dates
    if minimum is not None and not 1 <= minimum <= num_dates:
        raise UserError(f"--min-valid-dates: found {minimum}, expected 1 … {num_dates}.")
    files = find_rasters([str(path) for path in given], "--images")
    where = str(files[0].parent)
    remarks: list[str] = []
    faults: list[str] = []
    dated = _dated(files, options.dates, faults, remarks)
    if faults:
        raise DataError(where, faults, "Rename the files, or give their dates with --dates.")
    dates = _chosen(dated, num_dates, options.choose_dates, where, remarks)
    headers = headers_of([dated[date] for date in dates], faults)
    if headers:
        numbers = numbers or _without_alpha(headers[0][1], spec)
        faults += unusable(*headers[0], spec, numbers)
        faults += different(headers, grid=not options.align, nodata=False)
    if not faults:
        faults += _other_order(headers, spec, numbers, remarks)
    if faults:
        raise DataError(where, faults, ADVICE)
    first = headers[0][1]
    if options.align:
        remarks += _aligned(headers)
    images = [
        OpenImage(dated[date], info, first, numbers, spec.alpha_band)
        for date, (_, info) in zip(dates, headers, strict=True)
    ]
    clouds = _cloud_masks(options, dates, first, remarks)
    if minimum is not None and minimum < num_dates:
        remarks.append(
            f"pixels seen at {minimum} of {num_dates} dates are mapped; a date without data keeps "
            "the value of the date before"
        )
    remarks += _odd_values(images)
    label = name or files[0].resolve().parent.name or "area"
    return RasterSeries(label, dates, images, clouds, spec, options, remarks)


# ─────────────────────────────────────────── dates ───────────────────────────────────────────


def _dated(
    files: Sequence[Path], given: str | None, faults: list[str], remarks: list[str]
) -> dict[datetime.date, Path]:
    """Files by date: given, from the name, or from the file's tags."""
    if given is not None:
        return dates_of(files, given, faults, "--dates")
    nameless: list[str] = []
    dated = dates_of(files, None, nameless)
    for fault in nameless:
        file = next(file for file in files if fault.startswith(f"{file.name}: "))
        date = tagged_date(file) if "found no date" in fault else None
        if date is None:
            faults.append(fault)
        elif date in dated:
            faults.append(f"{file.name}: found the date {date} twice, also in {dated[date].name}")
        else:
            dated[date] = file
            remarks.append(f"{file.name}: no date in the name, {date} taken from its tags")
    return dict(sorted(dated.items()))


def _chosen(
    dated: dict[datetime.date, Path],
    count: int,
    rule: str | None,
    where: str,
    remarks: list[str],
) -> list[datetime.date]:
    """The dates of the series."""
    found = list(dated)
    listed = ", ".join(map(str, found))
    if len(found) < count:
        fault = f"found {len(found)} dates ({listed}), expected {count} as the network was trained"
        raise DataError(where, [fault], "Add images, or use weights for fewer dates.")
    if rule is None:
        if len(found) == count:
            return found
        raise UserError(
            f"{where}: found {len(found)} dates ({listed}), the network takes {count}. Add "
            "--choose-dates even to take them evenly spaced, first and last included, or "
            "--choose-dates with the dates themselves, or name the images to use."
        )
    check_rule(rule, count, "--choose-dates")
    dates, said = choose_dates(found, count, rule)
    if not dates:
        raise DataError(where, [f"--choose-dates {rule}: {sentence}" for sentence in said])
    chosen = ", ".join(map(str, dates))
    remarks += said
    remarks.append(f"{count} of {len(found)} dates chosen by the rule {rule!r}: {chosen}")
    return dates


# ─────────────────────────────────────────── bands ───────────────────────────────────────────


def _without_alpha(info: RasterInfo, spec: DatasetSpec) -> tuple[int, ...] | None:
    """The bands to take where a file has one more than the network takes, an alpha band."""
    wanted = len(spec.bands)
    if spec.alpha_band is None and info.count == wanted + 1 and info.alpha is not None:
        return tuple(n + 1 for n in range(info.count) if n != info.alpha)
    return None


def _other_order(
    headers: Sequence[tuple[str, RasterInfo]],
    spec: DatasetSpec,
    numbers: tuple[int, ...] | None,
    remarks: list[str],
) -> list[str]:
    """Faults where a file's own names of its bands contradict what the network expects."""
    faults = []
    known = 0
    expected = [band for band in spec.bands if band in set(NAMES_OF_BANDS.values())]
    for name, info in headers:
        described = [NAMES_OF_BANDS.get((text or "").strip().lower()) for text in info.band_names]
        taken = described if numbers is None else [described[n - 1] for n in numbers]
        named = [(found, wanted) for found, wanted in zip(taken, spec.bands, strict=False) if found]
        known += len(named)
        if all(found == wanted for found, wanted in named):
            continue
        remedy = ""
        if set(expected) <= set(described):
            order = ",".join(str(described.index(band) + 1) for band in spec.bands)
            remedy = f"; --bands {order} takes them in that order"
        found_order = ", ".join(str(band or "?") for band in taken)
        faults.append(
            f"{name}: its band names say {found_order}, expected {', '.join(spec.bands)} as the "
            f"network was trained{remedy}"
        )
    if not known:
        remarks.append(f"bands are taken as {', '.join(spec.bands)}, the files do not name them")
    return faults


# ────────────────────────────────────── grids and values ──────────────────────────────────────


def _aligned(headers: Sequence[tuple[str, RasterInfo]]) -> list[str]:
    """Which images will be resampled, in sentences; none where they can not be."""
    (first_name, first), *others = headers
    moved = [name for name, info in others if different([(first_name, first), (name, info)])]
    places = [name for name, info in headers if info.crs is None]
    if moved and places:
        raise DataError(
            "--align",
            [f"{name}: found no CRS, expected one to resample from or to" for name in places],
            "Write the CRS into these files, or bring them to one grid beforehand.",
        )
    return [f"{name}: resampled (bilinear) to the grid of {first_name}" for name in moved]


def _cloud_masks(
    options: SeriesOptions, dates: Sequence[datetime.date], grid: RasterInfo, remarks: list[str]
) -> list[OpenImage | None]:
    """The cloud mask of each date, None where there is none."""
    if options.clouds is None:
        return [None] * len(dates)
    files = find_rasters(list(options.clouds), "--clouds")
    faults: list[str] = []
    dated = dates_of(files, None, faults)
    used = [date for date in dates if date in dated]
    headers = headers_of([dated[date] for date in used], faults)
    for name, info in headers:
        if info.count != 1 or info.dtype not in ("uint8", "uint16", "int16"):
            faults.append(
                f"{name}: found {info.count} bands of {info.dtype}, expected one band of whole "
                "numbers, 0 clear and 1 or 255 cloud"
            )
        elif not options.align:
            same = dataclasses.replace(info, count=grid.count, dtype=grid.dtype)
            faults += different([("the images", grid), (name, same)], nodata=False)
    if not used and not faults:
        faults.append(f"found no mask of the dates {', '.join(map(str, dates))}")
    if faults:
        raise DataError(str(files[0].parent), faults, "See --clouds; masks carry dates in names.")
    infos = dict(zip(used, (info for _, info in headers), strict=True))
    missing = [date for date in dates if date not in infos]
    if missing:
        remarks.append(f"no cloud mask, taken as clear: {', '.join(map(str, missing))}")
    return [
        OpenImage(dated[date], infos[date], grid, None, None, nearest=True)
        if date in infos
        else None
        for date in dates
    ]


def _odd_values(images: Sequence[OpenImage]) -> list[str]:
    """What looks wrong in values, seen in a few thousand pixels of each image."""
    said = []
    for image in images:
        grid = image.grid
        values, seen = image.read_reduced(max(1, max(grid.height, grid.width) // 64))
        shown = values[:, seen].astype(np.float64)
        if not shown.size:
            said.append(f"warning: {image.path.name}: no data in any pixel looked at")
        elif shown.min() == shown.max():
            said.append(f"warning: {image.path.name}: all pixels looked at are {shown.min():g}")
        elif values.dtype.kind == "f" and shown.max() > LARGEST_REFLECTANCE:
            said.append(
                f"warning: {image.path.name}: float values up to {shown.max():g} are used as "
                "stored, expected about 0…1; store reflectance × 10000 as 16-bit integers"
            )
        elif values.dtype.itemsize == 2 and shown.max() <= 255:
            said.append(
                f"warning: {image.path.name}: 16-bit values of {shown.max():g} at most are "
                "divided by 10000; 8-bit values belong into 8 bits"
            )
    return said
