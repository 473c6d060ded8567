"""Random numbers: seeds of epochs, ranks and patches.

Each epoch begins with a seed that follows from its number, and each patch is drawn (flipped) with
one that follows from its place in the epoch: so neither depends on what ran before, on the number
of reading processes or of ranks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["kept_random_state", "seed_epoch", "seed_patch"]

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


@contextmanager
def kept_random_state(device: torch.device | None = None) -> Iterator[None]:
    """Draw inside, and go on drawing afterwards as if nothing had been drawn.

    Args:
        device: Whose generator is kept beside the host's.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device is not None and device.type == "cuda" else []):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)
