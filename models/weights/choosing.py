"""The weights a program works with: checked against data and settings, averaged where asked.

Reading the files is in ``models.weights.checkpoint``; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from models import build_network, load_backbone
from models.weights.checkpoint import Checkpoint, load_checkpoint
from models.weights.reading import read_state_file
from models.weights.released_caim import share_cam_weights
from models.weights.takeover import take_over
from utils.errors import CheckpointError, UserError
from utils.progress import say

__all__ = [
    "backbone_from",
    "check_windows",
    "load_for_scoring",
    "load_pair_weights",
    "network_to_train",
    "shared_cam",
]

PAIR_BANDS = 3  # pairs are read as red, green, blue


def network_to_train(
    arguments: Mapping[str, Any],
    checkpoint: Path | None,
    *,
    batch_size: int,
    patch_size: int | None,
    network: str = "caim_net",
    bands: Sequence[str] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """A new network, or one that goes on from given weights, and its constructor arguments.

    Args:
        arguments: How a new network is built.
        checkpoint: None, or weights of ours or the authors' to start from; the network is then
            built as that file says, and differences are said aloud. Of weights of CAIM-Net for
            other dates or bands is taken what fits, see ``takeover``.
        batch_size: Patches a step.
        patch_size: Their side in pixels; None where pairs are taken as a whole.
        network: Name for ``models.build_network``.
        bands: Names of the data's bands.

    Raises:
        CheckpointError: As ``load_checkpoint``, or the weights are of another network, or those
            of CTMA for other bands.
        UserError: Batch or patch size do not go with per-window CAM weights.
    """
    if checkpoint is None:
        return build_network(network, arguments), dict(arguments)
    loaded = load_checkpoint(checkpoint, patch_size)
    say(f"starting from {checkpoint}: {loaded.summary()}")
    if loaded.network != network:
        raise CheckpointError(
            f"{checkpoint}: found weights of {loaded.network}, expected {network}; use "
            "the training program of that network."
        )
    if network == "ctma":  # what shapes do not tell, and what a file leaves to its default
        left_out = arguments if loaded.origin == "released" else {"in_channels": PAIR_BANDS}
        loaded = replace(loaded, arguments={**left_out, **loaded.arguments})
    if network == "caim_net" and _is_for_others(loaded, arguments, bands):
        return _taken_over(loaded, arguments, bands)
    for name in ("num_dates", "in_channels"):
        if loaded.arguments.get(name) != arguments.get(name):
            raise CheckpointError(
                f"{checkpoint}: found weights with {name}={loaded.arguments.get(name)}, "
                f"expected {arguments[name]}; use weights of the same data set."
            )
    check_windows(loaded, checkpoint, batch_size, patch_size)
    _say_changed(loaded.arguments, arguments)
    return loaded.build(), loaded.arguments


def _say_changed(form: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    changed = {name: value for name, value in form.items() if asked.get(name, value) != value}
    if changed:
        say(f"the model is built as in that file, not by the flags: {changed}")


def _is_for_others(
    loaded: Checkpoint, arguments: Mapping[str, Any], bands: Sequence[str] | None
) -> bool:
    """Whether weights are for other dates or bands than those at hand."""
    bands_before = loaded.data.get("bands")
    return (
        loaded.arguments.get("num_dates") != arguments.get("num_dates")
        or loaded.arguments.get("in_channels") != arguments.get("in_channels")
        or (bands_before is not None and bands is not None and list(bands_before) != list(bands))
    )


def _taken_over(
    loaded: Checkpoint, arguments: Mapping[str, Any], bands: Sequence[str] | None
) -> tuple[nn.Module, dict[str, Any]]:
    """A network for the data at hand that starts from weights for other dates or bands."""
    if loaded.arguments.get("cam") == "per_window":
        loaded = shared_cam(loaded)
    here = ("in_channels", "num_dates", "dropout")
    form = {**loaded.arguments, **{name: arguments[name] for name in here if name in arguments}}
    network = build_network("caim_net", form)
    taken = take_over(
        network.state_dict(),
        loaded.build().state_dict(),
        bands=(bands or [], loaded.data.get("bands") or []),
        dates=(form["num_dates"], loaded.arguments["num_dates"]),
        num_heads=form.get("num_heads", 4),
    )
    network.load_state_dict(taken.state)
    _say_changed(form, arguments)
    for line in taken.lines():
        say(line)
    return network, form


def load_for_scoring(
    checkpoint: Path,
    facts: Mapping[str, Any],
    *,
    protocol: str,
    patch_size: int | None,
    batch_size: int,
    pixel_scale: str,
    share_cam: bool,
) -> Checkpoint:
    """The weights that a Test program was asked for, checked against its data set.

    Args:
        checkpoint: The file.
        facts: num_dates, bands and patch_size of the data set at hand, and the pixel_scale of its
            released program, for files that do not say theirs.
        protocol: ``full`` or ``released``; in the latter the usual patch size, which is the
            index's, comes before the file's.
        patch_size: Side of the patches in pixels, None = as in training.
        batch_size: Patches at a time.
        pixel_scale: ``auto``, ``stored`` or ``checkpoint`` (as the file says).
        share_cam: Whether per-window CAM weights are averaged.

    Returns:
        The checkpoint, in its ``data`` the ``patch_size`` and ``pixel_scale`` ("auto" or "stored")
        to score with: the user's if given, else those of the file, else the usual ones.

    Raises:
        CheckpointError: As ``load_checkpoint``, or the network takes other dates or bands.
        UserError: Batch or patch size do not go with per-window CAM weights.
    """
    loaded = load_checkpoint(checkpoint, patch_size or facts["patch_size"])
    say(f"{checkpoint}: weights of {loaded.summary()}")
    _require_fitting(checkpoint, loaded, facts)
    fixed = loaded.arguments.get("cam_windows")
    usual = facts["patch_size"]
    if protocol != "released" or fixed:  # else the index's patches decide, not ours
        usual = loaded.data.get("patch_size", usual)
    side = patch_size or usual
    if share_cam:
        loaded = shared_cam(loaded)
    check_windows(loaded, checkpoint, batch_size, side)
    chosen = {"patch_size": side, "pixel_scale": _scale(pixel_scale, loaded, facts)}
    return replace(loaded, data={**facts, **loaded.data, **chosen})


def load_pair_weights(
    checkpoint: Path | None, usual_fusion: tuple[float, float], given: Mapping[str, Any]
) -> tuple[Path, Checkpoint]:
    """The weights of CTMA that Test_CTMA.py was asked for, with what the file does not hold.

    Fusion weights, mask threshold and length of the video are numbers of the program, not of the
    file, in released checkpoints.

    Args:
        checkpoint: Weights of ours or the authors'.
        usual_fusion: Fusion weights of the data set, for a released file.
        given: fusion_weights, mask_threshold and video_len; None for the file's or the usual.

    Returns:
        The file, and what it holds.

    Raises:
        UserError: No file is named.
        CheckpointError: As ``load_checkpoint``, or the weights are of another network or number of
            bands.
    """
    if checkpoint is None:
        raise UserError(
            "--checkpoint: found none, expected a weights file; Train_CTMA.py writes best.pth. No "
            "weights of CTMA are shipped."
        )
    loaded = load_checkpoint(checkpoint)
    if loaded.network != "ctma":
        raise CheckpointError(
            f"{checkpoint}: found weights of {loaded.network}, a network for time series, "
            "expected ctma; score them by Test_Dynamic.py or Test_SpaceNet7.py."
        )
    bands = loaded.arguments.get("in_channels", PAIR_BANDS)
    if bands != PAIR_BANDS:
        raise CheckpointError(
            f"{checkpoint}: found weights for {bands} bands, expected {PAIR_BANDS}; pairs are read "
            "as red, green, blue."
        )
    asked = {name: value for name, value in given.items() if value is not None}
    arguments = {"fusion_weights": usual_fusion, **loaded.arguments, **asked}
    fused = " ".join(f"{weight:g}" for weight in arguments["fusion_weights"])
    say(f"{checkpoint}: weights of {loaded.summary()}; fused by {fused}")
    return checkpoint, replace(loaded, arguments=arguments)


def backbone_from(path: Path | None) -> Callable[[nn.Module], None] | None:
    """Start of a new network's ResNet-34 from an ImageNet file on disk; None without a file.

    Only training a new network may want it: weights of CTMA hold their own.

    Raises:
        CheckpointError: When called: the file cannot be read, or its tensors do not fit.
    """
    if path is None:
        return None

    def start(network: nn.Module) -> None:
        try:
            load_backbone(network, read_state_file(path))
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        say(f"ResNet-34 starts from {path}")

    return start


def shared_cam(loaded: Checkpoint) -> Checkpoint:
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
    arguments["cam"] = "shared"  # other maps: what was measured of them holds no more
    return replace(loaded, state_dict=state, arguments=arguments, bfloat16={})


def check_windows(loaded: Checkpoint, path: Path, batch_size: int, patch_size: int | None) -> None:
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


def _require_fitting(path: Path, loaded: Checkpoint, facts: Mapping[str, Any]) -> None:
    """Refuse weights that are not for a data set's dates and bands."""
    if loaded.network != "caim_net":
        raise CheckpointError(
            f"{path}: found weights of {loaded.network}, a network for image pairs, "
            "expected caim_net; score them by Test_CTMA.py."
        )
    taken = (loaded.arguments.get("num_dates"), loaded.arguments.get("in_channels"))
    expected = (facts["num_dates"], len(facts["bands"]))
    if taken != expected:
        raise CheckpointError(
            f"{path}: found weights for {taken[0]} dates of {taken[1]} bands, "
            f"expected {expected[0]} of {expected[1]} for {facts['name']}; use the checkpoint or "
            "the Test program of the other data set."
        )
    trained_bands = loaded.data.get("bands", facts["bands"])
    if list(trained_bands) != list(facts["bands"]):
        raise CheckpointError(
            f"{path}: trained on bands {trained_bands}, expected "
            f"{list(facts['bands'])}; the order of bands differs."
        )


def _scale(pixel_scale: str, loaded: Checkpoint, facts: Mapping[str, Any]) -> str:
    """Scale of pixel values for these weights."""
    if pixel_scale != "checkpoint":
        return pixel_scale
    scale = str(loaded.data.get("pixel_scale", facts["pixel_scale"]))
    if scale == "stored":
        say("pixel values are used as stored, as in training (--pixel-scale auto would scale).")
    return scale
