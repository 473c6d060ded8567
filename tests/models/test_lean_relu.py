"""A ReLU that stores less (models/lean_relu.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.lean_relu import LeanReLU


def hidden() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(200, 300, generator=generator, dtype=torch.float64, requires_grad=True)


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
