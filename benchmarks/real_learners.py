"""Learners of ``train_on_real``: a network behind its loss, and the weights to keep of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import CTMA, CAIMNet, start_cams
from training.losses import caim_loss, ctma_loss

__all__ = ["CaimLearner", "Learner", "PairLearner", "Standardised"]

State = dict[str, Tensor]


class Learner(Protocol):
    """A network, its loss, and how its weights are written.

    Attributes:
        name: For ``models.build_network``.
        arguments: Its constructor arguments.
        module: What is trained.
    """

    name: str
    arguments: dict[str, Any]
    module: nn.Module

    def start_from(self, weights: State) -> None:
        """Take weights as they are kept."""
        ...

    def built(self) -> nn.Module:
        """A new network that takes such weights."""
        ...

    def loss(self, images: Tensor, label: Tensor) -> Tensor:
        """Scalar, of images (B, T, C, H, W) and change moments (B, H, W), −1 unknown."""
        ...

    def weights(self, state: State) -> State:
        """Weights of the network from those of the module."""
        ...


class Standardised(nn.Module):
    """A network behind a fixed scaling of its inputs that can be folded into its weights.

    The alpha band is 1 where there is data and 0 in the padding, so that the mean can be written
    into its weights exactly; without one only the spread is taken out.

    Args:
        network: Its last band is alpha if ``mean`` has one number less than it has bands.
        mean, spread: Of each colour.
    """

    def __init__(self, network: CAIMNet, mean: Sequence[float], spread: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("spread", torch.tensor(spread)[:, None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Both coarse logits (B, T, H, W), float32, of images (B, T, C, H, W)."""
        colours = len(self.mean)
        alpha = images[:, :, colours:]
        shift = self.mean * alpha if alpha.shape[2] else torch.zeros(1)
        scaled = (images[:, :, :colours] - shift) / self.spread
        states = self.network.change_features(torch.cat((scaled, alpha), dim=2))
        return tuple(logits.float() for logits in self.network.coarse_moments(states))

    def unfold(self, alone: dict[str, Tensor]) -> None:
        """Take the weights of a network for images as they are: the reverse of ``folded``."""
        inside = {key: value.clone() for key, value in alone.items()}
        colours = len(self.mean)
        for branch in ("context", "residual"):
            weight = inside[f"encoder.{branch}.0.0.weight"]
            if weight.shape[1] > colours:
                weight[:, colours] += (weight[:, :colours] * self.mean).sum(dim=1)
            weight[:, :colours] *= self.spread
        self.network.load_state_dict(inside)

    def folded(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the network alone, for images as they are, from those of this module."""
        alone = {
            key.removeprefix("network."): value.clone()
            for key, value in state.items()
            if key.startswith("network.")
        }
        colours = len(self.mean)
        for branch in ("context", "residual"):
            weight = alone[f"encoder.{branch}.0.0.weight"]
            weight[:, :colours] /= self.spread
            if weight.shape[1] > colours:
                weight[:, colours] -= (weight[:, :colours] * self.mean).sum(dim=1)
        return alone


class CaimLearner:
    """CAIM-Net: the paper's loss without class factors, and cross-entropy on the coarse logits.

    Args:
        arguments: Of ``CAIMNet``.
        mean, spread: See :class:`Standardised`.
        coarse_weight: Of the cross-entropy.

    Attributes:
        unchanged_factor: Class factor of "unchanged"; 1 at first.
    """

    name = "caim_net"
    unchanged_factor = 1.0

    def __init__(
        self,
        arguments: dict[str, Any],
        mean: Sequence[float],
        spread: Sequence[float],
        coarse_weight: float,
    ) -> None:
        self.arguments, self.coarse_weight = arguments, coarse_weight
        self.module = Standardised(self.built(), mean, spread)

    def built(self) -> CAIMNet:
        """A new network, all evidence counting for what it is of."""
        network = CAIMNet(**self.arguments)
        start_cams(network)
        return network

    def start_from(self, weights: State) -> None:
        """Take weights for images as they are."""
        self.module.unfold(weights)

    def loss(self, images: Tensor, label: Tensor) -> Tensor:
        """The total."""
        with torch.autocast("cpu", torch.bfloat16):
            coarse = self.module(images)
        output = self.module.network.fused(*coarse)
        area = torch.where(label < 0, label, (label > 0).long())
        factors = [
            [self.unchanged_factor, *[1.0] * (prob.shape[1] - 1)]
            for prob in (output.area_prob, output.moment_prob)
        ]
        total = caim_loss(output, area, label, *factors).total
        for logits in coarse[:2]:
            total = total + self.coarse_weight * F.cross_entropy(logits, label, ignore_index=-1)
        return total

    def weights(self, state: State) -> State:
        """Those for images as they are."""
        return self.module.folded(state)


class PairLearner:
    """CTMA on image pairs: its own loss.

    Args:
        arguments: Of ``CTMA``.
    """

    name = "ctma"

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.module: nn.Module = self.built()

    def built(self) -> nn.Module:
        """A new network."""
        return CTMA(**self.arguments)

    def start_from(self, weights: State) -> None:
        """Take weights of the network."""
        self.module.load_state_dict(weights)

    def loss(self, images: Tensor, label: Tensor) -> Tensor:
        """The total; three bands are taken, alpha is left out.

        In float32: bfloat16 saves a quarter of the time here, and one of three trials ended in NaN.
        """
        output = self.module(images[:, :, :3].contiguous())
        return ctma_loss(output, torch.where(label < 0, label, (label > 0).long())).total

    def weights(self, state: State) -> State:
        """The same."""
        return {key: value.clone() for key, value in state.items()}
