"""What the training programs share, from the command line (training/program.py)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import Train_Dynamic
from models import CAIMNet
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tests.helpers.children import forked, in_child, in_two_ranks
from tests.helpers.easy_patches import one_thread
from tests.helpers.scene_files import scene_folder, write_data_root
from tests.helpers.small_disk import fill, small_disk
from tests.test_scripts import TRAIN
from training import program
from training.ranks import Ranks
from utils.errors import run_program
from utils.files import hold_folder

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
    assert last.training["settings"]["threads"] == 1  # those it began with


@pytest.mark.parametrize(
    ("flags", "measured"),
    [({}, True), ({"resume": True}, False), ({"deterministic": True}, False)],
)
def test_threads_are_measured_when_a_run_begins_and_kept_when_it_goes_on(
    flags: dict[str, bool], measured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def take(number: int | None, device: object, work: int, measured: bool) -> int:
        asked.update(number=number, work=work, measured=measured)
        return 3

    monkeypatch.setattr(program, "take_threads", take)
    settings = Train_Dynamic.Settings(patch_size=32, epochs=5, **flags)
    assert program._with_threads(settings, range(10), Ranks()).threads == 3
    assert asked == {"number": None, "work": 10 * 32 * 32 * 5, "measured": measured}


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


# ------------------------------------------------------------------ folders of runs


def test_a_run_killed_before_its_first_checkpoint_goes_on_with_resume(
    tmp_path: Path, run: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--data-root", root, "--output-dir", "lauf", *TRAIN)
    with monkeypatch.context() as patch:
        patch.setattr("training.loop._start", lambda *_: sys.exit(9))
        assert run(*flags)[0] == 9
    assert {path.suffix for path in (tmp_path / "lauf").glob("[!.]*")} == {".json"}
    code, shown, errors = run("--output-dir", "lauf", "--resume")
    assert code == 0, errors
    assert "holds no checkpoint yet: beginning with the first step" in shown
    assert (tmp_path / "lauf" / "last.pth").is_file()


@forked
def test_a_full_disk_before_the_first_checkpoint_and_resume_when_there_is_room(
    tmp_path: Path, run: Run, root: Path
) -> None:
    with small_disk(tmp_path / "disk", 2048) as disk:
        ballast = fill(disk, leave_kilobytes=40)  # for settings.json, not for weights
        folder = disk / "lauf"
        code, shown, errors = run("--data-root", root, "--output-dir", folder, *TRAIN)
        assert code == 1
        assert "last.pth: the disk is full" in errors
        assert "--resume" in errors + shown
        ballast.unlink()
        code, _, errors = run("--output-dir", folder, "--resume")
        assert code == 0, errors
        assert (folder / "learning_curve.png").is_file()


@forked
@pytest.mark.parametrize("how", [("--overwrite",), ("--resume",)])
def test_a_second_training_in_a_folder_is_refused(
    tmp_path: Path, run: Run, root: Path, how: tuple[str, ...]
) -> None:
    flags = ("--data-root", root, "--output-dir", tmp_path / "lauf", *TRAIN)
    assert run(*flags)[0] == 0
    assert not list((tmp_path / "lauf").glob(".*"))
    hold_folder(tmp_path / "lauf")  # as the first one did
    before = {path: path.read_bytes() for path in (tmp_path / "lauf").glob("[!.]*")}

    def second() -> None:
        code, _, errors = run(*flags, *how)
        assert "another program is at work there" in errors
        sys.exit(code)

    assert in_child(second) == 2
    after = {path: path.read_bytes() for path in (tmp_path / "lauf").glob("[!.]*")}
    assert after == before


@forked
def test_several_processes_share_a_folder_and_refuse_a_network_that_mixes_its_batch(
    tmp_path: Path, run: Run, root: Path
) -> None:
    def train(*flags: str) -> None:
        code, shown, errors = run(
            "--data-root", root, "--output-dir", tmp_path / "lauf", *TRAIN, *flags
        )
        print(shown, errors)
        sys.exit(code)

    output = tmp_path / "output"
    assert in_two_ranks(lambda _: train("--attention", "batch"), output) == [2, 2]
    assert "--attention batch: found 2 processes, expected one" in output.read_text()
    assert not (tmp_path / "lauf").exists()
    assert in_two_ranks(lambda _: train(), output) == [0, 0]
    assert "2 processes share each batch of 4 patches" in output.read_text()


def test_the_improved_recipe_trains_and_stores_a_decision(
    tmp_path: Path, run: Run, root: Path
) -> None:
    flags = (*TRAIN, "--recipe", "improved", "--lr", "0.001")
    code, output, errors = run("--data-root", root, "--output-dir", "lauf", *flags)
    assert code == 0, errors
    assert "recipe improved" in output + errors
    best = load_checkpoint(tmp_path / "lauf" / "best.pth")
    settings = best.training["settings"]
    assert settings["lr"] == 0.001  # flags win
    assert (settings["insert_changes"], settings["average"]) == (0.6, 0.998)
    assert settings["random_crops"] is True
    assert "offset" in best.decision
    cam = best.state_dict["fine_moment1.0.weight"]
    assert (cam > 0).all()
