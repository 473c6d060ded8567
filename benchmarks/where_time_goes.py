"""Profile of CAIM-Net's forward pass and training step, beside the machine's rates.

    python benchmarks/where_time_goes.py

Profiles both on the CPU and sums the operators by kind; beside it, what the machine reaches in a
matrix product, in copying memory that is in use already, and in writing to fresh memory. Prints
tables and writes benchmarks/results/where_time_goes.json. docs/performance.md explains them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import (
    PRODUCT_FLOP,
    Attention,
    Measurement,
    caim_work,
    in_turns,
    matrix_product,
    report,
    spread,
    timed_device,
)
from models import build_network
from utils.errors import run_program
from utils.fields import Positive
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "main"]


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    num_dates: Positive = 6  # dates of a series
    batch_size: Positive = 8  # patches at once
    patch_size: Positive = 64  # side in pixels
    width: Positive = 64  # channels of each date's features
    attention: Attention = "batch"  # what attention runs over


KINDS: Mapping[str, tuple[str, ...]] = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward"),
    "attention": ("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_softmax",
                  "aten::_scaled_dot_product_flash_attention_for_cpu_backward"),
    "normalisation": ("aten::native_group_norm", "aten::native_group_norm_backward",
                      "aten::native_layer_norm", "aten::native_layer_norm_backward"),
    "drawing random numbers": ("aten::random_", "aten::bernoulli_", "aten::lt"),
    "copying and joining": ("aten::copy_", "aten::cat", "aten::fill_", "aten::zero_"),
    "optimiser": ("aten::_foreach_", "aten::_fused_adam_"),
}  # fmt: skip
REST = "element by element"
MIB_64 = 64 << 20


def main() -> None:
    """Profile, measure the machine, print, write."""
    flags = read_settings(Settings)
    fresh = _fresh_memory_rate(flags.rounds)  # before memory is kept
    timed_device("cpu")
    rates = _rates(flags.rounds) | {"fresh_memory_gb_per_s": fresh}
    rows = [
        {"what": what, **row} for what, action in _actions(flags).items() for row in _kinds(action)
    ]
    for name, rate in rates.items():
        say(f"{name}: {rate['median']:.1f}")
    about = ("output_dir", "rounds", "device")
    settings = {k: v for k, v in asdict(flags).items() if k not in about}
    traffic = {
        what: round(_traffic(action) / flags.batch_size / 1e6, 1)
        for what, action in _actions(flags).items()
    }
    for what, megabytes in traffic.items():
        say(f"{what}: operators read and write {megabytes} MB per patch")
    conditions = {
        **settings,
        "dtype": "float32",
        "rates": rates,
        "traffic_mb_per_patch": traffic,
        "least_mb_per_patch": round(_least_traffic(flags) / 1e6, 3),
    }
    report("where_time_goes", conditions, rows, folder=flags.output_dir)


def _actions(flags: Settings) -> dict[str, Callable[[], None]]:
    inputs = _inputs(flags)
    return {what: caim_work(what, *inputs) for what in ("forward", "training step")}


def _inputs(flags: Settings) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, images and moment labels of a batch."""
    torch.manual_seed(0)
    T, B, P = flags.num_dates, flags.batch_size, flags.patch_size
    network = build_network(
        "caim_net", {"num_dates": T, "attention": flags.attention, "width": flags.width}
    )
    return network, torch.rand(B, T, 4, P, P), torch.randint(0, T, (B, P, P))


def _kinds(action: Callable[[], None]) -> list[dict[str, Any]]:
    """Self time of all operators by kind, the largest first."""
    for _ in range(2):
        action()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        action()
    events = profiler.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    sums: dict[str, list[float]] = {}
    for event in events:
        kind = next((k for k, names in KINDS.items() if event.key.startswith(names)), REST)
        entry = sums.setdefault(kind, [0.0, 0])
        entry[0] += event.self_cpu_time_total
        entry[1] += event.count
    ordered = sorted(sums.items(), key=lambda item: -item[1][0])
    return [
        {"kind": kind, "share": round(time / total, 4), "calls": int(calls)}
        for kind, (time, calls) in ordered
    ]


class _Traffic(TorchDispatchMode):
    """Sums the bytes of what operators take and give; views and allocations are not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not (func.is_view or func.name().startswith(("aten::empty", "aten::detach"))):
            for value in tree_leaves((args, kwargs, result)):
                if isinstance(value, torch.Tensor):
                    self.bytes += value.nbytes
        return result


def _traffic(action: Callable[[], None]) -> int:
    with _Traffic() as traffic:
        action()
    return traffic.bytes


def _least_traffic(flags: Settings) -> float:
    """Bytes per patch that any program moves: images in, weights once a batch, maps out."""
    network, images, _ = _inputs(flags)
    with torch.inference_mode():
        maps = network.eval()(images[:1])
    weights = sum(parameter.nbytes for parameter in network.parameters())
    given: int = maps.area_prob.nbytes + maps.moment_prob.nbytes
    return images[0].nbytes + weights / flags.batch_size + given


def _rates(rounds: int) -> dict[str, dict[str, Any]]:
    """Matrix product in GFLOP/s; copying 64 MiB in memory, 1 MiB in cache in GB/s (both ways)."""
    large, small = torch.ones(MIB_64 // 4), torch.ones(1 << 18)
    large_target, small_target = torch.empty_like(large), torch.empty_like(small)

    def copy_small() -> None:
        for _ in range(64):
            small_target.copy_(small)

    seconds = in_turns(
        {
            "product": matrix_product(),
            "large": lambda: large_target.copy_(large),
            "small": copy_small,
        },
        rounds,
    )
    moved = 2 * MIB_64 / 1e9
    return {
        "matrix_product_gflops": spread([PRODUCT_FLOP / 1e9 / s for s in seconds["product"]], 1),
        "copy_in_memory_gb_per_s": spread([moved / s for s in seconds["large"]], 2),
        "copy_in_cache_gb_per_s": spread([moved / s for s in seconds["small"]], 2),
    }


def _fresh_memory_rate(rounds: int) -> dict[str, Any]:
    """Filling 64 MiB that the system hands out anew, in GB/s."""
    seconds = in_turns({"fill": lambda: torch.ones(MIB_64 // 4)}, rounds)["fill"]
    return spread([MIB_64 / 1e9 / s for s in seconds], 2)


if __name__ == "__main__":
    run_program(main)
