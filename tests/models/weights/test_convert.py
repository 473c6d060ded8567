"""Rewriting weights files with their sheets (models/weights/convert.py)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import CAIMNet
from models.weights import convert
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.weights.probability import LeadCounts
from tests.helpers.oracle import random_released_state
from utils.errors import CaimError, CheckpointError, UserError
from utils.files import read_json, sha256

ARGUMENTS = {"in_channels": 4, "num_dates": 6, "width": 8}


def weights(folder: Path, scale: float = 1.0) -> Path:
    torch.manual_seed(0)
    state = {key: scale * value for key, value in CAIMNet(**ARGUMENTS).state_dict().items()}
    path = folder / "best.pth"
    decision = {"offset": 0.25}
    save_checkpoint(path, Checkpoint("caim_net", ARGUMENTS, state, decision=decision))
    return path


def converted(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path, output: Path, *flags: str | Path
) -> dict[str, Any]:
    """The sheet of a conversion."""
    command = ["convert.py", "--checkpoint", checkpoint, "--output", output, *flags]
    monkeypatch.setattr(sys, "argv", [str(word) for word in command])
    convert.main()
    sheet: dict[str, Any] = read_json(output.with_suffix(".json"))
    return sheet


def test_a_converted_file_keeps_weights_and_decision_and_gets_a_sheet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = weights(tmp_path), tmp_path / "small.pth"
    (tmp_path / "environment.json").write_text('{"command": "/secret/train.py", "python": "3.11"}')
    scores = tmp_path / "metrics.json"
    scores.write_text('{"area": {"f1": 0.5}, "protocol": {"name": "full", "data_root": "/secret"}}')
    sheet = converted(monkeypatch, path, output, "--half", "--scores", scores, "--about", "Toys.")
    assert sheet["sha256"] == sha256(output)
    assert sheet["decision"] == {"offset": 0.25}
    assert sheet["trained_with"] == {"python": "3.11"}
    assert sheet["test"] == {"area": {"f1": 0.5}, "protocol": {"name": "full"}}
    assert load_checkpoint(output).offset == 0.25
    assert sheet["about"] == load_checkpoint(output).training["about"] == "Toys."
    assert output.stat().st_size < 0.7 * path.stat().st_size


def test_shared_weights_of_the_authors_fit_any_patch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "authors.pth"
    torch.save(random_released_state(6, 8, (2, 8, 8)), path)
    sheet = converted(monkeypatch, path, tmp_path / "ours.pth", "--share-cam", "--patch-size", "8")
    assert sheet["arguments"]["cam"] == "shared"
    images = torch.rand(3, 6, 4, 16, 16)
    network: Any = load_checkpoint(tmp_path / "ours.pth").build()
    assert network.predict(images).area_prob.shape == (3, 2, 16, 16)


def test_agreement_in_bfloat16_comes_from_the_results_that_name_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, results = weights(tmp_path), tmp_path / "agreement.json"
    row = {"data": "toys", "split": "val", "scene": "all", "pixels": 100, "equal_moment": 0.99}
    others = [{"checkpoint_sha256": "0", **row}, {"checkpoint_sha256": sha256(path), "scene": "x"}]
    results.write_text(json.dumps({"rows": others}))
    with pytest.raises(UserError, match="no row of all scenes"):
        converted(monkeypatch, path, tmp_path / "out.pth", "--bfloat16", results)
    own = {"checkpoint_sha256": sha256(path), **row}
    results.write_text(json.dumps({"rows": [*others, own]}))
    sheet = converted(monkeypatch, path, tmp_path / "out.pth", "--bfloat16", results)
    measured = {"agreement": 0.99, "pixels": 100, "measured_on": "toys, val"}
    assert sheet["bfloat16"] == load_checkpoint(tmp_path / "out.pth").bfloat16 == measured
    flags = ("--bfloat16", results, "--share-cam", "--overwrite")
    with pytest.raises(UserError, match="other maps"):
        converted(monkeypatch, path, tmp_path / "out.pth", *flags)


def test_a_sheet_keeps_what_still_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights(tmp_path)
    before = {
        "sha256": sha256(path),
        "bits": 32,
        "about": "Toys.",
        "trained_with": {"python": "3"},
        "test_real": [1],
    }
    path.with_suffix(".json").write_text(json.dumps(before))
    same = converted(monkeypatch, path, tmp_path / "same.pth")
    assert (same["trained_with"], same["test_real"]) == ({"python": "3"}, [1])
    assert same["about"] == load_checkpoint(tmp_path / "same.pth").training["about"] == "Toys."
    rounded = converted(monkeypatch, path, tmp_path / "rounded.pth", "--half")
    assert "test_real" not in rounded
    assert rounded["trained_with"] == {"python": "3"}


@pytest.mark.parametrize("name", ["out.pth", "out.json"])
def test_neither_a_file_nor_a_sheet_is_overwritten_unasked(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"{name} exists"):
        converted(monkeypatch, path, tmp_path / "out.pth")
    assert (tmp_path / name).read_text() == "mine"
    converted(monkeypatch, path, tmp_path / "out.pth", "--overwrite")


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "NaN", '{"protocol": 3}', "[" * 9999, '{"protocol": 1e999}']
)
def test_scores_that_are_none_are_refused_before_anything_is_written(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = tmp_path / "metrics.json"
    scores.write_text(content)
    with pytest.raises(UserError, match="expected"):
        converted(monkeypatch, weights(tmp_path), tmp_path / "out.pth", "--scores", scores)
    assert not (tmp_path / "out.pth").exists()


def test_an_environment_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)
    (tmp_path / "environment.json").write_text(json.dumps([1]))
    with pytest.raises(CaimError, match=r"environment\.json: found a list"):
        converted(monkeypatch, path, tmp_path / "out.pth")


def test_weights_too_large_for_16_bits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path, scale=1e6)
    with pytest.raises(CheckpointError, match="16 bits"):
        converted(monkeypatch, path, tmp_path / "out.pth", "--half")
    assert not (tmp_path / "out.pth").exists()


def counted(path: Path, slope: float, checksum: str) -> Path:
    """reliability.json of a Test program that scored these weights."""
    leads, rng = LeadCounts(), np.random.default_rng(0)
    for half in (0, 1):
        lead = rng.normal(0, 0.3, 20_000)
        changed = rng.random(len(lead)) < 1 / (1 + np.exp(-slope * lead))
        leads.add(np.stack([np.ones_like(lead), np.exp(lead)]), changed.astype(np.int64), half)
    path.write_text(json.dumps({"checkpoint": {"sha256": checksum}, "halves": leads.as_json()}))
    return path


def test_a_probability_is_fitted_to_what_tests_counted_and_checked_on_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = weights(tmp_path), tmp_path / "new.pth"
    val = counted(tmp_path / "val.json", 9.0, sha256(path))
    test = counted(tmp_path / "test.json", 4.0, sha256(path))
    fit = ("--probability", f"a=b={val}")
    alone = converted(monkeypatch, path, output, *fit)["decision"]
    assert alone["offset"] == 0.25
    assert alone["probability"]["error"] < 0.02
    checked = converted(
        monkeypatch, path, output, *fit, "--probability-checks", f"t={test}", "--overwrite"
    )
    stored = load_checkpoint(output).decision["probability"]
    assert stored == checked["decision"]["probability"]
    assert (stored["fitted_on"], stored["measured_on"]) == ("a=b", "t")
    assert stored["error"] > 0.05
    kept = load_checkpoint(output).state_dict
    assert all(torch.equal(value, kept[k]) for k, value in load_checkpoint(path).state_dict.items())


def test_counts_of_other_weights_and_files_that_are_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights(tmp_path)
    other = counted(tmp_path / "other.json", 9.0, "0" * 64)
    own = counted(tmp_path / "own.json", 9.0, sha256(path))
    one_half = read_json(own)
    one_half["halves"][1] = {"place": [], "unchanged": [], "changed": []}
    (tmp_path / "one_half.json").write_text(json.dumps(one_half))
    for flags, said in (
        (("--probability", f"a={other}"), "made with other weights"),
        (("--probability", own), "no name before ="),
        (("--probability", f"a={tmp_path / 'one_half.json'}"), "expected scenes with both"),
        (("--probability", f"a={path}"), "cannot be read"),
        (("--probability-checks", f"a={own}"), "found it alone"),
        (("--probability", f"a={own}", "--share-cam"), "convert first"),
    ):
        with pytest.raises(UserError, match=said):
            converted(monkeypatch, path, tmp_path / "new.pth", *flags)
    assert not (tmp_path / "new.pth").exists()
