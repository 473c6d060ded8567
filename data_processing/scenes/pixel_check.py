"""Check of a scene's pixels: value ranges, classes, and what must not be in them.

Every raster is read once, block by block, so a scene larger than the memory passes and a truncated
file is noticed. Headers are checked in ``layout_check``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_processing.rasters.reading import RasterInfo, raster_blocks, read_window
from data_processing.rasters.values import (
    INVERTED,
    UNAPPLIED,
    PixelScale,
    decode_label,
    decode_mask,
    no_measurement,
    unlikely_values,
)
from data_processing.scenes.spec import DatasetSpec
from utils.codes import IGNORE, NO_DATA
from utils.errors import DataError

__all__ = ["PixelFindings", "read_pixels"]

SHOWN_VALUES = 8

Pixels = dict[Path, tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]]


@dataclass
class PixelFindings:
    """Sums over all pixels of a scene.

    Attributes:
        band_min: (C,) smallest value per band over all dates, pixels without data left out.
        band_max: (C,) largest value likewise.
        class_counts: (K,) int64, pixels per moment class that count.
        ignored: Pixels that do not count: label ignore, or no data at some date.
        disagreeing: Pixels where the area is not (moment > 0).
        half_ignored: Pixels that one label file alone marks as ignore.
        hidden_changes: Changed pixels of the moment that the area marks as ignore.
        label_values: Pixels per stored value, for each label file.
        ranges: Smallest and largest value per image file, alpha and pixels without data left out.
        nan: NaN values per image file whose nodata tag is not NaN.
        infinite: Infinite values per image file.
        broken: What hinders reading, per file.
    """

    band_min: npt.NDArray[np.float64]
    band_max: npt.NDArray[np.float64]
    class_counts: npt.NDArray[np.int64]
    ignored: int = 0
    disagreeing: int = 0
    half_ignored: int = 0
    hidden_changes: int = 0
    label_values: dict[Path, Counter[float]] = field(default_factory=dict)
    ranges: dict[Path, tuple[float, float]] = field(default_factory=dict)
    nan: Counter[Path] = field(default_factory=Counter)
    infinite: Counter[Path] = field(default_factory=Counter)
    broken: dict[Path, str] = field(default_factory=dict)

    def faults(self, spec: DatasetSpec, infos: Mapping[Path, RasterInfo]) -> dict[Path, list[str]]:
        """Faults per file: found, expected, what to do."""
        faults: dict[Path, list[str]] = {path: [text] for path, text in self.broken.items()}
        for counts, what in ((self.nan, "NaN"), (self.infinite, "infinite")):
            for path, count in counts.items():
                faults.setdefault(path, []).append(
                    f"found {count} {what} values, expected numbers; replace them, or set the "
                    "file's nodata tag to NaN where NaN means that there is no data"
                )
        for path, extremes in self.ranges.items():
            text = no_measurement(*extremes)
            if text:
                faults.setdefault(path, []).append(text)
        for path, values in self.label_values.items():
            binary = path.name == Path(spec.area_file).name
            text = _label_fault(values, infos[path].nodata, spec, binary)
            if text:
                faults.setdefault(path, []).append(text)
            if binary and self.hidden_changes and not values[1]:
                faults.setdefault(path, []).append(
                    f"found no changed pixel but {values[NO_DATA]} of 255, the nodata tag, among "
                    f"them {self.hidden_changes} that {Path(spec.moment_file).name} calls changed; "
                    "if 255 is changed, remove the tag (gdal_edit.py -unsetnodata)"
                )
            if not binary and infos[path].inverted:
                faults.setdefault(path, []).append(
                    "found small values shown white (MINISWHITE or its colour table), expected "
                    "the numbers of change moments; write it again"
                )
            if binary and self.disagreeing:
                faults.setdefault(path, []).append(
                    f"found {self.disagreeing} pixels where the area is not (moment > 0), expected "
                    f"none; make it from {Path(spec.moment_file).name}"
                )
        return faults

    def warnings(
        self, spec: DatasetSpec, infos: Mapping[Path, RasterInfo], pixel_scale: PixelScale
    ) -> dict[Path, list[str]]:
        """Remarks per file that are no faults; values as they are scaled."""
        remarks: dict[Path, list[str]] = {}
        area = next((p for p in self.label_values if p.name == Path(spec.area_file).name), None)
        if area is not None:
            values = self.label_values[area]
            if infos[area].inverted:
                remarks.setdefault(area, []).append(INVERTED)
            if infos[area].nodata != NO_DATA and values[NO_DATA] and not values[1]:
                remarks.setdefault(area, []).append("values 0/255 are taken as 0/1")
            if self.half_ignored:
                remarks.setdefault(area, []).append(
                    f"{self.half_ignored} pixels are ignored (255, the nodata tag) in one of the "
                    "two label files only; they are ignored in both"
                )
        for dtype in dict.fromkeys(infos[path].dtype for path in self.ranges):
            of_type = [path for path in self.ranges if infos[path].dtype == dtype]
            high = max(self.ranges[path][1] for path in of_type)
            text = unlikely_values(high, dtype, pixel_scale)
            if text:
                remarks.setdefault(of_type[0].parent, []).append(text)
        scaled = [path for path in self.ranges if infos[path].scaling]
        if scaled:
            remarks.setdefault(scaled[0].parent, []).append(UNAPPLIED)
        return remarks


def read_pixels(
    images: list[Path],
    area: Path,
    moment: Path,
    infos: Mapping[Path, RasterInfo],
    spec: DatasetSpec,
) -> PixelFindings:
    """Go once through all pixels of a scene.

    Rasters of one size are read side by side; a raster whose size differs is read by itself.

    Args:
        images: T image files, in any order.
        area: The change area file.
        moment: The change moment file.
        infos: Header of every file that could be opened; others are passed over.
        spec: Facts of the data set.
    """
    bands = max((infos[path].count for path in images if path in infos), default=0)
    findings = PixelFindings(
        band_min=np.full(bands, np.inf),
        band_max=np.full(bands, -np.inf),
        class_counts=np.zeros(spec.num_classes, dtype=np.int64),
    )
    groups: dict[tuple[int, int], list[Path]] = {}
    for path in [*images, area, moment]:
        if path in infos:
            groups.setdefault((infos[path].height, infos[path].width), []).append(path)
    for paths in groups.values():
        for window in raster_blocks(infos[paths[0]]):
            pixels = _read(paths, window, findings)
            for path, (values, has_data) in pixels.items():
                if path in (area, moment):
                    _count_values(values, findings.label_values.setdefault(path, Counter()))
                else:
                    _measure(path, values, has_data, infos[path], spec.alpha_band, findings)
            if area in pixels and moment in pixels:
                _compare(pixels, area, moment, infos, spec, findings)
    return findings


def _read(paths: list[Path], window: tuple[int, int, int, int], findings: PixelFindings) -> Pixels:
    """The window of every file that can still be read."""
    pixels: Pixels = {}
    for path in paths:
        if path in findings.broken:
            continue
        try:
            pixels[path] = read_window(path, *window)
        except DataError as error:
            findings.broken[path] = f"{error.faults[0]}; {error.advice}"
    return pixels


def _measure(
    path: Path,
    values: npt.NDArray[Any],
    has_data: npt.NDArray[np.bool_],
    info: RasterInfo,
    alpha: int | None,
    findings: PixelFindings,
) -> None:
    """Add value ranges and numbers that are none of a block of an image."""
    low, high = values.min(axis=(1, 2)), values.max(axis=(1, 2))
    if not (has_data.all() and np.isfinite(low).all() and np.isfinite(high).all()):
        nan_means_no_data = info.nodata is not None and np.isnan(info.nodata)
        if values.dtype.kind == "f":
            nan = 0 if nan_means_no_data else int(np.isnan(values).sum())
            infinite = int((np.isinf(values) & has_data).sum())
            findings.nan.update({path: nan} if nan else {})
            findings.infinite.update({path: infinite} if infinite else {})
        counted = has_data & np.isfinite(values).all(axis=0)
        if not counted.any():
            return
        low, high = values[:, counted].min(axis=1), values[:, counted].max(axis=1)
    bands = len(low)
    findings.band_min[:bands] = np.minimum(findings.band_min[:bands], low)
    findings.band_max[:bands] = np.maximum(findings.band_max[:bands], high)
    colors = [band for band in range(bands) if band != alpha]
    least, most = findings.ranges.get(path, (np.inf, -np.inf))
    extremes = (min(least, float(low[colors].min())), max(most, float(high[colors].max())))
    findings.ranges[path] = extremes


def _compare(
    pixels: Pixels,
    area: Path,
    moment: Path,
    infos: Mapping[Path, RasterInfo],
    spec: DatasetSpec,
    findings: PixelFindings,
) -> None:
    """Add class counts and disagreements of a block of both labels."""
    area_label = decode_mask(pixels[area][0][0], infos[area].nodata, inverted=infos[area].inverted)
    moment_label = decode_label(pixels[moment][0][0], infos[moment].nodata)
    area_mask, moment_mask = area_label != IGNORE, moment_label != IGNORE
    labelled = area_mask & moment_mask
    findings.half_ignored += int((area_mask != moment_mask).sum())
    findings.hidden_changes += int((~area_mask & (moment_label > 0)).sum())
    findings.disagreeing += int((((area_label > 0) != (moment_label > 0)) & labelled).sum())
    valid = labelled.copy()
    for path, (values, has_data) in pixels.items():
        if path in (area, moment):
            continue
        valid &= has_data
        if spec.alpha_band is not None and values.shape[0] > spec.alpha_band:
            valid &= values[spec.alpha_band] > 0
    known_class = (moment_label >= 0) & (moment_label < spec.num_classes)
    findings.class_counts += np.bincount(
        moment_label[valid & known_class], minlength=spec.num_classes
    )
    findings.ignored += int((~valid).sum())


def _count_values(values: npt.NDArray[Any], counter: Counter[float]) -> None:
    """Add the stored values of a block of a label file."""
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        counter.update({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
        return
    codes, numbers = np.unique(values, return_counts=True)
    counter.update({float(v): int(n) for v, n in zip(codes, numbers, strict=True)})


def _label_fault(
    values: Counter[float], nodata: float | None, spec: DatasetSpec, binary: bool
) -> str:
    """The fault of a label file's values, or ''."""
    allowed = {0, 1} if binary else set(range(spec.num_classes))
    if nodata == NO_DATA or (binary and not values[1]):
        allowed.add(NO_DATA)
    wrong = sorted(value for value in values if value not in allowed)
    if not wrong:
        return ""
    shown = ", ".join(f"{value:g} ({values[value]} pixels)" for value in wrong[:SHOWN_VALUES])
    more = f" and {len(wrong) - SHOWN_VALUES} more" if len(wrong) > SHOWN_VALUES else ""
    expected = "0/1 (or 0/255)" if binary else f"0…{spec.num_classes - 1}"
    return (
        f"found values {shown}{more}, expected {expected}; 255 may stand for 'ignore' where the "
        "file's nodata tag is 255"
    )
