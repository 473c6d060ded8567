"""Train_*.py and Test_*.py from the command line to the files they leave."""

from __future__ import annotations

import csv
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import torch

from models import CAIMNet
from models.weights.checkpoint import Checkpoint, save_checkpoint
from models.weights.released_caim import from_released
from tests.helpers.oracle import random_released_state
from tests.helpers.scene_files import scene_folder, write_data_root, write_raster
from utils.errors import run_program
from utils.files import read_csv_rows, sha256
from utils.settings import REPOSITORY

NAMES = ["Dynamic", "SpaceNet7"]
DATES = {"Dynamic": 6, "SpaceNet7": 9}
SMALL = ("--patch-size", "32", "--stride", "32", "--num-workers", "0", "--batch-size", "4")
TRAIN = (*SMALL, "--width", "8", "--epochs", "1", "--device", "cpu")
TEST = ("--num-workers", "0", "--batch-size", "4", "--device", "cpu")
AREA = {"oa", "precision", "recall", "f1", "kappa", "iou", "miou", "fpr", "fnr"}
MOMENT = {
    "oa", "kappa", "precision_macro_all", "recall_macro_all", "f1_macro_all", "f1_macro_change",
    "iou_macro_change", "miou", "fpr", "fnr", "mae_steps", "mae_days",
}  # fmt: skip

pytestmark = pytest.mark.slow

Outcome = tuple[int, str, str]


def run(program: str, *flags: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, as users start it."""
    return subprocess.run(
        [sys.executable, str(REPOSITORY / program), *map(str, flags)],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.fixture
def inside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """A program's main function in this process: exit code, output, errors; saves the imports."""

    def call(program: str, *flags: str | Path) -> Outcome:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [f"{program}.py", *map(str, flags)])
        with pytest.raises(SystemExit) as left:
            run_program(importlib.import_module(program).main)
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return call


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name, data root and run folder of a small training, all under an unusual path."""
    name, base = request.param, tmp_path_factory.mktemp("mit Lücke 変化")
    root = write_data_root(
        base / "die daten", name, {"train": 2, "val": 1, "test": 2}, (72, 81),
        patch_size=32, stride=32,
    )  # fmt: skip
    flags = ("--data-root", root.name, "--output-dir", "mein lauf", *TRAIN)
    done = run(f"Train_{name}.py", *flags, cwd=base)
    assert done.returncode == 0, done.stderr
    return name, root, base / "mein lauf", done.stdout


def maps(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Moment map by scene."""
    found = {}
    for path in sorted(folder.glob("maps/*/change_moment.tif")):
        with rasterio.open(path) as raster:
            found[path.parent.name] = raster.read(1)
    return found


def report(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return content


# ------------------------------------------------------------------ training


def test_training_leaves_weights_table_curve_and_settings(trained: Any) -> None:
    name, _, folder, shown = trained
    assert {path.name for path in folder.iterdir()} == {
        "best.pth", "last.pth", "previous.pth", "metrics.csv", "timing.csv", "steps.jsonl",
        "learning_curve.png", "confusion.png", "validation_maps.png", "settings.json",
        "environment.json",
    }  # fmt: skip
    (row,) = read_csv_rows(folder / "metrics.csv")
    columns = {"train_loss", "val_loss", "val_area_f1", "val_moment_f1_macro_all"}
    columns |= {"val_moment_kappa", "learning_rate"}
    assert columns <= set(row)
    (timing,) = read_csv_rows(folder / "timing.csv")
    assert set(timing) == {"epoch", "seconds", "patches_per_second", "memory_gib"}
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert (settings["width"], settings["epochs"], settings["attention"]) == (8, 1, "spatial")
    assert "changed: " in shown
    assert "epochs 100 → 1" in shown
    assert "epoch 1/1" in shown
    assert "8 training, 4 validation patches" in shown
    content = torch.load(folder / "best.pth", weights_only=True)
    assert content["arguments"]["num_dates"] == DATES[name]
    assert content["data"]["name"] == name
    assert content["data"]["patch_size"] == 32
    assert content["training"]["settings"]["lr"] == 1e-4
    about = f"8 patches in the layout of {name}"  # the data do not say what made them
    assert content["training"]["about"] == about


def test_a_used_folder_is_refused_resumed_and_overwritten(
    tmp_path: Path, inside: Callable[..., Outcome]
) -> None:
    root = write_data_root(tmp_path, "dynamic", 1, 64, patch_size=32, stride=32)
    flags = ("--data-root", root, "--output-dir", tmp_path / "lauf", *TRAIN)
    assert inside("Train_Dynamic", *flags)[0] == 0
    code, _, errors = inside("Train_Dynamic", *flags)
    assert code == 2
    assert "--overwrite" in errors
    assert "--resume" in errors
    more = ("--output-dir", tmp_path / "lauf", "--resume", "--epochs", "2")
    code, shown, errors = inside("Train_Dynamic", *more)
    assert (code, "after epoch 1" in shown) == (0, True), errors
    assert "other settings than at first: epochs 1 → 2" in shown
    (line,) = (tmp_path / "lauf" / "resumed.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["changed"] == {"epochs": [1, 2]}
    table = tmp_path / "lauf" / "metrics.csv"
    assert [row["epoch"] for row in read_csv_rows(table)] == ["1", "2"]
    assert inside("Train_Dynamic", *flags, "--overwrite")[0] == 0
    assert [row["epoch"] for row in read_csv_rows(table)] == ["1"]


@pytest.mark.parametrize("name", NAMES)
def test_the_released_protocol_trains_and_tests_with_its_own_attention_and_weights(
    tmp_path: Path, inside: Callable[..., Outcome], name: str
) -> None:
    root = write_data_root(tmp_path, name, 1, 72, patch_size=32, stride=32)
    common = ("--data-root", root, "--output-dir")
    code, shown, errors = inside(
        f"Train_{name}", *common, tmp_path / "train", *TRAIN, "--protocol", "released"
    )
    assert code == 0, errors
    weights = tmp_path / "train" / "last.pth"
    arguments = torch.load(weights, weights_only=True)["arguments"]
    assert arguments["attention"] == "batch"
    assert tuple(arguments["cam_windows"]) == (4, 32, 32)
    settings = json.loads((tmp_path / "train" / "settings.json").read_text())
    assert (settings["drop_last"], settings["shuffle"]) == (True, False)
    assert settings["clip_norm"] == (None if name == "Dynamic" else 4.0)
    flags = ("--checkpoint", weights, "--protocol", "released", "--stride", "32", *TEST)
    code, shown, errors = inside(f"Test_{name}", *common, tmp_path / "test", *flags)
    assert code == 0, errors
    assert "change moment" in shown
    flags = ("--checkpoint", weights, "--batch-size", "8")
    code, _, errors = inside(f"Test_{name}", *common, tmp_path / "more", *flags)
    assert code == 2
    assert "--batch-size 4 or less" in errors


# ------------------------------------------------------------------ testing


def test_scoring_covers_and_counts_every_pixel_once(
    trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, root, weights, _ = trained
    (tmp_path / "anderswo").mkdir()
    flags = ("--data-root", root, "--checkpoint", weights / "best.pth", "--output-dir", "erg")
    done = run(f"Test_{name}.py", *flags, *TEST, cwd=tmp_path / "anderswo")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "anderswo" / "erg"
    scores = report(folder)
    assert set(scores["area"]) == AREA
    assert set(scores["moment"]) == MOMENT
    assert np.sum(scores["confusion_matrix"]["area"]) == 2 * 72 * 81
    assert np.sum(scores["confusion_matrix"]["moment"]) == 2 * 72 * 81
    assert scores["protocol"]["name"] == "full"
    assert scores["protocol"]["patch_size"] == 32
    assert scores["protocol"]["checkpoint"]["sha256"] == sha256(weights / "best.pth")
    assert all(0 <= scores["area"][key] <= 1 for key in AREA - {"kappa"})
    assert f"{100 * scores['area']['f1']:.2f}" in done.stdout
    assert len(scores["scenes"]) == 2
    assert {path.name for path in folder.iterdir()} == {
        "metrics.json", "maps", "settings.json", "environment.json",
        "reliability.json", "reliability.png",
    }  # fmt: skip
    for number in (1, 2):
        assert_maps_lie_on_their_scene(name, root, folder, number)


def assert_maps_lie_on_their_scene(name: str, root: Path, folder: Path, number: int) -> None:
    scene = scene_folder(root, name, "test", number)
    image = next(path for path in scene.rglob("*.tif") if path.parent.name != "change")
    target = folder / "maps" / scene.name
    assert (target / "overview.png").read_bytes().startswith(b"\x89PNG")
    with (
        rasterio.open(image) as given,
        rasterio.open(target / "change_area.tif") as area,
        rasterio.open(target / "change_moment.tif") as moment,
    ):
        for raster in (area, moment):
            assert (raster.crs, raster.transform) == (given.crs, given.transform)
            assert (raster.shape, raster.dtypes, raster.nodata) == (given.shape, ("uint8",), 255)
        values = moment.read(1)
        np.testing.assert_array_equal(area.read(1), values > 0)
        assert values.max() < DATES[name]
    shown = ElementTree.parse(target / "change_moment.qml").findall(".//paletteEntry")
    assert [entry.attrib["value"] for entry in shown] == [str(k) for k in range(DATES[name])]
    assert shown[1].attrib["label"].startswith("20")
    assert (target / "change_area.tif.aux.xml").is_file()


def test_the_released_protocol_scores_the_index_as_it_is(
    trained: Any, tmp_path: Path, inside: Callable[..., Outcome]
) -> None:
    name, root, weights, _ = trained
    flags = ("--data-root", root, "--checkpoint", weights / "best.pth", "--stride", "32")
    out = ("--output-dir", tmp_path / "erg", "--protocol", "released", "--patch-size", "32")
    code, _, errors = inside(f"Test_{name}", *flags, *out, *TEST)
    assert code == 0, errors
    scores = report(tmp_path / "erg")
    assert np.sum(scores["confusion_matrix"]["moment"]) == 2 * 4 * 32 * 32
    assert (scores["protocol"]["name"], scores["protocol"]["stride"]) == ("released", 32)
    for moment in maps(tmp_path / "erg").values():
        assert (moment[:64, :64] < DATES[name]).all()
        assert (moment[64:] == 255).all()
        assert (moment[:, 64:] == 255).all()


def by_hand(
    name: str, root: Path, state: dict[str, torch.Tensor], batch_size: int
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any]]:
    """The released test program's way: patch by patch in the order of the CSV, batch by batch.

    Returns:
        Moment map by scene, and the confusion matrix of all served pixels.
    """
    T, stride = DATES[name], 64 if name == "Dynamic" else 63
    scenes = [scene_folder(root, name, "test", number) for number in (1, 2)]
    images, labels = [], []
    for scene in scenes:
        paths = sorted(path for path in scene.rglob("*.tif") if path.parent.name != "change")
        images.append(np.stack([rasterio.open(path).read() for path in paths]))
        labels.append(rasterio.open(next(scene.glob("change/multi*.tif"))).read(1))
    index = root / f"{name}_xys_64_{stride}" / "myxys_test.csv"
    with index.open() as stream:
        rows = [tuple(map(int, row)) for row in list(csv.reader(stream))[1:]]
    released = from_released(state, 64)
    network = CAIMNet(**released.arguments)
    network.load_state_dict(released.state_dict)
    network.eval()
    moments = {scene.name: np.full(labels[0].shape, 255, np.uint8) for scene in scenes}
    matrix = np.zeros((T, T), int)
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        stack = [images[i][..., x : x + 64, y : y + 64] for x, y, i in batch]
        values = np.stack(stack).astype(np.float32) / (255 if name == "SpaceNet7" else 1)
        with torch.inference_mode():
            predicted = network(torch.from_numpy(values)).moment_prob.argmax(1).numpy()
        for (x, y, i), moment in zip(batch, predicted, strict=True):
            moments[scenes[i].name][x : x + 64, y : y + 64] = moment
            np.add.at(matrix, (labels[i][x : x + 64, y : y + 64], moment), 1)
    return moments, matrix


@pytest.mark.parametrize("name", NAMES)
def test_released_weights_give_the_maps_of_the_released_program(
    tmp_path: Path, inside: Callable[..., Outcome], name: str
) -> None:
    size, dtype = (128, "float32") if name == "Dynamic" else (127, "uint8")
    root = write_data_root(tmp_path, name, {"train": 1, "val": 1, "test": 2}, size, dtype=dtype)
    state = random_released_state(DATES[name], 8, (3, 64, 64))
    torch.save(state, tmp_path / "CAIMNet.pth")
    flags = ("--data-root", root, "--checkpoint", tmp_path / "CAIMNet.pth", "--batch-size", "3")
    out = ("--output-dir", tmp_path / "erg", "--protocol", "released", "--num-workers", "0")
    code, shown, errors = inside(f"Test_{name}", *flags, *out)
    assert code == 0, errors
    assert "33 tensors without effect dropped" in shown
    moments, matrix = by_hand(name, root, state, batch_size=3)
    found = maps(tmp_path / "erg")
    assert sorted(found) == sorted(moments)
    for scene, moment in moments.items():
        np.testing.assert_array_equal(found[scene], moment)
        assert len(np.unique(moment)) > 3
    assert report(tmp_path / "erg")["confusion_matrix"]["moment"] == matrix.tolist()


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_index_is_told_with_the_two_commands_that_make_it(
    tmp_path: Path, inside: Callable[..., Outcome], name: str
) -> None:
    root = write_data_root(tmp_path / "die daten", name, 1, 64, index=False)
    code, _, errors = inside(f"Train_{name}", "--data-root", root, "--output-dir", tmp_path / "x")
    assert code == 3
    assert f'data_processing/{name}_Fsplit.py --data-root "{root}"' in errors
    assert f'data_processing/{name}_create_xys.py --data-root "{root}"' in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("program", ["Train_Dynamic", "Test_SpaceNet7"])
def test_an_unknown_flag_is_told_with_what_was_meant(
    tmp_path: Path, inside: Callable[..., Outcome], program: str
) -> None:
    code, _, errors = inside(program, "--data-rot", tmp_path)
    assert code == 2
    assert "did you mean --data-root?" in errors


def test_a_missing_checkpoint_and_one_of_the_other_data_set_are_told(
    trained: Any, tmp_path: Path, inside: Callable[..., Outcome]
) -> None:
    name, root, weights, _ = trained
    other = next(each for each in NAMES if each != name)
    missing = ("--data-root", root, "--checkpoint", tmp_path / "none.pth")
    code, _, errors = inside(f"Test_{name}", *missing)
    assert (code, "none.pth: no such file" in errors) == (2, True)
    (tmp_path / f"Images_{other}").mkdir()
    swapped = ("--data-root", tmp_path, "--checkpoint", weights / "best.pth")
    code, _, errors = inside(f"Test_{other}", *swapped)
    assert code == 2
    assert f"{DATES[name]} dates of 4 bands, expected {DATES[other]}" in errors


def test_faults_of_the_data_are_told_all_at_once(
    tmp_path: Path, inside: Callable[..., Outcome]
) -> None:
    root = write_data_root(tmp_path, "dynamic", 1, 64, patch_size=32, stride=32)
    scene = scene_folder(root, "dynamic", "train")
    write_raster(scene / "change" / "multi_change.tif", np.full((64, 64), 9, np.uint8))
    next(scene.rglob("2018_05.tif")).unlink()
    out = ("--output-dir", tmp_path / "x")
    code, _, errors = inside("Train_Dynamic", "--data-root", root, *out, *TRAIN)
    assert code == 3
    assert "found 5 images" in errors
    assert "found values 9" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("program", "flag", "value"),
    [
        ("Train", "--batch-size", "0"),
        ("Train", "--epochs", "0"),
        ("Train", "--width", "6"),
        ("Train", "--lr", "-1"),
        ("Train", "--num-workers", "-1"),
        ("Train", "--moment-factors", "1,2"),
        ("Test", "--overlap", "64"),
        ("Test", "--batch-size", "0"),
        ("Test", "--patch-size", "30"),
    ],
)
def test_a_value_out_of_range_is_told_as_the_users_mistake(
    tmp_path: Path, inside: Callable[..., Outcome], program: str, flag: str, value: str
) -> None:
    root = write_data_root(tmp_path, "dynamic", 1, 64)
    arguments = {"in_channels": 4, "num_dates": 6, "width": 8}
    save_checkpoint(
        tmp_path / "a.pth", Checkpoint("caim_net", arguments, CAIMNet(**arguments).state_dict())
    )
    flags = {"--data-root": root, "--output-dir": tmp_path / "x", "--num-workers": "0"}
    usual = {"Train": {"--width": "8", "--epochs": "1"}, "Test": {"--checkpoint": "a.pth"}}
    given = flags | usual[program] | {flag: value}
    code, _, errors = inside(
        f"{program}_Dynamic", *(part for pair in given.items() for part in pair)
    )
    assert code == 2, errors
    assert "Traceback" not in errors
    assert value in errors or flag in errors
    assert not (tmp_path / "x").exists()  # a used folder would be refused next time


def test_a_scene_without_any_label_gets_its_maps(
    tmp_path: Path, inside: Callable[..., Outcome]
) -> None:
    root = write_data_root(tmp_path, "dynamic", 1, 64)
    unknown = np.full((64, 64), 255, np.uint8)
    scene = scene_folder(root, "dynamic", "test")
    for file in ("bi_change.tif", "multi_change.tif"):
        write_raster(scene / "change" / file, unknown, nodata=255, crs=None)
    torch.save(random_released_state(6, 8, (1, 64, 64)), tmp_path / "a.pth")
    flags = ("--data-root", root, "--checkpoint", "a.pth", "--output-dir", "erg")
    code, _, errors = inside("Test_Dynamic", *flags, "--batch-size", "1", "--num-workers", "0")
    assert code == 0, errors
    assert (maps(tmp_path / "erg")["Scene01"] < 6).all()
    scores = report(tmp_path / "erg")
    assert scores["scenes"]["Scene01"]["pixels"] == 0
    assert scores["moment"]["mae_days"] is None


def test_a_data_root_that_is_not_there_is_told(
    tmp_path: Path, inside: Callable[..., Outcome]
) -> None:
    torch.save(random_released_state(6, 8, (1, 64, 64)), tmp_path / "a.pth")
    flags = ("--data-root", tmp_path / "none", "--checkpoint", tmp_path / "a.pth")
    code, _, errors = inside("Test_Dynamic", *flags, "--batch-size", "1")
    assert code == 3
    assert str(tmp_path / "none") in errors
