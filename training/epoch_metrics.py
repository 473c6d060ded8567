"""Losses and scores of one pass over a split: loss terms by step, confusion matrices.

Numbers stay on the device until they are read, every ten steps, because reading waits for the GPU.
Of several ranks each counts its own part, and the parts are added.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from training.ranks import Ranks
from training.tasks import Task
from utils.metrics import ConfusionMatrix, Matrix

__all__ = ["READ_EVERY", "EpochMetrics", "StepRow"]

READ_EVERY = 10
"""Steps between looks at the losses; reading waits for the GPU, so not at every step."""

StepRow = dict[str, Any]


class EpochMetrics:
    """Losses and confusions of one pass.

    Args:
        task: What is learnt.
        ranks: Those that share the pass.

    Attributes:
        matrices: Confusion matrices by name, of this rank.
        patches: Counted so far, over all ranks.
    """

    def __init__(self, task: Task, ranks: Ranks) -> None:
        self.task, self.ranks = task, ranks
        self.matrices: dict[str, ConfusionMatrix] = task.matrices(ranks.device)
        self.patches = 0
        self._unread: list[tuple[Tensor, Tensor, float]] = []
        self._terms = torch.zeros(0, len(task.term_names), dtype=torch.float64)

    @property
    def steps(self) -> int:
        """Steps counted so far."""
        return len(self._terms) + len(self._unread)

    @property
    def due(self) -> bool:
        """Whether it is time to read; at once after the first step, which shows a bad start."""
        return len(self._unread) >= READ_EVERY or self.steps == 1

    def add(self, terms: Tensor, norm: Tensor, patches: int, rate: float = 0.0) -> None:
        """Count a step.

        Args:
            terms: This rank's part of the loss terms.
            norm: Of the gradient, of all ranks together; 0 where nothing is learnt.
            patches: Over all ranks.
            rate: The learning rate.
        """
        self._unread.append((terms, norm, rate))
        self.patches += patches

    def read(self) -> list[StepRow]:
        """The steps since the last reading (waits for the device); all ranks at once.

        Returns:
            A row per step: step (from 0), the loss terms, gradient_norm, learning_rate.
        """
        if not self._unread:
            return []
        first = len(self._terms)
        own = torch.stack([terms for terms, _, _ in self._unread]).double().cpu()
        norms = torch.stack([norm for _, norm, _ in self._unread]).double().tolist()
        rates = [rate for _, _, rate in self._unread]
        terms = self.ranks.sum(own)
        self._terms = torch.cat((self._terms, terms))
        self._unread.clear()
        return [
            {
                "step": first + place,
                **dict(zip(self.task.term_names, values, strict=True)),
                "gradient_norm": norms[place],
                "learning_rate": rates[place],
            }
            for place, values in enumerate(terms.tolist())
        ]

    def losses(self) -> dict[str, float]:
        """Mean of each loss term over the steps that were read."""
        mean = self._terms.mean(dim=0).tolist()
        return dict(zip(self.task.term_names, mean, strict=True))

    def totals(self) -> dict[str, Matrix]:
        """The confusion matrices of all ranks together; all ranks at once."""
        totals = self.task.matrices(torch.device("cpu"))
        for name, total in totals.items():
            total.counts = self.ranks.sum(self.matrices[name].counts).cpu()
        return {name: total.matrix() for name, total in totals.items()}
