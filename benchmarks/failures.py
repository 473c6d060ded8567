"""Failures of weights: scores by scene and by class, and the worst parts of scenes as a picture.

    python benchmarks/failures.py --checkpoint best_model/Pretrained_model_SpaceNet7.pth \\
        --run "9 dates, shipped" --data "test=data/Images_SpaceNet7/test" \\
        --picture docs/images/failures.png

Whole scenes as in score_weights.py, by the decision that the weights carry. Rows go into
benchmarks/results/failures.csv. The picture shows squares of one folder: those with the lowest area
F1 of all in which at least 2 % changed, and those with the most false alarms of the others, two of
a scene at most. What is to be seen there says benchmarks/results/failure_sentences.csv.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.area_scores import blended
from benchmarks.measuring import RESULTS, earlier_rows
from benchmarks.real_areas import Area
from benchmarks.score_weights import SIDE, look_at
from data_processing.scenes.spec import DYNAMIC, SPACENET7
from mapping.decision import Decision
from models.weights.checkpoint import Checkpoint, load_checkpoint
from utils.errors import run_program
from utils.fields import Natural, Positive, WeightsFile
from utils.files import sha256, write_csv_rows
from utils.metrics import ConfusionMatrix, f1_per_class
from utils.pictures.colors import paint_moments, shared_stretch, visible_image
from utils.pictures.layout import save_figure
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "Square", "main", "worst"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    checkpoint: WeightsFile  # weights to look at
    run: str  # what the rows call them
    data: tuple[str, ...]  # NAME=FOLDER of labelled scenes, one or more
    picture: Path | None = None  # of the worst squares of the first folder; none = no picture
    missed: Natural = 6  # squares that are drawn because of their area F1
    alarms: Natural = 4  # squares that are drawn because of their false alarms
    side: Positive = 32  # of a square, in pixels
    results: Path = RESULTS / "failures.csv"  # gets the rows
    sentences: Path = RESULTS / "failure_sentences.csv"  # scene, row, col, sentence


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

LEAST_CHANGED = 0.02  # of a square's labelled pixels, for its F1 to count
MOST_OF_A_SCENE = 2
LETTERS = 76  # of a line of a sentence


@dataclass(frozen=True)
class Square:
    """A square of a scene.

    Attributes:
        area: The scene.
        row, col: Its top left pixel.
        truth, called: (h, w) change moments, truth −1 where unknown.
        area_f1: Of the changed area.
        false_alarms: Share of the unchanged pixels that are called changed.
        changed: Share of the labelled pixels that changed.
    """

    area: Area
    row: int
    col: int
    truth: NDArray[Any]
    called: NDArray[Any]
    area_f1: float
    false_alarms: float
    changed: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, write the rows, draw."""
    flags = read_settings(Settings, arguments)
    weights = load_checkpoint(flags.checkpoint)
    num_dates = int(weights.arguments["num_dates"])
    rows: list[dict[str, Any]] = []
    for number, given in enumerate(flags.data):
        name, folder = given.split("=", 1)
        maps = [(area, *_maps(weights, area)) for area in look_at(Path(folder), num_dates)]
        facts = {"run": flags.run, "sha256": sha256(flags.checkpoint)[:12], "data": name}
        rows += [{**facts, **row} for row in _rows(maps, num_dates)]
        if number == 0 and flags.picture is not None:
            squares = [square for each in maps for square in _squares(*each, flags.side)]
            drawn = worst(squares, flags.missed, flags.alarms)
            save_figure(_figure(drawn, num_dates, _sentences(flags.sentences)), flags.picture)
            for square in drawn:
                say(
                    f"{square.area.name} row {square.row} col {square.col}: area F1 "
                    f"{square.area_f1:.3f}, false alarms {square.false_alarms:.3f}"
                )
    others = earlier_rows(flags.results)
    write_csv_rows(flags.results, [*(r for r in others if r["run"] != flags.run), *rows])


def _maps(weights: Checkpoint, area: Area) -> tuple[NDArray[Any], NDArray[Any]]:
    """True and decided moments of a scene."""
    assert area.label is not None
    network: Any = weights.build()
    sums = blended(network, area, int(weights.data.get("patch_size", SIDE)))
    return area.label, Decision(weights.offset).labels(sums).astype(np.int64)


def _rows(
    maps: Sequence[tuple[Area, NDArray[Any], NDArray[Any]]], K: int
) -> Iterator[dict[str, Any]]:
    """A row per scene, then one per class over all scenes."""
    total = np.zeros((K, K), np.int64)
    for area, truth, called in maps:
        counts = ConfusionMatrix(K)
        counts.update(torch.from_numpy(truth), torch.from_numpy(called))
        matrix = counts.matrix()
        total += matrix
        f1, alarms = _area(truth, called)
        hits = int(matrix[1:, 1:].sum())
        yield {
            "kind": "scene", "of": area.name, "pixels": int(matrix.sum()),
            "changed": int(matrix[1:].sum()), "f1": round(f1, 4),
            "date_right": round(float(np.trace(matrix[1:, 1:]) / hits), 4) if hits else "",
            "false_alarms": round(alarms, 4),
        }  # fmt: skip
    for k, f1 in enumerate(f1_per_class(total)):
        yield {
            "kind": "class", "of": k, "pixels": int(total[k].sum()),
            "changed": int(total[:, k].sum()), "f1": round(float(f1), 4),
            "date_right": "", "false_alarms": "",
        }  # fmt: skip


def _area(truth: NDArray[Any], called: NDArray[Any]) -> tuple[float, float]:
    """Area F1, and the share of the unchanged pixels that are called changed."""
    labelled = truth >= 0
    true, said = truth[labelled] > 0, called[labelled] > 0
    f1 = 2 * (true & said).sum() / max(1, true.sum() + said.sum())
    return float(f1), float((said & ~true).sum() / max(1, (~true).sum()))


def _squares(area: Area, truth: NDArray[Any], called: NDArray[Any], side: int) -> Iterator[Square]:
    """The squares that a scene is divided into; those at its end may be smaller."""
    H, W = truth.shape
    for row in range(0, H, side):
        for col in range(0, W, side):
            window = (slice(row, row + side), slice(col, col + side))
            labelled = truth[window] >= 0
            if labelled.any():
                changed = float((truth[window][labelled] > 0).mean())
                scores = _area(truth[window], called[window])
                yield Square(area, row, col, truth[window], called[window], *scores, changed)


def worst(squares: Sequence[Square], missed: int, alarms: int) -> list[Square]:
    """The squares with the lowest area F1, then those with the most false alarms.

    Args:
        squares: All there are.
        missed: Number of the former, of those in which enough changed.
        alarms: Number of the latter, of the others.
    """
    changing = [square for square in squares if square.changed >= LEAST_CHANGED]
    quiet = [square for square in squares if square.changed < LEAST_CHANGED]
    by_f1 = sorted(changing, key=lambda square: square.area_f1)
    by_alarms = sorted(quiet, key=lambda square: -square.false_alarms)
    return [*_few_of_a_scene(by_f1, missed), *_few_of_a_scene(by_alarms, alarms)]


def _few_of_a_scene(squares: Sequence[Square], number: int) -> list[Square]:
    taken: list[Square] = []
    for square in squares:
        if sum(other.area is square.area for other in taken) < MOST_OF_A_SCENE:
            taken.append(square)
    return taken[:number]


def _sentences(path: Path) -> dict[tuple[str, str, str], str]:
    rows = earlier_rows(path)
    return {(row["scene"], row["row"], row["col"]): row["sentence"] for row in rows}


def _figure(
    squares: Sequence[Square], num_dates: int, sentences: dict[tuple[str, str, str], str]
) -> Figure:
    """Two squares a line: before, after, truth and map of each, and its sentence above."""
    lines = -(-len(squares) // 2)
    figure = Figure(figsize=(13, 2.25 * lines), facecolor="white")
    FigureCanvasAgg(figure)
    blocks = figure.subfigures(lines, 2, squeeze=False, wspace=0.04)
    for number, (square, block) in enumerate(zip(squares, blocks.flat, strict=False), start=1):
        key = (square.area.name, str(square.row), str(square.col))
        text = sentences.get(key, "")
        title = textwrap.fill(f"{number}. {text}", LETTERS)
        block.suptitle(title, fontsize=11, x=0.03, y=0.97, ha="left", va="top")
        space = {"top": 0.68, "bottom": 0.02, "left": 0.03, "right": 0.99, "wspace": 0.06}
        plots = block.subplots(1, 4, gridspec_kw=space)
        for plot, (caption, picture) in zip(plots, _panels(square, num_dates), strict=True):
            plot.imshow(picture, interpolation="nearest")
            plot.set_title(caption, fontsize=9)
            plot.set_axis_off()
    return figure


def _panels(square: Square, num_dates: int) -> list[tuple[str, Any]]:
    """Images before and after the change that most of the errors are about, truth and map."""
    wrong = ((square.truth > 0) != (square.called > 0)) & (square.truth >= 0)
    moments = np.where(square.truth > 0, square.truth, square.called)[wrong]
    k = max(1, int(np.bincount(moments, minlength=2).argmax()))
    h, w = square.truth.shape
    window = (slice(square.row, square.row + h), slice(square.col, square.col + w))
    images = list(square.area.images[(slice(k - 1, k + 1), slice(None), *window)])
    spec = SPACENET7 if num_dates == SPACENET7.num_dates else DYNAMIC
    bands = list(spec.visible_bands)
    valid = [np.ones((h, w), np.bool_)] * 2
    stretch = shared_stretch([image[bands] for image in images], valid)
    days = [date.fromordinal(int(day)) for day in square.area.days[k - 1 : k + 1]]
    pictures = [
        (f"{day:%Y-%m}", visible_image(image[bands], (0, 1, 2), stretch, mask))
        for day, image, mask in zip(days, images, valid, strict=True)
    ]
    truth = np.where(square.truth < 0, 255, square.truth).astype(np.uint8)
    called = square.called.astype(np.uint8)
    score = f"F1 {100 * square.area_f1:.0f} %"
    if square.changed < LEAST_CHANGED:
        score = f"{100 * square.false_alarms:.0f} % false"
    return [
        *pictures, ("truth", paint_moments(truth, num_dates)),
        (f"map, {score}", paint_moments(called, num_dates)),
    ]  # fmt: skip


if __name__ == "__main__":
    run_program(main)
