"""Measurements of trained weights on the validation patches, stored with them.

The offset of their decision, the probability of "changed", and how far their maps agree in
bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.weights.checkpoint import load_checkpoint, save_checkpoint
from models.weights.offset_search import OffsetSearch
from models.weights.precision import ENOUGH_PIXELS, LabelAgreement, compared, probabilities
from models.weights.probability import Calibration, LeadCounts, calibrated
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
    """Choose offset and probability of the best weights by the validation patches and store them.

    All ranks at once; the first one writes. Patches are decided one by one, not blended. The
    error of the probability is that of the curve of either half of the scenes on the other half.

    Args:
        run: Finished; its best.pth is there.
    """
    path = run.folder / BEST
    weights = run.ranks.by_first(lambda: load_checkpoint(path))  # which has written it
    search, leads = _search(run, weights.build().to(run.ranks.device))
    decision = {**search.best(), "chosen_on": CHOSEN_ON}
    probability = calibrated(leads, CHOSEN_ON)
    if probability:
        decision["probability"] = probability
    if run.ranks.is_first:
        save_checkpoint(path, replace(weights, decision=decision))
    scores, plain = decision["scores"], decision["plain_scores"]
    say(
        f"decision: offset {decision['offset']:+.2f}, chosen on the validation patches (area F1 "
        f"{100 * plain['area_f1']:.2f} → {100 * scores['area_f1']:.2f}, moment F1 "
        f"{100 * plain['moment_f1_macro_all']:.2f} → {100 * scores['moment_f1_macro_all']:.2f})"
    )
    if not probability:
        say("no probability is calibrated: that takes two validation scenes with changes at least")
        return
    curve = Calibration.of(decision)
    use = "maps will say it" if curve is not None and curve.is_good else "too far to be mapped"
    say(
        f"probability: {probability['error']:.3f} off on average, "
        f"{probability['changed_error']:.3f} where it says 50 % or more "
        f"({probability['measured_on']}); {use}"
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
    served = _patches(run, network, "comparing bfloat16", every)
    patches = ((images, label) for images, label, _ in served)
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


def _search(run: Run, network: Any) -> tuple[OffsetSearch, LeadCounts]:
    """Counts of all validation patches at every offset and by lead, those of all ranks added up."""
    search, leads = OffsetSearch(run.task.num_classes), LeadCounts()
    for images, label, scene in _patches(run, network, "choosing the decision"):
        prob = probabilities(network, images, run.ranks.device, run.plan.precision)
        search.add(prob, label)
        for half in (0, 1):
            leads.add(prob[:, scene % 2 == half], label[scene % 2 == half], half)
    for counted in (search, leads):
        counted.counts = run.ranks.sum(torch.from_numpy(counted.counts)).numpy()
    return search, leads


def _patches(
    run: Run, network: Any, caption: str, every: int = 1
) -> Iterator[tuple[Tensor, NDArray[Any], NDArray[Any]]]:
    """Images, labels and scenes of this rank's validation patches, as many as fit at a time.

    Of the batches each n-th one.
    """
    served = progress(run.val.epoch(0), caption, len(run.val), "batch")
    for step, batch in enumerate(served):
        share = run.val.share(step)
        wanted = share.own and step % every == 0
        for part in even_parts(share.own, run.micro_batch) if wanted else ():
            if hasattr(network, "place_in_batch"):
                network.place_in_batch(share.start + part.start)
            scene = np.asarray(batch["scene_index"])[part]
            yield batch["images"][part], batch[run.task.label_keys[-1]][part].numpy(), scene


def _patch_pixels(run: Run) -> int:
    """Pixels of a validation patch."""
    label = run.val.dataset[0][run.task.label_keys[-1]]
    return int(label.shape[-2] * label.shape[-1])
