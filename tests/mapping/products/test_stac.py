"""The STAC item beside the maps: valid without a network, and true."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine

from data_processing.rasters.dates import UnknownDate
from data_processing.rasters.header import RasterInfo
from mapping.products.files import MAPS, POLYGONS, WEB_MAP
from mapping.products.stac import bounding_box, footprint, stac_item

DATES = [datetime.date(2019 + k, 6, 15) for k in range(3)]
UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
SUMMARY = {
    "area": "Old town",
    "outputs": {
        name: {"bytes": 12, "sha256": "ab" * 32} for name in (*MAPS, *POLYGONS, WEB_MAP)
    },
}  # fmt: skip


def grid(crs: str | None, transform: Affine = UTM, size: tuple[int, int] = (30, 40)) -> RasterInfo:
    system = None if crs is None else CRS.from_user_input(crs)
    return RasterInfo(size[1], size[0], 1, "uint8", system, transform, 255)


def item(info: RasterInfo, dates: Any = DATES) -> Any:
    return json.loads(json.dumps(stac_item(SUMMARY, info, dates)))


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32633", UTM),
        (None, UTM),
        ("+proj=aea +lat_1=40 +lat_2=50 +lon_0=15", Affine(10, 0, 0, 0, -10, 5_000_000)),
        ("EPSG:32660", Affine(10_000, 0, 720_000, 0, -10_000, 1_000_000)),
    ],
)
def test_the_item_is_what_the_specification_asks_for(crs: str | None, transform: Affine) -> None:
    pystac = pytest.importorskip("pystac")
    validator = pytest.importorskip("pystac.validation.stac_validator")
    found = item(grid(crs, transform))
    check = validator.JsonSchemaSTACValidator()
    assert "item.json" in check.validate_core(found, pystac.STACObjectType.ITEM, "1.1.0")
    read = pystac.Item.from_dict(found)
    assert set(read.assets) >= {"change_moment", "changes.gpkg", "summary.json"}
    assert read.common_metadata.end_datetime.date() == DATES[-1]
    assert (read.geometry is None) == (crs is None)


def test_assets_say_what_their_values_mean_and_which_file_they_are() -> None:
    asset = item(grid("EPSG:32633"))["assets"]["change_date"]
    assert asset["href"] == "./change_date.tif"
    assert (asset["data_type"], asset["nodata"]) == ("int32", -1)
    assert asset["file:checksum"] == "1220" + "ab" * 32
    assert asset["classification:classes"][1] == {
        "value": 20200615,
        "name": "changed_20200615",
        "description": "by 2020-06-15 (after 2019-06-15)",
        "color_hint": asset["classification:classes"][1]["color_hint"],
    }
    assert "classification:classes" not in item(grid("EPSG:32633"))["assets"]["change_score"]


def test_systems_are_named_or_described() -> None:
    assert item(grid("EPSG:32633"))["properties"]["proj:code"] == "EPSG:32633"
    described = item(grid("+proj=aea +lat_1=40 +lat_2=50 +lon_0=15"))["properties"]
    assert described["proj:projjson"]["type"] == "ProjectedCRS"
    assert item(grid(None))["properties"]["proj:code"] is None


def test_across_180_degrees_west_is_larger_than_east() -> None:
    place = footprint(grid("EPSG:4326", Affine(0.1, 0, 178.5, 0, -0.1, 10)))
    assert place is not None
    assert place["type"] == "MultiPolygon"
    assert bounding_box(place) == pytest.approx([178.5, 7, -177.5, 10])
    around = footprint(grid("EPSG:3413", Affine(1000, 0, -15_000, 0, -1000, 15_000)))
    assert around is not None
    west, _, east, north = bounding_box(around)
    assert (west, east, north) == (-180, 180, 90)


def test_images_without_dates_have_no_item() -> None:
    assert stac_item(SUMMARY, grid(None), [UnknownDate(0, "a"), UnknownDate(1, "b")]) is None
