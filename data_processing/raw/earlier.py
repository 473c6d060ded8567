"""Remains of earlier runs in a data root: read without trust, removed only where they are ours.

``dataset.json`` says what the scenes were made from, ``audit.json`` what was missing, and
``prepared.json`` in every finished scene which program made it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_processing.scenes.spec import SPLITS, Split
from utils.errors import DataError
from utils.files import plain_name, read_json

__all__ = [
    "RECORD",
    "Earlier",
    "is_made_by",
    "read_audit",
    "read_earlier",
    "read_record",
    "remove_scene",
    "remove_tree",
]

RECORD = "prepared.json"  # in every finished scene
ADVICE = (
    "Nothing was written. Put the file back as the program wrote it, or give another --data-root."
)


@dataclass(frozen=True)
class Earlier:
    """Content of a dataset.json.

    Attributes:
        generator: The program that wrote it.
        complete: Whether its run came to the end.
        source, settings: What it was made from and how.
        scenes: Their records; name, split, area and dates are there and sound.
    """

    generator: str
    complete: bool
    source: Any
    settings: Mapping[str, Any]
    scenes: Sequence[dict[str, Any]] = field(default_factory=list)

    def names(self) -> dict[Split, list[str]]:
        """Names of the scenes by split, of splits that have some."""
        names = {s: [scene["name"] for scene in self.scenes if scene["split"] == s] for s in SPLITS}
        return {split: scenes for split, scenes in names.items() if scenes}


def read_earlier(folder: Path) -> Earlier | None:
    """Read dataset.json of a folder of scenes; None without one.

    Raises:
        DataError: It is damaged, or names scenes that cannot lie there.
    """
    content = _read(folder / "dataset.json")
    if content is None:
        return None
    faults = [
        f"{key}: found {content.get(key)!r:.60}, expected {what}"
        for key, kind, what in (
            ("generator", str, "the name of a program"),
            ("complete", bool, "true or false"),
            ("scenes", list, "a list of scenes"),
        )
        if not isinstance(content.get(key, kind()), kind)
    ]
    scenes = [] if faults else content.get("scenes", [])
    faults += [f"scenes: {fault}" for fault in map(_scene_fault, scenes) if fault]
    if faults:
        raise DataError(str(folder / "dataset.json"), faults, ADVICE)
    settings = content.get("settings")
    return Earlier(
        content.get("generator", ""),
        content.get("complete", False),
        content.get("source"),
        settings if isinstance(settings, dict) else {},
        scenes,
    )


def read_audit(folder: Path) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """Gaps and inputs that audit.json in a folder of scenes lists; nothing without one.

    Raises:
        DataError: It is damaged.
    """
    content = _read(folder / "audit.json") or {}
    gaps, inputs = content.get("gaps", []), content.get("inputs", {})
    if not _is_list_of(gaps, _is_gap) or not isinstance(inputs, dict):
        raise DataError(
            str(folder / "audit.json"), ["found other gaps or inputs than a run writes"], ADVICE
        )
    return gaps, inputs


def read_record(scene: Path) -> dict[str, Any]:
    """Record in a finished scene; nothing when it is not finished, or damaged."""
    path = scene / RECORD
    try:
        content = None if path.is_symlink() else read_json(path)
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    facts = content.get("scene")
    sound = (
        isinstance(facts, dict)
        and isinstance(content.get("fingerprint"), str)
        and not _scene_fault(facts)
        and _is_list_of(facts.get("images"), _is_plain)
        and _is_list_of(facts.get("pixels_per_class"), _is_count)
        and _is_list_of(content.get("gaps"), _is_gap)
    )
    return content if sound else {}


def is_made_by(scene: Path, program: str) -> bool:
    """Whether a folder is a scene that a program has finished, and no link to one."""
    return not scene.is_symlink() and read_record(scene).get("program") == program


def remove_scene(scene: Path, program: str) -> bool:
    """Remove a scene that a program has made; leave anything else, and say so by False."""
    if not is_made_by(scene, program):
        return False
    remove_tree(scene)
    return True


def remove_tree(path: Path) -> None:
    """Remove a folder with what is in it; of a link only the link."""
    if path.is_symlink():
        path.unlink()
    elif os.path.lexists(path):
        shutil.rmtree(path)


def _read(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None without the file.

    Raises:
        DataError: There is something else.
    """
    try:
        content = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(str(path), [f"cannot be read ({error})"], ADVICE) from error
    if not isinstance(content, dict):
        raise DataError(str(path), ["found no object, expected what a run writes"], ADVICE)
    return content


def _scene_fault(scene: Any) -> str:
    """Fault of the record of a scene, '' if none."""
    if not isinstance(scene, dict):
        return f"found {scene!r:.60}, expected an object"
    if scene.get("split") not in SPLITS:
        return f"found split {scene.get('split')!r:.60}, expected one of {', '.join(SPLITS)}"
    try:
        plain_name(scene.get("name"))
    except ValueError as error:
        return f"found name {error}, expected the name of a scene's folder"
    if not isinstance(scene.get("area"), str) or not _is_list_of(scene.get("dates"), _is_text):
        return f"{scene['name']}: found no area and dates as a run writes them"
    return ""


def _is_list_of(value: Any, sound: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(sound, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_plain(value: Any) -> bool:
    try:
        plain_name(value)
    except ValueError:
        return False
    return True


def _is_gap(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"area", "found", "done"}
        and all(map(_is_text, value.values()))
    )
