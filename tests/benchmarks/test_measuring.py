"""Result files of benchmarks: each row keeps the conditions of the run that measured it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.measuring import in_turns, report, spread
from utils.files import read_json


def write(folder: Path, flags: str, *rows: tuple[str, int], key: tuple[str, ...] = ("how",)) -> Any:
    named = [{"how": how, "seconds": seconds} for how, seconds in rows]
    report("speed", {"flags": flags}, named, key, folder=folder)
    return read_json(folder / "speed.json")


def conditions(file: Any) -> dict[str, str]:
    return {row["how"]: file["runs"][row["run"]]["flags"] for row in file["rows"]}


def test_a_row_keeps_the_conditions_of_its_run_when_others_are_measured_again(
    tmp_path: Path,
) -> None:
    write(tmp_path, "first", ("small", 1), ("large", 9))
    file = write(tmp_path, "second", ("small", 2))
    assert [(row["how"], row["seconds"]) for row in file["rows"]] == [("small", 2), ("large", 9)]
    assert conditions(file) == {"small": "second", "large": "first"}


def test_a_run_of_which_no_row_is_left_goes(tmp_path: Path) -> None:
    write(tmp_path, "first", ("small", 1))
    file = write(tmp_path, "second", ("small", 2), ("large", 9))
    assert [run["flags"] for run in file["runs"]] == ["second"]


def test_a_part_that_is_measured_again_loses_rows_that_are_no_longer_in_it(tmp_path: Path) -> None:
    write(tmp_path, "first", ("small", 1), ("small", 2), ("large", 9))
    file = write(tmp_path, "second", ("small", 3))
    assert [row["seconds"] for row in file["rows"]] == [3, 9]


def test_without_a_key_a_file_is_written_anew(tmp_path: Path) -> None:
    write(tmp_path, "first", ("small", 1))
    file = write(tmp_path, "second", ("large", 9), key=())
    assert conditions(file) == {"large": "second"}


def test_the_table_shows_what_differs_between_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"how": how, "width": 64, "seconds": spread(times)}
            for how, times in (("ours", [1.0, 3.0, 2.0]), ("plain", [4.0, 4.0, 4.0]))]  # fmt: skip
    report("speed", {}, rows, folder=tmp_path)
    head, ours, plain = capsys.readouterr().out.splitlines()[:3]
    assert head.split() == ["how", "seconds"]
    assert ours.split() == ["ours", "2", "(1", "…", "3)"]
    assert plain.split()[0] == "plain"


def test_actions_are_timed_in_turns_after_a_round_that_does_not_count() -> None:
    calls: list[str] = []
    seconds = in_turns({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)
    assert calls == list("ababab")
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}
