"""Whether rasters lie on one grid, whatever words their coordinate systems are written in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from data_processing.rasters.grids import crs_differences, grid_faults, misplaced, same_crs
from data_processing.rasters.reading import RasterInfo, raster_info

UTM = "EPSG:32633"
SAME = {
    "ESRI's words": CRS.from_epsg(32633).to_wkt(version="WKT1_ESRI"),
    "PROJ's words": "+proj=utm +zone=33 +datum=WGS84 +units=m",
    "a shift of zero": "+proj=utm +zone=33 +ellps=WGS84 +towgs84=0,0,0,0,0,0,0 +units=m",
    "an ellipsoid without datum": "+proj=utm +zone=33 +ellps=WGS84 +units=m",
    "with heights": "EPSG:32633+5773",
    "by its parameters": "+proj=tmerc +lon_0=15 +k=0.9996 +x_0=500000 +datum=WGS84 +units=m",
}
OTHER = {
    "another zone": ("EPSG:32634", "longitude of natural origin"),
    "another datum": ("EPSG:25833", "datum"),
    "a shift that is not zero": ("+proj=utm +zone=33 +ellps=WGS84 +towgs84=80,0,0", "shift"),
    "another ellipsoid without datum": ("+proj=utm +zone=33 +ellps=bessel", "ellipsoid"),
    "feet": ("+proj=utm +zone=33 +datum=WGS84 +units=us-ft", "unit 0.3048"),
    "degrees": ("EPSG:4326", "kind"),
    "drawn somewhere": ('LOCAL_CS["arbitrary",UNIT["metre",1]]', "kind"),
}
GRID = RasterInfo(90, 60, 4, "uint16", CRS.from_user_input(UTM), Affine(10, 0, 5e5, 0, -10, 5e6), 0)


def stored(text: str, folder: Path) -> CRS:
    """A coordinate system as a GeoTIFF gives it back."""
    profile = {"driver": "GTiff", "width": 2, "height": 2, "count": 1, "dtype": "uint8"}
    path = folder / "some.tif"
    with rasterio.open(path, "w", **profile, crs=text, transform=GRID.transform) as raster:
        raster.write(np.zeros((1, 2, 2), np.uint8))
    return raster_info(path).crs


@pytest.mark.parametrize("words", SAME)
def test_a_system_in_other_words_is_the_same(words: str, tmp_path: Path) -> None:
    for other in (CRS.from_user_input(SAME[words]), stored(SAME[words], tmp_path)):
        assert same_crs(other, GRID.crs)
        assert same_crs(GRID.crs, other)
        assert grid_faults([("a", GRID), ("b", dataclasses.replace(GRID, crs=other))]) == []


@pytest.mark.parametrize("what", OTHER)
def test_another_system_is_another_grid_and_what_differs_is_known(
    what: str, tmp_path: Path
) -> None:
    text, part = OTHER[what]
    other = stored(text, tmp_path)
    assert not same_crs(other, GRID.crs)
    assert any(part in difference for difference in crs_differences(other, GRID.crs))
    (fault,) = grid_faults([("a", GRID), ("b", dataclasses.replace(GRID, crs=other))])
    assert fault.startswith("b: found CRS")


def test_systems_that_are_shown_alike_are_refused_with_what_differs(tmp_path: Path) -> None:
    moved = stored("+proj=utm +zone=33 +ellps=WGS84 +towgs84=80,0,0", tmp_path)
    (fault,) = grid_faults([("a", GRID), ("b", dataclasses.replace(GRID, crs=moved))])
    assert "shift [80.0, 0.0, 0.0" in fault


def test_longitude_and_latitude_may_come_in_either_order() -> None:
    assert same_crs(CRS.from_epsg(4326), CRS.from_user_input("OGC:CRS84"))
    assert same_crs(CRS.from_epsg(4979), CRS.from_epsg(4326))
    assert same_crs(None, None)
    assert not same_crs(None, GRID.crs)


@pytest.mark.parametrize(("pixels", "same"), [(0.0, True), (0.009, True), (0.02, False)])
def test_a_hundredth_of_a_pixel_is_no_other_place(pixels: float, same: bool) -> None:
    moved = dataclasses.replace(GRID, transform=GRID.transform @ Affine.translation(pixels, 0))
    assert (grid_faults([("a", GRID), ("b", moved)]) == []) is same


def test_a_pixel_size_that_adds_up_is_another_grid() -> None:
    wider = dataclasses.replace(GRID, transform=Affine(10.002, 0, 5e5, 0, -10, 5e6))
    (fault,) = grid_faults([("a", GRID), ("b", wider)])
    assert "up to 0.018 pixels apart" in fault


def test_what_a_raster_does_not_say_is_taken_from_the_first_if_asked_for() -> None:
    bare = dataclasses.replace(GRID, crs=None, transform=Affine.identity())
    assert grid_faults([("a", GRID), ("b", bare)], lenient=True) == []
    assert len(grid_faults([("a", GRID), ("b", bare)])) == 1
    small = dataclasses.replace(bare, width=4)
    assert "found 60×4 pixels" in grid_faults([("a", GRID), ("b", small)], lenient=True)[0]
    assert grid_faults([("a", GRID), ("b", small)], lenient=True, sizes=False) == []


METRES, DEGREES = Affine(10, 0, 5e5, 0, -10, 5e6), Affine(1e-4, 0, 15, 0, -1e-4, 45)


@pytest.mark.parametrize(
    ("crs", "transform", "said"),
    [
        (UTM, METRES, None),
        ("EPSG:4326", DEGREES, None),
        ("EPSG:4326", Affine(0.25, 0, 0, 0, -0.25, 90), None),  # 0…360° of a climate grid
        (None, Affine.identity(), None),
        (UTM, Affine(0.05, 0, 100, 0, -0.05, 80), None),  # a drone's own small site
        (UTM, DEGREES, "these look like degrees"),
        ("EPSG:3857", DEGREES, "these look like degrees"),
        ("EPSG:4326", METRES, "expected degrees"),
    ],
)
def test_coordinates_go_together_with_their_system(
    crs: str | None, transform: Affine, said: str | None
) -> None:
    system = None if crs is None else CRS.from_user_input(crs)
    fault = misplaced(dataclasses.replace(GRID, crs=system, transform=transform))
    assert (fault is None) if said is None else (fault is not None and said in fault)


@pytest.mark.parametrize("kind", ["rational polynomials (RPC)", "ground control points"])
def test_an_image_that_is_not_rectified_has_no_grid(kind: str) -> None:
    fault = misplaced(dataclasses.replace(GRID, unrectified=kind))
    assert fault is not None
    assert f"found {kind}" in fault
    assert "gdalwarp" in fault


@pytest.mark.parametrize(
    ("turns", "crs", "same"), [(1, "EPSG:4326", True), (-2, "EPSG:4258", True), (1, UTM, False)]
)
def test_a_turn_round_the_earth_is_the_same_place(turns: int, crs: str, same: bool) -> None:
    here = dataclasses.replace(
        GRID, crs=CRS.from_user_input(crs), transform=Affine(1e-3, 0, 179.99, 0, -1e-3, 45)
    )
    there = dataclasses.replace(here, transform=Affine(1e-3, 0, 179.99 + 360 * turns, 0, -1e-3, 45))
    assert (grid_faults([("a", here), ("b", there)]) == []) == same


@pytest.mark.parametrize("crs", [UTM, None])
@pytest.mark.parametrize("numbers", [(0, 0, 5, 0, -10, 5), (10, 10, 5, 10, 10, 5), (0,) * 6])
def test_pixels_without_area_lie_nowhere(crs: str | None, numbers: tuple[float, ...]) -> None:
    system = None if crs is None else CRS.from_user_input(crs)
    info = dataclasses.replace(GRID, crs=system, transform=Affine(*numbers))
    assert "whose pixels have no area" in str(misplaced(info))
