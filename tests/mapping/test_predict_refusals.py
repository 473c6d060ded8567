"""Predict.py over several areas, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.cities import DATES, Outcome, summary_of, values, write_city

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
