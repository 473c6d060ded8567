"""What the training programs share, from the command line (training/program.py)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models import CAIMNet
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tests.helpers.easy_patches import one_thread
from tests.helpers.scene_files import scene_folder, write_data_root
from tests.test_scripts import TRAIN
from utils.errors import run_program

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Train_Dynamic's main function in this process: exit code, output, errors."""

    def call(*flags: str | Path) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["Train_Dynamic.py", *map(str, flags)])
        with pytest.raises(SystemExit) as left, one_thread():
            run_program(importlib.import_module("Train_Dynamic").main)
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return call


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_data_root(tmp_path / "daten", "dynamic", 1, 64, patch_size=32, stride=32)


def test_a_run_that_began_from_weights_goes_on_without_their_file(
    tmp_path: Path, run: Run, root: Path
) -> None:
    arguments = {"in_channels": 4, "num_dates": 6, "width": 12}
    weights = Checkpoint("caim_net", arguments, CAIMNet(**arguments).state_dict())
    save_checkpoint(tmp_path / "a.pth", weights)
    code, _, errors = run(
        "--data-root", root, "--output-dir", "lauf", *TRAIN, "--checkpoint", "a.pth"
    )
    assert code == 0, errors
    (tmp_path / "a.pth").unlink()
    code, _, errors = run("--output-dir", "lauf", "--resume", "--epochs", "2")
    assert code == 0, errors
    last = load_checkpoint(tmp_path / "lauf" / "last.pth")
    assert (last.arguments["width"], last.training["epoch"]) == (12, 2)
    assert last.training["settings"]["epochs"] == 2


def test_other_scenes_are_not_resumed(tmp_path: Path, run: Run, root: Path) -> None:
    assert run("--data-root", root, "--output-dir", "lauf", *TRAIN)[0] == 0
    other = write_data_root(tmp_path / "andere", "dynamic", 1, 96, patch_size=32, stride=32)
    flags = ("--output-dir", "lauf", "--resume", "--epochs", "2")
    code, _, errors = run(*flags, "--data-root", other)
    assert code == 2
    assert "the training data of" in errors
    assert "train patches 4 then, 9 now" in errors
    moved = (tmp_path / "daten").rename(tmp_path / "verschoben")
    assert run(*flags, "--data-root", moved)[0] == 0


def test_the_flags_for_memory_and_records_work(tmp_path: Path, run: Run, root: Path) -> None:
    flags = ("--max-memory", "64G", "--log-with", "tensorboard", "--deterministic")
    try:
        code, _, errors = run("--data-root", root, "--output-dir", "lauf", *TRAIN, *flags)
    finally:
        torch.use_deterministic_algorithms(False)
    assert code == 0, errors
    flags = ("--output-dir", "zwei", "--max-memory", "viel")
    code, _, errors = run("--data-root", root, *TRAIN, *flags)
    assert code == 2
    assert not (tmp_path / "zwei").exists()
    assert "--max-memory: found 'viel'" in errors


def test_a_deleted_scene_ends_a_run_with_3(
    tmp_path: Path, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = next(scene_folder(root, "dynamic", "train").rglob("2018_05.tif"))

    def delete(*_: object) -> None:
        image.unlink()

    monkeypatch.setattr("training.program.describe_device", lambda device: str(delete()))
    code, shown, errors = run("--data-root", root, "--output-dir", "lauf", *TRAIN)
    assert code == 3, errors
    assert "2018_05.tif" in errors
    assert "--resume" in shown
