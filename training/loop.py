"""The training loop: epochs, validation, checkpoints, one line per epoch.

What is learnt is a ``Task``, how a batch is computed is in ``training.step``, what is written in
``training.records`` and ``training.checkpoints``. A run may be killed at any moment and goes on
from its last checkpoint. Numbers of the released recipe are the defaults of the scripts; what
differs from the released program is listed in docs/differences.md#training.

Source: the released recipe, as far as it has an effect.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from models.weights.checkpoint import Checkpoint
from training.checkpoints import LAST
from training.epoch_maps import EpochMaps
from training.guards import (
    clear_memory_errors,
    keep_batch,
    not_finite,
    reading_failure,
    warn_of_collapse,
)
from training.plan import TrainingPlan, learning_rate
from training.ranks import RankError, Ranks
from training.records import Journal
from training.run_state import Keeper
from training.step import Batch, Learner
from training.tally import Tally
from training.tasks import Task
from utils.batches import Batches, Share
from utils.device import peak_memory_gib
from utils.errors import CaimError, Terminated, UserError
from utils.interruption import StopWish, resume_command
from utils.metrics import Matrix
from utils.progress import progress, say
from utils.random_state import seed_epoch

__all__ = ["TrainingPlan", "fit"]

Served = tuple[int, Batch, Share]


def fit(
    network: nn.Module,
    task: Task,
    train: Batches,
    val: Batches,
    plan: TrainingPlan,
    folder: Path,
    template: Checkpoint,
    *,
    ranks: Ranks | None = None,
    resume: bool = False,
    visible_bands: tuple[int, int, int] | None = None,
) -> dict[str, Any]:
    """Train, validate after every epoch, keep the last two checkpoints and the best weights.

    Args:
        network: On the device of the batches; its ``forward`` gives what the task takes.
        task: Loss and scores.
        train: Training batches, this process's share of each.
        val: Validation batches, likewise; every patch is counted once.
        plan: What to do.
        folder: Gets last.pth, previous.pth, best.pth and the files of ``training.records``.
        template: What a weights file says of network and data; weights are filled in here.
        ranks: The processes that train; None for this one alone.
        resume: Go on from the last checkpoint in the folder.
        visible_bands: Red, green and blue among the bands, for pictures.

    Returns:
        The row of the best epoch.

    Raises:
        CaimError: Training cannot go on (a loss that is not finite, lost data, a full disk …).
        UserError: There is nothing to train on, or nothing left to resume.
        KeyboardInterrupt, Terminated: After Ctrl-C or SIGTERM, with a checkpoint written.
    """
    ranks = ranks or Ranks(train.device, plan.precision)
    if len(train) == 0 or len(val) == 0:
        raise UserError(
            f"training: found {len(train)} training and {len(val)} validation batches, expected "
            "at least one each; lower --batch-size, or add scenes."
        )
    maps = EpochMaps(val.dataset, task.label_keys[-1], task.num_classes, visible_bands)
    journal = Journal(folder, ranks.is_first, plan.tensorboard)
    learner = Learner(network, task, plan, ranks)
    kept = Keeper(learner, train, val, folder, template, journal, maps)
    try:
        with StopWish() as wish:
            kept.start(resume)
            return _Run(kept, wish).go()
    except CaimError as error:
        if not isinstance(error, UserError) and ranks.is_first and (folder / LAST).is_file():
            say(f"when that is put right, go on with\n  {resume_command(folder)}")
        raise
    except RuntimeError as error:
        if ranks.lost(error):
            raise RankError("another process has ended; its own message says why") from error
        raise
    finally:
        journal.close()
        ranks.forget(learner.wrapped)


class _Run:
    """One training, from its first step or from a checkpoint to its last epoch."""

    def __init__(self, kept: Keeper, wish: StopWish) -> None:
        self.kept, self.wish = kept, wish
        self.learner, self.train, self.val = kept.learner, kept.train, kept.val
        self.ranks, self.plan, self.task = kept.ranks, kept.plan, kept.learner.task

    # ------------------------------------------------------------ going through the epochs

    def go(self) -> dict[str, Any]:
        """All epochs that are left."""
        for epoch in range(self.kept.position.epoch, self.plan.epochs):
            if not self.kept.begun:
                seed_epoch(self.plan.seed, epoch, self.ranks.rank)  # dropout
                if self.plan.rebuild_optimizer:
                    self.learner.rebuild_optimizer()
            began = time.perf_counter()
            trained, speed = self._pass("train", epoch)
            validated, _ = self._pass("val", epoch)
            scores = {
                **_named("train", trained.losses(), self.task.scores(trained.totals())),
                **_named("val", validated.losses(), self.task.scores(validated.totals())),
            }
            rate = self.learner.optimizer.param_groups[0]["lr"]
            row = {"epoch": epoch + 1, **scores, "learning_rate": rate}
            timing = {
                "epoch": epoch + 1,
                "seconds": time.perf_counter() - began,
                "patches_per_second": speed,
                "memory_gib": peak_memory_gib(self.ranks.device),
            }
            self._end_epoch(row, timing, trained.steps, validated.totals())
        return max(self.kept.rows, key=lambda row: float(row[self.task.selection]))

    def _pass(self, mode: Literal["train", "val"], epoch: int) -> tuple[Tally, float]:
        """One pass over a split; patches per second of it, too."""
        learning = mode == "train"
        batches = self.train if learning else self.val
        tally = self._tally(mode, epoch)
        first = 0
        if learning and self.kept.begun:
            first = self.kept.position.patches
            self.kept.restore(tally)
        self.learner.network.train(learning)
        before, began = tally.steps, time.perf_counter()
        steps = before + batches.steps(first)
        served = self._agreed(mode, batches, epoch, first, tally if learning else None)
        with torch.inference_mode(not learning):
            for step, batch, share in served:
                rate = learning_rate(self.plan, epoch + (before + step) / steps)
                self._step(batch, share, tally, rate if learning else None)
                if not learning:
                    self.kept.maps.look_at(batch, step * batches.batch_size + share.start)
                elif epoch == 0 and before + step == 1:
                    self._announce_time((time.perf_counter() - began) / 2, steps)
        tally.look()
        speed = (tally.patches - first) / max(time.perf_counter() - began, 1e-9)
        if learning:
            self.ranks.take_from_first(self.learner.network.buffers())  # of batch normalisation
            self.kept.mark(epoch, tally)
        return tally, speed

    def _step(self, batch: Batch, share: Share, tally: Tally, rate: float | None) -> None:
        """Learn from one batch, or without a learning rate only score it."""
        counts = self.learner.count(batch, share)
        with clear_memory_errors(share.total, self.learner.micro_batch):
            if rate is None:
                terms = self.learner.score(batch, share, counts, tally.matrices)
                norm = torch.zeros_like(terms[0])
            else:
                terms, norm = self.learner.learn(batch, share, counts, rate, tally.matrices)
        tally.add(terms, norm, share.total, rate or 0.0)

    def _agreed(
        self, mode: str, batches: Batches, epoch: int, first: int, tally: Tally | None
    ) -> Iterator[Served]:
        """Batches with their step and share, as long as all processes want to go on.

        Before every step the processes tell each other whether they can; whoever is asked to stop,
        or is due for a checkpoint, writes it here, between two steps.
        """
        iterator = batches.epoch(epoch, first)
        total = batches.steps(first)
        bar = progress(range(total), f"{mode} {epoch + 1}", total, "batch")
        for step in bar:
            batch, failure = self._next(iterator)
            told = self.ranks.agree(
                self.wish.interrupted, self.wish.terminated, failure is not None, self.kept.due()
            )
            if told.failed:
                self._fail_together(failure)
            if told.interrupted or told.terminated or told.save:
                if tally is not None and tally.steps > 0:
                    self.kept.mark(epoch, tally)
                self.kept.save()
            if told.interrupted or told.terminated:
                self._stop(told.terminated)
            assert batch is not None
            yield step, batch, batches.share(step, first)

    def _next(self, iterator: Iterator[Batch]) -> tuple[Batch | None, Exception | None]:
        """The next batch, or why there is none; nothing is read once a stop is wished."""
        if self.wish.wished:
            return None, None
        try:
            return next(iterator), None
        except Exception as error:  # reading fails in many ways; which one is told below
            return None, None if self.wish.wished else error

    def _fail_together(self, failure: Exception | None) -> None:
        known = None if failure is None else reading_failure(failure)
        told = known
        if failure is not None and known is None:
            told = CaimError(f"{type(failure).__name__}: {failure}")
        try:
            self.ranks.all_well(told)
        except CaimError:
            if failure is not None and known is None:
                raise failure from None  # a fault of ours keeps its traceback
            raise

    def _tally(self, mode: str, epoch: int) -> Tally:
        """An empty tally of a pass, that stops the run at numbers that are not finite."""
        resumed = bool(self.kept.begun) and mode == "train"
        first = self.kept.position.patches if resumed else 0
        before = self.kept.position.step if resumed else 0
        batches = self.train if mode == "train" else self.val

        def stop(step: int, loss: float, gradient: float) -> None:
            def tell() -> None:
                batch = batches.again(epoch, step - before, first)
                facts = {"split": mode, "epoch": epoch + 1, "step": step + 1, "loss": loss}
                kept = keep_batch(self.kept.folder / "bad_batch.pth", batch, facts)
                raise not_finite(epoch, step, loss, gradient, batch.get("aoi", ()), kept)

            self.ranks.by_first(tell)

        def keep(rows: list[dict[str, Any]]) -> None:
            if mode == "train":
                self.kept.journal.steps(epoch, rows)

        return Tally(self.task, self.ranks, stop, keep)

    # ------------------------------------------------------------ ending

    def _end_epoch(
        self, row: dict[str, Any], timing: dict[str, Any], steps: int, matrices: dict[str, Matrix]
    ) -> None:
        """Keep and write down a whole epoch: weights, tables, pictures, its line."""
        kept = self.kept
        is_best = kept.end_epoch(row, timing, matrices, self.task.selection)
        is_last = row["epoch"] == self.plan.epochs
        kept.journal.epoch(
            kept.rows, kept.timing, row["epoch"] * steps, matrices, kept.maps, is_last
        )
        say(self._line(is_best))
        warn_of_collapse(kept.unchanged)

    def _stop(self, terminated: bool) -> None:
        epoch, step = self.kept.position.epoch + 1, self.kept.position.step
        say(
            f"stopped in epoch {epoch} after step {step}, checkpoint written; go on with\n"
            f"  {resume_command(self.kept.folder)}"
        )
        raise Terminated if terminated else KeyboardInterrupt

    def _announce_time(self, seconds: float, steps: int) -> None:
        if self.ranks.device.type != "cpu":
            return
        epochs = self.plan.epochs
        minutes = seconds * steps * epochs / 60
        amount = f"{minutes / 60:.1f} hours" if minutes > 90 else f"{max(minutes, 1):.0f} minutes"
        say(f"No GPU is used: {epochs} epochs of {steps} steps take about {amount} on this CPU.")

    def _line(self, is_best: bool) -> str:
        row, timing = self.kept.rows[-1], self.kept.timing[-1]
        scores = "  ".join(f"{text} {100 * row[key]:.2f}" for key, text in self.task.shown)
        return (
            f"epoch {row['epoch']}/{self.plan.epochs}  loss {row['train_loss']:.4f} "
            f"(val {row['val_loss']:.4f})  {scores}  lr {row['learning_rate']:.2g}  "
            f"{timing['patches_per_second']:.1f} patches/s  {timing['memory_gib']:.2f} GiB"
            f"{'  best' if is_best else ''}"
        )


def _named(split: str, *numbers: dict[str, float]) -> dict[str, float]:
    return {f"{split}_{key}": value for each in numbers for key, value in each.items()}
