"""The worst squares of scenes, their scores and their picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import failures
from benchmarks.real_areas import Area
from models import CAIMNet
from models.weights.checkpoint import Checkpoint, save_checkpoint
from utils.files import read_csv_rows

ARGUMENTS = {"in_channels": 4, "num_dates": 6, "width": 8, "dropout": 0.0}


def scene(name: str) -> Area:
    """Changes in the first square: all of it; the second has none; the third a corner."""
    label = np.zeros((8, 24), np.int64)
    label[:, :8], label[:3, 16:20] = 2, 3
    images = np.random.default_rng(0).integers(0, 9000, (6, 4, 8, 24)).astype(np.uint16)
    return Area(name, images, 730000 + 30 * np.arange(6), label)


def called(weights: Checkpoint, area: Area) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Half of the first square is found, an alarm raised in the second, the third missed."""
    assert area.label is not None
    decided = np.zeros_like(area.label)
    decided[:4, :8], decided[0, 8:16] = 2, 1
    return area.label, decided


def test_the_worst_squares_are_drawn_with_their_sentences_and_all_scores_are_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_maps", called)
    monkeypatch.setattr(failures, "look_at", lambda *given: [scene("a"), scene("b")])
    state = CAIMNet(**ARGUMENTS).state_dict()
    save_checkpoint(tmp_path / "w.pth", Checkpoint("caim_net", ARGUMENTS, state))
    with (tmp_path / "said.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["scene", "row", "col", "sentence"], ["a", 0, 16, "Missed."]])
    failures.main([
        "--checkpoint", str(tmp_path / "w.pth"), "--run", "r", "--data", "t=x", "--side", "8",
        "--picture", str(tmp_path / "p.png"), "--missed", "3", "--alarms", "1",
        "--results", str(tmp_path / "rows.csv"), "--sentences", str(tmp_path / "said.csv"),
    ])  # fmt: skip
    assert (tmp_path / "p.png").stat().st_size > 5000
    rows = read_csv_rows(tmp_path / "rows.csv")
    assert [row["of"] for row in rows] == ["a", "b", *map(str, range(6))]
    assert float(rows[0]["f1"]) == pytest.approx(2 * 32 / (76 + 40), abs=1e-4)
    assert float(rows[0]["false_alarms"]) == pytest.approx(8 / (192 - 76), abs=1e-4)
    assert float(rows[4]["f1"]) == pytest.approx(2 * 64 / (128 + 64), abs=1e-4)


def test_squares_are_ranked_by_what_went_wrong_and_no_scene_fills_the_picture() -> None:
    places = [scene(name) for name in "abc"]
    squares = [
        square
        for place in places
        for square in failures._squares(place, *called(None, place), 8)  # type: ignore[arg-type]
    ]
    drawn = failures.worst(squares, 4, 2)
    assert [(s.area.name, s.col) for s in drawn[:4]] == [("a", 16), ("b", 16), ("c", 16), ("a", 0)]
    assert [(s.area.name, s.col) for s in drawn[4:]] == [("a", 8), ("b", 8)]
    assert drawn[4].false_alarms == pytest.approx(8 / 64)
