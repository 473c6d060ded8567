"""The authors' checkpoint format and the way from it to ours (models/weights/released_caim.py)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models import CAIMNet
from models.weights.checkpoint import load_checkpoint
from models.weights.released_caim import (
    RELEASED_KEYS,
    from_released,
    is_released,
    share_cam_weights,
)
from tests.helpers.oracle import random_released_state, released_shapes
from utils.errors import CheckpointError

PUBLISHED = {"dynamic": (6, 96, 2_588_090), "spacenet7": (9, 64, 6_457_181)}
CAM_KEYS = [key for ours, key in RELEASED_KEYS.items() if ours.startswith("fine_moment")]
NO_EFFECT = (
    "Spatial_Attention.encoder_layer.",
    "Temporal_Attention.LSTM_diff.",
    "Fine_Change_Moment",
)


def full_size(name: str) -> dict[str, Tensor]:
    return {key: torch.zeros(shape) for key, shape in released_shapes(name).items()}


def small(B: int = 2, size: int = 8, **options: bool) -> dict[str, Tensor]:
    return random_released_state(6, 8, (B, size, size), **options)


@pytest.mark.parametrize("name", ["dynamic", "spacenet7"])
def test_a_full_size_released_file_gives_the_published_sizes(name: str) -> None:
    T, B, parameters = PUBLISHED[name]
    state = full_size(name)
    released = from_released(state)
    assert released.arguments == {
        "in_channels": 4,
        "num_dates": T,
        "width": 64,
        "attention": "batch",
        "cam": "per_window",
        "cam_windows": (B, 64, 64),
    }
    with torch.device("meta"):
        CAIMNet(**released.arguments).load_state_dict(released.state_dict, assign=True)
    sizes = {key: value.numel() for key, value in state.items()}
    assert sum(sizes.values()) - sum(sizes[key] for key in CAM_KEYS) == parameters


@pytest.mark.parametrize("name", ["dynamic", "spacenet7"])
def test_what_is_used_and_what_is_dropped_make_up_the_whole_file(name: str) -> None:
    state = full_size(name)
    released = from_released(state)
    assert sorted([*released.dropped, *RELEASED_KEYS.values()]) == sorted(state)
    assert all(key.startswith(NO_EFFECT) for key in released.dropped)
    assert len(released.dropped) == 12 + 13 + 8
    with torch.device("meta"):
        ours = sum(
            parameter.numel() for parameter in CAIMNet(num_dates=PUBLISHED[name][0]).parameters()
        )
    dropped = sum(state[key].numel() for key in released.dropped)
    assert ours + dropped == PUBLISHED[name][2] + 2 * (4 + 16)  # shared CAM weights


@pytest.mark.parametrize(("T", "width", "B"), [(6, 8, 3), (9, 16, 1), (2, 4, 2), (5, 12, 7)])
def test_dates_width_and_batch_size_are_read_from_the_shapes(T: int, width: int, B: int) -> None:
    released = from_released(random_released_state(T, width, (B, 8, 8)), patch_size=8)
    arguments = released.arguments
    assert (arguments["num_dates"], arguments["width"]) == (T, width)
    assert arguments["cam_windows"] == (B, 8, 8)
    network = CAIMNet(**arguments)
    network.load_state_dict(released.state_dict)
    assert network.eval().predict(torch.rand(B, T, 4, 8, 8)).area_prob.isfinite().all()


def test_the_same_file_means_other_batch_sizes_at_other_patch_sizes() -> None:
    state = full_size("dynamic")
    assert from_released(state, patch_size=32).arguments["cam_windows"] == (384, 32, 32)
    assert from_released(state, patch_size=128).arguments["cam_windows"] == (24, 128, 128)


@pytest.mark.parametrize("patch_size", [60, 24, 0, -64, 63, 1024])
def test_a_patch_size_that_does_not_divide_the_file_is_told_with_both_numbers(
    patch_size: int,
) -> None:
    with pytest.raises(ValueError) as caught:
        from_released(full_size("dynamic"), patch_size=patch_size)
    text = str(caught.value)
    assert "98304" in text
    assert f"patch size {patch_size} " in text
    assert "--patch-size" in text


def test_only_the_first_column_of_cam_weights_is_used() -> None:
    state = small()
    weight = from_released(state, 8).state_dict["fine_moment1.1.weight"]
    assert torch.equal(weight, state["Fine_Change_Moment1_3.fc_weight3"][..., 0])


def test_weights_in_other_number_formats_become_float32_copies() -> None:
    state = {key: value.half() for key, value in small().items()}
    weights = from_released(state, 8).state_dict
    assert {value.dtype for value in weights.values()} == {torch.float32}
    state = small()
    weights = from_released(state, 8).state_dict
    weights["be_conv.weight"].zero_()
    assert state["BEConv.weight"].abs().sum() > 0


# ------------------------------------------------------------------ recognising


def test_a_released_file_is_recognised_by_its_keys() -> None:
    state = small()
    assert is_released(state)
    assert is_released({**state, "epoch": 3})
    assert not is_released(CAIMNet(width=8).state_dict())
    assert not is_released({"Encoder.conv1.weight": state["Encoder.conv1.weight"]})
    assert not is_released({})


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_released_file_loads_whatever_its_name_prefix_and_wrapper(
    tmp_path: Path, prefix: str, wrapped: bool
) -> None:
    state = {prefix + key: value for key, value in small().items()}
    path = tmp_path / "SpaceNet7-51.49 (1).pth"
    torch.save({"state_dict": state, "epoch": 7} if wrapped else state, path)
    loaded = load_checkpoint(path, patch_size=8)
    assert loaded.origin == "released"
    assert loaded.arguments["cam_windows"] == (2, 8, 8)
    assert len(loaded.dropped) == 33
    assert "33 tensors without effect dropped" in loaded.summary()
    images = torch.rand(2, 6, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = CAIMNet(**loaded.arguments)
    expected.load_state_dict(from_released(small(), 8).state_dict)
    assert torch.equal(loaded.build()(images)[1], expected.eval()(images)[1])


def test_a_file_of_the_old_serialisation_loads_too(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(small(), path, _use_new_zipfile_serialization=False)
    assert load_checkpoint(path, patch_size=8).arguments["num_dates"] == 6


# ------------------------------------------------------------------ faults


def test_missing_tensors_are_counted_and_named() -> None:
    state = small()
    for key in ("BEConv.weight", "Encoder.conv1.weight"):
        del state[key]
    with pytest.raises(ValueError) as caught:
        from_released(state, 8)
    text = str(caught.value)
    assert f"2 of {len(RELEASED_KEYS)}" in text
    assert "BEConv.weight" in text
    assert "Encoder.conv1.weight" in text


def test_tensors_without_effect_may_be_missing() -> None:
    state = {key: value for key, value in small().items() if "encoder_layer" not in key}
    assert len(from_released(state, 8).dropped) == 33 - 12


@pytest.mark.parametrize(
    ("key", "shape", "expected", "cause"),
    [
        ("BEConv.weight", (39, 1, 3, 3), "(40, 1, 3, 3)", "parts of two checkpoints"),
        ("Fine_Change_Moment2_2.fc_weight2", (16, 4, 6), "(32, 4, 6)", "batch or patch sizes"),
        ("Temporal_Attention.LSTM_diff.weight_ih", (16,), "(16, 8)", "parts of two checkpoints"),
    ],
)
def test_a_wrong_shape_is_told_with_found_expected_and_likely_cause(
    key: str, shape: tuple[int, ...], expected: str, cause: str
) -> None:
    with pytest.raises(ValueError) as caught:
        from_released({**small(), key: torch.zeros(shape)}, 8)
    text = str(caught.value)
    assert f"{key}: found {shape}, expected {expected}" in text
    assert "Likely cause" in text
    assert cause in text


@pytest.mark.parametrize(
    "key",
    [
        "Encoder.conv1.weight",
        "Encoder.conv_final1.weight",
        "Coarse_Change_Moment2.conv2.weight",
        "Fine_Change_Moment1_2.fc_weight2",
    ],
)
def test_a_number_in_place_of_a_tensor_that_tells_sizes_is_told(key: str) -> None:
    with pytest.raises(ValueError, match="found"):
        from_released({**small(), key: torch.tensor(1.0)}, 8)


def test_parts_of_two_data_sets_in_one_file_are_told_all_at_once() -> None:
    state = full_size("dynamic")
    other = full_size("spacenet7")
    state |= {key: other[key] for key in other if "transformer" in key}
    with pytest.raises(ValueError) as caught:
        from_released(state)
    text = str(caught.value)
    assert text.count("found (") == 12
    assert "parts of two checkpoints" in text


def test_a_faulty_file_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "CAIMNet_Dynamic.pth"
    state = small()
    torch.save({**state, "BEConv.weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"(?s)CAIMNet_Dynamic\.pth.*BEConv") as caught:
        load_checkpoint(path, patch_size=8)
    assert caught.value.exit_code == 2
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"(?s)CAIMNet_Dynamic\.pth.*patch size 12"):
        load_checkpoint(path, patch_size=12)


# ------------------------------------------------------------------ sharing


def test_sharing_takes_the_mean_over_windows_and_reports_what_it_drops() -> None:
    weights = from_released(small(B=1), 8).state_dict  # 16 windows of 2×2, 4 of 4×4
    values = torch.tensor([1.0, 2.0, 3.0, 6.0])[:, None] * torch.ones(16)
    weights["fine_moment2.1.weight"] = values
    shared, spread = share_cam_weights(weights)
    torch.testing.assert_close(shared["fine_moment2.1.weight"], torch.full((16,), 3.0))
    assert spread["fine_moment2.1"].std == pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 4))
    assert spread["fine_moment2.1"].largest == pytest.approx(3.0)
    assert sorted(spread) == [
        "fine_moment1.0",
        "fine_moment1.1",
        "fine_moment2.0",
        "fine_moment2.1",
    ]
    network = CAIMNet(width=8, attention="batch")
    network.load_state_dict(shared)


def test_sharing_equal_windows_changes_no_prediction() -> None:
    released = from_released(small(equal_windows=True), 8)
    shared, spread = share_cam_weights(released.state_dict)
    assert max(value for both in spread.values() for value in both) < 1e-7
    before = CAIMNet(**released.arguments)
    before.load_state_dict(released.state_dict)
    after = CAIMNet(width=8, attention="batch")
    after.load_state_dict(shared)
    images = torch.rand(2, 6, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = [network.eval().predict(images) for network in (before, after)]
    torch.testing.assert_close(maps[0].moment_prob, maps[1].moment_prob, rtol=0, atol=1e-6)


def test_sharing_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="shared already"):
        share_cam_weights(CAIMNet(width=8).state_dict())
