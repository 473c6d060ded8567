"""An image whose bands lie in a file each, read as one is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.containers.stacks import BandStack
from data_processing.own_series.image import OpenImage
from data_processing.rasters.reading import RasterInfo
from data_processing.rasters.sources import Raster
from data_processing.rasters.values import has_data

__all__ = ["StackedImage", "image_of"]


def image_of(
    raster: Raster,
    info: RasterInfo,
    grid: RasterInfo,
    numbers: tuple[int, ...] | None,
    alpha: int | None,
) -> OpenImage:
    """The image of a raster; arguments as of :class:`OpenImage`."""
    if isinstance(raster, BandStack):
        return StackedImage(raster, info, grid, numbers, alpha)
    return OpenImage(raster, info, grid, numbers, alpha)


class StackedImage(OpenImage):
    """An image made of rasters of one band, each taken to the grid of the series by itself.

    A pixel has data by the same rule as in one file: a nodata tag of 0 or more counts where all
    bands hold it. In bands that are resampled it counts in each, as it must not mix with others.
    """

    def __init__(
        self,
        path: BandStack,
        info: RasterInfo,
        grid: RasterInfo,
        numbers: tuple[int, ...] | None,
        alpha: int | None,
    ) -> None:
        super().__init__(path, info, grid, numbers, alpha)
        self._parts = []
        for number in self.numbers:
            source, part_info = path.parts[number - 1], path.infos[number - 1]
            tag = part_info.nodata if info.nodata is None else info.nodata
            part = OpenImage(source, replace(part_info, nodata=tag, scaling=()), grid, (1,), None)
            if not part._moved and info.nodata is not None and info.nodata >= 0:
                untagged = replace(part_info, nodata=None, scaling=())
                part = OpenImage(source, untagged, grid, (1,), None)
            self._parts.append(part)
        self.block_rows = max(part.block_rows for part in self._parts)

    def close(self) -> None:
        """Close all files; they are opened again when needed."""
        for part in self._parts:
            part.close()

    def _read(self, **where: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        pairs = [part._read(**where) for part in self._parts]
        values = np.concatenate([band for band, _ in pairs])
        data_mask = np.logical_and.reduce([mask for _, mask in pairs])
        moved = any(part._moved for part in self._parts)
        data_mask &= has_data(values, None if moved else self._info.nodata)
        if self._network_alpha is not None:
            data_mask &= values[self._alpha] > 0
        return values, data_mask
