"""Scores from confusion matrices, under names that say their averaging.

One int64 matrix per task and split is kept on the device; all scores come from it by scikit-learn,
whose functions take the matrix cells as weighted samples. Rules: fractions, not percent; any 0/0
is 0, kappa included; a moment error over no pixel at all is None.

Source: docs/differences.md#metrics for what the released program computes.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

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

__all__ = ["ConfusionMatrix", "Matrix", "area_scores", "moment_errors", "moment_scores"]

Matrix = NDArray[np.int64]


class ConfusionMatrix:
    """Counts of (truth, prediction) over all pixels seen, kept where the predictions are.

    Args:
        num_classes: K.
        device: Where the K×K int64 matrix lives.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self.num_classes = num_classes
        # one row more for ignored pixels, so that updating needs no data-dependent shape
        self._counts = torch.zeros(
            (num_classes + 1) * num_classes, dtype=torch.int64, device=device
        )

    def update(self, label: Tensor, prediction: Tensor) -> None:
        """Count pixels.

        Args:
            label: Any shape, int64, 0 … K−1, or below 0 for pixels that do not count.
            prediction: Same shape, 0 … K−1.
        """
        K = self.num_classes
        label, prediction = label.flatten(), prediction.flatten()
        cell = torch.where(label < 0, K, label) * K + prediction
        if cell.device.type == "cpu":
            self._counts += torch.bincount(cell, minlength=self._counts.numel())
        else:  # bincount would wait for the GPU to tell the largest value
            one = torch.ones(1, dtype=torch.int64, device=cell.device)
            self._counts.scatter_add_(0, cell, one.expand(cell.numel()))

    def matrix(self) -> Matrix:
        """The K×K counts, rows truth, columns prediction (waits for the device)."""
        K = self.num_classes
        counts: Matrix = self._counts.view(K + 1, K)[:K].cpu().numpy()
        return counts


def area_scores(matrix: Matrix) -> dict[str, float]:
    """Scores of the change area; precision to IoU are those of the change class.

    Args:
        matrix: (2, 2) int64, rows truth, columns prediction, class 1 = changed.

    Returns:
        oa, precision, recall, f1, kappa, iou, miou (mean of both classes), fpr, fnr.
    """
    true_negative, false_positive, false_negative, true_positive = matrix.ravel().tolist()
    truth, prediction, cells = _cells(matrix)
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, prediction, sample_weight=cells, labels=[1], average="macro", zero_division=0.0
    )
    iou = _iou_per_class(matrix)
    return {
        "oa": _accuracy(matrix),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "kappa": _kappa(matrix),
        "iou": float(iou[1]),
        "miou": float(iou.mean()),
        "fpr": _ratio(false_positive, false_positive + true_negative),
        "fnr": _ratio(false_negative, false_negative + true_positive),
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
    truth, prediction, cells = _cells(matrix)
    labels = list(range(matrix.shape[0]))
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, prediction, sample_weight=cells, labels=labels, average=None, zero_division=0.0
    )
    one_against_rest = multilabel_confusion_matrix(
        truth, prediction, sample_weight=cells, labels=labels
    )  # (T, 2, 2)
    fpr = [_ratio(row[0, 1], row[0].sum()) for row in one_against_rest]
    fnr = [_ratio(row[1, 0], row[1].sum()) for row in one_against_rest]
    iou = _iou_per_class(matrix)
    return {
        "oa": _accuracy(matrix),
        "kappa": _kappa(matrix),
        "precision_macro_all": float(np.mean(precision)),
        "recall_macro_all": float(np.mean(recall)),
        "f1_macro_all": float(np.mean(f1)),
        "f1_macro_change": float(np.mean(f1[1:])),
        "iou_macro_change": float(iou[1:].mean()),
        "miou": float(iou.mean()),
        "fpr": float(np.mean(fpr)),
        "fnr": float(np.mean(fnr)),
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


def _iou_per_class(matrix: Matrix) -> NDArray[np.float64]:
    truth, prediction, cells = _cells(matrix)
    labels = list(range(matrix.shape[0]))
    iou: NDArray[np.float64] = jaccard_score(
        truth, prediction, labels=labels, average=None, sample_weight=cells, zero_division=0.0
    )
    return iou


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
