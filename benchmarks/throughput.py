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
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from typing import Literal

from benchmarks.measuring import (
    PRODUCT_FLOP,
    PRODUCT_SIDE,
    RESULTS,
    in_turns,
    matrix_product,
    spread,
    table,
    training_step,
    write_results,
)
from models import CAIMNet
from tests.helpers.plain_network import PlainCAIMNet
from utils.device import autocast, bfloat16_unit, choose_device, keep_freed_memory
from utils.errors import run_program
from utils.fields import Positive
from utils.progress import progress, say
from utils.settings import read_settings

__all__ = ["attention_flop_per_patch", "flop_per_patch", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    what: tuple[Literal["forward", "training"], ...] = ("forward", "training")  # what to measure
    num_dates: tuple[Positive, ...] = (6, 9)  # dates of a series
    # what attention runs over
    attention: tuple[Literal["batch", "spatial"], ...] = ("batch", "spatial")
    batch_sizes: tuple[Positive, ...] | None = None  # none = 8, on a GPU 96
    patch_size: Positive = 64  # side in pixels
    width: Positive = 64  # channels of each date's features
    rounds: Positive = 5  # of measuring, in turns
    dtypes: tuple[Literal["float32", "bfloat16"], ...] | None = None  # none = what the device has
    compile: bool = False  # measure torch.compile(network), too
    device: Literal["auto", "cpu", "cuda"] = "auto"  # where to run
    name: str = "throughput"  # of the result file
    output_dir: Path = RESULTS  # folder of the result file


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

IN_CHANNELS = 4
STEM_WIDTH = 16
FORWARDS_PER_STEP = 3  # a backward pass computes two products where a forward pass has one
DIGITS = 8  # of seconds per patch
ONLY_IF_VARIED = ("batch", "TF32", "compiled")  # columns


@dataclass(frozen=True)
class Setting:
    """What is compared in turns: one kind of work on one kind of input."""

    what: str
    num_dates: int
    attention: Any
    batch_size: int
    patch_size: int
    width: int


@dataclass(frozen=True)
class Mode:
    """How it is computed."""

    dtype: Any
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
    """Measure all settings, print the table and write the results."""
    flags = read_settings(Settings, arguments)
    name = flags.device
    if name == "auto" and not torch.cuda.is_available():
        name = "cpu"  # times of other devices would not be waited for
    device = choose_device(name)
    keep_freed_memory(device)  # as the programs do
    modes = _modes(flags, device)
    batch_sizes = flags.batch_sizes or [96 if device.type == "cuda" else 8]
    settings = [
        Setting(what, T, attention, batch_size, flags.patch_size, flags.width)
        for what, T, attention, batch_size in product(
            flags.what, flags.num_dates, flags.attention, batch_sizes
        )
    ]
    warm_up = 3 if device.type == "cuda" else 1
    rows: list[dict[str, Any]] = []
    for setting in progress(settings, "measuring", unit="setting"):
        try:
            rows += _measure(setting, modes, device, flags.rounds, warm_up)
        except torch.OutOfMemoryError:
            say(f"left out, the GPU's memory is too small; give fewer --batch-sizes: {setting}")
    say(_table(rows))
    conditions = {
        "width": flags.width,
        "cam": "shared",
        "warm_up_rounds": warm_up,
        "matrix_product_side": PRODUCT_SIDE,
        "flop_counted": "2 × multiply-adds of convolutions and linear layers, training step × 3",
        "plain": "tests/helpers/plain_network.py, same weights, compiled where ours is",
        "freed_memory": "kept, for both networks (keep_freed_memory in utils/device.py)",
    }
    write_results(flags.name, conditions, rows, device, flags.output_dir)


def _modes(flags: Settings, device: torch.device) -> list[Mode]:
    """Number formats, TF32 (on a GPU) and compilation, all that shall be compared."""
    dtypes = flags.dtypes or ["float32", "bfloat16"]
    if device.type == "cpu" and bfloat16_unit() is None and "bfloat16" in dtypes:
        if flags.dtypes:
            say("bfloat16: this processor emulates it, which takes very long")
        else:
            say("bfloat16: not run, this processor emulates it")
            dtypes = ["float32"]
    modes = []
    for dtype, compiled in product(dtypes, (False, True) if flags.compile else (False,)):
        tf32 = (False, True) if dtype == "float32" and device.type == "cuda" else (False,)
        modes += [Mode(dtype, on, compiled) for on in tf32]
    return modes


def _measure(
    setting: Setting, modes: Sequence[Mode], device: torch.device, rounds: int, warm_up: int
) -> list[dict[str, Any]]:
    """The rows of one setting: all modes, both networks and the matrix products in turns."""
    torch.manual_seed(0)
    shape = (IN_CHANNELS, setting.num_dates, setting.width, setting.attention)
    ours, plain = CAIMNet(*shape).to(device), PlainCAIMNet(*shape).to(device)
    plain.load_state_dict(ours.state_dict())
    B, T, P = setting.batch_size, setting.num_dates, setting.patch_size
    images = torch.rand(B, T, IN_CHANNELS, P, P, device=device)
    moment_label = torch.randint(0, T, (B, P, P), device=device)

    actions: dict[Any, Callable[[], None]] = {}
    for mode in modes:
        for name, network in (("ours", ours), ("plain", plain)):
            work = _work(setting.what, network, mode, images, moment_label)
            actions[name, mode] = _with_tf32(mode.tf32, work)
        multiply = matrix_product(device, getattr(torch, mode.dtype))
        actions["matrix product", mode.dtype, mode.tf32] = _with_tf32(mode.tf32, multiply)
    if any(mode.dtype == "bfloat16" for mode in modes):
        multiply = matrix_product(device, torch.float32)
        actions.setdefault(("matrix product", "float32", False), _with_tf32(False, multiply))
    seconds: dict[Any, list[float]] = in_turns(actions, rounds, warm_up)
    return [_row(setting, mode, seconds, ours) for mode in modes]


def _work(
    what: str, network: nn.Module, mode: Mode, images: Tensor, moment_label: Tensor
) -> Callable[[], None]:
    """A forward pass or a training step of a network, ready to be timed."""
    run: Any = torch.compile(network) if mode.compile else network
    device = images.device

    def forward() -> None:
        network.eval()
        with torch.inference_mode(), autocast(device, mode.dtype):
            run(images)

    if what == "forward":
        return forward
    return training_step(network, images, moment_label, mode.dtype, run)


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


def _row(
    setting: Setting, mode: Mode, seconds: dict[Any, list[float]], ours: CAIMNet
) -> dict[str, Any]:
    """What the result file holds of one setting and mode."""
    B, P = setting.batch_size, setting.patch_size
    forwards = 1 if setting.what == "forward" else FORWARDS_PER_STEP
    flop = forwards * flop_per_patch(setting.num_dates, setting.width, P, IN_CHANNELS)
    own = [taken / B for taken in seconds["ours", mode]]
    plain = [taken / B for taken in seconds["plain", mode]]
    product_seconds = seconds["matrix product", mode.dtype, mode.tf32]
    row = {
        "what": "forward" if setting.what == "forward" else "training step",
        "num_dates": setting.num_dates,
        "attention": setting.attention,
        "dtype": mode.dtype,
        "tf32": mode.tf32,
        "compile": mode.compile,
        "batch_size": B,
        "patch_size": P,
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
    if setting.attention == "spatial":
        products = forwards * attention_flop_per_patch(setting.num_dates, setting.width, P)
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


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [_cells(row) for row in rows]
    head = [
        column
        for column in (lines[0] if lines else [])
        if column not in ONLY_IF_VARIED or len({line[column] for line in lines}) > 1
    ]
    return table(head, [[line[column] for column in head] for line in lines])


def _cells(row: dict[str, Any]) -> dict[str, str]:
    """A line of the table by column."""

    def ranged(name: str, form: str) -> str:
        if name not in row:
            return "–"
        low, high = row[f"{name}_by_round"]
        return f"{row[name]:{form}} ({low:{form}} … {high:{form}})"

    return {
        "what": row["what"],
        "dates": str(row["num_dates"]),
        "attention": row["attention"],
        "batch": str(row["batch_size"]),
        "dtype": row["dtype"],
        "TF32": "on" if row["tf32"] else "off",
        "compiled": "yes" if row["compile"] else "no",
        "s/patch": f"{row['seconds_per_patch']['median']:.4g}",
        "patches/s": f"{row['patches_per_second']['median']:.4g}",
        "GFLOP/patch": f"{row['gflop_per_patch']:.4g}",
        "share of matrix product": ranged("share_of_matrix_product", ".1%"),
        "share with attention": ranged("share_with_attention_products", ".1%"),
        "times faster than plain": ranged("speedup_over_plain", ".2f"),
    }


if __name__ == "__main__":
    run_program(main)
