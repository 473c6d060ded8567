"""Footprints of GeoJSON files on the grid of an image (data_processing/labels/footprints.py)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform_geom

from data_processing.labels.footprints import Footprints, rasterise_footprints, read_features
from data_processing.rasters.reading import RasterInfo
from utils.errors import DataError

PLACE = Affine(4.8, 0, -8_000_000, 0, -4.8, 5_000_000)
GRID = RasterInfo(40, 30, 4, "uint8", CRS.from_epsg(3857), PLACE, None)


def polygon(row: int, col: int, size: int = 6) -> dict[str, Any]:
    """A square in the coordinates of the grid."""
    corners = [(col, row), (col + size, row), (col + size, row + size), (col, row + size)]
    return {
        "type": "Polygon",
        "coordinates": [[list(PLACE @ (float(x), float(y))) for x, y in [*corners, corners[0]]]],
    }


def collection(*geometries: Any, crs: str | None = None, ids: Any = None) -> bytes:
    ids = ids or range(1, len(geometries) + 1)
    features = [
        {"type": "Feature", "properties": {"Id": number}, "geometry": geometry}
        for number, geometry in zip(ids, geometries, strict=True)
    ]
    content: dict[str, Any] = {"type": "FeatureCollection", "features": features}
    if crs:
        content["crs"] = {"type": "name", "properties": {"name": crs}}
    return json.dumps(content).encode()


def draw(content: bytes, **options: Any) -> Footprints:
    return rasterise_footprints(content, "labels.geojson", GRID, **options)


@pytest.mark.parametrize(
    ("epsg", "crs"),
    [
        (3857, "urn:ogc:def:crs:EPSG::3857"),
        (3857, None),
        (4326, None),
        (4326, "urn:ogc:def:crs:OGC:1.3:CRS84"),
        (32610, "EPSG:32610"),
        (32610, "urn:ogc:def:crs:EPSG:9.8:32610"),
        (32610, "http://www.opengis.net/def/crs/EPSG/0/32610"),
        (4326, "OGC:CRS84"),
    ],
)
def test_coordinates_are_understood_in_every_system(epsg: int, crs: str | None) -> None:
    there = transform_geom("EPSG:3857", f"EPSG:{epsg}", polygon(5, 10))
    found = draw(collection(there, crs=crs))
    expected = np.zeros((30, 40), dtype=bool)
    expected[5:11, 10:16] = True
    assert (found.built != expected).sum() <= 2  # other systems are turned a little
    assert found.names == [1]


def test_pixels_are_columns_and_rows_and_may_lie_outside() -> None:
    ring = [[-3.0, 5.0, 0.0], [4.0, 5.0, 0.0], [4.0, 8.0, 0.0], [-3.0, 8.0, 0.0], [-3.0, 5.0, 0.0]]
    found = draw(collection({"type": "Polygon", "coordinates": [ring]}), pixels=True)
    assert found.built[5:8, :4].all()
    assert found.built.sum() == 12


def test_nothing_and_what_is_no_area_gives_no_building() -> None:
    assert not draw(b'{"type": "FeatureCollection", "features": []}').built.any()
    point = {"type": "Point", "coordinates": [-8e6, 5e6]}
    mixed = {"type": "GeometryCollection", "geometries": [polygon(0, 0), point]}
    empty = {"type": "Polygon", "coordinates": []}
    found = draw(collection(None, empty, point, mixed))
    assert found.built.sum() == 36
    assert found.remarks == {"null or empty geometries": 2, "geometries of type Point": 2}


def test_holes_stay_open_and_touching_pixels_are_drawn_if_asked_for() -> None:
    outer, inner = polygon(2, 2, 10)["coordinates"][0], polygon(5, 5, 3)["coordinates"][0]
    with_hole = {"type": "MultiPolygon", "coordinates": [[outer, inner]]}
    assert draw(collection(with_hole)).built.sum() == 100 - 9
    small = polygon(20, 20, 1)
    moved = [[[x + 2, y - 2] for x, y in small["coordinates"][0]]]
    shape = collection({"type": "Polygon", "coordinates": moved})
    assert draw(shape).built.sum() == 1
    assert draw(shape, all_touched=True).built.sum() == 4


def test_an_id_that_several_share_tells_none_apart() -> None:
    found = draw(collection(polygon(0, 0), polygon(10, 10), polygon(20, 20), ids=[0, 0, 7]))
    assert found.names == [None, None, 7]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "no GeoJSON"),
        (b"<html>", "no GeoJSON"),
        (b"\xff\xfe\x00", "no GeoJSON"),
        (b"[1, 2]", "no FeatureCollection"),
        (b'{"type": "FeatureCollection", "features": 5}', "no list"),
        (collection(polygon(0, 0), crs="EPSG:123456"), "unknown"),
        (collection({"type": "Polygon", "coordinates": [[["a", 1], [2, 3]]]}), "no numbers"),
    ],
)
def test_damaged_files_are_told_with_their_name(content: bytes, fault: str) -> None:
    with pytest.raises(DataError, match=fault) as error:
        draw(content)
    assert "labels.geojson" in str(error.value)


def test_footprints_elsewhere_are_remarked_on() -> None:
    found = draw(collection(polygon(1000, 1000)))
    assert found.remarks == {"no footprint lies on the image": 1}


@pytest.fixture
def visits() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine: its address, and what it was asked for."""
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            """Nothing on the screen."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize(
    "name",
    [
        "{server}/crs.wkt", "/vsicurl/{server}/crs.wkt", "/etc/passwd", "crs.wkt", "+proj=longlat",
        "urn:ogc:def:crs,crs:EPSG::4326,crs:EPSG::5773", "EPSG:4326+5773", "IGNF:LAMB93", "WGS84",
        "EPSG:" + 400 * "9", "LOCAL_CS[]", "",
    ],
)  # fmt: skip
def test_only_names_of_epsg_and_ogc_are_taken_and_nothing_is_fetched(
    name: str, visits: tuple[str, list[str]]
) -> None:
    server, asked = visits
    content = json.loads(collection(polygon(5, 10)))
    content["crs"] = {"type": "name", "properties": {"name": name.format(server=server)}}
    with pytest.raises(DataError, match="expected one of EPSG or OGC"):
        draw(json.dumps(content).encode())
    assert asked == []


@pytest.mark.parametrize(
    "crs",
    [
        {"type": "link", "properties": {"href": "http://127.0.0.1/crs.wkt", "type": "proj4"}},
        {"type": "name", "properties": ["EPSG:4326"]},
        {"type": "name", "properties": {"name": 4326}},
        "EPSG:4326",
    ],
)
def test_a_system_that_is_no_name_is_refused(crs: Any) -> None:
    content = {**json.loads(collection(polygon(5, 10))), "crs": crs}
    with pytest.raises(DataError, match="a crs member without a name"):
        draw(json.dumps(content).encode())


def test_kml_is_told_how_to_become_geojson() -> None:
    with pytest.raises(DataError) as caught:
        read_features(b"<?xml version='1.0'?><kml xmlns='x'></kml>", "fields.kml")
    assert "no GeoJSON: it is KML" in str(caught.value)
    assert "ogr2ogr changes.geojson fields.kml" in str(caught.value)
