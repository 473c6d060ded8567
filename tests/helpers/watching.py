"""A guard for tests with hostile files: no socket, no other file, no large memory, a plain end."""

from __future__ import annotations

import contextlib
import io
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from mapping.products.files import PRODUCTS
from utils.device import GIB
from utils.errors import run_program
from utils.memory import PeakMeter
from utils.settings import REPOSITORY

__all__ = ["Guard", "guarding"]

MOST_GIB = 0.5  # that a test of small files may take beside what the process holds already
LONGEST = 20_000  # signs of what a program says
CONNECTING = ("connect", "connect_ex", "sendto")


@dataclass
class Guard:
    """Runs programs in this process and fails the test where one does more than it may.

    Attributes:
        address: Of a server that nobody may ask.
        output: The only folder that may change.
        codes: How often programs ended with which exit code.
    """

    address: str
    output: Path
    roots: Sequence[Path]
    codes: dict[int, int] = field(default_factory=dict)

    def run(
        self, main: Callable[[], Any], *words: object, allowed: Sequence[int] = (0, 2, 3)
    ) -> str:
        """Run a program's main function with a command line; what it said."""
        before, results = self.files(), self.results()
        said = io.StringIO()
        argv, sys.argv = sys.argv, ["program.py", *map(str, words)]
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                run_program(main)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = argv
        text = said.getvalue()
        assert code in allowed, text[-4000:]
        assert "Traceback" not in text, text[-4000:]
        assert len(text) < LONGEST
        assert "\x1b" not in text
        assert self.files() == before
        if code:
            assert self.results() <= results, text[-4000:]
        self.codes[code] = self.codes.get(code, 0) + 1
        return text

    def results(self) -> set[Path]:
        """Maps and what comes with them that stand under their final names."""
        return {path for path in self.output.glob("*") if path.name in PRODUCTS}

    def files(self) -> dict[Path, tuple[int, int]]:
        """Size and time of every file that must stay as it is."""
        inside = (path for root in self.roots for path in root.rglob("*"))
        told = (path for path in inside if not path.is_relative_to(self.output))
        stats = {path: path.lstat() for path in (*told, *REPOSITORY.iterdir())}
        return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()
                if not path.is_dir()}  # fmt: skip


@contextmanager
def guarding(output: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    """Watch what happens in the block: files below ``root`` but ``output``, sockets, memory.

    Libraries in C++ ask by their own sockets: a server listens here, and nobody may have called.
    """

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket")

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        for name in CONNECTING:
            monkeypatch.setattr(socket.socket, name, refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
        meter = PeakMeter(torch.device("cpu"))
        meter.reset()
        begun = meter.peak()
        yield Guard(f"http://127.0.0.1:{server.getsockname()[1]}", output, [root])
        assert meter.peak() - begun < MOST_GIB * GIB
        with pytest.raises(BlockingIOError):
            server.accept()
