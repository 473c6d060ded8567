"""Fixtures of the tests that run Predict.py: a small city, small weights, the program itself.

Property tests draw the same examples in every run, and keep none on disk.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

import Predict
from tests.helpers.cities import Outcome, write_city, write_weights
from utils.errors import run_program

hypothesis.settings.register_profile("same", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("same")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city(tmp_path_factory.mktemp("Städte und 都市") / "my city")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "small.pth")


@pytest.fixture
def predict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Outcome]:
    """Predict.py's main function in this process: exit code, output, errors."""

    def call(*flags: str | Path | int) -> Outcome:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["Predict.py", *map(str, flags)])
        with pytest.raises(SystemExit) as left:
            run_program(Predict.main)
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return call


def pytest_configure() -> None:
    """Ctrl-C is heeded here and by children, also where the shell that started this ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Searches for garbage that nobody asks for are rare.

    Tracing a network for ONNX, say, makes millions of objects and hardly any garbage.
    """
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def few_objects_to_search() -> None:
    """Leave what is there by now out of every later search for garbage, a quarter second each.

    A figure that was drawn is given back by such a search.
    """
    gc.freeze()
