"""DynamicEarthNet from raw files to the processed layout (data_processing/prepare_dynamic.py)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from data_processing import prepare_dynamic
from data_processing.raw.archives import RawFile
from data_processing.raw.dynamic import NO_CLASS, read_classes
from data_processing.scenes.check import check_data_root
from data_processing.scenes.dataset import cover_split
from data_processing.scenes.spec import DYNAMIC
from tests.helpers.raw_trees import write_dynamic_area
from utils.errors import DataError
from utils.files import read_json

MONTHS = [f"{2018 + m // 12}-{m % 12 + 1:02d}-01" for m in range(24)]
SIDE = 64
SOIL, WATER, SNOW, CITY = 4, 5, 6, 0


def cover(chosen: dict[int, int]) -> list[Any]:
    """24 months of soil in which pixel row k becomes another class with chosen date k."""
    classes = []
    for month in range(24):
        image = np.full((SIDE, SIDE), SOIL)
        for k, row in chosen.items():
            if month >= 4 * k:
                image[row] = CITY
        classes.append(image)
    return classes


ROWS = {k: 10 * k for k in range(1, 6)}


def run(source: Path, out: Path, *flags: str) -> list[Path]:
    """Prepare with everything in the test split; the scenes' folders."""
    split = out.parent / "split.json"
    split.write_text(json.dumps({"others": {"counts": {"test": 9}}}), "utf-8")
    base = ["--source", str(source), "--data-root", str(out), "--num-workers", "0"]
    prepare_dynamic.main([*base, "--split-file", str(split), *flags])
    return sorted((out / "Images_Dynamic" / "test").iterdir())


def moment_of(scene: Path) -> Any:
    with rasterio.open(scene / DYNAMIC.moment_file) as raster:
        return raster.read(1)


def test_a_class_first_seen_at_date_k_gives_label_k(tmp_path: Path) -> None:
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS)
    (scene,) = run(tmp_path / "raw", tmp_path / "out")
    expected = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for k, row in ROWS.items():
        expected[row] = k
    np.testing.assert_array_equal(moment_of(scene), expected)
    assert scene.name == "Scene01"
    assert sorted(path.name for path in (scene / "train_images").iterdir()) == [
        f"{MONTHS[4 * k]}.tif" for k in range(6)
    ]
    assert not check_data_root(tmp_path / "out", DYNAMIC, ("test",)).faults


def test_images_are_reflectance_or_the_integers(tmp_path: Path) -> None:
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS)
    (scene,) = run(tmp_path / "raw", tmp_path / "out")
    (stored,) = run(tmp_path / "raw", tmp_path / "stored", "--pixels", "stored")
    raw = tmp_path / "raw/planet/10N/122W-40N/1311_3077_13/PF-SR" / f"{MONTHS[4]}.tif"
    with (
        rasterio.open(raw) as one,
        rasterio.open(scene / f"train_images/{MONTHS[4]}.tif") as two,
        rasterio.open(stored / f"train_images/{MONTHS[4]}.tif") as three,
    ):
        expected = np.clip(one.read() / 10_000, 0, 1).astype(np.float32)
        np.testing.assert_array_equal(two.read(), expected)
        np.testing.assert_array_equal(three.read(), one.read())
        assert (one.crs, one.transform) == (two.crs, two.transform)
    pair = [cover_split(tmp_path / name, DYNAMIC, "test")[0] for name in ("out", "stored")]
    assert torch.equal(pair[0]["moment_label"], pair[1]["moment_label"])
    torch.testing.assert_close(pair[0]["images"], pair[1]["images"].clamp(0, 1))


@pytest.mark.parametrize(
    "irregular",
    [
        {},
        {"planet": "planet.10N/planet"},
        {"joint": "-"},
        {"dash": "-"},
        {"level": False},
        {"cube": "2235_3403_13", "zone": "17N", "joint": "-", "dash": "-"},
    ],
)
def test_irregular_paths_are_understood(tmp_path: Path, irregular: dict[str, Any]) -> None:
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS, **irregular)
    (scene,) = run(tmp_path / "raw", tmp_path / "out")
    assert (moment_of(scene)[10] == 1).all()


def test_zips_are_read_in_place_beside_unpacked_folders(tmp_path: Path) -> None:
    write_dynamic_area(tmp_path / "tree", cover(ROWS), MONTHS)
    raw = tmp_path / "raw"
    raw.mkdir()
    with zipfile.ZipFile(raw / "labels.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "tree").rglob("labels/**/*")):
            archive.write(path, path.relative_to(tmp_path / "tree"))
    (tmp_path / "tree" / "planet").rename(raw / "planet")
    (scene,) = run(raw, tmp_path / "out")
    assert (moment_of(scene)[50] == 5).all()
    assert sorted(path.name for path in raw.iterdir()) == ["labels.zip", "planet"]


@pytest.mark.parametrize("fault", ["outside", "drive", "link", "damaged"])
def test_zips_that_are_damaged_or_dangerous_are_refused(tmp_path: Path, fault: str) -> None:
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS)
    archive = tmp_path / "raw" / "planet.11N.zip"
    names = {"outside": "planet/../../x.tif", "drive": "C:/x.tif", "link": "a", "damaged": "b"}
    with zipfile.ZipFile(archive, "w") as written:
        info = zipfile.ZipInfo(names[fault])
        if fault == "link":
            info.external_attr = 0o120777 << 16
        written.writestr(info, "/etc/passwd")
    if fault == "damaged":
        archive.write_bytes(archive.read_bytes()[:-30])
    expected = {"outside": "outside", "drive": "outside", "link": "a link", "damaged": "as a zip"}
    with pytest.raises(DataError, match=expected[fault]):
        run(tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("event", "label"), [("last", 4), ("first", 2)])
def test_a_class_that_changes_and_changes_back_follows_the_rule(
    tmp_path: Path, event: str, label: int
) -> None:
    classes = [np.full((SIDE, SIDE), SOIL) for _ in range(24)]
    for month in range(8, 16):
        classes[month][:5] = WATER
    write_dynamic_area(tmp_path / "raw", classes, MONTHS)
    (scene,) = run(tmp_path / "raw", tmp_path / "out", "--event", event)
    moment = moment_of(scene)
    assert (moment[:5] == label).all()
    assert (moment[5:] == 0).all()


def test_pixels_without_a_class_are_not_counted(tmp_path: Path) -> None:
    classes = cover(ROWS)
    classes[8][3, 7] = -1
    write_dynamic_area(tmp_path / "raw", classes, MONTHS)
    (scene,) = run(tmp_path / "raw", tmp_path / "out")
    moment = moment_of(scene)
    assert moment[3, 7] == 255
    assert (moment == 255).sum() == 1
    assert cover_split(tmp_path / "out", DYNAMIC, "test")[0]["moment_label"][3, 7] == -1
    gaps = read_json(tmp_path / "out/Images_Dynamic/audit.json")["gaps"]
    assert "1 pixels without a class" in gaps[0]["found"]


def test_pixels_with_several_classes_are_of_none(tmp_path: Path) -> None:
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS)
    (label,) = (tmp_path / "raw/labels").rglob(f"*{MONTHS[8].replace('-', '_')}.tif")
    with rasterio.open(label, "r+") as raster:
        bands = raster.read()
        bands[[CITY, WATER], 3, 7] = 255  # beside soil, the one class there
        bands[WATER, 3, 8] = 255
        raster.write(bands)
    file = RawFile(label.name, label, None, label.stat().st_size, 0)
    classes, _ = read_classes(file)
    assert classes[3, 6:10].tolist() == [SOIL, NO_CLASS, NO_CLASS, SOIL]
    (scene,) = run(tmp_path / "raw", tmp_path / "out")
    moment = moment_of(scene)
    assert moment[3, 6:10].tolist() == [0, 255, 255, 0]
    assert (moment == 255).sum() == 2
    gaps = read_json(tmp_path / "out/Images_Dynamic/audit.json")["gaps"]
    assert "2 pixels without a class" in gaps[0]["found"]


def test_snow_can_say_nothing_about_what_lies_under_it(tmp_path: Path) -> None:
    classes = [np.full((SIDE, SIDE), SNOW if 12 <= m < 14 else SOIL) for m in range(24)]
    write_dynamic_area(tmp_path / "raw", classes, MONTHS)
    (with_snow,) = run(tmp_path / "raw", tmp_path / "a")
    (without,) = run(tmp_path / "raw", tmp_path / "b", "--snow", "exclude")
    assert (moment_of(with_snow) == 4).all()
    assert (moment_of(without) == 0).all()


def test_areas_without_labels_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS)
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS, cube="1417_3281_13", labels=False)
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS, cube="1330_3107_13", images=False)
    scenes = run(tmp_path / "raw", tmp_path / "out")
    said = capsys.readouterr().out
    assert "3 areas: 2 with images, 2 with labels" in said
    assert "record 1738088" in said
    assert [scene.name for scene in scenes] == ["Scene01"]
    listed = read_json(tmp_path / "out/Images_Dynamic/dataset.json")["scenes"]
    assert [(scene["name"], scene["area"]) for scene in listed] == [("Scene01", "1311_3077_13_10N")]


def test_a_missing_month_is_replaced_by_a_neighbour_and_told(tmp_path: Path) -> None:
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS)
    label = next((tmp_path / "raw/labels").rglob(f"*{MONTHS[8].replace('-', '_')}.tif"))
    label.unlink()
    (scene,) = run(tmp_path / "raw", tmp_path / "out")
    assert (scene / "train_images" / f"{MONTHS[9]}.tif").is_file()
    gaps = " ".join(str(g) for g in read_json(tmp_path / "out/Images_Dynamic/audit.json")["gaps"])
    assert "2018-09 (no label)" in gaps
    assert "2018-10-01 taken instead" in gaps
    with pytest.raises(DataError, match="taken instead"):
        run(tmp_path / "raw", tmp_path / "strict", "--strict")


@pytest.mark.parametrize("lost", [("labels",), ("planet",), ("labels", "planet")])
def test_a_gap_at_the_first_month_shifts_no_other_date(tmp_path: Path, lost: list[str]) -> None:
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS)
    for folder in lost:
        for dash in ("-", "_"):
            for path in (tmp_path / "raw" / folder).rglob(f"*{MONTHS[0].replace('-', dash)}.tif"):
                path.unlink()
    (scene,) = run(tmp_path / "raw", tmp_path / "out")
    assert sorted(path.stem for path in (scene / "train_images").iterdir()) == [
        MONTHS[1], *MONTHS[4::4],
    ]  # fmt: skip
    gaps = " ".join(str(g) for g in read_json(tmp_path / "out/Images_Dynamic/audit.json")["gaps"])
    words = {"labels": "no label", "planet": "no image"}
    assert f"2018-01 ({' and '.join(words[name] for name in sorted(lost, reverse=True))})" in gaps
    assert "no usable data of 2018-01, 2018-02-01 taken instead" in gaps


def test_labels_on_another_grid_and_of_other_values_are_refused(tmp_path: Path) -> None:
    write_dynamic_area(tmp_path / "raw", cover(ROWS), MONTHS)
    label = next((tmp_path / "raw/labels").rglob(f"*{MONTHS[4].replace('-', '_')}.tif"))
    with rasterio.open(label) as raster:
        profile, bands = raster.profile, raster.read()
    shifted = {**profile, "transform": profile["transform"] @ rasterio.Affine.translation(1, 0)}
    with rasterio.open(label, "w", **shifted) as raster:
        raster.write(bands)
    with pytest.raises(DataError, match="found transform"):
        run(tmp_path / "raw", tmp_path / "out")
    with rasterio.open(label, "w", **profile) as raster:
        raster.write(bands // 255)
    with pytest.raises(DataError, match="0 or 255"):
        run(tmp_path / "raw", tmp_path / "out")
