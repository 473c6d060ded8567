"""Which rasters of a place make up its series, and whether they fit each other and the network.

Dates come from flags, names or tags; headers are compared before any pixel is read, and all faults
are told at once. Reading is in ``raster_series``.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds

from data_processing.own_series.bands import band_marks, other_colors, other_names, without_alpha
from data_processing.own_series.dating import chosen_dates, dated_files, refuse_stack
from data_processing.own_series.finding import (
    band_numbers,
    different,
    find_rasters,
    headers_of,
    unusable,
)
from data_processing.own_series.image import OpenImage
from data_processing.own_series.series import RasterSeries, SeriesOptions, spec_for
from data_processing.rasters.dates import dates_of, partners
from data_processing.rasters.grids import grid_faults
from data_processing.rasters.reading import RasterInfo
from data_processing.scenes.spec import DYNAMIC, SPACENET7, DatasetSpec
from utils.errors import DataError, UserError

__all__ = ["open_raster_series"]

ADVICE = "Bring all images to one type and number of bands."
GRID_ADVICE = "Bring all images to one grid, or let --align resample them to that of the first."
CLOUD_ADVICE = "See --clouds: masks carry dates in their names and have one band, 0 clear, 1 cloud."
LIKELY_NODATA = -9999.0  # no measurement is that low
LARGEST_REFLECTANCE = 10.0  # float values above are hardly the 0…1 that networks take
CLOUD_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
BRIGHTEST = 10000  # of 16-bit values, reflectance × 10000
EMPTY_SHARE = 0.01  # of pixels that are 0 in all bands, worth a word


def open_raster_series(
    given: str | Path | Sequence[str | Path],
    bands: Sequence[str],
    num_dates: int,
    options: SeriesOptions | None = None,
    name: str | None = None,
) -> RasterSeries:
    """Put the images of one place together and make sure that they fit each other and the network.

    Args:
        given: Files, a folder, or a pattern, or several of them.
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
    words = [given] if isinstance(given, str | Path) else given
    files = find_rasters([str(path) for path in words], "--images")
    where = str(files[0].parent)
    remarks: list[str] = []
    refuse_stack(files, len(spec.bands), num_dates)
    dated = dated_files(words, files, num_dates, options.dates, remarks)
    dates = chosen_dates(dated, num_dates, options.choose_dates, where, remarks)
    paths = [dated[date] for date in dates]
    headers, numbers = _fitting(paths, spec, options, numbers, where, remarks)
    first = headers[0][1]
    if options.align:
        remarks += _aligned(headers)
    images = [
        OpenImage(path, info, first, numbers, spec.alpha_band)
        for path, (_, info) in zip(paths, headers, strict=True)
    ]
    clouds = _cloud_masks(options, dates, first, remarks)
    if minimum is not None and minimum < num_dates:
        remarks.append(
            f"pixels seen at {minimum} of {num_dates} dates are mapped; a date without data keeps "
            "the value of the date before"
        )
    remarks += _odd_values(images, headers, spec, options)
    label = name or _place_name(files[0])
    return RasterSeries(label, dates, images, clouds, spec, options, remarks)


def _place_name(file: Path) -> str:
    """What an area is called after: its folder, or the one above a data set's image folder."""
    folder = file.resolve().parent
    if folder.name in (DYNAMIC.image_folder, SPACENET7.image_folder):
        folder = folder.parent
    return folder.name or "area"


# ────────────────────────────────────── headers and bands ──────────────────────────────────────


def _fitting(
    paths: Sequence[Path],
    spec: DatasetSpec,
    options: SeriesOptions,
    numbers: tuple[int, ...] | None,
    where: str,
    remarks: list[str],
) -> tuple[list[tuple[str, RasterInfo]], tuple[int, ...] | None]:
    """Names and headers of images that fit each other and the network, and the bands to take.

    Raises:
        DataError: With all faults of headers.
    """
    faults: list[str] = []
    headers = headers_of(paths, faults)
    picked = numbers is not None
    if headers:
        numbers = numbers or without_alpha(headers[0][1], spec)
        faults += unusable(*headers[0], spec, numbers)
        faults += different(headers, grid=not options.align, nodata=False)
    order = [] if faults else _other_order(paths, headers, spec, numbers, picked, remarks)
    if order:
        raise DataError(where, order)
    if faults:
        elsewhere = bool(headers) and not options.align and bool(grid_faults(headers))
        raise DataError(where, faults, GRID_ADVICE if elsewhere else ADVICE)
    return headers, numbers


def _other_order(
    paths: Sequence[Path],
    headers: Sequence[tuple[str, RasterInfo]],
    spec: DatasetSpec,
    numbers: tuple[int, ...] | None,
    picked: bool,
    remarks: list[str],
) -> list[str]:
    """Faults where files say that their bands come in another order, or that they have no grid."""
    faults, known = other_names(headers, spec, numbers)
    marks = [(*header, band_marks(path)) for path, header in zip(paths, headers, strict=True)]
    faults += [
        f"{name}: found ground control points, expected a rectified image (gdalwarp makes one)"
        for name, _, mark in marks
        if mark.ground_points
    ]
    odd = [
        (name, f"scale and offset in its tags ({mark.unapplied}) are not applied")
        for name, _, mark in marks
        if mark.unapplied
    ]
    if not known:
        remarks.append(f"bands are taken as {', '.join(spec.bands)}, the files do not name them")
        if not picked:
            wrong, warnings = other_colors(marks, spec, numbers)
            faults += wrong
            odd += warnings
    remarks += _warnings(odd)
    return faults


def _warnings(said: Sequence[tuple[str, str]]) -> list[str]:
    """Warnings from names and what is said of them, each sentence once."""
    names: dict[str, list[str]] = {}
    for name, sentence in said:
        names.setdefault(sentence, []).append(name)
    return [
        f"warning: {first}{f' and {len(more)} more' if more else ''}: {sentence}"
        for sentence, (first, *more) in names.items()
    ]


# ────────────────────────────────────── grids and values ──────────────────────────────────────


def _aligned(headers: Sequence[tuple[str, RasterInfo]]) -> list[str]:
    """Which images will be resampled, in sentences; none where they can not be."""
    (first_name, first), *others = headers
    moved = [name for name, info in others if grid_faults([(first_name, first), (name, info)])]
    places = [name for name, info in headers if info.crs is None]
    if moved and places:
        raise DataError(
            "--align",
            [f"{name}: found no CRS, expected one to resample from or to" for name in places],
            "Write the CRS into these files, or bring them to one grid beforehand.",
        )
    beside = [name for name, info in others if name in moved and not _touch(first, info)]
    if beside:
        raise DataError(
            "--align",
            [
                f"{name}: lies beside {first_name}, expected an image of its place"
                for name in beside
            ],
            "Leave it out, or mend its CRS or transform.",
        )
    return [f"{name}: resampled (bilinear) to the grid of {first_name}" for name in moved]


def _touch(grid: RasterInfo, other: RasterInfo) -> bool:
    """Whether two rasters have any ground in common, as far as their systems can be compared."""
    west, south, east, north = _bounds(grid)
    try:
        left, bottom, right, top = transform_bounds(other.crs, grid.crs, *_bounds(other))
    except (RasterioError, CPLE_BaseError):
        return True  # opening it will say more
    return bool(left < east and right > west and bottom < north and top > south)


def _bounds(info: RasterInfo) -> tuple[float, float, float, float]:
    """West, south, east, north of a raster, whichever way its rows and columns run."""
    one, two, three, four = array_bounds(info.height, info.width, info.transform)
    return min(one, three), min(two, four), max(one, three), max(two, four)


def _cloud_masks(
    options: SeriesOptions, dates: Sequence[datetime.date], grid: RasterInfo, remarks: list[str]
) -> list[OpenImage | None]:
    """The cloud mask of each date, None where there is none."""
    if options.clouds is None:
        return [None] * len(dates)
    files = find_rasters(list(options.clouds), "--clouds")
    faults: list[str] = []
    dated = dates_of(files, None, faults, remarks, tags=False, title="dates of cloud masks")
    masks_of = partners(dates, dated, faults)
    headers = headers_of(list(masks_of.values()), faults)
    for name, info in headers:
        if info.count != 1 or info.dtype not in CLOUD_TYPES:
            faults.append(
                f"{name}: found {info.count} bands of {info.dtype}, expected one band of whole "
                "numbers, 0 clear and 1 or 255 cloud"
            )
        elif not options.align:
            faults += grid_faults([("the images", grid), (name, info)])
        elif info.crs is None and grid_faults([("the images", grid), (name, info)]):
            faults.append(f"{name}: found no CRS, expected one to resample from")
    if not masks_of and not faults:
        faults.append(f"found no mask of the dates {', '.join(map(str, dates))}")
    if faults:
        raise DataError(str(files[0].parent), faults, CLOUD_ADVICE)
    masks = {
        date: OpenImage(file, info, grid, None, None, nearest=True)
        for (date, file), (_, info) in zip(masks_of.items(), headers, strict=True)
    }
    _check_masks(list(masks.values()), str(files[0].parent))
    missing = [date for date in dates if date not in masks]
    if missing:
        remarks.append(f"no cloud mask, taken as clear: {', '.join(map(str, missing))}")
    return [masks.get(date) for date in dates]


def _check_masks(masks: Sequence[OpenImage], where: str) -> None:
    """Look at values of masks, so that a wrong one is not found out in the middle of the work."""
    faults = []
    for mask in masks:
        try:
            for window in mask.windows_to_look_at():
                mask.read_mask(*window)
        except DataError as error:
            faults += [f"{mask.path.name}: {fault}" for fault in error.faults]
    if faults:
        raise DataError(where, faults, CLOUD_ADVICE)


def _odd_values(
    images: Sequence[OpenImage],
    headers: Sequence[tuple[str, RasterInfo]],
    spec: DatasetSpec,
    options: SeriesOptions,
) -> list[str]:
    """What looks wrong in values, seen in a few thousand pixels of each image.

    Raises:
        DataError: Alpha is where the network takes a colour.
    """
    said: list[tuple[str, str]] = []
    faults: list[str] = []
    for image, (name, info) in zip(images, headers, strict=True):
        values, seen = image.look_at()
        marked = None if info.alpha is None else info.alpha + 1
        if marked in image.numbers and spec.bands[place := image.numbers.index(marked)] != "alpha":
            opaque = np.unique(values[place][seen])
            if len(opaque) and set(opaque) <= {0, np.iinfo(values.dtype).max} and opaque[-1] > 0:
                faults.append(
                    f"{name}: band {marked} is marked alpha and holds {', '.join(map(str, opaque))}"
                    f" only, expected {spec.bands[place]}, see --bands"
                )
        colors = [place for place, band in enumerate(spec.bands) if band != "alpha"]
        scaled = options.pixel_scale == "auto"
        odd = _odd(values[colors][:, seen], info, scaled)
        if scaled and spec.alpha_band is not None and info.dtype in ("uint16", "int16"):
            odd.append(f"alpha of 16 bits is divided by {BRIGHTEST}, expected 8 bits, 255 opaque")
        said += [(name, sentence) for sentence in odd]
    if faults:
        raise DataError(str(images[0].path.parent), faults, ADVICE)
    return _warnings(said)


def _odd(shown: NDArray[Any], info: RasterInfo, scaled: bool) -> list[str]:
    """What looks wrong in values (C, n) that are taken for measurements."""
    if not shown.size:
        return ["no data in any pixel looked at"]
    low, high = float(shown.min()), float(shown.max())
    if low == high:
        return [f"all pixels looked at are {low:g}"]
    said = []
    empty = float((shown == 0).all(axis=0).mean())
    if info.nodata is None and not info.masked and empty > EMPTY_SHARE:
        said.append(
            f"{empty:.0%} of the pixels looked at are 0 in all bands and count as data; set the "
            "nodata tag to 0 if they are none"
        )
    if low <= LIKELY_NODATA:
        said.append(f"values down to {low:g} count as data; set the nodata tag if they are none")
    kind, size = shown.dtype.kind, shown.dtype.itemsize
    if scaled and kind == "f" and high > LARGEST_REFLECTANCE:
        said.append(
            f"float values up to {high:g} are used as stored, expected about 0…1; store "
            "reflectance × 10000 as 16-bit integers"
        )
    elif scaled and kind in "ui" and size == 2 and high <= 255:
        said.append(
            f"16-bit values of {high:g} at most are divided by {BRIGHTEST}; 8-bit values belong "
            "into 8 bits"
        )
    elif scaled and kind in "ui" and size == 2 and float(np.median(shown)) > BRIGHTEST:
        said.append(
            f"16-bit values are mostly above {BRIGHTEST} and divided by it, expected reflectance "
            f"× {BRIGHTEST}"
        )
    return said
