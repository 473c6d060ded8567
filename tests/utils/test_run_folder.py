"""Run folders, the environment record and the table of epochs."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import torch

from tests.helpers.children import forked, in_child
from utils.errors import UserError, run_program
from utils.files import read_csv_rows, write_csv_rows
from utils.progress import progress, say
from utils.run_folder import environment, open_run_folder, start_run
from utils.settings import REPOSITORY


def test_runs_started_in_the_same_second_get_different_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.run_folder.REPOSITORY", tmp_path)
    folders = {open_run_folder("Train_Dynamic", None, False, False) for _ in range(4)}
    assert len(folders) == 4
    assert all(f.is_dir() and f.parent == tmp_path / "runs" / "Train_Dynamic" for f in folders)


def test_a_missing_or_empty_output_folder_is_taken(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    assert open_run_folder("Test", wanted, False, False) == wanted
    assert open_run_folder("Test", wanted, False, False).is_dir()


def test_a_folder_with_content_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch\n1\n")
    with pytest.raises(UserError, match=r"not empty.*--overwrite.*--resume"):
        open_run_folder("Train", tmp_path, False, False)
    assert (tmp_path / "metrics.csv").read_text() == "epoch\n1\n"


@pytest.mark.parametrize(("overwrite", "resume"), [(True, False), (False, True)])
def test_a_folder_with_content_is_taken_on_request(
    tmp_path: Path, overwrite: bool, resume: bool
) -> None:
    (tmp_path / "last.pth").write_bytes(b"x")
    assert open_run_folder("Train", tmp_path, overwrite, resume) == tmp_path
    assert (tmp_path / "last.pth").exists()


def test_resume_needs_a_run_to_continue(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--output-dir"):
        open_run_folder("Train", None, False, True)
    with pytest.raises(UserError, match="nothing can be resumed"):
        open_run_folder("Train", tmp_path / "absent", False, True)
    assert not (tmp_path / "absent").exists()


def test_contradicting_or_impossible_requests_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="together"):
        open_run_folder("Train", tmp_path, True, True)
    with pytest.raises(UserError, match="found a file"):
        open_run_folder("Train", tmp_path / "file", False, False)
    with pytest.raises(ValueError, match="one folder name"):
        open_run_folder("../Train", None, False, False)


def test_environment_is_json_and_names_packages_device_and_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/where/Train_Dynamic.py", "--lr", "1"])
    record = json.loads(json.dumps(environment(torch.device("cpu"))))
    assert record["command"] == "python Train_Dynamic.py --lr 1"
    assert record["packages"]["torch"] == torch.__version__
    assert {"numpy", "rasterio", "scikit-learn"} <= set(record["packages"])
    assert record["device"].startswith("cpu")
    assert record["cpu_count"] >= 1


def test_environment_does_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    record = environment(torch.device("cpu"))
    assert record["git_commit"] is None
    assert record["git_changed"] is None


def test_a_copy_without_git_names_no_commit_of_a_repository_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("utils.run_folder.REPOSITORY", REPOSITORY / "utils")
    assert environment(torch.device("cpu"))["git_commit"] is None


def test_rows_survive_in_order_and_new_columns_are_added(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    first = {"epoch": 1, "train_loss": 0.1 + 0.2}
    write_csv_rows(table, [first, {"epoch": 2, "train_loss": None, "note": 'a, "b"\nc'}])
    assert read_csv_rows(table) == [
        {"epoch": "1", "train_loss": repr(0.1 + 0.2), "note": ""},
        {"epoch": "2", "train_loss": "", "note": 'a, "b"\nc'},
    ]


def test_a_kill_while_a_row_is_written_leaves_the_earlier_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "metrics.csv"
    write_csv_rows(table, [{"epoch": 1}])
    before = table.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_csv_rows(table, [{"epoch": 1}, {"epoch": 2}])
    assert table.read_bytes() == before
    assert list(tmp_path.iterdir()) == [table]


def test_a_bar_passes_its_items_on_and_is_silent_in_a_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress(iter("abc"), "letters", total=3, unit="letter")) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_line_is_shown_by_a_console_that_lacks_its_signs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console = TextIOWrapper(BytesIO(), encoding="cp1252", newline="\n")
    monkeypatch.setattr(sys, "stdout", console)
    say("epochs 100 → 2, 木")
    assert console.buffer.getvalue() == b"epochs 100 -> 2, ?\n"


def test_an_output_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        open_run_folder("Test", tmp_path / "file" / "below", False, False)


@dataclass(frozen=True)
class Settings:
    """As those of a training program."""

    output_dir: Path | None = None
    overwrite: bool = False
    resume: bool = False


def test_an_output_folder_that_takes_no_file_is_the_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("utils.run_folder.write_json", full)
    settings = Settings(output_dir=tmp_path / "run")
    with pytest.raises(UserError, match=r"nothing can be written there \(No space left"):
        start_run("train", settings, torch.device("cpu"))


def test_no_cell_of_a_table_is_run_as_a_formula(tmp_path: Path) -> None:
    evil = ["=1+1", "+cmd", "-rf", "@SUM(A1)", "\t=1", " =1", '"=1', "＝1", "caf\udce9"]
    good = ["-0.5", "+1e-3", "a=b", "1-2", "", -2, None]
    write_csv_rows(tmp_path / "t.csv", [{"name": text} for text in (*evil, *good)])
    names = [row["name"] for row in read_csv_rows(tmp_path / "t.csv")]
    assert names[: len(evil) - 1] == [f"'{text}" for text in evil[:-1]]
    assert names[len(evil) - 1 :] == ["caf\\udce9", *map(str, good[:-1]), ""]


# ------------------------------------------------------------------ one program in a folder


def started(folder: Path, **how: bool) -> int:
    """Exit code of a program that starts a run there, in a process of its own."""
    settings = Settings(output_dir=folder, **how)

    def main() -> None:
        start(settings)

    return in_child(lambda: run_program(main))


def start(settings: Settings) -> Path:
    return start_run("train", settings, torch.device("cpu"))


@forked
@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}])
def test_a_second_program_in_a_folder_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], how: dict[str, bool]
) -> None:
    start(Settings(output_dir=tmp_path))
    before = (tmp_path / "settings.json").read_bytes()
    assert started(tmp_path, **how) == 2
    errors = capfd.readouterr().err
    assert "another program is at work there" in errors
    assert (tmp_path / "settings.json").read_bytes() == before
    assert start(Settings(output_dir=tmp_path, overwrite=True)) == tmp_path  # itself


@forked
@pytest.mark.parametrize("kind", ["system", "file"])
def test_a_killed_program_locks_nobody_out_although_its_children_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "file":  # as where the file system has no locks
        monkeypatch.setattr("utils.files.FileLock", _without_locks)
    began, leave = tmp_path / "began", tmp_path / "leave"

    def killed() -> None:
        start(Settings(output_dir=tmp_path / "run"))
        if os.fork() == 0:  # as a reading process
            began.touch()
            while not leave.exists():
                time.sleep(0.01)
            os._exit(0)
        while not began.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed) == -signal.SIGKILL
    assert started(tmp_path / "run", overwrite=True) == 0
    leave.touch()


def _without_locks(*_: object, **__: object) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


@forked
def test_the_lock_is_gone_with_its_program_and_so_are_half_files_of_a_killed_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "maps").mkdir()
    for half in (
        tmp_path / ".last.abcd1234.partial.pth",
        tmp_path / "maps/.a.x_yz0123.partial.tif",
    ):
        half.write_bytes(b"half of it")
    (tmp_path / ".mine.partial").write_text("")
    program = "import sys; from pathlib import Path; from utils.files import hold_folder\n"
    program += "hold_folder(Path(sys.argv[1])); print((Path(sys.argv[1]) / '.lock').exists())"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "True\n"
    assert not (tmp_path / ".lock").exists()
    start(Settings(output_dir=tmp_path, overwrite=True))
    left = {path.name for path in tmp_path.rglob("*")}
    assert left - {".lock"} == {".mine.partial", "maps", "settings.json", "environment.json"}


def test_a_run_that_has_only_begun_can_be_resumed(tmp_path: Path) -> None:
    start(Settings(output_dir=tmp_path))
    assert start(Settings(output_dir=tmp_path, resume=True)) == tmp_path
