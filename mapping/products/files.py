"""Names of all files that a mapped area leaves: one list, so that none of an earlier run stays."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

__all__ = [
    "AREA",
    "DATE",
    "FILM",
    "ITEM",
    "MAPS",
    "MOMENT",
    "PICTURES",
    "POLYGONS",
    "PROBABILITY",
    "PRODUCTS",
    "QUICKLOOK",
    "REPORT",
    "SCORE",
    "STYLES",
    "SUMMARY",
    "WEB_MAP",
    "PolygonFile",
    "map_names",
]

AREA, MOMENT = "change_area.tif", "change_moment.tif"
DATE, SCORE = "change_date.tif", "change_score.tif"
PROBABILITY = "change_probability.tif"
MAPS = (MOMENT, DATE, AREA, SCORE, PROBABILITY)
PolygonFile = Literal["changes.geojson", "changes.gpkg", "changes.fgb", "changes.parquet"]
POLYGONS: tuple[PolygonFile, ...] = get_args(PolygonFile)
QUICKLOOK, FILM, REPORT = "quicklook.png", "series.gif", "report.html"
PICTURES = (REPORT, QUICKLOOK, FILM)
SUMMARY = "summary.json"
ITEM, WEB_MAP = "change.stac.json", "map.html"
STYLES = (  # that users may edit: no checksum is kept of them
    *(Path(name).with_suffix(".qml").name for name in MAPS),
    *(f"{name}.aux.xml" for name in MAPS),
)
PRODUCTS = (SUMMARY, *PICTURES, *MAPS, *STYLES, *POLYGONS, ITEM, WEB_MAP)


def map_names(moments: bool, probability: bool) -> list[str]:
    """Files of the maps of an area.

    Args:
        moments: Whether the network says when, or only whether something changed.
        probability: Whether its weights give a probability.
    """
    missing = set() if moments else {MOMENT, DATE}
    missing |= set() if probability else {PROBABILITY}
    return [name for name in MAPS if name not in missing]
