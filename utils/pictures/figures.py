"""Pictures: the overview of a scene, one patch with its dates, the learning curve.

Pictures are built with matplotlib's objects, never through pyplot, and leave no state behind.
Colours are in ``utils.pictures.colors``, the layout of maps in ``utils.pictures.layout``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.metrics import Matrix
from utils.pictures.colors import (
    AGREEMENT_LEGEND,
    Pixels,
    Stretch,
    moment_colors,
    moment_legend,
    paint_agreement,
    paint_moments,
    shared_stretch,
    visible_image,
)
from utils.pictures.confusion_figure import confusion_figure
from utils.pictures.layout import (
    CAPTION_POINTS,
    FRAME,
    INK,
    TEXT_POINTS,
    Legend,
    Panel,
    map_figure,
    save_figure,
)

__all__ = [
    "Stretch",
    "draw_confusion",
    "draw_learning_curve",
    "draw_overview",
    "draw_patch",
    "learning_curve_figure",
    "moment_colors",
    "overview_figure",
    "patch_figure",
    "shared_stretch",
    "visible_image",
]

MOST_PATCHES = 8  # side by side in one row
LOSS_LINES = (("train_loss", "training"), ("val_loss", "validation"))
SCORE_LINES = (
    ("val_area_f1", "change area, F1"),
    ("val_area_kappa", "change area, kappa"),
    ("val_moment_f1_macro_all", "change moment, F1 over all classes"),
    ("val_moment_f1_macro_change", "change moment, F1 over the intervals"),
)
# Okabe and Ito's colours; the line styles tell the lines apart without colour.
LINE_STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


def draw_overview(
    path: Path,
    first: Pixels,
    last: Pixels,
    truth: npt.NDArray[Any] | None,
    prediction: npt.NDArray[Any],
    dates: Sequence[date],
    title: str,
    scores_line: str = "",
) -> None:
    """Write the overview of a scene as a picture (PNG, or what the suffix of ``path`` says).

    Args:
        path: The file.
        first: (H, W, 3) uint8, the image of the first date (``visible_image``).
        last: (H, W, 3) uint8, the image of the last date.
        truth: (H, W) integer change moment, 0 … T−1, −1 or 255 for no data; None if unknown,
            then the true moment and the agreement are left out.
        prediction: (H, W) integer change moment, coded alike.
        dates: The T dates.
        title: Heading, e.g. the name of the scene.
        scores_line: One line below it, e.g. the scores in percent.

    Raises:
        ValueError: Sizes differ, or a map holds other values.
        OSError: The file cannot be written.
    """
    save_figure(overview_figure(first, last, truth, prediction, dates, title, scores_line), path)


def draw_patch(
    path: Path,
    images: Pixels,
    moment_label: npt.NDArray[Any],
    dates: Sequence[date],
    title: str,
) -> None:
    """Write all dates of one patch and its change moment as a picture.

    Args:
        path: The file.
        images: (T, 3, H, W) uint8, red, green, blue.
        moment_label: (H, W) integer, 0 … T−1, −1 or 255 for no data.
        dates: The T dates.
        title: Heading.

    Raises:
        ValueError: Sizes differ, or the label holds other values.
        OSError: The file cannot be written.
    """
    save_figure(patch_figure(images, moment_label, dates, title), path)


def draw_learning_curve(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write losses, scores and learning rate over the epochs as a picture.

    Args:
        path: The file.
        rows: One mapping per epoch as in ``metrics.csv``, values as numbers or text. Keys used:
            ``epoch``, the losses, scores and ``learning_rate``; what is missing is left out.

    Raises:
        OSError: The file cannot be written.
    """
    save_figure(learning_curve_figure(rows), path)


def draw_confusion(path: Path, matrices: Mapping[str, Matrix], title: str) -> None:
    """Write confusion matrices as a picture.

    Args:
        path: The file.
        matrices: (K, K) counts by name, rows truth, columns prediction.
        title: Heading.

    Raises:
        OSError: The file cannot be written.
    """
    save_figure(confusion_figure(matrices, title), path)


def overview_figure(
    first: Pixels,
    last: Pixels,
    truth: npt.NDArray[Any] | None,
    prediction: npt.NDArray[Any],
    dates: Sequence[date],
    title: str,
    scores_line: str = "",
) -> Figure:
    """The figure of ``draw_overview``, not written; same arguments."""
    T = len(dates)
    panels: list[Panel] = [
        (f"First image, {dates[0].isoformat()}", first),
        (f"Last image, {dates[-1].isoformat()}", last),
    ]
    legends: list[Legend] = [("Change moment", moment_legend(dates))]
    if truth is not None:
        panels.append(("True change moment", paint_moments(truth, T)))
    panels.append(("Predicted change moment", paint_moments(prediction, T)))
    if truth is not None:
        panels.append(("Change area, agreement", paint_agreement(truth, prediction, T)))
        legends.append(("Change area, agreement", AGREEMENT_LEGEND))
    return map_figure(panels, 4.2, title, scores_line, legends, images_apart=2)


def patch_figure(
    images: Pixels, moment_label: npt.NDArray[Any], dates: Sequence[date], title: str
) -> Figure:
    """The figure of ``draw_patch``, not written; same arguments."""
    T = len(dates)
    if images.ndim != 4 or images.shape[:2] != (T, 3):
        raise ValueError(f"images: found shape {images.shape}, expected ({T}, 3, H, W).")
    panels: list[Panel] = [
        (day.isoformat(), image.transpose(1, 2, 0))
        for day, image in zip(dates, images, strict=True)
    ]
    panels.append(("Change moment", paint_moments(moment_label, T)))
    rows = math.ceil(len(panels) / MOST_PATCHES)
    columns = math.ceil(len(panels) / rows)
    legend = ("Change moment", moment_legend(dates))
    return map_figure(panels, 2.2, title, "", [legend], columns=columns)


def learning_curve_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """The figure of ``draw_learning_curve``, not written; same argument."""
    has_rate = any(math.isfinite(rate) for rate in _column(rows, "learning_rate"))
    names = ["Loss", "Scores on the validation split", *(["Learning rate"] if has_rate else [])]
    figure = Figure(figsize=(5.2 * len(names), 5.4), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    plots = figure.subplots(1, len(names), squeeze=False)[0]
    for plot, name in zip(plots, names, strict=True):
        plot.set_title(name, fontsize=CAPTION_POINTS + 1, color=INK)
        plot.set_xlabel("epoch", fontsize=TEXT_POINTS)
        plot.tick_params(labelsize=TEXT_POINTS - 1)
        plot.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        plot.grid(True, color="#dddddd", linewidth=0.8)
        plot.set_axisbelow(True)
        plot.spines[["top", "right"]].set_visible(False)
    _draw_lines(plots[0], rows, LOSS_LINES)
    lowest = _draw_lines(plots[1], rows, SCORE_LINES)
    plots[1].set_ylim(min(-0.02, 1.1 * lowest), 1.02)
    if has_rate:
        _draw_lines(plots[2], rows, (("learning_rate", ""),))
        plots[2].set_ylim(bottom=0.0)
        plots[2].ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    return figure


def _draw_lines(
    plot: Any, rows: Sequence[Mapping[str, Any]], lines: Sequence[tuple[str, str]]
) -> float:
    """Draw the columns that exist, with a legend below. Returns the lowest value, at most 0."""
    numbers = range(1, len(rows) + 1)
    epochs = [
        given if math.isfinite(given) else number
        for given, number in zip(_column(rows, "epoch"), numbers, strict=True)
    ]
    lowest = 0.0
    for (key, text), (color, style) in zip(lines, LINE_STYLES, strict=False):
        values = _column(rows, key)
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            continue
        lowest = min(lowest, *finite)
        marker = "o" if len(rows) <= 30 else ""
        plot.plot(
            epochs, values, style, color=color, linewidth=2, marker=marker, ms=4, label=text or None
        )
    if epochs:
        plot.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)  # whole epochs, one alone in the middle
    if not plot.lines:
        plot.text(0.5, 0.5, "no values yet", transform=plot.transAxes, ha="center", color=FRAME)
    elif any(text for _, text in lines):
        plot.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            fontsize=TEXT_POINTS - 1,
            handlelength=3,
            frameon=False,
        )
    return lowest


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """A column as numbers; NaN where it is missing, empty or no number."""
    values = []
    for row in rows:
        try:
            values.append(float(row.get(key, "nan")))
        except (TypeError, ValueError):
            values.append(math.nan)
    return values
