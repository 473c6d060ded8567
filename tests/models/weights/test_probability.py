"""The probability of "changed" that weights carry (models/weights/probability.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models import CAIMNet
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.weights.probability import (
    Calibration,
    LeadCounts,
    calibrated,
    calibration_error,
    probability_faults,
)
from utils.errors import CheckpointError

CURVE: dict[str, Any] = {
    "leads": [-0.5, 0.0, 0.5], "values": [0.0, 0.25, 1.0], "error": 0.01,
    "changed_error": 0.02,
    "fitted_on": "two scenes", "measured_on": "one scene",
}  # fmt: skip


def counts_of(slope: float, seed: int = 0, pixels: int = 40_000) -> LeadCounts:
    """Pixels whose share of changed ones is the logistic curve of that slope, in both halves."""
    rng, counts = np.random.default_rng(seed), LeadCounts()
    for half in (0, 1):
        lead = rng.normal(-0.2, 0.3, pixels)
        changed = rng.random(pixels) < 1 / (1 + np.exp(-slope * lead))
        counts.add(prob_of(lead), changed.astype(np.int64), half)
    return counts


def prob_of(lead: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of three classes, the last one far behind."""
    return np.stack([np.ones_like(lead), np.exp(lead), np.full_like(lead, 1e-9)]) / 3


def test_a_curve_finds_the_shares_back_in_a_few_knots() -> None:
    stored = calibrated(counts_of(12.0), "drawn pixels")
    assert len(stored["leads"]) <= 33
    assert probability_faults(stored) == []
    curve = Calibration.of({"probability": stored})
    assert curve is not None
    lead = np.linspace(-0.8, 0.5, 14)
    assert np.abs(curve.at(lead) - 1 / (1 + np.exp(-12 * lead))).max() < 0.05
    assert curve.error < 0.01
    assert curve.error <= curve.changed_error < 0.05
    assert curve.is_good
    assert "each by the other's curve" in curve.measured_on
    percent = curve.percent(prob_of(lead))
    assert percent.dtype == np.uint8
    assert np.abs(percent - 100 * curve.at(lead)).max() <= 0.51


def test_the_error_is_the_largest_of_the_data_that_it_is_checked_on() -> None:
    fitted, same, other = counts_of(12.0), counts_of(12.0, 1), counts_of(3.0, 2)
    good = calibrated(fitted, "a", {"b": same})
    both = calibrated(fitted, "a", {"b": same, "c": other})
    assert good["error"] < 0.01 < 0.1 < both["error"]
    assert (both["fitted_on"], both["measured_on"]) == ("a", "b; c")
    curve = both["leads"], both["values"]
    assert both["error"] == pytest.approx(calibration_error(curve, other.all), abs=1e-3)


def test_the_error_is_that_of_literal_steps() -> None:
    counts = LeadCounts()
    lead = np.repeat([-0.25, 0.25], 100)
    changed = np.arange(200) % 10 < np.repeat([1, 9], 100)  # 10 % and 90 %
    counts.add(prob_of(lead), changed.astype(np.int64), 0)
    curve = ([-1.0, -0.2, 0.2, 1.0], [0.3, 0.3, 0.9, 0.9])
    assert calibration_error(curve, counts.all) == pytest.approx((0.2 + 0.0) / 2)


def test_without_changes_in_a_half_there_is_no_curve() -> None:
    counts = counts_of(12.0)
    counts.counts[1, :, 1] = 0
    assert calibrated(counts, "a") == {}
    level = LeadCounts()
    for half in (0, 1):
        level.add(prob_of(np.full(10, 0.1)), np.arange(10) % 2, half)
    assert calibrated(level, "leads that tell nothing") == {}


def test_unlabelled_pixels_are_not_counted_and_counts_survive_json() -> None:
    counts = LeadCounts()
    counts.add(prob_of(np.array([0.1, 0.2, 0.3])), np.array([-1, 0, 4]), 1)
    assert counts.all.sum(axis=0).tolist() == [1, 1]
    assert counts.counts[0].sum() == 0
    again = LeadCounts.from_json(counts.as_json())
    assert np.array_equal(again.counts, counts.counts)


@pytest.mark.parametrize(
    "damaged", [None, {}, [{}, {}], [{"place": [-1], "unchanged": [1], "changed": [1]}] * 2,
                [{"place": [1], "unchanged": [-1], "changed": [1]}] * 2]
)  # fmt: skip
def test_counts_that_are_none_are_refused(damaged: Any) -> None:
    with pytest.raises(ValueError, match="found"):
        LeadCounts.from_json(damaged)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"leads": [0.0, 0.0, 0.5]}, "do not ascend"),
        ({"leads": [-100.0, 0.0, 0.5]}, "do not ascend within"),
        ({"leads": [-0.5, float("nan"), 0.5]}, "plain values|as many numbers"),
        ({"leads": [0.0, 0.5]}, "as many numbers"),
        ({"leads": "abc"}, "as many numbers"),
        ({"values": [0.5, 0.25, 1.0]}, "within 0 … 1"),
        ({"values": [0.0, 0.25, 1.5]}, "within 0 … 1"),
        ({"values": [0.0, True, 1.0]}, "as many numbers"),
        ({"error": -0.1}, "error"),
        ({"error": "small"}, "error"),
        ({"changed_error": None}, "changed_error"),
        ({"fitted_on": ""}, "fitted_on"),
        ({"measured_on": "a\nb"}, "measured_on"),
        ({"leads": list(range(65)), "values": [0.5] * 65}, "as many numbers"),
    ],
)
def test_a_file_with_a_curve_that_is_none_is_refused(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    network = CAIMNet(in_channels=2, num_dates=3, width=8, dropout=0.0)
    arguments = {"in_channels": 2, "num_dates": 3, "width": 8, "dropout": 0.0}
    checkpoint = Checkpoint("caim_net", arguments, network.state_dict())
    path = tmp_path / "w.pth"
    save_checkpoint(path, replace(checkpoint, decision={"probability": CURVE}))
    assert load_checkpoint(path).decision["probability"] == CURVE
    save_checkpoint(path, replace(checkpoint, decision={"probability": {**CURVE, **change}}))
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(path)
    save_checkpoint(path, replace(checkpoint, decision={"probability": [1.0]}))
    with pytest.raises(CheckpointError, match="expected a curve"):
        load_checkpoint(path)
