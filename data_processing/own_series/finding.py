"""One's own GeoTIFFs of one place as a series: which files, of which dates, all on one grid.

Dates come from file names or are given; headers are compared before any pixel is read. What is
labelled there is read in ``custom_labels``.
"""

from __future__ import annotations

import datetime
import glob
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.own_series.dating import refuse_stack
from data_processing.rasters.dates import dates_of, short_names
from data_processing.rasters.grids import grid_faults
from data_processing.rasters.reading import RasterInfo, header_of, read_window
from data_processing.rasters.values import PIXEL_TYPES, has_data
from data_processing.scenes.spec import DatasetSpec
from utils.errors import DataError, UserError

__all__ = [
    "Image",
    "Series",
    "band_numbers",
    "different",
    "find_rasters",
    "headers_of",
    "open_series",
    "read_image",
    "unusable",
]

SUFFIXES = (".tif", ".tiff")  # looked for in folders; a pattern may name others
BESIDE = (".aux.xml", ".msk", ".ovr", ".tfw", ".prj")  # what lies beside rasters and is none
RGB = 3  # bands that an alpha band can be added to
OPAQUE = 255
ADVICE = "Bring all images to one grid, type and number of bands, or name only those that fit."


@dataclass(frozen=True)
class Series:
    """Images of one place.

    Attributes:
        files: By date, ascending.
        grid: Header of the first one, which all others share.
        bands: Which bands are taken, in this order, from 1; all of them as they are if None.
        remarks: The date of every file and where it comes from.
    """

    files: Mapping[datetime.date, Path]
    grid: RasterInfo
    bands: tuple[int, ...] | None
    remarks: tuple[str, ...] = ()

    @property
    def nodata(self) -> float | None:
        """Nodata tag of the images as they are written: NaN for floats that have none."""
        floating = self.grid.dtype.startswith("float")
        return math.nan if self.grid.nodata is None and floating else self.grid.nodata


@dataclass(frozen=True)
class Image:
    """Pixels of one date as they are written.

    Attributes:
        bands: (C, H, W) of the stored type.
        seen: (H, W) bool, where there is data.
        remarks: What is irregular: found, and what is done about it.
    """

    bands: NDArray[Any]
    seen: NDArray[np.bool_]
    remarks: list[tuple[str, str]]


def find_rasters(given: Sequence[str], flag: str) -> list[Path]:
    """Files that a flag names: folders, patterns such as ``city/*.tif``, files.

    Returns:
        Each once, sorted by name; where all are named one by one, in that order.

    Raises:
        UserError: Some of them name nothing.
    """
    found: list[Path] = []
    nothing: list[str] = []
    for word in given:
        path = Path(word)
        if path.is_dir():
            here = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES]
        elif path.is_file():
            here = [path]
        else:
            here = [Path(name) for name in glob.glob(word, recursive=True)]
            here = [file for file in here if not file.name.lower().endswith(BESIDE)]
        here = [file for file in here if file.is_file() and not file.name.startswith(".")]
        nothing += [] if here else [word]
        found += here
    if nothing or not given:
        gone = {word for word in nothing if not (glob.has_magic(word) or Path(word).exists())}
        shown = [repr(word) + " (does not exist)" * (word in gone) for word in nothing]
        where = ", ".join(shown) or "all"
        raise UserError(
            f"{flag}: found no raster at {where}, expected a folder of "
            'GeoTIFFs, a pattern such as "city/*.tif" (in quotes), or files.'
        )
    unique = {file.resolve(): file for file in found}
    if all(Path(word).is_file() for word in given):
        return list(unique.values())
    return sorted(unique.values(), key=lambda file: (file.name, str(file)))


def band_numbers(text: str | None, spec: DatasetSpec) -> tuple[int, ...] | None:
    """The value of ``--bands``.

    Raises:
        UserError: It is no list of as many bands as the data set has.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    numbers = tuple(int(word) for word in words if word.isdecimal() and int(word) > 0)
    counts = {len(spec.bands)} | ({RGB} if spec.alpha_band == RGB else set())
    if len(numbers) != len(words) or len(numbers) not in counts:
        expected = " or ".join(map(str, sorted(counts)))
        raise UserError(
            f"--bands: found {text!r}, expected {expected} numbers from 1 separated by commas, "
            f"in the order {', '.join(spec.bands)}."
        )
    return numbers


def headers_of(files: Sequence[Path], faults: list[str]) -> list[tuple[str, RasterInfo]]:
    """Name and header of every file; what cannot be read is a fault."""
    headers: list[tuple[str, RasterInfo]] = []
    for file, name in short_names(files).items():
        try:
            headers.append((name, header_of(file)))
        except DataError as error:
            faults += [f"{name}: {fault}" for fault in error.faults]
    return headers


def open_series(
    files: Sequence[Path],
    given_dates: str | None,
    spec: DatasetSpec,
    bands: tuple[int, ...] | None = None,
) -> Series:
    """Put images in order and make sure that they fit together.

    Args:
        files: Each once.
        given_dates: Their dates in that order, separated by commas; if None, from names or tags.
        spec: Facts of the layout that they are to be written in.
        bands: See :class:`Series`.

    Raises:
        UserError: The given dates are none, are not as many, or contradict the names.
        DataError: With all faults of dates and headers.
    """
    faults: list[str] = []
    remarks: list[str] = []
    refuse_stack(files, len(spec.bands), spec.num_dates)
    dated = dates_of(files, given_dates, faults, remarks, flag="--image-dates")
    advice = f"Rename the files, or give their dates with --image-dates. {ADVICE}"
    advice = advice if faults else ADVICE
    headers = headers_of(files, faults)
    if headers:
        faults += unusable(*headers[0], spec, bands) + different(headers)
    if faults:
        raise DataError(str(files[0].parent), faults, advice)
    return Series(dated, headers[0][1], bands, tuple(remarks))


def read_image(path: Path, series: Series, spec: DatasetSpec) -> Image:
    """Read an image as the layout holds it.

    Of the chosen bands; three get an alpha band, 0 where the nodata tag says so. NaN becomes the
    nodata tag of floats that have another one.

    Raises:
        DataError: It cannot be read, or holds infinite values.
    """
    grid, remarks = series.grid, []
    stored, _ = read_window(path, 0, 0, grid.height, grid.width)
    bands = stored if series.bands is None else stored[[n - 1 for n in series.bands]]
    seen = has_data(bands, grid.nodata)
    if bands.dtype.kind == "f":
        infinite = int(np.isinf(bands[:, seen]).sum())
        if infinite:
            found = f"found {infinite} infinite values, expected numbers"
            raise DataError(str(path), [found], "Replace them, by the nodata tag for instance.")
        if grid.nodata is not None and not math.isnan(grid.nodata):
            count = int(np.isnan(bands).any(axis=0).sum())
            bands = np.where(seen, bands, bands.dtype.type(grid.nodata))
            if count:
                done = f"they become {grid.nodata:g}, the nodata tag"
                remarks.append((f"{path.name}: {count} pixels are NaN", done))
    if spec.alpha_band is not None and len(bands) == RGB:
        alpha = np.where(seen, OPAQUE, 0).astype(bands.dtype)
        bands = np.concatenate([bands, alpha[None]])
    elif spec.alpha_band is not None:
        alpha = bands[spec.alpha_band]
        seen &= alpha > 0
        if ((alpha != 0) & (alpha != alpha.max())).any():
            found = f"{path.name}: band {spec.alpha_band + 1} holds more than two values"
            done = "it is taken as alpha: 0 means no data; is it alpha? (see --bands)"
            remarks.append((found, done))
    return Image(bands, seen, remarks)


# ─────────────────────────────────────────── dates ───────────────────────────────────────────


# ────────────────────────────────────────── headers ──────────────────────────────────────────


def unusable(
    name: str, info: RasterInfo, spec: DatasetSpec, bands: tuple[int, ...] | None
) -> list[str]:
    """What the layout cannot take, in the first image, which stands for all."""
    faults = []
    least, wanted = spec.patch_size, len(spec.bands)
    if min(info.height, info.width) < least:
        faults.append(
            f"{name}: found {info.height}×{info.width} pixels, expected {least}×{least} at least, "
            "the size of a patch"
        )
    if info.dtype not in PIXEL_TYPES:
        faults.append(f"{name}: found type {info.dtype}, expected one of {', '.join(PIXEL_TYPES)}")
    count = info.count if bands is None else len(bands)
    if bands is not None and max(bands) > info.count:
        faults.append(f"{name}: found {info.count} bands, expected {max(bands)}, see --bands")
    elif spec.alpha_band is not None and count == RGB:
        if info.dtype != "uint8":
            faults.append(
                f"{name}: found {RGB} bands of {info.dtype}, expected uint8 to make an alpha band "
                f"for, or {wanted} bands"
            )
    elif count != wanted:
        numbers = ",".join(map(str, range(1, wanted + 1)))
        remedy = f"; pick them in that order, for example --bands {numbers}"
        faults.append(
            f"{name}: found {count} bands, expected {wanted} ({', '.join(spec.bands)})"
            f"{remedy if count > wanted else ''}"
        )
    return faults


def different(
    headers: Sequence[tuple[str, RasterInfo]], *, grid: bool = True, nodata: bool = True
) -> list[str]:
    """Differences from the first image: bands and type, and unless told not to, grid and nodata."""
    faults = grid_faults(headers) if grid else []
    first_name, first = headers[0]
    for name, info in headers[1:]:
        compared = [("bands", info.count, first.count), ("type", info.dtype, first.dtype)]
        if nodata:  # as text, so that NaN is NaN
            compared.append(("nodata tag", str(info.nodata), str(first.nodata)))
        for what, found, expected in compared:
            if found != expected:
                faults.append(f"{name}: found {what} {found}, expected {expected} as {first_name}")
    return faults
