"""Blending of overlapping tiles (mapping/blending.py)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.blending import Blend
from mapping.decision import PROB_UNIT
from utils.tiling import TileGrid


def tiles_of(
    grid: TileGrid, K: int = 6, seed: int = 0
) -> dict[tuple[int, int], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    shape = (K, grid.tile_size, grid.tile_size)
    tiles = {origin: rng.random(shape, np.float32) for origin in grid.origins}
    return {origin: prob / prob.sum(axis=0) for origin, prob in tiles.items()}


def blended(grid: TileGrid, tiles: dict[tuple[int, int], NDArray[np.float32]]) -> NDArray[np.int32]:
    blend = Blend(grid, 6, 0, max(grid.height, grid.tile_size))
    for (row, col), prob in tiles.items():
        blend.add(row, col, prob)
    return blend.take(grid.height)


@pytest.mark.parametrize(("height", "width", "overlap"), [(50, 41, 4), (9, 40, 0), (33, 16, 9)])
def test_blending_equals_the_weighted_mean_in_float64(
    height: int, width: int, overlap: int
) -> None:
    grid = TileGrid(height, width, 16, overlap)
    tiles = tiles_of(grid)
    total, weight = np.zeros((6, height + 16, width + 16)), np.zeros((height + 16, width + 16))
    edge = np.minimum(np.arange(16) + 1, 16 - np.arange(16)).clip(max=max(1, overlap))
    for (row, col), prob in tiles.items():
        there = (slice(row, row + 16), slice(col, col + 16))
        total[:, there[0], there[1]] += prob * np.outer(edge, edge)
        weight[there] += np.outer(edge, edge)
    expected = (total / np.maximum(weight, 1))[:, :height, :width]
    found = blended(grid, tiles) / PROB_UNIT
    np.testing.assert_allclose(found, expected, atol=2e-4)  # weights are whole 1/32768
    np.testing.assert_allclose(found.sum(axis=0), 1.0, atol=1e-6)


def test_a_pixel_of_one_tile_keeps_its_probability_to_float_precision() -> None:
    grid = TileGrid(16, 16, 16)
    tiles = tiles_of(grid)
    np.testing.assert_allclose(blended(grid, tiles) / PROB_UNIT, tiles[0, 0], atol=1e-9)


def test_the_order_of_tiles_changes_no_bit() -> None:
    grid = TileGrid(61, 47, 16, 5)
    tiles = tiles_of(grid)
    expected = blended(grid, tiles)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(tiles))
        shuffled = {list(tiles)[i]: tiles[list(tiles)[i]] for i in order}
        assert np.array_equal(blended(grid, shuffled), expected)


def test_rows_taken_from_the_top_are_those_of_the_whole_map() -> None:
    grid = TileGrid(61, 47, 16, 5)
    tiles = tiles_of(grid)
    blend, parts = Blend(grid, 6, 0, 16), []
    for row in grid.rows:
        parts.append(blend.take(row - blend.first))
        for col in grid.cols:
            blend.add(row, col, tiles[row, col])
    parts.append(blend.take(61 - blend.first))
    assert np.array_equal(np.concatenate(parts, axis=1), blended(grid, tiles))
