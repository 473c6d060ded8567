"""One pass over a split with a network, outside of a run: what ``fit`` does between checkpoints."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from tests.helpers.easy_patches import easy_run, one_thread
from training.epoch_metrics import EpochMetrics
from training.plan import TrainingPlan, learning_rate
from training.ranks import Ranks
from training.step import score_step, train_step
from training.tasks import Task
from utils.batches import Batches

__all__ = ["Pass", "one_pass"]


@dataclasses.dataclass
class Pass:
    """Losses, scores and rows by step of one pass."""

    losses: dict[str, float]
    scores: dict[str, float]
    steps: list[dict[str, Any]]


@one_thread()
def one_pass(
    network: nn.Module,
    task: Task,
    batches: Batches,
    plan: TrainingPlan,
    epoch: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    micro_batch: int | None = None,
    ranks: Ranks | None = None,
) -> Pass:
    """Learn from every batch if there is an optimiser, else score."""
    run = easy_run(network, plan, batches, ranks=ranks, task=task)
    run.micro_batch = micro_batch
    run.optimizer = optimizer or run.optimizer
    metrics = EpochMetrics(task, run.ranks)
    network.train(optimizer is not None)
    with torch.inference_mode(optimizer is None):
        for step, batch in enumerate(batches.epoch(epoch)):
            share = batches.share(step)
            if optimizer is None:
                terms = score_step(run, batch, share, metrics.matrices)
                metrics.add(terms, terms.new_zeros(()), share.total)
            else:
                rate = learning_rate(plan, epoch + step / len(batches))
                done = train_step(run, batch, share, rate, metrics.matrices)
                metrics.add(*done, share.total, rate)
    rows = metrics.read()
    assert all(row["loss"] - row["loss"] == 0 for row in rows)
    return Pass(metrics.losses(), task.scores(metrics.totals()), rows)
