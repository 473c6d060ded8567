"""Composites and the clearest dates: what stands for many cloudy images."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_processing.own_series.composites import combined, period_start, periods_of
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import open_them, refusal
from utils.errors import UserError

SIZE = (8, 8)


@pytest.mark.parametrize(
    ("period", "start"),
    [("month", "2019-08-01"), ("quarter", "2019-07-01"), ("year", "2019-01-01")],
)
def test_a_date_lies_in_its_period(period: str, start: str) -> None:
    date = datetime.date(2019, 8, 17)
    assert period_start(date, period).isoformat() == start  # type: ignore[arg-type]
    assert periods_of([date], period) == {period_start(date, period): [date]}  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 9))
def test_the_median_is_that_of_the_clear_pixels(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    stored = rng.integers(-50, 5000, (count, 2, 3, 4)).astype(np.int16)
    clear = rng.random((count, 3, 4)) < 0.6

    values, seen = combined(stored, clear, "median")

    assert values.dtype == np.int16
    assert np.array_equal(seen, clear.any(axis=0))
    for y, x in zip(*np.nonzero(seen), strict=True):
        expected = np.median(stored[clear[:, y, x], :, y, x], axis=0)
        assert (np.abs(values[:, y, x] - expected) <= 0.5).all()


def test_the_medoid_is_one_of_the_clear_pixels_with_all_its_bands() -> None:
    stored = np.array([[100, 900], [120, 880], [500, 500], [110, 890]], np.uint16)[..., None, None]
    clear = np.array([True, True, True, False])[:, None, None]

    values, _ = combined(stored, clear, "medoid")

    assert values[:, 0, 0].tolist() == [120, 880]


def cloudy_year(folder: Path) -> tuple[Path, Path]:
    """A pixel value per day of twelve dates, every second one half under clouds that are bright."""
    for number in range(12):
        day = datetime.date(2019, 1, 10) + datetime.timedelta(days=30 * number)
        image = np.full((4, *SIZE), 1000 + number, np.uint16)
        mask = np.zeros(SIZE, np.uint8)
        if number % 2:
            mask[:4], image[:, :4] = 1, 9000
        write_raster(folder / "images" / f"city_{day}.tif", image)
        write_raster(folder / "clouds" / f"mask_{day}.tif", mask)
    return folder / "images", folder / "clouds"


def test_a_quarter_is_the_median_of_its_clear_pixels_and_dated_to_its_first_day(
    tmp_path: Path,
) -> None:
    images, clouds = cloudy_year(tmp_path)

    series = open_them(images, composite="quarter", clouds=(str(clouds),))

    assert [str(date) for date in series.dates] == [
        "2019-01-01", "2019-04-01", "2019-07-01", "2019-10-01"
    ]  # fmt: skip
    window = series.read(0, 0, *SIZE)
    assert window.observed.all()
    first = np.rint(window.images[0, 0] * 10000)
    assert (first[4:] == 1001).all()  # of 1000, 1001 and 1002
    assert (first[:4] == 1001).all()  # of 1000 and 1002: 1001 is under clouds
    assert any("12 images become 4 dates" in remark for remark in series.remarks)
    assert sum(map(len, series.sources)) == 12
    assert len(series.cloud_files) == 12


def test_pictures_of_composites_are_free_of_clouds_too(tmp_path: Path) -> None:
    images, clouds = cloudy_year(tmp_path)
    series = open_them(images, composite="quarter", clouds=(str(clouds),))
    values, seen = series.reduced(0, 2)
    assert seen.all()
    assert values.max() < 9000


def test_the_clearest_dates_are_spread_over_the_time(tmp_path: Path) -> None:
    images, clouds = cloudy_year(tmp_path)

    series = open_them(images, choose_dates="clearest:6", clouds=(str(clouds),))

    assert len(series.dates) == 6
    assert all(date.day == 10 or (date - series.dates[0]).days % 60 == 0 for date in series.dates)
    assert any("the 6 clearest of 12 dates" in remark for remark in series.remarks)


@pytest.mark.parametrize(
    "rule", ["clearest:2", "clearest:13", "clearest:", "clearest:²", "clearest:1e3"]
)
def test_a_number_of_clearest_dates_that_cannot_be_is_refused(tmp_path: Path, rule: str) -> None:
    images, _ = cloudy_year(tmp_path)
    assert "expected clearest:N with N from 3" in refusal(UserError, images, choose_dates=rule)


def test_clearest_dates_of_composites_are_a_contradiction(tmp_path: Path) -> None:
    images, _ = cloudy_year(tmp_path)
    message = refusal(UserError, images, choose_dates="clearest:4", composite="month")
    assert "--composite month beside it" in message


def test_fewer_periods_than_the_network_takes_are_refused(tmp_path: Path) -> None:
    images, _ = cloudy_year(tmp_path)
    from utils.errors import DataError

    assert "found 1 dates" in refusal(DataError, images, composite="year")
