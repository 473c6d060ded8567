"""Dropout that draws and stores less than PyTorch's own.

PyTorch draws one number of its generator per value, which took an eighth of a training step on a
CPU; here 64 drawn bits decide four values. Same distribution to 2⁻¹⁷ in the probability, which the
scale takes into account. Measured in docs/performance.md.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["LeanDropout", "relu_dropout"]

_LEVELS = 1 << 16


class LeanDropout(nn.Module):
    """Dropout in training, nothing otherwise.

    Shape:
        Any, float.

    Args:
        p: Share of values to drop, 0 ≤ p < 1; the others grow so that the mean stays.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, values: Tensor) -> Tensor:
        """The values with some of them set to 0."""
        if not self.training or not self.p:
            return values
        dropped: Tensor = _Dropout.apply(values, self.p)  # type: ignore[no-untyped-call]
        return dropped

    def after_relu(self, hidden: Tensor) -> Tensor:
        """Dropout after ReLU, in place: ``hidden`` is overwritten, so nobody else may need it."""
        if not self.training or not self.p:
            return torch.relu_(hidden)
        return relu_dropout(hidden, self.p)


def relu_dropout(hidden: Tensor, probability: float) -> Tensor:
    """Dropout after ReLU, in place, remembering the result only.

    Where the result is positive, the value was positive and kept; so neither the values before
    nor a mask need to be stored for the backward pass.

    Args:
        hidden: Any shape, float; overwritten.
        probability: Share of values to drop, 0 ≤ p < 1.
    """
    dropped: Tensor = _ReluDropout.apply(hidden, probability)  # type: ignore[no-untyped-call]
    return dropped


def _draw(like: Tensor, probability: float, dtype: torch.dtype) -> tuple[Tensor, float]:
    """A mask of ``dtype``, 1 where a value is kept, and what kept values are multiplied with."""
    kept_levels = max(1, round((1 - probability) * _LEVELS))
    if not like.is_cpu:
        mask = torch.empty_like(like, dtype=dtype).bernoulli_(kept_levels / _LEVELS)
        return mask, _LEVELS / kept_levels
    words = torch.empty((like.numel() + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
    levels = words.view(torch.int16)[: like.numel()].view(like.shape)
    mask = torch.empty(like.shape, dtype=dtype)
    return torch.lt(levels, kept_levels - _LEVELS // 2, out=mask), _LEVELS / kept_levels


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, probability: float) -> Tensor:
        mask, ctx.scale = _draw(values, probability, torch.uint8)
        ctx.save_for_backward(mask)
        return (values * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return (gradient * mask).mul_(ctx.scale), None


class _ReluDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, probability: float) -> Tensor:
        mask, ctx.scale = _draw(hidden, probability, hidden.dtype)
        dropped = hidden.relu_().mul_(mask).mul_(ctx.scale)
        ctx.mark_dirty(hidden)
        ctx.save_for_backward(dropped)
        return dropped

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (dropped,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, dropped, 0).mul_(ctx.scale), None
