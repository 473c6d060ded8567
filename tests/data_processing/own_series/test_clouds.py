"""Cloud masks of a series: what they hide, what is refused, what is asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio import Affine

from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import (
    DAYS,
    change_header,
    noise,
    open_them,
    refusal,
    whole,
    write_series,
)
from utils.errors import DataError, UserError


def write_clouds(folder: Path, days: Any, value: int = 1, **raster: Any) -> Path:
    """Masks with a cloud in the first five rows."""
    for day in days:
        mask = np.zeros((20, 30), np.uint8)
        mask[:5] = value
        write_raster(folder / f"mask_{day}.tif", mask, **raster)
    return folder


@pytest.mark.parametrize("value", [1, 255])
def test_what_a_cloud_mask_marks_is_not_seen_at_its_date(tmp_path: Path, value: int) -> None:
    images = noise()
    write_series(tmp_path / "images", images)
    clouds = write_clouds(tmp_path / "clouds", [DAYS[1], "2030-01-01"], value)

    series = open_them(tmp_path / "images", clouds=(str(clouds),), min_valid_dates=2)
    strict = open_them(tmp_path / "images", clouds=(str(clouds),))

    assert np.argwhere(~whole(strict).observed.all(axis=1)).ravel().tolist() == [0, 1, 2, 3, 4]
    window = whole(series)
    assert window.observed.all()
    assert np.array_equal(window.images[1, :, :5], window.images[0, :, :5])
    assert [path.name for path in series.cloud_files] == [f"mask_{DAYS[1]}.tif"]
    assert any(f"taken as clear: {DAYS[0]}, {DAYS[2]}" in remark for remark in series.remarks)


@pytest.mark.parametrize(("tag", "clear"), [(0, True), (7, False)])
def test_a_mask_without_a_value_hides_unless_its_nodata_tag_is_clear(
    tmp_path: Path, tag: int, clear: bool
) -> None:
    write_series(tmp_path / "images")
    mask = np.zeros((20, 30), np.uint8)
    mask[2:4], mask[10] = 1, tag
    write_raster(tmp_path / "clouds" / f"mask_{DAYS[1]}.tif", mask, nodata=tag)

    window = whole(open_them(tmp_path / "images", clouds=(str(tmp_path / "clouds"),)))

    hidden = [2, 3] if clear else [2, 3, 10]
    assert np.flatnonzero(~window.observed.all(axis=1)).tolist() == hidden


def bad_clouds(folder: Path, what: str) -> None:
    path = folder / f"mask_{DAYS[1]}.tif"
    zeros = np.zeros((20, 30), np.uint8)
    if what == "classes":
        write_raster(path, np.arange(600).reshape(20, 30).astype(np.uint8) % 40)
    elif what == "place":
        write_raster(path, zeros, origin=(700000.0, 5000000.0))
    elif what == "system":
        write_raster(path, zeros[:10], crs=None)
    elif what == "bands":
        write_raster(path, np.stack([zeros, zeros]))
    elif what == "float":
        write_raster(path, zeros.astype("float32"))
    elif what == "dates":
        write_raster(folder / "mask_2030-01-01.tif", zeros)
    else:
        write_raster(folder / "mask.tif", zeros)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("place", f"mask_{DAYS[1]}.tif: lies beside the images"),
        ("system", f"mask_{DAYS[1]}.tif: found 10×30 pixels, expected 20×30 as the images"),
        ("bands", "found 2 bands of uint8, expected whole numbers in 1 or 8 bands"),
        ("float", "found 1 bands of float32, expected whole numbers in 1 or 8 bands"),
        ("dates", "found no mask of the dates 2020-01-15, 2020-03-01, 2020-06-30"),
        ("names", "mask.tif: found no date in the name"),
    ],
)
def test_masks_that_cannot_be_used_are_refused_before_the_work_begins(
    tmp_path: Path, what: str, sentence: str
) -> None:
    write_series(tmp_path / "images")
    bad_clouds(tmp_path / "clouds", what)

    message = refusal(DataError, tmp_path / "images", clouds=(str(tmp_path / "clouds"),))

    assert sentence in message
    assert "--clouds" in message


def test_masks_whose_values_do_not_tell_their_codes_are_asked_about(tmp_path: Path) -> None:
    write_series(tmp_path / "images")
    bad_clouds(tmp_path / "clouds", "classes")
    clouds = (str(tmp_path / "clouds"),)

    assert "no code explains" in refusal(UserError, tmp_path / "images", clouds=clouds)
    message = refusal(DataError, tmp_path / "images", clouds=clouds, cloud_codes="scl")
    assert "expected scl: Sentinel-2 scene classification" in message


def test_masks_of_agencies_hide_what_they_name_on_their_own_coarser_grid(tmp_path: Path) -> None:
    write_series(tmp_path / "images")
    classes = np.full((10, 15), 5, np.uint8)  # bare ground, in pixels of twice the size
    classes[2:4, 3:6], classes[6, 7] = 9, 6  # cloud, water
    path = tmp_path / "clouds" / f"SCL_{DAYS[1]}.tif"
    write_raster(path, classes)
    change_header(path, transform=Affine(6.0, 0.0, 500000.0, 0.0, -6.0, 5000000.0))

    series = open_them(tmp_path / "images", clouds=(str(tmp_path / "clouds"),), min_valid_dates=3)
    observed = series.read(0, 0, 20, 30).observed

    expected = np.ones((20, 30), np.bool_)
    expected[4:8, 6:12] = False
    assert np.array_equal(observed, expected)
    said = " ".join(series.remarks)
    assert "cloud masks, as their values tell: scl" in said
    assert "taken to the images' grid by the nearest pixel" in said


@pytest.mark.parametrize(("codes", "share"), [("binary", 0.75), ("binary-clear", 0.25)])
def test_masks_that_would_hide_most_are_asked_about_and_mean_what_is_said(
    tmp_path: Path, codes: str, share: float
) -> None:
    write_series(tmp_path / "images")
    mask = np.ones((20, 30), np.uint8)
    mask[:5] = 0
    for day in DAYS[:3]:
        write_raster(tmp_path / "clouds" / f"{day}.tif", mask)
    clouds = (str(tmp_path / "clouds"),)

    assert "binary-clear" in refusal(UserError, tmp_path / "images", clouds=clouds)
    series = open_them(tmp_path / "images", clouds=clouds, cloud_codes=codes)

    assert (~series.read(0, 0, 20, 30).observed).mean() == share


def test_no_masks_at_all_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "images")

    message = refusal(UserError, tmp_path / "images", clouds=(str(tmp_path / "none"),))

    assert "--clouds: found no raster at" in message
