"""Changed regions as files: which regions, their true sizes, and polygons GIS programs accept."""

from __future__ import annotations

import datetime
import errno
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.transform import Affine
from rasterio.warp import transform_geom
from shapely import intersects_xy
from shapely.geometry import shape

from data_processing.rasters.dates import UnknownDate
from data_processing.rasters.header import RasterInfo
from mapping.products.ground_area import PixelAreas
from mapping.products.polygons import check_formats, write_polygons
from mapping.products.regions import ChangedRegions, PolygonCounts
from tests.helpers.small_disk import small_disk
from utils.errors import UserError

DATES = [datetime.date(2019 + number, 6, 15) for number in range(4)]
UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
MERCATOR = Affine(10, 0, 1_000_000, 0, -10, 8_400_000)  # at 60° north
PIXEL = 100 / 0.9996**2  # m² of a pixel of UTM

Map = NDArray[np.uint8]


def grid(moment: Map, crs: str | None = "EPSG:32633", transform: Affine = UTM) -> RasterInfo:
    height, width = moment.shape
    system = None if crs is None else CRS.from_user_input(crs)
    return RasterInfo(width, height, 1, "uint8", system, transform, 255)


def regions(
    moment: Map, info: RasterInfo | None = None, dates: Any = DATES, **options: Any
) -> ChangedRegions:
    """Of a map whose score is 50 in its first half of rows and 100 in its second."""
    score = np.full(moment.shape, 50, dtype=np.uint8)
    score[len(moment) // 2 :] = 100
    return ChangedRegions(moment, score, info or grid(moment), dates, **options)


def write(path: Path, moment: Map, info: RasterInfo | None = None, **options: Any) -> Any:
    """The features of a map's file, once the file is one that GeoJSON readers take."""
    counts = write_polygons(path / "p.geojson", regions(moment, info, **options))
    collection = json.loads((path / "p.geojson").read_text(encoding="utf-8"))
    assert set(collection) == {"type", "features"}
    assert collection["type"] == "FeatureCollection"
    assert len(collection["features"]) == counts.written
    return collection["features"]


def square_map() -> Map:
    """A square of moment 2, 10 pixels wide, with a hole of 3."""
    moment = np.zeros((30, 40), dtype=np.uint8)
    moment[5:15, 8:18] = 2
    moment[8:11, 11:14] = 0
    return moment


def noisy_map(seed: int = 0) -> Map:
    rng = np.random.default_rng(seed)
    moment = rng.integers(1, 4, (80, 70)) * (rng.random((80, 70)) < 0.6)
    moment[:5, :9] = 255
    return moment.astype(np.uint8)


def drawn(features: Any, info: RasterInfo) -> Map:
    """The map that polygons give when they are carried back to its grid."""
    placed = [
        (transform_geom("EPSG:4326", info.crs, feature["geometry"]), feature["properties"])
        for feature in features
    ]
    shapes = [(geometry, properties["moment"]) for geometry, properties in placed]
    found: Map = rasterize(
        shapes, (info.height, info.width), transform=info.transform, dtype="uint8"
    )
    return found


def turned_area(ring: Any) -> float:
    """m² inside a ring in degrees, negative where it runs clockwise."""
    lon, lat = np.array(ring[:-1]).T
    return float(pyproj.Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0])


def ground(geometry: Any) -> float:
    """m² of a geometry with counter-clockwise outer rings and clockwise holes."""
    parts = geometry["coordinates"]
    rings = parts if geometry["type"] == "Polygon" else [ring for part in parts for ring in part]
    return sum(turned_area(ring) for ring in rings)


def test_a_region_says_when_it_changed_and_how_large_it_is(tmp_path: Path) -> None:
    (feature,) = write(tmp_path, square_map())
    assert feature["type"] == "Feature"
    assert feature["id"] == 1
    assert feature["properties"] == {
        "id": 1,
        "moment": 2,
        "date": "2021-06-15",
        "interval": "2020-06-15/2021-06-15",
        "area_m2": pytest.approx(91 * PIXEL, rel=1e-6),
        "hectares": pytest.approx(91 * PIXEL / 1e4, rel=1e-6),
        "perimeter_m": pytest.approx(520 / 0.9996, rel=1e-4),  # around the hole, too
        "pixels": 91,
        "mean_score": 50,
    }
    (lower,) = write(tmp_path, np.roll(square_map(), 6, axis=0))
    # rows 11…14 with three pixels of the hole lie in the first half
    assert lower["properties"]["mean_score"] == round((37 * 50 + 54 * 100) / 91, 2)


def test_rings_turn_as_geojson_wants_and_holes_stay(tmp_path: Path) -> None:
    for transform in (UTM, Affine(10, 0, 500_000, 0, 10, 5_000_000)):  # north up, south up
        moment = square_map()
        (feature,) = write(tmp_path, moment, grid(moment, transform=transform))
        outer, hole = feature["geometry"]["coordinates"]
        turns = [turned_area(outer), turned_area(hole)]
        assert turns == pytest.approx([100 * PIXEL, -9 * PIXEL], rel=1e-3)
        assert outer[0] == outer[-1]
        assert hole[0] == hole[-1]


@pytest.mark.parametrize("connectivity", [4, 8])
def test_polygons_drawn_back_are_the_map(tmp_path: Path, connectivity: int) -> None:
    moment = noisy_map()
    features = write(tmp_path, moment, connectivity=connectivity)
    expected = np.where(moment == 255, 0, moment)
    np.testing.assert_array_equal(drawn(features, grid(moment)), expected)


@pytest.mark.parametrize(("crs", "transform"), [("EPSG:32633", UTM), ("EPSG:3857", MERCATOR)])
def test_areas_of_polygons_add_up_to_their_pixels(
    tmp_path: Path, crs: str, transform: Affine
) -> None:
    moment = noisy_map()
    info = grid(moment, crs, transform)
    features = write(tmp_path, moment, info)
    found = sum(feature["properties"]["area_m2"] for feature in features)
    changed = (moment > 0) & (moment < 255)
    assert found == pytest.approx(PixelAreas(info).rows(0, 80)[changed].sum(), rel=1e-6)
    assert sum(feature["properties"]["pixels"] for feature in features) == changed.sum()
    assert sum(ground(feature["geometry"]) for feature in features) == pytest.approx(
        found, rel=1e-4
    )


def test_small_regions_are_left_out_by_the_ground_they_cover(tmp_path: Path) -> None:
    moment = np.zeros((20, 20), dtype=np.uint8)
    moment[2:4, 2:4] = 1  # 400 m² on the plane, and in Web Mercator 100 m² on the ground
    moment[8:12, 8:12] = 1  # 400 m² on the ground
    info = grid(moment, "EPSG:3857", MERCATOR)
    path = tmp_path / "p.geojson"
    assert write_polygons(path, regions(moment, info, min_area_m2=150)) == PolygonCounts(1, 1)
    assert write_polygons(path, regions(moment, info, min_area_m2=99)) == PolygonCounts(2, 0)
    assert write_polygons(path, regions(moment, min_area_m2=400)) == PolygonCounts(2, 0)
    assert write_polygons(path, regions(moment, info, min_area_m2=1e6)) == PolygonCounts(0, 2)


def test_touching_moments_are_regions_of_their_own(tmp_path: Path) -> None:
    moment = np.zeros((10, 10), dtype=np.uint8)
    moment[2:6, 2:5], moment[2:6, 5:8] = 3, 1
    features = write(tmp_path, moment)
    assert [f["properties"]["moment"] for f in features] == [1, 3]
    assert [f["properties"]["id"] for f in features] == [1, 2]
    assert [f["properties"]["date"] for f in features] == ["2020-06-15", "2022-06-15"]


@pytest.mark.parametrize(("connectivity", "regions"), [(4, 2), (8, 1)])
def test_corners_join_regions_only_if_asked_for(
    tmp_path: Path, connectivity: int, regions: int
) -> None:
    moment = np.zeros((10, 10), dtype=np.uint8)
    moment[2:4, 2:4] = moment[4:6, 4:6] = 1
    features = write(tmp_path, moment, connectivity=connectivity)
    assert len(features) == regions
    assert sum(f["properties"]["pixels"] for f in features) == 8


def test_regions_taken_in_parts_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = noisy_map()[:, :30]
    info = grid(moment, "EPSG:3857", MERCATOR)
    at_once = write(tmp_path, moment, info)
    monkeypatch.setattr("mapping.products.regions.BATCH", 20)
    monkeypatch.setattr("mapping.products.regions.BLOCK_PIXELS", 7 * 30)
    assert write(tmp_path, moment, info) == at_once


@pytest.mark.parametrize("value", [0, 255])
def test_a_map_without_change_gives_an_empty_collection(tmp_path: Path, value: int) -> None:
    assert write(tmp_path, np.full((5, 6), value, dtype=np.uint8)) == []


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:4326", Affine(0.1, 0, 178.5, 0, -0.1, 10)),
        ("EPSG:4326", Affine(0.1, 0, -181.5, 0, -0.1, 10)),
        ("EPSG:32660", Affine(10_000, 0, 720_000, 0, -10_000, 1_000_000)),
    ],
)
def test_regions_across_the_antimeridian_are_cut_there(
    tmp_path: Path, crs: str, transform: Affine
) -> None:
    moment = np.zeros((30, 40), dtype=np.uint8)
    moment[5:15, 5:25] = 1
    moment[8:10, 7:9] = 0
    (feature,) = write(tmp_path, moment, grid(moment, crs, transform))
    geometry = feature["geometry"]
    assert geometry["type"] == "MultiPolygon"
    longitudes = [[x for ring in part for x, _ in ring] for part in geometry["coordinates"]]
    assert sorted(max(part) - min(part) < 3 for part in longitudes) == [True, True]
    assert max(abs(x) for part in longitudes for x in part) == 180
    assert ground(geometry) == pytest.approx(feature["properties"]["area_m2"], rel=1e-3)


def test_degrees_from_0_to_360_become_west_and_east_where_they_can(tmp_path: Path) -> None:
    moment = np.zeros((20, 36), dtype=np.uint8)
    moment[2, :], moment[5:7, 30:32] = 1, 2  # around the globe; 300…320 degrees
    around, west = write(tmp_path, moment, grid(moment, "EPSG:4326", Affine(10, 0, 0, 0, -9, 90)))
    assert {x for x, _ in around["geometry"]["coordinates"][0]} >= {-180, 180}
    assert {x for x, _ in west["geometry"]["coordinates"][0]} == {-60, -40}


POLAR = ("EPSG:3413", "EPSG:3031")
ON_180 = [
    ("EPSG:3857", Affine(10, 0, 20037508.34 - 200, 0, -10, -1_860_000)),
    ("EPSG:3857", Affine(10, 0, -20037508.34 - 200, 0, -10, 8_000_000)),
    ("EPSG:3395", Affine(10, 0, 20037508.34 - 200, 0, -10, -1_860_000)),
    ("EPSG:6933", Affine(10, 0, 17367530.44 - 200, 0, -10, -2_000_000)),
    ("EPSG:3832", Affine(10, 0, 3_339_584 - 200, 0, -10, -2_000_000)),
    ("EPSG:4326", Affine(0.1, 0, 538.5, 0, -0.1, 10)),
    ("EPSG:4326", Affine(0.1, 0, 358.5, 0, -0.1, 10)),
    ("EPSG:3413", Affine(1000, 0, -1_020_000, 0, -1000, 1_020_000)),
    ("EPSG:3031", Affine(1000, 0, -20_000, 0, -1000, -1_000_000)),
    *((crs, Affine(1000, 0, -15_000, 0, -1000, 9_500)) for crs in POLAR),  # pole in a region
    *((crs, Affine(1000, 0, -7_500, 0, -1000, 9_000)) for crs in POLAR),  # … in a hole
    *((crs, Affine(1000, 0, -5_000, 0, -1000, 5_000)) for crs in POLAR),  # … at a corner
    *((crs, Affine(1000, 0, -5_000, 0, -1000, 10_000)) for crs in POLAR),  # … on an edge
]


@pytest.mark.parametrize(("crs", "transform"), ON_180)
def test_polygons_anywhere_hold_the_pixels_of_their_region_and_no_others(
    tmp_path: Path, crs: str, transform: Affine
) -> None:
    moment = np.zeros((30, 40), dtype=np.uint8)
    moment[5:15, 5:25], moment[15:20, 15:25] = 1, 2
    moment[8:10, 7:9] = 0
    info = grid(moment, crs, transform)
    features = write(tmp_path, moment, info)
    rows, cols = np.indices(moment.shape).reshape(2, -1)
    x, y = transform @ (cols + 0.5, rows + 0.5)
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(x, y)
    lon = (np.array(lon) + 180) % 360 - 180
    found = np.zeros(moment.size, np.uint8)
    for feature in features:
        shown = shape(feature["geometry"])
        assert shown.is_valid
        assert (shown.bounds[0] >= -180, shown.bounds[2] <= 180) == (True, True)
        assert ground(feature["geometry"]) == pytest.approx(
            feature["properties"]["area_m2"], rel=1e-3
        )
        found[intersects_xy(shown, lon, np.array(lat))] = feature["properties"]["moment"]
    np.testing.assert_array_equal(found.reshape(moment.shape), moment)


def test_degrees_have_seven_decimals(tmp_path: Path) -> None:
    features = write(tmp_path, noisy_map())
    numbers = [
        x for f in features for ring in f["geometry"]["coordinates"] for p in ring for x in p
    ]
    assert all(round(number, 7) == number for number in numbers)
    assert any(round(number, 6) != number for number in numbers)


@pytest.mark.parametrize("crs", [None, 'LOCAL_CS["site",UNIT["metre",1]]'])
def test_a_map_without_a_place_is_refused(tmp_path: Path, crs: str | None) -> None:
    moment = square_map()
    with pytest.raises(UserError, match="says where on Earth"):
        write(tmp_path, moment, grid(moment, crs))
    assert not list(tmp_path.iterdir())


def test_a_change_beside_the_globe_is_refused(tmp_path: Path) -> None:
    moment = np.ones((20, 20), dtype=np.uint8)
    beyond = Affine(1_900_000, 0, -19e6, 0, -950_000, 9.5e6)
    with pytest.raises(UserError, match="no longitude and latitude"):
        write(tmp_path, moment, grid(moment, "+proj=moll", beyond))
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_the_map_is_refused() -> None:
    moment = square_map()
    with pytest.raises(ValueError, match=r"found moments \[2\], expected 0…1 for 2 dates"):
        regions(moment, dates=DATES[:2])
    with pytest.raises(ValueError, match=r"shape \(29, 40\)"):
        regions(moment[1:], grid(moment))
    with pytest.raises(ValueError, match="areas of 30 × 39 pixels"):
        regions(moment, areas=PixelAreas(grid(moment[:, 1:])))
    for smallest in (-1.0, float("nan")):
        with pytest.raises(UserError, match="expected 0 or more"):
            regions(moment, min_area_m2=smallest)


def test_an_interrupted_file_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    write(tmp_path, square_map())
    before = (tmp_path / "p.geojson").read_bytes()
    monkeypatch.setattr("mapping.products.lon_lat.transform_geom", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, noisy_map())
    assert [path.name for path in tmp_path.iterdir()] == ["p.geojson"]
    assert (tmp_path / "p.geojson").read_bytes() == before


# ------------------------------------------------------------------- formats of GIS programs

TABLES = (".gpkg", ".fgb", ".parquet")


def table(path: Path) -> Any:
    """Rows by id, as GeoPandas reads them."""
    geopandas = pytest.importorskip("geopandas")
    read = geopandas.read_parquet if path.suffix == ".parquet" else geopandas.read_file
    return read(path).sort_values("id", ignore_index=True)


@pytest.mark.parametrize("suffix", TABLES)
def test_other_formats_hold_the_same_regions_on_the_pixels_of_the_map(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = noisy_map()[:40, :30]
    properties = [feature["properties"] for feature in write(tmp_path, moment)]
    monkeypatch.setattr("mapping.products.regions.BATCH", 20)
    path = tmp_path / f"changes{suffix}"
    counts = write_polygons(path, regions(moment))
    frame = table(path)
    assert (counts.written, frame.crs.to_epsg()) == (len(frame), 32633)
    assert (frame.geom_type == "Polygon").all()
    frame["date"] = [str(date)[:10] for date in frame["date"]]
    assert frame.drop(columns="geometry").to_dict("records") == properties
    shapes = zip(frame.geometry, frame.moment, strict=True)
    found = rasterize(shapes, moment.shape, transform=UTM, dtype="uint8")
    np.testing.assert_array_equal(found, np.where(moment == 255, 0, moment))
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, "p.geojson"]


@pytest.mark.parametrize("suffix", TABLES)
def test_a_map_without_change_is_a_table_without_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"changes{suffix}"
    assert write_polygons(path, regions(np.zeros((5, 6), dtype=np.uint8))) == PolygonCounts(0, 0)
    assert len(table(path)) == 0


@pytest.mark.parametrize("suffix", [".geojson", *TABLES])
def test_images_without_dates_give_no_date(tmp_path: Path, suffix: str) -> None:
    moment = (square_map() > 0).astype(np.uint8)
    path = tmp_path / f"changes{suffix}"
    pair = [UnknownDate(0, "before.tif"), UnknownDate(1, "after.tif")]
    write_polygons(path, regions(moment, dates=pair))
    if suffix == ".geojson":
        (feature,) = json.loads(path.read_text())["features"]
        assert (feature["properties"]["date"], feature["properties"]["interval"]) == (
            None, "before.tif/after.tif",
        )  # fmt: skip
    else:
        assert table(path)["date"].isna().all()


@pytest.mark.parametrize("suffix", TABLES)
def test_an_interruption_while_gdal_writes_leaves_nothing(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mapping.products.regions.BATCH", 20)
    calls = iter([lambda *_: None] * 2)

    def interrupted(*_: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return np.ones(20)

    monkeypatch.setattr(PixelAreas, "perimeters", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_polygons(tmp_path / f"changes{suffix}", regions(noisy_map()))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said_to_be_full_and_nothing_stays_on_it(tmp_path: Path) -> None:
    made = regions(noisy_map())
    with small_disk(tmp_path / "disk", 64) as disk:
        for suffix in (".geojson", *TABLES):
            with pytest.raises(OSError, match="o space left") as caught:
                write_polygons(disk / f"changes{suffix}", made)
            assert caught.value.errno == errno.ENOSPC
            assert not list(disk.iterdir())


def test_a_missing_package_is_one_sentence_and_geojson_goes_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    check_formats(["changes.geojson"])
    check_formats(["changes.parquet"])
    with pytest.raises(UserError, match=r"pyogrio.*pip install -r requirements-gis\.txt"):
        check_formats(["changes.geojson", "changes.gpkg"])
    assert len(write(tmp_path, square_map())) == 1
