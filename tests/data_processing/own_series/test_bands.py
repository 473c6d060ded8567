"""Bands and odd values of series: what is taken, what is refused, what is remarked on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.small_series import (
    BGRN,
    DAYS,
    REVERSED,
    RGBA,
    change_header,
    noise,
    open_them,
    refusal,
    whole,
    write_series,
)
from utils.errors import DataError, UserError

# ─────────────────────────────────────────── bands ───────────────────────────────────────────


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (("red", "green", "blue", "nir"), "--bands 3,2,1,4"),
        (("Blue", "Green", "NIR", "Red"), "--bands 1,2,4,3"),
        (("B04", "B03", "B02", "B08"), "--bands 3,2,1,4"),
        (("B4", "B3", "B2", "B8"), "--bands 3,2,1,4"),
        (("blue", "red", "green", ""), "correct the names"),
    ],
)
def test_band_names_in_another_order_are_refused_with_the_remedy(
    tmp_path: Path, names: tuple[str, ...], remedy: str
) -> None:
    for path in write_series(tmp_path):
        change_header(path, names=names)

    message = refusal(DataError, tmp_path)

    assert "3 faults found" in message
    assert "expected blue, green, red, nir as in the training data" in message
    assert remedy in message


def test_the_remedy_puts_bands_in_order(tmp_path: Path) -> None:
    images = noise()
    for path in write_series(tmp_path, images):
        change_header(path, names=REVERSED)

    series = open_them(tmp_path, bands="3,2,1,4")

    assert np.array_equal(
        whole(series).images, images[:, [2, 1, 0, 3]].astype("f4") / np.float32(10000)
    )
    assert not any("do not name" in remark for remark in series.remarks)


def test_names_of_three_bands_give_a_remedy_of_three(tmp_path: Path) -> None:
    for path in write_series(tmp_path, noise(bands=3, dtype="uint8")):
        change_header(path, names=("blue", "green", "red"))

    assert "--bands 3,2,1 takes" in refusal(DataError, tmp_path, RGBA)
    assert len(open_them(tmp_path, RGBA, bands="3,2,1").dates) == 3


def test_bands_unknown_to_us_are_taken_as_they_come(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        change_header(path, names=("swir", "nir", "red", "lidar"))

    assert len(open_them(tmp_path, ("swir", "nir", "red", "lidar")).dates) == 3
    assert "--bands 1,3,2,4 takes" in refusal(DataError, tmp_path, ("swir", "red", "nir", "lidar"))
    assert "correct the names" in refusal(DataError, tmp_path, ("coastal", "red", "nir", "lidar"))


def test_colour_marks_set_on_purpose_count_as_names(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        change_header(path, colors=("red", "green", "blue", "undefined"))

    message = refusal(DataError, tmp_path)

    assert "marked red, green, blue, ?, expected blue, green, red, nir" in message
    assert "if the marks are wrong, --bands 1,2,3,4" in message
    assert len(open_them(tmp_path, bands="1,2,3,4").dates) == 3


def test_colour_marks_that_writers_set_by_default_are_only_remarked_on(tmp_path: Path) -> None:
    write_series(tmp_path, noise(dtype="uint8"))

    remarks = " ".join(open_them(tmp_path).remarks)

    assert "marked red, green, blue, alpha" in remarks
    assert "--bands 3,2,1,4" in remarks
    assert "marked" not in " ".join(open_them(tmp_path, bands="1,2,3,4").remarks)


def test_dark_near_infrared_of_an_8_bit_file_is_no_alpha(tmp_path: Path) -> None:
    images = noise(dtype="uint8")
    images[:, 3, 5] = 0  # water; GDAL marks the fourth band as alpha by default
    write_series(tmp_path, images)

    window = whole(open_them(tmp_path))

    assert window.observed.all()
    assert np.array_equal(window.images[:, 3], images[:, 3].astype("f4") / np.float32(255))


def test_true_alpha_in_the_place_of_near_infrared_is_refused(tmp_path: Path) -> None:
    images = noise(dtype="uint8")
    images[:, 3] = 255
    images[:, 3, 5] = 0
    write_series(tmp_path, images)

    message = refusal(DataError, tmp_path)

    assert "band 4 is marked alpha and holds 0, 255 only, expected nir" in message


def test_more_bands_are_refused_until_some_are_picked(tmp_path: Path) -> None:
    images = noise(bands=6)
    write_series(tmp_path, images)

    assert "found 6 bands, expected 4 (blue, green, red, nir)" in refusal(DataError, tmp_path)
    picked = whole(open_them(tmp_path, bands="2, 3,4,6")).images
    assert np.array_equal(picked, images[:, [1, 2, 3, 5]].astype("f4") / np.float32(10000))


def test_fewer_bands_are_refused_without_a_remedy_that_cannot_help(tmp_path: Path) -> None:
    write_series(tmp_path, noise(bands=3))

    message = refusal(DataError, tmp_path)

    assert "found 3 bands, expected 4 (blue, green, red, nir)" in message
    assert "--bands" not in message


def test_band_numbers_beyond_the_file_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path)

    assert "found 4 bands, expected 5, see --bands" in refusal(DataError, tmp_path, bands="1,2,3,5")


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "0,1,2,3", "1,2,3,-4", "", "1 2 3 4"])
def test_band_numbers_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    write_series(tmp_path)

    message = refusal(UserError, tmp_path, bands=text)

    assert message.startswith(f"--bands: found {text!r}, expected 4 numbers")


def test_a_fifth_band_marked_alpha_hides_pixels(tmp_path: Path) -> None:
    images = noise(bands=5)
    images[:, 4] = 65535
    images[1, 4, 3, 4] = 0
    for path in write_series(tmp_path, images):
        change_header(path, colors=("blue", "green", "red", "undefined", "alpha"))

    for options in ({}, {"bands": "1,2,3,4"}):
        series = open_them(tmp_path, **options)
        window = whole(series)

        assert window.images.shape[1] == 4
        assert np.argwhere(~window.observed).tolist() == [[3, 4]]


def test_rgb_gets_the_alpha_band_that_the_network_takes(tmp_path: Path) -> None:
    images = noise(bands=3, dtype="uint8")
    images[1, :, 3, 4] = 0
    write_series(tmp_path, images, nodata=0)

    window = whole(open_them(tmp_path, RGBA, min_valid_dates=1))

    assert window.images.shape == (3, 4, 20, 30)
    assert (window.images[:, 3] == 1).all()  # carried where not seen
    assert window.observed.all()
    assert not whole(open_them(tmp_path, RGBA)).observed[3, 4]


def test_rgb_of_16_bits_gets_no_alpha_band(tmp_path: Path) -> None:
    write_series(tmp_path, noise(bands=3))

    assert "found 3 bands of uint16, expected uint8" in refusal(DataError, tmp_path, RGBA)


def test_alpha_of_16_bits_is_remarked_on(tmp_path: Path) -> None:
    write_series(tmp_path, noise())

    remarks = " ".join(open_them(tmp_path, RGBA).remarks)

    assert "alpha of 16 bits is divided by 10000" in remarks
    assert "alpha of" not in " ".join(open_them(tmp_path, RGBA, pixel_scale="stored").remarks)


# ───────────────────────────────────────── odd values ─────────────────────────────────────────


def odd(kind: str) -> tuple[Any, dict[str, Any]]:
    images = noise()
    if kind == "float":
        return images.astype("float32"), {}
    if kind == "8 bits":
        return (images // 40).astype("uint16"), {}
    if kind == "bright":
        return images * 5 + 20000, {}
    if kind == "constant":
        images[1] = 7
    elif kind == "nothing":
        images[1] = 0
        return images, {"nodata": 0}
    elif kind == "empty":
        images[1, :, :, :6] = 0
    return images, {}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("float", "float values up to 4760 are used as stored, expected about 0…1"),
        ("8 bits", "16-bit values of 119 at most are divided by 10000"),
        ("bright", "mostly above 10000"),
        ("constant", "all pixels looked at are 7"),
        ("nothing", "no data in any pixel looked at"),
        ("empty", "20% of the pixels looked at are 0 in all bands and count as data"),
    ],
)
def test_odd_values_are_remarked_on(tmp_path: Path, kind: str, sentence: str) -> None:
    images, options = odd(kind)
    write_series(tmp_path, images, **options)

    remarks = open_them(tmp_path).remarks

    said = next(remark for remark in remarks if sentence in remark)
    every = kind in ("float", "8 bits", "bright")
    names = f"city_{DAYS[0]}.tif and 2 more" if every else f"city_{DAYS[1]}.tif"
    assert said.startswith(f"warning: {names}: ")


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("int16", -9999), ("int16", -32768), ("float32", -3.4e38), ("float32", 1e38)],
)
@pytest.mark.parametrize("row", [0, 100])  # where values are looked at first, and elsewhere
def test_fill_values_without_a_nodata_tag_are_refused(
    tmp_path: Path, dtype: str, fill: float, row: int
) -> None:
    images = noise(size=(300, 300)).astype(dtype)
    images[1, :, row] = fill
    files = write_series(tmp_path, images)

    with pytest.raises(DataError, match="that count as data, expected measurements") as caught:
        open_them(tmp_path).read(0, 0, 300, 300)

    assert files[1].name in str(caught.value)


def test_fill_values_that_the_nodata_tag_names_are_no_data(tmp_path: Path) -> None:
    images = noise().astype("int16")
    images[1, :, 0] = -9999
    write_series(tmp_path, images, nodata=-9999)

    window = open_them(tmp_path).read(0, 0, *images.shape[2:])

    assert not window.observed[0].any()
    assert window.observed[1:].all()


@pytest.mark.parametrize(("dtype", "most"), [("uint16", 4760), ("uint8", 119)])
def test_whole_numbers_for_weights_that_take_values_as_stored_are_remarked_on(
    tmp_path: Path, dtype: str, most: int
) -> None:
    write_series(tmp_path, noise(dtype=dtype))

    said = " ".join(open_them(tmp_path, pixel_scale="stored").remarks)

    assert f"whole numbers up to {most} are used as stored, expected about 0…1" in said
    assert "--pixel-scale auto" in said


def test_usual_values_are_not_remarked_on(tmp_path: Path) -> None:
    for path in write_series(tmp_path):
        change_header(path, names=BGRN)

    dates, seen = open_them(tmp_path).remarks

    assert dates.startswith("dates from names")
    assert seen == "every pixel looked at is seen at all dates"


def test_values_as_stored_are_not_said_to_be_divided(tmp_path: Path) -> None:
    write_series(tmp_path, (noise() // 40).astype("uint16"))

    assert "divided" not in " ".join(open_them(tmp_path, pixel_scale="stored").remarks)
