"""Processes that make scenes side by side, and end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from data_processing.raw.plan import RunSettings, SceneTask
from utils.errors import CaimError, DataError
from utils.interruption import StopRequest

__all__ = ["outcomes_of"]


def outcomes_of(
    done: Callable[[SceneTask], DataError | None],
    tasks: Sequence[SceneTask],
    settings: RunSettings,
) -> Iterator[DataError | None]:
    """Outcome of each scene, as they are finished.

    A request to stop is noted, not raised where it arrives: while a process forks it would be
    lost. Scenes that are being written are finished first, also where all processes hear of it, as
    on clusters.

    Raises:
        CaimError: A process was killed.
        KeyboardInterrupt, Terminated: When asked to stop.
    """
    with StopRequest("the scenes that are being written") as stop:
        number = min(settings.num_workers, len(tasks))
        if settings.executor == "here" and number < 2:
            for task in tasks:
                yield done(task)
                stop.raise_if_requested()
            return
        with _pool(settings, max(1, number)) as pool:
            futures = [pool.submit(done, task) for task in tasks]
            try:
                for future in as_completed(futures):
                    yield future.result()
                    stop.raise_if_requested()
            except (BrokenProcessPool, CancelledError):
                stop.raise_if_requested()
                raise CaimError(
                    "a process that wrote scenes was killed, most often since memory ran out. What "
                    "is finished is kept: run the same command again, with --num-workers 0."
                ) from None
            finally:  # what has not begun shall not begin
                for future in futures:
                    future.cancel()


@contextmanager
def _pool(settings: RunSettings, number: int) -> Iterator[Executor]:
    """Processes of this machine, or the workers of a cluster, which have the same files."""
    if settings.executor == "here":
        with ProcessPoolExecutor(number, initializer=_begin) as pool:
            yield pool
        return
    from utils.processes import dask_client  # late: it brings PyTorch

    with dask_client(settings.scheduler, number) as client, client.get_executor() as pool:
        yield pool


def _begin() -> None:
    """Let the main process decide when this one ends, and end with it where it is killed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    main = multiprocessing.parent_process()
    threading.Thread(target=_end_with, args=(main,), daemon=True).start()


def _end_with(main: Any) -> None:
    main.join()
    os._exit(1)
