"""The check at every network's door: is this tensor the series, or pair, it was built for?"""

from __future__ import annotations

from torch import Tensor

__all__ = ["check_pair", "check_series"]


def check_pair(images: Tensor, in_channels: int, divisor: int) -> None:
    """Check the shape and type of a batch of image pairs.

    Args:
        images: Should be (B, 2, C, H, W), floating point.
        in_channels: Expected C.
        divisor: H and W must be whole multiples of this.

    Raises:
        ValueError: The tensor differs; the message gives found and expected.
    """
    if images.dim() == 5 and images.shape[1] != 2:
        T = images.shape[1]
        hint = (
            "give the first and the last date of a series, images[:, [0, -1]]"
            if T > 2
            else "give the image before and the one after"
        )
        raise ValueError(
            f"network input: found T={T} dates in shape {tuple(images.shape)}, expected a pair, "
            f"(B, 2, C={in_channels}, H, W); {hint}."
        )
    check_series(images, 2, in_channels, divisor)


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
