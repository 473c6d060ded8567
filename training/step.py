"""One batch: forward, loss, backward, step – in micro-batches, and as one process of several.

However a batch is divided, gradient and loss terms are those of the whole: every part knows the
class counts of the whole batch, and parts are added. Only what mixes the patches of a batch
(``attention="batch"``, batch normalisation) and the random numbers of dropout differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from training.exchange import GatheredBatch
from training.plan import TrainingPlan, adam
from training.ranks import Ranks
from training.tasks import Task
from utils.batches import Batches, Share, to_device
from utils.codes import IGNORE
from utils.device import GIB
from utils.errors import UserError
from utils.memory import PeakMeter, even_parts, memory_limit, most_at_once
from utils.metrics import ConfusionMatrix
from utils.progress import say
from utils.random_state import kept_random_state

__all__ = ["Learner"]

Batch = dict[str, Any]
Matrices = Mapping[str, ConfusionMatrix]


@dataclass
class Learner:
    """A network, what it learns, and its optimiser, in one of the processes of a run.

    Attributes:
        network: On the device; ``forward`` takes images and gives what the task's loss takes.
        task: Loss and scores.
        plan: What to do.
        ranks: The processes.
        micro_batch: Most patches at a time in this process; None for its whole share.
    """

    network: nn.Module
    task: Task
    plan: TrainingPlan
    ranks: Ranks
    micro_batch: int | None = None

    def __post_init__(self) -> None:
        self.wrapped = self.ranks.prepare(self.network)
        self.optimizer = adam(self.network, self.plan)

    def rebuild_optimizer(self) -> None:
        """Forget the optimiser's moments."""
        self.optimizer = adam(self.network, self.plan)

    def count(self, batch: Batch, share: Share) -> Tensor:
        """What the loss must know of the whole batch, on the device; all ranks at once.

        Args:
            batch: This process's part, on the CPU; its labels are blanked if it has no patch.
            share: Which part that is.
        """
        if share.own == 0:
            for key in self.task.label_keys:
                batch[key] = torch.full_like(batch[key], IGNORE)
        counts = self.ranks.sum(self.task.counts(batch))
        return counts.to(self.ranks.device, non_blocking=True)

    def learn(
        self, batch: Batch, share: Share, counts: Tensor, rate: float, matrices: Matrices
    ) -> tuple[Tensor, Tensor]:
        """One step of the optimiser.

        Args:
            batch: This process's part, on the CPU.
            share: Which part that is.
            counts: ``count`` of the batch.
            rate: Learning rate.
            matrices: Get the predictions of this step.

        Returns:
            This process's part of the loss terms, and the norm of the whole gradient.
        """
        self.optimizer.zero_grad(set_to_none=True)
        parts = even_parts(_held(share), self.micro_batch)
        total = None
        for part in parts:
            with self.ranks.part(self.wrapped, last=part is parts[-1]):
                output, piece = self._forward(self.wrapped, batch, share, part)
                terms = self.task.terms(output, piece, counts)
                self.ranks.backward(terms[0])
            self.task.tally(output, piece, matrices)
            total = terms.detach() if total is None else total + terms.detach()
        norm = self.ranks.clip(self.network.parameters(), self.plan.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        assert total is not None
        return total, norm.detach()

    def score(self, batch: Batch, share: Share, counts: Tensor, matrices: Matrices) -> Tensor:
        """Loss terms of this process's part of a batch, without learning; arguments as above."""
        total = None
        for part in even_parts(_held(share), self.micro_batch):
            output, piece = self._forward(self.network, batch, share, part)
            terms = self.task.terms(output, piece, counts)
            self.task.tally(output, piece, matrices)
            total = terms if total is None else total + terms
        assert total is not None
        return total

    def predict(self, images: Tensor) -> Tensor:
        """Maps (N, H, W) of images on the CPU, each by itself and by this process alone."""
        self.network.eval()
        self._place(0, None)
        with torch.inference_mode():
            maps = [
                self.task.maps(self.network(image[None].to(self.ranks.device))) for image in images
            ]
        return torch.cat(maps)

    @property
    def mixes_batch(self) -> bool:
        """Whether a prediction depends on the other patches of its batch (attention)."""
        return bool(getattr(self.network, "mixes_batch", False))

    def find_micro_batch(self, batches: Batches) -> None:
        """Set ``micro_batch`` by the memory that the plan or the GPU allows.

        Args:
            batches: Of training.

        Raises:
            UserError: Not even one patch fits, or the batch must stay whole and does not.
        """
        device = self.ranks.device
        limit = memory_limit(self.plan.max_memory, device)
        if limit is None:
            return
        wanted = max(1, batches.share(0).own)
        with kept_random_state(device):
            sample = batches.dataset[0]
        meter = PeakMeter(device)
        most = most_at_once(lambda size: self._trial(sample, size, meter), wanted, limit)
        most = min(self.ranks.gather(most))
        if most >= wanted:
            return
        if self.mixes_batch:
            raise UserError(
                f"--max-memory: {most} of {wanted} patches fit into {limit / GIB:.2f} GiB, "
                "expected all: with --attention batch patches of a batch are mixed, so it cannot "
                "be computed in parts. Use --attention spatial, --recompute or a smaller "
                "--batch-size."
            )
        self.micro_batch = most
        parts = len(even_parts(wanted, most))
        say(f"memory: at most {most} patches at a time; each batch is computed in {parts} parts")

    def _trial(self, sample: Batch, size: int, meter: PeakMeter) -> int:
        """Peak memory of a step with so many patches; nothing of it stays."""
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        with kept_random_state(self.ranks.device):
            meter.reset()
            self.network.train()
            self._place(0, None)
            batch = to_device(default_collate([sample] * size), self.ranks.device)
            terms = self.task.terms(self.network(batch["images"]), batch, self.task.counts(batch))
            terms[0].backward()  # type: ignore[no-untyped-call]
            peak = meter.peak()
        self.network.zero_grad(set_to_none=True)
        for buffer, before in zip(self.network.buffers(), buffers, strict=True):
            buffer.copy_(before)
        moments = 2 * sum(p.numel() * p.element_size() for p in self.network.parameters())
        return peak + moments  # the optimiser's, which a first step makes

    def _forward(
        self, network: nn.Module, batch: Batch, share: Share, part: slice
    ) -> tuple[Any, Batch]:
        """Output for a part of this process's share, and the part itself on the device."""
        piece = to_device(_cut(batch, part), self.ranks.device)
        gathered = None
        if self.plan.gather_batch and self.ranks.size > 1 and self.mixes_batch:
            gathered = GatheredBatch(share.total, self.ranks.rank, self.ranks.size)
        self._place(min(share.start, share.total - 1) + part.start, gathered)
        return network(piece["images"]), piece

    def _place(self, first: int, gathered: GatheredBatch | None) -> None:
        place = getattr(self.network, "place_in_batch", None)
        if place is not None:
            place(first, gathered)


def _held(share: Share) -> int:
    """Patches that are served: one that does not count where there is none."""
    return max(1, share.own)


def _cut(batch: Batch, part: slice) -> Batch:
    """A part of a batch."""
    return {key: value[part] for key, value in batch.items()}
