"""The device a program computes on: choosing it, naming it, its memory peak, and the seeds."""

from __future__ import annotations

import ctypes
import os
import platform
import random
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from utils.errors import UserError

__all__ = [
    "Precision",
    "PrecisionChoice",
    "autocast",
    "bfloat16_fault",
    "bfloat16_unit",
    "choose_device",
    "describe_device",
    "describe_processor",
    "keep_freed_memory",
    "make_deterministic",
    "peak_memory_gib",
    "seed_everything",
]

GIB = float(1 << 30)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
LARGEST_SEED = 2**32 - 1  # numpy takes 32 bits


def choose_device(name: str) -> torch.device:
    """The device that a setting names, if this machine has it.

    Args:
        name: ``auto`` (the first there is of cuda, mps, cpu), ``cpu``, ``cuda``, ``cuda:1`` or
            ``mps``.

    Returns:
        The device.

    Raises:
        UserError: The name is none of these, or the machine or the PyTorch build lacks the device.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise UserError(
            f"device: found {name!r}, expected auto, cpu, cuda, cuda:<number> or mps. "
            "Use auto to take what this machine has."
        )
    if device.type == "cuda" and not cuda:
        reason = "no GPU is visible" if torch.version.cuda else "this PyTorch is built without CUDA"
        raise UserError(f"device: found {name!r}, but {reason}. Use cpu or auto.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UserError(
            f"device: found {name!r}, but this machine has {count} GPU(s), "
            f"numbered from 0. Use cuda:{count - 1} or auto."
        )
    if device.type == "mps" and not mps:
        raise UserError(f"device: found {name!r}, but there is no Apple GPU. Use cpu or auto.")
    return device


def describe_device(device: torch.device) -> str:
    """A device in words, e.g. ``cuda:0, NVIDIA H100 80GB HBM3, 79 GiB`` or ``cpu, 2 threads``."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        properties = torch.cuda.get_device_properties(index)
        return f"cuda:{index}, {properties.name}, {properties.total_memory / GIB:.0f} GiB"
    if device.type == "mps":
        return "mps, Apple GPU"
    threads = torch.get_num_threads()
    return f"cpu, {platform.machine()}, {threads} thread{'s' if threads != 1 else ''}"


def describe_processor() -> dict[str, str | int]:
    """The processor's name, its widest vectors in use, what it has for bfloat16, and threads."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "name": str(capabilities.get("cpu_name", "unknown")),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": bfloat16_unit() or "none, emulated",
        "threads": torch.get_num_threads(),
    }


def bfloat16_unit() -> str | None:
    """The processor's instructions for bfloat16 products; None where these are emulated."""
    capabilities = torch.cpu.get_capabilities()
    for unit in ("amx_bf16", "avx512_bf16", "bf16", "arm_bf16"):
        if capabilities.get(unit):
            return unit
    return None


def bfloat16_fault(device: torch.device) -> str:
    """Why bfloat16 makes nothing faster on a device; empty if it does."""
    if device.type == "cpu":
        return "" if bfloat16_unit() else "this processor has no bfloat16 instructions"
    if device.type != "cuda":
        return f"bfloat16 was not tried on {device.type}"
    with torch.cuda.device(device):
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    return "" if able else "this GPU has no bfloat16 instructions"


def keep_freed_memory(device: torch.device) -> None:
    """Let this process keep memory that it frees, to use it again; for a CPU under glibc (Linux).

    A step frees and asks for hundreds of arrays of some MiB. By default glibc hands such memory
    back to the system at once, which then clears every page anew. Elsewhere nothing happens.

    Args:
        device: Where the network runs; nothing is done for a GPU.
    """
    if device.type != "cpu" or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc takes
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def make_deterministic() -> None:
    """Choose operations on GPUs that give the same bits every time, where there are such.

    PyTorch warns of those that have no such form. To be called before the GPU is first used. CPUs
    give the same bits without it.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)


def peak_memory_gib(device: torch.device) -> float:
    """The most memory used so far, in GiB.

    Args:
        device: With CUDA the allocator's peak on that GPU since the start or the last
            ``torch.cuda.reset_peak_memory_stats``; otherwise the resident peak of this process.

    Returns:
        GiB; NaN where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    return _resident_peak_bytes() / GIB


def seed_everything(seed: int) -> None:
    """Seed the random numbers of Python, NumPy and PyTorch (all devices).

    Args:
        seed: 0 … 2³²−1.

    Raises:
        UserError: The seed lies outside this range.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed: found {seed}, expected 0 … {LARGEST_SEED}.")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _resident_peak_bytes() -> float:
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset)
    # Linux: getrusage counts what the parent held when it started us, VmHWM does not.
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024  # macOS: bytes, else KiB


Precision = Literal["float32", "bfloat16"]
PrecisionChoice = Literal["auto", "float32", "bfloat16"]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which the network computes with the chosen precision.

    Args:
        device: Where the network lives.
        precision: "float32" leaves everything as it is; "bfloat16" lets matrix products and
            convolutions run in 16 bits, weights and the head from the softmax on stay float32.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
