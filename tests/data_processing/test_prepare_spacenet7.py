"""SpaceNet7 from raw files to the processed layout (data_processing/prepare_spacenet7.py)."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing import prepare_spacenet7
from data_processing.scenes.check import check_data_root
from data_processing.scenes.dataset import cover_split, open_split
from data_processing.scenes.spec import SPACENET7
from models import CAIMNet
from tests.helpers.raw_trees import AOI, SIDE, months, write_footprints, write_spacenet7_month
from training.losses import caim_loss
from utils.errors import DataError, UserError
from utils.files import read_json

T = 9
HOUSE = {k: (8 * k, 8, 6, 6) for k in range(1, T)}  # building k stands from month k on


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """An area of 9 months in which building k is first seen in month k."""
    root = tmp_path / "raw" / "train"
    for number, month in enumerate(months(T)):
        squares = {k: HOUSE[k] for k in HOUSE if k <= number} | {50: (70, 60, 6, 6)}
        write_spacenet7_month(root, month, squares, seed=number)
    return root


def run(source: Path, out: Path, *flags: str) -> Path:
    """Prepare with everything in the test split; the scene's folder."""
    split = out.parent / "split.json"
    split.write_text(json.dumps({"others": {"counts": {"test": 9}}}), "utf-8")
    base = ["--source", str(source), "--data-root", str(out), "--num-workers", "0"]
    prepare_spacenet7.main([*base, "--split-file", str(split), *flags])
    return out / "Images_SpaceNet7" / "test" / AOI


def moment_of(scene: Path) -> Any:
    with rasterio.open(scene / SPACENET7.moment_file) as raster:
        assert raster.nodata == 255
        return raster.read(1)


def square(labels: Any, place: tuple[int, int, int, int]) -> Any:
    row, col, rows, cols = place
    return labels[row : row + rows, col : col + cols]


def test_a_building_first_seen_in_month_k_gives_label_k(raw: Path, tmp_path: Path) -> None:
    moment = moment_of(run(raw, tmp_path / "out"))
    expected = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for k, place in HOUSE.items():
        square(expected, place)[...] = k
    np.testing.assert_array_equal(moment, expected)
    with rasterio.open(tmp_path / "out/Images_SpaceNet7/test" / AOI / SPACENET7.area_file) as area:
        np.testing.assert_array_equal(area.read(1), expected > 0)


@pytest.mark.parametrize("kind", ["labels", "labels_match", "labels_match_pix"])
def test_the_three_kinds_of_footprints_give_the_same_labels(
    raw: Path, tmp_path: Path, kind: str
) -> None:
    moment = moment_of(run(raw, tmp_path / "out", "--footprints", kind))
    for k, (row, col, rows, cols) in HOUSE.items():
        inner = square(moment, (row + 1, col + 1, rows - 2, cols - 2))
        assert (inner == k).all()
    assert abs(int((moment > 0).sum()) - 36 * len(HOUSE)) <= 2 * len(HOUSE)


def test_what_comes_out_is_sound_and_trains_for_a_step(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    scene = run(raw, out)
    assert not check_data_root(out, SPACENET7, ("test",)).faults
    for path in sorted((raw / AOI / "images_masked").iterdir()):
        with (
            rasterio.open(path) as before,
            rasterio.open(scene / "images_masked" / path.name) as after,
        ):
            np.testing.assert_array_equal(before.read(), after.read())
            assert (before.crs, before.transform) == (after.crs, after.transform)
            assert after.colorinterp[3].name == "alpha"
    patches = open_split(out, SPACENET7, "test")  # lists and index were written, too
    sample = patches[0]
    images, moment = sample["images"][None], sample["moment_label"][None]
    network = CAIMNet(num_dates=T, width=8)
    caim_loss(network(images), (moment > 0).long(), moment).total.backward()
    gradients = [p.grad for p in network.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)


def test_months_without_image_labels_or_data_are_told_and_left_out(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = months(4, first=T)
    for number, month in enumerate(extra):
        write_spacenet7_month(raw, month, HOUSE, udm=(0, 0, 9, 9) if number == 2 else None)
    (raw / AOI / "images_masked" / f"global_monthly_{extra[0]}_mosaic_{AOI}.tif").unlink()
    name = f"global_monthly_{extra[1]}_mosaic_{AOI}_Buildings.geojson"
    (raw / AOI / "labels_match" / name).unlink()
    run(raw, tmp_path / "out", "--dates", "first")
    said = capsys.readouterr().out
    audit = read_json(tmp_path / "out/Images_SpaceNet7/audit.json")
    found = " ".join(gap["found"] for gap in audit["gaps"])
    for text in ("2018-04 has no image", "2018-05 has no labels_match", "2018-06"):
        assert text in said
        assert text in found
    with pytest.raises(DataError, match="2018-04 has no image") as error:
        run(raw, tmp_path / "strict", "--strict")
    assert error.value.exit_code == 3
    assert not (tmp_path / "strict").exists()


def test_a_month_that_is_missing_altogether_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = months(T + 2)
    for month in (name for name in names if name != names[4]):
        write_spacenet7_month(tmp_path / "raw", month, HOUSE)
    run(tmp_path / "raw", tmp_path / "out")
    found = f"{names[4].replace('_', '-')} has no image and no labels_match"
    gaps = read_json(tmp_path / "out/Images_SpaceNet7/audit.json")["gaps"]
    assert found in [gap["found"] for gap in gaps]
    assert f"{AOI}: {found}" in capsys.readouterr().out


def test_every_nth_month_counts_from_the_first_of_the_series(tmp_path: Path) -> None:
    names = months(T * 2)
    for month in names:
        write_spacenet7_month(tmp_path / "raw", month, HOUSE)
    folder = tmp_path / "raw" / AOI / "labels_match"
    (folder / f"global_monthly_{names[0]}_mosaic_{AOI}_Buildings.geojson").unlink()
    scene = run(tmp_path / "raw", tmp_path / "out", "--dates", "every:2")
    taken = [path.name[15:22] for path in sorted((scene / "images_masked").iterdir())]
    assert taken == [names[1], *names[2::2]]
    gaps = read_json(tmp_path / "out/Images_SpaceNet7/audit.json")["gaps"]
    assert any("taken instead" in gap["found"] for gap in gaps)


def test_masked_pixels_are_no_data_and_carry_the_last_state(raw: Path, tmp_path: Path) -> None:
    hidden = (8, 8, 6, 6)  # building 1
    month = months(T)
    for number in (1, 2):  # it cannot be seen when it appears, nor a month later
        squares = {k: HOUSE[k] for k in HOUSE if k <= number} | {50: (70, 60, 6, 6)}
        write_spacenet7_month(
            raw, month[number], squares, masked=hidden if number == 1 else None,
            udm=hidden if number == 2 else None, seed=number,
        )  # fmt: skip
    scene = run(raw, tmp_path / "out", "--allow-masked")
    assert (square(moment_of(scene), hidden) == 3).all()  # first seen in month 3
    sample = cover_split(tmp_path / "out", SPACENET7, "test")[0]
    assert not square(sample["valid"], hidden).any()
    assert sample["valid"].sum() == 64 * 64 - 36
    with rasterio.open(scene / "change" / "valid.tif") as raster:
        assert raster.read(1).sum() == SIDE * SIDE - 36


def test_a_pixel_never_seen_has_no_label(tmp_path: Path) -> None:
    corner = (0, 70, 10, 10)
    for number, month in enumerate(months(T)):
        write_spacenet7_month(tmp_path / "raw", month, HOUSE, masked=corner, seed=number)
    moment = moment_of(run(tmp_path / "raw", tmp_path / "out"))
    assert (square(moment, corner) == 255).all()
    assert (moment == 255).sum() == 100


@pytest.mark.parametrize(
    ("event", "transitions", "label"),
    [("last", "both", 5), ("first", "both", 2), ("last", "appear", 2), ("first", "appear", 2)],
)
def test_a_building_that_comes_and_goes_follows_the_rule(
    tmp_path: Path, event: str, transitions: str, label: int
) -> None:
    place = (20, 20, 8, 8)
    for number, month in enumerate(months(T)):
        write_spacenet7_month(tmp_path / "raw", month, {1: place} if 2 <= number < 5 else {})
    flags = ("--event", event, "--transitions", transitions)
    moment = moment_of(run(tmp_path / "raw", tmp_path / "out", *flags))
    assert (square(moment, place) == label).all()
    assert (moment > 0).sum() == 64


def test_an_outline_drawn_again_is_no_change_if_slivers_are_dropped(tmp_path: Path) -> None:
    for number, month in enumerate(months(T)):
        squares = {7: (20, 20 + (number > 3), 8, 8)} | ({8: (50, 50, 4, 4)} if number > 5 else {})
        write_spacenet7_month(tmp_path / "raw", month, squares)
    assert (moment_of(run(tmp_path / "raw", tmp_path / "with")) == 4).sum() == 16
    moment = moment_of(run(tmp_path / "raw", tmp_path / "without", "--drop-slivers"))
    assert (moment == 4).sum() == 0
    assert (moment == 6).sum() == 16


def test_sides_of_1023_pixels_are_cut_to_what_all_months_have(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    squares = {k: HOUSE[k] for k in HOUSE if k <= 3} | {50: (70, 60, 6, 6)}
    write_spacenet7_month(raw, months(T)[3], squares, size=(SIDE - 1, SIDE))
    moment = moment_of(run(raw, tmp_path / "out"))
    assert moment.shape == (SIDE - 1, SIDE)
    assert (square(moment, HOUSE[4]) == 4).all()
    assert f"cut to the first {SIDE - 1}×{SIDE} pixels" in capsys.readouterr().out


def test_empty_label_files_are_no_buildings_and_damaged_ones_are_faults(
    raw: Path, tmp_path: Path
) -> None:
    folder = raw / AOI / "labels_match"
    for name in ("2017_07", "2017_08"):
        write_footprints(
            folder / f"global_monthly_{name}_mosaic_{AOI}_Buildings.geojson", {}, "labels_match"
        )
    assert (moment_of(run(raw, tmp_path / "out")) == 2).sum() == 3 * 36  # with building 1 and 50
    damaged = folder / f"global_monthly_2017_09_mosaic_{AOI}_Buildings.geojson"
    damaged.write_text('{"type": "FeatureColl', "utf-8")
    with pytest.raises(DataError, match="no GeoJSON") as error:
        run(raw, tmp_path / "other")
    assert damaged.name in str(error.value)
    assert not (tmp_path / "other/Images_SpaceNet7/test" / AOI).exists()


def test_a_tarball_gives_the_same_and_a_second_run_does_nothing(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tarball = tmp_path / "SN7_buildings_train.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(raw, "train")
    unpacked, packed = run(raw, tmp_path / "a"), run(tarball, tmp_path / "b")
    np.testing.assert_array_equal(moment_of(unpacked), moment_of(packed))
    assert not list((tmp_path / "b").glob(".unpacked*"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "b").rglob("*")}
    capsys.readouterr()
    run(tarball, tmp_path / "b")
    assert "nothing done" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "b").rglob("*")}


def test_a_dry_run_on_a_tarball_unpacks_nothing(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tarball = tmp_path / "SN7_buildings_train.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(raw, "train")
    run(tarball, tmp_path / "out", "--dry-run")
    assert not (tmp_path / "out").exists()
    assert f"test/{AOI} from {AOI}: 2017-07-01" in capsys.readouterr().out


def test_of_a_finished_tarball_only_a_lost_scene_is_made_again(raw: Path, tmp_path: Path) -> None:
    other = AOI.replace("0331E", "0332E")
    for number, month in enumerate(months(T)):
        write_spacenet7_month(raw, month, HOUSE, area=other, seed=number)
    tarball = tmp_path / "SN7_buildings_train.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(raw, "train")
    scene = run(tarball, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in scene.rglob("*")}
    shutil.rmtree(scene.with_name(other))
    run(tarball, tmp_path / "out")
    assert scene.with_name(other).is_dir()
    assert before == {path: path.stat().st_mtime_ns for path in scene.rglob("*")}


@pytest.mark.parametrize("fault", ["outside", "link", "short"])
def test_a_tarball_that_is_damaged_or_dangerous_is_refused(tmp_path: Path, fault: str) -> None:
    tarball = tmp_path / "SN7_buildings_train.tar.gz"
    with tarfile.open(tarball, "w:gz") as archive:
        name = f"train/{AOI}/images_masked/x.tif" if fault != "outside" else "../../escaped.tif"
        member = tarfile.TarInfo(name)
        if fault == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        else:
            member.size = 200_000
        content = np.random.default_rng(0).bytes(member.size)
        archive.addfile(member, io.BytesIO(content))
    if fault == "short":
        tarball.write_bytes(tarball.read_bytes()[:60_000])
    expected = {"outside": "points outside", "link": "a link", "short": "cannot be read"}
    with pytest.raises(DataError, match=expected[fault]):
        run(tarball, tmp_path / "out")
    assert not (tmp_path / "escaped.tif").exists()
    assert not (tmp_path.parent / "escaped.tif").exists()


def test_the_shipped_split_has_the_sizes_it_names() -> None:
    from data_processing.raw.split_choice import assign_splits, read_split_file, split_file_path

    content = read_split_file(split_file_path("spacenet7_48_6_6"))
    areas = [area for listed in content["assigned"].values() for area in listed]
    splits = list(assign_splits(areas, content).values())
    assert [splits.count(split) for split in ("train", "val", "test")] == [48, 6, 6]
    assert AOI in areas
    assert all(SPACENET7.scene_name and area.startswith("L15-") for area in areas)


def test_an_area_with_too_few_months_is_told_and_left_out(raw: Path, tmp_path: Path) -> None:
    for month in months(3):
        write_spacenet7_month(raw, month, HOUSE, area="L15-0571E-1075N_2287_3888_13")
    run(raw, tmp_path / "out")
    audit = read_json(tmp_path / "out/Images_SpaceNet7/audit.json")
    assert {"3 usable dates, expected at least 9"} == {
        gap["found"] for gap in audit["gaps"] if gap["area"].startswith("L15-0571E")
    }


@pytest.mark.parametrize("rule", ["every:0", "some", "2017-07,2017-08", "2017-13," * 8 + "x"])
def test_rules_that_are_none_are_refused(raw: Path, tmp_path: Path, rule: str) -> None:
    with pytest.raises(UserError, match="--dates"):
        run(raw, tmp_path / "out", "--dates", rule)


def test_nothing_at_the_source_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is nothing at"):
        run(tmp_path / "missing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found no area"):
        run(tmp_path / "empty", tmp_path / "out")
