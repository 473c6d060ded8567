"""Predict.py over several areas, and what it refuses."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import Affine

from tests.helpers.cities import (
    DATES,
    Outcome,
    summary_of,
    values,
    write_city,
    write_weights,
)
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import change_header

pytestmark = pytest.mark.slow


def test_a_folder_of_folders_is_mapped_area_by_area_with_a_table(
    weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    write_city(tmp_path / "world/north", (20, 33))
    write_city(tmp_path / "world/south", (16, 16), seed=1)
    write_city(tmp_path / "world/broken", (16, 16))
    (tmp_path / f"world/broken/city_{DATES[2]}.tif").unlink()
    flags = ("--images", "world", "--checkpoint", weights, "--output-dir", "maps")
    code, _, errors = predict(*flags)
    assert code == 3
    assert "1 of 3 areas" in errors
    assert "found 5 dates" in errors
    rows = (tmp_path / "maps/areas.csv").read_text(encoding="utf-8").splitlines()
    assert [row.split(",")[:2] for row in rows[1:]] == [
        ["broken", "at fault"], ["north", "mapped"], ["south", "mapped"],
    ]  # fmt: skip
    assert values(tmp_path / "maps/north/change_moment.tif").shape == (20, 33)
    assert (tmp_path / "maps/south/report.html").is_file()
    code, *_ = predict(*flags[:-1], "maps2", "--dates", ",".join(DATES))
    assert code == 2


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ((), 2, "--images: found none"),
        (("--images", "nowhere"), 2, "found no raster at"),
        (("--memory", "0.1"), 2, "--memory: found 0.1 GB, expected"),
        (("--overlap", "16"), 2, "--overlap: found 16, expected 0 … 15"),
        (("--min-valid-dates", "7"), 2, "expected 1 … 6"),
        (("--tile-size", "18"), 2, "a multiple of 4"),
        (("--backend", "onnx", "--precision", "bfloat16"), 2, "expected neither"),
        (("--share-cam",), 2, "--share-cam: found CAM weights that are shared"),
        (("--min-area", "5"), 2, "with --polygons only"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_mapped(
    flags: tuple[str, ...], code: int, said: str, city: Path, weights: Path,
    predict: Callable[..., Outcome], tmp_path: Path,
) -> None:  # fmt: skip
    images = () if not flags or "--images" in flags else ("--images", str(city))
    found, _, errors = predict(*images, "--checkpoint", weights, "--output-dir", "out", *flags)
    assert (found, said in errors) == (code, True), errors
    assert not list(tmp_path.rglob("change_*.tif"))


def test_polygons_of_rasters_that_lie_nowhere_are_refused_at_once(
    weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    write_city(tmp_path / "flat", (20, 20), crs=None)
    flags = ("--images", "flat", "--checkpoint", weights, "--output-dir", "out")
    code, _, said = predict(*flags, "--polygons")
    assert (code, "expected a CRS" in said) == (2, True)
    code, *_ = predict(*flags, "--overwrite")
    assert code == 0
    assert summary_of(tmp_path / "out")["hectares"] is None
    assert summary_of(tmp_path / "out")["intervals"][0]["hectares"] is None


def test_a_full_disk_is_foreseen(
    city: Path, weights: Path, predict: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    code, _, said = predict("--images", city, "--checkpoint", weights, "--output-dir", "out")
    assert (code, "GB are free, expected up to" in said) == (2, True)


def test_another_tile_size_than_in_training_is_said(
    city: Path, weights: Path, predict: Callable[..., Outcome]
) -> None:
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", "out")
    code, said, _ = predict(*flags, "--tile-size", 32)
    assert (code, "tiles of 32 pixels; the weights were trained with 16" in said) == (0, True)


def test_an_unfinished_run_is_not_begun_anew_unasked(
    city: Path, weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "out/.unfinished/rows").mkdir(parents=True)
    (tmp_path / "out/settings.json").write_text("{}")
    code, _, said = predict("--images", city, "--checkpoint", weights, "--output-dir", "out")
    assert (code, "--resume" in said) == (2, True)
    assert (tmp_path / "out/.unfinished/rows").is_dir()


@pytest.mark.parametrize("output", ["world/north", "world", "masks", "linked"])
def test_results_are_not_laid_among_images_or_masks_and_nothing_is_left_there(
    output: str, weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    write_city(tmp_path / "world/north", (20, 20))
    write_raster(tmp_path / f"masks/mask_{DATES[0]}.tif", np.zeros((20, 20), np.uint8))
    (tmp_path / "linked").mkdir()
    for file in (tmp_path / "world/north").iterdir():
        (tmp_path / "linked" / file.name).symlink_to(file)
    images = {"world": "world", "linked": "linked"}.get(output, "world/north")
    before = sorted(tmp_path.rglob("*"))
    flags = ("--images", images, "--checkpoint", weights, "--overwrite", "--output-dir", output)
    clouds = () if output == "world" else ("--clouds", "masks")
    code, _, said = predict(*flags, *clouds)
    assert (code, "which goes into the maps" in said) == (2, True), said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e308, -1e13])
def test_one_area_whose_place_is_no_number_is_told_and_the_others_are_mapped(
    wrong: float, weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    write_city(tmp_path / "world/broken", (16, 16))
    write_city(tmp_path / "world/good", (16, 16))
    for file in (tmp_path / "world/broken").iterdir():
        change_header(file, transform=Affine(3.0, 0.0, wrong, 0.0, -3.0, 5e6))
    flags = ("--images", "world", "--checkpoint", weights, "--output-dir", "maps")
    code, _, said = predict(*flags)
    assert (code, "found the transform" in said) == (3, True), said
    assert (tmp_path / "maps/good/summary.json").is_file()
    assert not (tmp_path / "maps/broken").exists()


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes there")
def test_areas_of_any_name_are_mapped_or_told(
    weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    names = [
        b"caf\xe9",
        b"x" * 250,
        "a\u2028b".encode(),
        b"a\nb\x1b[31m",
        b"=1+1",
        b"$x_1^$ {{7*7}}",
    ]
    (tmp_path / "world").mkdir()
    for name in names:
        write_city(tmp_path / "city", (16, 16))
        (tmp_path / "city").rename(tmp_path / "world" / os.fsdecode(name))
    flags = ("--images", "world", "--checkpoint", weights, "--output-dir", "maps")
    code, said, errors = predict(*flags)
    assert (code, "1 of 6 areas" in errors, "no UTF-8 text" in errors) == (3, True, True), errors
    assert "\x1b" not in said + errors
    for name in names[1:]:
        assert (tmp_path / "maps" / os.fsdecode(name) / "report.html").is_file()
    assert ",'=1+1," not in (table := (tmp_path / "maps/areas.csv").read_text("utf-8"))
    assert "\n'=1+1," in table
    code, _, errors = predict("--images", "world/=1+1", "--checkpoint", weights, "--output-dir",
                              os.fsdecode(b"caf\xe9"))  # fmt: skip
    assert (code, "no UTF-8 text" in errors) == (2, True)


def test_another_program_in_the_folder_is_waited_for(
    city: Path, weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", "out", "--overwrite")
    (tmp_path / "out").mkdir()
    held = "import sys, filelock; x = filelock.FileLock(sys.argv[1]); x.acquire(); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", held, str(tmp_path / "out/.lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        code, _, said = predict(*flags)
        other.kill()
    assert (code, "another program is at work there" in said) == (2, True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_refused_run_leaves_its_folder_free(
    city: Path, weights: Path, predict: Callable[..., Outcome]
) -> None:
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", "out")
    assert predict(*flags, "--bands", "9,2,1,4")[0] == 3
    assert predict(*flags)[0] == 0


def test_an_export_replaces_nothing_unasked(
    weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "there.onnx").write_bytes(b"mine")
    for target, said in ((weights, "ends with .onnx"), ("there.onnx", "--overwrite")):
        code, _, errors = predict("--checkpoint", weights, "--export-onnx", target)
        assert (code, said in errors) == (2, True)
    assert (tmp_path / "there.onnx").read_bytes() == b"mine"


def test_weights_that_mix_their_batch_are_resumed_with_the_same_batch_only(
    city: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    for attention, code in (("spatial", 0), ("batch", 2)):
        weights = write_weights(tmp_path / f"{attention}.pth", attention=attention)
        flags = ("--images", city, "--checkpoint", weights, "--output-dir", attention)
        assert predict(*flags, "--batch-size", 4)[0] == 0
        outcome = predict(*flags, "--batch-size", 5, "--resume")
        assert outcome[0] == code
        assert ("batch_size: 4 there, 5 now" in outcome[2]) == (attention == "batch")
