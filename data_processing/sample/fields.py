"""Random fields and shapes on a pixel grid, the raw material of generated landscapes.

It serves the generated sample data only. Nothing here knows land cover.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = [
    "Grid",
    "cell_ids",
    "fractal_noise",
    "grown_blob",
    "random_quadrilateral",
    "rotated_grid",
    "smooth_noise",
    "smooth_step",
    "winding_line",
]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Grid = tuple[Floats, Floats]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Floats:
    """Gaussian noise of zero mean and unit deviation.

    Args:
        rng: Source of randomness.
        shape: (H, W).
        scale: Correlation length in pixels; below 1 it is white noise.

    Returns:
        (H, W) float32.
    """
    height, width = shape
    step = max(1.0, scale / 2.0)
    coarse_shape = (int(height / step) + 6, int(width / step) + 6)
    coarse = rng.standard_normal(coarse_shape)
    if scale >= 1.0:
        coarse = ndimage.gaussian_filter(coarse, scale / step / 1.5, mode="wrap")
    if step > 1.0:
        coarse = _stretched(_stretched(coarse, height, step).T, width, step).T
    field = coarse[:height, :width]
    field = (field - field.mean()) / max(float(field.std()), 1e-6)
    return np.asarray(field, np.float32)


def _stretched(coarse: NDArray[np.float64], length: int, step: float) -> NDArray[np.float64]:
    """Interpolate the first axis to ``length`` points by cubic B-splines, tap by tap.

    No matrix product is used: its last bits would depend on the number of threads.
    """
    place = 1.0 + np.arange(length) / step
    first = place.astype(np.int64)
    part = place - first
    weights = (
        (1.0 - part) ** 3,
        3.0 * part**3 - 6.0 * part**2 + 4.0,
        -3.0 * part**3 + 3.0 * part**2 + 3.0 * part + 1.0,
        part**3,
    )
    fine = np.zeros((length, coarse.shape[1]))
    for tap, weight in enumerate(weights):
        fine += weight[:, None] / 6.0 * coarse[first + tap - 1]
    return fine


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    largest: float,
    smallest: float = 2.0,
    persistence: float = 0.5,
) -> Floats:
    """Noise summed over octaves from ``largest`` down to ``smallest`` pixels, unit deviation.

    Returns:
        (H, W) float32 of zero mean; each finer octave is ``persistence`` times as strong.
    """
    total = np.zeros(shape, np.float32)
    scale, weight = largest, 1.0
    while scale >= smallest:
        total += np.float32(weight) * smooth_noise(rng, shape, scale)
        scale, weight = scale / 2.0, weight * persistence
    total -= total.mean()
    return np.asarray(total / max(float(total.std()), 1e-6), np.float32)


def smooth_step(values: NDArray[np.floating], low: float, high: float) -> Floats:
    """Ramp from 0 at ``low`` to 1 at ``high`` with flat ends."""
    part = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(part * part * (3.0 - 2.0 * part), np.float32)


def rotated_grid(shape: tuple[int, int], angle: float, gsd: float) -> Grid:
    """Ground coordinates in metres along two axes turned by ``angle`` (radians).

    Returns:
        Two (H, W) float32 arrays; all values are ≥ 0.
    """
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float32) * np.float32(gsd)
    along = cols * np.float32(np.cos(angle)) + rows * np.float32(np.sin(angle))
    across = -cols * np.float32(np.sin(angle)) + rows * np.float32(np.cos(angle))
    return along - along.min(), across - across.min()


def _cuts(rng: np.random.Generator, length: float, spacing: float) -> NDArray[np.float64]:
    """Positions of cuts over ``length`` at irregular distances around ``spacing``."""
    count = int(length / spacing * 2.5) + 4
    return np.cumsum(spacing * rng.uniform(0.5, 1.6, count))


def cell_ids(
    rng: np.random.Generator, grid: Grid, spacing: tuple[float, float]
) -> tuple[NDArray[np.int32], Floats]:
    """Cut the plane into strips and each strip into cells, as parcels and street blocks lie.

    Args:
        rng: Source of randomness.
        grid: Ground coordinates of :func:`rotated_grid`.
        spacing: Mean strip width and mean cell length in metres.

    Returns:
        Cell number from 0 (H, W) int32, and the distance to the nearest cut in metres (H, W).
    """
    along, across = grid
    strips = _cuts(rng, float(along.max()), spacing[0])
    strip = np.searchsorted(strips, along).astype(np.int32)
    ids = np.zeros(along.shape, np.int32)
    distance = np.full(along.shape, np.inf, np.float32)
    used = 0
    for number in range(int(strip.max()) + 1):
        inside = strip == number
        if not inside.any():
            continue
        cuts = _cuts(rng, float(across.max()), spacing[1]) - spacing[1] * rng.uniform(0.0, 1.0)
        position = across[inside]
        cell = np.searchsorted(cuts, position)
        ids[inside] = used + cell
        used += int(cell.max()) + 1
        low = cuts[np.clip(cell - 1, 0, len(cuts) - 1)]
        high = cuts[np.clip(cell, 0, len(cuts) - 1)]
        distance[inside] = np.minimum(np.abs(position - low), np.abs(position - high))
    low = strips[np.clip(strip - 1, 0, len(strips) - 1)]
    high = strips[np.clip(strip, 0, len(strips) - 1)]
    to_strip = np.minimum(np.abs(along - low), np.abs(along - high))
    return ids, np.minimum(distance, to_strip).astype(np.float32)


def winding_line(
    rng: np.random.Generator, shape: tuple[int, int], width: float, bend: float
) -> Mask:
    """A line crossing the whole grid: a road (little bend) or a river (much).

    Args:
        rng: Source of randomness.
        shape: (H, W).
        width: Width in pixels.
        bend: Deviation from the straight line as a share of the grid's side.

    Returns:
        (H, W) bool.
    """
    size = max(shape)
    along, across = rotated_grid(shape, float(rng.uniform(0.0, np.pi)), 1.0)
    course = smooth_noise(rng, (1, int(along.max()) + 2), size / 3.0)[0]
    fine = smooth_noise(rng, (1, int(along.max()) + 2), size / 12.0)[0]
    place = float(across.max()) * rng.uniform(0.3, 0.7) + bend * size * (course + 0.2 * fine)
    return np.asarray(np.abs(across - place[along.astype(np.int64)]) <= width / 2.0)


def grown_blob(
    rng: np.random.Generator,
    shape: tuple[int, int],
    centre: tuple[int, int],
    area: float,
    roughness: float = 0.35,
) -> Mask:
    """An irregular patch of about ``area`` pixels around ``centre``, with a ragged outline.

    Returns:
        (H, W) bool, one connected piece.
    """
    radius = float(np.sqrt(area / np.pi))
    angle, stretch = rng.uniform(0.0, np.pi), rng.uniform(0.6, 1.0)
    rows, cols = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    rows, cols = rows - centre[0], cols - centre[1]
    along = (cols * np.cos(angle) + rows * np.sin(angle)) * stretch
    across = (-cols * np.sin(angle) + rows * np.cos(angle)) / stretch
    ragged = fractal_noise(rng, shape, max(radius, 2.0), max(radius / 4.0, 1.5))
    blob = np.hypot(along, across) < radius * (1.0 + roughness * ragged)
    pieces, _ = ndimage.label(blob)
    own = pieces[centre]
    return np.asarray(pieces == own if own else np.hypot(along, across) < radius * 0.8)


def random_quadrilateral(
    rng: np.random.Generator,
    shape: tuple[int, int],
    centre: tuple[int, int],
    sides: Sequence[float],
    angle: float,
    skew: float = 0.12,
) -> Mask:
    """A four-cornered plot with sides of ``sides`` pixels, turned by ``angle``, a little skewed.

    Returns:
        (H, W) bool.
    """
    corners = np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)])
    corners = (corners + rng.uniform(-skew, skew, (4, 2))) * np.asarray(sides)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = corners @ turn.T + np.asarray(centre)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    inside = np.ones(shape, np.bool_)
    for corner, following in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        edge = following - corner
        inside &= edge[0] * (cols - corner[1]) - edge[1] * (rows - corner[0]) <= 0
    return inside
