"""Polygons of a user in the formats of GIS programs, and the dates they hold."""

from __future__ import annotations

import datetime
import sqlite3
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import shapely
from rasterio.crs import CRS
from rasterio.transform import Affine

from data_processing.labels.own_labels import labels_from_polygons
from data_processing.labels.polygon_files import feature_dates, read_polygons
from data_processing.rasters.header import RasterInfo
from utils.errors import DataError, UserError

geopandas = pytest.importorskip("geopandas")

GRID = RasterInfo(
    20, 10, 1, "uint8", CRS.from_epsg(32633), Affine(10, 0, 500_000, 0, -10, 5_000_000), 255
)
DATES = [datetime.date(2019, month, 10) for month in (1, 4, 7)]
FORMATS = (".gpkg", ".fgb", ".parquet", ".shp", ".geojson")


def box(row: int, col: int, side: int = 3) -> Any:
    """A square of so many pixels of the grid."""
    left, top = GRID.transform @ (col, row)
    return shapely.box(left, top - 10 * side, left + 10 * side, top)


def frame(dates: Any, crs: Any = 32633) -> Any:
    """Squares of class 1 and 2, if they have the dates of these classes."""
    return geopandas.GeoDataFrame({"date": dates}, geometry=[box(1, 2), box(5, 12)], crs=crs)


def write(table: Any, path: Path) -> Path:
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_file(path)
    return path


def moment_of(path: Path, **options: Any) -> Any:
    given = {"date_field": "date", "event": "last", "all_touched": False, **options}
    return labels_from_polygons(path, DATES, GRID, **given).moment


def expected() -> Any:
    moment = np.zeros((10, 20), np.uint8)
    moment[1:4, 2:5], moment[5:8, 12:15] = 1, 2
    return moment


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("crs", [32633, 4326])
def test_labels_are_the_same_from_every_format(tmp_path: Path, suffix: str, crs: int) -> None:
    table = frame([datetime.date(2019, 4, 10), datetime.date(2019, 5, 1)]).to_crs(crs)
    path = write(table, tmp_path / f"changes{suffix}")
    np.testing.assert_array_equal(moment_of(path), expected())


def test_what_a_file_is_its_content_says(tmp_path: Path) -> None:
    path = write(frame(["2019-04-10", "2019-05-01"]), tmp_path / "changes.gpkg")
    np.testing.assert_array_equal(moment_of(path.rename(tmp_path / "changes.geojson")), expected())


@pytest.mark.parametrize(
    "dates",
    [
        ["2019-04-10", "2019-05-01"],
        ["20190410", "201905"],
        [20190410, 20190501],
        [1554854400000, 1556668800000.0],  # milliseconds since 1970, as ESRI has dates
        ["1554854400000", "1556668800000"],
        [pandas.Timestamp("2019-04-10 13:00"), pandas.Timestamp("2019-05-01", tz="UTC")],
    ],
)
def test_dates_are_read_as_programs_write_them(dates: list[Any]) -> None:
    features = [{"properties": {"date": date}} for date in dates]
    found = feature_dates(features, "date", "a.gpkg", [])
    assert found[0] == datetime.date(2019, 4, 10)
    assert (found[1].year, found[1].month) == (2019, 5)


def test_that_numbers_are_taken_as_milliseconds_is_said() -> None:
    said: list[str] = []
    features = [{"properties": {"date": value}} for value in (1554854400000, "2019-05-01")]
    feature_dates(features, "date", "a/b.gpkg", said)
    assert said == [
        "b.gpkg: 'date' of 1 polygons is taken as milliseconds since 1970, in UTC: "
        "2019-04-10 … 2019-05-01"
    ]


@pytest.mark.parametrize(
    "value",
    [
        1554854400,  # seconds
        201904101230, 20190410123000, 1e30, float("nan"), pandas.NaT, None, True, -1554854400000,
        "１５５４８５４４０００００",
    ],
)  # fmt: skip
def test_what_may_be_another_date_is_none(value: Any) -> None:
    with pytest.raises(DataError, match="in feature 0\n"):
        feature_dates([{"properties": {"date": value}}], "date", "a.gpkg", [])


def test_a_layer_that_is_not_the_only_one_and_a_file_without_a_system_are_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.gpkg"
    for layer in ("one", "two"):
        frame(["2019-04-10", "2019-05-01"]).to_file(path, layer=layer)
    with pytest.raises(DataError, match=r"found 2 layers of shapes \('one', 'two'\)"):
        read_polygons(path, GRID)
    path = write(frame(["2019-04-10", "2019-05-01"], crs=None), tmp_path / "b.shp")
    with pytest.raises(DataError, match="no coordinate system"):
        read_polygons(path, GRID)
    shifted = "+proj=tmerc +lon_0=15 +ellps=bessel +nadgrids=/a/file.gsb +units=m"
    path = write(frame(["2019-04-10", "2019-05-01"], crs=shifted), tmp_path / "c.gpkg")
    with pytest.raises(DataError, match="names a file of shifts"):
        read_polygons(path, GRID)


def test_a_database_that_is_no_geopackage_is_not_opened(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.gpkg") as database:
        database.execute("create table a (b)")
    with pytest.raises(DataError, match="found a database, expected a GeoPackage"):
        read_polygons(tmp_path / "a.gpkg", GRID)


@pytest.mark.parametrize("suffix", FORMATS[:4])
def test_damaged_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = write(frame(["2019-04-10", "2019-05-01"]), tmp_path / f"changes{suffix}")
    content = path.read_bytes()
    for damaged in (content[:90], content[:16] + bytes(len(content) - 16)):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"changes\\{suffix}: 1 fault found"):
            moment_of(path)


@pytest.mark.parametrize("suffix", FORMATS[:4])
def test_files_with_wrong_bytes_end_in_a_map_or_a_refusal(tmp_path: Path, suffix: str) -> None:
    path = write(frame(["2019-04-10", "2019-05-01"]), tmp_path / f"changes{suffix}")
    content, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(8):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(100, len(content), 5)
        damaged[places] = rng.integers(0, 256, 5)
        path.write_bytes(damaged.tobytes())
        try:
            assert set(np.unique(moment_of(path))) <= {0, 1, 2}
        except DataError as error:
            assert "expected" in str(error).lower() or "again" in str(error)  # noqa: PT017


def test_shapes_that_lie_beside_the_images_projection_are_refused(tmp_path: Path) -> None:
    table = frame(["2019-04-10"] * 2).set_geometry([shapely.box(10, 80, 20, 100)] * 2)
    with pytest.raises(DataError, match="no numbers"):
        moment_of(write(table.set_crs(4326, allow_override=True), tmp_path / "a.gpkg"))


def test_geometries_that_are_no_areas_give_no_change(tmp_path: Path) -> None:
    table = frame(["2019-04-10", "2019-05-01"])
    table.geometry = [None, shapely.Point(500_050, 4_999_950)]
    labels = labels_from_polygons(
        write(table, tmp_path / "a.gpkg"), DATES, GRID, "date", "last", False
    )
    assert not labels.moment.any()
    assert [found for found, _ in labels.gaps] == [
        "a.gpkg: null or empty geometries (1)", "a.gpkg: geometries of type Point (1)",
    ]  # fmt: skip


def test_a_missing_package_is_one_sentence_and_geojson_goes_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = frame(["2019-04-10", "2019-05-01"])
    path, text = (write(table, tmp_path / f"a{suffix}") for suffix in (".gpkg", ".geojson"))
    monkeypatch.setitem(sys.modules, "geopandas", None)
    np.testing.assert_array_equal(moment_of(text), expected())
    with pytest.raises(UserError, match=r"geopandas.*pip install -r requirements-gis\.txt"):
        moment_of(path)
