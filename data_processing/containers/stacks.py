"""Bands of one date in several files, and several dates in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from data_processing.rasters.grids import grid_differences
from data_processing.rasters.reading import IMAGES, RasterInfo, header_of, open_raster
from data_processing.rasters.sources import Raster, Source, files_of
from utils.errors import DataError

__all__ = ["BandRange", "BandStack", "PartTags", "date_ranges"]


class PartTags(NamedTuple):
    """Facts of a band told beside its file, which count where that says nothing.

    Attributes:
        nodata: Value that means no data.
        scaling: Scale and offset.
    """

    nodata: float | None = None
    scaling: tuple[float, float] | None = None


class BandStack(Source):
    """One image whose bands lie in a raster each.

    Args:
        name, folder: See :class:`Source`.
        parts: A raster of one band for each band.
        band_names: What they are called.
        align: Whether bands of other grids are resampled to the finest one.
        tags: What is told of the parts beside their files.
        files: Beside those of the parts.
    """

    def __init__(
        self,
        name: str,
        folder: str,
        parts: Sequence[Raster],
        band_names: Sequence[str],
        align: bool = False,
        tags: Sequence[PartTags] = (),
        files: Sequence[Path] = (),
    ) -> None:
        files = list(dict.fromkeys([*files, *(path for part in parts for path in files_of(part))]))
        super().__init__(f"{folder}, {name}", name, folder, files)
        self.parts, self.band_names, self.align = list(parts), tuple(band_names), align
        self._tags = list(tags) or [PartTags()] * len(parts)

    @cached_property
    def infos(self) -> list[RasterInfo]:
        """Headers of the parts.

        Raises:
            DataError: With all that cannot be read.
        """
        faults: list[str] = []
        infos = []
        for part, tags in zip(self.parts, self._tags, strict=True):
            try:
                info = header_of(part, IMAGES)
            except DataError as error:
                faults += [f"{part.name}: {fault} {error.advice}" for fault in error.faults]
                continue
            nodata = tags.nodata if info.nodata is None else info.nodata
            scaling = (tags.scaling,) * info.count if tags.scaling else ()
            infos.append(replace(info, nodata=nodata, scaling=info.scaling or scaling))
        if faults:
            raise DataError(self.where, faults)
        return infos

    def opened(self, drivers: Sequence[str]) -> Any:
        """The first part, whose tags stand for all; images read each part for itself."""
        return open_raster(self.parts[0], drivers)

    def header(self, drivers: Sequence[str]) -> RasterInfo:
        """See :class:`Source`; the grid is that of the finest part."""
        infos = self.infos
        finest = min(infos, key=lambda info: abs(info.transform.determinant))
        faults = []
        for part, info in zip(self.parts, infos, strict=True):
            if info.count != 1:
                faults.append(f"{part.name}: found {info.count} bands, expected 1")
            if info.dtype != infos[0].dtype:
                fault = f"found type {info.dtype}, expected {infos[0].dtype}"
                faults.append(f"{part.name}: {fault} as {self.parts[0].name}")
            if not self.align:
                others = grid_differences(info, infos[0], self.parts[0].name)
                faults += [f"{part.name}: {difference}, or --align" for difference in others]
        if faults:
            advice = (
                "Bring all bands of a date to one grid and type; --align resamples the coarser."
            )
            raise DataError(self.where, faults, advice)
        return replace(
            finest,
            count=len(infos),
            band_names=self.band_names,
            nodata=infos[0].nodata if len({info.nodata for info in infos}) == 1 else None,
            masked=any(info.masked for info in infos),
            alpha=None,
            colors=(None,) * len(infos),
            palette=next((info.palette for info in infos if info.palette), {}),
            white_is_zero=any(info.white_is_zero for info in infos),
            **_scaling(infos),
        )


class BandRange(Source):
    """One date of a raster that holds several, one after the other.

    Args:
        raster: The whole.
        info: Its header.
        first: Bands before those of the date.
        count: Bands of a date.
        name: See :class:`Source`.
    """

    def __init__(self, raster: Raster, info: RasterInfo, first: int, count: int, name: str) -> None:
        super().__init__(f"{raster}, {name}", name, str(raster), files_of(raster))
        self.raster, self.first_band = raster, first
        bands = slice(first, first + count)
        scaling: Any = info.scaling[bands] if isinstance(info.scaling, tuple) else info.scaling
        self.info = replace(
            info, count=count, band_names=info.band_names[bands], alpha=None, scaling=scaling,
            colors=(None,) * count, palette={},
        )  # fmt: skip

    def opened(self, drivers: Sequence[str]) -> Any:
        """The whole raster; its bands are counted from ``first_band``."""
        return open_raster(self.raster, drivers)

    def header(self, drivers: Sequence[str]) -> RasterInfo:
        """See :class:`Source`."""
        return self.info


def date_ranges(rasters: Sequence[Raster], count: int) -> list[BandRange]:
    """The dates of rasters that hold so many bands of each.

    Raises:
        DataError: With all whose number of bands is no multiple of it.
    """
    ranges: list[BandRange] = []
    faults: list[str] = []
    for raster in rasters:
        info = header_of(raster, IMAGES)
        if info.count % count or not info.count:
            fault = f"found {info.count} bands, expected a multiple of {count}"
            faults.append(f"{raster.name}: {fault}, the bands of a date (--bands-per-date)")
        for first in range(0, info.count - info.count % count, count):
            described = info.band_names[first] or ""
            name = described or f"bands {first + 1} to {first + count}"
            prefix = f"{raster.name}, " if len(rasters) > 1 else ""
            ranges.append(BandRange(raster, info, first, count, prefix + name))
    if faults:
        raise DataError(str(rasters[0]), faults, "Say how many bands each date has.")
    return ranges


def _scaling(infos: Sequence[RasterInfo]) -> dict[str, Any]:
    """Scale and offset of the bands, each its own."""
    if not any(info.scaling for info in infos):
        return {}
    return {"scaling": tuple(info.scaling[0] if info.scaling else (1.0, 0.0) for info in infos)}
