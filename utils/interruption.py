"""What an interrupted program says: that nothing is lost, and the command that goes on.

Not in the paper.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from utils.errors import Terminated
from utils.progress import say
from utils.settings import FALSE_WORDS, TRUE_WORDS

__all__ = ["resumable", "resume_command"]

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
    kept: list[str] = []
    dropped = False
    for word in words[1:]:
        follows, dropped = dropped, word.split("=")[0] in NOT_REPEATED
        if dropped or (follows and word.lower() in SWITCH_WORDS):
            continue
        kept.append(word)
    if not any(word.split("=")[0].replace("_", "-") == "--output-dir" for word in kept):
        kept += ["--output-dir", str(folder)]
    return shlex.join([*_starter(), words[0], *kept, "--resume"])


def _starter() -> list[str]:
    """What starts the program again: Python, or a launcher with as many processes as now."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return ["python"] if processes == "1" else ["torchrun", "--nproc_per_node", processes]
