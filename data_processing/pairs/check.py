"""Opening pairs: their headers and labels are looked at before anything is computed.

Every fault is told, each with the pair it belongs to. Labels are read once for that. Pixels of the
images are read later, by ``pair_dataset``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from data_processing.pairs.files import PairFiles
from data_processing.rasters.grids import grid_faults
from data_processing.rasters.reading import (
    RasterInfo,
    raster_blocks,
    raster_info,
    read_reduced,
    read_window,
    require_room,
)
from data_processing.rasters.values import INVERTED, UNAPPLIED, LabelRule, unlikely_values
from utils.errors import DataError
from utils.progress import progress, say

__all__ = ["Pair", "PairScale", "open_pairs"]

PairScale = Literal["auto", "reflectance", "stored"]
"""auto: 8 bits / 255; reflectance: 16 bits / 10000; stored: float as it is, 0…1."""

SCALES: dict[PairScale, dict[str, float]] = {
    "auto": {"uint8": 255.0},
    "reflectance": {"uint16": 10000.0, "int16": 10000.0},
    "stored": {"float32": 1.0, "float64": 1.0},
}
FITTING = {dtype: scale for scale, types in SCALES.items() for dtype in types}
TIFF = {".tif", ".tiff"}
SHOWN_VALUES = 6
LOOKED_AT = 256  # pixels of a side whose values are looked at
VISIBLE = 3  # bands of an RGB image; a fourth of a PNG is alpha


@dataclass(frozen=True)
class Pair:
    """A pair whose headers go together.

    Attributes:
        name: What results are called.
        first, last, label: Its files.
        info: Header of the first image.
        bands: Positions of the bands to take, counted from 0.
        alpha: Position of the band that is 0 where there is no data, or None.
        divisor: Stored value that becomes 1.
        label_rule: How the label is read.
        label_info: Header of the label.
    """

    name: str
    first: Path
    last: Path
    label: Path
    info: RasterInfo
    bands: tuple[int, ...]
    alpha: int | None
    divisor: float
    label_rule: LabelRule
    label_info: RasterInfo

    @property
    def height(self) -> int:
        """Rows."""
        return self.info.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.info.width


def open_pairs(
    files: Sequence[PairFiles],
    label_rule: LabelRule,
    bands: tuple[int, ...] | None = None,
    pixel_scale: PairScale = "auto",
) -> list[Pair]:
    """Check headers and labels of pairs.

    Args:
        files: As ``find_pairs`` gives them.
        label_rule: How labels are read.
        bands: Bands to take, counted from 1; None takes the three of an RGB image, and of an
            RGBA image (PNG) the same, with alpha 0 as no data.
        pixel_scale: What stored values mean.

    Raises:
        DataError: With all faults of all pairs.
    """
    pairs: list[Pair] = []
    faults: list[str] = []
    unusual: list[str] = []
    for one in progress(files, "checking pairs", unit="pair"):
        paths = (one.first, one.last, one.label)
        try:
            headers = [raster_info(path) for path in paths]
            for path, info in zip(paths, headers, strict=True):
                if path.suffix.lower() not in TIFF:  # decoded as a whole only
                    require_room(str(path), info)
        except DataError as error:
            faults += [f"{one.name}: {Path(error.where).name}: {fault}" for fault in error.faults]
            continue
        own = _header_faults(one, headers, bands, pixel_scale, label_rule)
        if not own:
            pair = _pair(one, headers, bands, pixel_scale, label_rule)
            own, remarks = _label_faults(one.label, headers[2], label_rule)
            remarks += [UNAPPLIED] if any(info.scaling for info in headers[:2]) else []
            unusual += [f"{one.name}: {remark}" for remark in (*remarks, *_odd(pair, pixel_scale))]
        faults += [f"{one.name}: {fault}" for fault in own]
        if not own:
            pairs.append(pair)
    if faults:
        raise DataError(str(files[0].label.parent.parent), faults)
    for remark in unusual[:SHOWN_VALUES]:
        say(f"warning: {remark}")
    if len(unusual) > SHOWN_VALUES:
        say(f"warning: the same of {len(unusual) - SHOWN_VALUES} more files")
    return pairs


def _pair(
    one: PairFiles,
    headers: Sequence[RasterInfo],
    bands: tuple[int, ...] | None,
    pixel_scale: PairScale,
    label_rule: LabelRule,
) -> Pair:
    info = headers[0]
    alpha = VISIBLE if bands is None and info.count == VISIBLE + 1 else None
    chosen = tuple(range(VISIBLE)) if bands is None else tuple(band - 1 for band in bands)
    divisor = SCALES[pixel_scale][info.dtype]
    return Pair(
        one.name, one.first, one.last, one.label, info, chosen, alpha, divisor, label_rule,
        headers[2],
    )  # fmt: skip


def _header_faults(
    one: PairFiles,
    headers: Sequence[RasterInfo],
    bands: tuple[int, ...] | None,
    pixel_scale: PairScale,
    label_rule: LabelRule,
) -> list[str]:
    """Faults of a pair's three headers."""
    names = [f"{path.parent.name}/{path.name}" for path in (one.first, one.last, one.label)]
    sizes = [(info.height, info.width) for info in headers]
    faults = [
        f"{name} is {h}×{w}, expected {sizes[0][0]}×{sizes[0][1]} as {names[0]}"
        for name, (h, w) in zip(names[1:], sizes[1:], strict=True)
        if (h, w) != sizes[0]
    ]
    first, last = headers[:2]
    placed = [(names[0], first), (names[1], last)]
    faults += grid_faults(placed, sizes=False, lenient=True)
    for name, info in zip(names, headers, strict=True):
        if info.orientation != 1:
            faults.append(
                f"{name}: found EXIF orientation {info.orientation}, expected 1, the pixels as "
                "stored; turn the picture (ImageMagick: mogrify -auto-orient)"
            )
    if headers[2].palette and label_rule == "above_127":
        faults.append(f"{names[2]}: found a colour table, expected grey values for above_127")
    for name, path, info in zip(names, (one.first, one.last), headers[:2], strict=False):
        faults += [f"{name}: {fault}" for fault in _image_faults(path, info, bands, pixel_scale)]
    if first.count != last.count:
        faults.append(f"{names[1]} has {last.count} bands, expected {first.count} as {names[0]}")
    return faults


def _image_faults(
    path: Path, info: RasterInfo, bands: tuple[int, ...] | None, pixel_scale: PairScale
) -> list[str]:
    faults = []
    if info.dtype not in SCALES[pixel_scale]:
        fitting = FITTING.get(info.dtype)
        advice = f"; set --pixel-scale {fitting}" if fitting else ""
        wanted = " or ".join(SCALES[pixel_scale])
        faults.append(f"found {info.dtype} values, expected {wanted}{advice}")
    if bands is not None:
        beyond = [band for band in bands if band > info.count]
        if beyond:
            faults.append(f"found {info.count} bands, expected band {max(beyond)} (--bands)")
    elif info.count not in (VISIBLE, VISIBLE + 1) or (
        info.count == VISIBLE + 1 and path.suffix.lower() in TIFF
    ):
        faults.append(
            f"found {info.count} bands, expected {VISIBLE} (red, green, blue); choose with "
            "--bands, for example --bands 3 2 1"
        )
    return faults


def _odd(pair: Pair, pixel_scale: PairScale) -> list[str]:
    """Remarks on values that are hardly meant so, by some pixels; bytes can mean but one thing."""
    remarks = []
    for path in (pair.first, pair.last) if pair.info.dtype != "uint8" else ():
        step = -(-max(pair.height, pair.width) // LOOKED_AT)
        values, data_mask = read_reduced(path, step)
        if data_mask.any():
            high = float(values[list(pair.bands)][:, data_mask].max())
            remark = unlikely_values(high, values.dtype.name, pixel_scale)
            remarks += [f"{path.parent.name}/{path.name}: {remark}"] if remark else []
    return remarks


def _label_faults(path: Path, info: RasterInfo, rule: LabelRule) -> tuple[list[str], list[str]]:
    """Faults of a label's values, and what is unusual in them."""
    values: set[float] = set()
    for window in raster_blocks(info):
        try:
            stored, _ = read_window(path, *window)
        except DataError as error:
            return [f"{path.name}: {fault}" for fault in error.faults], []
        colours = stored[:VISIBLE] if len(stored) >= VISIBLE else stored[:1]  # alpha says nothing
        shown = colours > 127 if rule == "above_127" else colours  # JPEG blurs equal bands
        if not (shown == shown[:1]).all():
            return [
                f"{path.name}: found a label in {len(stored)} different bands, expected one band, "
                "or equal ones; colours do not say what is changed"
            ], []
        values.update(np.unique(stored[0]).tolist())
    if rule == "above_127":
        return [], []
    remarks = [f"{path.name}: {INVERTED}"] if info.inverted else []
    if info.nodata in (1, 255) and info.nodata in values and values <= {0, info.nodata}:
        return [
            f"{path.name}: found only 0 and {info.nodata:g}, which is the nodata tag, so that no "
            "pixel is changed; remove the tag (gdal_edit.py -unsetnodata) if that is what changed, "
            "else write unknown pixels as another value"
        ], []
    if info.nodata:
        values.discard(info.nodata)
    if any(value != value or value < 0 for value in values):
        return [f"{path.name}: found negative values or NaN, expected 0 and 1, or 0 and 255"], []
    if values <= {0, 1} or values <= {0, 255}:
        return [], remarks
    listed = ", ".join(f"{value:g}" for value in sorted(values)[:SHOWN_VALUES])
    more = f" … ({len(values)} values)" if len(values) > SHOWN_VALUES else ""
    if rule == "nonzero":
        return [], [*remarks, f"{path.name}: values {listed}{more}; all but 0 count as changed"]
    return [
        f"{path.name}: found values {listed}{more}, expected 0 and 1, or 0 and 255; if they are "
        "meant, say how: --label-rule nonzero, or above_127 for JPEG labels"
    ], []
