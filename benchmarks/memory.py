"""Peak resident memory of CAIM-Net: forward passes and training steps on the CPU.

    python benchmarks/memory.py

Each case runs in a process of its own, since a process's peak never falls; figures include the
interpreter and PyTorch. Prints a table and writes benchmarks/results/memory.json with the
conditions. The attention matrix of a 64×64 patch would take 4096² × 4 heads × 4 bytes = 256 MiB
per patch (2 GiB for a batch of 8), so a peak below that sum shows that it is never stored.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataclasses import dataclass

from benchmarks.measuring import RESULTS, spread, table, training_step, write_results
from models import build_network
from utils.device import keep_freed_memory, peak_memory_gib
from utils.errors import run_program
from utils.fields import Positive
from utils.progress import progress, say
from utils.settings import read_settings

__all__ = ["main", "measure"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    batch_size: Positive = 8  # patches at once
    patch_size: Positive = 64  # side in pixels
    width: Positive = 64  # channels of each date's features
    num_dates: tuple[Positive, ...] = (6, 9)  # dates of a series
    rounds: Positive = 3  # of measuring, in turns
    output_dir: Path = RESULTS  # folder of the result file
    case: str | None = None  # one case as JSON: measured here, printed as a number


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

GIB_TO_GB = (1 << 30) / 1e9


def measure(case: dict[str, Any]) -> float:
    """Run one case here and return this process's peak resident memory in GB (10⁹ bytes)."""
    torch.manual_seed(0)
    keep_freed_memory(torch.device("cpu"))  # as the programs do
    T, B, P = case["num_dates"], case["batch_size"], case["patch_size"]
    network = build_network(
        "caim_net", {"num_dates": T, "attention": case["attention"], "width": case["width"]}
    )
    network.recompute = case["recompute"]  # type: ignore[assignment]
    images = torch.rand(B, T, 4, P, P)
    if case["what"] == "forward":
        network.eval()
        with torch.inference_mode():
            for _ in range(2):
                network(images)
    else:
        step = training_step(network, images, torch.randint(0, T, (B, P, P)))
        for _ in range(4):  # the optimiser has a state from the second on; the heap settles
            step()
    return peak_memory_gib(torch.device("cpu")) * GIB_TO_GB


def main() -> None:
    """Measure all cases in processes of their own."""
    flags = read_settings(Settings)
    if flags.case:
        print(measure(json.loads(flags.case)))
        return
    kinds = [("forward", False), ("training step", False), ("training step", True)]
    cases = [
        {"what": what, "recompute": recompute, "attention": attention, "num_dates": num_dates,
         "batch_size": flags.batch_size, "patch_size": flags.patch_size, "width": flags.width}
        for what, recompute in kinds
        for attention in ("spatial", "batch")
        for num_dates in flags.num_dates
    ]  # fmt: skip
    rows = []
    for case in progress(cases, "measuring", unit="case"):
        rows.append({**case, "peak_gb": spread([_in_a_process(case) for _ in range(flags.rounds)])})
    head = ["what", "recompute", "attention", "dates", "peak memory, GB (median)"]
    lines = [
        [row["what"], "yes" if row["recompute"] else "no", row["attention"],
         str(row["num_dates"]), f"{row['peak_gb']['median']:.2f}"]
        for row in rows
    ]  # fmt: skip
    say(table(head, lines))
    conditions = {"dtype": "float32", "cam": "shared"}
    write_results("memory", conditions, rows, folder=flags.output_dir)


def _in_a_process(case: dict[str, Any]) -> float:
    command = [sys.executable, __file__, "--case", json.dumps(case)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return float(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    run_program(main)
