"""Scores of whole areas from blended tiles that overlap by half, at any offset of the decision."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.real_areas import Area
from mapping.blending import Blend
from mapping.prediction import Predicts
from models.weights.offset_search import OFFSETS, OffsetSearch
from models.weights.precision import LabelAgreement
from utils.device import Precision, autocast
from utils.tiling import TileGrid

__all__ = ["SCORES", "agreed", "at_offset", "blended", "searched"]

SCORES = ("area_f1", "moment_f1_macro_all", "moment_kappa")


def blended(
    network: Predicts, area: Area, side: int, batch: int = 16, precision: Precision = "bfloat16"
) -> NDArray[np.int32]:
    """Blended moment probabilities (K, H, W) of a scene of T dates, as whole numbers.

    Of a network without moments, area probabilities: K = 2.
    """
    images = area.values()
    H, W = images.shape[2:]
    grid = TileGrid(H, W, side, side // 2)
    blend: Blend | None = None
    origins = list(grid.origins)
    for first in range(0, len(origins), batch):
        part = origins[first : first + batch]
        tiles = np.stack([_tile(images, row, col, side) for row, col in part])
        with torch.inference_mode(), autocast(torch.device("cpu"), precision):
            maps = network.predict(torch.from_numpy(tiles))
        prob = (maps.area_prob if maps.moment_prob is None else maps.moment_prob).numpy()
        blend = blend or Blend(grid, prob.shape[1], 0, H)
        for (row, col), one in zip(part, prob, strict=True):
            blend.add(row, col, one)
    assert blend is not None
    return blend.take(H)


def searched(network: Predicts, areas: list[Area], side: int) -> OffsetSearch:
    """Counts of labelled scenes at all offsets."""
    search: OffsetSearch | None = None
    for area in areas:
        assert area.label is not None
        prob = blended(network, area, side)
        search = search or OffsetSearch(len(prob))
        search.add(prob, area.label)
    assert search is not None
    return search


def agreed(network: Predicts, areas: list[Area], side: int, offset: float) -> LabelAgreement:
    """Count of pixels of labelled scenes with the same label in float32 and bfloat16."""
    agreement = LabelAgreement(offset)
    for area in areas:
        exact = blended(network, area, side, precision="float32")
        agreement.add(exact, blended(network, area, side), area.label)
    return agreement


def at_offset(search: OffsetSearch, offset: float) -> dict[str, Any]:
    """Scores at one of the ``OFFSETS``, false alarms and right dates among them."""
    position = int(np.abs(offset - OFFSETS).argmin())
    matrix = search.matrix(position)
    hits = int(matrix[1:, 1:].sum())
    return {
        **search.scores(position),
        "false_alarms": float(matrix[0, 1:].sum() / max(1, matrix[0].sum())),
        "date_right": float(np.trace(matrix[1:, 1:]) / hits) if hits else None,
    }


def _tile(images: Any, row: int, col: int, side: int) -> NDArray[np.float32]:
    tile = images[..., row : row + side, col : col + side]
    beyond = [(0, 0), (0, 0), (0, side - tile.shape[2]), (0, side - tile.shape[3])]
    return np.pad(tile, beyond, mode="edge")
