"""First image, last image and the changes in one picture, for people.

Images come north up, reduced by ``mapping.report.grid``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from mapping.report.answer import day_texts
from utils.pictures.colors import Pixels, short_legend
from utils.pictures.layout import Panel, map_figure
from utils.pictures.outlines import outlined
from utils.pictures.scale import add_scale

__all__ = ["quicklook_figure"]

DOTS = 180  # per inch at most; images up to LARGE_SIDE are shown pixel by pixel
SMALL_SIDE, LARGE_SIDE = 4.2, 5.7  # of a panel, inches
FINE_SIDE = 720  # pixels, to which small images are enlarged, for thin outlines


def quicklook_figure(
    images: tuple[Pixels, Pixels, Pixels],
    shown: int,
    moment: npt.NDArray[Any],
    dates: Sequence[date],
    title: str,
    subtitle: str,
    metres_per_pixel: float | None,
    north: float | None,
) -> Figure:
    """First image, last image, and the outlines of what changed on a clear one, side by side.

    Args:
        images: Of the first date, the last one and the one that is shown with the changes:
            (H, W, 3) uint8 each, north up, with one stretch (``visible_series``).
        shown: Place of the latter among the dates, from 0.
        moment: (H, W) integer, 0 … T−1; −1 or 255 for no data. Of a network without moments 0 and
            1, with two dates.
        dates: The T dates, two or more.
        title: Heading.
        subtitle: Lines below it; may be empty.
        metres_per_pixel: Ground width of a pixel; None leaves the scale bar out.
        north: Degrees clockwise from up to true north; None leaves the arrow out.

    Raises:
        ValueError: Sizes differ, there are fewer than two dates, or the map holds other values.
    """
    T = len(dates)
    if T < 2:
        raise ValueError(f"dates: found {T}, expected two or more.")
    if moment.shape != images[2].shape[:2]:
        raise ValueError(
            f"moment: found shape {moment.shape}, expected {images[2].shape[:2]}, that of the "
            "images."
        )
    texts = day_texts(dates)
    plain = np.zeros(moment.shape, np.uint8)
    panels: list[Panel] = [
        (f"First image, {texts[0]}", outlined(images[0], plain, T, FINE_SIDE)),
        (f"Last image, {texts[-1]}", outlined(images[1], plain, T, FINE_SIDE)),
        (f"Changes on the image of {texts[shown]}", outlined(images[2], moment, T, FINE_SIDE)),
    ]
    H, W = moment.shape
    side = min(max(math.sqrt(H * W) / DOTS, SMALL_SIDE), LARGE_SIDE)
    legends = [("Change area" if T == 2 else "Changed", short_legend(dates, texts))]
    figure = map_figure(panels, side, title, subtitle, legends)
    add_scale(figure, figure.axes[0], W, metres_per_pixel, north)  # of all: they show one place
    return figure
