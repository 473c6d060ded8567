"""Networks in ONNX files: what such a file says about itself, and running it by onnxruntime.

Needs ``requirements-onnx.txt``, which is imported only here and in onnx_export.py, and only when
used. Writing the files is onnx_export.py's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import ChangeMaps, check_series
from models.weights.checkpoint import Checkpoint, decision_faults, facts_faults
from models.weights.reading import file_head, is_plain, torch_file_starts
from models.weights.sheet import UNKNOWN
from utils.errors import CaimError, CheckpointError, optional_package
from utils.files import parse_json
from utils.progress import say

__all__ = [
    "FORMAT",
    "INPUT",
    "OUTPUTS",
    "OnnxFacts",
    "OnnxNetwork",
    "onnx_package",
]

FORMAT = "caim-net onnx 1"
INPUT, OUTPUTS = "images", ("moment_prob", "area_prob")
AXES = 5  # of the input

# The attention matrix of heads × (H·W)² numbers is what memory goes into; more series at a time
# make a CPU no faster (measured). 64×64 pixels take 256 MiB for one series.
MATRIX_BYTES = {"cpu": 1 << 26, "cuda": 1 << 30}


@dataclass(frozen=True)
class OnnxFacts:
    """Facts in an ONNX file of ours about its network, as its checkpoint said them.

    Attributes:
        network: Name for ``models.build_network``.
        arguments: Its constructor arguments.
        data: What it was trained on: num_dates, bands, pixel_scale, patch_size.
        origin: Whose checkpoint it was, "ours" or "released".
        checkpoint_sha256: Of that file.
        decision: How probabilities become labels, as in the checkpoint.
        trained_on: What it learnt from, one sentence.
    """

    network: str
    arguments: dict[str, Any]
    data: dict[str, Any]
    origin: str
    checkpoint_sha256: str
    decision: dict[str, Any] = field(default_factory=dict)
    trained_on: str = UNKNOWN

    @classmethod
    def of(cls, loaded: Checkpoint, path: Path) -> OnnxFacts:
        """The facts of a checkpoint that was read from ``path``."""
        facts = loaded.facts(path)
        return cls(
            loaded.network, dict(loaded.arguments), dict(loaded.data), loaded.origin,
            facts["sha256"], dict(loaded.decision), facts["trained_on"],
        )  # fmt: skip

    def checkpoint(self) -> Checkpoint:
        """The checkpoint it was written from, without parameters."""
        return Checkpoint(
            self.network, self.arguments, {}, self.origin, self.data, {"about": self.trained_on},
            decision=self.decision,
        )  # fmt: skip

    def properties(self) -> dict[str, str]:
        """Name → text, for the file's metadata; lists and dictionaries as JSON."""
        return {
            "format": FORMAT,
            "network": self.network,
            "arguments": _json(self.arguments),
            "data": _json(self.data),
            "origin": self.origin,
            "checkpoint_sha256": self.checkpoint_sha256,
            "decision": _json(self.decision),
            "trained_on": self.trained_on,
        }

    @classmethod
    def from_properties(cls, path: Path, properties: Mapping[str, str]) -> OnnxFacts:
        """Read the facts back.

        Raises:
            CheckpointError: They are not there, or of another version.
        """
        version = properties.get("format")
        if version != FORMAT:
            kind = f"format {version!r}" if version else "an ONNX file that does not say what it is"
            raise CheckpointError(
                f"{path}: found {kind}, expected {FORMAT!r}; it comes from another program or "
                "version. Write it anew from the checkpoint with Predict.py --export-onnx."
            )
        try:
            facts = cls(
                properties["network"],
                _object(properties, "arguments"),
                _object(properties, "data"),
                properties["origin"],
                properties["checkpoint_sha256"],
                _object({"decision": "{}", **properties}, "decision"),
                properties.get("trained_on", UNKNOWN),
            )
        except (KeyError, ValueError, TypeError) as error:
            faults = [f"{type(error).__name__}: {error}"]
        else:
            faults = facts_faults(facts.arguments, facts.data) + decision_faults(facts.decision)
        if faults:
            raise CheckpointError(
                f"{path}: its metadata cannot be used ({'; '.join(faults)}), expected "
                "network, arguments, data, origin and checkpoint_sha256; the file was edited. "
                "Write it anew from the checkpoint with Predict.py --export-onnx."
            )
        return facts


def _object(properties: Mapping[str, str], name: str) -> dict[str, Any]:
    """A JSON object of plain values in the metadata.

    Raises:
        KeyError: It is missing.
        ValueError: It is none.
    """
    value = parse_json(properties[name].encode())
    if not isinstance(value, dict) or not is_plain(value):
        raise ValueError(f"{name} is no object of plain values")
    return value


class OnnxNetwork:
    """A network in an ONNX file, used like ``models.CAIMNet`` in eval mode.

    It takes as many threads as ``torch.get_num_threads()`` says when it is made.

    Args:
        path: Written by ``models.weights.onnx_export.export_onnx``.
        device: Where to run: a CUDA device, if the installed onnxruntime can, else the CPU.

    Attributes:
        facts: What the file says about its network and data.

    Raises:
        UserError: onnxruntime is not installed.
        CheckpointError: There is no such file, it is none of ours, or it is damaged.
    """

    def __init__(self, path: Path, device: torch.device | None = None) -> None:
        runtime = onnx_package("onnxruntime")
        content = _read(Path(path))
        self._session = _session(runtime, Path(path), content, device or torch.device("cpu"))
        properties = self._session.get_modelmeta().custom_metadata_map
        self.facts = OnnxFacts.from_properties(Path(path), properties)
        # T and C as the graph itself has them, whatever the arguments leave to the constructor
        self.num_dates, self.in_channels = self._dates_and_bands(Path(path))

    def predict(self, images: Tensor) -> ChangeMaps:
        """Change maps of images (B, T, C, H, W) float, on the device the images are on.

        With spatial attention few series go through at a time, which bounds memory and changes
        nothing; batch attention needs the whole batch at once.

        Raises:
            ValueError: The images are not what the network takes.
        """
        self._check(images)
        parts = [self._run(part) for part in torch.split(images, self._series_at_once(images))]
        moment_prob, area_prob = (torch.cat(maps) for maps in zip(*parts, strict=True))
        return ChangeMaps(area_prob, moment_prob)

    def predict_at_once(self, images: Tensor) -> ChangeMaps:
        """As ``predict``, all series in one run, whatever memory that takes."""
        self._check(images)
        moment_prob, area_prob = self._run(images)
        return ChangeMaps(area_prob, moment_prob)

    def _run(self, images: Tensor) -> tuple[Tensor, Tensor]:
        fed = np.ascontiguousarray(images.detach().cpu().float().numpy())
        try:
            moment_prob, area_prob = self._session.run(list(OUTPUTS), {INPUT: fed})
        except Exception as error:  # onnxruntime has no type of its own for want of memory
            raise CaimError(
                f"ONNX: onnxruntime failed on a batch of shape {tuple(images.shape)}, expected "
                "change maps. If memory ran out, choose smaller tiles (memory grows with the "
                "fourth power of their side) or predict with the checkpoint, which needs less. "
                f"({_first_line(error)})"
            ) from error
        return (
            torch.from_numpy(moment_prob).to(images.device),
            torch.from_numpy(area_prob).to(images.device),
        )

    def _series_at_once(self, images: Tensor) -> int:
        B, _, _, H, W = images.shape
        if self.facts.arguments.get("attention") == "batch":
            return B
        on_gpu = self._session.get_providers()[0] == "CUDAExecutionProvider"
        heads = int(self.facts.arguments.get("num_heads", 4))
        return max(1, MATRIX_BYTES["cuda" if on_gpu else "cpu"] // (heads * (H * W) ** 2 * 4))

    def _dates_and_bands(self, path: Path) -> tuple[int, int]:
        """T and C of the graph.

        Raises:
            CheckpointError: Its inputs and outputs are not those of ours, or its metadata name
                others.
        """
        inputs = {one.name: one.shape for one in self._session.get_inputs()}
        outputs = {one.name for one in self._session.get_outputs()}
        shape = inputs.get(INPUT, [])
        arguments = self.facts.arguments
        if inputs.keys() == {INPUT} and outputs >= set(OUTPUTS) and len(shape) == AXES:
            T, C = shape[1:3]
            if (arguments.get("num_dates", T), arguments.get("in_channels", C)) == (T, C):
                return T, C
        raise CheckpointError(
            f"{path}: found inputs {inputs} and outputs {sorted(outputs)} with metadata for "
            f"{arguments.get('num_dates')} dates of {arguments.get('in_channels')} bands, expected "
            f"{INPUT} (B, T, C, H, W) of these and {', '.join(OUTPUTS)}; the file was edited. "
            "Write it anew from the checkpoint with Predict.py --export-onnx."
        )

    def _check(self, images: Tensor) -> None:
        check_series(images, self.num_dates, self.in_channels, divisor=4)
        windows = self.facts.arguments.get("cam_windows")
        B, _, _, H, W = images.shape
        if windows and (windows[0] < B or tuple(windows[1:]) != (H, W)):
            raise ValueError(
                f"OnnxNetwork: found a batch of {B} images of {H}×{W}, expected at most "
                f"{windows[0]} of {windows[1]}×{windows[2]}: per-window CAM weights belong to one "
                "batch and patch size. Choose these, or export a checkpoint whose weights "
                "models/weights/convert.py --share-cam has shared."
            )


def onnx_package(name: str) -> Any:
    """One of the packages in requirements-onnx.txt; none sends what it was used for.

    Raises:
        UserError: It is not installed, or does not load.
    """
    purpose = "exporting to and predicting with ONNX"
    package = optional_package(name, "requirements-onnx.txt", purpose)
    if name == "onnxruntime":  # off already by ORT_DISABLE_TELEMETRY, see utils/__init__.py
        package.disable_telemetry_events()
    return package


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _read(path: Path) -> bytes:
    """The bytes of an ONNX file.

    Raises:
        CheckpointError: There is none, or it is something else.
    """
    head = file_head(path, "a network in an ONNX file", "Predict.py --export-onnx writes one.")
    if torch_file_starts(head):
        raise CheckpointError(
            f"{path}: found a torch file, expected an ONNX file; give it as --checkpoint without "
            "--backend onnx, or turn it into one with Predict.py --export-onnx."
        )
    return path.read_bytes()


def _session(runtime: Any, path: Path, content: bytes, device: torch.device) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, too
    # threads that wait by spinning take the cores from those that read and write tiles
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda":
        # as in PyTorch, float32 is multiplied in full
        gpu = {"device_id": str(device.index or 0), "use_tf32": "0"}
        if "CUDAExecutionProvider" in runtime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", gpu))
    try:
        session = runtime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # arbitrary bytes make the parser fail in any way
        raise CheckpointError(
            f"{path}: found no network that onnxruntime {runtime.__version__} can read "
            f"({len(content):,} bytes), expected an ONNX file as Predict.py --export-onnx writes "
            f"it; it is damaged, cut short or something else. Copy it again. ({_first_line(error)})"
        ) from error
    if device.type != "cpu" and session.get_providers()[0] == "CPUExecutionProvider":
        say(
            f"warning: the installed onnxruntime cannot use {device}, the network runs on the "
            "CPU. For CUDA install onnxruntime-gpu in place of onnxruntime."
        )
    return session


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(dict(content), sort_keys=True, ensure_ascii=False, allow_nan=False)
