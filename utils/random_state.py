"""Random numbers: seeds of epochs, ranks and patches, and their states as plain values.

Each epoch begins with a seed that follows from its number, and each patch is drawn (flipped) with
one that follows from its place in the epoch: so neither depends on what ran before, on the number
of reading processes or of ranks. States are for going on within an epoch (dropout). Not in the
paper.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["kept_random_state", "random_state", "restore_random_state", "seed_epoch", "seed_patch"]

RANK_STEP = 1_000_000_007  # apart from the steps of seeds and epochs


def seed_epoch(seed: int, epoch: int, rank: int = 0) -> None:
    """Begin an epoch: what dropout draws follows from seed, epoch and rank alone."""
    torch.manual_seed(seed * 7_919 + epoch + rank * RANK_STEP)


def seed_patch(seed: int) -> None:
    """Seed the host's generators for one patch; a GPU's, which draws dropout, is left alone.

    Args:
        seed: 0 … 2³²−1.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


def random_state(device: torch.device) -> dict[str, Any]:
    """The states of all generators as tensors and plain values, for a checkpoint."""
    name, numbers, *rest = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": [name, torch.from_numpy(np.asarray(numbers, dtype=np.int64)), *rest],
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
    }


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Go on drawing where ``random_state`` was taken."""
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
    name, numbers, *rest = state["numpy"]
    np.random.set_state((name, numbers.numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))


@contextmanager
def kept_random_state(device: torch.device | None = None) -> Iterator[None]:
    """Whatever is drawn inside, drawing goes on afterwards as if it had not been.

    Args:
        device: Whose generator is kept beside the host's.
    """
    device = device or torch.device("cpu")
    before = random_state(device)
    try:
        yield
    finally:
        restore_random_state(before, device)
