"""CAIM-Net: change area inferred from change moment in satellite image time series.

J. Li, C. Wu, M. Hu, H. Guo, "Information transmission: Inferring change area from change moment
in time series remote sensing images", ISPRS J. Photogramm. Remote Sens. 231 (2026) 266-287,
arXiv 2509.03112. Blocks stand in the order of the paper's overview figure, the network below.
"Paper:" in the docstrings names a stage; section and equation numbers are not given, since this
was written from descriptions of the method, not from the paper's full text::

    images ─ Encoder ─ |difference| ─ BEConv ─ Correlation ─ PeepholeLSTM ─┬─ StepwiseMoment ─────┐
             (each date)  (neighbours)                                    └─ SegmentationMoment ─┤
                                                                          coarse change moment   │
    change area ── inferred from ── change moment ── fusion ── 4 × TemporalCAM (2 and 4 px) ─────┘

No files, devices or training here. All weights are independent of B, H and W, except CAM weights
kept per window as in the released checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.blocks import in_blocks
from models.change_maps import ChangeMaps, area_prob_from_moment
from models.correlation import AttentionAxis, Correlation
from models.input_checks import check_series
from models.lean_relu import LeanReLU
from models.peephole_lstm import PeepholeLSTM
from models.temporal_cam import TemporalCAM

__all__ = [
    "BEConv",
    "CAIMNet",
    "CAIMNetOutput",
    "CamWeights",
    "Encoder",
    "SegmentationMoment",
    "StepwiseMoment",
    "caim_area_prob_bounds",
]

CamWeights = Literal["shared", "per_window"]

CAM_WINDOWS = (2, 4)
BLOCK_PIXELS = 2048  # of all series together: their features fit into a CPU's cache
STEM_WIDTH = 16  # channels of the encoder's first convolutions
NUM_GROUPS = 2  # groups of every GroupNorm but the stepwise branch's


class CAIMNetOutput(NamedTuple):
    """Output of ``CAIMNet.forward``: all that the loss needs.

    Attributes:
        area_prob: (B, 2, H, W) float32, sums to 1 over axis 1.
        moment_prob: (B, T, H, W) float32, sums to 1 over axis 1.
        fine_moment_prob: (B, 4, T, H, W) float32: coarse branch 1 at window 2 and 4, coarse
            branch 2 at window 2 and 4; each sums to 1 over axis 2.
    """

    area_prob: Tensor
    moment_prob: Tensor
    fine_moment_prob: Tensor


class Encoder(nn.Module):
    """Features of one date: a 3×3 branch plus a 1×1 branch, then one more 3×3 convolution.

    Shape:
        (N, C, H, W) float → (N, D, H, W).

    Paper: feature extraction; the same weights serve every date.
    """

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.context = self._branch(in_channels, width, kernel_size=3)
        self.residual = self._branch(in_channels, width, kernel_size=1)
        self.merge = self._unit(width, width, kernel_size=3)

    @staticmethod
    def _unit(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size, padding="same", bias=False),
            nn.GroupNorm(NUM_GROUPS, out_channels),
            LeanReLU(),
        )

    @classmethod
    def _branch(cls, in_channels: int, width: int, kernel_size: int) -> nn.Sequential:
        return nn.Sequential(
            cls._unit(in_channels, STEM_WIDTH, kernel_size),
            cls._unit(STEM_WIDTH, width, kernel_size),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Features (N, D, H, W) of images (N, C, H, W)."""
        # in float32 also under autocast: pixel values hold more digits than half precision keeps
        with torch.autocast(image.device.type, enabled=False):
            context, residual = self.context[0](image), self.residual[0](image)
        features: Tensor = self.merge(self.context[1](context) + self.residual[1](residual))
        return features


class BEConv(nn.Module):
    """Boundary enhancement: adds a depthwise 3×3 response that is zero on flat surroundings.

    The kernel's centre is replaced by minus the sum of the eight others, so each kernel sums to
    zero; nine values per kernel are stored, as in the released program.

    Shape:
        (B, channels, H, W) float → same.

    Paper: boundary enhancement convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, difference: Tensor) -> Tensor:
        """Difference features with their boundaries enhanced."""
        # through a flat view, so that the gradient lies in memory as the weights do (several
        # processes exchange it faster)
        weight = self.weight.flatten(1).view(-1, 1, 3, 3)
        kernel = weight - F.pad(weight.sum(dim=(2, 3), keepdim=True), (1, 1, 1, 1))
        return difference + F.conv2d(difference, kernel, padding=1, groups=kernel.shape[0])


class StepwiseMoment(nn.Module):
    """Coarse change moment, step by step: is this interval changed or not?

    The score of "unchanged" is the smallest over all intervals; the score of class k is the
    "changed" score of interval k.

    Shape:
        hidden states (B, H, W, T−1, D/2) → logits (B, T, H, W).

    Paper: coarse change moment extraction, first branch.
    """

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(hidden_dim, 2, 1)
        self.norm = nn.GroupNorm(1, 2)

    def forward(self, states: Tensor) -> Tensor:
        """Logits (B, T, H, W)."""
        S = states.shape[3]
        # one image of H × (W·S) pixels per series: no copy of the states
        steps = self.conv(rearrange(states, "b h w s d -> b d h (w s)"))
        steps = self.norm(rearrange(steps, "b two h (w s) -> (b s) two h w", s=S))
        steps = rearrange(steps, "(b s) two h w -> b s two h w", s=S)
        return torch.cat((steps[:, :, 0].amin(dim=1, keepdim=True), steps[:, :, 1]), dim=1)


class SegmentationMoment(nn.Module):
    """Coarse change moment as a segmentation of all hidden states at once.

    Shape:
        hidden states (B, H, W, T−1, D/2) → logits (B, T, H, W).

    Paper: coarse change moment extraction, second branch. As in the released program no
    activation stands between the two convolutions.
    """

    def __init__(self, hidden_dim: int, num_dates: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d((num_dates - 1) * hidden_dim, hidden_dim, 3, padding=1)
        self.norm1 = nn.GroupNorm(NUM_GROUPS, hidden_dim)
        self.conv2 = nn.Conv2d(hidden_dim, num_dates, 3, padding=1)

    def forward(self, states: Tensor) -> Tensor:
        """Logits (B, T, H, W)."""
        stacked = rearrange(states, "b h w s d -> b (s d) h w")
        logits: Tensor = self.conv2(self.norm1(self.conv1(stacked)))
        return logits


class CAIMNet(nn.Module):
    """The whole network.

    Shape:
        images (B, T, C, H, W) float, scaled as in training; any B, H and W multiples of 4.

    Args:
        in_channels: C, bands per image (4 in both data sets).
        num_dates: T ≥ 2 (6 for DynamicEarthNet, 9 for SpaceNet7); also the number of classes.
        width: D, a multiple of 4 (64 as released).
        attention: "spatial" (the paper's words, default) or "batch" (as released).
        cam: "shared" (one set of CAM weights per scale and branch, default) or "per_window" (as
            released; needs ``cam_windows``).
        cam_windows: (B, H, W) that per-window CAM weights belong to.
        num_heads: Heads of the attention (4 as released).
        dropout: Of the transformer layer (0.1 as released).
        attention_dropout: See ``Correlation``.

    Attributes:
        block_pixels: On a CPU about so many pixels go through the heavy part at a time, at least
            one series ("spatial") or one pixel of each series ("batch"); None = all at once, as
            on a GPU. It changes speed and memory, results to rounding only.
        recompute: Keep only the inputs of such blocks for the backward pass and compute the rest
            again there (activation checkpointing), False at first.

    Raises:
        ValueError: An argument is out of range, or ``forward`` gets images of another shape.

    Paper: the network of its overview figure.
    """

    def __init__(
        self,
        in_channels: int = 4,
        num_dates: int = 6,
        width: int = 64,
        attention: AttentionAxis = "spatial",
        cam: CamWeights = "shared",
        cam_windows: tuple[int, int, int] | None = None,
        num_heads: int = 4,
        dropout: float = 0.1,
        attention_dropout: float | None = None,
    ) -> None:
        super().__init__()
        windows = _checked_windows(num_dates, width, cam, cam_windows)
        self.in_channels, self.num_dates = in_channels, num_dates
        self.block_pixels: int | None = BLOCK_PIXELS
        self.recompute = False
        channels, hidden_dim = (num_dates - 1) * width, width // 2
        self.encoder = Encoder(in_channels, width)
        self.be_conv = BEConv(channels)
        self.correlation = Correlation(channels, attention, num_heads, dropout, attention_dropout)
        self.temporal = PeepholeLSTM(width, hidden_dim)
        self.coarse_moment1 = StepwiseMoment(hidden_dim)
        self.coarse_moment2 = SegmentationMoment(hidden_dim, num_dates)
        self.fine_moment1 = nn.ModuleList(TemporalCAM(k, windows) for k in CAM_WINDOWS)
        self.fine_moment2 = nn.ModuleList(TemporalCAM(k, windows) for k in CAM_WINDOWS)

    def forward(self, images: Tensor) -> CAIMNetOutput:
        """Change area, change moment and the four fine moments of a batch of series."""
        check_series(images, self.num_dates, self.in_channels, divisor=max(CAM_WINDOWS))
        return self.moments(self.change_features(images))

    def moments(self, states: Tensor) -> CAIMNetOutput:
        """Change area and moments of hidden states (B, H, W, T−1, D/2)."""
        coarse = self.coarse_moments(states)
        # From here on float32, whatever the precision above: the stacked softmaxes leave class
        # scores closer together than half precision can tell.
        with torch.autocast(states.device.type, enabled=False):
            return self.fused(*coarse)

    def coarse_moments(self, states: Tensor) -> tuple[Tensor, ...]:
        """Both coarse logits (B, T, H, W) of hidden states (B, H, W, T−1, D/2)."""
        return self.coarse_moment1(states), self.coarse_moment2(states)

    def fused(self, *coarse: Tensor) -> CAIMNetOutput:
        """Change area and moments of both coarse logits (B, T, H, W)."""
        fine_moment_prob = self.fine_moments(*coarse)  # (B, 4, T, H, W)
        moment_prob = fine_moment_prob.sum(dim=1).softmax(dim=1)
        return CAIMNetOutput(area_prob_from_moment(moment_prob), moment_prob, fine_moment_prob)

    @property
    def mixes_batch(self) -> bool:
        """Whether a prediction depends on the other patches of its batch."""
        return self.correlation.attention == "batch"

    @property
    def needs_whole_batch(self) -> bool:
        """Whether a prediction depends on its place in the batch, or on the others there."""
        return self.mixes_batch or self.fine_moment1[0].cam_windows is not None

    def place_in_batch(self, first_slot: int) -> None:
        """Say which part of a batch the next forward passes get.

        Args:
            first_slot: Place of the first patch in the whole batch; decides which per-window CAM
                weights are its own.
        """
        for cams in (self.fine_moment1, self.fine_moment2):
            for cam in cams:
                cam.first_slot = first_slot  # type: ignore[assignment]

    def change_features(self, images: Tensor) -> Tensor:
        """Hidden states (B, H, W, T−1, D/2): encoder, difference, correlation, LSTM.

        With spatial attention series after series; with batch attention, which mixes the series
        at each pixel, the first half by series and the second by pixels.
        """
        B, _, _, H, W = images.shape
        at_once = self._pixels_at_once(images)
        series, pixels = max(1, at_once // (H * W)), max(1, at_once // B)
        run = partial(in_blocks, recompute=self.recompute)
        if self.correlation.attention == "spatial":
            states = run(lambda x: self.states(self.differences(x)), images, dim=0, size=series)
        else:
            tokens = run(self.differences, images, dim=0, size=series)
            states = run(self.states, tokens, dim=1, size=pixels)
        by_pixel: Tensor = rearrange(states, "b (h w) s d -> b h w s d", h=H)
        return by_pixel

    def _pixels_at_once(self, images: Tensor) -> int:
        B, _, _, H, W = images.shape
        if self.block_pixels is None:
            return B * H * W
        if images.is_cpu:
            return self.block_pixels
        # elsewhere blocks only cost time, unless they are what recomputing saves memory by
        return 16 * self.block_pixels if self.recompute else B * H * W

    def differences(self, images: Tensor) -> Tensor:
        """Enhanced difference features (B, H·W, E) of images (B, T, C, H, W)."""
        flat = rearrange(images, "b t c h w -> (b t) c h w")
        features = rearrange(self.features(flat), "(b t) d h w -> t b d h w", t=self.num_dates)
        return self.tokens(features)

    def features(self, image: Tensor) -> Tensor:
        """Features (N, D, H, W) of single dates (N, C, H, W)."""
        if image.is_cpu:  # there convolutions are faster with the channels last
            image = image.contiguous(memory_format=torch.channels_last)
        features: Tensor = self.encoder(image)
        return features

    def tokens(self, features: Tensor | Sequence[Tensor]) -> Tensor:
        """Enhanced difference features (B, H·W, E) of T dates' features, each (B, D, H, W)."""
        steps = [(after - before).abs() for before, after in pairwise(features)]
        enhanced = self.be_conv(torch.cat(steps, dim=1))  # (B, E, H, W), date by date
        tokens: Tensor = rearrange(enhanced, "b e h w -> b (h w) e")
        return tokens

    def states(self, tokens: Tensor) -> Tensor:
        """Hidden states (B, N, T−1, D/2) of difference features (B, N, E)."""
        B = tokens.shape[0]
        correlated = self.correlation(tokens)
        steps = rearrange(correlated, "b n (s d) -> (b n) s d", s=self.num_dates - 1)
        states: Tensor = rearrange(self.temporal(steps), "(b n) s d -> b n s d", b=B)
        return states

    def fine_moments(self, coarse1: Tensor, coarse2: Tensor) -> Tensor:
        """Fine moments (B, 4, T, H, W) of two coarse logits (B, T, H, W), in float32 or better."""
        fine = []
        for logits, scales in ((coarse1, self.fine_moment1), (coarse2, self.fine_moment2)):
            coarse_prob = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=1)
            fine += [cam(coarse_prob).softmax(dim=1) for cam in scales]
        return torch.stack(fine, dim=1)

    def auxiliary_areas(self, output: CAIMNetOutput) -> Tensor:
        """Areas (B, 4, 2, H, W) inferred from each fine moment; they carry no loss."""
        B = output.fine_moment_prob.shape[0]
        flat = rearrange(output.fine_moment_prob, "b m t h w -> (b m) t h w")
        return rearrange(area_prob_from_moment(flat), "(b m) k h w -> b m k h w", b=B)

    @torch.inference_mode()
    def predict(self, images: Tensor) -> ChangeMaps:
        """Change maps of images (B, T, C, H, W), without gradients; call ``eval()`` first."""
        output = self(images)
        return ChangeMaps(output.area_prob, output.moment_prob)


def caim_area_prob_bounds(num_dates: int) -> tuple[float, float]:
    """Smallest and largest probability of "changed" that CAIM-Net can give, whatever its weights.

    Each fine moment is a softmax of activations in 0…1, so it lies between b = 1/(e + T − 1) and
    a = e·b when one date stands out alone; the moment is the softmax of the sum of four of them,
    and the area the softmax of two of its entries.

    Args:
        num_dates: T ≥ 2.

    Returns:
        Symmetric around one half; 0.452 and 0.548 for T = 6, 0.477 and 0.523 for T = 9.

    Follows from the stacked softmaxes of the paper.
    """
    others = num_dates - 1
    least = 1 / (math.e + others)
    strong, weak = (math.exp(2 * len(CAM_WINDOWS) * p) for p in (math.e * least, least))
    lead = (strong - weak) / (strong + others * weak)
    return 1 / (1 + math.exp(lead)), 1 / (1 + math.exp(-lead))


def _checked_windows(
    num_dates: int, width: int, cam: str, cam_windows: tuple[int, int, int] | None
) -> tuple[int, int, int] | None:
    """The windows to hand to the CAM modules, after checking the arguments that go together."""
    if num_dates < 2:
        raise ValueError(f"CAIMNet: found num_dates={num_dates}, expected at least 2.")
    if width % 4 or width <= 0:
        raise ValueError(f"CAIMNet: found width={width}, expected a positive multiple of 4.")
    if cam not in ("shared", "per_window"):
        raise ValueError(f"CAIMNet: found cam={cam!r}, expected 'shared' or 'per_window'.")
    if cam == "shared":
        if cam_windows is not None:
            raise ValueError(
                f"CAIMNet: found cam='shared' with cam_windows={cam_windows}, expected none; "
                "shared weights fit any size. Drop cam_windows, or set cam='per_window'."
            )
        return None
    if cam_windows is None or any(size % 4 or size <= 0 for size in cam_windows[1:]):
        raise ValueError(
            f"CAIMNet: found cam='per_window' with cam_windows={cam_windows}, expected "
            "(B, H, W) with H and W multiples of 4, for example (96, 64, 64)."
        )
    B, H, W = cam_windows
    return int(B), int(H), int(W)
