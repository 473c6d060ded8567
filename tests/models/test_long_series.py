"""Series longer than a network's dates: windows along the time, fused into one moment."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from models import CAIMNet
from models.long_series import LongSeries, dates_needed_later, series_windows

C, H, W = 3, 8, 12


def network(T: int = 3, seed: int = 0) -> CAIMNet:
    torch.manual_seed(seed)
    return CAIMNet(in_channels=C, num_dates=T, width=8).double().eval()


def series(N: int, B: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(N)
    return torch.rand(B, N, C, H, W, generator=generator, dtype=torch.float64)


def literal_lead(net: CAIMNet, images: Tensor, windows: Sequence[Sequence[int]]) -> Tensor:
    """Mean over windows of log p_k − log p_0, by the network's own predict and plain loops."""
    N, T = images.shape[1], net.num_dates
    leads: list[list[Tensor]] = [[] for _ in range(N)]
    for dates in windows:
        moment_prob = net.predict(images[:, list(dates)]).moment_prob
        assert moment_prob is not None
        for k in range(1, T):
            for interval in range(dates[k - 1] + 1, dates[k] + 1):
                leads[interval].append(moment_prob[:, k].log() - moment_prob[:, 0].log())
    return torch.stack([torch.stack(some).mean(0) for some in leads[1:]], dim=1)


@pytest.mark.parametrize(("N", "T"), [(3, 3), (4, 3), (10, 3), (11, 4), (5, 2)])
def test_the_lead_of_each_interval_is_the_mean_over_its_windows(N: int, T: int) -> None:
    net, images = network(T), series(N)
    long = LongSeries(net, N)
    maps = long.predict(images)
    assert maps.moment_prob is not None
    assert maps.moment_prob.shape == (2, N, H, W)
    torch.testing.assert_close(maps.moment_prob.sum(1), torch.ones(2, H, W).to(maps.moment_prob))
    lead = maps.moment_prob[:, 1:].log() - maps.moment_prob[:, :1].log()
    expected = literal_lead(net, images, long.windows)
    torch.testing.assert_close(lead.double(), expected, rtol=0, atol=1e-5)


def test_with_as_many_dates_as_the_network_takes_the_decision_is_its_own() -> None:
    net, images = network(4), series(4)
    assert torch.equal(
        LongSeries(net, 4).predict(images).moment_label(), net.predict(images).moment_label()
    )


@pytest.mark.parametrize("T", [2, 3, 6, 9])
def test_windows_are_ascending_and_every_date_is_in_one(T: int) -> None:
    for N in range(T, 100):
        windows = series_windows(N, T)
        assert all(len(dates) == T and list(dates) == sorted(set(dates)) for dates in windows)
        assert {date for dates in windows for date in dates} == set(range(N))
        assert T == 2 or {(dates[0], dates[-1]) for dates in windows} == {(0, N - 1)}


def test_the_number_of_windows_grows_with_the_dates_not_with_dates_times_length() -> None:
    assert [len(series_windows(N, 9)) for N in (9, 24, 90)] == [1, 5, 14]


def test_features_of_a_date_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, calls = network(3), []
    plain = net.features
    monkeypatch.setattr(net, "features", lambda image: calls.append(len(image)) or plain(image))
    LongSeries(net, 12).predict(series(12, B=1))
    assert sum(calls) == 12


def test_few_dates_are_held_however_many_there_are() -> None:
    for T in (2, 3, 6, 9):
        for N in (T, 24, 96, 300):
            windows = series_windows(N, T)
            needed = dates_needed_later(windows)
            assert (
                max(len({*dates, *later}) for dates, later in zip(windows, needed, strict=True))
                <= 2 * T
            )
            assert needed[-1] == []
            for place, later in enumerate(needed):  # nothing is wanting that was there before
                before = {date for dates in windows[: place + 1] for date in dates}
                after = {date for dates in windows[place + 1 :] for date in dates}
                assert set(later) == before & after


def test_a_series_does_not_depend_on_its_batch() -> None:
    net, images = network(3), series(7, B=3)
    together = LongSeries(net, 7).predict(images).moment_prob
    alone = LongSeries(net, 7).predict(images[1:2]).moment_prob
    assert together is not None
    assert alone is not None
    torch.testing.assert_close(together[1:2], alone)


@pytest.mark.parametrize("N", [3, 4, 20])
def test_area_probabilities_stay_within_their_bounds(N: int) -> None:
    net = network(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(30)
    long = LongSeries(net, N)
    low, high = long.area_prob_bounds()
    changed = long.predict(series(N) * 50).area_prob[:, 1]
    assert low - 1e-6 <= changed.min() < changed.max() <= high + 1e-6
    assert 0 < low < 0.5 < high < 1


def test_the_bounds_are_reached() -> None:
    """One date alone stands out, in all four fine moments; or none but "unchanged" does."""
    net = network(3)
    strong, weak = 1 / (1 + 2 / torch.e), 1 / (torch.e + 2)
    lead = 4 * (torch.tensor(strong) - weak)
    assert LongSeries(net, 3).area_prob_bounds()[1] == pytest.approx(
        float(torch.sigmoid((lead.exp() - 1) / (lead.exp() + 1 + (-lead).exp()))), abs=1e-6
    )


def test_fewer_dates_than_the_network_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="found 2 dates for windows of 3"):
        LongSeries(network(3), 2)
