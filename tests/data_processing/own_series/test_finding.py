"""Which files are meant, and what is said where none are, or others than rasters of one date."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.rpc import RPC

from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import DAYS, noise, open_them, refusal, write_series
from utils.errors import DataError, UserError


@pytest.mark.parametrize("name", ["city [2018] v2", "a*b", "Ville – été 100%", "what?", "[!x]"])
def test_a_pattern_below_a_folder_takes_the_folder_by_its_name(tmp_path: Path, name: str) -> None:
    paths = write_series(tmp_path / name)
    write_series(tmp_path / "city 2 v2")  # what the brackets would match
    assert open_them(str(tmp_path / name / "*.tif")).files == paths


@pytest.mark.parametrize(
    ("suffix", "remedy"),
    [(".jp2", "*.jp2"), (".png", "*.png"), (".vrt", "*.vrt"), (".zip", "unpack them")],
)
def test_a_folder_of_other_files_is_told_what_it_holds(
    tmp_path: Path, suffix: str, remedy: str
) -> None:
    for day in DAYS[:3]:
        (tmp_path / f"{day}{suffix}").write_bytes(b"x")
    message = refusal(UserError, tmp_path)
    assert f"it holds 3 {suffix} files" in message
    assert remedy in message


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "city.zip", "w") as archive:
        for path in write_series(tmp_path / "city"):
            archive.write(path, path.name)
    assert "Unpack archives" in refusal(UserError, tmp_path / "city.zip")


@pytest.mark.parametrize(
    "address",
    [
        "/vsizip/city.zip/a.tif",
        "zip://city.zip!/a.tif",
        "https://localhost:1/a.tif",
        "s3://b/a.tif",
    ],
)
def test_addresses_are_no_files(address: str) -> None:
    assert "copy or unpack the files" in refusal(UserError, [address])


def test_what_systems_leave_beside_images_is_passed_over(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    for name in ("Thumbs.db", "desktop.ini", "._city_2020-01-15.tif"):
        (tmp_path / name).write_bytes(b"x")
    assert open_them(str(tmp_path / "*")).files == paths


def test_what_helps_is_said_of_each_file(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    paths[1].write_text("version https://git-lfs.github.com/spec/v1")
    message = refusal(DataError, tmp_path)
    assert "it is a Git-LFS pointer" in message
    assert "git lfs pull" in message
    assert "one type and number of bands" not in message


def test_images_in_other_formats_are_read_by_a_pattern(tmp_path: Path) -> None:
    images = noise(bands=3, dtype="uint8")
    write_series(tmp_path, images)
    from PIL import Image

    for day, image in zip(DAYS, images, strict=False):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{day}.png")
    window = open_them(str(tmp_path / "*.png"), ("red", "green", "blue")).read(0, 0, 20, 30)
    np.testing.assert_array_equal(window.images, images.astype("f4") / np.float32(255))


def test_files_of_one_band_each_are_to_be_stacked(tmp_path: Path) -> None:
    for day in DAYS[:3]:
        for band in ("B02", "B03", "B04", "B08"):
            write_raster(tmp_path / f"T33_{day}_{band}.tif", noise(1, bands=1)[0])
    message = refusal(DataError, tmp_path)
    assert "twice" in message
    assert "gdalbuildvrt -separate" in message


def test_an_image_with_rational_polynomials_is_to_be_rectified(tmp_path: Path) -> None:
    model = RPC(
        height_off=0, height_scale=500, lat_off=45, lat_scale=0.01, line_off=10, line_scale=10,
        line_den_coeff=[1] + [0] * 19, line_num_coeff=[0, 0, -1] + [0] * 17, long_off=15,
        long_scale=0.01, samp_den_coeff=[1] + [0] * 19, samp_num_coeff=[0, 1] + [0] * 18,
        samp_off=15, samp_scale=15, err_bias=None, err_rand=None,
    )  # fmt: skip
    for path in write_series(tmp_path, crs=None):
        with rasterio.open(path, "r+") as raster:
            raster.rpcs = model
    message = refusal(DataError, tmp_path)
    assert "found rational polynomials (RPC) in place of a grid" in message


def test_numbers_of_landsat_collection_2_are_warned_of(tmp_path: Path) -> None:
    images = (noise() / 10000 + 0.2) / 0.0000275
    write_series(tmp_path, images.astype("uint16"))
    remarks = " ".join(open_them(tmp_path).remarks)
    assert "as in Landsat Collection 2 (reflectance = 0.0000275·v − 0.2)" in remarks


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_share_that_is_not_seen_is_said_and_most_of_it_is_a_warning(
    tmp_path: Path, share: float
) -> None:
    write_series(tmp_path / "images")
    clear = np.zeros((20, 30), np.uint8)
    clear[: round(20 * share)] = 1
    write_raster(tmp_path / "clouds" / f"{DAYS[1]}.tif", clear)

    series = open_them(
        tmp_path / "images", clouds=(str(tmp_path / "clouds"),), cloud_codes="binary",
        min_valid_dates=1,
    )  # fmt: skip

    said = " ".join(series.remarks)
    assert f"not seen, of the pixels looked at: {DAYS[0]} 0.0%, {DAYS[1]} {share:.1%}" in said
    assert ("see --cloud-codes" in said) is (share > 0.5)
    shutil.rmtree(tmp_path / "clouds")


def test_files_of_one_large_block_are_looked_at_in_few_windows(tmp_path: Path) -> None:
    from data_processing.own_series.image import OpenImage
    from data_processing.rasters.reading import raster_info

    profile = {"driver": "GTiff", "width": 1600, "height": 1600, "count": 4, "dtype": "uint16"}
    numbers = []
    for rows in (16, 1600):  # a strip of 0.2 and of 20 MB
        path = tmp_path / f"{rows}.tif"
        with rasterio.open(path, "w", **profile, blockysize=rows, compress="deflate"):
            pass
        info = raster_info(path)
        numbers.append(len(OpenImage(path, info, info, None, None).windows_to_look_at()))
    assert numbers == [64, 9]
