"""The picture of confusion matrices: counts and shares of each true class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from utils.metrics import Matrix
from utils.pictures.layout import CAPTION_POINTS, INK, TEXT_POINTS

__all__ = ["confusion_figure"]

CELL = 0.72  # inches
DARK = 0.55  # shares above it are written in white


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
        _draw(plot, f"Change {name}", matrix)
    return figure


def _draw(plot: Any, heading: str, matrix: Matrix) -> None:
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
