"""From the state of every pixel at every date to the change moment.

One definition for the whole project: a pixel changes in interval k when its state at date k is
another than the last one known before. Where that happens more than once, ``event`` says which
counts. The change area is where the moment is above 0, always.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["EVENTS", "TRANSITIONS", "Event", "Transitions", "change_moment", "without_slivers"]

Event = Literal["last", "first"]
Transitions = Literal["both", "appear"]
EVENTS: tuple[Event, ...] = get_args(Event)
TRANSITIONS: tuple[Transitions, ...] = get_args(Transitions)
UNKNOWN = 255  # in the label raster, whose nodata tag says so


def change_moment(
    states: NDArray[np.integer],
    observed: NDArray[np.bool_],
    event: Event = "last",
    transitions: Transitions = "both",
) -> NDArray[np.uint8]:
    """The change moment of states that follow each other.

    A date without data at a pixel carries the last state known there; before the first known
    state nothing changes.

    Args:
        states: (T, H, W), any codes; 0 stands for "not there" where ``transitions`` is "appear".
        observed: (T, H, W), where the state is known.
        event: Which of several changes counts, the last or the first.
        transitions: "both" counts every change of state, "appear" only those from 0.

    Returns:
        (H, W): 0 unchanged, k changed between date k−1 and date k, 255 never known.
    """
    moment = np.zeros(states.shape[1:], dtype=np.uint8)
    before = states[0].copy()
    ever_observed = observed[0].copy()
    for k in range(1, len(states)):
        changed = observed[k] & ever_observed & (states[k] != before)
        if transitions == "appear":
            changed &= before == 0
        if event == "first":
            changed &= moment == 0
        moment[changed] = k
        before[observed[k]] = states[k][observed[k]]
        ever_observed |= observed[k]
    moment[~ever_observed] = UNKNOWN
    return moment


def without_slivers(
    ids: Sequence[NDArray[np.int32]], names: Sequence[Sequence[int | None]]
) -> list[NDArray[np.bool_]]:
    """Masks of buildings at each date, where those drawn anew keep their first outline.

    A building that was there at the date before keeps its earlier pixels: an outline that was
    digitised again is no change. Only buildings count whose name tells them apart.

    Args:
        ids: Per date (H, W): 0, or 1 + index into the date's names.
        names: Per date the name of each building, None where it has none of its own.

    Returns:
        Per date (H, W) bool.
    """
    built = [ids[0] > 0]
    outlines, outline_names = ids[0], list(names[0])
    for drawn, drawn_names in zip(ids[1:], names[1:], strict=True):
        drawn_again = {name for name in drawn_names if name is not None}
        earlier = {name for name in outline_names if name is not None}
        stays = _chosen(outlines, [name in drawn_again for name in outline_names])
        new = _chosen(drawn, [name not in earlier for name in drawn_names])
        # names of both dates in one list, so that the next date finds them
        joined = np.where(stays, outlines, np.where(new, drawn + len(outline_names), 0))
        outlines, outline_names = joined.astype(np.int32), [*outline_names, *drawn_names]
        outlines, outline_names = _compact(outlines, outline_names)
        built.append(outlines > 0)
    return built


def _chosen(ids: NDArray[np.int32], which: Sequence[bool]) -> NDArray[np.bool_]:
    """Pixels of chosen buildings."""
    table = np.array([False, *which])
    chosen: NDArray[np.bool_] = table[ids]
    return chosen


def _compact(
    ids: NDArray[np.int32], names: Sequence[int | None]
) -> tuple[NDArray[np.int32], list[int | None]]:
    """The same without names that no pixel has."""
    present, inverse = np.unique(ids, return_inverse=True)
    offset = 0 if present[0] == 0 else 1
    compact = (inverse.reshape(ids.shape) + offset).astype(np.int32)
    return compact, [names[index - 1] for index in present if index > 0]
