"""The layout of pictures with maps: heading, panels in rows, legends, all placed in inches.

Sizes follow from the shape of the images, so that tall, wide and square scenes come out without
overlap. What the panels show is decided in ``utils.pictures.figures``.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from utils.files import atomic_path
from utils.pictures.colors import Color, Pixels

__all__ = [
    "CAPTION_POINTS",
    "FRAME",
    "INK",
    "TEXT_POINTS",
    "Legend",
    "Panel",
    "map_figure",
    "save_figure",
]

Panel = tuple[str, Pixels]
Legend = tuple[str, Sequence[tuple[str, Color]]]

MARGIN = 0.3  # inches, as all lengths below
GAP = 0.3
CAPTION = 0.36  # the strip above a panel that holds its caption
LINE = 0.28
TITLE_LINE = 0.34
CHARACTER = 0.098  # width of one at TEXT_POINTS, on the wide side
LEAST_WIDTH = 7.0
TITLE_POINTS, CAPTION_POINTS, TEXT_POINTS = 16, 12, 11
MIN_DPI, MAX_DPI = 110, 180
INK, FRAME = "#222222", "#888888"


@dataclass(frozen=True)
class _Grid:
    """Columns, and where in them the panels stand; lengths in inches."""

    columns: int
    slots: tuple[int, ...]  # cell of each panel, counted along the rows
    panel: tuple[float, float]  # width, height
    cell_width: float

    @property
    def rows(self) -> int:
        return self.slots[-1] // self.columns + 1

    @property
    def free_slot(self) -> int | None:
        free = sorted(set(range(self.rows * self.columns)) - set(self.slots))
        return free[0] if free else None

    @property
    def width(self) -> float:
        return self.columns * self.cell_width + (self.columns - 1) * GAP

    @property
    def row_height(self) -> float:
        return CAPTION + self.panel[1] + GAP


def map_figure(
    panels: Sequence[Panel],
    side: float,
    title: str,
    subtitle: str,
    legends: Sequence[Legend],
    columns: int | None = None,
    images_apart: int = 0,
) -> Figure:
    """Heading, panels in rows, and legends in a free cell or below.

    Args:
        panels: Caption and (H, W, 3) uint8 image of each, all of one size.
        side: Inches; each panel gets about the area of a square with this side.
        title: Heading in bold, wrapped where it is long.
        subtitle: Lines below it, wrapped where they are long; may be empty.
        legends: Heading and (text, colour) entries of each.
        columns: Panels per row; chosen by the shape of the images if left out.
        images_apart: The first panels that shall have a row for themselves where that fits.

    Returns:
        A figure with an Agg canvas, white, ready to be saved.

    Raises:
        ValueError: The images differ in size or are not (H, W, 3).
    """
    size = panels[-1][1].shape[:2]
    for caption, image in panels:
        if image.shape != (*size, 3):
            raise ValueError(f"{caption}: found shape {image.shape}, expected {(*size, 3)}.")
    grid = _grid(len(panels), size, side, columns, images_apart)
    width = max(2 * MARGIN + grid.width, LEAST_WIDTH)
    text_width = width - 2 * MARGIN
    title_lines = textwrap.wrap(title, max(10, int(text_width / (1.5 * CHARACTER))))
    room = max(10, int(text_width / CHARACTER))
    notes = [line for part in subtitle.splitlines() for line in textwrap.wrap(part, room)]
    head = MARGIN + TITLE_LINE * len(title_lines) + LINE * len(notes)
    inside, below = _share_legends(legends, grid)
    foot = sum(_legend_height(entries, text_width) for _, entries in below)
    height = head + grid.rows * grid.row_height + foot + (MARGIN - GAP / 2 if below else 0.0)
    dpi = min(max(size[1] / grid.panel[0], size[0] / grid.panel[1], MIN_DPI), MAX_DPI)
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    for number, line in enumerate(title_lines):
        top = 0.7 * MARGIN + TITLE_LINE * (number + 0.5)
        _write(figure, MARGIN, top, line, TITLE_POINTS, weight="bold")
    for number, line in enumerate(notes):
        top = 0.7 * MARGIN + TITLE_LINE * len(title_lines) + LINE * (number + 0.5)
        _write(figure, MARGIN, top, line, CAPTION_POINTS)
    for slot, (caption, image) in zip(grid.slots, panels, strict=True):
        left, top = _corner(grid, slot, width, head)
        _write(figure, left + grid.cell_width / 2, top + 0.18, caption, CAPTION_POINTS, "center")
        x = left + (grid.cell_width - grid.panel[0]) / 2
        _show(figure, image, (x, top + CAPTION, *grid.panel))
    if inside and grid.free_slot is not None:
        left, top = _corner(grid, grid.free_slot, width, head)
        _draw_legends(figure, inside, (left, top + 0.04), grid.cell_width)
    _draw_legends(figure, below, (MARGIN, head + grid.rows * grid.row_height), text_width)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, in the format of the suffix, under its final name only when it is whole.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_path(Path(path)) as partial:
        figure.savefig(partial, format=Path(path).suffix.lstrip(".").lower() or "png")


def _grid(
    count: int, size: tuple[int, ...], side: float, columns: int | None, images_apart: int
) -> _Grid:
    H, W = size
    ratio = math.sqrt(W / H)
    width, height = side * min(max(ratio, 0.5), 2.0), side / min(max(ratio, 0.5), 2.0)
    width, height = min(width, height * W / H), min(height, width * H / W)
    cell_width = max(width, side / 1.6)  # captions need their width above narrow images too
    if columns is not None:
        return _Grid(columns, tuple(range(count)), (width, height), cell_width)
    grids = []
    for number in range(1, count + 1):
        apart = images_apart < number < count and count - images_apart <= number
        shift = number - images_apart if apart else 0
        slots = tuple(slot + (shift if slot >= images_apart else 0) for slot in range(count))
        grids.append(_Grid(number, slots, (width, height), cell_width))
    return min(grids, key=lambda grid: _distance_from_page(grid, count))


def _distance_from_page(grid: _Grid, count: int) -> float:
    """Distance from a page of 3 : 2; empty cells but the one for legends count, too."""
    shape = (2 * MARGIN + grid.width) / (grid.rows * grid.row_height + 1.5)
    return abs(math.log(shape / 1.5)) + 0.25 * max(0, grid.rows * grid.columns - count - 1)


def _corner(grid: _Grid, slot: int, width: float, head: float) -> tuple[float, float]:
    """Left and top of a cell in inches."""
    row, column = divmod(slot, grid.columns)
    left = (width - grid.width) / 2 + column * (grid.cell_width + GAP)
    return left, head + row * grid.row_height


def _share_legends(legends: Sequence[Legend], grid: _Grid) -> tuple[list[Legend], list[Legend]]:
    """The legends that fit into the free cell, and those that go below the panels."""
    if grid.free_slot is None:
        return [], list(legends)
    room = grid.row_height - GAP / 2
    inside: list[Legend] = []
    below: list[Legend] = []
    for legend in legends:
        need = _legend_height(legend[1], grid.cell_width)
        if need <= room and _entry_width(legend[1]) <= grid.cell_width:
            inside.append(legend)
            room -= need
        else:
            below.append(legend)
    return inside, below


def _entry_width(entries: Sequence[tuple[str, Color]]) -> float:
    return 0.45 + CHARACTER * max(len(text) for text, _ in entries)


def _legend_rows(entries: Sequence[tuple[str, Color]], width: float) -> int:
    most_columns = max(1, int(width / _entry_width(entries)))
    return math.ceil(len(entries) / most_columns)


def _legend_height(entries: Sequence[tuple[str, Color]], width: float) -> float:
    return LINE * (1.4 + _legend_rows(entries, width))


def _draw_legends(
    figure: Figure, legends: Sequence[Legend], corner: tuple[float, float], width: float
) -> None:
    """Legends one below the other; entries are read down the columns."""
    left, top = corner
    for heading, entries in legends:
        rows = _legend_rows(entries, width)
        _write(figure, left, top + LINE / 2, heading, TEXT_POINTS, weight="bold")
        for number, (text, color) in enumerate(entries):
            column, row = divmod(number, rows)
            x, y = left + column * _entry_width(entries), top + LINE * (row + 1.5)
            _swatch(figure, x, y, color)
            _write(figure, x + 0.38, y, text, TEXT_POINTS)
        top += _legend_height(entries, width)


def _swatch(figure: Figure, left: float, middle: float, color: Color) -> None:
    width, height = figure.get_size_inches()
    swatch = Rectangle(
        (left / width, 1 - (middle + 0.09) / height),
        0.28 / width,
        0.18 / height,
        facecolor=np.array(color) / 255,
        edgecolor=FRAME,
        linewidth=0.8,
        transform=figure.transFigure,
    )
    figure.add_artist(swatch)


def _show(figure: Figure, image: Pixels, box: tuple[float, float, float, float]) -> None:
    """Show an image in a box (left, top, width, height) in inches, its pixels unmixed."""
    width, height = figure.get_size_inches()
    left, top, box_width, box_height = box
    bottom = height - top - box_height
    axes = figure.add_axes((left / width, bottom / height, box_width / width, box_height / height))
    axes.imshow(image, interpolation="nearest", aspect="equal")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=FRAME, linewidth=0.8)


def _write(
    figure: Figure,
    x: float,
    middle: float,
    text: str,
    points: float,
    align: str = "left",
    weight: str = "normal",
) -> None:
    """Write text as it stands (no formulas), its middle ``middle`` inches below the top."""
    width, height = figure.get_size_inches()
    artist = figure.text(
        x / width, 1 - middle / height, text, fontsize=points, color=INK, ha=align, va="center"
    )
    artist.set(fontweight=weight, parse_math=False)
