"""What a user's files say of no data is heeded alike by prepare_custom, the layout and Predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import SeriesOptions
from data_processing.own_series.series import spec_for
from data_processing.scenes.check import examine_scene
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import DYNAMIC, SPACENET7, DatasetSpec
from tests.helpers.custom_city import (
    DAYS,
    City,
    H,
    W,
    labelled,
    moment_of,
    write_images,
)
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import change_header
from utils.files import read_json

MARKS = ("blue", "green", "red", "undefined", "alpha")
HOLES = np.random.default_rng(5).random((6, H, W)) < 0.06  # 69 % of the pixels in none
MASKS = np.where(HOLES, 0, 255).astype(np.uint8)


def masked_inside(city: City) -> None:
    """A mask inside each file and no nodata tag, fill values bright as a city."""
    write_images(city.images)
    for path, hole in zip(sorted(city.images.iterdir()), HOLES, strict=True):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as raster:
            raster.write(np.where(hole, 9999, raster.read()).astype(np.uint16))
            raster.write_mask(~hole)


def masked_beside(city: City) -> None:
    write_images(city.images)
    for path, hole in zip(sorted(city.images.iterdir()), HOLES, strict=True):
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as raster:
            raster.write_mask(~hole)


def fifth_band_alpha(city: City) -> None:
    write_images(city.images, bands=5)
    for path, mask in zip(sorted(city.images.iterdir()), MASKS, strict=True):
        with rasterio.open(path, "r+") as raster:
            raster.write(mask.astype(np.uint16) * 257, 5)
        change_header(path, colors=MARKS)


def other_tags(city: City) -> None:
    """A tag of its own in each file, one of them as bright as the ground."""
    write_images(city.images)
    tags = (0, 65535, 50, 0, 7, 0)
    for path, hole, tag in zip(sorted(city.images.iterdir()), HOLES, tags, strict=True):
        with rasterio.open(path) as raster:
            values = raster.read()
        write_raster(path, np.where(hole, tag, values).astype(np.uint16), nodata=tag)


def not_a_number(city: City) -> None:
    write_images(city.images)
    for path, hole in zip(sorted(city.images.iterdir()), HOLES, strict=True):
        with rasterio.open(path) as raster:
            values = raster.read().astype(np.float32) / 10000
        values[2, hole] = np.nan
        write_raster(path, values, nodata=-1.0)


def cloudy(city: City) -> None:
    write_images(city.images)
    for day, hole in zip(DAYS, HOLES, strict=False):
        write_raster(city.folder / "clouds" / f"{day}.tif", hole.astype(np.uint8))


KINDS: list[Callable[[City], None]] = [
    masked_inside, masked_beside, fifth_band_alpha, other_tags, not_a_number, cloudy,
]  # fmt: skip


def seen_by_predict(city: City, flags: dict[str, Any], spec: DatasetSpec = DYNAMIC) -> Any:
    clouds = {"clouds": (str(flags["clouds"]),)} if flags else {}
    network = spec_for(spec.bands, spec.num_dates)
    series = open_raster_series(city.images, network, SeriesOptions(**clouds))
    return series.read(0, 0, H, W).observed


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_not_seen_is_the_same_in_preparation_training_check_and_prediction(
    kind: Callable[[City], None], tmp_path: Path
) -> None:
    city = City(tmp_path, DYNAMIC)
    kind(city)
    write_raster(city.moment, labelled(6))
    flags = {"clouds": city.folder / "clouds"} if kind is cloudy else {}

    folder = city.run(moment_raster=city.moment, **flags)

    seen = ~HOLES.any(axis=0)
    assert 0.66 < seen.mean() < 0.72
    record = read_json(folder / "prepared.json")["scene"]
    assert record["pixels_without_data_at_some_date"] == (~seen).sum()
    np.testing.assert_array_equal(seen_by_predict(city, flags), seen)
    part = Scene(folder, DYNAMIC).read(0, 0, H, W)
    np.testing.assert_array_equal(part["observed"], seen)
    assert (part["moment_label"][~seen] == -1).all()
    report = examine_scene(folder, DYNAMIC)
    assert report.faults == []
    assert report.pixels is not None
    assert report.pixels.ignored == (~seen).sum()
    np.testing.assert_array_equal(moment_of(folder), labelled(6))


def test_masks_and_clouds_become_the_alpha_band_where_the_layout_has_one(tmp_path: Path) -> None:
    city = City(tmp_path, SPACENET7)
    write_images(city.images, 9, bands=3)
    write_raster(city.moment, labelled(9))
    hidden = np.zeros((H, W), np.uint8)
    hidden[:7] = 1
    write_raster(city.folder / "clouds" / f"{DAYS[4]}.tif", hidden)
    path = sorted(city.images.iterdir())[2]
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as raster:
        raster.write_mask(np.arange(H * W).reshape(H, W) >= 10 * W)

    folder = city.run(moment_raster=city.moment, clouds=city.folder / "clouds")

    part = Scene(folder, SPACENET7).read(0, 0, H, W, pixel_scale="stored")
    assert part["observed"].sum() == (H - 10) * W
    alpha = [sorted(folder.joinpath(SPACENET7.image_folder).iterdir())[k] for k in (2, 4)]
    assert [int((rasterio.open(one).read(4) == 0).sum()) // W for one in alpha] == [10, 7]


def test_another_grid_is_resampled_for_training_as_for_prediction(tmp_path: Path) -> None:
    city = City(tmp_path, DYNAMIC)
    write_images(city.images)
    path = sorted(city.images.iterdir())[3]
    with rasterio.open(path) as raster:
        values = raster.read()
    write_raster(path, values, origin=(500000.0 + 3.0 * 5, 5000000.0))  # five columns to the east
    write_raster(city.moment, labelled(6))

    folder = city.run(moment_raster=city.moment, align=True)

    part = Scene(folder, DYNAMIC).read(0, 0, H, W, pixel_scale="stored")
    assert not part["observed"][:, :5].any()
    assert part["observed"][:, 5:].all()
    np.testing.assert_array_equal(part["images"][3, :, :, 5:], values[:, :, :-5])


def test_bands_named_in_another_order_are_refused_for_training_too(tmp_path: Path) -> None:
    from utils.errors import DataError

    city = City(tmp_path, DYNAMIC)
    write_images(city.images)
    write_raster(city.moment, labelled(6))
    for path in city.images.iterdir():
        change_header(path, names=("red", "green", "blue", "nir"))

    said = city.refusal(DataError, moment_raster=city.moment)

    assert "--bands 3,2,1,4 takes them in that order" in said


def test_dates_may_come_from_tags_for_training_too(tmp_path: Path) -> None:
    city = City(tmp_path, DYNAMIC)
    write_images(city.images)
    write_raster(city.moment, labelled(6))
    moved = (city.images / f"city_{DAYS[1]}.tif").rename(city.images / "second.tif")
    change_header(moved, tags={"ACQUISITION_DATE": "2017-08-20"})

    folder = city.run(moment_raster=city.moment)

    assert read_json(folder / "prepared.json")["scene"]["dates"][1] == "2017-08-20"
