"""What one pass over a split adds up to: losses by step, confusion matrices, patches.

Numbers stay on the device until they are looked at, every ten steps, because looking waits for
the GPU. Of several processes each counts its own part, and the parts are added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from training.ranks import Ranks
from training.tasks import Task
from utils.metrics import ConfusionMatrix, Matrix

__all__ = ["CHECK_EVERY", "Tally"]

CHECK_EVERY = 10
"""Steps between looks at the losses; looking waits for the GPU, so not at every step."""

StepRow = dict[str, Any]


class Tally:
    """Losses and confusions of one pass.

    Args:
        task: What is learnt.
        ranks: The processes that share the pass.
        on_bad: Called with step, loss and gradient norm of the first step where one of them is
            not finite; it raises.
        on_steps: Called with a row for each step that was looked at: step (from 0), the loss
            terms, gradient_norm, learning_rate.

    Attributes:
        patches: Counted so far, over all processes.
        matrices: By name, of this process.
    """

    def __init__(
        self,
        task: Task,
        ranks: Ranks,
        on_bad: Callable[[int, float, float], None],
        on_steps: Callable[[list[StepRow]], None] = lambda rows: None,
    ) -> None:
        self.task, self.ranks = task, ranks
        self._on_bad, self._on_steps = on_bad, on_steps
        self.patches = 0
        self.matrices: dict[str, ConfusionMatrix] = task.matrices(ranks.device)
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._rates: list[float] = []
        self._terms = torch.zeros(0, len(task.term_names), dtype=torch.float64)

    @property
    def steps(self) -> int:
        """Steps counted so far."""
        return len(self._terms) + len(self._waiting)

    def add(self, terms: Tensor, norm: Tensor, patches: int, rate: float = 0.0) -> None:
        """Count a step.

        Args:
            terms: This process's part of the loss terms.
            norm: Of the gradient, of all processes together; 0 where nothing is learnt.
            patches: Over all processes.
            rate: The learning rate.
        """
        self._waiting.append((terms, norm))
        self._rates.append(rate)
        self.patches += patches
        if len(self._waiting) >= CHECK_EVERY or self.steps == 1:  # a bad start is told at once
            self.look()

    def look(self) -> None:
        """Read the steps added since the last look (waits for the device); all ranks at once."""
        if not self._waiting:
            return
        first = len(self._terms)
        own = torch.stack([terms for terms, _ in self._waiting]).double().cpu()
        norms = torch.stack([norm for _, norm in self._waiting]).double().tolist()
        terms = self.ranks.sum(own)
        rows = []
        for number, (values, norm, rate) in enumerate(
            zip(terms.tolist(), norms, self._rates, strict=True), start=first
        ):
            if not all(map(_finite, (values[0], norm))):
                self._on_bad(number, values[0], norm)
            named = dict(zip(self.task.term_names, values, strict=True))
            rows.append({"step": number, **named, "gradient_norm": norm, "learning_rate": rate})
        self._terms = torch.cat((self._terms, terms))
        self._waiting.clear()
        self._rates.clear()
        self._on_steps(rows)

    def losses(self) -> dict[str, float]:
        """Mean of each loss term over the steps."""
        self.look()
        mean = self._terms.mean(dim=0).tolist()
        return dict(zip(self.task.term_names, mean, strict=True))

    def totals(self) -> dict[str, Matrix]:
        """The matrices of all processes together."""
        state = self.state()["matrices"]
        totals = self.task.matrices(torch.device("cpu"))
        for name, matrix in totals.items():
            matrix.counts = state[name]
        return {name: matrix.matrix() for name, matrix in totals.items()}

    def state(self) -> dict[str, Any]:
        """What is counted, over all processes, as plain values; all ranks do it at once."""
        self.look()
        return {
            "patches": self.patches,
            "terms": self._terms.clone(),
            "matrices": {n: self.ranks.sum(m.counts).cpu() for n, m in self.matrices.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting from a state; what all processes counted goes to the first."""
        self.patches, self._terms = int(state["patches"]), state["terms"].clone()
        for name, counts in state["matrices"].items():
            if self.ranks.is_first:
                self.matrices[name].counts = counts


def _finite(value: float) -> bool:
    return value - value == 0.0
