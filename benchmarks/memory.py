"""Peak resident memory of CAIM-Net: forward passes and training steps on the CPU.

    python benchmarks/memory.py

Each case runs in a process of its own; figures include the interpreter and PyTorch. Prints a table
and writes benchmarks/results/memory.json. The attention matrix of a 64×64 patch would take 4096² ×
4 heads × 4 bytes = 256 MiB per patch (2 GiB for a batch of 8), so a peak below that sum shows that
it is never stored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import (
    Attention,
    Measurement,
    Work,
    caim_work,
    peak_gb,
    report,
    spread,
)
from models import build_network
from utils.device import Precision
from utils.errors import run_program
from utils.fields import PatchSide, Positive, Width
from utils.progress import progress
from utils.settings import read_settings

__all__ = ["Settings", "main"]


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    rounds: Positive = 3
    batch_size: Positive = 8
    patch_size: PatchSide = 64
    width: Width = 64
    num_dates: tuple[Positive, ...] = (6, 9)
    dtypes: tuple[Precision, ...] = ("float32", "bfloat16")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, each as often as there are rounds."""
    settings = read_settings(Settings, arguments)
    kinds: list[tuple[Work, bool]] = [
        ("forward", False), ("training step", False), ("training step", True),
    ]  # fmt: skip
    attentions: tuple[Attention, ...] = ("spatial", "batch")
    cases = list(product(settings.dtypes, kinds, attentions, settings.num_dates))
    B, P, width = settings.batch_size, settings.patch_size, settings.width
    rows = []
    for dtype, (what, recompute), attention, T in progress(cases, "measuring", unit="case"):
        times = 2 if what == "forward" else 4
        case = (what, recompute, attention, T, B, P, width, dtype)
        peaks = [peak_gb(times, "cpu", work_of_case, *case) for _ in range(settings.rounds)]
        rows.append({
            "what": what, "recompute": recompute, "attention": attention, "num_dates": T,
            "dtype": dtype, "batch_size": B, "patch_size": P, "width": width,
            "peak_gb": spread(peaks),
        })  # fmt: skip
    key = ("what", "recompute", "attention", "num_dates", "dtype")
    conditions = {"cam": "shared"}
    report("memory", conditions, rows, key, folder=settings.output_dir)


def work_of_case(
    what: Work,
    recompute: bool,
    attention: Attention,
    T: int,
    B: int,
    P: int,
    width: int,
    dtype: Precision = "float32",
) -> Callable[[], None]:
    """The work whose memory is measured."""
    torch.manual_seed(0)
    network = build_network("caim_net", {"num_dates": T, "attention": attention, "width": width})
    network.recompute = recompute  # type: ignore[assignment]
    images, moment_label = torch.rand(B, T, 4, P, P), torch.randint(0, T, (B, P, P))
    return caim_work(what, network, images, moment_label, dtype)


if __name__ == "__main__":
    run_program(main)
