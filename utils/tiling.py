"""The windows that cover a raster, and the weights by which they are blended where they overlap.

The released program leaves border strips out and lays patches side by side.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["WEIGHT_UNIT", "TileGrid"]

WEIGHT_UNIT = 1 << 15
"""Sum of the weights of all tiles over a row (or a column) of pixels; at most, if flat."""


@dataclass(frozen=True)
class TileGrid:
    """Square tiles that together cover every pixel of a raster.

    Tiles lie in rows of step ``tile_size − overlap``; the last of a row or column is shifted back
    to end at the border. A raster smaller than a tile gets one tile that reaches beyond it.

    Args:
        height: Of the raster, in pixels.
        width: Of the raster, in pixels.
        tile_size: Side of a tile in pixels.
        overlap: Least overlap of neighbouring tiles in pixels.
        flat: Whether all pixels of a tile weigh the same, for the plain mean of overlapping tiles;
            else weights rise from a tile's edge, so that no seam shows.

    Raises:
        ValueError: A size is not positive, or the overlap is not smaller than the tile.
    """

    height: int
    width: int
    tile_size: int
    overlap: int = 0
    flat: bool = False

    def __post_init__(self) -> None:
        sizes = (self.height, self.width, self.tile_size)
        if min(sizes) <= 0 or not 0 <= self.overlap < self.tile_size:
            raise ValueError(
                f"TileGrid: found a {self.height}×{self.width} raster, tile {self.tile_size}, "
                f"overlap {self.overlap}; expected positive sizes and 0 ≤ overlap < tile size."
            )

    @functools.cached_property
    def rows(self) -> tuple[int, ...]:
        """Top rows of the rows of tiles, ascending."""
        return _starts(self.height, self.tile_size, self.tile_size - self.overlap)

    @functools.cached_property
    def cols(self) -> tuple[int, ...]:
        """Left columns of the columns of tiles, ascending."""
        return _starts(self.width, self.tile_size, self.tile_size - self.overlap)

    @functools.cached_property
    def row_weights(self) -> dict[int, NDArray[np.int32]]:
        """Weights (tile_size,) of a row of tiles by its top row; see :func:`_axis_weights`."""
        return self._weights(self.height, self.rows)

    @functools.cached_property
    def col_weights(self) -> dict[int, NDArray[np.int32]]:
        """Weights (tile_size,) of a column of tiles by its left column."""
        return self._weights(self.width, self.cols)

    @property
    def origins(self) -> list[tuple[int, int]]:
        """Top-left corners (row, column) of all tiles, row by row."""
        return [(row, col) for row in self.rows for col in self.cols]

    def rows_touching(self, first: int, last: int) -> list[int]:
        """Top rows of the tiles that have a part in the pixel rows ``first`` … ``last − 1``."""
        return [row for row in self.rows if row < last and row + self.tile_size > first]

    def _weights(self, length: int, starts: tuple[int, ...]) -> dict[int, NDArray[np.int32]]:
        if self.flat:
            return _flat_weights(length, self.tile_size, starts)
        return _axis_weights(length, self.tile_size, self.overlap, starts)


def _starts(length: int, tile_size: int, step: int) -> tuple[int, ...]:
    last = max(length - tile_size, 0)
    return (*range(0, last, step), last)


def _axis_weights(
    length: int, tile_size: int, overlap: int, starts: tuple[int, ...]
) -> dict[int, NDArray[np.int32]]:
    """Whole weights of each tile along one axis; at every pixel they add up to WEIGHT_UNIT.

    Before rounding a weight rises linearly over ``overlap`` pixels from the tile's edge, so that
    no seam shows where tiles meet; without overlap it is the same everywhere in the tile.
    """
    from_edge = np.minimum(np.arange(tile_size) + 1, tile_size - np.arange(tile_size))
    ramp = np.minimum(from_edge, max(1, overlap)).astype(np.int64)
    reach = max(length, tile_size)
    total = np.zeros(reach, np.int64)
    for start in starts:
        total[start : start + tile_size] += ramp
    given = np.zeros(reach, np.int64)  # rounded down; the first tile over a pixel gets the rest
    weights = {}
    for start in starts:
        weights[start] = ramp * WEIGHT_UNIT // total[start : start + tile_size]
        given[start : start + tile_size] += weights[start]
    rest = WEIGHT_UNIT - given
    for start in starts:
        weights[start] += rest[start : start + tile_size]
        rest[start : start + tile_size] = 0
        weights[start][max(0, length - start) :] = 0  # beyond the raster
    return {start: weight.astype(np.int32) for start, weight in weights.items()}


def _flat_weights(
    length: int, tile_size: int, starts: tuple[int, ...]
) -> dict[int, NDArray[np.int32]]:
    """One whole weight for all tiles along an axis; their sums lie below or at WEIGHT_UNIT.

    At a pixel they add up to that weight times the tiles there, so that a mean is exact where
    rounded shares of WEIGHT_UNIT would favour one of three tiles.
    """
    visits = np.zeros(max(length, tile_size), np.int64)
    for start in starts:
        visits[start : start + tile_size] += 1
    weight = np.full(tile_size, WEIGHT_UNIT // int(visits.max()), np.int32)
    inside = np.arange(tile_size)
    return {start: np.where(start + inside < length, weight, 0) for start in starts}
