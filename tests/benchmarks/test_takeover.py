"""The comparison of starts: a row per run, those of other runs stay."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import takeover
from data_processing.scenes.spec import own_spec
from tests.helpers.recorded_programs import record_programs
from utils.files import read_csv_rows

REPORT = {
    "area": {"f1": 0.5},
    "moment": {"f1_macro_all": 0.4, "kappa": 0.3, "mae_days": None},
    "scenes": [{}, {}],
}


def test_every_pair_of_runs_gets_a_row_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record_programs(takeover, REPORT, monkeypatch)
    monkeypatch.setattr(takeover, "custom_spec", lambda root: own_spec(["a", "b"], 3))
    monkeypatch.setattr(takeover, "find_scenes", lambda *given: [Path("scene")])
    (tmp_path / "w.pth").touch()
    flags = ["--data-root", "d", "--output-dir", str(tmp_path / "runs"), "--checkpoint",
             str(tmp_path / "w.pth"), "--results", str(tmp_path / "rows.csv")]  # fmt: skip
    for more in (["--epochs", "1", "2"], ["--epochs", "2"]):
        monkeypatch.setattr(sys, "argv", ["takeover.py", *flags, *more])
        takeover.main()
    rows = read_csv_rows(tmp_path / "rows.csv")
    starts = [(row["start"], row["epochs"], row["area_f1"]) for row in rows]
    assert starts == [(s, e, "0.5") for e in ("1", "2") for s in ("anew", "w.pth")]
    trained = [words for words in calls if words[0] == "Train_Custom.py"]
    assert [("--checkpoint" in words) for words in trained] == [False, True] * 3
