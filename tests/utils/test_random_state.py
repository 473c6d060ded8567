"""Random generators that are left as they were, and seeds of epochs (utils/random_state.py)."""

from __future__ import annotations

import random

import numpy as np
import torch

from utils.random_state import kept_random_state, seed_epoch, seed_patch


def drawn() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(())), random.gauss(0, 1)]


def test_what_is_drawn_inside_changes_nothing_outside() -> None:
    seed_patch(3)
    expected = drawn()
    seed_patch(3)
    with kept_random_state():
        seed_patch(8)
        drawn()
    assert drawn() == expected


def test_epochs_ranks_and_seeds_draw_numbers_of_their_own() -> None:
    seen = set()
    for seed in (1, 2):
        for epoch in (0, 1):
            for rank in (0, 1):
                seed_epoch(seed, epoch, rank)
                seen.add(float(torch.rand((), dtype=torch.float64)))
    assert len(seen) == 8
    seed_epoch(1, 0)
    assert float(torch.rand((), dtype=torch.float64)) in seen
