"""Which weights a program works with: checked against data and settings, averaged where asked.

Reading the files is in ``models.weights.checkpoint``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from models import build_network
from models.weights.checkpoint import Checkpoint, load_checkpoint
from models.weights.released_caim import share_cam_weights
from utils.errors import CheckpointError, UserError
from utils.progress import say

__all__ = ["check_windows", "load_for_scoring", "network_to_train", "share_cam"]


def network_to_train(
    arguments: Mapping[str, Any], settings: Any, network: str = "caim_net"
) -> tuple[nn.Module, dict[str, Any]]:
    """A new network, or one that goes on from given weights, and its constructor arguments.

    Args:
        arguments: How a new network is built.
        settings: With checkpoint (None, or weights of ours or the authors' to start from; the
            network is then built as that file says, and differences are said aloud), batch_size
            and patch_size.
        network: Name for ``models.build_network``.

    Raises:
        CheckpointError: As ``load_checkpoint``, or the weights are for other dates or bands.
        UserError: Batch or patch size do not go with per-window CAM weights.
    """
    if settings.checkpoint is None:
        return build_network(network, arguments), dict(arguments)
    loaded = load_checkpoint(settings.checkpoint, settings.patch_size)
    say(f"starting from {settings.checkpoint}: {loaded.summary()}")
    if loaded.network != network:
        raise CheckpointError(
            f"{settings.checkpoint}: found weights of {loaded.network}, expected {network}; use "
            "the training program of that network."
        )
    if network == "ctma" and loaded.origin == "released":  # what shapes do not tell
        loaded = replace(loaded, arguments={**arguments, **loaded.arguments})
    for name in ("num_dates", "in_channels"):
        if loaded.arguments.get(name) != arguments.get(name):
            raise CheckpointError(
                f"{settings.checkpoint}: found weights with {name}={loaded.arguments.get(name)}, "
                f"expected {arguments[name]}; use weights of the same data set."
            )
    check_windows(loaded, settings.checkpoint, settings.batch_size, settings.patch_size)
    changed = {k: v for k, v in loaded.arguments.items() if arguments.get(k, v) != v}
    if changed:
        say(f"the model is built as in that file, not by the flags: {changed}")
    return loaded.build(), loaded.arguments


def load_for_scoring(settings: Any, facts: Mapping[str, Any]) -> Checkpoint:
    """The weights that a Test program was asked for, checked against its data set.

    Args:
        settings: With checkpoint, protocol, patch_size, batch_size, pixel_scale and share_cam.
        facts: num_dates, bands, patch_size and pixel_scale usual for the data set at hand.

    Returns:
        The checkpoint, in its ``data`` the ``patch_size`` and ``pixel_scale`` ("auto" or "stored")
        to score with: the user's if given, else those of the file, else the usual ones. In the
        released protocol the usual patch size, which is the index's, comes before the file's.

    Raises:
        CheckpointError: As ``load_checkpoint``, or the network takes other dates or bands.
        UserError: Batch or patch size do not go with per-window CAM weights.
    """
    loaded = load_checkpoint(settings.checkpoint, settings.patch_size or facts["patch_size"])
    if loaded.network != "caim_net":
        raise CheckpointError(
            f"{settings.checkpoint}: found weights of {loaded.network}, a network for image pairs, "
            "expected caim_net; score them by Test_CTMA.py."
        )
    fixed = loaded.arguments.get("cam_windows")
    if settings.protocol == "released" and not fixed:  # the index's patches decide, not ours
        usual = facts["patch_size"]
    else:
        usual = loaded.data.get("patch_size", facts["patch_size"])
    patch_size = settings.patch_size or usual
    say(f"{settings.checkpoint}: weights of {loaded.summary()}")
    found = (loaded.arguments.get("num_dates"), loaded.arguments.get("in_channels"))
    expected = (facts["num_dates"], len(facts["bands"]))
    if found != expected:
        raise CheckpointError(
            f"{settings.checkpoint}: found weights for {found[0]} dates of {found[1]} bands, "
            f"expected {expected[0]} of {expected[1]} for {facts['name']}; use the checkpoint or "
            "the Test program of the other data set."
        )
    trained_bands = loaded.data.get("bands", facts["bands"])
    if list(trained_bands) != list(facts["bands"]):
        raise CheckpointError(
            f"{settings.checkpoint}: trained on bands {trained_bands}, expected "
            f"{list(facts['bands'])}; the order of bands differs."
        )
    if settings.share_cam:
        loaded = share_cam(loaded)
    check_windows(loaded, settings.checkpoint, settings.batch_size, patch_size)
    chosen = {"patch_size": patch_size, "pixel_scale": _scale(settings, loaded)}
    return replace(loaded, data={**facts, **loaded.data, **chosen})


def share_cam(loaded: Checkpoint) -> Checkpoint:
    """Average a checkpoint's per-window CAM weights, and say how much they differed.

    Raises:
        UserError: They are shared already.
    """
    kind = loaded.arguments.get("cam", "shared")
    if kind != "per_window":
        raise UserError(
            f"--share-cam: found CAM weights that are {kind}, expected per_window; leave the flag "
            "out."
        )
    state, spread = share_cam_weights(loaded.state_dict)
    for name, (std, largest) in spread.items():
        say(f"{name}: shared; the spread over windows dropped: std {std:.2e}, max {largest:.2e}")
    arguments = {k: v for k, v in loaded.arguments.items() if k != "cam_windows"}
    return replace(loaded, state_dict=state, arguments={**arguments, "cam": "shared"})


def check_windows(loaded: Checkpoint, path: Path, batch_size: int, patch_size: int) -> None:
    """Refuse batch and patch sizes that per-window CAM weights have no place for.

    Raises:
        UserError: They do not go together.
    """
    windows = loaded.arguments.get("cam_windows")
    if windows and (batch_size > windows[0] or patch_size != windows[1]):
        raise UserError(
            f"{path}: its per-window CAM weights belong to batches of {windows[0]} patches of "
            f"{windows[1]}×{windows[2]}; found --batch-size {batch_size} --patch-size "
            f"{patch_size}. Use --batch-size {windows[0]} or less and --patch-size {windows[1]}, "
            "or share the weights (--share-cam of Test_*.py, Predict.py and "
            "models/weights/convert.py)."
        )


def _scale(settings: Any, loaded: Checkpoint) -> str:
    """How pixel values are scaled for these weights."""
    if settings.pixel_scale != "checkpoint":
        return str(settings.pixel_scale)
    scale = str(loaded.data.get("pixel_scale", "auto"))
    if scale == "stored":
        say("pixel values are used as stored, as in training (--pixel-scale auto would scale).")
    return scale
