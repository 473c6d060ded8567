"""Weights files: writing ours, reading ours and the authors', refusing what is neither.

A file of ours says how its network is built, which data it was trained for and how it scored, so
that nobody has to remember. Files are read with ``weights_only=True``: code inside never runs.

The released format is described in models/weights/released_caim.py.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models import build_network
from models.weights.released_caim import from_released, is_released
from models.weights.released_ctma import from_released_ctma, is_released_ctma
from utils.errors import CheckpointError
from utils.files import atomic_path, is_web_page, sha256

__all__ = [
    "FORMAT",
    "Checkpoint",
    "load_checkpoint",
    "read_state_file",
    "save_checkpoint",
]

FORMAT = "caim-net checkpoint 1"

# a score among the weights, as the authors' CTMA program stores it, is a number and no code
NUMPY_SCALARS: list[Any] = [
    (np._core.multiarray.scalar, f"{module}.multiarray.scalar")  # type: ignore[attr-defined]
    for module in ("numpy.core", "numpy._core")
]
NUMPY_SCALARS += [np.dtype, *(type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8"))]

RELEASED_PATCH_SIZE = 64
RELEASED_STORED_DATES = 6  # the released program for 6 dates (DynamicEarthNet) scales no values


@dataclass(frozen=True)
class Checkpoint:
    """What a weights file holds.

    Attributes:
        network: Name for ``models.build_network``.
        arguments: Its constructor arguments.
        state_dict: Its parameters, float32 on the CPU; counters stay whole numbers.
        origin: "ours" or "released".
        data: What it was trained on: name, num_dates, bands, pixel_scale, patch_size (ours).
        training: Epoch, scores, settings (ours).
        dropped: Keys of a released file that have no effect.
        resume: Optimiser state and what else a run needs to go on (only in last.pth).
    """

    network: str
    arguments: dict[str, Any]
    state_dict: dict[str, Tensor]
    origin: str = "ours"
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    resume: dict[str, Any] = field(default_factory=dict)

    def build(self) -> nn.Module:
        """The network with these weights, in eval mode on the CPU.

        Raises:
            CheckpointError: Weights and arguments do not go together.
        """
        try:
            network = build_network(self.network, self.arguments)
        except (ValueError, TypeError, RuntimeError) as error:
            raise CheckpointError(f"checkpoint: its network cannot be built: {error}") from error
        faults = _differences(network.state_dict(), self.state_dict)
        if faults:
            raise CheckpointError(
                f"checkpoint for {self.network}({self.arguments}): {len(faults)} tensors do not "
                "fit:\n  - " + "\n  - ".join(faults) + "\nLikely cause: the file was edited, or "
                "written by another version of this program. Use the file as it was written."
            )
        bad = [key for key, value in self.state_dict.items() if not value.isfinite().all()]
        if bad:
            raise CheckpointError(
                f"checkpoint: {len(bad)} tensors hold NaN or infinite values ({', '.join(bad[:3])}"
                "), expected numbers; the training that wrote it had diverged. Use an earlier one."
            )
        network.load_state_dict(self.state_dict)
        return network.eval()

    def facts(self, path: Path, checksum: str | None = None) -> dict[str, Any]:
        """What results say of the weights that they were made with.

        Args:
            path: The file they were read from.
            checksum: Its SHA-256, where that is known already.
        """
        return {
            "file": Path(path).name,
            "sha256": checksum or sha256(path),
            "origin": self.origin,
            "network": self.network,
            "arguments": self.arguments,
        }

    def summary(self) -> str:
        """What this is, in one line."""
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
    """
    dtype = torch.float16 if half else torch.float32
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
    content = read_state_file(path)
    patch_size = patch_size or RELEASED_PATCH_SIZE
    if content.get("format") == FORMAT:
        return _ours(path, content)
    if "format" in content and isinstance(content["format"], str):
        raise CheckpointError(
            f"{path}: found format {content['format']!r}, expected {FORMAT!r}; the file was "
            "written by another version of this program."
        )
    wrappers = ("state_dict", "model", "model_state_dict")
    inner = next((content[key] for key in wrappers if key in content), content)
    state = {
        str(key).removeprefix("module."): value
        for key, value in (inner.items() if isinstance(inner, Mapping) else ())
        if isinstance(value, Tensor)
    }
    if is_released_ctma(state):
        return _released_ctma(path, state)
    if not is_released(state):
        if "be_conv.weight" in state:
            raise CheckpointError(
                f"{path}: found a bare state_dict of this project's network, expected a file that "
                "also says how the network is built; write it with models.weights.checkpoint."
                "save_checkpoint, or use last.pth or best.pth of a training run."
            )
        shown = ", ".join(f"{k} {tuple(v.shape)}" for k, v in list(state.items())[:3])
        raise CheckpointError(
            f"{path}: found a file with {len(state)} tensors ({shown or 'none'} …), expected "
            "weights of CAIM-Net or CTMA, ours or the authors'; it belongs to another network."
        )
    try:
        released = from_released(state, patch_size)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    num_dates = released.arguments["num_dates"]
    data = {
        "num_dates": num_dates,
        "patch_size": patch_size,
        "pixel_scale": "stored" if num_dates == RELEASED_STORED_DATES else "auto",
    }
    return Checkpoint(
        "caim_net", released.arguments, released.state_dict, "released", data,
        dropped=released.dropped,
    )  # fmt: skip


def _released_ctma(path: Path, state: Mapping[str, Tensor]) -> Checkpoint:
    try:
        released = from_released_ctma(state)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    data = {"num_dates": 2, "pixel_scale": "auto"}
    return Checkpoint(
        "ctma", released.arguments, released.state_dict, "released", data, dropped=released.dropped
    )


def read_state_file(path: Path) -> dict[str, Any]:
    """Read a torch file as a dictionary of plain values and tensors; no code in it is run.

    Raises:
        CheckpointError: Says what the file is instead, and what to do.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: found a folder, expected a weights file (.pth) in it.")
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file, expected a weights file (.pth). best_model/README.md says "
            "where weights come from; Train_*.py writes last.pth and best.pth."
        )
    _refuse_what_is_no_torch_file(path)
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path}: found a pickle that holds more than tensors and plain values, expected a "
            "plain state dict; it was not opened, since loading it could run code. If you trust "
            f"its source, rewrite it there with torch.save(model.state_dict(), ...). ({reason})"
        ) from error
    except Exception as error:  # arbitrary bytes make the unpickler fail in any way
        raise CheckpointError(
            f"{path}: the file is damaged or cut short ({path.stat().st_size:,} bytes), expected "
            "a complete torch file; download or copy it again and compare its SHA-256. "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: found a {type(content).__name__}, expected a dictionary of tensors; save "
            "the network's state_dict()."
        )
    return dict(content)


def _refuse_what_is_no_torch_file(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        raise CheckpointError(f"{path}: the file is empty, expected weights; download it again.")
    if is_web_page(head):
        raise CheckpointError(
            f"{path}: found a web page (HTML), expected weights; the download saved a login or "
            "error page. Open the address in a browser, sign in, and save the file itself."
        )
    if not head.startswith((b"PK\x03\x04", b"\x80")):
        kind = "text" if head.isascii() else "unknown bytes"
        raise CheckpointError(
            f"{path}: found {kind} (first bytes {head[:8]!r}), expected a torch file (.pth); "
            "this is no checkpoint."
        )


def _ours(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    kinds = {"network": str, "arguments": dict, "state_dict": dict}
    optional = {"data": dict, "training": dict, "resume": dict}
    missing = sorted(kinds.keys() - content.keys())
    if missing:
        raise CheckpointError(
            f"{path}: {missing} missing, expected in every file of format {FORMAT!r}; "
            "the file was edited. Use it as it was written."
        )
    faults = [
        f"{key} is a {type(content[key]).__name__}, expected a {kind.__name__}"
        for key, kind in (kinds | optional).items()
        if key in content and not isinstance(content[key], kind)
    ]
    if not faults and not all(isinstance(v, Tensor) for v in content["state_dict"].values()):
        faults = ["state_dict holds other things, expected tensors only"]
    if faults:
        raise CheckpointError(
            f"{path}: {'; '.join(faults)}; the file was edited. Use it as it was written."
        )
    state = {
        key: value.float() if value.is_floating_point() else value
        for key, value in content["state_dict"].items()
    }
    return Checkpoint(
        network=content["network"],
        arguments=dict(content["arguments"]),
        state_dict=state,
        data=dict(content.get("data", {})),
        training=dict(content.get("training", {})),
        resume=dict(content.get("resume", {})),
    )


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    faults = [f"{k}: missing, expected {tuple(expected[k].shape)}" for k in expected.keys() - found]
    faults += [
        f"{k}: found {tuple(found[k].shape)}, expected none" for k in found.keys() - expected
    ]
    faults += [
        f"{k}: found {tuple(found[k].shape)}, expected {tuple(expected[k].shape)}"
        for k in expected.keys() & found.keys()
        if found[k].shape != expected[k].shape
    ]
    return sorted(faults)
