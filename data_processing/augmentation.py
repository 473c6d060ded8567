"""Random flips and quarter turns of a patch: the same for all dates and labels.

Not in the paper, which names no augmentation; see docs/differences.md.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import get_worker_info

__all__ = ["FlipRotate"]

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
