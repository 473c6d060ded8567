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
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import (
    FORWARDS_PER_STEP,
    PRODUCT_FLOP,
    Measurement,
    Work,
    in_turns,
    matrix_product,
    peak_gb,
    report,
    spread,
    timed_device,
    work_on,
)
from models import CTMA
from models.weights.released_ctma import from_released_ctma
from training.losses import ctma_loss
from utils.device import Precision
from utils.errors import run_program
from utils.fields import PairSide, Positive
from utils.settings import read_settings

__all__ = ["Settings", "flop_of_pair", "main"]


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    what: tuple[Work, ...] = ("forward", "training step")
    dtypes: tuple[Precision, ...] = ("float32", "bfloat16")
    side: PairSide = 256  # of a pair, pixels
    batch_size: Positive = 1


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
    settings = read_settings(Settings, arguments)
    device = timed_device(settings.device)
    rows = [row for what in settings.what for row in _rows(what, settings, device)]
    conditions = {
        "warm_up_rounds": 1,
        "flop_counted": "2 × multiply-adds of convolutions, training step × 3",
    }
    report("pairs", conditions, rows, ("what", "dtype"), device, settings.output_dir)


def _rows(what: Work, settings: Settings, device: torch.device) -> list[dict[str, Any]]:
    """A row per number format of one kind of work, all timed in turns."""
    torch.manual_seed(0)
    side, B = settings.side, settings.batch_size
    network = CTMA().to(device)
    images = torch.rand(B, 2, 3, side, side, device=device)
    actions: dict[Any, Callable[[], Any]] = {}
    for dtype in settings.dtypes:
        actions["ours", dtype] = _work(what, network, images, dtype)
        actions["product", dtype] = matrix_product(device, getattr(torch, dtype))
    seconds = in_turns(actions, settings.rounds)
    forwards = 1 if what == "forward" else FORWARDS_PER_STEP
    done, nominal = (forwards * B * flop_of_pair(network, side, long) for long in (False, True))
    rows = []
    for dtype in settings.dtypes:
        own, product = (statistics.median(seconds[name, dtype]) for name in ("ours", "product"))
        first = statistics.median(seconds["ours", settings.dtypes[0]])
        case = (what, device.type, side, B, dtype)
        rows.append({
            "what": what, "dtype": dtype, "side": side, "batch_size": B,
            "gflop": round(done / 1e9, 3), "released_gflop": round(nominal / 1e9, 3),
            "seconds": spread(seconds["ours", dtype]),
            "matrix_product_gflops": round(PRODUCT_FLOP / product / 1e9, 2),
            "gflops": round(done / own / 1e9, 2),
            "share_of_matrix_product": round(done / own / (PRODUCT_FLOP / product), 4),
            "times_float32": round(first / own, 3),
            "peak_gb": peak_gb(2 if what == "forward" else 4, device.type, work_of_case, *case),
        })  # fmt: skip
    return rows


def work_of_case(
    what: Work, device: str, side: int, batch_size: int, dtype: Precision
) -> Callable[[], None]:
    """The work whose memory is measured."""
    images = torch.rand(batch_size, 2, 3, side, side, device=device)
    return _work(what, CTMA().to(device), images, dtype)


def _work(what: Work, network: CTMA, images: Tensor, dtype: Precision) -> Callable[[], None]:
    label = (torch.rand(len(images), *images.shape[-2:], device=images.device) > 0.9).long()
    return work_on(what, network, images, lambda output: ctma_loss(output, label).total, dtype)


def _arguments(network: CTMA) -> dict[str, Any]:
    """Constructor arguments that give a network of the same shapes."""
    return {**from_released_ctma(network.state_dict()).arguments, "video_len": network.video_len}


if __name__ == "__main__":
    run_program(main)
