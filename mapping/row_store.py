"""Finished rows of maps on disk, so that a long run can go on later and several processes share it.

Each block of rows is a file of its own that appears whole or not at all; what is missing can be
told from the names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import CaimError
from utils.files import atomic_path

__all__ = ["RowStore"]

BLOCK_NAME = re.compile(r"rows-(\d+)-(\d+)\.npy")
ADVICE = "Run again with --overwrite, without --resume."


class RowStore:
    """Rows of maps of one raster.

    Args:
        folder: Where the blocks lie; made with the first one.
        height, width: Of the raster.
        layers: Maps that are stored together.
    """

    def __init__(self, folder: Path, height: int, width: int, layers: int) -> None:
        self.folder = Path(folder)
        self.height, self.width, self.layers = height, width, layers

    def put(self, row: int, rows: NDArray[np.uint8]) -> None:
        """Store rows (layers, h, W) that begin at pixel row ``row``.

        Raises:
            OSError: The disk is full or cannot be written.
        """
        path = self.folder / f"rows-{row:09d}-{row + rows.shape[1]:09d}.npy"
        with atomic_path(path) as partial, partial.open("wb") as stream:
            np.save(stream, rows, allow_pickle=False)

    def gaps(self, first: int, last: int) -> list[tuple[int, int]]:
        """Rows of ``first`` … ``last − 1`` that are not stored, as (first, last) of each gap."""
        missing, here = [], first
        for begin, end, _ in self._blocks():
            if end > here and begin < last:
                if begin > here:
                    missing.append((here, begin))
                here = max(here, end)
        if here < last:
            missing.append((here, last))
        return missing

    def slabs(self, rows: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """All rows in order: the first row and (layers, h, W) of slabs of ``rows`` rows.

        Raises:
            CaimError: Rows are missing, or a block is damaged.
        """
        missing = self.gaps(0, self.height)
        if missing:
            raise CaimError(
                f"{self.folder}: found no rows {missing[0][0]}…{missing[0][1] - 1}, expected all "
                f"{self.height}; another process may have failed. Run again with --resume."
            )
        slab, start = np.empty((self.layers, 0, self.width), np.uint8), 0
        for begin, _, path in self._blocks():
            fresh = self._read(path)[:, max(0, start + slab.shape[1] - begin) :]
            slab = np.concatenate([slab, fresh], axis=1)
            while slab.shape[1] >= rows:
                yield start, slab[:, :rows]
                slab, start = slab[:, rows:], start + rows
        if slab.shape[1]:
            yield start, slab

    def _blocks(self) -> list[tuple[int, int, Path]]:
        """First row, end and file of every block, by row."""
        if not self.folder.is_dir():
            return []
        named = [(BLOCK_NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        return sorted((int(name[1]), int(name[2]), path) for name, path in named if name)

    def _read(self, path: Path) -> NDArray[np.uint8]:
        name = BLOCK_NAME.fullmatch(path.name)
        assert name is not None
        expected = (self.layers, int(name[2]) - int(name[1]), self.width)
        try:
            rows: NDArray[np.uint8] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CaimError(f"{path}: the rows are damaged ({error}). {ADVICE}") from error
        if rows.shape != expected or rows.dtype != np.uint8:
            found = f"{rows.shape} {rows.dtype}"
            raise CaimError(f"{path}: found {found}, expected {expected} uint8. {ADVICE}")
        return rows
