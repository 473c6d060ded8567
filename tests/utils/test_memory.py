"""Micro-batches that fit into memory, found by doubling (utils/memory.py)."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from tests.helpers.easy_patches import EasyPatches, batches, easy_run, network, run, state
from tests.training.test_step import FACTORS
from training import step
from training.plan import TrainingPlan
from training.step import find_micro_batch
from utils.errors import UserError
from utils.memory import PeakMeter, memory_limit, most_at_once, parse_size

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "size"),
    [("8G", 8 * GIB), ("8 GiB", 8 * GIB), ("1.5g", 3 * 2**29), ("500M", 500 * 2**20), ("7", 7)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["8 apples", "", "-8G", "0", "G", "9" * 400 + "G", "inf", "٣G"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(UserError, match=r"--max-memory: found .* expected a size such as 8G"):
        parse_size(text)


def test_a_cpu_has_no_limit_unless_one_is_given() -> None:
    assert memory_limit(None, torch.device("cpu")) is None
    assert memory_limit("2M", torch.device("cpu")) == 2**21


@pytest.mark.parametrize(
    ("limit", "wanted", "most", "tried"),
    [
        (1000, 96, 96, [1, 2, 4, 8, 16, 32, 64, 96]),
        (100 + 10 * 33, 96, 32, [1, 2, 4, 8, 16, 32]),  # 64 is foretold not to fit
        (100 + 10 * 32, 32, 32, [1, 2, 4, 8, 16, 32]),
        (115, 96, 1, [1, 2]),
        (5000, 1, 1, [1]),
    ],
)
def test_the_most_that_fits_is_found_by_doubling(
    limit: int, wanted: int, most: int, tried: list[int]
) -> None:
    sizes: list[int] = []

    def measure(size: int) -> int:
        sizes.append(size)
        return 100 + 9 * size

    assert most_at_once(measure, wanted, limit) == most
    assert sizes == tried


def test_running_out_of_memory_in_a_trial_ends_the_doubling() -> None:
    def measure(size: int) -> int:
        if size == 4:
            raise torch.OutOfMemoryError
        return size

    assert most_at_once(measure, 96, 10**9) == 2


def test_one_patch_that_does_not_fit_is_told() -> None:
    with pytest.raises(UserError, match=r"one patch takes 2\.00 GiB, expected at most 1\.00"):
        most_at_once(lambda size: 2 * GIB, 96, GIB)


def test_a_trial_leaves_weights_gradients_and_random_numbers_as_they_were() -> None:
    ours = network()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    plan, patches = TrainingPlan(epochs=1, max_memory="64G"), batches(EasyPatches(5), 4)
    training = easy_run(ours, plan, patches, task=FACTORS)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    find_micro_batch(training)
    assert torch.equal(torch.rand(3), expected)
    assert training.micro_batch is None  # all fits
    assert all(parameter.grad is None for parameter in ours.parameters())
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_a_limit_leads_to_micro_batches_that_a_resumed_run_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks = iter([100, 200, 10**6])
    monkeypatch.setattr(PeakMeter, "peak", lambda self: next(peaks) - 2 * 4 * 6449)
    run(tmp_path, TrainingPlan(epochs=1, max_memory="250"), number=9, size=4)
    assert "at most 2 patches at a time; each batch is computed in 2 parts" in (
        capsys.readouterr().out
    )
    run(tmp_path, TrainingPlan(epochs=2, max_memory="250"), resume=True, number=9, size=4)
    assert state(tmp_path).micro_batch == 2


def test_attention_over_the_batch_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "_trial", lambda run, sample, size, meter: size)
    plan, patches = TrainingPlan(epochs=1, max_memory="2"), batches(EasyPatches(5), 4)
    training = easy_run(network(attention="batch"), plan, patches, task=FACTORS)
    with pytest.raises(UserError, match=r"2 of 4 patches fit.*cannot be computed in parts"):
        find_micro_batch(training)


def test_the_peak_of_a_cpu_process_is_seen() -> None:
    meter = PeakMeter(torch.device("cpu"))
    meter.reset()
    before = meter.peak()
    with mmap.mmap(-1, 64 << 20) as block:  # pages that this process has never had
        block.write(bytes(64 << 20))
        assert meter.peak() - before > 60 << 20
