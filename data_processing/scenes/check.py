"""Is a data root sound? All faults of all scenes at once, and what is remarkable beside them.

The full check goes once through all pixels (seconds for a split); the quick one reads headers
only. Nothing is changed. What the values are is shown by ``inspection``.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_processing.rasters.grids import grid_differences
from data_processing.rasters.reading import RasterInfo, raster_info
from data_processing.rasters.values import PIXEL_TYPES, PixelScale
from data_processing.scenes.pixel_check import PixelFindings, read_pixels
from data_processing.scenes.scene import SceneFiles, find_scene_files
from data_processing.scenes.shared_places import shared_places
from data_processing.scenes.spec import SPLITS, DatasetSpec, Split
from data_processing.scenes.splits import find_scenes
from utils.errors import DataError
from utils.progress import progress

__all__ = [
    "Report",
    "SceneReport",
    "check_data_root",
    "check_scene",
    "examine_scene",
    "require_sound",
]


@dataclass
class SceneReport:
    """Findings in a scene.

    Attributes:
        folder: The scene's folder.
        dates: Dates of the images that were found, in order.
        info: Header of the first readable image, None where there is none.
        faults: What is wrong, each with scene and file.
        warnings: What is remarkable and yet no fault.
        pixels: Sums over all pixels; None after a quick check.
    """

    folder: Path
    dates: list[datetime.date] = field(default_factory=list)
    info: RasterInfo | None = None
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    pixels: PixelFindings | None = None

    @property
    def label(self) -> str:
        """Split and name, as messages give them."""
        return f"{self.folder.parent.name}/{self.folder.name}"


@dataclass
class Report:
    """Findings in a data root.

    Attributes:
        data_root: The folder that was checked.
        spec: Facts of the data set.
        scenes: One report per scene, split by split.
        faults: All faults, those of missing splits first.
        warnings: All warnings.
        advice: What to do beside what each fault says.
    """

    data_root: Path
    spec: DatasetSpec
    scenes: list[SceneReport]
    faults: list[str]
    warnings: list[str]
    advice: str = ""

    def raise_if_faulty(self) -> None:
        """Turn faults into an error.

        Raises:
            DataError: With all faults, when there are any.
        """
        if self.faults:
            raise DataError(
                str(self.data_root / self.spec.images_root),
                self.faults,
                self.advice or f"Expected:\n{self.spec.tree()}",
            )


def check_scene(folder: Path, spec: DatasetSpec, full: bool = True) -> list[str]:
    """Faults of one scene; an empty list when it is sound."""
    return examine_scene(folder, spec, full).faults


def examine_scene(
    folder: Path, spec: DatasetSpec, full: bool = True, pixel_scale: PixelScale = "auto"
) -> SceneReport:
    """Look at one scene: files, headers, and with ``full`` all pixels, as they will be scaled."""
    report = SceneReport(Path(folder))
    files = find_scene_files(report.folder, spec)
    report.dates = [date for date, _ in files.images]
    report.faults.extend(files.faults)
    infos = _headers(report, files, spec)
    if full and infos:
        images = [path for _, path in files.images]
        usual = {path: info for path, info in infos.items() if info.pages == 1}
        report.pixels = read_pixels(images, files.area, files.moment, usual, spec)
        _add(report, report.faults, report.pixels.faults(spec, infos))
        _add(report, report.warnings, report.pixels.warnings(spec, infos, pixel_scale))
    if spec.scene_name and not re.fullmatch(spec.scene_name, report.folder.name):
        report.warnings.append(
            f"{report.label}: the folder is not named as usual ({spec.scene_example}); it is used"
        )
    return report


def check_data_root(
    data_root: Path, spec: DatasetSpec, splits: Sequence[Split] = SPLITS, full: bool = True
) -> Report:
    """Look at every scene of a data root, and whether splits share a place.

    Raises:
        DataError: When the data root does not hold the data set at all.
    """
    folders: list[Path] = []
    faults: list[str] = []
    advice = ""
    for split in splits:
        try:
            folders.extend(find_scenes(data_root, spec, split))
        except DataError as error:
            if not (data_root / spec.images_root).is_dir():
                raise
            faults.extend(error.faults)
            advice = error.advice
    scenes = [
        examine_scene(folder, spec, full)
        for folder in progress(folders, "checking scenes", unit="scene")
    ]
    faults.extend(fault for scene in scenes for fault in scene.faults)
    warnings = [warning for scene in scenes for warning in scene.warnings]
    shared = shared_places(folders, spec, labels=full, images=full)
    if shared.faults:
        advice = advice or "Splits shall not share a place: leave each scene in one split only."
    return Report(
        data_root, spec, scenes, faults + shared.faults, warnings + shared.warnings, advice
    )


def require_sound(
    data_root: Path, spec: DatasetSpec, scenes: Sequence[Path], full: bool = True
) -> list[str]:
    """Make sure that scenes can be used.

    Returns:
        Warnings.

    Raises:
        DataError: With all faults of all scenes.
    """
    reports = [
        examine_scene(folder, spec, full)
        for folder in progress(scenes, "checking scenes", unit="scene")
    ]
    faults = [fault for report in reports for fault in report.faults]
    warnings = [warning for report in reports for warning in report.warnings]
    Report(data_root, spec, reports, faults, warnings).raise_if_faulty()
    return warnings


def _headers(report: SceneReport, files: SceneFiles, spec: DatasetSpec) -> dict[Path, RasterInfo]:
    """Open every file, compare the headers, and give back those that could be read."""
    images = [path for _, path in files.images]
    labels = [path for path in (files.area, files.moment) if path.is_file()]
    infos: dict[Path, RasterInfo] = {}
    faults: dict[Path, list[str]] = {}
    for path in [*images, *labels]:
        try:
            infos[path] = raster_info(path)
        except DataError as error:
            faults[path] = [f"{error.faults[0]}; {error.advice}"]
    readable = [path for path in images if path in infos]
    report.info = infos[readable[0]] if readable else None
    for path, info in infos.items():
        bands = 1 if path in labels else len(spec.bands)
        fault = _band_fault(info, bands, spec)
        if fault:
            faults.setdefault(path, []).append(fault)
    _same(infos, lambda info: f"{info.height}×{info.width} pixels", faults)
    _same({path: infos[path] for path in readable}, lambda info: f"type {info.dtype}", faults)
    for path in readable:
        if infos[path].dtype not in PIXEL_TYPES:
            faults.setdefault(path, []).append(
                f"found type {infos[path].dtype}, expected one of {', '.join(PIXEL_TYPES)}"
            )
    remarks = _compare_grids(infos, faults)
    _add(report, report.faults, faults)
    _add(report, report.warnings, remarks)
    return infos


def _band_fault(info: RasterInfo, bands: int, spec: DatasetSpec) -> str:
    """The fault of the number of bands, or ''."""
    if info.pages > 1:
        return (
            f"found {info.pages} pages of {info.height}×{info.width} pixels, expected one raster; "
            "with tifffile, write an array (H, W, bands) by tifffile.imwrite(path, array, "
            "photometric='minisblack', planarconfig='contig')"
        )
    if info.count != bands:
        names = f" ({', '.join(spec.bands)})" if bands > 1 else ""
        return f"found {info.count} bands, expected {bands}{names}; write the raster again"
    return ""


def _same(
    infos: Mapping[Path, RasterInfo],
    what: Callable[[RasterInfo], str],
    faults: dict[Path, list[str]],
) -> None:
    """Note the files that differ in ``what`` from most files of the scene."""
    usual = Counter(what(info) for info in infos.values() if info.pages == 1).most_common(1)
    for path, info in infos.items():
        if info.pages == 1 and what(info) != usual[0][0]:
            faults.setdefault(path, []).append(
                f"found {what(info)}, expected {usual[0][0]} as in the scene's other rasters; "
                "bring all to one grid and type"
            )


def _compare_grids(
    infos: Mapping[Path, RasterInfo], faults: dict[Path, list[str]]
) -> dict[Path, list[str]]:
    """Note files on another grid than the first that has one; remark on files without any."""
    placed = {path: info for path, info in infos.items() if info.georeferenced}
    if not placed:
        return {}
    first_path, first = next(iter(placed.items()))
    for path, info in placed.items():
        rule = {"sizes": False, "lenient": True}  # sizes are compared with most files, see _same
        for difference in grid_differences(info, first, first_path.name, **rule):
            faults.setdefault(path, []).append(f"{difference}; bring all rasters to one grid")
    without = [path for path in infos if path not in placed]
    if not without:
        return {}
    named = ", ".join(path.name for path in without)
    return {
        without[0].parent: [f"no georeference in {named}: taken to lie on the grid of the others"]
    }


def _add(report: SceneReport, target: list[str], texts: Mapping[Path, list[str]]) -> None:
    """Add texts per file to a list, each beginning with scene and file."""
    for path, sentences in texts.items():
        where = f"{report.label}, {path.relative_to(report.folder).as_posix()}"
        target.extend(f"{where}: {sentence}" for sentence in sentences)
