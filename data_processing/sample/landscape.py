"""Landscapes as they stand before anything happens: forests, fields, towns, water, roads.

A landscape is a map of covers with parcels and brightness, drawn from a biome.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_processing.sample.covers import FOREST, ROOFS, Climate, Cover, CropCalendar
from data_processing.sample.fields import (
    cell_ids,
    fractal_noise,
    rotated_grid,
    smooth_noise,
    winding_line,
)

__all__ = ["BIOMES", "Landscape", "Surface", "draw_landscape", "draw_surface", "paint_town"]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

BIOMES = ("temperate forest", "agriculture", "urban fringe", "tropical", "arid", "coast")
PARCELS = 4096  # parcel numbers are taken modulo this

_ROOF_STYLES = (
    # red, grey, dark, white, blue, brown
    (0.45, 0.15, 0.12, 0.08, 0.02, 0.18),
    (0.05, 0.40, 0.20, 0.20, 0.03, 0.12),
    (0.10, 0.22, 0.10, 0.35, 0.08, 0.15),
    (0.12, 0.20, 0.25, 0.10, 0.03, 0.30),
)


@dataclass
class Surface:
    """The ground at one time.

    Attributes:
        cover: (H, W) uint8, values of :class:`Cover`.
        parcel: (H, W) int32, number of the field parcel (read only where there are crops).
        tone: (H, W) float32, factor on the brightness (buildings, plots).
    """

    cover: NDArray[np.uint8]
    parcel: NDArray[np.int32]
    tone: Floats

    def copy(self) -> Surface:
        """Independent copy."""
        return Surface(self.cover.copy(), self.parcel.copy(), self.tone.copy())

    def is_any(self, covers: tuple[Cover, ...]) -> Mask:
        """Mask (H, W) of the pixels that carry one of ``covers``."""
        return np.isin(self.cover, covers)


@dataclass(frozen=True)
class Landscape:
    """One place: its first surface and what does not change.

    Attributes:
        biome: One of :data:`BIOMES`.
        gsd: Pixel size in metres.
        surface: State before the first date.
        climate: Its seasons.
        calendar: Crops of all parcels.
        height: (H, W) float32, terrain, unit deviation.
        relief: Strength of terrain shading, about 0…0.3.
    """

    biome: str
    gsd: float
    surface: Surface
    climate: Climate
    calendar: CropCalendar
    height: Floats
    relief: float


def paint_town(
    rng: np.random.Generator, surface: Surface, where: Mask, gsd: float, kind: str, density: float
) -> None:
    """Lay streets, gardens and buildings over ``where``, in place.

    Args:
        rng: Source of randomness.
        surface: Changed in place.
        where: (H, W) bool, the plot.
        gsd: Pixel size in metres; lots never get smaller than two pixels.
        kind: "houses" or "halls".
        density: Share of lots with a building.
    """
    grid = rotated_grid(where.shape, float(rng.uniform(0.0, np.pi)), gsd)
    houses = kind == "houses"
    side = rng.uniform(15.0, 28.0) if houses else rng.uniform(55.0, 110.0)
    side = max(side, 1.7 * gsd)
    blocks = (side * rng.integers(2, 5), side * rng.integers(3, 7))
    _, street = cell_ids(rng, grid, blocks)
    green = rng.uniform(0.0, 0.9) if houses else rng.uniform(0.0, 0.35)
    patches = smooth_noise(rng, where.shape, 30.0 / gsd + 1.0)
    ground = np.where(patches < np.quantile(patches, green), Cover.YARD, Cover.CONCRETE)
    if houses:
        bare = smooth_noise(rng, where.shape, 60.0 / gsd + 1.0) > 1.3
        ground = np.where(bare, Cover.SOIL, ground)
        ground = np.where((patches < -1.3) & (green > 0.5), Cover.GRASS, ground)
    surface.cover[where] = ground[where]
    surface.tone[where] = 1.0 + 0.05 * patches[where]
    lots = [np.floor(axis / side).astype(np.int64) for axis in grid]
    table = rng.uniform(0.0, 1.0, (6, 97, 89))
    use, long_side, short_side, shade, roof, shift = (
        layer[lots[0] % 97, lots[1] % 89] for layer in table
    )
    local = [axis / side - lot for axis, lot in zip(grid, lots, strict=True)]
    half = 0.26 + 0.2 * long_side, 0.2 + 0.2 * short_side
    building = (np.abs(local[0] - 0.5) < half[0]) & (
        np.abs(local[1] - 0.42 - 0.16 * shift) < half[1]
    )
    style = _ROOF_STYLES[int(rng.integers(len(_ROOF_STYLES)))]
    if not houses:
        style = (0.04, 0.36, 0.14, 0.34, 0.08, 0.04)
    road = (street < max(rng.uniform(3.0, 6.0), rng.uniform(0.2, 0.4) * gsd)) & where
    crowd = density + 0.3 * np.minimum(smooth_noise(rng, where.shape, max(10.0, 150.0 / gsd)), 0.3)
    building &= where & (use < crowd) & (street > max(5.0, 0.6 * gsd))
    roofs = np.array(ROOFS)[np.searchsorted(np.cumsum(style)[:-1], roof)]
    surface.cover[road] = Cover.ASPHALT
    surface.cover[building] = roofs[building]
    surface.tone[building] = (0.75 + 0.5 * shade)[building]


def _town_mask(rng: np.random.Generator, shape: tuple[int, int], share: float) -> Mask:
    field = fractal_noise(rng, shape, max(shape) / 2.5, 6.0, 0.45)
    return np.asarray(field > np.quantile(field, 1.0 - share))


def _fields(
    rng: np.random.Generator, surface: Surface, land_use: Floats, share: float, gsd: float
) -> None:
    """Lay field parcels, some fallow, over the lower ``share`` of ``land_use``.

    Whole parcels are taken, so that farmland ends at straight edges.
    """
    scale = rng.uniform(0.7, 2.2) * max(1.0, gsd / 7.0)
    angle = float(rng.uniform(0.0, np.pi))
    grid = rotated_grid(surface.cover.shape, angle, gsd)
    ids, edge = cell_ids(rng, grid, (60.0 * scale, 130.0 * scale))
    _, block_edge = cell_ids(rng, grid, (330.0 * scale, 420.0 * scale))
    use = np.bincount(ids.ravel(), land_use.ravel()) / np.maximum(np.bincount(ids.ravel()), 1)
    where = use[ids] <= np.quantile(use[ids], share)
    offset = int(rng.integers(PARCELS))
    fallow = rng.uniform(size=PARCELS)[(ids + offset) % PARCELS]
    cover = np.where(fallow < 0.05, Cover.GRASS, Cover.CROP)
    if rng.uniform() < 0.6:
        cover = np.where(edge < 1.2, Cover.GRASS, cover)
    cover = np.where(block_edge < 2.4, Cover.TRACK, cover)
    surface.cover[where] = cover[where]
    surface.parcel[where] = ((ids + offset) % PARCELS)[where]
    surface.tone[where] = 1.0


def _woods(rng: np.random.Generator, surface: Surface, where: Mask, biome: str) -> None:
    """Plant forest: stands of different species and brightness."""
    shape = where.shape
    if biome == "tropical":
        surface.cover[where] = Cover.EVERGREEN
    else:
        stands = fractal_noise(rng, shape, max(shape) / 4.0, 5.0)
        conifer = stands < rng.uniform(-1.5, 1.2)
        surface.cover[where] = np.where(conifer, Cover.CONIFER, Cover.DECIDUOUS)[where]
    age = smooth_noise(rng, shape, max(shape) / 8.0)
    surface.tone[where] = 1.0 + 0.05 * np.sign(age[where]) * np.minimum(np.abs(age[where]), 1.5)


def _open_land(rng: np.random.Generator, shape: tuple[int, int], biome: str) -> Surface:
    """The ground that all else is laid upon."""
    patches = fractal_noise(rng, shape, max(shape) / 3.0, 4.0)
    if biome == "arid":
        cover = np.where(patches < rng.uniform(-0.6, 1.0), Cover.SAND, Cover.SOIL)
        scrub = fractal_noise(rng, shape, max(shape) / 4.0, 2.0, 0.7)
        cover = np.where(scrub > rng.uniform(0.2, 1.6), Cover.SCRUB, cover)
    else:
        cover = np.where(patches > rng.uniform(0.8, 1.8), Cover.SCRUB, Cover.GRASS)
    return Surface(
        cover.astype(np.uint8),
        np.zeros(shape, np.int32),
        (1.0 + 0.06 * smooth_noise(rng, shape, max(shape) / 6.0)).astype(np.float32),
    )


def _towns(rng: np.random.Generator, surface: Surface, share: float, gsd: float) -> None:
    """Lay a town of one to three quarters and some halls over ``share`` of the land."""
    shape = surface.cover.shape
    town = _town_mask(rng, (shape[0], shape[1]), share) & (surface.cover != Cover.WATER)
    quarter = fractal_noise(rng, (shape[0], shape[1]), max(shape) / 3.0, 8.0)
    density = rng.uniform(0.6, 0.95)
    for low, high, kind in ((-9, -0.3, "houses"), (-0.3, 1.1, "houses"), (1.1, 9, "halls")):
        part = town & (quarter >= low) & (quarter < high)
        if part.any():
            paint_town(rng, surface, part, gsd, kind, density)


def draw_surface(
    rng: np.random.Generator, biome: str, shape: tuple[int, int], gsd: float, height: Floats
) -> Surface:
    """Cover a piece of land as is usual in ``biome``.

    Args:
        rng: Source of randomness.
        biome: One of :data:`BIOMES`.
        shape: (H, W).
        gsd: Pixel size in metres.
        height: Terrain, (H, W) float32 of unit deviation.

    Returns:
        The surface.
    """
    surface = _open_land(rng, shape, biome)
    woods_share, fields_share, town_share = {
        "temperate forest": (rng.uniform(0.7, 0.97), 0.4, rng.uniform(-0.1, 0.04)),
        "agriculture": (rng.uniform(0.04, 0.25), 0.96, rng.uniform(0.0, 0.12)),
        "urban fringe": (rng.uniform(0.05, 0.2), 0.7, rng.uniform(0.35, 0.75)),
        "tropical": (rng.uniform(0.4, 0.85), 0.35, rng.uniform(0.0, 0.2)),
        "arid": (0.0, rng.uniform(0.0, 0.3), rng.uniform(0.1, 0.55)),
        "coast": (rng.uniform(0.05, 0.3), 0.4, rng.uniform(0.25, 0.6)),
    }[biome]
    land_use = fractal_noise(rng, shape, max(shape) / 2.5, 10.0, 0.45)
    _fields(rng, surface, land_use, fields_share, gsd)
    if woods_share > 0:
        trees = fractal_noise(rng, shape, max(shape) / 3.0, 3.0, 0.5)
        _woods(rng, surface, trees < np.quantile(trees, woods_share), biome)
    if biome == "coast":
        rows, cols = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        turn = rng.uniform(0, 2 * np.pi)
        sea = rows * np.cos(turn) + cols * np.sin(turn) + 0.25 * height
        level = np.quantile(sea, rng.uniform(0.55, 0.8))
        surface.cover[sea > level - rng.uniform(0.02, 0.08)] = Cover.SAND
        surface.cover[sea > level] = Cover.WATER
    elif rng.uniform() < 0.35:
        surface.cover[height < np.quantile(height, rng.uniform(0.01, 0.06))] = Cover.WATER
    if biome != "arid" and rng.uniform() < 0.35:
        river = winding_line(rng, shape, max(2.0, rng.uniform(8, 60) / gsd), 0.12)
        surface.cover[river] = Cover.WATER
    if town_share > 0:
        _towns(rng, surface, town_share, gsd)
    for _ in range(int(rng.integers(0, 3))):
        width = max(1.1, rng.uniform(6.0, 16.0) / gsd)
        road = winding_line(rng, shape, width, rng.choice([0.0, 0.01, 0.05]))
        surface.cover[road] = Cover.ASPHALT if rng.uniform() < 0.6 else Cover.TRACK
    if biome == "temperate forest":  # cuts of former years in several ages
        old = fractal_noise(rng, shape, max(6.0, 120.0 / gsd), 2.0)
        cut = (old > rng.uniform(1.7, 2.6)) & surface.is_any(FOREST)
        surface.cover[cut] = Cover.SCRUB if rng.uniform() < 0.5 else Cover.GRASS
    return surface


def draw_landscape(
    rng: np.random.Generator, biome: str, shape: tuple[int, int], gsd: float, south: bool
) -> Landscape:
    """Draw one place.

    Args:
        rng: Source of randomness.
        biome: One of :data:`BIOMES`.
        shape: (H, W).
        gsd: Pixel size in metres.
        south: Southern hemisphere.

    Returns:
        The landscape before the first date.
    """
    height = fractal_noise(rng, shape, max(shape) / 2.0, 4.0, 0.5)
    soils = (
        (1.0, 1.0, 1.0, 1.0),
        (0.80, 0.88, 1.1, 1.08),
        (0.65, 0.68, 0.7, 0.75),
        (1.15, 1.15, 1.1, 1.05),
        (0.92, 1.0, 1.08, 1.06),
    )
    tint = np.array(soils[int(rng.integers(len(soils)))]) * rng.uniform(0.88, 1.12)
    leaf = rng.uniform(0.88, 1.18) * rng.uniform(0.94, 1.06, 4)
    kind = {"tropical": "tropical", "arid": "dry"}.get(biome, "temperate")
    if kind == "temperate" and biome != "temperate forest" and rng.uniform() < 0.35:
        kind = "dry"
    climate = Climate(
        kind=kind,
        south=south,
        year_seed=int(rng.integers(1 << 30)),
        start=float(rng.uniform(88, 118)),
        end=float(rng.uniform(275, 310)),
        soil_tint=tuple(float(value) for value in tint),
        leaf_tint=tuple(float(value) for value in leaf),
        cold=bool(kind == "temperate" and rng.uniform() < 0.5),
    )
    flat = biome in ("agriculture", "urban fringe", "arid", "coast")
    return Landscape(
        biome=biome,
        gsd=gsd,
        surface=draw_surface(rng, biome, shape, gsd, height),
        climate=climate,
        calendar=CropCalendar.drawn(rng, PARCELS, kind == "dry"),
        height=height,
        relief=float(rng.uniform(0.0, 0.04) if flat else rng.uniform(0.02, 0.16)),
    )
