"""Images and labels of one's own as a user has them, for tests of prepare_custom."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing import prepare_custom
from data_processing.scenes.spec import DYNAMIC, DatasetSpec
from tests.helpers.raw_trees import months
from tests.helpers.scene_files import write_raster
from utils.errors import CaimError

__all__ = [
    "DAYS",
    "City",
    "H",
    "W",
    "city",
    "growing",
    "labelled",
    "moment_of",
    "place",
    "write_images",
    "write_masks",
    "write_polygons",
]

H, W = 64, 80
LEFT, TOP, PIXEL = 500000.0, 5000000.0, 3.0  # where write_raster puts its rasters
DAYS = [name.replace("_", "-") + "-15" for name in months(12)]

Square = tuple[int, int, int, int]  # top row, left column, rows, columns


def place(k: int) -> Square:
    """Where class k lies."""
    return (6 * k, 4, 5, 20)


def labelled(classes: int, background: int = 0) -> Any:
    moment = np.full((H, W), background, np.uint8)
    for k in range(1, classes):
        row, col, rows, cols = place(k)
        moment[row : row + rows, col : col + cols] = k
    return moment


def write_images(folder: Path, count: int = 6, bands: int = 4, **options: Any) -> Path:
    """A series of noise; options as for write_raster, and ``dtype``."""
    rng = np.random.default_rng(0)
    dtype = options.pop("dtype", "uint8" if bands == 3 else "uint16")
    for day in DAYS[:count]:
        values = rng.integers(1, 200, (bands, H, W)).astype(dtype)
        if dtype == "uint8" and bands == 4:
            values[3] = 255
        write_raster(folder / f"city_{day}.tif", values, **options)
    return folder


def write_masks(folder: Path, masks: Any, days: Sequence[str] = DAYS, **options: Any) -> Path:
    for day, mask in zip(days, masks, strict=False):
        write_raster(folder / f"mask_{day}.tif", np.asarray(mask, np.uint8), **options)
    return folder


def growing(count: int) -> list[Any]:
    """Masks in which square k appears at date k."""
    return [np.isin(labelled(count), range(1, t + 1)) for t in range(count)]


def outline(square: Square) -> dict[str, Any]:
    row, col, rows, cols = square
    corners = [(col, row), (col + cols, row), (col + cols, row + rows), (col, row + rows)]
    ring = [[LEFT + PIXEL * x, TOP - PIXEL * y] for x, y in [*corners, corners[0]]]
    return {"type": "Polygon", "coordinates": [ring]}


def write_polygons(
    path: Path, dated: Sequence[tuple[Square, Any]], name: str = "date", **more: Any
) -> Path:
    features = [
        {"type": "Feature", "properties": {name: date}, "geometry": outline(square)}
        for square, date in dated
    ]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    content = {"type": "FeatureCollection", "crs": crs, "features": features, **more}
    path.write_text(json.dumps(content), "utf-8")
    return path


class City:
    """Images, labels and data root of a test, and the program run on them."""

    def __init__(self, folder: Path, spec: DatasetSpec) -> None:
        self.folder, self.spec, self.root = folder, spec, folder / "data root é"
        self.images, self.masks = folder / "city", folder / "masks"
        self.moment, self.polygons = folder / "labels.tif", folder / "changes.geojson"

    def run(self, **flags: Any) -> Path:
        """Run with these flags; the scene's folder."""
        flags = {"name": "Scene01", "split": "train", "images": self.images, **flags}
        words = ["--data-root", str(self.root), "--dataset", self.spec.name.lower()]
        for name, value in flags.items():
            words.append(f"--{name.replace('_', '-')}")
            values = value if isinstance(value, list) else [value]
            words += [] if value is True else [str(one) for one in values]
        prepare_custom.main(words)
        return self.root / self.spec.images_root / flags["split"] / flags["name"]

    def refusal(self, kind: type[CaimError], **flags: Any) -> str:
        """What the program says when it refuses; nothing was written."""
        with pytest.raises(kind) as caught:
            self.run(**flags)
        assert not (self.root / self.spec.images_root).exists()
        return str(caught.value)


@pytest.fixture
def city(tmp_path: Path) -> City:
    """Six images and a moment raster with every class."""
    made = City(tmp_path, DYNAMIC)
    write_images(made.images)
    write_raster(made.moment, labelled(6))
    return made


def moment_of(scene: Path, spec: DatasetSpec = DYNAMIC) -> Any:
    with rasterio.open(scene / spec.moment_file) as raster:
        assert raster.nodata == 255
        return raster.read(1)
