"""Polygons of a user, from GeoJSON, GeoPackage, FlatGeobuf, GeoParquet or a Shapefile.

The content says which it is. GeoJSON is read here; the others take requirements-gis.txt. What comes
out are features as GeoJSON has them and the coordinate system of their numbers.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyproj
from rasterio.crs import CRS

from data_processing.labels.footprints import coordinate_system, read_features
from data_processing.rasters.header import RasterInfo
from data_processing.rasters.name_dates import whole_date
from utils.errors import DataError, optional_package

__all__ = ["Polygons", "feature_dates", "read_polygons"]

PARQUET, SHAPEFILE = b"PAR1", b"\x00\x00\x27\x0a"
SQLITE, GEOPACKAGES = b"SQLite format 3\0", (b"GPKG", b"GP10", b"GP11")
MARKS = (SQLITE, b"fgb\x03", PARQUET, SHAPEFILE)  # how files of tables begin
HEAD = 72  # bytes; a GeoPackage calls itself one at their end, a Shapefile says its length at 24
EPOCH = datetime.datetime(1970, 1, 1)
# Milliseconds since 1970, as ESRI has dates: a number between these is none of YYYYMMDD, nor one
# with hours, minutes or seconds behind.
FIRST_MILLISECOND, LAST_MILLISECOND = 315_532_800_000, 4_102_444_800_000  # 1980 … 2100


class Polygons(NamedTuple):
    """Features of a file.

    Attributes:
        features: As GeoJSON has them, with ``properties`` and ``geometry``.
        system: Of their coordinates.
    """

    features: list[dict[str, Any]]
    system: CRS


def read_polygons(path: Path, grid: RasterInfo) -> Polygons:
    """Read a file of polygons.

    Args:
        path: The file.
        grid: Of the images that they belong to; it has a coordinate system.

    Raises:
        DataError: It cannot be read as any of the formats, has several layers of shapes, or no
            coordinate system that is known.
        UserError: A package for the format is missing.
    """
    try:
        with path.open("rb") as file:
            start = file.read(HEAD)
            if not start.startswith(MARKS):
                content = start + file.read()
                features, beside = read_features(content, str(path))
                return Polygons(features, coordinate_system(features, beside, str(path), grid))
    except OSError as error:
        advice = "Make the file readable, or copy it."
        raise DataError(str(path), [f"cannot be read ({error})"], advice) from error
    frame = _table(path, start)
    if frame.crs is None or "PARAMETERFILE" in frame.crs.to_wkt():  # a file that PROJ would open
        system = "no coordinate system" if frame.crs is None else "one that names a file of shifts"
        raise DataError(
            str(path),
            [f"found {system}, expected one that stands by itself"],
            "Give it one: in QGIS by Export, Save Features As; of a Shapefile the .prj is missing.",
        )
    # to where they are drawn, by vertices, as GeoJSON's are
    placed = frame.to_crs(pyproj.CRS.from_wkt(grid.crs.to_wkt()))
    columns = placed.drop(columns=placed.geometry.name).astype(object).to_dict("records")
    shapes = (None if shape is None else shape.__geo_interface__ for shape in placed.geometry)
    features = [
        {"properties": properties, "geometry": _lists(shape)}
        for properties, shape in zip(columns, shapes, strict=True)
    ]
    return Polygons(features, grid.crs)


def _table(path: Path, start: bytes) -> Any:
    """A GeoDataFrame of the one layer of shapes in a file that begins so."""
    purpose = "GeoPackage, FlatGeobuf, GeoParquet and Shapefiles"
    geopandas, pyogrio, _ = (
        optional_package(name, "requirements-gis.txt", purpose)
        for name in ("geopandas", "pyogrio", "pyarrow")
    )
    try:
        if start.startswith(SHAPEFILE):  # GDAL gives empty shapes for what is cut off
            length, size = 2 * int.from_bytes(start[24:28]), path.stat().st_size
            if length != size:
                raise ValueError(f"found {size} bytes, expected {length}")
        if start.startswith(SQLITE) and start[68:72] not in GEOPACKAGES:
            raise ValueError("found a database, expected a GeoPackage")
        if start.startswith(PARQUET):
            return geopandas.read_parquet(path)
        layers = [name for name, kind in pyogrio.list_layers(path) if kind is not None]
        if len(layers) == 1:
            return geopandas.read_file(path, layer=layers[0], engine="pyogrio")
    except Exception as error:  # GDAL, Arrow and GEOS have no error in common
        raise DataError(
            str(path),
            [f"cannot be read ({' '.join(str(error).split())[:200]})"],
            "Copy or export the file again.",
        ) from error
    raise DataError(
        str(path),
        [f"found {len(layers)} layers of shapes ({', '.join(map(repr, layers))}), expected one"],
        "Export the layer of changes to a file of its own.",
    )


def _lists(geometry: Any) -> Any:
    """A geometry with lists where shapely has tuples."""
    if isinstance(geometry, Mapping):
        return {key: _lists(value) for key, value in geometry.items()}
    return [_lists(part) for part in geometry] if isinstance(geometry, tuple | list) else geometry


def feature_dates(
    features: Sequence[Mapping[str, Any]], date_field: str, where: str, remarks: list[str]
) -> list[datetime.date]:
    """The date of each feature.

    Args:
        features: As GeoJSON has them.
        date_field: The property that holds the date: as text, as a date, or in milliseconds since
            1970, of which the day of UTC counts.
        where: How messages name the file.
        remarks: Gets how milliseconds were read.

    Raises:
        DataError: With all features without a readable date.
    """
    dates: list[datetime.date] = []
    undated: dict[str, list[str]] = {}
    names: set[str] = set()
    milliseconds = 0
    for number, feature in enumerate(features):
        properties = feature.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        names |= properties.keys()
        value = properties.get(date_field)
        since_1970 = _date_of_milliseconds(value)
        date = since_1970 or whole_date(str(value))
        if date is None:
            finding = repr(value) if date_field in properties else f"no property {date_field!r}"
            undated.setdefault(finding, []).append(str(number))
            continue
        milliseconds += since_1970 is not None
        dates.append(date)
    if undated:
        raise DataError(
            where,
            [f"found {what} in feature {', '.join(at)}" for what, at in undated.items()],
            "Expected YYYY-MM-DD, YYYY-MM, YYYYMMDD or milliseconds since 1970 (as ESRI has dates) "
            f"in the property {date_field!r} of every feature (the first one is feature 0). "
            "--date-field names another property; there are: "
            f"{', '.join(sorted(names)) or 'none'}.",
        )
    if milliseconds:
        remarks.append(
            f"{Path(where).name}: {date_field!r} of {milliseconds} polygons is taken as "
            f"milliseconds since 1970, in UTC: {min(dates)} … {max(dates)}"
        )
    return dates


def _date_of_milliseconds(value: Any) -> datetime.date | None:
    """The day of a number of milliseconds since 1970; None for other values."""
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if not (text.isascii() and text.isdigit() and len(text) < 14):
        return None
    if not FIRST_MILLISECOND <= int(text) <= LAST_MILLISECOND:
        return None
    return (EPOCH + datetime.timedelta(milliseconds=int(text))).date()
