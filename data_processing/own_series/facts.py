"""Facts of the data set that one's own images go into: the paper's, or Custom's from the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from data_processing.own_series.bands import common_names, names_of_bands, numbers_by_name
from data_processing.own_series.finding import words_of_bands
from data_processing.rasters.grids import pixel_metres
from data_processing.rasters.reading import IMAGES, RasterInfo, header_of
from data_processing.rasters.sources import Raster
from data_processing.scenes.custom import GivenFacts, planned_spec
from data_processing.scenes.spec import CUSTOM, DatasetName, DatasetSpec, spec_by_name
from utils.errors import UserError
from utils.fields import Bounds
from utils.progress import say

__all__ = ["FactSettings", "spec_for_images"]

NumDates = Annotated[int, Bounds(minimum=2, below=256)]


@dataclass(frozen=True, kw_only=True)
class FactSettings:
    """Settings of programs that make scenes of one's own images; each is also a flag."""

    dataset: DatasetName  # custom = any bands and dates; dynamic = 6 dates; spacenet7 = 9
    # 1,2,3,4 or, of files of one band, B02,B03,B04,B08: bands in the data set's order
    bands: str | None = None
    # custom: names of the bands that are taken, such as blue,green,red,nir,swir1; none = as in
    # the scenes that are there, else as the images name them
    band_names: str | None = None
    num_dates: NumDates | None = None  # custom: dates of each scene
    # custom: auto = 8-bit / 255, 16-bit / 10000; stored = as they are; none = auto
    pixel_scale: Literal["auto", "stored"] | None = None


def spec_for_images(
    settings: FactSettings,
    data_root: Path,
    images: Sequence[Raster],
    num_dates: int | None,
    scene: tuple[str, str] | None = None,
) -> DatasetSpec:
    """The facts of the data set that scenes of these images go into.

    Args:
        settings: What the user says of them.
        data_root: Where the scenes go.
        images: Of one place; the first one stands for all.
        num_dates: Dates of a scene where neither flags nor scenes there say; None = to be said.
        scene: Split and name of the only scene that is made; None = all are made anew.

    Raises:
        UserError: A flag means nothing for the data set, or Custom's facts are missing or
            contradict those of the scenes there.
        DataError: What lies there is damaged, or the first image cannot be read.
    """
    given = {
        "--band-names": settings.band_names,
        "--num-dates": settings.num_dates,
        "--pixel-scale": settings.pixel_scale,
    }
    if settings.dataset != CUSTOM:
        spec = spec_by_name(settings.dataset)
        foreign = [flag for flag, value in given.items() if value is not None]
        if foreign:
            raise UserError(
                f"{', '.join(foreign)}: found together with --dataset {settings.dataset}, expected "
                f"custom: bands and dates of {spec.title} are fixed. Leave it out."
            )
        return spec
    asked = GivenFacts(_names(settings.band_names), settings.num_dates, settings.pixel_scale)
    header = header_of(images[0], IMAGES)
    numbers = _numbers(settings.bands, header)
    images_facts = GivenFacts(names_of_bands(header, numbers), num_dates, gsd=pixel_metres(header))
    spec = planned_spec(data_root, asked, images_facts, scene)
    bands = f"{len(spec.bands)} bands ({', '.join(spec.bands)})"
    say(f"data set Custom: {spec.num_dates} dates of {bands}, pixel scale {spec.pixel_scale}")
    return spec


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else common_names([word.strip() for word in text.split(",")])


def _numbers(text: str | None, header: RasterInfo) -> Sequence[int] | None:
    """Band numbers as far as they are some; what is wrong with them is told where they are used."""
    numbers, names = words_of_bands(text)
    if names is None or names == header.band_names:  # of files of one band each
        return numbers
    return numbers_by_name(names, [("", header)], [])
