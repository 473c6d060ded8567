"""What weights learnt from, in one sentence (models/weights/sheet.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.weights.checkpoint import load_checkpoint
from models.weights.sheet import UNKNOWN, trained_on
from utils.files import write_json
from utils.settings import REPOSITORY

INSIDE = {"about": "Ten towns.  Not more."}


def said(folder: Path, sheet: Any, training: Any) -> str:
    if sheet is not None:
        write_json(folder / "w.json", sheet)
    return trained_on(folder / "w.pth", "ab", training)


@pytest.mark.parametrize(
    ("sheet", "training", "sentence"),
    [
        ({"sha256": "ab", "about": "Rain,\n3.5 GB. Made today."}, INSIDE, "Rain, 3.5 GB"),
        ({"sha256": "of another file", "about": "Drawings."}, INSIDE, "Ten towns"),
        ({"sha256": "ab", "about": "  "}, INSIDE, "Ten towns"),
        ({"sha256": "ab", "about": ["no text"]}, {}, UNKNOWN),
        (["no sheet"], {"about": 3}, UNKNOWN),
        (None, {}, UNKNOWN),
        (None, {"about": "x" * 10_000}, "x" * 300 + " …"),
    ],
)  # fmt: skip
def test_one_sentence_says_what_weights_learnt_from(
    tmp_path: Path, sheet: Any, training: Any, sentence: str
) -> None:
    assert said(tmp_path, sheet, training) == sentence


def test_a_sheet_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_bytes(b"\xff{")
    assert trained_on(tmp_path / "w.pth", "ab", {}) == UNKNOWN


@pytest.mark.parametrize("name", ["Dynamic", "SpaceNet7", "CTMA"])
def test_shipped_weights_say_what_they_learnt_from(name: str) -> None:
    path = REPOSITORY / f"best_model/Pretrained_model_{name}.pth"
    sentence = load_checkpoint(path).facts(path)["trained_on"]
    assert 20 < len(sentence) < 200
