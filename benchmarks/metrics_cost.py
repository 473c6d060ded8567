"""Time that confusion matrices and all scores take, beside plain versions of them.

    python benchmarks/metrics_cost.py

For 6 and 9 dates: change area and change moment of so many pixels with int64 labels and
predictions, as the scoring program holds them, and with one byte per pixel; then both matrices and
every score, as that program takes them. Labels are drawn: nine pixels in ten unchanged, one in
twenty not counted, and a prediction that is right for most. Beside it, in turns, the same matrix
by numpy.bincount over whole arrays; and scikit-learn's confusion_matrix on fewer pixels, scaled
up. All matrices are compared. 10⁸ pixels need 5 GB of memory.

Prints a table and writes benchmarks/results/metrics_cost.json with the conditions.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import Measurement, in_turns, report, spread
from utils.codes import IGNORE
from utils.errors import run_program
from utils.fields import Positive
from utils.metrics import ConfusionMatrix, Matrix, area_scores, moment_scores
from utils.progress import progress
from utils.settings import read_settings

__all__ = ["Settings", "main"]


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    pixels: Positive = 10**8  # how many


SKLEARN_PIXELS = 10**6
NUM_DATES = (6, 9)
UNCHANGED, NOT_COUNTED, GUESSED = 0.9, 0.05, 0.15  # shares of the pixels
DRAWN_AT_A_TIME = 1 << 24
PLAIN = "numpy.bincount, int64"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the results."""
    flags = read_settings(Settings, arguments)
    rows: list[dict[str, Any]] = []
    for num_dates in progress(NUM_DATES, "measuring", unit="number of dates"):
        moment_label, predicted = _draw(num_dates, flags.pixels)
        rows += _matrix_rows("change moment", num_dates, moment_label, predicted, flags.rounds)
        area_label, changed = (moment_label.clamp(max=1), (predicted > 0).long())
        if num_dates == NUM_DATES[0]:
            rows += _matrix_rows("change area", 2, area_label, changed, flags.rounds)
        del changed
        rows.append(_scoring_row(num_dates, area_label, moment_label, predicted, flags.rounds))
    conditions = {
        "pixels": flags.pixels,
        "sklearn_pixels": min(SKLEARN_PIXELS, flags.pixels),
        "shares_of_pixels": {"unchanged": UNCHANGED, "not counted": NOT_COUNTED},
        "times_faster": f"median of {PLAIN}, by median; scikit-learn's time is scaled by pixels",
    }
    key = ("what", "num_classes", "how")
    report("metrics_cost", conditions, rows, key, folder=flags.output_dir)


def _draw(num_dates: int, pixels: int) -> tuple[Tensor, Tensor]:
    """Change moment as labelled and as predicted, each (pixels,) int64."""
    generator = torch.Generator().manual_seed(num_dates)
    label = torch.empty(pixels, dtype=torch.int64)
    predicted = torch.empty(pixels, dtype=torch.int64)
    for part, guess in zip(
        label.split(DRAWN_AT_A_TIME), predicted.split(DRAWN_AT_A_TIME), strict=True
    ):
        part.random_(1, num_dates, generator=generator)
        part[torch.rand(len(part), generator=generator) < UNCHANGED] = 0
        guess.random_(0, num_dates, generator=generator)
        right = torch.rand(len(part), generator=generator) >= GUESSED
        guess[right] = part[right]
        part[torch.rand(len(part), generator=generator) < NOT_COUNTED] = IGNORE
    return label, predicted


def _matrix_rows(
    what: str, num_classes: int, label: Tensor, predicted: Tensor, repeats: int
) -> list[dict[str, Any]]:
    """Rows of one confusion matrix, ours and plain, taken in turns."""
    small_label, small_predicted = label.to(torch.int8), predicted.to(torch.uint8)
    matrices: dict[str, Matrix] = {}

    def keep(how: str, count: Callable[[], Matrix]) -> Callable[[], None]:
        def run() -> None:
            matrices[how] = count()

        return run

    counts = {
        "ours, int64": lambda: _ours(num_classes, label, predicted),
        "ours, one byte": lambda: _ours(num_classes, small_label, small_predicted),
        PLAIN: lambda: _plain(num_classes, label.numpy(), predicted.numpy()),
        "scikit-learn, int64": lambda: _sklearn(num_classes, label, predicted),
    }
    seconds = in_turns({how: keep(how, count) for how, count in counts.items()}, repeats)
    few = min(SKLEARN_PIXELS, len(label))
    expected_few = _ours(num_classes, label[:few], predicted[:few])
    for how, matrix in matrices.items():
        np.testing.assert_array_equal(matrix, expected_few if "scikit" in how else matrices[PLAIN])
    rows = [
        _row(what, num_classes, how, few if "scikit" in how else len(label), seconds[how])
        for how in counts
    ]
    plain = next(row for row in rows if row["how"] == PLAIN)["seconds_per_1e8_pixels"]
    return [
        {**row, "times_faster": round(plain / row["seconds_per_1e8_pixels"], 3)} for row in rows
    ]


def _ours(num_classes: int, label: Tensor, predicted: Tensor) -> Matrix:
    matrix = ConfusionMatrix(num_classes)
    matrix.update(label, predicted)
    return matrix.matrix()


def _plain(num_classes: int, label: np.ndarray[Any, Any], predicted: Any) -> Matrix:
    """Counts by numpy alone: pixels that do not count go into a row of their own."""
    K = num_classes
    cell = np.where(label < 0, K, label) * K + predicted
    counts = np.bincount(cell, minlength=(K + 1) * K).reshape(K + 1, K)[:K]
    return counts.astype(np.int64)


def _sklearn(num_classes: int, label: Tensor, predicted: Tensor) -> Matrix:
    label, predicted = label[:SKLEARN_PIXELS], predicted[:SKLEARN_PIXELS]
    labelled = label >= 0
    matrix: Matrix = confusion_matrix(
        label[labelled], predicted[labelled], labels=range(num_classes)
    )
    return matrix


def _scoring_row(
    num_dates: int, area_label: Tensor, moment_label: Tensor, predicted: Tensor, repeats: int
) -> dict[str, Any]:
    """The row of both matrices and all scores, the predicted area made of the moment."""
    how = "ours, int64"

    def score() -> None:
        area, moment = ConfusionMatrix(2), ConfusionMatrix(num_dates)
        moment.update(moment_label, predicted)
        area.update(area_label, (predicted > 0).long())
        area_scores(area.matrix())
        moment_scores(moment.matrix())

    seconds = in_turns({how: score}, repeats)[how]
    return _row("both and all scores", num_dates, how, len(predicted), seconds)


def _row(
    what: str, num_classes: int, how: str, pixels: int, seconds: Sequence[float]
) -> dict[str, Any]:
    """A row of the result file: one way to count."""
    return {
        "what": what,
        "num_classes": num_classes,
        "how": how,
        "pixels": pixels,
        "seconds": spread(seconds),
        "seconds_per_1e8_pixels": round(statistics.median(seconds) * 1e8 / pixels, 5),
    }


if __name__ == "__main__":
    run_program(main)
