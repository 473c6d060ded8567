"""Cutting LEVIR-CD and WHU-CD into tiles: counts, places, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from data_processing import prepare_levir, prepare_whu
from data_processing.pairs.dataset import open_pair_split
from data_processing.pairs.spec import LEVIR, WHU
from data_processing.pairs.tiling import tile_origins
from data_processing.prepare_whu import column_tiles, random_tiles
from tests.helpers.pair_files import change_label, pair_images, write_pair
from tests.helpers.scene_files import write_raster
from utils.errors import DataError, UserError


def write_scene(folder: Path, size: tuple[int, int] = (300, 530)) -> None:
    label = change_label(*size)
    first, last = pair_images(label)
    write_raster(folder / "before/before.tif", first.transpose(2, 0, 1))
    write_raster(folder / "after/after.tif", last.transpose(2, 0, 1))
    write_raster(folder / "change label/change_label.tif", (label > 0).astype(np.uint8))


def test_an_image_of_1024_gives_49_training_tiles_and_16_others() -> None:
    assert len(tile_origins(1024, 1024, 128)) == 49
    assert len(tile_origins(1024, 1024, 256)) == 16
    assert 445 * 49 == 21_805


def test_levir_is_cut_row_by_row_into_folders_of_its_images(tmp_path: Path) -> None:
    for split, size in {"train": (384, 512), "val": (256, 512), "test": (256, 256)}.items():
        write_pair(tmp_path / "raw" / split, f"{split}_1.png", size)

    prepare_levir.main([str(tmp_path / "raw"), str(tmp_path / "out")])

    found = {s: len(open_pair_split(tmp_path / "out", LEVIR, s)) for s in ("train", "val", "test")}
    assert found == {"train": 2 * 3, "val": 2, "test": 1}
    whole = iio.imread(tmp_path / "raw/train/B/train_1.png")
    tile = iio.imread(tmp_path / "out/train/B/train_1/train_1_4.png")
    assert np.array_equal(tile, whole[128:384, 128:384])
    facts = json.loads((tmp_path / "out/dataset.json").read_text(encoding="utf-8"))
    assert facts["images"] == {"train": 1, "val": 1, "test": 1}


def test_all_faults_of_all_splits_of_levir_are_told_and_nothing_is_written(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_pair(tmp_path / "raw" / split, "a.png", (256, 256))
    (tmp_path / "raw/train/A/a.png").unlink()
    with pytest.raises(DataError) as caught:
        prepare_levir.main([str(tmp_path / "raw"), str(tmp_path / "out")])
    assert "a: missing in A" in str(caught.value)
    assert "test: the split's folder is missing" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_images_smaller_than_a_tile_are_told(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_pair(tmp_path / "raw" / split, "a.png", (200, 300))
    with pytest.raises(DataError, match="found 200×300, expected at least 256×256"):
        prepare_levir.main([str(tmp_path / "raw"), str(tmp_path / "out")])


def test_the_scene_of_whu_gives_the_released_programs_counts() -> None:
    size = (15_354, 32_507)
    assert Counter(t.split for t in random_tiles(*size)) == {"train": 6096, "val": 762, "test": 762}
    assert Counter(t.split for t in column_tiles(*size)) == {"train": 19_266, "val": 1_502}


def test_the_random_split_depends_on_its_seed_alone() -> None:
    assert random_tiles(1000, 2000) == random_tiles(1000, 2000)
    assert random_tiles(1000, 2000) != random_tiles(1000, 2000, seed=1)
    assert {(t.row, t.col) for t in random_tiles(300, 530)} == {
        (row, col) for row in (0, 256) for col in (0, 256, 512)
    }


def test_whu_is_cut_at_random_with_zeros_beyond_the_border(tmp_path: Path) -> None:
    write_scene(tmp_path / "raw")

    prepare_whu.main([str(tmp_path / "raw"), str(tmp_path / "out")])

    tiles = {(t.row, t.col): t for t in random_tiles(300, 530)}
    corner = tiles[256, 512]
    written = iio.imread(tmp_path / "out" / corner.split / "B" / f"{corner.name}.png")
    after = pair_images(change_label(300, 530))[1]
    assert np.array_equal(written[:44, :18], after[256:, 512:])
    assert not written[44:].any()
    assert not written[:, 18:].any()
    names = [path.name for path in (tmp_path / "out").rglob("label/*.png")]
    assert len(names) == 6
    assert len(open_pair_split(tmp_path / "out", WHU, "train")) == 4
    label = iio.imread(next((tmp_path / "out").rglob("label/*.png")))
    assert set(np.unique(label)) <= {0, 255}


def test_whu_is_cut_by_columns_with_its_right_part_whole(tmp_path: Path) -> None:
    write_scene(tmp_path / "raw", (520, 600))

    prepare_whu.main([str(tmp_path / "raw"), str(tmp_path / "out"), "--split", "columns"])

    whole = iio.imread(tmp_path / "out/test/A/whole.png")
    assert np.array_equal(whole, pair_images(change_label(520, 600))[0][:, 420:])
    assert len(open_pair_split(tmp_path / "out", WHU, "test")) == 1
    assert len(open_pair_split(tmp_path / "out", WHU, "train")) == len(column_tiles(520, 600))


def test_missing_files_of_the_scene_are_all_told(tmp_path: Path) -> None:
    write_scene(tmp_path)
    (tmp_path / "after/after.tif").unlink()
    (tmp_path / "change label/change_label.tif").unlink()
    with pytest.raises(DataError) as caught:
        prepare_whu.main([str(tmp_path), str(tmp_path / "out")])
    assert "2 faults" in str(caught.value)
    assert "change label/change_label.tif: missing" in str(caught.value)


def test_an_output_folder_with_content_is_refused_and_kept(tmp_path: Path) -> None:
    write_scene(tmp_path / "raw")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="expected a new folder"):
        prepare_whu.main([str(tmp_path / "raw"), str(tmp_path / "out")])
    assert (tmp_path / "out/mine.txt").read_text(encoding="utf-8") == "mine"
