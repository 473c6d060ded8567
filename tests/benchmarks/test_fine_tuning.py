"""Few labelled pairs from shipped weights and anew: a row a run, none made twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import fine_tuning
from tests.helpers.pair_files import write_pairs
from tests.helpers.recorded_programs import record_programs
from utils.errors import UserError
from utils.files import read_csv_rows

REPORT = {"area": {"f1": 0.5, "precision": 0.4, "recall": 0.7}, "pairs": {"a": {}, "b": {}}}


def test_every_number_of_pairs_is_trained_on_from_both_starts_and_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record_programs(fine_tuning, REPORT, monkeypatch)
    root = write_pairs(tmp_path / "pairs", ("train", "val"), 2)
    (tmp_path / "w.pth").touch()
    flags = ["--data-root", str(root), "--output-dir", str(tmp_path / "runs"), "--checkpoint",
             str(tmp_path / "w.pth"), "--results", str(tmp_path / "rows.csv"), "--scenes", "1", "2",
             "--seeds", "3", "--least-changed", "0", "--steps", "8"]  # fmt: skip
    for _ in range(2):
        fine_tuning.main(flags)
    rows = read_csv_rows(tmp_path / "rows.csv")
    assert [(row["start"], row["scenes"]) for row in rows] == [
        ("w.pth", "0"), ("anew", "1"), ("w.pth", "1"), ("anew", "2"), ("w.pth", "2"),
    ]  # fmt: skip
    trained = [words for words in calls if words[0] == "Train_CTMA.py"]
    assert len(trained) == 4
    epochs = [words[words.index("--epochs") + 1] for words in trained]
    assert epochs == [4, 4, 4, 4]  # as many steps, the one pair twice an epoch
    one, two = (sorted((tmp_path / f"runs/w_{n}_3/data/train/A").iterdir()) for n in (1, 2))
    assert {path.name for path in one} < {path.name for path in two}
    with pytest.raises(UserError, match="found 3, expected 2 at most"):
        fine_tuning.main([word if word != "2" else "3" for word in flags])
