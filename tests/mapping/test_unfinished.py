"""Finished rows of maps on disk (mapping/unfinished.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.unfinished import RowStore
from utils.errors import CaimError

MAP = np.arange(2 * 50 * 3).reshape(2, 50, 3).astype(np.uint8)


def filled(folder: Path, *ranges: tuple[int, int]) -> RowStore:
    store = RowStore(folder, 50, 3)
    store.create()
    for first, last in ranges:
        RowStore(folder, 50, 3).put(first, MAP[:, first:last])  # as another process would
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


def test_rows_of_two_runs_may_overlap(tmp_path: Path) -> None:
    store = filled(tmp_path, (0, 20), (10, 33), (12, 15), (30, 50))
    assert np.array_equal(whole(store, 16), MAP)


def test_gaps_are_what_is_not_stored(tmp_path: Path) -> None:
    store = filled(tmp_path, (5, 10), (20, 30))
    assert store.gaps(0, 50) == [(0, 5), (10, 20), (30, 50)]
    assert store.gaps(6, 25) == [(10, 20)]
    assert store.gaps(5, 10) == []
    assert store.gaps(9, 11) == [(10, 11)]


def test_missing_rows_are_no_map(tmp_path: Path) -> None:
    with pytest.raises(CaimError, match=r"no rows 10…19, expected all 50.*--resume"):
        list(filled(tmp_path, (0, 10), (20, 50)).slabs(16))


@pytest.mark.parametrize("name", ["rows.npy", "rows.done"])
def test_damaged_rows_are_no_map(tmp_path: Path, name: str) -> None:
    store = filled(tmp_path, (0, 50))
    whole_file = (tmp_path / name).read_bytes()
    for content in (whole_file[:-30], b"", b"x" + whole_file[1:-1]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CaimError, match=r"damaged|a list of .* --overwrite"):
            list(store.slabs(16))
    (tmp_path / name).unlink()
    with pytest.raises(CaimError, match="damaged"):
        store.gaps(0, 50)


def test_rows_of_another_raster_are_no_map(tmp_path: Path) -> None:
    filled(tmp_path, (0, 50))
    with pytest.raises(CaimError, match=r"found \(50, 2, 3\) uint8 .* expected \(50, 2, 4\)"):
        RowStore(tmp_path, 50, 4).gaps(0, 50)


def test_rows_whose_writing_was_cut_short_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, (0, 25))

    def power_cut(number: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", power_cut)
    with pytest.raises(KeyboardInterrupt):
        store.put(25, MAP[:, 25:])
    assert store.gaps(0, 50) == [(25, 50)]
