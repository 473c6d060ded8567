"""Benchmarks of long series: what is inserted, how it is scored, medians of periods."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import long_series
from benchmarks.long_series import Changes, inserted, score
from benchmarks.per_pixel_breaks import composites
from benchmarks.real_areas import Area
from models import CAIMNet
from models.weights.checkpoint import Checkpoint, save_checkpoint
from tests.helpers.scene_files import write_raster
from utils.files import read_csv_rows

FIRST = datetime.date(2019, 1, 1).toordinal()


def area(name: str, dates: int = 12, side: int = 32) -> Area:
    rng = np.random.default_rng(sum(name.encode()))
    images = rng.integers(1, 255, (1, 4, side, side)) + np.zeros((dates, 1, 1, 1), np.int64)
    return Area(name, images.astype(np.uint8), FIRST + 30 * np.arange(dates))


def test_content_of_another_area_lies_there_from_the_date_on_that_the_label_says() -> None:
    base = area("a", side=96)
    scene = inserted(np.random.default_rng(3), base, [base, area("b", side=96)])
    before = base.values()
    assert scene.label is not None
    assert (scene.label > 0).any()
    moved = np.abs(scene.images - before)[:, :3].max(axis=1) > 0.01
    for k in np.unique(scene.label[scene.label > 0]):
        assert moved[k][scene.label == k].mean() > 0.9
    assert moved[:, scene.label == 0].mean() < 0.1  # feathered edges


def test_scores_are_those_counted_by_hand() -> None:
    label = np.array([[1, 1, 0, 0, -1]])
    changes = Changes(
        np.array([[0.5, -0.5, 0.5, -0.5, 0.5]], np.float32),
        np.array([[10, 10, 10, 10, 10]], np.float32),
        label,
        np.array([[50, 50, 50, 50, 50]], np.float32),
    )
    assert score([changes], 0.0) == {"area_f1": 0.5, "days_off": 40.0, "within_a_month": 0.0}
    assert score([changes], -1.0)["area_f1"] == pytest.approx(2 * 2 / (2 * 2 + 2), abs=1e-4)


def test_medians_are_of_what_is_clear_and_gaps_carry_on() -> None:
    images = np.array([1, 3, 9, 100, 7], np.uint16)[:, None, None, None] * np.ones(
        (1, 1, 1, 2), np.uint16
    )
    days = np.array([FIRST, FIRST + 10, FIRST + 20, FIRST + 30, FIRST + 100])
    missing = np.zeros((5, 1, 2), np.bool_)
    missing[3] = True
    missing[4, 0, 1] = True
    quarters = composites(Area("a", images, days, missing=missing))
    assert np.allclose(quarters.images[:, 0, 0] * 10000, [[3, 3], [7, 3]])
    assert list(quarters.days) == [FIRST + 15, FIRST + 100]


def test_the_benchmark_writes_a_row_for_each_way_and_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"in_channels": 4, "num_dates": 3, "width": 8}
    facts = {"num_dates": 3, "bands": ["red", "green", "blue", "alpha"], "pixel_scale": "auto"}
    save_checkpoint(
        tmp_path / "w.pth",
        Checkpoint("caim_net", arguments, CAIMNet(**arguments).state_dict(), data=facts),
    )
    for name in ("a", "b"):
        images = area(name, 5).images[:, :3]
        for month, image in enumerate(images, start=1):
            path = tmp_path / "series" / name / f"2019_{month:02}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_raster(path, image)
    common = ["--checkpoint", str(tmp_path / "w.pth"), "--side", "16"]
    for _ in range(2):  # rows of the same weights and seed are replaced
        long_series.main(
            ["--series", str(tmp_path / "series"), "--results", str(tmp_path / "r.csv"), *common]
        )
    rows = read_csv_rows(tmp_path / "r.csv")
    assert [(row["dates"], row["split"]) for row in rows] == [
        (way, split) for way in ("even", "all", "step detector") for split in ("val", "test")
    ]
    kept: list[dict[str, Any]] = []
    asked: list[Any] = []

    def in_process(program: str, *flags: Any) -> tuple[float, float]:
        asked.append(flags[1])
        long_series.main([str(flag) for flag in flags])
        return 1.0, 0.25

    monkeypatch.setattr(long_series, "run_program_measured", in_process)
    monkeypatch.setattr(long_series, "report", lambda _, facts, rows, key: kept.extend(rows))
    long_series.main([*common, "--cost", "--lengths", "3", "5", "--rounds", "1"])
    assert [(row["dates"], row["windows"]) for row in kept] == [(3, 1), (5, 3)]
    assert [row["peak_mb"] for row in kept] == [250, 250]
    assert asked == [3, 5]
