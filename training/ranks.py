"""The processes that train together, and what Accelerate carries for them.

``python Train_Dynamic.py`` is one process; ``accelerate launch`` and ``torchrun`` start several
("ranks"), each with a share of every batch. Here is what differs: device, mixed precision, the
gradients' sum. What is computed is in ``training.loop``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from utils.device import Precision, choose_device
from utils.errors import UserError
from utils.processes import Processes
from utils.progress import say

__all__ = ["Agreement", "Ranks", "check_processes", "chosen_device"]

MIXED_PRECISION = {"float32": "no", "bfloat16": "bf16"}
PATIENCE = timedelta(hours=2)  # one rank may check data or write while the others wait
LOST = ("connection closed", "connection reset", "broken pipe", "gloo", "nccl", "timed out waiting")


class Agreement(NamedTuple):
    """Requests that hold for all ranks before a step, since one of them has them.

    Attributes:
        interrupted: Somebody got Ctrl-C.
        terminated: Somebody got SIGTERM.
        failed: Somebody cannot go on.
    """

    interrupted: bool
    terminated: bool
    failed: bool


class Ranks(Processes):
    """The processes of a training, seen from one of them.

    Attributes:
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
            cpu=wanted.type == "cpu", mixed_precision=MIXED_PRECISION[precision]
        )
        size = self._accelerator.num_processes
        super().__init__(
            self._accelerator.process_index,
            size,
            self._accelerator.local_process_index,
            dist.new_group(backend="gloo", timeout=PATIENCE) if size > 1 else None,
        )
        self.device = wanted if size == 1 else self._accelerator.device

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network for training: on the device, in its precision, gradients shared.

        Returns:
            The network itself, or what wraps it where there are several ranks.
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
        """Add the gradients of this rank's part of the loss; parts of all ranks are summed.

        Args:
            loss: A part of the batch's loss. Wrapped networks average over the ranks, so it
                is multiplied by their number.
        """
        self._accelerator.backward(loss * self.size if self.size > 1 else loss)

    def clip(self, parameters: Iterable[nn.Parameter], largest: float | None) -> Tensor:
        """Norm of all gradients before they are shortened to ``largest``, on the device."""
        limit = float("inf") if largest is None else largest
        norm = self._accelerator.clip_grad_norm_(parameters, limit)
        assert isinstance(norm, Tensor)
        return norm

    def agree(self, interrupted: bool, terminated: bool, failed: bool) -> Agreement:
        """Let what any of the ranks says hold for all."""
        number_of_ranks = self.sum(torch.tensor([interrupted, terminated, failed]).long())
        return Agreement(*(number > 0 for number in number_of_ranks.tolist()))

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of the first rank, on the device."""
        for tensor in tensors if self.size > 1 else ():
            dist.broadcast(tensor, src=0)

    def lost(self, error: BaseException) -> bool:
        """Whether an error means that another rank is gone."""
        if self.size == 1 or not isinstance(error, RuntimeError):
            return False
        text = str(error).lower()
        return isinstance(error, dist.DistError) or any(word in text for word in LOST)


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


def check_processes(processes: int, network: nn.Module, batch_size: int) -> None:
    """Say how a batch is shared, and refuse a network that cannot share it.

    Raises:
        UserError: Its attention mixes the patches of a batch.
    """
    if getattr(network, "mixes_batch", False):
        raise UserError(
            f"--attention batch: found {processes} processes, expected one, since it mixes the "
            "patches of a batch, which several processes share; start one, or use --attention "
            "spatial."
        )
    say(f"{processes} processes share each batch of {batch_size} patches")
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        say("warning: batch normalisation sees the patches of one process, not the whole batch")
