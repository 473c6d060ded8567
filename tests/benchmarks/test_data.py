"""The benchmarks of loading, counting and memory run and write what they say (benchmarks/)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import data_loading, metrics_cost
from benchmarks.measuring import peak_gb
from benchmarks.memory import work_of_case
from utils.errors import UserError
from utils.files import read_json

STATES = ["disk, first pass", "disk, later passes", "disk, not kept", "memory"]


@pytest.fixture(scope="module")
def loading(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result file of a tiny run."""
    folder = tmp_path_factory.mktemp("loading")
    sizes = ("--scene-size", "128", "--scenes", "1", "--batch-sizes", "2", "--rounds", "2")
    data_loading.main([*sizes, "--workers", "0", "1", "--output-dir", str(folder)])
    return read_json(folder / "data_loading.json")


def test_loading_is_measured_for_each_format_state_and_number_of_processes(loading: Any) -> None:
    found = {(row["images"], row["from"], row["workers"]) for row in loading["rows"]}
    names = [form.name for form in data_loading.FORMATS]
    expected = {(name, state, n) for name in names for state in STATES for n in (0, 1)}
    assert found == expected
    assert len(loading["rows"]) == len(expected)
    for row in loading["rows"]:
        rate = row["patches_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        assert row["patches_per_pass"] == 4
        assert row["patches_per_second_and_process"] == pytest.approx(rate["median"], abs=0.1)


def test_scenes_smaller_than_a_patch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected 64 or more"):
        data_loading.main(["--scene-size", "32", "--output-dir", str(tmp_path)])


def test_counting_is_measured_and_every_way_counts_the_same(tmp_path: Path) -> None:
    metrics_cost.main(["--pixels", "20000", "--rounds", "2", "--output-dir", str(tmp_path)])
    rows = read_json(tmp_path / "metrics_cost.json")["rows"]
    assert {(row["what"], row["num_classes"]) for row in rows} == {
        ("change moment", 6), ("change moment", 9), ("change area", 2),
        ("both and all scores", 6), ("both and all scores", 9),
    }  # fmt: skip
    for row in rows:
        per_pixel = row["seconds"]["median"] / row["pixels"]
        assert row["seconds_per_1e8_pixels"] == pytest.approx(per_pixel * 1e8, rel=0.05, abs=0.1)


def test_a_wrong_count_does_not_pass_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = metrics_cost._plain
    monkeypatch.setattr(metrics_cost, "_plain", lambda *given: right(*given) + 1)
    with pytest.raises(AssertionError):
        metrics_cost.main(["--pixels", "1000", "--rounds", "1", "--output-dir", str(tmp_path)])


@pytest.mark.slow
def test_memory_of_a_case_is_that_of_a_process_of_its_own() -> None:
    ballast = torch.ones(1 << 28)  # 1 GiB here, none of it there
    peak = peak_gb(2, "cpu", work_of_case, "training step", True, "batch", 2, 1, 8, 8)
    assert 0.05 < peak < ballast.nbytes / 1e9
