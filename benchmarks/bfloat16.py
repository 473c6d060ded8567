"""The effect of bfloat16 on CAIM-Net: maps of given weights, and the course of a training.

    python benchmarks/bfloat16.py agreement --data-root data --dataset dynamic \\
        --checkpoint best_model/Pretrained_model_Dynamic.pth --title "what the data are"
    python benchmarks/bfloat16.py training --data-root data --dataset dynamic --epochs 6

"agreement" scores a split twice, as Test_*.py do, in float32 and under bfloat16 autocast, and tells
how many pixels get the same change moment and how far the scores lie apart. Rows are added to
benchmarks/results/bfloat16_agreement.json; those of the same data and weights are replaced.

"training" trains a small network with the same seeds three times: in float32, under bfloat16
autocast, and in float32 from starting weights that were rounded to bfloat16 once. The third tells
what a change of that size leads to when training itself is as before, since training magnifies
any difference. Writes bfloat16_training.json, a row per epoch and score, and bfloat16_training.png.

Nothing is timed here. A processor without bfloat16 instructions gets the same numbers, but takes
many times as long; the files say which instructions there were.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import Measurement, report, timed_device
from data_processing.scenes.custom import dataset_spec
from data_processing.scenes.dataset import SeriesDataset, cover_split, open_splits
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import DatasetName, DatasetSpec, Split
from mapping.decision import Decision
from mapping.prediction import Predicts
from mapping.scores import SceneResult
from mapping.scoring import ScoringProtocol, score_scenes
from models import ChangeMaps, build_network, gives_moments
from models.weights.checkpoint import Checkpoint, load_checkpoint
from models.weights.choosing import load_for_scoring
from training.loop import fit
from training.plan import TrainingPlan
from training.ranks import Ranks
from training.run import Run
from training.tasks import CaimTask
from utils.batches import Batches
from utils.codes import NO_DATA
from utils.device import Precision, bfloat16_unit, seed_everything
from utils.errors import UserError, run_program
from utils.execution import ready_to_run
from utils.fields import LearningRate, Loose, PatchSide, Positive, Seed, WeightsFile, Width
from utils.files import atomic_path, read_csv_rows, sha256
from utils.metrics import area_scores, moment_scores
from utils.progress import progress, say
from utils.settings import read_settings

__all__ = ["Settings", "agreement", "main", "training", "training_figure"]

SAME_DATA = ("data", "dataset", "split", "checkpoint_sha256")
ALL = "all"  # stands for all scenes or epochs in a row
DIGITS = 6

SCORES = {
    "val_loss": "validation loss",
    "val_area_f1": "change area, F1 of the change class",
    "val_moment_f1_macro_all": "change moment, F1 over all classes",
}


class Way(NamedTuple):
    """One way to train, and how its curve is drawn."""

    key: str
    text: str
    precision: Precision
    rounded_start: bool
    color: str
    style: str
    marker: str
    offset: float


WAYS = (
    Way("float32", "float32", "float32", False, "#0072B2", "-", "o", -0.1),
    Way("bfloat16", "bfloat16 autocast", "bfloat16", False, "#D55E00", "--", "s", 0.0),
    Way(
        "float32_rounded_start", "float32, starting weights rounded to bfloat16",
        "float32", True, "#666666", ":", "^", 0.1,
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    what: Loose[Literal["agreement", "training"]]
    data_root: Path  # folder that holds Images_<name>/
    dataset: DatasetName
    title: str | None = None  # what the data are, for table and file; none: the data set's name
    batch_size: Positive = 8
    # agreement
    checkpoint: WeightsFile | None = None
    split: Split = "test"
    # training
    seeds: tuple[Seed, ...] = (1, 2, 3)
    epochs: Positive = 6
    width: Width = 16
    patch_size: PatchSide = 32
    stride: Positive = 32  # of the patch index
    lr: LearningRate = 2e-3


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line names."""
    settings = read_settings(Settings, arguments)
    {"agreement": agreement, "training": training}[settings.what](settings)


# ───────────────────────────────────────── agreement ─────────────────────────────────────────


def agreement(flags: Settings) -> None:
    """Score a split in both formats, print how they agree and add it to the results."""
    if flags.checkpoint is None:
        raise UserError("--checkpoint: found none, expected the weights to compare with themselves")
    device, spec = timed_device(flags.device), dataset_spec(flags.dataset, flags.data_root)
    weights = _weights(flags.checkpoint, spec, flags.batch_size)
    patches = cover_split(
        flags.data_root, spec, flags.split, weights.data["patch_size"],
        pixel_scale=weights.data["pixel_scale"],
    )  # fmt: skip
    exact = _scored(weights, patches, flags.batch_size, device, "float32")
    rounded = _scored(weights, patches, flags.batch_size, device, "bfloat16")
    about = {
        "data": flags.title or spec.title,
        "dataset": spec.name,
        "split": flags.split,
        "checkpoint": flags.checkpoint.name,
        "checkpoint_sha256": sha256(flags.checkpoint),
        "patch_size": weights.data["patch_size"],
        "batch_size": flags.batch_size,
    }
    pairs = [([a], [b]) for a, b in zip(exact, rounded, strict=True)]
    rows = [{**about, **_compared(*pair)} for pair in [*pairs, (exact, rounded)]]
    conditions = {
        "protocol": "full, overlap 0; pixels without data at some date left out; decided as the "
        "weights carry it; of weights for pairs, the first and the last date",
        "differences": "absolute, of scores as fractions; area: those of the change class",
    }
    report("bfloat16_agreement", conditions, rows, SAME_DATA, device, flags.output_dir)


class FirstAndLast:
    """A network for pairs of red, green and blue, given series.

    Args:
        network: For pairs.
    """

    def __init__(self, network: Predicts) -> None:
        self.network = network

    def predict(self, images: Tensor) -> ChangeMaps:
        """Change maps of the first and the last date of images (B, T, C, H, W)."""
        return self.network.predict(images[:, [0, -1], :3].contiguous())


def _weights(checkpoint: Path, spec: DatasetSpec, batch_size: int) -> Checkpoint:
    """Weights with the patch size and scale that they are compared with."""
    facts = spec.facts(spec.patch_size, spec.pixel_scale)
    pairs = load_checkpoint(checkpoint)
    if not gives_moments(pairs.network):
        return dataclasses.replace(pairs, data={**facts, **pairs.data})
    return load_for_scoring(
        checkpoint, facts, protocol="full", patch_size=None, batch_size=batch_size,
        pixel_scale="checkpoint", share_cam=False,
    )  # fmt: skip


def _scored(
    weights: Checkpoint,
    patches: SeriesDataset,
    batch_size: int,
    device: torch.device,
    precision: Precision,
) -> list[SceneResult[Scene]]:
    """Maps and counts of all scenes of a split."""
    results: list[SceneResult[Scene]] = []
    say(f"scoring in {precision}")
    network, moments = ready_to_run(weights.build(), device), gives_moments(weights.network)
    score_scenes(
        network if moments else FirstAndLast(network),
        Batches(patches, batch_size, device=device),
        patches.scenes,
        lambda result: results.append(dataclasses.replace(result)),  # its maps are let go of
        protocol=ScoringProtocol(moments, decision=Decision(weights.offset)),
        precision=precision,
    )
    return results


def _compared(
    exact: Sequence[SceneResult[Scene]], rounded: Sequence[SceneResult[Scene]]
) -> dict[str, Any]:
    """Agreement of two results of the same scenes."""
    pixels = differing = 0
    for one, other in zip(exact, rounded, strict=True):
        labelled = one.moment != NO_DATA
        pixels += int(labelled.sum())
        differing += int((one.moment != other.moment)[labelled].sum())
    area = [area_scores(_total(r.area_matrix for r in side)) for side in (exact, rounded)]
    moment = [moment_scores(_total(r.moment_matrix for r in side)) for side in (exact, rounded)]
    return {
        "scene": exact[0].scene.name if len(exact) == 1 else ALL,
        "pixels": pixels,
        "pixels_of_another_moment": differing,
        "equal_moment": round(1 - differing / pixels, DIGITS) if pixels else None,
        "area": _apart(*area),
        "moment": _apart(*moment),
        "area_f1": _both(*(scores["f1"] for scores in area)),
        "moment_f1_macro_all": _both(*(scores["f1_macro_all"] for scores in moment)),
        "moment_mae_steps": _both(*(scores["mae_steps"] for scores in moment)),
    }


def _total(matrices: Any) -> Any:
    return np.sum(list(matrices), axis=0, dtype=np.int64)


def _apart(one: Mapping[str, float | None], other: Mapping[str, float | None]) -> dict[str, Any]:
    """Largest and mean difference of scores; the moment error, which is no fraction, left out."""
    apart = {key: abs(one[key] - other[key]) for key in one if key != "mae_steps"}  # type: ignore[operator]
    largest = max(apart, key=lambda key: apart[key])
    return {
        "largest": round(apart[largest], DIGITS),
        "largest_in": largest,
        "mean": round(statistics.mean(apart.values()), DIGITS),
    }


def _both(float32: float | None, bfloat16: float | None) -> dict[str, float | None]:
    return {
        name: None if value is None else round(value, DIGITS)
        for name, value in (("float32", float32), ("bfloat16", bfloat16))
    }


# ───────────────────────────────────────── training ─────────────────────────────────────────


def training(flags: Settings) -> None:
    """Train with all seeds in all ways, print, write and draw how the curves compare."""
    if len(set(flags.seeds)) < 2:
        raise UserError(f"--seeds: found {flags.seeds}, expected at least two for a spread.")
    device, spec = timed_device(flags.device), dataset_spec(flags.dataset, flags.data_root)
    train, val = open_splits(
        flags.data_root, spec, {"train": None, "val": None},
        flags.patch_size, flags.stride, cache=True,
    )  # fmt: skip
    curves: dict[str, list[list[dict[str, float]]]] = {way.key: [] for way in WAYS}
    runs = [(seed, way) for seed in flags.seeds for way in WAYS]
    for seed, way in progress(runs, "training", unit="run"):
        say(f"seed {seed}, {way.text}")
        curves[way.key].append(_curve(flags, spec, train, val, device, seed, way))
    rows = [_row(curves, epoch, key) for key in SCORES for epoch in range(flags.epochs)]
    rows += [_over_epochs([row for row in rows if row["score"] == key]) for key in SCORES]
    title = flags.title or spec.title
    conditions = {
        "data": title,
        "data_made_by": spec.provenance(flags.data_root),
        "patches": {"train": len(train), "val": len(val)},
        "network": {"name": "caim_net", **_network_arguments(flags, spec)},
        "settings": {
            **{key: getattr(flags, key) for key in ("seeds", "epochs", "batch_size", "patch_size")},
            **dataclasses.asdict(_plan(flags, 0, "float32")),
            "precision": "float32 and bfloat16",
            "seed": "each of the seeds",
        },
        "ways": {way.key: way.text for way in WAYS},
        "within": "|mean over seeds of bfloat16 − float32| ≤ standard deviation of float32 "
        "over seeds (n − 1)",
    }
    report("bfloat16_training", conditions, rows, (), device, flags.output_dir)
    caption = (
        f"{title}; {len(train)} training and {len(val)} validation patches of "
        f"{flags.patch_size}×{flags.patch_size} pixels, width {flags.width}, {len(flags.seeds)} "
        f"seeds. Points: means; bars: least to most. bfloat16 by {_unit(device)}."
    )
    with atomic_path(flags.output_dir / "bfloat16_training.png") as partial:
        training_figure(rows, caption).savefig(partial, format="png", dpi=130)
    say(f"written: {flags.output_dir / 'bfloat16_training.png'}")


def _unit(device: torch.device) -> str:
    """The unit that computes bfloat16."""
    return bfloat16_unit() or "emulation" if device.type == "cpu" else device.type


def _network_arguments(flags: Settings, spec: DatasetSpec) -> dict[str, Any]:
    return {"in_channels": len(spec.bands), "num_dates": spec.num_dates, "width": flags.width}


def _plan(flags: Settings, seed: int, precision: Precision) -> TrainingPlan:
    return TrainingPlan(flags.epochs, flags.lr, "cosine", precision=precision, seed=seed)


def _curve(
    flags: Settings,
    spec: DatasetSpec,
    train: SeriesDataset,
    val: SeriesDataset,
    device: torch.device,
    seed: int,
    way: Way,
) -> list[dict[str, float]]:
    """Validation scores after each epoch of one training."""
    seed_everything(seed)
    arguments = _network_arguments(flags, spec)
    network = build_network("caim_net", arguments)
    if way.rounded_start:
        network.load_state_dict({k: v.bfloat16().float() for k, v in network.state_dict().items()})
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            ready_to_run(network, device),
            CaimTask(spec.num_classes),
            _plan(flags, seed, way.precision),
            Batches(train, flags.batch_size, shuffle=True, device=device, seed=seed),
            Batches(val, flags.batch_size, device=device),
            Path(folder),
            Checkpoint("caim_net", arguments, {}, data=spec.facts(flags.patch_size)),
            Ranks(device, way.precision),
        )
        fit(run)
        rows = read_csv_rows(Path(folder) / "metrics.csv")
    return [{key: float(row[key]) for key in SCORES} for row in rows]


def _row(
    curves: Mapping[str, list[list[dict[str, float]]]], epoch: int, key: str
) -> dict[str, Any]:
    """One score after one epoch: its values by seed, and how far the means lie apart."""
    values = {way: [curve[epoch][key] for curve in seeds] for way, seeds in curves.items()}
    mean = {way: statistics.mean(numbers) for way, numbers in values.items()}
    sd = statistics.stdev(values["float32"])
    difference = mean["bfloat16"] - mean["float32"]
    return {
        "score": key,
        "epoch": epoch + 1,
        **{way: [round(number, DIGITS) for number in numbers] for way, numbers in values.items()},
        "float32_sd": round(sd, DIGITS),
        "bfloat16_sd": round(statistics.stdev(values["bfloat16"]), DIGITS),
        "difference": round(difference, DIGITS),
        "difference_of_rounded_start": round(
            mean["float32_rounded_start"] - mean["float32"], DIGITS
        ),
        "within": abs(difference) <= sd,
    }


def _over_epochs(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarise the rows of one score over all epochs."""
    differences = ("difference", "difference_of_rounded_start")
    return {
        "score": rows[0]["score"],
        "epoch": ALL,
        "epochs_within": sum(row["within"] for row in rows),
        "epochs": len(rows),
        "mean_float32_sd": round(statistics.mean(row["float32_sd"] for row in rows), DIGITS),
        **{
            f"mean_{k}": round(statistics.mean(row[k] for row in rows), DIGITS) for k in differences
        },
    }


def training_figure(rows: Sequence[Mapping[str, Any]], caption: str) -> Figure:
    """The figure of three panels, not written.

    Args:
        rows: As in bfloat16_training.json.
        caption: Lines below that say how it was measured.
    """
    figure = Figure(figsize=(15.0, 6.0), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    figure.suptitle("Training of CAIM-Net in float32 and under bfloat16 autocast", fontsize=16)
    for plot, (key, text) in zip(figure.subplots(1, len(SCORES)), SCORES.items(), strict=True):
        own = [row for row in rows if row["score"] == key and row["epoch"] != ALL]
        for way in WAYS:
            means = [statistics.mean(row[way.key]) for row in own]
            below = [m - min(row[way.key]) for m, row in zip(means, own, strict=True)]
            above = [max(row[way.key]) - m for m, row in zip(means, own, strict=True)]
            plot.errorbar(
                [row["epoch"] + way.offset for row in own], means, [below, above],
                color=way.color, linestyle=way.style, marker=way.marker, ms=7, linewidth=2,
                capsize=4, label=way.text,
            )  # fmt: skip
        plot.set_title(text, fontsize=13)
        plot.set_xlabel("epoch", fontsize=12)
        plot.xaxis.set_major_locator(MaxNLocator(integer=True))
        plot.grid(True, color="#dddddd", linewidth=0.8)
        plot.spines[["top", "right"]].set_visible(False)
        plot.legend(fontsize=10.5, framealpha=0.9, edgecolor="none")
    figure.supxlabel(caption, fontsize=10.5)
    return figure


if __name__ == "__main__":
    run_program(main)
