"""``--align``: images and masks of other grids on that of the first image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.warp import transform as move_points

from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import (
    DAYS,
    RGBA,
    change_header,
    noise,
    open_them,
    refusal,
    whole,
    write_series,
)
from utils.errors import DataError

SIZE = (40, 50)
PLACE = Affine(3, 0, 500000, 0, -3, 5000000)  # where write_raster puts its rasters


def write_moved(
    path: Path, values: NDArray[Any], transform: Affine, crs: str = "EPSG:32633", **options: Any
) -> None:
    """A raster elsewhere."""
    write_raster(path, values, crs=crs, **options)
    change_header(path, transform=transform)


def shifted(folder: Path, second: NDArray[Any], cols: float, **options: Any) -> list[Path]:
    """Three images of which the second begins so many pixels further right."""
    paths = write_series(folder, noise(size=SIZE).astype(second.dtype))
    write_moved(paths[1], second, PLACE @ Affine.translation(cols, 0), **options)
    return paths


def ramp(bands: int = 4, dtype: str = "uint16") -> NDArray[Any]:
    """(C, H, W) in which the value tells the column: 1000 + 10 · column."""
    columns = 1000 + 10 * np.arange(SIZE[1])
    return np.broadcast_to(columns, (bands, *SIZE)).astype(dtype)


# ────────────────────────────────────────── geometry ──────────────────────────────────────────


def test_images_on_the_grid_are_untouched(tmp_path: Path) -> None:
    images = noise(size=SIZE)
    write_series(tmp_path, images)
    plain = whole(open_them(tmp_path))

    series = open_them(tmp_path, align=True)

    assert np.array_equal(whole(series).images, plain.images)
    assert not any("resampled" in remark for remark in series.remarks)


@pytest.mark.parametrize("cols", [3, 0.4, -2.25])
def test_a_shift_is_undone_and_what_lies_beyond_is_not_observed(
    tmp_path: Path, cols: float
) -> None:
    paths = shifted(tmp_path, ramp(), cols)

    series = open_them(tmp_path, align=True)
    window = whole(series)

    columns = np.arange(SIZE[1])
    reached = (columns + 0.5 - cols > 0) & (columns + 0.5 - cols < SIZE[1])
    assert np.array_equal(window.observed, np.broadcast_to(reached, SIZE))
    inside = (columns - cols > 0) & (columns - cols < SIZE[1] - 1)
    expected = 1000 + 10 * (columns - cols)
    found = window.images[1, 2] * 10000
    assert np.abs(found[:, inside] - expected[inside]).max() <= 1
    assert f"{paths[1].name}: resampled (bilinear) to the grid of {paths[0].name}" in series.remarks


def test_the_grid_is_that_of_the_first_date_whatever_is_named_first(tmp_path: Path) -> None:
    paths = shifted(tmp_path, ramp(), 3)

    series = open_them([paths[1], paths[0], paths[2]], align=True)

    assert series.grid.transform == PLACE


def image_elsewhere(crs: str, pixel: float, size: tuple[int, int]) -> tuple[Any, Affine]:
    """Columns of the first grid at the pixels (H, W) of an image in another CRS, and its place."""
    xs, ys = move_points("EPSG:32633", crs, [500000.0, 500150.0], [5000000.0, 4999880.0])
    left, top = min(xs) - 5 * pixel, max(ys) + 5 * pixel
    rows, cols = np.mgrid[: size[0], : size[1]] + 0.5
    x, y = left + cols * pixel, top - rows * pixel
    there = np.array(move_points(crs, "EPSG:32633", x.ravel(), y.ravel())[0])
    return ((there - 500000) / 3).reshape(size), Affine(pixel, 0, left, 0, -pixel, top)


ELSEWHERE = [
    ("EPSG:4326", 0.000027, (80, 110)),
    ("EPSG:3857", 4.3, (60, 80)),
    ("EPSG:32633", 1.0, (140, 170)),
    ("EPSG:32634", 3.0, (80, 90)),
]


@pytest.mark.parametrize(("crs", "pixel", "size"), ELSEWHERE)
def test_pixels_from_another_crs_and_resolution_land_in_their_places(
    tmp_path: Path, crs: str, pixel: float, size: tuple[int, int]
) -> None:
    paths = write_series(tmp_path, noise(size=SIZE))
    column, place = image_elsewhere(crs, pixel, size)
    values = np.broadcast_to(2000 + 100 * column, (4, *size)).round().astype("uint16")
    write_moved(paths[1], values, place, crs)

    window = whole(open_them(tmp_path, align=True))

    found = (window.images[1] * 10000 - 2000) / 100
    assert np.abs(found - (np.arange(SIZE[1]) + 0.5)).max() < 0.1  # of a pixel


@pytest.mark.parametrize(("crs", "pixel", "size"), ELSEWHERE)
def test_an_edge_lands_on_its_pixel_from_another_crs_and_resolution(
    tmp_path: Path, crs: str, pixel: float, size: tuple[int, int]
) -> None:
    paths = write_series(tmp_path, noise(size=SIZE))
    column, place = image_elsewhere(crs, pixel, size)
    values = np.broadcast_to(np.where(column >= 25, 8000, 1000), (4, *size))
    write_moved(paths[1], values.astype("uint16"), place, crs)

    window = whole(open_them(tmp_path, align=True))

    assert window.observed.all()
    level = window.images[1, 0] * 10000
    crossing = 25 + (4500 - level[:, 20:30].mean(axis=1)) / 700  # where the mean puts the edge
    assert np.abs(crossing - 25).max() < 0.5
    assert (level[:, :23] == 1000).all()
    assert (level[:, 27:] == 8000).all()


@pytest.mark.parametrize("nodata", [None, -1])
def test_windows_of_a_moved_image_equal_the_whole(tmp_path: Path, nodata: int | None) -> None:
    images = noise(size=(300, 700)).astype("uint16" if nodata is None else "int16")
    paths = write_series(tmp_path, images)
    xs, ys = move_points("EPSG:32633", "EPSG:32634", [500000.0], [5000000.0])
    place = Affine(3, 0.1, xs[0], 0.2, -3, ys[0])
    write_moved(paths[1], images[1], place, "EPSG:32634", nodata=nodata)
    expected = whole(open_them(tmp_path, align=True))
    assert expected.observed.mean() > 0.5

    series = open_them(tmp_path, align=True)

    for row in range(0, 300, 140):
        for col in (100, 0):
            h = min(140, 300 - row)
            window = series.read(row, col, h, 600)
            there = (slice(row, row + h), slice(col, col + 600))
            assert np.array_equal(window.images, expected.images[:, :, *there])
            assert np.array_equal(window.observed, expected.observed[there])


def test_an_image_of_another_place_is_refused(tmp_path: Path) -> None:
    paths = shifted(tmp_path, ramp(), 5000)

    message = refusal(DataError, tmp_path, align=True)

    assert f"{paths[1].name}: lies beside {paths[0].name}" in message


@pytest.mark.parametrize("which", [0, 1])
def test_images_without_crs_are_refused_where_some_must_move(tmp_path: Path, which: int) -> None:
    paths = shifted(tmp_path, ramp(), 3)
    write_raster(paths[which], noise(1, size=SIZE)[0], crs=None)

    message = refusal(DataError, tmp_path, align=True)

    assert f"{paths[which].name}: found no CRS of the Earth, expected one to resample" in message


@pytest.mark.parametrize(
    "crs",
    [
        'LOCAL_CS["site",UNIT["metre",1]]',
        "+proj=geocent +datum=WGS84",
        "+proj=merc +R=1737400",
    ],
)
def test_an_image_with_no_way_to_the_grid_is_refused(tmp_path: Path, crs: str) -> None:
    paths = write_series(tmp_path, noise(size=SIZE))
    write_raster(paths[1], noise(1, size=SIZE)[0], crs=crs)

    message = refusal(DataError, tmp_path, align=True)

    sentences = ("found no CRS of the Earth", "cannot be resampled", "lies beside")
    assert any(sentence in message for sentence in sentences)
    assert paths[1].name in message


def test_images_without_crs_on_one_grid_need_none(tmp_path: Path) -> None:
    write_series(tmp_path, crs=None)

    assert whole(open_them(tmp_path, align=True)).observed.all()


def test_bands_and_types_must_agree_all_the_same(tmp_path: Path) -> None:
    paths = shifted(tmp_path, ramp(), 3)
    write_raster(paths[2], ramp(5, "int16"))

    message = refusal(DataError, tmp_path, align=True)

    assert "found bands 5, expected 4" in message
    assert "found type int16, expected uint16" in message


# ──────────────────────────────────────── what is not seen ────────────────────────────────────────

HOLE = (slice(10, 20), slice(15, 25))
SHIFT = 2.25


def hole_on_grid() -> NDArray[np.bool_]:
    """Pixels of the first grid whose middle lies in the hole or beyond the shifted image."""
    columns = np.arange(SIZE[1]) + 0.5 - SHIFT
    hidden = np.zeros(SIZE, np.bool_)
    hidden[10:20, (columns > 15) & (columns < 25)] = True
    hidden[:, columns < 0] = True
    return hidden


def write_hole(folder: Path, kind: str) -> Path:
    """A shifted second image with a hole of garbage."""
    dtype = "float32" if "float" in kind else "int16" if "-" in kind else "uint16"
    values = np.full((4, *SIZE), 1000, dtype)
    where = (slice(None), *HOLE)
    nodata = float(kind.split()[-1]) if "tag" in kind else None
    values[where] = nodata if nodata is not None else 30000
    if "NaN" in kind:
        values[where] = np.nan
    if "alpha" in kind:
        values = np.concatenate([values, np.full_like(values[:1], 65535)])
        values[4][HOLE] = 0
    path = shifted(folder, values, SHIFT, nodata=nodata)[1]
    if "alpha" in kind:
        for day in (0, 2):
            image = noise(1, 5, size=SIZE)[0].astype(dtype)
            write_raster(folder / f"city_{DAYS[day]}.tif", image)
        for file in folder.iterdir():
            change_header(file, colors=("blue", "green", "red", "undefined", "alpha"))
    if "mask" in kind:
        mask = np.full(SIZE, 255, np.uint8)
        mask[HOLE] = 0
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="in" in kind), rasterio.open(path, "r+") as file:
            file.write_mask(mask)
    return path


KINDS = (
    "tag 0", "tag 65535", "tag -9999", "float tag -9999", "float tag nan", "float NaN", "alpha",
    "alpha and tag 0", "mask in", "mask beside", "float mask in", "float alpha",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_seen_is_not_seen_on_the_other_grid_and_mixes_with_nothing(
    tmp_path: Path, kind: str
) -> None:
    write_hole(tmp_path, kind)

    window = whole(open_them(tmp_path, align=True))

    assert np.array_equal(window.observed, ~hole_on_grid())
    level = 1000.0 if "float" in kind else np.float32(1000) / np.float32(10000)
    assert (window.images[1][:, window.observed] == level).all()


@pytest.mark.parametrize("tag", ["tag 0", "tag -9999", "float tag nan"])
def test_a_mask_and_a_tag_are_both_heeded(tmp_path: Path, tag: str) -> None:
    path = write_hole(tmp_path, tag)
    mask = np.full(SIZE, 255, np.uint8)
    mask[30] = 0
    with rasterio.open(path, "r+") as raster:
        raster.write_mask(mask)

    window = whole(open_them(tmp_path, align=True))

    hidden = hole_on_grid()
    hidden[30] = True
    assert np.array_equal(window.observed, ~hidden)


def test_a_negative_tag_in_one_band_hides_the_pixel(tmp_path: Path) -> None:
    values = np.full((4, *SIZE), 1000, "int16")
    values[2][HOLE] = -9999
    shifted(tmp_path, values, SHIFT, nodata=-9999)

    window = whole(open_them(tmp_path, align=True))

    differs = np.argwhere(window.observed == hole_on_grid())
    assert {int(col) for _, col in differs} <= {17, 27}  # half a pixel from the border of the hole
    assert (window.images[1][:, window.observed] == np.float32(1000) / np.float32(10000)).all()


def test_dark_near_infrared_of_an_8_bit_file_is_no_alpha_on_the_other_grid(tmp_path: Path) -> None:
    values = np.full((4, *SIZE), 100, np.uint8)
    values[3] = 60
    values[3][HOLE] = 0
    shifted(tmp_path, values, SHIFT)

    window = whole(open_them(tmp_path, align=True))

    beyond = np.arange(SIZE[1]) + 0.5 < SHIFT
    assert np.array_equal(window.observed, np.broadcast_to(~beyond, SIZE))
    assert (window.images[1, 0][:, ~beyond] == np.float32(100) / np.float32(255)).all()


def test_alpha_of_the_network_hides_on_the_other_grid(tmp_path: Path) -> None:
    values = np.full((4, *SIZE), 100, np.uint8)
    values[3] = 255
    values[:, HOLE[0], HOLE[1]] = 0
    paths = shifted(tmp_path, values, SHIFT)
    for path in (paths[0], paths[2]):
        image = noise(1, size=SIZE, dtype="uint8")[0]
        image[3] = 255
        write_raster(path, image)

    window = whole(open_them(tmp_path, RGBA, align=True))

    assert np.array_equal(window.observed, ~hole_on_grid())
    assert (window.images[1, :3][:, window.observed] == np.float32(100) / np.float32(255)).all()


def test_rgb_gets_an_alpha_band_on_the_other_grid(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise(bands=3, size=SIZE, dtype="uint8"))
    write_moved(paths[1], ramp(3, "uint8"), PLACE @ Affine.translation(SHIFT, 0))

    window = whole(open_them(tmp_path, RGBA, align=True))

    assert (window.images[:, 3] == 1).all()
    assert window.observed[:, math.ceil(SHIFT) :].all()
    assert not window.observed[:, :2].any()


def test_infinite_values_are_a_fault_on_the_other_grid_too(tmp_path: Path) -> None:
    values = np.full((4, *SIZE), 0.1, "float32")
    values[1, 12:14, 20:22] = np.inf
    path = shifted(tmp_path, values, SHIFT)[1]

    assert f"{path}: 1 fault" in refusal(DataError, tmp_path, align=True)


def test_pictures_of_a_moved_image_show_where_it_lies(tmp_path: Path) -> None:
    shifted(tmp_path, ramp(), 25)

    values, seen = open_them(tmp_path, align=True).reduced(1, 10)

    assert values.shape == (4, 4, 5)
    assert seen[0].tolist() == [False, False, True, True, True]


# ─────────────────────────────────────────── clouds ───────────────────────────────────────────


@pytest.mark.parametrize("tag", [None, 0])
def test_clouds_take_the_nearest_pixel_and_hide_what_they_do_not_reach(
    tmp_path: Path, tag: int | None
) -> None:
    write_series(tmp_path / "images", noise(size=SIZE))
    mask = np.zeros((20, 20), np.uint8)  # pixels twice as large; reaches column 40
    mask[5:10, 5:10] = 255
    path = tmp_path / "clouds" / f"mask_{DAYS[1]}.tif"
    write_moved(path, mask, PLACE @ Affine.scale(2), nodata=tag)

    series = open_them(tmp_path / "images", align=True, clouds=(str(path.parent),))

    hidden = np.zeros(SIZE, np.bool_)
    hidden[10:20, 10:20] = True
    hidden[:, 40:] = True
    assert np.array_equal(whole(series).observed, ~hidden)


def test_clouds_without_crs_cannot_be_moved(tmp_path: Path) -> None:
    write_series(tmp_path / "images", noise(size=SIZE))
    write_raster(tmp_path / "clouds" / f"mask_{DAYS[1]}.tif", np.zeros(SIZE, np.uint8), crs=None)

    message = refusal(
        DataError, tmp_path / "images", align=True, clouds=(str(tmp_path / "clouds"),)
    )

    assert "found CRS None" in message


@pytest.mark.parametrize("run", ["rows northwards", "columns westwards", "both"])
@pytest.mark.parametrize("first", [True, False])
def test_rasters_whose_rows_or_columns_run_the_other_way_are_aligned(
    run: str, first: bool, tmp_path: Path
) -> None:
    images = noise(size=(24, 36))
    paths = write_series(tmp_path, images)
    with rasterio.open(paths[0]) as raster:
        placed = raster.transform
    flips = {"rows northwards": (1, -1), "columns westwards": (-1, 1), "both": (-1, -1)}[run]
    turned = placed @ Affine.translation(36 * (flips[0] < 0), 24 * (flips[1] < 0))
    turned = turned @ Affine.scale(*flips)
    for number, path in enumerate(paths):
        if (number == 0) is first:
            write_raster(path, images[number][:, :: flips[1], :: flips[0]])
            change_header(path, transform=turned)

    window = open_them(tmp_path, align=True).read(0, 0, 24, 36)

    expected = images.astype("float32") / np.float32(10000)
    if first:
        expected = expected[:, :, :: flips[1], :: flips[0]]
    assert window.observed.all()
    np.testing.assert_allclose(window.images, expected, atol=1.01e-4)  # a digit of 16 bits
