"""Weights averaged over the steps, and the decision that is stored with the best ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mapping.decision import Decision
from models.weights.checkpoint import load_checkpoint
from tests.helpers.easy_patches import EasyPatches, batches, easy_run, network, run
from training.calibration import store_agreement, store_decision
from training.checkpoints import BEST, LAST, CheckpointManager
from training.loop import fit
from training.plan import TrainingPlan
from training.run import average_weight, averaged_copy, follow

AVERAGED = TrainingPlan(epochs=4, lr=1e-2, average=0.9)


def test_the_share_that_is_kept_grows_to_the_given_one() -> None:
    shares = [average_weight(0.998, step) for step in range(1, 20_000)]
    assert shares[0] < 0.1
    assert shares == sorted(shares)
    assert shares[-1] == 0.998


def test_averaged_weights_are_the_weighted_mean_of_all_steps() -> None:
    learning = network()
    averaged = averaged_copy(learning)
    expected = {name: value.clone() for name, value in learning.state_dict().items()}
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in learning.parameters():
                parameter.add_(torch.randn_like(parameter))
        follow(averaged, learning, 0.5, step)
        kept = average_weight(0.5, step)
        for name, value in learning.state_dict().items():
            expected[name] = kept * expected[name] + (1 - kept) * value
    for name, value in averaged.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert not any(parameter.requires_grad for parameter in averaged.parameters())


def test_counters_are_taken_over_and_not_averaged() -> None:
    learning = torch.nn.BatchNorm1d(3)
    averaged = averaged_copy(learning)
    learning.num_batches_tracked += 7  # type: ignore[operator]
    follow(averaged, learning, 0.9, 1)
    assert averaged.state_dict()["num_batches_tracked"] == 7


def test_what_is_kept_are_the_averaged_weights(tmp_path: Path) -> None:
    train = batches(EasyPatches(4))
    ours = easy_run(network(), AVERAGED, train, folder=tmp_path)
    fit(ours)
    last = load_checkpoint(tmp_path / LAST).state_dict
    averaged = ours.scored.state_dict()
    assert ours.scored is ours.averaged
    assert all(torch.equal(last[name], averaged[name]) for name in last)
    assert any(not torch.equal(last[name], v) for name, v in ours.network.state_dict().items())
    assert ours.steps == 8


def test_going_on_gives_the_weights_of_a_run_that_was_never_interrupted(tmp_path: Path) -> None:
    run(tmp_path / "whole", AVERAGED)
    run(tmp_path / "parts", TrainingPlan(epochs=2, lr=1e-2, average=0.9))
    run(tmp_path / "parts", AVERAGED, resume=True)
    lasts = [CheckpointManager(tmp_path / name).load() for name in ("whole", "parts")]
    assert lasts[0] is not None
    assert lasts[1] is not None
    for name, value in lasts[0].weights.state_dict.items():
        assert torch.equal(value, lasts[1].weights.state_dict[name])
        assert torch.equal(lasts[0].state.learning[name], lasts[1].state.learning[name])
    assert lasts[0].state.steps == lasts[1].state.steps


def test_without_averaging_nothing_more_is_kept(tmp_path: Path) -> None:
    run(tmp_path, TrainingPlan(epochs=1))
    last = CheckpointManager(tmp_path).load()
    assert last is not None
    assert last.state.learning == {}


def test_the_decision_of_the_best_weights_is_chosen_on_validation_patches(tmp_path: Path) -> None:
    train = batches(EasyPatches(6))
    ours = easy_run(network(), TrainingPlan(epochs=3, lr=1e-2), train, folder=tmp_path)
    fit(ours)
    assert load_checkpoint(tmp_path / BEST).decision == {}
    store_decision(ours)
    best = load_checkpoint(tmp_path / BEST)
    assert best.decision["chosen_on"] == "the validation patches"
    scores, plain = best.decision["scores"], best.decision["plain_scores"]
    assert scores["area_f1"] + scores["moment_f1_macro_all"] >= (
        plain["area_f1"] + plain["moment_f1_macro_all"]
    )
    curve = best.decision["probability"]
    assert curve["measured_on"].startswith("halves of the scenes")
    assert 0 <= curve["error"] <= 1
    patches = EasyPatches(6)
    prob = best.build().predict(patches.images).moment_prob.swapaxes(0, 1)  # type: ignore[operator]
    labels = Decision(best.offset).labels(prob.numpy().reshape(3, -1, 8))
    truth = patches.label.numpy().reshape(-1, 8)
    hits = int(((labels > 0) & (truth > 0)).sum())
    f1 = 2 * hits / ((labels > 0).sum() + (truth > 0).sum())
    assert f1 == pytest.approx(scores["area_f1"], abs=1e-6)
    store_agreement(ours)
    measured = load_checkpoint(tmp_path / BEST)
    assert measured.decision == best.decision
    assert measured.bfloat16["pixels"] == truth.size
    assert 0.5 < measured.bfloat16["agreement"] <= 1
