"""CAIM-Net with one part changed, and a small U-Net: what ``ablations.py`` compares.

A part is taken out by putting the simplest thing of the same shape in its place, and where a part
stands twice or at two scales, one of them stands in both places: sums, ranges and the loss's
weights stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from benchmarks.real_learners import PairLearner
from models import CAIMNet, CAIMNetOutput, ChangeMaps, area_prob_from_moment
from models.caim_net import SegmentationMoment
from models.correlation import Correlation

__all__ = [
    "AreaAlone",
    "UNet",
    "UNetLearner",
    "WithAreaHead",
    "WithoutCAM",
    "one_branch",
    "one_scale",
    "without_attention",
    "without_beconv",
    "without_lstm",
]


class OwnPixel(Correlation):
    """The transformer layer in which each pixel attends to itself alone: its value, projected.

    Shape:
        tokens (B, N, E) → (B, N, E).
    """

    def __init__(self, embed_dim: int, dropout: float) -> None:
        super().__init__(embed_dim, dropout=dropout)
        self.in_proj = nn.Linear(embed_dim, embed_dim)

    def _attend(self, rows: Tensor, B: int) -> Tensor:
        attended: Tensor = self.out_proj(self.in_proj(rows))
        return attended


class PlainConv(nn.Module):
    """BEConv without its constraint: a depthwise 3×3 convolution of nine free values, added.

    Shape:
        (B, channels, H, W) → same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, difference: Tensor) -> Tensor:
        """Difference features with a response added."""
        response: Tensor = self.conv(difference)
        return difference + response


class PerInterval(nn.Module):
    """In place of the LSTM: each interval alone, by a linear layer and the same range.

    Shape:
        (N, S, input_dim) → (N, S, hidden_dim).
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_dim, hidden_dim)

    def forward(self, steps: Tensor) -> Tensor:
        """Hidden states of steps."""
        return torch.tanh(self.linear(steps))


def without_attention(**arguments: Any) -> CAIMNet:
    """CAIM-Net whose pixels see each other by convolutions alone."""
    network = CAIMNet(**arguments)
    network.correlation = OwnPixel(network.be_conv.weight.shape[0], arguments.get("dropout", 0.1))
    return network


def without_beconv(**arguments: Any) -> CAIMNet:
    """CAIM-Net with a plain convolution of the same shape in BEConv's place."""
    network = CAIMNet(**arguments)
    network.be_conv = PlainConv(network.be_conv.weight.shape[0])  # type: ignore[assignment]
    return network


def without_lstm(**arguments: Any) -> CAIMNet:
    """CAIM-Net whose intervals go on one by one."""
    network = CAIMNet(**arguments)
    hidden_dim, input_dim = network.temporal.hidden_dim, network.temporal.weight_ih.shape[1]
    network.temporal = PerInterval(input_dim, hidden_dim)  # type: ignore[assignment]
    return network


def one_branch(stepwise: bool, **arguments: Any) -> CAIMNet:
    """CAIM-Net with one coarse branch in both places."""
    network = CAIMNet(**arguments)
    if stepwise:
        network.coarse_moment2 = network.coarse_moment1  # type: ignore[assignment]
    else:
        network.coarse_moment1 = network.coarse_moment2  # type: ignore[assignment]
    return network


def one_scale(scale: int, **arguments: Any) -> CAIMNet:
    """CAIM-Net with the CAM of one scale (0: 2 pixels, 1: 4) in both places of a branch."""
    network = CAIMNet(**arguments)
    for cams in (network.fine_moment1, network.fine_moment2):
        cams[1 - scale] = cams[scale]
    return network


class WithoutCAM(CAIMNet):
    """CAIM-Net whose coarse logits are summed: moment = softmax(coarse 1 + coarse 2)."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        del self.fine_moment1, self.fine_moment2

    def fused(self, *coarse: Tensor) -> CAIMNetOutput:
        """Area and moments; each coarse moment stands for its two fine ones."""
        logits = torch.stack([each.float() for each in coarse], dim=1)  # (B, 2, T, H, W)
        moment_prob = logits.sum(dim=1).softmax(dim=1)
        twice = logits.softmax(dim=2).repeat_interleave(2, dim=1)
        return CAIMNetOutput(area_prob_from_moment(moment_prob), moment_prob, twice)


class WithAreaHead(CAIMNet):
    """CAIM-Net with an area head of its own, which takes the area's part of the loss.

    Its form is that of the segmentation branch, with two classes.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        hidden_dim = self.temporal.hidden_dim
        self.area_head = SegmentationMoment(hidden_dim, self.num_dates)
        self.area_head.conv2 = nn.Conv2d(hidden_dim, 2, 3, padding=1)

    def coarse_moments(self, states: Tensor) -> tuple[Tensor, ...]:
        """Both coarse logits, and area logits (B, 2, H, W)."""
        return *super().coarse_moments(states), self.area_head(states)

    def fused(self, *coarse: Tensor) -> CAIMNetOutput:
        """Moments as ever, the area from its head."""
        area_prob = coarse[-1].float().softmax(dim=1)
        return super().fused(*coarse[:-1])._replace(area_prob=area_prob)


class AreaAlone:
    """The area head of a network as prediction sees it: areas without moments."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def predict(self, images: Tensor) -> ChangeMaps:
        """Change areas of images (B, T, C, H, W)."""
        maps: ChangeMaps = self.network.predict(images)
        return maps._replace(moment_prob=None)


class UNet(nn.Module):
    """A U-Net of three levels on stacked dates, 0.5 M parameters for nine dates of four bands.

    Shape:
        images (B, T, C, H, W) → logits (B, T, H, W); H and W multiples of 4.

    Args:
        in_channels, num_dates: C and T.
        mean, spread: Of each band, taken out first.
        widths: Channels of the levels, multiples of 8.
    """

    def __init__(
        self,
        in_channels: int,
        num_dates: int,
        mean: tuple[float, ...],
        spread: tuple[float, ...],
        widths: tuple[int, int, int] = (32, 64, 128),
    ) -> None:
        super().__init__()
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("spread", torch.tensor(spread)[:, None, None])
        fine, middle, coarse = widths
        self.down1 = self._level(num_dates * in_channels, fine)
        self.down2 = self._level(fine, middle)
        self.bottom = self._level(middle, coarse)
        self.up2 = self._level(coarse + middle, middle)
        self.up1 = self._level(middle + fine, fine)
        self.head = nn.Conv2d(fine, num_dates, 1)

    @staticmethod
    def _level(in_channels: int, channels: int) -> nn.Sequential:
        units: list[nn.Module] = []
        for width in (in_channels, channels):
            units += [
                nn.Conv2d(width, channels, 3, padding=1, bias=False),
                nn.GroupNorm(8, channels),
                nn.ReLU(inplace=True),
            ]
        return nn.Sequential(*units)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, T, H, W), class 0 unchanged."""
        stacked = rearrange((images - self.mean) / self.spread, "b t c h w -> b (t c) h w")
        fine = self.down1(stacked)
        middle = self.down2(F.max_pool2d(fine, 2))
        coarse = self.bottom(F.max_pool2d(middle, 2))
        middle = self.up2(torch.cat((_twice(coarse), middle), dim=1))
        logits: Tensor = self.head(self.up1(torch.cat((_twice(middle), fine), dim=1)))
        return logits

    @torch.inference_mode()
    def predict(self, images: Tensor) -> ChangeMaps:
        """Change maps of images."""
        prob = self(images).float().softmax(dim=1)
        return ChangeMaps(area_prob_from_moment(prob), prob)


def _twice(features: Tensor) -> Tensor:
    """Features at twice the resolution."""
    return F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


class UNetLearner(PairLearner):
    """The U-Net behind plain cross-entropy.

    Args:
        arguments: Of ``UNet``.
    """

    name = "unet"

    def built(self) -> UNet:
        """A new network."""
        return UNet(**self.arguments)

    def loss(self, images: Tensor, label: Tensor) -> Tensor:
        """Mean over the labelled pixels."""
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.module(images)
        return F.cross_entropy(logits.float(), label, ignore_index=-1)
