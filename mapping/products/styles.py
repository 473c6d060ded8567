"""Styles of maps in programs: QGIS (.qml), and what GDAL reads beside a raster (.aux.xml).

A map of dates is a raster of numbers; opened as such it is grey. A style beside it, under its name,
gives every value its colour and its dates as text, and leaves "unchanged" transparent so that the
map lies over an image. QGIS takes <name>.qml by itself; GDAL (ArcGIS, QGIS's tables, gdalinfo)
takes <name>.tif.aux.xml: names of the values and a table of value, text and colour.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mapping.products.rasters import date_number
from utils.files import atomic_path
from utils.pictures.colors import UNCHANGED_COLOR, moment_colors

__all__ = [
    "PROBABILITY_RAMP",
    "SCORE_RAMP",
    "MapStyle",
    "ValueStyle",
    "area_style",
    "map_styles",
    "write_styles",
]

DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
QGIS_VERSION = "3.28.0"  # of the form; later ones read it
SCORE_RAMP = ((50, "#fde0c5"), (65, "#f59e72"), (80, "#d04b6c"), (100, "#6a1f6e"))
PROBABILITY_RAMP = ((20, "#fde0c5"), (45, "#f59e72"), (70, "#d04b6c"), (100, "#6a1f6e"))
CHANGED = "changed"


class ValueStyle(NamedTuple):
    """One value of a map: what it is called and its colour; ``opacity`` 0 … 255."""

    value: int
    text: str
    color: tuple[int, int, int]
    opacity: int = 255


class MapStyle(NamedTuple):
    """Colours and names of one map.

    Attributes:
        values: Of a map of classes; empty for a map of amounts.
        ramp: Value, colour of a map of amounts; below the first one it is transparent.
    """

    values: Sequence[ValueStyle] = ()
    ramp: Sequence[tuple[int, str]] = ()


UNCHANGED = ValueStyle(0, "unchanged", UNCHANGED_COLOR, opacity=0)


def area_style(text: str = CHANGED) -> MapStyle:
    """Style of a map of unchanged and changed; ``text`` names the changed pixels."""
    return MapStyle([UNCHANGED, ValueStyle(1, text, _colors(2)[1])])


def map_styles(dates: Sequence[datetime.date]) -> dict[str, MapStyle]:
    """Styles of the maps, by name of the file without suffix.

    Args:
        dates: T dates of the series.
    """
    T = len(dates)
    colors = _colors(T)
    spans = [f"{dates[k - 1]} – {dates[k]}" for k in range(1, T)]
    moments = [ValueStyle(k, spans[k - 1], colors[k]) for k in range(1, T)]
    numbers = [
        ValueStyle(date_number(dates[k]), f"by {dates[k]} (after {dates[k - 1]})", colors[k])
        for k in range(1, T)
    ]
    return {
        "change_area": area_style(f"{CHANGED} {dates[0]} – {dates[-1]}"),
        "change_moment": MapStyle([UNCHANGED, *moments]),
        "change_date": MapStyle([UNCHANGED, *numbers]),
        "change_score": MapStyle(ramp=SCORE_RAMP),
        "change_probability": MapStyle(ramp=PROBABILITY_RAMP),
    }


def write_styles(folder: Path, styles: Mapping[str, MapStyle]) -> list[str]:
    """Write <name>.qml, and <name>.tif.aux.xml for maps of classes.

    Args:
        folder: Of the maps.
        styles: By name of the map; those whose map is not there are left out.

    Returns:
        Names of the files written.
    """
    written = []
    for name, style in styles.items():
        if not (folder / f"{name}.tif").is_file():
            continue
        texts = {folder / f"{name}.qml": qml_text(style)}
        if style.values:
            texts[folder / f"{name}.tif.aux.xml"] = aux_text(style.values)
        for path, text in texts.items():
            with atomic_path(path) as partial:
                partial.write_text(text, encoding="utf-8")
            written.append(path.name)
    return written


def qml_text(style: MapStyle) -> str:
    """A layer style of QGIS."""
    root = Element("qgis", version=QGIS_VERSION, styleCategories="Symbology")
    pipe = SubElement(root, "pipe")
    if style.values:
        renderer = SubElement(
            pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1",
            nodataColor="",
        )  # fmt: skip
        SubElement(renderer, "rasterTransparency")
        palette = SubElement(renderer, "colorPalette")
        for value, text, color, opacity in style.values:
            SubElement(
                palette, "paletteEntry", value=str(value), label=text, color=_hex(color),
                alpha=str(opacity),
            )  # fmt: skip
    else:
        _add_ramp(pipe, style.ramp)
    SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0")
    SubElement(pipe, "rasterresampler", maxOversampling="2")
    SubElement(root, "blendMode").text = "0"
    indent(root)
    return DOCTYPE + tostring(root, encoding="unicode") + "\n"


def _add_ramp(pipe: Element, ramp: Sequence[tuple[int, str]]) -> None:
    """A continuous colour scale, transparent below its first value."""
    low, high = ramp[0][0], ramp[-1][0]
    renderer = SubElement(
        pipe, "rasterrenderer", type="singlebandpseudocolor", band="1", opacity="1",
        alphaBand="-1", nodataColor="", classificationMin=str(low), classificationMax=str(high),
    )  # fmt: skip
    transparent = SubElement(SubElement(renderer, "rasterTransparency"), "singleValuePixelList")
    SubElement(transparent, "pixelListEntry", min="0", max=str(low - 1), percentTransparent="100")
    shader = SubElement(
        SubElement(renderer, "rastershader"), "colorrampshader", colorRampType="INTERPOLATED",
        classificationMode="1", clip="0", minimumValue=str(low), maximumValue=str(high),
    )  # fmt: skip
    for value, color in ramp:
        SubElement(shader, "item", value=str(value), label=str(value), color=color, alpha="255")


def aux_text(values: Sequence[ValueStyle]) -> str:
    """GDAL's file beside a raster: names of small values and a table of all."""
    root = Element("PAMDataset")
    band = SubElement(root, "PAMRasterBand", band="1")
    if max(style.value for style in values) < 256:
        names = SubElement(band, "CategoryNames")
        by_value = {style.value: style.text for style in values}
        for value in range(max(by_value) + 1):
            SubElement(names, "Category").text = by_value.get(value, "")
    table = SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # type 0 whole number, 2 text; usage 5 value, 2 name, 6…9 red, green, blue, alpha
    columns = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
    for index, (name, kind, usage) in enumerate((*columns, ("Alpha", 0, 9))):
        column = SubElement(table, "FieldDefn", index=str(index))
        for tag, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
            SubElement(column, tag).text = text
    for index, (value, text, color, opacity) in enumerate(values):
        row = SubElement(table, "Row", index=str(index))
        for cell in (value, text, *color, opacity):
            SubElement(row, "F").text = str(cell)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _colors(num_classes: int) -> list[tuple[int, int, int]]:
    return [(int(red), int(green), int(blue)) for red, green, blue in moment_colors(num_classes)]


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
