"""Clear-cuts found in a series of Sentinel-2 observations of a forest, by a rule on NDVI.

A clear-cut is the first clear observation of a forest pixel at which NDVI is well below the
forest's median of that date and stays there, after it was not. The rule looks at many more
observations than the few images of a scene, so that it knows more than a network that sees these.
What it gives is derived, not observed on the ground. Reading files is not its job. Not in the
paper.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NEVER",
    "Rule",
    "clear_pixels",
    "cut_observations",
    "forest_pixels",
    "kept_groups",
    "moment_of_cuts",
    "usable_observations",
    "vegetation_index",
]

NEVER = -1  # of a pixel that is not cut
TOUCHING, SIDE_BY_SIDE = 2, 1  # neighbours: all 8 pixels around, or the 4 that share a side


@dataclass(frozen=True)
class Rule:
    """The numbers of the rule.

    Attributes:
        clear_classes: Of the scene classification: vegetation, soil, unclassified.
        blue_below: Blue (reflectance · 10000) of a clear pixel; haze and thin cloud are brighter.
        first_year: Observations count from this year on; it shows where forest stands.
        first_month: Of the season in which forest is green.
        last_month: Likewise.
        clear_share: More of the scene than this is clear at an observation that counts.
        forest_above: Median NDVI of a forest pixel in the first year.
        drop: NDVI less the forest's median of the date, at the cut and in the median from it on.
        intact: The same before the cut, in the median.
        before: Clear observations that a cut needs before it.
        after: Likewise after it.
        window_before: Observations of the median before the cut, as far as there are so many.
        window_after: Of the median from the cut on, the cut itself among them.
        group: Pixels of the smallest group of cut pixels that is kept.
        opened: Side of a square that fits into every group that is kept.
    """

    clear_classes: tuple[int, ...] = (4, 5, 7)
    blue_below: int = 700
    first_year: int = 2017
    first_month: int = 6
    last_month: int = 9
    clear_share: float = 0.5
    forest_above: float = 0.80
    drop: float = -0.10
    intact: float = -0.07
    before: int = 5
    after: int = 2
    window_before: int = 6
    window_after: int = 3
    group: int = 5
    opened: int = 3


def clear_pixels(
    scene_class: NDArray[np.integer], blue: NDArray[np.integer], rule: Rule
) -> NDArray[np.bool_]:
    """Mask of ground seen without cloud, shadow or haze; any shape."""
    clear: NDArray[np.bool_] = np.isin(scene_class, rule.clear_classes) & (blue < rule.blue_below)
    return clear


def usable_observations(
    dates: Sequence[datetime.date], clear: NDArray[np.bool_], rule: Rule
) -> list[int]:
    """Positions of the observations that count.

    Args:
        dates: Of the N observations.
        clear: (N, H, W).
        rule: The numbers.
    """
    return [
        number
        for number, date in enumerate(dates)
        if date.year >= rule.first_year
        and rule.first_month <= date.month <= rule.last_month
        and clear[number].mean() > rule.clear_share
    ]


def vegetation_index(
    red: NDArray[np.integer], nir: NDArray[np.integer], clear: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """NDVI −1…1 of any shape, NaN where not clear."""
    total = nir.astype(np.float64) + red
    ndvi = np.full(total.shape, np.nan)
    np.divide(nir.astype(np.float64) - red, total, out=ndvi, where=clear & (total > 0))
    return ndvi


def forest_pixels(
    ndvi: NDArray[np.float64], dates: Sequence[datetime.date], rule: Rule
) -> NDArray[np.bool_]:
    """Mask (H, W) of forest in the first year; ``ndvi`` is (N, H, W), NaN not clear."""
    first = [date.year == rule.first_year for date in dates]
    return _median(ndvi[first], axis=0) > rule.forest_above


def cut_observations(
    ndvi: NDArray[np.float64], forest: NDArray[np.bool_], rule: Rule
) -> NDArray[np.intp]:
    """The observation at which each forest pixel is first seen cut.

    Args:
        ndvi: (N, H, W) in order of time, NaN where not clear.
        forest: (H, W), where forest stands at first. Its median at each date is what a pixel is
            compared with, so that season, light and haze cancel out.
        rule: The numbers.

    Returns:
        (H, W) position of an observation, :data:`NEVER` where there is none.
    """
    usual = _median(ndvi[:, forest], axis=1)
    anomaly = ndvi - usual[:, None, None]
    cut = np.full(forest.shape, NEVER, dtype=np.intp)
    suspects = forest & (anomaly < rule.drop).any(axis=0)
    for row, col in zip(*np.nonzero(suspects), strict=True):
        clear = np.flatnonzero(~np.isnan(anomaly[:, row, col]))
        first = _first_cut(anomaly[clear, row, col], rule)
        if first != NEVER:
            cut[row, col] = clear[first]
    return cut


def moment_of_cuts(
    cut: NDArray[np.intp], observed: Sequence[datetime.date], dates: Sequence[datetime.date]
) -> NDArray[np.uint8]:
    """The change moment of cuts between the dates of a scene.

    Args:
        cut: (H, W) position in ``observed``, :data:`NEVER` without.
        observed: Dates of the observations.
        dates: The scene's T dates in order.

    Returns:
        (H, W): k for a cut after date k−1 and not after date k; 0 for no cut, or one before the
        first or after the last date.
    """
    days = [date.toordinal() for date in dates]
    intervals = np.searchsorted(days, [date.toordinal() for date in observed], side="left")
    intervals[intervals == len(days)] = 0
    table = np.append(intervals, 0)  # the last one is that of NEVER
    moment: NDArray[np.uint8] = table[cut].astype(np.uint8)
    return moment


def kept_groups(changed: NDArray[np.bool_], rule: Rule) -> NDArray[np.bool_]:
    """Changed pixels (H, W) without specks and thin lines.

    Pixels that touch form a group; small ones are dropped. Of what is left, pixels side by side
    form a group, which is kept whole if a square fits into it somewhere (morphological opening,
    then grown back). Beyond the scene's edge nothing speaks against a square.
    """
    from skimage.morphology import opening  # here: it brings scipy, and --help has no use for it

    groups = _groups(changed, TOUCHING)
    sizes = np.bincount(groups.ravel())
    sizes[0] = 0
    large = (sizes >= rule.group)[groups]
    square = np.ones((rule.opened, rule.opened), dtype=np.uint8)
    groups = _groups(large, SIDE_BY_SIDE)
    survivors = np.unique(groups[opening(large, square, mode="ignore")])
    remaining: NDArray[np.bool_] = np.isin(groups, survivors[survivors > 0])
    return remaining


def _first_cut(anomaly: NDArray[np.float64], rule: Rule) -> int:
    """Position of the cut in the clear observations of one pixel, or :data:`NEVER`."""
    for here in range(rule.before, len(anomaly) - rule.after):
        before = anomaly[max(0, here - rule.window_before) : here]
        from_here = anomaly[here : here + rule.window_after]
        if (
            anomaly[here] < rule.drop
            and np.median(from_here) < rule.drop
            and np.median(before) > rule.intact
        ):
            return here
    return NEVER


def _groups(changed: NDArray[np.bool_], connectivity: int) -> NDArray[np.int64]:
    """Groups of neighbouring pixels, numbered from 1; 0 elsewhere."""
    from skimage.measure import label

    groups: NDArray[np.int64] = label(changed, connectivity=connectivity)  # type: ignore[no-untyped-call]
    return groups


def _median(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Median of what is not NaN; NaN where all is."""
    hidden = np.ma.masked_invalid(values)
    middle = np.ma.median(hidden, axis=axis)  # type: ignore[no-untyped-call]
    filled: NDArray[np.float64] = np.ma.filled(middle, np.nan)
    return filled
