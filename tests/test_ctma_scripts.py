"""Train_CTMA.py and Test_CTMA.py from the command line to the files they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import rasterio
import torch

from models import CTMA
from tests.helpers.pair_files import change_label, write_pair, write_pairs
from tests.test_scripts import Outcome, inside
from utils.files import read_csv_rows

__all__ = ["inside"]  # a fixture

pytestmark = pytest.mark.slow

TRAIN = ("--epochs", "2", "--batch-size", "2", "--width", "2", "--device", "cpu")
SMALL: dict[str, Any] = {"pair_widths": (2, 4, 8), "video_widths": (4, 8),
                         "decoder_widths": (16, 8, 4, 2), "resnet_width": 4}  # fmt: skip


def done(outcome: Outcome) -> str:
    code, shown, errors = outcome
    assert code == 0, errors
    return shown


def scores(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return content


def released_file(path: Path) -> Path:
    torch.manual_seed(0)
    torch.save({"epoch": 1, "state_dict": CTMA(**SMALL).state_dict()}, path)
    return path


def test_training_and_testing_a_folder_of_pairs(inside: Any, tmp_path: Path) -> None:
    write_pairs(tmp_path / "mes données", count=4, size=(32, 32), suffix=".tif")
    run = tmp_path / "run"
    done(inside("Train_CTMA", "--data-root", "mes données", "--output-dir", "run", *TRAIN))
    assert {"last.pth", "best.pth", "metrics.csv", "learning_curve.png"} <= {
        path.name for path in run.iterdir()
    }
    rows = read_csv_rows(run / "metrics.csv")
    assert {"train_loss", "train_loss_aux", "val_area_f1", "val_area_iou"} <= set(rows[0])
    stored = json.loads((run / "settings.json").read_text(encoding="utf-8"))
    assert (stored["lr"], stored["fusion_weights"], stored["repeats"]) == (4e-4, [0.5, 0.5], 1)

    shown = done(inside("Test_CTMA", "--dataset", "folder", "--data-root", "mes données",
                        "--subset", "test", "--checkpoint", "run/best.pth", "--fusion-weights",
                        "0.67", "0.33", "--output-dir", "out", "--device", "cpu"))  # fmt: skip

    assert "fused by 0.67 0.33" in shown
    assert {"precision", "recall", "f1", "oa", "iou"} <= set(scores(tmp_path / "out")["area"])
    for number in range(4):
        label = change_label(32, 32, 20 + number)
        png = iio.imread(tmp_path / f"out/maps/{number:03d}.png")
        assert png.shape == label.shape
        assert set(np.unique(png)) <= {0, 255}
        with rasterio.open(tmp_path / f"out/maps/{number:03d}.tif") as raster:
            assert raster.crs.to_epsg() == 32633
            assert np.array_equal(raster.read(1) * 255, png)
            assert {Path(file).suffix for file in raster.files} == {".tif", ".xml"}
        assert (tmp_path / f"out/maps/{number:03d}.qml").is_file()
        assert (tmp_path / f"out/overviews/{number:03d}.png").is_file()


def test_training_goes_on_with_the_authors_resume(inside: Any, tmp_path: Path) -> None:
    write_pairs(tmp_path / "d", ["train", "val"], size=(16, 16))
    done(inside("Train_CTMA", "train", "--data_root", "d", "--output_dir", "run", *TRAIN))
    done(inside("Train_CTMA", "train", "--resume", "run/last.pth", "--num_epochs", "3"))
    assert len(read_csv_rows(tmp_path / "run/metrics.csv")) == 3


def test_a_released_file_is_scored_with_the_data_sets_fusion_weights(
    inside: Any, tmp_path: Path
) -> None:
    write_pair(tmp_path / "LEVIR/test", "test_1/test_1_1.png", (32, 32))
    released_file(tmp_path / "model_best_p2v.pth")
    done(inside("Test_CTMA", "eval", "--dataset", "levir", "--data-root", "LEVIR", "--resume",
                "model_best_p2v.pth", "--save_on", "--output-dir", "out"))  # fmt: skip
    protocol = scores(tmp_path / "out")["protocol"]
    assert protocol["checkpoint"]["arguments"]["fusion_weights"] == [0.67, 0.33]
    assert (tmp_path / "out/maps/test_1_1.png").is_file()
    assert not (tmp_path / "out/maps/test_1_1.tif").exists()


def test_windows_and_whole_pairs_of_any_size_count_every_pixel(inside: Any, tmp_path: Path) -> None:
    write_pair(tmp_path / "d/test", "a.png", (40, 45))
    write_pair(tmp_path / "d/test", "b.png", (24, 70), seed=1)
    released_file(tmp_path / "w.pth")
    common = ("--data-root", "d", "--checkpoint", "w.pth", "--no-save-on")
    done(inside("Test_CTMA", *common, "--output-dir", "whole"))
    done(inside("Test_CTMA", *common, "--window-size", "32", "--stride", "8", "--batch-size", "5",
                "--output-dir", "windows"))  # fmt: skip
    for folder in ("whole", "windows"):
        pairs = scores(tmp_path / folder)["pairs"]
        assert {name: row["pixels"] for name, row in pairs.items()} == {"a": 1800, "b": 1680}
        assert not (tmp_path / folder / "maps").exists()


def test_one_window_over_a_pair_gives_the_map_of_the_whole_pair(
    inside: Any, tmp_path: Path
) -> None:
    write_pair(tmp_path / "d/test", "a.png", (32, 32))
    released_file(tmp_path / "w.pth")
    common = ("--data-root", "d", "--checkpoint", "w.pth", "--threshold", "0.4")
    done(inside("Test_CTMA", *common, "--output-dir", "whole"))
    done(
        inside(
            "Test_CTMA", *common, "--window-size", "32", "--stride", "32", "--output-dir", "window"
        )
    )
    whole, window = (iio.imread(tmp_path / name / "maps/a.png") for name in ("whole", "window"))
    assert np.array_equal(whole, window)


def test_wrong_weights_and_missing_ones_are_told(inside: Any, tmp_path: Path) -> None:
    from models import CAIMNet
    from models.weights.checkpoint import Checkpoint, save_checkpoint

    arguments = {"in_channels": 4, "num_dates": 6, "width": 8}
    other = Checkpoint("caim_net", arguments, CAIMNet(**arguments).state_dict())
    save_checkpoint(tmp_path / "caim.pth", other)
    write_pair(tmp_path / "d/test", "a.png", (32, 32))
    (tmp_path / "d/Images_Dynamic").mkdir()
    code, _, errors = inside("Test_CTMA", "--checkpoint", "caim.pth", "--data-root", "d")
    assert code == 2
    assert "weights of caim_net" in errors
    code, _, errors = inside("Test_CTMA", "--data-root", "d")
    assert code == 2
    assert "--checkpoint: found none" in errors
    released_file(tmp_path / "ctma.pth")
    code, _, errors = inside("Test_Dynamic", "--checkpoint", "ctma.pth", "--data-root", "d")
    assert code == 2
    assert "score them by Test_CTMA.py" in errors


def test_pairs_of_several_sizes_need_a_patch_size_in_training(inside: Any, tmp_path: Path) -> None:
    write_pair(tmp_path / "d/train", "a.png", (32, 32))
    write_pair(tmp_path / "d/train", "b.png", (32, 48))
    write_pair(tmp_path / "d/val", "a.png", (32, 32))
    code, _, errors = inside("Train_CTMA", "--data-root", "d", *TRAIN)
    assert code == 2
    assert "1 of 32×32, 1 of 32×48" in errors
    assert "--patch-size" in errors
    done(inside("Train_CTMA", "--data-root", "d", *TRAIN, "--patch-size", "16",
                "--output-dir", "run"))  # fmt: skip


def test_imagenet_weights_are_read_from_a_file_and_only_then(inside: Any, tmp_path: Path) -> None:
    from models.resnet34 import ResNet34

    write_pairs(tmp_path / "d", ["train", "val"], size=(16, 16))
    torch.save(ResNet34(3, width=4).state_dict(), tmp_path / "r.pth")
    shown = done(inside("Train_CTMA", "--data-root", "d", *TRAIN, "--resnet34", "r.pth",
                        "--output-dir", "run"))  # fmt: skip
    assert "ResNet-34 starts from" in shown
    code, _, errors = inside("Train_CTMA", "--data-root", "d", "--resnet34", "r.pth")
    assert code == 2
    assert "do not fit ResNet-34" in errors


def test_training_starts_from_released_weights_and_keeps_their_form(
    inside: Any, tmp_path: Path
) -> None:
    write_pairs(tmp_path / "d", ["train", "val"], size=(16, 16))
    released_file(tmp_path / "w.pth")
    shown = done(inside("Train_CTMA", "train", "--data-root", "d", "--resume", "w.pth", "--epochs",
                        "1", "--batch-size", "2", "--fusion-weights", "0.7", "0.3", "--output-dir",
                        "run"))  # fmt: skip
    assert "built as in that file" in shown
    stored = torch.load(tmp_path / "run/last.pth", weights_only=True)["arguments"]
    assert tuple(stored["pair_widths"]) == SMALL["pair_widths"]
    assert tuple(stored["fusion_weights"]) == (0.7, 0.3)


def test_training_refuses_weights_of_the_other_network(inside: Any, tmp_path: Path) -> None:
    from models import CAIMNet
    from models.weights.checkpoint import Checkpoint, save_checkpoint

    write_pairs(tmp_path / "d", ["train", "val"], size=(16, 16))
    arguments = {"in_channels": 4, "num_dates": 6, "width": 8}
    other = Checkpoint("caim_net", arguments, CAIMNet(**arguments).state_dict())
    save_checkpoint(tmp_path / "caim.pth", other)
    code, _, errors = inside("Train_CTMA", "--data-root", "d", "--checkpoint", "caim.pth")
    assert code == 2
    assert "weights of caim_net, expected ctma" in errors
