"""One image of a series, held open and read by windows: values, and where there are any.

All that can say "no data" is heeded: the nodata tag, NaN, a mask inside or beside the file, and an
alpha band, whether the network takes it or not. An image of another grid is resampled while it is
read, window by window. Not in the paper.
"""

from __future__ import annotations

import contextlib
import datetime
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from data_processing.custom_series import OPAQUE, RGB, whole_date
from data_processing.rasters import RasterInfo, has_data, quiet, reading
from data_processing.scene_writer import same_grid
from utils.errors import DataError

__all__ = ["OpenImage", "tagged_date"]

DATE_TAGS = ("ACQUISITION_DATE", "ACQUISITIONDATE", "DATE_ACQUIRED", "DATE", "TIFFTAG_DATETIME")


class OpenImage:
    """An image on the grid of its series.

    Args:
        path: The file.
        info: Its header.
        grid: Header whose grid it is read on.
        numbers: Bands to take, from 1; all if None.
        alpha: Position of alpha among the network's bands, or None; three bands then get one.
        nearest: Whether resampling takes the nearest pixel, as masks need it, or is bilinear.

    Attributes:
        path, grid: As given.
        numbers: The bands that are taken, from 1.
        block_rows: Rows of a stored block.
    """

    def __init__(
        self,
        path: Path,
        info: RasterInfo,
        grid: RasterInfo,
        numbers: tuple[int, ...] | None,
        alpha: int | None,
        nearest: bool = False,
    ) -> None:
        self.path, self.grid = path, grid
        self.block_rows = info.block_shape[0]
        self._info, self._alpha, self._nearest = info, alpha, nearest
        self.numbers = list(numbers or range(1, info.count + 1))
        self._moved = _lies_elsewhere(info, grid)
        self._raster: Any = None
        self._held = ExitStack()

    def read(
        self, row: int, col: int, height: int, width: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window that lies inside the grid.

        Returns:
            Values (C, h, w) of the stored type; and (h, w), where there is data.

        Raises:
            DataError: It cannot be read, or holds infinite values.
        """
        window = Window(col, row, width, height)
        with reading(str(self.path)):
            raster = self._open()
            values = raster.read(self.numbers, window=window)
            seen = self._seen(raster, values, window=window)
        return self._checked(values, seen)

    def read_reduced(self, step: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """About every ``step``-th pixel of the whole image, as :meth:`read`."""
        shape = (-(-self.grid.height // step), -(-self.grid.width // step))
        with reading(str(self.path)):
            raster = self._open()
            values = raster.read(self.numbers, out_shape=(len(self.numbers), *shape))
            seen = self._seen(raster, values, out_shape=shape)
        return self._checked(values, seen)

    def read_mask(self, row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        """A window (h, w) of a mask of 0 and 1, or 0 and 255; True where it is not 0.

        Raises:
            DataError: It cannot be read, or holds other values.
        """
        values, seen = self.read(row, col, height, width)
        mask = np.where(seen, values[0], 0)
        if not (np.isin(mask, (0, 1)).all() or np.isin(mask, (0, OPAQUE)).all()):
            found = ", ".join(map(str, np.unique(mask)[:6]))
            raise DataError(
                str(self.path),
                [f"found values {found}, expected 0 clear and 1 (or 255) cloud"],
                "Make a mask of the classes that are clouds.",
            )
        marked: NDArray[np.bool_] = mask != 0
        return marked

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        self._held.close()
        self._raster = None

    def _open(self) -> Any:
        if self._raster is None:
            with quiet():
                raster = self._held.enter_context(rasterio.open(self.path))
                if self._moved:
                    raster = self._held.enter_context(self._warped(raster))
            self._raster = raster
        return self._raster

    def _warped(self, raster: Any) -> Any:
        """The image on the other grid; pixels that it does not reach get alpha 0."""
        return WarpedVRT(
            raster,
            crs=self.grid.crs,
            transform=self.grid.transform,
            width=self.grid.width,
            height=self.grid.height,
            resampling=Resampling.nearest if self._nearest else Resampling.bilinear,
            add_alpha=self._info.alpha is None,
        )

    def _seen(self, raster: Any, values: NDArray[Any], **where: Any) -> NDArray[np.bool_]:
        """Where (h, w) there is data, whatever says so."""
        seen = has_data(values, self._info.nodata)
        if self._info.masked:
            seen &= raster.read_masks(1, **where) > 0
        alpha = self._info.alpha
        if self._moved and alpha is None:
            alpha = raster.count - 1
        if alpha is not None:
            seen &= raster.read(alpha + 1, **where) > 0
        if self._alpha is not None and len(values) > RGB:
            seen &= values[self._alpha] > 0
        return seen

    def _checked(
        self, values: NDArray[Any], seen: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        if values.dtype.kind == "f" and np.isinf(values[:, seen]).any():
            count = int(np.isinf(values[:, seen]).sum())
            raise DataError(
                str(self.path),
                [f"found {count} infinite values in a window, expected numbers"],
                "Replace them, by the nodata tag for instance.",
            )
        if self._alpha is not None and len(values) == RGB:
            opaque = np.where(seen, OPAQUE, 0).astype(values.dtype)
            values = np.concatenate([values, opaque[None]])
        return values, seen


def tagged_date(path: Path) -> datetime.date | None:
    """The date that a file's tags give, None without one; of several the first of DATE_TAGS."""
    with contextlib.suppress(DataError), reading(str(path)), quiet(), rasterio.open(path) as raster:
        tags = {key.upper(): text for key, text in raster.tags().items()}
        for key in DATE_TAGS:
            date = whole_date(tags.get(key, "").replace(":", "-", 2))
            if date is not None:
                return date
    return None


def _lies_elsewhere(info: RasterInfo, grid: RasterInfo) -> bool:
    try:
        same_grid("", [("", grid), ("", info)], sizes=True)
    except DataError:
        return True
    return False
