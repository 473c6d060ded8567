"""The dropout of the hidden layer that stores one tensor (models/correlation.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.correlation import Correlation, _ReluDropout

P = 0.25


def hidden() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(200, 300, generator=generator, dtype=torch.float64, requires_grad=True)


def test_relu_dropout_keeps_a_share_of_what_is_positive_and_scales_it() -> None:
    x = hidden()
    torch.manual_seed(1)
    dropped = _ReluDropout.apply(x, P)
    kept = dropped > 0
    torch.testing.assert_close(dropped[kept], x[kept] / (1 - P))
    assert not dropped[~kept].any()
    assert not kept[x <= 0].any()
    assert abs(kept[x > 0].double().mean().item() - (1 - P)) < 0.01


def test_gradient_of_relu_dropout_is_that_of_the_two_functions_with_its_mask() -> None:
    x, plain = hidden(), hidden()
    gradient = torch.randn(x.shape, dtype=torch.float64)
    dropped = _ReluDropout.apply(x, P)
    dropped.backward(gradient)
    mask = (dropped > 0).double()
    (torch.relu(plain) * mask / (1 - P)).backward(gradient)
    torch.testing.assert_close(x.grad, plain.grad)


def test_outside_training_the_hidden_layer_is_only_rectified() -> None:
    layer = Correlation(8).eval()
    x = torch.randn(2, 5, 32)
    torch.testing.assert_close(layer._relu_dropout(x), torch.relu(x))
