"""The plan of a run that makes scenes: everything that is decided before anything is written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data_processing.scenes.spec import DatasetSpec, Split
from utils.errors import UserError
from utils.fields import Workers

__all__ = [
    "MIB",
    "Gap",
    "Plan",
    "RunSettings",
    "SceneTask",
    "generator_of",
    "plain",
    "require_disk",
]

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of all programs that make scenes; each is also a flag."""

    data_root: Path = Path("data")  # folder that gets Images_<name>/
    strict: bool = False  # stop with exit code 3 if anything is missing
    dry_run: bool = False  # show the plan and its sizes; write nothing
    overwrite: bool = False  # make scenes anew that other settings made
    num_workers: Workers = 2  # processes, 0 = none beside
    # dask = workers of a cluster (requirements-cluster.txt), --num-workers of them on this machine
    executor: Literal["here", "dask"] = "here"
    scheduler: str | None = None  # address of a running cluster; none = one on this machine


@dataclass(frozen=True)
class Gap:
    """Something that is missing or irregular, and what is done about it."""

    area: str
    found: str
    done: str

    def __str__(self) -> str:
        return f"{self.area}: {self.found}; {self.done}"


@dataclass(frozen=True)
class SceneTask:
    """One scene to be written.

    Attributes:
        name: Its folder.
        split: Its split.
        area: What it is called in the raw data.
        nbytes: What it takes on disk at most.
        inputs: Name, size and mark of every raw file that it is made from.
        facts: What was decided for it (dates, sources), for ``dataset.json``.
        work: What the writer needs; goes to another process.
    """

    name: str
    split: Split
    area: str
    nbytes: int
    inputs: Sequence[tuple[str, int, int]]
    facts: Mapping[str, Any]
    work: Any


@dataclass
class Plan:
    """Everything that was decided before writing.

    Attributes:
        program: The program's file name.
        version: Of what it writes; part of every fingerprint.
        spec: Facts of the data set.
        data_root: Where it is written.
        source: What it is made from: path, size, checksum as far as known.
        settings: What the user can change and what changes the result.
        notes: Further facts for ``dataset.json`` (bands, classes, licence).
        tasks: The scenes.
        gaps: What is missing, areas that are left out among it.
        adds: Keep scenes of earlier runs that this one does not have.
    """

    program: str
    version: int
    spec: DatasetSpec
    data_root: Path
    source: Mapping[str, Any]
    settings: Mapping[str, Any]
    notes: Mapping[str, Any]
    tasks: Sequence[SceneTask]
    gaps: list[Gap] = field(default_factory=list)
    adds: bool = False

    @property
    def generator(self) -> str:
        """Name of the program in dataset.json."""
        return generator_of(self.program)

    @property
    def folder(self) -> Path:
        """The folder of all scenes."""
        return self.data_root / self.spec.images_root

    def target(self, task: SceneTask) -> Path:
        """A scene's folder."""
        return self.folder / task.split / task.name

    def fingerprint(self, task: SceneTask) -> str:
        """Changes with whatever changes the scene."""
        content = [self.program, self.version, self.settings, task.area, task.inputs, task.facts]
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def generator_of(program: str) -> str:
    """Name of a program in dataset.json, by its file name."""
    return f"data_processing/{program}"


def plain(value: Any) -> Any:
    """A value as it comes back from a JSON file."""
    return json.loads(json.dumps(value, default=str))


def require_disk(plan: Plan, undone: Sequence[SceneTask]) -> None:
    """Foresee a full disk.

    Raises:
        UserError: The scenes to be written may not fit.
    """
    needed = sum(task.nbytes for task in undone)
    place = next(path for path in (plan.folder, *plan.folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{place}: {free / MIB:.0f} MiB are free, expected up to {needed / MIB:.0f} MiB for "
            f"{len(undone)} scenes. Nothing was written. Make room, or give another --data-root."
        )
