"""Masks as agencies ship them: which pixels of a date are hidden by clouds, shadows, snow or fill.

Codes and their sources:

- ``scl``: scene classification of Sentinel-2 L2A (Sen2Cor; ESA, Level-2A product definition).
- ``qa_pixel``: bits of Landsat Collection 2 QA_PIXEL (USGS, LSDS-1619/1328).
- ``fmask``: bits of HLS v2 Fmask (NASA, HLS user guide).
- ``cfmask``: classes of Landsat pre-collection CFmask (USGS).
- ``udm2``: Planet's usable data mask, eight bands, the first one "clear".
- ``binary``: 1 (or 255) is hidden; ``binary-clear``: 1 (or 255) is clear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError

__all__ = ["CLOUD_CODES", "CloudCode", "CloudCodes", "codes_of", "hidden_pixels"]

CloudCodes = Literal["auto", "scl", "qa_pixel", "fmask", "cfmask", "udm2", "binary", "binary-clear"]
"""Values of ``--cloud-codes``: as the values tell, or a key of ``CLOUD_CODES``."""

Values = NDArray[Any]
Mask = NDArray[np.bool_]

UDM2_BANDS = 8
MOSTLY = 0.5  # of all pixels hidden: then 0/1 masks may mean the opposite


class CloudCode(NamedTuple):
    """A way to say what hides a pixel.

    Attributes:
        meaning: In words, for messages and reports.
        bands: How many a mask has.
        hides: Values (C, h, w) → (h, w) bool.
        possible: Whether all values (C, n) have a meaning in this code.
        telling: Whether values of whole masks (C, n), possible ones, speak for this code.
    """

    meaning: str
    bands: int
    hides: Callable[[Values], Mask]
    possible: Callable[[Values], bool]
    telling: Callable[[Values], bool] = lambda values: True


def hidden_pixels(values: Values, codes: str) -> Mask:
    """Pixels (h, w) of a mask (C, h, w) that are hidden.

    Args:
        values: As stored, whole numbers.
        codes: A key of ``CLOUD_CODES``.

    Raises:
        ValueError: The values cannot be of this code; the message lists them.
    """
    code = CLOUD_CODES[codes]
    if values.shape[0] != code.bands or not code.possible(values.reshape(len(values), -1)):
        listed = ", ".join(map(str, np.unique(values)[:8]))
        raise ValueError(
            f"found {values.shape[0]} bands with values {listed}, expected {codes}: {code.meaning}"
        )
    return code.hides(values)


def codes_of(masks: Sequence[Values]) -> str:
    """The code that masks are written in, where their values leave no doubt.

    Args:
        masks: Values (C, n) of each mask, all of it or a good part.

    Returns:
        A key of ``CLOUD_CODES``. Masks of 0 and 1 (or 255) alone are ``binary``, unless most
        pixels were hidden then.

    Raises:
        UserError: No code fits, or several do; says which and how to tell.
    """
    ask = (
        f"Say which with --cloud-codes: {', '.join(CLOUD_CODES)}; masks of another code, and cloud "
        "probabilities, are to be written anew, 0 clear and 1 cloud."
    )
    if len({len(mask) for mask in masks}) > 1:
        raise UserError(f"--clouds: found masks with different numbers of bands. {ask}")
    values = np.concatenate([mask.reshape(len(mask), -1) for mask in masks], axis=1)
    fitting = [name for name, code in CLOUD_CODES.items() if _fits(code, values)]
    if "binary" in fitting:
        hidden = float(CLOUD_CODES["binary"].hides(values[:, None])[0].mean())
        if hidden <= MOSTLY:
            return "binary"
        raise UserError(
            f"--clouds: found masks of 0 and {values.max()}, {100 * hidden:.0f} % of which would "
            "be hidden if that means cloud, expected a doubtless case. Say what it means with "
            "--cloud-codes binary (cloud) or binary-clear (clear)."
        )
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(map(str, np.unique(values)[:8]))
    if not fitting:
        raise UserError(f"--clouds: found mask values {listed}, which no code explains. {ask}")
    raise UserError(
        f"--clouds: found mask values {listed}, which could be {' or '.join(fitting)}. {ask}"
    )


def _fits(code: CloudCode, values: Values) -> bool:
    return len(values) == code.bands and code.possible(values) and code.telling(values)


def _classes(hidden: Sequence[int]) -> Callable[[Values], Mask]:
    """Hides some classes of a band."""
    return lambda values: np.isin(values[0], hidden)


def _bits(mask: int, fill: int | None = None) -> Callable[[Values], Mask]:
    """Hides pixels where any of some bits is set, or which hold the fill value."""

    def hides(values: Values) -> Mask:
        hidden: Mask = (values[0].astype(np.int64) & mask) != 0
        return hidden if fill is None else hidden | (values[0] == fill)

    return hides


def _only(*allowed: int) -> Callable[[Values], bool]:
    """These values."""
    return lambda values: bool(np.isin(values, allowed).all())


def _range(low: int, high: int) -> Callable[[Values], bool]:
    """Whole numbers of a range."""
    return lambda values: (
        values.dtype.kind in "ui" and bool(((values >= low) & (values <= high)).all())
    )


def _two_valued(values: Values) -> bool:
    return _only(0, 1)(values) or _only(0, 255)(values)


def _more_than_two(values: Values) -> bool:
    return not _two_valued(values)


def _some_above(value: int, but: int = -1) -> Callable[[Values], bool]:
    """Bits that are set in practically every scene, beside the fill value."""
    return lambda values: bool(((values > value) & (values != but)).any())


def _as_version_2(values: Values) -> bool:
    """Aerosol in some, and bit 0, which HLS v2 does not use, in none: no probabilities."""
    return _some_above(63, but=255)(values) and not bool(
        ((values & 1 == 1) & (values != 255)).any()
    )


CLOUD_CODES: Mapping[str, CloudCode] = {
    "scl": CloudCode(
        "Sentinel-2 scene classification 0…11; hidden: no data, defective, cloud shadow, clouds "
        "of medium and high probability, cirrus, snow",
        1, _classes((0, 1, 3, 8, 9, 10, 11)), _range(0, 11), _more_than_two,
    ),
    "qa_pixel": CloudCode(
        "bits of Landsat Collection 2; hidden: fill, dilated cloud, cirrus, cloud, shadow, snow",
        1, _bits(0b111111), _range(0, 0xFFFF), _some_above(255),
    ),
    "fmask": CloudCode(
        "bits of HLS Fmask; hidden: cirrus, cloud, what is next to it, shadow, snow, fill",
        1, _bits(0b11111, fill=255), _range(0, 255), _as_version_2,
    ),
    "cfmask": CloudCode(
        "CFmask classes 0 clear, 1 water; hidden: 2 shadow, 3 snow, 4 cloud, 255 fill",
        1, _classes((2, 3, 4, 255)), _only(0, 1, 2, 3, 4, 255), _more_than_two,
    ),
    "udm2": CloudCode(
        "Planet's usable data mask of eight bands; hidden: what band 1 does not call clear, or "
        "band 8 calls unusable or empty",
        UDM2_BANDS, lambda values: (values[0] != 1) | (values[7] != 0),
        lambda values: _range(0, 255)(values) and _only(0, 1)(values[0]),
    ),
    "binary": CloudCode(
        "0 clear, 1 (or 255) cloud", 1, lambda values: values[0] != 0, _two_valued
    ),
    "binary-clear": CloudCode(
        "0 hidden, 1 (or 255) clear", 1, lambda values: values[0] == 0, _two_valued
    ),
}  # fmt: skip
"""By the names that ``--cloud-codes`` takes."""
