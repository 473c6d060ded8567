"""One batch: forward, loss, backward, clip, step – in micro-batches, and as one of several ranks.

However a batch is divided, gradient and loss terms are those of the whole: every part knows the
class counts of the whole batch, and parts are added. Only what mixes the patches of a batch
(``attention="batch"``, batch normalisation) and the random numbers of dropout differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from training.run import Run
from utils.batches import Share, to_device
from utils.codes import IGNORE
from utils.device import GIB
from utils.errors import UserError
from utils.memory import PeakMeter, even_parts, memory_limit, most_at_once
from utils.metrics import ConfusionMatrix
from utils.progress import say
from utils.random_state import kept_random_state

__all__ = ["Batch", "find_micro_batch", "predict_maps", "score_step", "train_step"]

Batch = dict[str, Any]
Matrices = Mapping[str, ConfusionMatrix]


def train_step(
    run: Run, batch: Batch, share: Share, rate: float, matrices: Matrices
) -> tuple[Tensor, Tensor]:
    """Learn from one batch; all ranks at once.

    Args:
        run: The training.
        batch: This rank's part, on the CPU; its labels are blanked if it has no patch.
        share: Which part of the batch that is.
        rate: Learning rate of this step.
        matrices: Get the predictions of this step.

    Returns:
        This rank's part of the loss terms, and the norm of the whole gradient before clipping.
    """
    counts = _class_counts(run, batch, share)
    run.optimizer.zero_grad(set_to_none=True)
    total, parts = None, _parts(run, share)
    for part in parts:
        piece = _on_device(run, batch, part)
        with run.ranks.part(run.wrapped, last=part is parts[-1]):
            _place(run.network, _first(share) + part.start)
            output = run.wrapped(piece["images"])
            terms = run.task.terms(output, piece, counts)
            run.ranks.backward(terms[0])
        run.task.update(output, piece, matrices)
        total = _added(total, terms.detach())
    norm = run.ranks.clip(run.network.parameters(), run.plan.clip_norm)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.step()
    run.count_step()
    assert total is not None
    return total, norm.detach()


def score_step(run: Run, batch: Batch, share: Share, matrices: Matrices) -> Tensor:
    """Loss terms of this rank's part of a batch, without learning; arguments as above."""
    counts = _class_counts(run, batch, share)
    total = None
    for part in _parts(run, share):
        piece = _on_device(run, batch, part)
        _place(run.scored, _first(share) + part.start)
        output = run.scored(piece["images"])
        total = _added(total, run.task.terms(output, piece, counts))
        run.task.update(output, piece, matrices)
    assert total is not None
    return total


def predict_maps(run: Run, images: Tensor) -> Tensor:
    """Maps (N, H, W) of images on the CPU, each by itself and by this rank alone."""
    network = run.scored.eval()
    _place(network, 0)
    with torch.inference_mode():
        return torch.cat(
            [run.task.maps(network(image[None].to(run.ranks.device))) for image in images]
        )


def find_micro_batch(run: Run) -> None:
    """Set the run's ``micro_batch`` by the memory that the plan or the GPU allows.

    Raises:
        UserError: Not even one patch fits, or the batch must stay whole and does not.
    """
    device = run.ranks.device
    limit = memory_limit(run.plan.max_memory, device)
    if limit is None:
        return
    wanted = max(1, run.train.share(0).own)
    with kept_random_state(device):
        sample = run.train.dataset[0]
    meter = PeakMeter(device)
    most = most_at_once(lambda size: _trial(run, sample, size, meter), wanted, limit)
    most = min(run.ranks.gather(most))
    if most >= wanted:
        return
    if run.mixes_batch:
        raise UserError(
            f"--max-memory: {most} of {wanted} patches fit into {limit / GIB:.2f} GiB, "
            "expected all: with --attention batch patches of a batch are mixed, so it cannot "
            "be computed in parts. Use --attention spatial, --recompute or a smaller "
            "--batch-size."
        )
    run.micro_batch = most
    parts = len(even_parts(wanted, most))
    say(f"memory: at most {most} patches at a time; each batch is computed in {parts} parts")


def _trial(run: Run, sample: Batch, size: int, meter: PeakMeter) -> int:
    """Peak memory of a step with so many patches; nothing of it stays."""
    network = run.network
    buffers = [buffer.clone() for buffer in network.buffers()]
    with kept_random_state(run.ranks.device):
        meter.reset()
        network.train()
        _place(network, 0)
        batch = to_device(default_collate([sample] * size), run.ranks.device)
        terms = run.task.terms(network(batch["images"]), batch, run.task.counts(batch))
        terms[0].backward()  # type: ignore[no-untyped-call]
        peak = meter.peak()
    network.zero_grad(set_to_none=True)
    for buffer, before in zip(network.buffers(), buffers, strict=True):
        buffer.copy_(before)
    moments = 2 * sum(p.numel() * p.element_size() for p in network.parameters())
    return peak + moments  # the optimiser's, which a first step makes


def _class_counts(run: Run, batch: Batch, share: Share) -> Tensor:
    """Class counts of the whole batch for the loss, on the device; all ranks at once."""
    if share.own == 0:
        for key in run.task.label_keys:
            batch[key] = torch.full_like(batch[key], IGNORE)
    counts = run.ranks.sum(run.task.counts(batch))
    return counts.to(run.ranks.device, non_blocking=True)


def _parts(run: Run, share: Share) -> list[slice]:
    """Micro-batches of what this rank has; one patch that does not count where it has none."""
    return even_parts(max(1, share.own), run.micro_batch)


def _on_device(run: Run, batch: Batch, part: slice) -> Batch:
    """A part of a batch on the device."""
    return to_device({key: value[part] for key, value in batch.items()}, run.ranks.device)


def _first(share: Share) -> int:
    """Place of this rank's first patch in the whole batch."""
    return min(share.start, share.total - 1)


def _place(network: nn.Module, first: int) -> None:
    """Tell a network with weights by place in the batch which patches come next."""
    place = getattr(network, "place_in_batch", None)
    if place is not None:
        place(first)


def _added(total: Tensor | None, terms: Tensor) -> Tensor:
    return terms if total is None else total + terms
