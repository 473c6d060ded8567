"""Changes inserted into real series: regions of another place, from a date on, with exact labels.

Nobody has labels, everybody has images. A region of a donor's series is laid over a base series
from date k on, at the same dates, so that season, light, haze and cloud stay real and the change
moment of the region is k by construction. Pure NumPy on arrays in memory; random numbers come
from the generator that is handed in, so a seed gives the same changes.

What cannot be learnt from it: changes that look like nothing pasted (slow growth, thinning), and
which changes are likely where. See docs/differences.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from utils.codes import IGNORE

__all__ = [
    "SHAPES",
    "Insertion",
    "InsertionRules",
    "add_transient",
    "draw_insertions",
    "draw_shape",
    "insert_changes",
    "jitter_radiometry",
    "matched_donor",
    "pixel_visibility",
    "visibility",
]

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Label = NDArray[np.int64]
Cutter = Callable[[np.random.Generator], Array]
"""Gives a donor window (T, C, H, W) at the base's dates, another one at every call."""

SHARP = 0.5  # of the soft edge: where a region's opacity reaches this, its label begins


@dataclass(frozen=True)
class InsertionRules:
    """Probabilities and sizes of drawn changes; the defaults suit images of 3 to 30 m.

    Attributes:
        most: Insertions into a window at most; each number is equally likely.
        shapes: Probability of each family of ``SHAPES``, in that order.
        side: Smallest and largest side of a region in pixels, drawn evenly on a log scale.
        feathered: Probability of a soft edge, one to two pixels wide.
        matched: Probability that the donor's brightness is moved towards the base's, per date.
        tinted: Probability of a constant gain per band of the donor.
        least_visible: A region is left out when it differs from what was there by less than so
            many times the place's own date-to-date noise; 0 keeps all.
        visible_only: Label only pixels that differ from what was there by so many times their own
            date-to-date noise; those below half of it stay as they were, between is ignored. None
            labels the whole region.
    """

    most: int = 3
    shapes: tuple[float, ...] = (0.55, 0.15, 0.12, 0.10, 0.08)
    side: tuple[float, float] = (5.0, 34.0)
    feathered: float = 0.2
    matched: float = 0.3
    tinted: float = 0.25
    least_visible: float = 0.6
    visible_only: float | None = None


@dataclass(frozen=True)
class Insertion:
    """One change.

    Attributes:
        opacity: (H, W) in 0…1, where.
        moment: k, from which date on.
        donor: (T, C, H, W), what.
        visibility: (H, W), how visible it is; None where that does not matter.
        threshold: Of ``visibility``, for a label.
        number: Which donor window it was, in the order they were cut.
    """

    opacity: Array
    moment: int
    donor: Array
    visibility: Array | None = None
    threshold: float = 0.0
    number: int = 0

    @property
    def region(self) -> Mask:
        """(H, W), the pixels that carry the label."""
        region: Mask = self.opacity >= SHARP
        return region


# ──────────────────────────────────────── shapes ────────────────────────────────────────


def _rotated(
    rows: Array, cols: Array, centre: tuple[float, float], angle: float
) -> tuple[Array, Array]:
    """Coordinates along and across a direction, from a centre."""
    y, x = rows - np.float32(centre[0]), cols - np.float32(centre[1])
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x


def _rectangle(
    grid: tuple[Array, Array], centre: tuple[float, float], sides: tuple[float, float], angle: float
) -> Mask:
    along, across = _rotated(*grid, centre, angle)
    return (np.abs(along) <= sides[0] / 2) & (np.abs(across) <= sides[1] / 2)


def _blocks(
    rng: np.random.Generator, grid: tuple[Array, Array], centre: Array, side: float
) -> Mask:
    """Two to four rectangles that overlap, each turned by itself: built-up blocks, clearings."""
    region = np.zeros(np.broadcast_shapes(*(part.shape for part in grid)), np.bool_)
    for _ in range(rng.integers(2, 5)):
        near = centre + rng.uniform(-0.35, 0.35, 2) * side
        sides = rng.uniform(0.35, 0.85, 2) * side
        region |= _rectangle(grid, (near[0], near[1]), (sides[0], sides[1]), rng.uniform(0, np.pi))
    return region


def _blob(rng: np.random.Generator, grid: tuple[Array, Array], centre: Array, side: float) -> Mask:
    """A round region with a wavy outline: water, burns, natural clearings."""
    y, x = grid[0] - np.float32(centre[0]), grid[1] - np.float32(centre[1])
    angle, radius = np.arctan2(y, x), np.hypot(y, x)
    outline = np.ones_like(angle)
    for waves in (1, 2, 3, 5):
        phase, size = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3)
        outline += np.float32(size) * np.cos(np.float32(waves) * angle + np.float32(phase))
    inside: Mask = radius <= 0.45 * side * np.maximum(outline, 0.2)
    return inside


def _field(rng: np.random.Generator, grid: tuple[Array, Array], centre: Array, side: float) -> Mask:
    """One rectangle, up to three times as long as wide."""
    long = side * rng.uniform(0.8, 1.3)
    sides = (long, long * rng.uniform(0.33, 1))
    return _rectangle(grid, (centre[0], centre[1]), sides, rng.uniform(0, np.pi))


def _buildings(
    rng: np.random.Generator, grid: tuple[Array, Array], centre: Array, side: float
) -> Mask:
    """Small rectangles of one direction, in rows or scattered."""
    region = np.zeros(np.broadcast_shapes(*(part.shape for part in grid)), np.bool_)
    angle = rng.uniform(0, np.pi)
    for _ in range(rng.integers(1, 9)):
        near = centre + rng.uniform(-0.5, 0.5, 2) * side
        sides = rng.uniform(2.0, 7.0, 2)
        region |= _rectangle(grid, (near[0], near[1]), (sides[0], sides[1]), angle)
    return region


def _road(rng: np.random.Generator, grid: tuple[Array, Array], centre: Array, side: float) -> Mask:
    """A strip two to four pixels wide."""
    sides = (side * rng.uniform(1.2, 3), rng.uniform(1.8, 4.2))
    return _rectangle(grid, (centre[0], centre[1]), sides, rng.uniform(0, np.pi))


SHAPES = (_blocks, _blob, _field, _buildings, _road)
"""Families of regions; ``InsertionRules.shapes`` gives their probabilities in this order."""


def draw_shape(rng: np.random.Generator, height: int, width: int, rules: InsertionRules) -> Array:
    """Opacity (H, W) of a region somewhere in a window, 0…1; it may reach beyond the window."""
    low, high = np.log(rules.side)
    side = float(np.exp(rng.uniform(low, high)))
    grid = (
        np.arange(height, dtype=np.float32)[:, None],
        np.arange(width, dtype=np.float32)[None, :],
    )
    centre = rng.uniform(-0.25 * side, np.array([height, width]) + 0.25 * side)
    family = SHAPES[rng.choice(len(SHAPES), p=rules.shapes)]
    opacity = family(rng, grid, centre.astype(np.float32), side).astype(np.float32)
    if rng.random() < rules.feathered:
        for _ in range(rng.integers(1, 3)):
            opacity = _softened(opacity)
    return opacity


def _softened(values: Array) -> Array:
    """Mean over 3×3 pixels of (…, H, W), edges repeated."""
    beyond = [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)]
    padded = np.pad(values, beyond, mode="edge")
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    soft: Array = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / np.float32(9)
    return soft


# ─────────────────────────────────────── insertion ───────────────────────────────────────


def matched_donor(
    rng: np.random.Generator, base: Array, donor: Array, rules: InsertionRules
) -> Array:
    """A donor (T, C, H, W) whose brightness is moved towards the base's, tinted, or as it is."""
    if rng.random() < rules.matched:
        share = np.float32(rng.uniform(0.3, 1.0))
        wanted = base.mean(axis=(2, 3), keepdims=True) - donor.mean(axis=(2, 3), keepdims=True)
        donor = donor + share * wanted
    if rng.random() < rules.tinted:
        donor = donor * rng.uniform(0.75, 1.3, (1, donor.shape[1], 1, 1)).astype(np.float32)
    return np.maximum(donor, np.float32(0))


def visibility(base: Array, donor: Array, region: Mask, moment: int) -> float:
    """Mean change in a region from what was there, in units of its own date-to-date noise.

    Args:
        base, donor: (T, C, H, W).
        region: (H, W), not empty.
        moment: k; dates from k on are compared.
    """
    before = base[..., region]  # (T, C, N)
    noise = np.abs(np.diff(before, axis=0)).mean() + np.float32(1e-3)
    return float(np.abs(donor[moment:][..., region] - before[moment:]).mean() / noise)


def pixel_visibility(base: Array, donor: Array, opacity: Array, moment: int) -> Array:
    """Distance (H, W) of each pixel from what was there, in units of its own noise, all bands."""
    noise = _softened(np.abs(np.diff(base, axis=0)).mean(axis=0)) + np.float32(4e-3)
    change = np.abs((donor[moment:] - base[moment:]).mean(axis=0)) * opacity
    distance: Array = np.sqrt(((_softened(change) / noise) ** 2).mean(axis=0))
    return distance


def draw_insertions(
    rng: np.random.Generator,
    base: Array,
    cut_donor: Cutter,
    rules: InsertionRules,
    least: int = 0,
) -> list[Insertion]:
    """Changes for a window (T, C, H, W), in the order of their moments.

    Args:
        rng: Source of all random numbers.
        base: The window before.
        cut_donor: Gives a donor window at every call.
        rules: How changes are drawn.
        least: So many are tried at least; some may be left out as invisible.
    """
    T, _, H, W = base.shape
    drawn: list[Insertion] = []
    cut = 0
    for _ in range(rng.integers(least, rules.most + 1)):
        opacity = draw_shape(rng, H, W, rules)
        if not (opacity >= SHARP).any():
            continue
        donor = matched_donor(rng, base, cut_donor(rng), rules)
        moment, visible = int(rng.integers(1, T)), None
        if rules.visible_only is not None:
            visible = pixel_visibility(base, donor, opacity, moment)
        drawing = Insertion(opacity, moment, donor, visible, rules.visible_only or 0.0, cut)
        cut += 1
        if visibility(base, donor, drawing.region, drawing.moment) >= rules.least_visible:
            drawn.append(drawing)
    return sorted(drawn, key=lambda insertion: insertion.moment)


def insert_changes(
    images: Array, label: Label, insertions: Sequence[Insertion]
) -> tuple[Array, Label]:
    """Lay insertions over a window; where two overlap the later moment is the label.

    Args:
        images: (T, C, H, W).
        label: (H, W), change moment before, −1 = ignored (stays so).
        insertions: In the order of their moments.

    Returns:
        New images and labels; a pixel that had changed after an insertion keeps its own moment
        and its own pixels from then on.
    """
    images, label = images.copy(), label.copy()
    dates = np.arange(len(images))[:, None, None]
    for insertion in insertions:
        opacity = np.where(dates >= insertion.moment, insertion.opacity, np.float32(0))
        later = label > insertion.moment  # what came after an insertion lies on top of it
        opacity = np.where(later & (dates >= label), np.float32(0), opacity)[:, None]
        images += opacity * (insertion.donor - images)
        region = insertion.region & ~later & (label >= 0)
        if insertion.visibility is not None:
            clear = insertion.visibility >= insertion.threshold
            label[region & ~clear & (insertion.visibility >= insertion.threshold / 2)] = IGNORE
            region &= clear
        label[region] = insertion.moment
    return images, label


# ───────────────────────────────── what is no change ─────────────────────────────────


def add_transient(
    rng: np.random.Generator, images: Array, rules: InsertionRules, carried: float = 0.0
) -> Array:
    """A cloud, its shadow or haze at one date: it goes again, so the labels stay.

    Args:
        rng: Random numbers.
        images: (T, C, H, W), left as they are.
        rules: For its shape.
        carried: Probability that the date after shows the same, as in series whose gaps were
            filled with the date before.
    """
    T, _, H, W = images.shape
    images = images.copy()
    opacity = draw_shape(rng, H, W, rules)
    for _ in range(rng.integers(2, 5)):
        opacity = _softened(opacity)
    opacity *= np.float32(rng.uniform(0.2, 1.0))
    date = rng.integers(T)
    tone = rng.uniform(0.7, 1.0) if rng.random() < 0.6 else rng.uniform(0.0, 0.1)
    dates = [date, date + 1] if carried and date + 1 < T and rng.random() < carried else [date]
    for one in dates:
        images[one] += opacity * (np.float32(tone) - images[one])
    return images


def jitter_radiometry(
    rng: np.random.Generator, images: Array, gain: float = 0.08, offset: float = 0.015
) -> Array:
    """Another gain and offset for every date, partly common to all bands, as weather has it."""
    T, C = images.shape[:2]
    common = rng.normal(0, 1, (T, 1, 1, 1)) + 0.4 * rng.normal(0, 1, (T, C, 1, 1))
    shift = rng.normal(0, offset, (T, 1, 1, 1)) + 0.4 * rng.normal(0, offset, (T, C, 1, 1))
    jittered = images * np.exp(gain * common).astype(np.float32) + shift.astype(np.float32)
    return np.maximum(jittered, np.float32(0))
