"""The decision "changed": how far the best moment must lead over "unchanged".

The loss weighs classes by their rarity, so that networks call change too often. The *offset* puts
that right without touching the weights: a pixel is changed where log p of its best moment exceeds
log p of "unchanged" by more than the offset. It is chosen on validation data, never on what is
scored, and stored with the weights. Offset 0 is the plain decision, the released one.

See docs/differences.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.codes import IGNORE
from utils.metrics import Matrix, area_scores, f1_per_class, moment_scores

__all__ = ["OFFSETS", "OffsetSearch", "lead_of"]

OFFSETS: NDArray[np.float64] = np.round(np.arange(-100, 101, 2) / 100, 2)
"""Those that are tried."""

_LEAST = 1e-12  # probability of what cannot be, so that its logarithm exists


def lead_of(prob: NDArray[Any]) -> NDArray[np.float64]:
    """By how much log p of the best moment exceeds log p of "unchanged".

    Args:
        prob: (K, …), class 0 first; any positive multiple of probabilities does.
    """
    values = np.maximum(prob.astype(np.float64), _LEAST)
    lead: NDArray[np.float64] = np.log(values[1:].max(axis=0)) - np.log(values[0])
    return lead


class OffsetSearch:
    """Confusion counts at every offset at once, collected patch by patch or scene by scene.

    Args:
        num_classes: K, "unchanged" included.

    Attributes:
        counts: (offsets that the lead exceeds, truth, best moment − 1) int64; may be added up.
    """

    def __init__(self, num_classes: int) -> None:
        K = num_classes
        self.num_classes = K
        self.counts = np.zeros((len(OFFSETS) + 1, K, K - 1), np.int64)

    def add(self, prob: NDArray[Any], label: NDArray[Any]) -> None:
        """Count pixels.

        Args:
            prob: (K, …) probabilities, or any positive multiple of them.
            label: (…) truth, ``IGNORE`` where unknown.
        """
        labelled = label != IGNORE
        labelled_prob, truth = prob[:, labelled], label[labelled].astype(np.int64)
        exceeded = np.searchsorted(OFFSETS, lead_of(labelled_prob), side="left")
        best = labelled_prob[1:].argmax(axis=0)
        shape = self.counts.shape
        cell = np.ravel_multi_index((exceeded, truth, best), shape)
        self.counts += np.bincount(cell, minlength=self.counts.size).reshape(shape)

    def matrix(self, position: int) -> Matrix:
        """Confusion matrix (K, K), rows truth, at one of the ``OFFSETS``."""
        changed = self.counts[position + 1 :].sum(axis=0)  # (K, K − 1)
        unchanged = self.counts[: position + 1].sum(axis=(0, 2))
        matrix: Matrix = np.concatenate((unchanged[:, None], changed), axis=1)
        return matrix

    def scores(self, position: int) -> dict[str, float]:
        """Area F1, and moment F1 over all classes, at one of the ``OFFSETS``."""
        matrix = self.matrix(position)
        moment = moment_scores(matrix)
        return {
            "area_f1": float(area_scores(_area(matrix))["f1"]),
            "moment_f1_macro_all": float(moment["f1_macro_all"] or 0.0),
            "moment_kappa": float(moment["kappa"] or 0.0),
        }

    def best(self) -> dict[str, Any]:
        """The offset with the largest mean of both F1, as it is stored with the weights.

        Returns:
            offset, and the scores there and at the plain decision; offset 0 where nothing is
            gained, or nothing was counted.
        """
        plain = int(np.flatnonzero(OFFSETS == 0)[0])
        worth = [_worth(self.matrix(position)) for position in range(len(OFFSETS))]
        chosen = int(np.argmax(worth))
        if worth[chosen] <= worth[plain]:
            chosen = plain
        return {
            "offset": float(OFFSETS[chosen]),
            "scores": self.scores(chosen),
            "plain_scores": self.scores(plain),
        }


def _area(moment: Matrix) -> Matrix:
    """The confusion matrix (2, 2) of the area that follows from moments (K, K)."""
    rows = np.stack((moment[:1].sum(axis=0), moment[1:].sum(axis=0)))
    area: Matrix = np.stack((rows[:, 0], rows[:, 1:].sum(axis=1)), axis=1)
    return area


def _worth(moment: Matrix) -> float:
    """The mean of area F1 and moment F1 over all classes."""
    return float((f1_per_class(_area(moment))[1] + f1_per_class(moment).mean()) / 2)
