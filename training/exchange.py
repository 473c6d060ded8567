"""Attention over a batch whose patches lie in several processes: the parts are gathered.

Needed for ``attention="batch"`` only, as released; it costs sending keys and values of every pixel
to every process. See docs/differences.md#several-processes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from utils.batches import share_of

__all__ = ["GatheredBatch"]


class GatheredBatch:
    """Gathers the parts of one batch, forward, and the gradients for them, backward.

    Args:
        total: Patches of the whole batch.
        rank: Number of this process.
        size: How many there are.
    """

    def __init__(self, total: int, rank: int, size: int) -> None:
        self.total = total
        self.shares = [share_of(total, other, size) for other in range(size)]
        self.own = self.shares[rank]

    def __call__(self, values: Tensor) -> Tensor:
        """Parts (…, b, d) of all processes, joined in their order: (…, total, d).

        A process without a patch of the batch computes one that does not count: it is left out.
        """
        # gloo sends no bfloat16
        sent = values.float() if values.dtype == torch.bfloat16 else values
        joined: Tensor = _Gather.apply(sent, self)  # type: ignore[no-untyped-call]
        return joined.to(values.dtype)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, batch: GatheredBatch) -> Tensor:
        ctx.batch, ctx.held = batch, values.shape[-2]
        largest = max(stop - start for start, stop in batch.shares)
        start, stop = batch.own
        padded = values.new_zeros(*values.shape[:-2], largest, values.shape[-1])
        padded[..., : stop - start, :] = values[..., : stop - start, :]
        parts = [torch.empty_like(padded) for _ in batch.shares]
        dist.all_gather(parts, padded)
        return torch.cat(
            [
                part[..., : stop - start, :]
                for part, (start, stop) in zip(parts, batch.shares, strict=True)
            ],
            dim=-2,
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        start, stop = ctx.batch.own
        own = summed.new_zeros(*summed.shape[:-2], ctx.held, summed.shape[-1])
        own[..., : stop - start, :] = summed[..., start:stop, :]
        return own, None
