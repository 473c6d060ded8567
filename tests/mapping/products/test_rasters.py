"""Change maps as GeoTIFFs (mapping/products/rasters.py)."""

from __future__ import annotations

import datetime
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import RasterioIOError
from rasterio.transform import Affine

from data_processing.rasters.reading import RasterInfo
from mapping.products import rasters as change_rasters
from mapping.products.rasters import BLOCK, write_change_rasters

H, W = 1100, 530
DATES = [datetime.date(2018, 1, 31), datetime.date(2018, 5, 1), datetime.date(2019, 12, 24)]
GRID = RasterInfo(
    W, H, 4, "uint16", CRS.from_epsg(3857), Affine(4.7, 1.71, 3e5, 1.71, -4.7, 6e6), None
)


def maps() -> NDArray[np.uint8]:
    """Moment and score (2, H, W)."""
    rng = np.random.default_rng(0)
    moment = rng.choice(np.array([0, 1, 2, 255], np.uint8), (H, W))
    return np.stack([moment, np.where(moment == 255, 255, 10 + 40 * moment).astype(np.uint8)])


def slabs() -> Iterator[tuple[int, NDArray[np.uint8]]]:
    whole = maps()
    for row in range(0, H, BLOCK):
        yield row, whole[:, row : row + BLOCK]


def written(folder: Path, source: Any = None) -> list[tuple[int, NDArray[np.uint8]]]:
    scratch = folder / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    given = slabs() if source is None else source
    return list(
        write_change_rasters(
            folder, scratch, given, GRID, DATES, {"SOURCE": "w.pth"}, {"SCORE_FORMULA": "p"}
        )
    )


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_what_is_written_slab_by_slab_is_the_whole_map(tmp_path: Path) -> None:
    taken = written(tmp_path)
    moment, score = maps()
    assert [row for row, _ in taken] == [0, 512, 1024]
    assert np.array_equal(read(tmp_path / "change_moment.tif"), moment)
    assert np.array_equal(read(tmp_path / "change_score.tif"), score)
    area = np.select([moment == 255, moment > 0], [255, 1], 0)
    assert np.array_equal(read(tmp_path / "change_area.tif"), area)
    numbers = np.select([moment == 255, moment == 1, moment == 2], [-1, 20180501, 20191224], 0)
    assert np.array_equal(read(tmp_path / "change_date.tif"), numbers)
    assert not list((tmp_path / "scratch").iterdir())


def test_the_grid_is_that_of_the_images_and_overviews_are_there(tmp_path: Path) -> None:
    written(tmp_path)
    for path in tmp_path.glob("*.tif"):
        with rasterio.open(path) as raster:
            assert raster.crs == GRID.crs
            assert raster.transform.almost_equals(GRID.transform, 1e-9)
            assert raster.block_shapes == [(BLOCK, BLOCK)]
            assert raster.overviews(1)
            assert raster.compression.value == "DEFLATE"
            assert raster.tags()["SOURCE"] == "w.pth"
    with rasterio.open(tmp_path / "change_moment.tif") as raster:
        colors = raster.colormap(1)
        assert colors[0] == (225, 225, 225, 255)
        assert len({colors[value] for value in range(3)}) == 3
        assert {colors[value][:3] for value in range(3, 256)} == {(255, 255, 255)}


def test_the_same_maps_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(tmp_path / name)
    for path in (tmp_path / "one").glob("*.tif"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_without_the_driver_for_it_maps_are_plain_tiled_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_rasters, "_has_cog", lambda: False)
    written(tmp_path)
    with rasterio.open(tmp_path / "change_moment.tif") as raster:
        assert raster.profile["tiled"]
        assert "LAYOUT" not in raster.tags(ns="IMAGE_STRUCTURE")
        assert np.array_equal(raster.read(1), maps()[0])


def test_maps_that_are_interrupted_leave_earlier_ones_as_they_are(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        yield 0, maps()[:, :BLOCK]
        raise KeyboardInterrupt

    (tmp_path / "change_area.tif").write_bytes(b"earlier")
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, broken())
    assert {path.name for path in tmp_path.iterdir()} == {"change_area.tif", "scratch"}
    assert (tmp_path / "change_area.tif").read_bytes() == b"earlier"


@pytest.mark.parametrize(("free", "number"), [(1000, errno.ENOSPC), (10**9, errno.EIO)])
def test_a_full_disk_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, number: int
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RasterioIOError("write failed")

    monkeypatch.setattr(rasterio.shutil, "copy", fails)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    with pytest.raises(OSError, match=r"not written whole|no space") as raised:
        written(tmp_path)
    assert raised.value.errno == number
    assert not list(tmp_path.glob("*.tif"))


def test_a_file_that_gdal_closed_without_a_word_on_a_full_disk_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(draft: Path, finished: Path, **_: Any) -> None:
        Path(finished).write_bytes(Path(draft).read_bytes()[:20_000])

    (tmp_path / "change_area.tif").write_bytes(b"earlier")
    monkeypatch.setattr(rasterio.shutil, "copy", cut_short)
    with pytest.raises(OSError, match="not written whole"):
        written(tmp_path)
    assert [path.name for path in tmp_path.glob("*.tif")] == ["change_area.tif"]
    assert (tmp_path / "change_area.tif").read_bytes() == b"earlier"
