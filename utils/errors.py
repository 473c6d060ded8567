"""Errors that a user can act on, and the exit codes of every program.

0 done · 1 failed inside · 2 the user's mistake · 3 data incomplete or at fault ·
130/143 interrupted. Every message says where, what was found, what was expected and what to do.
"""

from __future__ import annotations

import errno
import importlib
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NoReturn, TypeVar

__all__ = [
    "CaimError",
    "CheckpointError",
    "DataError",
    "Terminated",
    "UserError",
    "at_program_end",
    "file_fault",
    "optional_package",
    "run_program",
    "visible",
    "without_frames",
]


class Terminated(BaseException):
    """The system asks the program to end (SIGTERM), as clusters do at a job's time limit (143)."""

    exit_code = 143


class CaimError(Exception):
    """Something went wrong that the programs report in plain words (exit code 1)."""

    exit_code = 1


class UserError(CaimError, ValueError):
    """A flag, setting or argument cannot be used as given (exit code 2)."""

    exit_code = 2


class CheckpointError(CaimError):
    """A weights file cannot be used: no checkpoint, damaged, or of another shape (exit code 2)."""

    exit_code = 2


class DataError(CaimError):
    """Data is missing or at fault; all faults are reported at once (exit code 3).

    Args:
        where: The folder or file the faults belong to.
        faults: One sentence per fault: found, expected. None when ``where`` is the whole message.
        advice: What to do about them.
    """

    exit_code = 3

    def __init__(self, where: str, faults: Sequence[str] = (), advice: str = "") -> None:
        self.where = where
        self.faults = list(faults)
        self.advice = advice
        if not self.faults:  # a message that is whole already, as a reading process hands it on
            super().__init__(where)
            return
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = [f"{where}: {count} found.", *(f"  - {fault}" for fault in self.faults)]
        if advice:
            lines.append(advice)
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[DataError], tuple[str, list[str], str]]:
        return (DataError, (self.where, self.faults, self.advice))


Failure = TypeVar("Failure", bound=CaimError)


def without_frames(error: Failure) -> Failure:
    """The same error without the frames it came through, which hold arrays and keep them alive."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error


FULL = (errno.ENOSPC, errno.EDQUOT)
# What the system says of a path, and what to do about it: mistakes that a user can mend.
PATH_FAULTS = {
    errno.ENOENT: ("does not exist", "Look at the path."),
    errno.ENOTDIR: ("leads through a file, expected a folder", "Look at the path."),
    errno.EISDIR: ("is a folder, expected a file", "Look at the path."),
    errno.EEXIST: ("is there already, expected nothing", "Move it away, or give another path."),
    errno.EACCES: ("may not be read or written", "Change its permissions, or give another path."),
    errno.EPERM: ("may not be changed", "Change its permissions, or give another path."),
    errno.EROFS: ("lies on a disk that may only be read", "Give a path on another one."),
    errno.ENAMETOOLONG: ("is longer than the system allows", "Give a shorter path or name."),
    errno.ELOOP: ("is a link that leads to itself", "Mend the link, or give another path."),
    errno.ENXIO: ("is no file that can be read", "Give the path of a usual file."),
    errno.EMFILE: ("cannot be opened beside so many other files", "Raise the limit: ulimit -n."),
}
SHOWN = 200  # characters of a path in a message
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # which could steer a terminal


def visible(text: str) -> str:
    """A text that any terminal shows: signs that would steer it as ?, broken bytes by number."""
    return CONTROLS.sub("?", text).encode("utf-8", "backslashreplace").decode("utf-8")


def file_fault(error: OSError) -> CaimError | None:
    """The system's complaint about a file, in a sentence; None where it may be a fault of ours.

    A full or failing disk is a :class:`CaimError` (exit code 1); a path that cannot be used as
    given is a :class:`UserError` (2).
    """
    if error.errno in FULL:
        return CaimError(
            f"the disk is full ({error}); what is finished is kept. Make room, then run the "
            "program again, with --resume where it has that flag."
        )
    if error.filename is None:
        return None
    path = str(error.filename)
    path = path if len(path) <= SHOWN else f"{path[:SHOWN]}…"
    if error.errno in PATH_FAULTS:
        sentence, advice = PATH_FAULTS[error.errno]
        return UserError(f"{path}: {sentence}. {advice}")
    return CaimError(
        f"{path}: the system can no longer read or write it ({error.strerror}); what is finished "
        "is kept. Look at the disk or the network, then run the program again."
    )


_at_end: list[Callable[[], None]] = []


def optional_package(name: str, requirements: str, purpose: str) -> Any:
    """A package that few need, imported when first used.

    Args:
        name: Of the package or one of its modules.
        requirements: The file that lists it.
        purpose: What it is for, in words.

    Raises:
        UserError: It is not installed, or does not load.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"the package {name} cannot be imported ({error}), expected it for {purpose}; install "
            f"what these need: pip install -r {requirements}"
        ) from error


def at_program_end(action: Callable[[], None]) -> None:
    """Have something done when the program ends that :func:`run_program` runs."""
    _at_end.append(action)


def run_program(main: Callable[[], None]) -> NoReturn:
    """Run a program's main function and leave with the exit code its outcome calls for.

    SIGTERM arrives in ``main`` as :class:`Terminated`, Ctrl-C as KeyboardInterrupt, so that what
    is open is closed and no half file stays.

    Args:
        main: The program; it returns when all is done and raises otherwise.

    Raises:
        SystemExit: Always, with the code of the module's docstring.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    try:
        _run_to_its_end(main)
    except CaimError as error:
        print(visible(f"error: {error}"), file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Terminated:
        print("terminated", file=sys.stderr)
        sys.exit(Terminated.exit_code)
    except OSError as error:
        fault = file_fault(error)
        if fault is None:
            _say_bug()
        print(visible(f"error: {fault}"), file=sys.stderr)
        sys.exit(fault.exit_code)
    except Exception:
        _say_bug()
    sys.exit(0)


def _run_to_its_end(main: Callable[[], None]) -> None:
    try:
        main()
    finally:
        while _at_end:
            _at_end.pop()()


def _say_bug() -> NoReturn:
    traceback.print_exc()
    print(
        "error: the program failed inside; the lines above say where. "
        "docs/troubleshooting.md lists known causes.",
        file=sys.stderr,
    )
    sys.exit(1)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
