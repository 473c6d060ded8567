"""A training step never waits for the GPU: no value in it is needed on the host (training/step.py).

On a GPU this is proved by CUDA's own debug mode; on the CPU by looking at the operators that a step
calls: those whose result, or its shape, the host has to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import Dataset

from models import CAIMNet
from tests.helpers.easy_patches import easy_run
from tests.helpers.one_pass import one_pass
from training import epoch_metrics
from training.epoch_metrics import EpochMetrics
from training.plan import TrainingPlan
from training.step import train_step
from training.tasks import CaimTask
from utils.batches import Batches, Share

READING = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal",
    "aten::is_nonzero", "aten::_unique2", "aten::unique_consecutive", "aten::bincount",
}  # fmt: skip


class NoReading(TorchDispatchMode):
    """Fails where the host would have to wait for a result."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition(".")[0]
        by_mask = name.startswith("aten::index") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool
            for argument in args[1:2]
            for index in (argument if isinstance(argument, list | tuple) else ())
        )
        assert name not in READING, f"{name} waits for the device"
        assert not by_mask, f"{name} with a mask waits for the device"
        return func(*args, **(kwargs or {}))


class Noise(Dataset[dict[str, Any]]):
    """Patches of noise with ignored pixels among the labels."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        moment = torch.randint(-1, 3, (8, 8), generator=generator)
        return {
            "images": torch.rand(3, 4, 8, 8, generator=generator),
            "moment_label": moment,
            "area_label": torch.where(moment < 0, -1, (moment > 0).long()),
            "aoi": "noise",
        }


def network() -> CAIMNet:
    torch.manual_seed(0)
    return CAIMNet(num_dates=3, width=8)


def test_the_guard_notices_what_waits() -> None:
    values = torch.arange(4.0)
    with NoReading():
        for waits in (
            lambda: values[1].item(), lambda: values[values > 1], lambda: bool(values.sum() > 1),
            lambda: values.nonzero(),
        ):  # fmt: skip
            with pytest.raises(AssertionError, match="waits"):
                waits()


@pytest.mark.parametrize("attention", ["spatial", "batch"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("micro_batch", [None, 1])
def test_no_operator_of_a_training_step_has_to_be_read_by_the_host(
    attention: str, recompute: bool, micro_batch: int | None
) -> None:
    torch.manual_seed(0)
    ours = CAIMNet(num_dates=3, width=8, attention=attention)  # type: ignore[arg-type]
    ours.recompute = recompute
    task = CaimTask(3, (5.5, 1.0), (5.5, 1.0, 1.0))
    served = Batches(Noise(), 2, device=torch.device("cpu"))
    run = easy_run(ours, TrainingPlan(epochs=1), served, task=task)
    run.micro_batch = micro_batch
    run.optimizer = torch.optim.SGD(ours.parameters())  # Adam reads its step count, on the host
    batch = torch.utils.data.default_collate([Noise()[i] for i in range(2)])
    matrices = EpochMetrics(task, run.ranks).matrices
    for matrix in matrices.values():  # as a GPU counts
        matrix._add = matrix._add_without_waiting  # type: ignore[method-assign]
    share = Share(0, 2, 2)
    with NoReading():
        train_step(run, batch, share, 1e-3, matrices)


class Watched(Batches):
    """Batches during whose steps, but for the first, waiting for the GPU is an error."""

    def epoch(self, number: int) -> Iterator[dict[str, Any]]:
        try:
            for step, batch in enumerate(super().epoch(number)):
                torch.cuda.set_sync_debug_mode("default" if step == 0 else "error")
                yield batch
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cuda_sees_no_waiting_within_the_steps_of_an_epoch(
    monkeypatch: pytest.MonkeyPatch, precision: Any
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    monkeypatch.setattr(epoch_metrics, "READ_EVERY", 1000)  # read after the epoch only
    device = torch.device("cuda")
    ours = network().to(device)
    plan = TrainingPlan(epochs=1, precision=precision)
    batches = Watched(Noise(), 2, device=device)
    task = CaimTask(3, moment_factors=(5.5, 1.0, 1.0))
    one_pass(ours, task, batches, plan, 0, torch.optim.Adam(ours.parameters()))
