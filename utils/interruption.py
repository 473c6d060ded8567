"""Interrupted programs: how work hears of it, and the command that goes on."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from utils.errors import Terminated
from utils.fields import FALSE_WORDS, TRUE_WORDS
from utils.progress import say

__all__ = ["StopRequest", "resumable", "resume_command"]

NOT_REPEATED = ("--overwrite", "--no-overwrite", "--resume", "--no-resume")
SWITCH_WORDS = (*TRUE_WORDS, *FALSE_WORDS)  # that may follow them


@contextmanager
def resumable(folder: Path, first: bool = True) -> Iterator[None]:
    """Say how to go on when Ctrl-C or the system stops what is inside; then end all the same.

    Args:
        folder: Of the run.
        first: Whether this process speaks, where there are several.
    """
    try:
        yield
    except (KeyboardInterrupt, Terminated):
        if first:
            say(f"stopped; what is finished is kept. Go on with\n    {resume_command(folder)}")
        raise


def resume_command(folder: Path, argv: Sequence[str] | None = None) -> str:
    """The command line of this process, changed so that it goes on with the run in ``folder``."""
    words = list(sys.argv if argv is None else argv)
    repeated: list[str] = []
    dropped = False
    for word in words[1:]:
        follows, dropped = dropped, word.split("=")[0] in NOT_REPEATED
        if dropped or (follows and word.lower() in SWITCH_WORDS):
            continue
        repeated.append(word)
    if not any(word.split("=")[0].replace("_", "-") == "--output-dir" for word in repeated):
        repeated += ["--output-dir", str(folder)]
    return shlex.join([*_starter(), words[0], *repeated, "--resume"])


def _starter() -> list[str]:
    """The words that start the program again: Python, or a launcher of as many processes."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return ["python"] if processes == "1" else ["torchrun", "--nproc_per_node", processes]


SAME_SIGNAL_S = 2.0  # a terminal and a launcher may both hand on one Ctrl-C


class StopRequest:
    """While open, the first Ctrl-C or SIGTERM is noted instead of breaking into the work.

    A second Ctrl-C, two seconds later or more, breaks in all the same. Outside the main thread,
    where no signal arrives, nothing is noted.

    Attributes:
        interrupted: Ctrl-C has come.
        terminated: SIGTERM has come.

    Args:
        work: What is ended first, for the line that is said.
    """

    def __init__(self, work: str = "this step") -> None:
        self.work = work
        self.interrupted = False
        self.terminated = False
        self._since: float | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether any of them has come."""
        return self.interrupted or self.terminated

    def raise_if_requested(self) -> None:
        """Raise what was noted.

        Raises:
            KeyboardInterrupt, Terminated: Which of them has come.
        """
        if self.interrupted:
            raise KeyboardInterrupt
        if self.terminated:
            raise Terminated

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        first = self._since is None
        if self._since is not None and now - self._since > SAME_SIGNAL_S and number == 2:
            raise KeyboardInterrupt
        self._since = self._since or now
        self.interrupted |= number == signal.SIGINT
        self.terminated |= number == signal.SIGTERM
        if first:
            say(f"stopping after {self.work}; Ctrl-C again stops at once")
