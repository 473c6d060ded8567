"""docs/performance.md shows what the files of benchmarks/results/ say."""

from __future__ import annotations

import re

import pytest

from benchmarks.tables import NOT_RECORDED, PAGE, TABLES, filled
from utils.files import read_json
from utils.settings import REPOSITORY

RESULTS = REPOSITORY / "benchmarks" / "results"


def test_the_tables_are_those_of_the_files() -> None:
    text = PAGE.read_text("utf-8")
    assert filled(text) == text, "run: python benchmarks/tables.py"


def test_every_table_is_shown_once() -> None:
    shown = re.findall(r"<!-- table: (\w+) -->", PAGE.read_text("utf-8"))
    assert sorted(shown) == sorted(TABLES)


def test_every_result_file_is_named_on_its_page() -> None:
    text = PAGE.read_text("utf-8") + (PAGE.parent / "results.md").read_text("utf-8")
    missing = [path.name for path in RESULTS.iterdir() if f"results/{path.name})" not in text]
    assert not missing


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_result_file_says_where_it_was_measured(path: object) -> None:
    file = read_json(path)  # type: ignore[arg-type]
    assert file["rows"]
    assert {row["run"] for row in file["rows"]} == set(range(len(file["runs"])))
    for run in file["runs"]:
        where = {"processor", "device", "packages", "python", "platform", "git_commit", "command"}
        assert where <= run.keys() or run.keys() == {NOT_RECORDED}


def test_a_number_that_no_file_holds_is_noticed() -> None:
    text = PAGE.read_text("utf-8")
    wrong, count = re.subn(
        r"(<!-- table: memory -->.*?\d)\.(\d\d)", r"\g<1>.99\2", text, count=1, flags=re.S
    )
    assert count == 1
    assert filled(wrong) == filled(text) != wrong
