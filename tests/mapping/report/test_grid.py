"""The grid of pictures (mapping/report/grid.py)."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine

from data_processing.rasters.reading import RasterInfo, raster_info, read_reduced
from mapping.report.grid import PictureGrid
from tests.helpers.scene_files import write_raster

NORTH_UP = Affine(10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
LOCAL = 'LOCAL_CS["site",UNIT["metre",1]]'


def header(H: int, W: int, matrix: Affine = NORTH_UP, crs: Any = 32633) -> RasterInfo:
    system = None if crs is None else CRS.from_user_input(crs)
    return RasterInfo(W, H, 1, "uint8", system, matrix, None)


def turned(degrees: float, step_x: float = 10.0, step_y: float = 10.0) -> Affine:
    """Columns run ``degrees`` anticlockwise from the east, rows at right angles to their right."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Affine(
        step_x * cosine, step_y * sine, 500000.0, step_x * sine, -step_y * cosine, 5000000.0
    )


def degrees_at(lat: float, H: int, W: int, step: float = 1e-4) -> RasterInfo:
    return header(H, W, Affine(step, 0.0, 25.0, 0.0, -step, lat + step * H / 2), 4326)


def numbered(H: int, W: int) -> Any:
    return np.arange(H * W, dtype=np.int32).reshape(H, W)


@pytest.mark.parametrize(("H", "W"), [(1, 1), (7, 5000), (5000, 7), (1025, 1024), (40, 30)])
def test_a_raster_with_north_up_is_decimated_only(tmp_path: Path, H: int, W: int) -> None:
    values = np.random.default_rng(0).integers(0, 255, (2, H, W), dtype=np.uint8)
    write_raster(tmp_path / "a.tif", values)
    grid = PictureGrid(raster_info(tmp_path / "a.tif"))
    reduced, _ = read_reduced(tmp_path / "a.tif", grid.step)
    picture, inside = grid.sample(reduced, grid.step, 0)
    assert grid.upright
    assert grid.step == -(-max(H, W) // 1024)
    assert (grid.height, grid.width) == (-(-H // grid.step), -(-W // grid.step))
    assert inside.all()
    np.testing.assert_array_equal(picture, reduced)


def test_a_picture_is_not_the_array_that_it_was_made_of() -> None:
    reduced = numbered(4, 5)
    picture, inside = PictureGrid(header(4, 5)).sample(reduced, 1, 0)
    picture[:], inside[:] = -1, False
    np.testing.assert_array_equal(reduced, numbered(4, 5))
    assert PictureGrid(header(4, 5)).inside.all()


@pytest.mark.parametrize("longest", [1024, 9, 4, 1])
@pytest.mark.parametrize(
    ("matrix", "undo"),
    [
        (Affine(10.0, 0.0, 5e5, 0.0, 10.0, 5e6), lambda a: a[::-1]),  # rows run north
        (Affine(-10.0, 0.0, 5e5, 0.0, -10.0, 5e6), lambda a: a[:, ::-1]),  # columns run west
        (turned(90), lambda a: np.rot90(a)),  # columns run north
        (turned(-90), lambda a: np.rot90(a, -1)),
        (turned(180), lambda a: np.rot90(a, 2)),
        (Affine(0.0, 10.0, 5e5, -10.0, 0.0, 5e6), lambda a: a.T),  # rows run east, columns south
    ],
)
def test_a_raster_lying_otherwise_is_turned_north_up(
    matrix: Affine, undo: Any, longest: int
) -> None:
    grid = PictureGrid(header(13, 18, matrix), longest)
    reduced = numbered(-(-13 // grid.step), -(-18 // grid.step))
    picture, inside = grid.sample(reduced, grid.step, -1)
    assert not grid.upright
    assert inside.all()
    assert max(picture.shape) <= longest
    np.testing.assert_array_equal(picture, undo(reduced))


def test_a_raster_turned_by_thirty_degrees_stands_upright_with_empty_corners() -> None:
    H, W = 60, 80
    grid = PictureGrid(header(H, W, turned(30)))
    picture, inside = grid.sample(numbered(H, W)[None], 1, -7)
    cosine, sine = math.cos(math.pi / 6), 0.5
    expected = (math.ceil(W * sine + H * cosine), math.ceil(W * cosine + H * sine))
    assert (grid.height, grid.width) == expected
    assert inside.mean() == pytest.approx(H * W / (expected[0] * expected[1]), rel=0.02)
    assert (picture[0] == -7).sum() == (~inside).sum() > 1000
    assert not inside[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    # its columns run up to the right: a step to the right and up keeps the row
    line = [int(picture[0, 55 - round(k * sine), 10 + round(k * cosine)]) for k in range(40)]
    rows, cols = np.divmod(line, W)
    assert np.ptp(rows) <= 2
    assert cols[-1] - cols[0] == pytest.approx(39, abs=2)


def test_every_picture_pixel_shows_the_raster_pixel_below_its_centre() -> None:
    grid = PictureGrid(header(48, 72, turned(30), None), 40)
    picture, inside = grid.sample(numbered(16, 24), 3, -1)
    corners = [turned(30) @ corner for corner in ((0, 0), (72, 0), (0, 48), (72, 48))]
    left, top = min(x for x, _ in corners), max(y for _, y in corners)
    across = (max(x for x, _ in corners) - left) / grid.width
    down = (top - min(y for _, y in corners)) / grid.height
    assert (across, down) == (pytest.approx(30, rel=0.05), pytest.approx(30, rel=0.05))
    for i, j in np.argwhere(inside):
        col, row = ~turned(30) @ (left + (j + 0.5) * across, top - (i + 0.5) * down)
        shown = divmod(int(picture[i, j]), 24)
        assert shown == (int(row) // 3, int(col) // 3)


def test_degrees_at_sixty_north_give_a_picture_half_as_wide() -> None:
    grid = PictureGrid(degrees_at(60.0, 400, 400))
    picture, inside = grid.sample(np.tile(np.arange(400), (400, 1)), 1, -1)
    assert (grid.height, grid.width) == (400, 201)  # 0.5012: the Earth is flattened
    assert inside.all()
    assert (np.abs(picture[0] - (np.arange(201) + 0.5) * 400 / 201) < 1).all()
    assert grid.north == pytest.approx(0.0, abs=1e-6)
    assert grid.metres_per_pixel == pytest.approx(11.1, rel=0.01)


def test_degrees_at_the_equator_are_taken_as_they_are() -> None:
    grid = PictureGrid(degrees_at(0.0, 400, 400))
    assert grid.upright
    assert (grid.height, grid.width) == (400, 400)


def test_pixels_of_unequal_sides_become_square_by_the_longer_one() -> None:
    grid = PictureGrid(header(100, 300, Affine(10.0, 0.0, 5e5, 0.0, -30.0, 5e6)))
    assert (grid.height, grid.width) == (100, 100)


@pytest.mark.parametrize("lat", [89.0, 89.9999, 90.0])
def test_near_a_pole_the_reduced_raster_stays_small(lat: float) -> None:
    grid = PictureGrid(degrees_at(lat, 2000, 40000, 1e-6), 500)
    assert 1 <= grid.width <= 500
    assert 40000 / grid.step <= 500 * 17


@pytest.mark.parametrize("degrees", [0, 30, 45, 90])
@pytest.mark.parametrize(("H", "W"), [(1, 1), (3, 2), (5000, 7), (7, 5000), (3000, 4000)])
def test_pictures_keep_to_their_limit_and_are_not_enlarged(degrees: int, H: int, W: int) -> None:
    grid = PictureGrid(header(H, W, turned(degrees)), 1024)
    assert min(grid.height, grid.width) >= 1
    assert max(grid.height, grid.width) <= 1024
    assert grid.metres_per_pixel is not None
    if min(H, W) > 100:  # of a few pixels the last may be a part
        assert grid.metres_per_pixel >= 9.95 * grid.step


@pytest.mark.parametrize(("matrix", "crs"), [(Affine.identity(), None), (Affine.identity(), 4326)])
def test_a_raster_without_georeference_is_taken_as_it_is(matrix: Affine, crs: Any) -> None:
    grid = PictureGrid(header(20, 30, matrix, crs))
    picture, _ = grid.sample(numbered(20, 30), 1, 0)
    np.testing.assert_array_equal(picture, numbered(20, 30))
    assert (grid.metres_per_pixel, grid.north) == (None, None)


@pytest.mark.parametrize("crs", [None, LOCAL])
def test_unknown_coordinates_are_turned_but_not_measured(crs: Any) -> None:
    grid = PictureGrid(header(20, 30, Affine(1.0, 0.0, 0.0, 0.0, 1.0, 9.0), crs))
    np.testing.assert_array_equal(grid.sample(numbered(20, 30), 1, 0)[0], numbered(20, 30)[::-1])
    assert (grid.metres_per_pixel, grid.north) == (None, None)


def test_web_mercator_keeps_its_shape_and_tells_the_true_scale() -> None:
    y_at_60 = 8399737.89
    grid = PictureGrid(header(64, 64, Affine(10.0, 0.0, 0.0, 0.0, -10.0, y_at_60 + 320), 3857))
    assert grid.upright
    assert grid.metres_per_pixel == pytest.approx(5.0, rel=0.005)


@pytest.mark.parametrize(
    ("crs", "x", "y", "metres", "north"),
    [
        (32633, 500000, 5000000, 10.0, 0.0),  # on the central meridian
        (32631, 357000, 4834500, 10.0, 1.2226),  # west of it: north leans to the right
        (3035, 5272500, 2532500, 10.0, -8.910),  # Romania
        (3413, 0, -1000000, 10.0, 0.0),  # polar, on the meridian that runs down
        (3413, 1000000, 0, 10.0, -90.0),  # the pole lies to the left
        (2263, 984252, 200000, 10.0 * 0.3048, -0.0),  # feet, near New York
    ],
)
def test_scale_and_true_north_follow_the_projection(
    crs: int, x: float, y: float, metres: float, north: float
) -> None:
    grid = PictureGrid(header(10, 10, Affine(10.0, 0.0, x - 50, 0.0, -10.0, y + 50), crs))
    assert grid.upright
    assert grid.metres_per_pixel == pytest.approx(metres, rel=0.025)
    assert grid.north == pytest.approx(north, abs=0.05)


@pytest.mark.parametrize("shape", [(20,), (2, 2, 10, 15), (10, 14), (3, 20, 30)])
def test_an_array_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"reduced: found shape .* at step 2, .*\(10, 15\)"):
        PictureGrid(header(20, 30)).sample(np.zeros(shape), 2, 0)


@pytest.mark.parametrize("number", [0, -1])
def test_sizes_below_one_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"found {number}"):
        PictureGrid(header(20, 30), number)
    with pytest.raises(ValueError, match=f"step {number}"):
        PictureGrid(header(20, 30)).sample(np.zeros((20, 30)), number, 0)


def test_a_raster_decimated_otherwise_is_sampled_alike() -> None:
    grid = PictureGrid(header(40, 40), 10)
    fine, _ = grid.sample(np.arange(40)[:, None].repeat(40, 1), 1, 0)
    coarse, _ = grid.sample(np.arange(5)[:, None].repeat(5, 1), 8, 0)
    assert fine[:, 0].tolist() == [2, 6, 10, 14, 18, 22, 26, 30, 34, 38]
    assert coarse[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_a_pixel_takes_the_cell_that_its_centre_lies_in() -> None:
    picture, _ = PictureGrid(header(10, 1)).sample(np.arange(4)[:, None], 3, 0)  # 2.5 rows each
    assert picture[:, 0].tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]


def test_memory_does_not_grow_with_the_raster() -> None:
    tracemalloc.start()
    try:
        grid = PictureGrid(header(700_000, 500_000, turned(30)), 256)
        size = (-(-700_000 // grid.step), -(-500_000 // grid.step))
        grid.sample(np.zeros(size, np.uint8), grid.step, 255)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.filterwarnings("error")
def test_any_transform_gives_a_picture() -> None:
    rng = np.random.default_rng(0)
    numbers = (0.0, 1.0, -1.0, 10.0, 1e-12, 1e-300, 1e12, -1e11, 5e5, 180.0, -0.0, 1e-5)
    systems = (None, 32633, 4326, 3857, 3413, 4978, "+proj=moll", "+proj=ortho", LOCAL)
    for _ in range(300):
        matrix = Affine(*(float(rng.choice(numbers)) for _ in range(6)))
        H, W = (int(side) for side in rng.choice([1, 2, 64, 5000], 2))
        grid = PictureGrid(header(H, W, matrix, systems[rng.integers(len(systems))]), 64)
        grid.sample(np.zeros((-(-H // grid.step), -(-W // grid.step)), np.uint8), grid.step, 0)
        assert 1 <= min(grid.height, grid.width) <= max(grid.height, grid.width) <= 64
