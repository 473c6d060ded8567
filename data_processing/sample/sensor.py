"""From the ground to the recorded image: light, season's texture, air, clouds, optics, noise.

What differs here from date to date is not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from data_processing.sample.covers import (
    BUILT,
    TEXTURE,
    Cover,
    day_of_year,
)
from data_processing.sample.events import History, base_reflectance
from data_processing.sample.fields import fractal_noise, smooth_noise, smooth_step
from data_processing.sample.landscape import Landscape

__all__ = ["Sensor", "Weather", "draw_weather", "ground_reflectance", "record", "to_basemap"]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

HAZE_BY_BAND = np.array([1.0, 0.72, 0.55, 0.28], np.float32)


@dataclass(frozen=True)
class Sensor:
    """Noise and optics of one series.

    Attributes:
        blur: Deviation of the point spread in pixels.
        noise: Deviation of the noise in reflectance.
        calibration: Deviation of the gain from date to date and band to band.
        shift: Largest misregistration in pixels.
    """

    blur: float
    noise: float
    calibration: float
    shift: float


@dataclass(frozen=True)
class Weather:
    """Sky of one date.

    Attributes:
        haze: (H, W) float32, path reflectance in blue.
        cloud: (H, W) float32, opacity 0…1.
        shadow: (H, W) float32, share of light taken by clouds, 0…1.
        cloud_mask: (H, W) bool, what a cloud mask finds (thick parts and a rim).
        snow: Share of snow, 0 = none.
    """

    haze: Floats
    cloud: Floats
    shadow: Floats
    cloud_mask: Mask
    snow: float


def draw_weather(
    rng: np.random.Generator, place: Landscape, day: date, cloudiness: float, widest: float
) -> Weather:
    """Draw the sky and snow of one date.

    Args:
        rng: Source of randomness.
        place: The landscape (size, climate).
        day: The date.
        cloudiness: Chance of clouds in the image.
        widest: Largest share of the image under clouds.

    Returns:
        The weather.
    """
    shape = (place.height.shape[0], place.height.shape[1])
    side = max(shape)
    mean = float(rng.gamma(1.4, 0.005))
    variation = 1.0 + 0.35 * smooth_noise(rng, shape, side / 1.5)
    haze = mean * np.clip(variation, 0.1, 3.0)
    cloud = np.zeros(shape, np.float32)
    if rng.uniform() < cloudiness:
        puffs = fractal_noise(rng, shape, side / rng.uniform(2.5, 8.0), 2.0, 0.55)
        edge = float(np.quantile(puffs, 1.0 - min(widest, rng.gamma(1.3, 0.035))))
        thick = rng.uniform() < 0.7
        cloud = smooth_step(puffs, edge, edge + rng.uniform(0.25, 0.8))
        cloud *= np.float32(rng.uniform(0.75, 1.0) if thick else rng.uniform(0.15, 0.45))
    away = rng.uniform(0.03, 0.14) * side * np.array([-1.0, rng.uniform(-1.0, 1.0)])
    shadow = 0.62 * ndimage.shift(ndimage.gaussian_filter(cloud, 1.0), away, order=1)
    mask = np.asarray((cloud > 0.3) | (shadow > 0.3))
    if mask.any():
        mask = ndimage.distance_transform_edt(~mask) <= max(2.0, side / 80)
    winter = abs((place.climate.season_day(day) - 15 + 182) % 365 - 182) < 50
    snow = float(rng.uniform(0.3, 1.0)) if rng.uniform() < 0.2 else 0.0
    return Weather(
        haze=haze.astype(np.float32),
        cloud=cloud,
        shadow=np.clip(shadow, 0.0, 1.0).astype(np.float32),
        cloud_mask=np.asarray(mask),
        snow=snow if winter and place.climate.cold else 0.0,
    )


def _regrowth(
    image: Floats, place: Landscape, history: History, days: list[date], t: int, speed: float
) -> None:
    """Let bare felled, burnt and dug ground turn green again with the years, in place."""
    cover = history.surfaces[t].cover
    green = place.climate.greenness(days[t])
    lush = place.climate.signatures(days[t], 0.0)[Cover.GRASS]
    rates = ((Cover.CLEARED, 1.0), (Cover.BURNT, 0.8), (Cover.EARTHWORK, 0.25))
    since = np.zeros(len(history.events) + 1, np.float32)
    for number, event in enumerate(history.events, start=1):
        k = int(event["interval"])
        halfway = (days[k] - days[k - 1]).days * 0.35
        since[number] = max(0.0, ((days[t] - days[k]).days + halfway) / 365.0)
    years = since[history.state[t]]
    for kind, rate in rates:
        where = cover == kind
        part = (1.0 - np.exp(-speed * rate * np.maximum(years[where] - 0.15, 0.0)))[:, None]
        part = (0.85 * part * (0.35 + 0.65 * green)).astype(np.float32)
        image[where] = (1.0 - part) * image[where] + part * lush


def _sunlit(
    rng: np.random.Generator,
    image: Floats,
    place: Landscape,
    cover: NDArray[np.uint8],
    day: date,
    crowns: Floats,
) -> Floats:
    """Terrain and tree crowns in the light of the day's sun."""
    season = np.cos(2 * np.pi * (day_of_year(day) - 172) / 365.0)
    season = -season if place.climate.south else season
    elevation = np.radians(46.0 + 16.0 * season + rng.normal(0, 2.0))
    azimuth = np.radians((25.0 if place.climate.south else 150.0) + rng.normal(0, 8.0))
    toward = -np.cos(azimuth), np.sin(azimuth)
    slope = np.gradient(ndimage.gaussian_filter(place.height, max(image.shape) / 60.0))
    facing = slope[0] * -toward[0] + slope[1] * -toward[1]
    facing = facing / max(float(facing.std()), 1e-6)
    light = 1.0 + place.relief * np.clip(facing, -2.5, 2.5) / np.tan(elevation)
    lean = np.gradient(crowns)
    shade = lean[0] * -toward[0] + lean[1] * -toward[1]
    shade = shade / max(float(shade.std()), 1e-6)
    strength = np.array([TEXTURE[kind][3] for kind in Cover], np.float32)[cover]
    light = light * (1.0 + strength * shade / np.tan(elevation))
    return np.asarray(image * np.clip(light, 0.25, 1.9)[..., None], np.float32)


def ground_reflectance(
    rng: np.random.Generator,
    place: Landscape,
    history: History,
    days: list[date],
    t: int,
    textures: Floats,
    regrowth_speed: float,
) -> Floats:
    """Reflectance at the ground on one date, with texture and sun.

    Args:
        rng: Source of the date's randomness.
        place: The landscape.
        history: Its states.
        days: T dates.
        t: Date index.
        textures: (4, H, W) float32, lasting fine, medium and coarse texture of unit deviation,
            and the tree crowns.
        regrowth_speed: How fast bare ground turns green, per year.

    Returns:
        (H, W, 4) float32: blue, green, red, near infrared.
    """
    surface = history.surfaces[t]
    anomaly = place.climate.anomaly(days[t])
    image = base_reflectance(surface, days[t], place.climate, place.calendar, anomaly)
    _regrowth(image, place, history, days, t, regrowth_speed)
    amounts = np.array([TEXTURE[kind][:3] for kind in Cover], np.float32)[surface.cover]
    today = 0.4 * smooth_noise(rng, surface.cover.shape, 8.0)
    grain = np.einsum("hwk,khw->hw", amounts, textures[:3]) + amounts[..., 1] * today
    # shadows between buildings and the view angle differ from date to date
    walls = np.isin(surface.cover, BUILT) * np.float32(rng.uniform(0.03, 0.13))
    grain = grain + walls * smooth_noise(rng, surface.cover.shape, 1.5)
    image = image * np.exp(np.clip(grain, -0.9, 0.9))[..., None]
    # wet and dry patches change the colour a little, differently on each date
    moisture = smooth_noise(rng, surface.cover.shape, 25.0)[..., None]
    image = image * (1.0 + 0.02 * moisture * np.array([0.6, 0.8, 1.2, -0.8], np.float32))
    return _sunlit(rng, np.asarray(image, np.float32), place, surface.cover, days[t], textures[3])


def _snow(image: Floats, cover: NDArray[np.uint8], height: Floats, share: float) -> Floats:
    """Lay snow: all over open land, thin in forest and towns, none on water."""
    depth = smooth_step(
        height, float(np.quantile(height, 1.0 - share)) - 0.4, float(height.max()) + 0.1
    )
    hold = np.full(len(Cover), 0.9, np.float32)
    hold[[Cover.CONIFER, Cover.EVERGREEN]] = 0.15
    hold[[Cover.DECIDUOUS, *BUILT]] = 0.35
    hold[Cover.WATER] = 0.0
    part = (depth * hold[cover])[..., None]
    white = np.array([0.50, 0.51, 0.51, 0.48], np.float32)
    return np.asarray((1.0 - part) * image + part * white, np.float32)


def record(
    rng: np.random.Generator,
    ground: Floats,
    cover: NDArray[np.uint8],
    place: Landscape,
    weather: Weather,
    sensor: Sensor,
) -> Floats:
    """Look at the ground through air and optics.

    Args:
        rng: Source of randomness.
        ground: (H, W, 4) float32, reflectance at the ground.
        cover: (H, W) uint8.
        place: The landscape (terrain for snow).
        weather: Sky of the date.
        sensor: Blur, noise, calibration, misregistration.

    Returns:
        (H, W, 4) float32 reflectance, 0…1.
    """
    image = _snow(ground, cover, place.height, weather.snow) if weather.snow else ground
    image = image * (1.0 - weather.shadow)[..., None]
    haze = weather.haze[..., None] * HAZE_BY_BAND
    image = image * (1.0 - 1.5 * haze) + haze
    opacity = weather.cloud[..., None]
    image = (1.0 - opacity) * image + opacity * np.array([0.62, 0.62, 0.63, 0.66], np.float32)
    shift = rng.uniform(-sensor.shift, sensor.shift, 2) * rng.uniform(0.2, 1.0)
    recorded = np.empty_like(image)
    blur = sensor.blur * rng.uniform(0.85, 1.2)
    for band in range(image.shape[2]):
        soft = ndimage.gaussian_filter(image[..., band], blur)
        recorded[..., band] = ndimage.shift(soft, shift, order=1, mode="nearest")
    gain = (1.0 + rng.normal(0.0, sensor.calibration)) * (
        1.0 + rng.normal(0.0, sensor.calibration * 0.28, image.shape[2])
    )
    offset = rng.normal(0.0, 0.0025, image.shape[2])
    noise = rng.standard_normal(image.shape).astype(np.float32)
    noise *= sensor.noise * (1.0 + 3.0 * recorded)
    recorded = recorded * gain.astype(np.float32) + offset.astype(np.float32) + noise
    return np.asarray(np.clip(recorded, 0.0005, 1.0), np.float32)


def to_basemap(
    rng: np.random.Generator, reflectance: Floats, gain: float, gamma: float
) -> NDArray[np.uint8]:
    """Natural colours as in an 8-bit visual mosaic.

    Args:
        rng: Source of the date's colour balance.
        reflectance: (H, W, 4) float32.
        gain: Reflectance to brightness before the tone curve.
        gamma: Exponent of the tone curve.

    Returns:
        (3, H, W) uint8: red, green, blue.
    """
    gamma = gamma + float(rng.normal(0.0, 0.05))
    colours = reflectance[..., [2, 1, 0]]
    balance = np.array([1.0, 1.0, 0.92]) * rng.normal(1.0, 0.025, 3)
    black = 0.006 + rng.normal(0.0, 0.003, 3)
    bright = np.maximum((colours - black) * gain * balance, 0.0)
    bright = bright / (1.0 + 0.10 * bright**3)  # the shoulder keeps roofs from clipping hard
    image = np.clip(bright, 0.0, 1.0) ** gamma
    return np.asarray(np.round(image * 255.0), np.uint8).transpose(2, 0, 1)
