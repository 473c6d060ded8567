"""The settings of a training run: from the script and its flags, or from the run that goes on."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from utils.errors import UserError
from utils.files import read_json
from utils.progress import say
from utils.settings import from_dict, override, to_dict

__all__ = ["log_resumption", "run_settings"]

Settings = TypeVar("Settings")

OF_ONE_START = ("resume", "overwrite", "output_dir")
"""Settings that say how a program is started, not how it trains."""


def run_settings(
    settings: Settings, released: Mapping[str, Any] | None = None, argv: Sequence[str] | None = None
) -> Settings:
    """What a training program is to do.

    With ``--resume`` the settings are those that the run in ``--output-dir`` began with; a flag
    given beside it wins, and is said aloud.

    Args:
        settings: The script's block; its fields must include resume and output_dir.
        released: Values that ``protocol="released"`` sets.
        argv: Arguments without the program's name; those of the process if left out.

    Raises:
        UserError: As ``override``; or there is no run to go on with.
    """
    asked: Any = override(settings, argv, quiet=True)
    if asked.resume and asked.output_dir is not None:
        settings = _stored(settings, asked.output_dir)
    chosen: Any = override(settings, argv)
    if released is not None and chosen.protocol == "released":
        chosen = dataclasses.replace(chosen, **released)
        say(f"protocol released: {dict(released)}")
    return cast(Settings, chosen)


def log_resumption(folder: Path, settings: Any) -> None:
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
        "command": shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        "changed": changed,
    }
    with (folder / "resumed.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")
    if changed:
        told = ", ".join(f"{key} {old} → {new}" for key, (old, new) in changed.items())
        say(f"other settings than at first: {told}")


def _stored(settings: Settings, folder: Path) -> Settings:
    """The settings that a run began with; how it was started is left out."""
    path = folder / "settings.json"
    if not path.is_file():
        raise UserError(
            f"--resume: {folder} holds no settings.json, expected the folder of a run. Name it by "
            "--output-dir, or start again without --resume."
        )
    try:
        stored = {k: v for k, v in read_json(path).items() if k not in OF_ONE_START}
        return from_dict(settings, stored)
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"--resume: {path} cannot be read ({error}), expected the settings as they were "
            "written; restore the file, or give all flags without --resume elsewhere."
        ) from error
