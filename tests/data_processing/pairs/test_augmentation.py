"""The seven changes of CTMA's training samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from data_processing.scenes.augmentation import OneOfSeven, _one_of_seven, _shift_of

SQUARE = torch.arange(36.0).reshape(6, 6)

EXPECTED: list[Callable[[Tensor], Tensor]] = [
    lambda values: torch.from_numpy(np.fliplr(values.numpy()).copy()),
    lambda values: torch.from_numpy(np.flipud(values.numpy()).copy()),
    lambda values: torch.from_numpy(np.rot90(values.numpy(), -1).copy()),
    lambda values: torch.from_numpy(np.rot90(values.numpy(), 2).copy()),
    lambda values: torch.from_numpy(np.rot90(values.numpy(), 1).copy()),
]


@pytest.mark.parametrize("kind", range(5))
def test_flips_and_clockwise_turns_come_in_the_released_order(kind: int) -> None:
    assert torch.equal(_one_of_seven(SQUARE, kind, (0, 0)), EXPECTED[kind](SQUARE))


def test_a_shift_moves_down_and_right_and_fills_with_zeros() -> None:
    moved = _one_of_seven(SQUARE, 5, (2, -1))
    assert torch.equal(moved[2:, :-1], SQUARE[:-2, 1:])
    assert not moved[:2].any()
    assert not moved[:, -1].any()


def test_the_seventh_leaves_everything_as_it_is() -> None:
    assert torch.equal(_one_of_seven(SQUARE, 6, (0, 0)), SQUARE)


def test_shifts_are_whole_pixels_of_less_than_a_sixteenth() -> None:
    torch.manual_seed(0)
    shifts = Counter(_shift_of(256) for _ in range(2000))
    assert (min(shifts), max(shifts)) == (-15, 15)
    assert set(shifts) == set(range(-15, 16))


def test_all_seven_are_equally_likely() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 160, 160)  # large enough for shifts to be hardly ever 0
    counts: Counter[int] = Counter()
    for _ in range(700):
        changed = OneOfSeven()({"images": image})["images"]
        kinds = [k for k in (0, 1, 2, 3, 4, 6)
                 if torch.equal(changed, _one_of_seven(image, k, (0, 0)))]  # fmt: skip
        counts[kinds[0] if kinds else 5] += 1
    assert sum(counts.values()) == 700
    assert all(70 < counts[kind] < 130 for kind in range(7)), counts


def test_both_images_and_the_label_are_changed_alike() -> None:
    torch.manual_seed(3)
    values = torch.arange(1, 65).reshape(8, 8)
    sample = {"images": values.float().expand(2, 3, 8, 8), "area_label": values, "aoi": "a"}
    for _ in range(40):
        changed = OneOfSeven()(sample)
        assert (changed["images"] == changed["area_label"]).all()
        assert changed["aoi"] == "a"


def test_a_sample_that_is_no_square_keeps_its_shape() -> None:
    torch.manual_seed(0)
    for _ in range(40):
        assert OneOfSeven()({"images": torch.rand(2, 3, 8, 16)})["images"].shape[-2:] == (8, 16)
