"""Composites: one image a month, quarter or year from the clear pixels of all dates in it.

Made while it is read, window by window, so that hundreds of files become a few dozen dates without
being written anew. A pixel that no date of a period sees clearly is not seen in the composite.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.own_series.clouds import CloudMask
from data_processing.own_series.image import OpenImage
from data_processing.own_series.options import Period, Remarks, SeriesOptions, Statistic

__all__ = ["CompositeImage", "combined", "image_per_period", "period_start", "periods_of"]

Window = tuple[int, int, int, int]
Pixels = tuple[NDArray[Any], NDArray[np.bool_]]

MONTHS = {"month": 1, "quarter": 3, "year": 12}
WORKING_VALUES = 3  # of each source's values in float32, while they are ranked


def period_start(date: datetime.date, period: Period) -> datetime.date:
    """The first day of the period that a date lies in."""
    months = MONTHS[period]
    return datetime.date(date.year, (date.month - 1) // months * months + 1, 1)


def periods_of(
    dates: Sequence[datetime.date], period: Period | None
) -> dict[datetime.date, list[datetime.date]]:
    """Dates by the first day of their period, ascending; each for itself without a period."""
    groups: dict[datetime.date, list[datetime.date]] = {}
    for date in sorted(dates):
        groups.setdefault(period_start(date, period) if period else date, []).append(date)
    return groups


def image_per_period(
    images: Mapping[datetime.date, OpenImage],
    masks: Mapping[datetime.date, CloudMask | None],
    periods: Mapping[datetime.date, Sequence[datetime.date]],
    options: SeriesOptions,
    remarks: Remarks,
) -> tuple[list[OpenImage | CompositeImage], list[CloudMask | None]]:
    """The image and the cloud mask of each date of a series; composites heed their masks.

    Args:
        images, masks: Of the dates at hand.
        periods: Dates of the series, and the dates at hand that each stands for.
        options: Whether composites are made.
        remarks: Gets what they are made of.
    """
    if options.composite is None:
        return [images[date] for date in periods], [masks[date] for date in periods]
    counts = [len(dates) for dates in periods.values()]
    listed = ", ".join(f"{date} {len(dates)}" for date, dates in periods.items())
    remarks.all.append(
        f"composites: {sum(counts)} images become {len(counts)} dates, the {options.composite_of} "
        f"of each {options.composite}'s clear pixels, dated to its first day; images of each: "
        f"{listed}"
    )
    made: list[OpenImage | CompositeImage] = [
        CompositeImage(
            [images[date] for date in dates], [masks[date] for date in dates], options.composite_of
        )
        for dates in periods.values()
    ]
    return made, [None] * len(made)


class CompositeImage:
    """An image made of several, read as one is.

    Args:
        images: Of the dates in the period, on one grid.
        masks: Their cloud masks.
        statistic: "median" of each band for itself, or "medoid": of the clear pixels the one
            nearest to that median, all bands of one date.

    Attributes:
        path: The first source.
        paths, mask_paths: All sources, and their cloud masks.
        working_bytes: Held per pixel and band beside the image while it is made.
        grid, numbers, nodata: Those of the first.
        scaling, itemsize: Of all of them, and the largest.
        block_rows: Rows of the tallest stored block.
    """

    def __init__(
        self,
        images: Sequence[OpenImage],
        masks: Sequence[CloudMask | None],
        statistic: Statistic = "median",
    ) -> None:
        first = images[0]
        self.path, self.paths = first.path, [image.path for image in images]
        self.grid, self.numbers, self.nodata = first.grid, first.numbers, first.nodata
        self.scaling = [scale for image in images for scale in image.scaling]
        self.itemsize = max(image.itemsize for image in images)
        self.block_rows = max(image.block_rows for image in images)
        self.working_bytes = WORKING_VALUES * len(images) * np.dtype(np.float32).itemsize
        self.mask_paths = [mask.path for mask in masks if mask is not None]
        self._sources = list(zip(images, masks, strict=True))
        self._statistic = statistic

    def read(self, row: int, col: int, height: int, width: int) -> Pixels:
        """A window (C, h, w) of the stored type, and (h, w) where some date sees it clearly."""
        window = (row, col, height, width)
        return self._combined(lambda image: image.read(*window), lambda mask: mask.hidden(*window))

    def read_reduced(self, step: int) -> Pixels:
        """About every ``step``-th pixel, as :meth:`read`."""
        return self._combined(
            lambda image: image.read_reduced(step), lambda mask: mask.hidden_reduced(step)
        )

    def windows_to_look_at(self) -> list[Window]:
        """Windows spread over the grid, see ``OpenImage``."""
        return self._sources[0][0].windows_to_look_at()

    def look_at(self, windows: Sequence[Window]) -> Pixels:
        """The pixels of some windows: values (C, n) and (n,) where there is data."""
        pairs = [self.read(*window) for window in windows]
        values = np.concatenate([some.reshape(len(some), -1) for some, _ in pairs], axis=1)
        return values, np.concatenate([mask.ravel() for _, mask in pairs])

    def close(self) -> None:
        """Close all sources; they are opened again when needed."""
        for image, mask in self._sources:
            image.close()
            if mask is not None:
                mask.close()

    def _combined(
        self,
        values_of: Callable[[OpenImage], Pixels],
        hidden_of: Callable[[CloudMask], NDArray[np.bool_]],
    ) -> Pixels:
        stored, clear = [], []
        for image, mask in self._sources:
            values, data_mask = values_of(image)
            stored.append(values)
            clear.append(data_mask if mask is None else data_mask & ~hidden_of(mask))
        return combined(np.stack(stored), np.stack(clear), self._statistic)


def combined(stored: NDArray[Any], clear: NDArray[np.bool_], statistic: Statistic) -> Pixels:
    """One image of several.

    Args:
        stored: (M, C, h, w).
        clear: (M, h, w), where each is to be heeded.
        statistic: See :class:`CompositeImage`.

    Returns:
        (C, h, w) of the stored type, whole numbers rounded; values of the first image where none
        is clear. And (h, w), where some is.
    """
    count = clear.sum(axis=0)
    ranked = np.where(clear[:, None], stored.astype(np.float32), np.float32(np.inf))
    ranked.sort(axis=0)
    last = np.maximum(count - 1, 0)
    low, high = (
        np.take_along_axis(ranked, place[None, None], axis=0)[0]
        for place in (last // 2, -(-last // 2))
    )
    any_clear: NDArray[np.bool_] = count > 0
    median = np.where(any_clear, (low + high) / 2, stored[0].astype(np.float32))
    if statistic == "medoid":
        far = np.abs(stored.astype(np.float32) - median).sum(axis=1)
        nearest = np.where(clear, far, np.inf).argmin(axis=0)
        chosen: NDArray[Any] = np.take_along_axis(stored, nearest[None, None], axis=0)[0]
        return chosen, any_clear
    if stored.dtype.kind in "iu":
        median = np.rint(median)
    return median.astype(stored.dtype), any_clear
