"""The training loop: epochs, validation, checkpoints, one line per epoch.

What is learnt is a ``Task``, how one batch is learnt from is in ``training.step``, what is written
in ``training.checkpoints`` and ``training.records``. Numbers of the released recipe are the
defaults of the scripts; what differs from the released program is listed in
docs/differences.md#training.

Source: the released recipe, as far as it has an effect.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Literal

import torch

from training.checkpoints import CheckpointManager, LastCheckpoint
from training.checks import (
    clear_memory_errors,
    keep_batch,
    not_finite,
    reading_failure,
    unchanged_everywhere,
    warn_of_collapse,
)
from training.epoch_metrics import EpochMetrics, StepRow
from training.plan import adam, learning_rate
from training.records import Records
from training.run import Row, Run
from training.step import Batch, find_micro_batch, predict_maps, score_step, train_step
from utils.batches import Batches, Share
from utils.device import peak_memory_gib
from utils.errors import CaimError, Terminated, UserError
from utils.interruption import StopRequest, resume_command
from utils.processes import ProcessError
from utils.progress import progress, say
from utils.random_state import seed_epoch

__all__ = ["fit"]

Split = Literal["train", "val"]


def fit(run: Run, last: LastCheckpoint | None = None) -> Row:
    """Train, validate after every epoch, keep the last two checkpoints and the best weights.

    Args:
        run: What to train, and how.
        last: The checkpoint to go on from; None begins with the first step.

    Returns:
        The row of the best epoch.

    Raises:
        CaimError: Training cannot go on (a loss that is not finite, lost data, a full disk …).
        UserError: There is nothing to train on, or the checkpoint is of other data.
        KeyboardInterrupt, Terminated: After Ctrl-C or SIGTERM; the epoch will be done again.
    """
    checkpoints = CheckpointManager(run.folder)
    with _explained(run), closing(_records(run)) as records, StopRequest() as stop:
        _start(run, last, checkpoints, records)
        for epoch in range(run.epochs_done, run.plan.epochs):
            began = time.perf_counter()
            trained, speed = _train(run, epoch, records, stop)
            validated = _validate(run, epoch, stop)
            _close_epoch(run, trained, validated, speed, began)
            if run.ranks.is_first:
                _add_maps(run)
                checkpoints.save(run)
            records.epoch(run)
            say(_line(run))
            warn_of_collapse(run.epochs_unchanged)
        return run.best_row()


def _train(run: Run, epoch: int, records: Records, stop: StopRequest) -> tuple[EpochMetrics, float]:
    """One pass over the training patches; patches per second, too."""
    began = time.perf_counter()
    seed_epoch(run.plan.seed, epoch, run.ranks.rank)  # what dropout draws
    if run.plan.rebuild_optimizer:
        run.optimizer = adam(run.network, run.plan)
    run.network.train()
    metrics = EpochMetrics(run.task, run.ranks)
    for step, batch, share in _batches(run, "train", epoch, stop):
        rate = learning_rate(run.plan, epoch + step / len(run.train))
        with clear_memory_errors(share.total, run.micro_batch):
            terms, norm = train_step(run, batch, share, rate, metrics.matrices)
        metrics.add(terms, norm, share.total, rate)
        if metrics.due or step + 1 == len(run.train):
            rows = metrics.read()
            _check_finite(run, "train", epoch, rows)
            records.steps(epoch, rows)
        if (epoch, step) == (0, 1):
            _announce_time(run, (time.perf_counter() - began) / 2)
    run.ranks.take_from_first(run.network.buffers())  # of batch normalisation
    return metrics, metrics.patches / max(time.perf_counter() - began, 1e-9)


@torch.inference_mode()
def _validate(run: Run, epoch: int, stop: StopRequest) -> EpochMetrics:
    """One pass over the validation patches, every one of them."""
    run.scored.eval()
    metrics = EpochMetrics(run.task, run.ranks)
    for step, batch, share in _batches(run, "val", epoch, stop):
        with clear_memory_errors(share.total, run.micro_batch):
            terms = score_step(run, batch, share, metrics.matrices)
        metrics.add(terms, torch.zeros_like(terms[0]), share.total)
        if metrics.due or step + 1 == len(run.val):
            _check_finite(run, "val", epoch, metrics.read())
        run.maps.choose(batch, step * run.val.batch_size + share.start)
    return metrics


def _batches(
    run: Run, split: Split, epoch: int, stop: StopRequest
) -> Iterator[tuple[int, Batch, Share]]:
    """Steps of a pass with this rank's part of their batches, as long as all ranks go on.

    Before every step the ranks tell each other whether they can; a request to stop is heeded
    here, between two steps.
    """
    batches = _of_split(run, split)
    iterator = batches.epoch(epoch)
    for step in progress(range(len(batches)), f"{split} {epoch + 1}", unit="batch"):
        batch, failure = _next(iterator, stop)
        agreed = run.ranks.agree(stop.interrupted, stop.terminated, failure is not None)
        if agreed.failed:
            _fail_together(run, failure)
        if agreed.interrupted or agreed.terminated:
            say(
                f"stopped in epoch {epoch + 1}, which is done again; the {run.epochs_done} before "
                f"it are kept. Go on with\n  {resume_command(run.folder)}"
            )
            raise Terminated if agreed.terminated else KeyboardInterrupt
        assert batch is not None
        yield step, batch, batches.share(step)


# ──────────────────────────────────── beginning and ending ────────────────────────────────────


def _records(run: Run) -> Records:
    if len(run.train) == 0 or len(run.val) == 0:
        raise UserError(
            f"training: found {len(run.train)} training and {len(run.val)} validation batches, "
            "expected at least one each; lower --batch-size, or add scenes."
        )
    return Records(run.folder, run.ranks.is_first, run.plan.log_with)


def _start(
    run: Run, last: LastCheckpoint | None, checkpoints: CheckpointManager, records: Records
) -> None:
    """Begin afresh, or set the run to its last checkpoint."""
    if last is None:
        records.begin()
        find_micro_batch(run)
        if run.ranks.is_first:
            checkpoints.save(run)
        return
    if not checkpoints.restore(run, last):
        find_micro_batch(run)
    records.restore(run)
    if run.epochs_done >= run.plan.epochs:
        say(
            f"{run.folder} has finished epoch {run.epochs_done} of {run.plan.epochs}; its tables "
            "and pictures are whole. For more, give a larger --epochs."
        )
    else:
        say(f"resuming {run.folder} after epoch {run.epochs_done}")


def _close_epoch(
    run: Run, trained: EpochMetrics, validated: EpochMetrics, speed: float, began: float
) -> None:
    """Add an epoch to the run; all ranks at once."""
    task, epoch, matrices = run.task, run.epochs_done + 1, validated.totals()
    train = {**trained.losses(), **task.scores(trained.totals())}
    val = {**validated.losses(), **task.scores(matrices)}
    run.rows.append(
        {
            "epoch": epoch,
            **{f"train_{key}": value for key, value in train.items()},
            **{f"val_{key}": value for key, value in val.items()},
            "learning_rate": run.optimizer.param_groups[0]["lr"],
        }
    )
    run.timing.append(
        {
            "epoch": epoch,
            "seconds": time.perf_counter() - began,
            "patches_per_second": speed,
            "memory_gib": peak_memory_gib(run.ranks.device),
        }
    )
    run.epochs_done, run.matrices = epoch, matrices
    run.epochs_unchanged = run.epochs_unchanged + 1 if unchanged_everywhere(matrices) else 0


def _add_maps(run: Run) -> None:
    """Keep what the network now predicts for the patches of the picture."""
    try:
        run.maps.add(run.epochs_done, lambda images: predict_maps(run, images))
    except Exception as error:  # these patches are read anew
        lost_data = reading_failure(error)
        if lost_data is None:
            raise
        raise lost_data from error


def _line(run: Run) -> str:
    """The line that an epoch prints."""
    row, timing = run.rows[-1], run.timing[-1]
    scores = "  ".join(f"{text} {100 * row[key]:.2f}" for key, text in run.task.shown)
    return (
        f"epoch {row['epoch']}/{run.plan.epochs}  loss {row['train_loss']:.4f} "
        f"(val {row['val_loss']:.4f})  {scores}  lr {row['learning_rate']:.2g}  "
        f"{timing['patches_per_second']:.1f} patches/s  {timing['memory_gib']:.2f} GiB"
        f"{'  best' if run.is_best else ''}"
    )


def _announce_time(run: Run, seconds: float) -> None:
    """Estimate the time of the run on a CPU, from the seconds of a step."""
    if run.ranks.device.type != "cpu":
        return
    minutes = seconds * len(run.train) * run.plan.epochs / 60
    amount = f"{minutes / 60:.1f} hours" if minutes > 90 else f"{max(minutes, 1):.0f} minutes"
    say(
        f"No GPU is used: {run.plan.epochs} epochs of {len(run.train)} steps take about {amount} "
        "on this CPU."
    )


# ────────────────────────────────────── what goes wrong ──────────────────────────────────────


def _check_finite(run: Run, split: Split, epoch: int, rows: Sequence[StepRow]) -> None:
    """Stop at the first step whose loss or gradient is no finite number, its batch kept.

    Raises:
        CaimError: There is one.
    """
    bad = [row for row in rows if not math.isfinite(row["loss"] + row["gradient_norm"])]
    if not bad:
        return
    step, loss, norm = bad[0]["step"], bad[0]["loss"], bad[0]["gradient_norm"]

    def fail() -> None:
        batch = _of_split(run, split).again(epoch, step)
        facts = {"split": split, "epoch": epoch + 1, "step": step + 1, "loss": loss}
        sentence = keep_batch(run.folder / "bad_batch.pth", batch, facts)
        raise not_finite(epoch, step, loss, norm, batch.get("aoi", ()), sentence)

    run.ranks.by_first(fail)


def _of_split(run: Run, split: Split) -> Batches:
    return run.train if split == "train" else run.val


def _next(iterator: Iterator[Batch], stop: StopRequest) -> tuple[Batch | None, Exception | None]:
    """The next batch, or why there is none; nothing is read once a stop is asked for."""
    if stop.requested:
        return None, None
    try:
        return next(iterator), None
    except Exception as error:  # reading fails in many ways; which one is told below
        return None, None if stop.requested else error


def _fail_together(run: Run, failure: Exception | None) -> None:
    """End all ranks with the message of the one that could not read."""
    message = None if failure is None else reading_failure(failure)
    if failure is None or message is not None:
        run.ranks.all_well(message)
        return
    try:
        run.ranks.all_well(CaimError(f"{type(failure).__name__}: {failure}"))
    except CaimError:
        raise failure from None  # a fault of ours keeps its traceback


@contextmanager
def _explained(run: Run) -> Iterator[None]:
    """Say how to go on after an error, and tell the loss of another rank from a fault."""
    try:
        yield
    except CaimError as error:
        if not isinstance(error, UserError) and run.ranks.is_first:
            say(f"when that is put right, go on with\n  {resume_command(run.folder)}")
        raise
    except RuntimeError as error:
        if run.ranks.lost(error):
            raise ProcessError("another process has ended; its own message says why") from error
        raise
    finally:
        run.ranks.forget(run.wrapped)
