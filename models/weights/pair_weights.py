"""The weights that Test_CTMA.py was asked for, with what a weights file does not hold.

Fusion weights, mask threshold and length of the video are numbers of the program, not of the
file, in released checkpoints.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from models.weights.checkpoint import Checkpoint, load_checkpoint
from utils.errors import CheckpointError, UserError
from utils.progress import say

__all__ = ["load_pair_weights"]

ASKED = ("fusion_weights", "mask_threshold", "video_len")


def load_pair_weights(settings: Any, usual_fusion: tuple[float, float]) -> Checkpoint:
    """Weights of CTMA, ours or the authors'.

    Args:
        settings: With checkpoint, and fusion_weights, mask_threshold and video_len, each None for
            the file's, or for a released file the usual one.
        usual_fusion: Fusion weights of the data set, for a released file.

    Raises:
        UserError: No file is named.
        CheckpointError: As ``load_checkpoint``, or the weights are of another network or number of
            bands.
    """
    if settings.checkpoint is None:
        raise UserError(
            "--checkpoint: found none, expected a weights file; Train_CTMA.py writes best.pth. No "
            "weights of CTMA are shipped."
        )
    loaded = load_checkpoint(settings.checkpoint)
    if loaded.network != "ctma":
        raise CheckpointError(
            f"{settings.checkpoint}: found weights of {loaded.network}, a network for time series, "
            "expected ctma; score them by Test_Dynamic.py or Test_SpaceNet7.py."
        )
    bands = loaded.arguments.get("in_channels", 3)
    if bands != 3:
        raise CheckpointError(
            f"{settings.checkpoint}: found weights for {bands} bands, expected 3; pairs are read "
            "as red, green, blue."
        )
    given = {name: getattr(settings, name) for name in ASKED}
    arguments = {
        "fusion_weights": usual_fusion,
        **loaded.arguments,
        **{name: value for name, value in given.items() if value is not None},
    }
    fused = " ".join(f"{weight:g}" for weight in arguments["fusion_weights"])
    say(f"{settings.checkpoint}: weights of {loaded.summary()}; fused by {fused}")
    return replace(loaded, arguments=arguments)
