"""Tasks: the loss, the confusion matrices and the score that picks the best weights.

The training loop (``training.loop``) knows batches, optimisers, processes and files, and asks a
``Task`` for the rest, so that one loop serves every network. ``CaimTask`` is that of CAIM-Net.

Paper: loss and training of CAIM-Net, for ``CaimTask``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from models import moment_label_from_prob
from training.losses import caim_loss, class_counts
from utils.errors import UserError
from utils.metrics import ConfusionMatrix, Matrix, area_scores, moment_scores

__all__ = ["CaimTask", "Task"]

Batch = Mapping[str, Any]


class Task(Protocol):
    """Loss and scores of that which is learnt, as the training loop asks for them.

    A *batch* is that of the settings: ``batch_size`` patches. It may be computed in parts, one per
    micro-batch and process, and the terms of all parts must add up to those of the whole: so a
    loss that is a mean divides by ``counts`` of the whole batch, never by what the part holds.
    A part without any labelled pixel must give 0 with zero gradients.

    Nothing in ``terms``, ``update`` and ``maps`` may wait for a GPU (``item``, masks as indices).

    Attributes:
        selection: Column of metrics.csv whose largest value marks the best epoch, for example
            ``val_area_f1``: "val_" and a key of ``scores``.
        term_names: Names of ``terms``; the first, "loss", is what is minimised.
        label_keys: Entries of a batch that hold labels, int64 with ``IGNORE`` for pixels that do
            not count. Where a process has no patch of a batch it computes one without
            labels. The last is the truth of ``maps``.
        num_classes: Classes of ``maps``: T moments, or 2 for an area alone.
        shown: (column, caption) of the scores in the line that each epoch prints.
        decides_moments: Whether the network gives moments, whose decision has an offset.
    """

    selection: str
    term_names: tuple[str, ...]
    label_keys: tuple[str, ...]
    num_classes: int
    shown: tuple[tuple[str, str], ...]
    decides_moments: bool

    def counts(self, batch: Batch) -> Tensor:
        """Class counts that the loss needs of the whole batch: int64, added up over its parts.

        Args:
            batch: The part that this process reads, on the CPU.
        """
        ...

    def terms(self, output: Any, batch: Batch, counts: Tensor) -> Tensor:
        """Loss terms of one part of a batch, (len(term_names),), the first with a gradient.

        Args:
            output: What the network's ``forward`` gave for ``batch["images"]``.
            batch: The part, on the device.
            counts: ``counts`` of the whole batch, on the device.
        """
        ...

    def matrices(self, device: torch.device) -> dict[str, ConfusionMatrix]:
        """Empty confusion matrices, by name ("area", "moment")."""
        ...

    def update(self, output: Any, batch: Batch, matrices: Mapping[str, ConfusionMatrix]) -> None:
        """Count the predictions of one part of a batch in the matrices."""
        ...

    def scores(self, matrices: Mapping[str, Matrix]) -> dict[str, float]:
        """Scores of a pass, by name without "train_" or "val_"."""
        ...

    def maps(self, output: Any) -> Tensor:
        """Predicted map (B, H, W) int64, 0 … num_classes−1, as pictures show it."""
        ...


class CaimTask:
    """CAIM-Net: area and moment from one loss, the moment's F1 picks the best epoch.

    Args:
        num_classes: T, change moments with "unchanged".
        area_factors: Extra class factors of the loss, unchanged and changed; None for ones.
        moment_factors: T extra class factors, likewise.

    Raises:
        UserError: The number of class factors is wrong.

    Paper: its loss and metrics; the choice of the best epoch is ours.
    """

    selection = "val_moment_f1_macro_all"
    term_names: tuple[str, ...] = ("loss", "loss_area", "loss_moment", "loss_fine")
    label_keys: tuple[str, ...] = ("area_label", "moment_label")
    decides_moments = True
    shown: tuple[tuple[str, str], ...] = (
        ("val_area_f1", "val area F1"),
        ("val_area_kappa", "kappa"),
        ("val_moment_f1_macro_all", "moment F1"),
        ("val_moment_kappa", "kappa"),
    )

    def __init__(
        self,
        num_classes: int,
        area_factors: Sequence[float] | None = None,
        moment_factors: Sequence[float] | None = None,
    ) -> None:
        self.num_classes = num_classes
        given = {"area": (area_factors, 2), "moment": (moment_factors, num_classes)}
        for name, (factors, expected) in given.items():
            if factors is not None and len(factors) != expected:
                raise UserError(
                    f"--{name}-factors: found {len(factors)} numbers, expected {expected}, one "
                    "per class starting with 'unchanged', or none."
                )
        self._given = (area_factors, moment_factors)
        self._factors: dict[torch.device, list[Tensor | None]] = {}

    def counts(self, batch: Batch) -> Tensor:
        """Pixels of each class: 2 of the area, then T of the moment."""
        area = class_counts(batch["area_label"], 2)
        return torch.cat((area, class_counts(batch["moment_label"], self.num_classes)))

    def terms(self, output: Any, batch: Batch, counts: Tensor) -> Tensor:
        """Total, area, moment and fine loss of one part of a batch."""
        area_factors, moment_factors = self._factors_on(counts.device)
        terms = caim_loss(
            output, batch["area_label"], batch["moment_label"], area_factors, moment_factors,
            counts[:2], counts[2:],
        )  # fmt: skip
        return torch.stack(list(terms))

    def matrices(self, device: torch.device) -> dict[str, ConfusionMatrix]:
        """Empty matrices of area and moment."""
        return {
            "area": ConfusionMatrix(2, device),
            "moment": ConfusionMatrix(self.num_classes, device),
        }

    def update(self, output: Any, batch: Batch, matrices: Mapping[str, ConfusionMatrix]) -> None:
        """Count predicted moments, and the areas that follow from them."""
        moment = self.maps(output)
        matrices["moment"].update(batch["moment_label"], moment)
        matrices["area"].update(batch["area_label"], (moment > 0).long())

    def scores(self, matrices: Mapping[str, Matrix]) -> dict[str, float]:
        """The scores that metrics.csv holds."""
        area, moment = area_scores(matrices["area"]), moment_scores(matrices["moment"])
        return {
            "area_f1": area["f1"],
            "area_kappa": area["kappa"],
            "moment_f1_macro_all": moment["f1_macro_all"] or 0.0,
            "moment_f1_macro_change": moment["f1_macro_change"] or 0.0,
            "moment_kappa": moment["kappa"] or 0.0,
        }

    def maps(self, output: Any) -> Tensor:
        """Predicted change moment."""
        return moment_label_from_prob(output.moment_prob.detach())

    def _factors_on(self, device: torch.device) -> list[Tensor | None]:
        """Class factors on the device, copied once rather than every step."""
        if device not in self._factors:
            self._factors[device] = [
                None if factors is None else torch.tensor(factors, device=device)
                for factors in self._given
            ]
        return self._factors[device]
