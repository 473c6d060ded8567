"""A run that turns raw data into the processed layout, scene by scene.

What all ``prepare_*`` programs share: the plan is told before anything is written, gaps are listed,
disk space is looked at, scenes are written by several processes, each whole or not at all.
Finished scenes carry a fingerprint of their input and settings and are not made again. Everything
that was decided stands in ``dataset.json``, everything that was missing in ``audit.json``. Not in
the paper.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from data_processing.scenes.patch_index import write_patch_index
from data_processing.scenes.spec import SPLITS, DatasetSpec, Split
from data_processing.scenes.splits import REPOSITORY, write_scene_lists
from utils.errors import DataError, UserError
from utils.files import read_json, write_json
from utils.progress import progress, say
from utils.run_folder import write_csv_rows

__all__ = ["Gap", "Plan", "SceneTask", "add_run_flags", "is_complete", "prepare"]

RECORD = "prepared.json"  # in every finished scene
PARTIAL = ".partial-"  # before the name of a scene that is being written
MIB = 1 << 20

SceneWriter = Callable[["SceneTask", Path], dict[str, Any]]


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


def add_run_flags(parser: argparse.ArgumentParser, spec: DatasetSpec) -> None:
    """Flags that all ``prepare_*`` programs have."""
    add = parser.add_argument
    add("--data-root", type=Path, default=REPOSITORY / "data",
        help=f"folder that gets {spec.images_root}/ (default: the repository's data/)")  # fmt: skip
    add("--strict", action="store_true", help="stop with exit code 3 if anything is missing")
    add("--dry-run", action="store_true", help="show the plan and its sizes; write nothing")
    add("--overwrite", action="store_true", help="make scenes anew that other settings made")
    add("--num-workers", type=int, default=2, help="processes, 0 = none beside (default 2)")


def is_complete(
    data_root: Path, spec: DatasetSpec, program: str, source: Any, settings: Any
) -> bool:
    """Whether an earlier run with the same source and settings came to its end."""
    folder = data_root / spec.images_root
    earlier = _earlier(folder)
    return (
        earlier is not None
        and bool(earlier.get("complete"))
        and (earlier.get("generator"), earlier.get("source"), earlier.get("settings"))
        == (f"data_processing/{program}", *_plain([source, settings]))
        and all((folder / s["split"] / s["name"] / RECORD).is_file() for s in earlier["scenes"])
    )


def prepare(plan: Plan, write: SceneWriter, flags: argparse.Namespace) -> None:
    """Run a plan.

    Args:
        plan: What to write.
        write: Writes one scene into an empty folder and returns facts about it; runs in other
            processes.
        flags: Those of :func:`add_run_flags`.

    Raises:
        UserError: The folder holds other data, or the disk is too small.
        DataError: With ``--strict`` and gaps; or scenes could not be made, all of them at once.
    """
    _say_gaps(plan)
    if not plan.tasks:
        raise DataError(
            str(plan.source.get("path", plan.data_root)),
            [str(gap) for gap in plan.gaps] or ["found no area to make a scene from"],
            "Nothing was written. docs/data.md shows what the raw data look like.",
        )
    if flags.strict and plan.gaps:
        raise DataError(
            str(plan.source.get("path", plan.folder)),
            [str(gap) for gap in plan.gaps],
            "Nothing was written. Complete the data, or leave --strict out to go on without.",
        )
    undone = [task for task in plan.tasks if not _is_done(plan, task)]
    earlier = _earlier(plan.folder)
    _say_plan(plan, undone)
    if not flags.dry_run:
        _refuse_what_is_not_ours(plan, undone, earlier, flags.overwrite)
        _check_disk(plan, undone)
        if not undone and earlier is not None and earlier.get("complete"):
            say(f"{plan.folder}: complete already, made with the same settings; nothing done")
            return
        _write_all(plan, undone, write, flags.num_workers, earlier)


def _write_all(
    plan: Plan,
    undone: Sequence[SceneTask],
    write: SceneWriter,
    num_workers: int,
    earlier: dict[str, Any] | None,
) -> None:
    """Write the scenes and all that stands beside them."""
    kept = _kept_scenes(plan, earlier)
    # first, so that a run that is killed leaves a folder that says what it is
    write_json(plan.folder / "dataset.json", _dataset(plan, kept, complete=False))
    errors: list[DataError] = []
    done = partial(_write_one, plan=plan, write=write)
    for outcome in progress(
        _outcomes(done, undone, num_workers), "writing scenes", len(undone), "scene"
    ):
        if isinstance(outcome, DataError):
            errors.append(outcome)
    found = [Gap(**gap) for task in plan.tasks for gap in _record(plan, task).get("gaps", [])]
    write_json(plan.folder / "audit.json", _audit(plan, found, errors))
    for gap in found:
        say(f"remark: {gap}")
    if errors:
        faults = [f"{e.where}: {fault}" for e in errors for fault in e.faults or [""]]
        raise DataError(
            str(plan.source.get("path", plan.folder)),
            faults,
            "The other scenes are written; run the same command again when this is mended.",
        )
    facts = _dataset(plan, kept, complete=True)
    write_json(plan.folder / "dataset.json", facts)
    columns = ("split", "name", "area")
    write_csv_rows(
        plan.folder / "scenes.csv",
        [{**{c: s[c] for c in columns}, "dates": " ".join(s["dates"])} for s in facts["scenes"]],
    )
    _write_lists(plan)
    _say_result(plan)


def _write_one(task: SceneTask, plan: Plan, write: SceneWriter) -> DataError | None:
    """Write a scene beside its place and move it there when it is whole."""
    target = plan.target(task)
    scratch = target.with_name(PARTIAL + target.name)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        facts = write(task, scratch)
    except DataError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        return error
    gaps = facts.pop("gaps", [])
    record = {
        "fingerprint": plan.fingerprint(task),
        "program": plan.program,
        "scene": {"name": task.name, "split": task.split, "area": task.area,
                  **_plain(task.facts), **facts},
        "gaps": [asdict(gap) for gap in gaps],
    }  # fmt: skip
    write_json(scratch / RECORD, record)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(scratch, target)
    return None


def _outcomes(
    done: Callable[[SceneTask], DataError | None], tasks: Sequence[SceneTask], num_workers: int
) -> Iterator[DataError | None]:
    """What became of each scene, as they are finished."""
    if num_workers < 2 or len(tasks) < 2:
        yield from map(done, tasks)
        return
    with ProcessPoolExecutor(min(num_workers, len(tasks))) as pool:
        futures: list[Future[DataError | None]] = [pool.submit(done, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # an interruption too: what has not begun shall not begin
            pool.shutdown(wait=True, cancel_futures=True)
            raise


# ───────────────────────────────── what lies there already ─────────────────────────────────


def _earlier(folder: Path, name: str = "dataset.json") -> dict[str, Any] | None:
    """What an earlier run of any program wrote down, None without one."""
    try:
        found = read_json(folder / name)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _record(plan: Plan, task: SceneTask) -> dict[str, Any]:
    """What a finished scene says of itself; nothing when it is not finished."""
    return _earlier(plan.target(task), RECORD) or {}


def _is_done(plan: Plan, task: SceneTask) -> bool:
    """Whether a scene was made from the same input with the same settings and is whole."""
    record, spec = _record(plan, task), plan.spec
    if record.get("fingerprint") != plan.fingerprint(task):
        return False
    names = [f"{spec.image_folder}/{name}" for name in record["scene"].get("images", [])]
    return all(
        (plan.target(task) / name).is_file() for name in (*names, spec.area_file, spec.moment_file)
    )


def _refuse_what_is_not_ours(
    plan: Plan, undone: Sequence[SceneTask], earlier: dict[str, Any] | None, overwrite: bool
) -> None:
    """Nothing of the user's, or of another program, is replaced unasked."""
    if not plan.folder.exists() or not any(plan.folder.iterdir()):
        return
    generator = f"data_processing/{plan.program}"
    if earlier is None or earlier.get("generator") != generator:
        made_by = "no dataset.json" if earlier is None else f"data of {earlier.get('generator')}"
        raise UserError(
            f"{plan.folder}: found {made_by}, expected an empty folder or data of {generator}. "
            "Nothing was written. Give another --data-root, or move that folder away."
        )
    other = [task for task in undone if plan.target(task).exists()]
    same = _plain([plan.settings, plan.source]) == [
        earlier.get("settings"), earlier.get("source"),
    ]  # fmt: skip
    surplus = [] if plan.adds else _surplus(plan, earlier)
    if (other or surplus or not (same or plan.adds)) and not overwrite:
        raise UserError(
            f"{plan.folder}: holds scenes made with other input or settings "
            f"({_difference(plan, other, earlier)}). Nothing was written. Add --overwrite to make "
            "them anew, or give another --data-root."
        )
    for scene in surplus:
        shutil.rmtree(plan.folder / scene["split"] / scene["name"], ignore_errors=True)


def _surplus(plan: Plan, earlier: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Scenes of an earlier run that this one does not have."""
    wanted = {(task.split, task.name) for task in plan.tasks}
    return [s for s in earlier.get("scenes", []) if (s["split"], s["name"]) not in wanted]


def _kept_scenes(plan: Plan, earlier: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Records of scenes of an earlier run that stay."""
    return _surplus(plan, earlier) if plan.adds and earlier is not None else []


def _difference(plan: Plan, other: Sequence[SceneTask], earlier: Mapping[str, Any]) -> str:
    """Settings that differ, for a message; those of the scene where each has its own."""
    before, now = dict(earlier.get("settings", {})), _plain(plan.settings)
    if plan.adds and other:
        before |= _record(plan, other[0]).get("scene", {})
        now |= _plain(other[0].facts)
        before = {key: value for key, value in before.items() if key in now}
    changed = [
        f"{key}: {before.get(key)!r} there, {now.get(key)!r} asked for"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    return "; ".join(changed) or "the raw files are others"


def _check_disk(plan: Plan, undone: Sequence[SceneTask]) -> None:
    """Foresee a full disk."""
    needed = sum(task.nbytes for task in undone)
    place = next(path for path in (plan.folder, *plan.folder.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{place}: {free / MIB:.0f} MiB are free, expected up to {needed / MIB:.0f} MiB for "
            f"{len(undone)} scenes. Nothing was written. Make room, or give another --data-root."
        )


# ────────────────────────────────── what is written and said ──────────────────────────────────


def _dataset(plan: Plan, kept: Sequence[dict[str, Any]], complete: bool) -> dict[str, Any]:
    """Content of dataset.json."""
    records = (_record(plan, task).get("scene") for task in plan.tasks)
    scenes = [*kept, *(record for record in records if record)]
    return {
        "generator": f"data_processing/{plan.program}",
        "generator_version": plan.version,
        "complete": complete,
        "source": _plain(plan.source),
        "settings": _plain(plan.settings),
        **_plain(plan.notes),
        "scenes": sorted(scenes, key=lambda scene: (SPLITS.index(scene["split"]), scene["name"])),
    }


def _audit(plan: Plan, found: Sequence[Gap], errors: Sequence[DataError]) -> dict[str, Any]:
    """Content of audit.json."""
    gaps = [asdict(gap) for gap in (*plan.gaps, *found)]
    inputs = {
        f"{task.split}/{task.name}": [
            {"name": name, "bytes": size, "mark": mark} for name, size, mark in task.inputs
        ]
        for task in plan.tasks
    }
    before = _earlier(plan.folder, "audit.json") if plan.adds else None
    if before is not None:  # what was found in scenes that stay
        ours = {task.name for task in plan.tasks}
        gaps = [gap for gap in before["gaps"] if gap["area"] not in ours] + gaps
        inputs = before["inputs"] | inputs
    return {
        "program": plan.program,
        "gaps": gaps,
        "failed": [{"where": error.where, "faults": error.faults} for error in errors],
        "inputs": inputs,
    }


def _write_lists(plan: Plan) -> None:
    """Scene lists and patch index of the splits that are there."""
    there = [split for split in SPLITS if any((plan.folder / split).glob("[!.]*"))]
    write_scene_lists(plan.data_root, plan.spec, there)
    write_patch_index(
        plan.data_root, plan.spec, plan.spec.patch_size, plan.spec.stride, splits=there
    )


def _say_gaps(plan: Plan) -> None:
    for gap in plan.gaps:
        say(f"gap: {gap}")


def _say_plan(plan: Plan, undone: Sequence[SceneTask]) -> None:
    """What will be written, and how large it is."""
    waiting = {task.name for task in undone}
    for task in sorted(plan.tasks, key=lambda task: (SPLITS.index(task.split), task.name)):
        state = f"up to {task.nbytes / MIB:.0f} MiB" if task.name in waiting else "done"
        dates = ", ".join(str(date) for date in task.facts.get("dates", []))
        say(f"  {task.split}/{task.name} from {task.area}: {dates} ({state})")
    counts = ", ".join(f"{split} {sum(t.split == split for t in plan.tasks)}" for split in SPLITS)
    total = sum(task.nbytes for task in undone) / MIB
    say(
        f"{plan.folder}: {len(plan.tasks)} scenes ({counts}), {len(plan.gaps)} gaps; "
        f"{len(undone)} to write, up to {total:.0f} MiB"
    )


def _say_result(plan: Plan) -> None:
    """Class shares, and what to do next."""
    scenes = [_record(plan, task)["scene"] for task in plan.tasks]
    totals = [sum(column) for column in zip(*(s["pixels_per_class"] for s in scenes), strict=True)]
    shares = ", ".join(
        f"{number}: {100 * count / max(1, sum(totals)):.2f} %"
        for number, count in enumerate(totals)
    )
    say(f"{plan.folder}: {len(scenes)} scenes; classes of the change moment {shares}")
    say(f"what was missing and what was done about it: {plan.folder / 'audit.json'}")
    root, name = plan.data_root, plan.spec.name
    say(f"Next: python data_processing/{name}_custom.py --data-root {root}")
    training = any(task.split == "train" for task in plan.tasks)
    say(f"      python {'Train' if training else 'Test'}_{name}.py --data-root {root}")


def _plain(value: Any) -> Any:
    """As it comes back from a JSON file."""
    return json.loads(json.dumps(value, default=str))
