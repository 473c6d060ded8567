"""Scores from confusion matrices, under names that say their averaging.

One int64 matrix per task and split is kept on the device; all scores come from it by scikit-learn,
whose functions take the matrix cells as weighted samples. Rules: fractions, not percent; any 0/0
is 0, kappa included; a moment error over no pixel at all is None.

Source: docs/differences.md#metrics for what the released program computes.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    cohen_kappa_score,
    jaccard_score,
    multilabel_confusion_matrix,
    precision_recall_fscore_support,
)
from torch import Tensor

__all__ = [
    "ConfusionMatrix",
    "Matrix",
    "area_scores",
    "f1_per_class",
    "moment_errors",
    "moment_scores",
]

Matrix = NDArray[np.int64]

BLOCK_PIXELS = 1 << 20  # counted at a time; a few MiB beside the pixels


class ConfusionMatrix:
    """Counts of (truth, prediction) over all pixels seen, kept where the predictions are.

    Pixels are counted in blocks, so that the memory needed beside them does not grow with their
    number. What is no class is counted apart and never as another class; since looking at counts
    waits for the device, that is told by :meth:`matrix`.

    Args:
        num_classes: K.
        device: Where the counts live.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self.num_classes = num_classes
        # A border around the K×K counts takes what lies below 0 (first) and above K−1 (last), so
        # that updating needs neither a data-dependent shape nor a look at the values.
        side = num_classes + 2
        self._counts = torch.zeros(side * side, dtype=torch.int64, device=device)
        self._cell_type = torch.uint8 if side * side <= 256 else torch.int32

    def update(self, label: Tensor, prediction: Tensor) -> None:
        """Count pixels.

        Args:
            label: Any shape, of an integer type or bool, 0 … K−1, or below 0 for pixels that do
                not count.
            prediction: Same shape, of an integer type or bool, 0 … K−1 where the pixel counts.

        Raises:
            ValueError: When the shapes differ.
        """
        if label.shape != prediction.shape:
            raise ValueError(
                f"confusion matrix: found labels of shape {tuple(label.shape)} and predictions of "
                f"shape {tuple(prediction.shape)}, expected the same; give one label per pixel."
            )
        label, prediction = label.flatten(), prediction.flatten()
        for first in range(0, label.numel(), BLOCK_PIXELS):
            block = slice(first, first + BLOCK_PIXELS)
            row, column = self._position(label[block]), self._position(prediction[block])
            self._add(row * (self.num_classes + 2) + column)

    @property
    def counts(self) -> Tensor:
        """All counts so far, as one int64 tensor on the device; sums of these are counts.

        To be assigned when counts of other processes, or of an earlier part of a run, come in.
        """
        return self._counts

    @counts.setter
    def counts(self, counts: Tensor) -> None:
        if counts.shape != self._counts.shape:
            raise ValueError(
                f"confusion matrix: found counts of shape {tuple(counts.shape)}, expected "
                f"{tuple(self._counts.shape)}; they belong to another number of classes."
            )
        self._counts = counts.to(self._counts)

    def matrix(self) -> Matrix:
        """The K×K counts, rows truth, columns prediction (waits for the device).

        Raises:
            ValueError: When a label above K−1 was counted, or a prediction that is no class.
        """
        K = self.num_classes
        counts: Matrix = self._counts.view(K + 2, K + 2).cpu().numpy()[1:]  # without ignored pixels
        strange = int(counts[:, [0, K + 1]].sum() + counts[K, 1 : K + 1].sum())
        if strange:
            raise ValueError(
                f"confusion matrix: found {strange} pixels whose label or prediction is no class, "
                f"expected 0…{K - 1}, or a label below 0 for pixels that do not count; check the "
                "label files, and that the network has as many classes."
            )
        return counts[:K, 1 : K + 1].copy()

    def _position(self, classes: Tensor) -> Tensor:
        """Row or column of each class: k + 1, 0 below all classes and K + 1 above them."""
        if classes.dtype == torch.bool:
            classes = classes.view(torch.uint8)
        limits = torch.iinfo(classes.dtype)
        inside = classes.clamp(max(limits.min, -1), min(limits.max, self.num_classes))
        return inside.to(self._cell_type) + 1  # −1 becomes 255 and wraps round to 0

    def _add(self, cell: Tensor) -> None:
        """Add a block of cell numbers to the counts."""
        if cell.device.type == "cpu":
            self._counts += torch.bincount(cell, minlength=self._counts.numel())
        else:
            self._add_without_waiting(cell)

    def _add_without_waiting(self, cell: Tensor) -> None:
        """The same for a GPU, for which bincount would wait to tell the largest value."""
        one = torch.ones(1, dtype=torch.int64, device=cell.device)
        self._counts.scatter_add_(0, cell.long(), one.expand(cell.numel()))


def area_scores(matrix: Matrix) -> dict[str, float]:
    """Scores of the change area; precision to IoU are those of the change class.

    Args:
        matrix: (2, 2) int64, rows truth, columns prediction, class 1 = changed.

    Returns:
        oa, precision, recall, f1, kappa, iou, miou (mean of both classes), fpr, fnr.
    """
    per_class = _per_class(matrix)
    precision, recall, f1, iou, fpr, fnr = (values.tolist() for values in per_class)
    return {
        "oa": _accuracy(matrix),
        "precision": precision[1],
        "recall": recall[1],
        "f1": f1[1],
        "kappa": _kappa(matrix),
        "iou": iou[1],
        "miou": float(per_class.iou.mean()),
        "fpr": fpr[1],
        "fnr": fnr[1],
    }


def moment_scores(matrix: Matrix) -> dict[str, float | None]:
    """Scores of the change moment.

    Args:
        matrix: (T, T) int64, rows truth, columns prediction, class 0 = unchanged.

    Returns:
        oa, kappa; precision, recall and f1 as plain means over all T classes, class 0 included
        (``…_macro_all``, as released); f1_macro_change over classes 1 … T−1; iou_macro_change
        likewise; miou over all; fpr and fnr one-against-rest, averaged over all T classes;
        mae_steps: mean |true − predicted| interval over pixels changed in both, None if none.
    """
    precision, recall, f1, iou, fpr, fnr = _per_class(matrix)
    return {
        "oa": _accuracy(matrix),
        "kappa": _kappa(matrix),
        "precision_macro_all": float(precision.mean()),
        "recall_macro_all": float(recall.mean()),
        "f1_macro_all": float(f1.mean()),
        "f1_macro_change": float(f1[1:].mean()),
        "iou_macro_change": float(iou[1:].mean()),
        "miou": float(iou.mean()),
        "fpr": float(fpr.mean()),
        "fnr": float(fnr.mean()),
        "mae_steps": moment_errors([matrix], [list(range(matrix.shape[0]))]),
    }


def moment_errors(
    matrices: Sequence[Matrix], positions: Sequence[Sequence[int | datetime.date]]
) -> float | None:
    """Mean absolute error of the change moment over pixels changed in truth and prediction.

    Args:
        matrices: One (T, T) matrix per scene, since scenes have dates of their own.
        positions: Per scene, T positions in time: step numbers, or dates (then the error is in
            days; class k stands at the first date on which the change is seen, date k).

    Returns:
        The mean in steps or days, None when no pixel is changed in both.
    """
    total, count = 0.0, 0
    for matrix, position in zip(matrices, positions, strict=True):
        number = np.array(
            [p.toordinal() if isinstance(p, datetime.date) else p for p in position], dtype=float
        )
        error = np.abs(number[:, None] - number[None, :])[1:, 1:]
        total += float((error * matrix[1:, 1:]).sum())
        count += int(matrix[1:, 1:].sum())
    return total / count if count else None


def f1_per_class(matrix: Matrix) -> NDArray[np.float64]:
    """F1 (K,) of each class against the rest, 0 where it is undefined.

    As scikit-learn gives it (tested), a hundred times as fast: searches ask for many.

    Args:
        matrix: (K, K) int64, rows truth, columns prediction.
    """
    either = matrix.sum(axis=0) + matrix.sum(axis=1)
    f1: NDArray[np.float64] = 2 * matrix.diagonal() / np.maximum(either, 1)
    return f1


class _PerClass(NamedTuple):
    """Scores of each class against the rest, each (K,) float64."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    iou: NDArray[np.float64]
    fpr: NDArray[np.float64]
    fnr: NDArray[np.float64]


def _per_class(matrix: Matrix) -> _PerClass:
    K = matrix.shape[0]
    if not matrix.any():  # scikit-learn refuses samples that all weigh nothing
        return _PerClass(*np.zeros((6, K)))
    truth, prediction, cells = _cells(matrix)
    options = {"sample_weight": cells, "labels": list(range(K))}
    rates = {"average": None, "zero_division": 0.0, **options}
    precision, recall, f1, _ = precision_recall_fscore_support(truth, prediction, **rates)
    iou = jaccard_score(truth, prediction, **rates)
    one_against_rest = multilabel_confusion_matrix(truth, prediction, **options)  # (K, 2, 2)
    negatives, positives = one_against_rest.sum(axis=2).T
    fpr = one_against_rest[:, 0, 1] / np.where(negatives, negatives, 1)
    fnr = one_against_rest[:, 1, 0] / np.where(positives, positives, 1)
    return _PerClass(precision, recall, f1, iou, fpr, fnr)


def _cells(matrix: Matrix) -> tuple[Matrix, Matrix, NDArray[np.float64]]:
    """Truth, prediction and weight of each cell, as scikit-learn's functions take them.

    Counts of up to 2⁵³ pixels are exact in float64.
    """
    truth, prediction = np.indices(matrix.shape)
    return truth.ravel(), prediction.ravel(), matrix.ravel().astype(np.float64)


def _accuracy(matrix: Matrix) -> float:
    if not matrix.any():
        return 0.0
    truth, prediction, cells = _cells(matrix)
    return float(accuracy_score(truth, prediction, sample_weight=cells))


def _kappa(matrix: Matrix) -> float:
    rows, columns = matrix.any(axis=1), matrix.any(axis=0)
    if (rows | columns).sum() < 2:  # nothing, or one class everywhere: 0/0
        return 0.0
    truth, prediction, cells = _cells(matrix)
    return float(
        cohen_kappa_score(truth, prediction, sample_weight=cells, replace_undefined_by=0.0)
    )
