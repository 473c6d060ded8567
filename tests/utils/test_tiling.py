"""Tiles that cover every pixel (utils/tiling.py)."""

from __future__ import annotations

import numpy as np
import pytest

from utils.tiling import WEIGHT_UNIT, TileGrid

SIZES = [1009, 1023, 1024, 100, 64, 63, 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 1, 16, 63])
def test_tiles_cover_every_pixel_and_lie_inside(size: int, overlap: int) -> None:
    height, width = size, 130
    if overlap == 63:
        height, width = min(size, 100), 70
    count = np.zeros((height, width), dtype=int)
    origins = TileGrid(height, width, 64, overlap).origins
    for row, col in origins:
        assert row >= 0
        assert col >= 0
        assert row + 64 <= max(height, 64)
        assert col + 64 <= max(width, 64)
        count[row : row + 64, col : col + 64] += 1
    assert count.min() >= 1
    assert len(set(origins)) == len(origins)
    assert origins == sorted(origins)


@pytest.mark.parametrize(("size", "number"), [(1009, 16), (1023, 16), (1024, 16), (1025, 17)])
def test_there_are_no_more_tiles_than_needed(size: int, number: int) -> None:
    assert len(TileGrid(size, 64, 64).origins) == number
    assert len(TileGrid(size, size, 64).origins) == number**2


@pytest.mark.parametrize("overlap", [1, 16, 40])
def test_neighbours_overlap_at_least_as_much_as_asked(overlap: int) -> None:
    for size in SIZES[:4]:
        starts = sorted({row for row, _ in TileGrid(size, 64, 64, overlap).origins})
        steps = np.diff(starts)
        assert (steps <= 64 - overlap).all()
        assert (steps[:-1] == 64 - overlap).all()


def test_the_last_tile_ends_at_the_border() -> None:
    assert TileGrid(100, 64, 64).origins == [(0, 0), (36, 0)]
    assert TileGrid(64, 100, 64, 32).origins == [(0, 0), (0, 32), (0, 36)]


def test_a_raster_smaller_than_a_tile_gets_one() -> None:
    assert TileGrid(20, 13, 64).origins == [(0, 0)]
    assert TileGrid(63, 100, 64).origins == [(0, 0), (0, 36)]


@pytest.mark.parametrize(
    ("height", "width", "tile", "overlap"),
    [(0, 64, 64, 0), (64, -1, 64, 0), (64, 64, 0, 0), (64, 64, 64, 64), (64, 64, 64, -1)],
)
def test_sizes_that_make_no_sense_are_refused(
    height: int, width: int, tile: int, overlap: int
) -> None:
    with pytest.raises(ValueError, match="expected positive sizes"):
        TileGrid(height, width, tile, overlap)


@pytest.mark.parametrize("size", [*SIZES, 150])
@pytest.mark.parametrize("overlap", [0, 1, 16, 40])
def test_weights_of_the_tiles_over_a_pixel_sum_to_one(size: int, overlap: int) -> None:
    grid = TileGrid(size, 130, 64, overlap)
    total = np.zeros(max(size, 64), int)
    for row in grid.rows:
        assert (grid.row_weights[row] >= 0).all()
        total[row : row + 64] += grid.row_weights[row]
    assert (total[:size] == WEIGHT_UNIT).all()
    assert (total[size:] == 0).all()


def test_weights_fall_towards_a_tiles_edge_where_another_takes_over() -> None:
    first, second = (TileGrid(112, 64, 64, 16).row_weights[row] for row in (0, 48))
    assert (np.diff(first[48:]) < 0).all()
    assert (np.diff(second[:16]) > 0).all()
    assert (first[:48] == WEIGHT_UNIT).all()
    assert abs(int(first[48]) - WEIGHT_UNIT * 16 // 17) <= 1


def test_without_overlap_shifted_tiles_count_alike() -> None:
    grid = TileGrid(100, 64, 64)
    assert (grid.row_weights[0][40:] == WEIGHT_UNIT // 2).all()
    assert (grid.row_weights[36][:28] == WEIGHT_UNIT // 2).all()


def test_the_tiles_that_touch_some_rows_are_named() -> None:
    grid = TileGrid(200, 64, 64, 16)
    assert grid.rows == (0, 48, 96, 136)
    assert grid.rows_touching(0, 48) == [0]
    assert grid.rows_touching(48, 96) == [0, 48]
    assert grid.rows_touching(150, 200) == [96, 136]


@pytest.mark.parametrize(("size", "overlap"), [(100, 40), (65, 63), (20, 0), (200, 5)])
def test_flat_weights_are_one_number_and_count_every_tile_alike(size: int, overlap: int) -> None:
    grid = TileGrid(size, 64, 64, overlap, flat=True)
    visits, total = np.zeros(size, int), np.zeros(size, int)
    for start, weight in grid.row_weights.items():
        inside = slice(start, min(start + 64, size))
        visits[inside] += 1
        total[inside] += weight[: inside.stop - start]
        assert (weight[size - start :] == 0).all()
    weight = WEIGHT_UNIT // visits.max()
    assert np.array_equal(total, weight * visits)
