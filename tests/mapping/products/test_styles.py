"""Styles beside the maps, as QGIS and GDAL read them."""

from __future__ import annotations

import datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin

from data_processing.rasters.dates import UnknownDate
from mapping.products.styles import MapStyle, aux_text, map_styles, qml_text, write_styles

DATES = [datetime.date(2018 + k, 3, 5) for k in range(4)]


def entries(style: MapStyle) -> dict[int, dict[str, str]]:
    root = ElementTree.fromstring(qml_text(style).partition("\n")[2])
    return {int(e.attrib["value"]): dict(e.attrib) for e in root.iter("paletteEntry")}


def test_every_date_of_the_map_has_its_own_colour_and_text() -> None:
    shown = entries(map_styles(DATES)["change_date"])
    assert sorted(shown) == [0, 20190305, 20200305, 20210305]
    assert shown[20200305]["label"] == "by 2020-03-05 (after 2019-03-05)"
    assert len({entry["color"] for entry in shown.values()}) == len(shown)


def test_unchanged_lets_the_image_below_through_and_changes_do_not() -> None:
    for name in ("change_area", "change_moment", "change_date"):
        shown = entries(map_styles(DATES)[name])
        assert {value for value, entry in shown.items() if entry["alpha"] == "0"} == {0}


def test_scores_below_half_are_transparent() -> None:
    root = ElementTree.fromstring(qml_text(map_styles(DATES)["change_score"]).partition("\n")[2])
    (hidden,) = root.iter("pixelListEntry")
    assert (hidden.attrib["min"], hidden.attrib["max"]) == ("0", "49")
    assert [item.attrib["value"] for item in root.iter("item")] == ["50", "65", "80", "100"]


def test_names_of_images_are_data_not_markup() -> None:
    pair = [UnknownDate(0, 'a"<b>&.tif'), UnknownDate(1, "b]]>.tif")]
    for style in map_styles(pair).values():
        ElementTree.fromstring(qml_text(style).partition("\n")[2])
        if style.values:
            root = ElementTree.fromstring(aux_text(style.values))
            assert root.findtext(".//Row/F[2]") == "unchanged"


def test_gdal_reads_values_and_names_beside_the_raster(tmp_path: Path) -> None:
    for name in ("change_moment", "change_date"):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", width=2, height=2, count=1,
            dtype="int32", crs="EPSG:32633", transform=from_origin(0, 20, 10, 10),
        ) as raster:  # fmt: skip
            raster.write(np.zeros((1, 2, 2), np.int32))
    written = write_styles(tmp_path, map_styles(DATES))
    assert sorted(written) == [
        "change_date.qml", "change_date.tif.aux.xml", "change_moment.qml",
        "change_moment.tif.aux.xml",
    ]  # fmt: skip
    for name, names in (("change_moment", 4), ("change_date", 0)):  # names of small values only
        rasterio.shutil.copy(tmp_path / f"{name}.tif", tmp_path / f"{name}.vrt", driver="VRT")
        band = ElementTree.parse(tmp_path / f"{name}.vrt").getroot().find("VRTRasterBand")
        assert band is not None  # what GDAL understood of the file
        assert len(band.findall("CategoryNames/Category")) == names
        assert len(band.findall("GDALRasterAttributeTable/Row")) == 4
    with rasterio.open(tmp_path / "change_date.tif") as raster:
        assert raster.read(1).tolist() == [[0, 0], [0, 0]]
        assert any(path.endswith(".aux.xml") for path in raster.files)


@pytest.mark.parametrize("count", [2, 3, 60, 255])
def test_any_number_of_dates_has_a_style(count: int) -> None:
    dates = [datetime.date(2000, 1, 1) + datetime.timedelta(days=16 * k) for k in range(count)]
    assert len(entries(map_styles(dates)["change_moment"])) == count
