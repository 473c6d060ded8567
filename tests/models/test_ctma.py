"""CTMA: the released program's numbers, sizes, gradients, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import CTMA, build_network
from models.ctma import DifferenceBackbone, pseudo_video
from tests.helpers.ctma_numbers import (
    MASKED_CELLS,
    MEANS,
    PIXELS,
    STATISTICS,
    formula_stages,
)
from utils.settings import REPOSITORY

PARAMETERS = 30_475_203
SMALL: dict[str, Any] = {
    "pair_widths": (4, 6, 8),
    "video_widths": (4, 6),
    "decoder_widths": (8, 6, 4, 4),
    "resnet_width": 4,
}
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}


def small(**arguments: Any) -> CTMA:
    torch.manual_seed(0)
    network = CTMA(**(SMALL | arguments))
    for module in network.modules():  # as after training: batches have left their statistics
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def pairs(B: int = 1, H: int = 16, W: int = 16, C: int = 3, T: int = 2) -> Tensor:
    return torch.rand(B, T, C, H, W, generator=torch.Generator().manual_seed(1))


def test_the_full_network_has_the_released_keys_shapes_and_parameter_count() -> None:
    with torch.device("meta"):
        network = CTMA()

    listed = (REPOSITORY / "tests/golden/released_keys_ctma.txt").read_text(encoding="utf-8")
    found = [f"{key}\t{tuple(value.shape)}" for key, value in network.state_dict().items()]
    assert sorted(found) == sorted(listed.splitlines())
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("stage", list(STATISTICS))
def test_every_stage_gives_the_released_programs_statistics(stage: str, dtype: torch.dtype) -> None:
    values = formula_stages(dtype)[stage].double()

    found = torch.stack((values.mean(), values.std(), values.min(), values.max()))
    expected = torch.tensor(STATISTICS[stage], dtype=torch.float64)
    # the smallest difference is what rounding leaves of features near 1
    tolerance = TOLERANCE[dtype] * expected.abs().clamp(min=0.1 if stage == "difference" else 0)
    assert ((found - expected).abs() <= tolerance).all(), (found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_single_pixels_have_the_released_programs_values(dtype: torch.dtype) -> None:
    stages = formula_stages(dtype)

    for (row, col), expected in PIXELS.items():
        found = [
            stages[name].double().reshape(256, 256)[row, col].item()
            for name in ("main", "decoder1", "decoder2", "aux")
        ]
        assert found == pytest.approx(expected, rel=TOLERANCE[dtype])


@pytest.mark.slow
def test_the_mask_keeps_as_many_cells_as_in_the_released_program() -> None:
    stages = formula_stages(torch.float32)
    assert int((stages["conv_out_v"] > 0).sum()) == MASKED_CELLS


@pytest.mark.slow
@pytest.mark.parametrize(("weights", "mean"), MEANS.items())
def test_other_fusion_weights_give_the_released_programs_mean(
    weights: tuple[float, float], mean: float
) -> None:
    stages = formula_stages(torch.float64)
    fused = weights[0] * stages["decoder1"] + weights[1] * stages["decoder2"]
    assert fused.mean().item() == pytest.approx(mean, rel=1e-6)


def test_the_area_logits_are_the_weighted_sum_of_both_decoders() -> None:
    network = small(fusion_weights=(0.7, 0.3))
    seen: list[Tensor] = []
    for decoder in (network.decoder1, network.decoder2):
        decoder.register_forward_hook(lambda _, __, logits: seen.append(logits[:, 0]))

    logits = network(pairs()).area_logits

    torch.testing.assert_close(logits, 0.7 * seen[0] + 0.3 * seen[1])


def test_the_second_branch_sees_the_pair_where_the_coarse_logits_are_positive() -> None:
    network = small()
    seen: list[Tensor] = []
    network.encoder_p2.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    images = pairs(H=32, W=24)
    with torch.no_grad():  # half of the blocks on either side
        aux = network(images).aux_logits
        network.conv_out_v.seq[0].bias -= aux.median()  # type: ignore[union-attr, operator, arg-type]

    aux = network(images).aux_logits

    mask = (aux > 0)[:, None]
    assert 0 < mask.float().mean() < 1
    torch.testing.assert_close(seen[-1], images.flatten(1, 2) * mask)


def test_the_mask_threshold_is_an_argument() -> None:
    logits = torch.tensor([-2.0, -0.1, 0.0, 0.1, 2.0])
    assert small().coarse_mask(logits).tolist() == [0, 0, 0, 1, 1]
    assert small(mask_threshold=0.6).coarse_mask(logits).tolist() == [0, 0, 0, 0, 1]


def test_coarse_logits_are_equal_on_blocks_of_eight_pixels() -> None:
    aux = small()(pairs(H=24, W=32)).aux_logits

    blocks = aux.unfold(1, 8, 8).unfold(2, 8, 8)  # (B, 3, 4, 8, 8)
    assert (blocks == blocks[..., :1, :1]).all()
    assert blocks[..., 0, 0].unique().numel() == 12


def test_the_pseudo_video_leads_from_the_first_image_to_the_last_in_equal_steps() -> None:
    first, last = pairs().unbind(1)

    video = pseudo_video(first, last, video_len=5)

    assert video.shape == (1, 3, 5, 16, 16)
    assert torch.equal(video[:, :, 0], first)
    torch.testing.assert_close(video[:, :, -1], last)
    torch.testing.assert_close(video[:, :, 2], (first + last) / 2)


def test_the_video_features_have_the_sizes_of_the_released_program() -> None:
    encoder = small().encoder_v
    shapes: list[tuple[int, ...]] = []
    encoder.stem.register_forward_hook(lambda _, __, result: shapes.append(tuple(result.shape)))

    shallow, deep = encoder(torch.rand(1, 3, 8, 64, 32))

    assert shapes == [(1, 4, 8, 16, 8)]
    assert shallow.shape == (1, 16, 8, 16, 8)
    assert deep.shape == (1, 24, 4, 8, 4)


def test_the_short_output_convolution_equals_the_released_one() -> None:
    backbone = DifferenceBackbone(3, 8, width=2).double()
    features = torch.rand(2, 16, 5, 7, dtype=torch.float64)

    short = backbone.convolved(features)

    released = backbone.conv_out(F.interpolate(features, scale_factor=2))[:, :, ::2, ::2]
    torch.testing.assert_close(short, released, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("B", "H", "W"), [(1, 8, 8), (3, 16, 40), (2, 64, 32)])
@pytest.mark.parametrize("in_channels", [1, 3, 4])
def test_any_batch_and_any_multiple_of_eight_fit(B: int, H: int, W: int, in_channels: int) -> None:
    output = small(in_channels=in_channels)(pairs(B, H, W, in_channels))
    assert output.area_logits.shape == output.aux_logits.shape == (B, H, W)


@pytest.mark.parametrize("video_len", [2, 3, 8, 9])
def test_any_length_of_video_fits_the_same_weights(video_len: int) -> None:
    network = small(video_len=video_len)
    network.load_state_dict(small().state_dict())
    assert network(pairs()).area_logits.isfinite().all()


def test_a_prediction_of_a_pair_does_not_depend_on_its_batch() -> None:
    network, images = small().double(), pairs(3).double()

    together = network.predict(images).area_prob

    for i in range(3):
        torch.testing.assert_close(network.predict(images[i : i + 1]).area_prob[0], together[i])


def test_change_maps_hold_an_area_and_no_moments() -> None:
    network, images = small(), pairs(2)

    maps = network.predict(images)

    assert maps.moment_prob is None
    torch.testing.assert_close(maps.area_prob[:, 1], network(images).area_logits.sigmoid())
    torch.testing.assert_close(maps.area_prob.sum(1), torch.ones(2, 16, 16))
    assert torch.equal(maps.area_label(), (network(images).area_logits > 0).long())


def test_every_parameter_gets_a_gradient_and_that_of_the_cancelling_bias_is_zero() -> None:
    network = small().train()
    output = network(pairs(2, 32, 32))
    (output.area_logits.square().mean() + output.aux_logits.square().mean()).backward()

    gradients = {name: p.grad for name, p in network.named_parameters()}
    none = [name for name, g in gradients.items() if g is None or not g.any()]
    assert none == ["encoder_p1.backbone.conv_out.seq.1.bias"]  # it cancels in the difference
    assert gradients[none[0]] is not None


def test_the_mask_sends_no_gradient_into_the_coarse_logits() -> None:
    network = small().train()
    network(pairs(2, 32, 32)).area_logits.sum().backward()
    assert all(p.grad is None for p in network.conv_out_v.parameters())


def test_each_date_leaves_its_statistics_in_the_backbone() -> None:
    network = small().train()
    network(pairs(2))
    counted = network.encoder_p1.backbone.resnet.bn1.num_batches_tracked
    assert counted is not None
    assert counted.item() == 2
    assert network.encoder_v.stem[1].num_batches_tracked == 1


def test_equal_images_differ_nowhere() -> None:
    network = small()
    image = pairs()[:, 0]
    assert not network.encoder_p1.difference(image, image).any()


def test_empty_and_full_masks_give_finite_logits() -> None:
    for bias in (-100.0, 100.0):
        network = small()
        nn.init.constant_(network.conv_out_v.seq[0].bias, bias)  # type: ignore[arg-type]
        assert network(pairs()).area_logits.isfinite().all()


def test_all_predictions_are_float32_also_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        maps = small().predict(pairs())
    assert maps.area_prob.dtype == torch.float32


def test_resnet_starts_as_the_released_program_starts_it() -> None:
    torch.manual_seed(0)
    network = CTMA(**(SMALL | {"resnet_width": 16}))
    conv = network.encoder_p1.backbone.resnet.get_submodule("layer4.2.conv2")
    assert isinstance(conv, nn.Conv2d)
    expected = (2 / F.unfold(torch.zeros(1, 128, 3, 3), 3).numel()) ** 0.5
    assert conv.weight.std().item() == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("shape", "parts"),
    [
        ((2, 3, 16, 16), ["(2, 3, 16, 16)", "images[None]"]),
        ((1, 1, 3, 16, 16), ["T=1 dates", "expected a pair", "before"]),
        ((1, 6, 3, 16, 16), ["T=6 dates", "first and the last", "images[:, [0, -1]]"]),
        ((1, 2, 4, 16, 16), ["C=4 bands", "C=3"]),
        ((1, 2, 3, 20, 16), ["H=20", "multiples of 8"]),
    ],
)
def test_a_wrong_input_is_told(shape: tuple[int, ...], parts: list[str]) -> None:
    with pytest.raises(ValueError, match="network input") as caught:
        small()(torch.rand(shape))
    assert all(part in str(caught.value) for part in parts)


def test_whole_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="dtype"):
        small()(torch.zeros(1, 2, 3, 16, 16, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"video_len": 1}, "video_len=1"),
        ({"mask_threshold": 1.0}, "mask_threshold=1.0"),
        ({"fusion_weights": (0.5, -0.5)}, "fusion_weights"),
        ({"fusion_weights": (0.5,)}, "expected 2 numbers"),
        ({"pair_widths": (1, 2)}, "expected 3 numbers"),
        ({"dates": 2}, "unknown arguments"),
    ],
)
def test_a_wrong_argument_is_told(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        build_network("ctma", SMALL | arguments)


def test_the_network_is_built_by_name_with_lists_as_files_hold_them() -> None:
    network = build_network("ctma", {**SMALL, "fusion_weights": [0.5, 0.5]})
    assert isinstance(network, CTMA)
    assert network.fusion_weights == (0.5, 0.5)


def test_a_new_backbone_starts_with_deviations_by_what_its_convolutions_take_in() -> None:
    torch.manual_seed(0)
    convolutions = [
        part
        for part in DifferenceBackbone(3, 32, width=32).modules()
        if isinstance(part, nn.Conv2d) and part.in_channels != part.out_channels
    ]
    assert len(convolutions) == 8  # of those in and out are told apart
    for convolution in convolutions:
        weight = convolution.weight.detach()
        expected = (2 / weight[0].numel()) ** 0.5  # Kaiming's normal, gain √2
        assert weight.std().item() == pytest.approx(expected, rel=0.05)
