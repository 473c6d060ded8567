"""Weights of CAIM-Net for other dates or bands as the start of a network: what fits is taken over.

Tensors that know nothing of dates and bands are taken whole (most of the encoder, the LSTM, the
stepwise branch, the CAMs). The encoder's first convolutions are taken band by band, by name; a
band that the weights do not know begins at zero, so that the features begin as they were. Tensors
with a place for each interval are stretched: each interval of the new series begins as the one at
the same share of the old, and sums over intervals keep their size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Takeover", "take_over"]

BAND_CONVOLUTIONS = ("encoder.context.0.0.weight", "encoder.residual.0.0.weight")
# What the axes of tensors with places for intervals hold: "interval" (all intervals one after the
# other), "head" (the same in 4 heads), "qkv" (three times that), "unit" (without order),
# "moment" (unchanged, then a place an interval); with "/", what is summed over in the layer.
AXES: Mapping[str, tuple[str, ...]] = {
    "be_conv.weight": ("interval",),
    "correlation.in_proj.weight": ("qkv", "/interval"),
    "correlation.in_proj.bias": ("qkv",),
    "correlation.out_proj.weight": ("interval", "/head"),
    "correlation.out_proj.bias": ("interval",),
    "correlation.norm1.weight": ("interval",),
    "correlation.norm1.bias": ("interval",),
    "correlation.linear1.weight": ("unit", "/interval"),
    "correlation.linear1.bias": ("unit",),
    "correlation.linear2.weight": ("interval", "/unit"),
    "correlation.linear2.bias": ("interval",),
    "correlation.norm2.weight": ("interval",),
    "correlation.norm2.bias": ("interval",),
    "coarse_moment2.conv1.weight": ("", "/interval"),
    "coarse_moment2.conv2.weight": ("moment",),
    "coarse_moment2.conv2.bias": ("moment",),
}


@dataclass(frozen=True)
class Takeover:
    """Parameters of a network with what it got from weights for other dates or bands.

    Attributes:
        state: All its parameters.
        whole, stretched, new: Names of those that were taken as they are, that were taken for
            another number of dates, and that stay at their start.
        bands: Of the data, those that the weights know and those that they do not.
        dates: T of the data and of the weights.
    """

    state: dict[str, Tensor]
    whole: list[str] = field(default_factory=list)
    stretched: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    bands: tuple[list[str], list[str]] = ([], [])
    dates: tuple[int, int] = (0, 0)

    def lines(self) -> list[str]:
        """Sentences on what was taken over and what is new."""
        (T, T_before), (common, unknown) = self.dates, self.bands
        lines = [f"taken over: {len(self.whole)} tensors as they are"]
        if self.stretched:
            lines[0] += f", {len(self.stretched)} stretched from {T_before} dates to {T}"
        if common:
            lines[0] += f", bands {', '.join(common)} of the first convolutions"
        if common and unknown:
            lines.append(f"new bands, which begin without effect: {', '.join(unknown)}")
        lines.append(f"new: {', '.join(self.new) or 'nothing'}")
        return lines


def take_over(
    start: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    *,
    bands: tuple[Sequence[str], Sequence[str]],
    dates: tuple[int, int],
    num_heads: int = 4,
) -> Takeover:
    """Fill the parameters of a new network with those of weights for other dates or bands.

    Args:
        start: The new network's parameters.
        given: The weights', of the same width, with shared CAM weights.
        bands: Names of the data's bands and of the weights'; empty where not known: then the first
            convolutions are taken where the numbers of bands are the same.
        dates: T of the data and of the weights.
        num_heads: Of the attention, of both.
    """
    bands_now, bands_before = list(bands[0]), list(bands[1])
    named = bool(bands_now and bands_before)
    common = [band for band in bands_now if band in bands_before]
    taken = Takeover(
        dict(start),
        bands=(common, [band for band in bands_now if band not in bands_before]),
        dates=dates,
    )
    places = _Places(dates[1] - 1, dates[0] - 1, num_heads)
    for name, fresh in start.items():
        value = given[name]
        if name in BAND_CONVOLUTIONS and named and bands_now != bands_before:
            if common:
                taken.state[name] = _by_band(value, bands_now, bands_before)
            else:
                taken.new.append(name)
        elif value.shape == fresh.shape:
            taken.state[name] = value.clone()
            taken.whole.append(name)
        elif name in AXES:
            taken.state[name] = places.stretched(name, value)
            taken.stretched.append(name)
        else:
            taken.new.append(name)
    return taken


def _by_band(value: Tensor, now: Sequence[str], before: Sequence[str]) -> Tensor:
    """A convolution's (16, C, k, k) with the columns of bands that both know, zero elsewhere."""
    result = value.new_zeros((value.shape[0], len(now), *value.shape[2:]))
    for place, band in enumerate(now):
        if band in before:
            result[:, place] = value[:, before.index(band)]
    return result


class _Places:
    """Places of old intervals for new ones: each takes the one at the same share of the way.

    Args:
        before: Intervals of the weights.
        after: Intervals of the data.
        num_heads: Of the attention.
    """

    def __init__(self, before: int, after: int, num_heads: int) -> None:
        self.before, self.after, self.num_heads = before, after, num_heads

    def stretched(self, name: str, value: Tensor) -> Tensor:
        """A tensor of ``AXES`` for the new number of intervals."""
        for axis, kind in enumerate(AXES[name]):
            if kind:
                index = getattr(self, kind.lstrip("/"))(value.shape[axis])
                share = value.shape[axis] / len(index) if kind.startswith("/") else 1.0
                value = value.index_select(axis, index) * share  # sums keep their size
        if name.startswith("correlation.in_proj"):  # and so do products of queries and keys
            value[: value.shape[0] // 3 * 2] *= (self.before / self.after) ** 0.25
        return value

    def interval(self, count: int) -> Tensor:
        """Of all intervals, one after the other."""
        return self._blocks(count // self.before, _nearest(self.after, self.before))

    def moment(self, count: int) -> Tensor:
        """Of "unchanged" and all intervals."""
        return torch.cat((torch.zeros(1, dtype=torch.long), 1 + self.interval(count - 1)))

    def unit(self, count: int) -> Tensor:
        """Of units without an order, as many more as there are intervals."""
        return _nearest(count * self.after // self.before, count)

    def head(self, count: int) -> Tensor:
        """Of the attention's heads, each a part of its own."""
        each = self.unit(count // self.num_heads)
        return torch.cat([each + h * (count // self.num_heads) for h in range(self.num_heads)])

    def qkv(self, count: int) -> Tensor:
        """Of queries, keys and values, each with its heads."""
        each = self.head(count // 3)
        return torch.cat([each + part * (count // 3) for part in range(3)])

    @staticmethod
    def _blocks(width: int, order: Tensor) -> Tensor:
        return (order[:, None] * width + torch.arange(width)).flatten()


def _nearest(new: int, old: int) -> Tensor:
    """For each of ``new`` places the one of ``old`` at the same share of the way."""
    return ((torch.arange(new) + 0.5) * old / new).long()
