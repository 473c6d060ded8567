"""Dates of one's own series: what wins, what is said of them, what is refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from data_processing.own_series.series import RasterSeries
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import DAYS, change_header, noise, open_them, refusal, write_series
from utils.errors import DataError, UserError

PATHS = ("203011", "202011", "201012", "200012", "199012", "198012")  # of one place, by year
YEARS = [f"{year}-07-06" for year in range(2015, 2021)]


def write_named(folder: Path, names: Sequence[str], **options: Any) -> list[Path]:
    """An image for each name, in this order of content."""
    paths = [folder / name for name in names]
    for path, image in zip(paths, noise(len(names)), strict=True):
        write_raster(path, image, **options)
    return paths


def names_of(series: RasterSeries) -> list[str]:
    return [path.name for path in series.files]


def said(series: RasterSeries, *parts: str) -> bool:
    """Whether one remark holds all these parts."""
    return any(all(part in remark for part in parts) for remark in series.remarks)


# ─────────────────────────────────────── names ───────────────────────────────────────


def test_dates_are_said_file_by_file_with_where_they_come_from(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    change_header(paths[1].rename(tmp_path / "b.tif"), tags={"SENSING_TIME": "2020-04-02T01:37Z"})

    (remark, *_) = open_them(tmp_path).remarks

    assert remark.splitlines() == [
        "dates from names (year-month-day), tag SENSING_TIME:",
        f"  city_{DAYS[0]}.tif: {DAYS[0]}, from names (year-month-day)",
        "  b.tif: 2020-04-02, from tag SENSING_TIME",
        f"  city_{DAYS[2]}.tif: {DAYS[2]}, from names (year-month-day)",
    ]


def test_scenes_of_several_paths_are_ordered_by_their_day(tmp_path: Path) -> None:
    names = [
        f"LC08_{path}_{day.replace('-', '')}.tif" for path, day in zip(PATHS, YEARS, strict=True)
    ]
    paths = write_named(tmp_path, names)

    series = open_them(tmp_path, count=6)

    assert series.files == paths
    assert list(map(str, series.dates)) == YEARS


def test_old_names_of_sentinel_2_are_ordered_by_sensing(tmp_path: Path) -> None:
    name = "S2A_OPER_PRD_MSIL1C_PDMC_{}T145513_R008_V{}T105507_{}T105507.tif"
    taken = ("20150706", "20150805", "20160318")
    days = [
        (made, day, day)
        for made, day in zip(("20160801", "20160701", "20160601"), taken, strict=True)
    ]
    paths = write_named(tmp_path, [name.format(*day) for day in days])

    assert open_them(tmp_path).files == paths


def test_names_with_two_readings_are_refused_with_both_and_the_flag(tmp_path: Path) -> None:
    write_named(tmp_path, ["05-03-2019.tif", "06-03-2019.tif", "07-03-2019.tif"])

    message = refusal(DataError, tmp_path)

    assert "3 faults" in message
    assert "05-03-2019.tif: found 2019-03-05 (day-month-year) and 2019-05-03" in message
    assert "--dates" in message
    series = open_them(tmp_path, dates="2019-03-05,2019-03-06,2019-03-07")
    assert [date.day for date in series.dates] == [5, 6, 7]


def test_a_month_with_one_of_its_days_is_a_date_twice(tmp_path: Path) -> None:
    write_named(tmp_path, ["a.tif", "b.tif", "c.tif"])

    message = refusal(DataError, tmp_path, dates="2020-01,2020-01-15,2020-02")

    assert "b.tif: found the date 2020-01-15 in 2020-01, also in a.tif" in message


@pytest.mark.skipif(os.name == "nt", reason="no such names there")
def test_names_cannot_break_lines_or_steer_a_terminal(tmp_path: Path) -> None:
    write_named(tmp_path, ["a\n_2018_01.tif", "b\x1b[31m_2018_05.tif", "c\u2028_2018_09.tif"])

    (remark, *_) = open_them(tmp_path).remarks

    assert [line.split("_")[0] for line in remark.split("\n")[1:]] == [
        "  a\\n", "  b\\x1b[31m", "  c\\u2028",
    ]  # fmt: skip


# ─────────────────────────────────────── tags ───────────────────────────────────────


def test_name_and_tag_of_acquisition_must_agree_within_a_day(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    change_header(paths[0], tags={"SENSING_TIME": "2020-01-16T00:10:00Z"})  # a time zone
    change_header(paths[1], tags={"TIFFTAG_DATETIME": "2024:01:01 00:00:00", "DATE": "2024-01-01"})
    assert open_them(tmp_path).files == paths
    change_header(paths[2], tags={"ACQUISITION_DATE": "2020-07-02"})

    message = refusal(DataError, tmp_path)

    assert "1 fault" in message
    found = f"city_{DAYS[2]}.tif: found {DAYS[2]} in the name and 2020-07-02 in its tag"
    assert f"{found} ACQUISITION_DATE" in message
    assert open_them(tmp_path, dates=",".join(DAYS[:3])).files == paths


def test_a_bare_month_is_not_believed_against_a_tag_of_acquisition(tmp_path: Path) -> None:
    paths = write_named(tmp_path, [f"scene_{path}.tif" for path in ("199012", "200012", "201012")])
    for path, day in zip(paths, YEARS, strict=False):
        change_header(path, tags={"DATE_ACQUIRED": day})

    assert "199012.tif: found 1990-12 in the name and 2015-07-06" in refusal(DataError, tmp_path)


def test_the_time_of_writing_comes_last_and_with_a_warning(tmp_path: Path) -> None:
    paths = write_named(tmp_path, ["a.tif", "b.tif", "c.tif"])
    for hour, path in enumerate(reversed(paths)):
        change_header(path, tags={"TIFFTAG_DATETIME": f"2024:03:{hour + 1:02d} 10:00:00"})

    series = open_them(tmp_path)

    assert series.files == paths[::-1]
    assert said(series, "warning: a.tif, b.tif, c.tif", "when a file was written", "--dates")
    change_header(paths[0], tags={"SENSING_TIME": "2020-01-01T00:00:00Z"})
    assert names_of(open_them(tmp_path))[0] == "a.tif"


# ─────────────────────────────────────── given ───────────────────────────────────────


def test_given_dates_win_over_what_a_name_only_suggests(tmp_path: Path) -> None:
    paths = write_named(tmp_path, [f"scene_{path}.tif" for path in sorted(PATHS)[:3]])

    series = open_them(tmp_path, dates=",".join(YEARS[:3]))

    assert series.files == sorted(paths)
    assert list(map(str, series.dates)) == YEARS[:3]
    assert said(
        series, "warning: scene_199012.tif: 2016-07-06 is given; its name can be read as 1990-12"
    )


def test_given_dates_do_not_win_over_a_name_that_is_nothing_but_a_month(tmp_path: Path) -> None:
    write_named(tmp_path, ["2018_01.tif", "2018_05.tif", "2018_09.tif"])

    message = refusal(UserError, tmp_path, dates="2019-01,2018-05,2018-09")

    assert "2018_01.tif: found 2019-01 given, 2018-01 in the name" in message


def test_the_dates_of_the_names_in_another_order_are_a_contradiction(tmp_path: Path) -> None:
    write_named(tmp_path, ["city_2018_01.tif", "city_2018_05.tif", "city_2018_09.tif"])

    message = refusal(UserError, tmp_path, dates="2018-05,2018-01,2018-09")

    assert "city_2018_01.tif: found 2018-05 given, 2018-01 in the name" in message


def test_given_dates_belong_to_files_in_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    paths = write_named(tmp_path, ["before.tif", "after.tif"])

    series = open_them(paths, count=2, dates="2019-01-01,2020-01-01")

    assert names_of(series) == ["before.tif", "after.tif"]
    assert names_of(open_them(tmp_path, count=2, dates="2019-01-01,2020-01-01"))[0] == "after.tif"


@pytest.mark.parametrize(
    "text",
    ["9" * 400, "2020-01-15,2020-02-30,2020-06-30", "2020-01-15,1e308,inf", ",,", "\0,\ud800,x"],
)
def test_given_dates_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    write_named(tmp_path, ["a.tif", "b.tif", "c.tif"])

    assert refusal(UserError, tmp_path, dates=text).startswith("--dates: found")


# ─────────────────────────────────────── pairs ───────────────────────────────────────


def test_a_pair_in_another_order_than_named_is_said(tmp_path: Path) -> None:
    later, earlier = write_named(tmp_path, ["a_2020-01-01.tif", "b_2019-01-01.tif"])

    series = open_them([later, earlier], count=2)

    assert series.files == [earlier, later]
    assert said(series, "warning: a_2020-01-01.tif is named first and is the later one")
    assert not said(open_them([earlier, later], count=2), "named first")


def test_the_order_of_a_pair_beats_the_time_of_writing(tmp_path: Path) -> None:
    pair = write_named(tmp_path, ["before.tif", "after.tif"])
    for day, path in zip((2, 1), pair, strict=True):
        change_header(path, tags={"TIFFTAG_DATETIME": f"2024:03:{day:02d} 10:00:00"})

    series = open_them(pair, count=2)

    assert series.files == pair
    assert said(series, "before.tif is taken as the image before")


def test_a_pair_whose_names_have_two_readings_is_not_taken_as_named(tmp_path: Path) -> None:
    pair = write_named(tmp_path, ["05-04-2019.tif", "06-03-2019.tif"])

    assert "expected one date" in refusal(DataError, pair, count=2)


# ─────────────────────────────────── masks and stacks ───────────────────────────────────


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (DAYS[:3], [day[:7] for day in DAYS[:3]]),
        ([day[:7] for day in DAYS[:3]], DAYS[:3]),
        (["2018", "2019", "2020"], ["2018-05-01", "2019-07-02", "2020-03-02"]),
    ],
)
def test_cloud_masks_by_day_go_with_images_by_month_and_the_other_way_round(
    tmp_path: Path, images: Sequence[str], masks: Sequence[str]
) -> None:
    write_named(tmp_path / "images", [f"city_{date}.tif" for date in images])
    for date in masks:
        write_raster(tmp_path / "clouds" / f"mask_{date}.tif", np.zeros((20, 30), np.uint8))

    series = open_them(tmp_path / "images", clouds=(str(tmp_path / "clouds"),))

    assert [path.name for path in series.cloud_files] == [f"mask_{date}.tif" for date in masks]
    assert said(series, "dates of cloud masks from names", f"  mask_{masks[0]}.tif: ")


def test_several_masks_of_a_month_and_several_images_of_a_mask_are_refused(tmp_path: Path) -> None:
    write_named(tmp_path / "months", ["2020_01.tif", "2020_02.tif", "2020_03.tif"])
    write_named(tmp_path / "days", ["2020-01-05.tif", "2020-01-20.tif", "2020-03-01.tif"])
    for name in ("m_2020-01-05.tif", "m_2020-01-20.tif"):
        write_raster(tmp_path / "by_day" / name, np.zeros((20, 30), np.uint8))
    write_raster(tmp_path / "by_month" / "m_2020-01.tif", np.zeros((20, 30), np.uint8))

    for images, clouds, part in (
        ("months", "by_day", "2020-01: found m_2020-01-05.tif (2020-01-05), m_2020-01-20.tif"),
        ("days", "by_month", "m_2020-01.tif: found 2020-01, which stands for 2020-01-05 and"),
    ):
        assert part in refusal(DataError, tmp_path / images, clouds=(str(tmp_path / clouds),))


@pytest.mark.parametrize("each", [1, 4])
def test_one_file_with_all_dates_is_refused_with_the_flags_that_read_it(
    tmp_path: Path, each: int
) -> None:
    write_raster(tmp_path / "stack_2020.tif", noise(1, 6 * each)[0])

    message = refusal(DataError, tmp_path, count=6)

    assert f"found one file of {6 * each} bands, expected a file for each of 6 dates" in message
    assert f"--bands-per-date {each} --dates 2018-01,2018-05,…" in message


def test_one_file_with_a_page_a_date_is_refused_with_the_command_that_splits_it(
    tmp_path: Path,
) -> None:
    tifffile.imwrite(
        tmp_path / "stack.tif", np.ones((6, 20, 30), np.uint16), photometric="minisblack"
    )

    message = refusal(DataError, tmp_path, count=6)

    assert "found 6 pages" in message
    assert "gdal_translate GTIFF_DIR:1:stack.tif" in message
