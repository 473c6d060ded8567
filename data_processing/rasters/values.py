"""What stored values mean: data or none, the range networks take, label codes.

One rule each, for scenes, pairs and a user's own rasters alike.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from utils.codes import IGNORE, NO_DATA

__all__ = [
    "PIXEL_TYPES",
    "LabelRule",
    "PixelScale",
    "decode_label",
    "decode_pair_label",
    "has_data",
    "scale_pixels",
]


PIXEL_TYPES = ("uint8", "int8", "uint16", "int16", "float32", "float64")


def has_data(stored: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
    """Where (h, w) values (C, h, w) are measurements; the rule of :func:`read_window`."""
    there = np.ones(stored.shape[1:], dtype=np.bool_)
    if stored.dtype.kind == "f":
        there &= ~np.isnan(stored).any(axis=0)
    if nodata is not None and not np.isnan(nodata):
        missing = stored == float(nodata)
        there &= ~(missing.any(axis=0) if nodata < 0 else missing.all(axis=0))
    return there


PixelScale = Literal["auto", "stored"]


def scale_pixels(stored: npt.NDArray[Any], pixel_scale: PixelScale) -> npt.NDArray[np.float32]:
    """Bring stored values to the range the networks take.

    Args:
        stored: Any shape; 8-bit, 16-bit or float.
        pixel_scale: ``auto`` (8-bit / 255, 16-bit / 10000, float as stored) or ``stored``.

    Returns:
        The same shape, float32; the very array where there is nothing to convert.
    """
    images = stored.astype(np.float32, copy=False)
    if pixel_scale == "auto" and stored.dtype.kind in "ui":
        images /= np.float32(255 if stored.dtype.itemsize == 1 else 10000)
    return images


def decode_label(
    stored: npt.NDArray[Any], nodata: float | None, binary: bool = False
) -> npt.NDArray[np.int64]:
    """Labels as used in memory from labels as stored.

    Args:
        stored: (h, w), values on disk.
        nodata: The file's nodata tag; 255 makes the value 255 mean "ignore".
        binary: A change area, in which 255 without that tag means 1.

    Returns:
        (h, w) int64, −1 = ignore.
    """
    label = stored.astype(np.int64)
    if nodata == NO_DATA:
        label[stored == NO_DATA] = IGNORE
    elif binary:
        label[stored == NO_DATA] = 1
    return label


def decode_pair_label(
    stored: npt.NDArray[Any], nodata: float | None, rule: LabelRule
) -> npt.NDArray[np.int64]:
    """Labels as used in memory from labels as stored.

    Args:
        stored: (C, h, w) values on disk, all bands alike.
        nodata: The file's nodata tag; a tag other than 0 means "ignore".
        rule: How values become 0 and 1.

    Returns:
        (h, w) int64: 0, 1, −1 = ignore.
    """
    values = stored[0]
    changed = values > 127 if rule == "above_127" else values != 0
    label: npt.NDArray[np.int64] = changed.astype(np.int64)
    if nodata:
        label[values == nodata] = IGNORE
    return label


LabelRule = Literal["exact", "nonzero", "above_127"]
