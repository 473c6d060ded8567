"""Lasting events of known date on a landscape: felling, building, digging, flooding, burning.

Each event replaces part of the surface from one date on; label class k means that the new state
is first visible at date index k. Events too faint to see are not made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from data_processing.sample.covers import BUILT, FOREST, Climate, Cover, CropCalendar
from data_processing.sample.fields import (
    grown_blob,
    random_quadrilateral,
    rotated_grid,
    winding_line,
)
from data_processing.sample.landscape import (
    BIOMES,
    Landscape,
    Surface,
    draw_surface,
    paint_town,
)

__all__ = ["History", "base_reflectance", "draw_history", "moment_label"]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
LEAST_CONTRAST = 0.022  # reflectance in the clearest band, median over the event


@dataclass
class History:
    """The states of a place, date by date.

    Attributes:
        surfaces: One surface per date.
        state: (T, H, W) int16, number of the event that made the state, 0 = as at the beginning.
        events: One record per event: number, kind, interval (date index k), pixels.
    """

    surfaces: list[Surface]
    state: NDArray[np.int16]
    events: list[dict[str, int | str]] = field(default_factory=list)


@dataclass
class _Site:
    """Needs of the event painters: the place, the state so far, and room for randomness."""

    rng: np.random.Generator
    place: Landscape
    surface: Surface
    free: Mask  # not yet taken by another event
    budget: float  # pixels this event may take

    def metres(self, length: float) -> float:
        return length / self.place.gsd

    def centre(self, where: Mask) -> tuple[int, int] | None:
        places = np.flatnonzero(where & self.free)
        if len(places) == 0:
            return None
        row, col = divmod(int(self.rng.choice(places)), where.shape[1])
        return row, col

    def area(self, low: float, high: float) -> float:
        """Pixels of a patch between two areas in hectares, within the budget."""
        hectares = np.exp(self.rng.uniform(np.log(low), np.log(high)))
        pixels = hectares * 1e4 / self.place.gsd**2
        return float(np.clip(pixels, 14.0, max(14.0, self.budget)))


Step = tuple[Mask, Surface]  # where, and the surface to take there
_VEGETATED = (*FOREST, Cover.SCRUB, Cover.GRASS, Cover.CROP, Cover.SOIL, Cover.SAND)


def base_reflectance(
    surface: Surface, day: date, climate: Climate, calendar: CropCalendar, anomaly: float
) -> Floats:
    """Reflectance by cover and parcel, without texture, shade and air.

    Returns:
        (H, W, 4) float32: blue, green, red, near infrared.
    """
    table = climate.signatures(day, anomaly)
    image = table[surface.cover]
    crop = surface.cover == Cover.CROP
    if crop.any():
        image[crop] = calendar.reflectance(day, climate, table)[surface.parcel[crop]]
    return np.asarray(image * surface.tone[..., None], np.float32)


def _uniform(site: _Site, mask: Mask, cover: Cover, tone: float = 1.0) -> Step:
    target = site.surface.copy()
    target.cover[mask] = cover
    target.tone[mask] = tone * site.rng.uniform(0.9, 1.1)
    return mask, target


def _clear_cut(site: _Site) -> list[Step]:
    """Felled stands in forest; the later steps eat on into the stand beside."""
    rng, forest = site.rng, site.surface.is_any(FOREST)
    inner = ndimage.binary_erosion(forest, iterations=2)
    centre = site.centre(inner)
    if centre is None:
        return []
    area = site.area(0.15, 5.0)
    if rng.uniform() < 0.6:
        cut = grown_blob(rng, forest.shape, centre, area, rng.uniform(0.1, 0.35))
    else:
        sides = np.sqrt(area) * np.array([1.0, 1.0]) * np.exp(rng.uniform(-0.5, 0.5) * np.r_[1, -1])
        cut = random_quadrilateral(rng, forest.shape, centre, sides, rng.uniform(0, np.pi), 0.2)
    steps = [_uniform(site, cut & forest, Cover.CLEARED)]
    reach = max(2, int(np.sqrt(area) * 0.35))
    for _ in range(int(rng.integers(0, 3))):
        ragged = rng.uniform(0.3, 1.0) * reach
        grown = ndimage.distance_transform_edt(~cut) <= ragged
        side = rotated_grid((forest.shape[0], forest.shape[1]), rng.uniform(0, 2 * np.pi), 1.0)[0]
        grown &= side > side[centre]
        steps.append(_uniform(site, grown & forest & ~cut, Cover.CLEARED))
        cut = cut | grown
    return steps


def _clear_cut_group(site: _Site) -> list[Step]:
    """Many small cuts of one season, as in shelterwood felling."""
    forest = site.surface.is_any(FOREST)
    total = np.zeros(forest.shape, np.bool_)
    for _ in range(int(site.rng.integers(2, 9))):
        centre = site.centre(ndimage.binary_erosion(forest, iterations=2))
        if centre is None or total.sum() > site.budget:
            break
        total |= grown_blob(site.rng, forest.shape, centre, site.area(0.15, 0.9), 0.25)
    return [_uniform(site, total & forest, Cover.CLEARED)] if total.any() else []


def _plot(site: _Site, low: float, high: float, covers: tuple[Cover, ...]) -> Mask | None:
    centre = site.centre(site.surface.is_any(covers))
    if centre is None:
        return None
    ratio = np.exp(site.rng.uniform(-0.5, 0.5))
    side = np.sqrt(site.area(low, high))
    angle, shape = site.rng.uniform(0, np.pi), site.free.shape
    plot = random_quadrilateral(site.rng, shape, centre, (side * ratio, side / ratio), angle)
    if site.rng.uniform() < 0.35:
        move = site.rng.uniform(-0.6, 0.6, 2) * side
        centre = (int(centre[0] + move[0]), int(centre[1] + move[1]))
        plot |= random_quadrilateral(site.rng, shape, centre, (side * 0.7, side * 0.6), angle)
    return np.asarray(plot & (site.surface.cover != Cover.WATER))


def _estate(site: _Site) -> list[Step]:
    """Housing or halls on open land, often after earthworks at an earlier date."""
    rng = site.rng
    kind = "houses" if rng.uniform() < 0.6 else "halls"
    plot = _plot(site, 0.3, 6.0, (*_VEGETATED, Cover.YARD))
    if plot is None:
        return []
    built = site.surface.copy()
    paint_town(rng, built, plot, site.place.gsd, kind, rng.uniform(0.75, 1.0))
    steps: list[Step] = []
    if rng.uniform() < 0.5:
        steps.append(_uniform(site, plot, Cover.EARTHWORK))
        if rng.uniform() < 0.3:
            return steps
    elif rng.uniform() < 0.4:  # the buildings alone, the ground about them stays as it was
        plot = plot & np.isin(built.cover, BUILT[:-1])
    return [*steps, (plot, built)]


def _buildings(site: _Site) -> list[Step]:
    """A few single buildings, each with a drive or none."""
    rng, gsd = site.rng, site.place.gsd
    shape = (site.free.shape[0], site.free.shape[1])
    target, total = site.surface.copy(), np.zeros(shape, np.bool_)
    open_land = site.surface.is_any((*_VEGETATED, Cover.YARD, Cover.EARTHWORK))
    roofs = rng.choice(
        [Cover.ROOF_RED, Cover.ROOF_GREY, Cover.ROOF_WHITE, Cover.ROOF_BLUE, Cover.ROOF_DARK],
        p=[0.25, 0.3, 0.3, 0.08, 0.07],
    )
    centre, angle = site.centre(open_land), rng.uniform(0, np.pi)
    if centre is None:
        return []
    along = np.array([np.sin(angle), np.cos(angle)])
    side = max(rng.uniform(10.0, 35.0) / gsd, 2.2)
    for number in range(int(rng.integers(1, 9))):
        spot = np.array(centre) + along * side * 1.6 * number
        sides = side * rng.uniform(0.8, 1.3), side * rng.uniform(0.6, 1.1)
        spot_index = int(spot[0]), int(spot[1])
        house = random_quadrilateral(rng, shape, spot_index, sides, -angle, 0.02) & open_land
        target.cover[house] = roofs
        target.tone[house] = rng.uniform(0.85, 1.15)
        total |= house
        if total.sum() > site.budget:
            break
    return [(total, target)]


def _road(site: _Site) -> list[Step]:
    shape = (site.free.shape[0], site.free.shape[1])
    width = max(2.0, site.metres(site.rng.uniform(8.0, 24.0)))
    line = winding_line(site.rng, shape, width, site.rng.choice([0.0, 0.02, 0.06]))
    end = rotated_grid(shape, site.rng.uniform(0, 2 * np.pi), 1.0)[0]
    start = site.rng.uniform(0.0, 0.5) * float(end.max())
    order = np.sort(end[line & (end > start)])
    if len(order) == 0:
        return []
    stop = order[min(len(order) - 1, int(max(site.budget, 40.0)))]
    line &= (end > start) & (end < stop) & (site.surface.cover != Cover.WATER)
    cover = site.rng.choice([Cover.ASPHALT, Cover.TRACK, Cover.EARTHWORK], p=[0.4, 0.25, 0.35])
    return [_uniform(site, line, Cover(cover))]


def _quarry(site: _Site) -> list[Step]:
    centre = site.centre(site.surface.is_any(_VEGETATED))
    if centre is None:
        return []
    area, shape = site.area(0.4, 4.0), (site.free.shape[0], site.free.shape[1])
    cover = Cover.ROCK if site.rng.uniform() < 0.6 else Cover.EARTHWORK
    pit = grown_blob(site.rng, shape, centre, area * 0.5, 0.2)
    steps, reach = [_uniform(site, pit, cover)], max(2.0, np.sqrt(area) * 0.2)
    for _ in range(int(site.rng.integers(0, 3))):
        wider = ndimage.distance_transform_edt(~pit) <= reach * site.rng.uniform(0.5, 1.2)
        wider &= grown_blob(site.rng, shape, centre, area * 2.0, 0.3) | pit
        steps.append(_uniform(site, wider & ~pit, cover))
        pit = pit | wider
    return steps


def _flood(site: _Site) -> list[Step]:
    """A reservoir that fills the lowest land around a point."""
    height = ndimage.gaussian_filter(site.place.height, 2.0)
    low = height < np.quantile(height, 0.4)
    centre = site.centre(low & site.surface.is_any(_VEGETATED))
    if centre is None:
        return []
    area = site.area(0.6, 6.0)
    rows, cols = np.mgrid[: low.shape[0], : low.shape[1]]
    away = np.hypot(rows - centre[0], cols - centre[1]) / np.sqrt(area)
    depth = height - height[centre] + 0.6 * away**2
    lake = depth <= np.sort(depth.ravel())[int(min(area, depth.size - 1))]
    pieces, _ = ndimage.label(lake)
    own = pieces[centre]
    return [_uniform(site, (pieces == own) if own else lake, Cover.WATER)]


def _fire(site: _Site) -> list[Step]:
    fuel = site.surface.is_any((*FOREST, Cover.SCRUB, Cover.GRASS))
    centre = site.centre(fuel)
    if centre is None:
        return []
    burnt = grown_blob(site.rng, fuel.shape, centre, site.area(0.5, 8.0), 0.5)
    return [_uniform(site, burnt & fuel, Cover.BURNT)]


def _solar_park(site: _Site) -> list[Step]:
    plot = _plot(site, 0.5, 4.0, (Cover.CROP, Cover.GRASS, Cover.SOIL, Cover.SAND, Cover.SCRUB))
    if plot is None:
        return []
    target = site.surface.copy()
    rows = rotated_grid(plot.shape, 0.05, site.place.gsd)[1] % max(9.0, 3.0 * site.place.gsd)
    panels = rows < 0.7 * max(9.0, 3.0 * site.place.gsd)
    target.cover[plot] = np.where(panels, Cover.SOLAR, Cover.GRASS)[plot]
    target.tone[plot] = 1.0
    return [(plot, target)]


def _conversion(site: _Site) -> list[Step]:
    """Another use of the land altogether: what grows or stands there is of another biome."""
    plot = _plot(site, 0.5, 8.0, tuple(Cover))
    if plot is None:
        return []
    other = [biome for biome in BIOMES if biome not in (site.place.biome, "coast")]
    biome = str(site.rng.choice(other))
    shape = (plot.shape[0], plot.shape[1])
    target = draw_surface(site.rng, biome, shape, site.place.gsd, site.place.height)
    same_use = (target.cover == site.surface.cover) & np.isin(
        target.cover, (*FOREST, Cover.CROP, Cover.WATER, Cover.GRASS, Cover.SCRUB, Cover.SAND)
    )
    same_use = ndimage.binary_opening(same_use, iterations=1)
    plot &= ~same_use & (target.cover != Cover.WATER)
    return [(plot, target)]


_KINDS: dict[str, Callable[[_Site], list[Step]]] = {
    "clear-cut": _clear_cut,
    "group of clear-cuts": _clear_cut_group,
    "housing or halls": _estate,
    "buildings": _buildings,
    "road": _road,
    "quarry or earthworks": _quarry,
    "flooding": _flood,
    "fire": _fire,
    "solar park": _solar_park,
    "conversion": _conversion,
}
_WEIGHTS = {  # in the order of _KINDS
    "temperate forest": (5.0, 6.0, 0.5, 0.4, 0.35, 0.5, 0.3, 0.4, 0.2, 0.8),
    "agriculture": (0.5, 0.5, 3.0, 2.0, 0.7, 1.0, 0.6, 0.1, 1.2, 1.8),
    "urban fringe": (0.6, 0.3, 4.0, 3.5, 0.7, 1.0, 0.2, 0.1, 0.4, 2.5),
    "tropical": (4.0, 2.0, 1.5, 1.2, 0.5, 0.8, 0.5, 0.6, 0.2, 2.0),
    "arid": (0.0, 0.0, 4.0, 3.5, 0.8, 1.0, 0.4, 0.1, 0.8, 2.5),
    "coast": (0.8, 0.4, 3.0, 2.5, 0.7, 1.0, 0.3, 0.2, 0.4, 2.0),
}


def _visible(
    before: Surface, after: Surface, where: Mask, place: Landscape, days: list[date], bands: int
) -> bool:
    """Whether the median pixel differs clearly at the first two dates of the new state."""
    rows, cols = (slice(axis.min(), axis.max() + 1) for axis in np.nonzero(where))
    for day in days[:2]:
        pair = [
            base_reflectance(
                Surface(part.cover[rows, cols], part.parcel[rows, cols], part.tone[rows, cols]),
                day,
                place.climate,
                place.calendar,
                0.0,
            )[where[rows, cols]][:, :bands]
            for part in (before, after)
        ]
        if float(np.median(np.abs(pair[1] - pair[0]).max(axis=1))) < LEAST_CONTRAST:
            return False
    return True


def draw_history(
    rng: np.random.Generator, place: Landscape, days: list[date], share: float, bands: int
) -> History:
    """Let events happen until about ``share`` of the pixels has changed.

    Args:
        rng: Source of randomness.
        place: The landscape at the first date.
        days: T dates.
        share: Changed share to reach, 0…1.
        bands: How many bands the sensor sees (3 = no near infrared); events must show in these.

    Returns:
        Surfaces and state numbers for every date.
    """
    T, shape = len(days), place.surface.cover.shape
    history = History(
        [place.surface.copy() for _ in days], np.zeros((T, *shape), np.int16), events=[]
    )
    goal, taken = share * shape[0] * shape[1], np.zeros(shape, np.bool_)
    intervals: list[int] = []
    weights = np.array(_WEIGHTS[place.biome])
    for _ in range(80):
        room = goal - float(taken.sum())
        if room < 12:
            break
        if not intervals:
            intervals = [int(k) for k in rng.permutation(np.arange(1, T))]
        k = intervals.pop()
        kind = list(_KINDS)[int(rng.choice(len(_KINDS), p=weights / weights.sum()))]
        near = ndimage.binary_dilation(taken, iterations=2)
        budget = min(room, max(1.7 * goal / (T - 1), 30.0))
        site = _Site(rng, place, history.surfaces[k], ~near, budget)
        for step, (where, target) in enumerate(_KINDS[kind](site)):
            if step:
                k += int(rng.integers(1, 3))
            where = where & ~near
            if k >= T or where.sum() < 5:
                break
            if not _visible(history.surfaces[k], target, where, place, days[k:], bands):
                break
            _happen(history, k, where, target, kind)
            taken |= where
    return history


def _happen(history: History, k: int, where: Mask, target: Surface, kind: str) -> None:
    """Write an event into all dates from ``k`` on."""
    number = len(history.events) + 1
    for surface in history.surfaces[k:]:
        surface.cover[where] = target.cover[where]
        surface.parcel[where] = target.parcel[where]
        surface.tone[where] = target.tone[where]
    history.state[k:, where] = number
    history.events.append(
        {"number": number, "kind": kind, "interval": k, "pixels": int(where.sum())}
    )


def moment_label(state: NDArray[np.int16], observed: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Class k where the last change of state was first seen at date k, 0 where none was.

    A date without data keeps the last known state; nothing happens before the first data.

    Args:
        state: (T, H, W) int16, state number at each date.
        observed: (T, H, W) bool, whether the date has data at the pixel.

    Returns:
        (H, W) uint8, 0…T-1.
    """
    label = np.zeros(state.shape[1:], np.uint8)
    last = np.full(state.shape[1:], -1, np.int16)
    for k in range(len(state)):
        new = observed[k] & (last >= 0) & (state[k] != last)
        label[new] = k
        last = np.where(observed[k], state[k], last)
    return label
