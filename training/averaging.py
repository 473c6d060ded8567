"""Weights averaged over the steps: less noise than the last step's, at no cost in scoring.

Not in the paper; see docs/differences.md.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["averaged_copy", "follow", "share_kept"]


def averaged_copy(network: nn.Module) -> nn.Module:
    """A copy to hold averaged weights, in eval mode and without gradients."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def share_kept(average: float, steps: int) -> float:
    """How much of the average stays at a step: less at first, when the weights are still raw.

    Args:
        average: The share in the long run, below 1.
        steps: Made so far, from 1 on.
    """
    return min(average, (1 + steps) / (20 + steps))


@torch.no_grad()
def follow(averaged: nn.Module, network: nn.Module, average: float, steps: int) -> None:
    """Move averaged weights towards those of a network after one of its steps; counters are taken.

    Args:
        averaged: Made by ``averaged_copy`` of the network.
        network: What is trained.
        average, steps: As for ``share_kept``.
    """
    new = network.state_dict()
    for name, value in averaged.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name].to(value.dtype), 1 - share_kept(average, steps))
        else:
            value.copy_(new[name])
