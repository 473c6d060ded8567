"""Windows of several makers, and red, green, blue made into four bands of reflectance.

Real series of four bands from many places are not at hand; displayed colours from many places are.
A stand-in for the near infrared follows from the colours: bright where green exceeds red and blue,
by a strength that every window draws. It is no measurement, and vegetation by colour alone is
coarse; seasons, haze, clouds, textures and noise are real.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_areas import Area

__all__ = [
    "Coarser",
    "Dimmed",
    "Draws",
    "Mixture",
    "Reflectance",
    "Regrown",
    "as_reflectance",
    "at_half_resolution",
    "coarser_scene",
    "fewer_dates",
]

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

HERBS = np.array((0.036, 0.072, 0.042, 0.42))  # summer reflectance of herbs and scrub, rounded
FOREST = 0.6  # NDVI of dense vegetation


class Draws(Protocol):
    """A source of windows."""

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Labels]:
        """Images (T, C, H, W) and labels (H, W), −1 where nothing is known."""
        ...


class Mixture:
    """Windows of several sources.

    Args:
        sources: To draw from.
        shares: Probability of each.
    """

    def __init__(self, sources: Sequence[Draws], shares: Sequence[float]) -> None:
        self.sources, self.shares = list(sources), list(shares)

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Labels]:
        """A window of one of them."""
        return self.sources[rng.choice(len(self.sources), p=self.shares)].draw(rng)


class Reflectance:
    """Windows of displayed colours as four bands of reflectance.

    Args:
        colours: A source whose first three bands are red, green and blue.
    """

    def __init__(self, colours: Draws) -> None:
        self.colours = colours

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Labels]:
        """A window in blue, green, red, near infrared."""
        images, label = self.colours.draw(rng)
        return as_reflectance(rng, images[:, :3]), label


class Coarser:
    """Windows at half the resolution: changes half as large, with mixed pixels at their edges.

    Args:
        source: Windows of twice the side.
        quarters: Of a pixel, from which on it has changed; with fewer, or two moments, it is −1.
    """

    def __init__(self, source: Draws, quarters: int = 2) -> None:
        self.source, self.quarters = source, quarters

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Labels]:
        """A window of half the side."""
        return at_half_resolution(*self.source.draw(rng), self.quarters)


class _Altered:
    """Windows of which a share looks otherwise and is labelled alike.

    Args:
        source: Of four bands, the last one near infrared.
        share: Of its windows.
    """

    def __init__(self, source: Draws, share: float) -> None:
        self.source, self.share = source, share

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Labels]:
        """A window, in the same bands."""
        images, label = self.source.draw(rng)
        if rng.random() < self.share:
            images = self._altered(rng, images, label)
        return images, label

    def _altered(self, rng: np.random.Generator, images: Floats, label: Labels) -> Floats:
        raise NotImplementedError


class Dimmed(_Altered):
    """Windows of which a share is darkened or brightened, as forests and deserts have it."""

    def _altered(self, rng: np.random.Generator, images: Floats, label: Labels) -> Floats:
        gain = np.exp(rng.normal(0, 0.12, (images.shape[1], 1, 1)))
        gain[:-1] *= np.exp(rng.uniform(np.log(0.25), np.log(1.2)))
        gain[-1] *= np.exp(rng.uniform(np.log(0.6), np.log(1.4)))
        return np.minimum(images * gain.astype(np.float32), np.float32(1))


class Regrown(_Altered):
    """Windows of which a share has cleared forest that grows green again, as cuttings do.

    The event stays the change: what was dense and dark green, and lost it, turns to herbs and
    scrub step by step at the dates after.
    """

    def _altered(self, rng: np.random.Generator, images: Floats, label: Labels) -> Floats:
        tint = np.exp(rng.normal(0, 0.15, 4))
        herbs = (HERBS * tint).astype(np.float32)[:, None, None]
        pace = rng.uniform(0.5, 4.0)  # steps until two thirds have grown
        most = rng.uniform(0.5, 1.0)
        before = np.arange(len(images))[:, None, None] < label
        greenness = (images[:, 3] - images[:, 2]) / np.maximum(images[:, 3] + images[:, 2], 1e-3)
        dense = (greenness * before).sum(axis=0) > FOREST * np.maximum(before.sum(axis=0), 1)
        forest = dense & (label > 0)
        light = np.median(images[..., dense], axis=2) if dense.any() else images.mean(axis=(2, 3))
        light = (light / light.mean(axis=0)).astype(np.float32)[:, :, None, None]
        for date in range(2, len(images)):
            grown = most * (1 - np.exp(-np.maximum(date - label, 0) / pace))
            share = np.where(forest, grown, 0).astype(np.float32)
            images[date] += share * (herbs * np.clip(light[date], 0.5, 1.5) - images[date])
        return images


def at_half_resolution(images: Floats, label: Labels, quarters: int) -> tuple[Floats, Labels]:
    """Means of four pixels, and their moment where enough of them changed, see ``Coarser``."""
    T, C, H, W = images.shape
    coarse = images.reshape(T, C, H // 2, 2, W // 2, 2).mean(axis=(3, 5), dtype=np.float32)
    four = label.reshape(H // 2, 2, W // 2, 2).swapaxes(1, 2).reshape(H // 2, W // 2, 4)
    moment = four.max(axis=2)
    changed = (four == moment[..., None]).sum(axis=2)
    pure = ((four == moment[..., None]) | (four == 0)).all(axis=2)
    return coarse, np.where(pure & ((changed >= quarters) | (moment == 0)), moment, -1)


def coarser_scene(scene: Area, quarters: int) -> Area:
    """A labelled scene of reflectance at half the resolution."""
    assert scene.label is not None
    images, label = at_half_resolution(scene.values(), scene.label, quarters)
    return Area(f"{scene.name} at half", _stored(images), scene.days, label)


def as_reflectance(rng: np.random.Generator, colours: Floats) -> Floats:
    """Blue, green, red, near infrared (T, 4, H, W) of red, green and blue (T, 3, H, W) in 0…1.

    One stretch, one strength of vegetation and one gain per band for all dates.
    """
    red, green, blue = (colours[:, [band]] for band in range(3))
    greenness = (2 * green - red - blue) / (red + green + blue + np.float32(0.05))
    stretch = np.float32(np.exp(rng.uniform(np.log(0.08), np.log(0.4))))
    curve = np.float32(rng.uniform(1.0, 1.6))  # displayed values are brightened
    strength = np.float32(np.exp(rng.uniform(np.log(0.8), np.log(5.0)))) * max(stretch, 0.2)
    visible = stretch * np.concatenate((blue, green, red), axis=1) ** curve
    infrared = np.float32(rng.uniform(1.1, 2.2)) * visible[:, [2]] + strength * np.clip(
        greenness, 0, None
    )
    bands = np.concatenate((visible, infrared), axis=1)
    bands *= np.exp(rng.normal(0, 0.12, (4, 1, 1))).astype(np.float32)
    return np.clip(bands, 0, 1, dtype=np.float32)


def fewer_dates(scene: Area, dates: NDArray[np.int64], rng: np.random.Generator) -> Area:
    """A labelled scene of displayed colours at some of its dates, in four bands of 16 bits.

    A change between two dates that are kept has the moment of the later one.
    """
    assert scene.label is not None
    moment = np.searchsorted(dates, scene.label, side="left")
    moment[(moment == len(dates)) | (scene.label == 0)] = 0  # after the last date, or none
    label = np.where(scene.label < 0, scene.label, moment)
    images = as_reflectance(rng, scene.values(dates)[:, :3])
    return Area(scene.name, _stored(images), scene.days[dates], label)


def _stored(images: Floats) -> NDArray[np.uint16]:
    """Reflectance as 16 bits hold it."""
    return np.rint(images * 10000).astype(np.uint16)
