"""What bfloat16 does to results is measured as said (benchmarks/bfloat16.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import bfloat16
from data_processing.scenes.spec import DYNAMIC
from models import build_network
from models.weights.checkpoint import Checkpoint, save_checkpoint
from tests.helpers.scene_files import write_data_root
from utils.errors import UserError
from utils.files import read_json

ARGUMENTS = {"in_channels": 4, "num_dates": 6, "width": 8}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root of small scenes with patches of 32×32."""
    folder = tmp_path_factory.mktemp("data")
    return write_data_root(
        folder, "dynamic", {"train": 1, "val": 1, "test": 2}, size=32, patch_size=16, stride=16
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights at random."""
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    state = build_network("caim_net", ARGUMENTS).state_dict()
    save_checkpoint(path, Checkpoint("caim_net", ARGUMENTS, state, data=DYNAMIC.facts(16)))
    return path


def agreement(root: Path, weights: Path, folder: Path, title: str) -> Any:
    bfloat16.main(
        ["agreement", "--data-root", str(root), "--dataset", "dynamic", "--checkpoint",
         str(weights), "--title", title, "--device", "cpu", "--output-dir", str(folder)]
    )  # fmt: skip
    return read_json(folder / "bfloat16_agreement.json")["rows"]


def test_agreement_is_told_by_scene_and_for_all(root: Path, weights: Path, tmp_path: Path) -> None:
    rows = agreement(root, weights, tmp_path, "small scenes")
    assert len(rows) == 3
    assert rows[-1]["scene"] == "all"
    assert rows[-1]["pixels"] == sum(row["pixels"] for row in rows[:-1]) == 2 * 32 * 32
    for row in rows:
        share = 1 - row["pixels_of_another_moment"] / row["pixels"]
        assert row["equal_moment"] == pytest.approx(share, abs=1e-6)
        assert row["area"]["largest"] >= row["area"]["mean"] >= 0
        one, other = row["area_f1"]["float32"], row["area_f1"]["bfloat16"]
        assert abs(one - other) <= row["area"]["largest"] + 1e-6


def test_rows_of_other_data_stay_and_those_of_the_same_are_replaced(
    root: Path, weights: Path, tmp_path: Path
) -> None:
    agreement(root, weights, tmp_path, "one")
    agreement(root, weights, tmp_path, "other")
    rows = agreement(root, weights, tmp_path, "one")
    assert [row["data"] for row in rows] == ["one"] * 3 + ["other"] * 3


def test_training_is_compared_over_seeds(root: Path, tmp_path: Path) -> None:
    bfloat16.main(
        ["training", "--data-root", str(root), "--dataset", "dynamic", "--epochs", "2",
         "--width", "8", "--patch-size", "16", "--stride", "16", "--seeds", "1", "2",
         "--device", "cpu", "--output-dir", str(tmp_path)]
    )  # fmt: skip
    assert (tmp_path / "bfloat16_training.png").read_bytes().startswith(b"\x89PNG")
    rows = read_json(tmp_path / "bfloat16_training.json")["rows"]
    epochs = [row for row in rows if row["epoch"] != "all"]
    assert [(row["score"], row["epoch"]) for row in epochs] == [
        (score, epoch) for score in bfloat16.SCORES for epoch in (1, 2)
    ]
    for row in epochs:
        mean = {way: sum(row[way]) / 2 for way in ("float32", "bfloat16")}
        assert row["difference"] == pytest.approx(mean["bfloat16"] - mean["float32"], abs=2e-6)
        assert row["within"] == (abs(row["difference"]) <= row["float32_sd"])
    loss = [row for row in epochs if row["score"] == "val_loss"]
    assert any(row["float32"] != row["bfloat16"] for row in loss)  # not the same run twice
    assert all(row["epochs"] == 2 for row in rows if row["epoch"] == "all")


def test_one_seed_is_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least two"):
        bfloat16.main(
            ["training", "--data-root", str(root), "--dataset", "dynamic", "--seeds", "1",
             "--output-dir", str(tmp_path)]
        )  # fmt: skip
