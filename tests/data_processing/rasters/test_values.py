"""What stored values mean: colour tables of labels and masks, gaps in series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image

from data_processing.pairs.check import open_pairs
from data_processing.pairs.dataset import PairDataset, whole
from data_processing.pairs.files import PairFiles
from data_processing.rasters.reading import raster_info
from data_processing.rasters.values import (
    INVERTED,
    decode_mask,
    fill_unseen,
    scale_pixels,
    unscale_pixels,
)
from data_processing.scenes.check import examine_scene
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import DYNAMIC
from tests.helpers.custom_city import (
    DAYS,
    City,
    city,
    growing,
    labelled,
    moment_of,
    write_masks,
)
from tests.helpers.scene_files import make_labels, write_dynamic_scene, write_raster
from tests.helpers.small_series import noise, open_them, write_series
from utils.errors import DataError

__all__ = ["city"]  # the fixture

BLACK, WHITE, RED = (0, 0, 0, 255), (255, 255, 255, 255), (255, 0, 0, 255)


def write_shown(path: Path, mask: Any, how: str) -> None:
    """A binary raster that shows 1 white (or red), whatever numbers stand for that."""
    mask = np.asarray(mask, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "count": 1, "height": mask.shape[0], "width": mask.shape[1]}
    profile |= {"dtype": "uint8", "crs": "EPSG:32633"}
    profile["transform"] = rasterio.Affine(3.0, 0.0, 500000.0, 0.0, -3.0, 5000000.0)
    tables: dict[str, dict[int, Any]] = {
        "table, 0 white": {0: WHITE, 1: BLACK},
        "table, 0 white, 255 black": {0: WHITE, 255: BLACK},
        "table, 0 black": {0: BLACK, 1: WHITE},
        "table, 0 white, 1 red": {0: WHITE, 1: RED},
        "table, 0 white, 255 red": {0: WHITE, 255: RED},
    }
    turned = how in ("1 bit", "8 bits") or how.endswith(("0 white", "255 black"))
    if how == "1 bit":
        profile |= {"nbits": 1, "photometric": "MINISWHITE"}
    elif how == "8 bits":
        profile |= {"photometric": "MINISWHITE"}
    high = 255 if "255" in how or how == "8 bits" else 1
    with rasterio.open(path, "w", **profile) as raster:
        raster.write((1 - mask if turned else mask) * np.uint8(high), 1)
        if how in tables:
            raster.write_colormap(1, tables[how])


SHOWN = (
    "1 bit", "8 bits", "table, 0 white", "table, 0 white, 255 black", "table, 0 black",
    "table, 0 white, 1 red", "table, 0 white, 255 red",
)  # fmt: skip


def turned(how: str) -> bool:
    return how in SHOWN[:4]


@pytest.mark.parametrize("how", SHOWN)
def test_masks_of_ones_own_are_taken_as_they_are_shown(
    how: str, city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    for day, mask in zip(DAYS, growing(6), strict=False):
        write_shown(city.masks / f"mask_{day}.tif", mask, how)

    folder = city.run(masks=city.masks)

    np.testing.assert_array_equal(moment_of(folder), labelled(6))
    assert (INVERTED in capsys.readouterr().out) is turned(how)


@pytest.mark.parametrize("how", SHOWN)
def test_cloud_masks_are_taken_as_they_are_shown(how: str, tmp_path: Path) -> None:
    write_series(tmp_path / "images")
    clouds = np.zeros((20, 30), np.uint8)
    clouds[:5] = 1
    write_shown(tmp_path / "clouds" / "mask_2020-03-01.tif", clouds, how)

    series = open_them(tmp_path / "images", clouds=(str(tmp_path / "clouds"),))

    np.testing.assert_array_equal(series.read(0, 0, 20, 30).observed, clouds == 0)
    assert any(INVERTED in remark for remark in series.remarks) is turned(how)


@pytest.mark.parametrize("how", SHOWN)
def test_area_labels_of_scenes_are_taken_as_they_are_shown(how: str, tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "Scene01", size=64)
    area, _ = make_labels(64, 64, 6)
    write_shown(folder / DYNAMIC.area_file, area, how)

    report = examine_scene(folder, DYNAMIC)

    assert report.faults == []
    assert any(INVERTED in warning for warning in report.warnings) is turned(how)
    np.testing.assert_array_equal(Scene(folder, DYNAMIC).read(0, 0, 64, 64)["area_label"], area)


def test_a_moment_raster_holds_numbers_and_no_colours(city: City) -> None:
    write_shown(city.moment, labelled(6) > 0, "8 bits")
    assert "found small values shown white" in city.refusal(DataError, moment_raster=city.moment)
    folder = write_dynamic_scene(city.folder / "Scene01", size=64)
    write_shown(folder / DYNAMIC.moment_file, make_labels(64, 64, 6)[0], "table, 0 white")
    faults = examine_scene(folder, DYNAMIC).faults
    assert any("found small values shown white" in fault for fault in faults)


def write_pair(folder: Path, label: Any, **more: Any) -> PairFiles:
    """Two pictures and a label that a function writes."""
    paths = [folder / part / "000.png" for part in ("A", "B", "label")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    for path in paths[:2]:
        Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(path, **more)
    if not callable(label):
        Image.fromarray(label).save(paths[2])
    else:
        label(paths[2])
    return PairFiles("000", *paths)


def test_labels_of_pairs_are_taken_as_they_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change = np.zeros((16, 16), np.uint8)
    change[4:9] = 1

    def by_table(path: Path) -> None:
        picture = Image.fromarray(1 - change, mode="P")
        picture.putpalette([255, 255, 255, 0, 0, 0])
        picture.save(path)

    pairs = open_pairs([write_pair(tmp_path, by_table)], "exact")

    assert "white is taken as 1" in capsys.readouterr().out
    sample = PairDataset(pairs, whole(pairs))[0]
    np.testing.assert_array_equal(sample["area_label"].numpy(), change)


def test_a_label_whose_changed_pixels_are_all_its_nodata_tag_is_refused(tmp_path: Path) -> None:
    change = np.zeros((16, 16), np.uint8)
    change[4:9] = 255
    pair = write_pair(tmp_path, lambda path: write_raster(path, change, nodata=255))

    with pytest.raises(DataError, match="found only 0 and 255, which is the nodata tag"):
        open_pairs([pair], "exact")

    folder = write_dynamic_scene(tmp_path / "Scene01", size=64)
    area, _ = make_labels(64, 64, 6)
    write_raster(folder / DYNAMIC.area_file, area * np.uint8(255), nodata=255)
    faults = examine_scene(folder, DYNAMIC).faults
    assert any("if 255 is changed, remove the tag" in fault for fault in faults)


def test_a_mask_whose_255_is_its_tag_is_unknown_there_with_a_warning(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = [mask * np.uint8(255) for mask in growing(6)]
    city.run(masks=write_masks(city.masks, masks, nodata=255))
    assert "holds no 1, and 255, its nodata tag" in capsys.readouterr().out


def test_a_picture_that_is_stored_turned_is_refused(tmp_path: Path) -> None:
    turned_by_exif = Image.Exif()
    turned_by_exif[274] = 6
    pair = write_pair(tmp_path, np.zeros((16, 16), np.uint8))
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(
        tmp_path / "A" / "000.jpg", exif=turned_by_exif
    )
    pair = pair._replace(first=tmp_path / "A" / "000.jpg")
    assert raster_info(pair.first).orientation == 6
    with pytest.raises(DataError, match=r"A/000\.jpg: found EXIF orientation 6"):
        open_pairs([pair], "exact")


def test_images_with_a_colour_table_are_no_measurements(tmp_path: Path) -> None:
    for day in DAYS[:3]:
        write_shown(tmp_path / f"{day}.tif", np.eye(20, 30), "table, 0 black")
    with pytest.raises(DataError, match="found a colour table"):
        open_them(tmp_path)


def test_a_mask_is_decoded_by_tag_rule_and_colours() -> None:
    stored = np.array([0, 1, 200, 255])
    assert decode_mask(stored, 200).tolist() == [0, 1, -1, 1]
    assert decode_mask(stored, None, inverted=True).tolist() == [1, 0, 0, 0]
    assert decode_mask(stored, 0, "above_127").tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32"])
def test_pixels_are_stored_as_they_were_read(dtype: str) -> None:
    stored = np.array([0, 1, 77, 126, 127]).astype(dtype)
    images = scale_pixels(stored, "auto")
    np.testing.assert_array_equal(unscale_pixels(images, dtype), stored, strict=True)
    if dtype != "float32":  # beyond what the type holds
        assert unscale_pixels(np.float32([9.0]), dtype) == min(np.iinfo(dtype).max, 90000)


def test_gaps_take_the_date_before_else_the_first_seen_else_0() -> None:
    images = np.arange(1, 5, dtype=np.float32).reshape(4, 1, 1, 1) * np.ones((4, 2, 1, 5), "f4")
    seen = np.ones((4, 1, 5), np.bool_)
    seen[2, 0, 1] = seen[:2, 0, 2] = seen[1:, 0, 3] = seen[:, 0, 4] = False
    fill_unseen(images, seen)
    expected = [[1, 2, 3, 4], [1, 2, 2, 4], [3, 3, 3, 4], [1, 1, 1, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(images[:, 1, 0].T, expected)


def test_training_scoring_and_prediction_see_the_same_where_a_date_is_not_seen(
    tmp_path: Path,
) -> None:
    images = noise(6, size=(64, 64))
    images.transpose(0, 2, 3, 1)[np.random.default_rng(3).random((6, 64, 64)) < 0.3] = 0
    folder = write_dynamic_scene(tmp_path / "Scene01", size=64, images=images, nodata=0)

    trained = Scene(folder, DYNAMIC).read(0, 0, 64, 64)["images"]

    series = open_them(folder / DYNAMIC.image_folder, DYNAMIC.bands, 6)
    np.testing.assert_array_equal(trained, series.read(0, 0, 64, 64).images)
