"""From overlapping tiles to one map: what is blended are the probabilities, not the decisions.

Probabilities are weighted and added as whole numbers. Sums of whole numbers do not depend on their
order, so that a map is the same to the last byte whichever tile came first and whichever process
computed it. Area and moment follow from the sum, so *area = (moment > 0)* holds at every pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from utils.tiling import TileGrid

__all__ = ["Blend"]


class Blend:
    """Weighted sums of tile probabilities over some rows of a raster, moving downwards.

    Args:
        grid: The tiles.
        num_classes: K, classes of the probability that is blended.
        first: Pixel row that is on top at the beginning.
        count: Pixel rows held; a tile must lie within them, as far as it lies in the raster.
    """

    def __init__(self, grid: TileGrid, num_classes: int, first: int, count: int) -> None:
        self.grid = grid
        self.first = first
        self._sums = np.zeros((num_classes, count, grid.width), np.int32)

    def add(self, row: int, col: int, prob: NDArray[np.floating]) -> None:
        """Add one tile.

        Args:
            row, col: Its top-left corner, one of the grid's.
            prob: (K, tile_size, tile_size), float, 0…1; what lies beyond the raster is left out.
        """
        height = min(self.grid.tile_size, self.grid.height - row)
        width = min(self.grid.tile_size, self.grid.width - col)
        weight = np.multiply.outer(
            self.grid.row_weights[row][:height], self.grid.col_weights[col][:width]
        )
        weighted = np.multiply(prob[:, :height, :width], weight, dtype=np.float64)
        np.rint(weighted, out=weighted)
        top = row - self.first
        self._sums[:, top : top + height, col : col + width] += weighted.astype(np.int32)

    def take(self, count: int) -> NDArray[np.int32]:
        """The top rows (K, count, W) as sums of ``PROB_UNIT``; the rows below move up."""
        taken = self._sums[:, :count].copy()
        rest = self._sums.shape[1] - count
        self._sums[:, :rest] = self._sums[:, count:].copy()
        self._sums[:, rest:] = 0
        self.first += count
        return taken
