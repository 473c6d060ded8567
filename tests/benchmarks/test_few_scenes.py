"""Few labelled squares of a scene: those of one half are learnt from, the other half is scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import few_scenes
from benchmarks.real_areas import Area, read_scenes
from data_processing.scenes.spec import DYNAMIC
from tests.helpers.recorded_programs import record_programs
from utils.errors import UserError
from utils.files import read_csv_rows

REPORT = {
    "area": {"f1": 0.5, "fpr": 0.01}, "moment": {"f1_macro_all": 0.4, "kappa": 0.3},
}  # fmt: skip
H, W = 50, 100


def scene() -> Area:
    """Every pixel holds its column; one in seven changed."""
    images = np.broadcast_to(np.arange(1, W + 1, dtype=np.uint16), (6, 4, H, W))
    label = np.arange(H * W).reshape(H, W) % 7 - 1
    days = 730_000 + 100 * np.arange(6)
    return Area("Scene01", images, days, label.astype(np.int64).clip(-1, 5))


def test_squares_of_one_half_are_learnt_from_and_the_other_half_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record_programs(few_scenes, REPORT, monkeypatch)
    monkeypatch.setattr(few_scenes, "read_scene", lambda folder, spec: scene())
    (tmp_path / "w.pth").touch()
    flags = ["--scene", "s", "--output-dir", str(tmp_path / "runs"), "--checkpoint",
             str(tmp_path / "w.pth"), "--results", str(tmp_path / "rows.csv"),
             "--squares", "1", "3", "--seeds", "1", "2", "--steps", "8"]  # fmt: skip
    for _ in range(2):
        few_scenes.main(flags)
    rows = read_csv_rows(tmp_path / "rows.csv")
    assert [(row["start"], row["scenes"], row["scored"]) for row in rows] == [
        (start, squares, half)
        for half in ("east", "west")
        for start, squares in (
            ("w.pth", "0"), ("anew", "1"), ("w.pth", "1"), ("anew", "3"), ("w.pth", "3"),
        )
    ]  # fmt: skip
    trained = [words for words in calls if words[0] == "Train_Dynamic.py"]
    assert len(trained) == 8
    assert {words[words.index("--epochs") + 1] for words in trained} == {8}  # a step each
    west, east = (1, 50), (51, 100)
    for seed, own, other in ((1, west, east), (2, east, west)):
        root = tmp_path / f"runs/w_3_{seed}_lr0.0001/data/Images_Dynamic"
        learnt, (scored,) = (read_scenes(root / split, DYNAMIC) for split in ("train", "test"))
        assert len(learnt) == 3
        for part, (first, last) in ((scored, other), *((square, own) for square in learnt)):
            assert first <= part.images.min() <= part.images.max() <= last
            columns = part.images[0, 0, 0].astype(int) - 1
            assert part.label is not None
            assert {tuple(row) for row in part.label} <= {
                tuple(row[columns]) for row in scene().label
            }
    with pytest.raises(UserError, match="found 9, expected 4 at most, those of the west"):
        few_scenes.main([word if word != "3" else "9" for word in flags])
