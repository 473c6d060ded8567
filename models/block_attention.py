"""Attention in bfloat16 on a CPU, block of queries by block: two products and a softmax.

PyTorch's attention kernel for CPUs runs in bfloat16 no faster than in float32, while matrix
products in bfloat16 run several times as fast on processors that have instructions for them. So
there the scores of some queries against all keys are made by a product, turned into weights, and
used at once; no more than one block of scores exists at a time. The backward pass makes each block
again. Where this is used, and the times: docs/performance.md#attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["block_attention", "blocks_are_faster"]

BLOCK_SCORES = 1 << 21  # in one block, 4 MiB: fewer, and the calls cost more; more, and the memory
FEWEST_TOKENS = 256  # below, the calls cost what the products save
BFLOAT16_UNITS = ("amx_bf16", "avx512_bf16", "bf16", "arm_bf16")


def blocks_are_faster(query: Tensor, dropout: float) -> bool:
    """Whether :func:`block_attention` is to be taken for these queries (…, N, d).

    A rule, not a measurement at run time, so that a run repeats bit by bit.
    """
    return (
        query.is_cpu
        and query.dtype == torch.bfloat16
        and query.shape[-2] >= FEWEST_TOKENS
        and not dropout
        and _multiplies_bfloat16()
    )


def block_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention, softmax(q·kᵀ/√d)·v, without dropout or mask.

    Shape:
        query, key, value (B, heads, N, d), one dtype → (B, heads, N, d). Products are rounded to
        that dtype, sums within them and the gradients' sums over blocks are float32 or better.
    """
    attended: Tensor = _BlockAttention.apply(query, key, value)  # type: ignore[no-untyped-call]
    return attended


class _BlockAttention(torch.autograd.Function):
    """Keeps query, key and value for the backward pass, nothing of the size N × N."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        attended = torch.empty_like(value)
        with torch.autocast(query.device.type, enabled=False):
            for head, rows in _blocks(query):
                weights = _weights(query[head][rows], key[head])
                torch.mm(weights, value[head], out=attended[head][rows])
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        sums = torch.promote_types(query.dtype, torch.float32)
        grad_query = torch.empty_like(query)
        grad_key = torch.zeros_like(key, dtype=sums)
        grad_value = torch.zeros_like(value, dtype=sums)
        scale = query.shape[-1] ** -0.5
        with torch.autocast(query.device.type, enabled=False):
            for head, rows in _blocks(query):
                queries, grads = query[head][rows], grad[head][rows]
                weights = _weights(queries, key[head])
                grad_value[head] += torch.mm(weights.t(), grads)
                grad_weights = torch.mm(grads, value[head].t())
                grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
                grad_query[head][rows] = _scaled(grad_scores, key[head], scale)
                grad_key[head] += _scaled(grad_scores.t(), queries, scale)
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype)


def _weights(queries: Tensor, keys: Tensor) -> Tensor:
    """Attention weights (n, N) of some queries (n, d) over all keys (N, d)."""
    return _scaled(queries, keys.t(), queries.shape[-1] ** -0.5).softmax(dim=-1)


def _scaled(left: Tensor, right: Tensor, scale: float) -> Tensor:
    """scale · left @ right, rounded once: a pass over the block and an error less than two."""
    return torch.addmm(left[:1, :1], left, right, beta=0, alpha=scale)  # the first is not added


def _blocks(query: Tensor) -> Iterator[tuple[tuple[int, int], slice]]:
    """Place of each head (series, head) and rows of its queries, block by block."""
    B, heads, N, _ = query.shape
    step = max(1, BLOCK_SCORES // N)
    for series, head, start in product(range(B), range(heads), range(0, N, step)):
        yield (series, head), slice(start, start + step)


@cache
def _multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16 products."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(unit) for unit in BFLOAT16_UNITS)
