"""What a run keeps to be able to go on: where it stands, its rows, its two checkpoints.

The files themselves are those of ``training.checkpoints`` (checkpoints) and ``training.records``
(tables and pictures).
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from models.weights.checkpoint import Checkpoint, save_checkpoint
from training.checkpoints import (
    LAST,
    PREVIOUS,
    Position,
    RunState,
    check_data,
    keep_last,
    load_last,
)
from training.epoch_maps import EpochMaps
from training.guards import unchanged_everywhere, writing
from training.records import Journal
from training.step import Learner
from training.tally import Tally
from utils.batches import Batches
from utils.errors import CheckpointError, UserError
from utils.metrics import Matrix
from utils.progress import say
from utils.random_state import random_state, restore_random_state, seed_epoch

__all__ = ["Keeper"]

OTHER_NUMBERS = 1_000  # seeds of a broken-off epoch whose random states are of no use


class Keeper:
    """The state of one training beside its weights.

    Args:
        learner: What learns.
        train: Training batches.
        val: Validation batches.
        folder: Of the run.
        template: What a weights file says of network and data.
        journal: Its tables and pictures.
        maps: Validation maps through the epochs.

    Attributes:
        rows: metrics.csv.
        timing: timing.csv.
        position: Of the last save, or of the steps marked since.
        begun: What the epoch that is going on had counted and drawn when it was marked; empty at
            its beginning.
        unchanged: Epochs in a row without a changed pixel predicted.
    """

    def __init__(
        self,
        learner: Learner,
        train: Batches,
        val: Batches,
        folder: Path,
        template: Checkpoint,
        journal: Journal,
        maps: EpochMaps,
    ) -> None:
        self.learner, self.train, self.val = learner, train, val
        self.folder, self.template = folder, template
        self.journal, self.maps = journal, maps
        self.ranks, self.plan = learner.ranks, learner.plan
        self.rows: list[dict[str, Any]] = []
        self.timing: list[dict[str, Any]] = []
        self.unchanged = 0
        self.position = Position()
        self.begun: dict[str, Any] = {}
        self._saved = time.monotonic()

    def start(self, resume: bool) -> None:
        """Begin afresh, or take up the last checkpoint."""
        if resume and self.ranks.by_first(self._has_checkpoint):
            self._take_up(*self.ranks.by_first(lambda: load_last(self.folder)))
            return
        if resume:
            say(f"{self.folder} holds no checkpoint yet: beginning with the first step")
        self.journal.begin()
        self.learner.find_micro_batch(self.train)
        self.save()

    def mark(self, epoch: int, tally: Tally) -> None:
        """Note where the training pass of an epoch stands, between two steps; all ranks at once."""
        self.position = Position(epoch, tally.steps, tally.patches)
        self.begun = {"tally": tally.state(), "random": self._random()}

    def restore(self, tally: Tally) -> None:
        """Go on counting and drawing where the broken-off epoch stood."""
        tally.restore(self.begun["tally"])
        states = self.begun.get("random")
        if states:
            restore_random_state(states[self.ranks.rank], self.ranks.device)
        else:
            seed_epoch(self.plan.seed, self.position.epoch + OTHER_NUMBERS, self.ranks.rank)

    def end_epoch(
        self,
        row: dict[str, Any],
        timing: dict[str, Any],
        matrices: dict[str, Matrix],
        selection: str,
    ) -> bool:
        """Keep a whole epoch: its row, its weights, its checkpoint.

        Args:
            row: Of metrics.csv.
            timing: Of timing.csv.
            matrices: Of the validation split.
            selection: Column whose largest value marks the best epoch.

        Returns:
            Whether it is the best so far.
        """
        is_best = all(row[selection] > float(earlier[selection]) for earlier in self.rows)
        self.rows.append(row)
        self.timing.append(timing)
        self.unchanged = self.unchanged + 1 if unchanged_everywhere(matrices) else 0
        self.position, self.begun = Position(row["epoch"]), {}
        if self.ranks.is_first:
            self.maps.add(row["epoch"], self.learner.predict)
        if is_best and self.ranks.is_first:
            with writing(self.folder / "best.pth"):
                save_checkpoint(self.folder / "best.pth", self._checkpoint())
        self.save()
        return is_best

    def save(self) -> None:
        """Write last.pth for the position; all ranks at once."""
        self._saved = time.monotonic()
        learner, within = self.learner, self.position.step > 0
        state = RunState(
            position=self.position,
            optimizer=learner.optimizer.state_dict(),
            scaler=self.ranks.scaler.state_dict() if self.ranks.scaler else {},
            schedule={
                "learning_rate": learner.optimizer.param_groups[0]["lr"],
                "schedule": self.plan.schedule,
                "epochs": self.plan.epochs,
            },
            random=self.begun.get("random", []) if within else [],
            tally=self.begun.get("tally", {}) if within else {},
            rows=self.rows,
            timing=self.timing,
            order=self._order(),
            data=self._data(),
            processes=self.ranks.size,
            micro_batch=learner.micro_batch,
            unchanged=self.unchanged,
            maps=self.maps.state(),
        )
        if self.ranks.is_first:
            keep_last(self.folder, self._checkpoint(), state)

    def due(self) -> bool:
        """Whether it is time for a checkpoint within the epoch, as the first process sees it."""
        minutes = self.plan.checkpoint_minutes
        due = minutes is not None and time.monotonic() - self._saved >= 60 * minutes
        return due and self.ranks.is_first

    def _has_checkpoint(self) -> bool:
        """Whether there is any; without one only the folder of a run is accepted."""
        if (self.folder / LAST).is_file() or (self.folder / PREVIOUS).is_file():
            return True
        if not (self.folder / "settings.json").is_file():
            raise UserError(
                f"--resume: {self.folder} holds no last.pth, expected the folder of a run; start "
                "again without --resume."
            )
        return False

    def _take_up(self, last: Checkpoint, state: RunState) -> None:
        check_data(self.folder, state, self._data())
        learner = self.learner
        try:
            learner.network.load_state_dict(last.state_dict)
            learner.optimizer.load_state_dict(state.optimizer)
        except (RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"{self.folder / LAST}: its state does not fit the settings of this run "
                f"({str(error).splitlines()[0]}). Resume with the model settings of "
                f"{self.folder / 'settings.json'}."
            ) from error
        for group in learner.optimizer.param_groups:
            group["weight_decay"] = self.plan.weight_decay  # a flag given now wins
        self.position, self.rows, self.timing = state.position, state.rows, state.timing
        self.unchanged = state.unchanged
        self.maps.restore(state.maps)
        self.journal.cut_back(state.position, state.rows, state.timing)
        epoch, within = state.position.epoch, state.position.step > 0
        if epoch >= self.plan.epochs:
            raise UserError(
                f"--resume: {self.folder} has finished epoch {epoch} of {self.plan.epochs}, "
                "expected epochs left to do; give a larger --epochs."
            )
        self.begun = {"tally": state.tally, "random": state.random} if within else {}
        self._explain_changes(state, within)
        where = f"epoch {epoch}" + (f" and {state.position.step} steps" if within else "")
        say(f"resuming {self.folder} after {where}")

    def _explain_changes(self, state: RunState, within: bool) -> None:
        """Say what else is different from before, and find a micro-batch if memory is."""
        if state.processes != self.ranks.size:
            say(
                f"the run had {state.processes} processes and goes on with {self.ranks.size}: "
                "batches and loss are the same, but dropout draws other numbers from here on"
            )
            self.begun.pop("random", None)
        order = {k: v for k, v in self.train.order().items() if v != state.order.get(k, v)}
        if order and within:
            given = ", ".join(f"{key} {value}" for key, value in order.items())
            say(
                f"{given}: holds from here on; the epoch goes on after the {state.position.patches}"
                " patches it has had" + (
                    ", in another order, so that some come twice and some not at all"
                    if order.keys() & {"seed", "shuffle"} else ""
                )
            )  # fmt: skip
        same = ("max_memory", "batch_size")
        if state.processes == self.ranks.size and all(
            state.order.get(key) == self._order().get(key) for key in same
        ):
            self.learner.micro_batch = state.micro_batch
        else:
            self.learner.find_micro_batch(self.train)

    def _checkpoint(self) -> Checkpoint:
        last = {"epoch": self.rows[-1]["epoch"], "scores": dict(self.rows[-1])} if self.rows else {}
        return dataclasses.replace(
            self.template,
            state_dict=self.learner.network.state_dict(),
            training={**self.template.training, "epoch": 0, **last},
        )

    def _random(self) -> list[dict[str, Any]]:
        return self.ranks.gather(random_state(self.ranks.device))

    def _order(self) -> dict[str, Any]:
        return {**self.train.order(), "max_memory": self.plan.max_memory}

    def _data(self) -> dict[str, Any]:
        return {
            **{f"train {key}": value for key, value in self.train.fingerprint().items()},
            **{f"val {key}": value for key, value in self.val.fingerprint().items()},
        }
