"""Two processes that train together: one matrix, one writer, one end (training/ranks.py)."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from data_processing.scenes.augmentation import FlipRotate
from tests.helpers.children import forked, in_child, in_two_ranks
from tests.helpers.easy_patches import EasyPatches, assert_same_weights, run, table, weights
from tests.training.test_checkpoints import at_call
from training.checkpoints import load_last
from training.plan import TrainingPlan
from training.ranks import RankError, Ranks, chosen_device
from training.records import Journal
from training.step import Learner
from utils.errors import CaimError, DataError, UserError, run_program

PLAN = TrainingPlan(epochs=2, lr=1e-3, checkpoint_minutes=None)

pytestmark = forked


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "draw", lambda self, *_: None)


def train_together(folder: Path, resume: bool = False, **options: Any) -> None:
    ranks = Ranks()
    plan = options.pop("plan", PLAN)
    run(folder, plan, resume, transform=FlipRotate(), ranks=ranks, **options)
    ranks.close()


def matrices_by_score(folder: Path) -> list[dict[str, str]]:
    """The columns of metrics.csv that come from confusion matrices."""
    return [{k: v for k, v in row.items() if "f1" in k or "kappa" in k} for row in table(folder)]


def test_two_processes_give_the_scores_of_one_exactly_and_its_weights_to_rounding(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    plan = TrainingPlan(epochs=2, lr=1e-3)
    one = in_child(lambda: run(tmp_path / "one", plan, transform=FlipRotate(), dropout=0.0))
    assert one == 0
    assert in_two_ranks(lambda _: train_together(tmp_path / "two", plan=plan, dropout=0.0)) == [
        0,
        0,
    ]
    assert matrices_by_score(tmp_path / "one") == matrices_by_score(tmp_path / "two")
    alone, together = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in alone:
        torch.testing.assert_close(together[name], alone[name], rtol=0, atol=1e-4)
    for a, b in zip(table(tmp_path / "one"), table(tmp_path / "two"), strict=True):
        assert float(a["val_loss"]) == pytest.approx(float(b["val_loss"]), rel=1e-5)


def test_two_processes_repeat_themselves_and_only_the_first_writes(tmp_path: Path) -> None:
    def watched(rank: int) -> None:
        if rank:  # whoever else writes fails
            for owner, name in ((tempfile, "mkstemp"), (os, "replace")):
                at_call(owner, name, 1, lambda *_: os._exit(7))()
        train_together(folder)

    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        assert in_two_ranks(watched) == [0, 0]
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a/metrics.csv").read_bytes() == (tmp_path / "b/metrics.csv").read_bytes()


@pytest.mark.parametrize("told", [0, 1])
def test_sigterm_to_any_process_stops_both_and_both_go_on(tmp_path: Path, told: int) -> None:
    def stopped(rank: int) -> None:
        if rank == told:
            at_call(Learner, "learn", 4, lambda *_: os.kill(os.getpid(), signal.SIGTERM))()
        run_program(lambda: train_together(tmp_path / "parts"))

    (tmp_path / "parts").mkdir()
    (tmp_path / "whole").mkdir()
    assert in_two_ranks(stopped) == [143, 143]
    assert load_last(tmp_path / "parts")[1].position.step == 1
    assert in_two_ranks(lambda _: train_together(tmp_path / "parts", resume=True)) == [0, 0]
    assert in_two_ranks(lambda _: train_together(tmp_path / "whole")) == [0, 0]
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    for name in ("metrics.csv", "steps.jsonl"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


class Lost(EasyPatches):
    """Patches one of which cannot be read any more."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == 3:
            raise DataError("Scene03", ["found no images"], "Put it back.")
        return super().__getitem__(index)


def broken(_: Any) -> None:
    raise ZeroDivisionError("a fault of ours")


@pytest.mark.parametrize(
    ("prepare", "options", "codes", "said"),
    [
        (None, {"dataset": Lost(5)}, (3, 3), "Scene03: 1 fault found"),
        (broken, {}, (1, 1), "a fault of ours"),
    ],
)
def test_one_failing_process_ends_both_with_its_message(
    tmp_path: Path, prepare: Any, options: dict[str, Any], codes: tuple[int, int], said: str
) -> None:
    def failing(rank: int) -> None:
        if prepare is not None and rank == 1:
            at_call(Learner, "learn", 2, lambda *_: prepare(None))()
        run_program(lambda: train_together(tmp_path, **options))

    assert tuple(in_two_ranks(failing, tmp_path / "output")) == codes
    output = (tmp_path / "output").read_text()
    assert said in output
    assert "process" in output
    assert load_last(tmp_path)[1].position.epoch == 0  # intact


def test_a_run_of_two_processes_goes_on_with_one_and_says_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(rank: int) -> None:
        at_call(Learner, "learn", 2, lambda *_: os.kill(os.getpid(), signal.SIGTERM))()
        run_program(lambda: train_together(tmp_path))

    assert in_two_ranks(stopped) == [143, 143]
    run(tmp_path, PLAN, True, transform=FlipRotate())
    assert "had 2 processes and goes on with 1" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [
        (epoch, step) for epoch in (1, 2) for step in (1, 2, 3)
    ]


def test_an_error_of_the_first_reaches_all_and_one_of_another_too() -> None:
    def action(fails: bool) -> str:
        if fails:
            raise UserError("no room")
        return "done"

    def caught(do: Callable[[], Any]) -> tuple[type, int, str]:
        with pytest.raises(CaimError) as error:
            do()
        return type(error.value), error.value.exit_code, str(error.value)

    def checked(rank: int) -> None:
        ranks = Ranks()
        assert ranks.by_first(lambda: action(False)) == "done"
        kind, code, text = caught(lambda: ranks.by_first(lambda: action(True)))
        assert (kind, code) == (UserError if rank == 0 else RankError, 2)
        assert "no room" in text
        kind, code, text = caught(lambda: ranks.together(lambda: action(rank == 1)))
        assert (kind, code) == (RankError if rank == 0 else UserError, 2)
        assert "no room" in text
        assert ranks.sum(torch.tensor([rank, 1])).tolist() == [1, 2]
        assert ranks.gather(rank) == [0, 1]
        own = torch.full((2,), float(rank))
        ranks.take_from_first([own])
        assert own.tolist() == [0, 0]
        ranks.close()

    assert in_two_ranks(checked) == [0, 0]


def test_one_gpu_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("training.ranks.choose_device", lambda name: torch.device(name))
    with pytest.raises(UserError, match="a GPU of its own"):
        chosen_device("cuda:1")
    assert chosen_device("cuda") == torch.device("cuda")
