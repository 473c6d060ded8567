"""Rasters that are written: images and maps on the grid of another one, whole or not at all.

GDAL closes a file without a word when the disk is full, so every file is read back before it gets
its name.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError, RasterioIOError

from data_processing.rasters.reading import RasterInfo, open_raster, quiet
from data_processing.rasters.values import has_data
from utils.errors import DataError
from utils.files import atomic_path

__all__ = [
    "create_raster",
    "tiled_profile",
    "write_image",
    "write_map",
    "write_png",
    "written_whole",
]

FULL = 8 << 20  # bytes; a disk with less is taken as full when something was not written


def write_image(
    path: Path,
    bands: npt.NDArray[Any],
    like: RasterInfo,
    nodata: float | None = None,
    names: Sequence[str] = (),
    data_mask: npt.NDArray[np.bool_] | None = None,
) -> None:
    """Write an image on the grid of another raster: GeoTIFF, deflate, tiled, whole or not at all.

    Args:
        path: The file to write.
        bands: (C, H, W), of a type that GeoTIFF has.
        like: Header whose size, CRS and transform the image takes.
        nodata: Value of the nodata tag, if any.
        names: Of the bands; four that end with "alpha" mark RGBA.
        data_mask: (H, W), where there is data. Pixels without get the nodata tag in all bands;
            where there is no tag, or pixels with data hold it, the file gets a mask inside.

    Raises:
        OSError: When the file cannot be written.
    """
    mask = None
    if data_mask is not None and not data_mask.all():
        tagged = np.where(data_mask, bands, bands.dtype.type(0 if nodata is None else nodata))
        if nodata is not None and (has_data(tagged, nodata) == data_mask).all():
            bands = tagged
        else:
            nodata, mask = None, data_mask
    profile = {
        **tiled_profile(like),
        "count": len(bands),
        "dtype": bands.dtype.name,
        "nodata": nodata,
    }
    if len(names) == 4 and names[-1] == "alpha":
        profile |= {"photometric": "RGB", "alpha": "YES"}
    with (
        atomic_path(path) as partial,
        written_whole(partial),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        create_raster(partial, profile) as raster,
    ):
        raster.write(bands)
        for number, name in enumerate(names, start=1):
            raster.set_band_description(number, name)
        if mask is not None:
            raster.write_mask(mask)


def write_map(
    path: Path,
    array: npt.NDArray[np.uint8],
    like: RasterInfo,
    nodata: int | None = None,
    tags: Mapping[str, str] | None = None,
    colormap: Mapping[int, tuple[int, int, int, int]] | None = None,
) -> None:
    """Write a map on the grid of another raster: GeoTIFF, deflate, tiled, whole or not at all.

    Args:
        path: The file to write.
        array: (H, W) uint8.
        like: Header whose size, CRS and transform the map takes.
        nodata: Value of the nodata tag, if any.
        tags: Texts stored with the map.
        colormap: Red, green, blue, alpha per value.

    Raises:
        ValueError: When the array does not have the size or type of a map on that grid.
        OSError: When the file cannot be written.
    """
    if array.shape != (like.height, like.width) or array.dtype != np.uint8:
        raise ValueError(
            f"map {path.name}: found shape {array.shape} and type {array.dtype}, expected "
            f"({like.height}, {like.width}) and uint8."
        )
    profile = {**tiled_profile(like), "count": 1, "dtype": "uint8", "nodata": nodata}
    with (
        atomic_path(path) as partial,
        written_whole(partial),
        create_raster(partial, profile) as raster,
    ):
        raster.write(array, 1)
        if tags:
            raster.update_tags(**tags)
        if colormap:
            raster.write_colormap(1, dict(colormap))


def write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write (H, W) or (C, H, W) as PNG without a georeference, whole or not at all.

    Raises:
        OSError: When the file cannot be written.
    """
    bands = pixels if pixels.ndim == 3 else pixels[None]
    count, height, width = bands.shape
    profile = {"driver": "PNG", "height": height, "width": width, "count": count, "dtype": "uint8"}
    with atomic_path(path) as partial, create_raster(partial, profile) as raster:
        raster.write(bands)


@contextmanager
def written_whole(path: Path, *others: Path) -> Iterator[None]:
    """Make sure that rasters written inside can be read to their last block.

    Args:
        path: The file.
        *others: Further ones.

    Raises:
        OSError: One cannot be written or read back; with ENOSPC where the disk is full.
    """
    try:
        yield
        for file in (path, *others):
            _read_back(file)
    except (RasterioError, CPLE_BaseError) as error:
        if shutil.disk_usage(path.parent).free < FULL:
            raise OSError(errno.ENOSPC, "no space left on the disk", str(path.parent)) from error
        raise OSError(
            errno.EIO, f"the raster was not written whole ({error})", str(path)
        ) from error


def _read_back(path: Path) -> None:
    """Read a raster that was just written; a fault of it is one of the disk, not of a user."""
    try:
        with open_raster(path) as raster:
            for _, window in raster.block_windows(1):
                raster.read(window=window)
    except DataError as error:
        raise RasterioIOError(str(error)) from error


def create_raster(path: Path, profile: Mapping[str, Any]) -> Any:
    """Begin a raster of this profile; rasterio's dataset to write to, a context manager."""
    with quiet():
        return rasterio.open(path, "w", **profile)


def tiled_profile(like: RasterInfo) -> dict[str, Any]:
    """Profile to write rasters by: on the grid of another one, compressed, in tiles."""
    return {
        "driver": "GTiff",
        "width": like.width,
        "height": like.height,
        "crs": like.crs,
        "transform": like.transform,
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
