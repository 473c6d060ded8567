"""A data set is one specification: five bands, twelve dates; all else follows from it."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rasterio.crs import CRS
from rasterio.transform import from_origin

from data_processing.rasters.reading import RasterInfo
from data_processing.raw.plan import Plan, SceneTask
from data_processing.raw.preparation import prepare
from data_processing.scenes import spec as specs
from data_processing.scenes.augmentation import FlipRotate
from data_processing.scenes.check import check_data_root
from data_processing.scenes.dataset import cover_split, open_splits
from data_processing.scenes.inspection import describe, draw_one_patch
from data_processing.scenes.patch_index import write_patch_index
from data_processing.scenes.spec import SPLITS, DatasetSpec, spec_by_name
from data_processing.scenes.splits import read_scene_list, write_scene_lists
from data_processing.scenes.writing import write_scene
from models import CAIMNet
from tests.data_processing.raw.test_preparation import flags
from tests.helpers.one_pass import one_pass
from training.plan import TrainingPlan
from training.tasks import CaimTask
from utils.batches import Batches

YEARLY = DatasetSpec(
    name="Yearly",
    title="Yearly composites",
    num_dates=12,
    bands=("blue", "green", "red", "nir", "swir"),
    visible_bands=(2, 1, 0),
    gsd=30.0,
    image_folder="composites",
    image_name=r"composite_(?P<date>\d{4}-\d{2}-\d{2})\.tif",
    image_format="composite_{date}.tif",
    image_example="composite_2001-07-01.tif",
    area_file="labels/area.tif",
    moment_file="labels/moment.tif",
    alpha_band=None,
    scene_name=None,
    scene_example="P001R002",
    patch_size=16,
    stride=8,
)
DATES = [datetime.date(2001 + year, 7, 1) for year in range(12)]
SIDE = 32


def write_yearly(task: SceneTask, folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(task.work)
    corner = from_origin(500_000 + 10_000 * task.work, 5_000_000, 30, 30)
    place = RasterInfo(SIDE, SIDE, 5, "uint16", CRS.from_epsg(32633), corner, None)
    moment = np.zeros((SIDE, SIDE), np.uint8)
    for k in range(1, 12):
        moment[2 * k : 2 * k + 2, : SIDE // 2] = k
    images = []
    for number, date in enumerate(DATES):
        image = rng.integers(500, 1500, (5, SIDE, SIDE))
        image[:, (moment > 0) & (moment <= number)] += 4000
        images.append((YEARLY.image_file(date, task.name), image.astype(np.uint16)))
    return write_scene(folder, YEARLY, images, place, moment)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    tasks = [
        SceneTask(f"P00{number}", split, f"area {number}", 10**6, [],
                  {"dates": [str(date) for date in DATES]}, number)
        for number, split in enumerate(SPLITS)
    ]  # fmt: skip
    plan = Plan("prepare_yearly.py", 1, YEARLY, tmp_path, {}, {}, {}, tasks)
    prepare(plan, write_yearly, flags())
    return tmp_path


def test_it_is_listed_by_its_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specs, "DATASETS", (*specs.DATASETS, YEARLY))
    assert spec_by_name("yearly") is YEARLY


def test_it_is_prepared_listed_indexed_and_sound(root: Path) -> None:
    assert (root / "Images_Yearly/train/P000/composites/composite_2012-07-01.tif").is_file()
    write_scene_lists(root, YEARLY)
    write_patch_index(root, YEARLY, YEARLY.patch_size, YEARLY.stride)
    (scene,) = read_scene_list(root, YEARLY, "val")
    assert scene == root / "Images_Yearly/val/P001"
    assert (root / "Yearly_xys_16_8/myxys_val.csv").is_file()
    report = check_data_root(root, YEARLY)
    assert not report.faults
    assert not report.warnings
    table = "\n".join(describe(report))
    assert "expected 12 dates and 5 bands (blue, green, red, nir, swir)" in table
    assert "2001-07-01 … 2012-07-01 (12)" in table
    draw_one_patch(report, 16, 8, root / "patch.png")
    assert (root / "patch.png").stat().st_size > 1000


def test_it_is_read_with_its_facts(root: Path) -> None:
    (patches,) = open_splits(root, YEARLY, {"train": FlipRotate(0)})
    assert len(patches) == 9
    sample = patches[4]
    assert sample["images"].shape == (12, 5, 16, 16)
    assert float(sample["images"].max()) < 1.0  # 16-bit / 10000
    assert int(sample["moment_label"].max()) > 5
    assert sample["valid"].all()
    assert len(cover_split(root, YEARLY, "test")) == 4
    facts = YEARLY.facts(16)
    assert (facts["num_dates"], len(facts["bands"])) == (12, 5)


def test_it_is_learnt(root: Path) -> None:
    (patches,) = open_splits(root, YEARLY, {"train": None})
    torch.manual_seed(0)
    network = CAIMNet(len(YEARLY.bands), YEARLY.num_dates, width=8)
    before = [p.detach().clone() for p in network.parameters()]
    batches = Batches(patches, 3, device=torch.device("cpu"))
    plan = TrainingPlan(epochs=1, lr=1e-3)
    optimizer = torch.optim.Adam(network.parameters())
    done = one_pass(network, CaimTask(YEARLY.num_classes), batches, plan, 0, optimizer)
    assert np.isfinite(done.losses["loss"])
    changed = [not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert np.mean(changed) > 0.9
