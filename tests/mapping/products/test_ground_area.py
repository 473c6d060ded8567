"""Ground that pixels cover: against closed forms on the ellipsoid, in many coordinate systems."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine

from data_processing.rasters.reading import RasterInfo
from mapping.products.ground_area import PixelAreas
from utils.errors import UserError

WGS84 = pyproj.Geod(ellps="WGS84")
A, E2 = 6378137.0, WGS84.es
# ground to Web Mercator at 60° along parallels and meridians
EAST_AT_60 = 0.5 / math.sqrt(1 - E2 * 0.75)
NORTH_AT_60 = 0.5 * (1 - E2) / (1 - E2 * 0.75) ** 1.5
UTM = Affine(10, 0, 498_000, 0, -10, 5_000_000)


def grid(width: int, height: int, crs: int | str | None, transform: Affine) -> RasterInfo:
    system = None if crs is None else CRS.from_user_input(crs)
    return RasterInfo(width, height, 1, "uint8", system, transform, None)


def areas(width: int, height: int, crs: int | str | None, transform: Affine) -> PixelAreas:
    return PixelAreas(grid(width, height, crs, transform))


def zone(south: float, north: float, degrees: float) -> float:
    """m² between two parallels over some degrees of longitude, in closed form on WGS84."""

    def from_equator(latitude: float) -> float:
        s, e = math.sin(math.radians(latitude)), math.sqrt(E2)
        return s / (1 - E2 * s * s) + math.atanh(e * s) / e

    return (
        math.radians(degrees) * A * A * (1 - E2) / 2 * (from_equator(north) - from_equator(south))
    )


def outline_area(south: float, north: float, west: float, east: float) -> float:
    """m² of a box in degrees as a geodesic polygon with edges of a hundredth of a degree."""
    lon = np.linspace(west, east, round((east - west) * 100) + 1)
    lons = np.r_[lon, lon[::-1]]
    lats = np.r_[np.full(len(lon), south), np.full(len(lon), north)]
    return abs(WGS84.polygon_area_perimeter(lons, lats)[0])


def test_utm_pixels_at_the_central_meridian_are_larger_by_the_scale_factor() -> None:
    found = areas(400, 300, "EPSG:32633", UTM)
    assert found.ellipsoidal
    assert not found.planar
    np.testing.assert_allclose(found.rows(0, 300), 100 / 0.9996**2, rtol=2e-7)
    assert found.metres_per_pixel == pytest.approx((10 / 0.9996, 10 / 0.9996), rel=1e-6)


def test_pixels_of_centimetres_do_not_drown_in_rounding() -> None:
    fine = Affine(0.05, 0, 499_950, 0, -0.05, 5_000_000)
    found = areas(2000, 2000, "EPSG:32633", fine).rows(700, 20)
    np.testing.assert_allclose(found, 0.0025 / 0.9996**2, rtol=1e-8)


def test_utm_pixels_shrink_away_from_the_central_meridian() -> None:
    found = areas(10, 10, "EPSG:32633", Affine(10, 0, 800_000, 0, -10, 5_000_000))
    scale = 0.9996 * (1 + 300_000**2 / (2 * 6_376_000**2 * 0.9996**2))  # to fourth order
    assert found.mean == pytest.approx(100 / scale**2, rel=1e-5)


@pytest.mark.parametrize("latitude", [0.1, 30.0, 60.0, 80.0])
def test_web_mercator_is_put_right_by_the_ellipsoid(latitude: float) -> None:
    y = A * math.atanh(math.sin(math.radians(latitude)))
    found = areas(3, 3, "EPSG:3857", Affine(10, 0, 1e6, 0, -10, y + 15))
    w2 = 1 - E2 * math.sin(math.radians(latitude)) ** 2
    curved = A * A * (1 - E2) / w2**2  # product of the radii of curvature
    expected = 100 * curved * math.cos(math.radians(latitude)) ** 2 / A**2
    assert found.rows(1, 1)[0, 1] == pytest.approx(expected, rel=1e-6)
    if latitude == 60.0:
        assert expected == pytest.approx(25, rel=0.005)


def by_areal_scale(crs: str, transform: Affine, rows: NDArray[Any], cols: NDArray[Any]) -> Any:
    """m² of pixels by PROJ's derivatives of the projection at their middle."""
    system = pyproj.CRS.from_user_input(crs)
    x, y = transform @ (cols + 0.5, rows + 0.5)
    plane = pyproj.Proj(system)
    lon, lat = plane(x, y, inverse=True)
    metres = system.axis_info[0].unit_conversion_factor
    return abs(transform.determinant) * metres**2 / plane.get_factors(lon, lat).areal_scale


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32633", Affine(10, 0, 300_000, 0, -10, 5_000_000)),
        ("EPSG:32633", Affine(10, 0, 600_000, 0, -10, 8_000_000)),
        ("EPSG:3035", Affine(10, 0, 4_300_000, 0, -10, 3_200_000)),
        ("EPSG:2154", Affine(10, 0, 700_000, 0, -10, 6_600_000)),
        ("EPSG:5070", Affine(30, 0, -1_000_000, 0, -30, 2_000_000)),
        ("EPSG:3395", Affine(10, 0, 1_000_000, 0, -10, 8_400_000)),
        ("EPSG:3413", Affine(10, 0, 1_000_000, 0, -10, 0)),
        ("EPSG:2263", Affine(10, 0, 980_000, 0, -10, 200_000)),
    ],
)
def test_areas_agree_with_the_derivatives_of_projections_of_the_ellipsoid(
    crs: str, transform: Affine
) -> None:
    rows, cols = np.meshgrid(np.arange(0, 5000, 490), np.arange(0, 7000, 690), indexing="ij")
    measured = areas(7000, 5000, crs, transform)
    found = np.stack([measured.rows(int(row), 1)[0, cols[0]] for row in rows[:, 0]])
    np.testing.assert_allclose(found, by_areal_scale(crs, transform, rows, cols), rtol=1e-8)


@pytest.mark.parametrize("crs", ["EPSG:3857", "ESRI:54009"])
def test_derivatives_are_no_measure_where_a_projection_takes_the_earth_for_a_sphere(
    crs: str,
) -> None:
    transform, middle = Affine(100, 0, 1_000_000, 0, -100, 8_000_000), np.array([[5]])
    found = areas(11, 11, crs, transform).rows(5, 1)[0, 5]
    off = float(by_areal_scale(crs, transform, middle, middle)[0, 0]) / found - 1
    assert 0.001 < abs(off) < 0.01


@pytest.mark.parametrize("size", [0.0001, 0.01, 1.0])
def test_pixels_in_degrees_agree_with_zones_in_closed_form(size: float) -> None:
    found = areas(40, 40, "EPSG:4326", Affine(size, 0, 20, 0, -size, 50)).rows(0, 40)
    expected = [zone(50 - (row + 1) * size, 50 - row * size, size) for row in range(40)]
    np.testing.assert_allclose(found[:, 17], expected, rtol=3e-7)
    np.testing.assert_allclose(found, found[:, :1] * np.ones((1, 40)), rtol=3e-7)


def test_pixels_of_a_region_add_up_to_its_outline() -> None:
    found = areas(2000, 1500, "EPSG:4326", Affine(0.02, 0, -20, 0, -0.02, 70))
    total = found.sums(np.zeros((1500, 2000), dtype=np.uint8), 1)[0]
    assert total == pytest.approx(outline_area(40, 70, -20, 20), rel=1e-6)
    assert total == pytest.approx(zone(40, 70, 40), rel=1e-7)


@pytest.mark.parametrize(("width", "height", "size"), [(3600, 1800, 0.1), (360, 180, 1.0)])
def test_pixels_of_the_whole_globe_add_up_to_it(width: int, height: int, size: float) -> None:
    found = areas(width, height, "EPSG:4326", Affine(size, 0, -180, 0, -size, 90))
    assert found.mean == pytest.approx(510_065_621_724_088 / (width * height), rel=1e-7)
    np.testing.assert_allclose(found.rows(0, 1), zone(90 - size, 90, size), rtol=1e-4)


def test_feet_become_metres() -> None:
    found = areas(50, 50, "EPSG:2263", Affine(10, 0, 980_000, 0, -10, 200_000))
    assert found.mean == pytest.approx(100 * 0.3048006096**2, rel=1e-4)
    assert found.metres_per_pixel == pytest.approx((3.048, 3.048), rel=1e-4)


def test_turned_and_mirrored_grids_have_the_same_areas() -> None:
    upright = areas(60, 60, "EPSG:32633", UTM)
    turned = Affine.translation(498_300, 4_999_400) @ Affine.rotation(30) @ Affine.scale(10, -20)
    south_up = Affine(10, 0, 498_000, 0, 10, 4_999_400)
    west_left = Affine(-10, 0, 498_600, 0, -10, 5_000_000)
    twice = areas(60, 60, "EPSG:32633", turned).rows(0, 60).mean()
    assert twice == pytest.approx(2 * upright.rows(0, 60).mean(), rel=1e-6)
    for transform in (south_up, west_left):
        np.testing.assert_allclose(
            areas(60, 60, "EPSG:32633", transform).rows(0, 60), upright.rows(0, 60), rtol=1e-6
        )
    assert areas(60, 60, "EPSG:32633", turned).metres_per_pixel == pytest.approx(
        (10 / 0.9996, 20 / 0.9996), rel=1e-6
    )


@pytest.mark.parametrize("west", [179.0, -181.0])
def test_the_antimeridian_makes_no_difference(west: float) -> None:
    across = areas(200, 100, "EPSG:4326", Affine(0.01, 0, west, 0, -0.01, 10))
    elsewhere = areas(200, 100, "EPSG:4326", Affine(0.01, 0, 20, 0, -0.01, 10))
    np.testing.assert_allclose(across.rows(0, 100), elsewhere.rows(0, 100), rtol=1e-8)
    projected = areas(200, 100, "EPSG:32660", Affine(100, 0, 820_000, 0, -100, 1_000_000))
    assert projected.mean == pytest.approx(10_000, rel=0.01)


def test_a_polar_map_has_areas_at_the_pole_itself() -> None:
    found = areas(601, 601, "EPSG:3413", Affine(1000, 0, -300_500, 0, -1000, 300_500))
    scale = (1 + math.sin(math.radians(70))) / 2  # at the pole, of a map true at 70°
    assert found.rows(300, 1)[0, 300] == pytest.approx(1e6 / scale**2, rel=3e-3)  # of a sphere
    assert found.max == pytest.approx(found.min, rel=0.01)


def test_other_meridians_grads_heights_and_datum_shifts_are_understood() -> None:
    grads = areas(10, 10, "EPSG:4807", Affine(0.01, 0, 0, 0, -0.01, 54)).mean
    degrees = areas(10, 10, "EPSG:4326", Affine(0.009, 0, 2.337, 0, -0.009, 48.6)).mean
    assert grads == pytest.approx(degrees, rel=1e-3)  # another ellipsoid
    assert areas(9, 9, "EPSG:7415", Affine(10, 0, 1.2e5, 0, -10, 5e5)).mean == pytest.approx(
        100, rel=1e-3
    )
    datum = "+proj=utm +zone=33 +ellps=bessel +units=m"
    shifted = areas(9, 9, datum + " +towgs84=598,73,418,0,0,0,0", UTM).mean
    assert shifted == pytest.approx(areas(9, 9, datum, UTM).mean, rel=1e-9)


def test_degrees_about_another_pole_are_no_longitudes_and_latitudes() -> None:
    rotated = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39 +lon_0=18 +datum=WGS84"
    found = areas(11, 11, rotated, Affine(0.01, 0, -0.055, 0, -0.01, 0.055)).rows(5, 1)[0, 5]
    w2 = 1 - E2 * math.sin(math.radians(51)) ** 2  # its middle lies at 51° north
    assert found == pytest.approx(A * A * (1 - E2) / w2**2 * math.radians(0.01) ** 2, rel=1e-6)


def test_corners_off_the_earth_do_not_spoil_what_lies_on_it() -> None:
    disc = "+proj=laea +lat_0=0 +lon_0=0 +datum=WGS84"
    found = areas(100, 100, disc, Affine(260_000, 0, -13e6, 0, -260_000, 13e6))
    assert found.rows(50, 1)[0, 50] == pytest.approx(260_000**2, rel=1e-3)  # equal areas
    assert np.isfinite(found.rows(0, 100)).all()
    assert (found.rows(0, 100) > 0).all()


def test_areas_do_not_swing_beside_the_rim_of_the_globe() -> None:
    world = "+proj=sinu +R=6371000"  # equal areas; pixels across the rim lie in it with a part
    found = areas(60, 60, world, Affine(670_000, 0, -20.1e6, 0, -670_000, 20.1e6)).rows(0, 60)
    assert (found > 0.9 * 670_000**2).all()
    assert (found < 1.0001 * 670_000**2).all()


def test_a_local_plane_has_planar_areas_that_are_not_called_known() -> None:
    found = areas(5, 4, 'LOCAL_CS["site",UNIT["foot",0.3048]]', Affine(2, 0, 0, 0, -3, 0))
    assert (found.ellipsoidal, found.planar) == (False, True)
    np.testing.assert_allclose(found.rows(1, 2), np.full((2, 5), 6 * 0.3048**2))
    assert found.metres_per_pixel == pytest.approx((0.6096, 0.9144))


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (None, UTM),  # lies nowhere
        ("EPSG:32633", Affine.identity()),  # its file lost the transform
        ("EPSG:32633", Affine(10, 0, 5e5, 0, 0, 5e6)),  # pixels without height
        ("EPSG:4978", UTM),  # geocentric
        ("+proj=moll", Affine(1e3, 0, -18.04e6, 0, -1e3, 9.02e6)),  # beside the globe
    ],
)
def test_without_a_place_there_are_no_areas(crs: str | None, transform: Affine) -> None:
    found = areas(100, 100, crs, transform)
    assert not found.ellipsoidal
    assert not found.planar
    assert (found.mean, found.min, found.max, found.metres_per_pixel) == (None,) * 4
    with pytest.raises(UserError, match="expected one that says where it lies"):
        found.rows(0, 1)


def test_blocks_of_rows_are_parts_of_the_whole() -> None:
    found = areas(33, 70, "EPSG:3857", Affine(5000, 0, 1e6, 0, -5000, 9e6))
    whole = found.rows(0, 70)
    parts = np.concatenate([found.rows(row, min(16, 70 - row)) for row in range(0, 70, 16)])
    assert whole.shape == (70, 33)
    assert whole.dtype == np.float64
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert found.mean == pytest.approx(whole.mean(), rel=1e-12)
    assert (found.min, found.max) == pytest.approx((whole.min(), whole.max()), rel=1e-12)


def test_sums_tell_classes_and_rows_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mapping.products.ground_area.BLOCK_PIXELS", 64)
    found = areas(20, 30, "EPSG:3857", Affine(5000, 0, 1e6, 0, -5000, 9e6))
    classes = np.random.default_rng(0).integers(0, 4, (12, 20), dtype=np.uint8)
    sums = found.sums(classes, 5, row=10)
    expected = [found.rows(10, 12)[classes == number].sum() for number in range(5)]
    np.testing.assert_allclose(sums, expected, rtol=1e-12)
    assert sums[4] == 0


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 50), (2, 3), (5, 1)])
def test_rasters_of_few_pixels_have_areas(width: int, height: int) -> None:
    found = areas(width, height, "EPSG:32633", UTM)
    np.testing.assert_allclose(found.rows(0, height), 100 / 0.9996**2, rtol=1e-6)
    assert found.rows(0, height).shape == (height, width)


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        # a square of 40 pixels of 10 m, also where the plane is twice as large as the ground
        ("EPSG:32633", UTM, 1600 / 0.9996),
        (
            "EPSG:3857",
            Affine(10, 0, 1_000_000, 0, -10, 8_400_000),
            800 * (EAST_AT_60 + NORTH_AT_60),
        ),
        # two meridians and two parallels, along which no geodesic runs
        ("EPSG:4326", Affine(0.5, 0, 10, 0, -0.5, 70), None),
    ],
)
def test_outlines_are_as_long_as_on_the_ground(
    crs: str, transform: Affine, expected: float | None
) -> None:
    corners = [transform @ place for place in ((0, 0), (40, 0), (40, 40), (0, 40))]
    (found,) = areas(80, 80, crs, transform).perimeters([shapely.Polygon(corners)])
    if expected is None:
        lon = np.linspace(10, 30, 2001)
        parallels = (WGS84.line_length(lon, np.full(2001, lat)) for lat in (50, 70))
        expected = sum(parallels) + 2 * WGS84.line_length([10, 10], [50, 70])
    assert found == pytest.approx(expected, rel=2e-4)


def test_a_hole_has_an_outline_too_and_a_plane_of_its_own_none() -> None:
    whole, inside = shapely.box(0, 0, 300, 300), shapely.box(100, 100, 200, 200)
    shifted = [
        shapely.transform(s, lambda p: p + np.array([498_000, 4_999_000])) for s in (whole, inside)
    ]
    found = areas(400, 300, "EPSG:32633", UTM).perimeters([shifted[0] - shifted[1], shifted[1]])
    np.testing.assert_allclose(found, np.array([1600, 400]) / 0.9996, rtol=1e-5)
    local = areas(40, 30, 'LOCAL_CS["site",UNIT["metre",1]]', UTM)
    with pytest.raises(UserError, match="local plane"):
        local.perimeters([whole])
