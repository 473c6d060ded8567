"""Images of a series for people (mapping/report/visible.py)."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.report.visible import clear_dates, clear_shares, visible_series


def test_a_series_is_shown_with_one_stretch_and_white_where_there_is_no_data() -> None:
    image = np.linspace(100.0, 200.0, 400).reshape(1, 20, 20).repeat(4, axis=0)
    valid = np.ones((20, 20), bool)
    valid[3, 4] = False
    shown = visible_series([image, image + 50], [valid, valid], (2, 1, 0))
    assert shown.shape == (2, 20, 20, 3)
    assert shown.dtype == np.uint8
    assert (shown[:, 3, 4] == 255).all()
    # equal values are shown alike at both dates
    first = shown[0, 15, 0].astype(int)  # 175.2
    second = shown[1, 5, 0].astype(int)  # 175.1
    assert np.abs(first - second).max() <= 1
    assert 0 < first[0] < 255


def test_a_date_under_clouds_does_not_darken_the_others() -> None:
    image = np.random.default_rng(0).integers(100, 200, (3, 30, 30)).astype(np.uint16)
    clouds = np.full((3, 30, 30), 9000, np.uint16)
    valid = np.ones((30, 30), bool)
    clear = visible_series([image] * 3, [valid] * 3, (0, 1, 2))
    mixed = visible_series([image, image, image, clouds], [valid] * 4, (0, 1, 2))
    assert np.abs(mixed[0].astype(int) - clear[0]).max() <= 3
    assert (mixed[3] == 255).all()


@pytest.mark.parametrize("C", [1, 2])
def test_images_without_colour_are_grey_by_their_first_band(C: int) -> None:
    images = np.random.default_rng(0).uniform(0, 1, (2, C, 10, 10))
    shown = visible_series(list(images), [np.ones((10, 10), bool)] * 2, (2, 1, 0)).astype(int)
    assert (shown[..., 0] == shown[..., 1]).all()
    assert (shown[..., 0] == shown[..., 2]).all()
    assert np.corrcoef(shown[0, :, :, 0].ravel(), images[0, 0].ravel())[0, 1] > 0.99


def test_red_green_and_blue_are_taken_by_their_positions() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (4, 10, 10))
    shown = visible_series([image], [np.ones((10, 10), bool)], (2, 1, 0))[0]
    for place, band in enumerate((2, 1, 0)):
        assert np.corrcoef(shown[..., place].ravel(), image[band].ravel())[0, 1] > 0.99


def test_dates_without_any_data_are_white_and_say_nothing_about_the_stretch() -> None:
    image = np.random.default_rng(0).uniform(100, 200, (3, 10, 10))
    none, all_ = np.zeros((10, 10), bool), np.ones((10, 10), bool)
    shown = visible_series([image, image * 0], [all_, none], (0, 1, 2))
    np.testing.assert_array_equal(shown[0], visible_series([image], [all_], (0, 1, 2))[0])
    assert (shown[1] == 255).all()
    assert (visible_series([image], [none], (0, 1, 2)) == 255).all()


def test_series_of_different_sizes_or_numbers_are_refused() -> None:
    image, mask = np.zeros((3, 4, 5)), np.ones((4, 5), bool)
    with pytest.raises(ValueError, match="found 1 masks for 2 images"):
        visible_series([image, image], [mask], (0, 1, 2))
    with pytest.raises(ValueError, match=r"found \(3, 4, 4\).*expected \(3, 4, 5\)"):
        visible_series([image, image[..., 1:]], [mask, mask], (0, 1, 2))
    with pytest.raises(ValueError, match="0 images"):
        visible_series([], [], (0, 1, 2))


def test_clouds_that_no_mask_knows_and_gaps_make_a_date_less_clear() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(40, 120, (1, 300, 200, 3)).repeat(5, axis=0).astype(np.uint8)
    pictures[:, :30] = 255  # snow or roofs, white at all dates: no cloud
    pictures[3:, 100:130] += 100  # brighter from a date on: a change, no cloud
    pictures[1, 150:] = 255
    valid = np.ones((5, 300, 200), bool)
    valid[4, :, 100:] = False
    clear = clear_shares(pictures, list(valid))
    assert clear == pytest.approx([1.0, 0.5, 1.0, 1.0, 0.5], abs=0.02)
    assert clear_dates(clear) == (0, 3)


def test_dates_that_are_never_seen_are_not_clear() -> None:
    nothing = [np.zeros((4, 4), bool)] * 3
    clear = clear_shares(np.full((3, 4, 4, 3), 255, np.uint8), nothing)
    assert clear == [0.0] * 3
    assert clear_dates(clear) == (0, 2)
