"""The overview picture of an image pair: both images, true and predicted change, agreement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt
from matplotlib.figure import Figure

from utils.files import atomic_path
from utils.pictures.colors import (
    AGREEMENT_LEGEND,
    NO_DATA_COLOR,
    Pixels,
    moment_colors,
    paint_agreement,
    paint_moments,
)
from utils.pictures.layout import Legend, Panel, map_figure

__all__ = ["draw_pair", "pair_figure"]


def draw_pair(
    path: Path,
    first: Pixels,
    last: Pixels,
    truth: npt.NDArray[Any] | None,
    prediction: npt.NDArray[Any],
    title: str,
    scores_line: str = "",
) -> None:
    """Write the overview of a pair as a picture (PNG, or what the suffix of ``path`` says).

    Args:
        path: The file.
        first: (H, W, 3) uint8, the image before.
        last: (H, W, 3) uint8, the image after.
        truth: (H, W) integer change area, 0 or 1, −1 or 255 for no data; None if unknown.
        prediction: (H, W) integer change area, coded alike.
        title: Heading, e.g. the name of the pair.
        scores_line: One line below it.

    Raises:
        ValueError: Sizes differ, or a map holds other values.
        OSError: The file cannot be written.
    """
    figure = pair_figure(first, last, truth, prediction, title, scores_line)
    with atomic_path(path) as partial:
        figure.savefig(partial, format=path.suffix.lstrip(".").lower() or "png")


def pair_figure(
    first: Pixels,
    last: Pixels,
    truth: npt.NDArray[Any] | None,
    prediction: npt.NDArray[Any],
    title: str,
    scores_line: str = "",
) -> Figure:
    """The figure of ``draw_pair``, not written; same arguments."""
    panels: list[Panel] = [("Before", first), ("After", last)]
    colors = [(int(r), int(g), int(b)) for r, g, b in moment_colors(2)]
    legends: list[Legend] = [
        ("Change area", [*zip(("unchanged", "changed"), colors, strict=True),
                         ("no data", NO_DATA_COLOR)])
    ]  # fmt: skip
    if truth is not None:
        panels.append(("True change area", paint_moments(truth, 2)))
    panels.append(("Predicted change area", paint_moments(prediction, 2)))
    if truth is not None:
        panels.append(("Agreement", paint_agreement(truth, prediction, 2)))
        legends.append(("Agreement", AGREEMENT_LEGEND))
    return map_figure(panels, 4.2, title, scores_line, legends, images_apart=2)
