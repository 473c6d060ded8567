"""Changed regions of a moment map: which pixels belong together, and what is known of each group.

A region is a group of pixels of one moment that share sides, or corners too if asked for. Small
ones are left out by the ground they cover, not by their size on the map's plane. What a moment
means (which dates) is given, not known here. Files of regions are written by
``mapping.products.polygons``.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import skimage.measure
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.transform import Affine
from shapely.geometry import shape

from data_processing.rasters.dates import UnknownDate
from data_processing.rasters.header import RasterInfo
from mapping.products.ground_area import PixelAreas
from utils.codes import NO_DATA
from utils.errors import UserError
from utils.progress import progress

__all__ = [
    "BYTES_PER_PIXEL",
    "ChangedRegions",
    "PolygonCounts",
    "Region",
    "off_earth",
]

BYTES_PER_PIXEL = 28
"""Memory needed for a map and its scores, of any size, at worst: where every second pixel is a
region.

Measured as the process's growth on a map of 5000 × 7000, a chessboard of one moment: 25.4 bytes
beside the 2 of both maps.
"""

BLOCK_PIXELS = 1 << 20  # whose areas are held at a time
BATCH = 2000  # regions whose polygons are held at a time

Shape = dict[str, Any]  # as GeoJSON has it


class PolygonCounts(NamedTuple):
    """Regions that are large enough, and those that were too small."""

    written: int
    dropped: int


NOTHING = PolygonCounts(0, 0)


class Region(NamedTuple):
    """A region: the fields of files, in their order, and its polygon.

    Attributes:
        id: 1, 2 … by moment, then from north to south as the rows run.
        moment: k.
        date: The first date on which the change is seen; None where images have no dates.
        interval: The dates k − 1 and k, as ISO 8601 has it.
        area_m2: On the ground.
        hectares: Likewise.
        perimeter_m: On the ground, around holes too.
        pixels: How many.
        mean_score: Of its pixels.
        polygon: In the coordinates of the map, its edges along the pixels.
    """

    id: int
    moment: int
    date: datetime.date | None
    interval: str
    area_m2: float
    hectares: float
    perimeter_m: float
    pixels: int
    mean_score: float
    polygon: Shape

    @property
    def fields(self) -> dict[str, Any]:
        """All but the polygon."""
        return dict(list(self._asdict().items())[:-1])


@dataclass
class ChangedRegions:
    """The changed regions of a map, batch by batch; going through them counts them.

    Args:
        moment: (H, W) uint8: 0 unchanged, k = 1…T−1 changed in interval k, 255 no data.
        score: (H, W) uint8.
        info: Header of the map: its size, coordinate system and transform.
        dates: T dates in order.
        areas: Of the map's pixels; computed if None.
        min_area_m2: Regions that cover less ground are left out.
        connectivity: 4: pixels of a region share sides, and all polygons are valid. 8: they may
            touch at corners only, where rings touch themselves; some programs call that invalid.

    Raises:
        UserError: The map has no coordinate system to give places on the Earth, or parts that
            lie on none, or the smallest area is none.
        ValueError: Maps or areas have not the size of the grid, or values have no dates.
    """

    moment: NDArray[np.uint8]
    score: NDArray[np.uint8]
    info: RasterInfo
    dates: Sequence[datetime.date]
    areas: PixelAreas | None = None
    min_area_m2: float = 0.0
    connectivity: Literal[4, 8] = 4
    counts: PolygonCounts = NOTHING

    def __post_init__(self) -> None:
        self._areas = self.areas or PixelAreas(self.info)
        self._present = _moments(self.moment, self.score, self.info, len(self.dates))
        _check_areas(self.info, self._areas, self.min_area_m2)

    def __iter__(self) -> Iterator[list[Region]]:
        self.counts = PolygonCounts(0, 0)
        for k in self._present:
            labelled = _Labelled.of(
                self.moment == k, self.score, self._areas, self.min_area_m2, self.connectivity
            )
            batches = range(0, len(labelled.chosen), BATCH)
            for start in progress(batches, f"polygons {self.dates[k]}", unit="batch"):
                batch = labelled.chosen[start : start + BATCH]
                yield self._regions(k, labelled, batch, self.counts.written + start)
            self.counts = PolygonCounts(
                self.counts.written + len(labelled.chosen), self.counts.dropped + labelled.dropped
            )
            del labelled  # before those of the next moment are looked for

    def _regions(
        self, k: int, labelled: _Labelled, batch: NDArray[np.int32], before: int
    ) -> list[Region]:
        """Some regions of moment k, by their numbers."""
        polygons = labelled.polygons(batch, self.info.transform)
        lengths = self._areas.perimeters([shape(polygon) for polygon in polygons])
        if not np.isfinite(lengths).all():
            raise off_earth(self.dates[k], "it lies beside the map's projection")
        date = self.dates[k]
        day = None if isinstance(date, UnknownDate) else date
        interval = f"{self.dates[k - 1].isoformat()}/{date.isoformat()}"
        return [
            Region(
                before + place, k, day, interval, round(float(labelled.ground[number]), 4),
                round(float(labelled.ground[number]) / 10_000, 8), round(float(length), 2),
                int(labelled.pixels[number]),
                round(float(labelled.score[number] / labelled.pixels[number]), 2), polygon,
            )
            for place, (number, length, polygon) in enumerate(
                zip(batch.tolist(), lengths, polygons, strict=True), start=1
            )
        ]  # fmt: skip


def off_earth(date: datetime.date, why: object) -> UserError:
    """A change that cannot be placed."""
    return UserError(
        f"polygons: found a change of {date} that has no longitude and latitude ({why}), expected "
        "all on the Earth. Crop the images to where their map shows it, or go on without polygons."
    )


@dataclass
class _Labelled:
    """The regions of one moment.

    Attributes:
        labels: (H, W) int32: 0 elsewhere, else the number of the region.
        ground: m² by number.
        score: Sum over its pixels by number.
        pixels: How many by number.
        first: Row of the map by number.
        last: Likewise.
        chosen: Numbers of those that are large enough.
        connectivity: As in :class:`ChangedRegions`.
    """

    labels: NDArray[np.int32]
    ground: NDArray[np.float64]
    score: NDArray[np.float64]
    pixels: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    chosen: NDArray[np.int32]
    connectivity: int

    @classmethod
    def of(
        cls,
        mask: NDArray[np.bool_],
        score: NDArray[np.uint8],
        areas: PixelAreas,
        min_area_m2: float,
        connectivity: int,
    ) -> _Labelled:
        """Of the pixels (H, W) of one moment."""
        label: Any = skimage.measure.label  # int32 for a mask; for numbers it would hold 8 bytes
        labels, count = label(mask, return_num=True, connectivity=1 if connectivity == 4 else 2)
        labels = labels.astype(np.int32, copy=False)
        ground, total = np.zeros(count + 1), np.zeros(count + 1)
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
            np.add.at(total, numbers, score[rows, cols])
            np.minimum.at(first, numbers, rows.astype(np.int32))
            np.maximum.at(last, numbers, rows.astype(np.int32))
        ground[0] = -1.0  # the ground between regions is none
        large = np.flatnonzero(ground >= min_area_m2).astype(np.int32)
        return cls(labels, ground, total, pixels, first, last, large, connectivity)

    @property
    def dropped(self) -> int:
        """Number of regions that are too small."""
        return len(self.ground) - 1 - len(self.chosen)

    def polygons(self, batch: NDArray[np.int32], transform: Affine) -> list[Shape]:
        """Polygons of some regions in the coordinates of the map.

        Regions are taken together by their numbers, which run with the rows, and drawn from the
        rows that they lie in, so that the polygons of few are held.
        """
        top, bottom = int(self.first[batch].min()), int(self.last[batch].max()) + 1
        drawn = shapes(
            self.labels[top:bottom],
            mask=self._mask(batch, top, bottom),
            connectivity=self.connectivity,
            transform=transform @ Affine.translation(0, top),
        )
        polygons = {int(number): polygon for polygon, number in drawn}
        return [polygons[number] for number in batch.tolist()]

    def _mask(self, batch: NDArray[np.int32], top: int, bottom: int) -> NDArray[np.bool_]:
        """Pixels of some rows that lie in regions of a batch; row by row, to hold few indices."""
        wanted = np.zeros(len(self.ground), dtype=np.bool_)
        wanted[batch] = True
        mask = np.empty((bottom - top, self.labels.shape[1]), dtype=np.bool_)
        for row, labels in enumerate(self.labels[top:bottom]):
            mask[row] = wanted[labels]
        return mask


def _moments(
    moment: NDArray[Any], score: NDArray[Any], info: RasterInfo, num_dates: int
) -> list[int]:
    """The moments that a map holds, once its size, type and values are those of one."""
    for what, layer in (("moments", moment), ("scores", score)):
        if layer.shape != (info.height, info.width) or layer.dtype != np.uint8:
            raise ValueError(
                f"polygons: found {what} of shape {layer.shape} and type {layer.dtype}, "
                f"expected ({info.height}, {info.width}) and uint8."
            )
    held = np.zeros(256, dtype=np.bool_)
    for row in moment:
        held[row] = True
    values = np.flatnonzero(held[:NO_DATA]).tolist()
    wrong = [value for value in values if value >= num_dates]
    if wrong:
        raise ValueError(
            f"polygons: found moments {wrong}, expected 0…{num_dates - 1} for {num_dates} dates, "
            f"or {NO_DATA} for no data. Give the dates the map was made of."
        )
    return [value for value in values if value > 0]


def _check_areas(info: RasterInfo, areas: PixelAreas, min_area_m2: float) -> None:
    """That the map lies somewhere on the Earth, the areas are its pixels', and the smallest one."""
    if not min_area_m2 >= 0:
        raise UserError(f"polygons: found a smallest area of {min_area_m2} m², expected 0 or more.")
    if (areas.height, areas.width) != (info.height, info.width):
        raise ValueError(
            f"polygons: found areas of {areas.height} × {areas.width} pixels, expected "
            f"{info.height} × {info.width}, those of the map."
        )
    if areas.ellipsoidal:
        return
    system = (
        "no coordinate system" if info.crs is None else f"{str(info.crs)[:60]}, nowhere on Earth"
    )
    raise UserError(
        f"polygons: found a map with {system}, expected one that says where on Earth it lies, to "
        "place and measure them. Give the images a coordinate system and a transform "
        "(gdal_edit.py -a_srs EPSG:… -a_ullr …), or go on without polygons."
    )
