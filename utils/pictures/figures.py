"""Figures: overviews of scenes and pairs, a patch with its dates, learning curve, confusion.

Figures are built with matplotlib's objects, never through pyplot, and leave no state behind;
``utils.pictures.layout.save_figure`` writes them. Colours are in ``utils.pictures.colors``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.metrics import Matrix
from utils.pictures.colors import (
    AGREEMENT_LEGEND,
    Pixels,
    area_legend,
    moment_legend,
    paint_agreement,
    paint_moments,
)
from utils.pictures.layout import (
    CAPTION_POINTS,
    FRAME,
    INK,
    TEXT_POINTS,
    Legend,
    Panel,
    map_figure,
)
from utils.pictures.scale import add_scale

__all__ = [
    "confusion_figure",
    "learning_curve_figure",
    "overview_figure",
    "pair_figure",
    "patch_figure",
    "reliability_figure",
]

RATE_STRIP = 0.22  # height of the learning rate, of that of the others
MOST_PATCHES = 8  # side by side in one row
CELL = 0.72  # inches, of a confusion matrix
DARK = 0.55  # shares above it are written in white
LOSS_LINES = (("train_loss", "training"), ("val_loss", "validation"))
SCORE_LINES = (
    ("val_area_f1", "change area, F1"),
    ("val_area_kappa", "change area, kappa"),
    ("val_moment_f1_macro_all", "change moment, F1 over all classes"),
    ("val_moment_f1_macro_change", "change moment, F1 over the intervals"),
)
# Okabe and Ito's colours; the line styles tell the lines apart without colour.
LINE_STYLES = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


def overview_figure(
    first: Pixels,
    last: Pixels,
    truth: npt.NDArray[Any] | None,
    prediction: npt.NDArray[Any],
    dates: Sequence[date],
    title: str,
    scores_line: str = "",
    metres_per_pixel: float | None = None,
) -> Figure:
    """The overview of a scene: first and last image, true and predicted moment, agreement.

    Args:
        first: (H, W, 3) uint8, the image of the first date (``visible_image``).
        last: (H, W, 3) uint8, the image of the last date.
        truth: (H, W) integer change moment, 0 … T−1, −1 or 255 for no data; None if unknown,
            then the true moment and the agreement are left out.
        prediction: (H, W) integer change moment, coded alike.
        dates: The T dates.
        title: Heading, e.g. the name of the scene.
        scores_line: One line below it, e.g. the scores in percent.
        metres_per_pixel: Ground width of a pixel; None leaves the scale bar out.

    Raises:
        ValueError: Sizes differ, or a map holds other values.
    """
    captions = (f"First image, {dates[0].isoformat()}", f"Last image, {dates[-1].isoformat()}")
    legends: list[Legend] = [("Change moment", moment_legend(dates))]
    if truth is not None:
        legends.append(("Change area, agreement", AGREEMENT_LEGEND))
    panels = _map_panels((first, last), captions, truth, prediction, len(dates), "moment")
    figure = map_figure(panels, 4.2, title, scores_line, legends, images_apart=2)
    add_scale(figure, figure.axes[0], first.shape[1], metres_per_pixel, None)
    return figure


def pair_figure(
    first: Pixels,
    last: Pixels,
    truth: npt.NDArray[Any] | None,
    prediction: npt.NDArray[Any],
    title: str,
    scores_line: str = "",
    metres_per_pixel: float | None = None,
) -> Figure:
    """The overview of an image pair: both images, true and predicted change, agreement.

    Args:
        first: (H, W, 3) uint8, the image before.
        last: (H, W, 3) uint8, the image after.
        truth: (H, W) integer change area, 0 or 1, −1 or 255 for no data; None if unknown.
        prediction: (H, W) integer change area, coded alike.
        title: Heading, e.g. the name of the pair.
        scores_line: One line below it.
        metres_per_pixel: Ground width of a pixel; None leaves the scale bar out.

    Raises:
        ValueError: Sizes differ, or a map holds other values.
    """
    legends: list[Legend] = [("Change area", area_legend())]
    if truth is not None:
        legends.append(("Change area, agreement", AGREEMENT_LEGEND))
    panels = _map_panels((first, last), ("Before", "After"), truth, prediction, 2, "area")
    figure = map_figure(panels, 4.2, title, scores_line, legends, images_apart=2)
    add_scale(figure, figure.axes[0], first.shape[1], metres_per_pixel, None)
    return figure


def patch_figure(
    images: Pixels, moment_label: npt.NDArray[Any], dates: Sequence[date], title: str
) -> Figure:
    """All dates of one patch and its change moment.

    Args:
        images: (T, 3, H, W) uint8, red, green, blue.
        moment_label: (H, W) integer, 0 … T−1, −1 or 255 for no data.
        dates: The T dates.
        title: Heading.

    Raises:
        ValueError: Sizes differ, or the label holds other values.
    """
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
    """Losses, scores and learning rate over the epochs.

    Args:
        rows: One mapping per epoch as in ``metrics.csv``, values as numbers or text. Keys used:
            ``epoch``, the losses, scores and ``learning_rate``; what is missing is left out.
    """
    has_rate = any(math.isfinite(rate) for rate in _column(rows, "learning_rate"))
    figure = Figure(figsize=(10.4, 6.8 if has_rate else 5.4), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    rows_of_plots = figure.add_gridspec(2, 2, height_ratios=(1, RATE_STRIP if has_rate else 1e-6))
    plots = [figure.add_subplot(rows_of_plots[0, column]) for column in range(2)]
    plots += [figure.add_subplot(rows_of_plots[1, :])] if has_rate else []
    names = ("Loss", "Scores on the validation split", "Learning rate")
    for plot, name in zip(plots, names, strict=False):
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


def confusion_figure(matrices: Mapping[str, Matrix], title: str) -> Figure:
    """Confusion matrices side by side, rows truth, columns prediction.

    Each cell says which share of its true class it holds, in percent; its colour says the same.
    Rows are labelled with the number of pixels.

    Args:
        matrices: (K, K) counts by name.
        title: Heading.
    """
    widths = [2.2 + CELL * max(3, len(matrix)) for matrix in matrices.values()]
    height = 1.9 + CELL * max(3, *(len(matrix) for matrix in matrices.values()))
    figure = Figure(figsize=(sum(widths), height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.15)
    figure.suptitle(title, fontsize=CAPTION_POINTS + 2, fontweight="bold", color=INK)
    plots = figure.subplots(1, len(matrices), squeeze=False, width_ratios=widths)[0]
    for plot, (name, matrix) in zip(plots, matrices.items(), strict=True):
        _draw_matrix(plot, f"Change {name}", matrix)
    return figure


def reliability_figure(
    lines: Mapping[str, Sequence[tuple[float, float, int]]], title: str
) -> Figure:
    """The probability that is said against the share that changed; on the diagonal it is right.

    Args:
        lines: By name the steps of probability: said, true, pixels.
        title: Heading.
    """
    figure = Figure(figsize=(6.4, 6.2), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.15, h_pad=0.15)
    figure.suptitle(title, fontsize=CAPTION_POINTS + 2, fontweight="bold", color=INK)
    plot = figure.subplots()
    plot.plot([0, 100], [0, 100], color=FRAME, linewidth=1, label="exactly as said")
    for (name, steps), (color, style) in zip(lines.items(), LINE_STYLES[1::-1], strict=False):
        if not steps:
            continue
        said, true, pixels = (np.array(column) for column in zip(*steps, strict=True))
        sizes = 12 + 110 * np.sqrt(pixels / max(1, pixels.max()))
        plot.plot(100 * said, 100 * true, style, color=color, linewidth=2, label=name)
        plot.scatter(100 * said, 100 * true, sizes, color=color)
    plot.set_xlabel("probability of change that is said, %", fontsize=TEXT_POINTS)
    plot.set_ylabel("pixels that did change, %", fontsize=TEXT_POINTS)
    plot.set_aspect("equal")
    figure.legend(loc="outside lower center", fontsize=TEXT_POINTS - 1, frameon=False)
    return figure


def _map_panels(
    images: tuple[Pixels, Pixels],
    captions: tuple[str, str],
    truth: npt.NDArray[Any] | None,
    prediction: npt.NDArray[Any],
    num_classes: int,
    what: str,
) -> list[Panel]:
    """Both images, the true and the predicted map and where they agree."""
    panels: list[Panel] = list(zip(captions, images, strict=True))
    if truth is not None:
        panels.append((f"True change {what}", paint_moments(truth, num_classes)))
    panels.append((f"Predicted change {what}", paint_moments(prediction, num_classes)))
    if truth is not None:
        agreement = paint_agreement(truth, prediction, num_classes)
        panels.append(("Change area, agreement", agreement))
    return panels


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


def _draw_matrix(plot: Any, heading: str, matrix: Matrix) -> None:
    K = len(matrix)
    pixels = matrix.sum(axis=1)
    share = matrix / np.maximum(pixels, 1)[:, None]
    plot.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="equal")
    for row, column in np.ndindex(K, K):
        color = "white" if share[row, column] > DARK else INK
        text = "–" if not pixels[row] else f"{100 * share[row, column]:.1f}"
        plot.text(
            column, row, text, ha="center", va="center", fontsize=TEXT_POINTS - 1, color=color
        )
    moments = [f"interval {k}" for k in range(1, K)]
    names = ["unchanged", *(["changed"] if K == 2 else moments)]
    rows = [f"{name}\n{count:,} px" for name, count in zip(names, pixels, strict=True)]
    columns = names if K == 2 else ["unch.", *map(str, range(1, K))]
    plot.set_xticks(range(K), columns, fontsize=TEXT_POINTS - 1)
    plot.set_yticks(range(K), rows, fontsize=TEXT_POINTS - 2)
    plot.set_xlabel("predicted", fontsize=TEXT_POINTS)
    plot.set_ylabel("true", fontsize=TEXT_POINTS)
    plot.set_title(f"{heading}, % of each true class", fontsize=CAPTION_POINTS, color=INK)
    plot.tick_params(length=0)
