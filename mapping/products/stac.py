"""The maps of an area as a STAC item: where, when, and what each file holds, for catalogues.

Follows STAC 1.1 with the extensions projection, classification and file. Written by hand, since
pystac brings 24 packages for what is one JSON document; tests check it by pystac's own schemas.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyproj
import shapely
from rasterio._err import CPLE_BaseError
from shapely.geometry import mapping, shape

from data_processing.rasters.dates import UnknownDate
from data_processing.rasters.header import RasterInfo
from mapping.products.files import FILM, QUICKLOOK, REPORT, SUMMARY
from mapping.products.ground_area import PixelAreas
from mapping.products.lon_lat import on_earth
from mapping.products.styles import MapStyle, map_styles
from utils.errors import UserError

__all__ = ["bounding_box", "footprint", "stac_item"]

EXTENSIONS = "https://stac-extensions.github.io/"
GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"
MEDIA_TYPES = {
    ".tif": GEOTIFF,
    ".geojson": "application/geo+json",
    ".gpkg": "application/geopackage+sqlite3",
    ".fgb": "application/vnd.flatgeobuf",
    ".parquet": "application/vnd.apache.parquet",
    ".html": "text/html",
}
OTHERS = {  # file → media type, roles
    QUICKLOOK: ("image/png", ["overview"]),
    FILM: ("image/gif", ["overview"]),
    REPORT: ("text/html", ["metadata"]),
    SUMMARY: ("application/json", ["metadata"]),
}
TITLES = {
    "change_area": "Change area: 0 unchanged, 1 changed",
    "change_moment": "Change moment: 0 unchanged, k changed in interval k",
    "change_date": "First date on which the change is seen, yyyymmdd",
    "change_score": "Change score, 50 and more where changed; it ranks pixels and is no "
    "calibrated probability",
    "change_probability": "Probability of change in percent, calibrated",
    "changes": "Changed regions",
    "map": "Maps over a web map",
}
PARTS = 8  # of a side of the footprint, which is bent in longitude and latitude


def stac_item(
    summary: Mapping[str, Any], grid: RasterInfo, dates: Sequence[datetime.date]
) -> dict[str, Any] | None:
    """The item of an area.

    Args:
        summary: Content of summary.json, with checksums of its ``outputs``.
        grid: Header of the maps.
        dates: T dates of the series.

    Returns:
        JSON; None where images have no dates, which STAC wants.
    """
    if any(isinstance(date, UnknownDate) for date in dates):
        return None
    place = footprint(grid)
    extent = {} if place is None else {"bbox": bounding_box(place)}
    styles = map_styles(dates)
    assets = {
        Path(name).stem if name.endswith(".tif") else name: _asset(name, facts, styles)
        for name, facts in summary["outputs"].items()
    }
    for name, (media_type, roles) in OTHERS.items():
        assets[name] = {"href": f"./{name}", "type": media_type, "roles": roles}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            f"{EXTENSIONS}{name}/schema.json"
            for name in ("projection/v2.0.0", "classification/v2.0.0", "file/v2.1.0")
        ],
        "id": summary["area"],
        "geometry": place,
        **extent,
        "properties": {
            "title": f"Changes of {summary['area']}, {dates[0]} – {dates[-1]}",
            "datetime": None,
            "start_datetime": f"{dates[0]}T00:00:00Z",
            "end_datetime": f"{dates[-1]}T23:59:59Z",
            **_projection(grid),
        },
        "links": [],
        "assets": assets,
    }


def footprint(grid: RasterInfo) -> dict[str, Any] | None:
    """The outline of a raster in longitude and latitude as GeoJSON has it; cut at ±180°.

    None where it does not lie on the Earth, or parts of it do not.
    """
    if not PixelAreas(grid).ellipsoidal:
        return None
    H, W = grid.height, grid.width
    corners = [grid.transform @ corner for corner in ((0, 0), (W, 0), (W, H), (0, H))]
    outline = shapely.Polygon(corners)
    side = max(outline.exterior.length / (4 * PARTS), 1e-12)
    try:
        (place,) = on_earth([mapping(shapely.segmentize(outline, side))], grid.crs, side)
    except (CPLE_BaseError, UserError):
        return None
    # as JSON has it: lists
    return {"type": place["type"], "coordinates": _lists(place["coordinates"])}


def bounding_box(place: Mapping[str, Any]) -> list[float]:
    """West, south, east, north of a footprint; west is larger than east across ±180°."""
    west, south, east, north = shape(place).bounds
    parts = [part.bounds for part in shapely.get_parts(shape(place))]
    split = [part for part in parts if (part[0] > -180) != (part[2] < 180)]
    if len(parts) > 1 and len(split) == len(parts):
        west = min(part[0] for part in parts if part[0] > -180)
        east = max(part[2] for part in parts if part[2] < 180)
    return [west, south, east, north]


def _projection(grid: RasterInfo) -> dict[str, Any]:
    """Fields of the projection extension."""
    if grid.crs is None:
        return {"proj:code": None, "proj:shape": [grid.height, grid.width]}
    authority = grid.crs.to_authority()
    system: dict[str, Any] = (
        {"proj:code": ":".join(authority)}
        if authority
        else {"proj:projjson": pyproj.CRS.from_wkt(grid.crs.to_wkt()).to_json_dict()}
    )
    return {
        **system,
        "proj:shape": [grid.height, grid.width],
        "proj:transform": list(grid.transform)[:6],
    }


def _asset(name: str, facts: Mapping[str, Any], styles: Mapping[str, MapStyle]) -> dict[str, Any]:
    """One file of the results."""
    path = Path(name)
    asset: dict[str, Any] = {
        "href": f"./{name}",
        "type": MEDIA_TYPES[path.suffix],
        "title": TITLES[path.stem],
        "roles": ["data"],
        "file:size": facts["bytes"],
        "file:checksum": f"1220{facts['sha256']}",  # multihash: SHA-256, 32 bytes
    }
    if path.suffix != ".tif":
        return asset
    is_date = path.stem == "change_date"
    asset |= {
        "data_type": "int32" if is_date else "uint8",
        "nodata": -1 if is_date else 255,
    }
    if path.stem == "change_probability":
        asset["unit"] = "%"
    values = styles[path.stem].values
    if values:
        asset["classification:classes"] = [
            {
                "value": style.value,
                "name": "unchanged" if style.value == 0 else f"changed_{style.value}",
                "description": style.text,
                "color_hint": "{:02X}{:02X}{:02X}".format(*style.color),
            }
            for style in values
        ]
    return asset


def _lists(coordinates: Any) -> Any:
    return (
        [_lists(part) for part in coordinates]
        if isinstance(coordinates, tuple | list)
        else (coordinates)
    )
