"""Series of more dates than a network takes: windows of T dates along the time, fused into one map.

A window says of each of its intervals how far "changed here" is ahead of "unchanged", as the
difference of their log probabilities. An interval lies in several windows; the mean over them is
what all of them say. The features of a date do not depend on the window, so they are computed once:
cost grows with the number of dates, not with dates × T.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor, nn

from models.caim_net import CAM_WINDOWS, CAIMNet
from models.change_maps import ChangeMaps, area_prob_from_moment
from models.input_checks import check_series

__all__ = ["LongSeries", "window_starts"]

NUM_FINE = 2 * len(CAM_WINDOWS)  # fine moments that CAIM-Net adds up
SIDE_MULTIPLE = max(CAM_WINDOWS)


class LongSeries(nn.Module):
    """A network of T dates for series of N ≥ T dates.

    Shape:
        ``predict``: images (B, N, C, H, W) float, scaled as in training → moments of N classes:
        0 unchanged, k = changed between date k−1 and date k.

    Args:
        network: For T dates, in eval mode.
        num_dates: N.
        stride: Dates from one window to the next; the last window is moved back to the end.

    Raises:
        ValueError: Fewer dates than the network takes, or a stride that leaves intervals out.
    """

    def __init__(self, network: CAIMNet, num_dates: int, stride: int) -> None:
        super().__init__()
        T = network.num_dates
        if num_dates < T:
            raise ValueError(f"LongSeries: found {num_dates} dates, expected at least {T}.")
        if not 1 <= stride < T:
            raise ValueError(f"LongSeries: found stride {stride}, expected 1…{T - 1}.")
        self.network = network
        self.num_dates = num_dates
        self.starts = window_starts(num_dates, T, stride)

    @torch.inference_mode()
    def predict(self, images: Tensor) -> ChangeMaps:
        """Change maps of all intervals of a batch of series."""
        check_series(images, self.num_dates, self.network.in_channels, SIDE_MULTIPLE)
        B, _, _, H, W = images.shape
        at_once = B  # where results depend on the batch, or on a GPU
        if images.is_cpu and self.network.block_pixels and not self.network.needs_whole_batch:
            at_once = max(1, self.network.block_pixels // (H * W))
        parts = torch.split(images, at_once)
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

    def _moment_prob(self, images: Tensor) -> Tensor:
        """Fused moments (b, N, H, W) float32 of some series (b, N, C, H, W)."""
        b, N, _, H, W = images.shape
        T = self.network.num_dates
        lead = images.new_zeros((b, N, H, W), dtype=torch.float32)  # 0 for "unchanged" itself
        windows = images.new_zeros(N, dtype=torch.float32)
        for start, features in self._windows(images):
            states = self.network.states(self.network.tokens(features))
            by_pixel = rearrange(states, "b (h w) s d -> b h w s d", h=H)
            log_prob = self.network.moments(by_pixel).moment_prob.log()
            lead[:, start + 1 : start + T] += log_prob[:, 1:] - log_prob[:, :1]
            windows[start + 1 : start + T] += 1
        lead /= windows.clamp(min=1)[:, None, None]
        return lead.softmax(dim=1)

    def _windows(self, images: Tensor) -> Iterator[tuple[int, list[Tensor]]]:
        """First date of each window and features of its T dates; those of T dates are held."""
        T = self.network.num_dates
        held: deque[Tensor] = deque(maxlen=T)
        starts = set(self.starts)
        for date in range(self.num_dates):
            held.append(self.network.features(images[:, date]))
            if date - T + 1 in starts:
                yield date - T + 1, list(held)


def window_starts(num_dates: int, length: int, stride: int) -> list[int]:
    """First dates of windows of ``length`` dates that together hold all of ``num_dates``."""
    starts = list(range(0, num_dates - length + 1, stride))
    if starts[-1] != num_dates - length:
        starts.append(num_dates - length)
    return starts
