"""Speed and memory of CTMA: forward pass and training step on one pair of 256×256 pixels.

    python benchmarks/pairs.py
    python benchmarks/pairs.py --what forward --rounds 3

Prints a table and writes benchmarks/results/pairs.json with the conditions. Timed in turns, round
by round, with a product of two 2048×2048 matrices in the same format. Figures are medians over
the rounds and ratios of medians. A training step is forward, loss, backward and Adam, and counts
three forward passes.

Arithmetic is counted layer by layer, as 2 × multiply-adds of the convolutions that are computed;
"released" counts the output convolution of ResNet-34 in its long form, as the released program
computes it. Peak memory is that of a process of its own and includes interpreter and PyTorch.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataclasses import dataclass

from benchmarks.measuring import (
    PRODUCT_FLOP,
    RESULTS,
    in_turns,
    matrix_product,
    spread,
    table,
    write_results,
)
from models import CTMA
from training.losses import ctma_loss
from utils.device import Precision, autocast, choose_device, keep_freed_memory, peak_memory_gib
from utils.errors import run_program
from utils.fields import Positive
from utils.progress import say
from utils.settings import read_settings

__all__ = ["flop_of_pair", "main"]

Kind = Literal["forward", "training step"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    what: tuple[Kind, ...] = KINDS  # what to measure
    side: Positive = 256  # of an image in pixels
    batch_size: Positive = 1  # patches at once
    rounds: Positive = 5  # of measuring, in turns
    # of the heavy part
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    device: Literal["auto", "cpu", "cuda"] = "auto"  # where to run
    name: str = "pairs"  # of the result file
    output_dir: Path = RESULTS  # folder of the result file
    peak: Kind | None = None  # one case: run here, its peak memory in GB printed


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

FORWARDS_PER_STEP = 3
GIB_TO_GB = (1 << 30) / 1e9


def flop_of_pair(network: CTMA, side: int, released: bool = False) -> int:
    """Arithmetic of a forward pass over one pair, without computing anything.

    Args:
        network: On any device; it is not changed.
        side: Of the square pair in pixels, a multiple of 8.
        released: Count ResNet-34's output convolution as the released program computes it.

    Returns:
        2 × multiply-adds of all convolutions.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], result: Tensor) -> None:
        nonlocal total
        weight = module.weight
        assert isinstance(weight, Tensor)
        total += 2 * weight[0].numel() * result.numel()

    with torch.device("meta"):
        shape = CTMA(**_arguments(network)).eval()
        hooks = [
            module.register_forward_hook(count)
            for module in shape.modules()
            if isinstance(module, nn.Conv2d | nn.Conv3d)
        ]
        shape(torch.empty(1, 2, shape.in_channels, side, side))
    assert hooks
    conv = network.encoder_p1.backbone.conv_out.seq[1].weight
    assert isinstance(conv, Tensor)
    out_channels, in_channels = conv.shape[:2]
    pixels, taps = ((side // 4) ** 2, 9) if released else ((side // 8) ** 2, 4)
    return total + 2 * 2 * out_channels * in_channels * taps * pixels  # of both dates


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, print the table and write the results."""
    flags = read_settings(Settings, arguments)
    device = choose_device("cuda" if torch.cuda.is_available() and flags.device != "cpu" else "cpu")
    if flags.peak:
        print(_peak(flags.peak, flags, device))
        return
    keep_freed_memory(device)  # as the programs do
    rows = [row for what in flags.what for row in _rows(what, flags, device)]
    lines = [
        [
            row["what"], row["dtype"], f"{row['seconds']['median']:.3f}",
            f"{row['gflop']:.1f}", f"{row['gflops']:.0f}", f"{row['share_of_matrix_product']:.0%}",
            f"{row['times_float32']:.2f}", f"{row['peak_gb']:.2f}",
        ]
        for row in rows
    ]  # fmt: skip
    head = ["what", "dtype", "seconds", "GFLOP", "GFLOP/s", "share of matrix product",
            "times float32", "peak GB"]  # fmt: skip
    say(table(head, lines))
    conditions = {
        "side": flags.side, "batch_size": flags.batch_size, "warm_up_rounds": 1,
        "flop_counted": "2 × multiply-adds of convolutions, training step × 3",
    }  # fmt: skip
    write_results(flags.name, conditions, rows, device, flags.output_dir)


def _rows(what: str, flags: Settings, device: torch.device) -> list[dict[str, Any]]:
    """A row per number format of one kind of work, all timed in turns."""
    torch.manual_seed(0)
    network = CTMA().to(device)
    images = torch.rand(flags.batch_size, 2, 3, flags.side, flags.side, device=device)
    actions: dict[Any, Callable[[], Any]] = {}
    for dtype in flags.dtypes:
        actions["ours", dtype] = _work(what, network, images, dtype)
        actions["product", dtype] = matrix_product(device, getattr(torch, dtype))
    seconds = in_turns(actions, flags.rounds)
    forwards = 1 if what == "forward" else FORWARDS_PER_STEP
    done, nominal = (
        forwards * flags.batch_size * flop_of_pair(network, flags.side, released)
        for released in (False, True)
    )
    rows = []
    for dtype in flags.dtypes:
        own, product = (statistics.median(seconds[name, dtype]) for name in ("ours", "product"))
        first = statistics.median(seconds["ours", flags.dtypes[0]])
        rows.append({
            "what": what, "dtype": dtype, "side": flags.side, "batch_size": flags.batch_size,
            "gflop": round(done / 1e9, 3), "released_gflop": round(nominal / 1e9, 3),
            "seconds": spread(seconds["ours", dtype]),
            "matrix_product_gflops": round(PRODUCT_FLOP / product / 1e9, 2),
            "gflops": round(done / own / 1e9, 2),
            "share_of_matrix_product": round(done / own / (PRODUCT_FLOP / product), 4),
            "times_float32": round(first / own, 3),
            "peak_gb": round(_peak_in_a_process(what, flags, dtype), 3),
        })  # fmt: skip
    return rows


def _work(what: str, network: CTMA, images: Tensor, dtype: Precision) -> Callable[[], None]:
    """A forward pass or a training step, ready to be timed."""

    def forward() -> None:
        network.eval()
        with torch.inference_mode(), autocast(images.device, dtype):
            network(images)

    if what == "forward":
        return forward
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    label = (torch.rand(len(images), *images.shape[-2:], device=images.device) > 0.9).long()

    def step() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        with autocast(images.device, dtype):
            output = network(images)
        ctma_loss(output, label).total.backward()
        optimizer.step()

    return step


def _peak(what: str, flags: Settings, device: torch.device) -> float:
    """This process's peak memory in GB (10⁹ bytes) after a few rounds of one case."""
    keep_freed_memory(device)
    images = torch.rand(flags.batch_size, 2, 3, flags.side, flags.side, device=device)
    work = _work(what, CTMA().to(device), images, flags.dtypes[0])
    for _ in range(2 if what == "forward" else 4):
        work()
    return peak_memory_gib(device) * GIB_TO_GB


def _peak_in_a_process(what: str, flags: Settings, dtype: str) -> float:
    command = [
        sys.executable, __file__, "--peak", what, "--dtypes", dtype, "--side", str(flags.side),
        "--batch-size", str(flags.batch_size), "--device", flags.device,
    ]  # fmt: skip
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return float(result.stdout.splitlines()[-1])


def _arguments(network: CTMA) -> dict[str, Any]:
    """Constructor arguments that give a network of the same shapes."""
    from models.weights.released_ctma import from_released_ctma

    return {**from_released_ctma(network.state_dict()).arguments, "video_len": network.video_len}


if __name__ == "__main__":
    run_program(main)
