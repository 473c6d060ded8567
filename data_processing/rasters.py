"""Rasters on disk: headers, windows, and maps written beside them.

Everything goes through rasterio, so every GeoTIFF compression works, and so do files without a
georeference (as tifffile, imageio or skimage write them). What bands and values mean is not known
here. Not in the paper.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from utils.errors import DataError
from utils.files import atomic_path

__all__ = ["RasterInfo", "raster_blocks", "raster_info", "read_window", "write_map"]

OPEN_FILES = 128  # per process; below the usual limits of every operating system
BLOCK_VALUES = 1 << 22  # values read at a time when a whole raster is gone through


@dataclass(frozen=True)
class RasterInfo:
    """Header of a raster.

    Attributes:
        width: Columns.
        height: Rows.
        count: Bands.
        dtype: numpy name of the stored type.
        crs: ``rasterio.crs.CRS`` or None.
        transform: ``affine.Affine``; the identity where the file has no georeference.
        nodata: Value of the nodata tag or None.
        block_shape: Rows and columns of a stored block.
        pages: Pages of the file; 1 for a usual raster.
    """

    width: int
    height: int
    count: int
    dtype: str
    crs: Any
    transform: Any
    nodata: float | None
    block_shape: tuple[int, int] = (1, 1)
    pages: int = 1

    @property
    def georeferenced(self) -> bool:
        """Whether the file says where on Earth it lies."""
        return self.crs is not None or not self.transform.is_identity


def raster_info(path: Path) -> RasterInfo:
    """Header of a raster, without reading pixels.

    Raises:
        DataError: When the file is missing or cannot be opened as a raster.
    """
    with _reading(path), _quiet(), rasterio.open(path) as raster:
        return RasterInfo(
            width=raster.width,
            height=raster.height,
            count=raster.count,
            dtype=raster.dtypes[0],
            crs=raster.crs,
            transform=raster.transform,
            nodata=raster.nodata,
            block_shape=tuple(raster.block_shapes[0]),
            pages=max(1, len(raster.subdatasets)),
        )


def read_window(
    path: Path, row: int, col: int, height: int, width: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read a window that lies inside the raster.

    A pixel has no data where any band is NaN, or any band holds a negative nodata tag (−9999),
    which can be no measurement. A tag of 0 or more (0, 255) may be one in a single band, above
    all in an alpha band, so that all bands must hold it.

    Returns:
        Values (C, h, w) of the stored type, and a mask (h, w) that is True where there is data.

    Raises:
        DataError: When the file cannot be opened or its pixels cannot be decoded.
    """
    with _reading(path):
        status = path.stat()
        raster = _opened(
            path, os.getpid(), threading.get_ident(), status.st_mtime_ns, status.st_size
        )
        stored = raster.read(window=Window(col, row, width, height))
        nodata = raster.nodata
    return stored, _has_data(stored, nodata)


def read_reduced(path: Path, step: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read about every ``step``-th pixel of a whole raster, for pictures.

    Returns:
        Values (C, ⌈H/step⌉, ⌈W/step⌉) of the stored type, and a mask as in :func:`read_window`.

    Raises:
        DataError: When the file cannot be opened or its pixels cannot be decoded.
    """
    with _reading(path), _quiet(), rasterio.open(path) as raster:
        shape = (raster.count, -(-raster.height // step), -(-raster.width // step))
        stored = raster.read(out_shape=shape)
        return stored, _has_data(stored, raster.nodata)


def raster_blocks(info: RasterInfo) -> Iterator[tuple[int, int, int, int]]:
    """Windows (row, col, height, width) that cover a raster once, along its stored blocks.

    Each holds about :data:`BLOCK_VALUES` values or one stored block, whatever is more, so that a
    raster larger than the memory can be gone through.
    """
    block_rows, block_cols = info.block_shape
    pixels = max(1, BLOCK_VALUES // max(1, info.count))
    if block_cols < info.width:
        cols = min(info.width, block_cols * max(1, int(pixels**0.5) // block_cols))
    else:
        cols = info.width
    rows = min(info.height, block_rows * max(1, pixels // cols // block_rows))
    for row in range(0, info.height, rows):
        for col in range(0, info.width, cols):
            yield row, col, min(rows, info.height - row), min(cols, info.width - col)


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
    profile = {
        "driver": "GTiff",
        "width": like.width,
        "height": like.height,
        "count": 1,
        "dtype": "uint8",
        "crs": like.crs,
        "transform": like.transform,
        "nodata": nodata,
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
    with (
        atomic_path(path) as partial,
        _quiet(),
        rasterio.open(partial, "w", **profile) as raster,
    ):
        raster.write(array, 1)
        if tags:
            raster.update_tags(**tags)
        if colormap:
            raster.write_colormap(1, dict(colormap))


@functools.lru_cache(maxsize=OPEN_FILES)
def _opened(path: Path, process: int, thread: int, changed: int, size: int) -> Any:
    """An open raster, kept per process and thread: handles must not be shared across a fork.

    Time of change and size are part of the key so that a rewritten file is opened afresh.
    """
    with _quiet():
        return rasterio.open(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without rasterio's warning that a file has no georeference: here that is no fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what rasterio says of an unreadable file into a sentence that names it."""
    try:
        yield
    except (RasterioError, OSError) as error:
        cause = error.__cause__ or error
        raise DataError(
            str(path),
            [f"the raster cannot be read ({_first_line(cause)})"],
            "The file is damaged, truncated or no raster: copy or download it again.",
        ) from error


def _first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class where it has none."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _has_data(stored: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
    """Where (h, w) values (C, h, w) are measurements."""
    has_data = np.ones(stored.shape[1:], dtype=np.bool_)
    if stored.dtype.kind == "f":
        has_data &= ~np.isnan(stored).any(axis=0)
    if nodata is not None and not np.isnan(nodata):
        missing = stored == float(nodata)
        has_data &= ~(missing.any(axis=0) if nodata < 0 else missing.all(axis=0))
    return has_data
