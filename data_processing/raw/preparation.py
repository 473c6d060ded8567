"""A run that turns raw data into the processed layout, scene by scene.

What all ``prepare_*`` programs share: the plan is told before anything is written, gaps are listed,
disk space is looked at, scenes are written by several processes, each whole or not at all.
Finished scenes carry a fingerprint of their input and settings and are not made again. Everything
that was decided stands in ``dataset.json``, everything that was missing in ``audit.json``. Not in
the paper.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from data_processing.raw.earlier import (
    RECORD,
    Earlier,
    is_made_by,
    read_audit,
    read_earlier,
    read_record,
    remove_scene,
    remove_tree,
)
from data_processing.raw.plan import (
    MIB,
    Gap,
    Plan,
    RunSettings,
    SceneTask,
    generator_of,
    plain,
    require_disk,
)
from data_processing.raw.scene_processes import outcomes_of
from data_processing.scenes.patch_index import patch_index_path, write_patch_index
from data_processing.scenes.spec import SPLITS, DatasetSpec, Split
from data_processing.scenes.splits import scene_list_path, write_scene_list
from utils.errors import DataError, UserError
from utils.files import LOCK, holding, plain_name, remove_partial_files, write_csv_rows, write_json
from utils.progress import progress, say

__all__ = ["is_complete", "prepare", "require_ours"]

PARTIAL = ".partial-"  # before the name of a scene that is being written

SceneWriter = Callable[[SceneTask, Path], dict[str, Any]]


def is_complete(
    data_root: Path,
    spec: DatasetSpec,
    program: str,
    source: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> bool:
    """Whether an earlier run with the same source and settings came to its end.

    Raises:
        DataError: What it left is damaged.
    """
    folder = data_root / spec.images_root
    earlier = read_earlier(folder)
    return (
        earlier is not None
        and _is_finished(data_root, spec, earlier)
        and (earlier.generator, earlier.source, earlier.settings)
        == (generator_of(program), *plain([source, settings]))
        and all((folder / s["split"] / s["name"] / RECORD).is_file() for s in earlier.scenes)
    )


def require_ours(plan: Plan, overwrite: bool) -> None:
    """Make sure that a plan can be run where it shall be, before any of several is.

    Raises:
        UserError: The folder holds other data, or scenes of other settings without ``overwrite``.
        DataError: What earlier runs left is damaged.
    """
    _refuse_what_is_not_ours(plan, _undone(plan), read_earlier(plan.folder), overwrite)


def prepare(plan: Plan, write: SceneWriter, settings: RunSettings) -> None:
    """Run a plan.

    Args:
        plan: What to write.
        write: Writes one scene into an empty folder and returns facts about it; runs in other
            processes.
        settings: How to run it.

    Raises:
        UserError: The folder holds other data, another program is at work there, or the disk is
            too small.
        DataError: With ``--strict`` and gaps; what earlier runs left is damaged; or scenes could
            not be made, all of them at once.
        CaimError: A process was killed.
        KeyboardInterrupt, Terminated: After the scenes that are being written, when asked to stop.
    """
    for gap in plan.gaps:
        say(f"gap: {gap}")
    _refuse_what_cannot_be_made(plan, settings.strict)
    undone, earlier = _undone(plan), read_earlier(plan.folder)
    _say_plan(plan, undone)
    if settings.dry_run:
        return
    surplus = _refuse_what_is_not_ours(plan, undone, earlier, settings.overwrite)
    if not (undone or surplus) and _is_finished(plan.data_root, plan.spec, earlier):
        _remove_unfinished(plan)
        say(f"{plan.folder}: complete already, made with the same settings; nothing done")
        return
    require_disk(plan, undone)
    with holding(plan.folder, "--data-root", wait=plan.adds):
        _prepare_alone(plan, write, settings)


def _prepare_alone(plan: Plan, write: SceneWriter, settings: RunSettings) -> None:
    """Remove what is not wanted and write the rest, by what lies there now that it is held."""
    undone, earlier = _undone(plan), read_earlier(plan.folder)
    surplus = _refuse_what_is_not_ours(plan, undone, earlier, settings.overwrite)
    _remove_unfinished(plan)
    for scene in surplus:
        if not remove_scene(plan.folder / scene["split"] / scene["name"], plan.program):
            say(f"{scene['split']}/{scene['name']}: left as it is, and in no list: it is not ours")
    stays = _surplus(plan, earlier) if plan.adds else []
    _write_all(plan, undone, write, settings, stays)


def _write_all(
    plan: Plan,
    undone: Sequence[SceneTask],
    write: SceneWriter,
    settings: RunSettings,
    stays: Sequence[dict[str, Any]],
) -> None:
    """Write the scenes and all that stands beside them; ``stays`` are those of earlier runs."""
    # first, so that a run that is killed leaves a folder that says what it is
    write_json(plan.folder / "dataset.json", _dataset(plan, stays, complete=False))
    done = partial(_write_one, plan=plan, write=write)
    outcomes = outcomes_of(done, undone, settings)
    errors = [
        error for error in progress(outcomes, "writing scenes", len(undone), "scene") if error
    ]
    remarks = [Gap(**gap) for task in plan.tasks for gap in _record(plan, task).get("gaps", [])]
    write_json(plan.folder / "audit.json", _audit(plan, remarks, errors))
    for gap in remarks:
        say(f"remark: {gap}")
    if errors:
        faults = [f"{e.where}: {fault}" for e in errors for fault in e.faults or [""]]
        raise DataError(
            str(plan.source.get("path", plan.folder)),
            faults,
            "The other scenes are written; run the same command again when this is mended.",
        )
    facts = _dataset(plan, stays, complete=True)
    columns = ("split", "name", "area")
    write_csv_rows(
        plan.folder / "scenes.csv",
        [{**{c: s[c] for c in columns}, "dates": " ".join(s["dates"])} for s in facts["scenes"]],
    )
    _write_lists(plan, facts["scenes"])
    write_json(plan.folder / "dataset.json", facts)  # last: what it calls complete is complete
    _say_result(plan)


def _write_one(task: SceneTask, plan: Plan, write: SceneWriter) -> DataError | None:
    """Write a scene beside its place and move it there when it is whole."""
    target = plan.target(task)
    scratch = target.with_name(PARTIAL + target.name)
    remove_tree(scratch)
    scratch.mkdir(parents=True)
    try:
        facts = write(task, scratch)
        gaps = facts.pop("gaps", [])
        record = {
            "fingerprint": plan.fingerprint(task),
            "program": plan.program,
            "scene": {"name": task.name, "split": task.split, "area": task.area,
                      **plain(task.facts), **facts},
            "gaps": [asdict(gap) for gap in gaps],
        }  # fmt: skip
        write_json(scratch / RECORD, record)
        remove_scene(target, plan.program)
        os.replace(scratch, target)
    except DataError as error:
        return error
    finally:
        remove_tree(scratch)
    return None


# ───────────────────────────────── what lies there already ─────────────────────────────────


def _record(plan: Plan, task: SceneTask) -> dict[str, Any]:
    """Record in a finished scene; nothing when it is not finished."""
    return read_record(plan.target(task))


def _undone(plan: Plan) -> list[SceneTask]:
    """Scenes that are not there as the plan wants them."""
    return [task for task in plan.tasks if not _is_done(plan, task)]


def _is_done(plan: Plan, task: SceneTask) -> bool:
    """Whether a scene was made from the same input with the same settings and is whole."""
    record, spec = _record(plan, task), plan.spec
    if record.get("fingerprint") != plan.fingerprint(task):
        return False
    names = [f"{spec.image_folder}/{name}" for name in record["scene"]["images"]]
    return all(
        (plan.target(task) / name).is_file() for name in (*names, spec.area_file, spec.moment_file)
    )


def _refuse_what_cannot_be_made(plan: Plan, strict: bool) -> None:
    """No scenes, names that are none, or gaps where there shall be none."""
    where, faults, advice = str(plan.source.get("path", plan.folder)), [], ""
    for task in plan.tasks:
        try:
            plain_name(task.name)
        except ValueError as error:
            faults.append(f"found {error}, expected the name of a scene's folder")
            advice = "Rename the area."
    if not plan.tasks:
        faults = [str(gap) for gap in plan.gaps] or ["found no area to make a scene from"]
        advice = "docs/data.md shows what the raw data look like."
    elif strict and plan.gaps:
        faults += [str(gap) for gap in plan.gaps]
        advice = "Complete the data, or leave --strict out to go on without."
    if faults:
        raise DataError(where, faults, f"Nothing was written. {advice}")


def _refuse_what_is_not_ours(
    plan: Plan, undone: Sequence[SceneTask], earlier: Earlier | None, overwrite: bool
) -> list[dict[str, Any]]:
    """Nothing of the user's, or of another program, is replaced unasked.

    Returns:
        Scenes of an earlier run to be removed.
    """
    names = {path.name for path in plan.folder.iterdir()} if plan.folder.exists() else set()
    if not names - {LOCK}:
        return []
    generator = plan.generator
    if earlier is None or earlier.generator != generator:
        made_by = "no dataset.json" if earlier is None else f"data of {earlier.generator}"
        raise UserError(
            f"{plan.folder}: found {made_by}, expected an empty folder or data of {generator}. "
            "Nothing was written. Give another --data-root, or move that folder away."
        )
    existing = [task for task in undone if os.path.lexists(plan.target(task))]
    foreign = [t.name for t in existing if not is_made_by(plan.target(t), plan.program)]
    if foreign:
        raise UserError(
            f"{plan.folder}: found {', '.join(foreign)} without a sound {RECORD} of {generator}, "
            "expected to write scenes there. Nothing was written. Move them away, or give another "
            "--data-root."
        )
    # one that has only lost a file is made again unasked
    other = [t for t in existing if _record(plan, t)["fingerprint"] != plan.fingerprint(t)]
    same = plain([plan.settings, plan.source]) == [earlier.settings, earlier.source]
    surplus = [] if plan.adds else _surplus(plan, earlier)
    if (other or surplus or not (same or plan.adds)) and not overwrite:
        raise UserError(
            f"{plan.folder}: holds scenes made with other input or settings "
            f"({_difference(plan, other, earlier)}). Nothing was written. Add --overwrite to make "
            "them anew, or give another --data-root."
        )
    return surplus


def _surplus(plan: Plan, earlier: Earlier | None) -> list[dict[str, Any]]:
    """Scenes of an earlier run that this one does not have."""
    planned = {(task.split, task.name) for task in plan.tasks}
    scenes = [] if earlier is None else earlier.scenes
    return [scene for scene in scenes if (scene["split"], scene["name"]) not in planned]


def _remove_unfinished(plan: Plan) -> None:
    """Remove what a run that was killed had not finished.

    Where runs add scenes one by one, several may be at work: there each clears its own scenes only.
    """
    if plan.adds:
        return
    for split in SPLITS:
        for scratch in (plan.folder / split).glob(f"{PARTIAL}*"):
            remove_tree(scratch)
    lists = plan.data_root / plan.spec.lists_folder
    index = plan.data_root / plan.spec.index_folder(plan.spec.patch_size, plan.spec.stride)
    for folder in (plan.folder, lists, index):
        remove_partial_files(folder)


def _is_finished(data_root: Path, spec: DatasetSpec, earlier: Earlier | None) -> bool:
    """Whether a run came to its end, and scene lists and patch index are still there."""
    return (
        earlier is not None
        and earlier.complete
        and all(
            scene_list_path(data_root, spec, split).is_file()
            and patch_index_path(data_root, spec, split, spec.patch_size, spec.stride).is_file()
            for split in earlier.names()
        )
    )


def _difference(plan: Plan, other: Sequence[SceneTask], earlier: Earlier) -> str:
    """Settings that differ, for a message; those of the scene where each has its own."""
    before, now = dict(earlier.settings), plain(plan.settings)
    if plan.adds and other:
        before |= _record(plan, other[0]).get("scene", {})
        now |= plain(other[0].facts)
        before = {key: value for key, value in before.items() if key in now}
    changed = [
        f"{key}: {before.get(key)!r} there, {now.get(key)!r} asked for"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    return "; ".join(changed) or "the raw files are others"


# ────────────────────────────────── what is written and said ──────────────────────────────────


def _dataset(plan: Plan, stays: Sequence[dict[str, Any]], complete: bool) -> dict[str, Any]:
    """Content of dataset.json."""
    records = (_record(plan, task).get("scene") for task in plan.tasks)
    scenes = [*stays, *(record for record in records if record)]
    return {
        "generator": plan.generator,
        "generator_version": plan.version,
        "complete": complete,
        "source": plain(plan.source),
        "settings": plain(plan.settings),
        **plain(plan.notes),
        "scenes": sorted(scenes, key=lambda scene: (SPLITS.index(scene["split"]), scene["name"])),
    }


def _audit(plan: Plan, remarks: Sequence[Gap], errors: Sequence[DataError]) -> dict[str, Any]:
    """Content of audit.json."""
    gaps = [asdict(gap) for gap in (*plan.gaps, *remarks)]
    inputs = {
        f"{task.split}/{task.name}": [
            {"name": name, "bytes": size, "mark": mark} for name, size, mark in task.inputs
        ]
        for task in plan.tasks
    }
    if plan.adds:  # to what stands there of scenes that stay
        gaps_before, inputs_before = read_audit(plan.folder)
        ours = {task.name for task in plan.tasks}
        gaps = [gap for gap in gaps_before if gap["area"] not in ours] + gaps
        inputs = inputs_before | inputs
    return {
        "program": plan.program,
        "gaps": gaps,
        "failed": [{"where": error.where, "faults": error.faults} for error in errors],
        "inputs": inputs,
    }


def _write_lists(plan: Plan, scenes: Sequence[dict[str, Any]]) -> None:
    """Scene lists and patch index of the splits that have scenes."""
    names: dict[Split, list[str]] = {}
    for scene in scenes:
        if (plan.folder / scene["split"] / scene["name"]).is_dir():
            names.setdefault(scene["split"], []).append(scene["name"])
    for split, listed in names.items():
        write_scene_list(plan.data_root, plan.spec, split, listed)
    write_patch_index(
        plan.data_root, plan.spec, plan.spec.patch_size, plan.spec.stride, splits=list(names)
    )


def _say_plan(plan: Plan, undone: Sequence[SceneTask]) -> None:
    """Say what will be written, and how large it is."""
    waiting = {task.name for task in undone}
    for task in sorted(plan.tasks, key=lambda task: (SPLITS.index(task.split), task.name)):
        state = f"up to {task.nbytes / MIB:.0f} MiB" if task.name in waiting else "done"
        dates = ", ".join(str(date) for date in task.facts.get("dates", ["dates are drawn"]))
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
