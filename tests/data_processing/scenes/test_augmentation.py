"""Flips and turns: images and labels together, every symmetry, reproducible."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from data_processing.scenes.augmentation import FlipRotate


def sample(height: int = 4, width: int = 4) -> dict[str, Any]:
    """A sample in which images and labels hold the same numbers."""
    label = torch.arange(height * width).reshape(height, width)
    images = label.float().expand(3, 2, height, width)
    return {
        "images": images,
        "area_label": label,
        "moment_label": label,
        "valid": label > 3,
        "aoi": "a",
    }


class Samples(Dataset[dict[str, Any]]):
    """Turned samples, for loaders with workers."""

    def __init__(self, transform: FlipRotate) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.transform(sample())


def test_images_of_all_dates_and_labels_are_turned_alike() -> None:
    transform = FlipRotate(seed=1)
    for _ in range(20):
        turned = transform(sample())
        label = turned["moment_label"]
        assert torch.equal(turned["images"], label.float().expand(3, 2, 4, 4))
        assert torch.equal(turned["area_label"], label)
        assert torch.equal(turned["valid"], label > 3)
        assert turned["images"].is_contiguous()
        assert turned["aoi"] == "a"


def test_all_eight_symmetries_occur() -> None:
    transform = FlipRotate(seed=2)
    seen = {tuple(transform(sample())["area_label"].flatten().tolist()) for _ in range(200)}
    assert len(seen) == 8


def test_a_patch_that_is_no_square_keeps_its_shape() -> None:
    transform = FlipRotate(seed=3)
    shapes = {tuple(transform(sample(2, 5))["images"].shape) for _ in range(30)}
    assert shapes == {(3, 2, 2, 5)}


def test_the_same_seed_gives_the_same_turns() -> None:
    first, second = FlipRotate(seed=4), pickle.loads(pickle.dumps(FlipRotate(seed=4)))
    for _ in range(10):
        assert torch.equal(first(sample())["images"], second(sample())["images"])


def test_without_a_seed_the_global_generator_decides() -> None:
    torch.manual_seed(5)
    first = [FlipRotate()(sample())["area_label"] for _ in range(8)]
    torch.manual_seed(5)
    second = [FlipRotate()(sample())["area_label"] for _ in range(8)]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_workers_turn_differently_in_each_epoch() -> None:
    loader = DataLoader(Samples(FlipRotate(seed=6)), batch_size=16, num_workers=1)
    first, second = (next(iter(loader))["area_label"] for _ in range(2))
    assert not torch.equal(first, second)
