"""Weights ready to map with: the network on its device, and what images have to be like for it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn

from data_processing.pairs.spec import PAIR_BANDS
from data_processing.scenes.spec import DatasetSpec, released_spec
from mapping.decision import PLAIN, Choice, Decision, probability_of
from mapping.prediction import Predicts, TilePlan, TileRunner
from models import CAIMNet, area_prob_bounds, gives_moments
from models.long_series import LongSeries
from models.weights.checkpoint import Checkpoint, load_checkpoint
from models.weights.choosing import check_windows, shared_cam
from models.weights.onnx_export import Agreement, export_onnx
from models.weights.onnx_network import OnnxFacts, OnnxNetwork
from models.weights.precision import precision_for
from models.weights.probability import Calibration
from utils.device import Precision, PrecisionChoice, choose_device
from utils.errors import UserError
from utils.execution import ready_to_run
from utils.files import sha256
from utils.progress import say
from utils.tiling import TileGrid

__all__ = ["Model", "load_model"]

PAIR = 2  # dates of a network for pairs
PATCH_SIZES = {"caim_net": 64, "ctma": 256}  # of the authors' weights, whose files do not tell it
SIDE_MULTIPLES = {"caim_net": 4, "ctma": 8}  # of tiles, as the networks take them
USUAL_BATCHES = {"caim_net": 8, "ctma": 1}


@dataclass(frozen=True)
class Model:
    """A network that is ready, and what it expects.

    Attributes:
        path: The weights file.
        checksum: Its SHA-256.
        weights: What the file holds.
        network: Gives change maps of tiles.
        bands: Names of the bands in order.
        num_dates: T.
        tile_size: Side of a tile in pixels, that of the patches in training if not told otherwise.
        pixel_scale: ``auto`` or ``stored``, see docs/data.md#pixel-values.
        device: Where the network runs.
        precision: Of its heavy part.
        backend: ``torch`` or ``onnx``.
        decision: Where a pixel counts as changed.
        calibration: What gives maps a probability of change; None if they get none.
    """

    path: Path
    checksum: str
    weights: Checkpoint
    network: Predicts
    bands: tuple[str, ...]
    num_dates: int
    tile_size: int
    pixel_scale: str
    device: torch.device
    precision: Precision = "float32"
    backend: str = "torch"
    decision: Decision = PLAIN
    calibration: Calibration | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest probability of the change area that the network can give."""
        if isinstance(self.network, LongSeries):
            return self.network.area_prob_bounds()
        return area_prob_bounds(self.weights.network, self.weights.arguments)

    @property
    def has_moments(self) -> bool:
        """Whether it says when something changed; a network for pairs says only whether."""
        return gives_moments(self.weights.network)

    @property
    def mixes_batch(self) -> bool:
        """Whether the map of a tile depends on the tiles that are in its batch."""
        arguments = self.weights.arguments
        return arguments.get("attention") == "batch" or arguments.get("cam") == "per_window"

    def for_dates(self, count: int) -> Model:
        """The model for series of so many dates: itself, or its network over choices of T dates.

        What probabilities rest on are single choices, so that fused ones get none.

        Raises:
            UserError: The network cannot be run that way.
        """
        if count == self.num_dates:
            return self
        if not isinstance(self.network, CAIMNet):
            raise UserError(
                f"--choose-dates: found {count} dates for a network of {self.num_dates} run by "
                f"{self.backend}, expected as many; add --choose-dates even, or leave --backend "
                "out and give weights of torch (.pth)."
            )
        if self.calibration is not None:
            say(
                f"no change_probability.tif: it is calibrated for {self.num_dates} dates, and "
                f"{count} are fused here (--choose-dates takes {self.num_dates} of them)"
            )
        network = LongSeries(self.network, count)
        return replace(self, network=network, num_dates=count, calibration=None)

    def runner(self) -> TileRunner:
        """The network for batches of tiles."""
        return TileRunner(self.network, self.device, self.precision, self.mixes_batch)

    def plan(self, grid: TileGrid, batch_size: int | None) -> TilePlan:
        """The plan for a raster with this network, a whole row of tiles read at a time.

        Args:
            grid: Its tiles.
            batch_size: Tiles at a time; None = as usual for the network.

        Raises:
            UserError: Per-window CAM weights have no place for such batches.
        """
        batch_size = batch_size or USUAL_BATCHES[self.weights.network]
        check_windows(self.weights, self.path, batch_size, self.tile_size)
        whole_row = -(-len(grid.cols) // batch_size) * batch_size
        return TilePlan(
            grid, self.num_dates, self.bounds, batch_size, whole_row, self.has_moments,
            self.decision, self.calibration,
        )  # fmt: skip

    def export(self, target: Path, overwrite: bool = False) -> None:
        """Write the network as an ONNX file, checked against the network itself.

        Args:
            target: The file, with the suffix .onnx.
            overwrite: Whether a file that is there may be replaced.

        Raises:
            UserError: A package is missing, the model is an ONNX file already, or the target has
                another suffix or is there.
            CaimError: The file would give other maps.
        """
        if not _is_onnx(target):
            raise UserError(f"--export-onnx: found {target}, expected a name that ends with .onnx.")
        if target.exists() and not overwrite:
            raise UserError(f"--export-onnx: {target} is there; add --overwrite to replace it.")
        if not isinstance(self.network, nn.Module):
            raise UserError(
                f"--export-onnx: found --backend onnx or an ONNX file ({self.path}), expected "
                "weights run by torch (.pth); leave --backend out."
            )
        usual = {"bands": list(self.bands), "pixel_scale": _scale(self.weights)}  # if it does not
        weights = replace(self.weights, data={**usual, **self.weights.data})
        agreement = _export(self.network, weights, self.path, self.tile_size, target)
        say(
            f"{target}: written; largest difference from the network "
            f"{agreement.largest_difference:.1e}, same change moment at "
            f"{100 * agreement.equal_labels:.3f} % of {agreement.pixels:,} pixels"
        )

    def facts(self) -> dict[str, Any]:
        """Facts for summaries and tags."""
        own = {"bands": list(self.bands), "decision": self.decision.facts()}
        return {**self.weights.facts(self.path, self.checksum), **own}


def load_model(
    path: str | Path,
    device: str = "auto",
    *,
    precision: PrecisionChoice = "auto",
    tile_size: int | None = None,
    pixel_scale: Literal["checkpoint", "auto", "stored"] = "checkpoint",
    share_cam: bool = False,
    compiled: bool = False,
    backend: Literal["torch", "onnx"] = "torch",
    decision: Choice = "calibrated",
) -> Model:
    """Read a weights file and bring its network to its device.

    Args:
        path: Ours or the authors', as its content says, or an ONNX file of ours (.onnx).
        device: See ``utils.device.choose_device``.
        precision: Of the network's heavy part; ``auto`` is bfloat16 where the processor has it
            and the weights say that their maps agree, else float32.
        tile_size: Side of a tile in pixels; as in training if None.
        pixel_scale: ``auto``, ``stored`` or ``checkpoint`` (as the file says).
        share_cam: Whether per-window CAM weights are averaged, for any batch and tile.
        compiled: Whether ``torch.compile`` is used.
        backend: ``torch``, or ``onnx`` to let onnxruntime run the network.
        decision: Whether the offset that the weights carry decides, or the plain rule.

    Raises:
        CheckpointError: The file cannot be used.
        UserError: Tile size, device or other arguments do not go with it.
    """
    path = Path(path)
    _check_choices(path, tile_size, precision, compiled, share_cam, backend)
    place, exported = choose_device(device), _is_onnx(path)
    if exported:
        opened = OnnxNetwork(path, place)
        weights = opened.facts.checkpoint()
    else:
        weights = load_checkpoint(path, tile_size)
        weights = shared_cam(weights) if share_cam else weights
    side = tile_size or int(weights.data.get("patch_size", PATCH_SIZES[weights.network]))
    _check_side(side, SIDE_MULTIPLES[weights.network])
    exactly = "onnxruntime computes in it" if exported or backend == "onnx" else ""
    taken = precision_for(precision, weights, place, exactly)
    network: Any = opened if exported else weights.build()
    if backend == "onnx" and not exported:
        network = _through_onnx(network, weights, path, side, place)
    elif not exported:
        network = ready_to_run(network, place, taken, compiled=compiled)
    num_dates = int(weights.arguments.get("num_dates", PAIR))
    scale = _scale(weights) if pixel_scale == "checkpoint" else pixel_scale
    if scale == "stored":
        say("pixel values are used as stored, as in training (--pixel-scale auto would scale).")
    return Model(
        path, sha256(path), weights, cast(Predicts, network), bands=_bands(weights, num_dates),
        num_dates=num_dates, tile_size=side, pixel_scale=scale,
        device=place, precision=taken, backend="onnx" if exported else backend,
        decision=Decision.of(weights, decision), calibration=probability_of(weights, decision),
    )  # fmt: skip


def _is_onnx(path: Path) -> bool:
    return Path(path).suffix.lower() == ".onnx"


def _check_side(side: int, multiple: int) -> None:
    if side <= 0 or side % multiple:
        raise UserError(f"--tile-size: found {side}, expected a positive multiple of {multiple}.")


def _check_choices(
    path: Path,
    tile_size: int | None,
    precision: PrecisionChoice,
    compiled: bool,
    shared_cam: bool,
    backend: str,
) -> None:
    """Refuse what does not go together before anything is read."""
    if tile_size is not None:
        _check_side(tile_size, min(SIDE_MULTIPLES.values()))
    if (_is_onnx(path) or backend == "onnx") and (precision == "bfloat16" or compiled):
        raise UserError(
            "--backend onnx: found --precision bfloat16 or --compile, expected neither; "
            "onnxruntime runs the network as it was exported, in float32."
        )
    if _is_onnx(path) and shared_cam:
        raise UserError(
            f"--share-cam: found {path}, expected weights of torch (.pth); share their CAM "
            "weights, then export."
        )


def _through_onnx(
    network: nn.Module, weights: Checkpoint, path: Path, side: int, device: torch.device
) -> OnnxNetwork:
    """The network written as ONNX, checked, and opened by onnxruntime."""
    with tempfile.TemporaryDirectory() as scratch:
        exported = Path(scratch) / "network.onnx"
        _export(network, weights, path, side, exported)
        return OnnxNetwork(exported, device)


def _export(
    network: nn.Module, weights: Checkpoint, path: Path, side: int, target: Path
) -> Agreement:
    return export_onnx(
        network,
        target,
        num_dates=int(weights.arguments.get("num_dates", PAIR)),
        in_channels=_number_of_bands(weights),
        tile_size=side,
        facts=OnnxFacts.of(weights, path),
    )


def _released_spec(weights: Checkpoint) -> DatasetSpec | None:
    """The data set of weights that do not say theirs."""
    num_dates = int(weights.arguments.get("num_dates", PAIR))
    return released_spec(num_dates, _number_of_bands(weights))


def _number_of_bands(weights: Checkpoint) -> int:
    """Bands per date; of weights for pairs that do not say, those of their network's default."""
    return int(weights.arguments.get("in_channels", len(PAIR_BANDS)))


def _scale(weights: Checkpoint) -> str:
    """Scale of pixel values: the file's, else that of its data set's released program."""
    released = _released_spec(weights)
    usual = released.pixel_scale if released else "auto"
    return str(weights.data.get("pixel_scale", usual))


def _bands(weights: Checkpoint, num_dates: int) -> tuple[str, ...]:
    """Names of the bands: the file's, else those of its data set, else numbers."""
    released, count = _released_spec(weights), _number_of_bands(weights)
    usual = PAIR_BANDS if num_dates == PAIR else released.bands if released else ()
    names = tuple(weights.data.get("bands", usual))
    return names if len(names) == count else tuple(f"band {n}" for n in range(1, count + 1))
