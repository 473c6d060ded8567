"""Meaning of stored values: data or none, the range networks take, label codes.

One rule each, for scenes, pairs and a user's own rasters alike.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from utils.codes import IGNORE, NO_DATA

__all__ = [
    "INVERTED",
    "LARGEST_BYTE",
    "PIXEL_TYPES",
    "UNAPPLIED",
    "LabelRule",
    "PixelScale",
    "area_from_moment",
    "decode_label",
    "decode_mask",
    "fill_unseen",
    "has_data",
    "no_measurement",
    "odd_values",
    "scale_pixels",
    "unlikely_values",
    "unscale_pixels",
]


PIXEL_TYPES = ("uint8", "int8", "uint16", "int16", "float32", "float64")
LOWEST, HIGHEST = -9999.0, 1e30  # no measurement lies at the one or below, at the other or above
LARGEST_REFLECTANCE = 10.0  # values above are hardly the 0…1 that networks take
LARGEST_BYTE = 255
INVERTED = "0 is shown white and 1 black (colour table or MINISWHITE): white is taken as 1"
UNAPPLIED = (
    "scale and offset in the tags are not applied here: values are taken by their type "
    "(prepare_custom.py and Predict.py apply them)"
)
BRIGHTEST = 10000  # of 16-bit values, reflectance × 10000
EMPTY_SHARE = 0.01  # of pixels that are 0 in all bands, worth a word
DARKEST, BELOW_SHARE = -0.02, 0.05  # reflectance, and the share of pixels below it worth a word


def has_data(stored: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.bool_]:
    """Mask (h, w) of values (C, h, w) that are measurements; the rule of :func:`read_window`."""
    data_mask = np.ones(stored.shape[1:], dtype=np.bool_)
    if stored.dtype.kind == "f":
        data_mask &= ~np.isnan(stored).any(axis=0)
    if nodata is not None and not np.isnan(nodata):
        missing = stored == float(nodata)
        data_mask &= ~(missing.any(axis=0) if nodata < 0 else missing.all(axis=0))
    return data_mask


PixelScale = Literal["auto", "stored"]


def odd_values(
    shown: npt.NDArray[Any],
    pixel_scale: PixelScale = "auto",
    says_no_data: bool = False,
    zero: float | npt.NDArray[np.float32] = 0,
) -> list[str]:
    """Remarks on values that are taken for measurements and look wrong, in sentences.

    Args:
        shown: (C, n) stored values of pixels with data, alpha left out.
        pixel_scale: How they become what the networks take.
        says_no_data: Whether the file says where there is none, by a nodata tag or a mask.
        zero: What a stored 0 has become, where scale and offset are applied (C, 1).
    """
    if not shown.size:
        return ["no data in any pixel looked at"]
    low, high = float(shown.min()), float(shown.max())
    if low == high:
        return [f"all pixels looked at are {low:g}"]
    said = []
    empty = float((shown == zero).all(axis=0).mean())
    if not says_no_data and empty > EMPTY_SHARE:
        said.append(
            f"{empty:.0%} of the pixels looked at are 0 in all bands and count as data; set the "
            "nodata tag to 0 if they are none"
        )
    scaled = isinstance(zero, np.ndarray)
    text = unlikely_values(high, shown.dtype.name, "scaled" if scaled else pixel_scale)
    below = float((shown < DARKEST).any(axis=0).mean())
    if shown.dtype.kind == "f" and below > BELOW_SHARE:
        said.append(f"{below:.0%} of the pixels looked at hold reflectance below {DARKEST}")
    if text:
        said.append(text)
    elif pixel_scale == "auto" and shown.dtype.kind in "ui" and shown.dtype.itemsize == 2:
        said += _odd_integers(shown)
    return said


def unlikely_values(high: float, dtype: str, pixel_scale: str) -> str:
    """Remark on values that are hardly meant so, given how they are scaled for the network.

    Args:
        high: Largest value that counts as data, alpha left out.
        dtype: Of the file.
        pixel_scale: ``auto``, ``stored``, ``reflectance`` (16-bit / 10000), or ``scaled`` (by scale
            and offset already).

    Returns:
        A sentence; empty for usual values.
    """
    kind, size = np.dtype(dtype).kind, np.dtype(dtype).itemsize
    if kind == "f":
        if high <= LARGEST_REFLECTANCE:
            return ""
        if pixel_scale == "scaled":
            return (
                f"values up to {high:g} after scale and offset, expected about 0…1; see --scaling"
            )
        return (
            f"float values up to {high:g} are used as stored, expected about 0…1; store "
            f"reflectance × {BRIGHTEST} as 16-bit integers, or divide"
        )
    if pixel_scale == "stored":
        if high <= LARGEST_REFLECTANCE:
            return ""
        return (
            f"whole numbers up to {high:g} are used as stored, expected about 0…1; --pixel-scale "
            f"auto divides 8 bits by {LARGEST_BYTE} and 16 bits by {BRIGHTEST}"
        )
    if size > 1 and high <= LARGEST_BYTE:
        return (
            f"16-bit values of {high:g} at most are divided by {BRIGHTEST}; 8-bit values belong "
            "into 8 bits"
        )
    return ""


def no_measurement(low: float, high: float) -> str:
    """The fault where fill values are taken for measurements, for want of a nodata tag.

    Args:
        low, high: Smallest and largest value that counts as data.

    Returns:
        Found, expected and what to do; empty if nothing is wrong.
    """
    if low > LOWEST and high < HIGHEST:
        return ""
    fill = low if low <= LOWEST else high
    return (
        f"found values of {fill:g} that count as data, expected measurements; set the nodata tag "
        f"to the fill value (gdal_edit.py -a_nodata {fill:g}), or replace them"
    )


def _odd_integers(shown: npt.NDArray[Any]) -> list[str]:
    """Remarks on 16-bit values (C, n) that are divided by 10000 and look wrong."""
    if float(np.median(shown)) > BRIGHTEST:
        return [
            f"16-bit values are mostly above {BRIGHTEST} and divided by it, expected reflectance "
            f"× {BRIGHTEST}; --scaling says if they mean something else"
        ]
    return []


def fill_unseen(images: npt.NDArray[np.float32], observed: npt.NDArray[np.bool_]) -> None:
    """Let what is not seen at a date take its value from another one, in place.

    A pixel keeps the value of the date before, or takes that of the first date at which it is
    seen; one that is never seen is 0. So a gap makes no change of its own.

    Args:
        images: (T, C, h, w), scaled.
        observed: (T, h, w), where there is data.
    """
    T = len(images)
    known_mask = observed[0].copy()
    for date in range(1, T):
        np.copyto(images[date], images[date - 1], where=~observed[date] & known_mask)
        known_mask |= observed[date]
    known_mask = observed[T - 1].copy()
    for date in range(T - 2, -1, -1):  # before the first date at which a pixel is seen
        unknown = ~observed[: date + 1].any(axis=0)
        np.copyto(images[date], images[date + 1], where=unknown & known_mask)
        known_mask |= observed[date]
    np.copyto(images, np.float32(0), where=~known_mask)


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
        images /= np.float32(_full(stored.dtype))
    return images


def unscale_pixels(images: npt.NDArray[np.float32], dtype: str) -> npt.NDArray[Any]:
    """Values of the networks' range as files of a type store them; undoes ``scale_pixels``.

    Args:
        images: Any shape, 0…1.
        dtype: 8-bit, 16-bit or float.
    """
    stored_type = np.dtype(dtype)
    if stored_type.kind not in "ui":
        return images.astype(stored_type)
    limits = np.iinfo(stored_type)
    values = np.rint(images * _full(stored_type))
    stored: npt.NDArray[Any] = np.clip(values, 0, limits.max).astype(stored_type)
    return stored


def _full(dtype: np.dtype[Any]) -> int:
    """The whole number that stands for 1."""
    return LARGEST_BYTE if dtype.itemsize == 1 else BRIGHTEST


def area_from_moment(moment: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The change area 0/1 that a stored change moment says, ``NO_DATA`` where it is unknown."""
    changed = (moment > 0).astype(np.uint8)
    area: npt.NDArray[np.uint8] = np.where(moment == NO_DATA, np.uint8(NO_DATA), changed)
    return area


def decode_label(stored: npt.NDArray[Any], nodata: float | None) -> npt.NDArray[np.int64]:
    """Change moments as used in memory from those stored.

    Args:
        stored: (h, w), values on disk.
        nodata: The file's nodata tag; 255 makes the value 255 mean "ignore".

    Returns:
        (h, w) int64, −1 = ignore.
    """
    label = stored.astype(np.int64)
    if nodata == NO_DATA:
        label[stored == NO_DATA] = IGNORE
    return label


LabelRule = Literal["exact", "nonzero", "above_127"]
"""How a label's values become 0 and 1.

exact: the file holds 0 and 1, or 0 and 255, and nothing else; nonzero: whatever is not 0 is
changed; above_127: whatever exceeds 127 is changed (labels in JPEG files).
"""


def decode_mask(
    stored: npt.NDArray[Any],
    nodata: float | None,
    rule: LabelRule = "exact",
    inverted: bool = False,
) -> npt.NDArray[np.int64]:
    """Decode a binary raster: a change area, a pair's label, a mask.

    Args:
        stored: (h, w), values on disk: 0 and 1, or 0 and 255.
        nodata: The file's nodata tag; one other than 0 means "ignore".
        rule: "above_127" where compression blurs values; else all but 0 counts.
        inverted: Whether 0 is shown white and the other value black; white means 1.

    Returns:
        (h, w) int64: 0, 1, −1 = ignore.
    """
    marked = (stored > 127 if rule == "above_127" else stored != 0) ^ inverted
    mask: npt.NDArray[np.int64] = marked.astype(np.int64)
    if nodata:
        mask[stored == nodata] = IGNORE
    return mask
