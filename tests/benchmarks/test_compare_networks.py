"""Both networks on the same scenes: pairs out of series, scores and costs side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.compare_networks import FirstAndLast, main
from data_processing import series_pairs
from data_processing.pairs.dataset import PairDataset, open_pair_split, whole
from data_processing.pairs.spec import FOLDER
from data_processing.scenes.dataset import cover_split
from data_processing.scenes.spec import DYNAMIC
from models import CAIMNet
from models.weights.checkpoint import Checkpoint, save_checkpoint
from tests.helpers.scene_files import write_data_root
from tests.models.test_ctma import SMALL, small
from utils.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    splits = {"train": 1, "val": 1, "test": 2}
    return write_data_root(tmp_path / "data", "Dynamic", splits, (32, 40), patch_size=32, stride=32)


def saved(folder: Path) -> list[str]:
    arguments = {"in_channels": 4, "num_dates": 6, "width": 8}
    torch.manual_seed(0)
    caim = Checkpoint("caim_net", arguments, CAIMNet(**arguments).state_dict())
    save_checkpoint(folder / "caim.pth", caim)
    save_checkpoint(folder / "ctma.pth", Checkpoint("ctma", SMALL, small().state_dict()))
    return ["--caim", str(folder / "caim.pth"), "--ctma", str(folder / "ctma.pth")]


def test_a_pair_holds_the_visible_bands_of_the_first_and_the_last_date(
    root: Path, tmp_path: Path
) -> None:
    series_pairs.main(["--dataset", "dynamic", "--data-root", str(root),
                       "--output-dir", str(tmp_path / "pairs")])  # fmt: skip

    scale = "reflectance" if "uint16" in str(_dtype(root)) else "auto"
    pairs = open_pair_split(tmp_path / "pairs", FOLDER, "test", pixel_scale=scale)  # type: ignore[arg-type]
    series = cover_split(root, DYNAMIC, "test", 40)
    for number in range(2):
        pair, scene = PairDataset(pairs, whole(pairs))[number], series[number]
        expected = scene["images"][[0, -1]][:, [2, 1, 0], :32, :40]
        assert torch.allclose(pair["images"], expected, atol=1e-6)
        assert torch.equal(pair["area_label"], scene["area_label"][:32, :40])


def _dtype(root: Path) -> np.dtype[np.generic]:
    import rasterio

    with rasterio.open(next(root.rglob("train_images/*.tif"))) as raster:
        return np.dtype(raster.dtypes[0])


def test_ctma_sees_the_ends_of_a_series_only() -> None:
    network, images = small(), torch.rand(2, 6, 4, 16, 16)
    pair = images[:, [0, 5]][:, :, [2, 1, 0]]
    changed = images.clone()
    changed[:, 1:5] = 0
    found = FirstAndLast(network, (2, 1, 0)).predict(changed).area_prob
    assert torch.equal(found, network.predict(pair).area_prob)


@pytest.mark.slow
def test_both_networks_are_scored_on_the_same_pixels(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # in a process of its own each, see test_data.py
    monkeypatch.setattr("benchmarks.compare_networks.peak_gb", lambda *_: 0.5)
    main(["--data-root", str(root), *saved(tmp_path), "--patch-size", "32", "--rounds", "1",
          "--batch-size", "2", "--output-dir", str(tmp_path)])  # fmt: skip
    rows = json.loads((tmp_path / "compare_networks.json").read_text(encoding="utf-8"))["rows"]
    assert [row["network"] for row in rows] == ["caim", "ctma"]
    assert [row["sees"] for row in rows] == ["6 dates × 4 bands", "2 dates × 3 bands"]
    for row in rows:
        assert 0 <= row["area_f1"] <= 1
        assert min(row["parameters"], row["gflop_per_patch"], row["peak_gb"]) > 0


def test_weights_of_the_other_network_are_refused(root: Path, tmp_path: Path) -> None:
    _, caim, _, ctma = saved(tmp_path)
    with pytest.raises(UserError, match="expected weights of CAIM-Net for 6 dates"):
        main(["--data-root", str(root), "--caim", ctma, "--ctma", caim, "--patch-size", "32"])
