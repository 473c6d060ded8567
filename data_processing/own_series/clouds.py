"""Cloud masks of a series: which mask belongs to which date, and whether they are masks."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from data_processing.own_series.finding import find_rasters, headers_of
from data_processing.own_series.image import OpenImage
from data_processing.own_series.series import Remarks
from data_processing.rasters.dates import dates_of, partners
from data_processing.rasters.grids import grid_faults
from data_processing.rasters.reading import RasterInfo
from data_processing.rasters.values import INVERTED
from utils.errors import DataError

__all__ = ["cloud_masks"]

ADVICE = "See --clouds: masks carry dates in their names and have one band, 0 clear, 1 cloud."
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


def cloud_masks(
    given: Sequence[str] | None,
    dates: Sequence[datetime.date],
    grid: RasterInfo,
    align: bool,
    remarks: Remarks,
) -> list[OpenImage | None]:
    """The cloud mask of each date, None where there is none.

    Args:
        given: The value of ``--clouds``.
        dates: Of the series.
        grid: Of its images.
        align: Whether masks of other grids are resampled.
        remarks: Gets the dates of masks, and dates that have none.

    Raises:
        UserError: There are no files.
        DataError: With all faults of dates and headers.
    """
    if given is None:
        return [None] * len(dates)
    files = find_rasters(list(given), "--clouds")
    faults: list[str] = []
    dated = dates_of(files, None, faults, remarks.all, tags=False, title="dates of cloud masks")
    masks_of = partners(dates, dated, faults)
    headers = headers_of(list(masks_of.values()), faults)
    for name, info in headers:
        faults += _header_faults(name, info, grid, align)
    if not masks_of and not faults:
        faults.append(
            f"found no mask of the dates {', '.join(map(str, dates))}; there are masks of "
            f"{', '.join(map(str, dated)) or 'none'}"
        )
    if faults:
        raise DataError(str(files[0].parent), faults, ADVICE)
    masks = {
        date: OpenImage(file, info, grid, None, None, nearest=True)
        for (date, file), (_, info) in zip(masks_of.items(), headers, strict=True)
    }
    remarks.all += [f"{name}: {INVERTED}" for name, info in headers if info.inverted]
    without = [date for date in dates if date not in masks]
    if without:
        remarks.add_gaps([f"no cloud mask, taken as clear: {', '.join(map(str, without))}"])
    return [masks.get(date) for date in dates]


def _header_faults(name: str, info: RasterInfo, grid: RasterInfo, align: bool) -> list[str]:
    if info.count != 1 or info.dtype not in TYPES:
        return [
            f"{name}: found {info.count} bands of {info.dtype}, expected one band of whole "
            "numbers, 0 clear and 1 or 255 cloud"
        ]
    faults = grid_faults([("the images", grid), (name, info)])
    if not align or not faults:
        return faults
    return [f"{name}: found no CRS, expected one to resample from"] if info.crs is None else []
