"""Options by which a series is put together, and remarks made on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from utils.fields import REPOSITORY

__all__ = ["COMPUTED", "Period", "Remarks", "SeriesOptions", "Statistic", "is_computed"]

COMPUTED = "auto"  # --clouds: masks are computed

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
        clouds: Cloud masks, one a date: folder, pattern or files; "auto" alone = computed.
        cloud_codes: What their values mean, see ``rasters.cloud_codes``; ``auto`` = as they tell.
        min_valid_dates: Dates at which a pixel must be seen to be mapped; None = as many as the
            network takes.
        pixel_scale: ``auto`` (8-bit / 255, 16-bit / 10000, float as stored) or ``stored``; that
            of the model.
        composite: Period whose clear pixels become one image; None = every date for itself.
        composite_of: How, see ``composites.CompositeImage``.
        scaling: What stored values mean, see ``scaling.with_scaling``; ``auto`` = as tags or type
            say, products without tags are asked about.
        computed_clouds: Folder that gets computed masks; None = they are not kept.
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
    computed_clouds: Path | None = None


def is_computed(clouds: Sequence[str] | None) -> bool:
    """Whether the value of ``--clouds`` asks for masks to be computed; a folder "auto" is a folder.

    Args:
        clouds: As given, or as settings anchor it like a path.
    """
    if clouds is None or len(clouds) != 1 or Path(clouds[0]).exists():
        return False
    anchored = (Path.cwd() / COMPUTED, REPOSITORY / COMPUTED)
    return clouds[0] == COMPUTED or Path(clouds[0]) in anchored


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
