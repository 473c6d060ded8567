"""From a patch data set to batches on the device.

The order of an epoch and what its reading processes draw (flips) follow from seed and epoch alone,
so that a resumed run repeats them, although these processes stay from epoch to epoch: starting
them takes seconds on some systems, and they hold files open and decoded. Not in the paper.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

__all__ = ["Batches", "to_device"]

Sample = dict[str, Any]

WORKERS = 2  # reading processes beside a GPU, unless told otherwise


class Batches:
    """Batches of a data set, in order or shuffled by a seed of each epoch.

    Reading processes start with the first epoch, stay, and begin each epoch with random numbers
    that follow from its number, as fresh ones would. One epoch is served at a time: with reading
    processes, beginning another ends the one before.

    Args:
        dataset: Gives dictionaries of tensors and names per index, has a length.
        batch_size: Patches per batch; the last batch may be shorter.
        shuffle: Draw a new order for every epoch.
        drop_last: Leave a short last batch out (as released; training only).
        num_workers: Reading processes; 0 reads in this one. None: 2, or 0 where the network runs
            on the CPU, whose cores they would take from it.
        device: Where batches go; decides whether host memory is pinned.
        seed: With the epoch it decides the order.
    """

    def __init__(
        self,
        dataset: Dataset[Sample],
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        num_workers: int | None = 0,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        self.dataset, self.device, self.seed = dataset, device, seed
        if num_workers is None:
            num_workers = 0 if device.type == "cpu" else WORKERS
        length = len(dataset)  # type: ignore[arg-type]
        self._order = _Order(length, batch_size, shuffle, drop_last)
        # its own, so that loading draws nothing from the generator that dropout draws from
        self._generator = torch.Generator()
        self._loader: DataLoader[Sample] = DataLoader(
            _Served(dataset),
            batch_sampler=self._order,  # type: ignore[arg-type]
            num_workers=num_workers,
            pin_memory=device.type == "cuda",
            persistent_workers=num_workers > 0,
            generator=self._generator,
        )

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, number: int) -> Iterator[Sample]:
        """Batches of one epoch on the CPU; the same number gives the same order."""
        self._order.begin(self.seed * 1_000_003 + number)
        return iter(self._loader)


class _Batch(NamedTuple):
    """Patches of a batch, and of which pass and with which seed its reading process draws."""

    turn: int
    seed: int
    indices: list[int]


class _Order(Sampler[_Batch]):
    """Which patches make up the batches of an epoch."""

    def __init__(self, length: int, batch_size: int, shuffle: bool, drop_last: bool) -> None:
        self.length, self.batch_size, self.shuffle = length, batch_size, shuffle
        whole, rest = divmod(length, batch_size)
        self._batches = whole + (rest > 0 and not drop_last)
        self._turn, self._seed = 0, 0

    def __len__(self) -> int:
        return self._batches

    def begin(self, seed: int) -> None:
        """Choose the order of the pass that comes next."""
        self._turn += 1
        self._seed = seed

    def __iter__(self) -> Iterator[_Batch]:
        generator = torch.Generator().manual_seed(self._seed)
        # as a new DataLoader draws them: first the seed of its processes, then the order
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator))
        order = list(range(self.length))
        if self.shuffle:
            order = torch.randperm(self.length, generator=generator).tolist()
        starts = range(0, self._batches * self.batch_size, self.batch_size)
        return iter(
            [_Batch(self._turn, seed, order[start : start + self.batch_size]) for start in starts]
        )


class _Served(Dataset[Sample]):
    """A data set as the loader sees it: in a reading process each pass begins with its seed."""

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self.dataset = dataset
        self._turn = 0

    def __getitems__(self, batch: _Batch) -> list[Sample]:
        """The patches of a batch."""
        if get_worker_info() is not None and batch.turn != self._turn:
            _seed_reading_process(batch.seed)
            self._turn = batch.turn
        return [self.dataset[index] for index in batch.indices]


def _seed_reading_process(seed: int) -> None:
    """Seed a reading process as the loader seeds a new one."""
    worker = get_worker_info()
    assert worker is not None
    own = seed + worker.id
    random.seed(own)
    np.random.seed(own % 2**32)
    torch.manual_seed(own)
    object.__setattr__(worker, "seed", own)  # read-only for data sets, which look the seed up here


def to_device(batch: Sample, device: torch.device) -> Sample:
    """The batch with its tensors on the device, without waiting for the copies."""
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for key, value in batch.items()
    }
