"""Dates are found in file names by form and plausibility, never by position."""

from __future__ import annotations

import datetime

import pytest

from data_processing.rasters.dates import date_from_name


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("20180115.tif", (2018, 1, 15)),
        ("2018-01-15.tif", (2018, 1, 15)),
        ("2018_01_15.tif", (2018, 1, 15)),
        ("2018_01.tif", (2018, 1, 1)),
        ("2018-01_something.tif", (2018, 1, 1)),
        ("201801.tif", (2018, 1, 1)),
        ("S2A_MSIL2A_20200705T100031.tif", (2020, 7, 5)),
        ("20180115_103000_1003_3B_AnalyticMS.tif", (2018, 1, 15)),
        ("global_monthly_2018_05_mosaic_L15-0331E-1257N_1327_3160_13.tif", (2018, 5, 1)),
        ("L15-0331E-1257N_1327_3160_13_2018_05.tif", (2018, 5, 1)),
        ("1311_3077_13_10N-2018_01_01.tif", (2018, 1, 1)),
        ("some/folder_2001_01/2019_12.tif", (2019, 12, 1)),
        ("..\\2001_01\\2019_12.tif", (2019, 12, 1)),
    ],
)
def test_a_date_is_found_wherever_it_stands_in_the_name(
    name: str, date: tuple[int, int, int]
) -> None:
    assert date_from_name(name) == datetime.date(*date)


@pytest.mark.parametrize(
    "name",
    [
        "bi_change.tif",
        "L15-0331E-1257N_1327_3160_13.tif",
        "2018_13.tif",
        "1979_05.tif",
        "12345.tif",
    ],
)
def test_implausible_numbers_are_no_date(name: str) -> None:
    assert date_from_name(name) is None


def test_a_day_that_does_not_exist_leaves_the_month() -> None:
    assert date_from_name("2018_02_30.tif") == datetime.date(2018, 2, 1)
