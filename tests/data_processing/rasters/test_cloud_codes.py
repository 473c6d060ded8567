"""Masks as agencies ship them: what hides a pixel, and which code a mask is written in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from data_processing.rasters.cloud_codes import CLOUD_CODES, codes_of, hidden_pixels
from utils.errors import UserError


def band(*values: int, dtype: str = "uint8") -> NDArray[Any]:
    return np.array([[values]], dtype)


@pytest.mark.parametrize(
    ("codes", "values", "dtype", "hidden"),
    [
        ("scl", range(12), "uint8", [1, 1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1]),
        ("cfmask", [0, 1, 2, 3, 4, 255], "uint8", [0, 0, 1, 1, 1, 1]),
        # clear land, water, cloud, shadow, snow, cirrus, dilated cloud, fill (USGS's own examples)
        (
            "qa_pixel", [21824, 21952, 22280, 23888, 30048, 54596, 21826, 1], "uint16",
            [0, 0, 1, 1, 1, 1, 1, 1],
        ),
        # low aerosol land, water, high aerosol, cloud, beside cloud, shadow, snow, fill
        (
            "fmask", [64, 96, 192, 66, 68, 72, 80, 255], "uint8", [0, 0, 0, 1, 1, 1, 1, 1],
        ),
        ("binary", [0, 1], "uint8", [0, 1]),
        ("binary", [0, 255], "uint8", [0, 1]),
        ("binary-clear", [0, 1], "uint8", [1, 0]),
        ("binary-clear", [0, 255], "uint8", [1, 0]),
    ],
)  # fmt: skip
def test_what_a_code_hides(codes: str, values: Any, dtype: str, hidden: list[int]) -> None:
    assert hidden_pixels(band(*values, dtype=dtype), codes).tolist() == [[bool(h) for h in hidden]]


def test_of_planets_mask_the_clear_band_decides_and_what_is_empty_is_hidden() -> None:
    mask = np.zeros((8, 1, 3), np.uint8)
    mask[0] = [[1, 1, 0]]
    mask[6] = 97  # confidence
    mask[7] = [[0, 1, 0]]
    assert hidden_pixels(mask, "udm2").tolist() == [[False, True, True]]
    assert codes_of([mask.reshape(8, -1)]) == "udm2"


@pytest.mark.parametrize(
    ("values", "dtype", "codes"),
    [
        ([4, 5, 5, 7, 9], "uint8", "scl"),
        ([0, 0, 1, 4, 255], "uint8", "cfmask"),
        ([21824, 22280, 1], "uint16", "qa_pixel"),
        ([64, 64, 66, 224], "uint8", "fmask"),
        ([0, 0, 0, 1], "uint8", "binary"),
        ([0, 0, 0, 255], "uint8", "binary"),
        ([0, 0, 0, 0], "uint8", "binary"),
    ],
)
def test_values_that_leave_no_doubt(values: list[int], dtype: str, codes: str) -> None:
    assert codes_of([np.array([values], dtype)]) == codes


def test_one_mask_may_settle_what_another_leaves_open() -> None:
    open_mask, clear_case = np.array([[0, 2, 4]], np.uint8), np.array([[4, 5, 8]], np.uint8)
    assert codes_of([open_mask, clear_case]) == "scl"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 1, 2, 4], "scl or cfmask"),
        ([1, 1, 1, 0], "binary-clear"),
        ([0, 7, 13], "no code explains"),
        ([0, 0, 87, 100], "cloud probabilities, are to be written anew"),
        ([1, 1, 2], "scl or cfmask"),
    ],
)
def test_doubtful_values_are_asked_about(values: list[int], words: str) -> None:
    with pytest.raises(UserError, match="--cloud-codes") as error:
        codes_of([np.array([values], np.uint8)])
    assert words in str(error.value)


def test_masks_of_different_numbers_of_bands_are_asked_about() -> None:
    with pytest.raises(UserError, match="different numbers of bands"):
        codes_of([np.zeros((1, 4), np.uint8), np.zeros((8, 4), np.uint8)])


@pytest.mark.parametrize("codes", sorted(CLOUD_CODES))
def test_values_of_another_code_are_refused(codes: str) -> None:
    foreign = band(-5, 3, 77, dtype="int16")
    with pytest.raises(ValueError, match=f"expected {codes}"):
        hidden_pixels(foreign, codes)


@pytest.mark.parametrize("codes", ["qa_pixel", "fmask", "scl", "cfmask"])
def test_a_window_may_hold_fill_alone(codes: str) -> None:
    fill = {"qa_pixel": 1, "fmask": 255, "scl": 0, "cfmask": 255}[codes]
    assert hidden_pixels(band(fill, fill, dtype="uint16"), codes).all()
