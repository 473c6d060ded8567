"""Tiles that cover every pixel (utils/tiling.py)."""

from __future__ import annotations

import numpy as np
import pytest

from utils.tiling import covering_origins

SIZES = [1009, 1023, 1024, 100, 64, 63, 1]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0, 1, 16, 63])
def test_tiles_cover_every_pixel_and_lie_inside(size: int, overlap: int) -> None:
    height, width = size, 130
    if overlap == 63:
        height, width = min(size, 100), 70
    count = np.zeros((height, width), dtype=int)
    origins = covering_origins(height, width, 64, overlap)
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
    assert len(covering_origins(size, 64, 64)) == number
    assert len(covering_origins(size, size, 64)) == number**2


@pytest.mark.parametrize("overlap", [1, 16, 40])
def test_neighbours_overlap_at_least_as_much_as_asked(overlap: int) -> None:
    for size in SIZES[:4]:
        starts = sorted({row for row, _ in covering_origins(size, 64, 64, overlap)})
        steps = np.diff(starts)
        assert (steps <= 64 - overlap).all()
        assert (steps[:-1] == 64 - overlap).all()


def test_the_last_tile_ends_at_the_border() -> None:
    assert covering_origins(100, 64, 64) == [(0, 0), (36, 0)]
    assert covering_origins(64, 100, 64, 32) == [(0, 0), (0, 32), (0, 36)]


def test_a_raster_smaller_than_a_tile_gets_one() -> None:
    assert covering_origins(20, 13, 64) == [(0, 0)]
    assert covering_origins(63, 100, 64) == [(0, 0), (0, 36)]


@pytest.mark.parametrize(
    ("height", "width", "tile", "overlap"),
    [(0, 64, 64, 0), (64, -1, 64, 0), (64, 64, 0, 0), (64, 64, 64, 64), (64, 64, 64, -1)],
)
def test_sizes_that_make_no_sense_are_refused(
    height: int, width: int, tile: int, overlap: int
) -> None:
    with pytest.raises(ValueError, match="expected positive sizes"):
        covering_origins(height, width, tile, overlap)
