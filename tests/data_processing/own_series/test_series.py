"""How a series is read: windows, what is seen, and what stands where nothing is seen."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing.own_series.series import spec_for
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import (
    BGRN,
    RGBA,
    change_header,
    noise,
    open_them,
    refusal,
    whole,
    write_series,
)
from utils.errors import DataError

HOLE = (3, 4)  # a pixel without data at the second date


def scaled(images: Any, divisor: int = 10000) -> Any:
    return images.astype("float32") / np.float32(divisor)


# ─────────────────────────────────────────── windows ───────────────────────────────────────────

STORED: dict[str, dict[str, Any]] = {
    "strips": {},
    "strips, not compressed": {"compression": None},
    "tiles": {"tiled": True},
    "lzw": {"compression": "lzw"},
    "tiles, zstd": {"compression": "zstd", "tiled": True},
}


@pytest.mark.parametrize("how", STORED)
def test_any_window_is_the_part_of_the_whole_that_lies_there(tmp_path: Path, how: str) -> None:
    images = noise(size=(53, 70))
    images[1, :, 10:20, 30:50] = 0
    write_series(tmp_path, images, nodata=0, **STORED[how])
    series = open_them(tmp_path, min_valid_dates=2)

    expected = whole(series)

    rng = np.random.default_rng(0)
    for _ in range(20):
        row, col = int(rng.integers(53)), int(rng.integers(70))
        h, w = int(rng.integers(1, 54 - row)), int(rng.integers(1, 71 - col))
        window = series.read(row, col, h, w)
        there = (slice(row, row + h), slice(col, col + w))
        assert np.array_equal(window.images, expected.images[:, :, *there])
        assert np.array_equal(window.observed, expected.observed[there])


def test_jpeg_in_tiles_is_read_as_gdal_reads_it(tmp_path: Path) -> None:
    images = noise(bands=3, size=(40, 50), dtype="uint8")
    paths = write_series(tmp_path, images, compression="jpeg", tiled=True)

    window = whole(open_them(tmp_path, RGBA))

    with rasterio.open(paths[2]) as raster:
        assert np.array_equal(window.images[2, :3], scaled(raster.read(), 255))


def test_a_raster_smaller_than_the_window_is_filled_with_its_edge_and_not_observed(
    tmp_path: Path,
) -> None:
    images = noise(size=(5, 7))
    write_series(tmp_path, images)

    window = open_them(tmp_path).read(0, 0, 16, 16)

    edge = np.pad(scaled(images), ((0, 0), (0, 0), (0, 11), (0, 9)), mode="edge")
    assert np.array_equal(window.images, edge)
    assert window.images.dtype == np.float32
    assert window.observed[:5, :7].all()
    assert window.observed.sum() == 35


def test_a_raster_of_one_pixel_is_a_series(tmp_path: Path) -> None:
    write_series(tmp_path, noise(size=(1, 1)))

    window = open_them(tmp_path).read(0, 0, 8, 8)

    assert window.images.shape == (3, 4, 8, 8)
    assert window.observed.sum() == 1


def test_a_closed_series_is_opened_again_when_it_is_read(tmp_path: Path) -> None:
    write_series(tmp_path)
    series = open_them(tmp_path)
    before = whole(series)

    series.close()
    series.close()

    assert np.array_equal(whole(series).images, before.images)


def test_a_series_may_be_read_from_another_thread(tmp_path: Path) -> None:
    images = noise()
    write_series(tmp_path, images)
    series = open_them(tmp_path)
    read: list[Any] = []

    reader = threading.Thread(target=lambda: read.append(whole(series)))
    reader.start()
    reader.join()

    assert np.array_equal(read[0].images, scaled(images))


@pytest.mark.parametrize("closed", [False, True])
def test_a_file_that_is_replaced_during_the_work_is_noticed(tmp_path: Path, closed: bool) -> None:
    paths = write_series(tmp_path)
    series = open_them(tmp_path)
    whole(series)
    if closed:
        series.close()

    write_raster(tmp_path / "new.tif", noise(dtype="uint16")[2])
    os.replace(tmp_path / "new.tif", paths[1])

    with pytest.raises(DataError, match="was changed while it was used") as caught:
        whole(series)
    assert caught.value.where == str(paths[1])


def test_a_file_that_is_removed_during_the_work_is_named(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    series = open_them(tmp_path)
    paths[1].unlink()

    with pytest.raises(DataError, match=paths[1].name):
        whole(series)


def test_damage_in_the_middle_of_a_file_names_it(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise(size=(400, 400)), tiled=True)
    content = bytearray(paths[2].read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    paths[2].write_bytes(bytes(content))

    with pytest.raises(DataError, match="the raster cannot be read") as caught:
        whole(open_them(tmp_path))
    assert caught.value.where == str(paths[2])


def test_about_every_nth_pixel_is_read_for_pictures(tmp_path: Path) -> None:
    images = noise(size=(41, 30))
    images[1, :, 20:] = 0
    write_series(tmp_path, images, nodata=0)

    values, seen = open_them(tmp_path).reduced(1, 10)

    assert values.shape == (4, 5, 3)
    assert values.dtype == np.uint16
    assert seen.tolist() == [[True] * 3] * 2 + [[False] * 3] * 3


# ─────────────────────────────────────── what is not seen ───────────────────────────────────────


def with_hole(folder: Path, kind: str) -> Any:
    """Three images, the second without data at HOLE; returns the (T, C, H, W) that are data."""
    dtype = "float32" if "float" in kind else "int16" if "-" in kind else "uint16"
    images, clean = noise().astype(dtype), noise().astype(dtype)
    hole = (1, slice(None), *HOLE)
    if "tag" in kind:
        tag = float(kind.split()[-1])
        images[hole] = tag
        write_series(folder, images, nodata=tag)
    elif kind == "float NaN":
        images[1, 2, *HOLE] = np.nan  # in one band
        write_series(folder, images)
    elif kind == "alpha":
        images = np.concatenate([images, np.full_like(images[:, :1], 65535)], axis=1)
        images[1, 4, *HOLE] = 0
        for path in write_series(folder, images):
            change_header(path, colors=("blue", "green", "red", "undefined", "alpha"))
    else:
        mask = np.full(images.shape[2:], 255, np.uint8)
        mask[HOLE] = 0
        path = write_series(folder, images)[1]
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=kind == "mask inside"),
            rasterio.open(path, "r+") as raster,
        ):
            raster.write_mask(mask)
        assert path.with_name(f"{path.name}.msk").exists() == (kind == "mask beside")
    return clean


HOLES = (
    "tag 0", "tag 65535", "tag -9999", "float tag -9999", "float tag nan", "float tag 1e20",
    "float NaN", "alpha", "mask inside", "mask beside",
)  # fmt: skip


@pytest.mark.parametrize("kind", HOLES)
def test_a_pixel_without_data_at_one_date_is_not_observed(tmp_path: Path, kind: str) -> None:
    clean = with_hole(tmp_path, kind)
    divisor = 1 if clean.dtype.kind == "f" else 10000

    window = whole(open_them(tmp_path))

    assert np.argwhere(~window.observed).tolist() == [list(HOLE)]
    kept = scaled(clean, divisor)
    kept[1, :, *HOLE] = kept[0, :, *HOLE]
    assert np.array_equal(window.images, kept)


def test_a_negative_tag_in_one_band_is_enough_and_a_dark_band_is_not(tmp_path: Path) -> None:
    images = noise().astype("int16")
    images[1, 2, *HOLE] = -9999
    write_series(tmp_path / "tagged", images, nodata=-9999)
    images[1, 2, *HOLE] = 0
    write_series(tmp_path / "dark", images, nodata=0)

    assert not whole(open_them(tmp_path / "tagged")).observed[HOLE]
    assert whole(open_them(tmp_path / "dark")).observed.all()


def test_each_image_has_its_own_nodata_tag(tmp_path: Path) -> None:
    images = noise()
    paths = write_series(tmp_path, images, nodata=0)
    images[1, :, *HOLE] = 7777
    write_raster(paths[1], images[1], nodata=7777)

    assert np.argwhere(~whole(open_them(tmp_path)).observed).tolist() == [list(HOLE)]


def test_alpha_of_the_network_hides_where_it_is_zero(tmp_path: Path) -> None:
    images = noise(dtype="uint8")
    images[:, 3] = 255
    images[1, :, *HOLE] = 0
    write_series(tmp_path, images)

    window = whole(open_them(tmp_path, RGBA))

    assert np.argwhere(~window.observed).tolist() == [list(HOLE)]
    assert (window.images[:, 3] == 1).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_a_fault_of_their_file(tmp_path: Path, value: float) -> None:
    images = noise().astype("float32") / 10000
    images[1, 2, 7, 8] = value
    paths = write_series(tmp_path, images)

    message = refusal(DataError, tmp_path)

    assert str(paths[1]) in message
    assert "found 1 infinite values" in message


def test_infinite_values_that_the_tag_names_are_no_data(tmp_path: Path) -> None:
    images = noise().astype("float32") / 10000
    images[1, 2, *HOLE] = -np.inf
    write_series(tmp_path, images, nodata=-np.inf)

    assert np.argwhere(~whole(open_them(tmp_path)).observed).tolist() == [list(HOLE)]


# ──────────────────────────────────────── what is carried ────────────────────────────────────────


def literal(images: Any, seen: Any) -> Any:
    """What the docstring of ``read`` says, pixel by pixel."""
    filled = np.zeros(images.shape, np.float32)
    for row, col in np.ndindex(seen.shape[1:]):
        dates = np.flatnonzero(seen[:, row, col])
        for date in range(len(images)):
            before = dates[dates <= date]
            if len(dates):
                source = before[-1] if len(before) else dates[0]
                filled[date, :, row, col] = images[source, :, row, col]
    return filled


@pytest.mark.parametrize("least", [1, 2, 3, 4, None])
def test_gaps_take_the_value_before_or_the_first_seen(tmp_path: Path, least: int | None) -> None:
    images = noise(4, size=(12, 16))
    seen = np.random.default_rng(2).random((4, 12, 16)) < 0.5
    images.transpose(1, 0, 2, 3)[:, ~seen] = 0
    write_series(tmp_path, images, nodata=0)
    assert {0, 1, 2, 3, 4} == set(seen.sum(axis=0).ravel().tolist())

    window = whole(open_them(tmp_path, count=4, min_valid_dates=least))

    assert np.array_equal(window.images, literal(scaled(images), seen))
    assert np.array_equal(window.observed, seen.sum(axis=0) >= (least or 4))


def test_partial_series_are_remarked_on(tmp_path: Path) -> None:
    write_series(tmp_path)

    said = [" ".join(open_them(tmp_path, min_valid_dates=least).remarks) for least in (2, 3)]
    assert ["pixels seen at 2 of 3 dates" in one for one in said] == [True, False]


# ─────────────────────────────────────────── types ───────────────────────────────────────────


@pytest.mark.parametrize(
    ("dtype", "divisor"),
    [("uint8", 255), ("int8", 255), ("uint16", 10000), ("int16", 10000), ("float32", 1),
     ("float64", 1)],
)  # fmt: skip
def test_values_are_scaled_by_their_type(tmp_path: Path, dtype: str, divisor: int) -> None:
    images = noise(dtype=dtype)
    write_series(tmp_path, images)

    auto, stored = (
        whole(open_them(tmp_path, bands="1,2,3,4", pixel_scale=s)) for s in ("auto", "stored")
    )

    assert np.array_equal(auto.images, scaled(images, divisor))
    assert np.array_equal(stored.images, images.astype("float32"))
    assert auto.observed.all()


def test_negative_reflectance_is_a_measurement(tmp_path: Path) -> None:
    images = noise().astype("int16") - 300
    write_series(tmp_path, images, nodata=-32768)

    window = whole(open_them(tmp_path))

    assert window.observed.all()
    assert np.array_equal(window.images, scaled(images))


def test_facts_for_memory_are_those_of_the_files(tmp_path: Path) -> None:
    write_series(tmp_path, noise(size=(40, 40)), tiled=True)
    series = open_them(tmp_path)

    assert series.bytes_per_pixel == 2 * 4 * 3
    assert series.block_rows == 16


def test_visible_bands_are_found_by_name() -> None:
    assert spec_for(BGRN, 6).visible_bands == (2, 1, 0)
    assert spec_for(RGBA, 9).visible_bands == (0, 1, 2)
    assert spec_for(RGBA, 9).alpha_band == 3
    assert spec_for(("sar",), 2).visible_bands == (0, 0, 0)
