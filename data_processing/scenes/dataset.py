"""Patches of image series with their change labels, as training and scoring take them.

Holds the dataset and the one way to open a split with everything verified at once. Labels and
pixels are read in ``scene``; flips in ``augmentation``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import get_spawning_popen
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from data_processing.rasters.reading import bound_decoded_blocks
from data_processing.rasters.values import PixelScale
from data_processing.scenes.check import examine_scene
from data_processing.scenes.patch_index import (
    PatchOrigin,
    patch_index_path,
    read_patch_index,
    require_index,
)
from data_processing.scenes.scene import Scene
from data_processing.scenes.shared_pixels import SharedPixels
from data_processing.scenes.shared_places import shared_places
from data_processing.scenes.spec import SPLITS, DatasetSpec, Split
from data_processing.scenes.splits import find_scenes, read_scene_list, scene_list_path
from utils.errors import DataError, UserError
from utils.progress import progress, say
from utils.tiling import TileGrid

__all__ = ["SeriesDataset", "Transform", "cover_split", "open_split", "open_splits"]

SHOWN_WARNINGS = 5

Sample = dict[str, Any]
Transform = Callable[[Sample], Sample]


class SeriesDataset(Dataset[Sample]):
    """Patches of scenes in the processed layout, in the order of their index.

    Each item is a dict: ``images`` (T, C, H, W) float32; ``area_label`` and ``moment_label``
    (H, W) int64, −1 = ignore; ``valid`` (label known, data at every date) and ``observed`` (data
    at every date) (H, W) bool; ``aoi`` str, the scene's name; ``origin`` (2,) int64, top row and
    left column; ``scene_index`` int.

    Windows are read from disk per item, in whichever process asks; no process inherits an open
    file. A cache is in memory once: forked processes see that of their parent, others are handed
    it as shared memory. For scale, no-data and filling see ``data_processing.scenes.scene.Scene``.

    Args:
        scenes: Scenes in the order that ``origins`` refers to.
        origins: One per patch.
        patch_size: Side of a patch in pixels.
        transform: Called with the whole item, images and labels together.
        cache: Whether to read all scenes into memory now; the size is printed.
        pixel_scale: ``auto`` or ``stored``.
        ignore_invalid: Whether pixels without data at some date get label −1.
        in_order: Patches will be asked for scene by scene and row by row: whole rows are read and
            those of one scene kept.

    Attributes:
        random_crops: Serve a window anywhere in the scene instead of the one at the origin, another
            one each time (training only); False at first. It follows from torch's generator.

    Raises:
        DataError: When a scene cannot be read into the cache.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        origins: Sequence[PatchOrigin],
        patch_size: int,
        transform: Transform | None = None,
        cache: bool = False,
        pixel_scale: PixelScale = "auto",
        ignore_invalid: bool = True,
        in_order: bool = False,
    ) -> None:
        self.scenes = list(scenes)
        self.origins = list(origins)
        self.patch_size = patch_size
        self.transform = transform
        self.pixel_scale: PixelScale = pixel_scale
        self.ignore_invalid = ignore_invalid
        self.random_crops = False
        self._shared: SharedPixels | None = None
        self._last: Scene | None = None
        for scene in self.scenes if in_order else ():
            scene.keep_strips()
        if cache:
            size = sum(
                scene.keep_in_memory()
                for scene in progress(self.scenes, "reading scenes into memory", unit="scene")
            )
            say(f"cache: {len(self.scenes)} scenes in memory, {size / 2**20:.1f} MiB")

    def __len__(self) -> int:
        """Patches in the index."""
        return len(self.origins)

    def fingerprint(self) -> dict[str, Any]:
        """Mark of these patches, as plain values: a resumed run compares it."""
        index = [[scene.name, scene.height, scene.width] for scene in self.scenes]
        text = json.dumps([index, [list(origin) for origin in self.origins]])
        return {
            "scenes": len(self.scenes),
            "patch_size": self.patch_size,
            "pixel_scale": self.pixel_scale,
            "ignore_invalid": self.ignore_invalid,
            "index": hashlib.sha256(text.encode()).hexdigest()[:16],
        }

    def __getitem__(self, index: int) -> Sample:
        """The patch at a position of the index."""
        scene_index, row, col = self.origins[index]
        scene = self.scenes[scene_index]
        if self._last is not None and self._last is not scene:
            self._last.forget_strip()
        self._last = scene
        if self.random_crops:
            row, col = (_anywhere(side, self.patch_size) for side in (scene.height, scene.width))
        arrays = scene.read(
            row, col, self.patch_size, self.patch_size, self.pixel_scale, self.ignore_invalid
        )
        sample: Sample = {name: torch.from_numpy(array) for name, array in arrays.items()}
        sample["aoi"] = scene.name
        sample["origin"] = torch.from_numpy(np.array([row, col], dtype=np.int64))
        sample["scene_index"] = scene_index
        return self.transform(sample) if self.transform else sample

    def __getstate__(self) -> dict[str, Any]:
        """State for another process: for one that is being started, with the cache."""
        if get_spawning_popen() is not None and any(s.kept_arrays() for s in self.scenes):
            if self._shared is None:
                self._shared = SharedPixels(self.scenes)
            return dict(self.__dict__)
        return {**self.__dict__, "_shared": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._shared is not None:
            self._shared.hand_to(self.scenes)


def _anywhere(side: int, patch_size: int) -> int:
    """Draw evenly where a patch begins along a side of a scene."""
    return int(torch.randint(max(1, side - patch_size + 1), (1,)))


def open_split(
    data_root: Path,
    spec: DatasetSpec,
    split: Split,
    patch_size: int | None = None,
    stride: int | None = None,
    *,
    transform: Transform | None = None,
    cache: bool = False,
    pixel_scale: PixelScale = "auto",
    ignore_invalid: bool = True,
    verify: Literal["full", "quick"] = "full",
) -> SeriesDataset:
    """Open a split by its scene list and patch index, everything verified.

    Args:
        data_root: Folder that holds ``Images_<name>/`` and the index folders.
        spec: Facts of the data set.
        split: train, val or test.
        patch_size: Side of a patch in pixels; default as in ``spec``.
        stride: Step between patches in pixels; default as in ``spec``.
        transform, cache, pixel_scale, ignore_invalid: See :class:`SeriesDataset`.
        verify: ``full`` goes through all pixels once, ``quick`` through the headers.

    Raises:
        DataError: When list or index are missing (with the two commands that make them), or with
            all faults of list, scenes and index.
    """
    data_root = Path(data_root)
    patch_size = spec.patch_size if patch_size is None else patch_size
    stride = spec.stride if stride is None else stride
    require_index(data_root, spec, split, patch_size, stride)
    errors: list[DataError] = []
    folders = _listed_folders(data_root, spec, split, errors)
    listed = not errors
    scenes = _open_scenes(data_root, spec, folders, verify == "full", pixel_scale, errors)
    # Without a list nobody knows which scene an ID means.
    numbered = scenes if listed else [None] * len(scenes)
    origins = _read_index(data_root, spec, split, patch_size, stride, numbered, errors)
    if errors:
        raise _merged(f"{data_root}, {spec.title}, split {split}", errors)
    return SeriesDataset(
        [scene for scene in scenes if scene is not None],
        origins,
        patch_size,
        transform,
        cache,
        pixel_scale,
        ignore_invalid,
    )


def open_splits(
    data_root: Path,
    spec: DatasetSpec,
    transforms: Mapping[Split, Transform | None],
    patch_size: int | None = None,
    stride: int | None = None,
    *,
    cache: bool = False,
    pixel_scale: PixelScale = "auto",
    ignore_invalid: bool = True,
) -> list[SeriesDataset]:
    """Open several splits, each with its transform, as :func:`open_split` does.

    Raises:
        DataError: With the faults of all of them at once.
    """
    opened: list[SeriesDataset] = []
    errors: list[DataError] = []
    for split, transform in transforms.items():
        try:
            opened.append(
                open_split(
                    data_root, spec, split, patch_size, stride, transform=transform, cache=cache,
                    pixel_scale=pixel_scale, ignore_invalid=ignore_invalid,
                )
            )  # fmt: skip
        except DataError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise _merged(f"{data_root}, {spec.title}", errors)
    folders = [scene.folder for dataset in opened for scene in dataset.scenes]
    _say_shared_places(folders, spec, labels=True)
    return opened


def cover_split(
    data_root: Path,
    spec: DatasetSpec,
    split: Split,
    patch_size: int | None = None,
    overlap: int = 0,
    *,
    pixel_scale: PixelScale = "auto",
    ignore_invalid: bool = True,
    verify: Literal["full", "quick"] = "full",
) -> SeriesDataset:
    """Open a split so that its patches cover every pixel of every scene; needs no index.

    Args:
        data_root, spec: As for :func:`open_split`.
        split: train, val or test. Its scene list decides where there is one, else its folder.
        patch_size: Side of a patch in pixels; default as in ``spec``.
        overlap: Least overlap of neighbouring patches in pixels.
        pixel_scale, ignore_invalid: See :class:`SeriesDataset`.
        verify: ``full`` goes through all pixels once, ``quick`` through the headers.

    Raises:
        DataError: With all faults of list, scenes and patch index (where there is one).
        UserError: The overlap is no smaller than the patch.
    """
    bound_decoded_blocks()
    data_root = Path(data_root)
    patch_size = spec.patch_size if patch_size is None else patch_size
    if not 0 <= overlap < patch_size:
        raise UserError(
            f"--overlap: found {overlap}, expected 0 or more and less than the patch size, "
            f"{patch_size}."
        )
    errors: list[DataError] = []
    listed = scene_list_path(data_root, spec, split).is_file()
    stride = spec.stride if patch_size == spec.patch_size else patch_size
    if listed:
        folders = _listed_folders(data_root, spec, split, errors)
    else:
        folders = _unlisted_folders(data_root, spec, split, patch_size, stride)
    opened = _open_scenes(data_root, spec, folders, verify == "full", pixel_scale, errors)
    if listed and patch_index_path(data_root, spec, split, patch_size, stride).is_file():
        # not needed here, but a faulty index is told before somebody trains with it
        _read_index(data_root, spec, split, patch_size, stride, opened, errors)
    if errors:
        raise _merged(f"{data_root}, {spec.title}, split {split}", errors)
    scenes = [scene for scene in opened if scene is not None]
    _say_shared_places([*folders, *_other_folders(data_root, spec, split)], spec, labels=False)
    origins = [
        PatchOrigin(index, row, col)
        for index, scene in enumerate(scenes)
        for row, col in TileGrid(scene.height, scene.width, patch_size, overlap).origins
    ]
    return SeriesDataset(
        scenes, origins, patch_size,
        pixel_scale=pixel_scale, ignore_invalid=ignore_invalid, in_order=True,
    )  # fmt: skip


def _other_folders(data_root: Path, spec: DatasetSpec, split: Split) -> list[Path]:
    """Scene folders of the other splits that are there."""
    folders: list[Path] = []
    for other in SPLITS:
        if other != split and (data_root / spec.images_root / other).is_dir():
            with contextlib.suppress(DataError):  # it has no scenes
                folders += find_scenes(data_root, spec, other)
    return folders


def _say_shared_places(folders: Sequence[Path], spec: DatasetSpec, labels: bool) -> None:
    """Warn of scores that a place in two splits makes too good."""
    faults = shared_places(folders, spec, labels=labels, images=False).faults
    for fault in faults[:SHOWN_WARNINGS]:
        say(f"warning: {fault}: scores will be too good")
    if len(faults) > SHOWN_WARNINGS:
        say(f"warning: {len(faults) - SHOWN_WARNINGS} more such places")


def _merged(where: str, errors: Sequence[DataError]) -> DataError:
    """One error with the faults and the advice of several."""
    faults = [fault for error in errors for fault in error.faults]
    advice = dict.fromkeys(error.advice for error in errors if error.advice)
    return DataError(where, faults, "\n".join(advice))


def _unlisted_folders(
    data_root: Path, spec: DatasetSpec, split: Split, patch_size: int, stride: int
) -> list[Path]:
    """Folders of a split that has no scene list, and how to make one, said."""
    folders = find_scenes(data_root, spec, split)
    say(
        f"no scene list in {data_root}: all {len(folders)} scenes of {split}/ are taken. "
        "Lists and the patch index, needed for training and the released protocol, are made "
        f"by\n{spec.commands(data_root, patch_size, stride)}"
    )
    return folders


def _listed_folders(
    data_root: Path, spec: DatasetSpec, split: Split, errors: list[DataError]
) -> list[Path]:
    """Scenes of the list; where it is at fault those on disk, so that they are checked too."""
    try:
        return read_scene_list(data_root, spec, split)
    except DataError as error:
        errors.append(error)
    try:
        return find_scenes(data_root, spec, split)
    except DataError:
        return []


def _read_index(
    data_root: Path,
    spec: DatasetSpec,
    split: Split,
    patch_size: int,
    stride: int,
    scenes: Sequence[Scene | None],
    errors: list[DataError],
) -> list[PatchOrigin]:
    """The patch index; its faults go into ``errors``."""
    try:
        return read_patch_index(data_root, spec, split, patch_size, stride, scenes)
    except DataError as error:
        errors.append(error)
        return []


def _open_scenes(
    data_root: Path,
    spec: DatasetSpec,
    folders: Sequence[Path],
    full: bool,
    pixel_scale: PixelScale,
    errors: list[DataError],
) -> list[Scene | None]:
    """Check and open scenes; None for one at fault, whose faults go into ``errors``."""
    scenes: list[Scene | None] = []
    faults: list[str] = []
    warnings: list[str] = []
    for folder in progress(folders, "checking scenes", unit="scene"):
        report = examine_scene(folder, spec, full, pixel_scale)
        warnings.extend(report.warnings)
        faults.extend(report.faults)
        try:
            scenes.append(Scene(folder, spec))
        except DataError:
            scenes.append(None)
    for warning in warnings[:SHOWN_WARNINGS]:
        say(f"warning: {warning}")
    if len(warnings) > SHOWN_WARNINGS:
        more = len(warnings) - SHOWN_WARNINGS
        say(f"warning: {more} more; data_processing/{spec.name}_custom.py shows all")
    if faults:
        errors.append(
            DataError(
                str(data_root / spec.images_root),
                faults,
                f"A scene looks like this:\n{spec.tree()}",
            )
        )
    return scenes
