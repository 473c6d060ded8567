"""Getting a network ready to run: device, number format, threads, memory against time, compilation.

None of this changes what is computed, but for rounding: in bfloat16, and in the order of sums that
several threads share.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from utils.device import Precision, bfloat16_unit, keep_freed_memory
from utils.errors import UserError
from utils.progress import say

__all__ = ["fewest_threads", "ready_to_run", "seconds_by_threads", "take_threads"]

WORTH_MEASURING = 1 << 21  # pixels of patches or tiles to compute; fewer are done in seconds
MEASURED_S = 0.8  # that a measurement of threads may take; the round that is going on is finished
ROUNDS = 20
NEARLY = 1.1  # times the least time; more threads have to save more than this
ROWS, CHANNELS, LAYERS = 2048, 128, 4  # of what is measured: some milliseconds, as in a network


def ready_to_run(
    network: nn.Module,
    device: torch.device,
    precision: Precision = "float32",
    *,
    compiled: bool = False,
    recompute: bool = False,
) -> nn.Module:
    """Bring a network to its device and set how it runs there.

    Args:
        network: Any network of ``models``.
        device: Where it will run.
        precision: What it will run in; a CPU that only emulates bfloat16 is warned of.
        compiled: Whether ``torch.compile`` is used. What it makes is built at the first batch,
            which takes minutes; if that fails, the reason is said and the network runs without.
        recompute: Whether most activations are computed again in the backward pass instead of
            being kept ("activation checkpointing").

    Returns:
        The network itself.

    Raises:
        UserError: ``recompute`` is asked of a network that cannot do it.
    """
    keep_freed_memory(device)
    if precision == "bfloat16" and device.type == "cpu" and bfloat16_unit() is None:
        say(
            "warning: this processor has no bfloat16 instructions and emulates them, which takes "
            "many times as long as --precision float32."
        )
    if recompute:
        if not hasattr(network, "recompute"):
            raise UserError(
                f"--recompute: {type(network).__name__} keeps all activations, expected a network "
                "that can compute them again; leave the flag out."
            )
        network.recompute = True  # type: ignore[assignment]
    network.to(device)
    if compiled:
        network.forward = _compiled_or_plain(network.forward)
    return network


def _compiled_or_plain(plain: Callable[..., Any]) -> Callable[..., Any]:
    """A forward pass that is compiled, unless the first try fails: then it stays as it was."""
    chosen: list[Callable[..., Any]] = []

    def forward(*arguments: Any, **options: Any) -> Any:
        if chosen:
            return chosen[0](*arguments, **options)
        say("--compile: compiling at the first batch, which takes a while")
        try:
            compiled = torch.compile(plain)
            result = compiled(*arguments, **options)
        except Exception as error:  # compilers fail in many ways; a fault of ours shows again below
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            say(f"warning: --compile failed, going on without ({reason})")
            chosen.append(plain)
            return plain(*arguments, **options)
        chosen.append(compiled)
        return result

    return forward


def take_threads(asked: int | None, device: torch.device, work: int, measured: bool = True) -> int:
    """Set how many threads a CPU computes with; what is decided by itself is said.

    Unless a number is asked for or the environment gives one, it is measured, for work that is
    worth it, whether more than one thread helps: where other programs keep the cores busy, two
    may take ten times as long as one.

    Args:
        asked: By the user; None to decide by itself.
        device: Where the network runs; for a GPU nothing is decided.
        work: Pixels of patches or tiles that will be computed.
        measured: Whether this process may measure; not where others of its job do the same.

    Returns:
        The number of threads, also where it stays as it is.
    """
    most = torch.get_num_threads()
    if asked is not None:
        torch.set_num_threads(asked)
    elif device.type == "cpu" and work >= WORTH_MEASURING and measured and most > 1:
        given = [name for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if os.environ.get(name)]
        if given:
            say(f"threads: {most}, as {given[0]} says (--threads sets another number)")
        else:
            _measure_threads(most)
    return torch.get_num_threads()


def _measure_threads(most: int) -> None:
    """Take as many of so many threads as help, and say so."""
    seconds = seconds_by_threads(_counts_up_to(most))
    taken = fewest_threads(seconds)
    times = ", ".join(f"{1000 * seconds[n]:.1f} ms with {n}" for n in sorted(seconds))
    say(f"threads: {taken} of {most}, as measured ({times}; --threads sets another number)")
    torch.set_num_threads(taken)


def fewest_threads(seconds: Mapping[int, float]) -> int:
    """The smallest number of threads that is nearly as fast as the fastest.

    Args:
        seconds: By number of threads.
    """
    least = min(seconds.values())
    return min(count for count, taken in seconds.items() if taken <= NEARLY * least)


def seconds_by_threads(counts: Sequence[int]) -> dict[int, float]:
    """Median times of a small network by number of threads, taken in turns for a second at most."""
    state = torch.get_num_threads()
    rows = torch.ones(ROWS, CHANNELS)
    weight = torch.full((CHANNELS, CHANNELS), 1 / CHANNELS)
    times: dict[int, list[float]] = {count: [] for count in counts}
    began = time.perf_counter()
    try:
        for _ in range(1 + ROUNDS):
            for count in counts:
                torch.set_num_threads(count)
                start = time.perf_counter()
                values = rows
                for _ in range(LAYERS):
                    values = torch.relu_(values @ weight)
                times[count].append(time.perf_counter() - start)
            if time.perf_counter() - began > MEASURED_S:
                break
    finally:
        torch.set_num_threads(state)
    # the first round starts the threads: it counts only where there was time for no other
    return {count: statistics.median(values[1:] or values) for count, values in times.items()}


def _counts_up_to(most: int) -> list[int]:
    """One thread, all, and halves between."""
    counts = [most]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return counts[::-1]
