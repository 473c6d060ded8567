"""Windows of real series with inserted changes, drawn without end, for training.

A window takes T dates of one area, forwards or backwards in time, and donors from other areas or
elsewhere in its own, at about the same dates or at others. Labelled scenes are windows, too, with
further changes inserted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_areas import Area, filled
from data_processing.rasters.values import fill_unseen
from data_processing.scenes.insertion import (
    InsertionRules,
    add_transient,
    draw_insertions,
    insert_changes,
    jitter_radiometry,
)

__all__ = [
    "DrawRules",
    "PickDates",
    "WindowMaker",
    "lasting_steps",
    "short_windows",
    "spread_dates",
]

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
PickDates = Callable[[np.random.Generator, Area, int], NDArray[np.int64]]

MOST_MISSING = 0.05  # of a donor's pixels and dates; they are filled
TRIES = 20  # to find a donor that is seen, or a part of a scene that does not change


@dataclass(frozen=True)
class DrawRules:
    """Probabilities by which windows are drawn.

    Attributes:
        dates: T.
        side: Pixels.
        labelled: Probability that a window comes from a labelled scene.
        drawn: Probability that it comes from a generated scene of the maker's ``drawn``, as it is.
        reversed: Probability that an unlabelled series runs backwards.
        own: Probability that a donor is the same area elsewhere.
        other_dates: Probability that a donor has other dates, up to half a year off.
        scene_donors: Probability that a donor is a labelled scene's unchanged part.
        scene_changes: Probability of insertions into a labelled scene.
        jittered, transient: Probabilities of another gain per date, and of a passing cloud.
        carried_cloud: Probability that a passing cloud is seen at the next date, too.
        carried: Probability that gaps keep the date before, as in maps of one's own series, rather
            than being 0, as in labelled scenes.
        alpha: Band that stays 1 whatever happens to the others; None if there is none.
        ignore_steps: Whether what looks like a lasting step in an unlabelled series is ignored
            rather than called unchanged: it may be one.
        changes: How changes are drawn.
    """

    dates: int = 9
    side: int = 32
    labelled: float = 0.5
    drawn: float = 0.0
    reversed: float = 0.5
    own: float = 0.15
    other_dates: float = 0.1
    scene_donors: float = 0.0
    scene_changes: float = 1.0
    jittered: float = 0.4
    transient: float = 0.12
    carried_cloud: float = 0.0
    carried: float = 0.5
    alpha: int | None = 3
    ignore_steps: bool = False
    changes: InsertionRules = field(default_factory=InsertionRules)


def spread_dates(rng: np.random.Generator, area: Area, number: int) -> NDArray[np.int64]:
    """Positions of dates over the whole series, about evenly spread (two thirds) or any."""
    N = len(area.days)
    if rng.random() < 0.65:
        first, last = rng.uniform(0, 0.15 * N), N - 1 - rng.uniform(0, 0.15 * N)
        dates = np.rint(np.linspace(first, last, number) + rng.uniform(-0.4, 0.4, number))
        even = np.unique(np.clip(dates, 0, N - 1)).astype(np.int64)
        if len(even) == number:
            return even
    return np.sort(rng.choice(N, number, replace=False))


def short_windows(rng: np.random.Generator, area: Area, number: int) -> NDArray[np.int64]:
    """Positions of dates within four to thirteen months, at least a week apart."""
    while True:
        span = rng.uniform(120, 400)
        start = rng.uniform(area.days[0], area.days[-1] - span)
        inside = np.flatnonzero((area.days >= start) & (area.days <= start + span))
        for _ in range(10 if len(inside) >= number else 0):
            dates = np.sort(rng.choice(inside, number, replace=False))
            if np.diff(area.days[dates]).min() >= 7:
                return dates


def lasting_steps(images: Floats, explained: float = 0.65, least: float = 0.015) -> Labels:
    """Pixels (H, W) bool whose series (T, C, H, W) is mostly two levels, one after the other.

    Args:
        images: The series.
        explained: Share of a pixel's variance that the best step explains.
        least: Deviation over the dates below which nothing is a step, mean over the bands.
    """
    T = len(images)
    centred = images - images.mean(axis=0)
    total = (centred**2).sum(axis=(0, 1))
    sums = np.cumsum(centred, axis=0)
    between = [
        (sums[k - 1] ** 2).sum(axis=0) * (1 / k + 1 / (T - k)) for k in range(1, T)
    ]  # of the sum before k; that after it is its negative
    share = np.max(between, axis=0) / np.maximum(total, 1e-12)
    varied = np.sqrt(total / (T * images.shape[1])) > least
    steps: Labels = (share > explained) & varied
    return steps


class WindowMaker:
    """Draws windows (T, C, H, W) with labels (H, W) from areas.

    Args:
        areas: Labelled scenes of T dates and unlabelled series.
        rules: How windows and changes are drawn.
        pick_dates: Which dates of a series a window takes.
        drawn: Generated scenes of T dates, which get no insertions and lend no donors.
    """

    def __init__(
        self,
        areas: Sequence[Area],
        rules: DrawRules,
        pick_dates: PickDates = spread_dates,
        drawn: Sequence[Area] = (),
    ) -> None:
        self.drawn = list(drawn)
        self.scenes = [area for area in areas if area.label is not None]
        self.series = [area for area in areas if area.label is None]
        self.rules, self.pick_dates = rules, pick_dates

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Labels]:
        """One window and its labels, −1 where nothing is known."""
        rules = self.rules
        if self.drawn and rng.random() < rules.drawn:
            return self._drawn_window(rng)
        labelled = bool(self.scenes) and (rng.random() < rules.labelled or not self.series)
        pool = self.scenes if labelled else self.series
        area = pool[rng.integers(len(pool))]
        dates, place = self._dates(rng, area), self._place(rng, area)
        images = area.values(dates, place)
        doubtful = rules.ignore_steps and area.label is None and lasting_steps(images)
        label = np.zeros(images.shape[2:], np.int64)
        if area.label is not None:
            label = area.label[place].copy()
        if area.label is None or rng.random() < rules.scene_changes:
            days = area.days[dates]
            drawn = draw_insertions(
                rng, images, lambda r: self._donor(r, area, days), rules.changes
            )
            images, label = insert_changes(images, label, drawn)
        label[(label == 0) & doubtful] = -1
        if rng.random() < rules.transient:
            images = add_transient(rng, images, rules.changes, rules.carried_cloud)
        if rng.random() < rules.jittered:
            images = jitter_radiometry(rng, images)
        images = np.minimum(images, np.float32(1))
        if rules.alpha is not None:
            images[:, rules.alpha] = 1
        if area.missing is not None:
            missing = area.missing[(dates, *place)]
            if rng.random() < rules.carried:
                fill_unseen(images, ~missing)
            else:
                images[np.broadcast_to(missing[:, None], images.shape)] = 0
            label[missing.any(axis=0)] = -1
        return _turned(rng, images, label)

    def _drawn_window(self, rng: np.random.Generator) -> tuple[Floats, Labels]:
        area = self.drawn[rng.integers(len(self.drawn))]
        assert area.label is not None
        place = self._place(rng, area)
        return _turned(rng, area.values(np.arange(self.rules.dates), place), area.label[place])

    def _dates(self, rng: np.random.Generator, area: Area) -> NDArray[np.int64]:
        if area.label is not None:
            return np.arange(self.rules.dates)
        dates = self.pick_dates(rng, area, self.rules.dates)
        return dates[::-1] if rng.random() < self.rules.reversed else dates

    def _place(self, rng: np.random.Generator, area: Area) -> tuple[slice, slice]:
        side = self.rules.side
        row, col = (int(rng.integers(0, size - side + 1)) for size in area.images.shape[2:])
        return slice(row, row + side), slice(col, col + side)

    def _donor(self, rng: np.random.Generator, base: Area, days: NDArray[np.int64]) -> Floats:
        """A turned window of another place, or of a scene's part that does not change."""
        if self.scenes and (not self.series or rng.random() < self.rules.scene_donors):
            return self._scene_donor(rng)
        area = self._lender(rng, base)
        if rng.random() < self.rules.other_dates:
            days = days + rng.integers(-180, 181)
        dates = np.abs(area.days[None] - days[:, None]).argmin(axis=1)
        for _ in range(TRIES):
            place = self._place(rng, area)
            missing = None if area.missing is None else area.missing[(dates, *place)]
            if missing is None or missing.mean() < MOST_MISSING:
                break
        images = area.values(dates, place)
        return _turned(rng, images if missing is None else filled(images, missing))[0]

    def _lender(self, rng: np.random.Generator, base: Area) -> Area:
        own = [area for area in self.series if area.name == base.name]
        others = [area for area in self.series if area.name != base.name]
        pool = own if own and (not others or rng.random() < self.rules.own) else others
        return pool[rng.integers(len(pool))]

    def _scene_donor(self, rng: np.random.Generator) -> Floats:
        for _ in range(TRIES):
            area = self.scenes[rng.integers(len(self.scenes))]
            place = self._place(rng, area)
            if area.label is not None and not area.label[place].any():
                break
        return _turned(rng, area.values(np.arange(self.rules.dates), place))[0]


def _turned(
    rng: np.random.Generator, images: Floats, label: Labels | None = None
) -> tuple[Floats, Labels]:
    """One of the eight symmetries of a square."""
    label = np.zeros(images.shape[2:], np.int64) if label is None else label
    turns = int(rng.integers(4))
    images, label = np.rot90(images, turns, (2, 3)), np.rot90(label, turns)
    if rng.random() < 0.5:
        images, label = images[..., ::-1], label[:, ::-1]
    return np.ascontiguousarray(images), np.ascontiguousarray(label)
