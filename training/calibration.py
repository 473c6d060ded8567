"""The decision of trained weights: its offset, found on the validation patches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from models.weights.checkpoint import load_checkpoint, save_checkpoint
from models.weights.offset_search import OffsetSearch
from training.checkpoints import BEST
from training.run import Run
from utils.device import autocast
from utils.memory import even_parts
from utils.progress import progress, say

__all__ = ["store_decision"]


def store_decision(run: Run) -> None:
    """Choose the offset of the best weights by the validation patches and store it with them.

    All ranks at once; the first one writes. Patches are decided one by one, not blended.

    Args:
        run: Finished; its best.pth is there.
    """
    path = run.folder / BEST
    weights = run.ranks.by_first(lambda: load_checkpoint(path))  # which has written it
    decision = _search(run, weights.build().to(run.ranks.device)).best()
    decision = {**decision, "chosen_on": "the validation patches"}
    if run.ranks.is_first:
        save_checkpoint(path, replace(weights, decision=decision))
    scores, plain = decision["scores"], decision["plain_scores"]
    say(
        f"decision: offset {decision['offset']:+.2f}, chosen on the validation patches (area F1 "
        f"{100 * plain['area_f1']:.2f} → {100 * scores['area_f1']:.2f}, moment F1 "
        f"{100 * plain['moment_f1_macro_all']:.2f} → {100 * scores['moment_f1_macro_all']:.2f})"
    )


@torch.inference_mode()
def _search(run: Run, network: Any) -> OffsetSearch:
    """Counts of all validation patches at every offset, those of all ranks added up."""
    search = OffsetSearch(run.task.num_classes)
    device = run.ranks.device
    served = progress(run.val.epoch(0), "choosing the decision", len(run.val), "batch")
    for step, batch in enumerate(served):
        share = run.val.share(step)
        for part in even_parts(share.own, run.micro_batch) if share.own else ():
            if hasattr(network, "place_in_batch"):
                network.place_in_batch(share.start + part.start)
            with autocast(device, run.plan.precision):
                maps = network.predict(batch["images"][part].to(device))
            prob = maps.moment_prob.float().cpu().numpy().swapaxes(0, 1)  # (K, B, H, W)
            search.add(prob, batch[run.task.label_keys[-1]][part].numpy())
    search.counts = run.ranks.sum(torch.from_numpy(search.counts)).numpy()
    return search
