"""The probability of "changed": of pixels with such a lead, how many have really changed.

Softmaxes are stacked in the network's own probabilities, so that they rank pixels and say little
more. How a lead of the best moment over "unchanged" translates is learnt on validation data
(isotonic regression) and stored with the weights as a short curve, beside its error on data that it
was not fitted on. Where that error is small, maps say probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.weights.offset_search import lead_of
from utils.codes import IGNORE

__all__ = [
    "LARGEST_CHANGED_ERROR",
    "LARGEST_ERROR",
    "Calibration",
    "LeadCounts",
    "calibrated",
    "calibration_error",
    "probability_faults",
    "reliability",
]

LARGEST_ERROR = 0.03
"""Calibration error up to which maps of probabilities are written."""

LARGEST_CHANGED_ERROR = 0.1
"""The same of the pixels that are probably changed, which are too few to count in the former."""

BINS = 15  # of equal width, of the calibration error
KNOTS = 33  # of a curve, at most
MOST_KNOTS = 64  # in a file
LARGEST_LEAD = 60.0  # of log probabilities of float32 and more
LONGEST_PLACE = 300  # letters that say what data were used
HALVES = 2
CHANGED = 0.5  # probability from which on a pixel is probably changed

EDGES: NDArray[np.float64] = np.concatenate(
    (np.arange(-300, -20) / 10, np.arange(-400, 400) / 200, np.arange(20, 301) / 10)
)
"""Between the leads that are counted apart: fine around zero, where softmaxes are stacked."""
_MIDDLES = np.concatenate((EDGES[:1], (EDGES[1:] + EDGES[:-1]) / 2, EDGES[-1:]))

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """A curve from leads to probabilities, straight between its knots and level beyond them.

    Attributes:
        leads: Of the knots, ascending.
        values: Their probabilities, 0…1, ascending or level.
        error: Expected calibration error on data that the curve was not fitted on.
        changed_error: The same of the pixels that it gives 50 % and more.
        fitted_on, measured_on: These data in words.
    """

    leads: tuple[float, ...]
    values: tuple[float, ...]
    error: float
    changed_error: float
    fitted_on: str
    measured_on: str

    @classmethod
    def of(cls, decision: Mapping[str, Any]) -> Calibration | None:
        """The curve that the decision of a weights file carries, without faults; None without."""
        stored = decision.get("probability")
        if not stored:
            return None
        return cls(
            tuple(stored["leads"]), tuple(stored["values"]), float(stored["error"]),
            float(stored["changed_error"]), stored["fitted_on"], stored["measured_on"],
        )  # fmt: skip

    @property
    def is_good(self) -> bool:
        """Whether maps may say these probabilities."""
        return self.error <= LARGEST_ERROR and self.changed_error <= LARGEST_CHANGED_ERROR

    def at(self, lead: NDArray[Any]) -> Floats:
        """Probabilities at leads of any shape."""
        prob: Floats = np.interp(lead, self.leads, self.values)
        return prob

    def percent(self, prob: NDArray[Any]) -> NDArray[np.uint8]:
        """Probability of "changed" in whole percent, 0…100.

        Args:
            prob: (K, …) blended sums or probabilities of the network.
        """
        percent: NDArray[np.uint8] = np.rint(100 * self.at(lead_of(prob))).astype(np.uint8)
        return percent

    def facts(self) -> dict[str, Any]:
        """Everything but the curve, for results."""
        return {
            "error": self.error,
            "changed_error": self.changed_error,
            "fitted_on": self.fitted_on,
            "measured_on": self.measured_on,
        }


class LeadCounts:
    """Unchanged and changed pixels by lead, in two halves of the scenes.

    Attributes:
        counts: (2 halves, leads, 2) int64; may be added up.
    """

    def __init__(self, counts: Counts | None = None) -> None:
        shape = (HALVES, len(EDGES) + 1, 2)
        self.counts = np.zeros(shape, np.int64) if counts is None else counts

    def add(self, prob: NDArray[Any], label: NDArray[Any], half: int) -> None:
        """Count the labelled pixels of a scene, or of a part of it.

        Args:
            prob: (K, …) probabilities, or any positive multiple of them.
            label: (…) truth, above 0 where changed, ``IGNORE`` where unknown.
            half: Of the scenes, to which this one belongs: 0 or 1.
        """
        labelled = label != IGNORE
        lead = lead_of(prob[:, labelled])
        changed = (label[labelled] > 0).astype(np.int64)
        cell = 2 * np.searchsorted(EDGES, lead, side="right") + changed
        part = self.counts[half]
        part += np.bincount(cell, minlength=part.size).reshape(part.shape)

    @property
    def all(self) -> Counts:
        """(leads, 2) of both halves."""
        total: Counts = self.counts.sum(axis=0)
        return total

    def as_json(self) -> list[dict[str, list[int]]]:
        """Both halves as plain values: ``place`` among the leads, ``unchanged``, ``changed``."""
        halves = []
        for part in self.counts:
            (places,) = part.any(axis=1).nonzero()
            columns = (places, *part[places].T)
            names = ("place", "unchanged", "changed")
            halves.append({n: c.tolist() for n, c in zip(names, columns, strict=True)})
        return halves

    @classmethod
    def from_json(cls, halves: Any) -> LeadCounts:
        """Counts from what :meth:`as_json` gave.

        Raises:
            ValueError: It is something else.
        """
        counts = cls()
        try:
            for part, half in zip(counts.counts, halves, strict=True):
                columns = [half[name] for name in ("place", "unchanged", "changed")]
                for place, *pair in zip(*columns, strict=True):
                    if not 0 <= place < len(part) or min(pair) < 0:
                        raise ValueError(f"{pair} pixels at place {place}")
                    part[place] += pair
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"found no counts of two halves ({error})") from error
        return counts


def calibrated(
    counts: LeadCounts, fitted_on: str, checks: Mapping[str, LeadCounts] | None = None
) -> dict[str, Any]:
    """A curve fitted to counts, and its error elsewhere, as a weights file stores them.

    Args:
        counts: Of the data that it is fitted on, all of them.
        fitted_on: These data in words.
        checks: Other data in words, and their counts; the largest of their errors is stored.
            Without any, curves of either half are tried on the other one, and the larger error is
            that of the curve.

    Returns:
        leads, values, errors, fitted_on, measured_on; empty where data do not hold both changed and
        unchanged pixels, half by half if these are tried on each other, or leads tell nothing.
    """
    pairs = (counts.counts, counts.counts[::-1])
    trials = {data: (counts.all, other.all) for data, other in (checks or {}).items()}
    if not trials:
        data = f"halves of the scenes, each by the other's curve: {fitted_on}"
        trials = {f"{data} {half}": both for half, both in enumerate(zip(*pairs, strict=True))}
    if not all(part.sum(axis=0).all() for both in trials.values() for part in both):
        return {}
    curves = [(_curve(fit), other) for fit, other in trials.values()]
    error = max(calibration_error(curve, other) for curve, other in curves)
    changed_error = max(calibration_error(curve, other, CHANGED) for curve, other in curves)
    leads, values = _curve(counts.all)
    if len(leads) < 2:
        return {}
    measured = "; ".join(checks) if checks else data
    return {
        "leads": [round(float(lead), 4) for lead in leads],
        "values": [round(float(value), 4) for value in values],
        "error": round(error, 4), "changed_error": round(changed_error, 4),
        "fitted_on": fitted_on, "measured_on": measured,
    }  # fmt: skip


def reliability(curve: tuple[Any, Any], counts: Counts) -> list[tuple[float, float, int]]:
    """Probabilities that a curve says and what is true, by steps that hold pixels.

    Args:
        curve: Leads and probabilities of its knots.
        counts: (leads, 2).

    Returns:
        For each step the mean probability said, the share that changed, and the pixels.
    """
    prob = np.interp(_MIDDLES, *curve)
    step = np.minimum((prob * BINS).astype(int), BINS - 1)
    pixels = counts.sum(axis=1)
    count = np.bincount(step, pixels, BINS)
    said, true = (np.bincount(step, part, BINS) for part in (prob * pixels, counts[:, 1]))
    return [(said[i] / count[i], true[i] / count[i], int(count[i])) for i in count.nonzero()[0]]


def calibration_error(curve: tuple[Any, Any], counts: Counts, least: float = 0.0) -> float:
    """Expected calibration error: how far shares of changed pixels are from their probability.

    Args:
        curve: Leads and probabilities of its knots.
        counts: (leads, 2).
        least: Probability from which on pixels are counted.
    """
    steps = [step for step in reliability(curve, counts) if step[0] >= least]
    off = sum(abs(said - true) * pixels for said, true, pixels in steps)
    return float(off / max(1, sum(pixels for *_, pixels in steps)))


def _curve(counts: Counts) -> tuple[Floats, Floats]:
    """Knots of the isotonic regression: the middle of each of its level parts, thinned out.

    Those that are left are about evenly spread on the scale on which shares are equally exact,
    the arc sine of their root, so that most lie where few or nearly all pixels changed.
    """
    from scipy.optimize import isotonic_regression

    pixels = counts.sum(axis=1)
    (places,) = pixels.nonzero()
    weights, leads = pixels[places], _MIDDLES[places]
    fit = isotonic_regression(counts[places, 1] / weights, weights=weights)
    begins = fit.blocks[:-1]
    middles = np.add.reduceat(leads * weights, begins) / np.add.reduceat(weights, begins)
    values = np.clip(fit.x[begins], 0, 1)
    scale = np.arcsin(np.sqrt(values))
    wanted = np.linspace(scale[0], scale[-1], KNOTS)
    taken = np.unique(np.minimum(np.searchsorted(scale, wanted), len(values) - 1))
    return middles[taken], values[taken]


def probability_faults(stored: object) -> list[str]:
    """Faults of a stored curve, in plain values; none where there is no curve."""
    if stored is None:
        return []
    if not isinstance(stored, Mapping):
        return [f"decision/probability is a {type(stored).__name__}, expected a curve"]
    leads, values = (_numbers(stored.get(name)) for name in ("leads", "values"))
    faults = []
    if not (2 <= len(leads) == len(values) <= MOST_KNOTS):
        faults.append(
            f"decision/probability has {len(leads)} leads and {len(values)} values, expected as "
            f"many numbers of both, 2 … {MOST_KNOTS}"
        )
    if not all(a < b for a, b in pairwise(leads)) or any(abs(x) > LARGEST_LEAD for x in leads):
        faults.append(f"decision/probability/leads do not ascend within ±{LARGEST_LEAD:g}")
    if not all(0 <= a <= b <= 1 for a, b in pairwise(values)):
        faults.append("decision/probability/values do not ascend within 0 … 1")
    for name in ("error", "changed_error"):
        if not (error := _numbers([stored.get(name)])) or not 0 <= error[0] <= 1:
            faults.append(f"decision/probability/{name} is {stored.get(name)!r}, expected 0 … 1")
    for name in ("fitted_on", "measured_on"):
        words = stored.get(name)
        if not (isinstance(words, str) and words.isprintable() and 0 < len(words) <= LONGEST_PLACE):
            faults.append(f"decision/probability/{name} is no text of 1 … {LONGEST_PLACE} letters")
    return faults


def _numbers(values: object) -> list[float]:
    """Finite numbers of a list; none where it is no list, or holds anything else."""
    if not isinstance(values, list | tuple):
        return []
    plain = all(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
    return list(values) if plain and all(math.isfinite(x) for x in values) else []
