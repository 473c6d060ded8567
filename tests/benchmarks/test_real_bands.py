"""Displayed colours as four bands, windows of several sources, labelled scenes at fewer dates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_areas import Area
from benchmarks.real_bands import (
    Coarser,
    Dimmed,
    Mixture,
    Reflectance,
    Regrown,
    as_reflectance,
    coarser_scene,
    fewer_dates,
)

Images = NDArray[np.float32]


class Constant:
    """A source that always draws the same colours, changed at a corner."""

    def __init__(self, value: float, bands: int = 4) -> None:
        self.value, self.bands = value, bands

    def draw(self, rng: np.random.Generator) -> tuple[Images, NDArray[np.int64]]:
        label = np.zeros((4, 4), np.int64)
        label[0, 0] = 2
        return np.full((6, self.bands, 4, 4), self.value, np.float32), label


def test_green_is_bright_in_the_stand_in_for_near_infrared_and_bands_are_turned() -> None:
    colours = np.full((6, 3, 2, 1), 0.3, np.float32)
    colours[:, 1, 0] = 0.5  # a green pixel above a grey one
    for seed in range(20):
        bands = as_reflectance(np.random.default_rng(seed), colours)
        assert bands.shape == (6, 4, 2, 1)
        assert bands.dtype == np.float32
        assert 0 <= bands.min() <= bands.max() <= 1
        assert (bands[:, 3, 0] > bands[:, 3, 1]).all()
        assert (bands == bands[:1]).all()  # what does not change in colour does not change here
    red = np.zeros((6, 3, 1, 1), np.float32)
    red[:, 0] = 1
    assert as_reflectance(np.random.default_rng(0), red)[0, :3].argmax() == 2


def test_dimming_is_the_same_for_all_dates_and_leaves_the_labels() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        images, label = Dimmed(Constant(0.2), share=1.0).draw(rng)
        assert (images == images[:1]).all()
        assert not (images == np.float32(0.2)).all()
        assert label[0, 0] == 2
    images, _ = Dimmed(Constant(0.2), share=0.0).draw(rng)
    assert (images == np.float32(0.2)).all()


def test_at_half_the_resolution_a_pixel_has_changed_where_half_of_it_has() -> None:
    class Quarters:
        def draw(self, rng: np.random.Generator) -> tuple[Images, NDArray[np.int64]]:
            label = np.array([
                [0, 0, 1, 1, 0, 0], [0, 2, 0, 0, 0, 0],
                [3, 3, -1, 4, 1, 2], [3, 3, 4, 4, 1, 2],
            ])  # fmt: skip
            return np.broadcast_to(np.float32(label), (6, 4, 4, 6)).copy(), label

    images, label = Coarser(Quarters()).draw(np.random.default_rng(0))
    assert label.tolist() == [[-1, 1, 0], [3, -1, -1]]
    assert images[2, 1].tolist() == [[0.5, 0.5, 0.0], [3.0, 2.75, 1.5]]
    _, label = Coarser(Quarters(), quarters=1).draw(np.random.default_rng(0))
    assert label.tolist() == [[2, 1, 0], [3, -1, -1]]


def test_a_whole_scene_at_half_the_resolution_keeps_its_reflectance() -> None:
    images, label = Constant(0.25).draw(np.random.default_rng(0))
    stored = np.rint(images * 10000).astype(np.uint16)
    scene = coarser_scene(Area("a", stored, np.arange(6), label), quarters=1)
    assert scene.images.shape == (6, 4, 2, 2)
    assert np.allclose(scene.values(), 0.25)
    assert scene.label is not None
    assert scene.label.tolist() == [[2, 0], [0, 0]]


def test_cleared_forest_grows_green_again_and_nothing_else_changes() -> None:
    forest, bare = (np.float32(bands)[:, None] for bands in ((2, 4, 2, 40), (7, 9, 12, 22)))

    class Cleared:
        def draw(self, rng: np.random.Generator) -> tuple[Images, NDArray[np.int64]]:
            images = np.empty((6, 4, 1, 3), np.float32)
            images[:] = forest[:, :, None] / 100
            images[2:, :, 0, 0] = images[:, :, 0, 2] = bare[:, 0] / 100  # cleared at 2; bare soil
            images[2:, :, 0, 2] = forest[:, 0] / 100  # not forest before
            return images, np.array([[2, 0, 2]])

    before, _ = Cleared().draw(np.random.default_rng(0))
    images, label = Regrown(Cleared(), share=1.0).draw(np.random.default_rng(0))
    assert label.tolist() == [[2, 0, 2]]
    assert (images[:3] == before[:3]).all()  # the event itself stays
    assert (images[..., 1:] == before[..., 1:]).all()
    infrared = images[2:, 3, 0, 0]
    assert (np.diff(infrared) > 0).all()


def test_a_mixture_draws_by_its_shares() -> None:
    rng = np.random.default_rng(2)
    both = Mixture((Constant(0.2), Reflectance(Constant(0.5, bands=4))), (0.25, 0.75))
    plain = sum(bool((both.draw(rng)[0] == np.float32(0.2)).all()) for _ in range(400))
    assert 70 < plain < 130


def test_a_change_keeps_its_interval_among_fewer_dates() -> None:
    label = np.array([[0, 1, 2, 3, 4, 5, 6, 7, 8, -1]])
    images = np.full((9, 4, 1, 10), 100, np.uint8)
    days = 730000 + 30 * np.arange(9)
    dates = np.array([1, 2, 4, 5, 6, 7])
    less = fewer_dates(Area("a", images, days, label), dates, np.random.default_rng(0))
    assert less.label is not None
    assert less.label.tolist() == [[0, 0, 1, 2, 2, 3, 4, 5, 0, -1]]
    assert less.days.tolist() == days[dates].tolist()
    assert less.images.shape == (6, 4, 1, 10)
    assert less.images.dtype == np.uint16
