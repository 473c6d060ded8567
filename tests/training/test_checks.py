"""Faults in mid-run end in plain words, the last checkpoint whole (training/checks.py)."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.children import forked, in_child
from tests.helpers.easy_patches import EasyPatches, assert_same_weights, run, state, weights
from tests.helpers.small_disk import fill, small_disk
from tests.training.test_checkpoints import at_call
from training import checks, loop
from training.checks import (
    COLLAPSE_EPOCHS,
    clear_memory_errors,
    reading_failure,
    unchanged_everywhere,
    warn_of_collapse,
    writing,
)
from training.plan import TrainingPlan
from training.records import Records
from utils.errors import CaimError, DataError, run_program

PLAN = TrainingPlan(epochs=2, lr=1e-3)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Records, "draw", lambda self, *_: None)


def assert_goes_on(folder: Path) -> None:
    """The last checkpoint is whole, and the run ends as if nothing had happened."""
    assert in_child(lambda: run(folder / "whole", PLAN)) == 0
    assert in_child(lambda: run(folder / "run", PLAN, True)) == 0
    assert_same_weights(folder / "whole", folder / "run")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "whole").mkdir()
    return tmp_path


# ------------------------------------------------------------------ numbers


@pytest.mark.parametrize("clip", [4.0, None])
def test_a_gradient_that_is_not_finite_stops_the_run_although_the_loss_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float | None
) -> None:
    train_step = loop.train_step
    steps: list[int] = []

    def infinite(*arguments: Any) -> tuple[Tensor, Tensor]:
        steps.append(1)
        terms, norm = train_step(*arguments)
        return terms, norm * torch.inf if len(steps) == 2 else norm

    monkeypatch.setattr(loop, "train_step", infinite)
    with pytest.raises(CaimError, match=r"gradient inf in epoch 1, step 2, scenes Scene"):
        run(tmp_path, TrainingPlan(epochs=1, clip_norm=clip))
    kept = torch.load(tmp_path / "bad_batch.pth", weights_only=True)
    assert kept["batch"]["images"].shape == (2, 3, 2, 8, 8)
    assert kept["batch"]["aoi"]
    assert state(tmp_path).epochs_done == 0


def test_the_kept_batch_is_the_one_that_was_learnt(tmp_path: Path) -> None:
    patches = EasyPatches(5)
    patches.images[4, 0, 0, 0, 0] = torch.nan
    with pytest.raises(CaimError, match="the loss is nan") as caught:
        run(tmp_path, TrainingPlan(epochs=1), dataset=patches)
    kept = torch.load(tmp_path / "bad_batch.pth", weights_only=True)
    assert kept["batch"]["images"].isnan().any()
    assert "Scene04" in kept["batch"]["aoi"]
    assert "bad_batch.pth" in str(caught.value)


def test_everything_unchanged_for_some_epochs_is_warned_of_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for epochs in range(1, 2 * COLLAPSE_EPOCHS):
        warn_of_collapse(epochs)
    assert capsys.readouterr().out.count("warning: for 5 epochs no pixel") == 1
    collapsed, alive, nothing = np.array([[9, 0], [3, 0]]), np.array([[9, 0], [2, 1]]), np.zeros(4)
    assert unchanged_everywhere({"area": collapsed})
    assert not unchanged_everywhere({"area": alive})
    assert not unchanged_everywhere({"area": nothing.reshape(2, 2).astype(np.int64)})


def test_a_run_counts_its_epochs_without_change_also_when_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.loop.unchanged_everywhere", lambda matrices: True)
    run(tmp_path, TrainingPlan(epochs=3))
    assert "no pixel" not in capsys.readouterr().out
    run(tmp_path, TrainingPlan(epochs=6), resume=True)
    assert capsys.readouterr().out.count("warning: for 5 epochs no pixel") == 1


# ------------------------------------------------------------------ disk


@forked
@pytest.mark.parametrize("step", [0, 1, 3, 4])
def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], step: int
) -> None:
    (tmp_path / "whole").mkdir()
    assert in_child(lambda: run(tmp_path / "whole", PLAN)) == 0

    def full() -> None:
        if step:  # of the steps before the first checkpoint 0, of those of an epoch 3
            at_call(loop, "train_step", step, lambda *_: fill(disk, leave_kilobytes=8))()
        run_program(lambda: run(disk, PLAN))

    with small_disk(tmp_path / "disk", 1024) as disk:
        if not step:
            fill(disk, leave_kilobytes=8)
        capfd.readouterr()
        assert in_child(full) == 1
        shown = capfd.readouterr()
        assert re.search(r"(best|last)\.pth: the disk is full \(", shown.err)
        assert "go on with --resume" in shown.err
        assert re.search(r"--output-dir \S+ --resume", shown.out)
        assert "Traceback" not in shown.err
        (disk / "ballast").unlink()
        assert in_child(lambda: run(disk, PLAN, True)) == 0
        assert_same_weights(tmp_path / "whole", disk)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CaimError, match="cannot be written"), writing(tmp_path / "file" / "a.csv"):
        (tmp_path / "file" / "a.csv").write_text("")
    with pytest.raises(CaimError, match="the disk is full"), writing(tmp_path / "a.csv"):
        raise OSError(28, "No space left on device")
    with pytest.raises(RuntimeError, match="shapes"), writing(tmp_path):
        raise RuntimeError("shapes differ")


# ------------------------------------------------------------------ reading


class Vanishing(EasyPatches):
    """Patches whose scene is deleted, or replaced, after some have been read."""

    def __init__(self, number: int, after: int, error: Exception) -> None:
        super().__init__(number)
        self.left, self.error = after, error

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().__getitem__(index)


@forked
@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(2, "No such file or directory", "Scene01/2018_01.tif"),
     DataError("Scene01/2018_01.tif", ["found 3×3 pixels", "found 2 bands"], "Put it back.")],
)  # fmt: skip
def test_a_scene_lost_in_mid_run_is_told_and_the_run_goes_on_when_it_is_back(
    folder: Path, capfd: pytest.CaptureFixture[str], num_workers: int, error: Exception
) -> None:
    lost = Vanishing(5, 3, error)
    options: dict[str, Any] = {"dataset": lost, "num_workers": num_workers}
    code = in_child(lambda: run_program(lambda: run(folder / "run", PLAN, **options)))
    assert code == 3
    shown = capfd.readouterr()
    assert "Scene01/2018_01.tif" in shown.err
    assert "Traceback" not in shown.err
    assert len(re.findall("Put (?:it|them) back", shown.err)) == 1
    assert re.search(r"--output-dir \S+ --resume", shown.out)
    assert_goes_on(folder)


@forked
def test_a_killed_reading_process_is_told(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def kill_reader(*_: Any) -> None:
        (reader,) = multiprocessing.active_children()
        os.kill(int(reader.pid or 0), signal.SIGKILL)
        reader.join()

    def killed() -> None:
        at_call(loop, "train_step", 2, kill_reader)()
        run_program(lambda: run(folder / "run", PLAN, number=40, num_workers=1))

    assert in_child(killed) == 1
    errors = capfd.readouterr().err
    assert "a reading process was killed" in errors
    assert "--num-workers 0" in errors
    assert state(folder / "run").epochs_done == 0


def test_faults_of_ours_are_no_lost_data() -> None:
    assert reading_failure(ZeroDivisionError("x")) is None
    assert reading_failure(RuntimeError("shapes differ")) is None
    known = DataError("Scene01", ["damaged"])
    assert reading_failure(known) is known


# ------------------------------------------------------------------ memory


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError(),
     RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")],
)  # fmt: skip
def test_memory_that_runs_out_names_the_flag_to_set(error: Exception) -> None:
    told = r"96 patches at a time.*--max-memory 8G"
    with pytest.raises(CaimError, match=told), clear_memory_errors(96, None):
        raise error
    with pytest.raises(ValueError, match="other"), clear_memory_errors(96, None):
        raise ValueError("other")


def test_batches_are_not_kept_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = checks.keep_batch(tmp_path / "file" / "bad.pth", {"images": torch.zeros(1)}, {})
    assert "could not be written" in told


def test_signals_are_left_alone_outside_the_main_thread(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=lambda: run(tmp_path, TrainingPlan(epochs=1)))
    thread.start()
    thread.join()
    assert (tmp_path / "last.pth").is_file()
    assert signal.getsignal(signal.SIGTERM) is before
    assert all(isinstance(value, Tensor) for value in weights(tmp_path).values())
    assert isinstance(nn.Parameter(torch.zeros(1)), Tensor)
