"""Places in two splits are found, whatever they are called (scenes/shared_places.py)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import rasterio
from rasterio.warp import transform

from data_processing.scenes.check import check_data_root
from data_processing.scenes.dataset import cover_split, open_splits
from data_processing.scenes.spec import DYNAMIC
from tests.helpers.scene_files import (
    scene_folder,
    write_data_root,
    write_dynamic_scene,
    write_raster,
)
from utils.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_data_root(tmp_path, "dynamic", size=64)


def train(root: Path) -> Path:
    return scene_folder(root, "dynamic", "train")


def test_scenes_of_other_places_are_sound(root: Path) -> None:
    report = check_data_root(root, DYNAMIC)
    assert not report.faults
    assert {warning.split(" have ")[-1] for warning in report.warnings} <= {"the same name"}


def test_a_copied_scene_is_found_under_another_name_and_without_georeference(
    tmp_path: Path,
) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64, crs=None)
    shutil.copytree(train(root), root / "Images_Dynamic/test/Scene77")
    (fault,) = check_data_root(root, DYNAMIC).faults
    assert fault.startswith("train/Scene01 and test/Scene77 hold the same 2018_01.tif")
    with pytest.raises(DataError, match="one split only"):
        check_data_root(root, DYNAMIC).raise_if_faulty()


def test_labels_written_anew_are_found_by_what_they_say(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64, crs=None)
    copy = root / "Images_Dynamic/val/Scene77"
    write_dynamic_scene(copy, size=64, crs=None, seed=5)
    for name in (DYNAMIC.area_file, DYNAMIC.moment_file):
        with rasterio.open(train(root) / name) as raster:
            write_raster(copy / name, raster.read(), crs=None, compression="lzw")
    (fault,) = check_data_root(root, DYNAMIC).faults
    assert fault == "train/Scene01 and val/Scene77 hold the same labels"


def test_labels_without_change_are_no_sign_of_one_place(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64, crs=None)
    for split in ("train", "val"):
        for name in (DYNAMIC.area_file, DYNAMIC.moment_file):
            path = scene_folder(root, "dynamic", split) / name
            with rasterio.open(path) as raster:
                write_raster(path, 0 * raster.read(), crs=None)
    assert not check_data_root(root, DYNAMIC).faults


@pytest.mark.parametrize(
    ("columns", "share"), [(0, "100 %"), (32, "50 %"), (61, "5 %"), (64, ""), (70, "")]
)
def test_ground_in_common_is_found_and_a_common_border_is_none(
    root: Path, columns: int, share: str
) -> None:
    with rasterio.open(train(root) / DYNAMIC.area_file) as raster:
        x, y = raster.transform @ (columns, 0)
    write_dynamic_scene(root / "Images_Dynamic/test/Scene77", size=64, origin=(x, y), seed=9)
    for full in (True, False):
        faults = check_data_root(root, DYNAMIC, full=full).faults
        assert len(faults) == bool(share)
        if share:
            assert "train/Scene01 and test/Scene77 lie on the same ground" in faults[0]
            assert share in faults[0]


def test_ground_in_common_is_found_in_another_coordinate_system(root: Path) -> None:
    with rasterio.open(train(root) / DYNAMIC.area_file) as raster:
        crs, (x, y) = raster.crs, raster.transform @ (0, 0)
    (east,), (north,) = transform(crs, "EPSG:3857", [x], [y])
    for offset, expected in ((0, 1), (500, 0)):
        write_dynamic_scene(
            root / "Images_Dynamic/test/Scene77", size=64, crs="EPSG:3857",
            origin=(east + offset, north), seed=9,
        )  # fmt: skip
        assert len(check_data_root(root, DYNAMIC, full=False).faults) == expected


def test_training_and_scoring_say_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("val", "test"):
        folder = scene_folder(root, "dynamic", split)
        shutil.rmtree(folder)
        shutil.copytree(train(root), folder)
    open_splits(root, DYNAMIC, {"train": None, "val": None})
    assert (
        "warning: train/Scene01 and val/Scene01 lie on the same ground" in capsys.readouterr().out
    )
    cover_split(root, DYNAMIC, "test")
    assert "scores will be too good" in capsys.readouterr().out
