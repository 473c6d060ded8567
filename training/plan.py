"""The plan of the training loop: epochs, learning rate, optimiser, memory, records.

Numbers of the released recipe are the defaults of the scripts; what differs from the released
program is listed in docs/differences.md#training. The loss is in ``training.tasks``.

Source: the released recipe, as far as it has an effect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from training.settings import TrainingSettings
from utils.device import Precision
from utils.memory import parse_size

__all__ = ["TrainingPlan", "adam", "learning_rate"]


@dataclass(frozen=True)
class TrainingPlan:
    """Numbers and choices of one training; the scripts' settings carry fields of the same names.

    Attributes:
        epochs: Passes over the training patches.
        lr: Learning rate of Adam(0.9, 0.999).
        schedule: "step" multiplies ``lr`` by ``lr_factor`` at each milestone; "cosine" falls from
            ``lr`` to 0 over all steps after one twentieth of warming up.
        lr_milestones: Epochs, counted from 0, at which the step schedule lowers the rate.
        lr_factor: By how much.
        weight_decay: Of Adam.
        clip_norm: Largest gradient norm, None to leave gradients alone.
        rebuild_optimizer: Start a new optimiser every epoch, as the released program does.
        precision: Of the network's heavy part.
        seed: Of the shuffling, dropout and augmentation.
        max_memory: Memory that a training step may take ("8G"); batches are then computed in
            micro-batches that fit. None: what a GPU has; no limit elsewhere.
        log_with: Run trackers that get each epoch's numbers, too.
        average: Weights averaged over the steps are validated and kept, of which this share stays
            at each step; None keeps the last step's.
    """

    epochs: int
    lr: float = 1e-4
    schedule: Literal["step", "cosine"] = "step"
    lr_milestones: tuple[int, ...] = ()
    lr_factor: float = 0.5
    weight_decay: float = 0.0
    clip_norm: float | None = 4.0
    rebuild_optimizer: bool = False
    precision: Precision = "float32"
    seed: int = 1
    max_memory: str | None = None
    log_with: tuple[str, ...] = ()
    average: float | None = None

    @classmethod
    def from_settings(cls, settings: TrainingSettings) -> TrainingPlan:
        """The plan that a script's settings describe, recipe filled in.

        Raises:
            UserError: ``max_memory`` is no size.
        """
        if settings.max_memory is not None:
            parse_size(settings.max_memory)
        assert settings.epochs is not None
        assert settings.lr is not None
        assert settings.lr_milestones is not None
        assert settings.lr_factor is not None
        return cls(
            epochs=settings.epochs,
            lr=settings.lr,
            schedule=settings.schedule,
            lr_milestones=settings.lr_milestones,
            lr_factor=settings.lr_factor,
            weight_decay=settings.weight_decay,
            clip_norm=settings.clip_norm,
            rebuild_optimizer=settings.rebuild_optimizer,
            precision=settings.precision,
            seed=settings.seed,
            max_memory=settings.max_memory,
            log_with=settings.log_with or (),
            average=settings.average,
        )


def learning_rate(plan: TrainingPlan, epochs_done: float) -> float:
    """Learning rate after so many (possibly broken) epochs, counted from 0."""
    if plan.schedule == "cosine":
        done = epochs_done / plan.epochs
        warm = min(1.0, (done + 1e-3) * 20)
        return plan.lr * warm * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    passed = sum(epochs_done >= milestone for milestone in plan.lr_milestones)
    return plan.lr * plan.lr_factor**passed


def adam(network: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """A new optimiser for the network's parameters."""
    return torch.optim.Adam(
        network.parameters(), lr=plan.lr, betas=(0.9, 0.999), weight_decay=plan.weight_decay
    )
