"""The one form in which every network hands its result on: change maps.

Scoring, tiling, pictures and rasters see ``ChangeMaps`` only, whichever network made them.
How a change area follows from a change moment stands here and nowhere else.

Paper: "inferring change area from change moment" (its title).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["ChangeMaps", "area_prob_from_moment", "moment_label_from_prob"]


class ChangeMaps(NamedTuple):
    """Probabilities that a network gives each pixel.

    Attributes:
        area_prob: (B, 2, H, W) float32, sums to 1 over axis 1; channel 1 = changed.
        moment_prob: (B, T, H, W) float32, sums to 1 over axis 1; channel 0 = unchanged, channel
            k = changed between date k−1 and date k. None for a network without moments.
    """

    area_prob: Tensor
    moment_prob: Tensor | None

    def moment_label(self) -> Tensor:
        """Change moment (B, H, W) int64, 0 … T−1.

        Raises:
            ValueError: The network gives no moments.
        """
        if self.moment_prob is None:
            raise ValueError(
                "ChangeMaps.moment_label: this network gives no change moments (moment_prob is "
                "None), expected (B, T, H, W); use area_label, or a network for time series."
            )
        return moment_label_from_prob(self.moment_prob)

    def area_label(self) -> Tensor:
        """Change area (B, H, W) int64, 0 or 1; equal to (moment > 0) wherever moments exist."""
        if self.moment_prob is not None:
            return (self.moment_label() > 0).long()
        return (self.area_prob[:, 1] > self.area_prob[:, 0]).long()


def moment_label_from_prob(moment_prob: Tensor) -> Tensor:
    """Decide each pixel's change moment; a tie with class 0 is "unchanged".

    Deciding the area by arg max of the two-way softmax instead would flip near-ties, because
    that softmax rounds differences away; the comparison of the moment's own values does not.

    Args:
        moment_prob: (B, T, H, W) float, class 0 = unchanged.

    Returns:
        (B, H, W) int64: 0, or the k ≥ 1 of the largest value (the earliest k of equal ones).
    """
    strongest, interval = moment_prob[:, 1:].max(dim=1)
    return torch.where(strongest > moment_prob[:, 0], interval + 1, 0)


def area_prob_from_moment(moment_prob: Tensor) -> Tensor:
    """Infer the change area from the change moment.

    Args:
        moment_prob: (B, T, H, W) float, sums to 1 over axis 1.

    Returns:
        (B, 2, H, W): softmax over {p_0, max_{t ≥ 1} p_t}. Because its inputs are probabilities,
        its values stay near one half: they rank pixels, they are no calibrated confidences.

    Paper: change area inferred from change moment.
    """
    changed = moment_prob[:, 1:].amax(dim=1)
    return torch.stack((moment_prob[:, 0], changed), dim=1).softmax(dim=1)
