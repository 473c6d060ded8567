"""A run that is killed, stopped or damaged goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from data_processing.scenes.augmentation import FlipRotate
from models.weights.checkpoint import load_checkpoint
from tests.helpers.children import forked, in_child
from tests.helpers.easy_patches import assert_same_weights, run, table, weights
from training import checkpoints as resume_module
from training.checkpoints import load_last
from training.plan import TrainingPlan
from training.records import Journal
from training.step import Learner
from utils.errors import CheckpointError, UserError, run_program

EPOCHS, STEPS = 3, 3  # five patches in batches of two
PLAN = TrainingPlan(epochs=EPOCHS, lr=1e-3, lr_milestones=(2,), checkpoint_minutes=0)
KILLED = -9

pytestmark = forked


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "draw", lambda self, *_: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "draw", lambda self, *_: None)
        assert in_child(lambda: train(folder)) == 0
    return folder


def train(folder: Path, resume: bool = False, **options: Any) -> None:
    run(folder, options.pop("plan", PLAN), resume, transform=FlipRotate(), **options)


def kill() -> None:
    os.kill(os.getpid(), 9)


def at_call(owner: Any, name: str, number: int, act: Callable[..., None]) -> Callable[[], None]:
    """Something that makes the n-th call of a function act first, for use in a child."""

    def prepare() -> None:
        original, calls = getattr(owner, name), [0]

        def counted(*arguments: Any, **options: Any) -> Any:
            calls[0] += 1
            if calls[0] == number:
                act(*arguments)
            return original(*arguments, **options)

        setattr(owner, name, counted)

    return prepare


def killed_then_resumed(folder: Path, prepare: Callable[[], None], **options: Any) -> None:
    def first() -> None:
        prepare()
        train(folder, **options)

    (folder / "settings.json").write_text("{}")  # as start_run leaves it
    assert in_child(first) == KILLED
    assert in_child(lambda: train(folder, resume=True, **options)) == 0


def assert_same_run(one: Path, other: Path) -> None:
    assert_same_weights(one, other)
    for name in ("metrics.csv", "steps.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    best = [load_checkpoint(folder / "best.pth") for folder in (one, other)]
    assert best[0].training["epoch"] == best[1].training["epoch"]
    assert not list(other.glob(".*"))  # nothing half is left


# ------------------------------------------------------------------ kill -9


@pytest.mark.parametrize(
    ("step", "minutes"),
    [*zip(random.Random(6).sample(range(1, EPOCHS * STEPS + 1), 4), (0, 0, 0, None), strict=True)],
)
def test_a_run_killed_at_a_random_step_ends_like_one_that_was_not(
    tmp_path: Path, whole: Path, step: int, minutes: float | None
) -> None:
    plan = TrainingPlan(epochs=EPOCHS, lr=1e-3, lr_milestones=(2,), checkpoint_minutes=minutes)
    killed_then_resumed(tmp_path, at_call(Learner, "learn", step, lambda *_: kill()), plan=plan)
    assert_same_run(whole, tmp_path)


def test_a_run_killed_during_validation_ends_like_one_that_was_not(
    tmp_path: Path, whole: Path
) -> None:
    killed_then_resumed(tmp_path, at_call(Learner, "score", 4, lambda *_: kill()))
    assert_same_run(whole, tmp_path)


@pytest.mark.parametrize("write", [1, 6])
def test_a_run_killed_within_a_checkpoint_write_ends_like_one_that_was_not(
    tmp_path: Path, whole: Path, write: int
) -> None:
    def half(content: Any, path: Path, *_: Any) -> None:
        Path(path).write_bytes(b"PK\x03\x04 half of it")
        kill()

    killed_then_resumed(tmp_path, at_call(torch, "save", write, half))
    assert_same_run(whole, tmp_path)


@pytest.mark.parametrize("rename", [3, 4, 9])
def test_a_run_killed_between_renames_ends_like_one_that_was_not(
    tmp_path: Path, whole: Path, rename: int
) -> None:
    killed_then_resumed(tmp_path, at_call(os, "replace", rename, lambda *_: kill()))
    assert_same_run(whole, tmp_path)


def test_reading_processes_change_nothing_in_a_killed_run(tmp_path: Path, whole: Path) -> None:
    killed_then_resumed(tmp_path, at_call(Learner, "learn", 5, lambda *_: kill()), num_workers=1)
    assert_same_run(whole, tmp_path)


def test_a_run_killed_twice_ends_like_one_that_was_not(tmp_path: Path, whole: Path) -> None:
    (tmp_path / "settings.json").write_text("{}")
    for resume, step in ((False, 2), (True, 6)):
        assert in_child(lambda: killed_at(tmp_path, step, resume)) == KILLED  # noqa: B023
    assert in_child(lambda: train(tmp_path, resume=True)) == 0
    assert_same_run(whole, tmp_path)


def killed_at(folder: Path, step: int, resume: bool) -> None:
    at_call(Learner, "learn", step, lambda *_: kill())()
    train(folder, resume)


# ------------------------------------------------------------------ asked to stop


@pytest.mark.parametrize(
    ("number", "code", "where", "expected"),
    [
        (signal.SIGINT, 130, "learn", (1, 1, 2)),
        (signal.SIGTERM, 143, "learn", (1, 1, 2)),
        (signal.SIGTERM, 143, "score", (1, 3, 5)),  # validation is done again
    ],
)
def test_ctrl_c_and_sigterm_finish_the_step_write_a_checkpoint_and_tell_how_to_go_on(
    tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str], number: int, code: int,
    where: str, expected: tuple[int, int, int],
) -> None:  # fmt: skip
    plan = TrainingPlan(epochs=EPOCHS, lr=1e-3, lr_milestones=(2,), checkpoint_minutes=None)

    def stopped() -> None:
        call = {"learn": 4, "score": 3}[where]
        at_call(Learner, where, call, lambda *_: os.kill(os.getpid(), number))()
        run_program(lambda: train(tmp_path, plan=plan))

    assert in_child(stopped) == code
    shown = capfd.readouterr()
    assert re.search(r"--output-dir \S+ --resume", shown.out)
    assert "Traceback" not in shown.err
    position = load_last(tmp_path)[1].position
    assert (position.epoch, position.step, position.patches) == expected
    assert in_child(lambda: train(tmp_path, resume=True, plan=plan)) == 0
    assert_same_run(whole, tmp_path)


# ------------------------------------------------------------------ damaged files


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "one byte":  # within a tensor: the file still opens
        values = max(weights(path.parent, path.name).values(), key=torch.numel)
        content[content.index(values.numpy().tobytes()) + 5] ^= 0xFF
        path.write_bytes(content)
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["truncated", "one byte", "missing"])
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before_with_a_warning(
    tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str], how: str
) -> None:
    plan = TrainingPlan(epochs=2, lr=1e-3, lr_milestones=(2,), checkpoint_minutes=0)
    assert in_child(lambda: train(tmp_path, plan=plan)) == 0
    damage(tmp_path / "last.pth", how)
    assert in_child(lambda: train(tmp_path, resume=True)) == 0
    shown = capfd.readouterr().out
    assert "warning: " in shown
    assert "going on from previous.pth" in shown
    assert_same_run(whole, tmp_path)


def test_a_damaged_checkpoint_does_not_push_out_the_whole_one_before(
    tmp_path: Path, whole: Path
) -> None:
    plan = TrainingPlan(epochs=2, lr=1e-3, lr_milestones=(2,), checkpoint_minutes=0)
    assert in_child(lambda: train(tmp_path, plan=plan)) == 0
    damage(tmp_path / "last.pth", "truncated")
    rename = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target).name == "last.pth":  # previous.pth is the damaged one by now
            kill()
        rename(source, target)

    def resumed() -> None:
        os.replace = killed  # type: ignore[assignment]
        train(tmp_path, resume=True)

    assert in_child(resumed) == KILLED
    assert in_child(lambda: train(tmp_path, resume=True)) == 0
    assert_same_run(whole, tmp_path)


def test_two_damaged_checkpoints_are_told(tmp_path: Path) -> None:
    run(tmp_path, TrainingPlan(epochs=1))
    for name in ("last.pth", "previous.pth"):
        damage(tmp_path / name, "truncated")
    with pytest.raises(CheckpointError, match=r"no whole checkpoint.*last\.pth.*previous\.pth"):
        load_last(tmp_path)
    with pytest.raises(UserError, match="nothing was finished"):
        load_last(tmp_path / "none")


def test_no_more_than_two_checkpoints_are_kept(tmp_path: Path) -> None:
    run(tmp_path, TrainingPlan(epochs=3, checkpoint_minutes=0))
    assert {path.name for path in tmp_path.glob("*.pth")} == {
        "last.pth", "previous.pth", "best.pth"
    }  # fmt: skip
    positions = []
    for name in ("previous.pth", "last.pth"):
        positions.append(load_checkpoint(tmp_path / name).resume["position"])
    assert [p["epoch"] for p in positions] == [2, 3]


def test_a_checkpoint_names_all_that_a_run_needs(tmp_path: Path) -> None:
    run(tmp_path, TrainingPlan(epochs=1))
    state = load_checkpoint(tmp_path / "last.pth").resume
    assert set(state) == set(resume_module.RunState.__dataclass_fields__)
    assert state["schedule"]["learning_rate"] == 1e-4
    assert state["order"]["batch_size"] == 2


def test_a_last_checkpoint_of_an_earlier_version_is_resumed_at_the_end_of_its_epoch(
    tmp_path: Path,
) -> None:
    run(tmp_path, TrainingPlan(epochs=1, lr=1e-3))
    content = torch.load(tmp_path / "last.pth", weights_only=True)
    content["resume"] = {key: content["resume"][key] for key in ("optimizer", "rows")}
    torch.save(content, tmp_path / "last.pth")
    run(tmp_path, TrainingPlan(epochs=2, lr=1e-3), resume=True)
    assert [row["epoch"] for row in table(tmp_path)] == ["1", "2"]


# ------------------------------------------------------------------ changed on purpose


def stop_after(step: int, folder: Path, plan: TrainingPlan = PLAN) -> None:
    def stopped() -> None:
        at_call(Learner, "learn", step, lambda *_: os.kill(os.getpid(), signal.SIGTERM))()
        run_program(lambda: train(folder, plan=plan))

    assert in_child(stopped) == 143


def test_another_batch_size_holds_for_the_patches_that_the_epoch_has_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after(1, tmp_path)
    train(tmp_path, resume=True, size=1)
    assert "batch_size 1: holds from here on" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["epoch"] == 1] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if line["epoch"] == 2] == [1, 2, 3, 4, 5]


def test_a_new_weight_decay_wins_over_that_of_the_checkpoint(tmp_path: Path) -> None:
    run(tmp_path, TrainingPlan(epochs=1))
    run(tmp_path, TrainingPlan(epochs=2, weight_decay=0.25, lr=1e-2), resume=True)
    (group,) = load_checkpoint(tmp_path / "last.pth").resume["optimizer"]["param_groups"]
    assert (group["weight_decay"], group["lr"]) == (0.25, 1e-2)


def test_weights_differ_where_a_run_did_go_on(tmp_path: Path) -> None:
    """The comparisons above can fail."""
    for name, epochs in (("one", 1), ("two", 2)):
        run(tmp_path / name, TrainingPlan(epochs=epochs, lr=1e-3))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert not all(torch.equal(one[name], two[name]) for name in one)
