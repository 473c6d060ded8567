"""Writing a network as an ONNX file that says what it is and computes what the network computes.

Batch size is free, and so are height and width (multiples of 4) unless CAM weights are kept per
window. Every file is run by onnxruntime and compared with the network before it gets its name.
Running such files is models/weights/onnx_network.py's.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from models import CAIMNet, ChangeMaps
from models.weights.onnx_network import (
    INPUT,
    OUTPUTS,
    OnnxFacts,
    OnnxNetwork,
    onnx_package,
)
from utils.errors import CaimError, UserError
from utils.files import atomic_path

__all__ = ["OPSET", "TOLERANCE", "Agreement", "described", "export_onnx"]

# The first set of operators with one for attention. Older ones spell it out as two products and a
# softmax: with onnxruntime 1.32 on a CPU 1.1 instead of 0.55 GiB for 64×64 pixels. And a runtime
# that knows how may compute it without the matrix of all pairs of pixels.
OPSET = 23
TOLERANCE = 1e-4  # largest difference of a probability from the network's
CHECKED_SIZE = 64  # tiles are checked up to this side, batches up to half of it: memory

_DESCRIPTION = (
    "CAIM-Net. images (B, T, C, H, W) float32, dates in order, scaled as data/pixel_scale in the "
    "metadata says. moment_prob (B, T, H, W): 0 = unchanged, k = changed between date k-1 and k; "
    "area_prob (B, 2, H, W): 1 = changed. Decide by moment_prob: changed where one of 1... is "
    "larger than 0."
)


class Agreement(NamedTuple):
    """Agreement of a file with its network, over all images it was checked with.

    Attributes:
        largest_difference: Of any moment or area probability.
        equal_labels: Share of pixels with the same change moment, 0…1.
        pixels: How many were compared.
    """

    largest_difference: float
    equal_labels: float
    pixels: int


def export_onnx(
    network: nn.Module,
    path: Path,
    *,
    num_dates: int,
    in_channels: int,
    tile_size: int,
    facts: OnnxFacts,
    opset: int = OPSET,
) -> Agreement:
    """Write a network as one ONNX file, whole and checked or not at all.

    Args:
        network: A ``CAIMNet``, as ``Checkpoint.build`` gives it; left as it is.
        path: Where to; an existing file is replaced only when the new one is complete.
        num_dates: T.
        in_channels: C.
        tile_size: H = W it is checked with, and the only one with per-window CAM weights.
        facts: What the file shall say about itself.
        opset: Version of the ONNX operators.

    Returns:
        How well the file agrees with the network.

    Raises:
        UserError: A package is missing, the network is of another kind, or takes other images.
        CaimError: PyTorch cannot write it, or the file gives other maps than the network.
    """
    for name in ("onnx", "onnxruntime", "onnxscript"):
        onnx_package(name)
    if not isinstance(network, CAIMNet):
        raise UserError(
            f"{path}: found a {type(network).__name__} to export, expected a CAIMNet; use its "
            "checkpoint as it is."
        )
    if path.is_dir():
        raise UserError(f"{path}: found a folder, expected the name of an ONNX file in it.")
    reference = copy.deepcopy(network).cpu().eval()
    slots = facts.arguments.get("cam_windows")
    probes = _probes(num_dates, in_channels, tile_size, slots[0] if slots else None)
    try:
        expected = [reference.predict(images) for images in probes]
    except ValueError as error:
        raise UserError(f"{path}: this network cannot be exported for {error}") from error
    content = described(_model(reference, path, probes[0], slots, opset), facts)
    with atomic_path(path) as partial:
        partial.write_bytes(content)
        written = OnnxNetwork(partial)
        maps = [written.predict_at_once(images) for images in probes]
        agreement = _agreement(list(zip(expected, maps, strict=True)))
        if not agreement.largest_difference <= TOLERANCE:  # NaN fails, too
            raise CaimError(
                f"{path}: the exported network differs by {agreement.largest_difference:.1e} from "
                f"the original (same moment in {agreement.equal_labels:.2%} of "
                f"{agreement.pixels:,} pixels), expected at most {TOLERANCE:.0e}; no file was "
                "written. Use the checkpoint as it is, and install the versions that "
                "requirements-onnx.txt names."
            )
    return agreement


def described(model: Any, facts: OnnxFacts) -> bytes:
    """The bytes of a file that says what it is.

    Args:
        model: An ``onnx.ModelProto``; its metadata is replaced.
        facts: What the file shall say about its network.
    """
    model.ClearField("metadata_props")
    for name, text in facts.properties().items():
        model.metadata_props.add(key=name, value=text)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class _Whole(nn.Module):
    """A copy of the network without blocks, whose maps are plain outputs.

    Into how many blocks a batch is cut depends on its size, which an exported graph must not fix.
    """

    def __init__(self, network: CAIMNet) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.network.block_pixels = None
        self.network.change_features = self._change_features  # type: ignore[method-assign]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        output = self.network(images)
        return output.moment_prob, output.area_prob

    def _change_features(self, images: Tensor) -> Tensor:
        states = self.network.states(self.network.differences(images))
        by_pixel: Tensor = rearrange(states, "b (h w) s d -> b h w s d", h=images.shape[3])
        return by_pixel


def _model(
    network: CAIMNet, path: Path, images: Tensor, slots: tuple[int, int, int] | None, opset: int
) -> Any:
    """The network as an ``onnx.ModelProto``, traced with images like these."""
    most = slots[0] if slots else None
    axes: dict[int, Any] = {} if most == 1 else {0: torch.export.Dim("B", max=most)}
    if slots is None:
        axes |= {3: 4 * torch.export.Dim("h"), 4: 4 * torch.export.Dim("w")}
    sample = images if most == 1 else images.expand(2, *images.shape[1:])
    try:
        # The exporter by torch.export: the older one, by TorchScript, fails on this network, since
        # it does not know the shape of a kernel that BEConv computes.
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                _Whole(network).eval(),
                (sample,),
                dynamo=True,
                dynamic_shapes=(axes,),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                opset_version=opset,
                verbose=False,
            )
        assert program is not None
        model = program.model_proto
        _strip(model)
        onnx_package("onnx").checker.check_model(model, full_check=True)
    except Exception as error:  # the exporter fails in many ways
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CaimError(
            f"{path}: PyTorch {torch.__version__} cannot write this network as ONNX with opset "
            f"{opset} ({type(error).__name__}: {reason}), expected it to; no file was written. "
            "Install the versions that requirements.txt and requirements-onnx.txt name."
        ) from error
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter tells its developers; what fails is raised all the same."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _strip(model: Any) -> None:
    """Drop what the exporter notes of its own work: source lines, folders of this machine."""
    graph = model.graph
    parts = (graph.node, graph.input, graph.output, graph.initializer)
    for part in (graph, *(entry for entries in parts for entry in entries)):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")  # shapes in between follow from the operators
    graph.name, model.doc_string = "caim_net", _DESCRIPTION


def _probes(num_dates: int, in_channels: int, tile_size: int, slots: int | None) -> list[Tensor]:
    """Batches (B, T, C, H, W) float32 to compare with: other sizes, nothing changed, flat."""
    if tile_size % 4 or tile_size <= 0:
        raise UserError(f"export: found tile size {tile_size}, expected a positive multiple of 4.")
    if slots is None:
        large, small = min(tile_size, CHECKED_SIZE), min(tile_size, CHECKED_SIZE // 2)
        sizes = [(1, large, large), (3, small, small), (2, small, small + 4)]
    else:
        sizes = [(B, tile_size, tile_size) for B in (1, min(3, slots), min(3, slots))]
    generator = torch.Generator().manual_seed(0)
    batches = [
        torch.rand(B, num_dates, in_channels, H, W, generator=generator) for B, H, W in sizes
    ]
    for batch in batches:
        half = batch.shape[3] // 2
        batch[:, num_dates // 2 :, :, :half] *= 0.5  # a change in the upper half
    # Windows in which every date scores alike must give no NaN. (Where they score alike but for
    # rounding, the network stretches that rounding, and differs from itself by threads, too.)
    batches[-1][0] = batches[-1][0, :1]  # no change at all
    batches[-1][-1, :, :, half:] = 0.3  # a flat area
    return [*batches, torch.zeros_like(batches[-1])]


def _agreement(pairs: list[tuple[ChangeMaps, ChangeMaps]]) -> Agreement:
    largest, equal, pixels = 0.0, 0, 0
    for ours, theirs in pairs:
        assert ours.moment_prob is not None
        assert theirs.moment_prob is not None
        for one, other in (
            (ours.moment_prob, theirs.moment_prob),
            (ours.area_prob, theirs.area_prob),
        ):
            difference = (one - other).abs().max().item()
            largest = difference if not difference <= largest else largest  # NaN stays
        equal += int((ours.moment_label() == theirs.moment_label()).sum())
        pixels += ours.moment_label().numel()
    return Agreement(largest, equal / pixels, pixels)
