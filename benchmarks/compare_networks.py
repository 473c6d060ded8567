"""CAIM-Net and CTMA on the same scenes: change area, parameters, arithmetic, time, memory.

    python benchmarks/compare_networks.py --data-root data --caim W1.pth --ctma W2.pth

CAIM-Net sees all dates and bands of a patch, CTMA the first and the last date in the three visible
bands. Both see the same patches, every pixel of the scenes counts once, and only the change area is
scored, since CTMA gives no moments. CTMA can be trained on the same scenes by way of
data_processing/series_pairs.py.

Prints a table and writes benchmarks/results/compare_networks.json. Times are medians of a forward
pass on one batch of patches, both networks in turns; peak memory is that of a process of its own
which does two of them, with interpreter and PyTorch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import Measurement, in_turns, peak_gb, report, spread, timed_device
from benchmarks.pairs import flop_of_pair
from benchmarks.throughput import attention_flop_per_patch, flop_per_patch
from data_processing.scenes.custom import dataset_spec
from data_processing.scenes.dataset import cover_split
from data_processing.scenes.spec import DatasetName, DatasetSpec, Split
from mapping.scoring import ScoringProtocol, score_scenes
from models import CTMA, CAIMNet, ChangeMaps, gives_moments
from models.weights.checkpoint import Checkpoint, load_checkpoint
from utils.batches import Batches
from utils.errors import UserError, run_program
from utils.fields import Positive
from utils.files import sha256
from utils.metrics import area_scores
from utils.settings import read_settings

__all__ = ["FirstAndLast", "Settings", "main"]


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    dataset: DatasetName = "dynamic"  # which data set
    data_root: Path  # folder that holds Images_<name>/
    caim: Path  # weights of CAIM-Net
    ctma: Path  # weights of CTMA
    split: Split = "test"  # scenes to take
    patch_size: Positive = 64  # a multiple of 8
    batch_size: Positive = 8  # patches at once


NAMES = ("caim", "ctma")
SCORES = ("precision", "recall", "f1", "oa", "iou", "kappa")


class FirstAndLast(nn.Module):
    """CTMA as a network for series: it takes the first and the last date, and the visible bands.

    Args:
        pair_network: CTMA for three bands.
        visible_bands: Positions of red, green and blue in a series.
    """

    def __init__(self, pair_network: CTMA, visible_bands: Sequence[int]) -> None:
        super().__init__()
        self.pair_network, self.visible_bands = pair_network, list(visible_bands)

    def forward(self, images: Tensor) -> Any:
        """CTMA's output for the first and last date of series (B, T, C, H, W)."""
        return self.pair_network(self._pair(images))

    def predict(self, images: Tensor) -> ChangeMaps:
        """Change area of series (B, T, C, H, W)."""
        return self.pair_network.predict(self._pair(images))

    def _pair(self, images: Tensor) -> Tensor:
        return images[:, [0, -1]][:, :, self.visible_bands]


def main(arguments: Sequence[str] | None = None) -> None:
    """Score and measure both networks."""
    flags = read_settings(Settings, arguments)
    spec = dataset_spec(flags.dataset, flags.data_root)
    device = timed_device("cpu")
    images = _images(flags, spec)
    networks = {name: _network(flags, spec, name) for name in NAMES}
    seconds = in_turns(
        {name: _forward(network, images) for name, (network, _) in networks.items()}, flags.rounds
    )
    rows = []
    for name, (network, weights) in networks.items():
        area = _score(network, weights, flags, spec)
        rows.append({
            "network": name,
            "sees": f"{spec.num_dates} dates × {len(spec.bands)} bands" if name == "caim"
            else "2 dates × 3 bands",
            "weights": Path(getattr(flags, name)).name,
            "sha256": sha256(Path(getattr(flags, name))),
            "parameters": sum(p.numel() for p in network.parameters()),
            "gflop_per_patch": round(_flop(network, flags.patch_size) / 1e9, 3),
            "seconds_per_patch": spread([s / flags.batch_size for s in seconds[name]]),
            "peak_gb": peak_gb(2, "cpu", work_of_case, flags, name),
            **{f"area_{key}": area[key] for key in SCORES},
        })  # fmt: skip
    conditions = {
        "dataset": spec.title, "split": flags.split, "patch_size": flags.patch_size,
        "batch_size": flags.batch_size, "rounds": flags.rounds, "dtype": "float32",
        "data": spec.provenance(flags.data_root),
    }  # fmt: skip
    report("compare_networks", conditions, rows, ("network",), device, flags.output_dir)


def _network(flags: Settings, spec: DatasetSpec, name: str) -> tuple[nn.Module, Checkpoint]:
    """One of the networks, as one for series, and its weights.

    Raises:
        UserError: The file holds another network, or one for other dates or bands.
    """
    path = getattr(flags, name)
    weights = load_checkpoint(path, flags.patch_size)
    network = weights.build()
    if name == "ctma" and isinstance(network, CTMA):
        return FirstAndLast(network, spec.visible_bands), weights
    fits = weights.arguments.get("num_dates") == spec.num_dates
    if name == "caim" and isinstance(network, CAIMNet) and fits:
        return network, weights
    raise UserError(
        f"--{name} {path}: found {weights.summary()}, expected weights of "
        f"{'CTMA' if name == 'ctma' else f'CAIM-Net for {spec.num_dates} dates'}."
    )


def _score(
    network: nn.Module, weights: Checkpoint, flags: Settings, spec: DatasetSpec
) -> dict[str, float]:
    """Scores of the change area over a split; values are scaled alike for both networks."""
    scale = weights.data.get("pixel_scale", "auto")
    patches = cover_split(
        flags.data_root, spec, flags.split, flags.patch_size,
        pixel_scale="stored" if scale == "stored" else "auto",
    )  # fmt: skip
    batches = Batches(patches, flags.batch_size, device=torch.device("cpu"))
    protocol = ScoringProtocol(moments=gives_moments(weights.network))
    results = score_scenes(network.eval(), batches, patches.scenes, protocol=protocol)
    return area_scores(np.sum([result.area_matrix for result in results], axis=0))


def _flop(network: nn.Module, side: int) -> int:
    """Arithmetic of a forward pass over one patch, attention's products among it."""
    if isinstance(network, FirstAndLast):
        return flop_of_pair(network.pair_network, side)
    assert isinstance(network, CAIMNet)
    T, C = network.num_dates, network.in_channels
    width = network.encoder.merge[0].out_channels
    return flop_per_patch(T, width, side, C) + attention_flop_per_patch(T, width, side)


def _forward(network: nn.Module, images: Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            network.eval()(images)

    return run


def _images(flags: Settings, spec: DatasetSpec) -> Tensor:
    side = flags.patch_size
    return torch.rand(flags.batch_size, spec.num_dates, len(spec.bands), side, side)


def work_of_case(flags: Settings, name: str) -> Callable[[], None]:
    """The forward pass whose memory is measured."""
    spec = dataset_spec(flags.dataset, flags.data_root)
    return _forward(_network(flags, spec, name)[0], _images(flags, spec))


if __name__ == "__main__":
    run_program(main)
