"""Small copies of the raw distributions, with their real irregularities, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.transform import Affine
from rasterio.warp import transform

__all__ = [
    "AOI",
    "SIDE",
    "Square",
    "months",
    "write_dynamic_area",
    "write_footprints",
    "write_spacenet7_month",
]

AOI = "L15-0331E-1257N_1327_3160_13"
SIDE = 80
PIXEL = 4.777314267823516
MERCATOR = Affine(PIXEL, 0.0, -13_000_000.0, 0.0, -PIXEL, 4_500_000.0)
UTM = Affine(3.0, 0.0, 500_000.0, 0.0, -3.0, 5_000_000.0)

Square = tuple[int, int, int, int]  # top row, left column, rows, columns


def months(count: int, first: int = 0) -> list[str]:
    """Months from July 2017 on as YYYY_MM."""
    return [f"{2017 + (6 + i) // 12}_{(6 + i) % 12 + 1:02d}" for i in range(first, first + count)]


def write_spacenet7_month(
    root: Path,
    month: str,
    squares: Mapping[int, Square],
    *,
    area: str = AOI,
    size: tuple[int, int] = (SIDE, SIDE),
    masked: Square | None = None,
    udm: Square | None = None,
    seed: int = 0,
) -> None:
    """Write image, all three kinds of footprints and, where asked for, the UDM file of a month.

    Args:
        root: Folder of the areas.
        month: YYYY_MM.
        squares: Buildings by their Id.
        area: The AOI.
        size: Rows and columns.
        masked: Part of the image with alpha 0.
        udm: Part that the UDM file calls unusable; None writes no such file.
        seed: Of the colours.
    """
    name = f"global_monthly_{month}_mosaic_{area}"
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 255, size=(4, *size)).astype(np.uint8)
    image[3] = 255
    if masked is not None:
        image[:, _part(masked)[0], _part(masked)[1]] = 0
    options = {"compress": "lzw", "photometric": "RGB", "alpha": "YES"}
    _write(root / area / "images_masked" / f"{name}.tif", image, MERCATOR, "EPSG:3857", options)
    for kind in ("labels", "labels_match", "labels_match_pix"):
        write_footprints(root / area / kind / f"{name}_Buildings.geojson", squares, kind)
    if udm is not None:
        mask = np.zeros((1, *size), dtype=np.uint8)
        mask[:, _part(udm)[0], _part(udm)[1]] = 255
        path = root / area / "UDM_masks" / f"{name}_UDM.tif"
        _write(path, mask, MERCATOR, "EPSG:3857", {})
        write_footprints(root / area / "labels" / f"{name}_UDM.geojson", {0: udm}, "labels")


def write_footprints(path: Path, squares: Mapping[int, Square], kind: str) -> None:
    """Write buildings as one of the three kinds of label files has them."""
    features = []
    for number, (row, col, rows, cols) in squares.items():
        corners = [(col, row), (col + cols, row), (col + cols, row + rows), (col, row + rows)]
        ring: list[list[float]] = [[float(x), float(y)] for x, y in [*corners, corners[0]]]
        if kind == "labels_match_pix":
            ring = [[x, y, 0.0] for x, y in ring]  # some files have heights
        else:
            ring = [list(MERCATOR @ (x, y)) for x, y in ring]
        if kind == "labels":
            xs, ys = transform("EPSG:3857", "EPSG:4326", *zip(*ring, strict=True))
            ring = [[x, y] for x, y in zip(xs, ys, strict=True)]
        geometry = {"type": "Polygon", "coordinates": [ring]}
        properties = {"Id": 0 if kind == "labels" else number}
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    features.append({"type": "Feature", "properties": {"Id": 99}, "geometry": None})
    content: dict[str, Any] = {"type": "FeatureCollection", "features": features if squares else []}
    if kind == "labels_match":
        content["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3857"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def write_dynamic_area(
    root: Path,
    classes: Sequence[npt.NDArray[np.integer]],
    dates: Sequence[str],
    *,
    cube: str = "1311_3077_13",
    zone: str = "10N",
    planet: str = "planet",
    joint: str = "_",
    dash: str = "_",
    level: bool = True,
    labels: bool = True,
    images: bool = True,
) -> None:
    """Write images and labels of an area.

    Args:
        root: Folder of the downloads.
        classes: Per date (H, W) class 0…6, or −1 for none.
        dates: YYYY-MM-DD.
        cube: Of the area.
        zone: UTM zone.
        planet: Folder above the zone's.
        joint: Between cube and zone in the label folder.
        dash: In the date of a label file.
        level: Whether there is a ``Labels/`` level.
        labels: Whether labels are written.
        images: Whether images are written.
    """
    place = "122W-40N"
    scene = f"{zone}-{place}-L3H-SR"
    folder = root / "labels" / f"{cube}{joint}{zone}" / ("Labels" if level else "")
    for number, (date, cover) in enumerate(zip(dates, classes, strict=True)):
        if labels:
            bands = np.stack([np.where(cover == k, 255, 0) for k in range(7)]).astype(np.uint8)
            path = folder / "Raster" / scene / f"{scene}-{date.replace('-', dash)}.tif"
            _write(path, bands, UTM, "EPSG:32610", {})
            path.with_suffix(".tif.aux.xml").write_text("<PAMDataset/>", "utf-8")
        if images:
            rng = np.random.default_rng(number)
            values = rng.integers(0, 12_000, size=(4, *cover.shape)).astype(np.int16)
            path = root / planet / zone / place / cube / "PF-SR" / f"{date}.tif"
            _write(path, values, UTM, "EPSG:32610", {})


def _part(square: Square) -> tuple[slice, slice]:
    row, col, rows, cols = square
    return slice(row, row + rows), slice(col, col + cols)


def _write(
    path: Path, bands: npt.NDArray[Any], place: Affine, crs: str, options: Mapping[str, str]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "count": bands.shape[0], "height": bands.shape[1],
        "width": bands.shape[2], "dtype": bands.dtype.name, "crs": crs, "transform": place,
    }  # fmt: skip
    with rasterio.open(path, "w", **{**profile, **options}) as raster:
        raster.write(bands)
