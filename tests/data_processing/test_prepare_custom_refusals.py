"""What data_processing/prepare_custom.py refuses, warns of and does not do twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_processing.scenes.check import check_data_root
from data_processing.scenes.spec import DYNAMIC, SPACENET7
from tests.helpers.custom_city import (
    DAYS,
    City,
    H,
    W,
    city,
    growing,
    labelled,
    moment_of,
    place,
    write_images,
    write_masks,
    write_polygons,
)
from tests.helpers.scene_files import write_raster
from utils.errors import DataError, UserError
from utils.files import read_json, write_json

__all__ = ["city"]  # the fixture


def noise(*shape: int, dtype: str = "uint16") -> Any:
    return np.random.default_rng(1).integers(1, 200, shape).astype(dtype)


def state_of(root: Path) -> dict[str, int]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path): path.stat().st_mtime_ns for path in files}


# ──────────────────────────────────── scene after scene ────────────────────────────────────


def test_the_same_command_again_does_nothing(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    city.run(moment_raster=city.moment)
    before = state_of(city.root)
    city.run(moment_raster=city.moment)
    assert state_of(city.root) == before
    assert "nothing done" in capsys.readouterr().out


def test_scenes_are_added_one_by_one(city: City) -> None:
    first = city.run(moment_raster=city.moment)
    before = state_of(first)
    masks = write_masks(city.masks, growing(6))
    city.run(name="Scene02", masks=masks)
    city.run(name="Szene 3", masks=masks, split="test", event="first")
    assert state_of(first) == before
    scenes = read_json(city.root / "Images_Dynamic" / "dataset.json")["scenes"]
    assert [scene["name"] for scene in scenes] == ["Scene01", "Scene02", "Szene 3"]
    assert [scene["labels"] for scene in scenes] == ["moment_raster", "masks", "masks"]
    report = check_data_root(city.root, DYNAMIC, ("train", "test"))
    assert len(report.scenes) == 3
    assert len(report.faults) == 2  # one place under train and test is told, and nothing else
    assert all("lie on the same ground" in fault for fault in report.faults)
    assert len(np.load(city.root / "Dynamic_Fsplit" / "Ftrain.npy")) == 2


def test_other_settings_for_a_scene_need_overwrite(city: City) -> None:
    there = np.zeros((6, H, W), np.uint8)
    there[2:4] = 1
    masks = write_masks(city.masks, there)
    scene = city.run(masks=masks)
    with pytest.raises(UserError, match=r"event: 'last' there, 'first' asked for.*--overwrite"):
        city.run(masks=masks, event="first")
    assert (moment_of(scene) == 4).all()
    city.run(masks=masks, event="first", overwrite=True)
    assert (moment_of(scene) == 2).all()


def test_a_split_whose_only_scene_failed_does_not_hinder_others(city: City) -> None:
    bad = write_images(city.folder / "bad", dtype="float32")
    write_raster(bad / f"city_{DAYS[0]}.tif", np.full((4, H, W), np.inf, np.float32))
    with pytest.raises(DataError, match="infinite"):
        city.run(images=bad, moment_raster=city.moment, split="test")
    city.run(moment_raster=city.moment)
    assert len(np.load(city.root / "Dynamic_Fsplit" / "Ftrain.npy")) == 1


def test_the_audit_keeps_what_was_found_in_other_scenes(city: City) -> None:
    write_polygons(city.polygons, [(place(1), "1999-01"), (place(2), DAYS[2])])
    city.run(polygons=city.polygons)
    city.run(moment_raster=city.moment, name="Scene02")
    audit = read_json(city.root / "Images_Dynamic" / "audit.json")
    assert [gap["area"] for gap in audit["gaps"]] == ["Scene01"]
    assert list(audit["inputs"]) == ["train/Scene01", "train/Scene02"]


def test_data_of_another_program_are_left_alone(city: City) -> None:
    folder = city.root / "Images_Dynamic"
    write_json(folder / "dataset.json", {"generator": "data_processing/sample_data.py"})
    with pytest.raises(UserError, match="data of data_processing/sample_data"):
        city.run(moment_raster=city.moment)
    assert [path.name for path in folder.iterdir()] == ["dataset.json"]


def test_a_scene_belongs_to_one_split(city: City, capsys: pytest.CaptureFixture[str]) -> None:
    city.run(moment_raster=city.moment)
    with pytest.raises(UserError, match="in one split only"):
        city.run(moment_raster=city.moment, split="val")
    city.run(moment_raster=city.moment, split="val", name="Scene02")
    assert "train/Scene01 is made from" in capsys.readouterr().out


def test_labels_of_other_rules_in_one_data_root_are_warned_of(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write_masks(city.masks, growing(6))
    city.run(masks=masks)
    city.run(masks=masks, name="Scene02", event="first")
    said = capsys.readouterr().out
    assert "labels of train/Scene01 were made with --event last, these with first" in said


def test_a_dry_run_writes_nothing_and_shows_the_balance(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    city.run(moment_raster=city.moment, dry_run=True)
    assert not city.root.exists()
    said = capsys.readouterr().out
    assert "pixels per class of the change moment 0: 4620 (90.23 %), 1: 100 (1.95 %)" in said
    assert "1 to write" in said


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        (np.zeros((H, W)), "nothing changed in this scene"),
        (np.where(labelled(6) == 3, 0, labelled(6)), "no pixel of class 3 in this scene"),
        (np.full((H, W), 255), "no pixel has a label"),
        (np.maximum(labelled(6), 1), "no pixel is unchanged"),
        (labelled(6) > 0, "holds no moment but 1"),
    ],
)
def test_labels_that_teach_little_are_warned_of(
    values: Any, warning: str, city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    write_raster(city.moment, values.astype(np.uint8), nodata=255)
    city.run(moment_raster=city.moment)
    assert f"{warning}" in capsys.readouterr().out


# ──────────────────────────────────── flags ────────────────────────────────────


def test_no_label_and_several_kinds_are_refused(city: City) -> None:
    assert "without any, they need not be brought" in city.refusal(UserError)
    both = city.refusal(UserError, moment_raster=city.moment, masks=city.masks)
    assert "found --moment-raster and --masks, expected one of" in both


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"event": "last"}, "found --event together with --moment-raster"),
        ({"all_touched": True, "date_field": "x"}, "found --all-touched, --date-field"),
        ({"name": "../out"}, "--name: found '../out'"),
        ({"name": ".hidden"}, "--name: found '.hidden'"),
        ({"bands": "1,2,x,4"}, "--bands: found '1,2,x,4', expected 4 numbers"),
        ({"bands": "1,2,3"}, "expected 4 numbers"),
        ({"images": "nowhere/*.tif"}, "nowhere/*.tif', expected a folder"),
        ({"dates": "2020-01,soon"}, "(2 dates) for 6 images"),
        ({"dates": "odd"}, "--dates: found 'odd'"),
        ({"moment_raster": "nowhere.tif"}, "there is no file"),
    ],
)
def test_flags_that_cannot_be_used_are_refused(
    flags: Mapping[str, Any], message: str, city: City
) -> None:
    assert message in city.refusal(UserError, **{"moment_raster": city.moment, **flags})


def test_dates_that_contradict_the_names_are_refused(city: City) -> None:
    given = ",".join([*DAYS[:4], "2019-01-01", DAYS[5][:8] + "16"])
    said = city.refusal(UserError, moment_raster=city.moment, dates=given)
    assert "city_2017-11-15.tif: found 2019-01-01 given, 2017-11-15 in the name" in said
    assert "city_2017-12-15.tif: found 2017-12-16 given" in said


def test_a_moment_raster_needs_exactly_its_dates(city: City) -> None:
    write_images(city.images, 7)
    said = city.refusal(UserError, moment_raster=city.moment)
    assert "found 7 images, expected 6" in said


def test_months_of_the_spacenet7_layout_hold_one_date(tmp_path: Path) -> None:
    city = City(tmp_path, SPACENET7)
    write_images(city.images, 8, bands=3)
    write_raster(city.images / "2017-07-02.tif", noise(3, H, W, dtype="uint8"))
    masks = write_masks(city.masks, growing(9), ["2017-07-02", *DAYS[:8]])
    assert "expected one date a month" in city.refusal(UserError, masks=masks)


def test_polygons_need_a_coordinate_system(city: City) -> None:
    write_images(city.images, crs=None)
    write_polygons(city.polygons, [])
    assert "no coordinate system" in city.refusal(UserError, polygons=city.polygons)


# ──────────────────────────────────── images ────────────────────────────────────


def test_all_faults_of_a_series_are_told_at_once(city: City) -> None:
    other = dict(zip("abcd", sorted(city.images.iterdir())[1:5], strict=True))
    write_raster(other["a"], noise(4, H, W), crs="EPSG:32634")
    write_raster(other["b"], noise(4, H, W), origin=(500030.0, 5000000.0))
    write_raster(other["c"], noise(4, H, W - 1))
    write_raster(other["d"], noise(3, H, W, dtype="uint8"))
    write_raster(city.images / "again_2017-07-15.tif", noise(4, H, W))
    write_raster(city.images / "undated.tif", noise(4, H, W))
    (city.images / "2018-01-01.tif").write_bytes(b"no raster")
    said = city.refusal(DataError, moment_raster=city.moment)
    for part in (
        "city_2017-08-15.tif: found CRS EPSG:32634, expected EPSG:32633 as again_2017-07-15.tif",
        "city_2017-09-15.tif: found transform (3.0, 0.0, 500030.0",
        "city_2017-10-15.tif: found 64×79 pixels, expected 64×80 as again_2017-07-15.tif",
        "city_2017-11-15.tif: found bands 3, expected 4",
        "city_2017-11-15.tif: found type uint8, expected uint16",
        "found the date 2017-07-15 twice, also in again_2017-07-15.tif",
        "undated.tif: found no date in the name",
        "2018-01-01.tif: the raster cannot be read",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((4, 63, 80), "uint16", "found 63×80 pixels, expected 64×64 at least"),
        ((8, 64, 80), "uint16", "found 8 bands, expected 4 (blue, green, red, nir)"),
        ((4, 64, 80), "int32", "found type int32, expected one of uint8"),
    ],
)
def test_images_that_the_layout_cannot_take_are_refused(
    shape: tuple[int, int, int], dtype: str, message: str, city: City
) -> None:
    for path in city.images.iterdir():
        write_raster(path, noise(*shape, dtype=dtype))
    assert message in city.refusal(DataError, moment_raster=city.moment)


def test_an_alpha_band_is_made_for_8_bits_only(tmp_path: Path) -> None:
    city = City(tmp_path, SPACENET7)
    write_images(city.images, 9, bands=3, dtype="uint16")
    write_raster(city.moment, labelled(9))
    said = city.refusal(DataError, moment_raster=city.moment)
    assert "found 3 bands of uint16, expected uint8" in said


def test_bands_that_are_not_there_and_too_few_dates_are_refused(city: City) -> None:
    said = city.refusal(DataError, moment_raster=city.moment, bands="1,2,3,9")
    assert "found 4 bands, expected 9, see --bands" in said
    (city.images / f"city_{DAYS[0]}.tif").unlink()
    said = city.refusal(DataError, moment_raster=city.moment)
    assert "expected 6 as in DynamicEarthNet" in said


def test_infinite_values_are_refused_and_leave_no_scene(city: City) -> None:
    for number, path in enumerate(sorted(city.images.iterdir())):
        values = np.full((4, H, W), 0.5, np.float32)
        values[0, 0, :number] = np.inf
        write_raster(path, values)
    with pytest.raises(DataError, match="found 5 infinite values") as caught:
        city.run(moment_raster=city.moment)
    assert len(caught.value.faults) == 5
    assert not city.root.exists()


# ──────────────────────────────────── labels ────────────────────────────────────


def test_values_that_are_no_class_are_refused_with_their_counts(city: City) -> None:
    moment = labelled(6)
    moment[0, :12], moment[1, :3] = 6, 77
    write_raster(city.moment, moment)
    said = city.refusal(DataError, moment_raster=city.moment)
    assert "found values 6 (12 pixels), 77 (3 pixels), expected 0…5" in said
    write_raster(city.moment, np.full((H, W), 0.5, np.float32))
    assert "found values 0.5 (5120 pixels)" in city.refusal(DataError, moment_raster=city.moment)


def test_an_area_map_is_no_moment_raster(city: City) -> None:
    write_raster(city.moment, (labelled(6) > 0) * np.uint8(255))
    said = city.refusal(DataError, moment_raster=city.moment)
    assert "found only the values 0 (4620 pixels), 255 (500 pixels)" in said
    assert "whether a pixel changed and not when" in said


@pytest.mark.parametrize(("tag", "unknown"), [(None, 255), (255, 255), (99, 99), (-1, -1)])
def test_unknown_pixels_of_a_moment_raster_are_kept(
    tag: int | None, unknown: int, city: City
) -> None:
    moment = labelled(6).astype(np.int16)
    moment[:3] = unknown
    write_raster(city.moment, moment, nodata=tag)
    expected = labelled(6)
    expected[:3] = 255
    np.testing.assert_array_equal(moment_of(city.run(moment_raster=city.moment)), expected)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (labelled(6), {"nodata": 0}, "found the nodata tag 0, which is also a value"),
        (labelled(6)[:, :79], {}, "found 64×79 pixels, expected 64×80 as the images"),
        (labelled(6), {"origin": (0.0, 0.0)}, "found transform"),
        (labelled(6), {"crs": "EPSG:3857"}, "found CRS EPSG:3857"),
        (np.stack([labelled(6)] * 2), {}, "found 2 bands, expected 1"),
    ],
)
def test_a_moment_raster_lies_on_the_images(
    values: Any, options: Mapping[str, Any], message: str, city: City
) -> None:
    write_raster(city.moment, values, **options)
    assert message in city.refusal(DataError, moment_raster=city.moment)


def test_all_faults_of_masks_are_told_at_once(city: City) -> None:
    masks: list[Any] = [mask.astype(np.uint8) for mask in growing(6)]
    masks[1][0, :7] = 255
    write_masks(city.masks, masks)
    (city.masks / f"mask_{DAYS[2]}.tif").unlink()
    (city.masks / f"mask_{DAYS[5]}.tif").unlink()
    write_raster(city.masks / f"mask_{DAYS[3]}.tif", np.zeros((H, W - 2), np.uint8))
    write_raster(city.masks / "roads.tif", np.zeros((H, W), np.uint8))
    said = city.refusal(DataError, masks=city.masks)
    for part in (
        "found no mask of 2017-09-15; there are masks of 2017-07-15, 2017-08-15, 2017-10-15",
        "found no mask of 2017-12-15",
        f"mask_{DAYS[1]}.tif: found values 0 (5013 pixels), 1 (100 pixels), 255 (7 pixels)",
        f"mask_{DAYS[3]}.tif: found 64×78 pixels, expected 64×80 as the images",
        "roads.tif: found no date in the name",
    ):
        assert part in said


def test_polygons_without_a_date_are_all_listed(city: City) -> None:
    dates = ["2017-08", "soon", None, "2017-13-01", "soon"]
    write_polygons(city.polygons, [(place(1), date) for date in dates])
    said = city.refusal(DataError, polygons=city.polygons)
    for part in ("'soon' in feature 1, 4", "None in feature 2", "'2017-13-01' in feature 3"):
        assert f"found {part}" in said
    said = city.refusal(DataError, polygons=city.polygons, date_field="when")
    assert "no property 'when' in feature 0, 1, 2, 3, 4" in said
    assert "there are: date" in said


@pytest.mark.parametrize("content", ["<html>", "[]", json.dumps({"type": "Feature"})])
def test_files_that_are_no_polygons_are_refused(content: str, city: City) -> None:
    city.polygons.write_text(content, "utf-8")
    assert "GeoJSON" in city.refusal(DataError, polygons=city.polygons)


def test_strict_stops_where_polygons_lie_outside_the_series(city: City) -> None:
    write_polygons(city.polygons, [(place(1), "1999-01"), (place(2), DAYS[2])])
    said = city.refusal(DataError, polygons=city.polygons, strict=True)
    assert "1 of 2 polygons" in said
    assert said.startswith(str(city.root / "Images_Dynamic"))
