"""Building footprints of GeoJSON files as rasters on the grid of an image.

Coordinates are understood in three systems: lon/lat, the system that the file names in its ``crs``
member, and pixels.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform_geom

from data_processing.rasters.reading import RasterInfo
from utils.errors import DataError
from utils.files import parse_json, whole_number

__all__ = [
    "Footprints",
    "coordinate_system",
    "draw_features",
    "rasterise_footprints",
    "read_features",
]

LON_LAT = CRS.from_epsg(4326)
AREAS = ("Polygon", "MultiPolygon")
# EPSG:32633, urn:ogc:def:crs:EPSG::32633, http://www.opengis.net/def/crs/EPSG/0/32633, CRS84 …
CRS_NAME = re.compile(
    r"(?:(?:urn:(?:x-)?ogc:def:crs:|https?://www\.opengis\.net/def/crs/)?"
    r"(?:EPSG[:/](?:[\d.]*[:/])?(?P<code>\d{1,9})|(?P<lon_lat>(?:OGC[:/](?:[\d.]*[:/])?)?CRS84)))",
    re.IGNORECASE | re.ASCII,
)


@dataclass
class Footprints:
    """Footprints of one date on a grid.

    Attributes:
        ids: (H, W) int32: 0 no building, else 1 + index into ``names`` of the building drawn last.
        names: What each building is called in the file (its ``Id``), by index; None where it has
            no name that tells it from the others.
        remarks: What was left out, and how often.
    """

    ids: NDArray[np.int32]
    names: list[int | None]
    remarks: Counter[str] = field(default_factory=Counter)

    @property
    def built(self) -> NDArray[np.bool_]:
        """(H, W) bool, where buildings are."""
        return self.ids > 0


def rasterise_footprints(
    content: bytes, where: str, grid: RasterInfo, *, pixels: bool = False, all_touched: bool = False
) -> Footprints:
    """Draw the footprints of a GeoJSON file.

    Empty files of features, null geometries and shapes that are no areas give no building; heights
    are dropped. A file without a coordinate system is taken as lon/lat, as GeoJSON says, unless
    its numbers are none.

    Args:
        content: The file.
        where: How messages name it.
        grid: Of the image that the buildings were seen in.
        pixels: Coordinates are (column, row) of that image.
        all_touched: Draw every pixel that a footprint touches, not only those whose centre lies
            in it.

    Raises:
        DataError: The file is no GeoJSON, or its coordinates cannot be placed on the grid.
    """
    features, beside = read_features(content, where)
    source = None if pixels else coordinate_system(features, beside, where, grid)
    return draw_features(features, source, where, grid, all_touched=all_touched)


def draw_features(
    features: list[dict[str, Any]],
    source: CRS | None,
    where: str,
    grid: RasterInfo,
    *,
    all_touched: bool = False,
) -> Footprints:
    """Draw features as GeoJSON has them.

    Args:
        features: Those that are no areas are left out.
        source: The coordinate system of their numbers; None: pixels of the image.
        where, grid, all_touched: As in :func:`rasterise_footprints`.

    Raises:
        DataError: Coordinates cannot be placed on the grid.
    """
    remarks: Counter[str] = Counter()
    shapes = list(_areas(features, remarks, where))
    placed = [_placed(shape, source, grid, where) for shape, _ in shapes]
    transform = Affine.identity() if source is None else grid.transform
    names = [name for _, name in shapes]
    ids = np.zeros((grid.height, grid.width), dtype=np.int32)
    if placed:
        try:
            rasterize(
                zip(placed, range(1, len(placed) + 1), strict=True),
                out=ids, transform=transform, all_touched=all_touched,
            )  # fmt: skip
        except (ValueError, TypeError, RasterioError) as error:
            raise _fault(where, f"a footprint cannot be drawn ({error})") from error
        if not ids.any():
            remarks["no footprint lies on the image"] += 1
    return Footprints(ids, _unique(names), remarks)


def read_features(content: bytes, where: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The features of a GeoJSON file.

    Args:
        content: The file.
        where: How messages name it.

    Returns:
        The features, none for an empty file of features, and what stands beside them in the file.

    Raises:
        DataError: It is no collection of features.
    """
    try:
        collection = parse_json(content)
    except ValueError as error:
        if b"<kml" in content[:1024].lower():
            advice = f"Write it as GeoJSON: ogr2ogr changes.geojson {Path(where).name}"
            raise DataError(where, ["no GeoJSON: it is KML"], advice) from error
        raise _fault(where, f"no GeoJSON ({error})") from error
    if not isinstance(collection, dict) or collection.get("type") != "FeatureCollection":
        raise _fault(where, "found no FeatureCollection at the top of the file")
    features = collection.pop("features", None) or []
    if not isinstance(features, list):
        raise _fault(where, "found features that are no list")
    broken = [str(number) for number, f in enumerate(features) if not isinstance(f, dict)]
    if broken:
        raise _fault(where, f"features {', '.join(broken)} are no features")
    return features, collection


def _named_system(collection: dict[str, Any], where: str) -> str | None:
    """The coordinate system that a file names."""
    crs = collection.get("crs")
    if crs is None:
        return None
    properties = crs.get("properties") if isinstance(crs, dict) else None
    named = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(named, str):  # a link, which nobody follows
        raise _fault(where, "found a crs member without a name, expected urn:ogc:def:crs:EPSG::…")
    return named


def _areas(
    features: list[dict[str, Any]], remarks: Counter[str], where: str
) -> Iterator[tuple[dict[str, Any], int | None]]:
    """Polygons of the features, plane, with the building's Id."""
    for number, feature in enumerate(features):
        properties = feature.get("properties")
        name = properties.get("Id") if isinstance(properties, dict) else None
        whole = isinstance(name, int | float) and math.isfinite(name)
        name = int(name) if whole else None  # type: ignore[arg-type]
        for geometry in _simple(feature.get("geometry")):
            if geometry is None or not geometry.get("coordinates"):
                remarks["null or empty geometries"] += 1
            elif geometry.get("type") not in AREAS:
                remarks[f"geometries of type {geometry.get('type')}"] += 1
            else:
                shape = {
                    "type": geometry["type"],
                    "coordinates": _plane(geometry["coordinates"], where, number),
                }
                yield shape, name


def _simple(geometry: Any) -> list[Any]:
    """A geometry, or those that a collection holds."""
    if not isinstance(geometry, dict):
        return [None]
    if geometry.get("type") == "GeometryCollection":
        return [part for inner in geometry.get("geometries") or [None] for part in _simple(inner)]
    return [geometry]


def _plane(coordinates: Any, where: str, number: int) -> Any:
    """Nested coordinates without heights."""
    if isinstance(coordinates, list) and coordinates and isinstance(coordinates[0], list):
        return [_plane(part, where, number) for part in coordinates]
    try:
        x, y = float(coordinates[0]), float(coordinates[1])
    except (TypeError, ValueError, IndexError, KeyError):
        x = y = math.nan
    if not (math.isfinite(x) and math.isfinite(y)):
        raise _fault(where, f"feature {number} has coordinates that are no numbers")
    return [x, y]


def coordinate_system(
    features: list[dict[str, Any]], beside: dict[str, Any], where: str, grid: RasterInfo
) -> CRS:
    """The coordinate system of a GeoJSON file's numbers.

    Args:
        features, beside: As :func:`read_features` gives them.
        where: How messages name the file.
        grid: Of the image that the features belong to.

    Raises:
        DataError: It names one that is not known.
    """
    named = _named_system(beside, where)
    if named is not None:
        name = CRS_NAME.fullmatch(named.strip())
        if name is None:  # a name may also be an address that GDAL would fetch, or a file
            expected = "expected one of EPSG or OGC, as urn:ogc:def:crs:EPSG::32633"
            raise _fault(where, f"found the coordinate system {named[:80]!r}, {expected}")
        if name["lon_lat"]:
            return LON_LAT
        try:
            return CRS.from_epsg(whole_number(name["code"]))
        except (CRSError, ValueError) as error:
            raise _fault(where, f"found the coordinate system {named[:80]!r}, unknown") from error
    shapes = _areas(features, Counter(), where)
    points = [point for shape, _ in shapes for point in _points(shape["coordinates"])]
    degrees = all(abs(x) <= 180 and abs(y) <= 90 for x, y in points)
    if degrees or grid.crs is None:
        return LON_LAT
    return grid.crs


def _points(coordinates: Any) -> Iterator[Any]:
    if isinstance(coordinates[0], list):
        for part in coordinates:
            yield from _points(part)
    else:
        yield coordinates


def _placed(
    shape: dict[str, Any], source: CRS | None, grid: RasterInfo, where: str
) -> dict[str, Any]:
    """A shape in the coordinates of the grid."""
    if source is None or source == grid.crs:
        return shape
    if grid.crs is None:
        raise _fault(where, "its image has no coordinate system to place footprints in")
    try:
        placed: dict[str, Any] = transform_geom(source, grid.crs, shape)
    except (RasterioError, ValueError) as error:
        raise _fault(where, f"coordinates cannot be placed ({error})") from error
    return placed


def _unique(names: list[int | None]) -> list[int | None]:
    """Names that belong to one building only; in some files the Id is 0 throughout."""
    counts = Counter(names)
    return [name if counts[name] == 1 else None for name in names]


def _fault(where: str, fault: str) -> DataError:
    advice = "Copy or download the GeoJSON file again; an empty list of features is no fault."
    return DataError(where, [fault], advice)
