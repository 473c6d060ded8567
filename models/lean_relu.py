"""ReLU that stores less for the backward pass than PyTorch's own.

It is for memory only, measured in docs/performance.md.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LeanReLU"]


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


class _LeanReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward((values > 0).view(torch.uint8))  # bool would be slow to multiply
        ctx.mark_dirty(values)
        return values.relu_()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        passed: Tensor = gradient * positive
        return passed
