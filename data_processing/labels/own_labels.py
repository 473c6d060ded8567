"""Labels of one's own as the change moment: a moment raster, masks per date, dated polygons.

Whatever they come as, the result is (H, W): 0 unchanged, k changed between date k−1 and date k,
255 unknown. Values are counted and checked before anything is written.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.labels.footprints import draw_features
from data_processing.labels.polygon_files import feature_dates, read_polygons
from data_processing.labels.transitions import UNKNOWN, Event, Transitions, change_moment
from data_processing.rasters.date_patterns import shown
from data_processing.rasters.dates import dates_of, partners
from data_processing.rasters.grids import grid_differences
from data_processing.rasters.reading import RasterInfo, header_of, read_window, require_room
from data_processing.rasters.values import INVERTED, decode_mask
from utils.errors import DataError

__all__ = ["Labels", "balance", "labels_from_masks", "labels_from_polygons", "labels_from_raster"]

SHOWN_VALUES = 8
GRID_ADVICE = "Labels lie on the grid of the images, pixel by pixel; write them again on it."


@dataclass(frozen=True)
class Labels:
    """Labels of a scene.

    Attributes:
        moment: (H, W), see above.
        files: That were used.
        remarks: What was said of them.
        gaps: What is irregular: found, and what is done about it.
    """

    moment: NDArray[np.uint8]
    files: list[Path]
    remarks: list[str] = field(default_factory=list)
    gaps: list[tuple[str, str]] = field(default_factory=list)


def labels_from_raster(path: Path, grid: RasterInfo, num_classes: int) -> Labels:
    """A raster that holds the change moment of every pixel; 255 and its nodata tag are unknown.

    Raises:
        DataError: It lies on another grid, or holds other values than 0…T−1.
    """
    values, known_mask, info = _read(path, grid, range(num_classes), "moment raster")
    nodata = info.nodata
    unknown = ~known_mask | (values == UNKNOWN)
    counts = _counted(values[known_mask])
    if info.inverted:
        raise DataError(
            str(path),
            ["found small values shown white (MINISWHITE or its colour table)"],
            "A moment raster holds numbers of intervals, 0 unchanged: write it again as numbers.",
        )
    if set(counts) <= {0, UNKNOWN} and counts[UNKNOWN] and nodata != UNKNOWN:
        raise DataError(
            str(path),
            [f"found only the values {_listed(counts)}, expected 0…{num_classes - 1}"],
            "That says whether a pixel changed and not when: a moment raster holds k where the "
            "change lies between date k-1 and date k. Masks that say what is there at each date "
            "go with --masks. If 255 means unknown, set the file's nodata tag to 255.",
        )
    wrong = Counter({v: n for v, n in counts.items() if v not in {*range(num_classes), UNKNOWN}})
    if wrong:
        raise DataError(
            str(path),
            [f"found values {_listed(wrong)}, expected 0…{num_classes - 1}"],
            "0 is unchanged, k changed between date k-1 and date k; 255 and the file's nodata tag "
            "are unknown.",
        )
    moment = np.where(unknown, UNKNOWN, values).astype(np.uint8)
    remarks = []
    if nodata != UNKNOWN and counts[UNKNOWN]:
        remarks.append(f"{path.name}: 255 ({counts[UNKNOWN]} pixels) is taken as unknown")
    if set(counts) <= {0, 1, UNKNOWN} and counts[1] and num_classes > 2:
        remarks.append(
            f"warning: {path.name} holds no moment but 1, a change between the first two dates; a "
            "map that says whether and not when a pixel changed is no moment raster"
        )
    return Labels(moment, [path], remarks)


def labels_from_masks(
    files: Sequence[Path],
    dates: Sequence[datetime.date],
    grid: RasterInfo,
    event: Event,
    transitions: Transitions,
) -> Labels:
    """Binary masks, there or not there, one for each date of the series.

    Args:
        files: With dates in their names; those of other dates are left out.
        dates: Of the series.
        grid: Of its images.
        event, transitions: See :func:`data_processing.labels.transitions.change_moment`.

    Raises:
        DataError: With all masks that are missing, lie on another grid or are not binary.
    """
    faults: list[str] = []
    remarks: list[str] = []
    dated = dates_of(files, None, faults, remarks, tags=False, title="dates of masks")
    masks = partners(dates, dated, faults)
    missing = [date for date in dates if date not in masks and dated]
    if missing:
        present = ", ".join(map(shown, dated)) or "none"
        faults += [f"found no mask of {shown(d)}; there are masks of {present}" for d in missing]
    states = np.zeros((len(dates), grid.height, grid.width), dtype=np.uint8)
    known_mask = np.zeros(states.shape, dtype=np.bool_)
    for k, date in enumerate(dates):
        if date not in masks:
            continue
        try:
            states[k], known_mask[k], said = _mask(masks[date], grid)
        except DataError as error:
            faults += [f"{masks[date].name}: {fault}" for fault in error.faults]
            continue
        remarks += said
    if faults:
        raise DataError(
            str(files[0].parent),
            faults,
            "Every date of the series needs a mask of 0/1 (or 0/255) with the date in its name "
            "(a month, where it is the only mask of its month, stands for a day of it and the "
            "other way round), on the grid of the images; 255 is unknown where the nodata tag is "
            "255.",
        )
    surplus = len(dated) - len(dates)
    if surplus:
        remarks.append(f"{surplus} masks of dates that are not in the series are left out")
    moment = change_moment(states, known_mask, event, transitions)
    return Labels(moment, [masks[date] for date in dates], remarks)


def labels_from_polygons(
    path: Path,
    dates: Sequence[datetime.date],
    grid: RasterInfo,
    date_field: str,
    event: Event,
    all_touched: bool,
) -> Labels:
    """Polygons of a file, each with the date of its change.

    A date after that of image k−1, up to that of image k, gives class k. Dates of no interval are
    no change inside the series. Where polygons overlap, ``event`` says which counts.

    Args:
        path: The file.
        dates: Of the series.
        grid: Of its images; needs a coordinate system.
        date_field: The property that holds the date.
        event: "last" or "first".
        all_touched: See :func:`data_processing.labels.footprints.rasterise_footprints`.

    Raises:
        DataError: It is none of the formats, cannot be placed, or some features have no readable
            date.
    """
    remarks: list[str] = []
    features, system = read_polygons(path, grid)
    intervals = [
        _interval(date, dates) for date in feature_dates(features, date_field, str(path), remarks)
    ]
    counts = Counter(intervals)
    moment = np.zeros((grid.height, grid.width), dtype=np.uint8)
    odd: Counter[str] = Counter()
    for k in range(1, len(dates)):
        chosen = [f for f, interval in zip(features, intervals, strict=True) if interval == k]
        drawn = draw_features(chosen, system, str(path), grid, all_touched=all_touched)
        moment[drawn.built if event == "last" else drawn.built & (moment == 0)] = k
        odd += drawn.remarks
    listed = ", ".join(f"{k}: {counts[k]}" for k in range(1, len(dates)))
    gaps = [
        (f"{path.name}: {what} ({count})", "they give no change") for what, count in odd.items()
    ]
    if counts[0]:
        finding = (
            f"{path.name}: {counts[0]} of {len(features)} polygons changed on or before {dates[0]}"
        )
        finding += f" or after {dates[-1]}"
        gaps.append((finding, "no change inside the series"))
    remarks.append(f"{path.name}: polygons per interval {listed}")
    return Labels(moment, [path], remarks, gaps)


def balance(moment: NDArray[np.uint8], num_classes: int) -> list[str]:
    """Pixels and share of each class, and warnings of what a network cannot learn from it."""
    counts = np.bincount(moment[moment != UNKNOWN], minlength=num_classes)
    total = max(1, int(counts.sum()))
    shares = ", ".join(f"{k}: {n} ({100 * n / total:.2f} %)" for k, n in enumerate(counts))
    said = [f"pixels per class of the change moment {shares}; unknown {moment.size - counts.sum()}"]
    empty = [str(k) for k in range(1, num_classes) if not counts[k]]
    if not counts.sum():
        said.append("warning: no pixel has a label")
    elif len(empty) == num_classes - 1:
        said.append("warning: nothing changed in this scene; nothing can be learnt of changes here")
    elif empty:
        said.append(f"warning: no pixel of class {', '.join(empty)} in this scene")
    if counts.sum() and not counts[0]:
        said.append("warning: no pixel is unchanged; is 0 the value of unchanged pixels?")
    return said


# ────────────────────────────────────────── rasters ──────────────────────────────────────────


def _read(
    path: Path, grid: RasterInfo, classes: Sequence[int], what: str
) -> tuple[NDArray[Any], NDArray[np.bool_], RasterInfo]:
    """Values (H, W) of a label raster, where they are known, and its header, which is checked."""
    info = header_of(path)
    faults = []
    if info.count != 1:
        faults.append(f"found {info.count} bands, expected 1 for a {what}")
    if np.dtype(info.dtype).kind not in "uif":
        faults.append(f"found type {info.dtype}, expected whole numbers")
    if info.nodata in classes:
        faults.append(
            f"found the nodata tag {info.nodata:g}, which is also a value of a {what}; remove the "
            "tag (gdal_edit.py -unsetnodata), or write unknown pixels as 255 and make that the tag"
        )
    # a label program may drop the georeference; pixel by pixel is meant then
    faults += grid_differences(info, grid, "the images", lenient=True)
    if faults:
        raise DataError(str(path), faults, GRID_ADVICE)
    require_room(str(path), info)
    stored, data_mask = read_window(path, 0, 0, grid.height, grid.width)
    return stored[0], data_mask, info


def _mask(path: Path, grid: RasterInfo) -> tuple[NDArray[Any], NDArray[np.bool_], list[str]]:
    """There or not, where that is known, and what is remarkable."""
    values, known_mask, info = _read(path, grid, (0, 1), "mask")
    counts = _counted(values[known_mask])
    converted = set(counts) <= {0, UNKNOWN} and counts[UNKNOWN] > 0
    if not converted and not set(counts) <= {0, 1}:
        fault = f"found values {_listed(counts)}, expected 0/1 or 0/255"
        raise DataError(str(path), [fault])
    remarks = [f"{path.name}: values 0/255 are taken as 0/1"] if converted else []
    if info.inverted:
        remarks.append(f"{path.name}: {INVERTED}")
    if info.nodata == UNKNOWN and not counts[1] and not known_mask.all():
        remarks.append(
            f"warning: {path.name} holds no 1, and 255, its nodata tag, at {(~known_mask).sum()} "
            "pixels, taken as unknown; if 255 is what is there, remove the tag (gdal_edit.py "
            "-unsetnodata)"
        )
    present = decode_mask(values, None, inverted=info.inverted) == 1
    return known_mask & present, known_mask, remarks


def _counted(values: NDArray[Any]) -> Counter[float]:
    """Pixels per value."""
    numbers, counts = np.unique(values, return_counts=True)
    return Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))


def _listed(counts: Counter[float]) -> str:
    """Values with their counts, for a message."""
    values = sorted(counts)
    more = len(values) - SHOWN_VALUES
    shown = ", ".join(f"{value:g} ({counts[value]} pixels)" for value in values[:SHOWN_VALUES])
    return f"{shown} and {more} more" if more > 0 else shown


def _interval(date: datetime.date, dates: Sequence[datetime.date]) -> int:
    """k where a date lies after date k−1 and up to date k; 0 outside the series."""
    if date > dates[-1]:
        return 0
    return sum(date > earlier for earlier in dates[:-1])
