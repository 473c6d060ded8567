"""Attention in blocks of queries against the literal formula in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models import CAIMNet
from models.block_attention import block_attention, blocks_are_faster
from models.correlation import Correlation


def literal(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return scores.softmax(-1) @ value


def some(B: int, heads: int, N: int, d: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(N)
    numbers = [
        torch.randn(B, heads, N, d, generator=generator, dtype=torch.float64) for _ in "qkvg"
    ]
    return [x.to(dtype) for x in numbers]


def with_gradients(attention: Any, tensors: list[Tensor]) -> list[Tensor]:
    query, key, value, grad = tensors
    leaves = [x.detach().clone().requires_grad_() for x in (query, key, value)]
    result = attention(*leaves)
    result.backward(grad)
    gradients = [leaf.grad for leaf in leaves]
    assert all(gradient is not None for gradient in gradients)
    return [result.detach(), *(g for g in gradients if g is not None)]


@pytest.mark.parametrize(("N", "rows"), [(1, 1), (7, 8), (64, 64), (65, 64), (187, 64), (5, 0)])
def test_in_float64_it_is_the_formula_with_all_gradients(
    N: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.block_attention.BLOCK_SCORES", rows * N)
    tensors = some(2, 3, N, 5, torch.float64)
    for ours, expected in zip(
        with_gradients(block_attention, tensors), with_gradients(literal, tensors), strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


def test_in_bfloat16_it_is_as_near_to_float64_as_two_roundings_allow() -> None:
    tensors = some(1, 2, 1024, 40, torch.bfloat16)
    exact = with_gradients(literal, [x.double() for x in tensors])
    for ours, expected in zip(with_gradients(block_attention, tensors), exact, strict=True):
        assert ours.dtype == torch.bfloat16
        assert (ours.double() - expected).norm() / expected.norm() < 0.01


def test_large_scores_do_not_overflow() -> None:
    query, key, value, _ = some(1, 1, 600, 8, torch.bfloat16)
    assert block_attention(query * 1e4, key * 1e4, value).isfinite().all()


class Largest(TorchDispatchMode):
    """Remembers the number of values of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, list | tuple) else (result,):
            if isinstance(item, Tensor):
                self.values = max(self.values, item.numel())
        return result


def test_no_more_than_one_block_of_scores_exists_in_either_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    N, rows = 2048, 256
    monkeypatch.setattr("models.block_attention.BLOCK_SCORES", rows * N)
    query, key, value, grad = some(1, 1, N, 4, torch.bfloat16)
    query.requires_grad_()
    with Largest() as largest:
        block_attention(query, key, value).backward(grad)
    assert largest.values == rows * N


def test_dropout_float32_and_few_tokens_take_the_kernel() -> None:
    query = torch.zeros(1, 1, 4096, 8, dtype=torch.bfloat16)
    assert not blocks_are_faster(query, dropout=0.1)
    assert not blocks_are_faster(query.float(), dropout=0.0)
    assert not blocks_are_faster(query[:, :, :16], dropout=0.0)


def test_features_under_autocast_are_as_exact_as_with_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    network = CAIMNet(in_channels=4, num_dates=3, width=32).eval()
    images = torch.rand(1, 3, 4, 32, 32)
    exact = network.double().change_features(images.double())
    network.float()
    errors = []
    for blocks in (True, False):
        monkeypatch.setattr("models.correlation.blocks_are_faster", lambda q, p, b=blocks: b)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            errors.append((network.change_features(images).double() - exact).norm().item())
    assert errors[0] < 1.2 * errors[1]


def test_attention_over_the_batch_never_goes_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.correlation.blocks_are_faster", lambda query, dropout: True)
    monkeypatch.setattr("models.correlation.block_attention", lambda *_: 1 / 0)
    Correlation(8, attention="batch").eval()(torch.rand(2, 6, 8))
