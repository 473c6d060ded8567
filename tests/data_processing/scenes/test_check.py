"""The layout check: every fault is found, named, and told together with all others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from data_processing.rasters.values import PixelScale
from data_processing.scenes.check import (
    check_data_root,
    check_scene,
    examine_scene,
    require_sound,
)
from data_processing.scenes.spec import DYNAMIC, SPACENET7
from tests.helpers.scene_files import (
    DYNAMIC_DATES,
    make_labels,
    scene_folder,
    write_data_root,
    write_dynamic_scene,
    write_raster,
    write_spacenet7_scene,
)
from utils.errors import DataError

SIZE = 64
IMAGE = "train_images/2018_09.tif"
AREA, MOMENT = "change/bi_change.tif", "change/multi_change.tif"


def image(dtype: str = "uint8", bands: int = 4, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """An image raster of ones."""
    return np.ones((bands, *size), dtype=dtype)


def label_with(value: int, count: int) -> np.ndarray:
    """A label that holds ``value`` in ``count`` pixels and 0 elsewhere."""
    label = np.zeros((SIZE, SIZE), dtype=np.uint8)
    label.flat[:count] = value
    return label


def with_nan() -> np.ndarray:
    """A float image with three NaN and two infinite values."""
    values = image("float32")
    values[0, 0, :3] = np.nan
    values[1, 1, :2] = np.inf
    return values


def truncate(path: Path) -> None:
    """Cut a raster behind its header."""
    values = np.random.default_rng(0).integers(0, 255, (4, SIZE, SIZE)).astype(np.uint8)
    write_raster(path, values, compression="lzw")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def write_pages(path: Path) -> None:
    """An array (H, W, 4) that tifffile takes for H pages."""
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, np.ones((SIZE, SIZE, 4), np.float32), photometric="minisblack")


def change_two_labels(folder: Path) -> None:
    """Area and moment that differ in 11 pixels."""
    write_raster(folder / AREA, label_with(1, 20))
    write_raster(folder / MOMENT, label_with(3, 9))


# What is done to a sound scene · what the fault must say.
FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no area": (lambda s: (s / AREA).unlink(), f"{AREA}: missing; expected the change area"),
    "no moment": (lambda s: (s / MOMENT).unlink(), f"{MOMENT}: missing"),
    "a date less": (lambda s: (s / IMAGE).unlink(), "found 5 images (2018-01-01, 2018-05-01, 2019"),
    "a date more": (
        lambda s: write_raster(s / "train_images/2020_01.tif", image()),
        "found 7 images",
    ),
    "a date twice": (
        lambda s: (s / IMAGE).rename(s / "train_images/2018-05-01.tif"),
        "found the date 2018-05-01 twice",
    ),
    "a day that does not exist": (
        lambda s: (s / IMAGE).rename(s / "train_images/2018_09_31.tif"),
        "train_images/2018_09_31.tif: found a raster whose name is no image name",
    ),
    "a foreign raster": (
        lambda s: write_raster(s / "train_images/mean.tif", image()),
        "train_images/mean.tif: found a raster whose name is no image name",
    ),
    "an image of another size": (
        lambda s: write_raster(s / IMAGE, image(size=(SIZE, 60))),
        f"{IMAGE}: found 64×60 pixels, expected 64×64 pixels",
    ),
    "a label of another size": (
        lambda s: write_raster(s / AREA, np.zeros((SIZE, 65), np.uint8)),
        f"{AREA}: found 64×65 pixels, expected 64×64 pixels",
    ),
    "another CRS": (
        lambda s: write_raster(s / IMAGE, image(), crs="EPSG:3857"),
        f"{IMAGE}: found CRS EPSG:3857, expected EPSG:32633",
    ),
    "another place": (
        lambda s: write_raster(s / IMAGE, image(), origin=(500003.0, 5000000.0)),
        f"{IMAGE}: found transform (3.0, 0.0, 500003.0",
    ),
    "a band less": (
        lambda s: write_raster(s / IMAGE, image(bands=3)),
        f"{IMAGE}: found 3 bands, expected 4 (blue, green, red, nir)",
    ),
    "a label of three bands": (
        lambda s: write_raster(s / AREA, image(bands=3)),
        f"{AREA}: found 3 bands, expected 1",
    ),
    "another type": (
        lambda s: write_raster(s / IMAGE, image("uint16")),
        f"{IMAGE}: found type uint16, expected type uint8",
    ),
    "a moment beyond T−1": (
        lambda s: write_raster(s / MOMENT, label_with(6, 12)),
        f"{MOMENT}: found values 6 (12 pixels), expected 0…5",
    ),
    "255 without the tag": (
        lambda s: write_raster(s / MOMENT, label_with(255, 7)),
        "found values 255 (7 pixels)",
    ),
    "a wrong area": (
        lambda s: write_raster(s / AREA, label_with(2, 5)),
        f"{AREA}: found values 2 (5 pixels), expected 0/1 (or 0/255)",
    ),
    "area and moment differ": (
        change_two_labels,
        "found 11 pixels where the area is not (moment > 0)",
    ),
    "no raster": (
        lambda s: (s / IMAGE).write_bytes(b"<html>"),
        f"{IMAGE}: the raster cannot be read",
    ),
    "an empty file": (lambda s: (s / MOMENT).write_bytes(b""), f"{MOMENT}: the raster cannot be"),
    "a truncated file": (lambda s: truncate(s / IMAGE), f"{IMAGE}: the raster cannot be read"),
    "pages": (lambda s: write_pages(s / IMAGE), "found 64 pages of 64×4 pixels, expected one"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_scene_file_found_and_expected(tmp_path: Path, name: str) -> None:
    spoil, message = FAULTS[name]
    folder = write_dynamic_scene(tmp_path / "train" / "Scene07", size=SIZE)
    assert check_scene(folder, DYNAMIC) == []
    spoil(folder)
    faults = check_scene(folder, DYNAMIC)
    assert any(message in fault for fault in faults), faults
    assert all(fault.startswith("train/Scene07") for fault in faults)


def test_all_faults_of_a_root_are_told_in_one_error(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", {"train": len(FAULTS)}, size=SIZE, index=False)
    for number, (spoil, _) in enumerate(FAULTS.values(), start=1):
        spoil(scene_folder(root, "dynamic", "train", number))
    report = check_data_root(root, DYNAMIC)
    with pytest.raises(DataError) as caught:
        report.raise_if_faulty()
    text = str(caught.value)
    for number, (_, message) in enumerate(FAULTS.values(), start=1):
        assert message in text
        assert f"train/Scene{number:02d}" in text
    assert "val/: the split's folder is missing" in text
    assert "test/: the split's folder is missing" in text


def test_several_faults_of_one_scene_are_told_together(tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE)
    write_raster(folder / IMAGE, image(size=(SIZE, 60)))
    write_raster(folder / MOMENT, label_with(9, 2))
    truncate(folder / "train_images" / "2019_01.tif")
    (folder / AREA).unlink()
    text = "\n".join(check_scene(folder, DYNAMIC))
    for part in ("64×60", "9 (2 pixels)", "2019_01.tif: the raster cannot be read", "missing"):
        assert part in text


def test_nan_and_infinite_values_are_counted(tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE, dtype="float32")
    write_raster(folder / IMAGE, with_nan())
    faults = check_scene(folder, DYNAMIC)
    assert len(faults) == 2
    assert f"{IMAGE}: found 3 NaN values, expected numbers" in faults[0]
    assert f"{IMAGE}: found 2 infinite values" in faults[1]


def test_nan_is_no_fault_where_the_nodata_tag_is_nan(tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE, dtype="float32")
    values = image("float32")
    values[:, 0, :3] = np.nan
    write_raster(folder / IMAGE, values, nodata=np.nan)
    report = examine_scene(folder, DYNAMIC)
    assert report.faults == []
    assert report.pixels is not None
    assert report.pixels.ignored == 3


def test_pages_written_as_the_message_says_are_read(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE, dtype="float32")
    tifffile.imwrite(
        folder / IMAGE,
        np.ones((SIZE, SIZE, 4), np.float32),
        photometric="minisblack",
        planarconfig="contig",
    )
    assert check_scene(folder, DYNAMIC) == []


def test_rasters_without_any_georeference_are_sound(tmp_path: Path) -> None:
    folder = write_spacenet7_scene(tmp_path / "val" / "L15-1", size=SIZE, crs=None)
    report = examine_scene(folder, SPACENET7)
    assert (report.faults, report.warnings) == ([], [])


def test_labels_without_georeference_are_remarked_on(tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE)
    area, _ = make_labels(SIZE, SIZE, 6)
    write_raster(folder / AREA, area, crs=None)
    report = examine_scene(folder, DYNAMIC)
    assert report.faults == []
    assert "no georeference in bi_change.tif" in report.warnings[0]


def test_converted_area_values_are_a_warning(tmp_path: Path) -> None:
    area, moment = make_labels(SIZE, SIZE, 6)
    folder = write_dynamic_scene(
        tmp_path / "train" / "Scene01", size=SIZE, labels=(area * 255, moment)
    )
    report = examine_scene(folder, DYNAMIC)
    assert report.faults == []
    assert report.warnings == [f"train/Scene01, {AREA}: values 0/255 are taken as 0/1"]


def test_mixed_area_values_are_a_fault(tmp_path: Path) -> None:
    area, moment = make_labels(SIZE, SIZE, 6)
    area[-1, 1] = 255
    folder = write_dynamic_scene(tmp_path / "train" / "S", size=SIZE, labels=(area, moment))
    assert "found values 255 (1 pixels)" in check_scene(folder, DYNAMIC)[0]


def test_ignored_pixels_are_counted_and_never_disagree(tmp_path: Path) -> None:
    area, moment = make_labels(SIZE, SIZE, 6)
    area[:2], moment[:1] = 255, 255
    folder = write_dynamic_scene(
        tmp_path / "train" / "Scene01", size=SIZE, labels=(area, moment), label_nodata=255
    )
    report = examine_scene(folder, DYNAMIC)
    assert report.faults == []
    assert "64 pixels are ignored (255, the nodata tag) in one of the two" in report.warnings[0]
    assert report.pixels is not None
    assert report.pixels.ignored == 128


def test_unusual_float_values_are_a_warning(tmp_path: Path) -> None:
    images = np.full((6, 4, SIZE, SIZE), 3000, dtype=np.float32)
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE, images=images)
    report = examine_scene(folder, DYNAMIC)
    assert report.faults == []
    assert "float values up to 3000 are used as stored" in report.warnings[0]


@pytest.mark.parametrize(
    ("dtype", "fill"), [("int16", -9999), ("float32", -3.4e38), ("float64", 1e300)]
)
def test_fill_values_without_a_nodata_tag_are_a_fault_of_their_file(
    tmp_path: Path, dtype: str, fill: float
) -> None:
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE, dtype=dtype)
    values = image(dtype)
    values[:, 5, 7] = fill
    write_raster(folder / IMAGE, values)
    (fault,) = check_scene(folder, DYNAMIC)
    assert f"{IMAGE}: found values of {fill:g} that count as data" in fault
    assert "nodata" in fault
    write_raster(folder / IMAGE, values, nodata=fill)
    assert check_scene(folder, DYNAMIC) == []


@pytest.mark.parametrize(
    ("dtype", "most", "scale", "sentence"),
    [
        ("uint16", 250, "auto", "16-bit values of 250 at most are divided by 10000"),
        ("uint16", 9000, "auto", ""),
        ("uint16", 9000, "stored", "whole numbers up to 9000 are used as stored"),
        ("uint8", 250, "stored", "whole numbers up to 250 are used as stored"),
        ("uint8", 250, "auto", ""),
        ("float32", 1, "stored", ""),
        ("float32", 255, "stored", "float values up to 255 are used as stored"),
    ],
)
def test_values_that_the_scale_cannot_mean_are_a_warning(
    tmp_path: Path, dtype: str, most: int, scale: PixelScale, sentence: str
) -> None:
    images = np.full((6, 4, SIZE, SIZE), most, dtype=dtype)
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE, images=images)
    report = examine_scene(folder, DYNAMIC, pixel_scale=scale)
    assert report.faults == []
    assert bool(report.warnings) == bool(sentence)
    assert sentence in " ".join(report.warnings)


def test_tags_of_scale_that_are_not_applied_are_a_warning(tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE)
    for image in (folder / IMAGE).parent.iterdir():
        with rasterio.open(image, "r+") as raster:
            raster.scales, raster.offsets = (0.0001,) * 4, (-0.1,) * 4
    report = examine_scene(folder, DYNAMIC)
    assert report.faults == []
    assert "scale and offset in the tags are not applied here" in " ".join(report.warnings)


def test_alpha_says_nothing_of_the_scale(tmp_path: Path) -> None:
    images = np.full((9, 4, SIZE, SIZE), 0.5, dtype=np.float32)
    images[:, 3] = 255
    folder = write_spacenet7_scene(tmp_path / "val" / "L15-1", size=SIZE, images=images)
    assert examine_scene(folder, SPACENET7).warnings == []


def test_an_unusual_folder_name_is_remarked_on(tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "train" / "my area", size=SIZE)
    assert "not named as usual (Scene01); it is used" in examine_scene(folder, DYNAMIC).warnings[0]


@pytest.mark.parametrize("tiled", [False, True])
def test_sums_do_not_depend_on_how_rasters_are_stored(
    tmp_path: Path, tiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_processing.rasters.reading.BLOCK_VALUES", 5000)
    folder = write_spacenet7_scene(tmp_path / "train" / "L15-1", size=(99, 90), tiled=tiled)
    pixels = examine_scene(folder, SPACENET7).pixels
    assert pixels is not None
    _, moment = make_labels(99, 90, 9)
    np.testing.assert_array_equal(pixels.class_counts, np.bincount(moment.ravel(), minlength=9))
    assert pixels.band_min[3] == pixels.band_max[3] == 255
    assert pixels.band_min[0] == 51


def test_a_quick_check_finds_headers_at_fault_and_reads_no_pixels(tmp_path: Path) -> None:
    folder = write_dynamic_scene(tmp_path / "train" / "Scene01", size=SIZE)
    write_raster(folder / MOMENT, label_with(9, 2))
    assert check_scene(folder, DYNAMIC, full=False) == []
    write_raster(folder / IMAGE, image(bands=3))
    assert len(check_scene(folder, DYNAMIC, full=False)) == 1


def test_require_sound_raises_with_the_faults_of_all_scenes(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", {"test": 2}, size=SIZE, index=False)
    folders = [scene_folder(root, "dynamic", "test", number) for number in (1, 2)]
    assert require_sound(root, DYNAMIC, folders) == []
    for folder in folders:
        (folder / AREA).unlink()
    with pytest.raises(DataError, match=r"2 faults(.|\n)*Scene01(.|\n)*Scene02"):
        require_sound(root, DYNAMIC, folders)


def test_a_split_without_scenes_is_a_fault(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", {"test": 1}, size=SIZE, index=False)
    (root / "Images_Dynamic" / "train").mkdir()
    report = check_data_root(root, DYNAMIC, ["train", "test"])
    assert report.faults == ["train/: found no scene folders"]
    assert len(report.scenes) == 1
    assert [f"{date:%Y_%m}" for date in report.scenes[0].dates] == list(DYNAMIC_DATES)
