"""A tiny thing to train: patches that get brighter for good, and a run on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from models import CAIMNet
from models.weights.checkpoint import Checkpoint, load_checkpoint
from training.checkpoints import CheckpointManager, TrainingState
from training.loop import fit
from training.plan import TrainingPlan
from training.ranks import Ranks
from training.run import Run
from training.tasks import CaimTask, Task
from utils.batches import Batches
from utils.files import read_csv_rows

__all__ = [
    "ARGUMENTS", "CPU", "FACTS", "SIZE", "TASK", "EasyPatches", "T", "assert_same_weights",
    "batches", "easy_run", "network", "one_thread", "run", "state", "table", "weights",
]  # fmt: skip

T, C, SIZE = 3, 2, 8
CPU = torch.device("cpu")
ARGUMENTS = {"in_channels": C, "num_dates": T, "width": 8}
TASK = CaimTask(T)
FACTS = {"name": "easy", "num_dates": T}


class EasyPatches(Dataset[dict[str, Any]]):
    """Noise that gets brighter for good from the moment on: nothing easier to learn."""

    def __init__(
        self, number: int, seed: int = 0, transform: Callable[[dict[str, Any]], Any] | None = None
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.transform = transform
        self.label = torch.zeros(number, SIZE, SIZE, dtype=torch.int64)
        self.label[:, :4, :4], self.label[:, 4:, 4:] = 1, 2
        self.images = 0.1 * torch.rand(number, T, C, SIZE, SIZE, generator=generator)
        for t in range(1, T):
            self.images[:, t] += ((self.label > 0) & (self.label <= t)).float()[:, None]

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict[str, Any]:
        moment = self.label[index].clone()
        sample = {
            "images": self.images[index],
            "moment_label": moment,
            "area_label": torch.where(moment < 0, -1, (moment > 0).long()),
            "aoi": f"Scene{index:02d}",
            "scene_index": index,
        }
        return self.transform(sample) if self.transform else sample


def network(**arguments: Any) -> CAIMNet:
    torch.manual_seed(5)
    return CAIMNet(**(ARGUMENTS | arguments))


def batches(dataset: Dataset[dict[str, Any]], size: int = 2, **options: Any) -> Batches:
    return Batches(dataset, size, device=CPU, **options)


@contextmanager
def one_thread() -> Iterator[None]:
    """Tiny networks are slowed down by threads, the more so on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def run(
    folder: Path,
    plan: TrainingPlan,
    resume: bool = False,
    *,
    number: int = 5,
    size: int = 2,
    transform: Callable[[dict[str, Any]], Any] | None = None,
    num_workers: int = 0,
    ranks: Ranks | None = None,
    dataset: Dataset[dict[str, Any]] | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Train afresh, or resume, on five easy patches in shuffled order."""
    ranks = ranks or Ranks(CPU, plan.precision)
    shared = {"rank": ranks.rank, "ranks": ranks.size}
    train = batches(
        dataset or EasyPatches(number, transform=transform), size, shuffle=True, seed=plan.seed,
        num_workers=num_workers, **shared,
    )  # fmt: skip
    val = batches(EasyPatches(3, seed=1), size, **shared)
    ours = easy_run(network(**arguments), plan, train, val, folder, ranks, **arguments)
    return fit(ours, CheckpointManager(folder).load() if resume else None)


def easy_run(
    ours: nn.Module,
    plan: TrainingPlan,
    train: Batches,
    val: Batches | None = None,
    folder: Path = Path(),
    ranks: Ranks | None = None,
    task: Task = TASK,
    **arguments: Any,
) -> Run:
    """A training that has not begun."""
    about = Checkpoint("caim_net", ARGUMENTS | arguments, {}, data=FACTS)
    ranks = ranks or Ranks(train.device, plan.precision)
    return Run(ours, task, plan, train, val or train, folder, about, ranks)


def state(folder: Path) -> TrainingState:
    """What the last checkpoint says beside the weights."""
    last = CheckpointManager(folder).load()
    assert last is not None
    return last.state


def table(folder: Path) -> list[dict[str, str]]:
    return read_csv_rows(folder / "metrics.csv")


def weights(folder: Path, name: str = "last.pth") -> dict[str, Tensor]:
    return load_checkpoint(folder / name).state_dict


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
