"""From overlapping tiles to one map: what is blended are the probabilities, not the decisions.

Probabilities are weighted and added as whole numbers. Sums of whole numbers do not depend on their
order, so that a map is the same to the last byte whichever tile came first and whichever process
computed it. Area and moment follow from the sum, so *area = (moment > 0)* holds at every pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import moment_label_from_prob
from utils.tiling import WEIGHT_UNIT, TileGrid

__all__ = ["PROB_UNIT", "Blend", "decide", "score_percent"]

PROB_UNIT = WEIGHT_UNIT**2
"""A blended probability of 1 as a whole number, 2³⁰; resolution 1e-9, finer than float32's."""


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
        kept = self._sums.shape[1] - count
        self._sums[:, :kept] = self._sums[:, count:].copy()
        self._sums[:, kept:] = 0
        self.first += count
        return taken


def decide(prob: NDArray[Any], offset: float = 0.0) -> NDArray[np.uint8]:
    """The class of each pixel from its probabilities; a tie with class 0 is "unchanged".

    Args:
        prob: (K, h, w), blended sums or probabilities of one tile.
        offset: A pixel is changed where log p − log p_0 of its most probable change exceeds it;
            0 asks which is larger. A threshold t of two classes is the offset log t/(1 − t).

    Returns:
        (h, w) uint8, 0 … K−1.
    """
    classes = torch.from_numpy(prob)[None]
    if offset:
        classes = classes.double()
        classes[:, 0] *= math.exp(offset)
    label: NDArray[np.uint8] = moment_label_from_prob(classes)[0].to(torch.uint8).numpy()
    return label


def score_percent(
    sums: NDArray[np.int32], bounds: tuple[float, float], moments: bool = True
) -> NDArray[np.uint8]:
    """How strongly change speaks from blended sums, 0…100.

    The probability of the change area, rescaled linearly so that the smallest value it can take
    gives 0 and the largest 100. It ranks pixels and is no calibrated probability.

    Args:
        sums: (K, h, W) of ``PROB_UNIT``.
        bounds: Smallest and largest probability of the change area, see
            ``models.area_prob_bounds``.
        moments: Whether the sums are of change moments, whose area probability is the softmax over
            {p_0, largest of the others}; else of areas, K = 2.

    Returns:
        (h, W) uint8; 50 and more where the pixel is decided "changed", 50 and less elsewhere.
    """
    low, high = bounds
    if moments:
        lead = (sums[1:].max(axis=0) - sums[0]) / np.float64(PROB_UNIT)
        area_prob = 1.0 / (1.0 + np.exp(-lead))
    else:  # tiles sum to one to rounding only: half and more is what is decided "changed"
        area_prob = sums[1] / np.maximum(sums.sum(axis=0, dtype=np.int64), 1)
    percent = np.rint(100.0 * (area_prob - low) / (high - low))
    score: NDArray[np.uint8] = np.clip(percent, 0, 100).astype(np.uint8)
    return score
