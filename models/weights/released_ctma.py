"""The authors' released CTMA checkpoints: recognised by their keys, read as they are.

The network's parameters carry the released names, so nothing is renamed; what the file does not
say in words (channels of each part) is taken from the shapes. Works on state dicts only.

Source: the released program's behaviour; see docs/differences.md#ctma.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.ctma import CTMA
from models.weights.released_caim import Released

__all__ = ["from_released_ctma", "is_released_ctma"]

# one tensor of each part, and the number of its axes
_MARKS = {
    "encoder_v.stem.0.weight": 5,
    "encoder_v.layer2.0.conv2.seq.1.weight": 5,
    "encoder_p1.conv1.conv1.seq.1.weight": 4,
    "encoder_p1.conv2.conv1.seq.1.weight": 4,
    "encoder_p1.conv3.conv1.seq.1.weight": 4,
    "encoder_p1.backbone.resnet.conv1.weight": 4,
    "encoder_p2.conv1.conv1.seq.1.weight": 4,
    "decoder1.blocks.0.conv_fuse.conv1.seq.1.weight": 4,
    "decoder1.blocks.1.conv_fuse.conv1.seq.1.weight": 4,
    "decoder1.blocks.2.conv_fuse.conv1.seq.1.weight": 4,
    "decoder1.blocks.3.conv_fuse.conv1.seq.1.weight": 4,
    "decoder2.conv_out.seq.0.weight": 4,
}
MOST_SHOWN = 10


def is_released_ctma(state: Mapping[str, Any]) -> bool:
    """Whether most of the format's telling keys are there."""
    return sum(key in state for key in _MARKS) >= len(_MARKS) / 2


def from_released_ctma(state: Mapping[str, Tensor]) -> Released:
    """Arguments and parameters of a released state dict (CUDA prefixes already stripped).

    Args:
        state: Key → tensor in the released format, of any number of channels.

    Returns:
        Arguments without fusion weights, which the file does not hold: the released program has
        them in its source, one pair per data set. Keys without effect are in ``dropped``.

    Raises:
        ValueError: Keys are missing or shapes do not go together; all faults are listed.
    """
    faults = [
        f"{key}: {'missing' if key not in state else f'found {tuple(state[key].shape)}'}, "
        f"expected {axes} axes"
        for key, axes in _MARKS.items()
        if key not in state or state[key].dim() != axes
    ]
    if not faults:
        arguments = _arguments(state)
        with torch.device("meta"):
            expected = CTMA(**arguments).state_dict()
        faults = [
            f"{key}: missing, expected {tuple(wanted.shape)}"
            if key not in state
            else f"{key}: found {tuple(state[key].shape)}, expected {tuple(wanted.shape)}"
            for key, wanted in expected.items()
            if key not in state or state[key].shape != wanted.shape
        ]
    if faults:
        more = f"\n  … and {len(faults) - MOST_SHOWN} more" if len(faults) > MOST_SHOWN else ""
        raise ValueError(
            f"released CTMA checkpoint: {len(faults)} tensors do not fit the network:\n  - "
            + "\n  - ".join(faults[:MOST_SHOWN])
            + more
            + "\nThe file is incomplete, or of another network of that program."
        )
    ours = {
        key: state[key].detach().float() if state[key].is_floating_point() else state[key].detach()
        for key in expected
    }
    return Released(arguments, ours, sorted(state.keys() - expected.keys()))


def _arguments(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The constructor's arguments that shapes tell."""

    def channels(key: str) -> int:
        return state[key].shape[0]

    stem = channels("encoder_v.stem.0.weight")
    return {
        "in_channels": state["encoder_v.stem.0.weight"].shape[1],
        "pair_widths": tuple(channels(f"encoder_p1.conv{n}.conv1.seq.1.weight") for n in (1, 2, 3)),
        "video_widths": (stem, channels("encoder_v.layer2.0.conv2.seq.1.weight")),
        "decoder_widths": tuple(
            channels(f"decoder1.blocks.{n}.conv_fuse.conv1.seq.1.weight") for n in range(4)
        ),
        "resnet_width": channels("encoder_p1.backbone.resnet.conv1.weight"),
    }
