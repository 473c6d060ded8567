"""Scale and offset of stored values: by type, tags or product, or as given.

Networks take reflectance 0…1. By type alone 8 bits are divided by 255 and 16 bits by 10000; tags
of a file say otherwise, and so do products whose files carry no tags: Landsat Collection 2, and
Sentinel-2 from processing baseline 04.00 on, whose values lie 1000 higher. These are known by
names and values, and asked about, since many files have had them taken off already.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_processing.rasters.header import RasterInfo
from data_processing.rasters.sources import Raster
from data_processing.rasters.values import BRIGHTEST, LARGEST_BYTE
from utils.errors import DataError, UserError
from utils.files import finite_number

__all__ = ["AUTO", "SCALINGS", "Glance", "ask_about_products", "with_scaling"]

Scale = tuple[float, float]  # factor and offset

AUTO, BY_TYPE, TAGS = "auto", "type", "tags"
LANDSAT, OFFSET, BY_BASELINE = "landsat-c2", "sentinel2-offset", "sentinel2-by-baseline"
SCALINGS = (AUTO, BY_TYPE, TAGS, LANDSAT, OFFSET, BY_BASELINE)
PRODUCTS: Mapping[str, Scale] = {LANDSAT: (0.0000275, -0.2), OFFSET: (0.0001, -0.1)}
OF_TYPE: Mapping[str, Scale] = {
    **dict.fromkeys(("uint8", "int8"), (1 / LARGEST_BYTE, 0.0)),
    **dict.fromkeys(("uint16", "int16"), (1 / BRIGHTEST, 0.0)),
}
LARGEST = 1e6  # of scales and offsets
BASELINE = re.compile(r"S2[A-D]_\w*?_N(\d\d)\.?(\d\d)(?!\d)", re.IGNORECASE | re.ASCII)
SENTINEL = re.compile(r"(?<![A-Za-z0-9])(S2[A-D]?|sentinel[-_ ]?2[A-D]?)(?![0-9])|T\d\d[A-Z]{3}_",
                      re.IGNORECASE | re.ASCII)  # fmt: skip
LANDSAT_NAME = re.compile(r"(?<![A-Za-z0-9])(L[COTEM]0[4-9]_|landsat)", re.IGNORECASE | re.ASCII)
FIRST_OFFSET = 400  # processing baseline 04.00
SINCE = datetime.date(2022, 1, 25)  # from when on products have it
OFFSET_VALUE = 1000  # that is added from then on
SHIFTED, PLAIN = 950, 900  # darkest values of images with the offset and without
DARK = 0.01  # share of values that are darker than "darkest"
DARKEST_LANDSAT = 7273  # of Landsat Collection 2: what no reflectance at all is stored as
LANDSAT_MARGIN = 500
SHOWN = 3  # names in a message


def with_scaling(
    dates: Sequence[datetime.date],
    files: Sequence[Raster],
    headers: Sequence[tuple[str, RasterInfo]],
    rule: str,
    remarks: list[str],
) -> list[tuple[str, RasterInfo]]:
    """Headers whose ``scaling`` is what is applied; none where values mean what their type says.

    Args:
        dates, files, headers: Of the images.
        rule: The value of ``--scaling``: one of ``SCALINGS``, or "SCALE,OFFSET".
        remarks: Gets what is applied.

    Raises:
        UserError: The rule is none.
        DataError: Tags hold no usable numbers, or some files have tags and others none.
    """
    if rule not in SCALINGS:
        given = _given(rule)
        wanted: list[Scale | None] = [given] * len(headers)
    elif rule in PRODUCTS:
        wanted = [PRODUCTS[rule]] * len(headers)
    elif rule == BY_BASELINE:
        shifted = [_is_shifted(date, file) for date, file in zip(dates, files, strict=True)]
        wanted = [PRODUCTS[OFFSET] if is_shifted else OF_TYPE["uint16"] for is_shifted in shifted]
    elif rule == BY_TYPE:
        return [(name, replace(info, scaling=())) for name, info in headers]
    else:
        return _by_tags(headers, rule, remarks)
    scaled = []
    for (name, info), scale in zip(headers, wanted, strict=True):
        assert scale is not None
        fill = 0 if rule in SCALINGS and info.nodata is None and not info.masked else info.nodata
        scaled.append((name, replace(info, scaling=(scale,) * info.count, nodata=fill)))
    _say(scaled, f"as --scaling {rule} says", remarks)
    if rule in SCALINGS:
        remarks.append("0 in all bands means no data, as these products have it")
    return scaled


def _given(rule: str) -> Scale:
    """Scale and offset as somebody wrote them.

    Raises:
        UserError: They are none.
    """
    words = rule.split(",")
    try:
        scale, offset = (finite_number(word) for word in words)
        if not _usable((scale, offset)):
            raise ValueError
    except ValueError:
        raise UserError(
            f"--scaling: found {rule[:60]!r}, expected {', '.join(SCALINGS)}, or SCALE,OFFSET "
            "such as 0.0001,-0.1: reflectance = SCALE · stored value + OFFSET."
        ) from None
    return scale, offset


def _usable(scale: Scale) -> bool:
    return 0 < abs(scale[0]) <= LARGEST and abs(scale[1]) <= LARGEST  # NaN is not, either


def _by_tags(
    headers: Sequence[tuple[str, RasterInfo]], rule: str, remarks: list[str]
) -> list[tuple[str, RasterInfo]]:
    """Headers with the scales of their tags, where these say more than the type does."""
    faults = [
        f"{name}: found scale and offset {_shown(info.scaling)} in its tags, expected numbers up "
        f"to {LARGEST:g} and a scale that is not 0"
        for name, info in headers
        if not all(map(_usable, info.scaling))
    ]
    if faults:
        raise DataError(
            "scale and offset", faults, "Mend them (gdal_edit.py -unsetstats -scale … -offset …), "
            f"or --scaling {BY_TYPE} leaves them out."
        )  # fmt: skip
    tagged = [(name, info) for name, info in headers if info.scaling]
    plain = [name for name, info in headers if not info.scaling]
    telling = [pair for pair in tagged if not _says_what_type_does(pair[1])]
    if rule == TAGS and plain:
        raise DataError(
            f"--scaling {TAGS}", [f"{name}: found none in its tags" for name in plain],
            f"Write them (gdal_edit.py -scale 0.0001 -offset 0), or take --scaling {AUTO}.",
        )  # fmt: skip
    if not telling:
        return [(name, replace(info, scaling=())) for name, info in headers]
    if plain:
        first_name, first = telling[0]
        shown = _shown(first.scaling)
        raise DataError(
            "scale and offset",
            [f"{name}: found none in its tags, expected {shown} or others as {first_name} has"
             for name in plain],
            f"If the values of all files mean the same, give --scaling {shown.replace(' ', '')} or "
            f"--scaling {BY_TYPE}; else write the tags (gdal_edit.py -scale 0.0001 -offset 0).",
        )  # fmt: skip
    _say(headers, "as their tags say", remarks)
    return list(headers)


def _says_what_type_does(info: RasterInfo) -> bool:
    usual = OF_TYPE.get(info.dtype, (1.0, 0.0))
    return all(np.allclose(scale, usual, rtol=1e-6, atol=0) for scale in info.scaling)


def _shown(scaling: Sequence[Scale]) -> str:
    """Scale and offset as ``--scaling`` takes them, those of the first band that has some."""
    scale, offset = next((one for one in scaling if one != (1.0, 0.0)), (1.0, 0.0))
    return f"{scale:.9g}, {offset:.9g}"


def _say(headers: Sequence[tuple[str, RasterInfo]], why: str, remarks: list[str]) -> None:
    """One sentence for every scale and offset that is applied."""
    names: dict[tuple[Scale, ...], list[str]] = {}
    for name, info in headers:
        names.setdefault(tuple(dict.fromkeys(info.scaling)), []).append(name)
    for scales, (first, *more) in names.items():
        formulas = " or ".join(f"{scale:.9g} · v {offset:+.9g}" for scale, offset in scales)
        each = ", band by band" if len(scales) > 1 else ""
        also = f" and {len(more)} more" if more else ""
        remarks.append(f"{first}{also}: reflectance = {formulas}{each}, {why}")


# ─────────────────────────────── products known by names and values ───────────────────────────────


class Glance(NamedTuple):
    """Outcome of a look at the values of one image.

    Attributes:
        date, path, name: Of the image.
        darkest: Value below which few values lie; None where type or scale leave no doubt.
        bright: Whether some values lie well above.
    """

    date: datetime.date
    path: Raster
    name: str
    darkest: float | None
    bright: bool

    @classmethod
    def at(cls, date: datetime.date, path: Raster, name: str, shown: NDArray[Any]) -> Glance:
        """The glance at values (C, n) of pixels with data, alpha left out."""
        is_whole = shown.dtype.kind in "ui" and shown.dtype.itemsize == 2
        shown = shown[shown != 0] if is_whole else shown[:0]  # 0 is fill, of some bands or all
        if not shown.size:
            return cls(date, path, name, None, False)
        high = float(shown.max())
        return cls(
            date, path, name, float(np.quantile(shown, DARK)),
            high > DARKEST_LANDSAT + LANDSAT_MARGIN,
        )  # fmt: skip

    @property
    def like_landsat(self) -> bool:
        """Whether values look like those of Landsat Collection 2."""
        low = DARKEST_LANDSAT - LANDSAT_MARGIN
        return self.darkest is not None and low <= self.darkest < BRIGHTEST and self.bright

    @property
    def like_shifted(self) -> bool:
        """Whether values look like those of Sentinel-2 with its offset."""
        return self.darkest is not None and self.darkest >= SHIFTED


def ask_about_products(glances: Sequence[Glance], where: str) -> list[str]:
    """Refuse values of products that need a scale or an offset which nobody said yet.

    Args:
        glances: At all images, as they are taken by their type.
        where: The images' folder.

    Returns:
        Warnings, where only values say so and names say nothing.

    Raises:
        DataError: Names or values of all images, or a mixture of two kinds, leave little doubt.
    """
    return _ask_about_landsat(glances, where) or _ask_about_sentinel(glances, where)


def _ask_about_landsat(glances: Sequence[Glance], where: str) -> list[str]:
    like = [glance for glance in glances if glance.like_landsat]
    if not like:
        return []
    sentence = (
        f"no value below {min(map(_floor, like))}, as in Landsat Collection 2 (reflectance = "
        f"0.0000275·v − 0.2), and divided by {BRIGHTEST}"
    )
    if len(like) == len(glances) or any(map(_is_landsat, like)):
        raise _question(
            where, like, sentence,
            f"--scaling {LANDSAT} applies that, --scaling {BY_TYPE} says that it is reflectance "
            f"× {BRIGHTEST}.",
        )  # fmt: skip
    return [f"warning: {_listed([glance.name for glance in like])}: {sentence}"]


def _ask_about_sentinel(glances: Sequence[Glance], where: str) -> list[str]:
    shifted = [g for g in glances if g.like_shifted and _is_shifted(g.date, g.path)]
    if not shifted:
        return []
    plain = [g for g in glances if g.darkest is not None and g.darkest < PLAIN]
    kinds = [_baseline(glance.path) for glance in glances]
    late_plain = [g for g in plain if _is_shifted(g.date, g.path)]
    mixed = bool(plain) and not late_plain and len(shifted) + len(plain) == len(glances)
    reasons = f"no value below {min(_floor(g) for g in shifted)}"
    if mixed:
        raise _question(
            where, shifted,
            f"{reasons}, as in Sentinel-2 from baseline 04.00 on ({OFFSET_VALUE} added), and "
            f"darker ones in {_listed([g.name for g in plain])}: two baselines in one series",
            f"--scaling {BY_BASELINE} takes the {OFFSET_VALUE} off where baseline or date say so, "
            f"--scaling {BY_TYPE} says that the values of all mean the same.",
        )  # fmt: skip
    named = all(SENTINEL.search(g.path.name) for g in shifted) or any(kinds)
    if len(shifted) == len(glances) and named:
        raise _question(
            where, shifted,
            f"{reasons}, as in Sentinel-2 from baseline 04.00 on ({OFFSET_VALUE} added)",
            f"--scaling {OFFSET} takes the {OFFSET_VALUE} off, --scaling {BY_TYPE} says that it is "
            "off already.",
        )  # fmt: skip
    if len(shifted) < len(glances):
        return []
    return [
        f"warning: {_listed([g.name for g in shifted])}: {reasons}; from baseline 04.00 on "
        f"Sentinel-2 has {OFFSET_VALUE} added: if these have, give --scaling {OFFSET}"
    ]


def _question(where: str, glances: Sequence[Glance], sentence: str, advice: str) -> DataError:
    names = _listed([glance.name for glance in glances])
    return DataError(where, [f"{names}: {sentence}"], f"What do the values mean? {advice}")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _floor(glance: Glance) -> int:
    """Its darkest value, rounded down to hundreds."""
    return int((glance.darkest or 0) // 100 * 100)


def _is_landsat(glance: Glance) -> bool:
    return LANDSAT_NAME.search(glance.path.name) is not None


def _baseline(path: Raster) -> int | None:
    match = BASELINE.search(path.name)
    return None if match is None else int(match[1] + match[2])


def _is_shifted(date: datetime.date, path: Raster) -> bool:
    """Whether baseline, or else the date, say that 1000 is added."""
    baseline = _baseline(path)
    return date >= SINCE if baseline is None else baseline >= FIRST_OFFSET
