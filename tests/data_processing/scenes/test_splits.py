"""Scene lists: written sorted, read from the authors' programs too, and checked."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from data_processing.scenes.dataset import open_split
from data_processing.scenes.patch_index import patch_index_path, write_patch_index
from data_processing.scenes.spec import DYNAMIC, SPACENET7
from data_processing.scenes.splits import (
    find_scenes,
    read_scene_list,
    scene_list_path,
    write_scene_lists,
)
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


def npy(header: str, data: bytes = b"") -> bytes:
    """A file of numpy's that says of itself what it is told to say."""
    text = header.encode().ljust(118 - 10, b" ") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def described(descr: str, shape: str, order: str = "False") -> bytes:
    return npy(f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}", b"x" * 64)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not numpy",
        b"PK\x03\x04 no archive",
        described("<U8", "(10000000000000,)"),
        described("<U8", "(4611686018427387904, 4)"),
        described("<U8", "(-1,)"),
        described("<U1000000000", "(1,)"),
        described("|S1000000000000", "(1,)"),
        described("<U8", "(1.5,)"),
        described("<U8", "9" * 60),
        described("|O", "(3,)"),
        described("<f8", "(8,)"),
        described("|S64", "()"),
        described("|S32", "(2, 1)"),
        npy("(" * 100),
        npy("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (1,)}"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f",
        b"\x93NUMPY\x09\x00\x10\x00",
    ],
)
def test_a_damaged_list_is_refused_without_taking_memory(tmp_path: Path, content: bytes) -> None:
    root = make_folders(tmp_path, "Scene01")
    path = write_list(root, "train", ["x"])
    path.write_bytes(content)
    with pytest.raises(DataError, match="expected a list of paths"):
        read_scene_list(root, DYNAMIC, "train")


@pytest.mark.parametrize(
    "entry",
    [
        "../Images_Dynamic/train/..",
        "Images_Dynamic/../../victim",
        "Images_Dynamic/train/../../../victim",
        "/etc",
        "a" * 20_000,
        "../Images_Dynamic/train/" + "a" * 300,
        "../Images_Dynamic/train/Scene01\u2028",
        "../Images_Dynamic/train/a\nb",
        "C:/Images_Dynamic/train/C:",
    ],
)
def test_entries_that_lead_elsewhere_are_no_scenes(tmp_path: Path, entry: str) -> None:
    root = make_folders(tmp_path / "data", "Scene01")
    (tmp_path / "victim").mkdir()
    write_list(root, "train", [entry, "../Images_Dynamic/train/Scene01"])
    with pytest.raises(DataError) as caught:
        read_scene_list(root, DYNAMIC, "train")
    assert len(caught.value.faults) == 1
    assert len(str(caught.value)) < 2000


def test_lists_and_indexes_of_random_bytes_are_sentences(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", {"train": 1}, size=64, index=False)
    write_scene_lists(root, DYNAMIC, ["train"])
    write_patch_index(root, DYNAMIC, 64, 64, ["train"])
    rng = np.random.default_rng(0)
    paths = (
        scene_list_path(root, DYNAMIC, "train"),
        patch_index_path(root, DYNAMIC, "train", 64, 64),
    )
    for path in paths:
        content = path.read_bytes()
        for _ in range(200):
            changed = bytearray(content)
            for place in rng.integers(0, len(content), int(rng.integers(1, 5))):
                changed[place] = int(rng.integers(256))
            path.write_bytes(bytes(changed[: rng.integers(1, len(content) + 1)]))
            with contextlib.suppress(DataError):
                open_split(root, DYNAMIC, "train", verify="quick")
        path.write_bytes(content)
    assert len(open_split(root, DYNAMIC, "train")) == 1


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
