"""The mapping package from outside: two names for use from Python, blocks of the Test programs."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

import mapping
import Test_CTMA
import Test_Dynamic
import Test_SpaceNet7
from mapping.scoring_settings import PairScoring, SeriesScoring
from utils.fields import REPOSITORY

LIGHT = """
import sys
import mapping
heavy = {"torch", "rasterio", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
from mapping import load_model, predict_series
assert callable(load_model) and callable(predict_series)
"""


def test_importing_the_package_is_light_and_gives_its_two_functions() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], cwd=REPOSITORY, check=True)


def test_another_name_is_none_of_its_own() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = mapping.no_such_name  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        (Test_Dynamic.Settings, SeriesScoring),
        (Test_SpaceNet7.Settings, SeriesScoring),
        (Test_CTMA.Settings, PairScoring),
    ],
)
def test_settings_stand_in_one_order_in_their_block_and_in_help(block: type, fields: type) -> None:
    names = [field.name for field in dataclasses.fields(fields)]
    assert [field.name for field in dataclasses.fields(block)] == names
    assert list(block.__annotations__) == names
