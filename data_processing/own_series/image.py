"""One image of a series, held open and read by windows: values, and where there are any.

All that can say "no data" is heeded: the nodata tag, NaN, a mask inside or beside the file, and an
alpha band, whether the network takes it or not. An image of another grid is resampled while it is
read, window by window.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from data_processing.own_series.finding import OPAQUE, RGB
from data_processing.rasters.grids import grid_faults
from data_processing.rasters.reading import IMAGES, RasterInfo, open_raster, quiet, reading
from data_processing.rasters.sources import Raster, Source, stamps_of
from data_processing.rasters.values import has_data, no_measurement
from utils.errors import DataError

__all__ = ["OpenImage"]

RESAMPLED_ROWS = 128  # of a block in which GDAL resamples
FARTHEST_OFF = 0.01  # pixels by which it may take a place wrong, for speed
MOST_LOOKED_AT, FEW_LOOKED_AT = 8, 3  # windows along each side, where values are only looked at
LOOKED_AT_SIDE = 64  # pixels of a side of them
LARGE_BLOCK = 16 << 20  # bytes; GDAL does not keep several of them decoded
NOTHING = np.zeros((1, 1), np.float32)


class OpenImage:
    """An image on the grid of its series.

    Args:
        path: The file, or another source.
        info: Its header.
        grid: Header whose grid it is read on.
        numbers: Bands to take, from 1; all if None.
        alpha: Position of alpha among the network's bands, or None; three bands then get one.
        nearest: Whether resampling takes the nearest pixel, as masks need it, or is bilinear.

    Attributes:
        path, grid: As given.
        numbers: The bands that are taken, from 1.
        block_rows: Rows that are decoded together.
        inverted: Whether a mask shows 0 white and the other value black.
        scaling: Scale and offset of each band that is taken; empty where values are given out as
            they are stored.
        zero: What a stored 0 becomes in each of them (C, 1); a single 0 without scaling.
        itemsize: Bytes of a value as it is given out.

    Raises:
        DataError: The file is gone.
    """

    def __init__(
        self,
        path: Raster,
        info: RasterInfo,
        grid: RasterInfo,
        numbers: tuple[int, ...] | None,
        alpha: int | None,
        nearest: bool = False,
    ) -> None:
        self.path, self.grid = path, grid
        self._info, self._alpha, self._nearest = info, alpha, nearest
        self.numbers = list(numbers or range(1, info.count + 1))
        self.inverted = info.inverted
        self.scaling = [info.scaling[n - 1] for n in self.numbers] if info.scaling else []
        pairs = np.array(self.scaling, np.float32).reshape(-1, 2, 1)
        self._factor: NDArray[np.float32] = pairs[:, 0]
        self.zero: NDArray[np.float32] = pairs[:, 1] if self.scaling else NOTHING
        self.itemsize = 4 if self.scaling else np.dtype(info.dtype).itemsize
        self._moved = bool(grid_faults([("", grid), ("", info)]))
        self._first_band = path.first_band if isinstance(path, Source) else 0
        self.block_rows = max(info.block_shape[0], RESAMPLED_ROWS if self._moved else 1)
        # 8-bit files of four bands are marked RGBA by default: what is taken as NIR hides nothing
        marked = None if info.alpha is None else info.alpha + 1
        self._hiding = None if marked in self.numbers else marked
        self._raster: Any = None
        self._tag = info.nodata  # what values mean "no data" once the file is open
        self._gates: list[tuple[Any, int]] = []  # bands that are 0 where there is no data
        self._held = ExitStack()
        self._version = self._stored_version()

    def __getstate__(self) -> dict[str, Any]:
        """State for another process, which opens the file for itself."""
        return {**self.__dict__, "_raster": None, "_gates": [], "_held": ExitStack()}

    def read(
        self, row: int, col: int, height: int, width: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A window that lies inside the grid.

        Returns:
            Values (C, h, w) of the stored type; and (h, w), where there is data.

        Raises:
            DataError: It cannot be read, was changed since it was opened first, or holds infinite
                values.
        """
        return self._checked(*self._read(window=Window(col, row, width, height)))

    def read_reduced(self, step: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """About every ``step``-th pixel of the whole image (C, ⌈H/step⌉, ⌈W/step⌉), as `read`."""
        shape = (-(-self.grid.height // step), -(-self.grid.width // step))
        return self._checked(*self._read(out_shape=shape))

    def windows_to_look_at(self) -> list[tuple[int, int, int, int]]:
        """Row, column, height, width of windows spread over the grid; all of it where it is small.

        Fewer of them where each would have a large stored block decoded.
        """
        rows, cols = self._info.block_shape
        nbytes = rows * cols * self._info.count * np.dtype(self._info.dtype).itemsize
        count, side = (MOST_LOOKED_AT if nbytes < LARGE_BLOCK else FEW_LOOKED_AT), LOOKED_AT_SIDE
        heights, widths = (
            [(start, min(side, length - start)) for start in range(0, length, side)]
            if length <= count * side
            else [((length - side) * place // (count - 1), side) for place in range(count)]
            for length in (self.grid.height, self.grid.width)
        )
        return [(row, col, h, w) for (row, h), (col, w) in itertools.product(heights, widths)]

    def look_at(
        self, windows: Sequence[tuple[int, int, int, int]]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The pixels of some windows.

        Returns:
            Values (C, n), and (n,) where there is data.

        Raises:
            DataError: As for :meth:`read`.
        """
        pairs = [self.read(*window) for window in windows]
        values = np.concatenate([some.reshape(len(some), -1) for some, _ in pairs], axis=1)
        return values, np.concatenate([mask.ravel() for _, mask in pairs])

    def close(self) -> None:
        """Close the file; it is opened again when needed."""
        self._held.close()
        self._raster = None
        self._gates.clear()

    # ────────────────────────────────────── behind it ──────────────────────────────────────

    def _read(self, **where: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Values (C, h, w) and where (h, w) there is data, whatever says so."""
        if self._stored_version() != self._version:
            raise DataError(
                str(self.path),
                ["it was changed while it was used, expected the file as it was at the start"],
                "Start again when it is no longer written to.",
            )
        with reading(str(self.path)):
            raster = self._open()
            values = _bands(raster, [self._first_band + n for n in self.numbers], where)
            data_mask = has_data(values, self._tag)
            if self._info.masked and not self._moved:
                data_mask &= raster.read_masks(1, **where) > 0
            for source, band in self._gates:
                data_mask &= source.read(band, **where) > 0
        if self._network_alpha is not None:
            data_mask &= values[self._alpha] > 0
        return values, data_mask

    @property
    def nodata(self) -> float | None:
        """Nodata tag of the file."""
        return self._info.nodata

    @property
    def _network_alpha(self) -> int | None:
        """Number in the file of the band that the network takes as alpha."""
        if self._alpha is None or len(self.numbers) <= RGB:
            return None
        return self.numbers[self._alpha]

    def _stored_version(self) -> dict[Path, tuple[int, int, int]]:
        with reading(str(self.path)):
            return stamps_of([self.path])

    def _open(self) -> Any:
        if self._raster is not None:
            return self._raster
        with quiet():
            raster = self._held.enter_context(open_raster(self.path, IMAGES))
            if self._moved:
                raster = self._resampled(raster)
            elif self._hiding is not None:
                self._gates.append((raster, self._hiding))
            self._raster = raster
        return raster

    def _resampled(self, raster: Any) -> Any:
        """The image on the other grid, with tag and gates for what comes out of it.

        The rule of ``has_data`` holds for the pixels that go in, so that none without data mixes
        with its neighbours: a tag of 0 or more where all bands hold it, others in each band.
        """
        tag = self._info.nodata
        if tag is None and self._info.dtype.startswith("float") and not self._info.masked:
            tag = math.nan
        if self._nearest and tag == 0:
            tag = None  # of a mask: clear
        alpha = self._hiding or self._network_alpha
        if self._info.alpha != (None if alpha is None else alpha - 1):
            raster = self._recoloured(raster, alpha)
        several = self._info.count > 1  # of one band, each is all
        in_each_band = several and tag is not None and (math.isnan(tag) or tag < 0)
        self._tag = tag if in_each_band else None
        adds_alpha = alpha is None and not in_each_band
        warped = self._warped(raster, tag, adds_alpha, in_each_band)
        if adds_alpha:
            self._gates.append((warped, warped.count))
        elif self._hiding is not None:
            self._gates.append((warped, self._hiding))
        if self._info.masked and tag is not None and alpha is None:
            mask = self._warped(raster, None, True, False)  # GDAL heeds a tag or a mask, not both
            self._gates.append((mask, mask.count))
        return warped

    def _warped(self, raster: Any, tag: float | None, adds_alpha: bool, in_each_band: bool) -> Any:
        """A raster on the other grid, with an alpha band if told so.

        Raises:
            DataError: GDAL knows no way from one place to the other.
        """
        try:
            warped = WarpedVRT(
                raster,
                crs=self.grid.crs,
                transform=self.grid.transform,
                width=self.grid.width,
                height=self.grid.height,
                resampling=Resampling.nearest if self._nearest else Resampling.bilinear,
                tolerance=FARTHEST_OFF,
                src_nodata=tag,
                add_alpha=adds_alpha,
                UNIFIED_SRC_NODATA="PARTIAL" if in_each_band else "YES",
            )
        except (RasterioError, CPLE_BaseError) as error:
            reason = str(error).splitlines()[0][:120]
            raise DataError(
                str(self.path),
                [f"it cannot be resampled to the grid of the first image ({reason})"],
                "Are the CRS of both right? Bring both to one grid beforehand.",
            ) from error
        return self._held.enter_context(warped)

    def _recoloured(self, raster: Any, alpha: int | None) -> Any:
        """The image with this band marked as alpha, and no other one."""
        draft = self._held.enter_context(rasterio.MemoryFile(ext=".vrt"))
        rasterio.shutil.copy(raster, draft.name, driver="VRT")
        description = ElementTree.fromstring(draft.read())  # noqa: S314 (GDAL wrote it)
        for number, band in enumerate(description.iterfind("VRTRasterBand"), start=1):
            for mark in band.findall("ColorInterp"):
                band.remove(mark)
            mark = ElementTree.SubElement(band, "ColorInterp")
            mark.text = "Alpha" if number == alpha else "Undefined"
        content = ElementTree.tostring(description)
        file = self._held.enter_context(rasterio.MemoryFile(content, ext=".vrt"))
        return self._held.enter_context(file.open(driver="VRT"))

    def _checked(
        self, values: NDArray[Any], data_mask: NDArray[np.bool_]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """With an alpha band where the network takes one and the file has none.

        Raises:
            DataError: Values that count as data are infinite or no measurements.
        """
        if values.dtype.kind == "f" and np.isinf(values[:, data_mask]).any():
            count = int(np.isinf(values[:, data_mask]).sum())
            raise DataError(
                str(self.path),
                [f"found {count} infinite values in a window, expected numbers"],
                "Replace them, by the nodata tag for instance.",
            )
        numeric = values.dtype.kind in "if"
        if numeric and data_mask.any() and no_measurement(values.min(), values.max()):
            counted = values[:, data_mask]
            fault = no_measurement(float(counted.min()), float(counted.max()))
            if fault:
                raise DataError(str(self.path), [fault])
        if self._alpha is not None and len(values) == RGB:
            opaque = np.where(data_mask, OPAQUE, 0).astype(values.dtype)
            values = np.concatenate([values, opaque[None]])
        return (values, data_mask) if not self.scaling else (self._reflectance(values), data_mask)

    def _reflectance(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Stored values by scale and offset; alpha becomes 0 and 1."""
        colors = stored[: len(self.numbers)]
        values: NDArray[np.float32] = stored.astype(np.float32)
        values[: len(colors)] = colors * self._factor[..., None] + self.zero[..., None]
        if self._alpha is not None:
            values[self._alpha] = stored[self._alpha] > 0
        return values


def _bands(raster: Any, numbers: list[int], where: Mapping[str, Any]) -> NDArray[Any]:
    """Bands (C, h, w) of a window or of a reduced image.

    What is resampled is never asked for all its bands at once: GDAL would resample just the window,
    to values that differ a little from those of its fixed blocks, window by window.
    """
    if len(numbers) == raster.count and isinstance(raster, WarpedVRT):
        parts = [_bands(raster, part, where) for part in (numbers[:-1], numbers[-1:])]
        return np.concatenate(parts)
    shape = where.get("out_shape")
    given = where if shape is None else {"out_shape": (len(numbers), *shape)}
    values: NDArray[Any] = raster.read(numbers, **given)
    return values
