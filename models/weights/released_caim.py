"""The key names and shapes of the authors' released checkpoints, and the way from them to ours.

Works on state dicts only (no files). A released file is recognised by what it holds, never by its
name. Half of its tensors have no effect on any output; they are dropped and listed.

Source: the released program's behaviour; see docs/differences.md#cam-weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.caim_net import CAIMNet

__all__ = [
    "RELEASED_KEYS",
    "CamSpread",
    "Released",
    "arguments_of",
    "from_released",
    "is_released",
    "share_cam_weights",
]

_LAYER = "Spatial_Attention.transformer.layers.0"
_LSTM = "Temporal_Attention.LSTM_diff"

# module of ours → module of theirs, for those whose tensors keep their names
_MODULES = {
    "encoder.context.0.0": "Encoder.conv1",
    "encoder.context.0.1": "Encoder.norm1",
    "encoder.context.1.0": "Encoder.conv2",
    "encoder.context.1.1": "Encoder.norm2",
    "encoder.residual.0.0": "Encoder.residual_conv1",
    "encoder.residual.0.1": "Encoder.resiucal_norm1",  # spelled so there
    "encoder.residual.1.0": "Encoder.residual_conv2",
    "encoder.residual.1.1": "Encoder.resiucal_norm2",
    "encoder.merge.0": "Encoder.conv_final1",
    "encoder.merge.1": "Encoder.norm_final1",
    "be_conv": "BEConv",
    "correlation.out_proj": f"{_LAYER}.self_attn.out_proj",
    "correlation.linear1": f"{_LAYER}.linear1",
    "correlation.linear2": f"{_LAYER}.linear2",
    "correlation.norm1": f"{_LAYER}.norm1",
    "correlation.norm2": f"{_LAYER}.norm2",
    "coarse_moment1.conv": "Coarse_Change_Moment1.conv",
    "coarse_moment1.norm": "Coarse_Change_Moment1.norm",
    "coarse_moment2.conv1": "Coarse_Change_Moment2.conv1",
    "coarse_moment2.norm1": "Coarse_Change_Moment2.norm1",
    "coarse_moment2.conv2": "Coarse_Change_Moment2.conv2",
}
_WITHOUT_BIAS = {
    "encoder.context.0.0",
    "encoder.context.1.0",
    "encoder.residual.0.0",
    "encoder.residual.1.0",
    "encoder.merge.0",
    "be_conv",
}
_CAM_KEYS = {
    "fine_moment1.0.weight": "Fine_Change_Moment1_2.fc_weight2",
    "fine_moment1.1.weight": "Fine_Change_Moment1_3.fc_weight3",
    "fine_moment2.0.weight": "Fine_Change_Moment2_2.fc_weight2",
    "fine_moment2.1.weight": "Fine_Change_Moment2_3.fc_weight3",
}
_CAM_COLUMNS = 6  # columns of a released CAM tensor at any T; only column 0 is used


def _key_table() -> dict[str, str]:
    table = {f"{ours}.weight": f"{theirs}.weight" for ours, theirs in _MODULES.items()}
    table |= {
        f"{ours}.bias": f"{theirs}.bias"
        for ours, theirs in _MODULES.items()
        if ours not in _WITHOUT_BIAS
    }
    table |= {
        f"correlation.in_proj.{name}": f"{_LAYER}.self_attn.in_proj_{name}"
        for name in ("weight", "bias")
    }
    lstm = ("weight_ih", "weight_hh", "weight_pi", "weight_pf", "weight_po", "bias_ih", "bias_hh")
    table |= {f"temporal.{name}": f"{_LSTM}.{name}" for name in lstm}
    return table | _CAM_KEYS


RELEASED_KEYS: Mapping[str, str] = _key_table()
"""Our parameter name → the released key that holds it (CAM weights: its column 0)."""


class Released(NamedTuple):
    """A released checkpoint in our terms.

    Attributes:
        arguments: Keyword arguments for ``CAIMNet``.
        state_dict: Its parameters, float32.
        dropped: Released keys that carry no effect and were left out.
    """

    arguments: dict[str, Any]
    state_dict: dict[str, Tensor]
    dropped: list[str]


class CamSpread(NamedTuple):
    """Distance of one module's per-window CAM weights from their mean, which sharing drops."""

    std: float
    largest: float


def is_released(state: Mapping[str, Any]) -> bool:
    """Whether most of the released format's effective keys are there."""
    number = sum(key in state for key in RELEASED_KEYS.values())
    return number >= len(RELEASED_KEYS) / 2


def from_released(state: Mapping[str, Tensor], patch_size: int = 64) -> Released:
    """Translate a released state dict (CUDA prefixes already stripped) into ours.

    Args:
        state: Key → tensor in the released format, any T ≥ 2, any width.
        patch_size: H = W of the training patches; the file holds the product B·H·W only.

    Returns:
        Arguments with ``attention="batch"``, ``cam="per_window"`` and B worked out from the rows.

    Raises:
        ValueError: Keys are missing or shapes do not go together; all faults are listed.
    """
    missing = [key for key in RELEASED_KEYS.values() if key not in state]
    if missing:
        raise ValueError(
            f"released checkpoint: {len(missing)} of {len(RELEASED_KEYS)} effective tensors are "
            f"missing ({_some(missing)}), expected all; the file is incomplete or of another "
            "version of the network."
        )
    sizes = {
        "Encoder.conv1.weight": 4,
        "Encoder.conv_final1.weight": 4,
        "Coarse_Change_Moment2.conv2.weight": 4,
        _CAM_KEYS["fine_moment1.0.weight"]: 3,
    }
    for key, axes in sizes.items():
        if state[key].dim() != axes:
            raise ValueError(
                f"released checkpoint: {key}: found shape {tuple(state[key].shape)}, expected "
                f"{axes} axes; the file was edited or belongs to another network."
            )
    width = state["Encoder.conv_final1.weight"].shape[0]
    num_dates = state["Coarse_Change_Moment2.conv2.weight"].shape[0]
    arguments = {
        "in_channels": state["Encoder.conv1.weight"].shape[1],
        "num_dates": num_dates,
        "width": width,
        "attention": "batch",
        "cam": "per_window",
        "cam_windows": _cam_windows(state[_CAM_KEYS["fine_moment1.0.weight"]].shape[0], patch_size),
    }
    expected = _expected_shapes(arguments)
    faults = [
        f"{key}: found {tuple(state[key].shape)}, expected {shape}"
        for key, shape in expected.items()
        if tuple(state[key].shape) != shape
    ]
    if faults:
        raise ValueError(
            f"released checkpoint: {len(faults)} tensors do not fit a network of {num_dates} dates "
            f"and width {width}:\n  - " + "\n  - ".join(faults) + "\nLikely cause: "
            f"{_likely_cause(faults)}"
        )
    ours = {
        name: (state[key][..., 0] if name in _CAM_KEYS else state[key]).detach().float().clone()
        for name, key in RELEASED_KEYS.items()
    }
    used = set(RELEASED_KEYS.values())
    return Released(arguments, ours, sorted(key for key in state if key not in used))


def arguments_of(state: Mapping[str, Tensor], patch_size: int) -> dict[str, Any]:
    """Constructor arguments that the shapes of our own parameters tell.

    Attention and its heads leave no trace in them: with shared CAM weights they are taken as our
    programs train them, with per-window weights as the released program does.

    Args:
        state: Of a ``CAIMNet``.
        patch_size: H = W of the training patches, for per-window CAM weights.

    Raises:
        ValueError: A parameter is missing or has other axes.
    """
    axes = {"encoder.context.0.0.weight": 4, "encoder.merge.0.weight": 4,
            "coarse_moment2.conv2.weight": 4}  # fmt: skip
    for key, number in axes.items():
        if key not in state or state[key].dim() != number:
            raise ValueError(f"found no {key} of {number} axes, expected all parameters.")
    arguments = {
        "in_channels": state["encoder.context.0.0.weight"].shape[1],
        "num_dates": state["coarse_moment2.conv2.weight"].shape[0],
        "width": state["encoder.merge.0.weight"].shape[0],
        "num_heads": 4,
    }
    cam = state.get("fine_moment1.0.weight")
    if cam is None or cam.dim() < 2:
        return {**arguments, "attention": "spatial", "cam": "shared"}
    windows = _cam_windows(cam.shape[0], patch_size)
    return {**arguments, "attention": "batch", "cam": "per_window", "cam_windows": windows}


def share_cam_weights(
    state_dict: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, CamSpread]]:
    """Average per-window CAM weights into shared ones, which fit any batch and patch size.

    Args:
        state_dict: Of a ``CAIMNet`` with ``cam="per_window"``.

    Returns:
        The state dict for ``cam="shared"``, and per CAM module the spread that was dropped
        (standard deviation over windows and weights, and largest absolute deviation).

    Raises:
        ValueError: The CAM weights are shared already.
    """
    shared, spread = dict(state_dict), {}
    for name in _CAM_KEYS:
        weight = state_dict[name]
        if weight.dim() != 2:
            raise ValueError(
                f"share_cam_weights: {name} has shape {tuple(weight.shape)}, expected (windows, "
                "k²); these weights are shared already, nothing is to be converted."
            )
        mean = weight.double().mean(dim=0)
        deviation = weight.double() - mean
        shared[name] = mean.to(weight.dtype)
        spread[name.removesuffix(".weight")] = CamSpread(
            deviation.square().mean().sqrt().item(), deviation.abs().max().item()
        )
    return shared, spread


def _cam_windows(rows: int, patch_size: int) -> tuple[int, int, int]:
    """Batch and patch size from the number of 2×2 windows of a batch."""
    per_patch = patch_size * patch_size // 4
    if patch_size % 4 or patch_size <= 0 or rows % per_patch or rows == 0:
        raise ValueError(
            f"released checkpoint: its CAM weights have {rows} windows of 2×2 pixels, which with "
            f"patch size {patch_size} means batch size 4·{rows}/{patch_size}² = "
            f"{4 * rows / max(patch_size, 1) ** 2:g}, expected a whole number; the file was "
            "trained with another patch size: give it as --patch-size."
        )
    return rows // per_patch, patch_size, patch_size


def _expected_shapes(arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of each effective released tensor, taken from a network on the meta device."""
    with torch.device("meta"):
        network = CAIMNet(**arguments)
    shapes = {RELEASED_KEYS[n]: tuple(p.shape) for n, p in network.named_parameters()}
    return shapes | {key: (*shapes[key], _CAM_COLUMNS) for key in _CAM_KEYS.values()}


def _likely_cause(faults: list[str]) -> str:
    if all("Fine_Change_Moment" in fault for fault in faults):
        return "the CAM tensors come from different batch or patch sizes."
    return "parts of two checkpoints, for other dates or of another width, were mixed."


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
