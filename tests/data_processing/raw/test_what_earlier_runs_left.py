"""Runs that make scenes remove only what is theirs and go on, whatever broke off before."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from data_processing.raw import preparation
from data_processing.raw.plan import Plan
from data_processing.raw.preparation import prepare
from data_processing.scenes.check import check_scene
from data_processing.scenes.dataset import open_split
from data_processing.scenes.spec import DYNAMIC
from tests.data_processing.raw.test_preparation import flags, plan, stamps, write
from tests.helpers.children import forked, in_child
from tests.helpers.small_disk import fill, small_disk
from utils.errors import CaimError, DataError, Terminated, UserError
from utils.files import read_json, write_json

FOLDER = "Images_Dynamic"


def run(root: Path, works: list[Any], **given: Any) -> None:
    prepare(plan(root, works), write, flags(**given))


def change(root: Path, **entries: Any) -> None:
    """Change dataset.json."""
    path = root / FOLDER / "dataset.json"
    write_json(path, read_json(path) | entries)


def victim_of(root: Path, own_record: bool = False) -> Path:
    """A folder beside the data root that nothing may touch."""
    victim = root.parent / "victim"
    victim.mkdir()
    (victim / "photo.jpg").write_text("mine")
    if own_record:
        record = root / FOLDER / "test/Scene01/prepared.json"
        (victim / "prepared.json").write_bytes(record.read_bytes())
    return victim


@pytest.mark.parametrize("own_record", [False, True])
@pytest.mark.parametrize(
    "entry",
    [
        {"name": "VICTIM"},
        {"name": "../../../victim"},
        {"name": ".."},
        {"name": ""},
        {"split": "VICTIM"},
        {"split": "../.."},
        {"split": "../../victim", "name": "."},
        {"split": "elsewhere"},
        {"name": ["a"]},
        {"name": None},
        {"split": {"a": 1}},
    ],
)
def test_nothing_outside_the_data_root_is_ever_removed(
    tmp_path: Path, entry: dict[str, Any], own_record: bool
) -> None:
    root = tmp_path / "data"
    run(root, [1, 2])
    victim = victim_of(root, own_record)
    scenes = read_json(root / FOLDER / "dataset.json")["scenes"]
    told = {k: str(victim) if v == "VICTIM" else v for k, v in entry.items()}
    change(root, scenes=[scenes[0], {**scenes[1], **told}])
    before = stamps(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"dataset\.json"):
            run(root, [1], overwrite=overwrite)
    assert stamps(tmp_path) == before


@pytest.mark.parametrize("kind", ["link", "user's", "another program's"])
def test_scenes_that_are_not_ours_stay(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    run(root, [1, 2])
    scene = root / FOLDER / "test/Scene02"
    if kind == "link":
        victim = victim_of(root, own_record=True)
        scene.rename(tmp_path / "away")
        scene.symlink_to(victim)
    elif kind == "user's":
        (scene / "prepared.json").unlink()
    else:
        record = scene / "prepared.json"
        write_json(record, read_json(record) | {"program": "another.py", "fingerprint": "x"})
    before = stamps(scene.resolve())
    with pytest.raises(UserError, match=r"Scene02 without a sound prepared\.json"):
        run(root, [1, 3], overwrite=True)  # would be made anew in its place
    run(root, [1], overwrite=True)  # is not wanted any more
    assert stamps(scene.resolve()) == before
    assert "not ours" in capsys.readouterr().out
    listed = open_split(root, DYNAMIC, "test").scenes
    assert [scene.name for scene in listed] == ["Scene01"]


def test_a_link_where_a_scene_is_written_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    victim = victim_of(root)
    (root / FOLDER / "test").mkdir(parents=True)
    (root / FOLDER / "test/.partial-Scene01").symlink_to(victim)
    write_json(root / FOLDER / "dataset.json", {"generator": "data_processing/prepare_test.py"})
    run(root, [1], overwrite=True)
    assert [path.name for path in victim.iterdir()] == ["photo.jpg"]
    assert not list(root.rglob(".partial-*"))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000, b'{"complete": "yes"}', b'{"scenes": 3}',
        b'{"scenes": [7]}', b'{"generator": ["a"]}', b'{"scenes": [{"split": "test"}]}',
        b'{"scenes": [{"split": "test", "name": "a", "area": 1, "dates": []}]}',
        b'{"scenes": [{"split": "test", "name": "a", "area": "", "dates": "x"}]}',
    ],
)  # fmt: skip
def test_a_damaged_dataset_json_is_said_and_nothing_is_written(
    tmp_path: Path, content: bytes
) -> None:
    run(tmp_path, [1])
    (tmp_path / FOLDER / "dataset.json").write_bytes(content)
    before = stamps(tmp_path)
    with pytest.raises(DataError, match=r"dataset\.json"):
        run(tmp_path, [1, 2], overwrite=True)
    assert stamps(tmp_path) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"7", b'{"gaps": 1}', b'{"gaps": [{"area": 1}]}', b'{"inputs": []}', b"[" * 100_000],
)
def test_a_damaged_audit_is_said_when_scenes_are_added(tmp_path: Path, content: bytes) -> None:
    prepare(plan(tmp_path, [1], adds=True), write, flags())
    (tmp_path / FOLDER / "audit.json").write_bytes(content)
    with pytest.raises(DataError, match=r"audit\.json"):
        prepare(plan(tmp_path, [1, 2], adds=True), write, flags())


@pytest.mark.parametrize(
    "entry",
    [
        {"scene": 7}, {"scene": {}}, {"gaps": 7}, {"fingerprint": 7}, {"gaps": [{"area": "a"}]},
        {"images": ["../../x"]}, {"images": 7}, {"pixels_per_class": ["many"]},
        {"pixels_per_class": None}, {"dates": 7}, {"name": "/etc"},
    ],
)  # fmt: skip
def test_a_damaged_record_of_a_scene_makes_it_no_scene_of_ours(
    tmp_path: Path, entry: dict[str, Any]
) -> None:
    run(tmp_path, [1])
    path = tmp_path / FOLDER / "test/Scene01/prepared.json"
    record = read_json(path)
    if entry.keys() & record.keys():
        record |= entry
    else:
        record["scene"] |= entry
    write_json(path, record)
    before = stamps(tmp_path)
    with pytest.raises(UserError, match=r"without a sound prepared\.json"):
        run(tmp_path, [1], overwrite=True)
    assert stamps(tmp_path) == before


@pytest.mark.parametrize("name", ["../victim", "/abs", "a/b", ".hidden", "", "a\0b"])
def test_areas_whose_names_are_no_folders_make_no_scene(tmp_path: Path, name: str) -> None:
    odd = plan(tmp_path / "data", [1])
    task = odd.tasks[0]
    tasks = [type(task)(**{**vars(task), "name": name})]
    with pytest.raises(DataError, match="name"):
        prepare(Plan(**{**vars(odd), "tasks": tasks}), write, flags())
    assert not list(tmp_path.iterdir())


# ─────────────────────────────────────── broken off ───────────────────────────────────────


def test_a_run_killed_before_lists_and_index_makes_them_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **options: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "write_patch_index", killed)
        with pytest.raises(MemoryError):
            run(tmp_path, [1, 2])
    assert read_json(tmp_path / FOLDER / "dataset.json")["complete"] is False
    before = stamps(tmp_path / FOLDER / "test")
    run(tmp_path, [1, 2])
    assert stamps(tmp_path / FOLDER / "test") == before
    assert len(open_split(tmp_path, DYNAMIC, "test")) == 2


@pytest.mark.parametrize("lost", ["Dynamic_Fsplit/Ftest.npy", "Dynamic_xys_64_64/myxys_test.csv"])
def test_lost_lists_are_made_again(tmp_path: Path, lost: str) -> None:
    run(tmp_path, [1])
    (tmp_path / lost).unlink()
    run(tmp_path, [1])
    assert (tmp_path / lost).is_file()


def test_what_a_killed_run_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    run(tmp_path, [1])
    left = [
        f"{FOLDER}/test/.partial-Scene09/train_images/.a.abcdefgh.partial.tif",
        f"{FOLDER}/train/.partial-Scene08/x.tif",
        f"{FOLDER}/.dataset.abcdefgh.partial.json",
        "Dynamic_Fsplit/.Ftest.abcd_123.partial.npy",
        "Dynamic_xys_64_64/.myxys_test.abcdefgh.partial.csv",
    ]
    for name in left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    run(tmp_path, [1])
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


def test_a_run_that_adds_a_scene_leaves_those_that_others_are_writing(tmp_path: Path) -> None:
    prepare(plan(tmp_path, [1], adds=True), write, flags())
    at_work = tmp_path / FOLDER / "test/.partial-Scene07"
    at_work.mkdir()
    prepare(plan(tmp_path, [1, 2], adds=True), write, flags())
    assert at_work.is_dir()


def test_a_scene_that_fails_in_any_way_leaves_nothing_half(tmp_path: Path) -> None:
    def full(task: Any, folder: Path) -> dict[str, Any]:
        (folder / "half.tif").write_text("half")
        raise OSError(28, "no space left", str(folder))

    with pytest.raises(OSError, match="no space"):
        prepare(plan(tmp_path, [1]), full, flags())
    assert not list((tmp_path / FOLDER / "test").iterdir())


def kill_itself(task: Any, folder: Path) -> dict[str, Any]:
    if task.work == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return write(task, folder)


def test_a_killed_process_is_told_in_a_sentence(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("no such signals")
    with pytest.raises(CaimError, match="was killed"):
        prepare(plan(tmp_path, [1, "bad", 3]), kill_itself, flags(num_workers=2))
    run(tmp_path, [1, 2, 3], overwrite=True)
    assert len(open_split(tmp_path, DYNAMIC, "test")) == 3


def slowly(task: Any, folder: Path) -> dict[str, Any]:
    time.sleep(0.05)
    return write(task, folder)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_no_request_to_stop_is_lost_wherever_it_arrives(
    tmp_path: Path, workers: int, how: int
) -> None:
    if sys.platform == "win32":
        pytest.skip("no such signals")
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        for number in range(6):  # processes fork at the begin
            root = tmp_path / str(number)
            with pytest.raises(KeyboardInterrupt if how == signal.SIGINT else Terminated):
                _prepare_and_interrupt(root, workers, how, 0.01 * number**2)
            assert not list(root.rglob(".partial-*"))
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare_and_interrupt(root: Path, workers: int, how: int, delay: float) -> None:
    timer = threading.Timer(delay, _to_all, (how,))
    timer.start()
    prepare(plan(root, list(range(20))), slowly, flags(num_workers=workers))
    timer.join()


def _to_all(how: int) -> None:
    """Send a signal to this process and to those it started, as terminals and clusters do."""
    for process in (*psutil.Process().children(), psutil.Process()):
        process.send_signal(how)


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def written_by(task: Any, folder: Path) -> dict[str, Any]:
    (folder.parents[2] / f"{os.getpid()}.pid").touch()
    return slowly(task, folder)


@forked
def test_no_process_outlives_a_main_process_that_is_killed(tmp_path: Path) -> None:
    def killed() -> None:
        threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGKILL)).start()
        prepare(plan(tmp_path, list(range(100))), written_by, flags(num_workers=2))

    assert in_child(killed) == -signal.SIGKILL
    numbers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    assert len(numbers) == 2
    workers = [psutil.Process(number) for number in numbers if psutil.pid_exists(number)]
    alive = [worker for worker in workers if worker.status() != psutil.STATUS_ZOMBIE]
    assert not psutil.wait_procs(alive, timeout=10)[1]


def test_a_second_program_in_a_data_root_is_refused(tmp_path: Path) -> None:
    run(tmp_path, [1])
    before = stamps(tmp_path / FOLDER / "test/Scene01")
    with FileLock(tmp_path / FOLDER / ".lock"):
        run(tmp_path, [1])  # has nothing to write
        with pytest.raises(UserError, match="another program is at work there"):
            run(tmp_path, [1, 2], overwrite=True)
    assert stamps(tmp_path / FOLDER / "test/Scene01") == before
    run(tmp_path, [1, 2], overwrite=True)
    assert not (tmp_path / FOLDER / ".lock").exists()


def test_the_lock_of_a_program_that_has_just_begun_is_nobodys_data(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    with (
        FileLock(tmp_path / FOLDER / ".lock"),
        pytest.raises(UserError, match="another program is at work there"),
    ):
        run(tmp_path, [1])


def test_programs_that_add_scenes_wait_for_each_other_and_lose_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / FOLDER).mkdir()
    other = (tmp_path / FOLDER / ".lock").open("w")
    fcntl.flock(other, fcntl.LOCK_EX)

    def end() -> None:  # the other program writes its scene and ends
        (tmp_path / "written").touch()
        other.close()

    timer = threading.Timer(0.2, end)
    timer.start()
    prepare(plan(tmp_path, [1], adds=True), write, flags())
    timer.join()
    assert (tmp_path / "written").exists()
    assert "going on when it has ended" in capsys.readouterr().out
    assert len(read_json(tmp_path / FOLDER / "dataset.json")["scenes"]) == 1


def test_a_disk_that_is_full_leaves_whole_scenes_only_and_the_run_goes_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 900) as disk:
        root = disk / "data"
        ballast = fill(disk, 420)
        crowded = plan(root, [1, 2, 3, 4, 5])
        crowded.tasks = [replace(task, nbytes=0) for task in crowded.tasks]  # not foreseen
        with pytest.raises(OSError, match=r"No space|no space"):
            prepare(crowded, write, flags())
        names = {path.name for path in (root / FOLDER / "test").iterdir()}
        assert names
        assert len(names) < 5
        for name in names:
            assert check_scene(root / FOLDER / "test" / name, DYNAMIC) == []
        assert not list(root.rglob(".*partial*"))
        ballast.unlink()
        prepare(crowded, write, flags())
        assert read_json(root / FOLDER / "dataset.json")["complete"] is True
