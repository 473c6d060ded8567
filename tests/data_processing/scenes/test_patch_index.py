"""Patch index: where patches lie, what the files look like, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_processing.scenes.patch_index import (
    PatchOrigin,
    patch_index_path,
    patch_origins,
    read_patch_index,
    write_patch_index,
)
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import DYNAMIC, SPACENET7
from data_processing.scenes.splits import find_scenes
from tests.helpers.scene_files import scene_folder, write_data_root, write_dynamic_scene
from utils.errors import DataError


@pytest.mark.parametrize(
    ("height", "width", "stride", "count", "last"),
    [
        (1024, 1024, 64, 256, (960, 960)),
        (1024, 1024, 63, 256, (945, 945)),
        (1023, 1024, 63, 256, (945, 945)),
        (1009, 1009, 63, 256, (945, 945)),
        (1008, 1009, 63, 240, (882, 945)),
        (127, 127, 63, 4, (63, 63)),
        (128, 128, 64, 4, (64, 64)),
        (64, 64, 64, 1, (0, 0)),
    ],
)
def test_patches_lie_as_in_the_released_program(
    height: int, width: int, stride: int, count: int, last: tuple[int, int]
) -> None:
    origins = patch_origins(height, width, 64, stride)
    assert len(origins) == len(set(origins)) == count
    assert origins[-1] == last
    assert origins == sorted(origins)


def test_a_scene_smaller_than_a_patch_has_none() -> None:
    assert patch_origins(63, 200, 64, 64) == []


@pytest.mark.parametrize(("size", "stride"), [(0, 1), (1, 0), (4, -1)])
def test_sizes_below_one_are_refused(size: int, stride: int) -> None:
    with pytest.raises(ValueError, match="expected both at least 1"):
        patch_origins(10, 10, size, stride)


def test_files_have_the_released_format_and_order(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "spacenet7", 2, size=(127, 128))
    text = (root / "SpaceNet7_xys_64_63" / "myxys_val.csv").read_text()
    corners = ["0,0", "0,63", "63,0", "63,63"]
    rows = [f"{corner},{scene}" for scene in (0, 1) for corner in corners]
    assert text == "\n".join(["X,Y,image_ID", *rows]) + "\n"


def read_with(tmp_path: Path, content: str) -> list[PatchOrigin]:
    """Read an index file of one scene of 128×128 with the given content."""
    root = write_data_root(tmp_path, "dynamic", {"train": 1}, size=128, index=False)
    (root / "Dynamic_Fsplit").mkdir()
    (root / "Dynamic_Fsplit" / "Ftrain.npy").touch()
    path = patch_index_path(root, DYNAMIC, "train", 64, 64)
    path.parent.mkdir()
    path.write_text(content)
    scenes = [Scene(folder, DYNAMIC) for folder in find_scenes(root, DYNAMIC, "train")]
    return read_patch_index(root, DYNAMIC, "train", 64, 64, scenes)


@pytest.mark.parametrize(
    "content",
    [
        "X,Y,image_ID\n0,64,0\n",
        ",X,Y,image_ID\n0,0,64,0\n",
        "X,Y,image_ID\n0.0,64.0,0.0\n",
        "\ufeffX, Y, image_ID\r\n0, 64, 0\r\n",
        "image_ID,Y,X\n0,64,0\n",
    ],
)
def test_x_is_the_row_and_y_the_column_however_the_table_was_written(
    tmp_path: Path, content: str
) -> None:
    assert read_with(tmp_path, content) == [PatchOrigin(0, 0, 64)]


def test_rows_keep_the_order_of_the_file(tmp_path: Path) -> None:
    origins = read_with(tmp_path, "X,Y,image_ID\n64,0,0\n0,0,0\n")
    assert [origin.row for origin in origins] == [64, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "found columns none"),
        ("a,b\n1,2\n", "found columns a, b, expected X,Y,image_ID"),
        ("X,Y,image_ID\n", "found no rows"),
        ("X,Y,image_ID\n0,0.5,0\n", r"whole numbers: line 2 \(0,0.5,0\)"),
        ("X,Y,image_ID\n1e300,0,0\n", "line 2"),
        ("X,Y,image_ID\n0,0," + "9" * 400, "line 2"),
        ("X,Y,image_ID\n0,-1e999,0\n", "line 2"),
        ("X,Y,image_ID\n0,0,4294967296\n", "line 2"),
        ("X,Y,image_ID\n0," + "0" * 200_000 + ",0\n", "no text table"),
        ("X,Y,image_ID\n0,,0\n0,nan,0\n0\n", "3 rows do not hold three whole numbers"),
    ],
)
def test_a_malformed_index_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_with(tmp_path, content)


def test_rows_outside_a_scene_and_unknown_scenes_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_with(tmp_path, "X,Y,image_ID\n65,0,0\n0,-1,0\n0,0,1\n0,0,-1\n")
    text = str(caught.value)
    assert "2 rows point outside train/Scene01 (128×128 pixels" in text
    assert "2 rows name no scene of the list, which has IDs 0…0" in text
    assert "create_xys.py" in text


def test_a_missing_index_names_the_two_commands_with_the_data_root(tmp_path: Path) -> None:
    root = write_data_root(tmp_path / "a b", "spacenet7", size=64, index=False)
    with pytest.raises(DataError) as caught:
        read_patch_index(root, SPACENET7, "train", 64, 63, [])
    text = str(caught.value)
    assert f'python data_processing/SpaceNet7_Fsplit.py --data-root "{root}"' in text
    assert (
        f'python data_processing/SpaceNet7_create_xys.py --data-root "{root}" '
        "--patch-size 64 --stride 63"
    ) in text


def test_scenes_smaller_than_a_patch_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64)
    for split in ("train", "test"):
        write_dynamic_scene(scene_folder(root, "dynamic", split), size=(50, 80))
    with pytest.raises(DataError) as caught:
        write_patch_index(root, DYNAMIC, 64, 32)
    assert len(caught.value.faults) == 2
    assert "train/Scene01: found images of 50×80 pixels, expected at least 64×64" in str(
        caught.value
    )
    assert not (root / "Dynamic_xys_64_32").exists()
