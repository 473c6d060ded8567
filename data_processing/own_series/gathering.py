"""The images that a user names as a list of one image a date, whatever they come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_processing.containers.granules import stacks_by_band
from data_processing.containers.stacks import BandStack, date_ranges
from data_processing.own_series.finding import find_rasters
from data_processing.own_series.options import SeriesOptions
from data_processing.rasters.grids import grid_faults
from data_processing.rasters.sources import Raster

__all__ = ["Gathered", "gather"]


@dataclass
class Gathered:
    """Images of a place.

    Attributes:
        rasters: One a date, in the order of their names or as given.
        remarks: What was decided for the user, in sentences.
    """

    rasters: list[Raster]
    remarks: list[str] = field(default_factory=list)


def gather(
    words: Sequence[str | Path], options: SeriesOptions, band_names: Sequence[str] | None
) -> Gathered:
    """The images of what a user names.

    Args:
        words: Values of ``--images``.
        options: How the series is read.
        band_names: Names that ``--bands`` gives, None where it gives numbers or nothing.

    Raises:
        UserError: A flag or word cannot be used as given.
        DataError: A container is at fault.
    """
    rasters = find_rasters([str(word) for word in words], "--images")
    if options.bands_per_date is not None:
        ranges = date_ranges(rasters, options.bands_per_date)
        return Gathered(list(ranges))
    stacks = stacks_by_band(rasters, band_names, options.align) if band_names else None
    if stacks is None:
        return Gathered(rasters)
    return Gathered(list(stacks), _resampled_bands(stacks))


def _resampled_bands(stacks: Sequence[BandStack]) -> list[str]:
    """Bands that have another grid than the finest one of their date, in sentences."""
    names: dict[str, None] = {}
    for stack in stacks if stacks[0].align else []:
        grid = min(stack.infos, key=lambda info: abs(info.transform.determinant))
        for name, info in zip(stack.band_names, stack.infos, strict=True):
            if grid_faults([("", grid), ("", info)]):
                names[name] = None
    if not names:
        return []
    return [f"bands resampled (bilinear) to the finest of their date: {', '.join(names)}"]
