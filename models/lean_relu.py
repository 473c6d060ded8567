"""ReLU, and ReLU with dropout, that store less for the backward pass than PyTorch's own.

Same values and gradients as the usual functions. Not in the paper: it is for memory only, see
docs/results.md#memory.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LeanReLU", "relu_dropout"]


class LeanReLU(nn.Module):
    """ReLU in place, remembering one byte per value instead of the result.

    PyTorch's ReLU keeps its result for the backward pass. Where nothing else needs that result,
    the sign is enough.

    Shape:
        Any, float; the input is overwritten, so it must be needed by nobody else.
    """

    def forward(self, values: Tensor) -> Tensor:
        """max(values, 0), in place."""
        if not torch.is_grad_enabled() or not values.requires_grad:
            return F.relu_(values)
        rectified: Tensor = _LeanReLU.apply(values)  # type: ignore[no-untyped-call]
        return rectified


def relu_dropout(hidden: Tensor, probability: float) -> Tensor:
    """Dropout after ReLU, remembering the result only.

    Args:
        hidden: Any shape, float.
        probability: Share of values to drop, 0 ≤ p < 1; the others are divided by 1 − p.
    """
    dropped: Tensor = _ReluDropout.apply(hidden, probability)  # type: ignore[no-untyped-call]
    return dropped


class _LeanReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values > 0)
        ctx.mark_dirty(values)
        return values.relu_()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return torch.where(positive, gradient, 0)


class _ReluDropout(torch.autograd.Function):
    """Where the result is positive, x was positive and kept, so the gradient is 1 / (1 − p) there
    and 0 elsewhere: neither x nor the dropout mask need to be stored.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, probability: float) -> Tensor:
        kept = torch.empty_like(hidden, dtype=torch.bool).bernoulli_(1 - probability)
        dropped = F.relu(hidden).mul_(kept).div_(1 - probability)
        ctx.save_for_backward(dropped)
        ctx.scale = 1 / (1 - probability)
        return dropped

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (dropped,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, dropped, 0).mul_(ctx.scale), None
