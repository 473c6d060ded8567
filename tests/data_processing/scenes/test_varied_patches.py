"""Patches for training that differ every time: random windows and inserted changes."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from data_processing.scenes.dataset import SeriesDataset, open_split
from data_processing.scenes.insertion import InsertionRules
from data_processing.scenes.spec import spec_by_name
from data_processing.scenes.varied_patches import InsertChanges, vary_patches
from tests.helpers.scene_files import write_data_root

KEPT = {"random_crops": False, "insert_changes": 0.0, "augment": False}


def quiet_split(root: Path, name: str = "spacenet7", scenes: int = 2) -> SeriesDataset:
    """Training scenes without any change."""
    nothing = np.zeros((80, 80), np.uint8)
    write_data_root(
        root, name, {"train": scenes, "val": 1, "test": 1}, size=80, labels=(nothing, nothing),
        patch_size=32, stride=16,
    )  # fmt: skip
    return open_split(root, spec_by_name(name), "train", 32, 16)


def test_an_untouched_split_serves_what_the_index_says(tmp_path: Path) -> None:
    patches = quiet_split(tmp_path)
    before = patches[3]["images"]
    assert vary_patches(patches, **KEPT) is patches
    assert torch.equal(patches[3]["images"], before)


def test_inserted_changes_are_labelled_and_nothing_else_is_touched(tmp_path: Path) -> None:
    patches = quiet_split(tmp_path)
    plain = [patches[number] for number in range(8)]
    one = InsertionRules(most=1)  # where two overlap the later one is the label
    patches.transform = InsertChanges(1.0, patches.scenes, rules=one)
    torch.manual_seed(1)
    changed = [patches[number] for number in range(8)]
    assert sum(int((item["moment_label"] > 0).any()) for item in changed) >= 4
    for before, after in zip(plain, changed, strict=True):
        moment = after["moment_label"]
        assert torch.equal(after["area_label"], (moment > 0).long())
        differs = (before["images"] != after["images"]).any(dim=1)  # (T, H, W)
        assert not differs[0].any()  # nothing changes before the first date
        assert torch.equal(after["images"][:, 3], before["images"][:, 3])  # alpha
        for k in range(1, 9):
            assert not differs[:k][:, moment == k].any()


def test_probability_zero_inserts_nothing_and_one_half_into_half(tmp_path: Path) -> None:
    patches = quiet_split(tmp_path)
    item = patches[0]
    assert InsertChanges(0.0, patches.scenes)(item) is item
    torch.manual_seed(1)
    insert = InsertChanges(0.5, patches.scenes)
    assert 25 < sum(insert(item) is item for _ in range(80)) < 55


def test_ignored_pixels_stay_ignored(tmp_path: Path) -> None:
    patches = quiet_split(tmp_path, "dynamic")
    item = patches[0]
    item["moment_label"][:16] = -1
    item["area_label"][:16] = -1
    for seed in range(4):
        torch.manual_seed(seed)
        changed = InsertChanges(1.0, patches.scenes)(item)
        assert (changed["moment_label"][:16] == -1).all()
        assert (changed["area_label"][:16] == -1).all()


def test_random_windows_lie_anywhere_in_the_scene(tmp_path: Path) -> None:
    patches = vary_patches(quiet_split(tmp_path), **{**KEPT, "random_crops": True})
    torch.manual_seed(1)
    origins = torch.stack([patches[0]["origin"] for _ in range(60)])
    assert len(origins.unique(dim=0)) > 40
    assert origins.min() >= 0
    assert origins.max() <= 80 - 32
    scene, (row, col) = patches.scenes[0], (int(n) for n in origins[0])
    torch.manual_seed(1)
    window = scene.read(row, col, 32, 32)["images"]
    assert np.array_equal(patches[0]["images"].numpy(), window)


@pytest.mark.parametrize("name", ["dynamic", "spacenet7"])
def test_the_same_seed_serves_the_same_patches(tmp_path: Path, name: str) -> None:
    patches = quiet_split(tmp_path, name)
    vary_patches(patches, random_crops=True, insert_changes=1.0, augment=True)
    again = pickle.loads(pickle.dumps(patches))  # as in a reading process
    items = []
    for served in (patches, again):
        torch.manual_seed(5)
        items.append(served[1])
    for key in ("images", "moment_label", "area_label", "valid"):
        assert torch.equal(items[0][key], items[1][key])
        assert items[0][key].is_contiguous()


def test_a_single_scene_is_its_own_donor(tmp_path: Path) -> None:
    patches = quiet_split(tmp_path, scenes=1)
    torch.manual_seed(3)
    labels = [InsertChanges(1.0, patches.scenes)(patches[0])["moment_label"] for _ in range(6)]
    assert any((label > 0).any() for label in labels)
