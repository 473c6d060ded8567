"""The patch index: the files myxys_{train,val,test}.csv with header X,Y,image_ID.

X is the top **row**, Y the left **column** of a patch and image_ID the position of its scene in
the scene list; rows are ordered by image_ID, X, Y. Border strips that no whole step reaches are
left out, as in the released program. Also holds what stands behind ``Dynamic_create_xys.py`` and
``SpaceNet7_create_xys.py``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import SPLITS, DatasetSpec, Split
from data_processing.scenes.splits import (
    SplitChoice,
    chosen_splits,
    no_data_error,
    read_scene_list,
    scene_list_path,
    writing,
)
from utils.errors import DataError
from utils.files import atomic_path, finite_number
from utils.progress import say

__all__ = [
    "PatchOrigin",
    "index_patches",
    "patch_index_path",
    "patch_origins",
    "read_patch_index",
    "require_index",
    "write_patch_index",
]

HEADER = ("X", "Y", "image_ID")
LARGEST_PLACE = 2**31  # no raster has so many rows


class PatchOrigin(NamedTuple):
    """Origin of a patch: position of its scene in the scene list, top row, left column."""

    scene_index: int
    row: int
    col: int


def patch_origins(height: int, width: int, patch_size: int, stride: int) -> list[tuple[int, int]]:
    """Top-left corners (row, col) of the patches of a scene, row by row, without border strips.

    Raises:
        ValueError: When patch size or stride is smaller than 1.
    """
    if patch_size < 1 or stride < 1:
        raise ValueError(
            f"patches: found size {patch_size} and stride {stride}, expected both at least 1."
        )
    rows = range(0, height - patch_size + 1, stride)
    cols = range(0, width - patch_size + 1, stride)
    return [(row, col) for row in rows for col in cols]


def patch_index_path(
    data_root: Path, spec: DatasetSpec, split: Split, patch_size: int, stride: int
) -> Path:
    """Path of a split's patch index."""
    return data_root / spec.index_folder(patch_size, stride) / f"myxys_{split}.csv"


def write_patch_index(
    data_root: Path,
    spec: DatasetSpec,
    patch_size: int,
    stride: int,
    splits: Sequence[Split] = SPLITS,
) -> dict[Split, int]:
    """Write the patch index of every split, replacing earlier ones.

    Returns:
        Patches by split.

    Raises:
        DataError: When scene lists or scenes are missing or at fault, or a scene is smaller than
            a patch; all faults at once, and nothing is written.
    """
    origins_by_split: dict[Split, list[PatchOrigin]] = {}
    errors: list[DataError] = []
    for split in splits:
        try:
            origins_by_split[split] = _index_of_split(data_root, spec, split, patch_size, stride)
        except DataError as error:
            errors.append(error)
    if errors:
        faults = [fault for error in errors for fault in error.faults]
        advice = "\n".join(dict.fromkeys(error.advice for error in errors if error.advice))
        raise DataError(str(data_root), list(dict.fromkeys(faults)), advice)
    for split, origins in origins_by_split.items():
        path = patch_index_path(data_root, spec, split, patch_size, stride)
        with (
            writing(data_root, spec),
            atomic_path(path) as partial,
            partial.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows((row, col, scene_index) for scene_index, row, col in origins)
    return {split: len(origins) for split, origins in origins_by_split.items()}


def require_index(
    data_root: Path, spec: DatasetSpec, split: Split, patch_size: int, stride: int
) -> None:
    """Make sure that scene list and patch index of a split are there.

    Raises:
        DataError: When one is missing, with the two commands that make them.
    """
    if not (data_root / spec.images_root).is_dir():
        raise no_data_error(data_root, spec)
    paths = [
        scene_list_path(data_root, spec, split),
        patch_index_path(data_root, spec, split, patch_size, stride),
    ]
    faults = [
        f"{path.relative_to(data_root).as_posix()}: missing, expected the {what}"
        for path, what in zip(paths, ("list of scenes", "index of patches"), strict=True)
        if not path.is_file()
    ]
    if faults:
        raise DataError(
            str(data_root),
            faults,
            f"Two commands make them:\n{spec.commands(data_root, patch_size, stride)}",
        )


def read_patch_index(
    data_root: Path,
    spec: DatasetSpec,
    split: Split,
    patch_size: int,
    stride: int,
    scenes: Sequence[Scene | None],
) -> list[PatchOrigin]:
    """Patches of a split in the order of its index file.

    Further columns (pandas writes one without a name) are passed over, and whole numbers written
    as 64.0 are understood.

    Args:
        data_root: Folder that holds the index folders.
        spec: Facts of the data set.
        split: Which split.
        patch_size: Side of a patch in pixels.
        stride: Step between patches in pixels.
        scenes: Scenes in the order of the scene list; None stands for one that cannot be opened.

    Raises:
        DataError: When the file is missing (with the two commands that make it), has other
            columns, no rows, or rows that are no whole numbers, name no scene of the list or
            leave their scene; all such faults at once.
    """
    require_index(data_root, spec, split, patch_size, stride)
    path = patch_index_path(data_root, spec, split, patch_size, stride)
    advice = f"Write lists and index afresh:\n{spec.commands(data_root, patch_size, stride)}"
    origins, faults = _parse(path)
    if not faults:
        faults = _misplaced(origins, scenes, patch_size)
    if faults:
        raise DataError(str(path), [f"{path.name}: {fault}" for fault in faults], advice)
    return [origin for _, origin in origins]


def index_patches(
    spec: DatasetSpec, data_root: Path, split: SplitChoice, patch_size: int, stride: int
) -> None:
    """Write the patch index of a data set and say so: what ``<name>_create_xys.py`` does."""
    splits = chosen_splits(split)
    paths = {name: patch_index_path(data_root, spec, name, patch_size, stride) for name in splits}
    before = {name: path.exists() for name, path in paths.items()}
    counts = write_patch_index(data_root, spec, patch_size, stride, splits)
    for name, count in counts.items():
        say(f"{'replaced' if before[name] else 'wrote'} {paths[name]}: {count} patches")


def _index_of_split(
    data_root: Path, spec: DatasetSpec, split: Split, patch_size: int, stride: int
) -> list[PatchOrigin]:
    """Patches of all scenes of a split, ordered by scene, row, column."""
    origins: list[PatchOrigin] = []
    faults: list[str] = []
    for index, folder in enumerate(read_scene_list(data_root, spec, split)):
        try:
            scene = Scene(folder, spec)
        except DataError as error:
            faults.extend(error.faults)
            continue
        corners = patch_origins(scene.height, scene.width, patch_size, stride)
        if not corners:
            faults.append(
                f"{split}/{scene.name}: found images of {scene.height}×{scene.width} pixels, "
                f"expected at least {patch_size}×{patch_size}; choose a smaller --patch-size"
            )
        origins.extend(PatchOrigin(index, row, col) for row, col in corners)
    if faults:
        raise DataError(str(data_root / spec.images_root / split), faults)
    return origins


def _parse(path: Path) -> tuple[list[tuple[int, PatchOrigin]], list[str]]:
    """Line number and origin of every row, and what cannot be read."""
    origins: list[tuple[int, PatchOrigin]] = []
    unread: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            columns = [column.strip() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            if not set(HEADER) <= set(columns):
                shown = ", ".join(columns) or "none"
                return [], [f"found columns {shown}, expected {','.join(HEADER)}"]
            for row in reader:
                try:
                    top, left, scene_index = (_whole(row[column]) for column in HEADER)
                except (TypeError, ValueError, AttributeError):
                    values = ",".join(f"{row[column]!s:.30}" for column in HEADER)
                    unread.append(f"line {reader.line_num} ({values})")
                    continue
                origins.append((reader.line_num, PatchOrigin(scene_index, top, left)))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        return [], [f"found no text table ({error}), expected one with columns {','.join(HEADER)}"]
    faults = _summary(unread, "do not hold three whole numbers")
    if not origins and not faults:
        faults = ["found no rows, expected one per patch"]
    return origins, faults


def _misplaced(
    origins: Sequence[tuple[int, PatchOrigin]], scenes: Sequence[Scene | None], patch_size: int
) -> list[str]:
    """Faults of rows that name no scene of the list or leave their scene."""
    unknown: list[str] = []
    outside: dict[int, list[str]] = {}
    for line, (scene_index, row, col) in origins:
        if not 0 <= scene_index < len(scenes):
            unknown.append(f"line {line} (image_ID {scene_index})")
            continue
        scene = scenes[scene_index]
        if scene is None:
            continue
        if min(row, col) < 0 or row + patch_size > scene.height or col + patch_size > scene.width:
            outside.setdefault(scene_index, []).append(f"line {line} (X {row}, Y {col})")
    faults = _summary(unknown, f"name no scene of the list, which has IDs 0…{len(scenes) - 1}")
    for scene_index, rows in outside.items():
        scene = scenes[scene_index]
        assert scene is not None
        faults += _summary(
            rows,
            f"point outside {scene.split}/{scene.name} ({scene.height}×{scene.width} pixels, "
            f"patches of {patch_size})",
        )
    return faults


def _summary(rows: Sequence[str], what: str) -> list[str]:
    """One sentence for many rows: how many, which first."""
    if not rows:
        return []
    shown = ", ".join(rows[:3]) + (" …" if len(rows) > 3 else "")
    return [f"{len(rows)} rows {what}: {shown}"]


def _whole(text: str) -> int:
    """A whole number, also one written as 64.0.

    Raises:
        ValueError: When the text is no whole number.
    """
    value = finite_number(text)
    if abs(value) > LARGEST_PLACE or value != int(value):
        raise ValueError(f"found {text!r}, expected a whole number")
    return int(value)
