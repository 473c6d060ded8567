"""Ablations: every variant learns and predicts, differs where it says, and is trained once."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import area_scores, train_on_real
from benchmarks.ablations import VARIANTS, Settings, ablate, learner_of
from benchmarks.network_variants import UNet
from benchmarks.real_areas import Area
from benchmarks.real_sources import Sources
from benchmarks.real_windows import DrawRules, WindowMaker
from data_processing.scenes.spec import SPACENET7
from models.weights import offset_search

SIDE = 8
OFFSETS = np.array([-0.1, 0.0, 0.1])  # few, since each takes its time


def given(folder: Path = Path(), **settings: object) -> train_on_real.Settings:
    return train_on_real.Settings(
        dataset="spacenet7", series=folder, scenes=folder, output_dir=folder, width=8, side=SIDE,
        **settings,
    )  # type: ignore[arg-type]  # fmt: skip


def area(seed: int, dates: int = 9, labelled: bool = False) -> Area:
    rng = np.random.default_rng(seed)
    images = rng.integers(20, 200, (dates, 4, 12, 12)).astype(np.uint8)
    label = None
    if labelled:
        label = np.zeros((12, 12), np.int64)
        label[2:7, 3:9] = 1 + seed % 8
    return Area(f"place {seed}", images, 730000 + 30 * np.arange(dates), label)


@pytest.fixture(scope="module")
def sources() -> Sources:
    areas = [area(1, 18), area(2, 18), area(3, labelled=True)]
    windows = WindowMaker(areas, DrawRules(side=SIDE))
    val = [area(4, labelled=True)]
    return Sources(SPACENET7.facts(SIDE), lambda flags: pytest.fail("unused"), windows, val, "one")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_part_of_a_variant_learns_and_its_weights_predict(name: str) -> None:
    torch.manual_seed(1)
    variant = VARIANTS[name]
    learner = learner_of(variant, given(**variant.settings))  # type: ignore[arg-type]
    images = torch.rand(2, 9, 4, SIDE, SIDE)
    loss = learner.loss(images, torch.randint(-1, 9, (2, SIDE, SIDE)))
    loss.backward()  # type: ignore[no-untyped-call]
    for parameter, weight in learner.module.named_parameters():
        assert weight.grad is not None, parameter
        assert weight.grad.isfinite().all(), parameter
    network = learner.built().eval()
    network.load_state_dict(learner.weights(learner.module.state_dict()))
    maps = network.predict(images)  # type: ignore[operator]
    assert maps.moment_prob.shape == (2, 9, SIDE, SIDE)
    assert maps.area_prob.shape == (2, 2, SIDE, SIDE)


def test_without_attention_a_far_pixel_changes_nothing() -> None:
    changed = {}
    for name in ("full", "attention_none"):
        torch.manual_seed(1)
        network = learner_of(VARIANTS[name], given()).built().eval()
        tokens = torch.rand(1, 16, 64)
        other = tokens.clone()
        other[:, -1] += 1
        with torch.no_grad():
            one, two = (network.correlation(each) for each in (tokens, other))
        changed[name] = not torch.equal(one[:, 0], two[:, 0])
    assert changed == {"full": True, "attention_none": False}


def test_the_u_net_is_as_small_as_it_says() -> None:
    network = UNet(4, 9, (0.0,) * 4, (1.0,) * 4)
    assert 450_000 < sum(p.numel() for p in network.parameters()) < 550_000


def test_each_training_gives_its_rows_once_and_goes_on(
    tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (offset_search, area_scores):
        monkeypatch.setattr(module, "OFFSETS", OFFSETS)
    flags = Settings(
        series=tmp_path, scenes=tmp_path, output_dir=tmp_path, variants=("unet", "area_head"),
        seeds=(1,), steps=1, width=8, side=SIDE, batch_size=1, results=tmp_path / "rows.csv",
    )  # fmt: skip
    test = [area(5, labelled=True)]
    ablate(flags, sources, test)
    first = flags.results.read_text()
    ablate(flags, sources, test)
    assert flags.results.read_text() == first
    ablate(replace(flags, seeds=(1, 2), variants=("unet",)), sources, test)
    with flags.results.open() as stream:
        rows = list(csv.DictReader(stream))
    runs = [(row["variant"], row["seed"]) for row in rows]
    assert runs == [("unet", "1"), ("area_head", "1"), ("area_head_own", "1"), ("unet", "2")]
    assert all(float(row["offset"]) in OFFSETS and row["test_area_f1"] for row in rows)
    assert [row["test_moment_f1"] == "" for row in rows] == [False, False, True, False]
