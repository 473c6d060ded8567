"""The first Ctrl-C or SIGTERM is a request, a later Ctrl-C an order (utils/interruption.py)."""

from __future__ import annotations

import os
import signal

import pytest

from utils.interruption import StopRequest


def test_a_signal_is_noted_and_breaks_into_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.requested
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):  # one Ctrl-C, handed on twice
            os.kill(os.getpid(), number)
        assert (stop.interrupted, stop.terminated) == (True, True)
    assert signal.getsignal(signal.SIGTERM) is before
    assert capsys.readouterr().out.count("stopping after this step") == 1


def test_a_second_ctrl_c_later_breaks_in(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 103.0])
    monkeypatch.setattr("utils.interruption.time.monotonic", lambda: next(times))
    with StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
