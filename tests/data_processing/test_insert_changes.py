"""Scenes made from unlabelled series: exact labels, whole areas per split, the same from a seed."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing.insert_changes import _drawn_dates, main
from data_processing.scenes.custom import custom_spec
from data_processing.scenes.dataset import cover_split
from data_processing.scenes.spec import SPACENET7, spec_by_name
from tests.helpers.scene_files import write_raster
from utils.errors import DataError, UserError

SIDE = 72


def write_areas(root: Path, count: int = 4, dates: int = 8, bands: int = 4) -> list[str]:
    """Folders of areas that differ in brightness, with noise from date to date."""
    folders = []
    for number in range(count):
        rng = np.random.default_rng(number)
        ground = 400 + 800 * number + rng.integers(0, 200, (bands, SIDE, SIDE))
        for date in range(dates):
            values = (ground + rng.integers(-20, 20, ground.shape)).astype(np.uint16)
            write_raster(root / f"area{number}" / f"2020_{date + 1:02d}.tif", values)
        folders.append(str(root / f"area{number}"))
    return folders


def run(tmp_path: Path, folders: list[str], *more: str, name: str = "out") -> Path:
    root = tmp_path / name
    main(["--images", *folders, "--dataset", "dynamic", "--data-root", str(root),
          "--num-workers", "0", "--scene-size", "64", *more])  # fmt: skip
    return root / "Images_Dynamic"


def told(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "dataset.json").read_text())
    return content


def test_scenes_have_the_layout_and_the_changes_that_dataset_json_tells(tmp_path: Path) -> None:
    folder = run(tmp_path, write_areas(tmp_path / "areas"))
    for split in ("train", "val", "test"):
        patches = cover_split(folder.parent, spec_by_name("dynamic"), split)
        assert patches[0]["images"].shape == (6, 4, 64, 64)
    scenes = told(folder)["scenes"]
    assert sum(len(scene["insertions"]) for scene in scenes) > 0
    for scene in scenes:
        with rasterio.open(
            folder / scene["split"] / scene["name"] / "change/multi_change.tif"
        ) as f:
            moment = f.read(1)
        expected = {one["moment"] for one in scene["insertions"]}
        assert set(np.unique(moment)) - {0} <= expected


def test_pixels_without_change_are_those_of_the_series(tmp_path: Path) -> None:
    folder = run(tmp_path, write_areas(tmp_path / "areas"), "--feathered", "0")
    scene = told(folder)["scenes"][0]
    place = folder / scene["split"] / scene["name"]
    row, col, height, width = scene["window"]
    with rasterio.open(place / "change/multi_change.tif") as file:
        quiet = file.read(1) == 0
    for name in scene["images"]:
        with rasterio.open(place / "train_images" / name) as file:
            written, there = file.read(), file.transform
        source = tmp_path / "areas" / scene["area"] / f"{name[:4]}_{name[5:7]}.tif"
        with rasterio.open(source) as file:
            stored, whole = file.read(), file.transform
        window = stored[:, row : row + height, col : col + width]
        assert np.array_equal(written[:, quiet], window[:, quiet])
        assert (there.c, there.f) == (whole @ (col, row))[:2]


def test_no_area_lends_a_region_to_another_split(tmp_path: Path) -> None:
    folder = run(tmp_path, write_areas(tmp_path / "areas", 6), "--test-share", "0.3")
    scenes = told(folder)["scenes"]
    split_of = {scene["area"]: scene["split"] for scene in scenes}
    assert set(split_of.values()) == {"train", "val", "test"}
    for scene in scenes:
        assert split_of[scene["area"]] == scene["split"]
        for one in scene["insertions"]:
            assert split_of[one["donor"]["area"]] == scene["split"]


def test_the_same_seed_makes_the_same_scenes_and_another_one_others(tmp_path: Path) -> None:
    folders = write_areas(tmp_path / "areas")
    first, again, other = (
        told(run(tmp_path, folders, "--seed", seed, name=name))["scenes"]
        for seed, name in (("3", "a"), ("3", "b"), ("4", "c"))
    )
    assert first == again
    assert first != other


def test_dates_whose_files_would_have_one_name_are_taken_once() -> None:
    yearly = replace(SPACENET7, num_dates=3, image_format="{date:%Y}.tif")
    at_hand = [datetime.date(year, month, 1) for year in (2018, 2019, 2020) for month in (2, 8)]
    dates = _drawn_dates(np.random.default_rng(1), at_hand, yearly)
    assert [date.year for date in dates] == [2018, 2019, 2020]


def test_rgb_series_get_an_alpha_band(tmp_path: Path) -> None:
    for number in range(3):
        rng = np.random.default_rng(number)
        for month in range(11):
            values = rng.integers(1, 255, (3, SIDE, SIDE)).astype(np.uint8)
            write_raster(tmp_path / f"place{number}" / f"2019_{month + 1:02d}.tif", values)
    main(["--images", str(tmp_path / "place*"), "--dataset", "spacenet7",
          "--data-root", str(tmp_path / "out"), "--num-workers", "0"])  # fmt: skip
    item = cover_split(tmp_path / "out", SPACENET7, "train")[0]
    assert item["images"].shape[:2] == (9, 4)
    assert (item["images"][:, 3] == 1).all()


@pytest.mark.parametrize(
    ("count", "dates", "fault"), [(2, 8, "found 2 areas"), (3, 5, "found 0 areas")]
)
def test_too_little_is_refused(tmp_path: Path, count: int, dates: int, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        run(tmp_path, write_areas(tmp_path / "areas", count, dates))


def test_flags_out_of_range_and_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--changes"):
        run(tmp_path, ["x"], "--changes", "0")
    with pytest.raises(UserError, match="found no folder"):
        run(tmp_path, [str(tmp_path / "nowhere")])


def test_any_dates_and_bands_stand_in_dataset_json_and_other_ones_are_other_settings(
    tmp_path: Path,
) -> None:
    folders = write_areas(tmp_path / "areas", bands=3)
    flags = ["--images", *folders, "--dataset", "custom", "--data-root", str(tmp_path / "out"),
             "--num-workers", "0", "--scene-size", "64", "--scenes-per-area", "1",
             "--band-names", "red,green,blue"]  # fmt: skip
    main([*flags, "--num-dates", "8"])
    spec = custom_spec(tmp_path / "out")
    assert (spec.num_dates, spec.bands) == (8, ("red", "green", "blue"))
    assert cover_split(tmp_path / "out", spec, "val")[0]["images"].shape == (8, 3, 64, 64)
    with pytest.raises(UserError, match="--overwrite"):
        main([*flags, "--num-dates", "7"])
    with pytest.raises(UserError, match="--num-dates: found none"):
        main(flags)
