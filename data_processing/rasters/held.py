"""Rasters that a process holds open, so that windows of them cost no opening."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["HeldRasters", "block_bytes"]

OPEN_FILES = 1024  # held at most per process, and no more than half of what the system allows
OPEN_BYTES = 512 << 20  # of the buffers that held files decode their blocks with, likewise


class HeldRasters:
    """Rasters held open for further windows; the least recently used is closed first.

    Opening takes as long as decoding a window or longer, and GDAL forgets the decoded blocks of a
    file that is closed. Threads have rasters of their own, since GDAL's must not be shared. A fork
    closes those of this process first, so that none is inherited.

    Args:
        opened: Opens a file.
        most_files: Held at a time; if None, OPEN_FILES or half of what the system allows.
        most_bytes: Of the buffers that they decode their blocks with.
    """

    def __init__(
        self,
        opened: Callable[[Path], Any],
        most_files: int | None = None,
        most_bytes: int = OPEN_BYTES,
    ) -> None:
        self.opened = opened
        self.most_files = most_files or min(OPEN_FILES, _files_allowed() // 2)
        self.most_bytes = most_bytes
        self._held: OrderedDict[tuple[Path, int], _Held] = OrderedDict()
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):  # where processes can fork
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._lock.release,
                after_in_child=self._lock.release,
            )

    def __len__(self) -> int:
        """Rasters held."""
        return len(self._held)

    def get(self, path: Path) -> Any:
        """The raster of this thread, opened afresh when the file was rewritten or replaced."""
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        key = (path, threading.get_ident())
        with self._lock:
            held = self._held.get(key)
            if held is not None and held.version == version:
                self._held.move_to_end(key)
                return held.raster
            self._held.pop(key, None)
        del held  # the last reference closes the old file before the new one is opened
        raster = self.opened(path)
        with self._lock:  # its buffers hold a block as stored and decoded
            self._held[key] = _Held(raster, version, 2 * block_bytes(raster))
            self._close_surplus()
        return raster

    def close(self) -> None:
        """Close all."""
        with self._lock:
            self._held.clear()

    def _close_surplus(self) -> None:
        """Close the least recently used beyond what may be held, but never the last one."""
        total = sum(held.nbytes for held in self._held.values())
        while len(self._held) > 1 and (
            len(self._held) > self.most_files or total > self.most_bytes
        ):
            _, closed = self._held.popitem(last=False)
            total -= closed.nbytes

    def _before_fork(self) -> None:
        """Close all, and keep the lock so that the new process finds it in a known state."""
        self._lock.acquire()
        self._held.clear()


class _Held(NamedTuple):
    """An open raster, what told its file from others, and bytes of its buffers."""

    raster: Any
    version: tuple[int, int, int]
    nbytes: int


def block_bytes(raster: Any) -> int:
    """Bytes of one stored block of all bands, decoded."""
    if not raster.count:
        return 0
    rows, cols = raster.block_shapes[0]
    return int(rows * cols * raster.count * np.dtype(raster.dtypes[0]).itemsize)


def _files_allowed() -> int:
    """Number of files that the system lets this process open at the same time."""
    try:
        import resource
    except ImportError:  # Windows, where GDAL's files have no such limit
        return 2 * OPEN_FILES
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2 * OPEN_FILES if allowed == resource.RLIM_INFINITY else allowed
