"""Batches: the order and the flips of an epoch follow from its number alone (utils/loading.py)."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler, get_worker_info

from data_processing.augmentation import FlipRotate
from utils.loading import Batches, to_device

CPU = torch.device("cpu")
SEED = 5


class Numbered(Dataset[dict[str, Any]]):
    """Patches that tell their index, their reading process, and what was drawn for them."""

    def __init__(self, length: int, transform: FlipRotate | None = None) -> None:
        self.length, self.transform = length, transform

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        worker = get_worker_info()
        drawn = torch.rand(()) if worker else torch.zeros(())  # here it would be the network's
        images = torch.arange(16.0).view(1, 1, 4, 4) + 100 * index
        sample = {"images": images, "index": index, "process": os.getpid(), "drawn": drawn}
        return self.transform(sample) if self.transform else sample


def batches(dataset: Dataset[dict[str, Any]], size: int = 3, **options: Any) -> Batches:
    return Batches(dataset, size, device=CPU, seed=SEED, **options)


def passes(served: Batches, numbers: list[int]) -> list[list[dict[str, Any]]]:
    return [list(served.epoch(number)) for number in numbers]


def fresh_processes(
    dataset: Dataset[dict[str, Any]], number: int, shuffle: bool, drop_last: bool, num_workers: int
) -> list[dict[str, Any]]:
    """An epoch as a plain DataLoader serves it whose processes start with the epoch."""
    generator = torch.Generator().manual_seed(SEED * 1_000_003 + number)
    order = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
    loader = DataLoader(dataset, 3, sampler=order, num_workers=num_workers, drop_last=drop_last,
                        generator=generator)  # fmt: skip
    return list(loader)


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        for name in ("images", "index", "drawn"):
            assert torch.equal(mine[name], other[name]), name


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(("shuffle", "drop_last"), [(False, False), (True, False), (True, True)])
def test_epochs_are_those_of_a_loader_whose_processes_start_anew(
    num_workers: int, shuffle: bool, drop_last: bool
) -> None:
    dataset = Numbered(13, FlipRotate() if num_workers else None)
    options = {"shuffle": shuffle, "drop_last": drop_last, "num_workers": num_workers}
    served = batches(dataset, **options)
    for number in (0, 1, 4):
        assert_same(list(served.epoch(number)), fresh_processes(dataset, number, **options))
    assert len(served) == (4 if drop_last else 5)


@pytest.mark.parametrize("transform", [FlipRotate(), FlipRotate(seed=3)])
def test_a_resumed_run_repeats_order_and_flips_although_processes_stay(
    transform: FlipRotate,
) -> None:
    dataset = Numbered(16, transform)
    whole = passes(batches(dataset, shuffle=True, num_workers=2), [0, 1, 2, 3])
    resumed = passes(batches(dataset, shuffle=True, num_workers=2), [2, 3])
    for ours, theirs in zip(resumed, whole[2:], strict=True):
        assert_same(ours, theirs)
    flips = [torch.cat([batch["images"] for batch in epoch]) for epoch in whole]
    for one, other in itertools.combinations(flips, 2):
        assert not torch.equal(one, other)


def test_an_epoch_can_be_repeated() -> None:
    served = batches(Numbered(9, FlipRotate()), shuffle=True, num_workers=2)
    first, _, again = passes(served, [1, 2, 1])
    assert_same(first, again)
    assert_same(again, list(served.epoch(1)))


def test_an_epoch_broken_off_leaves_the_next_as_it_is() -> None:
    dataset = Numbered(30, FlipRotate())
    served = batches(dataset, shuffle=True, num_workers=2)
    next(served.epoch(0))
    assert_same(list(served.epoch(1)), fresh_processes(dataset, 1, True, False, 2))


def test_reading_processes_stay_from_epoch_to_epoch() -> None:
    served = batches(Numbered(12), num_workers=2)
    seen = [
        {int(process) for batch in epoch for process in batch["process"]}
        for epoch in passes(served, [0, 1, 2])
    ]
    assert len(seen[0]) == 2
    assert os.getpid() not in seen[0]
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_loading_draws_nothing_from_the_generator_of_the_network(num_workers: int) -> None:
    served = batches(Numbered(7), shuffle=True, num_workers=num_workers)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    passes(served, [0, 1])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_new_interpreters_read_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Numbered(8, FlipRotate())
    served = batches(dataset, shuffle=True, num_workers=2)
    monkeypatch.setattr(served._loader, "multiprocessing_context", "spawn")
    for number, epoch in enumerate(passes(served, [0, 1])):
        assert_same(epoch, fresh_processes(dataset, number, True, False, 2))


@pytest.mark.parametrize(
    ("length", "size", "drop_last", "expected"),
    [(0, 3, False, []), (2, 3, True, []), (2, 3, False, [2]), (6, 3, True, [3, 3]),
     (7, 3, False, [3, 3, 1])],
)  # fmt: skip
def test_batches_hold_every_patch_once(
    length: int, size: int, drop_last: bool, expected: list[int]
) -> None:
    served = batches(Numbered(length), size, shuffle=True, drop_last=drop_last)
    indices = [batch["index"].tolist() for batch in served.epoch(0)]
    assert [len(batch) for batch in indices] == expected
    assert len(served) == len(expected)
    assert len({index for batch in indices for index in batch}) == sum(expected)


def test_names_stay_when_a_batch_goes_to_the_device() -> None:
    batch = to_device({"images": torch.ones(2), "aoi": ["a", "b"]}, torch.device("meta"))
    assert batch["images"].device.type == "meta"
    assert batch["aoi"] == ["a", "b"]
