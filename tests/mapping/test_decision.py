"""Where a pixel counts as changed (mapping/decision.py), from probabilities to programs."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import Test_CTMA
import Test_Dynamic
from data_processing.pairs.spec import FOLDER
from data_processing.scenes.spec import DYNAMIC
from mapping import load_model, predict_series
from mapping.decision import PLAIN, PROB_UNIT, Decision, score_percent
from mapping.scoring import score_pairs, score_series
from models import (
    CTMA,
    CAIMNet,
    area_prob_bounds,
    area_prob_from_moment,
    moment_label_from_prob,
)
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.weights.onnx_network import OnnxFacts
from models.weights.probability import LeadCounts, calibration_error
from tests.helpers.cities import CURVE
from tests.helpers.pair_files import write_pairs
from tests.helpers.scene_files import scene_folder, write_data_root
from utils.errors import CheckpointError
from utils.files import read_json

OFFSETS = [-3.0, -0.4, 0.0, 1e-3, 0.25, 2.0]
NARROW = {"pair_widths": (8, 16, 32), "video_widths": (8, 16), "decoder_widths": (32, 16, 8, 8),
          "resnet_width": 8}  # fmt: skip


def some_sums(K: int, seed: int = 0) -> NDArray[np.int32]:
    """Blended sums (K, 40, 50), ties and zeros among them."""
    rng = np.random.default_rng(seed)
    prob = rng.dirichlet(np.ones(K), (40, 50)).transpose(2, 0, 1)
    prob[:, 0] = 1 / K
    prob[:, 1] = np.eye(K)[0][:, None]
    prob[:, 2] = np.eye(K)[1][:, None]
    return np.rint(prob * PROB_UNIT).astype(np.int32)


def literally(sums: NDArray[np.int32], offset: float) -> NDArray[np.int64]:
    """The rule in logarithms, pixel by pixel."""
    with np.errstate(divide="ignore"):
        logs = np.log(sums.astype(np.float64))
    best = 1 + logs[1:].argmax(axis=0)
    lead = np.where(sums[1:].max(axis=0) > 0, logs[1:].max(axis=0) - logs[0], -np.inf)
    return np.where(lead > offset, best, 0)


@pytest.mark.parametrize("K", [2, 6, 9])
@pytest.mark.parametrize("offset", OFFSETS)
def test_a_pixel_is_changed_where_the_logarithms_are_apart_by_more_than_the_offset(
    K: int, offset: float
) -> None:
    sums = some_sums(K)
    found = Decision(offset).labels(sums)
    assert found.dtype == np.uint8
    assert (found == literally(sums, offset)).all()


@pytest.mark.parametrize("K", [2, 6, 9])
def test_without_an_offset_the_rule_is_that_of_the_networks_to_the_last_tie(K: int) -> None:
    sums = some_sums(K)
    expected = moment_label_from_prob(torch.from_numpy(sums)[None])[0].numpy()
    assert np.array_equal(PLAIN.labels(sums), expected)
    assert np.array_equal(Decision(-0.0).labels(sums), expected)
    floats = (sums / PROB_UNIT).astype(np.float32)
    expected = moment_label_from_prob(torch.from_numpy(floats)[None])[0].numpy()
    assert np.array_equal(PLAIN.labels(floats), expected)


def test_a_larger_offset_only_takes_changes_away() -> None:
    sums = some_sums(6)
    labels = [Decision(offset).labels(sums) for offset in OFFSETS]
    for less, more in pairwise(labels):
        assert (more[more > 0] == less[more > 0]).all()
        assert (more > 0).sum() < (less > 0).sum()


@pytest.mark.parametrize("moments", [True, False])
@pytest.mark.parametrize("offset", OFFSETS)
def test_a_score_of_fifty_goes_with_the_label_whatever_the_offset(
    offset: float, moments: bool
) -> None:
    sums, decision = some_sums(6 if moments else 2), Decision(offset)
    bounds = area_prob_bounds("caim_net", {"num_dates": 6}) if moments else (0.0, 1.0)
    score, changed = score_percent(sums, bounds, moments, decision), decision.labels(sums) > 0
    assert (score[changed] >= 50).all()
    assert (score[~changed] <= 50).all()


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_threshold_of_two_classes_is_an_offset(threshold: float) -> None:
    decision, sums = Decision.above(threshold), some_sums(2)
    prob = sums[1] / sums.sum(axis=0)
    clear = np.abs(prob - threshold) > 1e-9
    assert ((decision.labels(sums) == 1) == (prob > threshold))[clear].all()
    assert decision.threshold == pytest.approx(threshold)


def test_a_tie_is_unchanged_and_the_earliest_of_equal_moments_wins() -> None:
    sums = np.array([[5, 4, 4], [5, 6, 3], [1, 6, 8]], np.int32)[:, None]
    assert PLAIN.labels(sums).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("T", [2, 6, 9])
def test_a_score_of_fifty_and_more_goes_with_changed(T: int) -> None:
    torch.manual_seed(T)
    images = torch.rand(2, T, 4, 16, 16)
    moment_prob = CAIMNet(num_dates=T, width=8).eval().predict(images).moment_prob
    assert moment_prob is not None
    sums = (moment_prob[0].double() * PROB_UNIT).round().int().numpy()
    low, high = area_prob_bounds("caim_net", {"num_dates": T})
    score, moment = score_percent(sums, (low, high)), PLAIN.labels(sums)
    assert (score[moment > 0] >= 50).all()
    assert (score[moment == 0] <= 50).all()
    area_prob = area_prob_from_moment(moment_prob)[0, 1].double().numpy()
    assert np.abs(score - 100 * (area_prob - low) / (high - low)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("T", [2, 6, 9])
def test_the_bounds_of_the_area_probability_are_reached_and_never_passed(T: int) -> None:
    alone, rest = torch.full((1, T, 1, 1), 0.0), torch.full((1, T, 1, 1), 0.0)
    alone[:, 1], rest[:, 0] = 1.0, 1.0
    found = []
    for activation in (rest, alone):
        moment_prob = (4 * activation.double().softmax(dim=1)).softmax(dim=1)
        found.append(area_prob_from_moment(moment_prob)[0, 1].item())
    assert found == pytest.approx(area_prob_bounds("caim_net", {"num_dates": T}), abs=1e-12)
    low, high = found
    activations = torch.rand(20000, 4, T, 1, 1, dtype=torch.float64)
    activations = torch.where(
        activations > 0.6, 1.0, torch.where(activations < 0.3, 0.0, activations)
    )
    moment_prob = activations.softmax(dim=2).sum(dim=1).softmax(dim=1)
    area_prob = area_prob_from_moment(moment_prob)[:, 1]
    assert low <= area_prob.min() <= area_prob.max() <= high


# ------------------------------------------------------------------ in weights and programs


def weights(
    path: Path, offset: Any, network: str = "caim_net", curve: dict[str, Any] | None = None
) -> Path:
    torch.manual_seed(1)
    arguments: dict[str, Any] = {"in_channels": 4, "num_dates": 6, "width": 8}
    built: Any = CAIMNet(**arguments)
    if network == "ctma":
        arguments = {"in_channels": 3, **NARROW}
        built = CTMA(**arguments)
    decision = {} if offset is None else {"offset": offset, "found_on": "val"}
    decision |= {} if curve is None else {"probability": curve}
    save_checkpoint(path, Checkpoint(network, arguments, built.state_dict(), decision=decision))
    return path


@pytest.mark.parametrize("offset", ["0", float("nan"), 51, -1e9, True, [0.1]])
def test_an_offset_that_is_none_is_refused(offset: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"decision"):
        load_checkpoint(weights(tmp_path / "a.pth", offset))


def test_the_offset_stays_with_the_weights_also_as_onnx(tmp_path: Path) -> None:
    path = weights(tmp_path / "a.pth", 0.25)
    loaded = load_checkpoint(path)
    assert loaded.offset == 0.25
    assert loaded.decision["found_on"] == "val"
    facts = OnnxFacts.of(loaded, path)
    assert OnnxFacts.from_properties(path, facts.properties()).decision == loaded.decision
    old = {key: text for key, text in facts.properties().items() if key != "decision"}
    assert OnnxFacts.from_properties(path, old).decision == {}


def moments_of(folder: Path, name: str) -> NDArray[np.uint8]:
    import rasterio

    with rasterio.open(folder / "maps" / name / "change_moment.tif") as raster:
        values: NDArray[np.uint8] = raster.read(1)
    return values


@pytest.mark.parametrize("protocol", ["full", "released"])
def test_series_are_scored_by_the_weights_offset_unless_told_otherwise_or_as_released(
    protocol: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data_root(tmp_path / "d", "dynamic", 1, 32, patch_size=16, stride=16)
    plain, shifted = (weights(tmp_path / f"{o}.pth", o) for o in (None, -0.05))
    reports, maps = {}, {}
    for name, path, choice in (
        ("no offset", plain, "calibrated"), ("plain", shifted, "plain"),
        ("calibrated", shifted, "calibrated"),
    ):  # fmt: skip
        settings = Test_Dynamic.Settings(
            data_root=root, checkpoint=path, output_dir=tmp_path / name, protocol=protocol,
            decision=choice, patch_size=16, stride=16, device="cpu",
        )  # fmt: skip
        score_series(DYNAMIC, settings)
        reports[name] = read_json(tmp_path / name / "metrics.json")
        maps[name] = moments_of(tmp_path / name, "Scene01")
    shown = capsys.readouterr().out
    left_out = shown.count("decision: the offset -0.05 that these weights carry is left out")
    assert np.array_equal(maps["plain"], maps["no offset"])
    assert reports["plain"]["area"] == reports["no offset"]["area"]
    said = "decision: changed where log p − log p_0 > -0.05" in shown
    told = reports["calibrated"]["protocol"]["decision"]
    if protocol == "released":
        assert np.array_equal(maps["calibrated"], maps["no offset"])
        assert (told, said, left_out) == ({"name": "plain", "offset": 0.0}, False, 2)
    else:
        assert (maps["calibrated"] > 0).sum() > (maps["no offset"] > 0).sum()
        assert (told, said, left_out) == ({"name": "calibrated", "offset": -0.05}, True, 1)


def test_pairs_are_scored_by_the_weights_offset_or_a_given_threshold(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", ("test",), 1)
    shifted = weights(tmp_path / "a.pth", math.log(0.2 / 0.8), "ctma")
    thresholds = {}
    for choice, threshold in (("calibrated", None), ("plain", None), ("calibrated", 0.4)):
        settings = Test_CTMA.Settings(
            data_root=root, checkpoint=shifted, output_dir=tmp_path / f"{choice}{threshold}",
            decision=choice, threshold=threshold, device="cpu", save_on=False,
        )  # fmt: skip
        score_pairs(FOLDER, settings)
        report = read_json(tmp_path / f"{choice}{threshold}" / "metrics.json")
        thresholds[choice, threshold] = report["protocol"]["threshold"]
    assert thresholds == pytest.approx(
        {("calibrated", None): 0.2, ("plain", None): 0.5, ("calibrated", 0.4): 0.4}
    )


def test_series_are_mapped_by_the_weights_offset_unless_told_otherwise(tmp_path: Path) -> None:
    root = write_data_root(tmp_path / "d", "dynamic", {"test": 1}, 32, index=False)
    images = scene_folder(root, "dynamic", "test", 1) / DYNAMIC.image_folder
    path = weights(tmp_path / "a.pth", -0.05)
    plain = load_model(path, "cpu", tile_size=16, decision="plain")
    found = predict_series(images, plain)
    shifted = load_model(path, "cpu", tile_size=16)
    more = predict_series(images, shifted)
    assert found.moment is not None
    assert more.moment is not None
    assert (more.moment > 0).sum() > (found.moment > 0).sum()
    assert np.array_equal(more.area, more.moment > 0)
    assert (more.score[more.area == 1] >= 50).all()
    assert (more.score[more.area == 0] <= 50).all()
    by_hand = replace(shifted, decision=PLAIN)
    assert np.array_equal(predict_series(images, by_hand).score, found.score)
    assert shifted.facts()["decision"] == {"name": "calibrated", "offset": -0.05}
    assert plain.facts()["decision"] == {"name": "plain", "offset": 0.0}


def test_probabilities_are_mapped_where_their_error_is_small_and_the_dates_are_the_weights_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_data_root(tmp_path / "d", "dynamic", {"test": 1}, 32, index=False)
    images = scene_folder(root, "dynamic", "test", 1) / DYNAMIC.image_folder
    good = weights(tmp_path / "good.pth", None, curve=CURVE)
    bad = weights(tmp_path / "bad.pth", None, curve={**CURVE, "error": 0.031})
    model = load_model(good, "cpu", tile_size=16)
    maps = predict_series(images, model)
    assert maps.probability is not None
    assert maps.probability.max() <= 95
    assert (maps.probability[maps.area == 1] >= 40).all()
    assert maps.summary["pixels"]["changed_from_80_percent"] >= 0
    assert "change_probability" in maps.to_xarray()
    capsys.readouterr()
    assert model.for_dates(7).calibration is None
    assert load_model(bad, "cpu", tile_size=16).calibration is None
    steep = weights(tmp_path / "steep.pth", None, curve={**CURVE, "changed_error": 0.2})
    assert load_model(steep, "cpu", tile_size=16).calibration is None
    assert load_model(good, "cpu", tile_size=16, decision="plain").calibration is None
    said = capsys.readouterr().out
    assert "it is calibrated for 6 dates, and 7 are fused here" in said
    assert "are 0.031 off on average, 0.034 where they say 50 % or more (two other ones)" in said
    assert "probability" not in predict_series(images, load_model(bad, "cpu", tile_size=16)).summary


def test_tests_count_leads_for_a_probability_and_draw_how_far_it_is_one(tmp_path: Path) -> None:
    root = write_data_root(
        tmp_path / "d", "dynamic", {"train": 1, "val": 1, "test": 2}, 32, patch_size=16, stride=16
    )
    path = weights(tmp_path / "a.pth", None, curve=CURVE)
    for protocol in ("full", "released"):
        settings = Test_Dynamic.Settings(
            data_root=root, checkpoint=path, output_dir=tmp_path / protocol, protocol=protocol,
            patch_size=16, stride=16, device="cpu",
        )  # fmt: skip
        score_series(DYNAMIC, settings)
    report = read_json(tmp_path / "full/metrics.json")
    stored = read_json(tmp_path / "full/reliability.json")
    counts = LeadCounts.from_json(stored["halves"])
    per_half = [scene["pixels"] for scene in report["scenes"].values()]
    assert counts.counts.sum(axis=(1, 2)).tolist() == per_half
    assert counts.all[:, 1].sum() == np.array(report["confusion_matrix"]["area"])[1].sum()
    assert stored["checkpoint"]["sha256"] == report["protocol"]["checkpoint"]["sha256"]
    curve = (CURVE["leads"], CURVE["values"])
    error = calibration_error(curve, counts.all)
    assert report["calibration"]["error_here"] == pytest.approx(error)
    assert (tmp_path / "full/reliability.png").is_file()
    assert not (tmp_path / "released/reliability.json").exists()
    assert "calibration" not in read_json(tmp_path / "released/metrics.json")
