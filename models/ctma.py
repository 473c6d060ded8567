"""CTMA: change detection of an image pair, helped by the coarse motion of a made-up video.

X. Wang, Z. Wang et al., "Treat Stillness with Movement: Remote Sensing Change Detection via
Coarse-grained Temporal Foregrounds Mining", arXiv 2408.08078 (2024). Written from a description
of the method and its released program, not from the paper's full text; "Paper:" names a stage of
its overview figure::

    pair ─ pseudo-video ─ T-Block I, II, II ─ TAM ─┬─ features v ───────┬───────────────┐
                                                   └─ coarse mask ─┐    │               │
    pair ──────────────────────────────────── S-Blocks 1 ◄── v ────│────┴─ decoder 1 ─┐ │
      └─ ResNet-34 of each date ─ |difference| ────────────────────│────── bottom 1 ──┘ │
    pair × mask ("segmented targets") ◄────────────────────────────┘                    │
      └─────────────────────────────────────── S-Blocks 2 ◄── v ───────── decoder 2 ────┘
    change area ── w1 · decoder 1 + w2 · decoder 2, on logits

Parameter names are those of the released checkpoints. No files, devices or training here; all
weights are independent of B, H and W.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.change_maps import ChangeMaps
from models.ctma_blocks import Bottleneck3d, ConvUnit, FuseBlock, ResBlock, SimpleResBlock, resized
from models.input_checks import check_pair
from models.resnet34 import ResNet34

__all__ = [
    "CTMA",
    "CTMAOutput",
    "Decoder",
    "DifferenceBackbone",
    "PairEncoder",
    "VideoEncoder",
    "pseudo_video",
]

EXPANSION = 4  # channels of a T-Block II's result to those of its middle


class CTMAOutput(NamedTuple):
    """Output of ``CTMA.forward``: all that the loss needs.

    Attributes:
        area_logits: (B, H, W) float, of "changed".
        aux_logits: (B, H, W) float, of "changed", equal on blocks of 8×8 pixels; the mask is
            where they exceed the mask threshold.
    """

    area_logits: Tensor
    aux_logits: Tensor


def pseudo_video(first: Tensor, last: Tensor, video_len: int) -> Tensor:
    """Frames that fade from the first image to the last, in equal steps.

    Args:
        first, last: (B, C, H, W) float.
        video_len: N, at least 2.

    Returns:
        (B, C, N, H, W); frame 0 is the first image, frame N−1 the last to rounding.

    Paper: pseudo-video.
    """
    step = (last - first) * (1.0 / (video_len - 1))
    return torch.stack([first + step * n for n in range(video_len)], dim=2)


class VideoEncoder(nn.Module):
    """Features of a video at a quarter and at an eighth of its resolution.

    Args:
        in_channels: Bands, C.
        widths: Channels of the stem and of the middle of the second T-Block II.

    Shape:
        (B, C, N, H, W) float → (B, 4·widths[0], N, H/4, W/4) and (B, 4·widths[1], N/2, H/8, W/8),
        N/2 rounded up.

    Paper: T-Block I (``stem``) and two T-Blocks II (``layer1``, ``layer2``).
    """

    def __init__(self, in_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        stem, deep = widths
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, stem, (3, 9, 9), (1, 4, 4), (1, 4, 4), bias=False),
            nn.BatchNorm3d(stem),
            nn.ReLU(inplace=True),
        )
        shallow_out, deep_out = EXPANSION * stem, EXPANSION * deep
        self.layer1 = nn.Sequential(
            Bottleneck3d(stem, shallow_out, stem), Bottleneck3d(shallow_out, shallow_out, stem)
        )
        self.layer2 = nn.Sequential(
            Bottleneck3d(shallow_out, deep_out, deep, stride=2),
            Bottleneck3d(deep_out, deep_out, deep),
        )
        self.out_channels = (shallow_out, deep_out)

    def forward(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """Features of both T-Blocks II."""
        shallow = self.layer1(self.stem(video))
        return shallow, self.layer2(shallow)


class DifferenceBackbone(nn.Module):
    """ResNet-34 features of one date, 3×3 convolved at twice their resolution, every other pixel.

    The released program enlarges the features twofold, convolves them and then keeps every second
    pixel of the result. The pixels that are kept see a 2×2 neighbourhood of the features, and the
    kernel's second and third rows and columns fall on the same one: the same result comes from a
    2×2 convolution without enlarging.

    Args:
        in_channels: Bands of an image.
        out_channels: Of the result.
        width: Of ResNet-34's first stage.

    Shape:
        image (B, C, H, W) float → (B, out_channels, H/8, W/8).

    Paper: the feature extractor of F1 and F2.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        self.resnet = ResNet34(in_channels, width)
        self.conv_out = ConvUnit(
            self.resnet.out_channels, out_channels, 3, norm=False, activation=False
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, image: Tensor) -> Tensor:
        """Features of one date."""
        return self.convolved(self.resnet(image))

    def convolved(self, features: Tensor) -> Tensor:
        """The output convolution, in its short form."""
        conv = self.conv_out.seq[1]
        assert isinstance(conv, nn.Conv2d)
        kernel = conv.weight
        kernel = torch.stack((kernel[:, :, 0], kernel[:, :, 1] + kernel[:, :, 2]), dim=2)
        kernel = torch.stack((kernel[..., 0], kernel[..., 1] + kernel[..., 2]), dim=3)
        return F.conv2d(F.pad(features, (1, 0, 1, 0)), kernel, conv.bias)


class PairEncoder(nn.Module):
    """Features of an image pair at three resolutions, with video features injected.

    Args:
        in_channels: Bands of the pair, 2·C.
        widths: Channels of the three stages.
        video_channels: Of the two video features.
        backbone: Difference features that belong to this encoder, or None.

    Shape:
        pair (B, 2·C, H, W) float → the pair itself and features at H/2, H/4 and H/8.

    Paper: S-Block I, S-Block I, S-Block II, each followed by max-pooling.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        video_channels: Sequence[int],
        backbone: DifferenceBackbone | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = SimpleResBlock(in_channels, widths[0])
        self.conv2 = SimpleResBlock(widths[0] + video_channels[0], widths[1])
        self.conv3 = ResBlock(widths[1] + video_channels[1], widths[2])
        if backbone is not None:
            self.backbone = backbone

    def forward(self, pair: Tensor, video_features: Sequence[Tensor]) -> list[Tensor]:
        """The skips of a decoder, finest first."""
        skips = [pair, F.max_pool2d(self.conv1(pair), 2)]
        for stage, injected in zip((self.conv2, self.conv3), video_features, strict=True):
            skip = skips[-1]
            features = stage(torch.cat((skip, resized(injected, skip)), dim=1))
            skips.append(F.max_pool2d(features, 2))
        return skips

    def difference(self, first: Tensor, last: Tensor) -> Tensor:
        """|F1 − F2| (B, widths[2], H/8, W/8) of two dates (B, C, H, W).

        In training each date is normalised by its own statistics, in a call of its own.
        """
        first_features: Tensor
        last_features: Tensor
        if self.training:
            first_features, last_features = self.backbone(first), self.backbone(last)
        else:
            first_features, last_features = self.backbone(torch.cat((first, last))).chunk(2)
        return (first_features - last_features).abs()


class Decoder(nn.Module):
    """From the deepest map upwards, joined by a skip at each resolution, to logits.

    Args:
        skip_channels: Of the four skips, finest first.
        widths: Channels of the four steps, coarsest first.

    Paper: decoder, the second one part of "UNet".
    """

    def __init__(self, skip_channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        deepest = skip_channels[-1]
        self.conv_bottom = ConvUnit(deepest, deepest, 3)
        deep = (deepest, *widths)
        self.blocks = nn.ModuleList(
            FuseBlock(skip, below, width)
            for skip, below, width in zip(reversed(skip_channels), deep, widths, strict=False)
        )
        self.conv_out = ConvUnit(widths[-1], 1, 1, norm=False, activation=False)

    def forward(self, bottom: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Logits (B, 1, H, W) of a bottom map and the skips, finest first."""
        features = self.conv_bottom(bottom)
        for block, skip in zip(self.blocks, reversed(skips), strict=True):
            features = block(skip, features)
        logits: Tensor = self.conv_out(features)
        return logits


class CTMA(nn.Module):
    """Coarse-grained temporal mining augmented change detection of an image pair.

    Defaults are the released program's for LEVIR-CD; 30,475,203 parameters.

    Args:
        in_channels: Bands per image, C.
        video_len: Frames of the pseudo-video, N.
        mask_threshold: Coarse probability above which a block of 8×8 pixels is kept for branch 2.
        fusion_weights: Of both decoders' logits: SVCD 0.5, 0.5; LEVIR-CD 0.67, 0.33; WHU-CD 0.7,
            0.3.
        pair_widths: Channels of the three S-Blocks.
        video_widths: Channels of T-Block I and of the middle of the second T-Block II.
        decoder_widths: Channels of the four steps of a decoder.
        resnet_width: Channels of ResNet-34's first stage; ImageNet files have 64.

    Raises:
        ValueError: Lengths or values of the arguments do not go together.
    """

    def __init__(
        self,
        in_channels: int = 3,
        video_len: int = 8,
        mask_threshold: float = 0.5,
        fusion_weights: Sequence[float] = (0.67, 0.33),
        pair_widths: Sequence[int] = (32, 64, 128),
        video_widths: Sequence[int] = (64, 128),
        decoder_widths: Sequence[int] = (256, 128, 64, 32),
        resnet_width: int = 64,
    ) -> None:
        super().__init__()
        _check_arguments(video_len, mask_threshold, fusion_weights)
        _check_length("fusion_weights", fusion_weights, 2)
        _check_length("pair_widths", pair_widths, 3)
        _check_length("video_widths", video_widths, 2)
        _check_length("decoder_widths", decoder_widths, 4)
        self.in_channels, self.video_len = in_channels, video_len
        self.mask_threshold, self.fusion_weights = mask_threshold, tuple(fusion_weights)
        backbone = DifferenceBackbone(in_channels, pair_widths[-1], resnet_width)
        self.encoder_v = VideoEncoder(in_channels, video_widths)
        video_channels = self.encoder_v.out_channels
        self.encoder_p1 = PairEncoder(2 * in_channels, pair_widths, video_channels, backbone)
        self.encoder_p2 = PairEncoder(2 * in_channels, pair_widths, video_channels)
        self.conv_out_v = ConvUnit(video_channels[-1], 1, 1, norm=False, activation=False)
        self.convs_video = nn.ModuleList(ConvUnit(2 * C, C, 1) for C in video_channels)
        skip_channels = (2 * in_channels, *pair_widths)
        self.decoder1 = Decoder(skip_channels, decoder_widths)
        self.decoder2 = Decoder(skip_channels, decoder_widths)

    def forward(self, images: Tensor) -> CTMAOutput:
        """Logits of the change area and of its coarse form.

        Args:
            images: (B, 2, C, H, W) float, 0…1; H and W multiples of 8.
        """
        check_pair(images, self.in_channels, divisor=8)
        first, last = images.unbind(dim=1)
        pair = rearrange(images, "b t c h w -> b (t c) h w")

        video = self.encoder_v(pseudo_video(first, last, self.video_len))
        video_features = self.aggregated(video)

        coarse_logits = self.conv_out_v(video_features[-1])  # (B, 1, H/8, W/8)
        targets = pair * resized(self.coarse_mask(coarse_logits), pair)

        skips = self.encoder_p1(pair, video_features)
        logits1 = self.decoder1(self.encoder_p1.difference(first, last), skips)

        skips = self.encoder_p2(targets, video_features)
        logits2 = self.decoder2(skips[-1], skips)

        weight1, weight2 = self.fusion_weights
        area_logits = weight1 * logits1 + weight2 * logits2
        return CTMAOutput(area_logits[:, 0], resized(coarse_logits, pair)[:, 0])

    def predict(self, images: Tensor) -> ChangeMaps:
        """Change area; use it in eval mode, gradients are not computed.

        Args:
            images: As for ``forward``.
        """
        with torch.inference_mode():
            changed = self(images).area_logits.float().sigmoid()
            return ChangeMaps(torch.stack((1 - changed, changed), dim=1), None)

    def aggregated(self, video: Sequence[Tensor]) -> list[Tensor]:
        """Each video feature without its time axis: mean and maximum over time, 1×1 convolved.

        Paper: temporal aggregation module (TAM).
        """
        return [
            unit(torch.cat((features.mean(dim=2), features.amax(dim=2)), dim=1))
            for unit, features in zip(self.convs_video, video, strict=True)
        ]

    def coarse_mask(self, coarse_logits: Tensor) -> Tensor:
        """1 where the coarse probability exceeds the threshold, else 0; has no gradient.

        Paper: coarse-grained foreground.
        """
        return (coarse_logits.sigmoid() > self.mask_threshold).to(coarse_logits.dtype)


def _check_arguments(
    video_len: int, mask_threshold: float, fusion_weights: Sequence[float]
) -> None:
    if video_len < 2:
        raise ValueError(
            f"CTMA: found video_len={video_len}, expected 2 or more; a video leads from the first "
            "image to the last."
        )
    if not 0 <= mask_threshold < 1:
        raise ValueError(
            f"CTMA: found mask_threshold={mask_threshold}, expected a probability of at least 0 "
            "and less than 1."
        )
    if any(weight < 0 for weight in fusion_weights) or not any(fusion_weights):
        raise ValueError(
            f"CTMA: found fusion_weights={tuple(fusion_weights)}, expected two weights of at least "
            "0 that are not both 0, for example (0.5, 0.5)."
        )


def _check_length(name: str, values: Sequence[float], expected: int) -> None:
    if len(values) != expected:
        raise ValueError(f"CTMA: found {name}={tuple(values)}, expected {expected} numbers.")
