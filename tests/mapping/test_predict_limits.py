"""Predict.py within its memory, on a disk that fills up, and gone on with by other masks."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.env import get_gdal_config

from data_processing.own_series.series import RasterSeries
from tests.helpers.cities import DATES, Outcome, summary_of, write_city
from tests.helpers.scene_files import write_raster
from utils.files import write_json

pytestmark = pytest.mark.slow

MAPS = ("change_area.tif", "change_moment.tif", "change_date.tif", "change_score.tif")


# ------------------------------------------------------------------------------------- memory


def test_memory_bounds_what_is_read_at_a_time_and_what_stays_decoded(
    weights: Path, predict: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_city(tmp_path / "wide", (16, 1500))
    widths: list[int] = []
    read = RasterSeries.read

    def noted(self: RasterSeries, row: int, col: int, height: int, width: int) -> Any:
        widths.append(width)
        return read(self, row, col, height, width)

    monkeypatch.setattr(RasterSeries, "read", noted)
    monkeypatch.setattr("mapping.area.PeakMeter.peak", lambda self: 0.0)  # of this test's Python
    flags = ("--images", "wide", "--checkpoint", weights, "--overwrite", "--output-dir", "out")
    code, _, said = predict(*flags, "--memory", "0.1")
    assert (code, widths, "--memory: found 0.1 GB" in said) == (2, [], True)
    used = []
    for memory in (0.125, 200):
        widths.clear()
        code, _, said = predict(*flags, "--memory", memory)
        assert code == 0, said
        used.append((max(widths), int(get_gdal_config("GDAL_CACHEMAX"))))
    (little, little_cache), (much, much_cache) = used
    assert little < 1300
    assert much >= 1500
    assert little_cache < much_cache


# -------------------------------------------------------------------------------------- clouds


def write_masks(folder: Path, column: int) -> Path:
    for date in DATES:
        mask = np.zeros((40, 53), np.uint8)
        mask[:, column] = 1
        write_raster(folder / f"mask_{date}.tif", mask)
    return folder


def test_a_run_is_not_gone_on_with_by_other_cloud_masks(
    weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    write_city(tmp_path / "city", (40, 53))
    one, other = (write_masks(tmp_path / f"masks{n}", n) for n in (1, 2))
    flags = ("--images", "city", "--checkpoint", weights, "--output-dir", "out")
    assert predict(*flags, "--clouds", one)[0] == 0
    job = summary_of(tmp_path / "out")["job"]
    for clouds in (("--clouds", other), ()):
        code, _, said = predict(*flags, *clouds, "--resume")
        assert (code, "images: mask_2018-01-15.tif" in said) == (2, True), said
    # the same for a run that was stopped
    unfinished(tmp_path / "out", job)
    for clouds in (("--clouds", other), ()):
        code, _, said = predict(*flags, *clouds, "--resume")
        assert (code, "images: mask_2018-01-15.tif" in said) == (2, True), said


def unfinished(folder: Path, job: dict[str, Any]) -> None:
    """Let a finished run look like one that was stopped."""
    (folder / "summary.json").unlink()
    write_json(folder / ".unfinished/job.json", job)


# ------------------------------------------------------------------------------------ a full disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk of its own, whose size can be changed: gives its folder."""
    folder, mount, unmount = tmp_path / "disk", shutil.which("mount"), shutil.which("umount")
    if mount is None or unmount is None:
        pytest.skip("needs mount")
    folder.mkdir()

    def sized(size: str) -> Path:
        again = "remount," if folder.is_mount() else ""
        command = [mount, "-t", "tmpfs", "-o", f"{again}size={size}", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this test may not mount a disk")
        return folder

    yield sized
    if folder.is_mount():
        subprocess.run([unmount, "-l", str(folder)], check=True)


@pytest.mark.parametrize("size", ["40k", "64k", "100k", "200k"])
def test_a_disk_that_fills_up_ends_the_run_with_nothing_under_a_final_name(
    size: str, disk: Callable[[str], Path], weights: Path, predict: Callable[..., Outcome],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    write_city(tmp_path / "city", (90, 60))
    monkeypatch.setattr("mapping.area.DISK_PER_PIXEL", 0)  # nothing is foreseen
    monkeypatch.setattr("mapping.area.DISK_FOR_PICTURES", 0)
    folder = disk(size) / "out"
    flags = ("--images", "city", "--checkpoint", weights, "--polygons", "--output-dir", folder)
    code, _, said = predict(*flags)
    assert (code, "the disk is full" in said) == (1, True), said
    assert {path.name for path in folder.iterdir()} <= {
        ".unfinished", ".lock", "settings.json", "environment.json",
    }  # fmt: skip
    disk("72m")
    code, _, said = predict(*flags, "--resume")
    assert code == 0, said
    assert {path.name for path in folder.iterdir()} >= {*MAPS, "changes.geojson", "summary.json"}
