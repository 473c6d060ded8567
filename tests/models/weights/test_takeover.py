"""Weights for other dates or bands as a start: what fits is taken over, and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from models import CAIMNet
from models.weights.checkpoint import Checkpoint, save_checkpoint
from models.weights.choosing import network_to_train
from models.weights.takeover import AXES, BAND_CONVOLUTIONS, Takeover, take_over
from tests.helpers.oracle import random_released_state

BGRN = ["blue", "green", "red", "nir"]


def network(bands: int = 4, dates: int = 6, **more: Any) -> CAIMNet:
    torch.manual_seed(bands + dates)
    return CAIMNet(bands, dates, width=8, dropout=0.0, **more).eval()


def taken(start: CAIMNet, given: CAIMNet, bands: Any = (BGRN, BGRN)) -> Takeover:
    done = take_over(
        start.state_dict(),
        given.state_dict(),
        bands=bands,
        dates=(start.num_dates, given.num_dates),
    )
    start.load_state_dict(done.state)
    return done


def doubled(tokens: torch.Tensor, intervals: int) -> torch.Tensor:
    """Tokens (B, N, E) with every interval twice."""
    parts = tokens.unflatten(2, (intervals, -1))
    return parts.repeat_interleave(2, dim=2).flatten(2)


def test_the_same_dates_and_bands_give_the_same_network() -> None:
    ours, given = network(), network()
    images = torch.rand(1, 6, 4, 8, 8)
    done = taken(ours, given)
    assert set(done.whole) == set(given.state_dict())
    assert torch.equal(ours(images).moment_prob, given(images).moment_prob)


def test_bands_go_by_name_and_new_ones_begin_without_effect() -> None:
    given = network(4)
    ours = network(6)
    names = ["swir1", "red", "green", "blue", "nir", "swir2"]
    done = taken(ours, given, (names, BGRN))
    assert done.bands == (["red", "green", "blue", "nir"], ["swir1", "swir2"])
    assert not done.new
    images = torch.rand(1, 6, 6, 8, 8)
    same = given(images[:, :, [3, 2, 1, 4]]).moment_prob
    torch.testing.assert_close(ours(images).moment_prob, same)
    ours(images).moment_prob[:, 0].sum().backward()
    for name in BAND_CONVOLUTIONS:  # and yet they learn
        parameter = dict(ours.named_parameters())[name]
        assert parameter.grad is not None
        assert parameter.grad[:, 0].abs().max() > 0


def test_without_a_band_in_common_the_first_convolutions_are_new() -> None:
    ours = network(2)
    before = ours.state_dict()[BAND_CONVOLUTIONS[0]].clone()
    done = taken(ours, network(4), (["vv", "vh"], BGRN))
    assert done.new == list(BAND_CONVOLUTIONS)
    assert torch.equal(ours.state_dict()[BAND_CONVOLUTIONS[0]], before)


def test_bands_without_names_are_taken_where_their_number_is_the_same() -> None:
    assert not taken(network(4, 3), network(4), (BGRN, [])).new
    assert taken(network(3, 3), network(4), (["a", "b", "c"], [])).new == list(BAND_CONVOLUTIONS)


@pytest.mark.parametrize("dates", [2, 3, 5, 7, 11, 12])
def test_any_number_of_dates_leaves_nothing_new(dates: int) -> None:
    ours, given = network(4, dates), network()
    done = taken(ours, given)
    assert not done.new
    assert set(done.stretched) <= set(AXES)
    shapes = {name: value.shape for name, value in done.state.items()}
    assert shapes == {name: value.shape for name, value in ours.state_dict().items()}
    assert ours(torch.rand(1, dates, 4, 8, 8)).moment_prob.isfinite().all()


def test_twice_the_intervals_correlate_as_the_intervals_did() -> None:
    given, ours = network(4, 4), network(4, 7)
    taken(ours, given)
    tokens = torch.randn(1, 16, 3 * 8)
    expected = doubled(given.correlation(tokens), 3)
    torch.testing.assert_close(ours.correlation(doubled(tokens, 3)), expected)
    states = torch.randn(1, 8, 8, 3, 4)
    twice = states.repeat_interleave(2, dim=3)
    logits = given.coarse_moment2(states)
    order = [0, 1, 1, 2, 2, 3, 3]
    torch.testing.assert_close(ours.coarse_moment2(twice), logits[:, order])


def test_every_tensor_with_a_place_for_intervals_is_listed() -> None:
    few, many = network(4, 3).state_dict(), network(4, 6).state_dict()
    assert {name for name in few if few[name].shape != many[name].shape} == set(AXES)


# ------------------------------------------------------------------ from files


def weights(path: Path, bands: list[str], dates: int = 6, **arguments: Any) -> Path:
    given = {"in_channels": len(bands), "num_dates": dates, "width": 8, **arguments}
    state = CAIMNet(**given).state_dict()
    save_checkpoint(path, Checkpoint("caim_net", given, state, data={"bands": bands}))
    return path


def start_from(path: Path, bands: list[str], dates: int) -> tuple[Any, dict[str, Any]]:
    asked = {"in_channels": len(bands), "num_dates": dates, "width": 16, "dropout": 0.0}
    return network_to_train(asked, path, batch_size=4, patch_size=16, bands=bands)


def test_what_is_taken_over_and_what_is_new_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = weights(tmp_path / "w.pth", BGRN)
    built, arguments = start_from(file, ["red", "green", "swir1"], 12)
    assert (built.in_channels, built.num_dates) == (3, 12)
    assert (arguments["width"], arguments["dropout"]) == (8, 0.0)
    shown = capsys.readouterr().out
    assert "built as in that file, not by the flags: {'width': 8}" in shown
    assert "16 stretched from 6 dates to 12, bands red, green of the first" in shown
    assert "new bands, which begin without effect: swir1" in shown
    assert "new: nothing" in shown


def test_the_same_number_of_bands_in_another_order_is_put_in_order(tmp_path: Path) -> None:
    file = weights(tmp_path / "w.pth", BGRN)
    built, _ = start_from(file, ["red", "green", "blue", "nir"], 6)
    first = torch.load(file, weights_only=True)["state_dict"][BAND_CONVOLUTIONS[0]]
    assert torch.equal(built.state_dict()[BAND_CONVOLUTIONS[0]], first[:, [2, 1, 0, 3]])


def test_the_authors_weights_are_a_start_for_other_dates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(random_released_state(6, 16, (2, 8, 8)), tmp_path / "released.pth")
    built, arguments = network_to_train(
        {"in_channels": 4, "num_dates": 8, "width": 8, "dropout": 0.0},
        tmp_path / "released.pth", batch_size=4, patch_size=8, bands=BGRN,
    )  # fmt: skip
    assert (built.num_dates, arguments["cam"]) == (8, "shared")
    assert "stretched from 6 dates to 8" in capsys.readouterr().out
