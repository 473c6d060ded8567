"""Dividing memory (mapping/memory_budget.py)."""

from __future__ import annotations

from typing import Any

import pytest

from mapping.memory_budget import divide_memory
from utils.errors import UserError
from utils.tiling import TileGrid

SERIES = {"num_classes": 6, "bytes_per_pixel": 48, "values_per_pixel": 24, "block_rows": 256}


def divided(limit_gb: float, height: int = 7000, width: int = 5000, **changes: Any) -> Any:
    grid = TileGrid(height, width, 64, 16)
    options = {"used_bytes": 0.6e9, "batch_size": 8, **SERIES, **changes}
    return divide_memory(limit_gb, grid=grid, **options)


def test_the_height_of_the_raster_does_not_matter() -> None:
    assert divided(1.5, height=700) == divided(1.5, height=700_000)


def test_more_memory_reads_more_at_a_time_until_a_whole_row_is_read() -> None:
    chunks = [divided(limit).chunk_tiles for limit in (0.9, 1.0, 1.2, 2.0, 20.0)]
    assert chunks == sorted(chunks)
    assert chunks[0] < chunks[-1] == 104  # all columns of tiles
    assert all(chunk % 8 == 0 for chunk in chunks)


def test_decoded_blocks_are_kept_as_long_as_they_are_needed() -> None:
    needed = (256 + 64) * 5000 * 48
    assert needed <= divided(20.0).cache_bytes <= needed + (32 << 20)
    assert divided(0.8).cache_bytes < needed


def test_too_little_memory_is_refused_with_what_suffices() -> None:
    with pytest.raises(UserError, match=r"--memory: found 0.5 GB, expected \d\.\d at least"):
        divided(0.5)
    with pytest.raises(UserError) as refused:
        divided(0.7)
    enough = float(str(refused.value).split("expected ")[1].split()[0])
    assert divided(enough).chunk_tiles >= 8
