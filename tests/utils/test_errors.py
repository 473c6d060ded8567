"""How programs end: stopped from outside, on a full disk, by a fault of ours."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time

import pytest

from utils.errors import run_program
from utils.settings import REPOSITORY

PROGRAM = """
import time
from utils.errors import run_program
def main():
    try:
        print("running", flush=True)
        time.sleep(30)
    finally:
        print("closed", flush=True)
run_program(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_program_that_is_stopped_closes_what_is_open_and_says_so(sent: int, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdout.readline() == "running\n"
        time.sleep(0.05)
        program.send_signal(sent)
        rest, said = program.communicate(timeout=20)
    assert (program.returncode, rest) == (code, "closed\n")
    assert said in {"terminated\n", "interrupted\n"}


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "the disk is full"), (errno.EIO, "failed inside")]
)
def test_a_full_disk_is_told_from_a_fault_of_ours(
    number: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise OSError(number, "it does not go on")

    with pytest.raises(SystemExit) as left:
        run_program(main)
    assert left.value.code == 1
    shown = capsys.readouterr().err
    assert said in shown
    assert ("Traceback" in shown) == (number == errno.EIO)


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (errno.ENAMETOOLONG, 2, "longer than the system allows"),
        (errno.EACCES, 2, "may not be read or written"),
        (errno.ENOTDIR, 2, "leads through a file"),
        (errno.EIO, 1, "Look at the disk"),
    ],
)
def test_what_the_system_says_of_a_path_is_a_sentence_with_the_path(
    number: int, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise OSError(number, "system's words", "maps/" + 300 * "x")

    with pytest.raises(SystemExit) as left:
        run_program(main)
    shown = capsys.readouterr().err
    assert left.value.code == code
    assert said in shown
    assert "maps/xxx" in shown
    assert "Traceback" not in shown
    assert len(shown) < 400
