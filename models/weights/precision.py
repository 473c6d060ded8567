"""The number format that maps are computed in: how far bfloat16 changes them, and when it is taken.

How many pixels get the same label in bfloat16 and in float32 is measured once, when weights are
made, and stored with them. Programs ask for it, and for what the processor can do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.weights.checkpoint import Checkpoint
from models.weights.offset_search import lead_of
from utils.codes import IGNORE
from utils.device import Precision, PrecisionChoice, autocast, bfloat16_fault
from utils.progress import say

__all__ = [
    "ENOUGH_PIXELS",
    "LEAST_AGREEMENT",
    "LabelAgreement",
    "compared",
    "precision_for",
    "probabilities",
]

LEAST_AGREEMENT = 0.995
"""Share of pixels with the same label from which on bfloat16 is taken unasked."""

ENOUGH_PIXELS = 1 << 19
"""Pixels after which a measurement ends; half a million tell 99.5 % from 99.6 %."""


class LabelAgreement:
    """Count of pixels that get the same label from two results of one network.

    Args:
        offset: Of the weights' decision, see ``offset_search``.

    Attributes:
        counts: (2,) int64, pixels of the same label and pixels; may be added up.
    """

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self.counts = np.zeros(2, np.int64)

    def add(self, one: NDArray[Any], other: NDArray[Any], label: NDArray[Any]) -> None:
        """Count the pixels that have a label.

        Args:
            one, other: (K, …) probabilities, or any positive multiple of them.
            label: (…) truth, ``IGNORE`` where unknown.
        """
        same = (self._labels(one) == self._labels(other))[label != IGNORE]
        self.counts += (int(same.sum()), same.size)

    def facts(self, measured_on: str) -> dict[str, Any]:
        """The facts for a weights file; empty if nothing was counted.

        Args:
            measured_on: The data in words, such as "the validation patches".
        """
        same, pixels = (int(count) for count in self.counts)
        if not pixels:
            return {}
        return {"agreement": same / pixels, "pixels": pixels, "measured_on": measured_on}

    def _labels(self, prob: NDArray[Any]) -> NDArray[np.int64]:
        best: NDArray[np.int64] = np.where(
            lead_of(prob) > self.offset, prob[1:].argmax(axis=0) + 1, 0
        )
        return best


@torch.inference_mode()
def probabilities(
    network: Any, images: Tensor, device: torch.device, precision: Precision
) -> NDArray[np.float32]:
    """Probabilities (K, B, H, W) of images (B, T, C, H, W): of moments, of a pair of areas."""
    with autocast(device, precision):
        maps = network.predict(images.to(device))
    prob = maps.area_prob if maps.moment_prob is None else maps.moment_prob
    ours: NDArray[np.float32] = prob.float().cpu().numpy().swapaxes(0, 1)
    return ours


def compared(
    network: Any,
    patches: Iterable[tuple[Tensor, NDArray[Any]]],
    offset: float,
    device: torch.device,
) -> LabelAgreement:
    """Count how often labels agree in float32 and bfloat16, up to ``ENOUGH_PIXELS``.

    Args:
        network: In eval mode, on the device.
        patches: Images (B, T, C, H, W) and their labels (B, H, W), ``IGNORE`` where unknown.
        offset: Of the weights' decision.
        device: Where it runs.
    """
    agreement = LabelAgreement(offset)
    for images, label in patches:
        exact = probabilities(network, images, device, "float32")
        rounded = probabilities(network, images, device, "bfloat16")
        agreement.add(exact, rounded, label)
        if agreement.counts[1] >= ENOUGH_PIXELS:
            break
    return agreement


def precision_for(
    choice: PrecisionChoice, weights: Checkpoint, device: torch.device, exactly: str = ""
) -> Precision:
    """The format that a network computes in; what "auto" comes to is said with its reason.

    Args:
        choice: A format, or "auto": bfloat16 where the device multiplies it and the maps of these
            weights agree, else float32.
        weights: At hand.
        device: Where the network runs.
        exactly: Why "auto" has to be float32, whatever the weights say; empty if it need not.
    """
    if choice != "auto":
        return choice
    fault = exactly or bfloat16_fault(device) or _disagreement(weights)
    if fault:
        say(f"precision float32: {fault}")
        return "float32"
    place = "this processor" if device.type == "cpu" else "this GPU"
    say(f"precision bfloat16: {place} has it, and {_agreement(weights)} (--precision float32)")
    return "bfloat16"


def _disagreement(weights: Checkpoint) -> str:
    """Why maps of weights cannot be taken from bfloat16; empty if they can."""
    if not weights.bfloat16:
        return "these weights do not say how far their maps in bfloat16 agree"
    if weights.bfloat16["agreement"] < LEAST_AGREEMENT:
        return f"{_agreement(weights)} only in bfloat16, expected {100 * LEAST_AGREEMENT:g} %"
    return ""


def _agreement(weights: Checkpoint) -> str:
    measured = weights.bfloat16
    return f"maps agree at {100 * measured['agreement']:.2f} % ({measured['measured_on']})"
