"""From probabilities to labels: where a pixel counts as changed, and how strongly that speaks.

A pixel is changed where log p − log p_0 of its most probable change exceeds an offset. With an
offset of 0 that asks which of the two is larger, as the network is trained; weights may carry
another one, found on validation scenes. The area is where the moment is above 0, whatever the
offset. This is the one place where probabilities become labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models import moment_label_from_prob
from models.weights.checkpoint import Checkpoint
from models.weights.probability import LARGEST_CHANGED_ERROR, LARGEST_ERROR, Calibration
from utils.progress import say
from utils.tiling import WEIGHT_UNIT

__all__ = ["PLAIN", "PROB_UNIT", "Choice", "Decision", "probability_of", "score_percent"]

PROB_UNIT = WEIGHT_UNIT**2
"""A blended probability of 1 as a whole number, 2³⁰; resolution 1e-9, finer than float32's."""

Choice = Literal["calibrated", "plain"]
"""calibrated: by the offset that the weights carry, 0 if none; plain: by 0."""


@dataclass(frozen=True)
class Decision:
    """The rule by which a pixel counts as changed.

    Attributes:
        offset: What log p − log p_0 of the most probable change must exceed.
    """

    offset: float = 0.0

    @classmethod
    def of(cls, weights: Checkpoint, choice: Choice) -> Decision:
        """The rule for these weights; what becomes of an offset that they carry is said."""
        if not weights.offset:
            return cls()
        if choice == "plain":
            say(f"decision: the offset {weights.offset:g} that these weights carry is left out")
            return cls()
        say(
            f"decision: changed where log p − log p_0 > {weights.offset:g}, as these weights were "
            "calibrated (--decision plain asks which is larger)"
        )
        return cls(weights.offset)

    @classmethod
    def above(cls, threshold: float) -> Decision:
        """The rule of a threshold on the probability of "changed", of two classes; 0 … below 1."""
        return cls(math.log(threshold / (1 - threshold)) if threshold else -math.inf)

    def facts(self) -> dict[str, Any]:
        """The rule as plain values, for results."""
        return {"name": "calibrated" if self.offset else "plain", "offset": self.offset}

    @property
    def threshold(self) -> float:
        """The probability above which the more probable of two classes is "changed"."""
        return 1 / (1 + math.exp(-self.offset)) if self.offset > -math.inf else 0.0

    def labels(self, prob: NDArray[Any]) -> NDArray[np.uint8]:
        """The class of each pixel; a tie with class 0 is "unchanged".

        Args:
            prob: (K, h, w), blended sums or probabilities of one tile.

        Returns:
            (h, w) uint8, 0 … K−1.
        """
        if not self.offset:
            plain = moment_label_from_prob(torch.from_numpy(prob)[None])[0]
            label: NDArray[np.uint8] = plain.to(torch.uint8).numpy()
            return label
        changed = prob[1:].max(axis=0) > self.unchanged(prob)
        return np.where(changed, prob[1:].argmax(axis=0) + 1, 0).astype(np.uint8)

    def unchanged(self, prob: NDArray[Any]) -> NDArray[Any]:
        """The value (h, w) that the most probable change of (K, h, w) must exceed."""
        unchanged: NDArray[Any] = prob[0]
        if self.offset:
            unchanged = np.multiply(unchanged, math.exp(self.offset), dtype=np.float64)
        return unchanged


PLAIN = Decision()


def probability_of(
    weights: Checkpoint, choice: Choice, used_by: Literal["Predict", "Test"] = "Predict"
) -> Calibration | None:
    """The curve from leads to probabilities, if these weights carry one.

    Args:
        weights: At hand.
        choice: Plain decisions have no probability.
        used_by: Maps get a good one only; why they get none, or what it rests on, is said. Tests
            show any.
    """
    curve = Calibration.of(weights.decision)
    if choice == "plain" or used_by == "Test":
        return curve if choice == "calibrated" else None
    if curve is None:
        say("no change_probability.tif: these weights carry no calibrated probability")
        return None
    off = f"{curve.error:.3f} off on average, {curve.changed_error:.3f} where they say 50 % or more"
    if not curve.is_good:
        say(
            f"no change_probability.tif: probabilities of these weights are {off} "
            f"({curve.measured_on}), expected at most {LARGEST_ERROR:g} and "
            f"{LARGEST_CHANGED_ERROR:g}"
        )
        return None
    say(f"probabilities: {off}, measured on {curve.measured_on}")
    return curve


def score_percent(
    sums: NDArray[np.int32],
    bounds: tuple[float, float],
    moments: bool = True,
    decision: Decision = PLAIN,
) -> NDArray[np.uint8]:
    """The strength of change in blended sums, 0…100.

    The probability of the change area, rescaled linearly so that the smallest value it can take
    gives 0 and the largest 100. It ranks pixels and is no calibrated probability.

    Args:
        sums: (K, h, W) of ``PROB_UNIT``.
        bounds: Smallest and largest probability of the change area, see
            ``models.area_prob_bounds``.
        moments: Whether the sums are of change moments, whose area probability is the softmax over
            {p_0, largest of the others}; else of areas, K = 2.
        decision: The rule of the labels; with an offset the probabilities are weighed by it first,
            so that 50 stays where labels change.

    Returns:
        (h, W) uint8; 50 and more where the pixel is decided "changed", 50 and less elsewhere.
    """
    low, high = bounds
    strongest, unchanged = sums[1:].max(axis=0), decision.unchanged(sums)
    if decision.offset or not moments:
        total = sums[1:].sum(axis=0, dtype=np.int64) + unchanged
    if moments:
        unit = np.maximum(total, 1) if decision.offset else np.float64(PROB_UNIT)
        area_prob = 1.0 / (1.0 + np.exp(-((strongest - unchanged) / unit)))
    else:  # tiles sum to one to rounding only: half and more is what is decided "changed"
        area_prob = strongest / np.maximum(total, 1)
    percent = np.rint(100.0 * (area_prob - low) / (high - low))
    score: NDArray[np.uint8] = np.clip(percent, 0, 100).astype(np.uint8)
    return score
