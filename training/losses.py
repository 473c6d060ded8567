"""The losses: CAIM-Net's (class-balanced focal cross-entropy) and CTMA's (binary cross-entropy).

Pure functions of tensors; nothing here knows epochs, devices or files.

Papers: their losses; constants from the released programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from models import CAIMNetOutput, CTMAOutput

__all__ = [
    "AUX_WEIGHT",
    "FINE_WEIGHT",
    "LossTerms",
    "PairLossTerms",
    "balanced_focal_loss",
    "caim_loss",
    "class_counts",
    "ctma_loss",
]


FINE_WEIGHT = 0.25
"""Weight of each of the four fine moments in the total loss."""

AUX_WEIGHT = 0.4
"""Weight of CTMA's coarse area in the total loss."""

_EPSILON = 1e-10


class LossTerms(NamedTuple):
    """Scalars of one batch; ``total = moment + area + FINE_WEIGHT · fine``."""

    total: Tensor
    area: Tensor
    moment: Tensor
    fine: Tensor


def class_counts(label: Tensor, num_classes: int) -> Tensor:
    """Number of pixels of each class.

    Args:
        label: Any shape, int64, 0 … K−1, or below 0 for pixels that do not count.
        num_classes: K.

    Returns:
        (K,) int64 on the label's device; nothing waits for it.


    """
    # Ignored pixels go to a class of their own, K, so that no data-dependent shape arises
    # (picking them out by a mask would wait for the GPU).
    index = torch.where(label < 0, num_classes, label)
    counts = index.new_zeros(num_classes + 1)  # whole numbers: float32 stops counting at 2²⁴
    counts.scatter_add_(0, index.flatten(), index.new_ones(1).expand(index.numel()))
    return counts[:num_classes]


def balanced_focal_loss(
    prob: Tensor,
    label: Tensor,
    class_factors: Sequence[float] | Tensor | None = None,
    counts: Tensor | None = None,
) -> Tensor:
    """Focal cross-entropy with each class weighted by one minus its share of the batch.

    For N labelled pixels and K classes: sum of w_y · (−log(p_y + 1e-10)) · (1 − p_y)² over the
    pixels, divided by N·K (not by N), with w_c = factor_c · (1 − share of class c).

    Args:
        prob: (B, K, H, W) float, sums to 1 over axis 1.
        label: (B, H, W) int64, 0 … K−1 or ``IGNORE``.
        class_factors: K extra factors; None means ones. In a training loop on a GPU give a tensor
            that lies there already: copying numbers over makes the host wait.
        counts: (K,) int64 ``class_counts`` of the whole batch of which this is a part (one of
            several micro-batches or ranks); the losses of all parts then add up to that of
            the whole batch. None: this is the whole batch.

    Returns:
        Scalar of ``prob``'s dtype; 0 (with zero gradients) when every pixel is ignored.

    Raises:
        ValueError: Shapes do not go together, or there are not K factors.

    Paper: its loss; as released with N·K in the denominator.
    """
    K = prob.shape[1]
    if label.shape != (prob.shape[0], *prob.shape[2:]):
        raise ValueError(
            f"balanced_focal_loss: found labels {tuple(label.shape)} for probabilities "
            f"{tuple(prob.shape)}, expected (B, H, W) for (B, K, H, W)."
        )
    if counts is None:
        counts = class_counts(label, K)
    counts = counts.to(prob.dtype)
    num_labelled = counts.sum().clamp(min=1)
    weight = 1 - counts / num_labelled
    if class_factors is not None:
        factors = torch.as_tensor(class_factors, dtype=prob.dtype, device=prob.device)
        if factors.shape != (K,):
            raise ValueError(
                f"balanced_focal_loss: found {factors.numel()} class factors, expected {K}, one "
                "per class starting with 'unchanged'."
            )
        weight = weight * factors
    index = torch.where(label < 0, K, label)
    weight = torch.cat((weight, weight.new_zeros(1)))[index]  # (B, H, W), 0 where ignored
    prob_y = prob.gather(1, index.clamp(max=K - 1)[:, None])[:, 0]
    loss = weight * -torch.log(prob_y + _EPSILON) * (1 - prob_y) ** 2
    return loss.sum() / (num_labelled * K)


def caim_loss(
    output: CAIMNetOutput,
    area_label: Tensor,
    moment_label: Tensor,
    area_factors: Sequence[float] | Tensor | None = None,
    moment_factors: Sequence[float] | Tensor | None = None,
    area_counts: Tensor | None = None,
    moment_counts: Tensor | None = None,
) -> LossTerms:
    """Loss of a CAIM-Net output: moment + area + a quarter of each fine moment.

    Args:
        output: What the network's ``forward`` returned.
        area_label: (B, H, W) int64, 0, 1 or ``IGNORE``.
        moment_label: (B, H, W) int64, 0 … T−1 or ``IGNORE``.
        area_factors: Two factors for unchanged and changed, None means ones.
        moment_factors: T factors, also used for the fine moments. SpaceNet7 as released:
            5.5 for class 0 in both.
        area_counts: (2,) int64 ``class_counts`` of the whole batch, where this is a part of one.
        moment_counts: (T,) int64, likewise.

    Paper: its loss; the weight of the fine moments from the released program.
    """
    area = balanced_focal_loss(output.area_prob, area_label, area_factors, area_counts)
    moment = balanced_focal_loss(output.moment_prob, moment_label, moment_factors, moment_counts)
    fine = torch.stack(
        [
            balanced_focal_loss(fine_prob, moment_label, moment_factors, moment_counts)
            for fine_prob in output.fine_moment_prob.unbind(1)
        ]
    ).sum()
    return LossTerms(area + moment + FINE_WEIGHT * fine, area, moment, fine)


class PairLossTerms(NamedTuple):
    """Scalars of one batch; ``total = area + AUX_WEIGHT · aux``."""

    total: Tensor
    area: Tensor
    aux: Tensor


def ctma_loss(
    output: CTMAOutput,
    area_label: Tensor,
    num_labelled: Tensor | None = None,
    change_factor: float = 1.0,
) -> PairLossTerms:
    """Loss of a CTMA output: binary cross-entropy of the area plus 0.4 of the coarse one's.

    Args:
        output: What the network's ``forward`` returned.
        area_label: (B, H, W) int64, 0, 1 or ``IGNORE``.
        num_labelled: How many pixels the mean is taken over, where this is a part of a batch; None
            counts them here.
        change_factor: Weight of a changed pixel; 1 as in the released program, whose two class
            weights are equal.

    Paper: its loss; the weight of the coarse area from the released program.
    """
    labelled = area_label >= 0
    if num_labelled is None:
        num_labelled = labelled.sum()
    truth = (area_label > 0).float()
    weight = labelled * (1 + (change_factor - 1) * truth)
    area, aux = (
        F.binary_cross_entropy_with_logits(logits.float(), truth, weight, reduction="sum")
        / num_labelled.clamp(min=1)
        for logits in (output.area_logits, output.aux_logits)
    )
    return PairLossTerms(area + AUX_WEIGHT * aux, area, aux)
