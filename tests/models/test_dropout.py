"""Dropout that draws and stores less (models/dropout.py)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.dropout import LeanDropout, relu_dropout

P = 0.25


def values() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(201, 301, generator=generator, dtype=torch.float64, requires_grad=True)


def test_dropout_keeps_a_share_and_scales_it() -> None:
    x = values()
    torch.manual_seed(1)
    dropped = LeanDropout(P)(x)
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], x[kept] / (1 - P))
    assert abs(kept.double().mean().item() - (1 - P)) < 0.01


def test_gradient_of_dropout_goes_through_what_was_kept_only() -> None:
    x = values()
    gradient = torch.randn(x.shape, dtype=torch.float64)
    dropped = LeanDropout(P)(x)
    dropped.backward(gradient)
    torch.testing.assert_close(x.grad, gradient * (dropped != 0) / (1 - P))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_mean_of_what_goes_through_dropout_stays(p: float) -> None:
    torch.manual_seed(2)
    ones = torch.ones(3_000_001, dtype=torch.float64)
    dropped = LeanDropout(p)(ones)
    assert abs(dropped.mean().item() - 1) < 5 * (p / (1 - p) / ones.numel()) ** 0.5
    assert dropped.unique().numel() == 2


def test_every_place_is_dropped_as_often_as_any_other() -> None:
    torch.manual_seed(3)
    layer, rows = LeanDropout(P), 20_000
    shares = (layer(torch.ones(rows, 13)) == 0).double().mean(dim=0)  # 13: lanes of a word move
    lanes = (layer(torch.ones(rows, 8)) == 0).double().mean(dim=0)  # 8: each lane in its place
    assert torch.cat((shares, lanes)).sub(P).abs().max() < 5 * (P * (1 - P) / rows) ** 0.5


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(4)
    kept = (LeanDropout(P)(torch.ones(400_000)) > 0).double() - (1 - P)
    correlation = [(kept[:-lag] * kept[lag:]).mean() / (P * (1 - P)) for lag in (1, 2, 3, 4, 5)]
    assert torch.stack(correlation).abs().max() < 5 / 400_000**0.5


def test_the_same_seed_drops_the_same_values_and_the_next_call_others() -> None:
    layer, x = LeanDropout(P), torch.ones(1000)
    torch.manual_seed(5)
    first, second = layer(x), layer(x)
    torch.manual_seed(5)
    assert torch.equal(first, layer(x))
    assert not torch.equal(first, second)


def test_outside_training_nothing_is_dropped() -> None:
    layer, x = LeanDropout(P).eval(), values()
    assert layer(x) is x
    torch.testing.assert_close(layer.after_relu(x.detach().clone()), torch.relu(x.detach()))
    assert LeanDropout(0.0)(x) is x


def test_relu_dropout_keeps_a_share_of_what_is_positive_and_scales_it() -> None:
    x = values()
    torch.manual_seed(1)
    dropped = relu_dropout(x * 1, P)
    kept = dropped > 0
    torch.testing.assert_close(dropped[kept], x[kept] / (1 - P))
    assert not dropped[~kept].any()
    assert not kept[x <= 0].any()
    assert abs(kept[x > 0].double().mean().item() - (1 - P)) < 0.01


def test_gradient_of_relu_dropout_is_that_of_the_two_functions_with_its_mask() -> None:
    x, plain = values(), values()
    gradient = torch.randn(x.shape, dtype=torch.float64)
    dropped = relu_dropout(x * 1, P)
    dropped.backward(gradient)
    mask = (dropped > 0).double()
    (torch.relu(plain) * mask / (1 - P)).backward(gradient)
    torch.testing.assert_close(x.grad, plain.grad)
