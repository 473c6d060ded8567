"""ReLU and ReLU with dropout that store less (models/lean_relu.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.correlation import Correlation
from models.lean_relu import LeanReLU, relu_dropout

P = 0.25


def hidden() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(200, 300, generator=generator, dtype=torch.float64, requires_grad=True)


def test_relu_dropout_keeps_a_share_of_what_is_positive_and_scales_it() -> None:
    x = hidden()
    torch.manual_seed(1)
    dropped = relu_dropout(x, P)
    kept = dropped > 0
    torch.testing.assert_close(dropped[kept], x[kept] / (1 - P))
    assert not dropped[~kept].any()
    assert not kept[x <= 0].any()
    assert abs(kept[x > 0].double().mean().item() - (1 - P)) < 0.01


def test_gradient_of_relu_dropout_is_that_of_the_two_functions_with_its_mask() -> None:
    x, plain = hidden(), hidden()
    gradient = torch.randn(x.shape, dtype=torch.float64)
    dropped = relu_dropout(x, P)
    dropped.backward(gradient)
    mask = (dropped > 0).double()
    (torch.relu(plain) * mask / (1 - P)).backward(gradient)
    torch.testing.assert_close(x.grad, plain.grad)


def test_outside_training_the_hidden_layer_is_only_rectified() -> None:
    layer = Correlation(8).eval()
    x = torch.randn(2, 5, 32)
    torch.testing.assert_close(layer._relu_dropout(x), torch.relu(x))


def test_the_lean_relu_has_the_values_and_gradients_of_relu() -> None:
    x, plain = hidden(), hidden()
    gradient = torch.randn(x.shape, dtype=torch.float64)
    rectified = LeanReLU()(x * 1)
    usual = torch.relu(plain * 1)
    torch.testing.assert_close(rectified, usual, rtol=0, atol=0)
    rectified.backward(gradient)
    usual.backward(gradient)
    torch.testing.assert_close(x.grad, plain.grad, rtol=0, atol=0)


def test_the_lean_relu_works_without_gradients_too() -> None:
    with torch.inference_mode():
        torch.testing.assert_close(LeanReLU()(torch.tensor([-1.0, 2.0])), torch.tensor([0.0, 2.0]))
