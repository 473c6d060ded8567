"""The answer of a map in words (mapping/report/answer.py)."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from mapping.report.answer import (
    amount,
    answer_lines,
    day_texts,
    place_text,
    rounded,
    sentences,
    share_text,
)

DATES = [date(2018, 1, 1), date(2018, 5, 1), date(2018, 9, 1)]


def summary(changed: int, mapped: int, total: int = 1000, **further: Any) -> dict[str, Any]:
    """Pixels of one hectare, all change in the second interval."""
    pixels = {"total": total, "mapped": mapped, "no_data": total - mapped, "changed": changed}
    counts = (0, changed)
    return {
        "pixels": {**pixels, "changed_above_60": changed // 4},
        "hectares": {name: float(count) for name, count in pixels.items()},
        "intervals": [
            {"moment": k, "pixels": n, "hectares": float(n)} for k, n in enumerate(counts, 1)
        ],
        **further,
    }


def test_what_changed_when_and_how_sure() -> None:
    assert sentences(summary(40, 1000), DATES) == {
        "headline": "40.0 ha changed",
        "share": "4.00 % of the 1,000 ha seen.",
        "when": "All of it between 2018-05 and 2018-09.",
        "sure": "25.0 % of it has a score above 60 (of 100).",
    }
    assert "when" not in sentences(summary(40, 1000), DATES[:2])


def test_no_change_is_an_answer() -> None:
    assert sentences(summary(0, 900), DATES) == {
        "headline": "No change found",
        "share": "None in the 900 ha seen. 100 ha more (10.0 % of the area) are hidden.",
    }


def test_a_place_that_is_nearly_all_masked_says_that_first() -> None:
    answer = sentences(summary(2, 30), DATES)
    assert answer["headline"] == "Only 3.00 % could be mapped: 30.0 ha"
    assert answer["share"].startswith("2.00 ha changed there.")
    nothing = sentences(summary(0, 30), DATES)
    assert nothing["share"] == "No change found there. What happened in the rest is not known."
    assert sentences(summary(0, 0), DATES)["headline"] == "Nothing could be mapped"


def test_lines_of_a_picture_say_what_the_weights_saw() -> None:
    known = summary(40, 1000, checkpoint={"trained_on": "ten towns"})
    assert (
        answer_lines(known, DATES).splitlines()[1].endswith("The weights learnt from: ten towns.")
    )
    assert answer_lines(summary(40, 1000), DATES).endswith("The weights learnt from: not known.")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.00123456, "0.00123"), (0.5, "0.5"), (9.999, "10.0"), (14.54, "14.5"),
     (999.6, "1,000"), (1474.56, "1,470"), (1234567.0, "1,230,000")],
)  # fmt: skip
def test_numbers_have_three_digits(number: float, text: str) -> None:
    assert rounded(number) == text


def test_small_amounts_are_not_called_nothing_and_only_all_is_100_percent() -> None:
    assert amount(0.0004, 4) == "0.0004 ha"
    assert amount(None, 1234) == "1,234 pixels"
    assert share_text(1, 10**7) == "under 0.001 %"
    assert share_text(99_999, 100_000) == "over 99.9 %"
    assert share_text(5, 5) == "100 %"


def test_dates_that_are_months_are_shown_as_months() -> None:
    assert day_texts(DATES) == ["2018-01", "2018-05", "2018-09"]
    assert day_texts([*DATES, date(2018, 9, 2)])[0] == "2018-01-01"


def test_a_place_has_its_halves_of_the_globe() -> None:
    centre = {"longitude": -123.28264, "latitude": -46.86974}
    assert place_text({"grid": {"centre": centre}}) == "46.8697° S, 123.2826° W"
    assert place_text({}) == ""
