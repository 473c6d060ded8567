"""Finished rows of maps on disk (mapping/unfinished.py)."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.unfinished import RowStore, begin, finished
from utils.errors import CaimError, UserError

MAP = np.arange(2 * 50 * 3).reshape(2, 50, 3).astype(np.uint8)


def filled(folder: Path, *ranges: tuple[int, int]) -> RowStore:
    store = RowStore(folder, (50, 2, 3))
    store.create()
    for first, last in ranges:
        RowStore(folder, (50, 2, 3)).put(first, MAP[:, first:last])  # as another process would
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
        RowStore(tmp_path, (50, 2, 4)).gaps(0, 50)


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


# ------------------------------------------------------------------------- records of a run

JOB = {"images": {"/a.tif": [1, 2]}, "overlap": 4, "batch_size": "any"}


def test_what_a_killed_write_left_goes_when_an_area_begins(tmp_path: Path) -> None:
    for name in (".report.abcd1234.partial.html", "changes.geojson", "notes.txt", ".hidden"):
        (tmp_path / name).write_text("there")
    begin(tmp_path, JOB, False, (50, 2, 3))
    assert {path.name for path in tmp_path.iterdir()} == {".unfinished", "notes.txt", ".hidden"}
    assert RowStore(tmp_path / ".unfinished", (50, 2, 3)).gaps(0, 50) == [(0, 50)]
    begin(tmp_path, JOB, True, (50, 2, 3))


BROKEN: list[Any] = [
    b"", b"[]", b"null", b"7", b"{", b"\xff", b"[" * 5000, b'{"images": NaN}', b"9" * 5000,
    {}, {"images": 5}, {"images": [1]}, {"images": None, "overlap": {"a": []}}, {"overlap": 1e300},
    {"job": JOB}, {"job": JOB, "outputs": []}, {"job": JOB, "outputs": {"a": 1}},
    {"job": 5, "outputs": {}}, {"job": JOB, "outputs": {"../x": {"sha256": "0"}}},
    {"job": JOB, "outputs": {}, "pixels": 3},
    {"job": JOB, "outputs": {}, "pixels": {"mapped": "x"}},
    {"job": JOB, "outputs": {}, "pixels": {"mapped": 0}, "intervals": [1]},
    {"job": JOB, "outputs": {}, "pixels": {"mapped": 0}, "hectares": 0, "intervals": [{}]},
]  # fmt: skip


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: str(content)[:30])
def test_records_that_no_program_wrote_are_refused_or_begun_anew(
    content: Any, tmp_path: Path
) -> None:
    written = content if isinstance(content, bytes) else json.dumps(content).encode()
    (tmp_path / "summary.json").write_bytes(written)
    with suppress(UserError):  # of another job
        assert finished(tmp_path, JOB, {}) is None
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished/job.json").write_bytes(written)
    with pytest.raises(UserError, match="--overwrite"):
        begin(tmp_path, JOB, True, (50, 2, 3))
