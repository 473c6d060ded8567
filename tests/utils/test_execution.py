"""Getting a network ready: device, compiling with a fallback (utils/execution.py)."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from models import CAIMNet
from utils import execution
from utils.errors import UserError
from utils.execution import ready_to_run

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
