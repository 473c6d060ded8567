"""Series of more dates than a network takes: several choices of T dates, fused into one map.

A window is a choice of T of the N dates, from the first to the last; every date between is in one
window at least. Of each of its intervals a window says how far "changed here" is ahead of
"unchanged", as the difference of their log probabilities. The intervals of a window are wide and
begin and end elsewhere than those of the others, so the mean over the windows stands out where all
agree: between two neighbouring dates of the N.

The features of a date are computed once and held from the first window that it is in to the last:
of most dates that is one window, so that memory does not grow with N. The differences of a pair are
not kept: hardly a pair is in two windows, and what follows its subtraction depends on its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn

from models.caim_net import CAM_WINDOWS, CAIMNet
from models.change_maps import ChangeMaps, area_prob_from_moment
from models.input_checks import check_series

__all__ = ["LongSeries", "dates_needed_later", "series_windows"]

NUM_FINE = 2 * len(CAM_WINDOWS)  # fine moments that CAIM-Net adds up
SIDE_MULTIPLE = max(CAM_WINDOWS)
FEATURE_VALUES = 1 << 28  # held at a time of the series that go together: 1 GiB in float32


class LongSeries(nn.Module):
    """A network of T dates for series of N ≥ T dates.

    Shape:
        ``predict``: images (B, N, C, H, W) float, scaled as in training → moments of N classes:
        0 unchanged, k = changed between date k−1 and date k.

    Args:
        network: For T dates, in eval mode.
        num_dates: N.

    Attributes:
        windows: See :func:`series_windows`.

    Raises:
        ValueError: Fewer dates than the network takes.
    """

    def __init__(self, network: CAIMNet, num_dates: int) -> None:
        super().__init__()
        self.network = network
        self.num_dates = num_dates
        self.windows = series_windows(num_dates, network.num_dates)
        self._needed = dates_needed_later(self.windows)

    @torch.inference_mode()
    def predict(self, images: Tensor) -> ChangeMaps:
        """Change maps of all intervals of a batch of series."""
        check_series(images, self.num_dates, self.network.in_channels, SIDE_MULTIPLE)
        parts = torch.split(images, self._series_at_once(images))
        moment_prob = torch.cat([self._moment_prob(part) for part in parts])
        return ChangeMaps(area_prob_from_moment(moment_prob), moment_prob)

    def area_prob_bounds(self) -> tuple[float, float]:
        """Smallest and largest probability of "changed" that :meth:`predict` can give."""
        T, others = self.network.num_dates, self.num_dates - 1
        # a window's lead: NUM_FINE times the range of a softmax over T values in 0…1
        lead = NUM_FINE * (math.e - 1) / (math.e + T - 1)
        alone = math.exp(lead) / (1 + math.exp(lead) + (others - 1) * math.exp(-lead))
        ahead = alone * (1 - math.exp(-lead))
        behind = (1 - math.exp(-lead)) / (1 + others * math.exp(-lead))
        return 1 / (1 + math.exp(behind)), 1 / (1 + math.exp(-ahead))

    def _series_at_once(self, images: Tensor) -> int:
        B, _, _, H, W = images.shape
        if self.network.needs_whole_batch:
            return B
        if images.is_cpu and self.network.block_pixels:
            return max(1, self.network.block_pixels // (H * W))
        channels = self.network.be_conv.weight.shape[0]  # of T − 1 differences
        return max(1, FEATURE_VALUES // (2 * channels * H * W))  # about two windows are held

    def _moment_prob(self, images: Tensor) -> Tensor:
        """Fused moments (b, N, H, W) float32 of some series (b, N, C, H, W)."""
        b, N, _, H, W = images.shape
        features: dict[int, Tensor] = {}
        lead = images.new_zeros((b, N, H, W), dtype=torch.float32)  # 0 for "unchanged" itself
        count = images.new_zeros(N, dtype=torch.float32)
        for dates, needed in zip(self.windows, self._needed, strict=True):
            features |= self._features(images, [t for t in dates if t not in features])
            states = self.network.states(self.network.tokens([features[t] for t in dates]))
            by_pixel = rearrange(states, "b (h w) s d -> b h w s d", h=H)
            log_prob = self.network.moments(by_pixel).moment_prob.log()
            for k, (before, after) in enumerate(pairwise(dates), start=1):
                lead[:, before + 1 : after + 1] += log_prob[:, k : k + 1] - log_prob[:, :1]
                count[before + 1 : after + 1] += 1
            # copies, since a date alone would hold all that it was computed with
            features = {t: features[t].clone() for t in needed}
        return (lead / count.clamp(min=1)[:, None, None]).softmax(dim=1)

    def _features(self, images: Tensor, dates: list[int]) -> dict[int, Tensor]:
        """Features (b, D, H, W) of some dates of series (b, N, C, H, W), computed together."""
        if not dates:
            return {}
        together = self.network.features(rearrange(images[:, dates], "b t c h w -> (t b) c h w"))
        return dict(zip(dates, together.chunk(len(dates)), strict=True))


def series_windows(num_dates: int, length: int) -> list[tuple[int, ...]]:
    """Choices of ``length`` dates, the first and the last in each, every other one in some.

    One choice is evenly spaced. For the others the dates between are dealt out in turn, so that
    those of a window lie about evenly, too; where some are wanting, the middle of the widest gap
    is added. Pairs are those of neighbouring dates.

    Raises:
        ValueError: There are fewer dates than ``length``, or that is less than 2.
    """
    if not 2 <= length <= num_dates:
        raise ValueError(
            f"series_windows: found {num_dates} dates for windows of {length}, expected at least "
            f"{max(2, length)}."
        )
    if length == 2:
        return list(pairwise(range(num_dates)))
    inner = range(1, num_dates - 1)
    count = max(1, -(-len(inner) // (length - 2)))
    spacing = (num_dates - 1) / (length - 1)
    windows = [tuple(round(place * spacing) for place in range(length))]
    for turn in range(count):
        dates = [0, *inner[turn::count], num_dates - 1]
        while len(dates) < length:
            widest = max(range(len(dates) - 1), key=lambda i: dates[i + 1] - dates[i])
            dates.insert(widest + 1, (dates[widest] + dates[widest + 1]) // 2)
        windows.append(tuple(dates))
    return sorted(set(windows))


def dates_needed_later(windows: Sequence[Sequence[int]]) -> list[list[int]]:
    """After each window the dates of it, and of those before, that are in a window after it."""
    last = {date: place for place, dates in enumerate(windows) for date in dates}
    needed: list[list[int]] = []
    for place, dates in enumerate(windows):
        so_far = {*dates, *(needed[-1] if needed else ())}
        needed.append([date for date in sorted(so_far) if last[date] > place])
    return needed
