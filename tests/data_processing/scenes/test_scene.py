"""Scenes: order by date, pixel scale, no-data, label codes, windows beyond the border."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from data_processing.scenes.scene import Scene, find_scene_files
from data_processing.scenes.spec import DYNAMIC, SPACENET7
from tests.helpers.scene_files import (
    DYNAMIC_DATES,
    SPACENET7_DATES,
    make_labels,
    write_dynamic_scene,
    write_raster,
    write_spacenet7_scene,
)
from utils.errors import DataError


def flat_images(dates: int, height: int, width: int, dtype: str = "uint8") -> np.ndarray:
    """Images whose value tells the date: (T, 4, H, W), date t holds t + 1."""
    values = np.arange(1, dates + 1).reshape(-1, 1, 1, 1)
    return np.broadcast_to(values, (dates, 4, height, width)).astype(dtype)


def test_a_scene_knows_name_split_size_and_dates(tmp_path: Path) -> None:
    folder = write_spacenet7_scene(tmp_path / "val" / "L15-a b é", size=(33, 47))
    scene = Scene(folder, SPACENET7)
    assert (scene.name, scene.split, scene.height, scene.width) == ("L15-a b é", "val", 33, 47)
    assert [f"{date:%Y_%m}" for date in scene.dates] == list(SPACENET7_DATES)


def test_images_are_in_the_order_of_their_dates_not_of_their_names(tmp_path: Path) -> None:
    names = ["2018_12", "2019-01", "201902", "2019_03_15", "20190401", "2019-05-01_x"]
    shuffled = [names[i] for i in (5, 2, 0, 3, 1, 4)]
    images = flat_images(6, 8, 8)[[5, 2, 0, 3, 1, 4]]
    folder = write_dynamic_scene(tmp_path / "s", size=8, dates=shuffled, images=images)
    stored = Scene(folder, DYNAMIC).read(0, 0, 8, 8, "stored")["images"]
    np.testing.assert_array_equal(stored[:, 0, 0, 0], [1, 2, 3, 4, 5, 6])


def test_what_systems_leave_in_folders_is_passed_over(tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "s", size=8)
    for name in (".DS_Store", "Thumbs.db", "2018_01.tif.aux.xml", "._2018_01.tif", "notes.txt"):
        (folder / "train_images" / name).write_bytes(b"x")
    assert len(Scene(folder, DYNAMIC).dates) == 6


@pytest.mark.parametrize(
    ("dtype", "divisor"), [("uint8", 255), ("uint16", 10000), ("int16", 10000), ("float32", 1)]
)
def test_pixel_scale_follows_the_stored_type(tmp_path: Path, dtype: str, divisor: int) -> None:
    folder = write_dynamic_scene(tmp_path / "s", size=8, images=flat_images(6, 8, 8, dtype))
    scene = Scene(folder, DYNAMIC)
    auto, stored = (scene.read(0, 0, 8, 8, scale)["images"] for scale in ("auto", "stored"))
    assert auto.dtype == stored.dtype == np.float32
    np.testing.assert_array_equal(stored[:, 0, 0, 0], np.arange(1, 7))
    np.testing.assert_allclose(auto * divisor, stored, rtol=1e-6)


def test_alpha_zero_makes_a_pixel_invalid_and_it_keeps_the_date_before(
    tmp_path: Path,
) -> None:
    images = flat_images(9, 8, 8)
    images[4, 3, 2, 5] = 0
    folder = write_spacenet7_scene(tmp_path / "s", size=8, images=images)
    window = Scene(folder, SPACENET7).read(0, 0, 8, 8, "stored")
    assert not window["valid"][2, 5]
    assert window["valid"].sum() == 63
    assert window["area_label"][2, 5] == window["moment_label"][2, 5] == -1
    np.testing.assert_array_equal(window["images"][4, :, 2, 5], [4, 4, 4, 4])
    released = Scene(folder, SPACENET7).read(0, 0, 8, 8, "stored", ignore_invalid=False)
    np.testing.assert_array_equal(released["images"][4, :, 2, 5], [5, 5, 5, 0])


def test_dynamic_has_no_alpha_band(tmp_path: Path) -> None:
    images = flat_images(6, 8, 8)
    images[:, 3] = 0
    folder = write_dynamic_scene(tmp_path / "s", size=8, images=images)
    assert Scene(folder, DYNAMIC).read(0, 0, 8, 8)["valid"].all()


@pytest.mark.parametrize(("nodata", "value"), [(np.nan, np.nan), (-9999.0, -9999.0)])
def test_pixels_without_data_take_the_date_before_and_are_invalid(
    tmp_path: Path, nodata: float, value: float
) -> None:
    images = flat_images(6, 8, 8, "float32")
    images[2, 1, 3, 3] = value
    folder = write_dynamic_scene(tmp_path / "s", size=8, images=images, nodata=nodata)
    window = Scene(folder, DYNAMIC).read(0, 0, 8, 8)
    np.testing.assert_array_equal(window["images"][:, 0, 3, 3], [1, 2, 2, 4, 5, 6])
    assert np.flatnonzero(~window["valid"]).tolist() == [27]


def test_without_ignore_invalid_labels_stay_and_valid_still_tells(tmp_path: Path) -> None:
    images = flat_images(9, 8, 8)
    images[0, 3, :4] = 0
    folder = write_spacenet7_scene(tmp_path / "s", size=8, images=images)
    window = Scene(folder, SPACENET7).read(0, 0, 8, 8, ignore_invalid=False)
    _, moment = make_labels(8, 8, 9)
    np.testing.assert_array_equal(window["moment_label"], moment)
    assert not window["valid"][:4].any()


def test_255_means_ignore_only_with_the_nodata_tag(tmp_path: Path) -> None:
    area, moment = make_labels(8, 8, 6)
    area[0, 0] = moment[0, 0] = 255
    folder = write_dynamic_scene(tmp_path / "tag", size=8, labels=(area, moment), label_nodata=255)
    for ignore_invalid in (True, False):
        window = Scene(folder, DYNAMIC).read(0, 0, 8, 8, ignore_invalid=ignore_invalid)
        assert window["area_label"][0, 0] == window["moment_label"][0, 0] == -1
        assert not window["valid"][0, 0]
        assert window["area_label"].min() == -1
        assert window["area_label"].max() == 1


def test_an_area_of_0_and_255_without_the_tag_is_0_and_1(tmp_path: Path) -> None:
    area, moment = make_labels(8, 8, 6)
    folder = write_dynamic_scene(tmp_path / "s", size=8, labels=(area * 255, moment))
    window = Scene(folder, DYNAMIC).read(0, 0, 8, 8)
    np.testing.assert_array_equal(window["area_label"], area)
    assert window["valid"].all()


@pytest.mark.parametrize("keep", [False, True])
def test_a_window_beyond_the_border_is_filled_and_ignored(tmp_path: Path, keep: bool) -> None:
    scene = Scene(write_dynamic_scene(tmp_path / "s", size=(20, 30)), DYNAMIC)
    if keep:
        scene.keep_in_memory()
    whole, window = scene.read(0, 0, 20, 30), scene.read(-2, 25, 24, 16)
    assert window["images"].shape == (6, 4, 24, 16)
    np.testing.assert_array_equal(window["images"][..., 2:22, :5], whole["images"][..., 25:])
    np.testing.assert_array_equal(window["images"][..., 0, 0], whole["images"][..., 0, 25])
    np.testing.assert_array_equal(window["images"][..., -1, -1], whole["images"][..., -1, -1])
    assert window["valid"].sum() == 100
    assert (window["area_label"][~window["valid"]] == -1).all()
    assert (window["moment_label"][~window["valid"]] == -1).all()


def test_a_window_that_misses_the_scene_is_refused(tmp_path: Path) -> None:
    scene = Scene(write_dynamic_scene(tmp_path / "s", size=8), DYNAMIC)
    with pytest.raises(ValueError, match="expected one that touches the 8×8 pixels"):
        scene.read(8, 0, 4, 4)


@pytest.mark.parametrize("ignore_invalid", [False, True])
def test_memory_and_disk_give_the_same_windows(tmp_path: Path, ignore_invalid: bool) -> None:
    folder = write_spacenet7_scene(tmp_path / "s", size=(40, 30), compression="lzw", tiled=True)
    disk, memory = Scene(folder, SPACENET7), Scene(folder, SPACENET7)
    assert memory.keep_in_memory() == 40 * 30 * (9 * 4 + 2)
    for name, array in disk.read(7, 9, 16, 16, "auto", ignore_invalid).items():
        np.testing.assert_array_equal(
            memory.read(7, 9, 16, 16, "auto", ignore_invalid)[name], array
        )


def test_the_mask_of_missing_pixels_is_kept_only_where_there_are_any(tmp_path: Path) -> None:
    images = flat_images(6, 8, 8)
    images[2, :, 3, 4] = 0
    scene = Scene(write_dynamic_scene(tmp_path / "s", size=8, images=images, nodata=0), DYNAMIC)
    assert scene.keep_in_memory() == 64 * (6 * 4 + 2) + 64 * 6
    assert not scene.read(0, 0, 8, 8)["observed"][3, 4]
    assert (scene.read(3, 4, 1, 1, "stored")["images"][2] == 2).all()
    assert scene.read(4, 4, 4, 4)["observed"].all()


def test_a_scene_travels_to_other_processes(tmp_path: Path) -> None:
    scene = Scene(write_dynamic_scene(tmp_path / "s", size=8), DYNAMIC)
    scene.read(0, 0, 8, 8)
    copy = pickle.loads(pickle.dumps(scene))
    np.testing.assert_array_equal(copy.read(0, 0, 8, 8)["images"], scene.read(0, 0, 8, 8)["images"])


def test_a_scene_that_cannot_be_read_says_all_that_is_missing(tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "s", size=8, dates=DYNAMIC_DATES[:4])
    (folder / "change" / "multi_change.tif").unlink()
    with pytest.raises(DataError) as caught:
        Scene(folder, DYNAMIC)
    assert "found 4 images" in str(caught.value)
    assert "change/multi_change.tif: missing" in str(caught.value)


def test_a_tag_of_255_spares_the_opaque_pixels_of_an_rgba_series(tmp_path: Path) -> None:
    folder = write_spacenet7_scene(tmp_path / "L15-a", size=8, nodata=255)
    window = Scene(folder, SPACENET7).read(0, 0, 8, 8)
    assert window["valid"].mean() > 0.9
    assert window["images"][:, :3].any()


def test_without_ignoring_values_under_a_tag_stay_as_the_released_programs_read_them(
    tmp_path: Path,
) -> None:
    images = np.full((6, 4, 8, 8), 0.5, np.float32)
    images[2, :, 3, 4] = -9999.0
    folder = write_dynamic_scene(tmp_path / "s", size=8, images=images, nodata=-9999.0)
    scene = Scene(folder, DYNAMIC)
    assert (scene.read(0, 0, 8, 8)["images"][2, :, 3, 4] == 0.5).all()
    released = scene.read(0, 0, 8, 8, ignore_invalid=False)["images"]
    assert (released[2, :, 3, 4] == -9999.0).all()


@pytest.mark.parametrize(
    ("size", "dtype", "bands", "message"),
    [
        (16, "uint8", 4, "found 16×16 pixels, expected 24×24 as when it was opened"),
        (32, "uint8", 4, "found 32×32 pixels, expected 24×24"),
        (24, "uint16", 4, "found 4 bands of uint16, expected 4 bands of uint8"),
        (24, "uint8", 3, "found 3 bands of uint8, expected 4 bands of uint8"),
    ],
)
@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_file_that_was_replaced_by_another_kind_is_told(
    tmp_path: Path, size: int, dtype: str, bands: int, message: str, kind: str
) -> None:
    scene = Scene(write_dynamic_scene(tmp_path / "s", size=24), DYNAMIC)
    path = scene.image_paths[2] if kind == "image" else scene.moment_path
    write_raster(path, np.ones((bands, size, size), dtype=dtype))
    if kind == "label" and size == 24:
        return  # any integer type will do for a label, and its first band is read
    with pytest.raises(DataError, match=message) as caught:
        scene.read(0, 0, 8, 8)
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        ["2018_01.tif", "2018_02.tif", "2018_03.tif", "2018_04.tif", "2018_05.tif", "2018_06.tif"],
        ["200501.tif", "200502.tif", "200503.tif", "200504.tif", "200505.tif", "200506.tif"],
        [f"2018-01-{day:02d}.tif" for day in range(1, 7)],
        [f"201801{day:02d}_103000_1003_3B_AnalyticMS.tif" for day in range(1, 7)],
        [f"2018_01_{day:02d}_20200101.tif" for day in range(1, 7)],
    ],
)
def test_a_name_of_the_layout_starts_with_its_date(tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "test" / "Scene01"
    for name in names:
        (folder / "train_images").mkdir(parents=True, exist_ok=True)
        (folder / "train_images" / name).touch()

    files = find_scene_files(folder, DYNAMIC)

    assert [path.name for _, path in files.images] == names
