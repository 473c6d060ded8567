"""One pass over a split with a network, outside of a run: what ``fit`` does between checkpoints."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from tests.helpers.easy_patches import one_thread
from training.plan import TrainingPlan, learning_rate
from training.ranks import Ranks
from training.step import Learner
from training.tally import Tally
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

    def stop(step: int, loss: float, gradient: float) -> None:
        raise AssertionError(f"step {step}: loss {loss}, gradient {gradient}")

    ranks = ranks or Ranks(batches.device, plan.precision)
    learner = Learner(network, task, plan, ranks, micro_batch)
    if optimizer is not None:
        learner.optimizer = optimizer
    rows: list[dict[str, Any]] = []
    tally = Tally(task, ranks, stop, rows.extend)
    network.train(optimizer is not None)
    with torch.inference_mode(optimizer is None):
        for step, batch in enumerate(batches.epoch(epoch)):
            share = batches.share(step)
            counts = learner.count(batch, share)
            if optimizer is None:
                terms = learner.score(batch, share, counts, tally.matrices)
                tally.add(terms, terms.new_zeros(()), share.total)
            else:
                rate = learning_rate(plan, epoch + step / len(batches))
                done = learner.learn(batch, share, counts, rate, tally.matrices)
                tally.add(*done, share.total, rate)
    tally.look()
    return Pass(tally.losses(), task.scores(tally.totals()), rows)
