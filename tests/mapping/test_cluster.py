"""Areas mapped by the workers of a cluster: the same bytes, also when a worker is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.helpers.cities import Outcome, write_city
from utils.files import read_csv_rows, sha256

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

MAPS = ("change_area.tif", "change_moment.tif", "change_date.tif", "change_score.tif")


def checksums(folder: Path) -> list[str]:
    return [sha256(folder / name) for name in MAPS]


def kill_a_worker(rows: Path, stored: list[int]) -> None:
    """Kill one of the worker processes below this one once some rows are stored."""
    until = time.monotonic() + 60
    while time.monotonic() < until and not (rows.is_file() and sum(rows.read_bytes()) > 16):
        time.sleep(0.02)
    workers = [
        child
        for child in psutil.Process().children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    os.kill(workers[0].pid, signal.SIGKILL)
    stored.append(sum(rows.read_bytes()))


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a cluster of two workers."""
    cluster = pytest.importorskip("distributed").LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None,
        silence_logs=50,
    )  # fmt: skip
    with cluster:
        yield cluster.scheduler_address


@pytest.fixture
def tall(tmp_path: Path) -> Path:
    return write_city(tmp_path / "tall", (280, 50))


def test_an_area_whose_workers_are_killed_has_the_same_maps(
    tall: Path,
    weights: Path,
    scheduler: str,
    predict: Callable[..., Outcome],
    tmp_path: Path,
) -> None:
    flags = ("--images", tall, "--checkpoint", weights, "--batch-size", 1, "--overlap", 4)
    assert predict(*flags, "--output-dir", "alone")[0] == 0
    stored: list[int] = []
    killer = threading.Thread(
        target=kill_a_worker, args=(tmp_path / "cluster/.unfinished/rows.done", stored)
    )
    killer.start()
    code, said, errors = predict(
        *flags, "--output-dir", "cluster", "--executor", "dask", "--scheduler", scheduler
    )
    killer.join()
    assert code == 0, errors
    assert checksums(tmp_path / "cluster") == checksums(tmp_path / "alone")
    assert 0 < stored[0] < 280  # in the middle of the work
    assert said.count("changed: ") >= 1


def test_several_areas_are_tasks_and_faults_are_told_as_without(
    weights: Path, scheduler: str, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_city(tmp_path / "areas" / name, (40, 40))
    write_city(tmp_path / "areas" / "damaged", (40, 40))
    next((tmp_path / "areas/damaged").iterdir()).write_bytes(b"II*\0 no raster")
    flags = ("--images", "areas", "--checkpoint", weights)
    alone = predict(*flags, "--output-dir", "alone")
    there = ("--executor", "dask", "--scheduler", scheduler)
    cluster = predict(*flags, "--output-dir", "cluster", *there)
    assert alone[0] == cluster[0] == 3
    assert alone[2].replace("alone", "") == cluster[2].replace("cluster", "")
    for name in ("a", "b"):
        assert checksums(tmp_path / "cluster" / name) == checksums(tmp_path / "alone" / name)
    tables = [read_csv_rows(tmp_path / name / "areas.csv") for name in ("alone", "cluster")]
    for table in tables:
        for row in table:
            row.pop("seconds")
    assert tables[0] == tables[1]


def test_a_scheduler_that_is_not_there_is_a_sentence(
    tall: Path,
    weights: Path,
    predict: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("utils.processes.ANSWER_S", 0.5)
    flags = ("--images", tall, "--checkpoint", weights, "--output-dir", "out")
    code, _, errors = predict(*flags, "--executor", "dask", "--scheduler", "tcp://127.0.0.1:9")
    assert code == 2
    assert "found no Dask scheduler there" in errors
    code, _, errors = predict(*flags, "--workers", 2)
    assert (code, "--executor dask" in errors) == (2, True)
