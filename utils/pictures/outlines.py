"""Outlines of changed regions on images, in the colours of their intervals, with a white rim.

The rim keeps every colour visible on dark forest and on bright soil.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from utils.codes import NO_DATA
from utils.pictures.colors import NO_DATA_COLOR, Pixels, moment_colors

__all__ = ["WHITE", "outlined", "outlines"]

WHITE = NO_DATA  # the rim, among the values of outlines


def outlines(moment: npt.NDArray[Any], width: int = 2) -> npt.NDArray[np.uint8]:
    """Outlines of a change-moment map.

    Args:
        moment: (H, W) integer, 0 unchanged, 1 … T−1; −1 or 255 for no data.
        width: Of a line and of its rim, in pixels.

    Returns:
        (H, W) uint8: k on the inner edge of regions of moment k, ``WHITE`` on the rim around them,
        0 elsewhere.
    """
    label = np.where((moment < 0) | (moment == NO_DATA), 0, moment).astype(np.uint8)
    H, W = label.shape
    padded = np.pad(label, width, mode="edge")
    is_edge, is_near = np.zeros((H, W), bool), np.zeros((H, W), bool)
    for down in range(2 * width + 1):
        for right in range(2 * width + 1):
            other = padded[down : down + H, right : right + W]
            is_edge |= other != label
            is_near |= other > 0
    lines = np.where(is_edge, label, 0).astype(np.uint8)
    lines[(label == 0) & is_near] = WHITE
    return lines


def outlined(
    image: Pixels, moment: npt.NDArray[Any], num_classes: int, side: int, width: int = 3
) -> Pixels:
    """An image with the outlines of a change-moment map, enlarged where it is small.

    Args:
        image: (H, W, 3) uint8.
        moment: (H, W) integer, 0 … T−1; −1 or 255 for no data.
        num_classes: T.
        side: Pixels of the longer side that the image gets about, by a whole factor, at least 1.
        width: Of a line and of its rim, in pixels.

    Returns:
        (f·H, f·W, 3) uint8.

    Raises:
        ValueError: Image and map differ in size.
    """
    if image.shape != (*moment.shape, 3):
        raise ValueError(f"image: found shape {image.shape}, expected {(*moment.shape, 3)}.")
    factor = max(1, round(side / max(moment.shape)))
    large = image.repeat(factor, axis=0).repeat(factor, axis=1)
    lines = outlines(moment.repeat(factor, axis=0).repeat(factor, axis=1), width)
    colors = np.full((256, 3), NO_DATA_COLOR, np.uint8)
    colors[:num_classes] = moment_colors(num_classes)
    return np.where(lines[:, :, None] > 0, colors[lines], large).astype(np.uint8)
