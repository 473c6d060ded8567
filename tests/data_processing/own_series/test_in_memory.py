"""NumPy arrays as a series: the same pixels as files of them; and what is refused."""

from __future__ import annotations

import datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rasterio import Affine

from data_processing.own_series.in_memory import ArrayPlace, open_given_series
from data_processing.own_series.options import SeriesOptions
from data_processing.own_series.series import RasterSeries, spec_for
from tests.helpers.small_series import BGRN, DAYS, noise
from utils.errors import DataError, UserError

PLACE = ArrayPlace("EPSG:32633", Affine(3, 0, 500000, 0, -3, 5000000))


def opened(
    images: Any, dates: Any = DAYS[:3], place: Any = PLACE, clouds: Any = None, **options: Any
) -> RasterSeries:
    spec = spec_for(BGRN, 3)
    return open_given_series(images, spec, SeriesOptions(**options), dates, place, clouds)


@pytest.mark.parametrize("form", ["array", "list", "iterator", "big-endian", "view"])
def test_arrays_make_a_series(form: str) -> None:
    images: Any = noise()
    if form == "list":
        images = list(images)
    elif form == "iterator":
        images = (image for image in images)
    elif form == "big-endian":
        images = images.astype(">u2")
    elif form == "view":
        images = np.ascontiguousarray(images.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)

    series = opened(images, place=None)

    for date, image in enumerate(noise()):
        np.testing.assert_array_equal(series.read_stored(date)[0], image)
    expected = noise()[2][:, 2::4][..., [1, 5, 9, 13, 16, 20, 24, 28]]  # the nearest pixels
    np.testing.assert_array_equal(series.reduced(2, 4)[0], expected)
    assert series.grid.crs is None


@pytest.mark.parametrize(
    "dates",
    [
        ",".join(DAYS[:3]),
        [datetime.date.fromisoformat(day) for day in DAYS[:3]],
        [datetime.datetime.fromisoformat(day) for day in DAYS[:3]],
        np.array(DAYS[:3], "datetime64[s]"),
        SimpleNamespace(values=np.array(DAYS[:3], "datetime64[ns]")),  # of pandas, xarray
        iter(DAYS[:3]),
    ],
)
def test_dates_come_as_programs_hold_them(dates: Any) -> None:
    assert [str(date) for date in opened(noise(), dates).dates] == list(DAYS[:3])


def test_nan_masks_and_a_given_value_mean_no_data() -> None:
    images = noise().astype("float32") / 10000
    images[0, 2, :4] = np.nan
    masked = np.ma.MaskedArray(noise(), mask=False)
    masked[0, 1, :4] = np.ma.masked
    tagged = noise()
    tagged[0, :, :4] = 7
    for series in (
        opened(images), opened(masked), opened(tagged, place=ArrayPlace(nodata=7)),
        opened(list(masked)),
    ):  # fmt: skip
        assert series.read(0, 0, 20, 30).observed.mean() == 0.8


@pytest.mark.parametrize("form", ["bool", "codes", "axis", "wide"])
def test_masks_of_clouds_come_as_arrays(form: str) -> None:
    clouds: Any = np.zeros((3, 20, 30), bool)
    clouds[1, :5] = True
    if form == "codes":
        clouds = np.where(clouds, 9, 4).astype(np.uint8)
        clouds[0, 0, 0] = 6
    elif form == "wide":
        clouds = np.where(clouds, 1, 0)  # of 64 bits
    elif form == "axis":
        clouds = clouds[:, None].astype(np.uint8)
    assert opened(noise(), clouds=clouds).read(0, 0, 20, 30).observed.mean() == 0.75


def test_bands_and_composites_work_as_for_files() -> None:
    many = np.concatenate([noise(), noise() + 40], axis=1)[:, :5]
    series = opened(many, bands=(1, 2, 3, 5))
    np.testing.assert_array_equal(series.read_stored(0)[0], many[0][[0, 1, 2, 4]])
    days = [f"2020-{month:02d}-{day}" for month in (1, 2, 3) for day in (10, 20)]
    quarterly = opened(np.repeat(noise(), 2, axis=0), days, composite="month")
    np.testing.assert_array_equal(quarterly.read_stored(1)[0], noise()[1])


@pytest.mark.parametrize(
    ("images", "more", "sentence"),
    [
        (noise()[0], {}, "found (20, 30) uint16 for each date, expected an array (T, C, H, W)"),
        ([noise()[0], noise()[1][:2], noise()[2]], {}, "arrays (C, H, W) of one shape and type"),
        ([], {}, "images: found none"),
        (np.zeros((3, 4, 0, 5)), {}, "expected an array (T, C, H, W)"),
        (noise(), {"dates": DAYS[:2]}, "dates: found 2, expected 3"),
        (noise(), {"dates": DAYS[2::-1]}, "found 2020-06-30, then 2020-03-01, expected ascending"),
        (noise(), {"dates": ["2020-01-01", "2020-01-01", "2020-02-01"]}, "expected ascending"),
        (noise(), {"dates": None}, "dates: found none, expected 3"),
        (noise(), {"dates": ["x", "y", "z"]}, "dates: found 'x'"),
        (noise(), {"dates": [1, 2, 3]}, "dates: found '1'"),
        (noise(), {"clouds": np.zeros((2, 20, 30))}, "found 2 masks of (20, 30), expected 3"),
        (["a.tif", "b.tif"], {"dates": None}, "Leave it out."),
    ],
)
def test_arrays_that_are_no_series_are_refused(images: Any, more: Any, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        opened(images, **more)
    assert sentence in str(caught.value)


def test_a_pair_may_do_without_dates() -> None:
    series = open_given_series(noise(2), spec_for(BGRN, 2), SeriesOptions())
    assert [str(date) for date in series.dates] == ["before", "after"]
    np.testing.assert_array_equal(series.read_stored(1)[0], noise(2)[1])


def test_what_is_no_array_of_numbers_is_refused() -> None:
    class OfAGpu:
        ndim = 3

        def __array__(self, *_: object, **__: object) -> None:
            raise TypeError("can't convert device tensor to numpy")

    with pytest.raises(UserError, match="no array of numbers"):
        opened([OfAGpu(), OfAGpu(), OfAGpu()])
    xarray = pytest.importorskip("xarray")
    with pytest.raises(UserError, match=r"xarray\.concat"):
        opened([xarray.DataArray(image) for image in noise()])


def test_types_and_bands_that_networks_cannot_take_are_refused() -> None:
    for images, sentence in (
        (noise().astype("int64"), "found type int64"),
        (noise()[:, :3], "found 3 bands, expected 4"),
        (np.full((3, 4, 20, 30), np.inf, "float32"), "infinite values"),
    ):
        with pytest.raises(DataError) as caught:
            opened(images)
        assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [("EPSG:32633", None), (None, (1, 0, 0, 0, -1, 0)), ("nonsense", (1,) * 6), (32633, (1, 2))],
)
def test_half_a_place_is_refused(crs: Any, transform: Any) -> None:
    with pytest.raises(UserError, match="crs, transform"):
        ArrayPlace(crs, transform)
