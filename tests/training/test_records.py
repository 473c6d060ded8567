"""What a training leaves to look at: tables, pictures, run trackers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from accelerate.tracking import GeneralTracker

from tests.helpers.easy_patches import EasyPatches, T, batches, easy_run, network, run
from training import records as records_module
from training.epoch_maps import MOST_EPOCHS, EpochMaps
from training.plan import TrainingPlan
from training.records import Records, check_trackers
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
    maps.choose(batch, 0)
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
    shown = sorted(maps_after(epochs, EasyPatches(3)).state()["maps"])
    assert len(shown) <= MOST_EPOCHS
    assert shown[0] == 1
    assert shown[-1] == epochs
    assert len(shown) >= min(epochs, MOST_EPOCHS // 2)


def test_followed_patches_come_back_from_a_checkpoint() -> None:
    patches = EasyPatches(4)
    before, after = maps_after(12, patches), EpochMaps(patches, "moment_label", T)
    after.restore(before.state())
    assert after.chosen == before.chosen
    before.add(13, lambda images: torch.zeros(len(images), 8, 8))
    after.add(13, lambda images: torch.zeros(len(images), 8, 8))
    assert sorted(after.state()["maps"]) == sorted(before.state()["maps"])


def test_half_a_line_of_steps_that_a_kill_left_spoils_no_other(tmp_path: Path) -> None:
    Records(tmp_path).steps(0, [{"step": 0, "loss": 0.5}])
    with (tmp_path / "steps.jsonl").open("a") as stream:
        stream.write('{"epoch": 1, "st')
    Records(tmp_path).steps(0, [{"step": 1, "loss": 0.25}])
    assert (tmp_path / "steps.jsonl").read_text().splitlines() == [
        '{"epoch": 1, "step": 1, "loss": 0.5}', '{"epoch": 1, "st',
        '{"epoch": 1, "step": 2, "loss": 0.25}',
    ]  # fmt: skip


def test_who_does_not_write_leaves_nothing(tmp_path: Path) -> None:
    records = Records(tmp_path, writes=False, trackers=["tensorboard"])
    run = easy_run(network(), TrainingPlan(epochs=1), batches(EasyPatches(2)), folder=tmp_path)
    run.rows.append({"epoch": 1})
    records.begin()
    records.steps(0, [{"step": 0, "loss": 1.0}])
    records.restore(run)
    records.epoch(run)
    records.close()
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ run trackers


def test_tensorboard_gets_what_metrics_csv_has(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tmp_path, TrainingPlan(epochs=2, log_with=("tensorboard",)))
    board = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert len(board.Scalars("val/moment_f1_macro_all")) == 2
    assert [event.step for event in board.Scalars("train/loss")] == [3, 6]
    run(tmp_path, TrainingPlan(epochs=1, log_with=("tensorboard",)))  # as with --overwrite
    board = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [3]


def test_trackers_that_are_unknown_or_not_installed_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_trackers(())
    with pytest.raises(UserError, match="found 'tensorbord', expected any of tensorboard, wandb"):
        check_trackers(("tensorbord",))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("tensorboard", "wandb", "mlflow"):
        with pytest.raises(UserError, match=f"no {name} in this Python.*pip install {name}"):
            check_trackers((name,))


class Server(GeneralTracker):
    """A tracker that cannot be started, or that fails after one epoch."""

    name = "server"
    requires_logging_directory = False

    def __init__(self, starts: bool) -> None:
        super().__init__(_blank=True)
        self.starts, self.logged, self.finished = starts, 0, False

    def start(self) -> None:
        if not self.starts:
            raise ConnectionError("no account")

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.logged += 1
        if self.logged > 1:
            raise ConnectionError("it is gone")

    def finish(self) -> None:
        self.finished = True


def test_a_tracker_that_fails_ends_no_run_and_one_that_does_not_start_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(starts=True)
    monkeypatch.setitem(records_module.TRACKERS, "wandb", lambda folder: server)
    run(tmp_path, TrainingPlan(epochs=3, log_with=("wandb",)))
    assert server.logged == 2
    shown = capsys.readouterr().out
    assert shown.count("warning: server is given up, training goes on (it is gone)") == 1
    assert "epoch 3/3" in shown
    server.starts = False
    with pytest.raises(UserError, match=r"wandb could not be started \(no account\)"):
        run(tmp_path, TrainingPlan(epochs=1, log_with=("wandb",)))
