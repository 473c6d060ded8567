"""One scene: a series of images with its change labels, read by windows.

Holds how files become arrays: order by date, pixel scale, no-data, label codes. What is wrong with
a folder is found in ``layout_check``; here only what makes reading impossible is an error.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data_processing.rasters.name_dates import whole_date
from data_processing.rasters.reading import RasterInfo, raster_info, read_window
from data_processing.rasters.values import (
    PixelScale,
    decode_label,
    decode_mask,
    fill_unseen,
    scale_pixels,
)
from data_processing.scenes.spec import DatasetSpec
from utils.codes import IGNORE
from utils.errors import DataError

__all__ = ["Scene", "SceneFiles", "find_scene_files"]


STRIP_BYTES = 64 << 20  # of rows kept at most
_IGNORED_NAMES = {"thumbs.db", "desktop.ini"}
_RASTER_SUFFIXES = {".tif", ".tiff"}


@dataclass
class SceneFiles:
    """The files of a scene as found in its folder, by date, and what is wrong with them.

    Attributes:
        images: Date and path of every image, sorted by date.
        area: The change area file.
        moment: The change moment file.
        faults: Sentences on missing, surplus and misnamed files, each naming the scene.
    """

    images: list[tuple[datetime.date, Path]]
    area: Path
    moment: Path
    faults: list[str] = field(default_factory=list)


def find_scene_files(folder: Path, spec: DatasetSpec) -> SceneFiles:
    """List the files of a scene without opening any of them.

    Hidden files and what systems leave behind (``.aux.xml``, ``Thumbs.db`` …) are passed over.
    """
    label = f"{folder.parent.name}/{folder.name}"
    files = SceneFiles([], folder / spec.area_file, folder / spec.moment_file)
    image_folder = folder / spec.image_folder
    if image_folder.is_dir():
        names = sorted(path for path in image_folder.iterdir() if _is_raster_name(path))
        _sort_images(names, label, spec, files)
    else:
        files.faults.append(
            f"{label}: found no folder {spec.image_folder}/, expected one with {spec.num_dates} "
            f"images such as {spec.image_example}"
        )
    for what, path in (("area", files.area), ("moment", files.moment)):
        if not path.is_file():
            files.faults.append(
                f"{label}, {path.relative_to(folder).as_posix()}: missing; expected the change "
                f"{what} label of the scene there"
            )
    return files


class Scene:
    """A scene of the processed layout, opened by its headers and read by windows.

    Attributes:
        folder: The scene's folder.
        spec: Facts of its data set.
        name: Name of the folder, the AOI.
        split: Name of the folder above: train, val or test.
        dates: T dates in order.
        image_paths: T image files in that order.
        area_path: The change area file.
        moment_path: The change moment file.
        info: Header of the first image.
        height: Rows.
        width: Columns.

    Args:
        folder: ``<data root>/Images_<name>/<split>/<scene>``.
        spec: Facts of the data set.

    Raises:
        DataError: When files are missing, surplus or misnamed, with all such faults.
    """

    def __init__(self, folder: Path, spec: DatasetSpec) -> None:
        self.folder = Path(folder)
        self.spec = spec
        files = find_scene_files(self.folder, spec)
        if files.faults:
            raise DataError(
                str(self.folder), files.faults, f"A scene looks like this:\n{spec.tree()}"
            )
        self.name = self.folder.name
        self.split = self.folder.parent.name
        self.dates = [date for date, _ in files.images]
        self.image_paths = [path for _, path in files.images]
        self.area_path = files.area
        self.moment_path = files.moment
        self.info: RasterInfo = raster_info(self.image_paths[0])
        self.height = self.info.height
        self.width = self.info.width
        self._area_info = raster_info(self.area_path)
        self._moment_nodata = raster_info(self.moment_path).nodata
        self.in_strips = False  # see keep_strips
        self._in_memory: _Stored | None = None
        self._strip: tuple[tuple[int, int], _Stored] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """State without what is kept in memory: another process reads from disk, or is given it."""
        return {**self.__dict__, "_in_memory": None, "_strip": None}

    def read(
        self,
        row: int,
        col: int,
        height: int,
        width: int,
        pixel_scale: PixelScale = "auto",
        ignore_invalid: bool = True,
    ) -> dict[str, npt.NDArray[Any]]:
        """Read a window; where it leaves the scene it is filled with the nearest edge values.

        In ``images`` a pixel without data at a date (nodata tag, NaN, mask, alpha 0) takes its
        values from another date, see ``rasters.values.fill_unseen``. With ``ignore_invalid`` off,
        as for the released programs, which know no tags, only NaN is replaced, by 0.

        Args:
            row, col: Top row and left column, may be negative.
            height, width: Rows and columns of the window.
            pixel_scale: ``auto`` (8-bit / 255, 16-bit / 10000, float as stored) or ``stored``.
            ignore_invalid: Whether pixels without data at some date get label −1. Filled pixels
                and pixels labelled "ignore" on disk always do.

        Returns:
            images: (T, C, h, w) float32. area_label, moment_label: (h, w) int64, −1 = ignore.
            valid: (h, w) bool, label known and data at every date. observed: (h, w) bool, data at
            every date, whether labelled or not.

        Raises:
            DataError: When a file cannot be read.
            ValueError: When the window does not touch the scene.
        """
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, self.height), min(col + width, self.width)
        if top >= bottom or left >= right:
            raise ValueError(
                f"{self.name}: found window row {row}, column {col}, {height}×{width}, expected "
                f"one that touches the {self.height}×{self.width} pixels of the scene."
            )
        stored = self._stored(top, left, bottom - top, right - left)
        data_mask = self._data_mask(stored)
        images = _filled(stored.images, pixel_scale, data_mask, ignore_invalid)
        area = decode_mask(stored.area, self._area_info.nodata, inverted=self._area_info.inverted)
        moment = decode_label(stored.moment, self._moment_nodata)
        labelled = (area != IGNORE) & (moment != IGNORE)
        observed = np.ones(area.shape, np.bool_) if data_mask is None else data_mask.all(axis=0)
        valid = labelled & observed
        counted = valid if ignore_invalid else labelled
        area[~counted] = IGNORE
        moment[~counted] = IGNORE
        part = {
            "images": images,
            "area_label": area,
            "moment_label": moment,
            "valid": valid,
            "observed": observed,
        }
        beyond = ((top - row, row + height - bottom), (left - col, col + width - right))
        return _padded(part, beyond) if any(map(any, beyond)) else part

    def keep_in_memory(self) -> int:
        """Read the whole scene once and serve windows from memory from now on.

        Returns:
            Bytes kept: pixels in their stored type.
        """
        if self._in_memory is None:
            self._in_memory = self._stored(0, 0, self.height, self.width)
        return sum(array.nbytes for array in self.kept_arrays().values())

    def keep_strips(self) -> None:
        """Read whole rows from now on and keep the last ones, for windows asked for in order.

        Opening and decoding are then paid once per row of windows. Rows that would take more than
        64 MiB are read by windows all the same.
        """
        self.in_strips = True

    def forget_strip(self) -> None:
        """Free the rows that :meth:`keep_strips` keeps; they are read again when asked for."""
        self._strip = None

    def kept_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays kept in memory, by name; none when windows are read from disk."""
        arrays = {} if self._in_memory is None else vars(self._in_memory)
        return {name: array for name, array in arrays.items() if array is not None}

    def serve_from(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Serve windows from what :meth:`kept_arrays` gave, or from equal arrays elsewhere."""
        self._in_memory = _Stored(**arrays)

    def _stored(self, row: int, col: int, height: int, width: int) -> _Stored:
        """Values of a window inside the scene as they are on disk."""
        if self._in_memory is not None:
            return self._in_memory.window(row, col, height, width)
        if self.in_strips and width < self.width and self._row_bytes() * height <= STRIP_BYTES:
            if self._strip is None or self._strip[0] != (row, height):
                self._strip = (row, height), self._stored(row, 0, height, self.width)
            return self._strip[1].window(0, col, height, width)
        window, size = (row, col, height, width), (self.height, self.width)
        pairs = [read_window(path, *window, size) for path in self.image_paths]
        self._check_kind([values for values, _ in pairs])
        return _Stored(
            images=np.stack([values for values, _ in pairs]),
            area=read_window(self.area_path, *window, size)[0][0],
            moment=read_window(self.moment_path, *window, size)[0][0],
            missing=_if_any(~np.stack([has_data for _, has_data in pairs])),
        )

    def _check_kind(self, images: Sequence[npt.NDArray[Any]]) -> None:
        """Make sure that images have the bands and the type that the first one had at the start.

        Raises:
            DataError: One has not; it was replaced meanwhile.
        """
        expected = f"{self.info.count} bands of {self.info.dtype}"
        kinds = [f"{len(values)} bands of {values.dtype}" for values in images]
        faults = [
            f"{path.name}: found {kind}, expected {expected}"
            for path, kind in zip(self.image_paths, kinds, strict=True)
            if kind != expected
        ]
        if faults:
            raise DataError(
                str(self.folder), faults, "Was it replaced meanwhile? Put it back, or start anew."
            )

    def _row_bytes(self) -> int:
        """Bytes of a row of all images."""
        values = self.width * len(self.image_paths) * self.info.count
        return values * np.dtype(self.info.dtype).itemsize

    def _data_mask(self, stored: _Stored) -> npt.NDArray[np.bool_] | None:
        """Pixels (T, h, w) with data, the alpha band taken into account; None where all have."""
        missing = stored.missing
        if self.spec.alpha_band is not None:
            clear = _if_any(stored.images[:, self.spec.alpha_band] <= 0)
            missing = clear if missing is None else missing if clear is None else missing | clear
        return None if missing is None else ~missing


@dataclass(frozen=True)
class _Stored:
    """A window as stored: images (T, C, h, w) and labels (h, w).

    ``missing`` (T, h, w) tells pixels without data by nodata tag or NaN; None where all have data,
    which is usual and takes neither memory nor time.
    """

    images: npt.NDArray[Any]
    area: npt.NDArray[Any]
    moment: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_] | None = None

    def window(self, row: int, col: int, height: int, width: int) -> _Stored:
        """A part of this window; its images are a copy."""
        part = (..., slice(row, row + height), slice(col, col + width))
        missing = None if self.missing is None else _if_any(self.missing[part])
        return _Stored(self.images[part].copy(), self.area[part], self.moment[part], missing)


def _if_any(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    """The mask, or None where it is False throughout."""
    return mask if mask.any() else None


def _filled(
    stored: npt.NDArray[Any],
    pixel_scale: PixelScale,
    data_mask: npt.NDArray[np.bool_] | None,
    ignore_invalid: bool,
) -> npt.NDArray[np.float32]:
    """Images (T, C, h, w) as networks take them, with something in their gaps; see `read`."""
    images = scale_pixels(stored, pixel_scale)
    if ignore_invalid:
        if data_mask is not None:
            fill_unseen(images, data_mask)
        return images
    nan = _nan(stored)
    return images if nan is None else np.where(nan[:, None], np.float32(0), images)


def _nan(images: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Pixels (T, h, w) that are NaN in any band (T, C, h, w), None where there is none."""
    return _if_any(np.isnan(images).any(axis=1)) if images.dtype.kind == "f" else None


def _padded(
    part: dict[str, npt.NDArray[Any]], beyond: tuple[tuple[int, int], tuple[int, int]]
) -> dict[str, npt.NDArray[Any]]:
    """A window filled up beyond the scene: nearest edge values, labels "ignore", masks False."""
    fill = {"area_label": IGNORE, "moment_label": IGNORE, "valid": False, "observed": False}
    return {
        name: np.pad(array, beyond, constant_values=fill[name])
        if name in fill
        else np.pad(array, ((0, 0), (0, 0), *beyond), mode="edge")
        for name, array in part.items()
    }


def _sort_images(names: list[Path], label: str, spec: DatasetSpec, files: SceneFiles) -> None:
    """Order images by the dates in their names into ``files``; note what does not fit."""
    pattern = re.compile(spec.image_name, re.IGNORECASE)
    by_date: dict[datetime.date, Path] = {}
    images = 0
    for path in names:
        match = pattern.fullmatch(path.name)
        date = whole_date(match["date"]) if match else None
        where = f"{label}, {spec.image_folder}/{path.name}"
        if date is None:
            files.faults.append(
                f"{where}: found a raster whose name is no image name with a date, expected names "
                f"such as {spec.image_example}; rename it or move it out of the folder"
            )
            continue
        images += 1
        if date in by_date:
            files.faults.append(
                f"{where}: found the date {date} twice (also in {by_date[date].name}), expected "
                "one image per date; move one of them out of the folder"
            )
            continue
        by_date[date] = path
    files.images = sorted(by_date.items())
    if images != spec.num_dates:
        listed = ", ".join(str(date) for date, _ in files.images) or "none"
        files.faults.append(
            f"{label}, {spec.image_folder}/: found {images} images ({listed}), expected "
            f"{spec.num_dates}, one per date"
        )


def _is_raster_name(path: Path) -> bool:
    """Whether a file is one that a scene's reader has to make sense of."""
    name = path.name
    if name.startswith(".") or name.lower() in _IGNORED_NAMES:
        return False
    return path.suffix.lower() in _RASTER_SUFFIXES and path.is_file()
