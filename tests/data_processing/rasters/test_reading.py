"""Rasters: every compression, windows, no-data, and maps on the grid of another raster."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing.rasters.held import HeldRasters
from data_processing.rasters.reading import (
    DECODED_MIB,
    _open_rasters,
    bound_decoded_blocks,
    open_raster,
    raster_blocks,
    raster_info,
    read_window,
)
from data_processing.rasters.writing import write_map
from tests.helpers.scene_files import write_raster
from utils.errors import DataError
from utils.settings import REPOSITORY

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


def test_a_replaced_file_of_the_same_size_and_time_is_opened_afresh(tmp_path: Path) -> None:
    path, other = tmp_path / "a.tif", tmp_path / "b.tif"
    write_raster(path, VALUES, compression=None)
    write_raster(other, VALUES[::-1], compression=None)
    read_window(path, 0, 0, 4, 4)
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert other.stat().st_size == status.st_size
    os.replace(other, path)
    np.testing.assert_array_equal(read_window(path, 0, 0, 4, 4)[0], VALUES[::-1, :4, :4])


def test_a_file_removed_under_its_open_handle_is_told(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", VALUES)
    read_window(tmp_path / "a.tif", 0, 0, 4, 4)
    (tmp_path / "a.tif").unlink()
    with pytest.raises(DataError, match=r"a\.tif"):
        read_window(tmp_path / "a.tif", 0, 0, 4, 4)


def files(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number}.tif" for number in range(count)]
    for number, path in enumerate(paths):
        write_raster(path, VALUES + np.uint8(number))
    return paths


def open_in_this_process(folder: Path) -> int:
    """Files of the folder that the system says are open."""
    held = Path("/proc/self/fd")
    if not held.is_dir():
        pytest.skip("the system does not list open files")
    return sum(str(folder) in os.path.realpath(entry) for entry in held.iterdir())


def test_no_more_files_are_held_open_than_allowed(tmp_path: Path) -> None:
    paths = files(tmp_path, 7)
    held = HeldRasters(open_raster, most_files=3, most_bytes=1 << 30)
    for path in [*paths, *paths[:2], *paths]:
        assert held.get(path).read(1)[0, 0] == VALUES[0, 0, 0] + paths.index(path)
        assert 1 <= len(held) <= 3
    assert open_in_this_process(tmp_path) == 3


def test_the_file_used_last_stays_open(tmp_path: Path) -> None:
    first, second, third = files(tmp_path, 3)
    held = HeldRasters(open_raster, most_files=2, most_bytes=1 << 30)
    kept = held.get(first)
    for path in (second, first, third):
        held.get(path)
    assert held.get(first) is kept


def test_buffers_of_open_files_take_no_more_memory_than_allowed(tmp_path: Path) -> None:
    paths = files(tmp_path, 5)
    block = raster_info(paths[0]).block_shape
    held = HeldRasters(open_raster, most_files=100, most_bytes=2 * 2 * block[0] * block[1] * 4)
    for path in paths:
        held.get(path)
    assert len(held) == 2
    tiny = HeldRasters(open_raster, most_files=100, most_bytes=1)
    assert [tiny.get(path).count for path in paths] == [4] * 5
    assert len(tiny) == 1


def test_half_of_the_files_that_the_system_allows_are_held_at_most() -> None:
    resource = pytest.importorskip("resource")
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = _open_rasters().most_files
    assert 1 <= most <= 1024
    assert allowed == resource.RLIM_INFINITY or most <= allowed // 2


GROWTH = """
import sys
from pathlib import Path
from data_processing.rasters.reading import bound_decoded_blocks, read_window

def resident_mib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

bound_decoded_blocks()
path = Path(sys.argv[1])
read_window(path, 0, 0, 8, 8)
before = resident_mib()
for row in range(0, 3072, 64):
    read_window(path, row, 0, 64, 64)
print(resident_mib() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is told by Linux only")
@pytest.mark.parametrize(
    ("own", "least", "most"), [(None, 10, 1.5 * DECODED_MIB), ("200", 100, 220)]
)
def test_decoded_blocks_take_no_more_memory_than_allowed(
    tmp_path: Path, own: str | None, least: float, most: float
) -> None:
    path = tmp_path / "large.tif"
    write_raster(path, np.zeros((4, 3072, 3072), dtype=np.float32))
    surroundings = {k: v for k, v in os.environ.items() if k != "GDAL_CACHEMAX"}
    if own is not None:
        surroundings["GDAL_CACHEMAX"] = own
    command = [sys.executable, "-c", GROWTH, str(path)]
    told = subprocess.run(
        command, cwd=REPOSITORY, env=surroundings, check=True, capture_output=True, text=True
    )
    assert least < float(told.stdout) < most


def test_memory_for_blocks_that_the_user_allows_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_CACHEMAX", "7")
    bound_decoded_blocks()
    assert os.environ["GDAL_CACHEMAX"] == "7"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_process_inherits_no_open_file(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    for path in paths:
        read_window(path, 0, 0, 4, 4)
    assert len(_open_rasters()) >= 3

    def look(results: Any) -> None:
        before = (len(_open_rasters()), open_in_this_process(tmp_path))
        results.put((*before, int(read_window(paths[1], 0, 0, 1, 1)[0][0, 0, 0])))

    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=look, args=(results,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert results.get() == (0, 0, int(VALUES[0, 0, 0]) + 1)
    np.testing.assert_array_equal(read_window(paths[2], 0, 0, 40, 30)[0], VALUES + np.uint8(2))


def test_threads_read_through_files_of_their_own(tmp_path: Path) -> None:
    (path,) = files(tmp_path, 1)
    held = HeldRasters(open_raster, most_files=8, most_bytes=1 << 30)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(held.get, path).result() is not held.get(path)
    with ThreadPoolExecutor(4) as pool:
        windows = pool.map(lambda row: read_window(path, row, 0, 4, 30)[0], [*range(36)] * 8)
        for row, window in zip([*range(36)] * 8, windows, strict=True):
            np.testing.assert_array_equal(window, VALUES[:, row : row + 4])


@pytest.mark.parametrize("tiled", [False, True])
def test_blocks_cover_every_pixel_once(
    tmp_path: Path, tiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_processing.rasters.reading.BLOCK_VALUES", 2000)
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
