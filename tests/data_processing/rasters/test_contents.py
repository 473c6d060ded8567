"""Files that are something else by their content, and files that would open others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from data_processing.rasters.reading import (
    IMAGES,
    header_of,
    open_raster,
    raster_info,
    read_window,
)
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import noise, open_them, refusal, write_series
from utils.errors import DataError
from utils.settings import REPOSITORY

RAW_VRT = """<VRTDataset rasterXSize="4" rasterYSize="4">
<VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">
<SourceFilename relativetoVRT="{relative}">{source}</SourceFilename><ImageOffset>0</ImageOffset>
<PixelOffset>1</PixelOffset><LineOffset>4</LineOffset></VRTRasterBand></VRTDataset>"""
SIMPLE_VRT = """<VRTDataset rasterXSize="30" rasterYSize="20">
<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>
<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>1</SourceBand>
</SimpleSource></VRTRasterBand></VRTDataset>"""
CONTENTS = {
    "it is a VRT": SIMPLE_VRT.format(relative=1, source="a.tif"),
    "map server (WMS)": "<GDAL_WMS><Service name='TMS'><ServerUrl>http://localhost:1/"
    "</ServerUrl></Service></GDAL_WMS>",
    "map server (WMTS)": "<GDAL_WMTS><GetCapabilitiesUrl>http://localhost:1</GetCapabilitiesUrl>"
    "</GDAL_WMTS>",
    "map server (WCS)": "<WCS_GDAL><ServiceURL>http://localhost:1?</ServiceURL></WCS_GDAL>",
    "index of other rasters": "<GDALTileIndexDataset><IndexDataset>a.gpkg</IndexDataset>"
    "</GDALTileIndexDataset>",
    "it is a web page": "\n<!DOCTYPE html><html>log in</html>",
    "it is a Git-LFS pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:00",
    "it is a database": "SQLite format 3\0",
    "it is a zip archive": "PK\x03\x04",
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("lead", ["", "<?xml version='1.0'?>\n<!-- made by hand -->\n"])
def test_what_a_file_is_by_its_content_is_said_and_nothing_is_opened(
    kind: str, lead: str, tmp_path: Path
) -> None:
    write_raster(tmp_path / "a.tif", noise(1)[0])
    path = tmp_path / "b.tif"
    path.write_text((lead if CONTENTS[kind].startswith("<") else "") + CONTENTS[kind])
    for drivers in (("GTiff",), IMAGES):
        with pytest.raises(DataError) as caught:
            raster_info(path, drivers)
        assert kind in str(caught.value)
        assert "expected GeoTIFF" in str(caught.value)


def test_a_file_of_the_system_is_not_mapped_by_a_vrt(tmp_path: Path) -> None:
    for name in ("x.tif", "x.vrt"):
        (tmp_path / name).write_text(RAW_VRT.format(relative=0, source="/etc/passwd"))
        with pytest.raises(DataError):
            raster_info(tmp_path / name, IMAGES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SIMPLE_VRT.format(relative=0, source="/etc/hostname"), "expected files in its own folder"),
        (SIMPLE_VRT.format(relative=1, source="../up.tif"), "expected files in its own folder"),
        (SIMPLE_VRT.format(relative=1, source="link.tif"), "expected files in its own folder"),
        (SIMPLE_VRT.format(relative=0, source="/vsicurl/http://localhost:1/a"), "in its own"),
        (SIMPLE_VRT.format(relative=1, source="http://localhost:1/a.tif"), "in its own folder"),
        (SIMPLE_VRT.format(relative=1, source="other.vrt"), "expected a raster file"),
        (SIMPLE_VRT.format(relative=1, source="gone.tif"), "expected a raster file"),
        (RAW_VRT.format(relative=1, source="a.tif"), "found VRTRawRasterBand"),
        ("<VRTDataset subClass='VRTWarpedDataset'></VRTDataset>", "found VRTWarpedDataset"),
        ("<GDAL_WMS></GDAL_WMS>", "it is no VRT"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><VRTDataset>&b;</VRTDataset>", "document type"),
        ("<VRTDataset", "it is no VRT"),
    ],
)
def test_a_vrt_is_made_of_files_in_its_own_folder(tmp_path: Path, text: str, said: str) -> None:
    folder = tmp_path / "city"
    write_raster(folder / "a.tif", noise(1)[0])
    write_raster(tmp_path / "up.tif", noise(1)[0])
    (folder / "link.tif").symlink_to(tmp_path / "up.tif")
    (folder / "x.vrt").write_text(text)
    with pytest.raises(DataError) as caught:
        raster_info(folder / "x.vrt", IMAGES)
    assert said in str(caught.value)


def test_a_source_of_a_vrt_is_no_vrt_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text(RAW_VRT.format(relative=0, source="/etc/passwd"))
    (tmp_path / "x.vrt").write_text(SIMPLE_VRT.format(relative=1, source="a.tif"))
    with pytest.raises(DataError, match="it is a VRT"):
        raster_info(tmp_path / "x.vrt", IMAGES)


def test_a_relative_name_counts_from_where_gdal_counts(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", noise(1)[0])
    (tmp_path / "x.vrt").write_text(SIMPLE_VRT.format(relative=0, source="a.tif"))
    with pytest.raises(DataError, match="in its own folder"):
        raster_info(tmp_path / "x.vrt", IMAGES)


def test_vrts_of_ones_own_folder_are_a_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    for path in paths:
        rasterio.shutil.copy(path, path.with_suffix(".vrt"), driver="VRT")
    expected = open_them(tmp_path).read(0, 0, 20, 30).images
    opened = open_them(str(tmp_path / "*.vrt"))
    np.testing.assert_array_equal(opened.read(0, 0, 20, 30).images, expected)
    with pytest.raises(DataError, match="it is a VRT"):
        raster_info(paths[0].with_suffix(".vrt"))  # where no one names one


@pytest.mark.parametrize("suffix", [".msk", ".ovr"])
def test_masks_and_overviews_beside_a_raster_hold_their_own_pixels(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / "a.tif"
    write_raster(path, noise(1)[0])
    path.with_name(f"a.tif{suffix}").write_text(RAW_VRT.format(relative=0, source="/etc/passwd"))
    with pytest.raises(DataError, match="it is a VRT"):
        read_window(path, 0, 0, 4, 4)


def test_overviews_elsewhere_are_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_raster(path, noise(1)[0])
    path.with_name("a.tif.aux.xml").write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/etc/x</MDI></Metadata>'
        "</PAMDataset>"
    )
    with pytest.raises(DataError, match="names another file as overview"):
        raster_info(path)


def test_names_that_look_like_addresses_are_files(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("zip:a.tif", "http:b.tif", "a#b?c.tif", "GTIFF_DIR:1.tif"):
        write_raster(tmp_path / name, noise(1)[0])
        assert raster_info(Path(name)).count == 4


def test_blocks_that_cannot_be_decoded_at_once_are_refused(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "width": 36000, "height": 36000, "count": 1, "dtype": "uint8"}
    options = {
        "tiled": True,
        "blockxsize": 36000,
        "blockysize": 36000,
        "compress": "deflate",
        "SPARSE_OK": "TRUE",
    }
    with rasterio.open(tmp_path / "a.tif", "w", **profile, **options):
        pass
    with pytest.raises(DataError, match=r"found blocks of 1.3 GB"):
        raster_info(tmp_path / "a.tif")


def test_a_file_of_variables_is_refused_with_what_helps(tmp_path: Path) -> None:
    parts = []
    for name in ("red", "nir"):
        write_raster(tmp_path / f"{name}.tif", noise(1, bands=1)[0])
        parts.append(tmp_path / f"{name}.tif")
    target = tmp_path / "cube_2020-01-15.nc"
    _two_variables(target)
    with pytest.raises(DataError, match="variables and no bands of its own") as caught:
        header_of(target, IMAGES)
    assert "gdal_translate NETCDF" in str(caught.value)
    write_raster(tmp_path / "2020-03-01.tif", noise(1)[0])
    said = refusal(DataError, [target, tmp_path / "2020-03-01.tif"], count=2)
    assert "gdal_translate NETCDF" in said


def _two_variables(path: Path) -> None:
    """A NetCDF file of two variables, the classic format by hand."""
    from scipy.io import netcdf_file

    with netcdf_file(path, "w") as file:
        file.createDimension("y", 4)
        file.createDimension("x", 5)
        for name in ("red", "nir"):
            file.createVariable(name, "i2", ("y", "x"))[:] = 1


def test_rasters_are_opened_in_two_places_only() -> None:
    allowed = {
        "data_processing/rasters/reading.py",
        "data_processing/rasters/held.py",
        "data_processing/rasters/writing.py",
    }
    pattern = re.compile(r"rasterio\.open\(|DatasetReader\(|\bImage\.open\(|imread\(")
    wrong = []
    for folder in ("data_processing", "mapping", "training", "models", "utils"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            name = path.relative_to(REPOSITORY).as_posix()
            lines = path.read_text(encoding="utf-8").splitlines()
            wrong += [
                f"{name}, line {number}"
                for number, line in enumerate(lines, start=1)
                if pattern.search(line) and "``" not in line and name not in allowed
            ]
    assert not wrong


def test_an_opened_raster_is_one_of_the_formats_asked_for(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)
    with open_raster(path) as raster:
        assert raster.driver == "PNG"
    with pytest.raises(rasterio.errors.RasterioIOError):
        open_raster(path, ("GTiff",))


def sparse(path: Path, width: int, height: int, count: int = 1, **options: Any) -> Path:
    """A raster of many pixels in a file of few bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "width": width, "height": height, "count": count}
    profile |= {"dtype": "uint16", "SPARSE_OK": "TRUE", "BIGTIFF": "YES", **options}
    with rasterio.open(path, "w", **profile):
        pass
    assert path.stat().st_size < 64 << 20
    return path


@pytest.mark.parametrize(("width", "height"), [(600_000, 600_000), (1, 1_000_000_000)])
def test_what_is_read_as_a_whole_is_bounded_before(
    tmp_path: Path, width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_processing.rasters.reading import require_room

    tiles = {"tiled": True, "blockxsize": 4096, "blockysize": 4096} if width > 1 else {}
    tiles |= {} if tiles else {"blockysize": 1 << 20}
    info = raster_info(sparse(tmp_path / "a.tif", width, height, **tiles))
    monkeypatch.setattr("psutil.virtual_memory", lambda: _Memory(5_000_000_000))

    with pytest.raises(DataError, match="GB are free"):
        require_room("a.tif", info)


class _Memory:
    def __init__(self, available: int) -> None:
        self.available = available


def test_a_long_thin_series_is_looked_at_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    for day in ("2020-01-15", "2020-03-01"):
        sparse(tmp_path / f"{day}.tif", 40_000_000, 1, count=4, interleave="band")
    tracemalloc.start()
    series = open_them(tmp_path, count=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert series.width == 40_000_000
    assert peak < 100 << 20
