"""Training on real series: windows and their labels, folded inputs, going on after a stop."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.area_scores import at_offset, searched
from benchmarks.real_areas import Area, filled, picked, quiet_series, split_years
from benchmarks.real_learners import CaimLearner, Standardised
from benchmarks.real_sources import Sources, inserted_scenes
from benchmarks.real_windows import DrawRules, WindowMaker, short_windows, spread_dates
from benchmarks.score_weights import calibration_error
from benchmarks.train_on_real import Run, learning_rate
from data_processing.scenes.insertion import InsertionRules
from data_processing.scenes.spec import DYNAMIC
from models import CAIMNet, start_cams
from models.weights.checkpoint import load_checkpoint

FIRST_DAY = 730000
ARGUMENTS = {"in_channels": 4, "num_dates": 6, "width": 8, "dropout": 0.0}


def area(name: str, dates: int = 40, side: int = 40, seed: int = 0) -> Area:
    rng = np.random.default_rng(seed)
    images = rng.integers(100, 5000, (1, 4, side, side)) + rng.integers(
        -50, 50, (dates, 4, side, side)
    )
    missing = rng.random((dates, side, side)) < 0.02
    return Area(name, images.astype(np.uint16), FIRST_DAY + 12 * np.arange(dates), missing=missing)


def scene(seed: int) -> Area:
    rng = np.random.default_rng(seed)
    images = rng.integers(100, 5000, (6, 4, 40, 40)).astype(np.uint16)
    label = np.zeros((40, 40), np.int64)
    label[10:20, 10:20] = 1 + seed % 5
    return Area(f"scene {seed}", images, FIRST_DAY + 100 * np.arange(6), label)


def maker(**rules: float) -> WindowMaker:
    areas = [area("a", seed=1), area("b", seed=2), scene(1), scene(2)]
    return WindowMaker(areas, DrawRules(dates=6, side=16, alpha=None, **rules))  # type: ignore[arg-type]


def test_windows_have_moments_of_the_dates_and_values_of_the_network() -> None:
    rng, windows = np.random.default_rng(1), maker()
    drawn = [windows.draw(rng) for _ in range(60)]
    labels = np.concatenate([label.ravel() for _, label in drawn])
    assert set(np.unique(labels)) == set(range(-1, 6))
    for images, label in drawn:
        assert images.shape == (6, 4, 16, 16)
        assert images.dtype == np.float32
        assert label.shape == (16, 16)
        assert 0 <= images.min() <= images.max() <= 1


def test_an_unlabelled_window_without_insertions_is_unchanged() -> None:
    windows = maker(labelled=0.0)
    quiet = WindowMaker(
        windows.series,
        DrawRules(dates=6, side=16, alpha=None, changes=InsertionRules(most=0)),
    )
    for seed in range(10):
        _, label = quiet.draw(np.random.default_rng(seed))
        assert set(np.unique(label)) <= {-1, 0}


def test_dates_are_in_order_and_as_many_as_asked_for() -> None:
    place = area("a")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for pick in (spread_dates, short_windows):
            dates = pick(rng, place, 6)
            assert len(dates) == 6
            assert (np.diff(dates) > 0).all()
        assert np.ptp(place.days[short_windows(rng, place, 6)]) <= 400


def test_a_year_that_is_kept_back_is_in_no_window() -> None:
    learnt, kept = split_years(area("a"), 1999)
    years = [[day // 365 for day in part.days] for part in (learnt, kept)]
    assert len(learnt.days) + len(kept.days) == 40
    assert years[0] != years[1]
    for part in quiet_series(picked(area("a"), np.arange(24)), 3, 6):
        assert part.label is not None
        assert set(np.unique(part.label)) == {-1, 0}
        assert len(part.days) == 6


def test_gaps_of_a_donor_are_filled_by_its_other_dates() -> None:
    images = np.ones((3, 2, 4, 4), np.float32)
    images[1] = 9.0
    missing = np.zeros((3, 4, 4), np.bool_)
    missing[1] = True
    assert np.all(filled(images, missing) == 1)


def test_inserted_scenes_to_choose_by_hold_changes() -> None:
    scenes = inserted_scenes(area("a"), InsertionRules(least_visible=0.0), seed=1, num_dates=6)
    assert len(scenes) == 3
    assert any((each.label > 0).any() for each in scenes if each.label is not None)


@pytest.mark.parametrize("alpha", [True, False])
def test_folded_weights_give_the_same_outputs_for_images_as_they_are(alpha: bool) -> None:
    torch.manual_seed(1)
    mean = (0.4, 0.3, 0.2) if alpha else (0.0,) * 4
    model = Standardised(CAIMNet(**ARGUMENTS), mean, (0.2, 0.1, 0.3, 0.2)[: len(mean)]).eval()
    images = torch.rand(2, 6, 4, 16, 16)
    if alpha:
        images[:, :, 3] = 1
    alone = CAIMNet(**ARGUMENTS).eval()
    alone.load_state_dict(model.folded(model.state_dict()))
    with torch.no_grad():
        states = alone.change_features(images)
        expected = alone.coarse_moment1(states), alone.coarse_moment2(states)
        for found, wanted in zip(model(images), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("alpha", [True, False])
def test_taking_weights_up_again_is_the_reverse_of_folding(alpha: bool) -> None:
    mean = (0.4, 0.3, 0.2) if alpha else (0.0,) * 4
    spread = (0.2, 0.1, 0.3, 0.2)[: len(mean)]
    model, other = (Standardised(CAIMNet(**ARGUMENTS), mean, spread) for _ in range(2))
    other.unfold(model.folded(model.state_dict()))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value)


def test_generated_scenes_are_served_as_they_are() -> None:
    only = WindowMaker([area("a")], DrawRules(dates=6, side=16, drawn=1.0), drawn=[scene(3)])
    _, label = only.draw(np.random.default_rng(1))
    assert set(np.unique(label)) <= {0, 4}


def test_cams_begin_with_all_evidence_counted_for() -> None:
    network = CAIMNet(**ARGUMENTS)
    start_cams(network)
    for cam in (*network.fine_moment1, *network.fine_moment2):
        assert torch.allclose(cam.weight.sum(), torch.tensor(1.0))
        assert (cam.weight > 0).all()


def test_the_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(done / 100, 1.0) for done in range(101)]
    assert rates[0] < 0.05
    assert max(rates) <= 1.03
    assert rates[-1] == pytest.approx(0.01)
    assert rates[10] > rates[50] > rates[90]


def test_the_calibration_error_is_zero_for_shares_that_are_met() -> None:
    changed = np.tile([True, False], 50)
    assert calibration_error(np.full(100, 0.5), changed) == 0
    assert calibration_error(np.full(100, 0.9), changed) == pytest.approx(0.4)


def sources() -> Sources:
    return Sources(
        DYNAMIC.facts(16),
        lambda flags: CaimLearner(dict(ARGUMENTS), (0.0,) * 4, (0.1,) * 4, 0.05),
        maker(),
        [scene(1)],
        "one scene",
        {"quiet": quiet_series(area("a"), 1, 6)[0]},
    )


def of_a_run(folder: Path) -> argparse.Namespace:
    numbers = {"seed": 1, "lr": 1e-3, "minutes": 1, "steps": 4, "batch_size": 2, "average": 0.9}
    return argparse.Namespace(**numbers, side=16, output_dir=folder, start_from=None)


def test_the_same_steps_give_the_same_weights_interrupted_or_not(tmp_path: Path) -> None:
    runs = [Run(of_a_run(tmp_path / name), sources()) for name in ("whole", "parts")]
    for run in runs:
        run.folder.mkdir()
        for _ in range(2):
            run.learn()
    runs[1].look()
    runs[1] = Run(of_a_run(tmp_path / "parts"), sources())
    for run in runs:
        while run.done < 1:
            run.learn()
    for key, value in runs[0].averaged.items():
        assert torch.equal(value, runs[1].averaged[key]), key


def test_a_run_goes_on_where_it_stopped_and_keeps_weights_with_a_decision(tmp_path: Path) -> None:
    flags = of_a_run(tmp_path)
    run = Run(flags, sources())
    for _ in range(3):
        run.learn()
    run.look()
    again = Run(flags, sources())
    assert again.step == 3
    assert again.used == run.used
    for key, value in run.averaged.items():
        assert torch.equal(again.averaged[key], value)
    again.learn()
    assert load_checkpoint(tmp_path / "weights.pth").bfloat16 == {}
    again.look(last=True)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3
    weights = load_checkpoint(tmp_path / "weights.pth")
    assert weights.decision["chosen_on"] == "one scene"
    assert weights.bfloat16["measured_on"] == "one scene"
    assert 0.5 < weights.bfloat16["agreement"] <= 1
    search = searched(weights.build(), [scene(1)], 16)  # type: ignore[arg-type]
    found = at_offset(search, weights.offset)
    assert found["area_f1"] == pytest.approx(weights.decision["scores"]["area_f1"])
