"""Speed of CAIM-Net: forward pass and training step, beside a plain PyTorch version of it.

    python benchmarks/throughput.py
    python benchmarks/throughput.py --num-dates 6 --attention batch --what forward --rounds 3

Prints a table and writes benchmarks/results/throughput.json with the conditions. Timed in turns,
round by round: the network of ``models/``, the plain one of tests/helpers/plain_network.py with
the same weights, and a product of two 2048×2048 matrices. Figures are medians over the rounds and
ratios of medians. A training step is forward, loss, backward, clipping of the gradients and Adam.

Arithmetic is counted from the shapes, as 2 × multiply-adds of convolutions and linear layers; a
training step counts three forward passes. The share of the matrix product divides the rate by
that of the product in the same number format. The products of spatial attention are counted
separately, for a second share; those of attention over the batch are negligible.

On a GPU float32 is measured with TF32 off and on, in products and convolutions alike (PyTorch
alone allows it in convolutions only).
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import (
    FORWARDS_PER_STEP,
    PRODUCT_FLOP,
    Attention,
    Measurement,
    Work,
    caim_work,
    in_turns,
    matrix_product,
    report,
    spread,
    timed_device,
)
from models import CAIMNet
from tests.helpers.plain_network import PlainCAIMNet
from utils.device import Precision, bfloat16_unit
from utils.errors import run_program
from utils.fields import PatchSide, Positive, Width
from utils.progress import progress, say
from utils.settings import read_settings

__all__ = ["Settings", "attention_flop_per_patch", "flop_per_patch", "main"]

IN_CHANNELS = 4
STEM_WIDTH = 16
DIGITS = 8  # of seconds per patch


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    what: tuple[Work, ...] = ("forward", "training step")
    num_dates: tuple[Positive, ...] = (6, 9)
    attention: tuple[Attention, ...] = ("batch", "spatial")
    batch_sizes: tuple[Positive, ...] | None = None  # none: 8, on a GPU 96
    patch_size: PatchSide = 64
    width: Width = 64
    dtypes: tuple[Precision, ...] | None = None  # none: what the device has
    compile: bool = False  # measure torch.compile(network), too
    name: str = "throughput"  # of the result file


@dataclass(frozen=True)
class Case:
    """One kind of work on one kind of input; its modes are measured in turns."""

    what: Work
    num_dates: int
    attention: Attention
    batch_size: int
    patch_size: int
    width: int


@dataclass(frozen=True)
class Mode:
    """Precision and compilation of a case."""

    dtype: Precision
    tf32: bool
    compile: bool


def flop_per_patch(num_dates: int, width: int, patch_size: int, in_channels: int) -> int:
    """Arithmetic of a forward pass without the products of attention.

    Args:
        num_dates: T.
        width: D.
        patch_size: Side of a square patch in pixels, a multiple of 4.
        in_channels: C.

    Returns:
        2 × multiply-adds of all convolutions and linear layers.
    """
    T, D, S, E, half = num_dates, width, num_dates - 1, (num_dates - 1) * width, width // 2
    encoder = (9 + 1) * STEM_WIDTH * (in_channels + D) + 9 * D * D  # per date
    be_conv = 9 * E
    correlation = (3 + 1 + 4 + 4) * E * E
    temporal = 4 * half * (D + half) + 3 * half * half  # per step
    stepwise = 2 * half  # per step
    segmentation = 9 * (S * half * half + half * T)
    cams = 4 * T  # a window's k² weights meet its k² pixels once per date
    per_pixel = (
        T * encoder + be_conv + correlation + S * (temporal + stepwise) + segmentation + cams
    )
    return 2 * per_pixel * patch_size**2


def attention_flop_per_patch(num_dates: int, width: int, patch_size: int) -> int:
    """Arithmetic of spatial attention's two products over N pixels: 2 × 2·N²·E."""
    return 4 * patch_size**4 * (num_dates - 1) * width


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases, print the table and write the results."""
    settings = read_settings(Settings, arguments)
    device = timed_device(settings.device)
    modes = _modes(settings, device)
    batch_sizes = settings.batch_sizes or (96 if device.type == "cuda" else 8,)
    cases = [
        Case(*varied, settings.patch_size, settings.width)
        for varied in product(settings.what, settings.num_dates, settings.attention, batch_sizes)
    ]
    warm_up = 3 if device.type == "cuda" else 1
    rows: list[dict[str, Any]] = []
    for case in progress(cases, "measuring", unit="case"):
        try:
            rows += _measure(case, modes, device, settings.rounds, warm_up)
        except torch.OutOfMemoryError:
            say(f"left out, the GPU's memory is too small; give fewer --batch-sizes: {case}")
    conditions = {
        "cam": "shared",
        "warm_up_rounds": warm_up,
        "flop_counted": "2 × multiply-adds of convolutions and linear layers, training step × 3",
        "plain": "tests/helpers/plain_network.py, same weights, compiled where ours is",
        "freed_memory": "kept, for both networks (keep_freed_memory in utils/device.py)",
    }
    key = ("what", "num_dates", "attention", "dtype", "tf32", "compile", "batch_size", "patch_size")
    report(settings.name, conditions, rows, key, device, settings.output_dir)


def _modes(settings: Settings, device: torch.device) -> list[Mode]:
    """Number formats, TF32 (on a GPU) and compilation, all that shall be compared."""
    dtypes = settings.dtypes or ("float32", "bfloat16")
    if device.type == "cpu" and bfloat16_unit() is None and "bfloat16" in dtypes:
        if settings.dtypes:
            say("bfloat16: this processor emulates it, which takes very long")
        else:
            say("bfloat16: not run, this processor emulates it")
            dtypes = ("float32",)
    modes = []
    for dtype, compiled in product(dtypes, (False, True) if settings.compile else (False,)):
        tf32 = (False, True) if dtype == "float32" and device.type == "cuda" else (False,)
        modes += [Mode(dtype, on, compiled) for on in tf32]
    return modes


def _measure(
    case: Case, modes: Sequence[Mode], device: torch.device, rounds: int, warm_up: int
) -> list[dict[str, Any]]:
    """The rows of one case: all modes, both networks and the matrix products in turns."""
    torch.manual_seed(0)
    shape = (IN_CHANNELS, case.num_dates, case.width, case.attention)
    ours, plain = CAIMNet(*shape).to(device), PlainCAIMNet(*shape).to(device)
    plain.load_state_dict(ours.state_dict())
    B, T, P = case.batch_size, case.num_dates, case.patch_size
    images = torch.rand(B, T, IN_CHANNELS, P, P, device=device)
    moment_label = torch.randint(0, T, (B, P, P), device=device)

    actions: dict[Any, Callable[[], None]] = {}
    for mode in modes:
        for name, network in (("ours", ours), ("plain", plain)):
            work = _work(case.what, network, mode, images, moment_label)
            actions[name, mode] = _with_tf32(mode.tf32, work)
        multiply = matrix_product(device, getattr(torch, mode.dtype))
        actions["matrix product", mode.dtype, mode.tf32] = _with_tf32(mode.tf32, multiply)
    if any(mode.dtype == "bfloat16" for mode in modes):
        multiply = matrix_product(device, torch.float32)
        actions.setdefault(("matrix product", "float32", False), _with_tf32(False, multiply))
    seconds: dict[Any, list[float]] = in_turns(actions, rounds, warm_up)
    return [_row(case, mode, seconds, ours) for mode in modes]


def _work(
    what: Work, network: nn.Module, mode: Mode, images: Tensor, moment_label: Tensor
) -> Callable[[], None]:
    run: Any = torch.compile(network) if mode.compile else network
    return caim_work(what, network, images, moment_label, mode.dtype, run)


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Whether a GPU may round float32 factors to TF32, in products and convolutions."""
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = allowed
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def _with_tf32(allowed: bool, action: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with _tf32(allowed):
            action()

    return run


def _row(case: Case, mode: Mode, seconds: dict[Any, list[float]], ours: CAIMNet) -> dict[str, Any]:
    """A row of the result file: one case and mode."""
    B, P = case.batch_size, case.patch_size
    forwards = 1 if case.what == "forward" else FORWARDS_PER_STEP
    flop = forwards * flop_per_patch(case.num_dates, case.width, P, IN_CHANNELS)
    own = [taken / B for taken in seconds["ours", mode]]
    plain = [taken / B for taken in seconds["plain", mode]]
    product_seconds = seconds["matrix product", mode.dtype, mode.tf32]
    row = {
        **asdict(case),
        **asdict(mode),
        "block_pixels": ours.block_pixels,
        "recompute": ours.recompute,
        "gflop_per_patch": round(flop / 1e9, 6),
        "seconds_per_patch": spread(own, DIGITS),
        "patches_per_second": spread([1 / taken for taken in own]),
        "plain_seconds_per_patch": spread(plain, DIGITS),
        **_ratio("speedup_over_plain", plain, own),
        "matrix_product_gflops": _product_gflops(product_seconds),
        **_ratio("share_of_matrix_product", product_seconds, own, flop / PRODUCT_FLOP),
    }
    if mode.dtype == "bfloat16":
        float32_seconds = seconds["matrix product", "float32", False]
        row["float32_matrix_product_gflops"] = _product_gflops(float32_seconds)
    if case.attention == "spatial":
        products = forwards * attention_flop_per_patch(case.num_dates, case.width, P)
        row["attention_gflop_per_patch"] = round(products / 1e9, 6)
        factor = (flop + products) / PRODUCT_FLOP
        row |= _ratio("share_with_attention_products", product_seconds, own, factor)
    return row


def _ratio(
    name: str, above: Sequence[float], below: Sequence[float], factor: float = 1.0
) -> dict[str, Any]:
    """A ratio of medians, and how far that ratio went from round to round."""
    by_round = [factor * a / b for a, b in zip(above, below, strict=True)]
    ratio = factor * statistics.median(above) / statistics.median(below)
    return {
        name: round(ratio, 6),
        f"{name}_by_round": [round(min(by_round), 6), round(max(by_round), 6)],
    }


def _product_gflops(seconds: Sequence[float]) -> dict[str, Any]:
    return spread([PRODUCT_FLOP / taken / 1e9 for taken in seconds], 2)


if __name__ == "__main__":
    run_program(main)
