"""The decision's offset: what it decides, and that the search finds the best one."""

from __future__ import annotations

import numpy as np
import pytest

from mapping.decision import Decision
from models.weights.offset_search import OFFSETS, OffsetSearch, lead_of
from utils.codes import IGNORE

K = 4


def drawn(seed: int, pixels: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (K, pixels) that say more of the truth than chance, and the truth."""
    rng = np.random.default_rng(seed)
    label = np.where(rng.random(pixels) < 0.8, 0, rng.integers(1, K, pixels))
    logits = rng.normal(0, 1, (K, pixels))
    logits[label, np.arange(pixels)] += 1.5
    logits[1:] += 0.6  # change is called too often
    prob = np.exp(logits)
    return prob / prob.sum(axis=0), label


@pytest.mark.parametrize("offset", [-0.5, 0.1, 0.7])
def test_a_pixel_is_changed_where_its_lead_exceeds_the_offset(offset: float) -> None:
    prob, _ = drawn(2)
    lead = np.log(prob[1:].max(axis=0) / prob[0])
    assert np.allclose(lead_of(prob), lead)
    assert np.array_equal(Decision(offset).labels(prob) > 0, lead > offset)


def test_whole_numbers_are_decided_as_the_probabilities_that_they_stand_for() -> None:
    prob, _ = drawn(3)
    sums = np.rint(prob * 2**30).astype(np.int32)
    for offset in (0.0, 0.3):
        assert np.array_equal(Decision(offset).labels(sums), Decision(offset).labels(prob))


def test_matrices_of_the_search_are_those_of_the_decisions() -> None:
    search = OffsetSearch(K)
    pieces = [drawn(seed) for seed in (4, 5)]
    for prob, label in pieces:
        search.add(prob, label)
    for position in (0, 40, 50, 63, len(OFFSETS) - 1):
        expected = np.zeros((K, K), np.int64)
        for prob, label in pieces:
            np.add.at(expected, (label, Decision(float(OFFSETS[position])).labels(prob)), 1)
        assert np.array_equal(search.matrix(position), expected)


def test_ignored_pixels_do_not_count() -> None:
    prob, label = drawn(6)
    search = OffsetSearch(K)
    search.add(prob, np.where(np.arange(label.size) < 100, IGNORE, label))
    assert search.matrix(50).sum() == label.size - 100


def test_the_best_offset_puts_a_bias_towards_change_right() -> None:
    search = OffsetSearch(K)
    search.add(*drawn(7, 4000))
    best = search.best()
    assert best["offset"] > 0.2
    assert best["scores"]["area_f1"] > best["plain_scores"]["area_f1"]


def test_where_nothing_was_counted_the_decision_stays_plain() -> None:
    assert OffsetSearch(K).best()["offset"] == 0.0
