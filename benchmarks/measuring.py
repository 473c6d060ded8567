"""Measuring as all benchmarks do it: settings, times in turns, peaks of memory, result files.

A time alone says little on a machine that others use, too. So each benchmark takes the times of
what it compares in turns, round by round, with a plain matrix product in every round, and gives
ratios of medians.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from training.losses import caim_loss
from utils.device import (
    Precision,
    autocast,
    choose_device,
    describe_processor,
    keep_freed_memory,
    peak_memory_gib,
)
from utils.fields import Positive
from utils.files import read_csv_rows, read_json, write_json
from utils.progress import say
from utils.run_folder import environment
from utils.settings import REPOSITORY

__all__ = [
    "FORWARDS_PER_STEP",
    "PRODUCT_FLOP",
    "RESULTS",
    "Attention",
    "Measurement",
    "Work",
    "caim_work",
    "earlier_rows",
    "in_turns",
    "matrix_product",
    "peak_gb",
    "report",
    "run_program_measured",
    "spread",
    "timed_device",
    "work_on",
]

RESULTS = Path(__file__).resolve().parent / "results"
PRODUCT_SIDE = 2048
PRODUCT_FLOP = 2 * PRODUCT_SIDE**3
FORWARDS_PER_STEP = 3  # a backward pass computes two products where a forward pass has one
KIB_TO_GB = 1024 / 1e9
GIB_TO_GB = (1 << 30) / 1e9

MAX_GRAD_NORM = 4.0

Work = Literal["forward", "training step"]
Attention = Literal["batch", "spatial"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Settings of every benchmark; each is also a flag."""

    rounds: Positive = 5  # how often each case is timed, after one round that does not count
    device: Literal["auto", "cpu", "cuda"] = "auto"
    output_dir: Path = RESULTS  # where the result file lies


def timed_device(name: str) -> torch.device:
    """The device that is asked for, its freed memory kept as the programs do.

    Args:
        name: auto, cpu or cuda; auto is cuda where there is one, and no other device, whose work
            would not be waited for.
    """
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    device = choose_device(automatic if name == "auto" else name)
    keep_freed_memory(device)
    return device


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


def earlier_rows(path: Path) -> list[dict[str, str]]:
    """The rows that a CSV file of results has so far, none if it is not there."""
    return read_csv_rows(path) if path.is_file() else []


def work_on(
    what: Work,
    network: nn.Module,
    images: Tensor,
    loss: Callable[[Any], Tensor],
    precision: Precision = "float32",
    clip_norm: float | None = None,
    run: Callable[[Tensor], Any] | None = None,
) -> Callable[[], None]:
    """A forward pass in evaluation, or a step as the training programs do it.

    Args:
        what: "training step" is forward, loss, backward, clipping and Adam.
        network: Any network of ``models``.
        images: Of the batch.
        loss: Of what the network gives, in training.
        precision: Of the network's heavy part.
        clip_norm: Of the gradients; None: they are not clipped.
        run: What to call for the forward pass, the compiled network for instance.
    """
    call = run or network

    def forward() -> None:
        network.eval()
        with torch.inference_mode(), autocast(images.device, precision):
            call(images)

    if what == "forward":
        return forward
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        with autocast(images.device, precision):
            output = call(images)
        loss(output).backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()

    return step


def caim_work(
    what: Work,
    network: nn.Module,
    images: Tensor,
    moment_label: Tensor,
    precision: Precision = "float32",
    run: Callable[[Tensor], Any] | None = None,
) -> Callable[[], None]:
    """``work_on`` with the loss and the clipping of CAIM-Net; moment_label: (B, H, W) int64."""
    area_label = (moment_label > 0).long()

    def loss(output: Any) -> Tensor:
        return caim_loss(output, area_label, moment_label).total

    return work_on(what, network, images, loss, precision, MAX_GRAD_NORM, run)


def peak_gb(
    times: int, device: str, make: Callable[..., Callable[[], None]], *arguments: Any
) -> float:
    """Peak memory of a piece of work in a process of its own, in GB (10⁹ bytes).

    A process's peak never falls, so each case needs a new one. Interpreter and PyTorch count, too,
    but for "cuda", where it is what the GPU's allocator handed out.

    Args:
        times: How often the work is done; a training step's optimiser has a state from the second
            on, and then the heap settles.
        device: cpu or cuda.
        make: Gives the work; a function of a module.
        *arguments: What it is called with.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak_here, times, device, make, arguments).result()


def _peak_here(times: int, device: str, make: Any, arguments: Sequence[Any]) -> float:
    measured = timed_device(device)
    work = make(*arguments)
    for _ in range(times):
        work()
    return round(peak_memory_gib(measured) * GIB_TO_GB, 4)


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


def report(
    name: str,
    conditions: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    key: Sequence[str] = (),
    device: torch.device | None = None,
    folder: Path = RESULTS,
) -> None:
    """Print rows as a table; write them and their run's conditions into <folder>/<name>.json.

    The file holds ``{"runs": [conditions, ...], "rows": [{..., "run": 0}, ...]}``. Rows of earlier
    runs that are not measured again stay, with the conditions of their own run.

    Args:
        name: Of the file.
        conditions: What was asked for; machine, versions, commit and command are added.
        rows: What was measured.
        key: Columns by which rows are the same measurement: earlier rows that agree in them with
            a new one are replaced. Without any the file is written anew.
        device: What the networks ran on.
        folder: Where the file lies.
    """
    say(_table(rows))
    path = folder / f"{name}.json"
    run = {**conditions, "processor": describe_processor(), **environment(device)}
    parts: dict[tuple[Any, ...], list[tuple[Any, Mapping[str, Any]]]] = {}
    if path.is_file():
        earlier = read_json(path)
        for row in earlier["rows"]:
            parts.setdefault(_identity(row, key), []).append((earlier["runs"][row["run"]], row))
    parts |= {
        identity: [(run, row) for row in rows if _identity(row, key) == identity]
        for identity in {_identity(row, key): None for row in rows}
    }
    runs: list[Any] = []
    numbered = []
    for conditions_of_row, row in (pair for part in parts.values() for pair in part):
        if conditions_of_row not in runs:
            runs.append(conditions_of_row)
        numbered.append({**row, "run": runs.index(conditions_of_row)})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"runs": runs, "rows": numbered})
    say(f"written: {path}")


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Columns that differ between rows, aligned under their names."""
    texts = [{name: _text(value) for name, value in row.items()} for row in rows]
    names = list(dict.fromkeys(name for row in texts for name in row))
    if len(rows) > 1:
        names = [name for name in names if len({row.get(name) for row in texts}) > 1]
    lines = [names, *([row.get(name, "–") for name in names] for row in texts)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _text(value: Any) -> str:
    """A value of a row: measurements as median and range, lists and groups of values left out."""
    if isinstance(value, Mapping):
        middle, *ends = (value.get(name) for name in ("median", "min", "max"))
        return "…" if middle is None else f"{middle:.4g} ({ends[0]:.4g} … {ends[1]:.4g})"
    if isinstance(value, list):
        return "…"
    return f"{value:.4g}" if isinstance(value, float) else "–" if value is None else str(value)


def _identity(row: Mapping[str, Any], key: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row[column] for column in key)


def _wait() -> None:
    """Wait for the GPU, if there is one, so that a time holds all of an action's work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
