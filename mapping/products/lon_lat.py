"""Polygons of any map in longitude and latitude, as GeoJSON (RFC 7946) wants them.

Cut where they cross ±180°, led around a pole that lies in them, seven decimals, outer rings
counter-clockwise. GDAL's own cutting was tried: the one in rasterio leaves polygons of cylindrical
maps going round the Earth, the one in pyogrio loses what touches a pole and degrees beyond 180.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform, transform_geom
from shapely.geometry import mapping, shape

from data_processing.rasters.reading import RasterInfo
from utils.errors import UserError

__all__ = ["DECIMALS", "centre", "on_earth"]

DECIMALS = 7  # of a degree: 1.1 cm
LON_LAT = CRS.from_epsg(4326)
TURN = 90.0  # degrees of longitude along an edge, from which on it may pass a pole or ±180°
NEAR_POLE = 89.0
PARTS = 8  # of a pixel's side, in which edges are followed there
ASIDE = (
    1.37e-4,
    7.31e-4,
)  # of a pixel's side: so far polygons are moved there, off the pole itself
WHOLE_GLOBE = 360.0
NO_PLACE = "found a change that has no longitude and latitude"
POLE = 90.0

Polygon = dict[str, Any]  # as GeoJSON has it


def centre(grid: RasterInfo) -> dict[str, float] | None:
    """Longitude and latitude of a raster's centre; None where it does not say where it lies."""
    if grid.crs is None or grid.transform.is_identity:
        return None
    x, y = grid.transform @ (grid.width / 2, grid.height / 2)
    try:
        (lon,), (lat,) = transform(grid.crs, LON_LAT, [x], [y])
    except (RasterioError, CPLE_BaseError):  # local coordinates, or those of another planet
        return None
    if not (np.isfinite([lon, lat]).all() and abs(lat) <= POLE):
        return None
    lon = (lon + WHOLE_GLOBE / 2) % WHOLE_GLOBE - WHOLE_GLOBE / 2
    return {"longitude": round(lon, DECIMALS), "latitude": round(lat, DECIMALS)}


def on_earth(polygons: Sequence[Polygon], crs: Any, side: float) -> list[Polygon]:
    """Polygons in longitude and latitude; MultiPolygons where ±180° cuts them.

    Args:
        polygons: Of a map, their edges along its pixels.
        crs: Of the map.
        side: The shorter side of a pixel in the map's unit.

    Raises:
        UserError: Parts of a polygon have no longitude and latitude.
        CPLE_BaseError: The same, as GDAL says it.
    """
    try:
        placed = transform_geom(crs, LON_LAT, list(polygons), precision=DECIMALS)
    except SystemError as error:  # rasterio's, where GDAL failed and kept no reason
        raise UserError(NO_PLACE) from error
    shown = []
    for polygon, plain in zip(polygons, placed, strict=True):
        cut = _is_simple(plain, crs.is_geographic)
        geometry = shape(plain) if cut else _cut(polygon, crs, side)
        shown.append(mapping(shapely.orient_polygons(geometry)))
    return shown


def _is_simple(placed: Polygon, degrees: bool) -> bool:
    """Whether a polygon came out as it is: within ±180°, and with no edge past a pole."""
    if placed["type"] != "Polygon":
        return False
    for ring in placed["coordinates"]:
        lon, lat = np.array(ring).T
        if np.abs(lon).max() > 180:
            return False
        if not degrees and (np.abs(np.diff(lon)).max() > TURN or np.abs(lat).max() > NEAR_POLE):
            return False
    return True


def _cut(polygon: Polygon, crs: Any, side: float) -> Any:
    """A polygon that may cross ±180° or hold a pole, within −180…180."""
    first, *holes = [_ring(ring, crs, side) for ring in polygon["coordinates"]]
    exact = shapely.difference(first, shapely.union_all(holes))
    step = 10.0**-DECIMALS
    whole = shapely.set_precision(shapely.simplify(exact, step / 2), step)
    whole = exact if whole.is_empty else whole  # of pixels smaller than the last decimal
    parts = [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon"]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _ring(ring: Any, crs: Any, side: float) -> Any:
    """The polygon that a ring encloses, within −180…180."""
    line = shapely.LineString(ring)
    if crs.is_geographic:
        lon, lat = _degrees(line, crs)
        x = shapely.get_coordinates(line)[:, 0]
        lon = lon + WHOLE_GLOBE * np.round((x - lon) / WHOLE_GLOBE)  # degrees may run on
    else:
        lon, lat = _degrees(shapely.segmentize(line, side), crs)
        if np.abs(lat).max() > NEAR_POLE:
            moved = shapely.transform(line, lambda points: points + side * np.array(ASIDE))
            lon, lat = _degrees(shapely.segmentize(moved, side / PARTS), crs)
        lon = np.unwrap(lon, period=WHOLE_GLOBE)
        if abs(lon[-1] - lon[0]) > WHOLE_GLOBE / 2:  # around a pole, which is a line here
            pole = np.copysign(90.0, lat.mean())
            lon, lat = np.append(lon, lon[[-1, 0]]), np.append(lat, [pole, pole])
    area = shapely.make_valid(shapely.Polygon(np.column_stack([lon, lat])))
    first, last = (int(np.floor((edge + 180) / WHOLE_GLOBE)) for edge in (lon.min(), lon.max()))
    turns = [WHOLE_GLOBE * number for number in range(first, last + 1)]
    cut = [
        shapely.transform(
            shapely.intersection(area, shapely.box(turn - 180, -90, turn + 180, 90)),
            lambda points, turn=turn: points - (turn, 0),
        )
        for turn in turns
    ]
    return shapely.union_all(cut)


def _degrees(line: Any, crs: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of a line's points."""
    x, y = shapely.get_coordinates(line).T
    lon, lat = (np.array(values) for values in transform(crs, LON_LAT, x, y))
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise UserError(NO_PLACE)
    return lon, lat
