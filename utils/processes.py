"""Several processes that share one job: as torchrun or accelerate start them, or Dask workers.

Each knows its number and how many there are; they meet at barriers and tell each other what they
found. Without such a launcher there is one process and nothing to wait for. What they say lies on
the CPU and goes over a group of its own (gloo): a GPU is never waited for. Workers of a Dask
cluster are handed tasks instead and know nothing of each other.
"""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from utils.errors import CaimError, UserError, optional_package

__all__ = ["ProcessError", "Processes", "dask_client", "join_processes"]

Item = TypeVar("Item")
Value = TypeVar("Value")

ANSWER_S = 20  # that a scheduler has to answer
LOGGED = (
    logging.CRITICAL
)  # of Dask; a worker that dies is no news to the user, its task is done again
PATIENCE = datetime.timedelta(days=7)  # a launcher ends all when one fails; slow is no failure


class ProcessError(CaimError):
    """Another process of the job has ended; ``exit_code`` is its own."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass
class Processes:
    """This process among those of the job.

    Attributes:
        rank: Its number from 0; the first one writes what is written once.
        size: How many there are.
        local_rank: Its number on its machine, which decides on the GPU.
        group: Over which they talk; None is the default one.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    group: Any = None

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
            dist.barrier(group=self.group)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes of a tensor; where there are several it comes back on the CPU."""
        if self.size == 1:
            return values
        total = values.detach().cpu().clone()
        dist.all_reduce(total, group=self.group)
        return total

    def gather(self, value: Value) -> list[Value]:
        """A value of each process, in their order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.group)
        return values

    def by_first(self, action: Callable[[], Value]) -> Value:
        """Let the first process do something; all get the result, or its error.

        Raises:
            ProcessError: In the others, when it failed in the first.
        """
        if self.size == 1:
            return action()
        outcome: list[Any] = [None, None]
        failure: CaimError | None = None
        if self.is_first:
            try:
                outcome = [action(), None]
            except CaimError as error:
                failure, outcome = error, [None, (str(error), error.exit_code)]
        dist.broadcast_object_list(outcome, src=0, group=self.group)
        if failure is not None:
            raise failure
        if outcome[1] is not None:
            raise _ended_elsewhere(0, *outcome[1])
        value: Value = outcome[0]
        return value

    def all_well(self, failure: CaimError | None) -> None:
        """Go on if no process has failed.

        Raises:
            CaimError: The failure of this process; else that of another, as ``ProcessError``.
        """
        sentence = None if failure is None else (str(failure), failure.exit_code)
        outcomes = self.gather(sentence)
        if failure is not None:
            if not self.is_first and outcomes[0] == sentence:  # said once is enough
                raise ProcessError(f"process {self.rank}: the same", failure.exit_code)
            raise failure
        for rank, outcome in enumerate(outcomes):
            if outcome is not None:
                raise _ended_elsewhere(rank, *outcome)

    def together(self, action: Callable[[], Value]) -> Value:
        """Let every process do something; if it fails in one, all end.

        Raises:
            CaimError: As ``all_well``.
        """
        value, failure = None, None
        try:
            value = action()
        except CaimError as error:
            failure = error
        self.all_well(failure)
        return cast(Value, value)

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


@contextmanager
def dask_client(scheduler: str | None, workers: int | None) -> Iterator[Any]:
    """A connection to a Dask cluster: a running one, or one on this machine that ends with it.

    Args:
        scheduler: Address of a running one, such as tcp://node1:8786.
        workers: Of one on this machine, each with one thread; None = one a core.

    Raises:
        UserError: Dask is not installed, or nothing answers at the address.
        CaimError: In its block, workers died one after the other over one task.
    """
    distributed = optional_package("distributed", "requirements-cluster.txt", "--executor dask")
    if scheduler is None:
        with (
            distributed.LocalCluster(
                n_workers=workers or os.cpu_count(),
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                silence_logs=LOGGED,
            ) as cluster,
            distributed.Client(cluster) as client,
            _explained_deaths(distributed),
        ):
            yield client
        return
    try:
        client = distributed.Client(scheduler, timeout=ANSWER_S)
    except (OSError, ValueError) as error:
        raise UserError(
            f"--scheduler {scheduler}: found no Dask scheduler there ({error}), expected the "
            "address that dask scheduler prints, such as tcp://node1:8786."
        ) from error
    with client, _explained_deaths(distributed):
        yield client


@contextmanager
def _explained_deaths(distributed: Any) -> Iterator[None]:
    try:
        yield
    except distributed.KilledWorker as killed:
        raise CaimError(
            f"the workers that a task was given to died one after the other ({killed}), most often "
            "since memory ran out: lower --memory, or give workers more. What is finished is kept."
        ) from killed


def _ended_elsewhere(rank: int, message: str, exit_code: int) -> ProcessError:
    return ProcessError(f"process {rank} could not go on: {message}", exit_code)
