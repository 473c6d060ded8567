"""Scale bars and arrows to the north (utils/pictures/scale.py)."""

from __future__ import annotations

import math

import pytest

from utils.pictures.scale import north_arrow, scale_bar


@pytest.mark.parametrize(
    ("metres_per_pixel", "pixels", "text", "length"),
    [
        (10.0, 20, "200 m", 20.0),
        (10.0, 26, "200 m", 20.0),
        (10.0, 34, "500 m", 50.0),
        (4.777, 205, "1 km", 209.34),
        (10.0, 50, "500 m", 50.0),
        (10.0, 80, "1 km", 100.0),
        (0.5, 0.2, "0.1 m", 0.2),
        (250.0, 900, "200 km", 800.0),
        (1111.0, 1000, "1,000 km", 900.09),
    ],
)
def test_a_scale_bar_is_round_and_about_as_long_as_wished(
    metres_per_pixel: float, pixels: float, text: str, length: float
) -> None:
    found, exact = scale_bar(metres_per_pixel, pixels)
    assert found == text
    assert exact == pytest.approx(length, rel=1e-4)
    assert 0.6 < exact / pixels < 1.6


@pytest.mark.parametrize(
    ("metres", "pixels"), [(0.0, 10), (-1.0, -10), (math.nan, 10), (1.0, 0), (math.inf, 1)]
)
def test_a_scale_without_length_is_refused(metres: float, pixels: float) -> None:
    with pytest.raises(ValueError, match="scale bar: found"):
        scale_bar(metres, pixels)


@pytest.mark.parametrize(
    ("north", "tip"),
    [(0.0, (0, -5)), (90.0, (5, 0)), (-90.0, (-5, 0)), (30.0, (2.5, -4.330))],
)
def test_the_arrow_points_clockwise_from_up(north: float, tip: tuple[float, float]) -> None:
    assert north_arrow(10.0, north)[0] == pytest.approx(tip, abs=1e-3)
