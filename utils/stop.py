"""Ctrl-C and SIGTERM during training: a wish to stop that the loop grants after its step.

Not in the paper.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from utils.progress import say

__all__ = ["StopWish"]

SAME_SIGNAL_S = 2.0  # a terminal and a launcher may both hand on one Ctrl-C


class StopWish:
    """While open, the first Ctrl-C or SIGTERM is noted instead of breaking into the step.

    A second Ctrl-C, two seconds later or more, breaks in all the same. Outside the main thread,
    where no signal arrives, nothing is noted.

    Attributes:
        interrupted: Ctrl-C has come.
        terminated: SIGTERM has come.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self.terminated = False
        self._since: float | None = None
        self._before: dict[int, Any] = {}

    @property
    def wished(self) -> bool:
        """Whether any of them has come."""
        return self.interrupted or self.terminated

    def __enter__(self) -> StopWish:
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
            say("stopping after this step, with a checkpoint; Ctrl-C again stops at once")
