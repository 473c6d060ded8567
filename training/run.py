"""Everything that makes up one training, in one place: what it is given and what it has reached.

The loop (``training.loop``) changes it, ``training.checkpoints`` writes it to a file and takes it
up again, ``training.records`` shows it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.weights.checkpoint import Checkpoint
from training.epoch_maps import EpochMaps
from training.plan import TrainingPlan, adam
from training.ranks import Ranks
from training.tasks import Task
from utils.batches import Batches
from utils.metrics import Matrix

__all__ = ["Row", "Run", "average_weight", "averaged_copy", "follow"]

Row = dict[str, Any]


@dataclass
class Run:
    """One training, from its first step or from a checkpoint on.

    Attributes:
        network: On the device of the batches; its ``forward`` gives what the task takes.
        task: Loss and scores.
        plan: What to do.
        train: Training batches, this rank's share of each.
        val: Validation batches, likewise; every patch is counted once.
        folder: Gets checkpoints and records.
        about: What a weights file says of network and data; weights are filled in.
        ranks: This process and the others that train with it.
        visible_bands: Red, green and blue among the bands, for pictures.
        micro_batch: Most patches at a time in this rank; None for its whole share of a batch.
        epochs_done: Whole epochs, each with its validation.
        rows: metrics.csv, a row per epoch.
        timing: timing.csv likewise.
        matrices: Confusion matrices of the last validation, by name.
        epochs_unchanged: Epochs in a row, up to now, without a changed pixel predicted.
        steps: Of the optimiser so far.
        averaged: The network with weights averaged over the steps, None without averaging.
        wrapped: The network as the ranks train it together; itself where there is one rank.
        optimizer: Of the network's parameters.
        maps: Predictions for some validation patches through the epochs.
    """

    network: nn.Module
    task: Task
    plan: TrainingPlan
    train: Batches
    val: Batches
    folder: Path
    about: Checkpoint
    ranks: Ranks
    visible_bands: tuple[int, int, int] | None = None
    micro_batch: int | None = None
    epochs_done: int = 0
    rows: list[Row] = field(default_factory=list)
    timing: list[Row] = field(default_factory=list)
    matrices: dict[str, Matrix] = field(default_factory=dict)
    epochs_unchanged: int = 0
    steps: int = 0

    def __post_init__(self) -> None:
        self.averaged = None if self.plan.average is None else averaged_copy(self.network)
        self.wrapped = self.ranks.prepare(self.network)
        self.optimizer = adam(self.network, self.plan)
        self.maps = EpochMaps(
            self.val.dataset, self.task.label_keys[-1], self.task.num_classes, self.visible_bands
        )

    @property
    def scored(self) -> nn.Module:
        """The network whose weights are validated and kept."""
        return self.network if self.averaged is None else self.averaged

    def count_step(self) -> None:
        """The optimiser has made a step; averaged weights follow it."""
        self.steps += 1
        if self.averaged is not None and self.plan.average is not None:
            follow(self.averaged, self.network, self.plan.average, self.steps)

    @property
    def mixes_batch(self) -> bool:
        """Whether a prediction depends on the other patches of its batch (attention)."""
        return bool(getattr(self.network, "mixes_batch", False))

    @property
    def is_best(self) -> bool:
        """Whether the last epoch is the best so far; of equal ones the first is."""
        *earlier, last = (float(row[self.task.selection]) for row in self.rows)
        return all(last > score for score in earlier)

    def best_row(self) -> Row:
        """The row of the best epoch."""
        return max(self.rows, key=lambda row: float(row[self.task.selection]))

    def checkpoint(self) -> Checkpoint:
        """The weights as they are, with what a file says of them."""
        last = {"epoch": self.rows[-1]["epoch"], "scores": dict(self.rows[-1])} if self.rows else {}
        return replace(
            self.about,
            state_dict=self.scored.state_dict(),
            training={**self.about.training, "epoch": 0, **last},
        )

    def data_facts(self) -> dict[str, Any]:
        """Facts that tell the data of this run from other data, as plain values."""
        return {
            **{f"train {key}": value for key, value in self.train.fingerprint().items()},
            **{f"val {key}": value for key, value in self.val.fingerprint().items()},
        }


def averaged_copy(network: nn.Module) -> nn.Module:
    """A copy to hold averaged weights, in eval mode and without gradients."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def average_weight(average: float, steps: int) -> float:
    """Share of the average that stays at a step: less at first, while the weights are still raw.

    Args:
        average: The share in the long run, below 1.
        steps: Made so far, from 1 on.
    """
    return min(average, (1 + steps) / (20 + steps))


@torch.no_grad()
def follow(averaged: nn.Module, network: nn.Module, average: float, steps: int) -> None:
    """Move averaged weights towards those of a network after one of its steps; counters are taken.

    Args:
        averaged: Made by ``averaged_copy`` of the network.
        network: What is trained.
        average, steps: As for ``average_weight``.
    """
    new = network.state_dict()
    for name, value in averaged.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name].to(value.dtype), 1 - average_weight(average, steps))
        else:
            value.copy_(new[name])
