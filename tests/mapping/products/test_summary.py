"""Numbers of a change map (mapping/products/summary.py): by hand, pixel by pixel."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine

from data_processing.rasters.reading import RasterInfo
from mapping.products.ground_area import PixelAreas
from mapping.products.summary import AreaSums, result_line

DATES = [datetime.date(2018 + year, 6, 1) for year in range(3)]
H, W = 120, 50
# Degrees from 72° to 60° north: a pixel at the bottom covers 1.6 times the ground of one on top.
TALL = RasterInfo(W, H, 1, "uint8", CRS.from_epsg(4326), Affine(0.1, 0, 20, 0, -0.1, 72), 255)
NOWHERE = RasterInfo(W, H, 1, "uint8", None, Affine.identity(), 255)


def some_moment() -> Any:
    """Moment 1 in the north, moment 2 in the south, a third without data."""
    moment = np.zeros((H, W), np.uint8)
    moment[:10], moment[110:] = 1, 2
    moment[40:80] = 255
    return moment


def summed(grid: RasterInfo, rows: int = 17, percent: bool = False) -> dict[str, Any]:
    sums = AreaSums(PixelAreas(grid), len(DATES))
    for row in range(0, H, rows):
        part = some_moment()[row : row + rows]
        score = np.where(part == 1, 61, np.where(part == 2, 60, part)).astype(np.uint8)
        sums.add(row, part, score, np.where(part == 2, 80, 79) if percent else None)
    return sums.summary(DATES)


def test_hectares_are_those_of_the_very_pixels() -> None:
    ground, moment, summary = PixelAreas(TALL).rows(0, H) / 1e4, some_moment(), summed(TALL)
    first, second = (row["hectares"] for row in summary["intervals"])
    assert first == pytest.approx(ground[moment == 1].sum(), rel=1e-9)
    assert second == pytest.approx(ground[moment == 2].sum(), rel=1e-9)
    assert second / first > 1.5  # as many pixels
    assert summary["hectares"] == {
        "mapped": pytest.approx(ground[moment < 255].sum(), rel=1e-9),
        "no_data": pytest.approx(ground[moment == 255].sum(), rel=1e-9),
        "changed": pytest.approx(first + second, rel=1e-9),
    }


def test_probable_pixels_are_counted_from_80_percent_on() -> None:
    summary = summed(TALL, percent=True)
    assert summary["pixels"]["changed_from_80_percent"] == 500
    assert [row["pixels_from_80_percent"] for row in summary["intervals"]] == [0, 500]


@pytest.mark.parametrize("grid", [TALL, NOWHERE])
def test_shares_are_of_what_is_mapped_and_no_data_counts_nowhere(grid: RasterInfo) -> None:
    summary = summed(grid)
    assert summary["pixels"] == {
        "total": 6000, "mapped": 4000, "no_data": 2000, "changed": 1000, "changed_above_60": 500,
    }  # fmt: skip
    assert [row["pixels_above_60"] for row in summary["intervals"]] == [500, 0]
    assert [row["share"] for row in summary["intervals"]] == [0.125, 0.125]
    line = result_line({**summary, "checkpoint": {"file": "w.pth"}})
    assert "25.00 % of what is mapped" in line
    assert ("1,000 pixels" in line) == (grid is NOWHERE)


def test_an_area_that_is_never_seen_has_shares_of_nothing() -> None:
    sums = AreaSums(PixelAreas(TALL), len(DATES))
    sums.add(0, *np.full((2, H, W), 255, np.uint8))
    summary = sums.summary(DATES)
    assert [row["share"] for row in summary["intervals"]] == [0.0, 0.0]
    assert summary["hectares"]["mapped"] == 0
    assert result_line(summary) == "no pixel has data at enough dates"
