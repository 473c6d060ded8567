"""Rasters: every compression, windows, no-data, and maps on the grid of another raster."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from data_processing.rasters import raster_blocks, raster_info, read_window, write_map
from tests.scene_files import write_raster
from utils.errors import DataError

VALUES = np.random.default_rng(0).integers(1, 200, size=(4, 40, 30)).astype(np.uint8)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("tiled", [False, True])
def test_a_window_is_the_same_in_every_compression(
    tmp_path: Path, compression: str | None, tiled: bool
) -> None:
    path = tmp_path / "größe 1" / "a.tif"
    write_raster(path, VALUES, compression=compression, tiled=tiled)
    values, has_data = read_window(path, 5, 7, 20, 11)
    np.testing.assert_array_equal(values, VALUES[:, 5:25, 7:18])
    assert has_data.all()


def test_the_header_says_size_bands_type_and_place(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", VALUES, nodata=255)
    info = raster_info(tmp_path / "a.tif")
    assert (info.height, info.width, info.count, info.dtype) == (40, 30, 4, "uint8")
    assert (info.crs.to_epsg(), info.nodata, info.georeferenced) == (32633, 255, True)


def test_a_raster_without_georeference_is_read_without_a_warning(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", VALUES, crs=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not raster_info(tmp_path / "a.tif").georeferenced
        read_window(tmp_path / "a.tif", 0, 0, 3, 3)


def test_rasters_written_by_tifffile_and_imageio_are_read(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    imageio = pytest.importorskip("imageio.v2")
    image = np.random.default_rng(1).random((20, 24, 4)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack", planarconfig="contig")
    imageio.imwrite(tmp_path / "b.tif", image)
    for name in ("a.tif", "b.tif"):
        values, _ = read_window(tmp_path / name, 0, 0, 20, 24)
        np.testing.assert_array_equal(values, np.moveaxis(image, -1, 0))


def test_the_nodata_tag_and_nan_say_where_there_is_no_data(tmp_path: Path) -> None:
    values = np.ones((2, 4, 4), dtype=np.float32)
    values[0, 0, 0] = -9999
    values[1, 1, 1] = np.nan
    write_raster(tmp_path / "a.tif", values, nodata=-9999)
    _, has_data = read_window(tmp_path / "a.tif", 0, 0, 4, 4)
    expected = np.ones((4, 4), dtype=bool)
    expected[0, 0] = expected[1, 1] = False
    np.testing.assert_array_equal(has_data, expected)


def test_with_the_tag_zero_all_bands_must_be_zero(tmp_path: Path) -> None:
    values = np.ones((2, 2, 2), dtype=np.uint8)
    values[0, 0, 0] = 0  # dark in one band only
    values[:, 1, 1] = 0
    write_raster(tmp_path / "a.tif", values, nodata=0)
    _, has_data = read_window(tmp_path / "a.tif", 0, 0, 2, 2)
    np.testing.assert_array_equal(has_data, [[True, True], [True, False]])


def test_a_rewritten_file_is_not_served_from_the_open_handle(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_raster(path, VALUES)
    read_window(path, 0, 0, 4, 4)
    write_raster(path, VALUES[:, :20] + 1, compression=None)
    np.testing.assert_array_equal(read_window(path, 0, 0, 4, 4)[0], VALUES[:, :4, :4] + 1)


@pytest.mark.parametrize("tiled", [False, True])
def test_blocks_cover_every_pixel_once(
    tmp_path: Path, tiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_processing.rasters.BLOCK_VALUES", 2000)
    write_raster(tmp_path / "a.tif", np.tile(VALUES, (1, 10, 1)), tiled=tiled)
    covered = np.zeros((400, 30), dtype=int)
    blocks = list(raster_blocks(raster_info(tmp_path / "a.tif")))
    for row, col, height, width in blocks:
        covered[row : row + height, col : col + width] += 1
    assert (covered == 1).all()
    assert len(blocks) > 1


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"II*\0"])
def test_what_is_no_raster_is_named_with_advice(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tif(.|\n)*cannot be read(.|\n)*copy or download"):
        raster_info(path)


def test_a_map_takes_grid_tags_and_colours(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", VALUES)
    like = raster_info(tmp_path / "a.tif")
    array = np.zeros((40, 30), dtype=np.uint8)
    array[3, 4] = 2
    write_map(
        tmp_path / "maps" / "m.tif", array, like, 255, {"protocol": "x"}, {2: (255, 0, 0, 255)}
    )
    with rasterio.open(tmp_path / "maps" / "m.tif") as raster:
        np.testing.assert_array_equal(raster.read(1), array)
        assert (raster.crs, raster.transform, raster.nodata) == (like.crs, like.transform, 255)
        assert raster.tags()["protocol"] == "x"
        assert raster.colormap(1)[2] == (255, 0, 0, 255)
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["m.tif"]


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", VALUES)
    with pytest.raises(ValueError, match=r"found shape \(3, 3\).*expected \(40, 30\)"):
        write_map(
            tmp_path / "m.tif", np.zeros((3, 3), np.uint8), raster_info(tmp_path / "a.tif"), None
        )
