"""The generated sample data: reproducible, in the right layout, with visible labelled events."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from data_processing import sample_data
from data_processing.sample.events import moment_label
from data_processing.sample.scene import draw_scene, require_drawable, scene_name
from data_processing.scenes.dataset import open_split
from data_processing.scenes.spec import DYNAMIC, SPACENET7, spec_by_name
from utils.errors import UserError
from utils.files import read_json, write_json


def write(root: Path, **changes: object) -> None:
    flags = {
        "dataset": "dynamic",
        "scene-size": 64,
        "num-train": 1,
        "num-val": 0,
        "num-test": 0,
        "seed": 3,
        "num-workers": 0,
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    argv = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    sample_data.main(["--data-root", str(root), *argv])


def fingerprints(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.tif"))
    }


@pytest.mark.parametrize("dataset", ["dynamic", "spacenet7"])
def test_same_seed_gives_the_same_bytes_and_another_seed_others(
    tmp_path: Path, dataset: str
) -> None:
    write(tmp_path / "a", dataset=dataset)
    write(tmp_path / "b", dataset=dataset)
    write(tmp_path / "c", dataset=dataset, seed=4)
    assert fingerprints(tmp_path / "a") == fingerprints(tmp_path / "b")
    assert not set(fingerprints(tmp_path / "a").values()) & set(
        fingerprints(tmp_path / "c").values()
    )


def test_a_scene_does_not_depend_on_how_many_are_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "few")
    write(tmp_path / "many", num_train=2, num_val=1, num_workers=2)
    few, many = fingerprints(tmp_path / "few"), fingerprints(tmp_path / "many")
    assert few.items() <= many.items()
    assert len(many) == 3 * len(few)


def test_dynamic_scene_has_the_processed_layout(tmp_path: Path) -> None:
    write(tmp_path, scene_size=75)
    scene = tmp_path / "Images_Dynamic" / "train" / "Scene01"
    images = sorted((scene / "train_images").iterdir())
    assert len({path.name[:7] for path in images}) == 6
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d\.tif", path.name) for path in images)
    with rasterio.open(images[0]) as raster:
        assert (raster.count, raster.width, raster.height) == (4, 75, 75)
        assert raster.dtypes[0] == "float32"
        assert 32601 <= raster.crs.to_epsg() <= 32760
        assert raster.nodata is None
        values = raster.read()
    assert np.isfinite(values).all()
    assert 0.0 <= values.min() < values.max() <= 1.0
    assert (scene / "change" / "bi_change.tif").is_file()


def test_spacenet7_scene_has_the_processed_layout(tmp_path: Path) -> None:
    write(tmp_path, dataset="spacenet7")
    name = scene_name(3, SPACENET7, "train", 0)
    assert re.fullmatch(r"L15-\d{4}E-\d{4}N_\d{4}_\d{4}_13", name)
    folder = tmp_path / "Images_SpaceNet7" / "train" / name
    images = sorted((folder / "images_masked").iterdir())
    assert len(images) == 9
    for path in images:
        assert re.fullmatch(rf"global_monthly_\d{{4}}_\d\d_mosaic_{name}\.tif", path.name)
        with rasterio.open(path) as raster:
            assert raster.crs.to_epsg() == 3857
            assert raster.dtypes == ("uint8",) * 4
            pixels = raster.read()
        assert set(np.unique(pixels[3])) <= {0, 255}
        assert not pixels[:3, pixels[3] == 0].any()
    assert (folder / "change" / "multi_change_last.tif").is_file()


@pytest.mark.parametrize("key", ["dynamic", "spacenet7"])
def test_every_moment_occurs_over_several_scenes_and_events_show(key: str) -> None:
    spec = spec_by_name(key)
    bands = 4 if key == "dynamic" else 3
    counts = np.zeros(spec.num_dates, np.int64)
    changed_jump, still_jump = [], []
    for index in range(6):
        scene = draw_scene(1, spec, "train", index, 96)
        counts += np.bincount(scene.moment.ravel(), minlength=spec.num_dates)
        values = scene.images[:, :bands].astype(np.float32)
        steps = np.abs(np.diff(values, axis=0)).mean(axis=1)  # (T−1, H, W)
        for k in range(1, spec.num_dates):
            changed_jump.append(steps[k - 1][scene.moment == k])
            still_jump.append(steps[k - 1][scene.moment == 0])
    assert len(counts) == spec.num_dates
    assert (counts > 0).all()
    changed = np.concatenate(changed_jump).mean()
    assert changed > 1.5 * np.concatenate(still_jump).mean()


def test_area_is_where_the_moment_is_not_zero(tmp_path: Path) -> None:
    write(tmp_path, num_train=3)
    for folder in (tmp_path / "Images_Dynamic").rglob("change"):
        with rasterio.open(folder / "bi_change.tif") as raster:
            area = raster.read(1)
        with rasterio.open(folder / "multi_change.tif") as raster:
            moment = raster.read(1)
        assert area.dtype == moment.dtype == np.uint8
        assert moment.max() <= 5
        assert np.array_equal(area, moment > 0)


def test_moment_is_the_last_change_first_seen() -> None:
    state = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [2, 1, 2, 0], [2, 1, 2, 3]], np.int16)
    seen = np.ones(state.shape, np.bool_)
    seen[1, 1] = False  # the second pixel is masked when its event happens
    seen[3, 3] = False  # the fourth is masked from its event on
    label = moment_label(state[:, None], seen[:, None])
    assert label.tolist() == [[2, 2, 2, 0]]


def test_moment_of_a_pixel_never_seen_before_is_no_event() -> None:
    state = np.array([0, 1, 1], np.int16).reshape(3, 1, 1)
    seen = np.array([False, True, True]).reshape(3, 1, 1)
    assert moment_label(state, seen).item() == 0


def test_a_second_run_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    write(tmp_path)
    assert "nothing done" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "Images_Dynamic" / "train" / "Scene01" / "note.txt"
    own.parent.mkdir(parents=True)
    own.write_text("real data")
    for extra in ((), ("--overwrite",)):
        with pytest.raises(UserError, match=r"found no dataset\.json"):
            sample_data.main(["--data-root", str(tmp_path), "--dataset", "dynamic", *extra])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]


def test_other_arguments_need_overwrite_which_removes_only_own_scenes(tmp_path: Path) -> None:
    write(tmp_path, num_train=2)
    mine = tmp_path / "Images_Dynamic" / "train" / "Mine" / "image.tif"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        write(tmp_path)
    argv = "--dataset dynamic --scene-size 64 --num-train 1 --num-val 0 --num-test 0"
    sample_data.main(["--data-root", str(tmp_path), *argv.split(), "--overwrite"])
    assert mine.is_file()
    assert sorted(path.name for path in mine.parents[1].iterdir()) == ["Mine", "Scene01"]


def test_an_interrupted_run_says_so_and_is_done_anew(tmp_path: Path) -> None:
    write(tmp_path)
    whole = fingerprints(tmp_path)
    note = tmp_path / "Images_Dynamic" / "dataset.json"
    content = read_json(note)
    assert content["complete"] is True
    write_json(note, content | {"complete": False})
    next(tmp_path.rglob("bi_change.tif")).unlink()
    write(tmp_path)
    assert fingerprints(tmp_path) == whole
    assert read_json(note)["complete"] is True


def test_dataset_json_says_what_the_data_is(tmp_path: Path) -> None:
    write(tmp_path)
    content = read_json(tmp_path / "Images_Dynamic" / "dataset.json")
    assert content["event"] == "last"
    assert content["transitions"] == "both"
    assert "not observations" in content["note"]
    assert content["settings"] == {"scene_size": 64, "seed": 3}
    (scene,) = content["scenes"]
    assert (scene["split"], scene["name"], len(scene["dates"])) == ("train", "Scene01", 6)


def test_more_scenes_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("Scene*/**/*")}
    write(tmp_path, num_train=2, num_test=1)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert len(read_json(tmp_path / "Images_Dynamic" / "dataset.json")["scenes"]) == 3


def test_sample_data_can_be_trained_on_at_once(tmp_path: Path) -> None:
    write(tmp_path, num_train=2)
    assert len(open_split(tmp_path, DYNAMIC, "train")) == 2


def test_nothing_is_written_when_one_of_two_data_sets_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "Images_SpaceNet7").mkdir()
    (tmp_path / "Images_SpaceNet7" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="Images_SpaceNet7"):
        write(tmp_path, dataset="both")
    assert [path.name for path in tmp_path.iterdir()] == ["Images_SpaceNet7"]


def test_other_numbers_of_dates_and_fewer_bands_are_drawn_and_unknown_bands_refused() -> None:
    spec = dataclasses.replace(DYNAMIC, num_dates=4, bands=("red", "nir"), visible_bands=(0, 0, 0))
    require_drawable(spec)
    scene = draw_scene(1, spec, "train", 0, 64)
    assert scene.images.shape == (4, 2, 64, 64)
    assert scene.moment.max() <= 3
    with pytest.raises(UserError, match="found bands swir"):
        require_drawable(dataclasses.replace(spec, bands=("red", "swir")))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"scene_size": 63}, "at least 64"),
        ({"num_train": -1, "num_val": -2}, r"--num-train: found '-1'.*--num-val: found '-2'"),
        ({"num_train": 0}, "all 0"),
        ({"seed": -5}, "--seed: found '-5'"),
    ],
)
def test_bad_arguments_are_explained(tmp_path: Path, flags: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        write(tmp_path, **flags)
    assert not any(tmp_path.iterdir())


def test_flags_are_not_abbreviated() -> None:
    with pytest.raises(UserError, match="did you mean --scene-size"):
        sample_data.main(["--scene", "64"])
