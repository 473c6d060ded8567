"""Two processes that train together: one matrix, one writer, one end (training/ranks.py)."""

from __future__ import annotations

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
from tests.helpers.easy_patches import EasyPatches, assert_same_weights, run, state, table, weights
from tests.training.test_checkpoints import at_call
from training import loop
from training.plan import TrainingPlan
from training.ranks import Ranks, chosen_device
from training.records import Records
from utils.errors import CaimError, DataError, UserError, run_program
from utils.processes import ProcessError

PLAN = TrainingPlan(epochs=2, lr=1e-3)

pytestmark = forked


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Records, "draw", lambda self, *_: None)


def train_together(folder: Path, resume: bool = False, **options: Any) -> None:
    ranks = Ranks()
    plan = options.pop("plan", PLAN)
    run(folder, plan, resume, transform=FlipRotate(), ranks=ranks, **options)
    ranks.leave()


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
            at_call(loop, "train_step", 4, lambda *_: os.kill(os.getpid(), signal.SIGTERM))()
        run_program(lambda: train_together(tmp_path / "parts"))

    (tmp_path / "parts").mkdir()
    (tmp_path / "whole").mkdir()
    assert in_two_ranks(stopped) == [143, 143]
    assert state(tmp_path / "parts").epochs_done == 1
    assert in_two_ranks(lambda _: train_together(tmp_path / "parts", resume=True)) == [0, 0]
    assert in_two_ranks(lambda _: train_together(tmp_path / "whole")) == [0, 0]
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    tables = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("whole", "parts")]
    assert tables[0] == tables[1]


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
            at_call(loop, "train_step", 2, lambda *_: prepare(None))()
        run_program(lambda: train_together(tmp_path, **options))

    assert tuple(in_two_ranks(failing, tmp_path / "output")) == codes
    output = (tmp_path / "output").read_text()
    assert said in output
    assert "process" in output
    assert state(tmp_path).epochs_done == 0  # whole


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
        assert (kind, code) == (UserError if rank == 0 else ProcessError, 2)
        assert "no room" in text
        kind, code, text = caught(lambda: ranks.together(lambda: action(rank == 1)))
        assert (kind, code) == (ProcessError if rank == 0 else UserError, 2)
        assert "no room" in text
        assert ranks.sum(torch.tensor([rank, 1])).tolist() == [1, 2]
        assert ranks.gather(rank) == [0, 1]
        own = torch.full((2,), float(rank))
        ranks.take_from_first([own])
        assert own.tolist() == [0, 0]
        ranks.leave()

    assert in_two_ranks(checked) == [0, 0]


def test_one_gpu_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("training.ranks.choose_device", lambda name: torch.device(name))
    with pytest.raises(UserError, match="a GPU of its own"):
        chosen_device("cuda:1")
    assert chosen_device("cuda") == torch.device("cuda")
