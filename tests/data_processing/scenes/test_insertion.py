"""Inserted changes: exact labels, untouched surroundings, the same again from a seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from data_processing.scenes.insertion import (
    SHAPES,
    Insertion,
    InsertionRules,
    add_transient,
    draw_insertions,
    draw_shape,
    insert_changes,
    jitter_radiometry,
    matched_donor,
    pixel_visibility,
    visibility,
)

T, C, H, W = 5, 3, 12, 16
HARD = InsertionRules(feathered=0.0, least_visible=0.0)


def series(value: float) -> NDArray[np.float32]:
    return np.full((T, C, H, W), value, np.float32)


def square(top: int, left: int, side: int = 4) -> NDArray[np.float32]:
    opacity = np.zeros((H, W), np.float32)
    opacity[top : top + side, left : left + side] = 1
    return opacity


def unchanged() -> NDArray[np.int64]:
    return np.zeros((H, W), np.int64)


def noise(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.random((T, C, H, W)).astype(np.float32)


def test_a_region_is_the_donor_from_its_date_on_and_the_base_before() -> None:
    region = square(2, 3) > 0
    images, label = insert_changes(
        series(0.1), unchanged(), [Insertion(square(2, 3), 3, series(0.6))]
    )
    assert np.all(images[:3] == np.float32(0.1))
    assert np.allclose(images[3:][..., region], 0.6)
    assert np.all(images[..., ~region] == np.float32(0.1))
    assert np.array_equal(label, np.where(region, 3, 0))


def test_where_two_overlap_the_later_one_is_the_label_and_lies_on_top() -> None:
    first = Insertion(square(2, 2), 2, series(0.5))
    second = Insertion(square(4, 4), 4, series(0.9))
    images, label = insert_changes(series(0.1), unchanged(), [first, second])
    assert label[4, 4] == 4
    assert images[:, 0, 4, 4].tolist() == pytest.approx([0.1, 0.1, 0.5, 0.5, 0.9])
    assert label[2, 2] == 2


def test_a_later_change_of_the_scene_itself_keeps_its_pixels_and_its_moment() -> None:
    label = unchanged()
    label[2:6, 2:6] = 4
    images, found = insert_changes(series(0.1), label, [Insertion(square(2, 2), 2, series(0.5))])
    assert found[3, 3] == 4
    assert images[:, 0, 3, 3].tolist() == pytest.approx([0.1, 0.1, 0.5, 0.5, 0.1])


def test_ignored_pixels_stay_ignored() -> None:
    label = unchanged() - 1
    _, found = insert_changes(series(0.1), label, [Insertion(square(2, 2), 2, series(0.5))])
    assert np.all(found == -1)


def test_what_is_handed_in_is_not_written_to() -> None:
    base, label = series(0.1), unchanged()
    insert_changes(base, label, [Insertion(square(0, 0), 1, series(0.5))])
    add_transient(np.random.default_rng(1), base, HARD)
    jitter_radiometry(np.random.default_rng(1), base)
    assert np.all(base == np.float32(0.1))
    assert not label.any()


def test_only_what_can_be_seen_is_labelled_when_asked_for() -> None:
    seen = np.where(square(2, 2) > 0, np.float32(0.2), np.float32(0))
    seen[2, 2], seen[2, 3] = 2.0, 0.7
    insertion = Insertion(square(2, 2), 1, series(0.5), seen, threshold=1.0)
    _, label = insert_changes(series(0.1), unchanged(), [insertion])
    assert label[2, 2] == 1  # seen
    assert label[2, 3] == -1  # perhaps
    assert label[3, 3] == 0  # not seen


def test_visibility_counts_in_the_noise_of_the_place_itself() -> None:
    base = series(0.1)
    base[::2] += np.float32(0.1)  # date-to-date noise of 0.1
    region = square(2, 2) > 0
    quiet = visibility(base, base + np.float32(0.02), region, 1)
    loud = visibility(base, base + np.float32(0.4), region, 1)
    assert quiet == pytest.approx(0.2, rel=0.05)
    assert loud == pytest.approx(4.0, rel=0.05)
    by_pixel = pixel_visibility(base, base + np.float32(0.4), square(2, 2), 1)
    assert by_pixel[3, 3] > 3.0
    assert by_pixel[10, 10] == 0.0


def test_invisible_regions_are_left_out() -> None:
    rng = np.random.default_rng(1)
    base = rng.random((T, C, H, W)).astype(np.float32)

    rules = replace(HARD, most=9, matched=0.0, tinted=0.0, least_visible=0.5)
    assert draw_insertions(rng, base, lambda _: base.copy(), rules) == []


@pytest.mark.parametrize("family", range(len(SHAPES)))
def test_every_family_of_shapes_draws_regions_of_its_own(family: int) -> None:
    shapes = tuple(float(number == family) for number in range(len(SHAPES)))
    rng = np.random.default_rng(1)
    drawn = [draw_shape(rng, 40, 30, replace(HARD, shapes=shapes)) for _ in range(40)]
    assert all(each.shape == (40, 30) and each.dtype == np.float32 for each in drawn)
    assert all(set(np.unique(each)) <= {0.0, 1.0} for each in drawn)
    shares = [each.mean() for each in drawn]
    assert max(shares) > 0.01
    assert min(shares) < 0.9


def test_soft_edges_lie_between_and_labels_begin_at_half() -> None:
    rng = np.random.default_rng(1)
    opacity = draw_shape(rng, 40, 40, replace(HARD, feathered=1.0))
    assert ((opacity > 0) & (opacity < 1)).any()
    assert np.array_equal(Insertion(opacity, 1, series(0)).region, opacity >= 0.5)


def test_the_same_seed_draws_the_same_changes() -> None:
    base = np.random.default_rng(5).random((T, C, H, W)).astype(np.float32)
    drawn = [
        draw_insertions(np.random.default_rng(7), base, noise, replace(HARD, most=4))
        for _ in range(2)
    ]
    assert len(drawn[0]) == len(drawn[1])
    for one, other in zip(*drawn, strict=True):
        assert one.moment == other.moment
        assert np.array_equal(one.opacity, other.opacity)
        assert np.array_equal(one.donor, other.donor)
    assert [each.moment for each in drawn[0]] == sorted(each.moment for each in drawn[0])


def test_every_moment_is_drawn() -> None:
    rng = np.random.default_rng(3)
    base = rng.random((T, C, H, W)).astype(np.float32)
    moments = {each.moment for _ in range(60) for each in draw_insertions(rng, base, noise, HARD)}
    assert moments == set(range(1, T))


def test_a_matched_donor_comes_closer_to_the_brightness_of_the_base() -> None:
    rules = replace(HARD, matched=1.0, tinted=0.0)
    rng = np.random.default_rng(1)
    for _ in range(10):
        donor = matched_donor(rng, series(0.2), series(0.8), rules)
        assert 0.2 - 1e-6 <= donor.mean() < 0.63


@pytest.mark.parametrize(("carried", "most"), [(0.0, 1), (0.99, 2)])
def test_a_passing_cloud_touches_one_date_or_is_carried_to_the_next(
    carried: float, most: int
) -> None:
    touched = []
    for seed in range(20):
        clouded = add_transient(np.random.default_rng(seed), series(0.3), HARD, carried)
        dates = np.flatnonzero((clouded != series(0.3)).any(axis=(1, 2, 3)))
        assert dates.size == 0 or dates.max() - dates.min() == dates.size - 1
        touched.append(dates.size)
    assert max(touched) == most


def test_radiometry_differs_by_date_and_is_never_negative() -> None:
    jittered = jitter_radiometry(np.random.default_rng(1), series(0.01), gain=0.2, offset=0.05)
    assert len(np.unique(jittered[:, 0, 0, 0].round(5))) > 1
    assert jittered.min() >= 0
