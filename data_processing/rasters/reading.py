"""Rasters on disk: headers, windows, and maps written beside them.

Everything goes through rasterio, so every GeoTIFF compression works, and so do files without a
georeference (as tifffile, imageio or skimage write them). What bands and values mean is not known
here.
"""

from __future__ import annotations

import functools
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.env import set_gdal_config
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from data_processing.rasters.values import has_data
from utils.errors import DataError

__all__ = [
    "RasterInfo",
    "bound_decoded_blocks",
    "close_rasters",
    "decode_raster",
    "header_of",
    "quiet",
    "raster_blocks",
    "raster_info",
    "read_map",
    "read_reduced",
    "read_window",
    "reading",
    "set_decoded_bytes",
]

OPEN_FILES = 1024  # held at most per process, and no more than half of what the system allows
OPEN_BYTES = 512 << 20  # of the buffers that held files decode their blocks with, likewise
DECODED_MIB = 64  # of blocks that GDAL keeps decoded where rasters are read from end to end
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
        band_names: Description of each band, None where the file gives none.
        alpha: Position of the band that the file calls alpha, from 0, or None.
        masked: Whether the file has a mask of its own, inside or as .msk beside it.
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
    band_names: tuple[str | None, ...] = ()
    alpha: int | None = None
    masked: bool = False

    @property
    def georeferenced(self) -> bool:
        """Whether the file says where on Earth it lies."""
        return self.crs is not None or not self.transform.is_identity


def raster_info(path: Path) -> RasterInfo:
    """Header of a raster, without reading pixels.

    Raises:
        DataError: When the file is missing or cannot be opened as a raster.
    """
    with reading(str(path)), quiet(), rasterio.open(path) as raster:
        return _header(raster)


def decode_raster(content: bytes, where: str) -> tuple[npt.NDArray[Any], RasterInfo]:
    """Values (C, H, W) and header of a raster that lies in memory.

    Args:
        content: All bytes of the file.
        where: How messages name it.

    Raises:
        DataError: It is no raster, or damaged.
    """
    with reading(where), quiet(), rasterio.MemoryFile(content) as file, file.open() as raster:
        return raster.read(), _header(raster)


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
    with reading(str(path)):
        raster = _open_rasters().get(path)
        stored = raster.read(window=Window(col, row, width, height))
        nodata = raster.nodata
    return stored, has_data(stored, nodata)


def bound_decoded_blocks() -> None:
    """Let GDAL keep few decoded blocks, so that memory does not grow with the rasters read.

    By default it keeps 5 % of the machine's memory per process. That serves shuffled windows of
    small data; read in order, few blocks are wanted twice. Holds for this process, if it has read
    no raster yet, and for those that it starts. A GDAL_CACHEMAX of the user's own wins.
    """
    os.environ.setdefault("GDAL_CACHEMAX", str(DECODED_MIB))


def set_decoded_bytes(nbytes: int) -> None:
    """Let GDAL keep so many bytes of decoded blocks in this process from now on."""
    set_gdal_config("GDAL_CACHEMAX", nbytes)


def close_rasters() -> None:
    """Close the files that this process holds open for further windows."""
    _open_rasters().close()


def read_reduced(path: Path, step: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read about every ``step``-th pixel of a whole raster, for pictures.

    Returns:
        Values (C, ⌈H/step⌉, ⌈W/step⌉) of the stored type, and a mask as in :func:`read_window`.

    Raises:
        DataError: When the file cannot be opened or its pixels cannot be decoded.
    """
    with reading(str(path)), quiet(), rasterio.open(path) as raster:
        shape = (raster.count, -(-raster.height // step), -(-raster.width // step))
        stored = raster.read(out_shape=shape)
        return stored, has_data(stored, raster.nodata)


def read_map(path: Path) -> npt.NDArray[Any]:
    """The first band (H, W) of a raster, whole.

    Raises:
        DataError: When the file cannot be opened or its pixels cannot be decoded.
    """
    with reading(str(path)), quiet(), rasterio.open(path) as raster:
        band: npt.NDArray[Any] = raster.read(1)
        return band


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


def _header(raster: Any) -> RasterInfo:
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
        band_names=tuple(raster.descriptions),
        alpha=next((i for i, c in enumerate(raster.colorinterp) if c == ColorInterp.alpha), None),
        masked=raster.mask_flag_enums[0] == [MaskFlags.per_dataset],
    )


class _OpenRasters:
    """Rasters held open for further windows; the least recently used is closed first.

    Opening takes as long as decoding a window or longer, and GDAL forgets the decoded blocks of a
    file that is closed. Threads have rasters of their own, since GDAL's must not be shared. A fork
    closes those of this process first, so that none is inherited.
    """

    def __init__(self, most_files: int, most_bytes: int) -> None:
        self.most_files, self.most_bytes = most_files, most_bytes
        self._held: OrderedDict[tuple[Path, int], _Held] = OrderedDict()
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):  # where processes can fork
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._lock.release,
                after_in_child=self._lock.release,
            )

    def __len__(self) -> int:
        """Rasters held."""
        return len(self._held)

    def get(self, path: Path) -> Any:
        """The open raster of this thread, opened afresh when the file was rewritten or replaced."""
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        key = (path, threading.get_ident())
        with self._lock:
            held = self._held.get(key)
            if held is not None and held.version == version:
                self._held.move_to_end(key)
                return held.raster
            self._held.pop(key, None)
        del held  # the last reference closes the old file before the new one is opened
        with quiet():
            raster = rasterio.open(path)
        with self._lock:
            self._held[key] = _Held(raster, version, _buffer_bytes(raster))
            self._close_surplus()
        return raster

    def close(self) -> None:
        """Close all."""
        with self._lock:
            self._held.clear()

    def _close_surplus(self) -> None:
        """Close the least recently used beyond what may be held, but never the last one."""
        total = sum(held.nbytes for held in self._held.values())
        while len(self._held) > 1 and (
            len(self._held) > self.most_files or total > self.most_bytes
        ):
            _, closed = self._held.popitem(last=False)
            total -= closed.nbytes

    def _before_fork(self) -> None:
        """Close all, and keep the lock so that the new process finds it in a known state."""
        self._lock.acquire()
        self._held.clear()


class _Held(NamedTuple):
    """An open raster, what told its file from others, and bytes of its buffers."""

    raster: Any
    version: tuple[int, int, int]
    nbytes: int


@functools.cache
def _open_rasters() -> _OpenRasters:
    """The rasters that this process holds open."""
    return _OpenRasters(min(OPEN_FILES, _files_allowed() // 2), OPEN_BYTES)


def _files_allowed() -> int:
    """How many files the system lets this process open at the same time."""
    try:
        import resource
    except ImportError:  # Windows, where GDAL's files have no such limit
        return 2 * OPEN_FILES
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2 * OPEN_FILES if allowed == resource.RLIM_INFINITY else allowed


def _buffer_bytes(raster: Any) -> int:
    """About what GDAL keeps per open file: one block of all bands, as stored and decoded."""
    rows, cols = raster.block_shapes[0]
    return 2 * int(rows * cols * raster.count * np.dtype(raster.dtypes[0]).itemsize)


@contextmanager
def quiet() -> Iterator[None]:
    """Without rasterio's warning that a file has no georeference: here that is no fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what rasterio says of an unreadable file into a sentence that names it."""
    try:
        yield
    except (RasterioError, OSError) as error:
        cause = error.__cause__ or error
        raise DataError(
            where,
            [f"the raster cannot be read ({_first_line(cause)})"],
            "The file is damaged, truncated or no raster: copy or download it again.",
        ) from error


def _first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class where it has none."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def header_of(path: Path) -> RasterInfo:
    """Header of a raster that has one page.

    Raises:
        DataError: It cannot be read, or has several pages.
    """
    info = raster_info(path)
    if info.pages > 1:
        found = f"found {info.pages} pages, expected one raster with bands"
        raise DataError(str(path), [found], "Write it again as one raster.")
    return info
