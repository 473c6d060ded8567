"""What stored values mean: by type, tags or product, asked about where names and values say so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from data_processing.own_series.series import RasterSeries
from tests.helpers.custom_city import City, city
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import DAYS, noise, open_them, refusal, write_series
from utils.errors import DataError, UserError

__all__ = ["city"]

REFLECTANCE = noise() / 10000  # (T, C, H, W): what all these files mean
LANDSAT = np.rint((REFLECTANCE + 0.2) / 0.0000275).astype("uint16")
SHIFTED = noise() + np.uint16(1000)
SENTINEL = "S2A_MSIL2A_{}T100031_N{}_R122_T33UUP_{}T131502.tif"


def write_scaled(
    folder: Path, images: Any, scales: Sequence[float], offsets: Sequence[float]
) -> None:
    for path in write_series(folder, images):
        with rasterio.open(path, "r+") as raster:
            raster.scales, raster.offsets = scales, offsets


def write_products(
    folder: Path, images: Any, days: Sequence[str], baselines: Sequence[str]
) -> None:
    for image, day, baseline in zip(images, days, baselines, strict=True):
        write_raster(folder / SENTINEL.format(day, baseline, day), image)


def pixels(series: RasterSeries) -> NDArray[np.float32]:
    return series.read(0, 0, series.height, series.width).images


@pytest.mark.parametrize("rule", ["auto", "tags"])
def test_scale_and_offset_of_tags_are_applied_and_said(tmp_path: Path, rule: str) -> None:
    write_scaled(tmp_path, LANDSAT, (0.0000275,) * 4, (-0.2,) * 4)
    series = open_them(tmp_path, scaling=rule)
    assert np.abs(pixels(series) - REFLECTANCE).max() < 2e-5
    said = " ".join(series.remarks)
    assert "and 2 more: reflectance = 2.75e-05 · v -0.2, as their tags say" in said
    assert "warning" not in said


def test_each_band_has_its_own_scale_and_bands_take_theirs_along(tmp_path: Path) -> None:
    write_scaled(tmp_path, noise(), (1e-4, 2e-4, 3e-4, 4e-4), (0, 0.1, 0.2, 0.3))
    expected = noise() * np.float32([1e-4, 2e-4, 3e-4, 4e-4]).reshape(1, 4, 1, 1)
    expected += np.float32([0, 0.1, 0.2, 0.3]).reshape(1, 4, 1, 1)
    series = open_them(tmp_path, bands="4,3,2,1")
    assert np.allclose(pixels(series), expected[:, ::-1], atol=1e-6)


def test_tags_that_say_what_the_type_does_change_no_bit(tmp_path: Path) -> None:
    plain = write_series(tmp_path / "plain")
    before = pixels(open_them(tmp_path / "plain"))
    write_scaled(tmp_path / "tagged", noise(), (0.0001,) * 4, (0,) * 4)
    assert np.array_equal(pixels(open_them(tmp_path / "tagged")), before)
    with rasterio.open(plain[0], "r+") as raster:  # in one file of several they do no harm
        raster.scales = (0.0001,) * 4
    assert np.array_equal(pixels(open_them(tmp_path / "plain")), before)


def test_what_has_no_data_is_known_before_values_are_scaled(tmp_path: Path) -> None:
    images = LANDSAT.copy()
    images[1, :, 3:6, 4:9] = 0
    for path in write_series(tmp_path, images, nodata=0):
        with rasterio.open(path, "r+") as raster:
            raster.scales, raster.offsets = (0.0000275,) * 4, (-0.2,) * 4
    window = open_them(tmp_path).read(0, 0, 20, 30)
    hole = np.zeros((20, 30), np.bool_)
    hole[3:6, 4:9] = True
    assert np.array_equal(window.observed, ~hole)
    assert window.images.min() > -0.01


def test_tags_in_some_files_only_are_refused_with_the_flags_that_mend_it(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    with rasterio.open(paths[1], "r+") as raster:
        raster.scales, raster.offsets = (0.0001,) * 4, (-0.1,) * 4
    message = refusal(DataError, tmp_path)
    assert f"{paths[0].name}: found none in its tags, expected 0.0001, -0.1" in message
    for rule, offset in (("0.0001,-0.1", 0.1), ("type", 0)):
        assert f"--scaling {rule}" in message
        assert np.allclose(pixels(open_them(tmp_path, scaling=rule)), REFLECTANCE - offset)


@pytest.mark.parametrize("odd", ["nan", "0", "1e400", "-1e30"])
def test_tags_that_are_no_scale_are_refused(tmp_path: Path, odd: str) -> None:
    path = write_series(tmp_path)[1]
    marks = f'<PAMRasterBand band="1"><Offset>0</Offset><Scale>{odd}</Scale></PAMRasterBand>'
    path.with_name(path.name + ".aux.xml").write_text(f"<PAMDataset>{marks}</PAMDataset>")
    assert "in its tags, expected numbers up to 1e+06" in refusal(DataError, tmp_path)
    assert np.allclose(pixels(open_them(tmp_path, scaling="type")), REFLECTANCE)


@pytest.mark.parametrize(
    "rule", ["landsat", "0.0001", "1,2,3", "0,1", "nan,0", "1e400,0", "1e7,0", "1_0,0", "", "a,b"]
)
def test_other_rules_are_refused(tmp_path: Path, rule: str) -> None:
    write_series(tmp_path)
    assert "or SCALE,OFFSET such as 0.0001,-0.1" in refusal(UserError, tmp_path, scaling=rule)


# ------------------------------------------------------------------------------- products


def test_numbers_of_landsat_collection_2_are_asked_about(tmp_path: Path) -> None:
    write_series(tmp_path, LANDSAT)
    message = refusal(DataError, tmp_path)
    assert "as in Landsat Collection 2 (reflectance = 0.0000275·v − 0.2)" in message
    series = open_them(tmp_path, scaling="landsat-c2")
    assert np.abs(pixels(series) - REFLECTANCE).max() < 2e-5
    assert "--scaling type" in message
    assert np.allclose(pixels(open_them(tmp_path, scaling="type")), LANDSAT / 10000)


def test_zero_of_a_product_is_no_data_and_no_reflectance(tmp_path: Path) -> None:
    images = LANDSAT.copy()
    images[0, :, :4] = 0
    write_series(tmp_path, images)
    window = open_them(tmp_path, scaling="landsat-c2").read(0, 0, 20, 30)
    assert not window.observed[:4].any()
    assert window.observed[4:].all()


def test_fill_in_some_bands_hides_no_landsat_numbers(tmp_path: Path) -> None:
    images = LANDSAT.copy()
    images[:, 1, :6] = 0
    write_series(tmp_path, images)
    assert "--scaling landsat-c2" in refusal(DataError, tmp_path)


def test_a_scale_that_gives_no_reflectance_is_remarked_on(tmp_path: Path) -> None:
    write_scaled(tmp_path, noise(), (0.01,) * 4, (0,) * 4)
    said = " ".join(open_them(tmp_path).remarks)
    assert "values up to 47.6 after scale and offset, expected about 0…1; see --scaling" in said


def test_some_bright_images_are_no_landsat_numbers(tmp_path: Path) -> None:
    snow = noise()
    snow[1] = snow[1] // 4 + 7500
    write_series(tmp_path, snow)
    said = " ".join(open_them(tmp_path).remarks)
    assert f"warning: city_{DAYS[1]}.tif: no value below 7500, as in Landsat" in said


def test_names_of_baseline_4_with_values_to_it_are_asked_about(tmp_path: Path) -> None:
    days = ("20230115", "20230301", "20230630")
    write_products(tmp_path, SHIFTED, days, ("0509",) * 3)
    message = refusal(DataError, tmp_path)
    assert "as in Sentinel-2 from baseline 04.00 on (1000 added)" in message
    series = open_them(tmp_path, scaling="sentinel2-offset")
    assert np.allclose(pixels(series), REFLECTANCE, atol=1e-6)
    assert "--scaling type" in message


def test_names_of_baseline_4_with_darker_values_have_the_offset_off(tmp_path: Path) -> None:
    write_products(tmp_path, noise(), ("20230115", "20230301", "20230630"), ("0509",) * 3)
    assert np.allclose(pixels(open_them(tmp_path)), REFLECTANCE)


@pytest.mark.parametrize("named", [True, False])
def test_mixed_baselines_are_refused_with_the_flag_that_mends_it(
    tmp_path: Path, named: bool
) -> None:
    images = noise()
    images[2] += 1000
    if named:  # processed anew: the date of sensing tells nothing
        write_products(tmp_path, images[[2, 0, 1]], ("20180115", "20190301", "20210630"),
                       ("0500", "0214", "0300"))  # fmt: skip
    else:
        for image, day in zip(images, ("2020-01-15", "2021-03-01", "2022-01-25"), strict=True):
            write_raster(tmp_path / f"city_{day}.tif", image)
    message = refusal(DataError, tmp_path)
    assert "two baselines in one series" in message
    assert "--scaling sentinel2-by-baseline" in message
    series = open_them(tmp_path, scaling="sentinel2-by-baseline")
    order = [2, 0, 1] if named else [0, 1, 2]
    assert np.allclose(pixels(series), REFLECTANCE[order], atol=1e-6)


def test_bright_deserts_without_a_name_are_remarked_on_only(tmp_path: Path) -> None:
    for image, day in zip(SHIFTED, ("2022-03-01", "2023-03-01", "2024-03-01"), strict=True):
        write_raster(tmp_path / f"city_{day}.tif", image)
    said = " ".join(open_them(tmp_path).remarks)
    assert "if these have, give --scaling sentinel2-offset" in said
    assert "warning" not in " ".join(open_them(tmp_path, scaling="type").remarks)


def test_an_offset_that_is_off_already_shows_in_values_below_0(tmp_path: Path) -> None:
    write_series(tmp_path)
    said = " ".join(open_them(tmp_path, scaling="sentinel2-offset").remarks)
    assert "hold reflectance below -0.02" in said


def test_composites_mix_baselines_rightly(tmp_path: Path) -> None:
    images = np.repeat(noise(1), 6, axis=0)
    images[3:] += 1000
    days = ("2021-10-01", "2021-11-01", "2022-01-05", "2022-02-01", "2022-03-01", "2022-05-01")
    for image, day in zip(images, days, strict=True):
        write_raster(tmp_path / f"city_{day}.tif", image)
    series = open_them(tmp_path, scaling="sentinel2-by-baseline", composite="quarter")
    assert np.allclose(pixels(series), images[0] / 10000, atol=1e-6)


# ---------------------------------------------------------------- training reads by the same rule


def test_prepared_scenes_hold_reflectance(city: City) -> None:
    for path in city.images.iterdir():
        with rasterio.open(path, "r+") as raster:
            raster.scales, raster.offsets = (0.001,) * 4, (-0.05,) * 4
    scene = city.run(moment_raster=city.moment)
    for before, after in zip(
        sorted(city.images.iterdir()), sorted((scene / "train_images").iterdir()), strict=True
    ):
        with rasterio.open(before) as raw, rasterio.open(after) as written:
            assert written.dtypes[0] == "float32"
            assert np.allclose(written.read(), raw.read() * 0.001 - 0.05, atol=1e-6)


def test_prepared_scenes_are_asked_about_alike(city: City) -> None:
    for path in city.images.iterdir():
        with rasterio.open(path, "r+") as raster:
            raster.write(raster.read() * np.uint16(20) + np.uint16(7300))
    flags: dict[str, Any] = {"moment_raster": city.moment}
    assert "--scaling landsat-c2" in city.refusal(DataError, **flags)
    city.run(scaling="landsat-c2", **flags)
