"""Pixels of scenes in one block of memory that several processes see.

Where processes are not forked, each would otherwise be sent a cache of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from data_processing.scenes.scene import Scene

__all__ = ["SharedPixels"]

ALIGNMENT = 64  # bytes; arrays start at cache lines


class SharedPixels:
    """Arrays of scenes, copied into shared memory once and sent to other processes by its name.

    Args:
        scenes: Scenes with pixels in memory; they are served from the shared memory afterwards,
            and the memory of their own is free.
    """

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._layout: list[dict[str, tuple[int, tuple[int, ...], str]]] = []
        size = 0
        for scene in scenes:
            places = {}
            for name, array in scene.kept_arrays().items():
                places[name] = (size, array.shape, array.dtype.str)
                size += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
            self._layout.append(places)
        self._bytes = torch.empty(size, dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]
        for scene, places in zip(scenes, self._layout, strict=True):
            for name, array in scene.kept_arrays().items():
                self._view(places[name])[...] = array
            self._hand_to(scene, places)

    def hand_to(self, scenes: Sequence[Scene]) -> None:
        """Let scenes, the same in another process, serve windows from the shared memory."""
        for scene, places in zip(scenes, self._layout, strict=True):
            self._hand_to(scene, places)

    def _hand_to(self, scene: Scene, places: dict[str, tuple[int, tuple[int, ...], str]]) -> None:
        if places:
            scene.serve_from({name: self._view(place) for name, place in places.items()})

    def _view(self, place: tuple[int, tuple[int, ...], str]) -> npt.NDArray[Any]:
        """The array at a place: first byte, shape, type."""
        first, shape, dtype = place
        last = first + int(np.prod(shape)) * np.dtype(dtype).itemsize
        array: npt.NDArray[Any] = self._bytes[first:last].numpy().view(dtype).reshape(shape)
        return array
