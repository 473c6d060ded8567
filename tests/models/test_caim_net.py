"""Properties of the network that the released numbers do not show (models/)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from models import CAIMNet, CAIMNetOutput, ChangeMaps, build_network
from models.caim_net import BEConv
from models.correlation import Correlation
from models.temporal_cam import TemporalCAM
from models.weights.released_caim import from_released
from tests.helpers import oracle

BOUNDS = {6: (0.328, 0.452, 0.548), 9: (0.192, 0.477, 0.523)}


def network(**arguments: Any) -> CAIMNet:
    torch.manual_seed(3)
    return CAIMNet(**{"num_dates": 6, "width": 8, **arguments}).eval()


def series(B: int = 3, T: int = 6, H: int = 8, W: int = 12, seed: int = 0) -> Tensor:
    return torch.rand(B, T, 4, H, W, generator=torch.Generator().manual_seed(seed))


def all_finite(output: CAIMNetOutput) -> bool:
    return all(bool(field.isfinite().all()) for field in output)


# ------------------------------------------------------------------ against a literal version


@pytest.mark.parametrize("cam", ["shared", "per_window"])
@pytest.mark.parametrize("attention", ["spatial", "batch"])
def test_the_network_agrees_with_a_literal_float64_version(attention: str, cam: str) -> None:
    T, size = 4, 8
    state = oracle.random_released_state(T, 8, (2, size, size), equal_windows=cam == "shared")
    released = from_released(state, patch_size=size)
    weights = dict(released.state_dict)
    windows = (2, size, size) if cam == "per_window" else None
    if cam == "shared":
        weights = {k: v[0] if k.startswith("fine_moment") else v for k, v in weights.items()}
    ours = network(num_dates=T, attention=attention, cam=cam, cam_windows=windows)
    ours.load_state_dict(weights)
    W = 12 if cam == "shared" else size
    images = series(2, T, size, W).double()
    with torch.inference_mode():
        output = ours.double()(images)
    literal = {key: value.double().numpy() for key, value in state.items()}
    expected = oracle.network(images.numpy(), literal, attention, cam)
    for found, name in zip(output, ("area", "moment", "fine"), strict=True):
        np.testing.assert_allclose(found.numpy(), expected[name], rtol=0, atol=1e-10)


# ------------------------------------------------------------------ shapes


@pytest.mark.parametrize("T", [2, 6, 9])
@pytest.mark.parametrize("B", [1, 3])
def test_any_batch_any_dates_and_unequal_sides_fit(B: int, T: int) -> None:
    output = network(num_dates=T)(series(B, T, 8, 20))
    assert output.area_prob.shape == (B, 2, 8, 20)
    assert output.moment_prob.shape == (B, T, 8, 20)
    assert output.fine_moment_prob.shape == (B, 4, T, 8, 20)
    for field, axis in zip(output, (1, 1, 2), strict=True):
        torch.testing.assert_close(field.sum(axis), torch.ones_like(field.sum(axis)))


@pytest.mark.parametrize("in_channels", [1, 3, 12])
def test_any_number_of_bands_fits(in_channels: int) -> None:
    images = torch.rand(1, 6, in_channels, 8, 8)
    assert network(in_channels=in_channels)(images).moment_prob.shape == (1, 6, 8, 8)


def test_the_state_dict_does_not_depend_on_batch_and_patch_size() -> None:
    ours = network()
    before = {key: tuple(value.shape) for key, value in ours.state_dict().items()}
    for B, H, W in ((1, 4, 4), (3, 8, 20), (2, 16, 8)):
        ours(series(B, H=H, W=W))
        assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == before
    assert before["fine_moment1.0.weight"] == (4,)
    assert before["fine_moment2.1.weight"] == (16,)


@pytest.mark.parametrize(
    ("shape", "dtype", "parts"),
    [
        ((6, 4, 8, 8), torch.float32, ["(6, 4, 8, 8)", "images[None]"]),
        ((2, 5, 4, 8, 8), torch.float32, ["T=5", "T=6", "(2, 5, 4, 8, 8)"]),
        ((2, 6, 3, 8, 8), torch.float32, ["C=3", "C=4"]),
        ((6, 2, 4, 8, 8), torch.float32, ["swapped"]),
        ((2, 6, 4, 8, 10), torch.float32, ["W=10", "multiples of 4"]),
        ((2, 6, 4, 0, 8), torch.float32, ["H=0"]),
        ((2, 6, 4, 8, 8), torch.uint8, ["torch.uint8", "floating point"]),
    ],
)
def test_a_wrong_input_is_told_with_found_and_expected(
    shape: tuple[int, ...], dtype: torch.dtype, parts: list[str]
) -> None:
    with pytest.raises(ValueError) as caught:
        network()(torch.zeros(shape, dtype=dtype))
    assert all(part in str(caught.value) for part in [*parts, "found", "expected"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"num_dates": 1}, "num_dates=1"),
        ({"width": 6}, "width=6"),
        ({"attention": "pixel"}, "'pixel'"),
        ({"cam": "none"}, "'none'"),
        ({"cam": "per_window"}, "(B, H, W)"),
        ({"cam_windows": (1, 8, 8)}, "cam_windows=(1, 8, 8)"),
        ({"num_heads": 3}, "num_heads=3"),
    ],
)
def test_a_wrong_argument_is_told(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(ValueError) as caught:
        network(**arguments)
    assert part in str(caught.value)
    assert "expected" in str(caught.value)


def test_a_network_is_built_by_name_and_unknown_ones_are_refused() -> None:
    arguments = {"cam": "per_window", "cam_windows": [1, 8, 8], "width": 8}
    assert isinstance(build_network("caim_net", arguments), CAIMNet)
    with pytest.raises(ValueError, match="caim_net"):
        build_network("caimnet", {})
    with pytest.raises(ValueError, match="depth"):
        build_network("caim_net", {"depth": 3})


# ------------------------------------------------------------------ attention


def test_spatial_attention_makes_a_prediction_independent_of_its_batch_and_order() -> None:
    ours, images = network(attention="spatial"), series(3)
    together = ours.predict(images).moment_prob
    order = [2, 0, 1]
    torch.testing.assert_close(ours.predict(images[order]).moment_prob, together[order])
    others = torch.cat((images[:1], 5 * series(2, seed=9)))
    torch.testing.assert_close(ours.predict(others).moment_prob[:1], together[:1])
    torch.testing.assert_close(ours.predict(images[:1]).moment_prob, together[:1])


def test_batch_attention_makes_a_prediction_depend_on_its_batch() -> None:
    ours, images = network(attention="batch"), series(3)
    together = ours.predict(images).moment_prob
    others = torch.cat((images[:1], 5 * series(2, seed=9)))
    assert (ours.predict(others).moment_prob[0] - together[0]).abs().max() > 1e-4
    order = [2, 0, 1]  # as a set it still counts only who is in it
    torch.testing.assert_close(ours.predict(images[order]).moment_prob, together[order])


def largest_allocation(module: nn.Module, tokens: Tensor) -> int:
    """Bytes of the largest single allocation in a training step of a module."""
    module.train()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as prof:
        module(tokens).sum().backward()
    return max(event.self_cpu_memory_usage for event in prof.events())


def test_spatial_attention_never_stores_the_matrix_of_all_pixel_pairs() -> None:
    pixels, heads = 64 * 64, 4
    stage = Correlation(16, "spatial", num_heads=heads)
    largest = largest_allocation(stage, torch.randn(1, pixels, 16, requires_grad=True))
    assert largest < pixels * pixels * 4 * heads / 50
    # the widest layer, four times E, is the largest thing; one event may hold two such tensors
    assert largest < 3 * pixels * 64 * 4


def test_the_memory_test_would_see_the_matrix() -> None:
    pixels, heads = 16 * 16, 4
    stage = Correlation(8, "spatial", num_heads=heads, attention_dropout=0.1)
    largest = largest_allocation(stage, torch.randn(1, pixels, 8, requires_grad=True))
    assert largest >= pixels * pixels * 4 * heads


# ------------------------------------------------------------------ area and moment


def assert_area_is_where_the_moment_changes(maps: ChangeMaps) -> None:
    assert maps.moment_prob is not None
    p = maps.moment_prob
    changed = p[:, 1:].amax(1) > p[:, 0]
    assert torch.equal(maps.area_label(), changed.long())
    assert torch.equal(maps.area_label(), (maps.moment_label() > 0).long())
    clear = maps.area_prob[:, 1] != maps.area_prob[:, 0]  # elsewhere that softmax cannot tell
    assert torch.equal((maps.area_prob[:, 1] > maps.area_prob[:, 0])[clear], changed[clear])
    assert torch.equal(p.gather(1, maps.moment_label()[:, None])[:, 0], p.amax(1))


@pytest.mark.parametrize("T", [2, 6, 9])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_area_is_where_the_moment_is_above_zero(T: int, precision: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=precision, enabled=precision == torch.bfloat16):
        maps = network(num_dates=T).predict(series(3, T, 16, 16))
    assert_area_is_where_the_moment_changes(maps)
    assert set(maps.area_label().unique().tolist()) == {0, 1}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_all_outputs_are_float32_whatever_the_precision_of_the_rest(precision: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=precision, enabled=precision == torch.bfloat16):
        output = network()(series())
    assert {field.dtype for field in output} == {torch.float32}
    assert len(output.moment_prob[0, 0].unique()) > 40  # 16 bits would leave a handful of values


def test_a_tie_with_unchanged_is_unchanged_and_of_equal_moments_the_first_counts() -> None:
    prob = torch.tensor([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.3, 0.3, 0.4]]).T[None, :, None]
    maps = ChangeMaps(torch.full((1, 2, 1, 3), 0.5), prob)
    assert maps.moment_label().tolist() == [[[0, 1, 2]]]
    assert maps.area_label().tolist() == [[[0, 1, 1]]]


def test_maps_without_moments_still_have_an_area() -> None:
    maps = ChangeMaps(torch.tensor([[0.5, 0.4], [0.5, 0.6]]).reshape(1, 2, 1, 2), None)
    assert maps.area_label().tolist() == [[[0, 1]]]
    with pytest.raises(ValueError, match="expected"):
        maps.moment_label()


@pytest.mark.parametrize("T", [6, 9])
@pytest.mark.parametrize("moment", [0, 2])
def test_stacked_softmaxes_bound_the_outputs_and_extreme_scores_reach_the_bounds(
    T: int, moment: int
) -> None:
    highest, area_low, area_high = BOUNDS[T]
    ours = network(num_dates=T)
    for cam in (*ours.fine_moment1, *ours.fine_moment2):
        nn.init.ones_(cam.weight)
    extreme = torch.zeros(1, T, 8, 8)
    extreme[:, moment] = 50
    fused = ours.fine_moments(extreme, extreme).sum(1).softmax(1)
    assert fused.max().item() == pytest.approx(highest, abs=1e-3)
    p0, strongest = fused[0, 0, 0, 0].item(), fused[0, 1:, 0, 0].max().item()
    unchanged = 1 / (1 + math.exp(strongest - p0))
    assert unchanged == pytest.approx(area_high if moment == 0 else area_low, abs=1e-3)
    maps = ours.predict(100 * series(2, T))
    assert maps.moment_prob is not None
    assert maps.moment_prob.max() <= highest
    assert area_low <= maps.area_prob.min() <= maps.area_prob.max() <= area_high


# ------------------------------------------------------------------ no NaN


@pytest.mark.parametrize("attention", ["spatial", "batch"])
@pytest.mark.parametrize("value", [0.0, 0.3, 255.0])
def test_constant_images_give_finite_outputs_and_gradients(attention: str, value: float) -> None:
    ours = network(attention=attention).train()
    images = torch.full((2, 6, 4, 8, 8), value, requires_grad=True)
    output = ours(images)
    (output.area_prob[:, 0].sum() + output.fine_moment_prob.square().sum()).backward()
    assert all_finite(output)
    gradients = [images.grad, *(parameter.grad for parameter in ours.parameters())]
    assert all(g is not None and bool(g.isfinite().all()) for g in gradients)


@pytest.mark.parametrize("windows", [None, (2, 8, 8)])
def test_a_window_in_which_all_dates_score_alike_gives_zero_and_no_gradient(
    windows: tuple[int, int, int] | None,
) -> None:
    cam = TemporalCAM(2, windows)
    coarse = torch.full((2, 6, 8, 8), 1 / 6)
    coarse[1, 2, :4] = 0.5  # the second image stands out in its upper half only
    coarse.requires_grad_()
    activation = cam(coarse)
    activation.square().sum().backward()
    assert activation[0].eq(0).all()
    assert activation[1, :, :3].amax() == 1
    assert coarse.grad is not None
    assert cam.weight.grad is not None
    assert coarse.grad.isfinite().all()
    assert cam.weight.grad.isfinite().all()
    assert coarse.grad[0].eq(0).all()


def test_cam_weights_that_are_all_zero_give_uniform_moments() -> None:
    ours = network()
    for cam in (*ours.fine_moment1, *ours.fine_moment2):
        nn.init.zeros_(cam.weight)
    maps = ours.predict(series())
    torch.testing.assert_close(maps.moment_prob, torch.full((3, 6, 8, 12), 1 / 6))
    assert maps.area_label().eq(0).all()


# ------------------------------------------------------------------ per-window CAM weights


def test_a_smaller_batch_uses_the_first_slots_of_per_window_weights() -> None:
    ours = network(cam="per_window", cam_windows=(3, 8, 12))
    for cam in (*ours.fine_moment1, *ours.fine_moment2):
        nn.init.normal_(cam.weight)
    images = series(3)
    whole = ours.predict(images).moment_prob
    torch.testing.assert_close(ours.predict(images[:2]).moment_prob, whole[:2])
    assert (ours.predict(images[1:]).moment_prob - whole[1:]).abs().max() > 1e-3


@pytest.mark.parametrize(("B", "H"), [(3, 8), (2, 16)])
def test_more_images_or_other_sizes_than_per_window_weights_are_refused(B: int, H: int) -> None:
    ours = network(cam="per_window", cam_windows=(2, 8, 12))
    with pytest.raises(ValueError) as caught:
        ours(series(B, H=H))
    text = str(caught.value)
    assert f"found a batch of {B} images of {H}×12, expected at most 2 of 8×12" in text
    assert "--batch-size 2" in text


def test_per_window_weights_are_equal_at_the_start() -> None:
    weight = network(cam="per_window", cam_windows=(2, 8, 8)).fine_moment1[0].weight
    assert weight.shape == (2 * 4 * 4, 4)
    assert torch.equal(weight, weight[:1].expand_as(weight))


# ------------------------------------------------------------------ learning


@pytest.mark.parametrize("attention", ["spatial", "batch"])
@pytest.mark.parametrize("cam", ["shared", "per_window"])
def test_every_parameter_gets_a_gradient(attention: str, cam: str) -> None:
    windows = (3, 8, 12) if cam == "per_window" else None
    ours = network(attention=attention, cam=cam, cam_windows=windows).train()
    output = ours(series())
    target = torch.rand(output.moment_prob.shape, generator=torch.Generator().manual_seed(1))
    (output.moment_prob * target).sum().backward()
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None, name
        parts = {name: parameter.grad}
        if name == "correlation.in_proj.bias":
            # softmax does not see a shift of all keys: the key part's true gradient is 0
            query, _, value = parameter.grad.chunk(3)
            parts = {f"{name} of the query": query, f"{name} of the value": value}
        for part, gradient in parts.items():
            assert gradient.abs().max() > 1e-9, part


def test_every_parameter_gets_a_gradient_tensor_for_two_dates_too() -> None:
    ours = CAIMNet(num_dates=2, width=8).train()
    ours(torch.rand(2, 2, 4, 8, 8)).moment_prob[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in ours.parameters())


def test_dropout_acts_in_training_only() -> None:
    ours, images = network(), series()
    with torch.no_grad():
        assert torch.equal(ours(images).moment_prob, ours(images).moment_prob)
        ours.train()
        assert not torch.equal(ours(images).moment_prob, ours(images).moment_prob)
        without = network(dropout=0.0).train()
        assert torch.equal(without(images).moment_prob, without(images).moment_prob)


def test_dropout_acts_in_three_places_besides_attention() -> None:
    stage, calls = Correlation(8, "spatial"), []
    hidden = []
    stage.dropout.register_forward_hook(lambda *_: calls.append(1))
    stage.linear2.register_forward_pre_hook(lambda _, inputs: hidden.append(inputs[0]))
    tokens = torch.randn(1, 500, 8)
    stage(tokens)
    assert len(calls) == 2  # after attention and after the second linear
    stage.eval()(tokens)
    in_training, in_test = ((part == 0).double().mean().item() for part in hidden)
    # after ReLU: a tenth of what ReLU leaves is dropped (tokens differ a little by the first)
    assert abs(in_training - (in_test + 0.1 * (1 - in_test))) < 0.02
    assert stage.dropout.p == 0.1


@pytest.mark.parametrize(("attention", "differs"), [("batch", True), ("spatial", False)])
def test_attention_probabilities_are_dropped_in_batch_mode_only(
    attention: str, differs: bool
) -> None:
    stage = Correlation(8, attention).train()  # type: ignore[arg-type]
    stage.dropout.p = 0.0
    tokens = torch.randn(16, 9, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(stage(tokens), stage(tokens)) is not differs


# ------------------------------------------------------------------ boundary enhancement, start


def test_every_boundary_kernel_sums_to_zero_and_keeps_its_eight_outer_values() -> None:
    torch.manual_seed(0)
    stage = BEConv(3)
    impulse = torch.zeros(1, 3, 5, 5)
    impulse[..., 2, 2] = 1
    kernel = (stage(impulse) - impulse)[0, :, 1:4, 1:4].flip(1, 2)
    torch.testing.assert_close(kernel.sum((1, 2)), torch.zeros(3))
    outer = torch.ones(3, 3, dtype=torch.bool)
    outer[1, 1] = False
    torch.testing.assert_close(kernel[:, outer], stage.weight[:, 0][:, outer])
    flat = torch.full((1, 3, 5, 5), 7.0)
    torch.testing.assert_close(stage(flat)[..., 1:-1, 1:-1], flat[..., 1:-1, 1:-1])


def test_first_convolutions_keep_the_digits_of_pixel_values_under_bfloat16() -> None:
    encoder, images = network(width=8).encoder, torch.rand(2, 4, 8, 8)
    outputs: list[torch.Tensor] = []
    for first in (encoder.context[0][0], encoder.residual[0][0]):
        first.register_forward_hook(lambda _, __, output: outputs.append(output))
    encoder(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        merged = encoder.merge[0](encoder.merge[0].weight.new_zeros(1, 8, 8, 8))
        encoder(images)
    assert merged.dtype == torch.bfloat16  # as all others
    assert torch.equal(outputs[0], outputs[2])
    assert torch.equal(outputs[1], outputs[3])


def test_weights_start_as_the_released_program_starts_them() -> None:
    ours = network(width=64)
    assert ours.be_conv.weight.abs().max() <= 1 / 3  # kaiming-uniform with a = √5, nine inputs
    for parameter in ours.temporal.parameters():
        assert 0.9 / 8 < parameter.abs().max() <= 1 / 8  # ±1/√D
    for window in (2, 4):  # as a linear layer's k² inputs give it: ±1/k
        largest = max(TemporalCAM(window).weight.abs().max().item() for _ in range(50))
        assert 0.9 / window < largest <= 1 / window
    assert ours.correlation.in_proj.bias.eq(0).all()
    assert ours.correlation.out_proj.bias.eq(0).all()
    assert ours.correlation.in_proj.weight.abs().max() <= math.sqrt(6 / (320 + 960))
