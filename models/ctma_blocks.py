"""Blocks of which CTMA is made: convolution units, residual blocks, the fusing block of a decoder.

A padding layer of its own and batch normalisation behind most convolutions is how the released
program builds them; here the convolution pads, and an ``Identity`` keeps the padding layer's
number, so that the key names are those of the released files.

Paper: Wang et al., arXiv 2408.08078 (see models/ctma.py). No files, devices or training here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "Bottleneck3d",
    "ConvUnit",
    "FuseBlock",
    "ResBlock",
    "SimpleResBlock",
    "resized",
]


class ConvUnit(nn.Module):
    """A convolution that keeps the size, then batch normalisation and ReLU where wanted.

    A convolution that is normalised has no bias.

    Args:
        in_channels, out_channels: Of the convolution.
        kernel_size: 1 or 3, in every direction; 3 pads one zero on each side.
        dims: 2 for images, 3 for videos.
        stride: In every direction.
        norm: Whether batch normalisation follows.
        activation: Whether ReLU follows.

    Shape:
        (B, in_channels, …) float → (B, out_channels, …), ``dims`` axes at the end.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        dims: int = 2,
        stride: int = 1,
        norm: bool = True,
        activation: bool = True,
    ) -> None:
        super().__init__()
        conv, normalisation = (
            (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        )
        layers: list[nn.Module] = [nn.Identity()] if kernel_size > 1 else []
        layers.append(
            conv(
                in_channels, out_channels, kernel_size,
                stride=stride, padding=kernel_size // 2, bias=not norm,
            )
        )  # fmt: skip
        if norm:
            layers.append(normalisation(out_channels))
        if activation:
            layers.append(nn.ReLU(inplace=True))
        self.seq = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Features of ``out_channels``."""
        result: Tensor = self.seq(features)
        return result


class SimpleResBlock(nn.Module):
    """Two 3×3 units; the residual is taken behind the first, not from the block's input.

    Shape:
        (B, in_channels, H, W) float → (B, out_channels, H, W).

    Paper: S-Block I.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvUnit(in_channels, out_channels, 3)
        self.conv2 = ConvUnit(out_channels, out_channels, 3, activation=False)

    def forward(self, features: Tensor) -> Tensor:
        """ReLU of the first unit's result plus what the second makes of it."""
        base = self.conv1(features)
        return F.relu_(self.conv2(base).add_(base))


class ResBlock(nn.Module):
    """Three 3×3 units; the residual is taken behind the first, not from the block's input.

    Shape:
        (B, in_channels, H, W) float → (B, out_channels, H, W).

    Paper: S-Block II.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvUnit(in_channels, out_channels, 3)
        self.conv2 = ConvUnit(out_channels, out_channels, 3)
        self.conv3 = ConvUnit(out_channels, out_channels, 3, activation=False)

    def forward(self, features: Tensor) -> Tensor:
        """ReLU of the first unit's result plus what the other two make of it."""
        base = self.conv1(features)
        return F.relu_(self.conv3(self.conv2(base)).add_(base))


class Bottleneck3d(nn.Module):
    """A residual block of a video: 1×1×1 (with the stride), 3×3×3, 1×1×1.

    Args:
        in_channels, out_channels: Of the block.
        mid_channels: Of its middle.
        stride: In time and space; with a stride, or other channels, the shortcut is a 1×1×1 unit.

    Shape:
        (B, in_channels, N, H, W) float → (B, out_channels, N/stride, H/stride, W/stride), rounded
        up.

    Paper: T-Block II is two of them.
    """

    def __init__(
        self, in_channels: int, out_channels: int, mid_channels: int, stride: int = 1
    ) -> None:
        super().__init__()
        self.conv1 = ConvUnit(in_channels, mid_channels, 1, dims=3, stride=stride)
        self.conv2 = ConvUnit(mid_channels, mid_channels, 3, dims=3)
        self.conv3 = ConvUnit(mid_channels, out_channels, 1, dims=3, activation=False)
        self.ds: ConvUnit | None = None
        if stride > 1 or in_channels != out_channels:
            self.ds = ConvUnit(
                in_channels, out_channels, 1, dims=3, stride=stride, activation=False
            )

    def forward(self, video: Tensor) -> Tensor:
        """Features of the video."""
        shortcut = video if self.ds is None else self.ds(video)
        return F.relu_(self.conv3(self.conv2(self.conv1(video))).add_(shortcut))


class FuseBlock(nn.Module):
    """One step up of a decoder: the deep map, resized to the skip's, joins it in a residual block.

    Args:
        skip_channels: Of the map that comes straight from the encoder.
        deep_channels: Of the map that comes from below.
        out_channels: Of the result.
    """

    def __init__(self, skip_channels: int, deep_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_fuse = SimpleResBlock(skip_channels + deep_channels, out_channels)

    def forward(self, skip: Tensor, deep: Tensor) -> Tensor:
        """(B, out_channels, H, W) of a skip (B, …, H, W) and a deep map of any size."""
        fused: Tensor = self.conv_fuse(torch.cat((skip, resized(deep, skip)), dim=1))
        return fused


def resized(features: Tensor, like: Tensor) -> Tensor:
    """Nearest-neighbour resize to the height and width of ``like``; no other kind is used."""
    size = like.shape[-2:]
    return features if features.shape[-2:] == size else F.interpolate(features, size=size)
