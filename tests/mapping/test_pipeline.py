"""Reading ahead and writing behind (mapping/pipeline.py)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from mapping.pipeline import WriteBehind, read_ahead


def test_items_come_in_order_and_all_of_them() -> None:
    assert list(read_ahead(iter(range(100)), 3)) == list(range(100))


def test_no_more_items_are_made_ahead_than_told() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    ahead = read_ahead(items(), 2)
    assert next(ahead) == 0
    time.sleep(0.3)
    assert len(made) <= 5  # one given, two waiting, one made, one about to be put
    ahead.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert len(made) <= 6


def test_an_error_in_the_other_thread_is_raised_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the disk is gone")

    ahead = read_ahead(items(), 2)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="the disk is gone"):
        next(ahead)


def test_the_thread_ends_when_nobody_reads_on() -> None:
    ahead = read_ahead(iter(range(1000)), 1)
    next(ahead)
    ahead.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name == "read ahead"]


def test_what_is_written_behind_is_all_there_at_the_end_and_in_order() -> None:
    written: list[int] = []

    def write(number: int) -> None:
        time.sleep(0.001)
        written.append(number)

    with WriteBehind(write) as behind:
        for number in range(20):
            behind(number)
    assert written == list(range(20))


def test_an_error_in_writing_is_raised_at_the_next_item_or_at_the_end() -> None:
    def write(number: int) -> None:
        raise OSError(f"no room for {number}")

    def run(count: int) -> None:
        with WriteBehind(write) as behind:
            for number in range(count):
                behind(number)

    for count in (1, 5):
        with pytest.raises(OSError, match="no room for 0"):
            run(count)
