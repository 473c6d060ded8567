"""Changed regions of a moment map as polygons for GIS programs: GeoJSON in longitude and latitude.

A region is a group of pixels of one moment that share sides, or corners too if asked for. Small
ones are left out by the ground they cover, not by their size on the map's plane. What a moment
means (which dates) is given, not known here.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import numpy as np
import skimage.measure
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what transform_geom raises; it has no public name
from rasterio.features import shapes
from rasterio.transform import Affine

from data_processing.rasters.reading import RasterInfo
from mapping.products.ground_area import PixelAreas
from mapping.products.lon_lat import on_earth
from utils.codes import NO_DATA
from utils.errors import UserError
from utils.files import atomic_path
from utils.progress import progress

__all__ = ["BYTES_PER_PIXEL", "PolygonCounts", "write_polygons"]

BYTES_PER_PIXEL = 16
"""Memory needed beside the map itself, of any size, at worst: where every second pixel is a region.

Measured as the process's growth on a map of 5000 × 7000: 15.9 bytes there, 7.1 with 24,000 regions
in five moments, 6.2 with one region that is the whole map. Some 30 MB that do not grow with the
map come on top; they matter for small ones only.
"""

BLOCK_PIXELS = 1 << 20  # whose areas are held at a time
BATCH = 2000  # regions whose polygons are held at a time

Polygon = dict[str, Any]  # as GeoJSON has it; a MultiPolygon where ±180° cuts it


class PolygonCounts(NamedTuple):
    """Regions that were written, and those that were too small."""

    written: int
    dropped: int


def write_polygons(
    path: Path,
    moment: NDArray[np.uint8],
    info: RasterInfo,
    dates: Sequence[datetime.date],
    areas: PixelAreas | None = None,
    min_area_m2: float = 0.0,
    connectivity: Literal[4, 8] = 4,
) -> PolygonCounts:
    """Write the changed regions of a map as a GeoJSON file (RFC 7946), whole or not at all.

    Each feature has an ``id`` (1, 2 … by moment, then from north to south as the rows run), and
    among its properties that id, ``moment`` k, ``from`` and ``to`` (the dates k − 1 and k; the
    second is the first on which the change is seen), ``area_m2`` on the ground, ``hectares`` and
    ``pixels``. Long straight edges are straight in longitude and latitude, too, so that they may
    leave the pixels' edges by some L²/8R (2 m for an edge of 10 km); ``area_m2`` does not.

    Args:
        path: The file to write.
        moment: (H, W): 0 unchanged, k = 1…T−1 changed in interval k, 255 no data.
        info: Header of the map: its size, coordinate system and transform.
        dates: T dates in order.
        areas: Of the map's pixels; computed if None.
        min_area_m2: Regions that cover less ground are left out.
        connectivity: 4: pixels of a region share sides, and all polygons are valid. 8: they may
            touch at corners only, where rings touch themselves; some programs call that invalid.

    Returns:
        How many regions were written, and how many left out.

    Raises:
        UserError: The map has no coordinate system to give longitudes and latitudes, or parts
            that have none, or the smallest area is none.
        ValueError: The map or the areas have not the size of the grid, or values have no dates.
        OSError: The file cannot be written.
    """
    areas = areas or PixelAreas(info)
    present = _moments(path, moment, info, len(dates))
    _check_areas(path, info, areas, min_area_m2)
    counts = PolygonCounts(0, 0)
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for k in present:
            regions = _Regions.of(moment == k, areas, min_area_m2, connectivity)
            try:
                _write_regions(file, regions, info, k, dates, counts.written)
            except (CPLE_BaseError, UserError) as error:
                raise UserError(
                    f"polygons {path.name}: found a change of {dates[k]} that has no longitude "
                    f"and latitude ({error}), expected all on the Earth. Crop the images to where "
                    "their map shows it, or go on without polygons."
                ) from error
            counts = PolygonCounts(
                counts.written + len(regions.chosen), counts.dropped + regions.dropped
            )
            del regions  # before those of the next moment are looked for
        file.write("\n]}\n")
    return counts


def _write_regions(
    file: TextIO,
    regions: _Regions,
    info: RasterInfo,
    k: int,
    dates: Sequence[datetime.date],
    written: int,
) -> None:
    """Append the regions of moment k to a file that holds some already."""
    span = {"from": dates[k - 1].isoformat(), "to": dates[k].isoformat()}
    polygons = progress(
        regions.polygons(info), f"polygons {span['to']}", len(regions.chosen), "region"
    )
    for number, polygon in polygons:
        size = (float(regions.ground[number]), int(regions.pixels[number]))
        feature = _feature(written + 1, k, span, size, polygon)
        file.write((",\n" if written else "\n") + json.dumps(feature))
        written += 1


@dataclass
class _Regions:
    """The regions of one moment.

    Attributes:
        labels: (H, W) int32: 0 elsewhere, else the number of the region.
        ground: m² by number.
        pixels: How many by number.
        first: Row of the map by number.
        last: Likewise.
        kept: Numbers of those that are large enough.
        connectivity: As in :func:`write_polygons`.
    """

    labels: NDArray[np.int32]
    ground: NDArray[np.float64]
    pixels: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    chosen: NDArray[np.intp]
    connectivity: int

    @classmethod
    def of(
        cls, mask: NDArray[np.bool_], areas: PixelAreas, min_area_m2: float, connectivity: int
    ) -> _Regions:
        """Of the pixels (H, W) of one moment."""
        label: Any = skimage.measure.label  # int32 for a mask; for numbers it would hold 8 bytes
        labels, count = label(mask, return_num=True, connectivity=1 if connectivity == 4 else 2)
        labels = labels.astype(np.int32, copy=False)
        ground = np.zeros(count + 1)
        pixels, last = (np.zeros(count + 1, dtype=np.int32) for _ in range(2))
        first = np.full(count + 1, len(mask), dtype=np.int32)
        step = max(1, BLOCK_PIXELS // mask.shape[1])
        for top in range(0, len(mask), step):
            block = labels[top : top + step]
            rows, cols = np.nonzero(block)
            if len(rows) == 0:
                continue
            numbers = block[rows, cols]
            np.add.at(ground, numbers, areas.rows(top, len(block))[rows, cols])
            np.add.at(pixels, numbers, 1)
            rows += top
            np.minimum.at(first, numbers, rows.astype(np.int32))
            np.maximum.at(last, numbers, rows.astype(np.int32))
        chosen = 1 + np.flatnonzero(ground[1:] >= min_area_m2)
        return cls(labels, ground, pixels, first, last, chosen, connectivity)

    @property
    def dropped(self) -> int:
        """Number of regions that are too small."""
        return len(self.ground) - 1 - len(self.chosen)

    def polygons(self, info: RasterInfo) -> Iterator[tuple[int, Polygon]]:
        """Numbers and polygons, in longitude and latitude, of the regions that are kept.

        Regions are taken together by their numbers, which run with the rows, and drawn from the
        rows that they lie in, so that the polygons of few are held.
        """
        for start in range(0, len(self.chosen), BATCH):
            batch = self.chosen[start : start + BATCH]
            top, bottom = int(self.first[batch].min()), int(self.last[batch].max()) + 1
            matrix = info.transform @ Affine.translation(0, top)
            outlines = shapes(
                self.labels[top:bottom],
                mask=self._mask(batch, top, bottom),
                connectivity=self.connectivity,
                transform=matrix,
            )
            drawn = {int(number): shape for shape, number in outlines}
            side = min(math.hypot(matrix.a, matrix.d), math.hypot(matrix.b, matrix.e))
            placed = on_earth([drawn[number] for number in batch.tolist()], info.crs, side)
            yield from zip(batch.tolist(), placed, strict=True)

    def _mask(self, batch: NDArray[np.intp], top: int, bottom: int) -> NDArray[np.bool_]:
        """Mask of a batch's regions in some rows; row by row, to hold few indices."""
        chosen = np.zeros(len(self.ground), dtype=np.bool_)
        chosen[batch] = True
        mask = np.empty((bottom - top, self.labels.shape[1]), dtype=np.bool_)
        for row, labels in enumerate(self.labels[top:bottom]):
            mask[row] = chosen[labels]
        return mask


def _feature(
    number: int, k: int, span: dict[str, str], size: tuple[float, int], polygon: Polygon
) -> dict[str, Any]:
    """A region of some m² and pixels as GeoJSON has it."""
    ground, pixels = size
    properties = {
        "id": number,
        "moment": k,
        **span,
        "area_m2": round(ground, 4),
        "hectares": round(ground / 10_000, 8),
        "pixels": pixels,
    }
    return {"type": "Feature", "id": number, "properties": properties, "geometry": polygon}


def _moments(path: Path, moment: NDArray[Any], info: RasterInfo, num_dates: int) -> list[int]:
    """The moments that a map holds, once its size, type and values are those of one."""
    if moment.shape != (info.height, info.width) or moment.dtype != np.uint8:
        raise ValueError(
            f"polygons {path.name}: found a map of shape {moment.shape} and type {moment.dtype}, "
            f"expected ({info.height}, {info.width}) and uint8."
        )
    held = np.zeros(256, dtype=np.bool_)
    for row in moment:
        held[row] = True
    values = np.flatnonzero(held[:NO_DATA]).tolist()
    wrong = [value for value in values if value >= num_dates]
    if wrong:
        raise ValueError(
            f"polygons {path.name}: found moments {wrong}, expected 0…{num_dates - 1} for "
            f"{num_dates} dates, or {NO_DATA} for no data. Give the dates the map was made of."
        )
    return [value for value in values if value > 0]


def _check_areas(path: Path, info: RasterInfo, areas: PixelAreas, min_area_m2: float) -> None:
    """That the map lies somewhere on the Earth, the areas are its pixels', and the smallest one."""
    if not min_area_m2 >= 0:
        raise UserError(
            f"polygons {path.name}: found a smallest area of {min_area_m2} m², expected 0 or more."
        )
    if (areas.height, areas.width) != (info.height, info.width):
        raise ValueError(
            f"polygons {path.name}: found areas of {areas.height} × {areas.width} pixels, "
            f"expected {info.height} × {info.width}, those of the map."
        )
    if areas.ellipsoidal:
        return
    system = (
        "no coordinate system" if info.crs is None else f"{str(info.crs)[:60]}, nowhere on Earth"
    )
    raise UserError(
        f"polygons {path.name}: found a map with {system}, expected one that gives longitudes "
        "and latitudes, as GeoJSON needs. Give the images a coordinate system and a transform "
        "(gdal_edit.py -a_srs EPSG:… -a_ullr …), or go on without polygons."
    )
