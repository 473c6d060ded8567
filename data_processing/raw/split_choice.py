"""Split of every area, from a file that anyone can change.

A split file is JSON: ``assigned`` lists areas by split; ``others`` says what happens to the rest:
they are put in an order that follows from ``salt`` and their names alone, and dealt out by
``shares`` (parts of all of them) or by ``counts`` (so many each, what is left over stays out).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_processing.scenes.spec import SPLITS, Split
from utils.errors import UserError
from utils.files import read_json

__all__ = ["SPLIT_FILES", "assign_splits", "read_split_file", "split_file_path"]

SPLIT_FILES = Path(__file__).resolve().parent / "split_files"


def split_file_path(name: str) -> Path:
    """A file of one's own, or one of those shipped, by its name without ``.json``."""
    shipped = SPLIT_FILES / f"{name}.json"
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in SPLIT_FILES.glob("*.json")))
        raise UserError(
            f"--split-file: there is no file {name}, expected a path or one of {names}."
        )
    return path


def read_split_file(path: Path) -> dict[str, Any]:
    """A split file, checked.

    Raises:
        UserError: It is no split file, or lists an area twice.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a split file ({error}).") from error
    faults = _faults(content)
    if faults:
        raise UserError("\n".join([f"{path}: no usable split file.", *faults]))
    checked: dict[str, Any] = content
    return checked


def assign_splits(areas: Sequence[str], content: dict[str, Any]) -> dict[str, Split | None]:
    """The split of every area; None for those that stay out.

    Args:
        areas: Names, each once.
        content: As :func:`read_split_file` gives it.
    """
    splits: dict[str, Split | None] = dict.fromkeys(sorted(areas))
    for split in SPLITS:
        for area in content.get("assigned", {}).get(split, []):
            if area in splits:
                splits[area] = split
    rest = [area for area, split in splits.items() if split is None]
    others = content.get("others", {})
    rest.sort(key=lambda area: _place(area, str(others.get("salt", ""))))
    splits.update(zip(rest, _dealt(len(rest), others), strict=True))
    return splits


def _dealt(count: int, others: dict[str, Any]) -> list[Split | None]:
    """Splits of so many areas in their order: test, then val, then train."""
    if "counts" in others:
        counts = {split: int(others["counts"].get(split, 0)) for split in SPLITS}
    elif "shares" in others:
        shares = others["shares"]
        total = sum(shares.values())
        counts = {s: round(count * shares.get(s, 0) / total) for s in ("val", "test")}
        if count >= len(SPLITS):  # a few areas still give each split one
            counts = {s: max(n, 1 if shares.get(s, 0) else 0) for s, n in counts.items()}
        counts["train"] = count - sum(counts.values())
    else:
        counts = {}
    dealt: list[Split | None] = []
    for split in reversed(SPLITS):
        dealt += [split] * min(count, counts.get(split, 0))
    return [*dealt, *[None] * count][:count]


def _place(area: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}:{area}".encode()).hexdigest()


def _faults(content: Any) -> list[str]:
    if not isinstance(content, dict) or not {"assigned", "others"} & content.keys():
        return ["  - found neither assigned nor others at the top, expected one of them"]
    faults: list[str] = []
    assigned, others = content.get("assigned", {}), content.get("others", {})
    if not isinstance(assigned, dict) or not isinstance(others, dict):
        return ["  - assigned and others: expected objects"]
    for split, areas in assigned.items():
        if split not in SPLITS:
            faults.append(f"  - assigned: found {split!r}, expected {', '.join(SPLITS)}")
        elif not isinstance(areas, list) or not all(isinstance(area, str) for area in areas):
            faults.append(f"  - assigned.{split}: expected a list of names")
    if faults:
        return faults
    listed = [area for areas in assigned.values() for area in areas]
    faults += [
        f"  - {a}: assigned twice" for a in sorted({a for a in listed if listed.count(a) > 1})
    ]
    for key in ("shares", "counts"):
        numbers = others.get(key, {})
        sound = isinstance(numbers, dict) and all(
            split in SPLITS and isinstance(n, int | float) and n >= 0
            for split, n in numbers.items()
        )
        if not sound or (key == "shares" and numbers and not sum(numbers.values())):
            faults.append(f"  - others.{key}: expected a number of 0 or more per split")
    return faults
