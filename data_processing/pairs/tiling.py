"""Cutting large image pairs into tiles of 256×256 pixels, in the layout of a data set of pairs.

What the two programs share: windows, writing, and a folder that appears under its name only when
it is whole. Counts are those of the released program's preprocessing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from data_processing.pairs.files import FIRST, LAST
from data_processing.rasters.reading import raster_info, read_window
from data_processing.rasters.writing import write_png
from utils.errors import UserError
from utils.files import write_json
from utils.progress import progress, say

__all__ = [
    "PARTS",
    "TILE",
    "Tile",
    "new_folder",
    "tile_origins",
    "write_tiles",
]

TILE = 256
PARTS = (FIRST, LAST, "label")

Pixels = npt.NDArray[Any]


class Tile(NamedTuple):
    """A window of a raster, and the file below ``<split>/<part>/`` that it becomes."""

    split: str
    name: str
    row: int
    col: int


def tile_origins(height: int, width: int, stride: int) -> list[tuple[int, int]]:
    """Rows and columns of all whole tiles, row by row; what no whole tile reaches is left out."""
    return [
        (row, col)
        for row in range(0, height - TILE + 1, stride)
        for col in range(0, width - TILE + 1, stride)
    ]


def write_tiles(
    files: Mapping[str, Path], tiles: Sequence[Tile], folder: Path, *, whole: bool, binary: bool
) -> None:
    """Cut an image before, an image after and a label.

    Args:
        files: Path by part.
        tiles: What to cut; where a tile reaches beyond the raster it is filled with 0.
        folder: Gets ``<split>/<part>/<name>.png``.
        whole: Whether files are read as a whole (small ones) or window by window.
        binary: Whether the label's values other than 0 are written as 255.

    Raises:
        DataError: A file cannot be read.
    """
    for part, path in files.items():
        cut = _windows(path, whole)
        shown: Iterable[Tile] = tiles if whole else progress(tiles, part, unit="tile")
        for tile in shown:
            pixels = cut(tile.row, tile.col)
            if binary and part == PARTS[2]:
                pixels = np.where(pixels[:1] != 0, 255, 0)
            missing = [(0, TILE - side) for side in pixels.shape[1:]]
            padded = np.pad(pixels.astype(np.uint8), [(0, 0), *missing])
            write_png(folder / tile.split / part / f"{tile.name}.png", padded)


@contextmanager
def new_folder(final: Path, facts: Mapping[str, Any]) -> Iterator[Path]:
    """A folder that takes its name, with dataset.json in it, when the block succeeds.

    Args:
        final: Its name; there must be nothing under it.
        facts: For dataset.json: what it was made from, and how.

    Raises:
        UserError: There is something already.
    """
    final = final.absolute()
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise UserError(
            f"{final}: found something there already, expected a new folder; name another one, or "
            "remove it."
        )
    partial = final.with_name(f".{final.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        yield partial
        write_json(partial / "dataset.json", dict(facts))
        if final.exists():
            final.rmdir()
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"written: {final}")


def _windows(path: Path, whole: bool) -> Callable[[int, int], Pixels]:
    """A function that cuts a tile at (row, column), less what lies beyond the raster."""
    info = raster_info(path)
    pixels: Pixels | None = None
    if whole:
        pixels, _ = read_window(path, 0, 0, info.height, info.width)

    def cut(row: int, col: int) -> Pixels:
        height, width = min(TILE, info.height - row), min(TILE, info.width - col)
        if pixels is not None:
            return pixels[:, row : row + height, col : col + width]
        window, _ = read_window(path, row, col, height, width)
        return window

    return cut
