"""Which windows cover a raster.

Not in the paper: the released program leaves border strips out.
"""

from __future__ import annotations

__all__ = ["covering_origins"]


def covering_origins(
    height: int, width: int, tile_size: int, overlap: int = 0
) -> list[tuple[int, int]]:
    """Top-left corners (row, column) of square tiles that together cover every pixel.

    Tiles lie in rows of step ``tile_size − overlap``; the last of a row or column is shifted back
    to end at the border. A raster smaller than a tile gets one tile that reaches beyond it.

    Args:
        height: Of the raster, in pixels.
        width: Of the raster, in pixels.
        tile_size: Side of a tile in pixels.
        overlap: Least overlap of neighbouring tiles in pixels.

    Raises:
        ValueError: A size is not positive, or the overlap is not smaller than the tile.
    """
    if min(height, width, tile_size) <= 0 or not 0 <= overlap < tile_size:
        raise ValueError(
            f"covering_origins: found a {height}×{width} raster, tile {tile_size}, overlap "
            f"{overlap}; expected positive sizes and 0 ≤ overlap < tile size."
        )
    step = tile_size - overlap
    return [
        (row, col)
        for row in _starts(height, tile_size, step)
        for col in _starts(width, tile_size, step)
    ]


def _starts(length: int, tile_size: int, step: int) -> list[int]:
    last = max(length - tile_size, 0)
    starts = list(range(0, last, step))
    return [*starts, last]
