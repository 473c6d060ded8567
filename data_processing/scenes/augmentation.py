"""Random flips, turns and shifts of a patch: the same for all dates and labels.

``FlipRotate`` is an addition for CAIM-Net, whose paper names no augmentation; ``OneOfSeven`` is
that of the released CTMA program; see docs/differences.md.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import get_worker_info

__all__ = ["FlipRotate", "OneOfSeven"]

_MAPS = ("images", "area_label", "moment_label", "valid", "observed")


class FlipRotate:
    """One of the eight symmetries of a square, drawn per patch, each equally likely.

    A patch that is no square is only flipped and turned by half.

    Args:
        seed: Start of a stream of its own. None draws from torch's global generator, which the
            loader seeds anew in each worker and epoch and which a checkpoint can hold.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self._generator: torch.Generator | None = None
        self._stream: int | None = None

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Turn and flip the maps of a sample.

        Args:
            sample: images (T, C, H, W), and area_label, moment_label, valid (H, W), as far as
                they are there; other entries stay.

        Returns:
            A new dict with contiguous maps.
        """
        flip, turns = self._draw()
        height, width = sample["images"].shape[-2:]
        if height != width:
            turns = 2 * (turns // 2)
        turned = dict(sample)
        for name in _MAPS:
            if name in sample:
                values = sample[name].flip(-1) if flip else sample[name]
                turned[name] = torch.rot90(values, turns, dims=(-2, -1)).contiguous()
        return turned

    def _draw(self) -> tuple[bool, int]:
        """Whether to flip, and how many quarter turns follow."""
        number = int(torch.randint(8, (1,), generator=self._own_stream()))
        return number >= 4, number % 4

    def _own_stream(self) -> torch.Generator | None:
        """The stream of this process; workers differ from each other and from epoch to epoch."""
        if self.seed is None:
            return None
        worker = get_worker_info()
        stream = self.seed + (worker.seed if worker else 0)
        if self._generator is None or self._stream != stream:
            self._generator = torch.Generator().manual_seed(stream % 2**63)
            self._stream = stream
        return self._generator

    def __getstate__(self) -> dict[str, Any]:
        """State without the generator, which each process makes for itself."""
        return {"seed": self.seed, "_generator": None, "_stream": None}


class OneOfSeven:
    """One of seven changes of a sample, each equally likely: the released CTMA program's.

    Flip left-right; flip up-down; turn by 90, 180 or 270 degrees clockwise; shift by up to a
    sixteenth of each side, zeros moving in; nothing. A sample that is no square is never turned
    by a quarter: it is left as it is where that is drawn.

    Random numbers come from torch's global generator, which the loader seeds in each worker and
    epoch.

    Source: the released program of Wang et al., arXiv 2408.08078.
    """

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Change the maps of a sample, images and labels alike.

        Args:
            sample: images (T, C, H, W), and area_label, observed, … (H, W); other entries stay.

        Returns:
            A new dict with contiguous maps.
        """
        kind = int(torch.randint(7, (1,)))
        height, width = sample["images"].shape[-2:]
        if kind in (2, 4) and height != width:
            kind = 6
        shift = tuple(_shift_of(side) for side in (height, width)) if kind == 5 else (0, 0)
        changed = dict(sample)
        for name in _MAPS:
            if name in sample:
                changed[name] = _one_of_seven(sample[name], kind, shift).contiguous()
        return changed


def _shift_of(side: int) -> int:
    """Whole pixels, less than a sixteenth of a side in either direction."""
    return int((2 * float(torch.rand(1)) - 1) / 16 * side)


def _one_of_seven(values: torch.Tensor, kind: int, shift: tuple[int, ...]) -> torch.Tensor:
    if kind < 2:
        return values.flip(-1 if kind == 0 else -2)
    if kind < 5:
        return torch.rot90(values, 1 - kind, dims=(-2, -1))  # negative turns are clockwise
    if kind == 5:
        return _shifted(values, *shift)
    return values


def _shifted(values: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Moved down and right (negative: up and left); what is vacated is 0."""
    H, W = values.shape[-2:]
    moved = torch.zeros_like(values)
    moved[..., max(down, 0) : H + min(down, 0), max(right, 0) : W + min(right, 0)] = values[
        ..., max(-down, 0) : H + min(-down, 0), max(-right, 0) : W + min(-right, 0)
    ]
    return moved
