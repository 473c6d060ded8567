"""Contents of a data root, as a table and a picture of one patch.

Holds what stands behind ``Dynamic_custom.py`` and ``SpaceNet7_custom.py``. Nothing is changed in
the data itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_processing.rasters.reading import read_window
from data_processing.rasters.values import decode_label
from data_processing.scenes.check import Report, SceneReport, check_data_root
from data_processing.scenes.patch_index import patch_index_path, patch_origins, read_patch_index
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import DatasetSpec, Split
from data_processing.scenes.splits import (
    SplitChoice,
    chosen_splits,
    read_scene_list,
    scene_list_path,
)
from utils.codes import NO_DATA
from utils.errors import DataError
from utils.progress import say

__all__ = ["describe", "draw_one_patch", "index_state", "inspect"]

SHOWN_PERCENTILES = (2.0, 98.0)  # brightness of the picture


def inspect(
    spec: DatasetSpec,
    data_root: Path,
    split: SplitChoice,
    patch_size: int,
    stride: int,
    picture: Path | None,
) -> None:
    """Check a data root, print what it holds and draw a patch: what ``<name>_custom.py`` does."""
    splits = chosen_splits(split)
    report = check_data_root(data_root, spec, splits)
    lines, faults = index_state(report, splits, patch_size, stride)
    for line in describe(report):
        say(line)
    for line in lines:
        say(line)
    for warning in report.warnings:
        say(f"warning: {warning}")
    report.faults.extend(faults)
    report.raise_if_faulty()
    picture = picture or data_root / f"{spec.name}_patch.png"
    try:
        where = draw_one_patch(report, patch_size, stride, picture)
    except OSError as error:
        say(f"no picture: {picture} cannot be written ({error.strerror}); name another --picture")
    else:
        say(f"picture: {picture} ({where})")


def describe(report: Report) -> list[str]:
    """Contents of a data root, as the lines of a table."""
    spec = report.spec
    lines = [
        f"{spec.title} in {report.data_root / spec.images_root}: {len(report.scenes)} scenes, "
        f"expected {spec.num_dates} dates and {len(spec.bands)} bands ({', '.join(spec.bands)})",
        "",
    ]
    rows: list[tuple[str, ...]] = [
        ("scene", "size", "type", "dates", "changed", "ignored", "found")
    ]
    rows += [_scene_row(scene, spec) for scene in report.scenes]
    lines += _table(rows)
    lines += ["", *_ranges(report), "", *_balance(report), ""]
    return lines


def index_state(
    report: Report, splits: Sequence[Split], patch_size: int, stride: int
) -> tuple[list[str], list[str]]:
    """State of scene lists and patch index: lines to print, and faults.

    A missing list or index is no fault here: it is said how to make them.
    """
    root, spec = report.data_root, report.spec
    lines: list[str] = []
    faults: list[str] = []
    for split in splits:
        list_path = scene_list_path(root, spec, split)
        index_path = patch_index_path(root, spec, split, patch_size, stride)
        if not (list_path.is_file() and index_path.is_file()):
            missing = list_path if not list_path.is_file() else index_path
            lines.append(f"index of {split}: not made ({missing.relative_to(root)} is missing)")
            continue
        try:
            folders = read_scene_list(root, spec, split)
            scenes = [_scene_or_none(folder, spec) for folder in folders]
            origins = read_patch_index(root, spec, split, patch_size, stride, scenes)
        except DataError as error:
            faults.extend(error.faults)
            continue
        lines.append(f"index of {split}: {len(folders)} scenes, {len(origins)} patches")
        unlisted = sum(
            scene.folder.parent.name == split and scene.folder not in folders
            for scene in report.scenes
        )
        if unlisted:
            report.warnings.append(f"{unlisted} scenes of {split} are not in {list_path.name}")
    if any("not made" in line for line in lines):
        lines.append("Two commands make lists and index:")
        lines.append(spec.commands(root, patch_size, stride))
    return lines, faults


def draw_one_patch(report: Report, patch_size: int, stride: int, picture: Path) -> str:
    """Draw the patch with most changed pixels of the scene with most of them.

    Returns:
        Which patch it is, in words.

    Raises:
        OSError: When the picture cannot be written.
    """
    from utils.pictures.figures import patch_figure  # matplotlib, needed here only
    from utils.pictures.layout import save_figure

    spec = report.spec
    most = max(report.scenes, key=_changed_share)
    scene = Scene(most.folder, spec)
    corners = patch_origins(scene.height, scene.width, patch_size, stride) or [(0, 0)]
    row, col = max(corners, key=lambda corner: _changed_pixels(scene, corner, patch_size))
    patch = scene.read(row, col, patch_size, patch_size)
    where = f"{most.label}, row {row}, column {col}, {patch_size}×{patch_size} pixels"
    images = _visible(patch["images"], spec)
    title = f"{spec.title} {where}"
    save_figure(patch_figure(images, patch["moment_label"], scene.dates, title), picture)
    return where


def _scene_or_none(folder: Path, spec: DatasetSpec) -> Scene | None:
    """The scene, or None where it cannot be opened (its faults are reported with the scene)."""
    try:
        return Scene(folder, spec)
    except DataError:
        return None


def _changed_share(scene: SceneReport) -> float:
    """Changed pixels among those that count."""
    counts = scene.pixels.class_counts if scene.pixels else np.zeros(1, dtype=np.int64)
    return float(counts[1:].sum()) / max(1, int(counts.sum()))


def _changed_pixels(scene: Scene, corner: tuple[int, int], size: int) -> int:
    """Changed pixels of a patch, from the moment label alone."""
    row, col = corner
    height, width = min(size, scene.height - row), min(size, scene.width - col)
    stored, _ = read_window(scene.moment_path, row, col, height, width)
    return int((decode_label(stored[0], NO_DATA) > 0).sum())


def _scene_row(scene: SceneReport, spec: DatasetSpec) -> tuple[str, ...]:
    """One line of the table of scenes."""
    size = f"{scene.info.height}×{scene.info.width}" if scene.info else "–"
    dtype = scene.info.dtype if scene.info else "–"
    dates = f"{scene.dates[0]} … {scene.dates[-1]} ({len(scene.dates)})" if scene.dates else "none"
    changed, ignored = "–", "–"
    if scene.pixels and scene.pixels.class_counts.sum():
        changed = f"{100 * _changed_share(scene):.2f} %"
    if scene.pixels and scene.info:
        pixels = scene.info.height * scene.info.width
        ignored = f"{100 * scene.pixels.ignored / pixels:.2f} %"
    count = len(scene.faults)
    state = f"{count} fault{'s' * (count > 1)}" if count else "sound"
    return scene.label, size, dtype, dates, changed, ignored, state


def _ranges(report: Report) -> list[str]:
    """Smallest and largest stored value of every band over all scenes of a type."""
    lines = ["Stored values (smallest … largest over all scenes and dates):"]
    types = sorted({scene.info.dtype for scene in report.scenes if scene.info})
    for dtype in types:
        findings = [
            scene.pixels
            for scene in report.scenes
            if scene.pixels and scene.info and scene.info.dtype == dtype
            if len(scene.pixels.band_min) == len(report.spec.bands)
        ]
        if not findings:
            continue
        low = np.min([finding.band_min for finding in findings], axis=0)
        high = np.max([finding.band_max for finding in findings], axis=0)
        ranges = [
            f"{band} {smallest:g} … {largest:g}"
            for band, smallest, largest in zip(report.spec.bands, low, high, strict=True)
        ]
        lines.append(f"  {dtype}: {', '.join(ranges)}")
    return lines


def _balance(report: Report) -> list[str]:
    """Share of every moment class by split, in percent of the pixels that count."""
    spec = report.spec
    splits = list(dict.fromkeys(scene.folder.parent.name for scene in report.scenes))
    rows = [("class balance", *(str(k) for k in range(spec.num_classes)), "pixels", "ignored")]
    for split in splits:
        findings = [
            scene.pixels
            for scene in report.scenes
            if scene.pixels and scene.folder.parent.name == split
        ]
        counts = np.sum([finding.class_counts for finding in findings], axis=0, dtype=np.int64)
        ignored = sum(finding.ignored for finding in findings)
        total = int(counts.sum())
        shares = [f"{100 * count / max(1, total):.2f} %" for count in np.atleast_1d(counts)]
        rows.append((split, *shares, f"{total}", f"{ignored}"))
    return _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines with aligned columns."""
    columns = max(len(row) for row in rows)
    padded = [[*row, *[""] * (columns - len(row))] for row in rows]
    widths = [max(len(row[column]) for row in padded) for column in range(columns)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in padded
    ]


def _visible(images: npt.NDArray[np.float32], spec: DatasetSpec) -> npt.NDArray[Any]:
    """(T, C, H, W) as (T, 3, H, W) uint8, all dates with the same brightness."""
    colours = images[:, list(spec.visible_bands)]
    low, high = np.percentile(colours, SHOWN_PERCENTILES)
    stretched = (colours - low) / max(float(high - low), 1e-6)
    return np.asarray((np.clip(stretched, 0, 1) * 255).round().astype(np.uint8))
