"""The processes that train together, and what Accelerate carries for them.

``python Train_Dynamic.py`` is one process; ``accelerate launch`` and ``torchrun`` start several
("ranks"), each with a share of every batch. This module holds what differs: device, mixed
precision, the gradients' sum, agreement between hosts. What is computed is in ``training.loop``.

Hosts agree over a group of their own (gloo), on numbers that lie on the CPU: a GPU is never waited
for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from utils.device import Precision, choose_device
from utils.errors import CaimError, UserError

__all__ = ["Agreement", "RankError", "Ranks", "chosen_device"]

Value = TypeVar("Value")

MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16"}
PATIENCE = timedelta(hours=2)  # one rank may check data or write while the others wait
LOST = ("connection closed", "connection reset", "broken pipe", "gloo", "nccl", "timed out waiting")


class RankError(CaimError):
    """Another process of the run has ended; ``exit_code`` is its own."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Agreement(NamedTuple):
    """What the processes have told each other before a step.

    Attributes:
        interrupted: Somebody got Ctrl-C.
        terminated: Somebody got SIGTERM.
        failed: Somebody cannot go on.
        save: The first process wants a checkpoint.
    """

    interrupted: bool
    terminated: bool
    failed: bool
    save: bool


class Ranks:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
        device: Where this one computes.

    Args:
        device: What the settings ask for; with several processes each takes its own GPU.
        precision: Of the network's heavy part.
    """

    def __init__(
        self, device: torch.device | None = None, precision: Precision = "float32"
    ) -> None:
        wanted = device or torch.device("cpu")
        if wanted.type == "cuda" and wanted.index is not None:
            torch.cuda.set_device(wanted)  # what Accelerate then takes
        # Accelerate keeps one state per process; a program that runs after another starts anew
        AcceleratorState._reset_state(reset_partial_state=not dist.is_initialized())
        self._accelerator = Accelerator(
            cpu=wanted.type == "cpu",
            mixed_precision=MIXED_PRECISION[precision],
        )
        self.rank: int = self._accelerator.process_index
        self.size: int = self._accelerator.num_processes
        self.device = wanted if self.size == 1 else self._accelerator.device
        self._hosts = dist.new_group(backend="gloo", timeout=PATIENCE) if self.size > 1 else None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    # ------------------------------------------------------------ computing

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network for training: on the device, in its precision, gradients shared.

        Returns:
            The network itself, or what wraps it where there are several processes.
        """
        prepared: nn.Module = self._accelerator.prepare_model(network)
        return prepared

    def forget(self, network: nn.Module) -> None:
        """Let go of a network, which Accelerate would keep to the end of the process."""
        self._accelerator._models = [m for m in self._accelerator._models if m is not network]

    def part(self, network: nn.Module, last: bool) -> AbstractContextManager[None]:
        """A context for forward and backward pass of a micro-batch; gradients meet in the last."""
        if last or self.size == 1:
            return nullcontext()
        context: AbstractContextManager[None] = self._accelerator.no_sync(network)
        return context

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of this process's part of the loss; parts of all ranks are summed.

        Args:
            loss: A part of the batch's loss. Wrapped networks average over the processes, so it
                is multiplied by their number.
        """
        self._accelerator.backward(loss * self.size if self.size > 1 else loss)

    def clip(self, parameters: Iterable[nn.Parameter], largest: float | None) -> Tensor:
        """Norm of all gradients before they are shortened to ``largest``, on the device."""
        limit = float("inf") if largest is None else largest
        norm = self._accelerator.clip_grad_norm_(parameters, limit)
        assert isinstance(norm, Tensor)
        return norm

    @property
    def scaler(self) -> Any:
        """The scaler of a 16-bit format that needs one; None for float32 and bfloat16."""
        return self._accelerator.scaler

    # ------------------------------------------------------------ agreeing

    def agree(self, interrupted: bool, terminated: bool, failed: bool, save: bool) -> Agreement:
        """What any of the processes says holds for all."""
        told = torch.tensor([interrupted, terminated, failed, save], dtype=torch.int64)
        return Agreement(*(bool(number) for number in self.sum(told).tolist()))

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the processes of a tensor; where there are several it comes back on the CPU."""
        if self.size == 1:
            return values
        total = values.detach().cpu().clone()
        dist.all_reduce(total, group=self._hosts)
        return total

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of the first process, on the device."""
        for tensor in tensors if self.size > 1 else ():
            dist.broadcast(tensor, src=0)

    def gather(self, value: Value) -> list[Value]:
        """What each process has to say, in the order of ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._hosts)
        return values

    def by_first(self, action: Callable[[], Value]) -> Value:
        """Let the first process do something; all get the result, or its error.

        Raises:
            RankError: In the others, when it failed in the first.
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
        dist.broadcast_object_list(outcome, src=0, group=self._hosts)
        if failure is not None:
            raise failure
        if outcome[1] is not None:
            raise _ended_elsewhere(0, *outcome[1])
        value: Value = outcome[0]
        return value

    def all_well(self, failure: CaimError | None) -> None:
        """Go on if no process has failed.

        Raises:
            CaimError: The failure of this process; else that of another, as ``RankError``.
        """
        told = None if failure is None else (str(failure), failure.exit_code)
        outcomes = self.gather(told)
        if failure is not None:
            if not self.is_first and outcomes[0] == told:  # said once is enough
                raise RankError(f"process {self.rank}: the same", failure.exit_code)
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

    def lost(self, error: BaseException) -> bool:
        """Whether an error means that another process is gone."""
        if self.size == 1 or not isinstance(error, RuntimeError):
            return False
        text = str(error).lower()
        return isinstance(error, dist.DistError) or any(word in text for word in LOST)

    def close(self) -> None:
        """Part from the other processes, after the last word."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def chosen_device(name: str) -> torch.device:
    """The device of a setting, for one or several processes.

    Raises:
        UserError: As ``choose_device``; or one GPU is named for several processes.
    """
    device = choose_device(name)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and device.index is not None:
        raise UserError(
            f"--device: found {name!r} with several processes, expected auto, cpu or cuda: each "
            "process takes a GPU of its own."
        )
    return device


def _ended_elsewhere(rank: int, message: str, exit_code: int) -> RankError:
    return RankError(f"process {rank} could not go on: {message}", exit_code)
