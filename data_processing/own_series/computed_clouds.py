"""Cloud masks computed from the images themselves, by the package ukis-csmask.

Its network (Wieland et al. 2019, 2022; Apache-2.0, weights in the package) sees reflectance of
blue, green, red and near infrared, of two bands of short-wave infrared too where the series has
them, at about 30 m, for which it was made. Images go through it one after the other, block by
block, so that memory does not grow with them; masks are files like those of agencies: 0 clear,
1 cloud or shadow.
"""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.transform import Affine

from data_processing.own_series.clouds import CloudMask
from data_processing.own_series.image import OpenImage
from data_processing.own_series.options import COMPUTED, Remarks
from data_processing.rasters.grids import pixel_metres
from data_processing.rasters.reading import RasterInfo, open_raster, raster_info
from data_processing.rasters.sources import stamps_of
from data_processing.rasters.values import scale_pixels
from data_processing.rasters.writing import create_raster, tiled_profile, written_whole
from utils.errors import DataError, UserError
from utils.files import atomic_path
from utils.progress import progress

__all__ = ["computed_masks"]

PACKAGE, MODULE = "ukis-csmask", "ukis_csmask.mask"
LIMITS = (
    "a network's guess, no observation: shadows are drawn too large, haze and thin cloud may be "
    "missed, bright ground and snow taken for cloud. Look at them"
)
NAMES = {
    "blue": "blue", "green": "green", "red": "red", "nir": "nir",
    "swir1": "swir16", "swir16": "swir16", "b11": "swir16",
    "swir2": "swir22", "swir22": "swir22", "b12": "swir22",
}  # fmt: skip
NEEDED, INFRARED = ("blue", "green", "red", "nir"), ("swir16", "swir22")
GSD = 30.0  # metres, for which the network was made
SIDE, MARGIN = 768, 128  # pixels of a block that is kept, and of what is seen around it
READ_PIXELS = 1 << 22  # of an image at a time, where it is reduced
MADE_FROM = "MADE_FROM"  # tag of a mask

Reflectance = NDArray[np.float32]


def computed_masks(
    images: Mapping[datetime.date, OpenImage],
    bands: Sequence[str],
    folder: Path | None,
    remarks: Remarks,
) -> list[CloudMask | None]:
    """A cloud mask for each image, computed unless it lies in the folder already.

    Args:
        images: By date.
        bands: Names of the bands that they give.
        folder: Gets the masks, which stay there; None = they are removed when no longer used.
        remarks: Gets what was done, and the limits.

    Raises:
        UserError: The package is missing, or the bands or values are none for it.
        DataError: An image cannot be read.
    """
    places, version = _places(bands), _version()
    _require_reflectance(images.values())
    where = folder if folder is not None else Path(tempfile.mkdtemp(prefix="clouds_"))
    where.mkdir(parents=True, exist_ok=True)
    masks: list[CloudMask] = []
    try:
        steps = progress(images.items(), "computing cloud masks", len(images), "image")
        for date, image in steps:
            path = where / f"{date:%Y-%m-%d}.tif"
            with FileLock(f"{path}.lock"):  # of several processes one computes it
                _make(path, image, places, version)
            masks.append(CloudMask(path, raster_info(path), image.grid))
            masks[-1].mean("binary", asked=True)
    except BaseException:
        if folder is None:
            shutil.rmtree(where, ignore_errors=True)
        raise
    if folder is None:
        _remove_unused(where, masks)
    else:
        for lock in where.glob("*.lock"):
            lock.unlink(missing_ok=True)
    step = _step(masks[0].grid)
    coarser = f" at 1/{step} of the resolution" if step > 1 else ""
    place = "" if folder is None else f" in {where.name}/"
    remarks.add_gaps(
        [
            f"cloud masks computed by {PACKAGE} {version} from {', '.join(places)}{coarser}: "
            f"{LIMITS}{place}"
        ]
    )
    return list(masks)


def _require_reflectance(images: Iterable[OpenImage]) -> None:
    """Refuse values that are none for the network.

    Raises:
        UserError: There are some.
    """
    eight_bits = [str(image.path) for image in images if image.itemsize == 1]
    if eight_bits:
        raise UserError(
            f"--clouds {COMPUTED}: found 8-bit values ({eight_bits[0]}), expected reflectance (16 "
            "bits × 10000, or 0…1). Name masks that were made elsewhere."
        )


def _places(bands: Sequence[str]) -> dict[str, int]:
    """Places of the network's bands in the images, by its names for them.

    Raises:
        UserError: One that it needs is not there.
    """
    places = {NAMES[name.lower()]: n for n, name in enumerate(bands) if name.lower() in NAMES}
    missing = [name for name in NEEDED if name not in places]
    if missing:
        raise UserError(
            f"--clouds {COMPUTED}: found bands {', '.join(bands)}, expected {', '.join(NEEDED)} "
            f"among them ({', '.join(missing)} missing). Name masks that were made elsewhere."
        )
    names = (*NEEDED, *INFRARED) if all(name in places for name in INFRARED) else NEEDED
    return {name: places[name] for name in names}


def _version() -> str:
    """The release of the package.

    Raises:
        UserError: It is not installed.
    """
    try:
        importlib.import_module(MODULE)
    except ImportError as error:
        raise UserError(
            f"--clouds {COMPUTED}: {PACKAGE} is not installed ({str(error).splitlines()[0]}), "
            "expected what requirements-clouds.txt lists: pip install -r requirements-clouds.txt."
        ) from error
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown release"


def _step(grid: RasterInfo) -> int:
    """Number of an image's pixels along a side that go into one of the network's."""
    side = pixel_metres(grid)
    return 1 if side is None else max(1, round(GSD / side))


def _make(path: Path, image: OpenImage, places: Mapping[str, int], version: str) -> None:
    """Compute a mask unless it was made from the same image by the same release."""
    stamps = stamps_of([image.path])
    source = f"{PACKAGE} {version} {image.path} {sorted(map(str, stamps.values()))} {image.numbers}"
    if stamps and path.is_file() and _source_of(path) == source:
        return
    grid, step = image.grid, _step(image.grid)
    height, width = -(-grid.height // step), -(-grid.width // step)
    coarse = replace(
        grid, height=height, width=width, transform=grid.transform @ Affine.scale(step)
    )
    profile = {**tiled_profile(coarse), "count": 1, "dtype": "uint8", "nodata": None}
    with (
        atomic_path(path) as partial,
        written_whole(partial),
        create_raster(partial, profile) as raster,
    ):
        raster.update_tags(**{MADE_FROM: source})
        for row, col, hidden in _blocks(image, places, step, height, width):
            rows, cols = hidden.shape
            window = ((row, row + rows), (col, col + cols))
            raster.write(hidden, 1, window=window)
    image.close()


def _source_of(path: Path) -> str | None:
    try:
        with open_raster(path) as raster:
            source: str | None = raster.tags().get(MADE_FROM)
            return source
    except (DataError, RasterioError):
        return None


def _blocks(
    image: OpenImage, places: Mapping[str, int], step: int, height: int, width: int
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Row, column and values of the mask, block by block, each seen with its surroundings."""
    for row in range(0, height, SIDE):
        for col in range(0, width, SIDE):
            top, left = max(0, row - MARGIN), max(0, col - MARGIN)
            bottom, right = min(height, row + SIDE + MARGIN), min(width, col + SIDE + MARGIN)
            values = _reduced(image, list(places.values()), step, (top, bottom), (left, right))
            classes = _classes(np.moveaxis(values, 0, -1), list(places))
            rows, cols = min(SIDE, height - row), min(SIDE, width - col)
            inner = classes[row - top :, col - left :][:rows, :cols]
            yield row, col, (inner > 0).astype(np.uint8)


def _reduced(
    image: OpenImage,
    bands: Sequence[int],
    step: int,
    rows: tuple[int, int],
    cols: tuple[int, int],
) -> Reflectance:
    """Reflectance (C, h, w), the mean of the pixels with data of each step×step square, else 0.

    Args:
        image: Read strip by strip.
        bands: Places of the bands.
        step: Side of a square in pixels.
        rows, cols: First and behind the last, counted in squares.
    """
    left, right = cols[0] * step, min(cols[1] * step, image.grid.width)
    each = max(1, READ_PIXELS // ((right - left) * step))
    strips = []
    for row in range(rows[0], rows[1], each):
        top, bottom = row * step, min(min(row + each, rows[1]) * step, image.grid.height)
        values, with_data = image.read(top, left, bottom - top, right - left)
        usable = with_data & np.isfinite(values[bands]).all(axis=0)
        taken = values[bands] if image.scaling else scale_pixels(values[bands][None], "auto")[0]
        sums = _squares(np.where(usable, taken, 0).astype(np.float32), step)
        counts = _squares(usable[None].astype(np.float32), step)
        strips.append(np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0))
    return np.concatenate(strips, axis=1)


def _squares(values: Reflectance, step: int) -> Reflectance:
    """Sums over step×step squares of (C, h, w); the last ones may be cut off."""
    _, height, width = values.shape
    filled = np.pad(values, ((0, 0), (0, -height % step), (0, -width % step)))
    C, rows, cols = len(filled), filled.shape[1] // step, filled.shape[2] // step
    sums: Reflectance = filled.reshape(C, rows, step, cols, step).sum(axis=(2, 4))
    return sums


def _classes(image: Reflectance, names: Sequence[str]) -> NDArray[np.uint8]:
    """Classes (h, w) of reflectance (h, w, C): 0 clear, 1 cloud, 2 shadow."""
    network: Any = importlib.import_module(MODULE).CSmask
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of images smaller than its tiles
        result = network(
            np.ascontiguousarray(image), list(names), product_level="l2a",
            intra_op_num_threads=int(os.environ.get("OMP_NUM_THREADS") or 0),
        )  # fmt: skip
    classes: NDArray[np.uint8] = result.csm[..., 0]
    return classes


def _remove_unused(folder: Path, masks: Sequence[CloudMask]) -> None:
    """Remove each mask's file when the mask is no longer used, and the folder with the last."""

    def remove(path: Path) -> None:
        path.unlink(missing_ok=True)
        Path(f"{path}.lock").unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    for mask in masks:
        weakref.finalize(mask, remove, Path(str(mask.path)))
