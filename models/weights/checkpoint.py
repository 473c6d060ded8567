"""Weights files: writing ours, reading ours and the authors', refusing what is neither.

A file of ours says how its network is built, which data it was trained for and how it scored, so
that nobody has to remember. Files are read with ``weights_only=True``: code inside never runs.

The released format is described in models/weights/released_caim.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import NETWORKS, build_network
from models.weights.probability import probability_faults
from models.weights.reading import is_plain, read_state_file, tensors_of
from models.weights.released_caim import arguments_of, from_released, is_released
from models.weights.released_ctma import from_released_ctma, is_released_ctma
from models.weights.sheet import trained_on
from utils.errors import CheckpointError
from utils.files import atomic_path, sha256
from utils.progress import say

__all__ = [
    "FORMAT",
    "Checkpoint",
    "bfloat16_faults",
    "decision_faults",
    "facts_faults",
    "load_checkpoint",
    "save_checkpoint",
]

FORMAT = "caim-net checkpoint 1"

RELEASED_PATCH_SIZE = 64
BARE_MARKS = {"be_conv.weight", "encoder.merge.0.weight", "coarse_moment2.conv2.weight"}
SCALES = ("auto", "stored", "reflectance")
LARGEST_OFFSET = 50  # of log probabilities; those of float32 differ by 103 at most
HALF_MAX = 65504.0
LONGEST_PLACE = 200  # letters that say what was measured on
MOST_COUNTED = 1 << 16  # dates, bands or pixels of a side

KINDS: dict[str, type] = {
    "network": str, "arguments": dict, "state_dict": dict, "data": dict, "training": dict,
    "decision": dict, "bfloat16": dict, "resume": dict,
}  # fmt: skip
OPTIONAL = {"data", "training", "decision", "bfloat16", "resume"}


@dataclass(frozen=True)
class Checkpoint:
    """Content of a weights file.

    Attributes:
        network: Name for ``models.build_network``.
        arguments: Its constructor arguments.
        state_dict: Its parameters, float32 on the CPU; counters stay whole numbers.
        origin: "ours" or "released".
        data: What it was trained on: name, num_dates, bands, pixel_scale, patch_size (ours).
        training: Epoch, scores, settings, ``about`` what it learnt from (ours).
        dropped: Keys of a released file that have no effect.
        decision: How probabilities become labels: ``offset``, what log p − log p_0 must exceed,
            and what else is to be known of how it was found; empty for the plain rule.
            ``probability``: the curve from leads to probabilities, see models/weights/probability.
        bfloat16: How far maps in bfloat16 agree with those in float32: ``agreement``, the share of
            pixels that get the same label, ``pixels``, how many were compared, and
            ``measured_on``; empty where nobody has measured it.
        resume: Optimiser state and what else a run needs to go on (only in last.pth).
    """

    network: str
    arguments: dict[str, Any]
    state_dict: dict[str, Tensor]
    origin: str = "ours"
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    decision: dict[str, Any] = field(default_factory=dict)
    bfloat16: dict[str, Any] = field(default_factory=dict)
    resume: dict[str, Any] = field(default_factory=dict)

    @property
    def offset(self) -> float:
        """The offset of its decision, 0 where it carries none."""
        return float(self.decision.get("offset", 0.0))

    def build(self) -> nn.Module:
        """The network with these weights, in eval mode on the CPU.

        Raises:
            CheckpointError: Weights and arguments do not go together.
        """
        try:
            with torch.device("meta"):  # takes no memory, whatever sizes the arguments ask for
                expected = build_network(self.network, self.arguments).state_dict()
        except (ValueError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
            raise CheckpointError(f"checkpoint: its network cannot be built: {error}") from error
        faults = _differences(expected, self.state_dict)
        if faults:
            raise CheckpointError(
                f"checkpoint for {self.network}({self.arguments}): {len(faults)} tensors do not "
                "fit:\n  - " + "\n  - ".join(faults) + "\nLikely cause: the file was edited, or "
                "written by another version of this program. Use the file as it was written."
            )
        bad = [  # as the network stores them: numbers of 64 bits may be too large for 32
            key
            for key, value in self.state_dict.items()
            if not value.to(expected[key].dtype).isfinite().all()
        ]
        if bad:
            raise CheckpointError(
                f"checkpoint: {len(bad)} tensors hold NaN or infinite values ({', '.join(bad[:3])}"
                "), expected numbers; the training that wrote it had diverged. Use an earlier one."
            )
        network = build_network(self.network, self.arguments)
        network.load_state_dict(self.state_dict)
        return network.eval()

    def facts(self, path: Path, checksum: str | None = None) -> dict[str, Any]:
        """Facts of the weights for results that are made with them.

        Args:
            path: The file they were read from.
            checksum: Its SHA-256, where that is known already.
        """
        checksum = checksum or sha256(path)
        return {
            "file": Path(path).name,
            "sha256": checksum,
            "trained_on": trained_on(Path(path), checksum, self.training),
            "origin": self.origin,
            "network": self.network,
            "arguments": self.arguments,
        }

    def summary(self) -> str:
        """Network, origin and arguments in one line."""
        by = "the authors' format" if self.origin == "released" else "ours"
        given = ", ".join(f"{key} {value}" for key, value in self.arguments.items())
        dropped = f"; {len(self.dropped)} tensors without effect dropped" if self.dropped else ""
        epoch = f"; epoch {self.training['epoch']}" if "epoch" in self.training else ""
        return f"{self.network} ({by}: {given}{epoch}{dropped})"


def save_checkpoint(path: Path, checkpoint: Checkpoint, half: bool = False) -> None:
    """Write a weights file, whole or not at all.

    Args:
        path: Where to; an existing file is replaced only when the new one is complete.
        checkpoint: What to write.
        half: Store parameters in 16 bits (float16) to halve the file.

    Raises:
        CheckpointError: A parameter is too large for 16 bits.
    """
    dtype = torch.float16 if half else torch.float32
    large = [
        key
        for key, value in checkpoint.state_dict.items()
        if half and value.is_floating_point() and not (value.abs() < HALF_MAX).all()
    ]
    if large:
        raise CheckpointError(
            f"{path}: {large[0]} holds numbers of {HALF_MAX:g} and more, expected smaller ones to "
            "store them in 16 bits; leave --half out."
        )
    content = {
        "format": FORMAT,
        "network": checkpoint.network,
        "arguments": checkpoint.arguments,
        "state_dict": {
            key: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype)
            for key, value in checkpoint.state_dict.items()
        },
        "data": checkpoint.data,
        "training": checkpoint.training,
        "decision": checkpoint.decision,
        "bfloat16": checkpoint.bfloat16,
        "resume": checkpoint.resume,
    }
    with atomic_path(path) as partial:
        torch.save(content, partial)


def load_checkpoint(path: Path, patch_size: int | None = None) -> Checkpoint:
    """Read a weights file of ours or of the authors; which one is seen from its content.

    Args:
        path: The file, whatever its name.
        patch_size: Training patch size of a released file, which stores B·H·W as one number; None
            = 64, that of the authors' files.

    Raises:
        CheckpointError: There is no such file, it is no checkpoint, damaged, of an unknown kind,
            or its tensors do not go together.
    """
    path = Path(path)
    content: Mapping[str, Any] = read_state_file(path)
    patch_size = patch_size or RELEASED_PATCH_SIZE
    for inner in content.values():  # a file of ours that somebody put into another dictionary
        if isinstance(inner, Mapping) and inner.get("format") == FORMAT:
            content = inner
    if content.get("format") == FORMAT:
        return _ours(path, content)
    if isinstance(content.get("format"), str):
        raise CheckpointError(
            f"{path}: found format {content['format'][:100]!r}, expected {FORMAT!r}; the file was "
            "written by another version of this program."
        )
    state = tensors_of(path, content)
    try:
        if is_released_ctma(state):
            return _released_ctma(state)
        if is_released(state):
            return _released(state, patch_size)
        if state.keys() >= BARE_MARKS:
            return _bare(path, state, patch_size)
    except (ValueError, TypeError, RuntimeError) as error:  # of another network, sizes do not fit
        raise CheckpointError(f"{path}: {error}") from error
    shown = ", ".join(f"{key[:100]} {tuple(v.shape)}" for key, v in list(state.items())[:3])
    raise CheckpointError(
        f"{path}: found a file with {len(state)} tensors ({shown or 'none'} …), expected "
        "weights of CAIM-Net or CTMA, ours or the authors'; it belongs to another network."
    )


def _released_ctma(state: Mapping[str, Tensor]) -> Checkpoint:
    released = from_released_ctma(state)
    data = {"num_dates": 2, "pixel_scale": "auto"}
    return Checkpoint(
        "ctma", released.arguments, released.state_dict, "released", data, dropped=released.dropped
    )


def _released(state: Mapping[str, Tensor], patch_size: int) -> Checkpoint:
    """Released weights of CAIM-Net; their scale of pixel values follows from their data set."""
    released = from_released(state, patch_size)
    data = {"num_dates": released.arguments["num_dates"], "patch_size": patch_size}
    return Checkpoint(
        "caim_net", released.arguments, released.state_dict, "released", data,
        dropped=released.dropped,
    )  # fmt: skip


def _bare(path: Path, state: Mapping[str, Tensor], patch_size: int) -> Checkpoint:
    """Parameters of our network without a word on how it is built; what shapes do not tell is said.

    Raises:
        ValueError: The parameters are not those of one network.
    """
    arguments = arguments_of(state, patch_size)
    say(
        f"warning: {path}: found parameters alone, which do not say how the network is built; "
        f"taken: {', '.join(f'{key} {value}' for key, value in arguments.items())}, patches of "
        f"{patch_size} pixels, values scaled to 0…1 (auto). If that is not how it was trained, the "
        "maps are wrong; last.pth and best.pth of a training run say it."
    )
    floats = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    data = {"num_dates": arguments["num_dates"], "pixel_scale": "auto", "patch_size": patch_size}
    return Checkpoint("caim_net", arguments, floats, "ours, parameters alone", data)


def _ours(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    missing = sorted(KINDS.keys() - OPTIONAL - content.keys())
    faults = [f"{key} is missing" for key in missing]
    faults += [
        f"{key} is a {type(content[key]).__name__}, expected a {kind.__name__}"
        for key, kind in KINDS.items()
        if key in content and not isinstance(content[key], kind)
    ]
    if not faults:
        faults = _value_faults(content)
    if faults:
        raise CheckpointError(
            f"{path}: found a file of format {FORMAT!r} in which {'; '.join(faults)}; the file was "
            "edited. Use it as it was written."
        )
    state = tensors_of(path, content["state_dict"])
    return Checkpoint(
        network=content["network"],
        arguments=dict(content["arguments"]),
        state_dict={k: v.float() if v.is_floating_point() else v for k, v in state.items()},
        data=dict(content.get("data", {})),
        training=dict(content.get("training", {})),
        decision=dict(content.get("decision", {})),
        bfloat16=dict(content.get("bfloat16", {})),
        resume=dict(content.get("resume", {})),
    )


def _value_faults(content: Mapping[str, Any]) -> list[str]:
    """Faults of the facts in a file of ours, whose entries have the right types."""
    faults = [
        f"{key} holds more than plain values of usual size"
        for key in ("arguments", "data", "training", "decision", "bfloat16")
        if not is_plain(content.get(key, {}))
    ]
    if content["network"] not in NETWORKS:
        faults.append(f"network is {content['network'][:100]!r}, expected {' or '.join(NETWORKS)}")
    if not all(isinstance(value, Tensor) for value in content["state_dict"].values()):
        faults.append("state_dict holds other things, expected tensors only")
    return faults or [
        *facts_faults(content["arguments"], content.get("data", {})),
        *decision_faults(content.get("decision", {})),
        *bfloat16_faults(content.get("bfloat16", {})),
    ]


def facts_faults(arguments: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    """Faults of what a file says of its network and its data, in plain values.

    Args:
        arguments: Of the network's constructor.
        data: What it was trained on.
    """
    faults = []
    for name in ("num_dates", "in_channels"):
        if not _counts(arguments.get(name, 2)):
            faults.append(f"{name} is {arguments[name]!r}, expected 1 … {MOST_COUNTED}")
    for name in ("num_dates", "patch_size"):
        if not _counts(data.get(name, 2)):
            faults.append(f"data/{name} is {data[name]!r}, expected 1 … {MOST_COUNTED}")
    bands = data.get("bands", [])
    if not (isinstance(bands, list | tuple) and all(isinstance(band, str) for band in bands)):
        faults.append("data/bands are no names")
    if data.get("pixel_scale", SCALES[0]) not in SCALES:
        faults.append(f"data/pixel_scale is {data['pixel_scale']!r}, expected one of {SCALES}")
    return faults


def decision_faults(decision: Mapping[str, Any]) -> list[str]:
    """Faults of the rule of decision in a file, in plain values."""
    offset = decision.get("offset", 0.0)
    faults = probability_faults(decision.get("probability"))
    number = isinstance(offset, int | float) and not isinstance(offset, bool)
    if not number or not abs(offset) <= LARGEST_OFFSET:
        faults.append(
            f"decision/offset is {offset!r}, expected −{LARGEST_OFFSET} … {LARGEST_OFFSET}"
        )
    return faults


def bfloat16_faults(measured: Mapping[str, Any]) -> list[str]:
    """Faults of what a file says of its maps in bfloat16, in plain values."""
    share, pixels, where = (measured.get(key) for key in ("agreement", "pixels", "measured_on"))
    if not measured:
        return []
    faults = []
    if not (isinstance(share, int | float) and not isinstance(share, bool) and 0 <= share <= 1):
        faults.append(f"bfloat16/agreement is {share!r}, expected a share, 0 … 1")
    if not (isinstance(pixels, int) and not isinstance(pixels, bool) and pixels > 0):
        faults.append(f"bfloat16/pixels is {pixels!r}, expected 1 or more")
    if not (isinstance(where, str) and where.isprintable() and 0 < len(where) <= LONGEST_PLACE):
        faults.append(f"bfloat16/measured_on is no name of 1 … {LONGEST_PLACE} letters")
    return faults


def _counts(value: object) -> bool:
    """Whether a value is a whole number of usual size."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_COUNTED


def _differences(expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    faults = [f"{k}: missing, expected {tuple(expected[k].shape)}" for k in expected.keys() - given]
    faults += [
        f"{k}: found {tuple(given[k].shape)}, expected none" for k in given.keys() - expected
    ]
    faults += [
        f"{k}: found {tuple(given[k].shape)}, expected {tuple(expected[k].shape)}"
        for k in expected.keys() & given.keys()
        if given[k].shape != expected[k].shape
    ]
    faults += [
        f"{k}: found {given[k].dtype}, expected {expected[k].dtype}"
        for k in expected.keys() & given.keys()
        if expected[k].is_floating_point() and not given[k].is_floating_point()
    ]
    return sorted(faults)
