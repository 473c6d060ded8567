"""Finished rows of maps on disk (mapping/row_store.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.row_store import RowStore
from utils.errors import CaimError

MAP = np.arange(2 * 50 * 3).reshape(2, 50, 3).astype(np.uint8)


def filled(folder: Path, *ranges: tuple[int, int]) -> RowStore:
    store = RowStore(folder / "rows", 50, 3, 2)
    for first, last in ranges:
        store.put(first, MAP[:, first:last])
    return store


def whole(store: RowStore, rows: int) -> NDArray[np.uint8]:
    slabs = list(store.slabs(rows))
    starts = [start for start, _ in slabs]
    assert starts == list(range(0, 50, rows))
    return np.concatenate([slab for _, slab in slabs], axis=1)


@pytest.mark.parametrize("rows", [1, 7, 16, 50, 64])
def test_slabs_are_the_map_whatever_blocks_it_was_stored_in(tmp_path: Path, rows: int) -> None:
    store = filled(tmp_path, (30, 50), (0, 7), (7, 30))
    assert np.array_equal(whole(store, rows), MAP)


def test_blocks_of_two_runs_may_overlap(tmp_path: Path) -> None:
    store = filled(tmp_path, (0, 20), (10, 33), (12, 15), (30, 50))
    assert np.array_equal(whole(store, 16), MAP)


def test_gaps_are_what_is_not_stored(tmp_path: Path) -> None:
    store = filled(tmp_path, (5, 10), (20, 30))
    assert store.gaps(0, 50) == [(0, 5), (10, 20), (30, 50)]
    assert store.gaps(6, 25) == [(10, 20)]
    assert store.gaps(5, 10) == []
    assert RowStore(tmp_path / "none", 50, 3, 2).gaps(3, 9) == [(3, 9)]


def test_missing_rows_are_no_map(tmp_path: Path) -> None:
    with pytest.raises(CaimError, match=r"no rows 10…19, expected all 50.*--resume"):
        list(filled(tmp_path, (0, 10), (20, 50)).slabs(16))


def test_a_damaged_block_is_no_map(tmp_path: Path) -> None:
    store = filled(tmp_path, (0, 50))
    (block,) = store.folder.iterdir()
    block.write_bytes(block.read_bytes()[:-30])
    with pytest.raises(CaimError, match="damaged"):
        list(store.slabs(16))
    np.save(block, MAP[:, :9])
    with pytest.raises(CaimError, match=r"expected \(2, 50, 3\)"):
        list(store.slabs(16))


def test_half_written_blocks_do_not_count(tmp_path: Path) -> None:
    store = filled(tmp_path, (0, 25))
    (store.folder / ".rows-000000025-000000050.abc.partial.npy").write_bytes(b"half")
    assert store.gaps(0, 50) == [(25, 50)]
