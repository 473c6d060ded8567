"""Number of patches that fit into memory at a time: found by doubling, measured by real steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import torch

from utils.device import GIB, peak_memory_gib
from utils.errors import UserError

__all__ = ["PeakMeter", "even_parts", "memory_limit", "most_at_once", "parse_size"]

SIZE = r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([kmgt]?)(?:i?b)?\s*"
UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
USABLE = 0.92  # of a GPU's free memory; the rest is for fragments and other programs


def parse_size(text: str, flag: str = "--max-memory") -> int:
    """Bytes of a size such as ``8G``, ``8 GiB`` or ``500M``; units are powers of 1024.

    Raises:
        UserError: The text is no size above 0.
    """
    size_and_unit = re.fullmatch(SIZE, text.lower())
    size = float(size_and_unit[1]) * UNITS[size_and_unit[2]] if size_and_unit else 0
    if size < 1:
        raise UserError(f"{flag}: found {text!r}, expected a size such as 8G or 500M.")
    return int(size)


def memory_limit(setting: str | None, device: torch.device) -> int | None:
    """Bytes that training may take: the setting's, else what a GPU has free; None for no limit."""
    if setting is not None:
        return parse_size(setting)
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(USABLE * (free + torch.cuda.memory_reserved(device)))


def most_at_once(measure: Callable[[int], int], wanted: int, limit: int) -> int:
    """The most patches at a time that stay within a limit, found by doubling from 1.

    Args:
        measure: Does a step with so many patches and gives its peak in bytes.
        wanted: Patches of a whole batch; no more are tried.
        limit: Bytes.

    Returns:
        ``wanted``, or the last power of two that fits. A size is not tried when the two before
        it foretell that it would not fit.

    Raises:
        UserError: Not even one patch fits.
    """
    peaks: list[int] = []
    fits, size = 0, 1
    while fits < wanted:
        size = min(size, wanted)
        if len(peaks) > 1 and peaks[-1] + (size - fits) * _slope(peaks, fits) > limit:
            break
        try:
            peaks.append(measure(size))
        except torch.OutOfMemoryError:
            break
        if peaks[-1] > limit:
            break
        fits, size = size, 2 * size
    if not fits:
        needed = f"{peaks[-1] / GIB:.2f} GiB" if peaks else "more than there is"
        raise UserError(
            f"--max-memory: one patch takes {needed}, expected at most {limit / GIB:.2f} GiB. "
            "Give more, or --recompute, a smaller --patch-size or --width."
        )
    return fits


def even_parts(patches: int, most: int | None) -> list[slice]:
    """Micro-batches of a batch: as few as fit, as even as can be."""
    if most is None or patches <= most:
        return [slice(0, patches)]
    count = -(-patches // most)
    cuts = [round(part * patches / count) for part in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(cuts)]


class PeakMeter:
    """Measures the most memory used since ``reset``, in bytes.

    On a GPU that is what its allocator has reserved; otherwise the resident memory of this
    process, all of it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def reset(self) -> None:
        """Begin to measure; on systems that cannot forget a peak it stays from before."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with suppress(OSError):  # Linux: forget the resident peak
            Path("/proc/self/clear_refs").write_text("5")

    def peak(self) -> int:
        """Bytes."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return int(torch.cuda.max_memory_reserved(self.device))
        return int(peak_memory_gib(self.device) * GIB)


def _slope(peaks: list[int], fits: int) -> float:
    """Bytes per patch between the last two sizes, ``fits`` / 2 and ``fits``."""
    return (peaks[-1] - peaks[-2]) / max(1, fits - fits // 2)
