"""Outlines of changed regions (utils/pictures/outlines.py)."""

from __future__ import annotations

import numpy as np
import pytest

from utils.pictures.colors import moment_colors
from utils.pictures.outlines import WHITE, outlined, outlines


def test_a_region_has_an_edge_inside_and_a_rim_around_it() -> None:
    moment = np.zeros((9, 9), int)
    moment[2:7, 2:7] = 3
    moment[8, 8] = -1
    lines = outlines(moment, width=1)
    assert (lines[2, 2:7] == 3).all()
    assert (lines[3:6, 3:6] == 0).all()  # the image is seen there
    assert (lines[1, 1:8] == WHITE).all()
    assert (lines[0] == 0).all()
    assert lines[8, 8] == 0


def test_regions_that_touch_keep_their_colors_and_edges_of_the_map_are_none() -> None:
    moment = np.repeat([[1, 1, 1, 2, 2, 2]], 4, axis=0)
    assert outlines(moment, width=1).tolist() == [[0, 0, 1, 2, 0, 0]] * 4


@pytest.mark.parametrize("T", [2, 255])
def test_an_outlined_image_is_enlarged_and_has_the_colors_of_the_intervals(T: int) -> None:
    image, moment = np.full((10, 20, 3), 7, np.uint8), np.zeros((10, 20), np.uint8)
    moment[5, 5] = T - 1
    shown = outlined(image, moment, T, side=200, width=2)
    assert shown.shape == (100, 200, 3)
    assert (shown[50, 50] == moment_colors(T)[T - 1]).all()
    assert (shown[49, 49] == 255).all()
    assert (shown[0, 0] == 7).all()
