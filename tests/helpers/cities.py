"""A small city for tests of Predict.py: six GeoTIFFs with changes, and small weights at random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray

from data_processing.scenes.spec import DYNAMIC
from models import CAIMNet
from models.weights.checkpoint import Checkpoint, save_checkpoint
from tests.helpers.scene_files import write_raster

__all__ = [
    "CURVE",
    "DATES",
    "TILE",
    "Outcome",
    "summary_of",
    "values",
    "write_city",
    "write_weights",
]

Outcome = tuple[int, str, str]  # exit code, output, errors

DATES = ("2018-01-15", "2018-05-15", "2018-09-15", "2019-01-15", "2019-05-15", "2019-09-15")
TILE = 16


def write_city(
    folder: Path, size: tuple[int, int] = (70, 53), seed: int = 0, **raster: Any
) -> Path:
    """Six images with a date in each name, (4, H, W) uint16; returns the folder."""
    rng = np.random.default_rng(seed)
    base = rng.uniform(500, 1500, size=(4, *size))
    for number, date in enumerate(DATES):
        image = base + rng.normal(0, 60, size=base.shape)
        image[:, 10 : 10 + 6 * number, 20:30] += 2500  # grows from date to date
        write_raster(folder / f"city_{date}.tif", image.clip(1, 9999).astype(np.uint16), **raster)
    return folder


CURVE: dict[str, Any] = {  # of a probability, over the leads of these weights
    "leads": [-0.1, 0.0, 0.1], "values": [0.05, 0.4, 0.95], "error": 0.012,
    "changed_error": 0.034,
    "fitted_on": "four drawn scenes", "measured_on": "two other ones",
}  # fmt: skip


def write_weights(path: Path, decision: dict[str, Any] | None = None, **arguments: Any) -> Path:
    """A checkpoint of width 8 for tiles of 16 pixels; its maps are not uniform."""
    torch.manual_seed(3)
    given = {"in_channels": 4, "num_dates": 6, "width": 8, **arguments}
    network = CAIMNet(**given)
    save_checkpoint(
        path,
        Checkpoint(
            "caim_net", given, network.state_dict(), data=DYNAMIC.facts(TILE),
            decision=decision or {},
        ),
    )  # fmt: skip
    return path


def values(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as raster:
        return raster.read(1)


def summary_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return content
