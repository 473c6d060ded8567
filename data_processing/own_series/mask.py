"""One cloud mask of a series, read by windows on the grid of the images: what is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.own_series.image import OpenImage
from data_processing.rasters.cloud_codes import hidden_pixels
from data_processing.rasters.reading import RasterInfo
from data_processing.rasters.sources import Raster
from utils.errors import DataError

__all__ = ["CloudMask"]


class CloudMask(OpenImage):
    """A mask, taken to the grid of its series by nearest neighbour where it has another one.

    Args:
        path: The file.
        info: Its header.
        grid: Header whose grid it is read on.

    Attributes:
        codes: What its values mean, a key of ``rasters.cloud_codes.CLOUD_CODES``.
        moved: Whether it has another grid.
    """

    def __init__(self, path: Raster, info: RasterInfo, grid: RasterInfo) -> None:
        codes = replace(info, scaling=())  # whatever its tags say: no measurements
        super().__init__(path, codes, grid, None, None, nearest=True)
        self.codes = "binary"

    @property
    def moved(self) -> bool:
        """Whether it has another grid than the images."""
        return self._moved

    def values_to_tell(self, with_fill: bool = False) -> NDArray[Any]:
        """Values (C, n) of pixels of all its parts; of a mask shown inverted, as they are shown.

        Args:
            with_fill: Whether those count that its nodata tag calls none.
        """
        values, data_mask = self.look_at(self.windows_to_look_at())
        counted = values if with_fill else values[:, self._known_of(data_mask)]
        return counted.max(initial=0) - counted if self.inverted else counted

    def mean(self, codes: str, asked: bool) -> None:
        """Take the values by these codes.

        Args:
            codes: A key of ``CLOUD_CODES``.
            asked: Whether the user says so; else a mask shown inverted means the opposite.
        """
        self.codes = codes
        if self.inverted and not asked and codes == "binary":
            self.codes = "binary-clear"

    def look_at_hidden(self, windows: Sequence[tuple[int, int, int, int]]) -> NDArray[np.bool_]:
        """Mask (n,) of the hidden pixels of some windows."""
        return np.concatenate([self.hidden(*window).ravel() for window in windows])

    def hidden(self, row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        """A window (h, w), True where the ground is hidden.

        True, too, where the mask knows nothing: beyond its borders, and where it holds its nodata
        tag, unless that is the 0 of "clear".

        Raises:
            DataError: It cannot be read, or holds values that its codes do not have.
        """
        return self._hidden(*self.read(row, col, height, width))

    def hidden_reduced(self, step: int) -> NDArray[np.bool_]:
        """About every ``step``-th pixel of the whole mask, as :meth:`hidden`."""
        return self._hidden(*self.read_reduced(step))

    def _hidden(self, values: NDArray[Any], with_data: NDArray[np.bool_]) -> NDArray[np.bool_]:
        known_mask = self._known_of(with_data)
        if not known_mask.any():
            return ~known_mask
        # For what is unknown: any value that is known.
        standing_in = values[:, known_mask][:, :1, None]
        try:
            hidden = hidden_pixels(np.where(known_mask, values, standing_in), self.codes)
        except ValueError as error:
            raise DataError(
                str(self.path), [str(error)], "Say what the values mean with --cloud-codes."
            ) from error
        return hidden | ~known_mask

    def _known_of(self, with_data: NDArray[np.bool_]) -> NDArray[np.bool_]:
        clear_tag = self._info.nodata == 0 and not self._info.masked and not self._moved
        zero_is_clear = self.codes in ("binary", "cfmask")
        return np.ones_like(with_data) if clear_tag and zero_is_clear else with_data
