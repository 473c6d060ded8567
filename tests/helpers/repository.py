"""The files of the repository, not what programs and tests leave beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from utils.settings import REPOSITORY

__all__ = ["repository_files"]

LEFT_BY_PROGRAMS = {"data", "runs", "results", "demo", "site", "__pycache__"}


@cache
def repository_files() -> tuple[Path, ...]:
    """Every file that is, or is about to be, part of the repository.

    Tests of other processes write and delete beside these files meanwhile: their folders, hidden
    or ignored by git, are never entered.
    """
    paths = _listed_by_git() or _walked(REPOSITORY)
    return tuple(sorted(path for path in paths if path.is_file()))


def _listed_by_git() -> list[Path]:
    """Nothing where there is no git, or the files did not come by it."""
    if not shutil.which("git") or not (REPOSITORY / ".git").exists():
        return []
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True)
    return [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]


def _walked(root: Path) -> list[Path]:
    paths = []
    for folder, subfolders, names in os.walk(root):
        entered = (name for name in subfolders if name not in LEFT_BY_PROGRAMS)
        subfolders[:] = [name for name in entered if not name.startswith(".") or name == ".ci"]
        paths += [Path(folder, name) for name in names]
    return paths
