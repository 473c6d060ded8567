"""Data sets of image pairs: layouts, label rules, samples, and every fault by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from data_processing.pairs.check import Pair
from data_processing.pairs.dataset import PairDataset, open_pair_split, tiles, whole
from data_processing.pairs.files import find_pairs
from data_processing.pairs.spec import (
    FOLDER,
    LEVIR,
    PAIR_NAMES,
    SVCD,
    WHU,
    PairSpec,
    pair_spec_by_name,
)
from data_processing.rasters.values import decode_mask
from tests.helpers.pair_files import (
    change_label,
    pair_images,
    write_pair,
    write_pairs,
    write_picture,
)
from utils.errors import DataError, UserError


def faults(root: Path, split: Any = "train", **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        open_pair_split(root, options.pop("spec", FOLDER), split, **options)
    assert caught.value.exit_code == 3
    return str(caught.value)


def sample(pairs: list[Pair], index: int = 0, **options: Any) -> dict[str, Any]:
    return PairDataset(pairs, options.pop("origins", whole(pairs)), **options)[index]


# ------------------------------------------------------------------ layouts


def test_svcd_lies_in_real_subset_and_its_labels_in_out(tmp_path: Path) -> None:
    write_pair(tmp_path / "Real/subset/test", "00007.jpg", label_folder="OUT")
    assert [pair.name for pair in open_pair_split(tmp_path, SVCD, "test")] == ["00007"]
    assert find_pairs(tmp_path / "Real/subset", SVCD, "test")[0].label.parent.name == "OUT"


def test_levir_is_searched_below_its_folders(tmp_path: Path) -> None:
    for k in (2, 10):
        write_pair(tmp_path / "train", f"train_1/train_1_{k}.png", seed=k)
    assert [p.name for p in open_pair_split(tmp_path, LEVIR, "train")] == [
        "train_1_10",
        "train_1_2",
    ]


def test_names_that_folders_alone_tell_apart_keep_their_folders(tmp_path: Path) -> None:
    for k in (1, 2):
        write_pair(tmp_path / "train", f"area{k}/tile.png", seed=k)
    names = [pair.name for pair in open_pair_split(tmp_path, WHU, "train")]
    assert names == ["area1/tile", "area2/tile"]


def test_partners_may_have_other_suffixes(tmp_path: Path) -> None:
    write_pair(tmp_path / "val", "a.png")
    first = tmp_path / "val/A/a.png"
    write_picture(tmp_path / "val/A/a.tif", change_label(16, 16)[..., None].repeat(3, 2))
    first.unlink()
    assert open_pair_split(tmp_path, FOLDER, "val")[0].first.suffix == ".tif"


def test_a_root_without_splits_is_read_by_its_lists(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_pair(tmp_path, f"{name}.png")
    (tmp_path / "list").mkdir()
    (tmp_path / "list/test.txt").write_text("c.png\na.png\n", encoding="utf-8")
    assert [p.name for p in open_pair_split(tmp_path, FOLDER, "test")] == ["c", "a"]


def test_a_list_file_chooses_among_the_pairs_of_a_split(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["test"], count=3)
    chosen = tmp_path / "some.txt"
    chosen.write_text("002\n\n000.png\n", encoding="utf-8")
    pairs = open_pair_split(tmp_path, FOLDER, "test", list_file=chosen)
    assert [pair.name for pair in pairs] == ["002", "000"]


def _recipe(spec: PairSpec) -> tuple[Any, ...]:
    milestones = spec.lr_milestones(spec.epochs)
    return spec.lr, milestones, spec.epochs, spec.repeats, spec.fusion_weights


def test_every_data_set_has_facts_and_the_released_programs_schedule() -> None:
    specs = [pair_spec_by_name(name) for name in PAIR_NAMES]
    assert [spec.name for spec in specs] == list(PAIR_NAMES)
    found = {s.name: _recipe(s) for s in specs}
    assert found["svcd"] == (4e-4, (10, 20), 30, 7, (0.5, 0.5))
    assert found["levir"] == (2e-3, (30,), 40, 2, (0.67, 0.33))
    assert found["whu"] == (4e-4, (15,), 30, 7, (0.7, 0.3))
    assert found["folder"][-1] == (0.5, 0.5)
    with pytest.raises(ValueError, match="expected one of: svcd"):
        pair_spec_by_name("SVCD")


# ------------------------------------------------------------------ labels


def test_labels_are_decoded_by_the_rule_of_their_data_set() -> None:
    stored = np.array([[0, 1, 127, 128, 255]], np.uint8)
    assert decode_mask(stored, None, "above_127").tolist() == [[0, 0, 0, 1, 1]]
    assert decode_mask(stored, None, "nonzero").tolist() == [[0, 1, 1, 1, 1]]
    assert decode_mask(stored, 255, "nonzero").tolist() == [[0, 1, 1, 1, -1]]
    assert decode_mask(stored, 0, "nonzero").tolist() == [[0, 1, 1, 1, 1]]


@pytest.mark.parametrize("high", [1, 255])
def test_a_folder_takes_labels_of_0_and_1_and_of_0_and_255(tmp_path: Path, high: int) -> None:
    label = np.minimum(change_label(16, 16), high)
    write_pair(tmp_path / "train", label=label)
    found = sample(open_pair_split(tmp_path, FOLDER, "train"))["area_label"]
    assert torch.equal(found, torch.from_numpy(label > 0).long())


def test_a_label_in_three_equal_bands_is_taken(tmp_path: Path) -> None:
    write_pair(tmp_path / "train")
    write_picture(tmp_path / "train/label/one.png", change_label(16, 16)[..., None].repeat(3, 2))
    assert sample(open_pair_split(tmp_path, FOLDER, "train"))["area_label"].sum() == 64


def test_unexpected_label_values_are_refused_by_name_with_a_way_out(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["train"], count=3)
    for name in ("000", "002"):
        values = np.arange(256, dtype=np.uint8).reshape(16, 16)
        write_picture(tmp_path / f"train/label/{name}.png", values)

    message = faults(tmp_path)

    assert "2 faults" in message
    assert "002: 002.png: found values 0, 1, 2, 3, 4, 5 … (256 values)" in message
    assert "--label-rule nonzero" in message
    assert len(open_pair_split(tmp_path, FOLDER, "train", label_rule="nonzero")) == 3


def test_a_jpeg_label_in_three_nearly_equal_bands_is_taken(tmp_path: Path) -> None:
    write_pair(tmp_path / "train", "one.jpg", label_folder="OUT")
    noise = np.random.default_rng(0).integers(0, 9, (16, 16, 3))
    stored = (change_label(16, 16)[..., None] * 0.9 + noise).astype(np.uint8)
    write_picture(tmp_path / "train/OUT/one.png", stored)  # as a decoded JPEG
    (tmp_path / "train/OUT/one.jpg").unlink()
    found = sample(open_pair_split(tmp_path, SVCD, "train"))["area_label"]
    assert torch.equal(found, torch.from_numpy(change_label(16, 16) > 0).long())


def test_the_alpha_of_a_label_says_nothing(tmp_path: Path) -> None:
    write_pair(tmp_path / "train")
    label = change_label(16, 16)
    write_picture(tmp_path / "train/label/one.png", np.stack((label, 255 - label), axis=2))
    found = sample(open_pair_split(tmp_path, FOLDER, "train"))["area_label"]
    assert torch.equal(found, torch.from_numpy(label > 0).long())


def test_a_coloured_label_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "train")
    write_picture(tmp_path / "train/label/one.png", pair_images(change_label(16, 16))[0])
    assert "different bands" in faults(tmp_path)


# ------------------------------------------------------------------ faults


def test_all_missing_partners_are_listed(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["test"], count=4)
    (tmp_path / "test/A/000.png").unlink()
    (tmp_path / "test/B/001.png").unlink()
    (tmp_path / "test/A/003.png").unlink()
    (tmp_path / "test/label/003.png").unlink()

    message = faults(tmp_path, "test")

    assert "3 faults" in message
    assert "000: missing in A, expected" in message
    assert "001: missing in B, expected" in message
    assert "003: missing in A and label, expected" in message


def test_sizes_that_differ_within_a_pair_are_told_with_both_sizes(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["train"])
    write_picture(tmp_path / "train/B/001.png", pair_images(change_label(24, 16))[0])
    write_picture(tmp_path / "train/label/000.png", change_label(16, 8))

    message = faults(tmp_path)

    assert "000: label/000.png is 16×8, expected 16×16 as A/000.png" in message
    assert "001: B/001.png is 24×16, expected 16×16 as A/001.png" in message


def test_images_at_different_places_are_refused(tmp_path: Path) -> None:
    from tests.helpers.scene_files import write_raster

    write_pairs(tmp_path, ["train"], count=1, suffix=".tif")
    image = pair_images(change_label(16, 16))[0].transpose(2, 0, 1)
    write_raster(tmp_path / "train/B/000.tif", image, origin=(1000.0, 5000.0))
    assert "found transform" in faults(tmp_path)


def test_sixteen_bit_images_are_refused_by_name_or_scaled_when_told(tmp_path: Path) -> None:
    write_pair(tmp_path / "train")
    for part in ("A", "B"):
        image = np.full((16, 16, 3), 5000, np.uint16)
        write_picture(tmp_path / f"train/{part}/one.tif", image)
        (tmp_path / f"train/{part}/one.png").unlink()

    message = faults(tmp_path)
    assert (
        "A/one.tif: found uint16 values, expected uint8; set --pixel-scale reflectance" in message
    )

    pairs = open_pair_split(tmp_path, FOLDER, "train", pixel_scale="reflectance")
    assert (sample(pairs)["images"] == 0.5).all()


def write_images(root: Path, values: Any) -> None:
    """A pair whose images are GeoTIFFs of these values."""
    write_pair(root / "train")
    for part in ("A", "B"):
        write_picture(root / f"train/{part}/one.tif", values)
        (root / f"train/{part}/one.png").unlink()


@pytest.mark.parametrize(("dtype", "scale"), [("int16", "reflectance"), ("float32", "stored")])
def test_fill_values_without_a_nodata_tag_are_refused(
    tmp_path: Path, dtype: str, scale: Any
) -> None:
    image = np.full((16, 16, 3), 300 if dtype == "int16" else 0.3, dtype)
    image[2, 3] = -9999
    write_images(tmp_path, image)
    pairs = open_pair_split(tmp_path, FOLDER, "train", pixel_scale=scale)
    with pytest.raises(DataError, match="found values of -9999 that count as data"):
        sample(pairs)


@pytest.mark.parametrize(
    ("dtype", "scale", "sentence"),
    [
        ("uint16", "reflectance", "16-bit values of 200 at most are divided by 10000"),
        ("float32", "stored", "float values up to 200 are used as stored"),
    ],
)
def test_values_that_the_scale_cannot_mean_are_said(
    tmp_path: Path, dtype: str, scale: Any, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, np.full((16, 16, 3), 200, dtype))
    open_pair_split(tmp_path, FOLDER, "train", pixel_scale=scale)
    assert f"warning: one: A/one.tif: {sentence}" in capsys.readouterr().out


def test_tags_of_scale_that_are_not_applied_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, np.full((16, 16, 3), 0.2, "float32"))
    with rasterio.open(tmp_path / "train/A/one.tif", "r+") as raster:
        raster.scales = (0.5,) * 3
    open_pair_split(tmp_path, FOLDER, "train", pixel_scale="stored")
    assert "scale and offset in the tags are not applied here" in capsys.readouterr().out


def test_the_alpha_of_rgba_images_marks_pixels_without_data(tmp_path: Path) -> None:
    write_pair(tmp_path / "train")
    for part in ("A", "B"):
        rgba = np.full((16, 16, 4), 255, np.uint8)
        rgba[:4, :, 3] = 0 if part == "A" else 255
        write_picture(tmp_path / f"train/{part}/one.png", rgba)

    found = sample(open_pair_split(tmp_path, FOLDER, "train"))

    assert found["images"].shape == (2, 3, 16, 16)
    assert (found["area_label"][:4] == -1).all()
    assert not found["observed"][:4].any()
    assert found["observed"][4:].all()


def test_other_numbers_of_bands_need_a_choice(tmp_path: Path) -> None:
    write_pair(tmp_path / "train", "one.tif")
    for part in ("A", "B"):
        bands = np.stack([np.full((16, 16), k, np.uint8) for k in (1, 2, 3, 4)], axis=2)
        write_picture(tmp_path / f"train/{part}/one.tif", bands)

    message = faults(tmp_path)
    assert "A/one.tif: found 4 bands, expected 3" in message
    assert "--bands 3 2 1" in message
    assert "expected band 5" in faults(tmp_path, bands=(5, 1, 2))

    images = sample(open_pair_split(tmp_path, FOLDER, "train", bands=(3, 2, 1)))["images"]
    assert (images[0, :, 0, 0] * 255).round().tolist() == [3, 2, 1]


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_file_that_is_no_picture_is_told_with_its_pair(tmp_path: Path, content: bytes) -> None:
    write_pairs(tmp_path, ["train"])
    (tmp_path / "train/A/001.png").write_bytes(content)
    assert "001: 001.png: the raster cannot be read" in faults(tmp_path)


def test_missing_folders_are_told_with_the_layout(tmp_path: Path) -> None:
    assert "data root is missing" in faults(tmp_path / "nowhere")
    write_pairs(tmp_path, ["test"])
    message = faults(tmp_path, "train")
    assert "train: the split's folder is missing; found test" in message
    assert "{train,val,test}/A/" in message
    (tmp_path / "val/A").mkdir(parents=True)
    assert "B/: the folder is missing" in faults(tmp_path, "val")


def test_an_empty_split_and_a_faulty_list_are_told(tmp_path: Path) -> None:
    for part in ("A", "B", "label"):
        (tmp_path / "train" / part).mkdir(parents=True)
    assert "expected at least a pair" in faults(tmp_path)
    write_pairs(tmp_path, ["test"])
    (tmp_path / "l.txt").write_text("000\n000\n999\n", encoding="utf-8")
    message = faults(tmp_path, "test", list_file=tmp_path / "l.txt")
    assert "000 stands there 2 times" in message
    assert "999: missing in A and B and label" in message


# ------------------------------------------------------------------ samples


def test_a_sample_holds_scaled_images_and_their_label(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["train"], size=(16, 24))
    pairs = open_pair_split(tmp_path, FOLDER, "train")

    found = sample(pairs, 1)

    first, last = pair_images(change_label(16, 24, 1), 1)
    expected = np.stack((first, last)).transpose(0, 3, 1, 2) / np.float32(255)
    assert np.array_equal(found["images"].numpy(), expected)
    assert found["images"].dtype == torch.float32
    assert np.array_equal(found["area_label"].numpy(), change_label(16, 24, 1) > 0)
    assert (found["aoi"], found["scene_index"], found["origin"].tolist()) == ("001", 1, [0, 0])


def test_a_whole_pair_of_any_size_is_padded_to_multiples_of_eight(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["train"], size=(13, 18))
    found = sample(open_pair_split(tmp_path, FOLDER, "train"))
    assert found["images"].shape == (2, 3, 16, 24)
    assert torch.equal(found["images"][..., 15, :], found["images"][..., 12, :])
    assert (found["area_label"][13:] == -1).all()
    assert (found["area_label"][:, 18:] == -1).all()
    assert (found["area_label"][:13, :18] >= 0).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_windows_are_cut_where_their_origin_says(tmp_path: Path, suffix: str) -> None:
    write_pairs(tmp_path, ["train"], size=(24, 20), suffix=suffix)
    pairs = open_pair_split(tmp_path, FOLDER, "train")
    everything = PairDataset(pairs, whole(pairs))[0]

    windows = PairDataset(pairs, tiles(pairs, 16, 16), (16, 16))

    assert [w["origin"].tolist() for w in windows][:4] == [[0, 0], [0, 4], [8, 0], [8, 4]]
    for window in (windows[0], windows[3]):
        row, col = window["origin"].tolist()
        part = everything["images"][..., row : row + 16, col : col + 16]
        assert torch.equal(window["images"], part)


def test_a_window_larger_than_its_pair_is_padded(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["train"], size=(10, 40))
    pairs = open_pair_split(tmp_path, FOLDER, "train")
    window = PairDataset(pairs, tiles(pairs, 16, 8), (16, 16))[0]
    assert window["images"].shape == (2, 3, 16, 16)
    assert (window["area_label"][10:] == -1).all()


@pytest.mark.parametrize(("side", "count"), [(1024, 169), (300, 4), (256, 1)])
def test_windows_of_256_with_stride_64_are_as_many_as_in_the_released_program(
    side: int, count: int, tmp_path: Path
) -> None:
    write_pair(tmp_path / "test", label=np.zeros((side, side), np.uint8))
    assert len(tiles(open_pair_split(tmp_path, FOLDER, "test"), 256, 64)) == count


def test_a_stride_that_leaves_pixels_out_is_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["train"])
    with pytest.raises(UserError, match="--stride: found 32"):
        tiles(open_pair_split(tmp_path, FOLDER, "train"), 16, 32)


def test_each_pair_is_served_as_often_as_it_is_repeated(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["train"])
    pairs = open_pair_split(tmp_path, FOLDER, "train")
    repeated = PairDataset(pairs, whole(pairs), repeats=3, cache=True)
    assert [repeated[i]["aoi"] for i in range(len(repeated))] == ["000", "001"] * 3
