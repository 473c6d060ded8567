"""Runs of the prepare_* programs: fingerprints, interruptions, refusals (preparation.py)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rasterio import Affine

from data_processing.rasters.reading import RasterInfo
from data_processing.raw.plan import Gap, Plan, RunSettings, SceneTask
from data_processing.raw.preparation import prepare
from data_processing.scenes.spec import DYNAMIC
from data_processing.scenes.writing import write_scene
from utils.errors import DataError, UserError
from utils.files import read_json, write_json
from utils.settings import REPOSITORY


def write(task: SceneTask, folder: Path) -> dict[str, Any]:
    """A scene of noise whose seed is the task's work; "bad" fails."""
    if task.work == "bad":
        raise DataError(task.area, ["found nothing"], "Mend it.")
    grid = RasterInfo(64, 64, 4, "uint8", None, Affine.translation(0, 0), None)
    rng = np.random.default_rng(task.work)
    images = [
        (f"2018_{m:02d}.tif", rng.integers(0, 255, (4, 64, 64)).astype(np.uint8))
        for m in range(1, 7)
    ]
    moment = rng.integers(0, 6, (64, 64)).astype(np.uint8)
    return write_scene(folder, DYNAMIC, images, grid, moment)


def plan(root: Path, works: list[Any], **options: Any) -> Plan:
    tasks = [
        SceneTask(
            f"Scene{n:02d}",
            "test",
            f"area {n}",
            10**6,
            [("x.tif", 5, n)],
            {"dates": ["2018-01-01"]},
            work,
        )
        for n, work in enumerate(works, start=1)
    ]
    values: dict[str, Any] = {
        "settings": {"event": "last"}, "source": {"path": "raw"}, "gaps": [], **options,
    }  # fmt: skip
    return Plan(
        "prepare_test.py", 1, DYNAMIC, root, values["source"], values["settings"],
        {"note": "a test"}, tasks, values["gaps"], values.get("adds", False),
    )  # fmt: skip


def flags(**given: Any) -> RunSettings:
    defaults = {"strict": False, "dry_run": False, "overwrite": False, "num_workers": 0}
    return RunSettings(**{**defaults, **given})


def stamps(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_everything_that_was_decided_is_written(tmp_path: Path) -> None:
    prepare(plan(tmp_path, [1, 2]), write, flags())
    facts = read_json(tmp_path / "Images_Dynamic/dataset.json")
    assert facts["complete"] is True
    assert facts["settings"] == {"event": "last"}
    assert facts["note"] == "a test"
    assert [scene["area"] for scene in facts["scenes"]] == ["area 1", "area 2"]
    assert all(sum(scene["pixels_per_class"]) == 64 * 64 for scene in facts["scenes"])
    table = (tmp_path / "Images_Dynamic/scenes.csv").read_text("utf-8")
    assert table.splitlines()[:2] == ["split,name,area,dates", "test,Scene01,area 1,2018-01-01"]
    inputs = read_json(tmp_path / "Images_Dynamic/audit.json")["inputs"]
    assert inputs["test/Scene01"] == [{"name": "x.tif", "bytes": 5, "mark": 1}]
    assert DYNAMIC.provenance(tmp_path)["generator"] == "data_processing/prepare_test.py"


def test_a_second_run_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(plan(tmp_path, [1, 2]), write, flags())
    before = stamps(tmp_path)
    prepare(plan(tmp_path, ["bad", "bad"]), write, flags())  # would fail if a scene were made
    assert stamps(tmp_path) == before
    assert "nothing done" in capsys.readouterr().out


def test_a_scene_that_lost_a_file_is_made_again_and_others_are_not(tmp_path: Path) -> None:
    prepare(plan(tmp_path, [1, 2]), write, flags())
    folder = tmp_path / "Images_Dynamic/test"
    before = stamps(folder / "Scene02")
    (folder / "Scene01/change/bi_change.tif").unlink()
    prepare(plan(tmp_path, [1, "bad"]), write, flags())
    assert (folder / "Scene01/change/bi_change.tif").is_file()
    assert stamps(folder / "Scene02") == before


def test_what_to_do_next_fits_the_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(plan(tmp_path, [1]), write, flags())
    said = capsys.readouterr().out
    assert "python Test_Dynamic.py" in said
    assert "Train_Dynamic.py" not in said


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(plan(tmp_path / "out", [1, 2]), write, flags(dry_run=True))
    assert not (tmp_path / "out").exists()
    said = capsys.readouterr().out
    assert "test/Scene01 from area 1" in said
    assert "2 to write" in said


def test_scenes_that_fail_are_all_told_and_the_others_written(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        prepare(plan(tmp_path, ["bad", 2, "bad"]), write, flags())
    assert [fault.split(":")[0] for fault in error.value.faults] == ["area 1", "area 3"]
    names = sorted(path.name for path in (tmp_path / "Images_Dynamic/test").iterdir())
    assert names == ["Scene02"]
    assert read_json(tmp_path / "Images_Dynamic/dataset.json")["complete"] is False
    prepare(plan(tmp_path, [1, 2, 3]), write, flags())
    assert read_json(tmp_path / "Images_Dynamic/dataset.json")["complete"] is True


def test_gaps_stop_a_strict_run_before_anything_is_written(tmp_path: Path) -> None:
    gaps = [Gap("area 1", "no month 3", "left out"), Gap("area 2", "no month 4", "left out")]
    with pytest.raises(DataError) as error:
        prepare(plan(tmp_path / "out", [1], gaps=gaps), write, flags(strict=True))
    assert len(error.value.faults) == 2
    assert not (tmp_path / "out").exists()


def test_other_data_are_never_replaced(tmp_path: Path) -> None:
    stranger = tmp_path / "Images_Dynamic/test/Scene01/train_images/2018_01.tif"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"no dataset\.json"):
            prepare(plan(tmp_path, [1]), write, flags(overwrite=overwrite))
    write_json(tmp_path / "Images_Dynamic/dataset.json", {"generator": "another.py"})
    with pytest.raises(UserError, match=r"another\.py"):
        prepare(plan(tmp_path, [1]), write, flags(overwrite=True))
    assert stranger.read_bytes() == b"mine"


def test_other_settings_need_to_be_asked_for(tmp_path: Path) -> None:
    prepare(plan(tmp_path, [1, 2]), write, flags())
    other = plan(tmp_path, [3], settings={"event": "first"})
    with pytest.raises(UserError, match="event: 'last' there, 'first' asked for"):
        prepare(other, write, flags())
    assert (tmp_path / "Images_Dynamic/test/Scene02").is_dir()
    prepare(other, write, flags(overwrite=True))
    facts = read_json(tmp_path / "Images_Dynamic/dataset.json")
    assert facts["settings"] == {"event": "first"}
    assert [scene["name"] for scene in facts["scenes"]] == ["Scene01"]
    assert not (tmp_path / "Images_Dynamic/test/Scene02").exists()


def test_a_full_disk_is_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=10**6)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="MiB are free"):
        prepare(plan(tmp_path, [1, 2]), write, flags())
    assert not (tmp_path / "Images_Dynamic").exists()


@pytest.mark.slow
def test_workers_of_a_cluster_write_the_same_and_faults_are_told(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    alone, cluster = tmp_path / "alone", tmp_path / "cluster"
    for root, options in ((alone, {}), (cluster, {"executor": "dask", "num_workers": 1})):
        with pytest.raises(DataError, match="found nothing"):
            prepare(plan(root, [1, "bad", 3]), write, flags(**options))
    images = sorted(path.relative_to(alone) for path in alone.rglob("*.tif"))
    assert len(images) > 12
    for path in images:
        assert (cluster / path).read_bytes() == (alone / path).read_bytes()


def test_several_processes_write_the_same(tmp_path: Path) -> None:
    prepare(plan(tmp_path / "one", [1, 2, 3]), write, flags())
    prepare(plan(tmp_path / "two", [1, 2, 3]), write, flags(num_workers=2))
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.tif"))
    assert len(files) == 3 * 9
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


SLOW = """
import sys, time
from pathlib import Path
from tests.data_processing.raw import test_preparation as t
from data_processing.raw.preparation import prepare

def slow(task, folder):
    facts = t.write(task, folder)
    time.sleep(0.3)
    return facts

prepare(t.plan(Path(sys.argv[1]), [1, 2, 3, 4, 5, 6]), slow, t.flags())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, how: int) -> None:
    if sys.platform == "win32":
        pytest.skip("no such signals")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path)], cwd=REPOSITORY, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    folder = tmp_path / "Images_Dynamic/test"
    while not (folder / "Scene02").is_dir():
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, how)
    process.wait()
    whole = [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert 2 <= len(whole) < 6
    assert all((path / "prepared.json").is_file() for path in whole)
    assert read_json(tmp_path / "Images_Dynamic/dataset.json")["complete"] is False
    before = stamps(folder / "Scene01")
    prepare(plan(tmp_path, [1, 2, 3, 4, 5, 6]), write, flags())
    assert stamps(folder / "Scene01") == before
    assert sorted(path.name for path in folder.iterdir()) == [f"Scene{n:02d}" for n in range(1, 7)]
