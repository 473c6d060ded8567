"""Several processes that share one job, as torchrun or accelerate launch start them.

Each knows its number and how many there are; they meet at barriers. Without such a launcher there
is one process and nothing to wait for.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist

from utils.errors import UserError

__all__ = ["Processes", "join_processes"]

Item = TypeVar("Item")

PATIENCE = datetime.timedelta(days=7)  # a launcher ends all when one fails; slow is no failure


@dataclass(frozen=True)
class Processes:
    """This process among those of the job.

    Attributes:
        rank: Its number from 0; the first one writes what is written once.
        size: How many there are.
        local_rank: Its number on its machine, which decides on the GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.rank == 0

    def part_of(self, items: Sequence[Item]) -> Sequence[Item]:
        """The consecutive items that fall to this process; all together get all, in order."""
        begin, end = (len(items) * number // self.size for number in (self.rank, self.rank + 1))
        return items[begin:end]

    def device_name(self, name: str) -> str:
        """The device of this process where a setting leaves the choice: a GPU of its own."""
        if self.size > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local_rank % torch.cuda.device_count()}"
        return name

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """End the connection to the others, once nothing is waited for any more."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join_processes() -> Processes:
    """This process, connected to the others if a launcher started several.

    Raises:
        UserError: The launcher's variables contradict each other.
    """
    words = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    size = words["WORLD_SIZE"]
    if not size or size == "1":
        return Processes()
    if not all(word.isdecimal() for word in words.values()):
        raise UserError(
            f"several processes: found {words}, expected a whole number in each. Start them with "
            "torchrun --nproc_per_node N, or accelerate launch."
        )
    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=PATIENCE)
    return Processes(int(words["RANK"]), int(size), int(words["LOCAL_RANK"]))
