"""Time of attention over the pixels of a patch: PyTorch's kernel against blocks of queries.

    python benchmarks/attention.py

For one series and four heads, by number of tokens and channels per head: the kernel in float32
and bfloat16 and the blocks of models/block_attention.py in bfloat16, in turns, forward alone and
forward with backward. Beside the times, how far each is from float64. From this table comes the
rule of ``blocks_are_faster``. Prints a table and writes benchmarks/results/attention.json.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import Measurement, in_turns, report, spread
from models.block_attention import block_attention
from utils.device import keep_freed_memory
from utils.errors import run_program
from utils.fields import Positive
from utils.progress import progress
from utils.settings import read_settings

__all__ = ["Settings", "main"]

HEADS = 4
CASES = ((256, 40), (512, 40), (1024, 40), (1024, 80), (4096, 40), (4096, 80), (4096, 128))
KERNEL32, KERNEL16, BLOCKS = "kernel, float32", "kernel, bfloat16", "blocks, bfloat16"
WAYS: dict[str, tuple[Callable[..., Tensor], torch.dtype]] = {
    KERNEL32: (F.scaled_dot_product_attention, torch.float32),
    KERNEL16: (F.scaled_dot_product_attention, torch.bfloat16),
    BLOCKS: (block_attention, torch.bfloat16),
}


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    rounds: Positive = 7
    threads: Positive | None = None  # none: as many as PyTorch takes


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the results."""
    settings = read_settings(Settings, arguments)
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    keep_freed_memory(torch.device("cpu"))  # as all programs do
    rows: list[dict[str, Any]] = []
    for tokens, channels in progress(CASES, "measuring", unit="size"):
        for backward in (False, True):
            rows += _rows(tokens, channels, backward, settings.rounds)
    conditions = {"series": 1, "heads": HEADS, "times_kernel": "ratio of medians",
                  "freed_memory": "kept (keep_freed_memory in utils/device.py)"}  # fmt: skip
    report("attention", conditions, rows, folder=settings.output_dir)


def _rows(tokens: int, channels: int, backward: bool, repeats: int) -> list[dict[str, Any]]:
    """One row a way, taken in turns."""
    torch.manual_seed(tokens + channels)
    shape = (1, HEADS, tokens, channels)
    inputs = [torch.randn(shape).bfloat16() for _ in ("query", "key", "value", "gradient")]
    actions = {
        way: _action(attention, [values.to(dtype) for values in inputs], backward)
        for way, (attention, dtype) in WAYS.items()
    }
    seconds = in_turns(actions, repeats)
    exact = _action(F.scaled_dot_product_attention, [x.double() for x in inputs], backward)()
    kernel = statistics.median(seconds[KERNEL16])
    return [
        {
            "tokens": tokens,
            "channels": channels,
            "what": "forward and backward" if backward else "forward",
            "how": way,
            "seconds": spread(seconds[way], 6),
            "times_kernel": round(kernel / statistics.median(seconds[way]), 3),
            "relative_error": float(
                f"{(actions[way]().double() - exact).norm() / exact.norm():.2e}"
            ),
        }
        for way in WAYS
    ]


def _action(
    attention: Callable[..., Tensor], inputs: Sequence[Tensor], backward: bool
) -> Callable[[], Tensor]:
    """Runs attention on (1, heads, N, d); gives its result, or the gradient of the query."""
    query, key, value, gradient = inputs

    def run() -> Tensor:
        leaves = [x.detach().requires_grad_(backward) for x in (query, key, value)]
        result = attention(*leaves)
        if not backward:
            return result
        result.backward(gradient)
        assert leaves[0].grad is not None
        return leaves[0].grad

    return run


if __name__ == "__main__":
    run_program(main)
