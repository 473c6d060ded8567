"""Images in memory or in a cube, read by slices as files are read by windows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.env import get_gdal_config

from data_processing.rasters.header import RasterInfo
from data_processing.rasters.sources import Source

__all__ = ["ArrayImage", "BlockCache", "Slices"]

Slices = Callable[[Sequence[int], slice, slice], NDArray[Any]]
"""Band numbers from 1, rows, columns → (C, h, w)."""

PICTURE_VALUES = 1 << 22  # read at a time where only some are taken
DECODED_MIB = 64  # of blocks kept, where nobody has set GDAL's own number
LARGEST_MIB = 100_000  # GDAL's number is in MB up to here, above in bytes


class ArrayImage(Source):
    """One date of an array or a cube.

    Args:
        name, folder, files: See :class:`Source`.
        info: Its header.
        values: Gives its pixels.
        data_mask: Gives where (h, w) there is data, where a mask says so.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        info: RasterInfo,
        values: Slices,
        data_mask: Callable[[slice, slice], NDArray[np.bool_]] | None = None,
        files: Sequence[Path] = (),
    ) -> None:
        super().__init__(f"{folder}, {name}", name, folder, files)
        self.info, self._values, self._data_mask = info, values, data_mask

    def opened(self, drivers: Sequence[str]) -> ArrayRaster:
        """See :class:`Source`."""
        return ArrayRaster(self.info, self._values, self._data_mask)

    def header(self, drivers: Sequence[str]) -> RasterInfo:
        """See :class:`Source`."""
        return self.info


class ArrayRaster:
    """Reads an array as rasterio's datasets are read, as far as images need it."""

    def __init__(
        self,
        info: RasterInfo,
        values: Slices,
        data_mask: Callable[[slice, slice], NDArray[np.bool_]] | None,
    ) -> None:
        self.count, self._info, self._values, self._data_mask = info.count, info, values, data_mask

    def __enter__(self) -> ArrayRaster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held."""

    def read(
        self, numbers: Sequence[int], window: Any = None, out_shape: tuple[int, ...] | None = None
    ) -> NDArray[Any]:
        """Bands (C, h, w) of a window, or of the whole by nearest pixels in another shape."""
        if window is not None:
            return self._values(numbers, *window.toslices())
        return self._reduced(lambda rows, cols: self._values(numbers, rows, cols), out_shape)

    def read_masks(
        self, number: int, window: Any = None, out_shape: tuple[int, ...] | None = None
    ) -> NDArray[np.uint8]:
        """The mask (h, w) of a window or of the whole, 255 where there is data."""

        def mask(rows: slice, cols: slice) -> NDArray[Any]:
            assert self._data_mask is not None
            return np.where(self._data_mask(rows, cols), np.uint8(255), np.uint8(0))

        return mask(*window.toslices()) if window is not None else self._reduced(mask, out_shape)

    def _reduced(
        self, values: Callable[[slice, slice], NDArray[Any]], shape: tuple[int, ...] | None
    ) -> NDArray[Any]:
        """The whole in another shape, read some rows at a time."""
        height, width = self._info.height, self._info.width
        rows_out, cols_out = (height, width) if shape is None else shape[-2:]
        rows = ((np.arange(rows_out) + 0.5) * height / rows_out).astype(int)
        cols = ((np.arange(cols_out) + 0.5) * width / cols_out).astype(int)
        step = max(1, PICTURE_VALUES // (width * max(1, self.count)))
        parts = []
        for begin in range(0, height, step):
            inside = rows[(rows >= begin) & (rows < begin + step)] - begin
            if len(inside):
                part = values(slice(begin, min(height, begin + step)), slice(0, width))
                parts.append(part[..., inside, :][..., cols])
        return np.concatenate(parts, axis=-2)


class BlockCache:
    """Decoded blocks of a cube, as many as GDAL may keep of a file's.

    Args:
        shape: Dates, rows, columns of the cube.
        block: Those of a block.
        load: Gives a block of one band by the first places and the ends: band, dates, rows, cols.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        block: tuple[int, int, int],
        load: Callable[[int, slice, slice, slice], NDArray[Any]],
    ) -> None:
        self._shape, self._block, self._load = shape, block, load
        self._blocks: OrderedDict[tuple[int, ...], NDArray[Any]] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, Any]:
        """State for another process, which decodes for itself."""
        return {**self.__dict__, "_blocks": OrderedDict(), "_bytes": 0}

    def read(self, band: int, date: int, rows: slice, cols: slice) -> NDArray[Any]:
        """One band (h, w) of one date."""
        _, block_rows, block_cols = self._block
        parts = []
        for row in range(rows.start // block_rows, -(-rows.stop // block_rows)):
            across = []
            for col in range(cols.start // block_cols, -(-cols.stop // block_cols)):
                block = self._decoded(band, date // self._block[0], row, col)
                across.append(
                    block[
                        date % self._block[0],
                        max(0, rows.start - row * block_rows) : rows.stop - row * block_rows,
                        max(0, cols.start - col * block_cols) : cols.stop - col * block_cols,
                    ]
                )
            parts.append(np.concatenate(across, axis=1))
        return np.concatenate(parts)

    def _decoded(self, band: int, *place: int) -> NDArray[Any]:
        key = (band, *place)
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        dates, rows, cols = (
            slice(index * size, min(length, (index + 1) * size))
            for index, size, length in zip(place, self._block, self._shape, strict=True)
        )
        values = self._blocks[key] = self._load(band, dates, rows, cols)
        self._bytes += values.nbytes
        while self._bytes > _most_bytes() and len(self._blocks) > 1:
            self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        return values


def _most_bytes() -> int:
    """Bytes of decoded blocks that GDAL is allowed, too."""
    number = get_gdal_config("GDAL_CACHEMAX")
    if not isinstance(number, int) or number <= 0:
        return DECODED_MIB << 20
    return number << 20 if number < LARGEST_MIB else number
