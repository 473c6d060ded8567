"""The folder of a run and what lies in it beside results: settings, environment, tables."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import torch

from utils.device import choose_device, describe_device
from utils.errors import UserError
from utils.fields import SettingsBlock, without_secrets
from utils.files import (
    hold_folder,
    read_json,
    remove_partial_files,
    write_json,
)
from utils.progress import say
from utils.settings import OF_ONE_START, REPOSITORY, to_dict

__all__ = [
    "UNFINISHED",
    "environment",
    "log_resumption",
    "open_run_folder",
    "start_run",
]

PACKAGES = (
    "torch",
    "accelerate",
    "numpy",
    "scikit-learn",
    "scikit-image",
    "imageio",
    "tqdm",
    "rasterio",
    "matplotlib",
    "einops",
)
GIT_TIMEOUT_S = 5.0
SHOWN = 200  # signs of a path in a message
WITHOUT_RESULTS = {"settings.json", "environment.json"}  # all that a refused run leaves
UNFINISHED = ".unfinished"  # hidden, but somebody's work
FOLDER_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")


class StartSettings(SettingsBlock, Protocol):
    """The part of a script's settings that says where results go."""

    @property
    def output_dir(self) -> Path | None:
        """The folder of the run; None = a new one."""

    @property
    def overwrite(self) -> bool:
        """Whether it may hold other results."""


def open_run_folder(
    name: str, output_dir: Path | None, overwrite: bool, resume: bool, can_resume: bool = True
) -> Path:
    """The folder of one run, made if missing.

    Args:
        name: What is run, e.g. ``Train_Dynamic``; one folder name.
        output_dir: The folder to use; None makes ``runs/<name>/<YYYYmmdd-HHMMSS>`` in the
            repository, with ``-2``, ``-3`` … added where runs start in the same second.
        overwrite: Accept a folder with content. Nothing is removed here: files stay until the
            run writes ones of the same name.
        resume: Continue the run in ``output_dir``, which must have begun: its settings lie there.
        can_resume: Whether the program has ``--resume``, for the message.

    Returns:
        The folder, which exists.

    Raises:
        UserError: ``output_dir`` is a file, or has content without ``overwrite`` or ``resume``;
            ``resume`` without a run to continue; both at once.
        ValueError: ``name`` is no plain folder name.
    """
    if not FOLDER_NAME.fullmatch(name):
        raise ValueError(f"name: found {name!r}, expected one folder name.")
    if overwrite and resume:
        raise UserError("found --overwrite and --resume together. Give one of them.")
    if output_dir is None:
        if resume:
            raise UserError("--resume needs the run to continue. Name its folder by --output-dir.")
        return _dated_folder(REPOSITORY / "runs" / name)
    folder = Path(output_dir)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output-dir {folder}: found a file, expected a folder or nothing.")
    has_content = folder.is_dir() and any(_counts(path.name) for path in folder.iterdir())
    if resume and not (has_content or (folder / "settings.json").is_file()):
        raise UserError(f"--output-dir {folder}: found no run there, so nothing can be resumed.")
    if has_content and not (overwrite or resume):
        raise UserError(
            f"--output-dir {folder}: the folder is not empty. Name another one, or add --overwrite "
            f"to replace its results{', or --resume to continue the run in it' * can_resume}."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RecursionError) as error:  # as mkdir ends on thousands of folders
        cause = error.strerror if isinstance(error, OSError) else "too many folders in each other"
        raise UserError(
            f"--output-dir {str(folder)[:SHOWN]}: the folder cannot be made ({cause}), expected a "
            "place that can be written. Name another one."
        ) from error
    return folder


def start_run(name: str, settings: StartSettings, device: torch.device) -> Path:
    """Open the folder of a run and write down how it is run.

    Args:
        name: What is run, e.g. ``train_dynamic``.
        settings: A script's settings; with the field ``resume`` where the program can resume.
        device: The device in use.

    Returns:
        The folder, with settings.json and environment.json in it; a resumed run adds
        settings_resumed.json and environment_resumed.json.

    Raises:
        UserError: As ``open_run_folder``, another program is at work in the folder, or nothing
            can be written there.
    """
    resume = getattr(settings, "resume", False)
    folder = open_run_folder(
        name, settings.output_dir, settings.overwrite, resume, hasattr(settings, "resume")
    )
    ending = "_resumed.json" if resume else ".json"  # what the run began with stays on record
    try:
        hold_folder(folder)
        remove_partial_files(folder)
        write_json(folder / f"settings{ending}", to_dict(settings))
        write_json(folder / f"environment{ending}", environment(device))
    except OSError as error:
        raise UserError(
            f"--output-dir {folder}: nothing can be written there ({error.strerror}), expected a "
            "folder with write permission on a disk with room. Name another one."
        ) from error
    return folder


def log_resumption(folder: Path, settings: SettingsBlock) -> None:
    """Add a line to resumed.jsonl: when, by which command, and which settings are new.

    Args:
        folder: Of the run.
        settings: The settings that it goes on with.
    """
    first, now = read_json(folder / "settings.json"), to_dict(settings)
    changed = {
        key: [first.get(key), value]
        for key, value in now.items()
        if key not in OF_ONE_START and value != first.get(key)
    }
    line = {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": _command(),
        "changed": changed,
    }
    with (folder / "resumed.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    if changed:
        listed = ", ".join(f"{key} {old} → {new}" for key, (old, new) in changed.items())
        say(f"other settings than at first: {listed}")


def environment(device: torch.device | None = None) -> dict[str, Any]:
    """Machine, packages and commit of a run, for ``environment.json``.

    Args:
        device: The device in use; the one that ``auto`` would choose if left out.

    Returns:
        JSON-able: ``time, command, python, platform, cpu_count, device, packages`` (version or
        None by package name), ``git_commit`` (None outside a git checkout of this repository)
        and ``git_changed`` (tracked files differ from that commit).
    """
    commit = _git_commit()
    return {
        "time": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": _command(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "device": describe_device(device or choose_device("auto")),
        "packages": {package: _version(package) for package in PACKAGES},
        "git_commit": commit,
        "git_changed": bool(_git("status", "--porcelain", "--untracked-files=no"))
        if commit
        else None,
    }


def _counts(name: str) -> bool:
    """Whether a file in a run's folder is part of a result."""
    return name == UNFINISHED or not (name.startswith(".") or name in WITHOUT_RESULTS)


def _dated_folder(parent: Path) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir()  # fails where another run was first, so no two share a folder
        except FileExistsError:
            number += 1
        else:
            return folder


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _command() -> str:
    """The command line as it may be written down."""
    program = Path(sys.argv[0]).name if sys.argv else ""
    return shlex.join(["python", program, *map(without_secrets, sys.argv[1:])])


def _git_commit() -> str | None:
    """The commit of this repository; None for a copy, also for one inside another repository."""
    top = _git("rev-parse", "--show-toplevel")
    if not top or Path(top).resolve() != REPOSITORY:
        return None
    return _git("rev-parse", "HEAD") or None


def _git(*arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 – fixed arguments, no shell
            [program, "-C", str(REPOSITORY), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
