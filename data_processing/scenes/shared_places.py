"""Is a place in two splits? Then scores are those of remembering, not of mapping.

Scenes of different splits are compared by the ground they cover, by what their files hold and by
their names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.warp import transform as to_crs

from data_processing.rasters.grids import misplaced
from data_processing.rasters.reading import RasterInfo, raster_info, read_map
from data_processing.scenes.scene import find_scene_files
from data_processing.scenes.spec import DatasetSpec
from utils.errors import DataError
from utils.files import sha256

__all__ = ["SharedPlaces", "shared_places"]

POINTS = 100  # per side of a scene, that are looked for in another one
LEAST_SHARE = 0.01  # of the smaller scene; less is a common border
LONLAT = "EPSG:4326"
LABELS = "labels"  # how messages name them beside image files


@dataclass
class SharedPlaces:
    """Ground, contents and names that scenes of different splits have in common.

    Attributes:
        faults: Ground or contents.
        warnings: Names alone.
    """

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def shared_places(
    folders: Sequence[Path], spec: DatasetSpec, labels: bool = True, images: bool = True
) -> SharedPlaces:
    """Compare scenes of different splits.

    Args:
        folders: Scene folders of all splits.
        spec: Facts of the data set.
        labels: Whether to read the change moments and compare them.
        images: Whether to read all image files and compare them.
    """
    shared = SharedPlaces()
    scenes = [_Place.of(folder, spec, labels, images) for folder in folders]
    for one, other in _pairs(scenes):
        common = [text for text in (_common_ground(one, other), _common_files(one, other)) if text]
        if common:
            shared.faults.append(f"{one.label} and {other.label} {' and '.join(common)}")
        elif one.folder.name.casefold() == other.folder.name.casefold():
            shared.warnings.append(f"{one.label} and {other.label} have the same name")
    return shared


@dataclass(frozen=True)
class _Place:
    """A scene: where it lies, the box around it in longitude and latitude, what its files hold."""

    folder: Path
    info: RasterInfo | None
    box: tuple[float, float, float, float] | None
    contents: dict[str, str]

    @classmethod
    def of(cls, folder: Path, spec: DatasetSpec, labels: bool, images: bool) -> _Place:
        files = find_scene_files(folder, spec)
        paths = [path for _, path in files.images]
        info = None
        contents: dict[str, str] = {}
        try:
            info = raster_info(paths[0]) if paths else None
            if images:
                contents |= {sha256(path): path.name for path in paths}
            if labels and files.moment.is_file():
                contents |= _label_content(files.moment)
        except (DataError, OSError):  # told with the scene itself
            pass
        return cls(folder, info, _box(info), contents)

    @property
    def label(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"


def _label_content(path: Path) -> dict[str, str]:
    """Mark of a change moment, whatever it is compressed by; none without change."""
    moment = read_map(path)
    if moment.min() == moment.max():
        return {}
    digest = hashlib.sha256(f"{moment.dtype} {moment.shape}".encode())
    digest.update(np.ascontiguousarray(moment).tobytes())
    return {digest.hexdigest(): LABELS}


def _pairs(scenes: Sequence[_Place]) -> Iterator[tuple[_Place, _Place]]:
    """Scenes of different splits."""
    for one, other in combinations(scenes, 2):
        if one.folder.parent.name != other.folder.parent.name:
            yield one, other


def _common_files(one: _Place, other: _Place) -> str:
    names = [one.contents[content] for content in one.contents if content in other.contents]
    if one.box and other.box and not _boxes_meet(one, other):
        names = [name for name in names if name != LABELS]  # simple ones may be alike elsewhere
    return f"hold the same {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""


def _common_ground(one: _Place, other: _Place) -> str:
    if one.info is None or other.info is None or not _boxes_meet(one, other):
        return ""
    share = max(_share_inside(one.info, other.info), _share_inside(other.info, one.info))
    if share < LEAST_SHARE:
        return ""
    return f"lie on the same ground ({100 * share:.0f} % of the smaller)"


def _boxes_meet(one: _Place, other: _Place) -> bool:
    """Whether scenes can have ground in common, by their boxes."""
    if one.box is None or other.box is None:
        return False
    left, low, right, high = one.box
    return (
        left < other.box[2] and other.box[0] < right and low < other.box[3] and other.box[1] < high
    )


def _box(info: RasterInfo | None) -> tuple[float, float, float, float] | None:
    """West, south, east, north of a scene that says where it lies, else None."""
    if info is None or info.crs is None or info.transform.is_identity or misplaced(info):
        return None
    try:
        xs, ys = _grid_points(info)
        lon, lat = (np.asarray(values) for values in to_crs(info.crs, LONLAT, xs, ys))
    except (RasterioError, CPLE_BaseError):
        return None
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    if lon.max() - lon.min() > 180:  # across the date line
        return -180.0, float(lat.min()), 180.0, float(lat.max())
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def _grid_points(info: RasterInfo) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Coordinates of points spread evenly over a raster, none on its border."""
    parts = (np.arange(POINTS) + 0.5) / POINTS
    cols, rows = np.meshgrid(parts * info.width, parts * info.height)
    xs, ys = info.transform @ (cols.ravel(), rows.ravel())
    return np.asarray(xs), np.asarray(ys)


def _share_inside(info: RasterInfo, other: RasterInfo) -> float:
    """Share of a raster's ground that another one covers."""
    xs, ys = _grid_points(info)
    if info.crs != other.crs:
        try:
            xs, ys = (np.asarray(values) for values in to_crs(info.crs, other.crs, xs, ys))
        except (RasterioError, CPLE_BaseError):
            return 0.0
    cols, rows = ~other.transform @ (xs, ys)
    inside = (cols > 0) & (cols < other.width) & (rows > 0) & (rows < other.height)
    return float(np.mean(inside))
