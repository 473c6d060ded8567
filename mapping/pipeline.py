"""Work that goes on in the background while the program computes: reading ahead, writing behind.

Threads, not processes: what they do (decoding, compressing, disk) runs outside Python's lock.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

__all__ = ["WriteBehind", "read_ahead"]

Item = TypeVar("Item")

LOOK_S = 0.2  # between looks whether the other side has stopped


def read_ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """The same items, made by another thread up to ``depth`` items ahead.

    The thread ends when the iterator is used up or closed. What it raises is raised here, in its
    turn.

    Args:
        items: Made one after the other in that thread.
        depth: Items that wait at most, at least 1.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(
        target=_make, args=(items, waiting, stopped), name="read ahead", daemon=True
    )
    thread.start()
    try:
        while True:
            kind, item = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise item
            yield cast(Item, item)
    finally:
        stopped.set()
        thread.join()


def _make(
    items: Iterable[Any], waiting: queue.Queue[tuple[str, Any]], stopped: threading.Event
) -> None:
    """Fill the queue until the items or the other side end."""
    last: tuple[str, Any] = ("end", None)
    try:
        for item in items:
            if not _put(waiting, ("item", item), stopped):
                return
    except BaseException as error:
        last = ("error", error)
    _put(waiting, last, stopped)


def _put(
    waiting: queue.Queue[tuple[str, Any]], entry: tuple[str, Any], stopped: threading.Event
) -> bool:
    """Put an entry as soon as there is room; False when nobody waits for it any more."""
    while not stopped.is_set():
        try:
            waiting.put(entry, timeout=LOOK_S)
        except queue.Full:
            continue
        return True
    return False


class WriteBehind(Generic[Item]):
    """Hands items to a function in another thread, one after the other; at most one waits.

    A context: leaving it waits for the last item. What the function raises is raised by the next
    call or on leaving.

    Args:
        write: Called with each item in turn.
    """

    def __init__(self, write: Callable[[Item], None]) -> None:
        self._write = write
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write behind")
        self._last: Future[None] | None = None

    def __call__(self, item: Item) -> None:
        """Write the item after the one before it is written."""
        self._wait()
        self._last = self._pool.submit(self._write, item)

    def __enter__(self) -> WriteBehind[Item]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._pool.shutdown(wait=True)

    def _wait(self) -> None:
        if self._last is not None:
            last, self._last = self._last, None
            last.result()
