"""A run that is killed, stopped or damaged goes on as if nothing had happened."""

from __future__ import annotations

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
from tests.helpers.easy_patches import assert_same_weights, run, state, table, weights
from training import loop
from training.checkpoints import CheckpointManager
from training.plan import TrainingPlan
from training.records import Records
from utils.errors import CheckpointError, UserError, run_program

EPOCHS, STEPS = 3, 3  # five patches in batches of two
PLAN = TrainingPlan(epochs=EPOCHS, lr=1e-3, lr_milestones=(2,))
KILLED = -9

pytestmark = forked


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Records, "draw", lambda self, *_: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Records, "draw", lambda self, *_: None)
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

    assert in_child(first) == KILLED
    assert in_child(lambda: train(folder, resume=True, **options)) == 0


def assert_same_run(one: Path, other: Path) -> None:
    assert_same_weights(one, other)
    assert (one / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()
    best = [load_checkpoint(folder / "best.pth") for folder in (one, other)]
    assert best[0].training == best[1].training
    assert all(torch.equal(v, best[1].state_dict[k]) for k, v in best[0].state_dict.items())


# ------------------------------------------------------------------ kill -9


@pytest.mark.parametrize("step", random.Random(6).sample(range(1, EPOCHS * STEPS + 1), 4))
def test_a_run_killed_at_a_random_step_ends_like_one_that_was_not(
    tmp_path: Path, whole: Path, step: int
) -> None:
    killed_then_resumed(tmp_path, at_call(loop, "train_step", step, lambda *_: kill()))
    assert_same_run(whole, tmp_path)


def test_a_run_killed_during_validation_ends_like_one_that_was_not(
    tmp_path: Path, whole: Path
) -> None:
    killed_then_resumed(tmp_path, at_call(loop, "score_step", 4, lambda *_: kill()))
    assert_same_run(whole, tmp_path)


@pytest.mark.parametrize("write", [1, 3, 5])
def test_a_run_killed_within_a_checkpoint_write_ends_like_one_that_was_not(
    tmp_path: Path, whole: Path, write: int
) -> None:
    def half(content: Any, path: Path, *_: Any) -> None:
        Path(path).write_bytes(b"PK\x03\x04 half of it")
        kill()

    killed_then_resumed(tmp_path, at_call(torch, "save", write, half))
    assert_same_run(whole, tmp_path)


@pytest.mark.parametrize("rename", [1, 2, 3, 4, 5, 6, 7, 9, 10, 11])
def test_a_run_killed_between_renames_ends_like_one_that_was_not(
    tmp_path: Path, whole: Path, rename: int
) -> None:
    killed_then_resumed(tmp_path, at_call(os, "replace", rename, lambda *_: kill()))
    assert_same_run(whole, tmp_path)


def test_reading_processes_change_nothing_in_a_killed_run(tmp_path: Path, whole: Path) -> None:
    killing = at_call(loop, "train_step", 5, lambda *_: kill())
    killed_then_resumed(tmp_path, killing, num_workers=1)
    assert_same_run(whole, tmp_path)


def test_a_run_killed_twice_ends_like_one_that_was_not(tmp_path: Path, whole: Path) -> None:
    for resume, step in ((False, 2), (True, 6)):
        assert in_child(lambda: killed_at(tmp_path, step, resume)) == KILLED  # noqa: B023
    assert in_child(lambda: train(tmp_path, resume=True)) == 0
    assert_same_run(whole, tmp_path)


def killed_at(folder: Path, step: int, resume: bool) -> None:
    at_call(loop, "train_step", step, lambda *_: kill())()
    train(folder, resume)


# ------------------------------------------------------------------ asked to stop


@pytest.mark.parametrize(
    ("number", "code", "where", "call"),
    [
        (signal.SIGINT, 130, "train_step", 4),
        (signal.SIGTERM, 143, "train_step", 5),
        (signal.SIGTERM, 143, "score_step", 3),
    ],
)
def test_ctrl_c_and_sigterm_finish_the_step_and_tell_how_to_go_on(
    tmp_path: Path, whole: Path, capfd: pytest.CaptureFixture[str], number: int, code: int,
    where: str, call: int,
) -> None:  # fmt: skip
    def stopped() -> None:
        at_call(loop, where, call, lambda *_: os.kill(os.getpid(), number))()
        run_program(lambda: train(tmp_path))

    assert in_child(stopped) == code
    shown = capfd.readouterr()
    assert re.search(r"stopped in epoch 2, .*--output-dir \S+ --resume", shown.out, re.DOTALL)
    assert "Traceback" not in shown.err
    assert state(tmp_path).epochs_done == 1
    assert in_child(lambda: train(tmp_path, resume=True)) == 0
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
    plan = TrainingPlan(epochs=2, lr=1e-3, lr_milestones=(2,))
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
    plan = TrainingPlan(epochs=2, lr=1e-3, lr_milestones=(2,))
    assert in_child(lambda: train(tmp_path, plan=plan)) == 0
    damage(tmp_path / "last.pth", "truncated")
    rename = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target).name == "last.pth":
            kill()
        rename(source, target)

    def resumed() -> None:
        os.replace = killed  # type: ignore[assignment]
        train(tmp_path, resume=True)

    assert in_child(resumed) == KILLED
    assert in_child(lambda: train(tmp_path, resume=True)) == 0
    assert_same_run(whole, tmp_path)


def test_two_damaged_checkpoints_are_told_and_none_is_no_fault(tmp_path: Path) -> None:
    assert CheckpointManager(tmp_path).load() is None
    run(tmp_path, TrainingPlan(epochs=1))
    for name in ("last.pth", "previous.pth"):
        damage(tmp_path / name, "truncated")
    with pytest.raises(CheckpointError, match=r"no whole checkpoint.*last\.pth.*previous\.pth"):
        CheckpointManager(tmp_path).load()


ABSURD: list[tuple[str, Any]] = [
    ("epochs_done", -1), ("epochs_done", 10**400), ("epochs_done", "3"), ("epochs_done", 2),
    ("epochs_done", True), ("optimizer", []), ("optimizer", {0: {"exp_avg": 1.0}}),
    ("optimizer", {10**12: {}}), ("rows", {}), ("rows", [{"epoch": "one"}]),
    ("rows", [{"epoch": 10**400}]), ("timing", [[]]), ("data", None), ("batch", [1]),
    ("micro_batch", 0), ("micro_batch", 2.5), ("epochs_unchanged", -3), ("matrices", {"area": 1}),
    ("matrices", {"area": torch.full((2, 2), -1)}), ("matrices", {"area": torch.zeros(2, 2)}),
    ("maps", "none"),
]  # fmt: skip
UNFITTING: list[tuple[str, Any]] = [
    ("optimizer", {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3, 3, 3)}}),
    ("optimizer", {0: {"step": torch.tensor(torch.inf)}}),
    ("optimizer", {4321: {"step": torch.tensor(1.0)}}),
    ("maps", {"chosen": [99], "every": 1, "maps": {}}),
    ("maps", {"chosen": [0], "every": 0, "maps": {}}),
    ("maps", {"chosen": [0], "every": 1, "maps": {1: torch.zeros(3, 8, 8, dtype=torch.uint8)}}),
    ("maps", {"chosen": [0], "every": 1, "maps": {1: torch.zeros(1, 8, 8)}}),
    ("maps", {"chosen": [0], "every": 1, "maps": {1: torch.full((1, 8, 8), 9, dtype=torch.uint8)}}),
    ("maps", {"chosen": ["a"], "every": 1, "maps": {}}),
    ("maps", {"chosen": [0], "every": 1, "maps": {1: 7}}),
    ("maps", {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [(*case, f"no whole checkpoint.*{case[0]}") for case in ABSURD]
    + [(*case, "does not fit") for case in UNFITTING],
)
def test_absurd_values_in_a_checkpoint_end_in_a_sentence(
    tmp_path: Path, whole: Path, name: str, value: Any, message: str
) -> None:
    content = torch.load(whole / "last.pth", weights_only=True)
    content["resume"][name] = value
    torch.save(content, tmp_path / "last.pth")
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path, resume=True)


def test_weights_that_are_no_numbers_are_told(tmp_path: Path, whole: Path) -> None:
    content = torch.load(whole / "last.pth", weights_only=True)
    next(iter(content["state_dict"].values()))[:] = torch.nan
    torch.save(content, tmp_path / "last.pth")
    with pytest.raises(CheckpointError, match="is not finite"):
        train(tmp_path, resume=True)


@pytest.mark.parametrize("name", ["epochs_done", "optimizer", "maps"])
def test_a_checkpoint_of_another_version_is_told(tmp_path: Path, whole: Path, name: str) -> None:
    content = torch.load(whole / "last.pth", weights_only=True)
    del content["resume"][name]
    torch.save(content, tmp_path / "last.pth")
    with pytest.raises(CheckpointError, match=f"holds no {name}.*--checkpoint"):
        train(tmp_path, resume=True)


def test_no_more_than_two_checkpoints_are_kept(whole: Path) -> None:
    assert {path.name for path in whole.glob("*.pth")} == {"last.pth", "previous.pth", "best.pth"}
    files = [load_checkpoint(whole / name) for name in ("previous.pth", "last.pth")]
    assert [file.resume["epochs_done"] for file in files] == [2, 3]


# ------------------------------------------------------------------ changed on purpose


def test_a_new_weight_decay_wins_over_that_of_the_checkpoint(tmp_path: Path) -> None:
    for name, decay in (("kept", 0.0), ("new", 0.5)):
        run(tmp_path / name, TrainingPlan(epochs=1))
        plan = TrainingPlan(epochs=2, weight_decay=decay, lr=1e-2)
        run(tmp_path / name, plan, resume=True)
        assert table(tmp_path / name)[1]["learning_rate"] == "0.01"
    one, other = weights(tmp_path / "kept"), weights(tmp_path / "new")
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_another_batch_size_is_taken_unless_the_network_mixes_its_batch(tmp_path: Path) -> None:
    run(tmp_path / "spatial", TrainingPlan(epochs=1))
    run(tmp_path / "spatial", TrainingPlan(epochs=2), resume=True, size=1)
    assert [row["epoch"] for row in table(tmp_path / "spatial")] == ["1", "2"]
    mixing: dict[str, Any] = {"attention": "batch"}
    run(tmp_path / "batch", TrainingPlan(epochs=1), **mixing)
    with pytest.raises(UserError, match=r"--batch-size: found 1, expected 2 as .* began"):
        run(tmp_path / "batch", TrainingPlan(epochs=2), resume=True, size=1, **mixing)
    run(tmp_path / "batch", TrainingPlan(epochs=2), resume=True, **mixing)


def test_weights_differ_where_a_run_did_go_on(tmp_path: Path) -> None:
    """The comparisons above can fail."""
    for name, epochs in (("one", 1), ("two", 2)):
        run(tmp_path / name, TrainingPlan(epochs=epochs, lr=1e-3))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert not all(torch.equal(one[name], two[name]) for name in one)
