"""Land covers of the generated landscapes: what each reflects, and how that goes with the season.

Numbers are typical surface reflectances of blue, green, red and near infrared from the general
remote-sensing literature, rounded; they belong to no data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from data_processing.sample.fields import smooth_step

__all__ = ["BUILT", "FOREST", "ROOFS", "TEXTURE", "Climate", "Cover", "CropCalendar"]

Floats = NDArray[np.float32]


class Cover(IntEnum):
    """Material of a pixel."""

    DECIDUOUS = 0
    CONIFER = 1
    EVERGREEN = 2
    SCRUB = 3
    GRASS = 4
    CROP = 5
    SOIL = 6
    SAND = 7
    WATER = 8
    ASPHALT = 9
    TRACK = 10
    CONCRETE = 11
    YARD = 12
    ROOF_RED = 13
    ROOF_GREY = 14
    ROOF_DARK = 15
    ROOF_WHITE = 16
    ROOF_BLUE = 17
    ROOF_BROWN = 18
    CLEARED = 19
    EARTHWORK = 20
    ROCK = 21
    BURNT = 22
    SOLAR = 23


FOREST = (Cover.DECIDUOUS, Cover.CONIFER, Cover.EVERGREEN)
ROOFS = tuple(cover for cover in Cover if cover.name.startswith("ROOF"))
BUILT = (*ROOFS, Cover.ASPHALT, Cover.CONCRETE, Cover.YARD)

# dormant (or only) and green state: blue, green, red, near infrared
_SIGNATURES: dict[Cover, tuple[tuple[float, ...], tuple[float, ...]]] = {
    Cover.DECIDUOUS: ((0.045, 0.060, 0.072, 0.20), (0.022, 0.046, 0.025, 0.41)),
    Cover.CONIFER: ((0.022, 0.035, 0.027, 0.19), (0.020, 0.037, 0.021, 0.28)),
    Cover.EVERGREEN: ((0.022, 0.043, 0.027, 0.30), (0.018, 0.040, 0.020, 0.37)),
    Cover.SCRUB: ((0.070, 0.100, 0.120, 0.23), (0.042, 0.072, 0.056, 0.30)),
    Cover.GRASS: ((0.068, 0.098, 0.125, 0.25), (0.034, 0.075, 0.043, 0.40)),
    Cover.CROP: ((0.070, 0.110, 0.150, 0.27), (0.030, 0.070, 0.038, 0.45)),
    Cover.SOIL: ((0.075, 0.110, 0.150, 0.24), (0.072, 0.108, 0.140, 0.25)),
    Cover.SAND: ((0.150, 0.215, 0.280, 0.36), (0.145, 0.210, 0.270, 0.36)),
    Cover.WATER: ((0.048, 0.052, 0.036, 0.024), (0.042, 0.050, 0.032, 0.022)),
    Cover.ASPHALT: ((0.095, 0.105, 0.115, 0.15), (0.095, 0.105, 0.115, 0.15)),
    Cover.TRACK: ((0.110, 0.155, 0.200, 0.28), (0.105, 0.150, 0.190, 0.28)),
    Cover.CONCRETE: ((0.165, 0.190, 0.210, 0.26), (0.165, 0.190, 0.210, 0.26)),
    Cover.YARD: ((0.075, 0.098, 0.112, 0.21), (0.055, 0.085, 0.072, 0.29)),
    Cover.ROOF_RED: ((0.080, 0.110, 0.190, 0.27), (0.080, 0.110, 0.190, 0.27)),
    Cover.ROOF_GREY: ((0.150, 0.165, 0.175, 0.21), (0.150, 0.165, 0.175, 0.21)),
    Cover.ROOF_DARK: ((0.060, 0.065, 0.070, 0.09), (0.060, 0.065, 0.070, 0.09)),
    Cover.ROOF_WHITE: ((0.330, 0.345, 0.350, 0.38), (0.330, 0.345, 0.350, 0.38)),
    Cover.ROOF_BLUE: ((0.250, 0.210, 0.150, 0.21), (0.250, 0.210, 0.150, 0.21)),
    Cover.ROOF_BROWN: ((0.085, 0.100, 0.125, 0.18), (0.085, 0.100, 0.125, 0.18)),
    Cover.CLEARED: ((0.065, 0.092, 0.122, 0.21), (0.062, 0.092, 0.110, 0.235)),
    Cover.EARTHWORK: ((0.115, 0.160, 0.215, 0.30), (0.115, 0.160, 0.215, 0.30)),
    Cover.ROCK: ((0.190, 0.225, 0.260, 0.31), (0.190, 0.225, 0.260, 0.31)),
    Cover.BURNT: ((0.030, 0.036, 0.044, 0.085), (0.030, 0.036, 0.044, 0.095)),
    Cover.SOLAR: ((0.065, 0.060, 0.062, 0.11), (0.065, 0.060, 0.062, 0.11)),
}

# relative strength of texture: fine (1 px), medium (6 px), coarse (40 px), tree crowns in the sun
_PLAIN = (0.06, 0.05, 0.05, 0.0)
TEXTURE: dict[Cover, tuple[float, float, float, float]] = {
    cover: _PLAIN for cover in Cover if cover not in (*FOREST, *ROOFS)
} | {
    Cover.DECIDUOUS: (0.05, 0.05, 0.07, 0.10),
    Cover.CONIFER: (0.05, 0.06, 0.08, 0.13),
    Cover.EVERGREEN: (0.06, 0.06, 0.06, 0.12),
    Cover.SCRUB: (0.13, 0.10, 0.08, 0.04),
    Cover.GRASS: (0.05, 0.08, 0.10, 0.0),
    Cover.CROP: (0.035, 0.04, 0.05, 0.0),
    Cover.WATER: (0.02, 0.02, 0.10, 0.0),
    Cover.YARD: (0.22, 0.10, 0.05, 0.0),
    Cover.CLEARED: (0.12, 0.10, 0.06, 0.0),
    Cover.EARTHWORK: (0.07, 0.12, 0.08, 0.0),
    Cover.ROCK: (0.08, 0.14, 0.10, 0.0),
    **{roof: (0.04, 0.02, 0.0, 0.0) for roof in ROOFS},
}


def day_of_year(day: date) -> int:
    """1…366."""
    return day.timetuple().tm_yday


@dataclass(frozen=True)
class Climate:
    """Season of one place.

    Attributes:
        kind: "temperate", "dry" (green in winter and spring) or "tropical".
        south: Southern hemisphere: half a year later.
        start: Day of year on which leaves come out (temperate).
        end: Day of year on which they fall (temperate).
        soil_tint: Four factors on soil, sand and earthworks (dark, red, pale …).
        leaf_tint: Four factors on every vegetation.
        cold: Snow is possible in winter.
        year_seed: Decides which years are dry or lush.
    """

    kind: str
    south: bool
    start: float
    end: float
    soil_tint: tuple[float, ...]
    leaf_tint: tuple[float, ...]
    cold: bool
    year_seed: int

    def season_day(self, day: date) -> float:
        """Day of year as on the northern hemisphere."""
        return (day_of_year(day) + (183 if self.south else 0)) % 365

    def greenness(self, day: date) -> float:
        """Share of the green state in natural vegetation, 0…1."""
        time = self.season_day(day)
        if self.kind == "tropical":
            return float(0.72 + 0.25 * np.cos(2 * np.pi * (time - 215) / 365))
        if self.kind == "dry":
            return float(0.42 + 0.38 * np.cos(2 * np.pi * (time - 75) / 365))
        rise = 1.0 / (1.0 + np.exp(-(time - self.start) / 9.0))
        fall = 1.0 / (1.0 + np.exp((time - self.end) / 13.0))
        # leaves darken and dry a little from early summer on
        ageing = 0.18 * np.clip((time - self.start - 40) / 130, 0.0, 1.0)
        return float(rise * fall * (1.0 - ageing))

    def anomaly(self, day: date) -> float:
        """Greenness added or lost in the year of ``day``."""
        return float(np.random.default_rng([self.year_seed, day.year]).normal(0.0, 0.07))

    def signatures(self, day: date, anomaly: float) -> Floats:
        """Reflectance of every cover on a day.

        Args:
            day: The date.
            anomaly: Added to the greenness (a dry or lush year).

        Returns:
            (covers, 4) float32.
        """
        green = float(np.clip(self.greenness(day) + anomaly, 0.0, 1.0))
        table = np.zeros((len(Cover), 4), np.float32)
        for cover, (dormant, lush) in _SIGNATURES.items():
            share = green
            if cover in (Cover.CONIFER, Cover.EVERGREEN):
                share = 0.3 + 0.7 * green
            table[cover] = (1.0 - share) * np.array(dormant) + share * np.array(lush)
        soils = [Cover.SOIL, Cover.SAND, Cover.EARTHWORK, Cover.TRACK, Cover.CLEARED]
        leaves = [*FOREST, Cover.SCRUB, Cover.GRASS, Cover.CROP]
        table[soils] *= np.array(self.soil_tint, np.float32)
        table[leaves] *= np.array(self.leaf_tint, np.float32)
        return table


_CROPS = {  # days of sowing, closed canopy, ripeness, harvest, next tillage (northern hemisphere)
    "winter cereal": (-80.0, 120.0, 175.0, 200.0, 245.0),
    "summer cereal": (85.0, 155.0, 195.0, 220.0, 275.0),
    "maize": (125.0, 200.0, 245.0, 275.0, 300.0),
    "roots": (105.0, 190.0, 290.0, 300.0, 310.0),
    "winter crop of dry places": (-40.0, 60.0, 120.0, 140.0, 290.0),
    "meadow": (0.0, 0.0, 0.0, 0.0, 0.0),
}


@dataclass(frozen=True)
class CropCalendar:
    """Crops of each parcel and their calendar.

    Attributes:
        stages: (P, 5) float32, days of sowing, closed canopy, ripeness, harvest, tillage.
        meadow: (P,) bool, mown grass instead of a crop.
        tone: (P,) float32, factor on the parcel's brightness.
        rank: (P,) float32, 0…1, decides mowing and yearly shifts.
    """

    stages: Floats
    meadow: NDArray[np.bool_]
    tone: Floats
    rank: Floats

    @classmethod
    def drawn(cls, rng: np.random.Generator, parcels: int, dry: bool) -> CropCalendar:
        """Give every parcel a crop and its own calendar."""
        names = list(_CROPS)
        share = [0.12, 0.08, 0.18, 0.1, 0.37, 0.15] if dry else [0.3, 0.15, 0.2, 0.12, 0.0, 0.23]
        kind = rng.choice(len(names), parcels, p=share)
        stages = np.array([_CROPS[name] for name in names], np.float32)[kind]
        stages += rng.normal(0.0, 8.0, (parcels, 1)).astype(np.float32)
        tone = rng.uniform(0.82, 1.18, parcels).astype(np.float32)
        rank = rng.uniform(0.0, 1.0, parcels).astype(np.float32)
        return cls(stages, kind == names.index("meadow"), tone, rank)

    def reflectance(self, day: date, climate: Climate, table: Floats) -> Floats:
        """Reflectance of every parcel on a day.

        Args:
            day: The date.
            climate: Season of the place.
            table: Signatures of the covers on this day, (covers, 4).

        Returns:
            (P, 4) float32.
        """
        time = climate.season_day(day) + 12.0 * np.sin(40.0 * self.rank + day.year)
        sown, closed, ripe, harvest, tilled = self.stages.T
        time = np.where((sown < 0) & (time > sown + 365), time - 365, time)
        green = smooth_step((time - sown) / (closed - sown + 1e-3), 0.1, 0.95)
        dry = smooth_step((time - closed) / (ripe - closed + 1e-3), 0.45, 1.0)
        growing = (time > sown) & (time < harvest)
        stubble = (time >= harvest) & (time < tilled)
        lush, straw = np.array(_SIGNATURES[Cover.CROP], np.float32)[[1, 0]]
        soil = table[Cover.SOIL] * np.float32(0.85)
        plant = (1 - dry[:, None]) * lush + dry[:, None] * straw
        cover = green[:, None] * plant + (1 - green[:, None]) * soil
        cover = np.where(growing[:, None], cover, soil)
        cover = np.where(stubble[:, None], 0.75 * straw + 0.25 * soil, cover)
        mown = ((climate.season_day(day) / 45.0 + self.rank * 7.0) % 1.0) < 0.3
        grass = table[Cover.GRASS] * np.where(mown, 1.15, 1.0)[:, None]
        cover = np.where(self.meadow[:, None], grass, cover)
        return np.asarray(cover * self.tone[:, None], np.float32)
