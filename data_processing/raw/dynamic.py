"""DynamicEarthNet as it is downloaded: which areas and months there are, and a month's classes.

    planet/<zone>/<lonlat>/<cube>/PF-SR/YYYY-MM-DD.tif        int16 reflectance × 10000, daily
    labels/<cube>_<zone>/Labels/Raster/<scene>/<scene>-YYYY_MM_01.tif      7 bands 0/255, monthly

The parts ``planet.<zone>/`` of an unpacked zip, ``-`` for ``_`` in label folders and dates, and a
missing ``Labels/`` level occur and are understood.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.rasters.name_dates import whole_date
from data_processing.rasters.reading import RasterInfo, decode_raster
from data_processing.rasters.values import has_data
from data_processing.raw.archives import RawFile, RawFiles
from utils.errors import DataError

__all__ = ["CLASSES", "NO_CLASS", "SNOW", "Area", "find_areas", "read_classes", "read_image"]

CLASSES = (
    "impervious surface",
    "agriculture",
    "forest & other vegetation",
    "wetlands",
    "soil",
    "water",
    "snow & ice",
)
SNOW = CLASSES.index("snow & ice")
NO_CLASS = len(CLASSES)
REFLECTANCE = 10000.0

_IMAGE = (
    r"(?:^|/)(?P<zone>\d{2}[NS])/(?P<place>[^/]+)/(?P<cube>\d+_\d+_\d+)/PF-SR/"
    r"(?P<date>\d{4}-\d{2}-\d{2})\.tiff?$"
)
_LABEL = (
    r"(?:^|/)(?P<cube>\d+_\d+_\d+)[-_](?P<zone>\d{2}[NS])/(?:Labels/)?Raster/[^/]+/"
    r"[^/]*?(?P<date>\d{4}([-_])\d{2}\4\d{2})\.tiff?$"
)


@dataclass
class Area:
    """An area: the images of the first of each month, and the labels, by month.

    Attributes:
        name: ``<cube>_<zone>``, as label folders are called.
        place: The folder that says longitude and latitude.
        images: By date.
        labels: By date.
    """

    name: str
    place: str = ""
    images: dict[datetime.date, RawFile] = field(default_factory=dict)
    labels: dict[datetime.date, RawFile] = field(default_factory=dict)


def find_areas(files: RawFiles) -> dict[str, Area]:
    """All areas by name."""
    areas: dict[str, Area] = {}
    for match, file in files.matching(_IMAGE):
        area = _area(areas, match["cube"], match["zone"])
        area.place = match["place"]
        date = whole_date(match["date"])
        if date is not None and date.day == 1:
            area.images[date] = file
    for match, file in files.matching(_LABEL):
        date = whole_date(match["date"])
        if date is not None:
            _area(areas, match["cube"], match["zone"]).labels[date] = file
    return dict(sorted(areas.items()))


def _area(areas: dict[str, Area], cube: str, zone: str) -> Area:
    name = f"{cube}_{zone.upper()}"
    return areas.setdefault(name, Area(name))


def read_image(file: RawFile, reflectance: bool) -> tuple[NDArray[Any], RasterInfo]:
    """One image.

    Args:
        file: A PF-SR raster.
        reflectance: Give float32 reflectance, clipped to 0…1, NaN where the nodata tag says so;
            otherwise the integers as stored.

    Returns:
        (4, H, W) blue, green, red, near infrared, and the header.

    Raises:
        DataError: It is damaged, or has other bands or another type.
    """
    stored, grid = decode_raster(file.read(), file.where)
    if stored.shape[0] != 4 or stored.dtype.kind not in "iu" or stored.dtype.itemsize != 2:
        raise DataError(
            file.where,
            [f"found {stored.shape[0]} bands of {stored.dtype}, expected 4 of int16"],
            "Take the PF-SR images of the distribution as they are.",
        )
    if not reflectance:
        return stored, grid
    image = np.clip(stored.astype(np.float32) / np.float32(REFLECTANCE), 0, 1)
    image[:, ~has_data(stored, grid.nodata)] = np.nan
    return image, grid


def read_classes(file: RawFile) -> tuple[NDArray[np.uint8], RasterInfo]:
    """The land cover of a month.

    Returns:
        (H, W): index into ``CLASSES``, ``NO_CLASS`` where no class or several are set, and the
        header.

    Raises:
        DataError: It is damaged, or is no raster of 7 bands of 0 and 255.
    """
    bands, grid = decode_raster(file.read(), file.where)
    fault = ""
    if len(bands) != len(CLASSES) or bands.dtype != np.uint8:
        fault = f"{len(bands)} bands of {bands.dtype}"
    elif not np.isin(bands, (0, 255)).all():
        fault = f"values {np.unique(bands)[:6].tolist()} …"
    if fault:
        raise DataError(
            file.where,
            [f"found {fault}, expected {len(CLASSES)} bands of uint8, 0 or 255"],
            "Take the label rasters of the distribution as they are.",
        )
    set_bands = bands > 0
    one = set_bands.sum(axis=0) == 1
    classes = np.where(one, set_bands.argmax(axis=0), NO_CLASS).astype(np.uint8)
    return classes, grid
