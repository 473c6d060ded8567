"""Products of bfloat16 numbers as processors with instructions for them compute them.

Such a processor multiplies bfloat16 factors, sums the products in float32 and rounds the sum to
bfloat16. Where there are no such instructions PyTorch gets the same numbers, but takes very long.
Here the operators that multiply and sum are run in float32 and their results rounded. All others
(activations, normalisations, sums of gradients) run as PyTorch has them, in the formats that
autocast chose.

For measuring what bfloat16 does to results, not for speed. Not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from utils.device import bfloat16_unit

__all__ = ["RoundedProducts", "bfloat16_products", "describe_products"]

SCORES_AT_ONCE = 1 << 20  # of attention: 4 MiB in float32

aten = torch.ops.aten


class RoundedProducts(TorchDispatchMode):
    """A context in which bfloat16 factors are multiplied and summed in float32.

    Matrix products, convolutions and their gradients run in float32 and are rounded once.
    Attention multiplies twice; its probabilities, the factors of the second product, are rounded
    to bfloat16 in between, as are the gradients of its scores. Works below autograd and autocast,
    so these stay as they are; on tensors of a CPU only.
    """

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operator; see the class."""
        kwargs = kwargs or {}
        own = _OWN.get(func.overloadpacket)
        if own is not None and any(map(_is_bfloat16, args)):
            with torch.autocast("cpu", enabled=False):
                return own(func, *args, **kwargs)
        if torch.is_inference_mode_enabled():
            with self:  # there "linear" arrives as such, not as the product that it is made of
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)


def bfloat16_products(device: torch.device) -> AbstractContextManager[object]:
    """A context for bfloat16 on a device: emulated where a CPU has no instructions for it."""
    return RoundedProducts() if _emulated(device) else nullcontext()


def describe_products(device: torch.device) -> str:
    """How :func:`bfloat16_products` has bfloat16 computed, for output and result files."""
    if _emulated(device):
        return (
            "emulated by rounding: products of bfloat16 factors computed and summed in float32, "
            "results rounded to bfloat16; this processor has no instructions for it"
        )
    return f"native ({bfloat16_unit() if device.type == 'cpu' else device.type})"


def _emulated(device: torch.device) -> bool:
    return device.type == "cpu" and bfloat16_unit() is None


def _is_bfloat16(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.bfloat16


def _widened(value: Any) -> Any:
    return value.float() if _is_bfloat16(value) else value


def _rounded(value: Any) -> Any:
    return value.bfloat16() if isinstance(value, Tensor) else value


def _in_float32(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A product of any kind: factors widened, result rounded."""
    result = func(*map(_widened, args), **kwargs)
    return tuple(map(_rounded, result)) if isinstance(result, tuple) else _rounded(result)


def _attention(
    func: Callable[..., Any],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention (B, h, N, d) and the logarithm of each row's sum (B, h, N), float32."""
    _only_plain(dropout_p, is_causal, attn_mask)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    mixed, logsumexp = [], []
    for q, k, v in _parts(query, key, value):
        scores = (q @ k.mT).mul_(scale)
        highest = scores.amax(dim=-1, keepdim=True)
        weight = scores.sub_(highest).exp_()
        total = weight.sum(dim=-1, keepdim=True)
        mixed.append((_through_bfloat16(weight) @ v).div_(total))
        logsumexp.append(total.log_().add_(highest))
    result = torch.cat(mixed).view(*query.shape[:-1], value.shape[-1])
    return result.bfloat16(), torch.cat(logsumexp).view(query.shape[:-1])


def _attention_backward(
    func: Callable[..., Any],
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    dropout_p: float,
    is_causal: bool,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value."""
    _only_plain(dropout_p, is_causal, attn_mask)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    gradients: list[tuple[Tensor, Tensor, Tensor]] = []
    for q, k, v, g, o, lse in _parts(query, key, value, gradient, out, logsumexp[..., None]):
        prob = (q @ k.mT).mul_(scale).sub_(lse).exp_()
        by_score = (g @ v.mT).sub_((g * o).sum(dim=-1, keepdim=True)).mul_(prob)
        by_value = _through_bfloat16(prob).mT @ g
        by_score = _through_bfloat16(by_score)
        gradients.append(((by_score @ k) * scale, (by_score.mT @ q) * scale, by_value))
    by_query, by_key, by_value = (
        torch.cat(parts).view_as(like).bfloat16()
        for parts, like in zip(zip(*gradients, strict=True), (query, key, value), strict=True)
    )
    return by_query, by_key, by_value


def _parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Tensors (B, h, N, ·) as float32 (n, N, ·), so many heads n that their scores fit memory."""
    N = tensors[0].shape[-2]
    at_once = max(1, SCORES_AT_ONCE // N**2)
    flat = [tensor.flatten(0, 1).split(at_once) for tensor in tensors]
    for part in zip(*flat, strict=True):
        yield tuple(tensor.float() for tensor in part)


def _through_bfloat16(values: Tensor) -> Tensor:
    return values.bfloat16().float()


def _only_plain(dropout_p: float, is_causal: bool, attn_mask: Tensor | None) -> None:
    if dropout_p or is_causal or attn_mask is not None:
        raise NotImplementedError(
            "attention in bfloat16: found dropout, a mask or causal order, expected none of them; "
            "CAIM-Net uses none in its fast attention."
        )


_OWN: dict[Any, Callable[..., Any]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    **dict.fromkeys(
        (
            aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.addbmm, aten.mv, aten.addmv, aten.dot,
            aten.convolution, aten.convolution_backward, aten.mkldnn_convolution,
        ),
        _in_float32,
    ),
}  # fmt: skip
