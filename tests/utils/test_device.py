"""Choosing a device, its memory and the seeds (utils/device.py)."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch

from utils.device import (
    choose_device,
    describe_device,
    make_deterministic,
    peak_memory_gib,
    seed_everything,
)
from utils.errors import UserError


def pretend(monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("gpus", "mps", "expected"), [(1, True, "cuda"), (0, True, "mps"), (0, False, "cpu")]
)
def test_auto_prefers_cuda_then_mps_then_the_cpu(
    monkeypatch: pytest.MonkeyPatch, gpus: int, mps: bool, expected: str
) -> None:
    pretend(monkeypatch, gpus, mps)
    assert choose_device("auto") == torch.device(expected)


def test_a_named_device_that_exists_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=2, mps=False)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "meta", "", "cuda:x"])
def test_a_name_that_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="expected auto, cpu, cuda"):
        choose_device(name)


def test_a_device_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, gpus=0, mps=False)
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(UserError, match="Use cpu or auto"):
            choose_device(name)
    pretend(monkeypatch, gpus=2, mps=False)
    with pytest.raises(UserError, match=r"2 GPU\(s\).*cuda:1"):
        choose_device("cuda:2")


def test_the_cpu_is_described_with_its_threads() -> None:
    text = describe_device(torch.device("cpu"))
    assert text.startswith("cpu, ")
    assert f"{torch.get_num_threads()} thread" in text


def test_the_memory_peak_covers_what_was_held_and_stays_when_it_is_freed() -> None:
    cpu = torch.device("cpu")
    ballast = torch.ones(2**28, dtype=torch.uint8)
    held = peak_memory_gib(cpu)
    del ballast
    assert 0.25 < held < 64
    assert peak_memory_gib(cpu) == pytest.approx(held, abs=0.01)  # the kernel counts in batches


def test_the_same_seed_gives_the_same_numbers_everywhere() -> None:
    def draw(seed: int) -> tuple[float, float, float]:
        seed_everything(seed)
        return random.random(), float(np.random.random()), float(torch.rand(()))

    first, second, other = draw(7), draw(7), draw(8)
    assert first == second
    assert all(a != b for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(UserError, match="seed: found"):
        seed_everything(seed)


@pytest.mark.gpu
def test_a_gpu_is_described_and_its_peak_is_the_allocators() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    device = choose_device("cuda")
    torch.ones(2**28, dtype=torch.uint8, device=device)
    assert "GiB" in describe_device(device)
    assert peak_memory_gib(device) >= 0.25


def test_the_deterministic_switch_asks_for_operations_that_repeat_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    asked = []
    monkeypatch.setattr(
        torch, "use_deterministic_algorithms", lambda on, warn_only: asked.append((on, warn_only))
    )
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    make_deterministic()
    assert asked == [(True, True)]
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
