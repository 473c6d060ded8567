"""The dataset that serves patches, and opening a split with everything verified at once."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from data_processing.Dynamic_custom import dynamic_dataset
from data_processing.scenes.augmentation import FlipRotate
from data_processing.scenes.dataset import (
    SeriesDataset,
    cover_split,
    open_split,
    open_splits,
)
from data_processing.scenes.patch_index import PatchOrigin
from data_processing.scenes.scene import Scene
from data_processing.scenes.shared_pixels import SharedPixels
from data_processing.scenes.spec import DYNAMIC, SPACENET7
from data_processing.SpaceNet7_custom import spacenet7_dataset
from tests.helpers.scene_files import (
    scene_folder,
    write_data_root,
    write_dynamic_scene,
    write_raster,
)
from utils.errors import DataError, UserError


@pytest.mark.parametrize(
    ("name", "dates", "size"), [("dynamic", 6, (128, 140)), ("spacenet7", 9, (127, 127))]
)
def test_a_patch_has_the_shapes_and_types_that_networks_take(
    tmp_path: Path, name: str, dates: int, size: tuple[int, int]
) -> None:
    root = write_data_root(tmp_path, name, 2, size=size)
    open_named = dynamic_dataset if name == "dynamic" else spacenet7_dataset
    patches = open_named(root, "val")
    assert len(patches) == 8
    item = patches[6]
    assert item["images"].shape == (dates, 4, 64, 64)
    assert item["images"].dtype == torch.float32
    assert 0 < float(item["images"].max()) <= 1
    for label in ("area_label", "moment_label"):
        assert item[label].shape == (64, 64)
        assert item[label].dtype == torch.int64
    assert item["valid"].dtype == torch.bool
    assert item["scene_index"] == 1
    assert item["aoi"] == patches.scenes[1].name
    assert item["origin"].tolist() == [DYNAMIC.stride if name == "dynamic" else SPACENET7.stride, 0]
    assert item["origin"].dtype == torch.int64


def test_patches_are_the_parts_of_the_scene_in_the_order_of_the_index(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=128)
    patches = open_split(root, DYNAMIC, "train")
    whole = patches.scenes[0].read(0, 0, 128, 128)
    assert patches.origins == [PatchOrigin(0, r, c) for r in (0, 64) for c in (0, 64)]
    for index, (_, row, col) in enumerate(patches.origins):
        part = (..., slice(row, row + 64), slice(col, col + 64))
        for name, array in whole.items():
            np.testing.assert_array_equal(patches[index][name].numpy(), array[part])


def test_a_cache_gives_the_same_patches_and_says_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data_root(tmp_path, "spacenet7", size=128)
    disk = open_split(root, SPACENET7, "train")
    memory = open_split(root, SPACENET7, "train", cache=True)
    assert "cache: 1 scenes in memory, 0.6 MiB" in capsys.readouterr().out
    for index in range(len(disk)):
        assert torch.equal(disk[index]["images"], memory[index]["images"])
        assert torch.equal(disk[index]["moment_label"], memory[index]["moment_label"])


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_serve_the_same_patches(tmp_path: Path, context: str) -> None:
    if context not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"{context} is not known to this system")
    root = write_data_root(tmp_path / "mit ä", "dynamic", 2, size=128, compression="lzw")
    patches = open_split(root, DYNAMIC, "train")
    alone = torch.stack([patches[index]["images"] for index in range(len(patches))])
    loader = DataLoader(patches, batch_size=3, num_workers=2, multiprocessing_context=context)
    batches = list(loader)
    assert torch.equal(torch.cat([batch["images"] for batch in batches]), alone)
    assert [len(batch["aoi"]) for batch in batches] == [3, 3, 2]


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_read_the_one_cache_there_is(tmp_path: Path, context: str) -> None:
    if context not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"{context} is not known to this system")
    root = write_data_root(tmp_path, "spacenet7", 2, size=128)
    patches = open_split(root, SPACENET7, "train", cache=True)
    alone = torch.stack([patches[index]["images"] for index in range(len(patches))])
    shutil.rmtree(root / SPACENET7.images_root)  # whoever has no cache fails
    loader = DataLoader(patches, batch_size=3, num_workers=2, multiprocessing_context=context)
    assert torch.equal(torch.cat([batch["images"] for batch in loader]), alone)
    assert torch.equal(patches[0]["images"], alone[0])


def test_a_cache_stays_behind_when_the_dataset_is_pickled(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=128)
    patches = open_split(root, DYNAMIC, "train", cache=True)
    pickled = pickle.dumps(patches)
    assert len(pickled) < 50_000 < sum(scene.keep_in_memory() for scene in patches.scenes)
    assert torch.equal(pickle.loads(pickled)[1]["images"], patches[1]["images"])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_shared_pixels_are_those_of_the_scenes(tmp_path: Path, dtype: str) -> None:
    images = np.random.default_rng(0).uniform(0, 200, (6, 4, 21, 33)).astype(dtype)
    images[2, :, 3, 4] = -1 if dtype == "int16" else 0
    options = {"size": (21, 33), "dtype": dtype, "images": images, "crs": None}
    names = ("first", "second")
    folders = [
        write_dynamic_scene(tmp_path / name, seed=seed, nodata=nodata, **options)
        for seed, (name, nodata) in enumerate(zip(names, (None, images[2, 0, 3, 4]), strict=True))
    ]
    kept, other, disk = ([Scene(folder, DYNAMIC) for folder in folders] for _ in range(3))
    for scene in kept:
        scene.keep_in_memory()
    shared = SharedPixels(kept)
    shared.hand_to(other)
    for scenes in (kept, other):
        assert all(scene.kept_arrays() for scene in scenes)
        for scene, source in zip(scenes, disk, strict=True):
            for name, array in source.read(2, 3, 15, 40).items():
                np.testing.assert_array_equal(scene.read(2, 3, 15, 40)[name], array)


def test_what_is_done_to_a_patch_does_not_change_the_cache(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64, dtype="float32")
    patches = open_split(root, DYNAMIC, "train", cache=True)
    before = {name: value.clone() for name, value in patches[0].items() if torch.is_tensor(value)}
    for value in patches[0].values():
        if torch.is_tensor(value):
            value.zero_()
    for name, value in before.items():
        assert torch.equal(patches[0][name], value)


def test_the_dataset_can_be_pickled_after_use(tmp_path: Path) -> None:
    patches = open_split(write_data_root(tmp_path, "dynamic", size=64), DYNAMIC, "test")
    before = patches[0]["images"]
    assert torch.equal(pickle.loads(pickle.dumps(patches))[0]["images"], before)


def test_a_transform_gets_the_whole_patch(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64)
    plain = open_split(root, DYNAMIC, "train")[0]
    turned = open_split(root, DYNAMIC, "train", transform=FlipRotate(seed=0))[0]
    assert sorted(turned) == sorted(plain)
    values = (item["images"].flatten().sort().values for item in (turned, plain))
    assert torch.equal(*values)
    assert int(turned["moment_label"].sum()) == int(plain["moment_label"].sum())


def test_a_patch_larger_than_its_scene_is_filled(tmp_path: Path) -> None:
    scene = Scene(write_dynamic_scene(tmp_path / "s", size=(20, 70)), DYNAMIC)
    item = SeriesDataset([scene], [PatchOrigin(0, 0, 0)], 64)[0]
    assert item["images"].shape == (6, 4, 64, 64)
    assert int(item["valid"].sum()) == 20 * 64


def test_patch_size_and_stride_choose_the_index(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=48, patch_size=32, stride=16)
    patches = open_split(root, DYNAMIC, "train", patch_size=32, stride=16)
    assert len(patches) == 4
    assert patches[0]["images"].shape[-2:] == (32, 32)


def test_the_authors_index_opens(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64)
    entries = np.array(["..//Images_Dynamic/test/Scene01"])
    np.save(root / "Dynamic_Fsplit" / "Ftest.npy", entries)
    (root / "Dynamic_xys_64_64" / "myxys_test.csv").write_text(",X,Y,image_ID\n0,0.0,0.0,0\n")
    assert open_split(root, DYNAMIC, "test")[0]["aoi"] == "Scene01"


def test_list_scenes_and_index_at_fault_are_told_in_one_error(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", 2, size=64)
    folder = scene_folder(root, "dynamic", "train", 2)
    write_raster(folder / "change" / "bi_change.tif", np.full((64, 64), 7, np.uint8))
    (root / "Dynamic_xys_64_64" / "myxys_train.csv").write_text("X,Y,image_ID\n1,0,0\n0,0,5\n")
    with pytest.raises(DataError) as caught:
        open_split(root, DYNAMIC, "train")
    text = str(caught.value)
    assert "found values 7 (4096 pixels)" in text
    assert "1 rows point outside train/Scene01" in text
    assert "1 rows name no scene" in text


def test_a_list_that_names_another_split_is_told_beside_faults_of_scenes(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64)
    entries = np.array(["../Images_Dynamic/test/Scene01"])
    np.save(root / "Dynamic_Fsplit" / "Ftrain.npy", entries)
    (scene_folder(root, "dynamic", "train") / "change" / "bi_change.tif").unlink()
    with pytest.raises(DataError) as caught:
        open_split(root, DYNAMIC, "train")
    assert "a scene of split test" in str(caught.value)
    assert "change/bi_change.tif: missing" in str(caught.value)


def test_quick_verification_reads_headers_only(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64)
    label = scene_folder(root, "dynamic", "train") / "change" / "bi_change.tif"
    write_raster(label, np.full((64, 64), 7, np.uint8))
    assert len(open_split(root, DYNAMIC, "train", verify="quick")) == 1


def test_converted_area_labels_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64)
    label = scene_folder(root, "dynamic", "train") / "change" / "bi_change.tif"
    moment = open_split(root, DYNAMIC, "train")[0]["moment_label"]
    write_raster(label, ((moment > 0).numpy() * 255).astype(np.uint8))
    patches = open_split(root, DYNAMIC, "train")
    assert "bi_change.tif: values 0/255 are taken as 0/1" in capsys.readouterr().out
    assert patches[0]["area_label"].unique().tolist() == [0, 1]


def test_a_missing_data_root_is_told_with_two_ways_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Either put(.|\n)*sample_data\.py"):
        open_split(tmp_path / "none", DYNAMIC, "train")


def test_faults_of_all_splits_are_told_at_once(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", 1, 64)
    for split in ("train", "val"):
        (scene_folder(root, "dynamic", split) / "change" / "bi_change.tif").unlink()
    with pytest.raises(DataError) as caught:
        open_splits(root, DYNAMIC, {"train": None, "val": None})
    text = str(caught.value)
    assert "train/Scene" in text
    assert "val/Scene" in text


def test_covering_patches_reach_every_pixel_without_an_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data_root(tmp_path, "dynamic", 1, 100, index=False)
    patches = cover_split(root, DYNAMIC, "test", 64)
    assert [tuple(origin[1:]) for origin in patches.origins] == [(0, 0), (0, 36), (36, 0), (36, 36)]
    said = capsys.readouterr().out
    assert "Dynamic_Fsplit.py" in said
    assert "Dynamic_create_xys.py" in said


def test_covering_tells_faults_of_list_scenes_and_index_together(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", 1, 64)
    (scene_folder(root, "dynamic", "test") / "change" / "bi_change.tif").unlink()
    index = root / "Dynamic_xys_64_64" / "myxys_test.csv"
    index.write_text("X,Y,image_ID\n0,0,7\n")
    with pytest.raises(DataError) as caught:
        cover_split(root, DYNAMIC, "test", 64)
    assert len(caught.value.faults) >= 2
    assert "bi_change.tif" in str(caught.value)
    assert "myxys_test.csv" in str(caught.value)


def test_an_overlap_as_large_as_the_patch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--overlap: found 64"):
        cover_split(tmp_path, DYNAMIC, "test", 64, overlap=64)
