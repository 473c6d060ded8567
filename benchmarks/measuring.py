"""What all benchmarks share: taking times, the machine's own rate, tables and result files.

A time alone says little on a machine that others use, too. So each benchmark takes the times of
what it compares in turns, round by round, with a plain matrix product in every round, and gives
ratios of medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.losses import caim_loss
from utils.device import Precision, autocast, describe_processor
from utils.files import write_json
from utils.progress import say
from utils.run_folder import environment
from utils.settings import REPOSITORY

__all__ = [
    "PRODUCT_FLOP",
    "RESULTS",
    "in_turns",
    "matrix_product",
    "run_program_measured",
    "spread",
    "table",
    "training_step",
    "write_results",
]

RESULTS = Path(__file__).resolve().parent / "results"
PRODUCT_SIDE = 2048
MAX_GRAD_NORM = 4.0
KIB_TO_GB = 1024 / 1e9
PRODUCT_FLOP = 2 * PRODUCT_SIDE**3


def matrix_product(
    device: torch.device | None = None, dtype: torch.dtype = torch.float32
) -> Callable[[], None]:
    """A product of two 2048×2048 matrices, the yardstick of a machine (``PRODUCT_FLOP``)."""
    left = torch.rand(PRODUCT_SIDE, PRODUCT_SIDE, device=device).to(dtype)
    right = torch.rand(PRODUCT_SIDE, PRODUCT_SIDE, device=device).to(dtype)
    result = torch.empty_like(left)

    def multiply() -> None:
        torch.mm(left, right, out=result)

    return multiply


def in_turns(
    actions: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each action, taken in turns so that a slow minute hits all of them.

    Args:
        actions: What to time, by name.
        rounds: How often each is timed.
        warm_up: Rounds before, which are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(warm_up + rounds):
        for name, action in actions.items():
            _wait()
            begun = time.perf_counter()
            action()
            _wait()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def training_step(
    network: nn.Module,
    images: Tensor,
    moment_label: Tensor,
    precision: Precision = "float32",
    run: Callable[[Tensor], Any] | None = None,
) -> Callable[[], None]:
    """A step as the training programs do it: forward, loss, backward, clipping, Adam.

    Args:
        network: Any network of ``models`` with CAIM-Net's loss; put into training mode.
        images: Of the batch.
        moment_label: (B, H, W) int64.
        precision: Of the network's heavy part.
        run: What to call for the forward pass, the compiled network for instance.
    """
    forward = run or network
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    area_label = (moment_label > 0).long()

    def step() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        with autocast(images.device, precision):
            output = forward(images)
        caim_loss(output, area_label, moment_label).total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
        optimizer.step()

    return step


def spread(values: Sequence[float], digits: int = 5) -> dict[str, Any]:
    """Median and range of repeated measurements, for a result file."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
        "repeats": len(values),
    }


def run_program_measured(*command: Any) -> tuple[float, float]:
    """Run a program of the repository in a process of its own.

    Args:
        *command: Its file and its flags.

    Returns:
        Seconds, and the peak memory of the process in GB.

    Raises:
        RuntimeError: It ended with another code than 0; the message has its output.
    """
    words: Sequence[str] = [sys.executable, *map(str, command)]
    begun = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        words, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}:\n{output}")
    return seconds, usage.ru_maxrss * KIB_TO_GB


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text under a head, columns aligned."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [head, *rows]
    )


def write_results(
    name: str,
    conditions: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    device: torch.device | None = None,
    folder: Path = RESULTS,
) -> None:
    """Write benchmarks/results/<name>.json: machine, versions, conditions and rows."""
    about = {"processor": describe_processor(), **environment(device)}
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"conditions": {**conditions, **about}, "rows": list(rows)})
    say(f"written: {path}")


def _wait() -> None:
    """Wait for the GPU, if there is one, so that a time holds all of an action's work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
