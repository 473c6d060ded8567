"""The training loop: it learns, repeats itself, resumes and stops (training/loop.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from data_processing.scenes.augmentation import FlipRotate
from models import CAIMNetOutput, area_prob_from_moment
from models.weights.checkpoint import load_checkpoint
from tests.helpers.easy_patches import (
    ARGUMENTS,
    SIZE,
    TASK,
    EasyPatches,
    T,
    assert_same_weights,
    batches,
    easy_run,
    network,
    run,
    state,
    table,
)
from tests.helpers.one_pass import one_pass
from training import loop as training
from training.loop import fit
from training.losses import caim_loss
from training.plan import TrainingPlan, learning_rate
from training.records import Records
from training.tasks import CaimTask
from utils.errors import CaimError, CheckpointError, UserError
from utils.files import read_csv_rows
from utils.run_folder import open_run_folder

SELECTION = TASK.selection


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than an epoch of these."""
    monkeypatch.setattr(Records, "draw", lambda self, *_: None)


# ------------------------------------------------------------------ learning


def test_two_easy_patches_are_learnt_by_heart() -> None:
    patches, ours = batches(EasyPatches(2)), network()
    plan = TrainingPlan(epochs=40, lr=1e-2)
    optimizer = torch.optim.Adam(ours.parameters())
    first = one_pass(ours, TASK, patches, plan, 0, optimizer).losses["loss"]
    for epoch in range(1, 40):
        last = one_pass(ours, TASK, patches, plan, epoch, optimizer).losses["loss"]
    scores = one_pass(ours, TASK, patches, plan, 0).scores
    assert last < 0.5 * first  # the stacked softmaxes keep it from falling much further
    assert scores["moment_f1_macro_all"] > 0.9
    assert scores["area_f1"] > 0.9


def test_training_learns_with_bfloat16_too() -> None:
    patches, ours = batches(EasyPatches(2)), network()
    plan = TrainingPlan(epochs=30, lr=1e-2, precision="bfloat16")
    optimizer = torch.optim.Adam(ours.parameters())
    losses = [one_pass(ours, TASK, patches, plan, e, optimizer).losses["loss"] for e in range(30)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run(tmp_path / name, TrainingPlan(epochs=2, lr=1e-3))
    run(tmp_path / "other", TrainingPlan(epochs=2, lr=1e-3, seed=2))
    assert_same_weights(tmp_path / "one", tmp_path / "two")
    assert table(tmp_path / "one") == table(tmp_path / "two")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "one", tmp_path / "other")


# ------------------------------------------------------------------ resuming


def run_until(epoch: int, folder: Path, plan: TrainingPlan, **options: Any) -> None:
    """A run in which somebody presses Ctrl-C as soon as an epoch's line is shown."""

    def say(text: str) -> None:
        if text.startswith(f"epoch {epoch}/"):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "say", say)
        with pytest.raises(KeyboardInterrupt):
            run(folder, plan, **options)


@pytest.mark.parametrize(
    "changes",
    [{}, {"schedule": "cosine"}, {"rebuild_optimizer": True}, {"weight_decay": 0.1}],
)
def test_a_resumed_run_ends_like_an_uninterrupted_one(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    plan = TrainingPlan(epochs=4, lr=1e-3, lr_milestones=(3,), **changes)
    whole = run(tmp_path / "whole", plan, transform=FlipRotate())
    run_until(2, tmp_path / "parts", plan, transform=FlipRotate())
    assert len(table(tmp_path / "parts")) == 2
    parts = run(tmp_path / "parts", plan, resume=True, transform=FlipRotate())
    assert_same_weights(tmp_path / "whole", tmp_path / "parts")
    assert table(tmp_path / "whole") == table(tmp_path / "parts")
    assert float(whole[SELECTION]) == float(parts[SELECTION])
    best = [load_checkpoint(tmp_path / name / "best.pth").training for name in ("whole", "parts")]
    assert best[0]["epoch"] == best[1]["epoch"]


def test_workers_turn_patches_the_same_way_in_a_resumed_epoch() -> None:
    dataset = EasyPatches(4, transform=FlipRotate())
    through = batches(dataset, num_workers=1, seed=1)
    list(through.epoch(0))
    uninterrupted = [batch["images"] for batch in through.epoch(1)]
    resumed = [batch["images"] for batch in batches(dataset, num_workers=1, seed=1).epoch(1)]
    assert all(torch.equal(a, b) for a, b in zip(uninterrupted, resumed, strict=True))


def test_a_row_newer_than_the_weights_is_done_again(tmp_path: Path) -> None:
    plan = TrainingPlan(epochs=3)
    run(tmp_path / "whole", plan)
    run_until(1, tmp_path / "parts", plan)
    rows = (tmp_path / "parts" / "metrics.csv").read_text()
    (tmp_path / "parts" / "metrics.csv").write_text(rows + rows.splitlines()[1] + "\n")
    run(tmp_path / "parts", plan, resume=True)
    assert table(tmp_path / "whole") == table(tmp_path / "parts")


def test_a_run_killed_before_its_first_checkpoint_is_resumed_from_its_first_step(
    tmp_path: Path,
) -> None:
    run(tmp_path, TrainingPlan(epochs=1), resume=True)
    assert [row["epoch"] for row in table(tmp_path)] == ["1"]


def test_a_finished_run_is_left_as_it_is_but_its_lost_tables_and_pictures_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()  # draw
    best = run(tmp_path, TrainingPlan(epochs=2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    names = ("metrics.csv", "timing.csv", "learning_curve.png", "confusion.png",
             "validation_maps.png")  # fmt: skip
    for name in names:
        (tmp_path / name).unlink()
    assert run(tmp_path, TrainingPlan(epochs=2), resume=True) == best
    assert "has finished epoch 2 of 2" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_lost_or_longer_table_is_restored_from_the_weights_file(tmp_path: Path) -> None:
    run(tmp_path, TrainingPlan(epochs=2))
    before = table(tmp_path)
    (tmp_path / "metrics.csv").unlink()
    run(tmp_path, TrainingPlan(epochs=3), resume=True)
    assert table(tmp_path)[:2] == before
    assert len(table(tmp_path)) == 3


def test_weights_of_other_settings_are_not_resumed(tmp_path: Path) -> None:
    run(tmp_path, TrainingPlan(epochs=1))
    with pytest.raises(CheckpointError, match=r"does not fit.*settings\.json"):
        run(tmp_path, TrainingPlan(epochs=2), resume=True, width=16)


def test_other_data_are_not_resumed(tmp_path: Path) -> None:
    run(tmp_path, TrainingPlan(epochs=1))
    with pytest.raises(UserError, match="train patches 5 then, 6 now"):
        run(tmp_path, TrainingPlan(epochs=2), resume=True, number=6)


def test_a_run_without_resume_starts_afresh_in_a_used_folder(tmp_path: Path) -> None:
    run(tmp_path, TrainingPlan(epochs=3))
    with pytest.raises(UserError, match="--overwrite"):
        open_run_folder("train", tmp_path, overwrite=False, resume=False)
    assert open_run_folder("train", tmp_path, overwrite=True, resume=False) == tmp_path
    run(tmp_path, TrainingPlan(epochs=1))
    assert [row["epoch"] for row in table(tmp_path)] == ["1"]
    assert load_checkpoint(tmp_path / "best.pth").training["epoch"] == 1


def test_every_epoch_has_an_order_of_its_own_that_its_number_brings_back() -> None:
    def order(number: int, seed: int = 1) -> list[str]:
        shuffled = batches(EasyPatches(20), shuffle=True, seed=seed)
        return [aoi for batch in shuffled.epoch(number) for aoi in batch["aoi"]]

    names = [f"Scene{index:02d}" for index in range(20)]
    assert sorted(order(0)) == sorted(order(1)) == names
    assert order(0) == order(0)
    assert len({tuple(order(0)), tuple(order(1)), tuple(order(0, seed=2)), tuple(names)}) == 4
    in_order = batches(EasyPatches(20)).epoch(3)
    assert [aoi for batch in in_order for aoi in batch["aoi"]] == names


# ------------------------------------------------------------------ stopping


def test_a_loss_that_is_not_finite_stops_the_run_naming_epoch_step_and_scene(
    tmp_path: Path,
) -> None:
    patches = EasyPatches(6)
    patches.images[3] = torch.nan
    with pytest.raises(CaimError) as caught:
        fit(easy_run(network(), TrainingPlan(epochs=1), batches(patches), folder=tmp_path))
    text = str(caught.value)
    assert "epoch 1, step 2, scenes Scene02, Scene03" in text
    assert "--lr" in text
    kept = torch.load(tmp_path / "bad_batch.pth", weights_only=True)
    assert (kept["epoch"], kept["step"]) == (1, 2)
    torch.testing.assert_close(kept["batch"]["images"], patches.images[2:4], equal_nan=True)
    last = load_checkpoint(tmp_path / "last.pth")
    assert all(value.isfinite().all() for value in last.state_dict.values())


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("moment_factors", (5.5, 1.0), "--moment-factors: found 2 numbers, expected 3"),
        ("area_factors", (5.5, 1.0, 1.0), "--area-factors: found 3 numbers, expected 2"),
    ],
)
def test_class_factors_of_another_number_are_told(
    name: str, given: tuple[float, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        CaimTask(T, **{name: given})


def test_nothing_to_train_on_is_told(tmp_path: Path) -> None:
    none = batches(EasyPatches(3), size=4, drop_last=True)
    with pytest.raises(UserError, match="found 0 training and 2 validation batches"):
        fit(easy_run(network(), TrainingPlan(1), none, batches(EasyPatches(3)), tmp_path))


def test_a_batch_without_any_label_is_survived() -> None:
    patches = EasyPatches(2)
    patches.label[:] = -1
    ours = network()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    sgd = torch.optim.SGD(ours.parameters())
    done = one_pass(ours, TASK, batches(patches), TrainingPlan(1), 0, sgd)
    assert done.losses["loss"] == 0
    assert done.scores["area_f1"] == 0
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


# ------------------------------------------------------------------ rate, clipping, optimiser


def test_steps_halve_the_rate_from_their_epoch_on() -> None:
    plan = TrainingPlan(epochs=100, lr=8.0, lr_milestones=(50, 80))
    epochs = (0, 49, 49.99, 50, 79.5, 80, 99)
    assert [learning_rate(plan, e) for e in epochs] == [8, 8, 8, 4, 4, 2, 2]


def test_cosine_warms_up_then_falls_to_zero() -> None:
    plan = TrainingPlan(epochs=100, lr=1.0, schedule="cosine")
    rates = [learning_rate(plan, step / 10) for step in range(1001)]
    assert 0 < rates[0] < 0.05
    assert max(rates) == pytest.approx(1, abs=0.02)
    assert rates.index(max(rates)) <= 50
    assert rates[500] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    falling = rates[rates.index(max(rates)) :]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(("clip", "moved"), [(1e-3, 1e-3), (None, None), (1e9, None)])
def test_a_step_goes_no_further_than_the_clipped_gradient(
    clip: float | None, moved: float | None
) -> None:
    ours, patches = network(dropout=0.0), batches(EasyPatches(2))
    before = nn.utils.parameters_to_vector(ours.parameters()).detach().clone()
    sgd = torch.optim.SGD(ours.parameters())
    one_pass(ours, TASK, patches, TrainingPlan(1, lr=1.0, clip_norm=clip), 0, sgd)
    step = (nn.utils.parameters_to_vector(ours.parameters()) - before).norm().item()
    if moved is None:
        assert step > 1e-2
    else:
        assert step == pytest.approx(moved, rel=1e-2)


@pytest.mark.parametrize(("rebuild", "steps"), [(True, [3, 3, 3]), (False, [3, 6, 9])])
def test_rebuilding_the_optimiser_forgets_its_moments_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rebuild: bool, steps: list[int]
) -> None:
    counts = []

    def look(text: str) -> None:
        if text.startswith("epoch "):
            counts.append(int(state(tmp_path).optimizer[0]["step"]))

    monkeypatch.setattr(training, "say", look)
    run(tmp_path, TrainingPlan(epochs=3, rebuild_optimizer=rebuild))
    assert counts == steps


def test_validation_changes_no_weight_and_draws_no_dropout() -> None:
    ours, patches = network(), batches(EasyPatches(3))
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    losses = [one_pass(ours, TASK, patches, TrainingPlan(1), 0).losses for _ in range(2)]
    assert losses[0] == losses[1]
    assert not ours.training
    assert all(torch.equal(value, before[name]) for name, value in ours.state_dict().items())


def test_class_factors_of_the_task_reach_the_loss() -> None:
    ours, patches = network().eval(), EasyPatches(2)
    factors = {"area_factors": (5.5, 1.0), "moment_factors": (5.5, 1.0, 2.0)}
    found = one_pass(ours, CaimTask(T, **factors), batches(patches), TrainingPlan(1), 0).losses
    with torch.inference_mode():
        expected = caim_loss(ours(patches.images), patches.label.sign(), patches.label, **factors)
    names = ("loss", "loss_area", "loss_moment", "loss_fine")
    assert [found[name] for name in names] == pytest.approx([term.item() for term in expected])


# ------------------------------------------------------------------ scores and files


class Scripted(nn.Module):
    """Gets all pixels of an image right where a list says so, by epoch of validation."""

    def __init__(self, right: list[float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.right, self.calls = right, 0

    def forward(self, images: Tensor) -> CAIMNetOutput:
        moment = (images[:, 1, 0] < 0.5).long() + (images[:, 2, 0] < 0.5).long()
        moment = torch.where(moment == 2, 0, moment + 1)  # bright at date 1: 1, at date 2: 2
        if not self.training:
            right = self.right[min(self.calls, len(self.right) - 1)]
            moment[:, torch.arange(SIZE) >= right * SIZE] = 0
            self.calls += len(images) > 1  # single ones are drawn, not scored
        prob = nn.functional.one_hot(moment, T).permute(0, 3, 1, 2).float() * (1 + 0 * self.weight)
        return CAIMNetOutput(area_prob_from_moment(prob), prob, torch.stack([prob] * 4, dim=1))


def test_best_is_the_epoch_with_the_highest_validation_moment_f1(tmp_path: Path) -> None:
    scripted = Scripted([0.5, 1.0, 0.75, 1.0])
    patches = batches(EasyPatches(2))
    best = fit(easy_run(scripted, TrainingPlan(4), patches, folder=tmp_path))
    assert best["epoch"] == 2  # of equal ones the first
    assert load_checkpoint(tmp_path / "best.pth").training["epoch"] == 2
    assert load_checkpoint(tmp_path / "last.pth").training["epoch"] == 4
    rows = table(tmp_path)
    assert [float(row["val_moment_f1_macro_all"]) for row in rows][1] == 1.0
    assert SELECTION == "val_moment_f1_macro_all"


def test_the_last_patch_of_a_short_batch_counts_in_validation() -> None:
    patches = EasyPatches(5)
    patches.label[:4][patches.label[:4] == 2] = -1  # moment 2 is known in the last patch only
    scores = one_pass(Scripted([1.0] * 3), TASK, batches(patches), TrainingPlan(1), 0).scores
    assert scores["moment_f1_macro_all"] == 1.0
    assert scores["moment_f1_macro_change"] == 1.0


def test_a_run_leaves_its_table_weights_and_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # draw
    run(tmp_path, TrainingPlan(epochs=2, lr=1e-3))
    pictures = {"learning_curve.png", "confusion.png", "validation_maps.png"}
    tables = {"metrics.csv", "timing.csv", "steps.jsonl"}
    weights = {"best.pth", "last.pth", "previous.pth"}
    assert {path.name for path in tmp_path.iterdir()} == pictures | tables | weights
    for name in pictures:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    row = read_csv_rows(tmp_path / "metrics.csv")[1]
    for column in ("train_loss", "val_loss", "val_area_f1", "val_moment_kappa", "learning_rate"):
        assert float(row[column]) >= -1
    timing = read_csv_rows(tmp_path / "timing.csv")[1]
    assert set(timing) == {"epoch", "seconds", "patches_per_second", "memory_gib"}
    steps = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [(step["epoch"], step["step"]) for step in steps] == [
        (epoch, step) for epoch in (1, 2) for step in (1, 2, 3)
    ]
    assert {"loss", "gradient_norm", "learning_rate"} < set(steps[0])
    last = load_checkpoint(tmp_path / "last.pth")
    assert (last.arguments, last.data["name"], last.training["epoch"]) == (ARGUMENTS, "easy", 2)
    assert load_checkpoint(tmp_path / "best.pth").resume == {}
    assert "epoch 2/2" in capsys.readouterr().out
