"""Speed and memory of CTMA are measured by a program that counts what is computed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.pairs import flop_of_pair, main
from models import CTMA
from tests.models.test_ctma import small


def test_the_arithmetic_of_the_full_network_is_that_of_the_released_program() -> None:
    with torch.device("meta"):
        network = CTMA()
    released = flop_of_pair(network, 256, released=True)
    assert released / 1e9 == pytest.approx(196.5, abs=0.05)
    assert (released - flop_of_pair(network, 256)) / 2e9 == pytest.approx(4.3, abs=0.05)


def test_arithmetic_grows_with_the_pixels_and_leaves_the_network_alone() -> None:
    network = small()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    assert flop_of_pair(network, 64) == 4 * flop_of_pair(network, 32)
    assert all(torch.equal(before[name], values) for name, values in network.state_dict().items())


@pytest.mark.slow
def test_the_benchmark_writes_its_rows(tmp_path: Path) -> None:
    main(["--what", "forward", "--side", "32", "--rounds", "1", "--dtypes", "float32", "--device",
          "cpu", "--output-dir", str(tmp_path)])  # fmt: skip
    (row,) = json.loads((tmp_path / "pairs.json").read_text(encoding="utf-8"))["rows"]
    assert (row["what"], row["times_float32"]) == ("forward", 1.0)
    assert row["seconds"]["median"] > 0
    assert row["peak_gb"] > 0
