"""What a training leaves to look at: tables, pictures, TensorBoard's files."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from tests.helpers.easy_patches import EasyPatches, T, run
from training.checkpoints import Position
from training.epoch_maps import MOST_EPOCHS, EpochMaps
from training.plan import TrainingPlan
from training.records import Journal
from utils.errors import UserError
from utils.pictures.figures import confusion_figure


def test_confusion_matrices_are_drawn_with_shares_and_pixels() -> None:
    moment = np.array([[90, 10, 0], [0, 0, 0], [1, 1, 2]])
    figure = confusion_figure({"area": np.array([[3, 1], [0, 4]]), "moment": moment}, "Epoch 3")
    area, moments = figure.axes
    texts = [text.get_text() for text in moments.texts]
    assert texts == ["90.0", "10.0", "0.0", "–", "–", "–", "25.0", "25.0", "50.0"]
    assert [text.get_text() for text in area.texts] == ["75.0", "25.0", "0.0", "100.0"]
    assert [label.get_text() for label in area.get_yticklabels()] == [
        "unchanged\n4 px", "changed\n4 px"
    ]  # fmt: skip


def maps_after(epochs: int, patches: EasyPatches) -> EpochMaps:
    maps = EpochMaps(patches, "moment_label", T)
    batch = {"moment_label": patches.label}
    maps.look_at(batch, 0)
    for epoch in range(1, epochs + 1):
        maps.add(epoch, lambda images: torch.full((len(images), 8, 8), images.shape[1] - 1))
    return maps


def test_patches_with_the_most_change_are_followed(tmp_path: Path) -> None:
    patches = EasyPatches(6)
    patches.label[[0, 2, 5]] = 0
    patches.label[3] = 1
    maps = maps_after(3, patches)
    assert maps.chosen == [1, 3, 4]
    maps.draw(tmp_path / "maps.png")
    assert imageio.imread(tmp_path / "maps.png").shape[1] > 600


@pytest.mark.parametrize("epochs", [1, 8, 9, 40, 100])
def test_at_most_eight_epochs_are_shown_the_last_among_them(epochs: int) -> None:
    kept = sorted(maps_after(epochs, EasyPatches(3)).state()["kept"])
    assert len(kept) <= MOST_EPOCHS
    assert kept[0] == 1
    assert kept[-1] == epochs
    assert len(kept) >= min(epochs, MOST_EPOCHS // 2)


def test_followed_patches_come_back_from_a_checkpoint() -> None:
    patches = EasyPatches(4)
    before, after = maps_after(12, patches), EpochMaps(patches, "moment_label", T)
    after.restore(before.state())
    assert after.chosen == before.chosen
    before.add(13, lambda images: torch.zeros(len(images), 8, 8))
    after.add(13, lambda images: torch.zeros(len(images), 8, 8))
    assert sorted(after.state()["kept"]) == sorted(before.state()["kept"])


def test_lines_of_steps_after_the_checkpoint_and_half_lines_are_cut(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for epoch in (0, 1):
        journal.steps(epoch, [{"step": step, "loss": 0.5} for step in range(3)])
    with (tmp_path / "steps.jsonl").open("a") as stream:
        stream.write('{"epoch": 1, "st')
    journal.cut_back(Position(1, 2, 4), [], [])
    lines = (tmp_path / "steps.jsonl").read_text().splitlines()
    assert len(lines) == 5
    assert lines[-1] == '{"epoch": 2, "step": 2, "loss": 0.5}'


def test_who_does_not_write_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path, writes=False, tensorboard=True)
    journal.begin()
    journal.steps(0, [{"step": 0, "loss": 1.0}])
    journal.cut_back(Position(), [{"epoch": 1}], [])
    journal.close()
    assert not list(tmp_path.iterdir())


def test_tensorboard_gets_what_metrics_csv_has(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tmp_path, TrainingPlan(epochs=2, tensorboard=True))
    board = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert len(board.Scalars("val/moment_f1_macro_all")) == 2
    assert [event.step for event in board.Scalars("train/loss")] == [3, 6]


def test_tensorboard_that_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ModuleNotFoundError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="pip install tensorboard"):
        Journal(tmp_path, tensorboard=True)
