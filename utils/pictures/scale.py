"""Scale bars and arrows to the north of pictures.

They stand below an image and hide nothing of it.
"""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from utils.pictures.layout import INK

__all__ = ["SCALE_SHARE", "add_scale", "north_arrow", "scale_bar"]

SCALE_SHARE = 0.2  # of the panel's width, about
STRIP_WIDTH, STRIP_MIDDLE, BAR_HEIGHT, ARROW = 1.6, 0.15, 0.045, 0.2  # inches
SCALE_POINTS = 10


def scale_bar(metres_per_pixel: float, pixels: float) -> tuple[str, float]:
    """A scale bar of a round length.

    Args:
        metres_per_pixel: Ground width of a pixel, above 0.
        pixels: Length that the bar shall have about.

    Returns:
        Its text, "500 m" or "2 km", and its exact length in pixels.

    Raises:
        ValueError: An argument is not a finite number above 0.
    """
    target = metres_per_pixel * pixels
    if not (0 < target < math.inf and metres_per_pixel > 0):
        raise ValueError(
            f"scale bar: found {metres_per_pixel} metres per pixel and {pixels} pixels, expected "
            "two numbers above 0."
        )
    power = math.floor(math.log10(target))
    rounds = [factor * 10.0**power for factor in (1, 2, 5, 10)]
    metres = min(rounds, key=lambda length: abs(math.log(length / target)))
    text = f"{metres / 1000:,.10g} km" if metres >= 1000 else f"{metres:.10g} m"
    return text, metres / metres_per_pixel


def north_arrow(size: float, north: float) -> list[tuple[float, float]]:
    """Corners (x, y) of an arrow to the north around (0, 0), y downwards.

    Args:
        size: Its length.
        north: Degrees clockwise from up.
    """
    angle = math.radians(north)
    sine, cosine = math.sin(angle), math.cos(angle)
    corners = ((0.0, -0.5), (0.34, 0.5), (0.0, 0.28), (-0.34, 0.5))
    return [(size * (x * cosine - y * sine), size * (x * sine + y * cosine)) for x, y in corners]


def add_scale(
    figure: Figure, axes: Any, pixels: int, metres_per_pixel: float | None, north: float | None
) -> None:
    """Scale bar and arrow to the north in the strip below a panel that is ``pixels`` wide."""
    width, height = figure.get_size_inches()
    box = axes.get_position()
    panel_width = box.width * width
    strip = max(panel_width, STRIP_WIDTH)
    left = (box.x0 + box.x1) / 2 * width - strip / 2
    middle = box.y0 * height - STRIP_MIDDLE  # inches above the bottom
    look: dict[str, Any] = {"facecolor": INK, "edgecolor": "none", "transform": figure.transFigure}
    if metres_per_pixel is not None:
        text, length = scale_bar(metres_per_pixel, SCALE_SHARE * strip / panel_width * pixels)
        bar = length * panel_width / pixels
        corner = (left / width, (middle - BAR_HEIGHT / 2) / height)
        figure.add_artist(Rectangle(corner, bar / width, BAR_HEIGHT / height, **look))
        _write(figure, left + bar + 0.08, middle, text, "left")
    if north is not None:
        x = left + strip - ARROW / 2
        corners = [
            ((x + dx) / width, (middle - dy) / height) for dx, dy in north_arrow(ARROW, north)
        ]
        figure.add_artist(Polygon(corners, closed=True, **look))
        _write(figure, x - ARROW / 2 - 0.04, middle, "N", "right")


def _write(figure: Figure, x: float, y: float, text: str, align: str) -> None:
    """Write small text, its middle ``y`` inches above the bottom."""
    width, height = figure.get_size_inches()
    figure.text(
        x / width, y / height, text, fontsize=SCALE_POINTS, color=INK, ha=align, va="center"
    )
