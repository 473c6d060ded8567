"""From a patch data set to batches, or a process's share of them.

The order of an epoch and what is drawn for each patch (flips) follow from seed and epoch alone, not
from the number of reading processes or of training processes. Reading processes stay from epoch to
epoch: starting them takes seconds on some systems, and they hold files open and decoded.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate, get_worker_info

from utils.random_state import kept_random_state, seed_patch

__all__ = ["Batches", "Share", "share_of", "to_device"]

Sample = dict[str, Any]

WORKERS = 2  # reading processes beside a GPU, unless told otherwise


class Share(NamedTuple):
    """A process's share of a batch: patches ``start`` … ``stop`` − 1 of ``total``.

    Where a batch has fewer patches than there are processes, some have none (``start == stop``).
    They are served one patch all the same, whose labels must not count.
    """

    start: int
    stop: int
    total: int

    @property
    def own(self) -> int:
        """Patches of this process."""
        return self.stop - self.start


class Batches:
    """Batches of a data set, in order or shuffled by a seed of each epoch.

    One epoch is served at a time: with reading processes, beginning another ends the one before.

    Args:
        dataset: Gives dictionaries of tensors and names per index, has a length.
        batch_size: Patches per batch, over all processes; the last batch may be shorter.
        shuffle: Draw a new order for every epoch.
        drop_last: Leave a short last batch out (as released; training only).
        num_workers: Reading processes; 0 reads in this one. None: 2, or 0 where the network runs
            on the CPU, whose cores they would take from it.
        device: Where batches go; decides whether host memory is pinned.
        seed: With the epoch it decides the order.
        rank: Number of this training process, of ``ranks``; it is served its share of each batch.
        ranks: How many training processes there are.
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
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.dataset, self.device, self.seed = dataset, device, seed
        if num_workers is None:
            num_workers = 0 if device.type == "cpu" else WORKERS
        self.patches = len(dataset)  # type: ignore[arg-type]
        self._order = _Order(self.patches, batch_size, shuffle, drop_last, rank, ranks)
        self._served = _Served(dataset)
        self._loader: DataLoader[Sample] = DataLoader(
            self._served,
            batch_sampler=self._order,  # type: ignore[arg-type]
            num_workers=num_workers,
            pin_memory=device.type == "cuda",
            persistent_workers=num_workers > 0,
            worker_init_fn=_leave_signals_to_the_parent if num_workers else None,
            # its own, so that loading draws nothing from the generator that dropout draws from
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self._order)

    @property
    def batch_size(self) -> int:
        """Patches per batch, over all processes."""
        return self._order.batch_size

    def share(self, step: int) -> Share:
        """This process's part of a batch."""
        return self._order.share(self._order.sizes()[step])

    def epoch(self, number: int) -> Iterator[Sample]:
        """Batches of one epoch on the CPU; the same number gives the same order."""
        self._order.seed = self._seed_of(number)
        return iter(self._loader)

    def again(self, number: int, step: int) -> Sample:
        """One whole batch of an epoch once more, as it was, read in this process."""
        chosen = self._order.batches(self._seed_of(number), whole=True)[step]
        batch: Sample = default_collate(self._served.__getitems__(chosen))
        return batch

    def fingerprint(self) -> dict[str, Any]:
        """Facts that tell this data from other data, as plain values; at least how many patches."""
        fingerprint = getattr(self.dataset, "fingerprint", None)
        return {"patches": self.patches, **(fingerprint() if callable(fingerprint) else {})}

    def _seed_of(self, number: int) -> int:
        return self.seed * 1_000_003 + number


class _Batch(NamedTuple):
    """Patches of a process's share of a batch, and the seed that each is drawn with."""

    indices: list[int]
    seeds: list[int]


class _Order(Sampler[_Batch]):
    """The patches that make up the batches of an epoch, and this process's share of them.

    Attributes:
        seed: Of the pass that comes next.
    """

    def __init__(
        self, length: int, batch_size: int, shuffle: bool, drop_last: bool, rank: int, ranks: int
    ) -> None:
        self.length, self.batch_size, self.shuffle = length, batch_size, shuffle
        self.drop_last, self.rank, self.ranks = drop_last, rank, ranks
        self.seed = 0

    def __len__(self) -> int:
        return len(self.sizes())

    def sizes(self) -> list[int]:
        """Patches of each batch, over all processes."""
        whole, rest = divmod(self.length, self.batch_size)
        return [self.batch_size] * whole + ([rest] if rest and not self.drop_last else [])

    def share(self, total: int) -> Share:
        return Share(*share_of(total, self.rank, self.ranks), total)

    def batches(self, seed: int, whole: bool = False) -> list[_Batch]:
        """The batches of an epoch; this process's share of each, or the whole."""
        generator = torch.Generator().manual_seed(seed)
        # drawn first as a plain DataLoader draws the seed of its processes; the order is then its
        torch.empty((), dtype=torch.int64).random_(generator=generator)
        order = list(range(self.length))
        if self.shuffle:
            order = torch.randperm(self.length, generator=generator).tolist()
        seeds = torch.randint(2**32, (self.length,), generator=generator).tolist()
        served, begin = [], 0
        for total in self.sizes():
            start, stop = (0, total) if whole else self.share(total)[:2]
            own = slice(begin + start, begin + max(stop, start + 1))
            if start == stop:  # none of its own: any patch will do
                own = slice(begin, begin + 1)
            served.append(_Batch(order[own], seeds[own]))
            begin += total
        return served

    def __iter__(self) -> Iterator[_Batch]:
        return iter(self.batches(self.seed))


class _Served(Dataset[Sample]):
    """A data set as the loader sees it: each patch is drawn with a seed of its own."""

    def __init__(self, dataset: Dataset[Sample]) -> None:
        self.dataset = dataset

    def __getitems__(self, batch: _Batch) -> list[Sample]:
        """The patches of a batch; the generators of this process stay as they are."""
        with kept_random_state():
            return [self._drawn(*one) for one in zip(batch.indices, batch.seeds, strict=True)]

    def _drawn(self, index: int, seed: int) -> Sample:
        seed_patch(seed)
        worker = get_worker_info()
        if worker is not None:  # read-only for data sets, which look the seed up here
            object.__setattr__(worker, "seed", seed)
        return self.dataset[index]


def share_of(batch: int, rank: int, size: int) -> tuple[int, int]:
    """A process's patches of a batch: first and last + 1; the first ranks take more."""
    least, more = divmod(batch, size)
    start = rank * least + min(rank, more)
    return start, start + least + (rank < more)


def _leave_signals_to_the_parent(_worker: int) -> None:
    """Ctrl-C and a cluster's SIGTERM reach the whole group; who reads must outlive the last step.

    The training process ends its reading processes by SIGTERM, too: that one is obeyed. Where
    the system does not tell who sends a signal (not Linux), every SIGTERM is.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_the_parent_says, daemon=True).start()


def _end_when_the_parent_says() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


def to_device(batch: Sample, device: torch.device) -> Sample:
    """The batch with its tensors on the device, without waiting for the copies."""
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for key, value in batch.items()
    }
