"""bfloat16 is taken where it is fast and changes next to no label (models/weights/precision.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from models import build_network
from models.weights import precision as module
from models.weights.checkpoint import Checkpoint
from models.weights.precision import LabelAgreement, compared, precision_for, probabilities
from utils.codes import IGNORE

CPU = torch.device("cpu")
MEASURED = {"agreement": 0.9991, "pixels": 4096, "measured_on": "validation scenes"}
WEIGHTS = Checkpoint("caim_net", {}, {}, bfloat16=MEASURED)


def test_pixels_of_the_same_label_are_counted_where_there_is_a_truth() -> None:
    one = np.array([[0.6, 0.3, 0.1, 0.1], [0.3, 0.5, 0.2, 0.2], [0.1, 0.2, 0.7, 0.7]])
    other = np.array([[0.6, 0.5, 0.1, 0.1], [0.3, 0.3, 0.7, 0.7], [0.1, 0.2, 0.2, 0.2]])
    agreement = LabelAgreement()
    agreement.add(one, other, np.array([0, 1, 2, IGNORE]))
    assert agreement.counts.tolist() == [1, 3]
    assert agreement.facts("x") == {"agreement": 1 / 3, "pixels": 3, "measured_on": "x"}
    assert LabelAgreement().facts("x") == {}


def test_labels_are_those_of_the_decision_that_the_weights_carry() -> None:
    one, other = np.array([[0.5], [0.45]]), np.array([[0.5], [0.4]])
    counts = {}
    for offset in (0.0, -0.2):  # log(0.45 / 0.5) = −0.11, log(0.4 / 0.5) = −0.22
        agreement = LabelAgreement(offset)
        agreement.add(one, other, np.array([0]))
        counts[offset] = agreement.counts.tolist()
    assert counts == {0.0: [1, 1], -0.2: [0, 1]}


def test_networks_for_series_and_for_pairs_are_compared_until_it_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ENOUGH_PIXELS", 2 * 64)
    small: dict[str, Any] = {"pair_widths": (4, 8, 8), "video_widths": (4, 8), "resnet_width": 4,
                             "decoder_widths": (8, 8, 4, 4), "video_len": 2}  # fmt: skip
    for name, arguments, dates, bands in (
        ("caim_net", {"in_channels": 2, "num_dates": 3, "width": 8}, 3, 2),
        ("ctma", small, 2, 3),
    ):
        torch.manual_seed(0)
        network = build_network(name, arguments).eval()
        batch = (torch.rand(1, dates, bands, 8, 8), np.zeros((1, 8, 8), np.int64))
        assert compared(network, [batch] * 3, 0.0, CPU).counts[1] == 2 * 64
        exact, rounded = (
            probabilities(network, batch[0], CPU, kind) for kind in ("float32", "bfloat16")
        )
        assert exact.shape == rounded.shape == (dates, 1, 8, 8)
        assert not np.array_equal(exact, rounded)


@pytest.mark.parametrize(
    ("weights", "fault", "exactly", "taken", "reason"),
    [
        (WEIGHTS, "", "", "bfloat16", "maps agree at 99.91 % (validation scenes)"),
        (WEIGHTS, "this processor has none", "", "float32", "this processor has none"),
        (WEIGHTS, "", "as released", "float32", "as released"),
        (replace(WEIGHTS, bfloat16={}), "", "", "float32", "do not say"),
        (
            replace(WEIGHTS, bfloat16={**MEASURED, "agreement": 0.9949}), "", "", "float32",
            "maps agree at 99.49 % (validation scenes) only in bfloat16, expected 99.5 %",
        ),
    ],
)  # fmt: skip
def test_auto_says_what_it_comes_to_and_why(
    weights: Checkpoint,
    fault: str,
    exactly: str,
    taken: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "bfloat16_fault", lambda device: fault)
    assert precision_for("auto", weights, CPU, exactly) == taken
    said = capsys.readouterr().out
    assert said.startswith(f"precision {taken}: ")
    assert reason in said
    assert precision_for("float32", weights, CPU) == "float32"
    assert precision_for("bfloat16", weights, CPU, exactly) == "bfloat16"
    assert capsys.readouterr().out == ""
