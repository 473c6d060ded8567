"""The network of models/ computes what its formulas say, in blocks or not (plain_network.py)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models import CAIMNet, CAIMNetOutput
from models.correlation import AttentionAxis
from tests.helpers.plain_network import PlainCAIMNet
from training.losses import caim_loss

BLOCKS = [None, 16, 50, 1000]  # all at once; many blocks; unequal ones; several series in one
BOTH = pytest.mark.parametrize("attention", ["batch", "spatial"])


def both_networks(
    T: int, attention: AttentionAxis, dtype: torch.dtype = torch.float64
) -> tuple[CAIMNet, PlainCAIMNet]:
    """Ours and the plain one with the same weights, in training mode but without dropout."""
    torch.manual_seed(T)
    ours = CAIMNet(num_dates=T, width=8, attention=attention, dropout=0.0).to(dtype)
    plain = PlainCAIMNet(num_dates=T, width=8, attention=attention, dropout=0.0).to(dtype)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def series(T: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(T)
    return torch.rand(3, T, 4, 8, 12, generator=generator, dtype=torch.float64).to(dtype)


def gradients(network: torch.nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Gradients of the loss by parameter, and of the images; all exist."""
    T = images.shape[1]
    moment_label = torch.randint(0, T, (3, 8, 12), generator=torch.Generator().manual_seed(0))
    images = images.clone().requires_grad_()
    caim_loss(network(images), (moment_label > 0).long(), moment_label).total.backward()
    named = [*network.named_parameters(), ("images", images)]
    found = {name: values.grad for name, values in named}
    assert all(gradient is not None for gradient in found.values())
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def assert_equal_outputs(found: CAIMNetOutput, expected: CAIMNetOutput, tolerance: float) -> None:
    for ours, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=0, atol=tolerance)


def assert_equal_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """To 1e-8 of each gradient's norm; what is 0 but for rounding is compared by its size."""
    assert found.keys() == expected.keys()
    total = torch.stack([gradient.norm() for gradient in expected.values()]).norm().item()
    for name, plain in expected.items():
        error = (found[name] - plain).norm().item()
        assert error <= 1e-8 * plain.norm().item() + 1e-14 * total + 1e-14, name


@BOTH
@pytest.mark.parametrize("T", [2, 6, 9])
def test_both_networks_have_the_same_parameters(T: int, attention: AttentionAxis) -> None:
    ours, plain = both_networks(T, attention)
    shapes = {name: tuple(values.shape) for name, values in ours.state_dict().items()}
    assert {name: tuple(values.shape) for name, values in plain.state_dict().items()} == shapes


@BOTH
@pytest.mark.parametrize("T", [2, 6, 9])
@pytest.mark.parametrize("block_pixels", BLOCKS)
def test_outputs_are_those_of_the_plain_network_whatever_the_blocks(
    T: int, attention: AttentionAxis, block_pixels: int | None
) -> None:
    ours, plain = both_networks(T, attention)
    ours.block_pixels = block_pixels
    with torch.no_grad():
        expected = plain(series(T))
        assert_equal_outputs(ours.train()(series(T)), expected, 1e-10)
        assert_equal_outputs(ours.eval()(series(T)), expected, 1e-10)


@BOTH
@pytest.mark.parametrize("T", [2, 6, 9])
@pytest.mark.parametrize("block_pixels", BLOCKS)
@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_are_those_of_the_plain_network_whatever_the_blocks(
    T: int, attention: AttentionAxis, block_pixels: int | None, recompute: bool
) -> None:
    ours, plain = both_networks(T, attention)
    ours.block_pixels, ours.recompute = block_pixels, recompute
    assert_equal_gradients(gradients(ours, series(T)), gradients(plain, series(T)))


@BOTH
@pytest.mark.parametrize("T", [6, 9])
@pytest.mark.parametrize("block_pixels", BLOCKS)
def test_float32_outputs_are_those_of_the_plain_network(
    T: int, attention: AttentionAxis, block_pixels: int | None
) -> None:
    ours, plain = both_networks(T, attention, torch.float32)
    ours.block_pixels = block_pixels
    with torch.inference_mode():
        images = series(T, torch.float32)
        assert_equal_outputs(ours.eval()(images), plain.eval()(images), 1e-5)


@BOTH
def test_bfloat16_outputs_are_near_those_of_the_plain_network(attention: AttentionAxis) -> None:
    ours, plain = both_networks(6, attention, torch.float32)
    images = series(6, torch.float32)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = ours.eval()(images), plain.eval()(images)
    assert {field.dtype for field in (*found, *expected)} == {torch.float32}
    differences = (found.moment_prob - expected.moment_prob).abs()
    assert differences.mean() < 0.01


@pytest.mark.parametrize("T", [6, 9])
def test_the_gradient_test_would_see_a_wrong_part(T: int) -> None:
    _, plain = both_networks(T, "spatial")
    expected = gradients(plain, series(T))
    with torch.no_grad():
        plain.get_parameter("temporal.weight_pf").mul_(1 + 1e-6)
    with pytest.raises(AssertionError):
        assert_equal_gradients(gradients(plain, series(T)), expected)


@BOTH
def test_recomputing_draws_the_dropout_of_the_forward_pass_again(attention: AttentionAxis) -> None:
    torch.manual_seed(0)
    ours = CAIMNet(num_dates=3, width=8, attention=attention, dropout=0.5).double().train()
    ours.block_pixels = 50
    found = []
    for recompute in (False, True):
        ours.recompute = recompute
        ours.zero_grad()
        torch.manual_seed(1)
        found.append(gradients(ours, series(3)))
    assert_equal_gradients(*found)


@BOTH
def test_dropout_moves_the_outputs_of_both_networks_alike(attention: AttentionAxis) -> None:
    torch.manual_seed(0)
    ours = CAIMNet(num_dates=3, width=8, attention=attention, dropout=0.3).train()
    plain = PlainCAIMNet(num_dates=3, width=8, attention=attention, dropout=0.3).train()
    plain.load_state_dict(ours.state_dict())
    with torch.no_grad():
        found, expected = (
            torch.stack([network(series(3, torch.float32)).moment_prob for _ in range(100)])
            for network in (ours, plain)
        )
    torch.testing.assert_close(found.std(0).mean(), expected.std(0).mean(), rtol=0.1, atol=0)
    torch.testing.assert_close(found.mean(0), expected.mean(0), rtol=0, atol=0.02)
