"""Scenes of every split: the folders, and the lists F{train,val,test}.npy.

A list is a numpy array of str, sorted, with paths as the authors' programs write them
(``../Images_Dynamic/train/Scene07``); their lists are read too. Also holds what stands behind
``Dynamic_Fsplit.py`` and ``SpaceNet7_Fsplit.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from data_processing.scenes.spec import SPLITS, DatasetSpec, Split
from utils.errors import DataError
from utils.files import atomic_path, path_inside
from utils.progress import say

__all__ = [
    "SplitChoice",
    "chosen_splits",
    "find_scenes",
    "list_scenes",
    "no_data_error",
    "read_scene_list",
    "require_images",
    "scene_list_path",
    "write_scene_list",
    "write_scene_lists",
    "writing",
]

SplitChoice = Literal["train", "val", "test", "all"]
_NOT_SCENES = {"__macosx", "@eadir"}
ENTRY_BYTES = 1 << 16  # of a path in a list, at most


def find_scenes(data_root: Path, spec: DatasetSpec, split: Split) -> list[Path]:
    """Scene folders of a split as they lie on disk, sorted by name.

    Raises:
        DataError: When the data root, the split's folder or any scene in it is missing.
    """
    require_images(data_root, spec)
    images_root = data_root / spec.images_root
    folder = images_root / split
    if not folder.is_dir():
        splits = [name for name in SPLITS if (images_root / name).is_dir()]
        raise DataError(
            str(images_root),
            [f"{split}/: the split's folder is missing; found {', '.join(splits) or 'no split'}"],
            f"Expected:\n{spec.tree()}\n"
            "If some splits are left out on purpose, name the one you have, e.g. --split test.",
        )
    scenes = sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".") and path.name.lower() not in _NOT_SCENES
    )
    if not scenes:
        raise DataError(
            str(folder), [f"{split}/: found no scene folders"], f"Expected:\n{spec.tree()}"
        )
    return scenes


def scene_list_path(data_root: Path, spec: DatasetSpec, split: Split) -> Path:
    """Path of a split's scene list."""
    return data_root / spec.lists_folder / f"F{split}.npy"


def write_scene_lists(
    data_root: Path, spec: DatasetSpec, splits: Sequence[Split] = SPLITS
) -> dict[Split, list[str]]:
    """Write the scene list of every split, replacing earlier ones.

    Returns:
        The paths written, by split.

    Raises:
        DataError: When splits or scenes are missing, with all such faults; nothing is written.
    """
    names_by_split: dict[Split, list[str]] = {}
    errors: list[DataError] = []
    for split in splits:
        try:
            scenes = find_scenes(data_root, spec, split)
        except DataError as error:
            errors.append(error)
            continue
        names_by_split[split] = [scene.name for scene in scenes]
    if errors:
        faults = [fault for error in errors for fault in error.faults]
        # Without any data root every split tells the same.
        raise DataError(errors[0].where, list(dict.fromkeys(faults)), errors[-1].advice)
    return {s: write_scene_list(data_root, spec, s, names) for s, names in names_by_split.items()}


def write_scene_list(
    data_root: Path, spec: DatasetSpec, split: Split, names: Sequence[str]
) -> list[str]:
    """Write the scene list of a split from the names of its scenes; the paths written."""
    paths = sorted(f"../{spec.images_root}/{split}/{name}" for name in names)
    with (
        writing(data_root, spec),
        atomic_path(scene_list_path(data_root, spec, split)) as partial,
        partial.open("wb") as stream,
    ):
        np.save(stream, np.array(paths, dtype=np.str_), allow_pickle=False)
    return paths


def read_scene_list(data_root: Path, spec: DatasetSpec, split: Split) -> list[Path]:
    """Scene folders of a split in the order of its list, which patch indexes refer to.

    Of each path the last three components count (``Images_<name>/<split>/<scene>``), resolved
    under the data root; both slashes are understood.

    Raises:
        DataError: When the list is missing or damaged, or names scenes that are not there, twice,
            or of another split or data set; all such faults at once.
    """
    path = scene_list_path(data_root, spec, split)
    if not (data_root / spec.images_root).is_dir():
        raise no_data_error(data_root, spec)
    advice = f"Write the lists afresh:\n    {spec.list_command(data_root)}"
    if not path.is_file():
        raise DataError(str(path), ["the scene list is missing"], advice)
    try:
        entries = _text_array(path)
    except ValueError as error:
        raise DataError(str(path), [f"found {error}, expected a list of paths"], advice) from error
    scenes: list[Path] = []
    faults: list[str] = []
    for entry in entries:
        scene, fault = _resolve(entry, data_root, spec, split)
        if not fault and scene in scenes:
            fault = f"{entry}: listed twice"
        scenes.append(scene)
        if fault:
            faults.append(f"{path.name}: {fault}")
    if faults:
        raise DataError(str(path), faults, advice)
    return scenes


def require_images(data_root: Path, spec: DatasetSpec) -> None:
    """Make sure that a data root holds a data set at all; what is in it is not looked at.

    Raises:
        DataError: When it does not.
    """
    if not (data_root / spec.images_root).is_dir():
        raise no_data_error(data_root, spec)


def no_data_error(data_root: Path, spec: DatasetSpec) -> DataError:
    """The error for a data root that does not hold a data set at all, with two ways out."""
    state = "is there, without that folder" if data_root.is_dir() else "does not exist"
    return DataError(
        str(data_root),
        [f"found no folder {spec.images_root}/ (the data root {state}), expected\n{spec.tree()}"],
        f"Either put the processed {spec.title} data there, or name the folder that holds "
        f"{spec.images_root}/ with --data-root;\n"
        f"or write sample data:\n    {spec.sample_command(data_root)}",
    )


@contextmanager
def writing(data_root: Path, spec: DatasetSpec) -> Iterator[None]:
    """Turn a data root that cannot be written into an error with a way out.

    Raises:
        DataError: When writing inside the block fails.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            str(data_root),
            [f"cannot be written ({error})"],
            f"Link or copy {spec.images_root}/ into a folder that can be written to, and name that "
            "folder with --data-root.",
        ) from error


def chosen_splits(name: SplitChoice) -> tuple[Split, ...]:
    """The splits that a setting ``split`` stands for."""
    return tuple(split for split in SPLITS if name in (split, "all"))


def list_scenes(spec: DatasetSpec, data_root: Path, split: SplitChoice) -> None:
    """Write the scene lists of a data set and say so: what ``<name>_Fsplit.py`` does."""
    splits = chosen_splits(split)
    before = {name: scene_list_path(data_root, spec, name).exists() for name in splits}
    for name, paths in write_scene_lists(data_root, spec, splits).items():
        verb = "replaced" if before[name] else "wrote"
        count = f"{len(paths)} scene" + ("" if len(paths) == 1 else "s")
        say(f"{verb} {scene_list_path(data_root, spec, name)}: {count}")


def _text_array(path: Path) -> list[str]:
    """Entries of an array of text, of which nothing is taken into memory that is not in the file.

    Raises:
        ValueError: It is no such array.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.dtype.kind not in "US" or array.ndim != 1 or array.size == 0:
            raise ValueError(f"an array of {array.dtype!s:.20}, shape {array.shape!s:.40}")
        if array.dtype.itemsize > ENTRY_BYTES:
            raise ValueError(f"entries of {array.dtype.itemsize} bytes")
        return [str(entry) for entry in array.astype(np.str_)]
    except Exception as error:  # numpy's parser raises whatever it met
        raise ValueError(f"no plain array of text ({error!s:.200})") from error


def _resolve(entry: str, data_root: Path, spec: DatasetSpec, split: Split) -> tuple[Path, str]:
    """Folder that a list entry means, and what is wrong with it ('' if nothing)."""
    parts = [part for part in re.split(r"[\\/]+", entry.strip()) if part not in ("", ".")]
    if len(parts) < 3:
        fault = f"{entry:.200}: expected a path ending in {spec.images_root}/{split}/<scene>"
        return Path("?"), fault
    try:
        path_inside("/".join(parts[-3:]))
    except ValueError as error:
        return Path("?"), str(error)
    scene = data_root.joinpath(*parts[-3:])
    if parts[-3] != spec.images_root:
        return scene, f"{entry}: found folder {parts[-3]}, expected {spec.images_root}"
    if parts[-2] != split:
        return scene, f"{entry}: a scene of split {parts[-2]}, expected scenes of {split} only"
    if not scene.is_dir():
        return scene, f"{entry}: no such scene folder under {data_root}"
    return scene, ""
