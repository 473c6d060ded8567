"""Cloud masks of a series: each belongs to a date, is read by windows, its values mean clouds."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.containers.granules import mask_files
from data_processing.own_series.finding import find_rasters, headers_of
from data_processing.own_series.image import OpenImage
from data_processing.own_series.options import Remarks
from data_processing.rasters.cloud_codes import CLOUD_CODES, codes_of, hidden_pixels
from data_processing.rasters.dates import dates_of, partners
from data_processing.rasters.grids import grid_faults, touch
from data_processing.rasters.reading import RasterInfo
from data_processing.rasters.sources import Raster, folder_of
from data_processing.rasters.values import INVERTED
from utils.errors import DataError, UserError

__all__ = ["AUTO", "CloudMask", "cloud_masks"]

AUTO = "auto"  # --cloud-codes: as the values tell
ADVICE = (
    "See --clouds: masks carry dates in their names, and whole numbers as agencies ship them "
    "(--cloud-codes)."
)
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


class CloudMask(OpenImage):
    """A mask, taken to the grid of its series by nearest neighbour where it has another one.

    Args:
        path: The file.
        info: Its header.
        grid: Header whose grid it is read on.

    Attributes:
        codes: What its values mean, a key of ``rasters.cloud_codes.CLOUD_CODES``.
        moved: Whether it has another grid.
    """

    def __init__(self, path: Raster, info: RasterInfo, grid: RasterInfo) -> None:
        codes = replace(info, scaling=())  # whatever its tags say: no measurements
        super().__init__(path, codes, grid, None, None, nearest=True)
        self.codes = "binary"

    @property
    def moved(self) -> bool:
        """Whether it has another grid than the images."""
        return self._moved

    def values_to_tell(self, with_fill: bool = False) -> NDArray[Any]:
        """Values (C, n) of pixels of all its parts; of a mask shown inverted, as they are shown.

        Args:
            with_fill: Whether those count that its nodata tag calls none.
        """
        values, data_mask = self.look_at(self.windows_to_look_at())
        counted = values if with_fill else values[:, self._known_of(data_mask)]
        return counted.max(initial=0) - counted if self.inverted else counted

    def mean(self, codes: str, asked: bool) -> None:
        """Take the values by these codes.

        Args:
            codes: A key of ``CLOUD_CODES``.
            asked: Whether the user says so; else a mask shown inverted means the opposite.
        """
        self.codes = codes
        if self.inverted and not asked and codes == "binary":
            self.codes = "binary-clear"

    def look_at_hidden(self, windows: Sequence[tuple[int, int, int, int]]) -> NDArray[np.bool_]:
        """Mask (n,) of the hidden pixels of some windows."""
        return np.concatenate([self.hidden(*window).ravel() for window in windows])

    def hidden(self, row: int, col: int, height: int, width: int) -> NDArray[np.bool_]:
        """A window (h, w), True where the ground is hidden.

        True, too, where the mask knows nothing: beyond its borders, and where it holds its nodata
        tag, unless that is the 0 of "clear".

        Raises:
            DataError: It cannot be read, or holds values that its codes do not have.
        """
        return self._hidden(*self.read(row, col, height, width))

    def hidden_reduced(self, step: int) -> NDArray[np.bool_]:
        """About every ``step``-th pixel of the whole mask, as :meth:`hidden`."""
        return self._hidden(*self.read_reduced(step))

    def _hidden(self, values: NDArray[Any], with_data: NDArray[np.bool_]) -> NDArray[np.bool_]:
        known_mask = self._known_of(with_data)
        if not known_mask.any():
            return ~known_mask
        # For what is unknown: any value that is known.
        standing_in = values[:, known_mask][:, :1, None]
        try:
            hidden = hidden_pixels(np.where(known_mask, values, standing_in), self.codes)
        except ValueError as error:
            raise DataError(
                str(self.path), [str(error)], "Say what the values mean with --cloud-codes."
            ) from error
        return hidden | ~known_mask

    def _known_of(self, with_data: NDArray[np.bool_]) -> NDArray[np.bool_]:
        clear_tag = self._info.nodata == 0 and not self._info.masked and not self._moved
        zero_is_clear = self.codes in ("binary", "cfmask")
        return np.ones_like(with_data) if clear_tag and zero_is_clear else with_data


def cloud_masks(
    given: Sequence[str] | None,
    codes: str,
    dates: Sequence[datetime.date],
    grid: RasterInfo,
    remarks: Remarks,
    own: Sequence[Raster] | None = None,
) -> list[CloudMask | None]:
    """The cloud mask of each date, None where there is none.

    Args:
        given: The value of ``--clouds``.
        codes: The value of ``--cloud-codes``.
        dates: Of the series.
        grid: Of its images; masks of other grids are taken to it by nearest neighbour.
        remarks: Gets the dates of masks, dates that have none, codes and grids.
        own: Masks that come with the images, one a date; instead of files.

    Raises:
        UserError: There are no files, or their codes have to be said.
        DataError: With all faults of dates and headers.
    """
    if codes != AUTO and codes not in CLOUD_CODES:
        names = ", ".join([AUTO, *CLOUD_CODES])
        raise UserError(f"--cloud-codes: found {codes!r}, expected one of {names}.")
    if given is None and own is None:
        return [None] * len(dates)
    faults: list[str] = []
    if own is None:
        files = mask_files(find_rasters(list(given or ()), "--clouds"))
        dated = dates_of(files, None, faults, remarks.all, tags=False, title="dates of cloud masks")
    else:
        files, dated = list(own), dict(zip(dates, own, strict=True))
    mask_files_of = partners(dates, dated, faults)
    headers = headers_of(list(mask_files_of.values()), faults)
    for name, info in headers:
        faults += _header_faults(name, info, grid)
    if not mask_files_of and not faults:
        faults.append(
            f"found no mask of the dates {', '.join(map(str, dates))}; there are masks of "
            f"{', '.join(map(str, dated)) or 'none'}"
        )
    if faults:
        raise DataError(folder_of(files[0]), faults, ADVICE)
    masks = {
        date: CloudMask(file, info, grid)
        for (date, file), (_, info) in zip(mask_files_of.items(), headers, strict=True)
    }
    _settle(masks, codes, remarks)
    without = [date for date in dates if date not in masks]
    if without:
        remarks.add_gaps([f"no cloud mask, taken as clear: {', '.join(map(str, without))}"])
    return [masks.get(date) for date in dates]


def _settle(masks: Mapping[datetime.date, CloudMask], codes: str, remarks: Remarks) -> None:
    """Say what the values of all masks mean, and which of them have another grid."""
    asked = codes != AUTO
    if not asked:
        codes = _common_codes(list(masks.values()))
    for mask in masks.values():
        mask.mean(codes, asked)
        if mask.inverted and not asked:
            remarks.all.append(f"{mask.path.name}: {INVERTED}")
    how = "as said" if asked else "as their values tell"
    remarks.all.append(f"cloud masks, {how}: {codes}, {CLOUD_CODES[codes].meaning}")
    moved = [mask.path for mask in masks.values() if mask.moved]
    if moved:
        remarks.all.append(f"{_listed(moved)}: taken to the images' grid by the nearest pixel")


def _common_codes(masks: Sequence[CloudMask]) -> str:
    """The codes that values tell, those of fill where the others leave a doubt."""
    try:
        return codes_of([mask.values_to_tell() for mask in masks])
    except UserError as doubt:
        with suppress(UserError):
            return codes_of([mask.values_to_tell(with_fill=True) for mask in masks])
        raise doubt


def _listed(paths: Sequence[Raster]) -> str:
    more = len(paths) - 1
    return f"cloud mask {paths[0].name}{f' and {more} more' if more else ''}"


def _header_faults(name: str, info: RasterInfo, grid: RasterInfo) -> list[str]:
    bands = sorted({code.bands for code in CLOUD_CODES.values()})
    if info.count not in bands or info.dtype not in TYPES:
        expected = " or ".join(map(str, bands))
        return [
            f"{name}: found {info.count} bands of {info.dtype}, expected whole numbers in "
            f"{expected} bands"
        ]
    faults = grid_faults([("the images", grid), (name, info)])
    if not faults:
        return []
    if info.crs is None or grid.crs is None:
        return faults
    if not touch(grid, info):
        return [f"{name}: lies beside the images, expected a mask of their place"]
    return []
