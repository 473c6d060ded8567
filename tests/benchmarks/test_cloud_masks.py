"""Counts of computed masks beside those of an agency."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cloud_masks
from data_processing.own_series import computed_clouds
from tests.helpers.scene_files import write_raster
from utils.files import read_csv_rows


def test_hidden_pixels_are_counted_by_the_agencys_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("20200105", "20200205", "20200305"):
        values = np.full((4, 20, 20), 500, np.uint16)
        values[:, :10] = 7000  # what is taken for cloud
        mask = np.zeros((20, 20), np.uint8)
        mask[5:15] = 4  # cloud: half of it is bright
        mask[19] = 2
        mask[:, 0] = 255
        write_raster(tmp_path / f"images/a_{day}.tif", values)
        write_raster(tmp_path / f"masks/a_{day}.tif", mask)
    monkeypatch.setattr(computed_clouds, "_version", lambda: "0")
    monkeypatch.setattr(
        computed_clouds, "_classes", lambda image, names: (image[..., 0] > 0.5).astype(np.uint8)
    )
    monkeypatch.setattr(computed_clouds, "GSD", 3.0)
    flags = ["--images", str(tmp_path / "images"), "--masks", str(tmp_path / "masks"), "--step",
             "1", "--results", str(tmp_path / "row.csv")]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["cloud_masks.py", *flags])
    cloud_masks.main()
    (row,) = read_csv_rows(tmp_path / "row.csv")
    assert (row["images"], row["pixels"]) == ("3", str(3 * 20 * 19))
    assert float(row["cloud_hidden"]) == 0.5
    assert float(row["clear_hidden"]) == pytest.approx(5 / 9, abs=1e-4)
    assert float(row["shadow_hidden"]) == 0.0
