"""Scene lists: written sorted, read from the authors' programs too, and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_processing.scenes.spec import DYNAMIC, SPACENET7
from data_processing.scenes.splits import find_scenes, read_scene_list, write_scene_lists
from tests.helpers.scene_files import scene_folder, write_data_root
from utils.errors import DataError


def make_folders(root: Path, *scenes: str) -> Path:
    """Empty scene folders in all splits of a DynamicEarthNet root."""
    for split in ("train", "val", "test"):
        for scene in scenes:
            (root / "Images_Dynamic" / split / scene).mkdir(parents=True)
    return root


def write_list(root: Path, split: str, entries: list[str]) -> Path:
    """A list as another program may have written it."""
    path = root / "Dynamic_Fsplit" / f"F{split}.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, np.array(entries))
    return path


def test_lists_hold_sorted_paths_as_the_authors_programs_write_them(tmp_path: Path) -> None:
    root = make_folders(tmp_path / "daten é x", "Scene02", "Scene10", "Scene01")
    write_scene_lists(root, DYNAMIC)
    stored = np.load(root / "Dynamic_Fsplit" / "Ftrain.npy", allow_pickle=False)
    assert stored.dtype.kind == "U"
    assert stored.tolist() == [f"../Images_Dynamic/train/Scene{n}" for n in ("01", "02", "10")]
    assert [scene.name for scene in read_scene_list(root, DYNAMIC, "train")] == [
        "Scene01",
        "Scene02",
        "Scene10",
    ]


@pytest.mark.parametrize(
    "entry",
    [
        "..//Images_Dynamic/train/Scene07",
        "..\\\\Images_Dynamic\\train\\Scene07",
        "/home/someone/else/Images_Dynamic/train/Scene07/",
        "Images_Dynamic/train/Scene07",
    ],
)
def test_lists_of_the_authors_are_read_by_their_last_three_components(
    tmp_path: Path, entry: str
) -> None:
    root = make_folders(tmp_path, "Scene07")
    write_list(root, "train", [entry])
    expected = root / "Images_Dynamic" / "train" / "Scene07"
    assert read_scene_list(root, DYNAMIC, "train") == [expected]


def test_hidden_folders_and_files_are_no_scenes(tmp_path: Path) -> None:
    root = make_folders(tmp_path, "Scene01", ".ipynb_checkpoints", "__MACOSX")
    (root / "Images_Dynamic" / "train" / "readme.txt").write_text("x")
    assert [scene.name for scene in find_scenes(root, DYNAMIC, "train")] == ["Scene01"]


def test_every_wrong_entry_of_a_list_is_named(tmp_path: Path) -> None:
    root = make_folders(tmp_path, "Scene01")
    entries = ["Images_Dynamic/test/Scene01", "Images_SpaceNet7/train/A", "Scene01"]
    entries += ["Images_Dynamic/train/Scene99", *["Images_Dynamic/train/Scene01"] * 2]
    write_list(root, "train", entries)
    with pytest.raises(DataError, match=r"Dynamic_Fsplit\.py --data-root") as caught:
        read_scene_list(root, DYNAMIC, "train")
    text = str(caught.value)
    assert len(caught.value.faults) == 5
    for part in ("split test", "found folder Images_SpaceNet7", "ending in", "no such", "twice"):
        assert part in text


def test_a_list_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    root = make_folders(tmp_path, "Scene01")
    path = write_list(root, "train", ["x"])
    np.save(path, np.array([Path("x")], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="found no plain array of text"):
        read_scene_list(root, DYNAMIC, "train")


@pytest.mark.parametrize("content", [b"", b"not numpy"])
def test_a_damaged_list_is_refused(tmp_path: Path, content: bytes) -> None:
    root = make_folders(tmp_path, "Scene01")
    write_list(root, "train", ["x"]).write_bytes(content)
    with pytest.raises(DataError, match=r"Ftrain\.npy"):
        read_scene_list(root, DYNAMIC, "train")


def test_all_missing_splits_are_named_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "Images_Dynamic" / "test" / "Scene01").mkdir(parents=True)
    (tmp_path / "Images_Dynamic" / "val").mkdir()
    with pytest.raises(DataError) as caught:
        write_scene_lists(tmp_path, DYNAMIC)
    assert len(caught.value.faults) == 2
    assert "train/: the split's folder is missing; found val, test" in str(caught.value)
    assert "val/: found no scene folders" in str(caught.value)
    assert not (tmp_path / "Dynamic_Fsplit").exists()


def test_one_split_alone_can_be_listed(tmp_path: Path) -> None:
    (tmp_path / "Images_Dynamic" / "test" / "Scene01").mkdir(parents=True)
    assert list(write_scene_lists(tmp_path, DYNAMIC, ["test"])) == ["test"]


def test_a_missing_data_root_shows_the_tree_and_two_ways_out(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_scenes(tmp_path / "no where", SPACENET7, "train")
    text = str(caught.value)
    assert "does not exist" in text
    assert "Images_SpaceNet7/{train,val,test}/L15-" in text
    assert f'sample_data.py --data-root "{tmp_path / "no where"}" --dataset spacenet7' in text


def test_other_files_in_the_list_folder_stay(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64)
    (root / "Dynamic_Fsplit" / "mine.txt").write_text("x")
    write_scene_lists(root, DYNAMIC)
    names = sorted(path.name for path in (root / "Dynamic_Fsplit").iterdir())
    assert names == ["Ftest.npy", "Ftrain.npy", "Fval.npy", "mine.txt"]
    assert scene_folder(root, "dynamic", "train").is_dir()


def test_a_root_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    root = make_folders(tmp_path, "Scene01")
    (root / "Dynamic_Fsplit").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="cannot be written"):
        write_scene_lists(root, DYNAMIC)
