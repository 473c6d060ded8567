"""Changed regions as files for GIS programs; the ending of the name says which.

``.geojson`` holds longitudes and latitudes (RFC 7946) and needs no further package. GeoPackage,
FlatGeobuf and GeoParquet keep the map's own coordinate system, so that edges lie on its pixels;
they take requirements-gis.txt. All are written batch by batch: maps may have millions of regions.
"""

from __future__ import annotations

import errno
import json
import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import shapely
from rasterio._err import CPLE_BaseError  # what transform_geom raises; it has no public name
from shapely.geometry import shape

from mapping.products.lon_lat import on_earth
from mapping.products.regions import ChangedRegions, PolygonCounts, Region, off_earth
from utils.errors import UserError, optional_package
from utils.files import atomic_path

__all__ = ["check_formats", "gis_package", "write_polygons"]

DRIVERS = {".gpkg": "GPKG", ".fgb": "FlatGeobuf"}  # of GDAL
PARQUET = ".parquet"
LAYER = "changes"
FULL = 8 << 20  # bytes; a disk with less is taken as full when something was not written


def check_formats(names: Iterable[str]) -> None:
    """Make sure that files of these names can be written, before hours go into what they hold.

    Raises:
        UserError: A package is missing.
    """
    suffixes = {Path(name).suffix for name in names}
    if suffixes - {".geojson"}:
        gis_package("pyarrow")
    if suffixes & DRIVERS.keys():
        gis_package("pyogrio")


def gis_package(name: str) -> Any:
    """One of the packages of requirements-gis.txt.

    Raises:
        UserError: It is not installed, or does not load.
    """
    purpose = "GeoPackage, FlatGeobuf, GeoParquet, GeoDataFrames and xarray"
    return optional_package(name, "requirements-gis.txt", purpose)


def write_polygons(path: Path, regions: ChangedRegions) -> PolygonCounts:
    """Write the regions of a map, whole or not at all.

    The fields of each are those of :class:`mapping.products.regions.Region`. In GeoJSON, long
    straight edges are straight in longitude and latitude, too, so that they may leave the pixels'
    edges by some L²/8R (2 m for an edge of 10 km); areas and lengths do not.

    Args:
        path: The file; its ending says the format.
        regions: Of a map.

    Returns:
        How many regions were written, and how many left out.

    Raises:
        UserError: A package for the format is missing, or a region lies nowhere on Earth.
        OSError: The file cannot be written.
    """
    with atomic_path(path) as partial:
        if path.suffix == ".geojson":
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                _write_geojson(file, regions)
        else:
            _write_table(partial, regions)
    return regions.counts


def _write_geojson(file: TextIO, regions: ChangedRegions) -> None:
    """Text of a FeatureCollection."""
    info = regions.info
    matrix = info.transform
    side = min(math.hypot(matrix.a, matrix.d), math.hypot(matrix.b, matrix.e))
    file.write('{"type": "FeatureCollection", "features": [')
    mark = "\n"
    for batch in regions:
        try:
            placed = on_earth([region.polygon for region in batch], info.crs, side)
        except (CPLE_BaseError, UserError) as error:
            raise off_earth(regions.dates[batch[0].moment], error) from error
        for region, polygon in zip(batch, placed, strict=True):
            date = None if region.date is None else region.date.isoformat()
            feature = {
                "type": "Feature",
                "id": region.id,
                "properties": {**region.fields, "date": date},
                "geometry": polygon,
            }
            file.write(mark + json.dumps(feature))
            mark = ",\n"
    file.write("\n]}\n")


# ───────────────────────────────────── tables with a geometry ─────────────────────────────────────


def _write_table(path: Path, regions: ChangedRegions) -> None:
    """A GeoPackage, FlatGeobuf or GeoParquet file, through Arrow."""
    arrow = gis_package("pyarrow")
    wkt = regions.info.crs.to_wkt()
    schema = _schema(arrow)
    batches = (_table(arrow, schema, batch) for batch in regions)
    if path.suffix == PARQUET:
        parquet = gis_package("pyarrow.parquet")
        described = schema.with_metadata({"geo": json.dumps(_geo_metadata(wkt))})
        with parquet.ParquetWriter(path, described) as writer:
            for batch in batches:
                writer.write_batch(batch.replace_schema_metadata(described.metadata))
        return
    _write_by_gdal(path, arrow.RecordBatchReader.from_batches, schema, batches, wkt)
    written = gis_package("pyogrio").read_info(path, force_feature_count=True)["features"]
    if written != regions.counts.written:
        raise _not_whole(path, f"{written} of {regions.counts.written} regions in it")


def _write_by_gdal(path: Path, reader: Any, schema: Any, batches: Iterator[Any], wkt: str) -> None:
    """Hand batches on to GDAL one by one; what stops them is raised as it is, not as GDAL's."""
    pyogrio = gis_package("pyogrio")
    stopped: list[BaseException] = []

    def watched() -> Iterator[Any]:
        try:
            yield from batches
        except BaseException as error:  # Ctrl-C too: Arrow would swallow it
            stopped.append(error)
            raise

    path.unlink(missing_ok=True)  # GDAL makes the file
    try:
        pyogrio.write_arrow(
            reader(schema, watched()), path, driver=DRIVERS[path.suffix], layer=LAYER,
            geometry_name="geometry", geometry_type="Polygon", crs=wkt,
        )  # fmt: skip
    except Exception as error:
        if stopped:
            raise stopped[0] from None
        raise _not_whole(path, str(error)) from error


def _not_whole(path: Path, why: str) -> OSError:
    """A fault of the disk."""
    if shutil.disk_usage(path.parent).free < FULL:
        return OSError(errno.ENOSPC, "no space left on the disk", str(path.parent))
    return OSError(errno.EIO, f"polygons were not written whole ({why})", str(path))


def _schema(arrow: Any) -> Any:
    """Columns of a table of regions."""
    whole, number = arrow.int64(), arrow.float64()
    types = {
        "id": whole, "moment": arrow.int32(), "date": arrow.date32(), "interval": arrow.string(),
        "area_m2": number, "hectares": number, "perimeter_m": number, "pixels": whole,
        "mean_score": number, "geometry": arrow.binary(),
    }  # fmt: skip
    return arrow.schema(list(types.items()))


def _table(arrow: Any, schema: Any, batch: list[Region]) -> Any:
    """Regions as a record batch."""
    rows = [region.fields for region in batch]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    geometry = shapely.to_wkb([shape(region.polygon) for region in batch])
    return arrow.record_batch({**columns, "geometry": list(geometry)}, schema=schema)


def _geo_metadata(wkt: str) -> dict[str, Any]:
    """Description of the geometry, as GeoParquet 1.1 has it."""
    import pyproj

    column = {
        "encoding": "WKB", "geometry_types": ["Polygon"],
        "crs": pyproj.CRS.from_wkt(wkt).to_json_dict(),
    }  # fmt: skip
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
