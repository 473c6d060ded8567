"""Batches: the order and the flips of an epoch follow from its number alone (utils/batches.py)."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import subprocess
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler

from data_processing.scenes.augmentation import FlipRotate
from utils.batches import Batches, to_device

CPU = torch.device("cpu")
SEED = 5


class Numbered(Dataset[dict[str, Any]]):
    """Patches that tell their index, their reading process, and what was drawn for them."""

    def __init__(self, length: int, transform: FlipRotate | None = None) -> None:
        self.length, self.transform = length, transform

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        drawn = torch.rand(())
        images = torch.arange(16.0).view(1, 1, 4, 4) + 100 * index
        sample = {"images": images, "index": index, "process": os.getpid(), "drawn": drawn}
        return self.transform(sample) if self.transform else sample


def batches(dataset: Dataset[dict[str, Any]], size: int = 3, **options: Any) -> Batches:
    return Batches(dataset, size, device=CPU, seed=SEED, **options)


def passes(served: Batches, numbers: list[int]) -> list[list[dict[str, Any]]]:
    return [list(served.epoch(number)) for number in numbers]


def plain_order(length: int, number: int, shuffle: bool, drop_last: bool) -> list[list[int]]:
    """The order in which a plain DataLoader serves an epoch."""
    generator = torch.Generator().manual_seed(SEED * 1_000_003 + number)
    numbers = range(length)
    order = RandomSampler(numbers, generator=generator) if shuffle else SequentialSampler(numbers)
    loader = DataLoader(list(numbers), 3, sampler=order, drop_last=drop_last, generator=generator)
    return [batch.tolist() for batch in loader]


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        for name in ("images", "index", "drawn"):
            assert torch.equal(mine[name], other[name]), name


@pytest.mark.parametrize(("shuffle", "drop_last"), [(False, False), (True, False), (True, True)])
def test_epochs_have_the_order_of_a_plain_loader(shuffle: bool, drop_last: bool) -> None:
    served = batches(Numbered(13), shuffle=shuffle, drop_last=drop_last)
    for number in (0, 1, 4):
        order = [batch["index"].tolist() for batch in served.epoch(number)]
        assert order == plain_order(13, number, shuffle, drop_last)
    assert len(served) == (4 if drop_last else 5)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_what_is_drawn_for_a_patch_does_not_depend_on_who_reads_it(num_workers: int) -> None:
    dataset = Numbered(13, FlipRotate())
    here = passes(batches(dataset, shuffle=True), [0, 1])
    there = passes(batches(dataset, shuffle=True, num_workers=num_workers), [0, 1])
    for ours, theirs in zip(here, there, strict=True):
        assert_same(ours, theirs)
    drawn = torch.cat([batch["drawn"] for epoch in here for batch in epoch])
    assert len(drawn.unique()) == 2 * 13


def test_one_batch_of_an_epoch_can_be_read_once_more() -> None:
    served = batches(Numbered(13, FlipRotate()), shuffle=True)
    whole = list(served.epoch(2))
    assert_same([served.again(2, 3)], [whole[3]])


@pytest.mark.parametrize("ranks", [2, 3])
def test_shares_of_several_processes_make_up_each_batch_once(ranks: int) -> None:
    dataset = Numbered(7, FlipRotate())
    whole = list(batches(dataset, shuffle=True).epoch(1))
    each = [batches(dataset, shuffle=True, rank=rank, ranks=ranks) for rank in range(ranks)]
    parts = [list(served.epoch(1)) for served in each]
    for step, batch in enumerate(whole):
        own = [
            (served.share(step).own, part[step]) for served, part in zip(each, parts, strict=True)
        ]
        for name in ("images", "index", "drawn"):
            joined = torch.cat([part[name][:number] for number, part in own])
            assert torch.equal(joined, batch[name])
        assert all(len(part["index"]) == max(1, number) for number, part in own)


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
    assert_same(list(served.epoch(1)), list(batches(dataset, shuffle=True).epoch(1)))


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
        assert_same(epoch, list(batches(dataset, shuffle=True).epoch(number)))


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


def test_reading_processes_survive_the_signals_of_a_cluster() -> None:
    served = batches(Numbered(30), num_workers=2)
    epoch = served.epoch(0)
    next(epoch), next(epoch)  # one of each, so that both have begun
    for worker in multiprocessing.active_children():
        if worker.pid is not None:  # from a process that is not their parent
            for number in ("INT", "TERM"):
                subprocess.run(["kill", f"-{number}", str(worker.pid)], check=True)
    assert len(list(epoch)) == 8


def test_reading_processes_end_with_their_batches() -> None:
    before = set(multiprocessing.active_children())
    served = batches(Numbered(9), num_workers=2)
    assert len(list(served.epoch(0))) == 3
    workers = set(multiprocessing.active_children()) - before
    for worker in workers:
        worker.terminate()
        worker.join(timeout=10)
    assert len(workers) == 2
    assert not any(worker.is_alive() for worker in workers)
