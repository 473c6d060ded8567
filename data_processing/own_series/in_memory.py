"""Images that a program holds: NumPy arrays, several of them, or what xarray holds."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from data_processing.containers.arrays import ArrayImage
from data_processing.containers.cube_files import require_packages
from data_processing.containers.cubes import Cube
from data_processing.own_series.finding import words_of_bands
from data_processing.own_series.gathering import Gathered, from_cube
from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import SeriesOptions
from data_processing.own_series.series import RasterSeries
from data_processing.rasters.dates import UnknownDate
from data_processing.rasters.header import RasterInfo
from data_processing.rasters.name_dates import whole_date
from data_processing.rasters.sources import Raster
from data_processing.scenes.spec import DatasetSpec
from utils.errors import UserError

__all__ = ["ArrayPlace", "open_given_series"]

NAME = "images"  # what messages call arrays
IMAGE_AXES, SERIES_AXES = 3, 4
PAIR = 2  # images that may do without dates
LONGEST = 100  # characters of an error in a message
LARGEST_ITEM = 4  # bytes of a value of a mask


class ArrayPlace:
    """Place of arrays on Earth, and their value for no data.

    Args:
        crs: Anything that rasterio takes: "EPSG:32633", 32633, a CRS; None = not known.
        transform: An affine transform or its first six numbers, of pixels' corners; None = not
            known.
        nodata: Value that means no data; NaN does in any case.

    Raises:
        UserError: They are none, or a coordinate system has no transform.
    """

    def __init__(self, crs: Any = None, transform: Any = None, nodata: float | None = None) -> None:
        try:
            self.crs = None if crs is None else CRS.from_user_input(crs)
            numbers = None if transform is None else [float(n) for n in tuple(transform)[:6]]
            self.transform = Affine.identity() if numbers is None else Affine(*numbers)
            self.nodata = None if nodata is None else float(nodata)
        except Exception as error:  # PROJ's, rasterio's and those of numbers
            raise UserError(
                f"crs, transform, nodata: found {error}, expected a coordinate system such as "
                "'EPSG:32633', six numbers as of rasterio's transform, and a number."
            ) from error
        self.given = any(value is not None for value in (crs, transform, nodata))
        if (crs is None) != (transform is None):
            raise UserError(
                "crs, transform: found one of them, expected both or none: together they say where "
                "the images lie."
            )


def open_given_series(
    images: Any,
    spec: DatasetSpec,
    options: SeriesOptions,
    dates: Any = None,
    place: ArrayPlace | None = None,
    clouds: Any = None,
) -> RasterSeries:
    """Put together a series of files or of what a program holds.

    Args:
        images: Files as ``open_raster_series`` takes them; an array (T, C, H, W); arrays (C, H, W),
            one a date, also an iterator of them; or xarray's DataArray or Dataset.
        spec: Bands and number of dates that are expected.
        options: How the series is read.
        dates: Of the images: date, datetime, datetime64 or text; of a cube with a time axis None.
        place: Where arrays lie; files and cubes say so themselves.
        clouds: Files; masks (T, H, W) or T of them; of a cube the name of a variable.

    Raises:
        UserError: Arrays do not fit each other or the dates, or a flag cannot be used as given.
        DataError: With all faults of images.
    """
    if isinstance(options.bands, list | tuple):
        options = replace(options, bands=",".join(map(str, options.bands)))
    if isinstance(clouds, str | Path):
        clouds = [clouds]
    elif clouds is not None and not _is_arrays(clouds):
        clouds = list(clouds)
    if isinstance(clouds, list) and all(isinstance(word, str | Path) for word in clouds):
        options, clouds = replace(options, clouds=tuple(map(str, clouds))), None
    if not isinstance(images, str | Path) and not _is_arrays(images):
        images = list(images)
        if not images:
            raise UserError(f"{NAME}: found none, expected files or arrays, one a date.")
    place = place or ArrayPlace()
    if not isinstance(images, str | Path) and not (
        isinstance(images, list) and all(isinstance(word, str | Path) for word in images)
    ):
        gathered = _gathered(images, spec, dates, place, clouds, options)
        return open_raster_series(gathered, spec, options, NAME)
    if place.given or clouds is not None:
        raise UserError(
            "crs, transform, nodata, clouds: found one of them as for arrays together with files, "
            "expected none: files say where they lie, and their masks are files. Leave it out."
        )
    return open_raster_series(images, spec, replace(options, dates=_dates_text(dates)))


def _gathered(
    images: Any,
    spec: DatasetSpec,
    dates: Any,
    place: ArrayPlace,
    clouds: Any,
    options: SeriesOptions,
) -> Gathered:
    """The images of arrays, one a date; see :func:`open_given_series`."""
    if _is_xarray(images):
        require_packages("xarray", "rioxarray")
        if place.given:
            raise UserError(
                "crs, transform, nodata: found one of them together with a cube, expected none: "
                "the cube says so itself (cube.rio.write_crs, write_nodata). Leave it out."
            )
        gathered = from_cube(Cube(images, "the cube"), options, words_of_bands(options.bands)[1])
    else:
        gathered = Gathered(_images(_arrays(images, IMAGE_AXES), place))
    if gathered.dates is None and dates is None and spec.num_dates == PAIR == len(gathered.rasters):
        gathered.dates = [UnknownDate(k, word) for k, word in enumerate(("before", "after"))]
        gathered.remarks.append("no dates: the first image is taken as before, the second as after")
    elif gathered.dates is None:
        gathered.dates = _dates(dates, len(gathered.rasters))
        gathered.remarks.append(f"dates as given: {', '.join(map(str, gathered.dates))}")
    elif dates is not None:
        raise UserError("dates: found some, expected none: the cube has a time axis. Leave it out.")
    if clouds is not None:
        gathered.clouds = _masks(clouds, place, gathered)
    return gathered


def _dates_text(dates: Any) -> str | None:
    """Dates as ``--dates`` takes them."""
    if dates is None or isinstance(dates, str):
        return dates
    return ",".join(str(date) for date in _dates(dates, None))


def _is_arrays(images: Any) -> bool:
    """Whether images are one array, or what xarray holds."""
    return _axes(images) is not None or _is_xarray(images)


def _is_xarray(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "xarray"


def _axes(value: Any) -> int | None:
    """Axes of an array, None of what is none."""
    return int(value.ndim) if hasattr(value, "ndim") and hasattr(value, "__array__") else None


def _arrays(images: Any, axes: int) -> list[NDArray[Any]]:
    """One array a date.

    Raises:
        UserError: They are not of one shape and type.
    """
    whole = _axes(images) is not None
    if not whole and any(map(_is_xarray, images)):
        raise UserError(
            f"{NAME}: found several of xarray's objects, expected one with a time axis, which "
            "keeps where they lie. Put them together: xarray.concat(images, 'time')."
        )
    try:
        arrays = [
            each if isinstance(each, np.ma.MaskedArray) else np.asarray(each) for each in images
        ]
    except (TypeError, ValueError, RuntimeError) as error:  # of a GPU, or ragged
        raise UserError(
            f"{NAME}: found something that is no array of numbers ({str(error)[:LONGEST]}), "
            "expected NumPy arrays."
        ) from error
    shapes = {(array.shape, array.dtype.name) for array in arrays}
    if len(shapes) != 1 or arrays[0].ndim != axes or 0 in arrays[0].shape:
        listed = ", ".join(f"{shape} {kind}" for shape, kind in sorted(shapes)) or "none"
        of = "an array (T, C, H, W)" if whole else "arrays (C, H, W) of one shape and type"
        raise UserError(f"{NAME}: found {listed} for each date, expected {of}.")
    return arrays


def _images(arrays: Sequence[NDArray[Any]], place: ArrayPlace) -> list[Raster]:
    first = arrays[0]
    masked = any(np.ma.is_masked(array) for array in arrays)
    info = RasterInfo(
        width=first.shape[2], height=first.shape[1], count=first.shape[0], dtype=first.dtype.name,
        crs=place.crs, transform=place.transform, nodata=place.nodata, masked=masked,
        band_names=(None,) * len(first), colors=(None,) * len(first),
    )  # fmt: skip
    return [
        ArrayImage(
            f"image {k + 1}", NAME, info, _Values(array), _DataMask(array) if masked else None
        )
        for k, array in enumerate(arrays)
    ]


class _Values:
    """The values of one array by slices."""

    def __init__(self, array: NDArray[Any]) -> None:
        values = array.data if isinstance(array, np.ma.MaskedArray) else array
        self.values = np.asarray(values, np.dtype(values.dtype.name))

    def __call__(self, numbers: Sequence[int], rows: slice, cols: slice) -> NDArray[Any]:
        return np.stack([self.values[number - 1, rows, cols] for number in numbers])


class _DataMask:
    """Pixels that one array masks in no band, by slices."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.mask = np.ma.getmaskarray(array)

    def __call__(self, rows: slice, cols: slice) -> NDArray[np.bool_]:
        return np.logical_not(self.mask[:, rows, cols].any(axis=0))


def _masks(clouds: Any, place: ArrayPlace, gathered: Gathered) -> list[Raster]:
    """Cloud masks, one a date.

    Raises:
        UserError: There are not as many as images, or they have another shape.
    """
    if _axes(clouds) == SERIES_AXES:
        masks = _arrays(clouds, IMAGE_AXES)
    else:
        masks = [mask[None] for mask in _arrays(clouds, IMAGE_AXES - 1)]
    masks = [_narrowed(mask) for mask in masks]
    info = gathered.rasters[0].header(()) if isinstance(gathered.rasters[0], ArrayImage) else None
    assert info is not None
    wanted = (len(gathered.rasters), info.height, info.width)
    if (len(masks), *masks[0].shape[1:]) != wanted:
        raise UserError(
            f"clouds: found {len(masks)} masks of {masks[0].shape[1:]}, expected {wanted[0]} of "
            f"{wanted[1:]} as the images."
        )
    here = ArrayPlace()
    here.crs, here.transform = info.crs, info.transform
    return _images(masks, here)


def _narrowed(mask: NDArray[Any]) -> NDArray[Any]:
    """A mask in a type that files of masks have, where its values allow it."""
    if mask.dtype == np.bool_:
        return mask.astype(np.uint8)
    if mask.dtype.kind in "iu" and mask.dtype.itemsize > LARGEST_ITEM:
        narrow = mask.astype(np.int32)
        return narrow if np.array_equal(narrow, mask) else mask
    return mask


def _dates(dates: Any, count: int | None) -> list[datetime.date]:
    """Dates as a program may hold them.

    Args:
        dates: Several, or a text with commas.
        count: How many are expected; None = any number in any order.

    Raises:
        UserError: Some are none, there are not as many, or they do not ascend.
    """
    if dates is None:
        raise UserError(f"dates: found none, expected {count}, one for each image in their order.")
    dates = getattr(dates, "values", dates)  # of pandas and xarray
    words: Iterable[Any] = dates.split(",") if isinstance(dates, str) else dates
    taken = []
    for word in words:
        stamp = word.astype("datetime64[D]").item() if isinstance(word, np.datetime64) else word
        date = whole_date(stamp) if isinstance(stamp, str) else stamp
        if isinstance(date, datetime.datetime):
            date = date.date()
        if not isinstance(date, datetime.date):
            raise UserError(
                f"dates: found {str(word)[:40]!r}, expected a date, datetime64 or text YYYY-MM-DD."
            )
        taken.append(date)
    if count is not None and len(taken) != count:
        raise UserError(f"dates: found {len(taken)}, expected {count}, one for each image.")
    wrong = [(one, other) for one, other in pairwise(taken) if other <= one and count is not None]
    if wrong:
        raise UserError(
            f"dates: found {wrong[0][0]}, then {wrong[0][1]}, expected ascending ones, each once. "
            "Sort images and dates."
        )
    return taken
