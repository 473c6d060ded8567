"""What the training loop is asked to do: epochs, learning rate, optimiser, memory, records.

Numbers of the released recipe are the defaults of the scripts; what differs from the released
program is listed in docs/differences.md#training. The loss is in ``training.tasks``.

Source: the released recipe, as far as it has an effect.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from utils.device import Precision
from utils.memory import parse_size

__all__ = ["TrainingPlan", "adam", "learning_rate"]


@dataclass(frozen=True)
class TrainingPlan:
    """What the loop needs to know; the scripts' settings carry fields of the same names.

    Attributes:
        epochs: Passes over the training patches.
        lr: Learning rate of Adam(0.9, 0.999).
        schedule: "step" multiplies ``lr`` by ``lr_factor`` at each milestone; "cosine" falls from
            ``lr`` to 0 over all steps after one twentieth of warming up (not in the paper).
        lr_milestones: Epochs, counted from 0, at which the step schedule lowers the rate.
        lr_factor: By how much.
        weight_decay: Of Adam.
        clip_norm: Largest gradient norm, None to leave gradients alone.
        rebuild_optimizer: Start a new optimiser every epoch, as the released program does.
        precision: Of the network's heavy part.
        seed: Of the shuffling, dropout and augmentation.
        max_memory: Memory that a training step may take ("8G"); batches are then computed in
            micro-batches that fit. None: what a GPU has; no limit elsewhere.
        checkpoint_minutes: Time between checkpoints within an epoch; None for ends of epochs only.
        tensorboard: Whether to write TensorBoard's files, too.
        gather_batch: With attention over the batch and several processes: over the whole batch.
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
    checkpoint_minutes: float | None = 15.0
    tensorboard: bool = False
    gather_batch: bool = False

    @classmethod
    def from_settings(cls, settings: Any) -> TrainingPlan:
        """The plan that a script's settings describe; what they lack keeps its default.

        Raises:
            UserError: ``max_memory`` is no size.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        plan = cls(**{name: getattr(settings, name) for name in names if hasattr(settings, name)})
        if plan.max_memory is not None:
            parse_size(plan.max_memory)
        return plan


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
