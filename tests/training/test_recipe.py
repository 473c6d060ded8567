"""The training programs are the released recipe but for what docs/differences.md lists.

Every default stands here once more, so that none changes unnoticed.
"""

from __future__ import annotations

import importlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import Train_CTMA
from data_processing.pairs.spec import pair_spec_by_name
from data_processing.scenes.augmentation import OneOfSeven
from data_processing.scenes.spec import DYNAMIC, SPACENET7
from tests.helpers.easy_patches import ARGUMENTS, FACTS, TASK, EasyPatches, one_thread, state
from tests.helpers.pair_files import write_pairs
from tests.helpers.scene_files import write_data_root
from training.plan import TrainingPlan, adam
from training.program import CaimSettings, Experiment, caim_experiment, train

SPECS = {"Dynamic": DYNAMIC, "SpaceNet7": SPACENET7}

AS_RELEASED: dict[str, dict[str, Any]] = {
    "Dynamic": {
        "patch_size": 64, "stride": 64, "batch_size": 96, "lr_milestones": (100,),
        "area_factors": None, "moment_factors": None,
    },
    "SpaceNet7": {
        "patch_size": 64, "stride": 63, "batch_size": 64, "lr_milestones": (50,),
        "area_factors": (5.5, 1.0), "moment_factors": (5.5, *[1.0] * 8),
    },
}  # fmt: skip
AS_RELEASED_IN_BOTH = {
    "epochs": 100, "lr": 1e-4, "schedule": "step", "lr_factor": 0.5, "clip_norm": 4.0,
    "augment": False, "width": 64, "dropout": 0.1, "seed": 1, "precision": "float32",
    "random_crops": False, "insert_changes": 0.0, "average": None, "cam_start": "released",
}  # fmt: skip
OTHERWISE = {  # docs/differences.md
    "attention": "spatial", "cam": "shared", "shuffle": True, "drop_last": False,
    "ignore_invalid": True, "pixel_scale": "auto", "rebuild_optimizer": False, "weight_decay": 0.0,
}  # fmt: skip
WITHOUT_EFFECT_ON_WEIGHTS = {
    "data_root": Path("data"), "output_dir": None, "checkpoint": None, "overwrite": False,
    "resume": False, "num_workers": None, "cache": False, "max_memory": None, "recompute": False,
    "compile": False, "protocol": "ours", "recipe": "released", "device": "auto", "threads": None,
    "deterministic": False, "log_with": None,
}  # fmt: skip
RELEASED_IN_BOTH = {
    "shuffle": False, "drop_last": True, "ignore_invalid": False, "attention": "batch",
    "cam": "per_window", "rebuild_optimizer": True,
}  # fmt: skip
RELEASED: dict[str, dict[str, Any]] = {
    "Dynamic": {**RELEASED_IN_BOTH, "clip_norm": None, "pixel_scale": "stored"},
    "SpaceNet7": RELEASED_IN_BOTH,
}


def settings_of(name: str) -> Any:
    return importlib.import_module(f"Train_{name}").Settings()


@pytest.mark.parametrize("name", SPECS)
def test_every_default_is_the_released_one_or_a_listed_difference(name: str) -> None:
    settings = settings_of(name)
    defaults = {field.name: getattr(settings, field.name) for field in fields(settings)}
    assert defaults == {
        **AS_RELEASED[name], **AS_RELEASED_IN_BOTH, **OTHERWISE, **WITHOUT_EFFECT_ON_WEIGHTS
    }  # fmt: skip
    assert RELEASED[name] == importlib.import_module(f"Train_{name}").RELEASED


@pytest.mark.parametrize("name", [*SPECS, "CTMA"])
def test_the_optimiser_is_that_of_the_settings(name: str) -> None:
    settings = settings_of(name)
    rate = 1e-4
    if name == "CTMA":
        settings = Train_CTMA.with_recipe(settings, pair_spec_by_name("levir"))
        rate = 2e-3
    plan = TrainingPlan.from_settings(settings)
    (group,) = adam(torch.nn.Linear(2, 2), plan).param_groups
    chosen = {key: group[key] for key in ("lr", "betas", "eps", "weight_decay", "amsgrad")}
    assert chosen == {
        "lr": rate, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False
    }  # fmt: skip
    for field in fields(TrainingPlan):
        expected = getattr(settings, field.name)
        assert getattr(plan, field.name) == (() if field.name == "log_with" else expected)


@pytest.mark.parametrize("name", SPECS)
def test_the_settings_reach_network_and_loss(name: str) -> None:
    settings: CaimSettings = replace(
        settings_of(name), width=8, dropout=0.3, cam="per_window", batch_size=2, patch_size=32
    )
    experiment, spec = caim_experiment("easy", SPECS[name], settings), SPECS[name]
    assert experiment.arguments == {
        "in_channels": 4, "num_dates": spec.num_dates, "width": 8, "dropout": 0.3,
        "attention": "spatial", "cam": "per_window", "cam_windows": (2, 32, 32),
    }  # fmt: skip
    assert vars(experiment.task)["_given"] == (settings.area_factors, settings.moment_factors)
    assert experiment.facts == spec.facts(32, "auto")


def drawn(patches: Any) -> int:
    """How many different forms of its first patch a data set gives."""
    return len({patches[0]["images"].numpy().tobytes() for _ in range(24)})


@pytest.mark.parametrize("name", SPECS)
def test_training_patches_are_turned_where_asked_and_validation_patches_never(
    tmp_path: Path, name: str
) -> None:
    root = write_data_root(tmp_path, name.lower(), 1, 32, patch_size=32, stride=32)
    small = {"data_root": root, "patch_size": 32, "stride": 32}
    for augment, forms in ((True, range(3, 9)), (False, [1])):
        settings = replace(settings_of(name), augment=augment, **small)
        training, validation = caim_experiment("easy", SPECS[name], settings).open_data()
        assert drawn(training) in forms
        assert drawn(validation) == 1


def test_training_pairs_are_changed_where_asked_and_validation_pairs_never(tmp_path: Path) -> None:
    write_pairs(tmp_path, ["train", "val"], size=(16, 16))
    spec = pair_spec_by_name("folder")
    for augment in (True, False):
        settings = replace(settings_of("CTMA"), data_root=tmp_path, augment=augment, repeats=3)
        training = Train_CTMA.open_set(settings, spec, "train")
        validation = Train_CTMA.open_set(settings, spec, "val")
        assert isinstance(training.transform, OneOfSeven) is augment
        assert validation.transform is None
        assert len(training) == 3 * len(validation)


def test_settings_of_pairs_reach_network_and_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path, ["train", "val"], size=(16, 16))
    given: list[Experiment] = []
    monkeypatch.setattr("training.program.train", lambda experiment, _: given.append(experiment))
    monkeypatch.setattr(
        "sys.argv",
        ["Train_CTMA.py", "--data-root", str(tmp_path), "--width", "4", "--change-factor", "3",
         "--video-len", "4", "--mask-threshold", "0.3", "--fusion-weights", "0.9", "0.1"],
    )  # fmt: skip
    Train_CTMA.main()
    (experiment,) = given
    assert vars(experiment.task)["change_factor"] == 3.0
    assert experiment.arguments == {
        "in_channels": 3, "video_len": 4, "mask_threshold": 0.3, "fusion_weights": (0.9, 0.1),
        "pair_widths": (4, 8, 16), "video_widths": (8, 16), "decoder_widths": (32, 16, 8, 4),
        "resnet_width": 8,
    }  # fmt: skip


@pytest.mark.parametrize("drop_last", [False, True])
def test_no_validation_patch_is_left_out(tmp_path: Path, drop_last: bool) -> None:
    settings = replace(
        settings_of("Dynamic"), output_dir=tmp_path, epochs=1, batch_size=2, drop_last=drop_last,
        num_workers=0, device="cpu",
    )  # fmt: skip
    experiment = Experiment(
        "easy", "caim_net", ARGUMENTS, TASK, lambda: (EasyPatches(5), EasyPatches(3)), FACTS
    )
    with one_thread():
        train(experiment, settings)
    assert state(tmp_path).matrices["area"].sum() == 3 * 8 * 8
    lines = (tmp_path / "steps.jsonl").read_text().splitlines()
    assert len(lines) == (2 if drop_last else 3)
