"""Baselines: simple methods on the same scenes, with the same scores and the same kind of decision.

    python benchmarks/baselines.py --data-root data --dataset spacenet7

Two methods that need no training: a step detector, which at every pixel looks for the date that
parts the series best into two levels, and change vector analysis (CVA), the length of the colour
vector's change between neighbouring dates, cut off by Otsu's threshold. The step detector's
threshold is chosen on the validation split as the networks' offset is. Pixels are those that
Test_*.py counts. Writes a row per method into benchmarks/results/baselines.csv. A small
U-Net, which does need training, is one of ``ablations.py``; docs/results.md has all in one table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import RESULTS
from data_processing.scenes.custom import dataset_spec
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import DatasetName, DatasetSpec
from data_processing.scenes.splits import find_scenes
from mapping.decision import Decision
from models.weights.offset_search import OffsetSearch
from utils.errors import run_program
from utils.files import write_csv_rows
from utils.metrics import Matrix, area_scores, moment_scores
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "change_vectors", "main", "step_scores"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    data_root: Path  # folder that holds Images_<name>/
    dataset: DatasetName  # whose scenes
    results: Path = RESULTS / "baselines.csv"  # gets a row per method


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

Array = NDArray[np.floating[Any]]
Window = tuple[Array, NDArray[np.int64]]  # images (T, C, H, W), moment labels (H, W)

LEVEL = 6.0  # of the step detector's score, that offset 0 stands for
NOISE = 0.02  # least deviation of a value, 8-bit / 255 or reflectance


def step_scores(images: Array, smooth: int = 5) -> Array:
    """Contrast of the two levels that each date parts a pixel's series into.

    Args:
        images: (T, C, H, W); each date's median is taken off, so that light cancels out.
        smooth: Side of the square that values are averaged over first.

    Returns:
        (T, H, W): ``LEVEL`` for "unchanged", then for k the distance of the means before and from
        date k on, in standard errors over all bands.
    """
    values = ndimage.uniform_filter(images.astype(np.float64), (1, 1, smooth, smooth))
    values -= np.median(values, axis=(2, 3), keepdims=True)
    T = len(values)
    scores = [np.full(values.shape[2:], LEVEL)]
    for k in range(1, T):
        before, after = values[:k], values[k:]
        squares = ((before - before.mean(axis=0)) ** 2).sum(axis=0)
        squares += ((after - after.mean(axis=0)) ** 2).sum(axis=0)
        deviation = np.sqrt(squares / max(1, T - 2) + NOISE**2)
        step = (after.mean(axis=0) - before.mean(axis=0)) / deviation
        scores.append(np.sqrt((step**2).sum(axis=0) * k * (T - k) / T))
    return np.stack(scores)


def change_vectors(images: Array) -> Array:
    """Lengths (T − 1, H, W) of each pixel's change between neighbouring dates, light taken off."""
    values = images.astype(np.float64)
    values = values - np.median(values, axis=(2, 3), keepdims=True)
    lengths: Array = np.sqrt((np.diff(values, axis=0) ** 2).sum(axis=1))
    return lengths


def by_otsu(images: Array) -> NDArray[np.uint8]:
    """Change moment (H, W): the interval of the longest vector, if it passes the threshold."""
    lengths = change_vectors(images)
    longest = lengths.max(axis=0)
    moment = lengths.argmax(axis=0) + 1
    return np.where(longest > threshold_otsu(longest), moment, 0).astype(np.uint8)


def windows(data_root: Path, spec: DatasetSpec, split: Any) -> Iterator[Window]:
    """The scenes of a split, whole; the alpha band is left out."""
    for folder in find_scenes(data_root, spec, split):
        scene = Scene(folder, spec)
        read = scene.read(0, 0, scene.height, scene.width)
        bands = [number for number in range(len(spec.bands)) if number != spec.alpha_band]
        yield read["images"][:, bands], read["moment_label"]


def matrix_of(
    scenes: Sequence[Window], decide: Callable[[Array], NDArray[Any]], num_classes: int
) -> Matrix:
    """Moment confusion matrix, rows truth, over all labelled pixels."""
    total = np.zeros((num_classes, num_classes), np.int64)
    for images, label in scenes:
        labelled = label >= 0
        np.add.at(total, (label[labelled], decide(images)[labelled]), 1)
    return total


def row_of(method: str, matrix: Matrix, **facts: Any) -> dict[str, Any]:
    """A method's scores as a row of the results."""
    area = np.array(
        [
            [matrix[0, 0], matrix[0, 1:].sum()],
            [matrix[1:, 0].sum(), matrix[1:, 1:].sum()],
        ]
    )
    moment = moment_scores(matrix)
    scores = {
        "area_f1": area_scores(area)["f1"],
        "moment_f1_macro_all": moment["f1_macro_all"],
        "moment_kappa": moment["kappa"],
    }
    return {"method": method, **facts, **{k: round(float(v or 0), 4) for k, v in scores.items()}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose on val, score test, write the rows."""
    flags = read_settings(Settings, arguments)
    spec = dataset_spec(flags.dataset, flags.data_root)
    val, test = (list(windows(flags.data_root, spec, split)) for split in ("val", "test"))
    search = OffsetSearch(spec.num_classes)
    for images, label in val:
        search.add(step_scores(images), label)
    offset = search.best()["offset"]
    common = {"dataset": flags.dataset, "scenes": len(test)}
    rows = [
        row_of(
            "step detector",
            matrix_of(test, lambda x: Decision(offset).labels(step_scores(x)), spec.num_classes),
            **common, decision=f"offset {offset:+.2f} chosen on val",
        ),
        row_of(
            "CVA", matrix_of(test, by_otsu, spec.num_classes), **common,
            decision="Otsu's threshold of each scene",
        ),
    ]  # fmt: skip
    write_csv_rows(flags.results, rows)
    for row in rows:
        say(", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    run_program(main)
