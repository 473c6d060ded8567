"""Getting a network ready: device, compiling with a fallback (utils/execution.py)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from models import CAIMNet
from utils import execution
from utils.errors import UserError
from utils.execution import fewest_threads, ready_to_run, take_threads

CPU = torch.device("cpu")


def network() -> CAIMNet:
    torch.manual_seed(0)
    return CAIMNet(num_dates=2, width=8).eval()


def images(B: int = 2) -> torch.Tensor:
    return torch.rand(B, 2, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def test_a_network_is_moved_and_otherwise_left_alone() -> None:
    ours = network()
    ready = ready_to_run(ours, torch.device("meta"))
    assert ready is ours
    assert next(ready.parameters()).is_meta


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_maps_and_weights_of_the_same_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    plain, compiled = network(), ready_to_run(network(), CPU, compiled=True)
    for B in (2, 1):
        expected, found = plain.predict(images(B)), compiled.predict(images(B))
        torch.testing.assert_close(found.moment_prob, expected.moment_prob)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_where_compiling_fails_the_network_runs_without_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_function: Any) -> Any:
        raise RuntimeError("no C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", broken)
    compiled = ready_to_run(network(), CPU, compiled=True)
    expected = network().predict(images())
    for _ in range(2):
        torch.testing.assert_close(compiled.predict(images()).moment_prob, expected.moment_prob)
    said = capsys.readouterr().out
    assert said.count("going on without (no C++ compiler found)") == 1


def test_a_wrong_input_is_refused_as_without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    with pytest.raises(ValueError, match="expected"):
        ready_to_run(network(), CPU, compiled=True).predict(images()[0])


def test_recomputing_is_set_where_a_network_can_do_it() -> None:
    assert ready_to_run(network(), CPU, recompute=True).recompute is True
    with pytest.raises(UserError, match="Linear keeps all activations"):
        ready_to_run(nn.Linear(2, 2), CPU, recompute=True)


@pytest.mark.parametrize("unit", [None, "amx_bf16"])
def test_a_processor_that_emulates_bfloat16_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], unit: str | None
) -> None:
    monkeypatch.setattr(execution, "bfloat16_unit", lambda: unit)
    ready_to_run(network(), CPU, "bfloat16")
    assert ("emulates" in capsys.readouterr().out) == (unit is None)


# ------------------------------------------------------------------ threads


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two threads of this process, with nothing in the environment about them."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "fewest"),
    [({1: 1.0, 2: 0.6}, 2), ({1: 1.0, 2: 0.95}, 1), ({1: 0.1, 2: 2.6}, 1), ({1: 4, 2: 2, 4: 2}, 2)],
)
def test_more_threads_are_taken_only_where_they_save_time(
    seconds: dict[int, float], fewest: int
) -> None:
    assert fewest_threads(seconds) == fewest


@pytest.mark.usefixtures("two_threads")
def test_threads_are_measured_for_large_work_only_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(execution, "seconds_by_threads", lambda counts: {1: 0.001, 2: 0.026})
    assert take_threads(None, CPU, 100) == 2
    assert take_threads(None, torch.device("cuda"), 1 << 30) == 2
    assert take_threads(None, CPU, 1 << 30, measured=False) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert take_threads(None, CPU, 1 << 30) == 2
    assert capsys.readouterr().out.startswith("threads: 2, as OMP_NUM_THREADS says")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert take_threads(None, CPU, 1 << 30) == torch.get_num_threads() == 1
    assert "threads: 1 of 2, as measured (1.0 ms with 1, 26.0 ms with 2" in capsys.readouterr().out
    assert take_threads(None, CPU, 1 << 30) == 1  # of one thread there is nothing to measure
    assert take_threads(2, CPU, 1 << 30) == torch.get_num_threads() == 2
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("two_threads")
def test_a_measurement_is_short_and_leaves_threads_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(execution, "MEASURED_S", 0.0)
    seconds = execution.seconds_by_threads([1, 2])
    assert seconds.keys() == {1, 2}
    assert min(seconds.values()) > 0
    assert torch.get_num_threads() == 2
