"""One generated scene: its images, dates, label and place on the map.

Everything of a scene follows from (seed, data set, split, index) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin

from data_processing.rasters.reading import RasterInfo
from data_processing.sample.events import draw_history, moment_label
from data_processing.sample.fields import fractal_noise, rotated_grid, smooth_noise
from data_processing.sample.landscape import Landscape, draw_landscape
from data_processing.sample.sensor import (
    Sensor,
    Weather,
    draw_weather,
    ground_reflectance,
    record,
    to_basemap,
)
from data_processing.scenes.spec import SPLITS, DatasetSpec, Split
from utils.errors import UserError

__all__ = ["DrawnScene", "draw_scene", "require_drawable", "scene_name"]

MARGIN = 8  # pixels around the scene that shifts and blur draw upon
BANDS = ("blue", "green", "red", "nir")  # that the sensor records
COLOURS = ("red", "green", "blue", "alpha")  # of a mosaic
_MERCATOR = 20037508.342789244


@dataclass(frozen=True)
class Look:
    """Look of scenes, beyond what a data set's specification says.

    Attributes:
        code: Number that enters the seed.
        gsd: Pixel size in metres at factor 1.
        gsd_factors: Pixel size of the scenes in multiples of ``gsd``, taken in turn.
        biomes: Biomes, taken in turn.
        share: Lowest and highest changed share of a scene.
    """

    code: int
    gsd: float
    gsd_factors: tuple[float, ...]
    biomes: tuple[str, ...]
    share: tuple[float, float]


REFLECTANCE = Look(
    code=1,
    gsd=3.0,
    gsd_factors=(1.0, 10 / 3, 1.0, 2.0, 10 / 3),
    biomes=(
        "temperate forest",
        "agriculture",
        "urban fringe",
        "tropical",
        "temperate forest",
        "arid",
        "coast",
    ),
    share=(0.03, 0.20),
)
MOSAIC = Look(
    code=2,
    gsd=2 * _MERCATOR / 8192 / 1024,
    gsd_factors=(1.0, 2.0, 1.0, 4.0, 8.0),
    biomes=(
        "urban fringe",
        "arid",
        "agriculture",
        "urban fringe",
        "tropical",
        "coast",
        "temperate forest",
    ),
    share=(0.02, 0.15),
)


@dataclass(frozen=True)
class DrawnScene:
    """A scene ready to be written.

    Attributes:
        name: Folder name.
        dates: T dates.
        images: (T, C, H, W) float32 reflectance 0…1, or uint8 RGBA.
        valid: (H, W) bool, data at every date.
        moment: (H, W) uint8, 0…T−1.
        grid: Where the pixels lie.
        facts: What dataset.json says of the scene.
    """

    name: str
    dates: list[date]
    images: NDArray[Any]
    valid: NDArray[np.bool_]
    moment: NDArray[np.uint8]
    grid: RasterInfo
    facts: dict[str, Any]


def require_drawable(spec: DatasetSpec) -> None:
    """Make sure that images of a data set can be drawn.

    Raises:
        UserError: It has bands that no sensor here records.
    """
    if _look(spec) is MOSAIC and spec.bands == COLOURS:
        return
    unknown = [band for band in spec.bands if band not in BANDS]
    if unknown:
        raise UserError(
            f"{spec.title}: found bands {', '.join(unknown)}, expected bands among "
            f"{', '.join(BANDS)}, or a mosaic of {', '.join(COLOURS)}. No such scenes can be drawn."
        )


def _look(spec: DatasetSpec) -> Look:
    """Images with a mask in their alpha band are monthly mosaics of natural colours."""
    return REFLECTANCE if spec.alpha_band is None else MOSAIC


def _days(rng: np.random.Generator, spec: DatasetSpec) -> list[date]:
    """Irregular dates over one and a half to three years, or evenly spaced months."""
    T = spec.num_dates
    if _look(spec) is MOSAIC:
        start = int(rng.integers(2017 * 12 + 6, 2018 * 12 + 3))
        span = int(rng.integers(17, 26))
        months = [start + round(span * t / (T - 1)) for t in range(T)]
        return [date(month // 12, month % 12 + 1, 1) for month in months]
    first = date(2016, 1, 1) + timedelta(days=int(rng.integers(0, 5 * 365)))
    gaps = rng.dirichlet(np.full(T - 1, 3.0)) * (rng.uniform(550, 1090) - 45 * (T - 1)) + 45
    days = [first + timedelta(days=int(gap)) for gap in np.r_[0.0, np.cumsum(gaps)]]
    if rng.uniform() < 0.3:  # a series of growing seasons only
        days = [_summer(day, rng) for day in days]
    chosen: list[date] = []
    for day in sorted(days):
        while chosen and (day.year, day.month) <= (chosen[-1].year, chosen[-1].month):
            day = chosen[-1] + timedelta(days=32)
        chosen.append(day)
    return chosen


def _summer(day: date, rng: np.random.Generator) -> date:
    return date(day.year, 1, 1) + timedelta(days=int(rng.integers(135, 270)))


def _turn(seed: int, look: Look, split: Split) -> int:
    """Position in the lists of biomes and pixel sizes where a split begins."""
    words = np.random.SeedSequence([seed, look.code, SPLITS.index(split)]).generate_state(1)
    return int(words[0] % 997)


def _pixel_size(seed: int, look: Look, split: Split, index: int) -> float:
    factors = look.gsd_factors
    return look.gsd * factors[(index + _turn(seed, look, split)) % len(factors)]


def _placing(seed: int, look: Look, split: Split, index: int) -> tuple[str, bool, int, Affine]:
    """Name, whether south of the equator, EPSG code and transform of a scene."""
    split_code = SPLITS.index(split)
    rng = np.random.default_rng(np.random.SeedSequence([seed, look.code, split_code, index, 1]))
    gsd, south = _pixel_size(seed, look, split, index), bool(rng.uniform() < 0.25)
    number = 3 * index + split_code + 1  # unique over the splits, however many scenes there are
    if look is REFLECTANCE:
        zone = int(rng.integers(1, 61))
        north = rng.uniform(6.2e6, 8.5e6) if south else rng.uniform(1.5e6, 6.4e6)
        east = rng.uniform(3e5, 6.5e5)
        epsg = (32700 if south else 32600) + zone
        return f"Scene{number:02d}", south, epsg, from_origin(round(east), round(north), gsd, gsd)
    quad_x = 300 + (number * 7) % 1440
    quad_y = (780 if south else 1060) + int(rng.integers(0, 180))
    tile_x = 4 * quad_x + int(rng.integers(0, 4))
    tile_y = 4 * (2047 - quad_y) + int(rng.integers(0, 4))
    size = 2 * _MERCATOR / 8192
    origin = from_origin(-_MERCATOR + tile_x * size, _MERCATOR - tile_y * size, gsd, gsd)
    return f"L15-{quad_x:04d}E-{quad_y:04d}N_{tile_x}_{tile_y}_13", south, 3857, origin


def scene_name(seed: int, spec: DatasetSpec, split: Split, index: int) -> str:
    """Folder name of a scene, known before it is drawn."""
    return _placing(seed, _look(spec), split, index)[0]


def _textures(rng: np.random.Generator, shape: tuple[int, int], gsd: float) -> NDArray[np.float32]:
    return np.stack(
        [
            smooth_noise(rng, shape, 1.0),
            fractal_noise(rng, shape, 8.0, 2.0, 0.6),
            fractal_noise(rng, shape, 50.0, 12.0, 0.5),
            smooth_noise(rng, shape, max(1.2, 7.0 / gsd)),  # tree crowns
        ]
    )


def _unmasked(
    rng: np.random.Generator, weathers: list[Weather], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Mask (T, H, W) of a masked mosaic's data: all of it on most dates."""
    clear = np.ones((len(weathers), *shape), np.bool_)
    masked = 0
    for t, weather in enumerate(weathers):
        lost = weather.cloud_mask
        if lost.any() and lost.mean() < 0.1 and masked < 2 and rng.uniform() < 0.75:
            clear[t] &= ~lost
            masked += 1
    if rng.uniform() < 0.2:  # the strip ends inside the scene
        angle = rng.choice([0.0, np.pi / 2, np.pi, -np.pi / 2]) + rng.normal(0.0, 0.12)
        along = rotated_grid(shape, float(angle), 1.0)[0]
        edge = np.quantile(along, rng.uniform(0.02, 0.07))
        clear[int(rng.integers(len(weathers)))] &= along > edge
    return clear


def _render(
    rng: np.random.Generator, place: Landscape, spec: DatasetSpec, days: list[date], share: float
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.uint8], list[dict[str, int | str]]]:
    """Images (T, C, H, W) with margin cut off, where there are data, moment label, events."""
    shape = (place.height.shape[0], place.height.shape[1])
    mosaic = _look(spec) is MOSAIC
    history = draw_history(rng, place, days, share, 3 if mosaic else 4)
    textures, speed = _textures(rng, shape, place.gsd), float(rng.uniform(0.15, 1.1))
    sensor = Sensor(
        blur=float(rng.uniform(0.4, 0.75) if place.gsd < 11 else rng.uniform(0.2, 0.5)),
        noise=float(rng.uniform(0.001, 0.004)),
        calibration=float(rng.uniform(0.05, 0.15) if mosaic else rng.uniform(0.01, 0.05)),
        shift=0.7,
    )
    cloudiness = float(rng.uniform(0.02, 0.3) if mosaic else rng.uniform(0.05, 0.45))
    widest = 0.1 if mosaic else 0.25
    weathers = [draw_weather(rng, place, day, cloudiness, widest) for day in days]
    gain, gamma = float(rng.uniform(2.4, 3.5)), float(rng.uniform(0.8, 1.0))
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    clear = np.ones((len(days), *shape), np.bool_)
    if mosaic:
        clear = _unmasked(rng, weathers, shape)
    images: list[NDArray[Any]] = []
    for t, weather in enumerate(weathers):
        ground = ground_reflectance(rng, place, history, days, t, textures, speed)
        recorded = record(rng, ground, history.surfaces[t].cover, place, weather, sensor)[inner]
        if not mosaic:
            stored = [BANDS.index(band) for band in spec.bands]
            images.append(recorded.transpose(2, 0, 1)[stored])
            continue
        colours = to_basemap(rng, recorded, gain, gamma)
        alpha = np.where(clear[t][inner], 255, 0).astype(np.uint8)
        images.append(np.concatenate([colours * (alpha > 0), alpha[None]]))
    clear = clear[:, *inner]
    moment = moment_label(history.state[:, *inner], clear)
    return np.stack(images), np.asarray(clear.all(axis=0)), moment, history.events


def draw_scene(seed: int, spec: DatasetSpec, split: Split, index: int, size: int) -> DrawnScene:
    """Generate one scene.

    Args:
        seed: Seed of the whole data set.
        spec: Facts of the data set, see :func:`require_drawable`.
        split: Which split.
        index: Number of the scene within its split, from 0.
        size: Side in pixels, at least 64.

    Returns:
        The scene; it does not depend on how many others there are.
    """
    look, split_code = _look(spec), SPLITS.index(split)
    rng = np.random.default_rng(np.random.SeedSequence([seed, look.code, split_code, index]))
    turn = _turn(seed, look, split)
    biome = look.biomes[(index + turn) % len(look.biomes)]
    gsd = _pixel_size(seed, look, split, index)
    side = size + 2 * MARGIN
    name, south, epsg, transform = _placing(seed, look, split, index)
    place = draw_landscape(rng, biome, (side, side), gsd, south)
    days = _days(rng, spec)
    low, high = look.share
    quiet = index > 1 and (index + turn) % 10 == 9  # never in a split of two scenes
    share = rng.uniform(0.0, 0.004) if quiet else low * (high / low) ** rng.uniform(0.4, 1.0)
    images, valid, moment, events = _render(rng, place, spec, days, float(share))
    crs = CRS.from_epsg(epsg)
    return DrawnScene(
        name=name,
        dates=days,
        images=images,
        valid=valid,
        moment=moment,
        grid=RasterInfo(size, size, len(spec.bands), images.dtype.name, crs, transform, None),
        facts={"biome": biome, "pixel_size_m": round(gsd, 4), "events": events},
    )
