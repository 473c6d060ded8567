"""The number format that maps are computed in: as weights allow it, one for a whole map."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mapping import load_model
from models.weights.checkpoint import load_checkpoint, save_checkpoint
from Predict import Settings, loaded
from utils.processes import Processes


def test_a_model_takes_bfloat16_where_its_weights_allow_it(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.weights.precision.bfloat16_fault", lambda device: "")
    measured = {"agreement": 0.999, "pixels": 4096, "measured_on": "validation scenes"}
    save_checkpoint(tmp_path / "a.pth", replace(load_checkpoint(weights), bfloat16=measured))
    assert load_model(tmp_path / "a.pth", "cpu").precision == "bfloat16"
    assert load_model(tmp_path / "a.pth", "cpu", precision="float32").precision == "float32"
    assert load_model(weights, "cpu").precision == "float32"


def test_one_map_has_one_number_format_whatever_the_processors_can(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = {"agreement": 0.999, "pixels": 4096, "measured_on": "validation scenes"}
    save_checkpoint(tmp_path / "a.pth", replace(load_checkpoint(weights), bfloat16=measured))
    flags = Settings(device="cpu")
    for first, own in (("float32", ""), ("bfloat16", "this processor emulates it")):
        monkeypatch.setattr("models.weights.precision.bfloat16_fault", lambda device, own=own: own)
        second = Processes(rank=1, size=2)
        monkeypatch.setattr(Processes, "gather", lambda self, value, first=first: [first, value])
        model, load = loaded(flags, tmp_path / "a.pth", second)
        assert model.precision == load().precision == first  # of the process that speaks for all
