"""Dividing a given amount of memory: what is read at a time, and what stays decoded.

What a process takes before it maps anything is measured, the rest follows from sizes: none of it
from the raster's height.
"""

from __future__ import annotations

from dataclasses import dataclass

from mapping.prediction import BATCHES_AHEAD
from utils.errors import UserError
from utils.tiling import TileGrid

__all__ = ["MemoryBudget", "divide_memory"]

GB = 1e9
FOR_WRITING = 96 << 20  # maps in slabs, pictures, summary
LEAST_CACHE = 16 << 20
FLOAT = 4
PER_DECISION = 56  # bytes a pixel while rows are decided and scored, beside the sums


@dataclass(frozen=True)
class MemoryBudget:
    """Division of the memory that prediction may use.

    Attributes:
        chunk_tiles: Tiles of a row of tiles that are read at a time.
        cache_bytes: Of decoded blocks that the raster reader keeps.
    """

    chunk_tiles: int
    cache_bytes: int


def divide_memory(
    limit_gb: float,
    used_bytes: float,
    grid: TileGrid,
    batch_size: int,
    num_classes: int,
    bytes_per_pixel: int,
    values_per_pixel: int,
    block_rows: int,
) -> MemoryBudget:
    """Divide the memory that a process may take.

    Args:
        limit_gb: Most that the process shall hold, in GB.
        used_bytes: Held by now, with the network's own after it has run once.
        grid: The tiles.
        batch_size: Tiles at a time.
        num_classes: K of what is blended.
        bytes_per_pixel: Of all dates as stored.
        values_per_pixel: T·C.
        block_rows: Rows of the tallest stored block.

    Raises:
        UserError: It does not suffice; the message says how much does.
    """
    side = grid.tile_size
    per_tile = side * side * (2 * bytes_per_pixel + 3 * FLOAT * values_per_pixel)
    batch = batch_size * side * side * FLOAT * values_per_pixel
    band = side * grid.width * (2 * FLOAT * num_classes + PER_DECISION)
    fixed = used_bytes + band + (BATCHES_AHEAD + 2) * batch + FOR_WRITING
    least = fixed + LEAST_CACHE + batch_size * per_tile
    free = limit_gb * GB - fixed
    if limit_gb * GB < least:
        raise UserError(
            f"--memory: found {limit_gb:g} GB, expected {least / GB + 0.05:.1f} at least for "
            f"rasters of {grid.width} columns with --batch-size {batch_size}: "
            f"{used_bytes / GB:.2f} GB are taken by programs and network before anything is read. "
            "Give more, or a smaller --batch-size."
        )
    wanted = (block_rows + side) * grid.width * bytes_per_pixel
    cache = int(min(wanted + LEAST_CACHE, max(LEAST_CACHE, free / 2)))
    batches = int((free - cache) / (batch_size * per_tile))
    whole_row = -(-len(grid.cols) // batch_size)
    return MemoryBudget(max(1, min(batches, whole_row)) * batch_size, cache)
