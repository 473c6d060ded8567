"""Series longer than a network's dates: windows along the time, fused into one moment."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from models import CAIMNet
from models.long_series import LongSeries, window_starts

C, H, W = 3, 8, 12


def network(T: int = 3, seed: int = 0) -> CAIMNet:
    torch.manual_seed(seed)
    return CAIMNet(in_channels=C, num_dates=T, width=8).double().eval()


def series(N: int, B: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(N)
    return torch.rand(B, N, C, H, W, generator=generator, dtype=torch.float64)


def literal_lead(net: CAIMNet, images: Tensor, starts: list[int]) -> Tensor:
    """Mean over windows of log p_k − log p_0, by the network's own predict and plain loops."""
    N, T = images.shape[1], net.num_dates
    leads: list[list[Tensor]] = [[] for _ in range(N)]
    for start in starts:
        moment_prob = net.predict(images[:, start : start + T]).moment_prob
        assert moment_prob is not None
        for k in range(1, T):
            leads[start + k].append(moment_prob[:, k].log() - moment_prob[:, 0].log())
    return torch.stack([sum(some) / len(some) for some in leads[1:]], dim=1)  # type: ignore[misc]


@pytest.mark.parametrize(("N", "T", "stride"), [(3, 3, 1), (4, 3, 1), (10, 3, 2), (11, 4, 3)])
def test_the_lead_of_each_interval_is_the_mean_over_its_windows(
    N: int, T: int, stride: int
) -> None:
    net, images = network(T), series(N)
    long = LongSeries(net, N, stride)
    maps = long.predict(images)
    assert maps.moment_prob is not None
    assert maps.moment_prob.shape == (2, N, H, W)
    torch.testing.assert_close(maps.moment_prob.sum(1), torch.ones(2, H, W).to(maps.moment_prob))
    lead = maps.moment_prob[:, 1:].log() - maps.moment_prob[:, :1].log()
    expected = literal_lead(net, images, long.starts)
    torch.testing.assert_close(lead.double(), expected, rtol=0, atol=1e-5)


def test_with_as_many_dates_as_the_network_takes_the_decision_is_its_own() -> None:
    net, images = network(4), series(4)
    assert torch.equal(
        LongSeries(net, 4, 2).predict(images).moment_label(), net.predict(images).moment_label()
    )


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_windows_hold_all_dates_and_stay_inside(stride: int) -> None:
    for N, T in itertools.product(range(4, 30), [4]):
        starts = window_starts(N, T, stride)
        assert {s + t for s in starts for t in range(T)} == set(range(N))
        assert starts == sorted(set(starts))


def test_features_of_a_date_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, calls = network(3), []
    plain = net.features
    monkeypatch.setattr(net, "features", lambda image: calls.append(len(image)) or plain(image))
    LongSeries(net, 12, 1).predict(series(12, B=1))
    assert calls == [1] * 12


def test_a_series_does_not_depend_on_its_batch() -> None:
    net, images = network(3), series(7, B=3)
    together = LongSeries(net, 7, 2).predict(images).moment_prob
    alone = LongSeries(net, 7, 2).predict(images[1:2]).moment_prob
    assert together is not None
    assert alone is not None
    torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("N", [3, 4, 20])
def test_area_probabilities_stay_within_their_bounds(N: int) -> None:
    net = network(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(30)
    long = LongSeries(net, N, 1)
    low, high = long.area_prob_bounds()
    changed = long.predict(series(N) * 50).area_prob[:, 1]
    assert low - 1e-6 <= changed.min() < changed.max() <= high + 1e-6
    assert 0 < low < 0.5 < high < 1


def test_the_bounds_are_reached() -> None:
    """One date alone stands out, in all four fine moments; or none but "unchanged" does."""
    net = network(3)
    strong, weak = 1 / (1 + 2 / torch.e), 1 / (torch.e + 2)
    lead = 4 * (torch.tensor(strong) - weak)
    assert LongSeries(net, 3, 1).area_prob_bounds()[1] == pytest.approx(
        float(torch.sigmoid((lead.exp() - 1) / (lead.exp() + 1 + (-lead).exp()))), abs=1e-6
    )


def test_fewer_dates_and_strides_that_leave_intervals_out_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        LongSeries(network(3), 2, 1)
    with pytest.raises(ValueError, match="stride 3"):
        LongSeries(network(3), 9, 3)
