"""The maps of an area over a web map, as map.html: change moment and score, on and off.

Made by folium (requirements-webmap.txt), for Leaflet. A browser that shows the page loads Leaflet
and the tiles below from the network, which learns by it where the area lies; so it is made only
where asked for. What lies across ±180° or beyond the web's Mercator is refused.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from data_processing.rasters.header import RasterInfo
from data_processing.rasters.reading import header_of, quiet, read_reduced
from mapping.products.files import PROBABILITY, SCORE
from mapping.products.stac import bounding_box, footprint
from mapping.products.styles import MapStyle, map_styles
from utils.codes import NO_DATA
from utils.errors import UserError, optional_package
from utils.files import atomic_path

__all__ = ["check_web_map", "write_web_map"]

WEB = "EPSG:3857"
NORTHMOST = 85.0  # degrees of latitude; the web's Mercator ends at 85.06
LONGEST = 1024  # pixels of the longer side of a layer
MOST_ENTRIES = 12  # of the legend; of more intervals the first and the last are named
IMAGES = "Esri.WorldImagery"


def check_web_map(grid: RasterInfo) -> None:
    """Make sure that a web map can be made, before hours go into what it shows.

    Raises:
        UserError: The package is missing, or the area lies where web maps end.
    """
    _folium()
    place = footprint(grid)
    if place is None:
        place_name = "images that do not say where on Earth they lie"
    else:
        west, south, east, north = bounding_box(place)
        if place["type"] == "Polygon" and max(north, -south) <= NORTHMOST:
            return
        place_name = f"an area of {west:g} … {east:g}° east, {south:g} … {north:g}° north"
    raise UserError(
        f"--web-map: found {place_name}, expected one within ±180° and ±{NORTHMOST:g}° north, "
        "where web maps show the Earth. Leave --web-map out; the others are made anywhere."
    )


def write_web_map(
    path: Path, folder: Path, shown: str, name: str, dates: Sequence[datetime.date]
) -> None:
    """Write the page.

    Args:
        path: The file.
        folder: Of the maps.
        shown: File of the map of classes that is shown, of moments or areas.
        name: Of the area.
        dates: T dates of the series.

    Raises:
        UserError: The package is missing.
        OSError: The file cannot be written.
    """
    folium = _folium()
    styles = map_styles(dates)
    classes = styles[Path(shown).stem]
    page = folium.Map(tiles=None, control_scale=True)
    # Leaflet alone: Bootstrap, jQuery and icons would come from four more hosts, for nothing
    page.default_js = [part for part in page.default_js if part[0] == "leaflet"]
    page.default_css = [part for part in page.default_css if part[0] == "leaflet_css"]
    folium.TileLayer("OpenStreetMap", name="map").add_to(page)
    folium.TileLayer(IMAGES, name="satellite image (not of these dates)", show=False).add_to(page)
    named, title = SCORE, "score, 50 and more"
    if (folder / PROBABILITY).is_file():
        named, title = PROBABILITY, "probability, 20 % and more"
    layers = (
        ("change", folder / shown, _table_of_classes(classes)),
        (title, folder / named, _table_of_amounts(styles[Path(named).stem])),
    )
    bounds: list[list[float]] = []
    for title, file, table in layers:
        pixels, bounds = _warped(file, table)
        folium.raster_layers.ImageOverlay(
            pixels, bounds, name=title, show=title == "change", opacity=0.85
        ).add_to(page)
    folium.Rectangle(bounds, color="#444444", weight=1, fill=False, control=False).add_to(page)
    folium.LayerControl(collapsed=False).add_to(page)
    page.fit_bounds(bounds)
    page.get_root().title = escape(name)
    page.get_root().html.add_child(folium.Element(_legend(name, classes)))
    with atomic_path(path) as partial:
        partial.write_text(page.get_root().render(), encoding="utf-8")


def _folium() -> Any:
    return optional_package("folium", "requirements-webmap.txt", "map.html (--web-map)")


def _warped(
    file: Path, table: Mapping[int, tuple[int, ...]]
) -> tuple[NDArray[np.uint8], list[list[float]]]:
    """A map in the web's Mercator, (H, W, 4), and its south-west and north-east corner.

    The map is reduced first, through its overviews, so that its size does not matter.
    """
    grid = header_of(file)
    values, _ = read_reduced(file, -(-max(grid.height, grid.width) // LONGEST))
    _, H, W = values.shape
    profile = {
        "driver": "GTiff", "count": 1, "dtype": "uint8", "height": H, "width": W, "crs": grid.crs,
        "transform": grid.transform @ Affine.scale(grid.width / W, grid.height / H),
        "nodata": NO_DATA,
    }  # fmt: skip
    with quiet(), MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(values)
        with memory.open() as raster, WarpedVRT(raster, crs=WEB) as warped:
            painted = warped.read(1, masked=True).filled(NO_DATA)
            west, south, east, north = transform_bounds(WEB, "EPSG:4326", *warped.bounds)
    lookup = np.zeros((256, 4), np.uint8)
    for value, color in table.items():
        lookup[value] = color
    return lookup[painted], [[south, west], [north, east]]


def _table_of_classes(style: MapStyle) -> dict[int, tuple[int, ...]]:
    return {value.value: (*value.color, value.opacity) for value in style.values}


def _table_of_amounts(style: MapStyle) -> dict[int, tuple[int, ...]]:
    """Colours between those of a ramp; transparent outside of it."""
    places = [value for value, _ in style.ramp]
    colors = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for _, color in style.ramp])
    return {
        value: (*(round(float(np.interp(value, places, band))) for band in colors.T), 255)
        for value in range(places[0], places[-1] + 1)
    }


def _legend(name: str, style: MapStyle) -> str:
    """A box with the area's name and the colours of the classes."""
    values = [value for value in style.values if value.opacity]
    if len(values) > MOST_ENTRIES:
        colors = ", ".join(_css(value.color) for value in values)
        entries = (
            f'<div style="height:14px;background:linear-gradient(90deg, {colors})"></div>'
            f"<div>{escape(values[0].text)}<br>… {escape(values[-1].text)}</div>"
        )
    else:
        entries = "".join(
            f'<div><span style="display:inline-block;width:14px;height:14px;margin-right:6px;'
            f'background:{_css(value.color)}"></span>{escape(value.text)}</div>'
            for value in values
        )
    return (
        '<div style="position:fixed;bottom:64px;left:10px;z-index:9999;background:white;'
        f'padding:8px 12px;font:13px sans-serif;max-width:60vw"><b>{escape(name)}</b>'
        f"{entries}</div>"
    )


def _css(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
