"""The number format of the network's heavy part: float32, or bfloat16 under autocast.

Not in the paper (the released program runs in float32).
"""

from __future__ import annotations

from typing import Literal

import torch

__all__ = ["Precision", "autocast"]

Precision = Literal["float32", "bfloat16"]


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """A context in which the network computes with the chosen precision.

    Args:
        device: Where the network lives.
        precision: "float32" leaves everything as it is; "bfloat16" lets matrix products and
            convolutions run in 16 bits, weights and the head from the softmax on stay float32.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
