"""One file with all dates, and one file per date and band: the same series as one file a date."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import DAYS, change_header, noise, open_them, refusal, write_series
from utils.errors import DataError, UserError

STAMPS = [day.replace("-", "") for day in DAYS[:3]]
# names of agencies: what is {d} and {b}, the bands, and where the files lie
LANDSAT = "LC08_L2SP_199012_{d}_20200912_02_T1"
LAYOUTS = {
    "Landsat": (f"{LANDSAT}/{LANDSAT}_SR_{{b}}.TIF", ("B2", "B3", "B4", "B5")),
    "HLS": ("HLS.S30.T53SMS.{j}T013701.v2.0.{b}.tif", ("B02", "B03", "B04", "B8A")),
    "tiles": ("T33UUP_{d}T100031_{b}_10m.tif", ("B02", "B03", "B04", "B08")),
    "folders": ("{d}/{b}.tif", ("blue", "green", "red", "nir")),
    "SAFE": ("S2A_MSIL2A_{d}T100031_N0214_R122_T33UUP_{d}T131502.SAFE/GRANULE/L2A_T33UUP/IMG_DATA/"
             "R10m/T33UUP_{d}T100031_{b}_10m.jp2", ("B02", "B03", "B04", "B08")),
}  # fmt: skip


def write_granules(
    folder: Path, layout: str, images: Any = None, **raster: Any
) -> tuple[list[Path], str]:
    """Files of one band each, and the value of --bands."""
    pattern, bands = LAYOUTS[layout]
    paths = []
    for day, image in zip(DAYS, noise() if images is None else images, strict=False):
        ordinal = np.datetime64(day).astype(object).strftime("%Y%j")
        for band, values in zip((*bands, "B01"), [*image, image[0]], strict=True):
            path = folder / pattern.format(d=day.replace("-", ""), j=ordinal, b=band)
            write_raster(path.with_suffix(".tif"), values, **raster)
            if path.suffix == ".jp2":
                lossless = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES"}
                rasterio.shutil.copy(path.with_suffix(".tif"), path, **lossless)
                path.with_suffix(".tif").unlink()
            elif path.suffix != ".tif":
                path.with_suffix(".tif").rename(path)
            paths.append(path)
    return paths, ",".join(bands)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_of_one_band_each_make_the_images_of_their_dates(tmp_path: Path, layout: str) -> None:
    _, bands = write_granules(tmp_path / "granules", layout)

    series = open_them(tmp_path / "granules", bands=bands)

    for date, image in enumerate(noise()):
        np.testing.assert_array_equal(series.read_stored(date)[0], image)
    assert [str(date) for date in series.dates] == list(DAYS[:3])
    assert len(series.files[0].files) == 4  # and not that of B01


def test_names_may_be_written_with_and_without_the_nought(tmp_path: Path) -> None:
    write_granules(tmp_path, "tiles")
    series = open_them(tmp_path, bands="b2,B3,B04,b8")
    np.testing.assert_array_equal(series.read_stored(0)[0], noise()[0])


def test_sensors_may_call_a_band_otherwise(tmp_path: Path) -> None:
    for path in write_granules(tmp_path, "HLS")[0]:  # the second date is of Landsat
        if ".2020061T" in path.name:
            other = path.name.replace("S30", "L30").replace("B8A", "B05")
            path.rename(tmp_path / other)
        elif "B01" in path.name:
            path.rename(tmp_path / path.name.replace("B01", "B05"))  # the red edge of Sentinel-2
    series = open_them(tmp_path, bands="B02,B03,B04,B8A|B05")
    for date, image in enumerate(noise()):
        np.testing.assert_array_equal(series.read_stored(date)[0], image)
    assert "expected B8A as well" in refusal(DataError, tmp_path, bands="B02,B03,B04,B8A")


def test_a_band_at_the_end_of_a_name_counts_before_the_same_word_elsewhere(tmp_path: Path) -> None:
    names = ("blue", "green", "red", "nir")
    for day, image in zip(DAYS, noise(), strict=False):
        for name, values in zip(names, image, strict=True):
            write_raster(tmp_path / f"red_sea_{day}_{name}.tif", values)
    series = open_them(tmp_path, bands=",".join(names))
    np.testing.assert_array_equal(series.read_stored(1)[0], noise()[1])


def test_granules_in_an_archive_are_read_there(tmp_path: Path) -> None:
    paths, bands = write_granules(tmp_path / "S2", "SAFE")
    for product in sorted((tmp_path / "S2").iterdir()):
        with zipfile.ZipFile(tmp_path / f"{product.name}.zip", "w") as archive:
            for path in paths:
                if product in path.parents:
                    archive.write(path, path.relative_to(tmp_path / "S2"))
    series = open_them(str(tmp_path / "*.zip"), bands=bands)
    np.testing.assert_array_equal(series.read_stored(2)[0], noise()[2])
    assert "S2A_MSIL2A_20200115T100031_N0214" in series.files[0].name


def test_the_same_pixels_have_data_as_in_one_file_a_date(tmp_path: Path) -> None:
    images = noise()
    images[:, 0, :3] = 0  # one band is 0: dark ground
    images[1, :, 5:9] = 0  # all are: no data
    write_series(tmp_path / "one", images, nodata=0)
    _, bands = write_granules(tmp_path / "granules", "tiles", images, nodata=0)

    one = open_them(tmp_path / "one").read(0, 0, 20, 30)
    stacked = open_them(tmp_path / "granules", bands=bands).read(0, 0, 20, 30)

    np.testing.assert_array_equal(one.images, stacked.images)
    np.testing.assert_array_equal(one.observed, stacked.observed)
    assert one.observed.mean() == 0.8


def coarser(path: Path, values: Any) -> None:
    """Write every second pixel, of twice the size."""
    write_raster(path, values[::2, ::2])
    change_header(path, transform=Affine(6.0, 0.0, 500000.0, 0.0, -6.0, 5000000.0))


def test_coarser_bands_are_resampled_when_asked_to(tmp_path: Path) -> None:
    paths, bands = write_granules(tmp_path, "tiles", np.full((3, 4, 20, 30), 700, np.uint16))
    for path in paths:
        if "_B08" in path.name:
            path.unlink()
            coarser(path.with_name(path.name.replace("10m", "20m")), np.full((20, 30), 900, "u2"))
    message = refusal(DataError, tmp_path, bands=bands)
    assert "_B08_20m.tif: found 10×15 pixels, expected 20×30" in message
    assert "--align" in message

    series = open_them(tmp_path, bands=bands, align=True)

    assert (series.height, series.width) == (20, 30)
    values, seen = series.read_stored(0)
    assert seen.all()
    assert [set(np.unique(band)) for band in values] == [{700}, {700}, {700}, {900}]
    assert any("resampled (bilinear) to the finest of their date: B08" in r for r in series.remarks)


def test_the_finest_of_several_resolutions_is_taken(tmp_path: Path) -> None:
    paths, bands = write_granules(tmp_path, "tiles")
    for path in paths:
        coarser(path.with_name(path.name.replace("10m", "20m")), np.ones((20, 30), np.uint16))
    series = open_them(tmp_path, bands=bands)
    np.testing.assert_array_equal(series.read_stored(1)[0], noise()[1])


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("missing", "found the bands B02, B03, B04, expected B08 as well"),
        ("twice", "found B02 of T33UUP_20200115T100031 twice"),
        ("type", "found type uint8, expected uint16 as T33UUP_20200115T100031_B02_10m.tif"),
        ("bands", "found 2 bands, expected 1"),
        ("colours", "found a colour table, whose numbers are no measurements"),
        ("two names", "found B02 and B08 in the name, expected one band"),
        ("html", "it is a web page"),
    ],
)
def test_granules_that_are_not_whole_are_refused(tmp_path: Path, what: str, sentence: str) -> None:
    paths, bands = write_granules(tmp_path, "tiles")
    first, last = paths[0], paths[3]
    if what == "missing":
        last.unlink()
    elif what == "twice":
        write_raster(tmp_path / "20200115" / first.name, noise()[0, 0])
        first = tmp_path / "20200115"
    elif what == "type":
        write_raster(last, noise(dtype="uint8")[0, 0])
    elif what == "bands":
        write_raster(last, noise()[0, :2])
    elif what == "colours":
        for path in paths:
            write_raster(path, noise(dtype="uint8")[0, 0])
        with rasterio.open(last, "r+") as raster:
            raster.write_colormap(1, {0: (255, 0, 0, 255)})
    elif what == "two names":
        last.rename(tmp_path / "T33UUP_20200115T100031_B02_B08_x_10m.tif")
    else:
        last.write_text("<html>")
    given = [tmp_path, first] if what == "twice" else tmp_path
    assert sentence in refusal(DataError, given, bands=bands)


def test_files_of_one_band_each_without_names_of_bands_are_asked_about(tmp_path: Path) -> None:
    write_granules(tmp_path, "tiles")
    assert "such as --bands B02,B03,B04,B08" in refusal(DataError, tmp_path)


def test_bands_are_taken_by_the_names_that_files_give_them(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    for path in paths:
        change_header(path, names=("SR_B4", "SR_B3", "SR_B2", "SR_B5"))
    series = open_them(tmp_path, bands="SR_B2,sr_b3,SR_B4,SR_B5")
    np.testing.assert_array_equal(series.read_stored(0)[0], noise()[0][[2, 1, 0, 3]])
    message = refusal(DataError, tmp_path, bands="SR_B2,SR_B3,SR_B4,SR_B7")
    assert "found bands called sr_b4, sr_b3, sr_b2, sr_b5" in message.lower()
    assert "expected SR_B7 once each" in message
    change_header(paths[1], names=("SR_B2", "SR_B3", "SR_B4", "SR_B5"))
    assert "expected one order" in refusal(DataError, tmp_path, bands="SR_B2,SR_B3,SR_B4,SR_B5")


def test_one_file_with_all_dates_gives_the_series(tmp_path: Path) -> None:
    images = noise()
    images[1, :, 5:9] = 0
    write_raster(tmp_path / "stack_2018_2019.tif", images.reshape(12, 20, 30), nodata=0)
    write_series(tmp_path / "city", images, nodata=0)
    dates = ",".join(DAYS[:3])

    message = refusal(DataError, tmp_path / "stack_2018_2019.tif")
    series = open_them(tmp_path / "stack_2018_2019.tif", bands_per_date=4, dates=dates)

    assert "--bands-per-date 4 --dates" in message
    one, stacked = (s.read(0, 0, 20, 30) for s in (open_them(tmp_path / "city"), series))
    np.testing.assert_array_equal(one.images, stacked.images)
    np.testing.assert_array_equal(one.observed, stacked.observed)
    np.testing.assert_array_equal(
        open_them(
            tmp_path / "stack_2018_2019.tif", bands_per_date=4, dates=dates, bands="4,2,1,3"
        ).read_stored(2)[0],
        images[2][[3, 1, 0, 2]],
    )


def test_dates_of_one_file_may_stand_in_the_names_of_its_bands(tmp_path: Path) -> None:
    write_raster(tmp_path / "stack.tif", noise().reshape(12, 20, 30))
    names = [f"{stamp}_{band}" for stamp in STAMPS for band in ("B2", "B3", "B4", "B8")]
    change_header(tmp_path / "stack.tif", names=names)
    series = open_them(tmp_path / "stack.tif", bands_per_date=4)
    assert [str(date) for date in series.dates] == list(DAYS[:3])
    np.testing.assert_array_equal(series.read_stored(1)[0], noise()[1])


def test_a_stack_of_another_number_of_bands_or_without_dates_is_refused(tmp_path: Path) -> None:
    write_raster(tmp_path / "stack.tif", noise().reshape(12, 20, 30))
    path = tmp_path / "stack.tif"
    assert "found 12 bands, expected a multiple of 5" in refusal(DataError, path, bands_per_date=5)
    assert "found no date in the name" in refusal(DataError, path, bands_per_date=4)
    few = {"bands_per_date": 4, "dates": "2020-01,2020-02"}
    assert "(2 dates) for 3 images" in refusal(UserError, path, **few)


def test_masks_are_found_among_the_other_files_of_granules(tmp_path: Path) -> None:
    _, bands = write_granules(tmp_path, "tiles")
    for stamp in STAMPS:
        classes = np.full((10, 15), 4, np.uint8)
        classes[:2], classes[5, 5] = 9, 6
        path = tmp_path / f"T33UUP_{stamp}T100031_SCL_20m.tif"
        write_raster(path, classes)
        change_header(path, transform=Affine(6.0, 0.0, 500000.0, 0.0, -6.0, 5000000.0))

    series = open_them(tmp_path, bands=bands, clouds=(str(tmp_path),))

    assert [path.name for path in series.cloud_files] == [
        f"T33UUP_{stamp}T100031_SCL_20m.tif" for stamp in STAMPS
    ]
    assert series.read(0, 0, 20, 30).observed.mean() == 0.8


def test_masks_that_lie_among_images_are_no_images(tmp_path: Path) -> None:
    for stamp, image in zip(STAMPS, noise(), strict=True):  # as Planet delivers them
        folder = tmp_path / f"{stamp}_100101_0f22"
        write_raster(folder / f"{folder.name}_3B_AnalyticMS_SR.tif", image)
        usable = np.zeros((8, 20, 30), np.uint8)
        usable[0, 5:] = 1
        write_raster(folder / f"{folder.name}_3B_udm2.tif", usable)

    series = open_them(tmp_path, clouds=(str(tmp_path),))

    np.testing.assert_array_equal(series.read_stored(0)[0], noise()[0])
    assert series.read(0, 0, 20, 30).observed.mean() == 0.75
    said = " ".join(series.remarks)
    assert "3 files are masks by their names" in said
    assert "cloud masks, as their values tell: udm2" in said
