"""One generated scene: its images, dates, label and place on the map.

Everything of a scene follows from (seed, data set, split, index) alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine, from_origin

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
from utils.files import atomic_path

__all__ = [
    "DATASETS",
    "SPLITS",
    "SampleKind",
    "SceneData",
    "draw_scene",
    "scene_name",
    "write_scene",
]

SPLITS = ("train", "val", "test")
MARGIN = 8  # pixels around the scene that shifts and blur draw upon
_MERCATOR = 20037508.342789244


@dataclass(frozen=True)
class SampleKind:
    """What distinguishes the two data sets.

    Attributes:
        key: Name on the command line.
        code: Number that enters the seed.
        folder: Images_<name>.
        image_folder: Folder of the images within a scene.
        moment_file: Name of the change-moment raster.
        num_dates: T.
        gsd: Pixel size in metres at factor 1.
        gsd_factors: Pixel size of the scenes in multiples of ``gsd``, taken in turn.
        biomes: Biomes, taken in turn.
        share: Lowest and highest changed share of a scene.
    """

    key: str
    code: int
    folder: str
    image_folder: str
    moment_file: str
    num_dates: int
    gsd: float
    gsd_factors: tuple[float, ...]
    biomes: tuple[str, ...]
    share: tuple[float, float]


DATASETS = {
    "dynamic": SampleKind(
        key="dynamic",
        code=1,
        folder="Images_Dynamic",
        image_folder="train_images",
        moment_file="multi_change.tif",
        num_dates=6,
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
    ),
    "spacenet7": SampleKind(
        key="spacenet7",
        code=2,
        folder="Images_SpaceNet7",
        image_folder="images_masked",
        moment_file="multi_change_last.tif",
        num_dates=9,
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
    ),
}


@dataclass(frozen=True)
class SceneData:
    """A scene ready to be written.

    Attributes:
        name: Folder name.
        image_names: T file names.
        images: (T, C, H, W) float32 reflectance or uint8 RGBA.
        moment: (H, W) uint8, 0…T-1.
        epsg: Code of the coordinate system.
        transform: Pixel to map coordinates.
        record: What dataset.json says of the scene.
    """

    name: str
    image_names: list[str]
    images: NDArray[Any]
    moment: NDArray[np.uint8]
    epsg: int
    transform: Affine
    record: dict[str, Any]


def _days(rng: np.random.Generator, kind: SampleKind) -> list[date]:
    """Irregular dates over one and a half to three years, or evenly spaced months."""
    T = kind.num_dates
    if kind.key == "spacenet7":
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


def _turn(seed: int, kind: SampleKind, split: str) -> int:
    """Where in the lists of biomes and pixel sizes a split begins."""
    words = np.random.SeedSequence([seed, kind.code, SPLITS.index(split)]).generate_state(1)
    return int(words[0] % 997)


def _pixel_size(seed: int, kind: SampleKind, split: str, index: int) -> float:
    factors = kind.gsd_factors
    return kind.gsd * factors[(index + _turn(seed, kind, split)) % len(factors)]


def _placing(seed: int, kind: SampleKind, split: str, index: int) -> tuple[str, bool, int, Affine]:
    """Name, whether south of the equator, EPSG code and transform of a scene."""
    split_code = SPLITS.index(split)
    rng = np.random.default_rng(np.random.SeedSequence([seed, kind.code, split_code, index, 1]))
    gsd, south = _pixel_size(seed, kind, split, index), bool(rng.uniform() < 0.25)
    number = 3 * index + split_code + 1  # unique over the splits, however many scenes there are
    if kind.key == "dynamic":
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


def scene_name(seed: int, key: str, split: str, index: int) -> str:
    """Folder name of a scene, known before it is drawn."""
    return _placing(seed, DATASETS[key], split, index)[0]


def _image_name(kind: SampleKind, scene: str, day: date) -> str:
    if kind.key == "dynamic":
        return f"{day:%Y-%m-%d}.tif"
    return f"global_monthly_{day:%Y_%m}_mosaic_{scene}.tif"


def _textures(rng: np.random.Generator, shape: tuple[int, int], gsd: float) -> NDArray[np.float32]:
    return np.stack(
        [
            smooth_noise(rng, shape, 1.0),
            fractal_noise(rng, shape, 8.0, 2.0, 0.6),
            fractal_noise(rng, shape, 50.0, 12.0, 0.5),
            smooth_noise(rng, shape, max(1.2, 7.0 / gsd)),  # tree crowns
        ]
    )


def _seen(
    rng: np.random.Generator, weathers: list[Weather], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Where each date of a masked mosaic has data: no mask on most dates, (T, H, W) bool."""
    seen = np.ones((len(weathers), *shape), np.bool_)
    masked = 0
    for t, weather in enumerate(weathers):
        lost = weather.cloud_mask
        if lost.any() and lost.mean() < 0.1 and masked < 2 and rng.uniform() < 0.75:
            seen[t] &= ~lost
            masked += 1
    if rng.uniform() < 0.2:  # the strip ends inside the scene
        angle = rng.choice([0.0, np.pi / 2, np.pi, -np.pi / 2]) + rng.normal(0.0, 0.12)
        along = rotated_grid(shape, float(angle), 1.0)[0]
        edge = np.quantile(along, rng.uniform(0.02, 0.07))
        seen[int(rng.integers(len(weathers)))] &= along > edge
    return seen


def _render(
    rng: np.random.Generator, place: Landscape, kind: SampleKind, days: list[date], share: float
) -> tuple[NDArray[Any], NDArray[np.uint8], list[dict[str, int | str]]]:
    """Images (T, C, H, W) with margin cut off, moment label, events."""
    shape = (place.height.shape[0], place.height.shape[1])
    bands = 4 if kind.key == "dynamic" else 3
    history = draw_history(rng, place, days, share, bands)
    textures, speed = _textures(rng, shape, place.gsd), float(rng.uniform(0.15, 1.1))
    sensor = Sensor(
        blur=float(rng.uniform(0.4, 0.75) if place.gsd < 11 else rng.uniform(0.2, 0.5)),
        noise=float(rng.uniform(0.001, 0.004)),
        calibration=float(rng.uniform(0.01, 0.05) if bands == 4 else rng.uniform(0.05, 0.15)),
        shift=0.7,
    )
    cloudiness = float(rng.uniform(0.05, 0.45) if bands == 4 else rng.uniform(0.02, 0.3))
    widest = 0.25 if bands == 4 else 0.1
    weathers = [draw_weather(rng, place, day, cloudiness, widest) for day in days]
    gain, gamma = float(rng.uniform(2.4, 3.5)), float(rng.uniform(0.8, 1.0))
    inner = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    seen = np.ones((len(days), *shape), np.bool_)
    if bands == 3:
        seen = _seen(rng, weathers, shape)
    images: list[NDArray[Any]] = []
    for t, weather in enumerate(weathers):
        ground = ground_reflectance(rng, place, history, days, t, textures, speed)
        seen_image = record(rng, ground, history.surfaces[t].cover, place, weather, sensor)
        if bands == 4:
            images.append(seen_image[inner].transpose(2, 0, 1))
            continue
        colours = to_basemap(rng, seen_image[inner], gain, gamma)
        alpha = np.where(seen[t][inner], 255, 0).astype(np.uint8)
        images.append(np.concatenate([colours * (alpha > 0), alpha[None]]))
    crop = (slice(None), *inner)
    return np.stack(images), moment_label(history.state[crop], seen[crop]), history.events


def draw_scene(seed: int, kind: SampleKind, split: str, index: int, size: int) -> SceneData:
    """Generate one scene.

    Args:
        seed: Seed of the whole data set.
        kind: Which data set.
        split: "train", "val" or "test".
        index: Number of the scene within its split, from 0.
        size: Side in pixels, at least 64.

    Returns:
        The scene; it does not depend on how many others there are.
    """
    split_code = SPLITS.index(split)
    rng = np.random.default_rng(np.random.SeedSequence([seed, kind.code, split_code, index]))
    turn = _turn(seed, kind, split)
    biome = kind.biomes[(index + turn) % len(kind.biomes)]
    gsd = _pixel_size(seed, kind, split, index)
    side = size + 2 * MARGIN
    name, south, epsg, transform = _placing(seed, kind, split, index)
    place = draw_landscape(rng, biome, (side, side), gsd, south)
    days = _days(rng, kind)
    low, high = kind.share
    quiet = index > 1 and (index + turn) % 10 == 9  # never in a split of two scenes
    share = rng.uniform(0.0, 0.004) if quiet else low * (high / low) ** rng.uniform(0.4, 1.0)
    images, moment, events = _render(rng, place, kind, days, float(share))
    counts = np.bincount(moment.ravel(), minlength=kind.num_dates)
    return SceneData(
        name=name,
        image_names=[_image_name(kind, name, day) for day in days],
        images=images,
        moment=moment,
        epsg=epsg,
        transform=transform,
        record={
            "split": split,
            "name": name,
            "biome": biome,
            "pixel_size_m": round(gsd, 4),
            "pixels_per_class": [int(count) for count in counts],
            "events": events,
        },
    )


def _write_raster(path: Path, pixels: NDArray[Any], scene: SceneData, compress: str) -> None:
    profile = {
        "driver": "GTiff",
        "count": pixels.shape[0],
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype.name,
        "crs": f"EPSG:{scene.epsg}",
        "transform": scene.transform,
        "compress": compress,
    }
    if pixels.shape[0] == 4 and pixels.dtype == np.uint8:
        profile |= {"photometric": "RGB", "alpha": "YES"}
    with atomic_path(path) as partial, rasterio.open(partial, "w", **profile) as raster:
        raster.write(pixels)
        if pixels.dtype == np.float32:
            for band, colour in enumerate(("blue", "green", "red", "nir"), start=1):
                raster.set_band_description(band, colour)


def write_scene(root: Path, kind: SampleKind, scene: SceneData) -> None:
    """Write a scene's rasters under ``root``/<split>/<name>.

    Args:
        root: The folder Images_<name>.
        kind: Which data set.
        scene: The scene.

    Raises:
        OSError: When the folder cannot be written or the disk is full.
    """
    folder = root / str(scene.record["split"]) / scene.name
    compress = "lzw" if kind.key == "spacenet7" else "deflate"
    for name, image in zip(scene.image_names, scene.images, strict=True):
        _write_raster(folder / kind.image_folder / name, image, scene, compress)
    area = (scene.moment > 0).astype(np.uint8)
    _write_raster(folder / "change" / "bi_change.tif", area[None], scene, "deflate")
    _write_raster(folder / "change" / kind.moment_file, scene.moment[None], scene, "deflate")
