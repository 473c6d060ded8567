"""Areas held in memory for studies: unlabelled series of any length, and labelled scenes.

SpaceNet7 months and scenes, scenes of four bands, a Landsat series with cloud masks of which a
year can be kept back, and generated scenes drawn without touching the disk.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_processing.prepare_romania import BANDS, SCENE_CLASS, wheel_cube
from data_processing.rasters.dates import dates_of
from data_processing.rasters.reading import open_raster
from data_processing.rasters.values import scale_pixels
from data_processing.sample.scene import draw_scene
from data_processing.scenes.spec import DYNAMIC, DatasetSpec, Split
from utils.errors import DataError

__all__ = [
    "Area",
    "even_dates",
    "filled",
    "generated_scenes",
    "landsat_series",
    "picked",
    "quiet_series",
    "read_scene",
    "read_scenes",
    "sentinel_series",
    "spacenet7_series",
    "split_years",
]

LAND, WATER, SNOW = 0, 1, 3  # of Landsat's mask; shadow, cloud and fill are missing
SEEN_CLASSES = (4, 5, 6, 7, 11)  # of Sentinel-2's: vegetation, soil, water, unclassified, snow
BRIGHTEST = 16000  # stored reflectance; what is above is saturated

Pixels = NDArray[np.generic]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Area:
    """One place.

    Attributes:
        name: Areas of one name are the same place.
        images: (N, C, H, W) as stored.
        days: N ordinals of dates, ascending.
        label: (H, W) change moment, −1 unknown; None for an unlabelled series.
        missing: (N, H, W), pixels without data at a date; None where all have data.
    """

    name: str
    images: Pixels
    days: NDArray[np.int64]
    label: NDArray[np.int64] | None = None
    missing: Mask | None = None

    def values(self, dates: object = slice(None), window: tuple[slice, ...] = ()) -> Pixels:
        """Scaled values (n, C, h, w) float32 of some dates and a window; 0 where missing."""
        images = np.array(scale_pixels(self.images[(dates, slice(None), *window)], "auto"))
        if self.missing is not None:
            images[np.broadcast_to(self.missing[(dates, *window)][:, None], images.shape)] = 0
        return images


def _read(path: Path) -> Pixels:
    with open_raster(path) as source:
        pixels: Pixels = source.read()
    return pixels


def _dated(folder: Path) -> tuple[NDArray[np.int64], list[Path]]:
    """Days and files of the images in a folder, in order of time."""
    faults: list[str] = []
    dated = dates_of(sorted(folder.glob("*.tif")), None, faults, [], tags=False)
    if faults:
        raise DataError(str(folder), faults, "A date in every name is needed.")
    return np.array([date.toordinal() for date in dated]), list(dated.values())


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in Path(folder).iterdir() if path.is_dir())


def spacenet7_series(folder: Path) -> list[Area]:
    """All months of every area (a folder each), RGB with an alpha of 255; black is missing."""
    areas = []
    for place in _folders(folder):
        days, paths = _dated(place)
        images = np.stack([_read(path)[:3] for path in paths])
        missing = (images == 0).all(axis=1)
        images = np.concatenate((images, np.full_like(images[:, :1], 255)), axis=1)
        gaps = missing if missing.any() else None
        areas.append(Area(place.name, images, days, missing=gaps))
    return areas


def read_scenes(folder: Path, spec: DatasetSpec) -> list[Area]:
    """Labelled scenes of one split's folder."""
    return [read_scene(place, spec) for place in _folders(folder)]


def read_scene(place: Path, spec: DatasetSpec) -> Area:
    """A labelled scene."""
    days, paths = _dated(place / spec.image_folder)
    images = np.stack([_read(path) for path in paths])
    label = _read(place / spec.moment_file)[0].astype(np.int64)
    label[label == 255] = -1
    if spec.alpha_band is not None:
        label[(images[:, spec.alpha_band] == 0).any(axis=0)] = -1
    return Area(place.name, images, days, label)


def generated_scenes(
    seeds: Sequence[int], split: Split, number: int, spec: DatasetSpec = DYNAMIC, size: int = 128
) -> list[Area]:
    """Scenes of data_processing/sample_data.py; those of four bands as reflectance · 10000."""
    areas = []
    for seed in seeds:
        for index in range(number):
            scene = draw_scene(seed, spec, split, index, size)
            images = scene.images
            if images.dtype.kind == "f":
                images = np.rint(images * 10000).astype(np.uint16)
            days = np.array([date.toordinal() for date in scene.dates])
            label = np.where(scene.valid, scene.moment.astype(np.int64), -1)
            areas.append(Area(f"{seed} {scene.name}", images, days, label))
    return areas


def landsat_series(folder: Path, clear_share: float) -> Area:
    """All days of which more than a share is seen; clouds, shadows, fill, saturation missing.

    Args:
        folder: Holds images/ and, under the same names, cfmask/.
        clear_share: Of the pixels of a day that is taken.
    """
    images, missing, taken_days = [], [], []
    days, paths = _dated(Path(folder) / "images")
    for day, path in zip(days, paths, strict=True):
        pixels, mask = _read(path), _read(Path(folder) / "cfmask" / path.name)[0]
        unseen = ~np.isin(mask, (LAND, WATER, SNOW))
        unseen |= (pixels <= -9999).any(axis=0) | (pixels > BRIGHTEST).any(axis=0)
        if 1 - unseen.mean() > clear_share:
            images.append(np.clip(pixels, 0, None))
            missing.append(unseen)
            taken_days.append(int(day))
    return Area("landsat", np.stack(images), np.array(taken_days), missing=np.stack(missing))


def sentinel_series(wheel: Path, before: int, clear_share: float) -> Area:
    """Days of the cube of prepare_romania.py in years before one, clouds and shadows missing.

    Args:
        wheel: Of the package that the cube comes in.
        before: First year that is left out, with all after it.
        clear_share: Of the pixels of a day that is taken.
    """
    cube = wheel_cube(wheel)
    missing = ~np.isin(cube.bands[SCENE_CLASS], SEEN_CLASSES)
    taken = [
        number
        for number, day in enumerate(cube.dates)
        if day.year < before and 1 - missing[number].mean() > clear_share
    ]
    images = np.stack([cube.bands[band][taken] for band in BANDS], axis=1)
    days = np.array([cube.dates[number].toordinal() for number in taken])
    return Area("romania", images, days, missing=missing[taken])


def picked(area: Area, dates: NDArray[np.int64]) -> Area:
    """Some dates of an unlabelled area."""
    missing = None if area.missing is None else area.missing[dates]
    return Area(area.name, area.images[dates], area.days[dates], missing=missing)


def split_years(area: Area, year: int) -> tuple[Area, Area]:
    """An unlabelled area without a year, and that year alone."""
    years = np.array([datetime.date.fromordinal(int(day)).year for day in area.days])
    others, held_out = np.flatnonzero(years != year), np.flatnonzero(years == year)
    return picked(area, others), picked(area, held_out)


def even_dates(number: int, wanted: int) -> NDArray[np.int64]:
    """Positions of dates evenly spread over a series, the first and the last among them."""
    return np.rint(np.linspace(0, number - 1, wanted)).astype(np.int64)


def quiet_series(area: Area, number: int, num_dates: int) -> list[Area]:
    """Series of T dates in which nothing is taken to change, with disjoint dates."""
    series = []
    for first in range(number):
        dates = np.arange(first, len(area.days), number)
        dates = dates[even_dates(len(dates), num_dates)]
        part = picked(area, dates)
        gaps = np.zeros(part.images.shape[2:], np.bool_)
        gaps = gaps if part.missing is None else part.missing.any(axis=0)
        label = np.where(gaps, -1, 0)
        series.append(Area(part.name, part.images, part.days, label, part.missing))
    return series


def filled(images: NDArray[np.float32], missing: Mask) -> NDArray[np.float32]:
    """Fill pixels that are missing at a date with the mean of their other dates (T, C, H, W)."""
    observed = ~missing[:, None]
    mean = (images * observed).sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
    return np.where(observed, images, mean.astype(np.float32))
