"""ResNet-34 without its classifier, as CTMA uses it: features at an eighth of the resolution.

Key names are the usual ones of ImageNet files (``conv1.weight``, ``layer1.0.bn1.weight``, …), so
that such a file can be loaded; reading it is not done here. Stages 3 and 4 keep the resolution
(stride 1), unlike in the classifier.

Paper: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016); in CTMA (Wang et
al., arXiv 2408.08078) it gives the difference features F1, F2 and |F1 − F2|.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BasicBlock", "ResNet34", "load_backbone"]

BLOCKS = (3, 4, 6, 3)  # of stages 1 to 4
STRIDES = (1, 2, 1, 1)
CLASSIFIER = ("fc.weight", "fc.bias")


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut around them.

    Shape:
        (B, in_channels, H, W) float → (B, out_channels, H/stride, W/stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Features of the block."""
        shortcut = features if self.downsample is None else self.downsample(features)
        inner = F.relu_(self.bn1(self.conv1(features)))
        return F.relu_(self.bn2(self.conv2(inner)).add_(shortcut))


class ResNet34(nn.Module):
    """The four stages of ResNet-34, strides 2·2, 1, 2, 1, 1.

    Args:
        in_channels: Bands of an image; ImageNet files have 3.
        width: Channels of the first stage; later ones have 2, 4 and 8 times as many. ImageNet
            files have 64.

    Shape:
        images (B, in_channels, H, W) float → (B, 8·width, H/8, W/8), H and W multiples of 8.
    """

    def __init__(self, in_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for number, (blocks, stride) in enumerate(zip(BLOCKS, STRIDES, strict=True), start=1):
            out_channels = width << (number - 1)
            stage = [BasicBlock(channels, out_channels, stride)]
            stage += [BasicBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            channels = out_channels
        self.out_channels = channels

    def forward(self, images: Tensor) -> Tensor:
        """Features of the last stage."""
        features = F.relu_(self.bn1(self.conv1(images)))
        features = F.max_pool2d(features, 3, stride=2, padding=1)
        for number in range(1, len(BLOCKS) + 1):
            features = self.get_submodule(f"layer{number}")(features)
        return features


def load_backbone(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Start a network's ResNet-34 from an ImageNet state dict; the classifier is left out.

    Args:
        network: Whose first ``ResNet34`` shall take the weights.
        state: Key → tensor, as such files hold them; old ones lack ``num_batches_tracked``.

    Raises:
        ValueError: The network has no ResNet-34, or tensors are missing, strange or of another
            shape; all of them are listed.
    """
    backbone = next((m for m in network.modules() if isinstance(m, ResNet34)), None)
    if backbone is None:
        raise ValueError(
            f"ImageNet weights: {type(network).__name__} has no ResNet-34, expected one."
        )
    given = {key: value for key, value in state.items() if key not in CLASSIFIER}
    own = backbone.state_dict()
    needed = {key for key in own if not key.endswith("num_batches_tracked")}
    faults = [f"{key}: missing, expected {tuple(own[key].shape)}" for key in needed - given.keys()]
    faults += [f"{key}: found, expected none" for key in given.keys() - own.keys()]
    faults += [
        f"{key}: found {tuple(given[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own.keys() & given.keys()
        if given[key].shape != own[key].shape
    ]
    if faults:
        raise ValueError(
            f"ImageNet weights: {len(faults)} tensors do not fit ResNet-34:\n  - "
            + "\n  - ".join(sorted(faults)[:10])
            + "\nGive a state dict of torchvision's resnet34."
        )
    backbone.load_state_dict({key: given.get(key, own[key]) for key in own})
