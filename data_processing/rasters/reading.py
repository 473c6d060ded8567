"""Rasters on disk: opened by the formats that a place expects, then headers and windows of them.

Everything goes through :func:`open_raster`, so every GeoTIFF compression works, and so do files
without a georeference (as tifffile, imageio or skimage write them); a file that is something else
by its content is refused. What bands and values mean is not known here.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.env import ensure_env, set_gdal_config
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from data_processing.rasters.contents import check_beside, check_sources, kind_of_bytes, start_of
from data_processing.rasters.header import COLORS, RasterInfo, has_own_mask, header
from data_processing.rasters.held import HeldRasters, block_bytes
from data_processing.rasters.sources import Raster, Source
from data_processing.rasters.values import has_data
from utils.errors import DataError
from utils.fields import without_secrets

__all__ = [
    "COLORS",
    "IMAGES",
    "PLAIN",
    "RasterInfo",
    "bound_decoded_blocks",
    "close_rasters",
    "decode_raster",
    "header_of",
    "open_raster",
    "open_variable",
    "open_with",
    "quiet",
    "raster_blocks",
    "raster_info",
    "read_map",
    "read_reduced",
    "read_window",
    "reading",
    "require_room",
    "set_decoded_bytes",
]

# GDAL's names of the formats that a place takes. Files of these hold their own pixels:
PLAIN = ("GTiff", "PNG", "JPEG", "BMP")
# … and what users have beside them; a VRT only where it is called .vrt, its sources looked at
IMAGES = (*PLAIN, "JP2OpenJPEG", "HFA", "ENVI", "EHdr", "netCDF", "HDF5", "VRT")
SHOWN_NAMES = {"GTiff": "GeoTIFF", "JP2OpenJPEG": "JPEG 2000", "HFA": "Imagine"}  # others as is
MOST_BLOCK_BYTES = 1 << 30  # of one stored block, which is decoded as a whole
COPIES = 3  # of a whole raster: as stored, as converted, and masks
NEAR = "The file is damaged, truncated or no raster: copy or download it again."
FAR = (
    "Is the address right, can it be reached, and may you read it (login, key, signed address)? "
    "What GDAL can read there it reads; else download the file."
)
ADDRESS = re.compile(r"\w+://[^\s'\"]+")
DECODED_MIB = 64  # of blocks that GDAL keeps decoded where rasters are read from end to end
BLOCK_VALUES = 1 << 22  # values read at a time when a whole raster is gone through


def open_raster(path: Raster, drivers: Sequence[str] = PLAIN) -> Any:
    """Open a raster for reading, as one of the formats that are expected.

    Args:
        path: A file, taken as a name and never as an address; or another source.
        drivers: GDAL's names of the formats.

    Returns:
        rasterio's dataset, a context manager.

    Raises:
        DataError: It is something else by its content, refers to files that are not its own, or
            cannot be decoded block by block.
        RasterioError: It cannot be opened; see :func:`reading`.
    """
    if isinstance(path, Source):
        return path.opened(drivers)
    path = Path(path).absolute()  # so that no name is taken as an address
    check_beside(path)
    if "VRT" in drivers and path.suffix.lower() == ".vrt":
        for source in check_sources(path):
            open_raster(source, [driver for driver in drivers if driver != "VRT"]).close()
        allowed = ["VRT"]
    else:
        allowed = [driver for driver in drivers if driver != "VRT"]
    return open_with(path, allowed, str(path), lambda: start_of(path))


def open_with(
    name: Path | str, drivers: Sequence[str], where: str, start: Callable[[], bytes | None]
) -> Any:
    """Open what GDAL knows by a name, as one of these formats.

    Args:
        name: A file, or one of GDAL's virtual paths.
        drivers: GDAL's names of the formats.
        where: How messages name it.
        start: Gives its first bytes where it cannot be opened; None if they cannot be had.

    Raises:
        DataError, RasterioError: See :func:`open_raster`.
    """
    try:
        with quiet():
            raster = ensure_env(DatasetReader)(name, driver=list(drivers))
    except RasterioError as error:
        content = start()
        kind = None if content is None else kind_of_bytes(content)
        if kind is None:
            raise
        names = ", ".join(SHOWN_NAMES.get(driver, driver) for driver in drivers)
        fault = f"the raster cannot be read ({kind.sentence}), expected {names}"
        raise DataError(where, [fault], kind.advice) from error
    nbytes = block_bytes(raster)
    if nbytes > MOST_BLOCK_BYTES:
        raster.close()
        fault = f"found blocks of {nbytes / 1e9:.1f} GB, which are decoded as a whole"
        advice = "Write it in tiles: gdal_translate -co TILED=YES in.tif out.tif"
        raise DataError(where, [fault], advice)
    return raster


def open_variable(path: Path, name: str) -> Any:
    """Open one variable of a NetCDF file of ours; rasterio's dataset, a context manager.

    Raises:
        RasterioError: It cannot be opened.
    """
    with quiet():
        return ensure_env(DatasetReader)(f'netcdf:"{path}":{name}', driver=["netCDF"])


def raster_info(path: Raster, drivers: Sequence[str] = PLAIN) -> RasterInfo:
    """Header of a raster, without reading pixels.

    Raises:
        DataError: When the file is missing or cannot be opened as a raster.
    """
    if isinstance(path, Source):
        return path.header(drivers)
    with reading(str(path)), open_raster(path, drivers) as raster:
        return header(raster, str(path))


def decode_raster(content: bytes, where: str) -> tuple[npt.NDArray[Any], RasterInfo]:
    """Values (C, H, W) and header of a raster that lies in memory.

    Args:
        content: All bytes of the file.
        where: How messages name it.

    Raises:
        DataError: It is no raster, damaged, or larger than the free memory.
    """
    if not content:  # rasterio would take it for a file to be written
        raise DataError(where, ["the file is empty, expected a raster"], "Copy it again.")
    with (
        reading(where),
        quiet(),
        rasterio.MemoryFile(content) as file,
        file.open(driver=list(PLAIN)) as raster,
    ):
        require_room(where, info := header(raster, where))
        return raster.read(), info


def require_room(where: str, info: RasterInfo, copies: int = COPIES) -> None:
    """Make sure that a raster can be held in memory as a whole, before it is.

    Args:
        where: How messages name it.
        info: Its header.
        copies: How often its values are held at the same time.

    Raises:
        DataError: It is larger than the free memory.
    """
    import psutil

    values = info.width * info.height * max(1, info.count)
    needed = copies * values * np.dtype(info.dtype).itemsize
    free = psutil.virtual_memory().available
    if needed > free:
        fault = (
            f"found {info.height}×{info.width} pixels of {info.count} bands, which take "
            f"{needed / 1e9:.1f} GB while they are read as a whole; {free / 1e9:.1f} GB are free"
        )
        raise DataError(where, [fault], "Cut it into parts (gdal_translate -srcwin), or resample.")


def read_window(
    path: Path,
    row: int,
    col: int,
    height: int,
    width: int,
    size: tuple[int, int] | None = None,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Read a window that lies inside the raster.

    A pixel has no data where :func:`~data_processing.rasters.values.has_data` says so (nodata tag,
    NaN), and where a mask inside the file or beside it does.

    Args:
        path: The raster.
        row, col, height, width: The window.
        size: Rows and columns that the raster had when it was first looked at.

    Returns:
        Values (C, h, w) of the stored type, and a mask (h, w) that is True where there is data.

    Raises:
        DataError: When the file cannot be opened, its pixels cannot be decoded, or it has been
            replaced by one of another size.
    """
    with reading(str(path)):
        raster = _open_rasters().get(path)
        if size is not None and raster.shape != size:
            raise DataError(
                str(path),
                [f"found {raster.height}×{raster.width} pixels, expected {size[0]}×{size[1]} as "
                 "when it was opened"],
                "Was it replaced meanwhile? Put it back, or start anew.",
            )  # fmt: skip
        return _stored(raster, window=Window(col, row, width, height))


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
    with reading(str(path)), open_raster(path) as raster:
        shape = (-(-raster.height // step), -(-raster.width // step))
        return _stored(raster, out_shape=shape)


def read_map(path: Path) -> npt.NDArray[Any]:
    """The first band (H, W) of a raster, whole.

    Raises:
        DataError: When the file cannot be opened or its pixels cannot be decoded.
    """
    with reading(str(path)), open_raster(path) as raster:
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


def _stored(raster: Any, **where: Any) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Values (C, h, w) of a window or of a reduced raster, and where (h, w) there is data."""
    shape = where.get("out_shape")
    stored = raster.read(**(where if shape is None else {"out_shape": (raster.count, *shape)}))
    data_mask = has_data(stored, raster.nodata)
    if has_own_mask(raster):
        data_mask &= raster.read_masks(1, **where) > 0
    return stored, data_mask


@functools.cache
def _open_rasters() -> HeldRasters:
    """The rasters that this process holds open."""
    return HeldRasters(open_raster)


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
    except UnicodeEncodeError as error:
        fault = "found a path that is no UTF-8 text, expected one that GDAL can open"
        raise DataError(where, [fault], "Rename the file or its folder.") from error
    except (RasterioError, CPLE_BaseError, OSError, UnicodeDecodeError) as error:
        cause = error.__cause__ or error
        raise DataError(
            where,
            [f"the raster cannot be read ({_first_line(cause)})"],
            FAR if "://" in where else NEAR,
        ) from error


def _first_line(error: BaseException) -> str:
    """The first line of an error's text without keys of addresses; its class where it has none."""
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return ADDRESS.sub(lambda match: without_secrets(match[0]), line)


def header_of(path: Raster, drivers: Sequence[str] = PLAIN) -> RasterInfo:
    """Header of a raster that has one page.

    Raises:
        DataError: It cannot be read, has several pages, or no bands of its own.
    """
    info = raster_info(path, drivers)
    if info.count and info.pages == 1:
        return info
    if info.count:
        fault = f"found {info.pages} pages, expected one raster with bands"
        raise DataError(
            str(path),
            [fault],
            "Pages that are bands: write it again as one raster. Pages that are dates: write a "
            f"file for each, gdal_translate GTIFF_DIR:1:{path.name} 2018-01.tif, and so on.",
        )
    fault = f"found {info.pages} variables and no bands of its own, expected one raster with bands"
    raise DataError(
        str(path),
        [fault],
        "Write the variable that holds the image as GeoTIFF; gdalinfo lists them, and "
        'gdal_translate NETCDF:"file.nc":variable out.tif writes one (HDF5:"file.h5"://variable).',
    )
