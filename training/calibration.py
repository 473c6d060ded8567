"""Measurements of trained weights on the validation patches, stored with them.

The offset of their decision, and how far their maps agree in bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.weights.checkpoint import load_checkpoint, save_checkpoint
from models.weights.offset_search import OffsetSearch
from models.weights.precision import ENOUGH_PIXELS, LabelAgreement, compared, probabilities
from training.checkpoints import BEST
from training.run import Run
from utils.memory import even_parts
from utils.progress import progress, say

__all__ = ["store_agreement", "store_decision", "store_measured"]

CHOSEN_ON = "the validation patches"


def store_measured(run: Run) -> None:
    """Measure the best weights on the validation patches: their decision, then bfloat16.

    Args:
        run: Finished; its best.pth is there.
    """
    if run.task.decides_moments:
        store_decision(run)
    store_agreement(run)


def store_decision(run: Run) -> None:
    """Choose the offset of the best weights by the validation patches and store it with them.

    All ranks at once; the first one writes. Patches are decided one by one, not blended.

    Args:
        run: Finished; its best.pth is there.
    """
    path = run.folder / BEST
    weights = run.ranks.by_first(lambda: load_checkpoint(path))  # which has written it
    decision = _search(run, weights.build().to(run.ranks.device)).best()
    decision = {**decision, "chosen_on": CHOSEN_ON}
    if run.ranks.is_first:
        save_checkpoint(path, replace(weights, decision=decision))
    scores, plain = decision["scores"], decision["plain_scores"]
    say(
        f"decision: offset {decision['offset']:+.2f}, chosen on the validation patches (area F1 "
        f"{100 * plain['area_f1']:.2f} → {100 * scores['area_f1']:.2f}, moment F1 "
        f"{100 * plain['moment_f1_macro_all']:.2f} → {100 * scores['moment_f1_macro_all']:.2f})"
    )


def store_agreement(run: Run) -> None:
    """Measure how far maps of the best weights agree in bfloat16 and store it with them.

    All ranks at once; the first one writes. Of many validation patches some are taken, evenly.

    Args:
        run: Finished; its best.pth is there, with its decision if it gets one.
    """
    device = run.ranks.device
    if device.type not in ("cpu", "cuda"):
        return  # bfloat16 is not taken there unasked
    path = run.folder / BEST
    weights = run.ranks.by_first(lambda: load_checkpoint(path))
    network = weights.build().to(device)
    every = -(-run.val.patches * _patch_pixels(run) // ENOUGH_PIXELS)
    patches = _patches(run, network, "comparing bfloat16", every)
    agreement: LabelAgreement = compared(network, patches, weights.offset, device)
    agreement.counts = run.ranks.sum(torch.from_numpy(agreement.counts)).numpy()
    measured = agreement.facts(CHOSEN_ON)
    if measured and run.ranks.is_first:
        save_checkpoint(path, replace(weights, bfloat16=measured))
    if measured:
        say(
            f"bfloat16: {100 * measured['agreement']:.2f} % of {measured['pixels']:,} pixels get "
            "the same label as in float32"
        )


def _search(run: Run, network: Any) -> OffsetSearch:
    """Counts of all validation patches at every offset, those of all ranks added up."""
    search = OffsetSearch(run.task.num_classes)
    for images, label in _patches(run, network, "choosing the decision"):
        search.add(probabilities(network, images, run.ranks.device, run.plan.precision), label)
    search.counts = run.ranks.sum(torch.from_numpy(search.counts)).numpy()
    return search


def _patches(
    run: Run, network: Any, caption: str, every: int = 1
) -> Iterator[tuple[Tensor, NDArray[Any]]]:
    """Images and labels of this rank's validation patches, each n-th batch, as many as fit."""
    served = progress(run.val.epoch(0), caption, len(run.val), "batch")
    for step, batch in enumerate(served):
        share = run.val.share(step)
        wanted = share.own and step % every == 0
        for part in even_parts(share.own, run.micro_batch) if wanted else ():
            if hasattr(network, "place_in_batch"):
                network.place_in_batch(share.start + part.start)
            yield batch["images"][part], batch[run.task.label_keys[-1]][part].numpy()


def _patch_pixels(run: Run) -> int:
    """Pixels of a validation patch."""
    label = run.val.dataset[0][run.task.label_keys[-1]]
    return int(label.shape[-2] * label.shape[-1])
