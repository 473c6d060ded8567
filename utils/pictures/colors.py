"""Colours of change maps and satellite images: class colours, legends, stretch to 8 bits.

The moments 1, 2, … take an ordered palette that colour-blind readers can follow and that differs
from forest and water: plasma without its darkest fifth, early = purple, late = yellow. Unchanged is
light grey, no-data white. Drawing is in
``utils.pictures.figures``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt

from utils.codes import IGNORE, NO_DATA

__all__ = [
    "AGREEMENT_LEGEND",
    "NO_DATA_COLOR",
    "UNCHANGED_COLOR",
    "Stretch",
    "area_legend",
    "moment_colors",
    "moment_legend",
    "paint_agreement",
    "paint_moments",
    "shared_stretch",
    "short_legend",
    "visible_image",
]

Pixels = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

NO_DATA_COLOR: Color = (255, 255, 255)
UNCHANGED_COLOR: Color = (225, 225, 225)

# Blue, vermillion and yellow differ in hue and lightness for every kind of colour vision.
AGREEMENT_LEGEND: tuple[tuple[str, Color], ...] = (
    ("unchanged in both", UNCHANGED_COLOR),
    ("hit: changed in both", (0, 114, 178)),
    ("missed: only in the truth", (213, 94, 0)),
    ("false alarm: only in the prediction", (240, 200, 40)),
    ("no data", NO_DATA_COLOR),
)

DARKEST, ALONE = 0.2, 0.5  # of the scale: its first colour, and that of a map with one interval
MOST_LISTED = 12  # intervals in a legend
STRETCH_SAMPLES = 1_000_000  # pixels per image that the percentiles are taken from


class Stretch(NamedTuple):
    """Values shown as black and as full brightness: two arrays (C,) float64, unit of the images."""

    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def moment_colors(num_classes: int) -> Pixels:
    """One colour per class of the change moment, ordered in time from dark to bright.

    Args:
        num_classes: T, the number of dates: class 0 is unchanged, k is changed in interval k.

    Returns:
        (T, 3) uint8, row 0 light grey (225, 225, 225), no two rows equal.

    Raises:
        ValueError: ``num_classes`` is not in 1 … 255.
    """
    if not 1 <= num_classes <= NO_DATA:
        raise ValueError(f"num_classes: found {num_classes}, expected 1 … {NO_DATA}.")
    steps = np.linspace(DARKEST, 1.0, num_classes - 1) if num_classes > 2 else np.full(1, ALONE)
    changed = _plasma(steps[: num_classes - 1])
    return np.concatenate([np.array([UNCHANGED_COLOR], np.uint8), changed])


def _plasma(steps: npt.NDArray[np.float64]) -> Pixels:
    """Colours (N, 3) of a perceptual scale at 0 … 1, between its entries too."""
    scale = matplotlib.colormaps["plasma"]
    table = scale(np.arange(scale.N))[:, :3]
    place = steps * (scale.N - 1)
    levels = [np.interp(place, np.arange(scale.N), channel) for channel in table.T]
    colors: Pixels = np.round(255 * np.stack(levels, axis=1)).astype(np.uint8)
    return colors


def moment_legend(dates: Sequence[date]) -> list[tuple[str, Color]]:
    """Text and colour of every class: unchanged, each interval with its two dates, no data.

    Args:
        dates: The T dates of the series in order.

    Returns:
        T + 1 entries, those of ``moment_colors(T)`` and no data.
    """
    texts = ["unchanged"]
    texts += [f"changed {start.isoformat()} – {end.isoformat()}" for start, end in pairwise(dates)]
    colors = [(int(r), int(g), int(b)) for r, g, b in moment_colors(len(dates))]
    return [*zip(texts, colors, strict=True), ("no data", NO_DATA_COLOR)]


def short_legend(dates: Sequence[date], texts: Sequence[str]) -> list[tuple[str, Color]]:
    """Text and colour of the intervals of outlines: each, or where they are many one a year.

    Args:
        dates: The T dates of the series in order.
        texts: How they are written.
    """
    colors = [(int(r), int(g), int(b)) for r, g, b in moment_colors(len(dates))]
    spans = [f"{start} – {end}" for start, end in pairwise(texts)]
    if len(spans) <= MOST_LISTED:
        return list(zip(spans, colors[1:], strict=True))
    first_years = {day.year: k for k, day in reversed([*enumerate(dates)][1:])}
    step = -(-len(first_years) // MOST_LISTED)
    return [(str(year), colors[k]) for year, k in sorted(first_years.items())[::step]]


def area_legend() -> list[tuple[str, Color]]:
    """Text and colour of unchanged, changed and no data, as of ``moment_colors(2)``."""
    colors = [(int(r), int(g), int(b)) for r, g, b in moment_colors(2)]
    texts = ("unchanged", "changed")
    return [*zip(texts, colors, strict=True), ("no data", NO_DATA_COLOR)]


def paint_moments(moments: npt.NDArray[Any], num_classes: int) -> Pixels:
    """A change-moment map in colours.

    Args:
        moments: (H, W) integer, 0 … T−1; −1 or 255 where there is no data.
        num_classes: T.

    Returns:
        (H, W, 3) uint8, colours of ``moment_colors`` and white for no data.

    Raises:
        ValueError: ``moments`` is not of two axes or holds another value.
    """
    labels = _labels(moments, num_classes)
    table = np.concatenate([moment_colors(num_classes), np.array([NO_DATA_COLOR], np.uint8)])
    painted: Pixels = table[labels]  # IGNORE = −1 takes the last row
    return painted


def paint_agreement(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int
) -> Pixels:
    """Agreement of the change areas of two change-moment maps, in the colours of AGREEMENT_LEGEND.

    Args:
        truth: (H, W) integer, 0 … T−1; −1 or 255 where there is no data.
        prediction: The same for the prediction.
        num_classes: T.

    Returns:
        (H, W, 3) uint8; no data where either map has none.

    Raises:
        ValueError: A map has other values or axes, or the sizes differ.
    """
    true_label, predicted_label = _labels(truth, num_classes), _labels(prediction, num_classes)
    if true_label.shape != predicted_label.shape:
        raise ValueError(
            f"prediction: found size {predicted_label.shape}, expected that of the truth, "
            f"{true_label.shape}."
        )
    no_data_mask = (true_label == IGNORE) | (predicted_label == IGNORE)
    case = (true_label > 0) * 2 + (predicted_label > 0)  # 0 neither, 1 false alarm, 2 missed, 3 hit
    row_of_case = np.array([0, 3, 2, 1])
    colors = np.array([color for _, color in AGREEMENT_LEGEND], np.uint8)
    painted: Pixels = colors[np.where(no_data_mask, 4, row_of_case[case])]
    return painted


def shared_stretch(
    images: Sequence[npt.NDArray[Any]],
    valid: Sequence[npt.NDArray[np.bool_]] | None = None,
    percentiles: tuple[float, float] = (2.0, 98.0),
) -> Stretch:
    """One stretch for several images, so that their colours can be compared.

    Args:
        images: Each (C, H, W), any unit; values that are not finite are left out.
        valid: (H, W) bool each: pixels to take into account; all if left out.
        percentiles: Percent of the pixels shown as black, and 100 − percent shown as brightest.

    Returns:
        Low and high value per band. A band without spread gets high = low + 1.
    """
    sampled = []
    for number, image in enumerate(images):
        C, H, W = image.shape
        step = max(1, int(np.ceil(np.sqrt(H * W / STRETCH_SAMPLES))))
        pixels = np.asarray(image[:, ::step, ::step], np.float64).reshape(C, -1)
        if valid is not None:
            pixels = pixels[:, np.asarray(valid[number])[::step, ::step].reshape(-1)]
        sampled.append(pixels)
    limits = np.array([_band_limits(band, percentiles) for band in np.concatenate(sampled, axis=1)])
    return Stretch(low=limits[:, 0], high=limits[:, 1])


def visible_image(
    images_chw: npt.NDArray[Any],
    bands: tuple[int, int, int],
    stretch: Stretch | None = None,
    valid: npt.NDArray[np.bool_] | None = None,
) -> Pixels:
    """An image as the eye would see it.

    Args:
        images_chw: (C, H, W) float or integer, any unit.
        bands: Indices of red, green and blue among the C bands.
        stretch: From ``shared_stretch``; that of this image alone if left out.
        valid: (H, W) bool; other pixels are painted white.

    Returns:
        (H, W, 3) uint8; values that are not finite are black unless ``valid`` excludes them.
    """
    chosen = np.asarray(images_chw)[list(bands)]
    if stretch is None:
        limits = shared_stretch([chosen], None if valid is None else [valid])
    else:
        limits = Stretch(stretch.low[list(bands)], stretch.high[list(bands)])
    low = limits.low.astype(np.float32)[:, None, None]
    high = limits.high.astype(np.float32)[:, None, None]
    scaled = (chosen.astype(np.float32) - low) / np.maximum(high - low, np.float32(1e-12))
    scaled = np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0)
    visible: Pixels = np.round(255 * np.clip(scaled, 0.0, 1.0)).astype(np.uint8).transpose(1, 2, 0)
    if valid is not None:
        visible = np.where(
            np.asarray(valid)[:, :, None], visible, np.array(NO_DATA_COLOR, np.uint8)
        )
    return visible


def _labels(moments: npt.NDArray[Any], num_classes: int) -> npt.NDArray[np.int64]:
    """A moment map as int64 with −1 for no data, its values checked."""
    given = np.asarray(moments)
    if given.ndim != 2:
        raise ValueError(f"moments: found shape {given.shape}, expected two axes (H, W).")
    labels = given.astype(np.int64)
    labels = np.where(labels == NO_DATA, IGNORE, labels)
    if labels.size and (labels.min() < IGNORE or labels.max() >= num_classes):
        raise ValueError(
            f"moments: found values {labels.min()} … {labels.max()}, expected 0 … "
            f"{num_classes - 1}, and {IGNORE} or {NO_DATA} for no data."
        )
    return labels


def _band_limits(
    band: npt.NDArray[np.float64], percentiles: tuple[float, float]
) -> tuple[float, float]:
    finite = band[np.isfinite(band)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, percentiles))
    return (low, high) if high > low else (low, low + 1.0)
