"""The images of a series as people see them: one stretch for all dates, and how clear each is."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from utils.pictures.colors import Pixels, Stretch, shared_stretch, visible_image

__all__ = ["clear_dates", "clear_shares", "visible_series"]

CLEAR_SIDE = 128  # pixels of the longer side, on which clouds are looked for
WHITE, CLOUD = 230, 40  # levels of 255 in all colours; by how much a cloud is above the usual
AS_CLEAR = 0.05  # share by which a date may be less clear than the clearest


def visible_series(
    images: Sequence[npt.NDArray[Any]],
    valid: Sequence[npt.NDArray[np.bool_]],
    bands: tuple[int, int, int],
) -> Pixels:
    """The images of a series as the eye would see them, in colours that can be compared.

    One stretch serves all dates. It is found from each date's own, so that one date under clouds
    or snow does not darken the others.

    Args:
        images: T images (C, H, W), any unit. With one or two bands the first is shown in grey.
        valid: (H, W) bool of each date: other pixels are painted white.
        bands: Indices of red, green and blue among the C bands.

    Returns:
        (T, H, W, 3) uint8.

    Raises:
        ValueError: There is no image, or sizes or numbers differ.
    """
    if len(images) == 0 or len(images) != len(valid):
        raise ValueError(
            f"valid: found {len(valid)} masks for {len(images)} images, expected one each."
        )
    shape = images[0].shape
    for image, mask in zip(images, valid, strict=True):
        if image.shape != shape or mask.shape != shape[1:]:
            raise ValueError(
                f"images: found {image.shape} with mask {mask.shape}, expected {shape} and "
                f"{shape[1:]} as at the first date."
            )
    shown = (0, 0, 0) if shape[0] < 3 else bands
    chosen = [np.asarray(image)[list(shown)] for image in images]
    stretch = _typical_stretch(chosen, valid)
    return np.stack(
        [
            visible_image(image, (0, 1, 2), stretch, mask)
            for image, mask in zip(chosen, valid, strict=True)
        ]
    )


def clear_shares(pictures: Pixels, valid: Sequence[npt.NDArray[np.bool_]]) -> list[float]:
    """Share of each date that is seen and no cloud, as far as pictures tell.

    A cloud that no mask knows of is white where the place is not, in the middle of its dates.

    Args:
        pictures: (T, H, W, 3) uint8, with one stretch (``visible_series``).
        valid: (H, W) bool of each date, what is seen.
    """
    step = -(-max(pictures.shape[1:3]) // CLEAR_SIDE)
    small = pictures[:, ::step, ::step].astype(np.float32)
    mask = np.stack([mask[::step, ::step] for mask in valid])
    small[~mask] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a pixel that is never seen has no median
        usual = np.nanmedian(small, axis=0)
    clear = mask & ~((small.min(axis=-1) > WHITE) & (usual.min(axis=-1) <= WHITE - CLOUD))
    return [float(share) for share in clear.mean(axis=(1, 2))]


def clear_dates(clear: Sequence[float]) -> tuple[int, int]:
    """First and last of the dates that are about as clear as the clearest one.

    Args:
        clear: Share of each date that is clear (``clear_shares``).
    """
    usable = [t for t, share in enumerate(clear) if share >= max(clear) - AS_CLEAR]
    return usable[0], usable[-1]


def _typical_stretch(
    images: Sequence[npt.NDArray[Any]], valid: Sequence[npt.NDArray[np.bool_]]
) -> Stretch:
    """A stretch between those of the dates; dates without data say nothing.

    Clouds make both ends brighter, shade and season the dark end darker: the lower quartile of
    the dark ends keeps shade visible, the median of the bright ends is not moved by clouds.
    """
    stretches = [
        shared_stretch([image], [mask])
        for image, mask in zip(images, valid, strict=True)
        if (np.isfinite(image).all(axis=0) & mask).any()
    ]
    if not stretches:
        return Stretch(np.zeros(3), np.ones(3))
    low = np.quantile([stretch.low for stretch in stretches], 0.25, axis=0)
    high = np.median([stretch.high for stretch in stretches], axis=0)
    return Stretch(low, np.where(high > low, high, low + 1.0))
