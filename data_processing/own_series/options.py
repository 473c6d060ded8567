"""Options by which a series is put together, and remarks made on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Period", "Remarks", "SeriesOptions", "Statistic"]

Period = Literal["month", "quarter", "year"]
Statistic = Literal["median", "medoid"]


@dataclass(frozen=True)
class SeriesOptions:
    """Options by which a series is put together: the flags of Predict.py of the same names.

    Attributes:
        dates: Dates of the images in the order of their names, separated by commas.
        choose_dates: Rule that picks dates where there are more than the network takes; None or
            "all" takes them all.
        bands: Band numbers from 1, or names, separated by commas, in the network's order.
        align: Whether other grids are resampled to the first image's.
        clouds: Cloud masks, one a date: folder, pattern or files.
        cloud_codes: What their values mean, see ``rasters.cloud_codes``; ``auto`` = as they tell.
        min_valid_dates: Dates at which a pixel must be seen to be mapped; None = as many as the
            network takes.
        pixel_scale: ``auto`` (8-bit / 255, 16-bit / 10000, float as stored) or ``stored``; that
            of the model.
        composite: Period whose clear pixels become one image; None = every date for itself.
        composite_of: How, see ``composites.CompositeImage``.
        scaling: What stored values mean, see ``scaling.with_scaling``; ``auto`` = as tags or type
            say, products without tags are asked about.
        bands_per_date: Bands of each date where a file holds several dates, one after the other.
        assets: Of STAC items those of the bands, in order; or one that holds all bands.
    """

    dates: str | None = None
    choose_dates: str | None = None
    bands: str | None = None
    align: bool = False
    clouds: tuple[str, ...] | None = None
    cloud_codes: str = "auto"
    min_valid_dates: int | None = None
    pixel_scale: str = "auto"
    composite: Period | None = None
    composite_of: Statistic = "median"
    scaling: str = "auto"
    bands_per_date: int | None = None
    assets: str | None = None


@dataclass
class Remarks:
    """Decisions taken for the user while a series is put together, in sentences.

    Attributes:
        all: Every one.
        gaps: Those that say what is missing.
    """

    all: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    def add_gaps(self, sentences: Sequence[str]) -> None:
        """Add what is missing."""
        self.all += sentences
        self.gaps += sentences
