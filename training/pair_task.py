"""The task of CTMA: the change area of an image pair, the best epoch picked by its F1.

Counts and terms fit the training loop of ``training.loop`` (see ``training.tasks.Task``).

Paper: loss and training of Wang et al., arXiv 2408.08078.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from training.losses import class_counts, ctma_loss
from training.tasks import Batch
from utils.metrics import ConfusionMatrix, Matrix, area_scores

__all__ = ["PairTask"]

SCORES = ("f1", "precision", "recall", "oa", "iou", "kappa")


class PairTask:
    """CTMA: binary cross-entropy of the area and of its coarse form.

    Args:
        change_factor: Weight of a changed pixel in the loss; 1 as in the released program.
    """

    selection = "val_area_f1"
    term_names: tuple[str, ...] = ("loss", "loss_area", "loss_aux")
    label_keys: tuple[str, ...] = ("area_label",)
    decides_moments = False
    num_classes = 2
    shown: tuple[tuple[str, str], ...] = (
        ("val_area_f1", "val area F1"),
        ("val_area_precision", "precision"),
        ("val_area_recall", "recall"),
        ("val_area_iou", "IoU"),
    )

    def __init__(self, change_factor: float = 1.0) -> None:
        self.change_factor = change_factor

    def counts(self, batch: Batch) -> Tensor:
        """Unchanged and changed pixels."""
        return class_counts(batch["area_label"], 2)

    def terms(self, output: Any, batch: Batch, counts: Tensor) -> Tensor:
        """Total, area and coarse loss of one part of a batch."""
        terms = ctma_loss(output, batch["area_label"], counts.sum(), self.change_factor)
        return torch.stack(list(terms))

    def matrices(self, device: torch.device) -> dict[str, ConfusionMatrix]:
        """An empty matrix of the area."""
        return {"area": ConfusionMatrix(2, device)}

    def update(self, output: Any, batch: Batch, matrices: Mapping[str, ConfusionMatrix]) -> None:
        """Count predicted areas."""
        matrices["area"].update(batch["area_label"], self.maps(output))

    def scores(self, matrices: Mapping[str, Matrix]) -> dict[str, float]:
        """Scores of the change class."""
        area = area_scores(matrices["area"])
        return {f"area_{name}": area[name] for name in SCORES}

    def maps(self, output: Any) -> Tensor:
        """Predicted change area: probability above one half."""
        changed: Tensor = output.area_logits.detach() > 0
        return changed.long()
