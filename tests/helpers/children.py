"""Forked child processes, for tests that kill a training or let two train together."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

__all__ = ["forked", "in_child", "in_two_ranks"]

forked = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(action: Callable[[], Any], **environment: str) -> int:
    """Run something in a child and wait: its exit code, or minus the signal that ended it."""
    return _wait(_start(action, environment))


def in_two_ranks(action: Callable[[int], Any], output: Path | None = None) -> list[int]:
    """Run something in two processes that form a group (gloo); their exit codes.

    Args:
        action: Gets the rank.
        output: File that both write their stdout and stderr to.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = [
        _start(
            lambda rank=rank: action(rank),
            {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                "OMP_NUM_THREADS": "1",
            },
            output,
        )
        for rank in range(2)
    ]  # fmt: skip
    return [_wait(child) for child in started]


def _start(
    action: Callable[[], Any], environment: dict[str, str], output: Path | None = None
) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        torch.set_num_threads(1)  # threads do not survive a fork
        os.environ.update(environment)
        if output is not None:
            sys.stdout = sys.stderr = output.open("a", buffering=1, encoding="utf-8")
        action()
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
