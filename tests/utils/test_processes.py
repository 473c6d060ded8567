"""Several processes that share one job (utils/processes.py)."""

from __future__ import annotations

import pytest

from utils.errors import UserError
from utils.processes import Processes, join_processes


@pytest.mark.parametrize("count", [0, 1, 5, 7, 100])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_the_parts_of_all_processes_are_everything_once_and_in_order(count: int, size: int) -> None:
    parts = [Processes(rank, size).part_of(range(count)) for rank in range(size)]
    assert [item for part in parts for item in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    alone = join_processes()
    assert (alone.rank, alone.size, alone.is_first) == (0, 1, True)
    alone.wait_for_all()  # returns at once
    alone.leave()
    assert alone.device_name("auto") == "auto"


def test_half_of_a_launchers_variables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(UserError, match=r"several processes: found .*torchrun"):
        join_processes()


def test_each_process_of_a_machine_gets_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    names = [Processes(rank, 3, rank).device_name("auto") for rank in range(3)]
    assert names == ["cuda:0", "cuda:1", "cuda:0"]
    assert Processes(1, 3, 1).device_name("cpu") == "cpu"
