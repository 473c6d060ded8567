"""The check at every network's door: is this tensor the series the network was built for?

Not in the paper.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["check_series"]


def check_series(images: Tensor, num_dates: int, in_channels: int, divisor: int) -> None:
    """Check the shape and type of a batch of satellite image time series (SITS).

    Args:
        images: Should be (B, T, C, H, W), floating point.
        num_dates: Expected T.
        in_channels: Expected C.
        divisor: H and W must be whole multiples of this.

    Raises:
        ValueError: The tensor differs; the message gives found and expected.
    """
    shape = tuple(images.shape)
    wanted = f"(B, T={num_dates}, C={in_channels}, H, W) floating point"
    if images.dim() != 5:
        raise ValueError(
            f"network input: found shape {shape}, expected {wanted}; "
            "add the batch axis with images[None] if a single series was meant."
        )
    _, T, C, H, W = shape
    if not images.is_floating_point():
        raise ValueError(
            f"network input: found dtype {images.dtype}, expected {wanted}; "
            "scale the pixel values first (uint8 / 255, reflectance / 10000)."
        )
    if (num_dates, in_channels) != (T, C):
        hint = (
            " The first two axes look swapped: dates come second here."
            if (shape[0] == num_dates and in_channels == C)
            else ""
        )
        raise ValueError(
            f"network input: found T={T} dates and C={C} bands in shape {shape}, expected "
            f"{wanted}.{hint} Build the network with num_dates={T}, in_channels={C}, or choose "
            "other dates or bands."
        )
    if H % divisor or W % divisor or not H or not W:
        raise ValueError(
            f"network input: found H={H}, W={W} in shape {shape}, expected whole multiples of "
            f"{divisor}; pad the image or choose another tile size."
        )
