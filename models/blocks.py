"""Running a stage of a network block by block, for speed and memory.

A CPU works on one block of series or pixels at a time: what a stage makes in between then stays
in the processor's cache, and the memory it lies in is used again for the next block. The result is
the same to rounding. Measured in docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["in_blocks"]


def in_blocks(
    stage: Callable[[Tensor], Tensor], values: Tensor, dim: int, size: int, recompute: bool
) -> Tensor:
    """Apply a stage to blocks of a tensor and join the results.

    Args:
        stage: Treats every index of ``dim`` for itself and keeps that axis.
        values: Any shape, float.
        dim: The axis to cut.
        size: Indices per block, at least 1; the last block may be shorter.
        recompute: Whether to keep only each block's input for the backward pass and to compute
            the rest again there ("activation checkpointing"): less memory, a third more time.
    """
    blocks = torch.split(values, size, dim)
    if recompute and torch.is_grad_enabled():
        results = [checkpoint(stage, block, use_reentrant=False) for block in blocks]
    else:
        results = [stage(block) for block in blocks]
    return results[0] if len(results) == 1 else torch.cat(results, dim)
