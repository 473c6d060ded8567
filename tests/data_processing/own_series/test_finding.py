"""Which files are meant, and what is said where none are, or others than rasters of one date."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.rpc import RPC

from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import DAYS, noise, open_them, refusal, write_series
from utils.errors import DataError, UserError


@pytest.mark.parametrize("name", ["city [2018] v2", "a*b", "Ville – été 100%", "what?", "[!x]"])
def test_a_pattern_below_a_folder_takes_the_folder_by_its_name(tmp_path: Path, name: str) -> None:
    paths = write_series(tmp_path / name)
    write_series(tmp_path / "city 2 v2")  # what the brackets would match
    assert open_them(str(tmp_path / name / "*.tif")).files == paths


@pytest.mark.parametrize(("suffix", "driver"), [(".png", "PNG"), (".img", "HFA"), (".jp2", "JP2")])
def test_a_folder_without_geotiffs_gives_the_one_other_kind_of_rasters(
    tmp_path: Path, suffix: str, driver: str
) -> None:
    profile = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"}
    profile = profile if driver == "JP2" else {"driver": driver}
    images = noise(bands=3, dtype="uint8")
    for path in write_series(tmp_path / "source", images):
        rasterio.shutil.copy(path, tmp_path / path.with_suffix(suffix).name, **profile)
    (tmp_path / "readme.txt").write_text("not one")

    window = open_them(tmp_path, ("red", "green", "blue")).read(0, 0, 20, 30)

    np.testing.assert_array_equal(window.images, images.astype("f4") / np.float32(255))


def test_a_folder_of_vrts_gives_their_pixels(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "parts"):
        rasterio.shutil.copy(path, tmp_path / path.name, driver="GTiff")
        rasterio.shutil.copy(tmp_path / path.name, tmp_path / f"{path.stem}.vrt", driver="VRT")
        (tmp_path / path.name).rename(tmp_path / f"{path.stem}.dat")
        vrt = tmp_path / f"{path.stem}.vrt"
        vrt.write_text(vrt.read_text().replace(".tif<", ".dat<"))
    assert "it holds 3 .vrt, 3 .dat files; name those meant" in refusal(UserError, tmp_path)
    series = open_them(str(tmp_path / "*.vrt"))
    np.testing.assert_array_equal(series.read_stored(1)[0], noise()[1])


def test_a_folder_with_an_archive_of_another_kind_is_told_to_unpack_it(tmp_path: Path) -> None:
    (tmp_path / "scene.tar").write_bytes(b"x")
    assert "it holds 1 .tar files; unpack them" in refusal(UserError, tmp_path)
    assert "found scene.tar, expected rasters" in refusal(UserError, tmp_path / "scene.tar")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("/vsizip/city.zip/a.tif", "an address of another kind"),
        ("zip://city.zip!/a.tif", "an address of another kind"),
        ("ftp://localhost:1/a.tif", "an address of another kind"),
        ("https://localhost:1/*.tif", "Patterns and folders cannot be looked at"),
        ("s3://bucket", "found no address of a raster"),
        ("https://localhost:1/city.zip?key=secret", "download archives"),
    ],
)
def test_addresses_that_cannot_be_read_are_refused(address: str, sentence: str) -> None:
    message = refusal(UserError, [address])
    assert sentence in message
    assert "secret" not in message


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
