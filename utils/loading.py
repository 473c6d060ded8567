"""From a patch data set to batches on the device.

Not in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler

__all__ = ["Batches", "to_device"]


class Batches:
    """Batches of a data set, in order or shuffled by a seed of each epoch.

    Args:
        dataset: Gives dictionaries of tensors and names per index, has a length.
        batch_size: Patches per batch; the last batch may be shorter.
        shuffle: Draw a new order for every epoch.
        drop_last: Leave a short last batch out (as released; training only).
        num_workers: Reading processes; 0 reads in this one.
        device: Where batches go; decides whether host memory is pinned.
        seed: With the epoch it decides the order.
    """

    def __init__(
        self,
        dataset: Dataset[dict[str, Any]],
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        num_workers: int = 0,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        self.dataset, self.device, self.seed = dataset, device, seed
        self._generator = torch.Generator()
        order = RandomSampler(dataset, generator=self._generator) if shuffle else None  # type: ignore[arg-type]
        self._loader: DataLoader[dict[str, Any]] = DataLoader(
            dataset,
            batch_size,
            sampler=order or SequentialSampler(dataset),  # type: ignore[arg-type]
            drop_last=drop_last,
            num_workers=num_workers,
            pin_memory=device.type == "cuda",
            persistent_workers=False,  # new ones are seeded anew, so that resuming repeats flips
            generator=self._generator,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int) -> Iterator[dict[str, Any]]:
        """Batches of one epoch on the CPU; the same number gives the same order."""
        self._generator.manual_seed(self.seed * 1_000_003 + number)
        return iter(self._loader)


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The batch with its tensors on the device, without waiting for the copies."""
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value
        for key, value in batch.items()
    }
