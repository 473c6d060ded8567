"""One's own six-band series of 12 dates with polygons: trained weights, scores, a map."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing import (
    Custom_create_xys,
    Custom_custom,
    Custom_Fsplit,
    layout_check,
    prepare_custom,
    series_pairs,
)
from models.weights.checkpoint import load_checkpoint
from tests.helpers.cities import write_weights
from tests.helpers.custom_city import DAYS, write_polygons
from tests.helpers.scene_files import write_raster
from utils.errors import run_program

BANDS = "blue,green,red,nir,swir1,swir2"
SIDE, T = 64, 12
SMALL = ("--patch-size", "16", "--stride", "16")
QUICK = ("--batch-size", "8", "--num-workers", "0", "--device", "cpu")


def write_place(folder: Path, seed: int) -> tuple[Path, Path]:
    """Images of one place, and polygons of what changed there."""
    rng = np.random.default_rng(seed)
    origin = (500_000.0 + 10_000 * seed, 5_000_000.0)
    ground = rng.integers(500, 900, (6, SIDE, SIDE))
    for number, day in enumerate(DAYS[:T]):
        image = ground + rng.integers(-20, 20, ground.shape)
        if number >= 5:
            image[:, 12:17, 4:24] += 3000
        write_raster(folder / "images" / f"{day}.tif", image.astype(np.uint16), origin=origin)
    polygons = write_polygons(folder / "changes.geojson", [((12, 4, 5, 20), DAYS[5])])
    moved = polygons.read_text().replace("500012.0", str(origin[0] + 12))
    polygons.write_text(moved.replace("500072.0", str(origin[0] + 72)))
    return folder / "images", polygons


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images and polygons of three places, and the data root made from them."""
    folder = tmp_path_factory.mktemp("eigene Daten")
    for seed, split in enumerate(("train", "val", "test")):
        images, polygons = write_place(folder / split, seed)
        names = ["--band-names", BANDS] if seed == 0 else []
        prepare_custom.main([
            "--images", str(images), "--polygons", str(polygons), "--dataset", "custom",
            "--split", split, "--name", f"place{seed}", "--data-root", str(folder / "data"), *names,
        ])  # fmt: skip
    return folder


def call(
    monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], folder: Path, *flags: str
) -> int:
    """The exit code of a program's main function, run in a folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["program.py", *flags])
    with pytest.raises(SystemExit) as left:
        run_program(main)
    return int(left.value.code or 0)


def test_the_layout_holds_bands_dates_and_labels_and_is_sound(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads((base / "data/Images_Custom/dataset.json").read_text())
    assert facts["bands"] == BANDS.split(",")
    assert (facts["num_dates"], facts["pixel_scale"], facts["gsd"]) == (T, "auto", 3.0)
    scene = base / "data/Images_Custom/train/place0"
    with rasterio.open(scene / "change/multi_change.tif") as raster:
        moment = raster.read(1)
    assert set(np.unique(moment)) == {0, 5}
    assert (moment[12:17, 4:24] == 5).all()
    with rasterio.open(scene / f"images/{DAYS[0]}.tif") as raster:
        assert raster.descriptions == tuple(BANDS.split(","))
    for main in (Custom_Fsplit.main, Custom_create_xys.main, Custom_custom.main):
        assert call(monkeypatch, main, base, "--data-root", "data") == 0
    root = ("--data-root", "data", "--dataset", "custom")
    assert call(monkeypatch, layout_check.main, base, *root) == 0
    assert call(monkeypatch, series_pairs.main, base, *root, "--output-dir", "pairs") == 0
    with rasterio.open(base / "pairs/test/A/place2.tif") as raster:
        assert raster.count == 3
    shown = capsys.readouterr().out
    assert f"expected {T} dates and 6 bands (blue, green, red, nir, swir1, swir2)" in shown
    assert "index of val: 1 scenes, 1 patches" in shown


def test_it_is_learnt_from_other_weights_on_scored_and_mapped(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--data-root", "data")
    write_weights(base / "six dates.pth")
    assert call(monkeypatch, Custom_create_xys.main, base, *root, *SMALL) == 0
    flags = (*root, *SMALL, *QUICK, "--checkpoint", "six dates.pth", "--epochs", "1",
             "--output-dir", "run")  # fmt: skip
    train, test, predict = (
        importlib.import_module(name).main for name in ("Train_Custom", "Test_Custom", "Predict")
    )
    assert call(monkeypatch, train, base, *flags) == 0
    shown = capsys.readouterr().out
    assert "16 stretched from 6 dates to 12, bands blue, green, red, nir of the first" in shown
    assert "new bands, which begin without effect: swir1, swir2" in shown
    weights = load_checkpoint(base / "run/best.pth")
    assert weights.data["bands"] == BANDS.split(",")
    assert (weights.data["num_dates"], weights.data["pixel_scale"]) == (T, "auto")
    taken = ("--checkpoint", "run/best.pth")
    scored = (*root, *taken, *QUICK, "--output-dir", "scores")
    assert call(monkeypatch, test, base, *scored) == 0
    scores = json.loads((base / "scores/metrics.json").read_text())
    assert np.sum(scores["confusion_matrix"]["moment"]) == SIDE * SIDE
    assert scores["protocol"]["patch_size"] == 16
    mapped = (*taken, "--images", "test/images", "--output-dir", "map", "--device", "cpu")
    assert call(monkeypatch, predict, base, *mapped) == 0
    summary: dict[str, Any] = json.loads((base / "map/summary.json").read_text())
    assert summary["checkpoint"]["bands"] == BANDS.split(",")
    with rasterio.open(base / "map/change_moment.tif") as raster:
        assert raster.read(1).max() < T
