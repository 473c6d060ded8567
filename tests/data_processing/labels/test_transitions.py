"""From states to change moment, date rules, split files (data_processing)."""

from __future__ import annotations

import datetime
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_processing.labels.transitions import EVENTS, TRANSITIONS, change_moment, without_slivers
from data_processing.rasters.date_choice import check_rule, choose_dates
from data_processing.rasters.date_patterns import CoarseDate
from data_processing.raw.split_choice import (
    SPLIT_FILES,
    assign_splits,
    read_split_file,
    split_file_path,
)
from utils.errors import UserError


def by_hand(states: list[int], known: list[bool], event: str, transitions: str) -> int:
    """The definition, pixel by pixel."""
    last: int | None = None
    events = []
    for k, (state, is_known) in enumerate(zip(states, known, strict=True)):
        if not is_known:
            continue
        if last is not None and state != last and (transitions == "both" or last == 0):
            events.append(k)
        last = state
    if last is None:
        return 255
    return 0 if not events else events[-1] if event == "last" else events[0]


@pytest.mark.parametrize(("event", "transitions"), list(product(EVENTS, TRANSITIONS)))
def test_the_moment_is_that_of_the_definition(event: Any, transitions: Any) -> None:
    rng = np.random.default_rng(0)
    states = rng.integers(0, 3, size=(6, 40, 50)).astype(np.uint8)
    known = rng.random((6, 40, 50)) < 0.6
    found = change_moment(states, known, event, transitions)
    for row, col in product(range(40), range(50)):
        expected = by_hand(
            states[:, row, col].tolist(), known[:, row, col].tolist(), event, transitions
        )
        assert found[row, col] == expected


def test_states_are_not_changed() -> None:
    states = np.zeros((3, 2, 2), dtype=np.uint8)
    states[1] = 1
    before = states.copy()
    change_moment(states, np.ones(states.shape, dtype=bool))
    np.testing.assert_array_equal(states, before)


def test_buildings_without_a_name_of_their_own_are_taken_as_drawn() -> None:
    one, two = np.zeros((4, 8), np.int32), np.zeros((4, 8), np.int32)
    one[:, :2], two[:, 1:3] = 1, 1
    named = without_slivers([one, two, one], [[5], [5], [5]])
    np.testing.assert_array_equal(np.stack(named), np.stack([one > 0] * 3))
    unnamed = without_slivers([one, two, one], [[None]] * 3)
    np.testing.assert_array_equal(np.stack(unnamed), np.stack([one, two, one]) > 0)


def test_a_building_that_is_gone_is_gone() -> None:
    one, none = np.ones((2, 2), np.int32), np.zeros((2, 2), np.int32)
    built = without_slivers([one, none, one], [[5], [], [6]])
    assert [bool(b.all()) for b in built] == [True, False, True]


# ------------------------------------------------------------------ dates

MONTHS = [datetime.date(2018 + m // 12, m % 12 + 1, 1) for m in range(24)]


@pytest.mark.parametrize("usable", range(9, 27))
def test_even_takes_first_and_last_and_none_twice(usable: int) -> None:
    dates = [datetime.date(2017 + m // 12, m % 12 + 1, 1) for m in range(usable)]
    chosen, remarks = choose_dates(dates, 9, "even")
    assert (chosen[0], chosen[-1], len(set(chosen)), remarks) == (dates[0], dates[-1], 9, [])
    steps = np.diff([dates.index(date) for date in chosen])
    assert steps.max() - steps.min() <= 1


def test_every_fourth_month_of_two_years() -> None:
    assert choose_dates(MONTHS, 6, "every:4") == (MONTHS[::4], [])
    without = [date for date in MONTHS if date != MONTHS[8]]
    chosen, remarks = choose_dates(without, 6, "every:4")
    assert chosen == [*MONTHS[:8:4], MONTHS[9], *MONTHS[12::4]]
    assert remarks == ["no usable data of 2018-09, 2018-10-01 taken instead"]
    assert choose_dates(MONTHS[:9], 6, "every:4")[0] == []


def test_dates_may_be_listed() -> None:
    rule = "2018-01,2018-02,2018-03-01"
    assert choose_dates(MONTHS, 3, rule) == (MONTHS[:3], [])
    assert choose_dates(MONTHS[1:], 3, rule) == ([], ["no usable data of 2018-01-01"])
    assert choose_dates(MONTHS[:2], 3, "first")[1] == ["2 usable dates, expected at least 3"]


def test_every_nth_month_counts_from_the_start_of_the_series() -> None:
    chosen, remarks = choose_dates(MONTHS[1:], 6, "every:4", MONTHS[0])
    assert chosen == [MONTHS[1], *MONTHS[4::4]]
    assert remarks == ["no usable data of 2018-01, 2018-02-01 taken instead"]
    assert choose_dates(MONTHS, 6, "every:1200")[0] == []


def test_listed_months_mean_their_days_and_the_other_way_round() -> None:
    days = [date.replace(day=15) for date in MONTHS[:4]]
    assert choose_dates(days, 3, "2018-01,2018-02,2018-04") == ([*days[:2], days[3]], [])
    twice = [*days, days[3].replace(day=20)]
    assert choose_dates(twice, 3, "2018-01,2018-02,2018-04") == (
        [], ["2018-04 may be 2018-04-15 or 2018-04-20; name the day"],
    )  # fmt: skip
    months = [CoarseDate.months(2018, month) for month in (1, 2, 3)]
    assert choose_dates(months, 2, "2018-01-05,2018-03-01") == ([months[0], months[2]], [])
    assert choose_dates(months, 2, "2018-01-05,2018-01-20")[0] == []


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "every:",
        "every:-1",
        "every:0",
        "every:²",
        "every:٣",
        "every:1201",
        "every:" + "9" * 5000,
        "all",
        "2018-01,2018-01,2018-02",
        "2018-01,2018-02,2018-02-30",
        "2018-01,x,2018-03",
        "2018-01," + "9" * 5000 + ",2018-03",
        ",,",
    ],
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(UserError, match="--dates"):
        check_rule(rule, 3)


# ------------------------------------------------------------------ splits


def test_areas_are_dealt_out_by_shares_and_each_split_gets_one() -> None:
    content = {"others": {"salt": "a", "shares": {"train": 8, "val": 1, "test": 1}}}
    for count, sizes in ((55, [43, 6, 6]), (30, [24, 3, 3]), (3, [1, 1, 1]), (1, [1, 0, 0])):
        splits = list(assign_splits([f"area {n}" for n in range(count)], content).values())
        assert [splits.count(s) for s in ("train", "val", "test")] == sizes


def test_counts_leave_the_rest_out_and_assigned_areas_stay() -> None:
    content = {"assigned": {"val": ["b"]}, "others": {"counts": {"train": 1, "test": 1}}}
    splits = assign_splits(["a", "b", "c", "d"], content)
    assert splits["b"] == "val"
    assert sorted(str(split) for split in splits.values()) == ["None", "test", "train", "val"]
    assert splits == assign_splits(["d", "c", "b", "a"], content)


@pytest.mark.parametrize("path", sorted(SPLIT_FILES.glob("*.json")), ids=lambda path: path.stem)
def test_shipped_split_files_are_sound(path: Path) -> None:
    assert read_split_file(split_file_path(path.stem))["about"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([], "neither"),
        ({"assigned": {"training": ["a"]}}, "training"),
        ({"assigned": {"train": ["a"], "val": ["a"]}}, "twice"),
        ({"others": {"shares": {"train": -1}}}, "shares"),
        ({"assigned": {"train": "a"}}, "list of names"),
    ],
)
def test_split_files_at_fault_are_refused(tmp_path: Path, content: Any, fault: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(UserError, match=fault):
        read_split_file(path)
    with pytest.raises(UserError, match="spacenet7_48_6_6"):
        split_file_path("no_such_file")
