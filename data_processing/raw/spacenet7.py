"""SpaceNet7 as it is downloaded: which areas and months there are, and one month's pixels.

    train/<AOI>/images_masked/global_monthly_YYYY_MM_mosaic_<AOI>.tif        RGBA, 8 bits
    train/<AOI>/labels/…_Buildings.geojson, …_UDM.geojson                    lon/lat
    train/<AOI>/labels_match/…_Buildings.geojson                             with an Id
    train/<AOI>/labels_match_pix/…_Buildings.geojson                         pixels
    train/<AOI>/UDM_masks/…_UDM.tif                                          255 = unusable

UDM files are there for months with unusable data only.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from data_processing.labels.footprints import Footprints, rasterise_footprints
from data_processing.rasters.name_dates import date_from_name
from data_processing.rasters.reading import RasterInfo, decode_raster
from data_processing.raw.archives import RawFile, RawFiles
from utils.errors import DataError

__all__ = [
    "FOOTPRINTS",
    "Area",
    "FootprintSource",
    "Month",
    "SeenMonth",
    "find_areas",
    "is_wanted",
    "read_month",
]

FootprintSource = Literal["labels_match", "labels", "labels_match_pix"]
FOOTPRINTS: tuple[FootprintSource, ...] = get_args(FootprintSource)

_FILE = (
    r"(?:^|/)(?P<area>[^/]+)/(?P<kind>images_masked|labels|labels_match|labels_match_pix|UDM_masks)/"
    r"(?P<name>[^/]*(?:_Buildings\.geojson|_UDM\.tiff?|\.tiff?))$"
)


@dataclass
class Month:
    """The files of one month of an area; None where there is none."""

    image: RawFile | None = None
    labels: dict[str, RawFile] = field(default_factory=dict)
    udm: RawFile | None = None


@dataclass
class Area:
    """An area with its months in order."""

    name: str
    months: dict[datetime.date, Month]


@dataclass(frozen=True)
class SeenMonth:
    """Pixels of a month.

    Attributes:
        image: (4, H, W) uint8 RGBA; alpha 0 also where the UDM file says unusable.
        grid: Header of the image.
        usable: (H, W) bool, False where the UDM file says so or there is no data.
        footprints: Buildings.
    """

    image: NDArray[np.uint8]
    grid: RasterInfo
    usable: NDArray[np.bool_]
    footprints: Footprints

    def cropped(self, height: int, width: int) -> SeenMonth:
        """The first rows and columns, which stay where they are on Earth."""
        grid = dataclasses.replace(self.grid, height=height, width=width)
        footprints = dataclasses.replace(self.footprints, ids=self.footprints.ids[:height, :width])
        image, usable = self.image[:, :height, :width], self.usable[:height, :width]
        return SeenMonth(np.ascontiguousarray(image), grid, usable, footprints)


def is_wanted(name: str, source: FootprintSource) -> bool:
    """Whether a file of the tarball is needed; the unmasked images and other labels are not."""
    kinds = ("/images_masked/", "/UDM_masks/", f"/{source}/")
    return any(kind in f"/{name}" for kind in kinds) and not name.endswith("_UDM.geojson")


def find_areas(files: RawFiles) -> dict[str, Area]:
    """All areas by name, with the files of every month."""
    areas: dict[str, Area] = {}
    for match, file in files.matching(_FILE):
        date = date_from_name(match["name"])
        if date is None:
            continue
        area = areas.setdefault(match["area"], Area(match["area"], {}))
        month = area.months.setdefault(date, Month())
        kind = match["kind"].lower()
        if kind == "images_masked":
            month.image = file
        elif kind == "udm_masks":
            month.udm = file
        elif match["name"].lower().endswith(".geojson"):
            month.labels[kind] = file
    for area in areas.values():
        area.months = dict(sorted(area.months.items()))
    return dict(sorted(areas.items()))


def read_month(files: Mapping[str, Any], source: FootprintSource, all_touched: bool) -> SeenMonth:
    """Read image, mask and footprints of a month.

    Args:
        files: ``image``, ``labels`` and ``udm`` (None where there is none), each a RawFile.
        source: Which kind of footprints ``labels`` is.
        all_touched: See :func:`data_processing.labels.footprints.rasterise_footprints`.

    Raises:
        DataError: A file is damaged, or the image has other bands or another type.
    """
    image_file, label_file, udm_file = files["image"], files["labels"], files["udm"]
    image, grid = decode_raster(image_file.read(), image_file.where)
    if image.shape[0] != 4 or image.dtype != np.uint8:
        raise DataError(
            image_file.where,
            [f"found {image.shape[0]} bands of {image.dtype}, expected 4 of uint8 (RGBA)"],
            "Take images_masked of the distribution as it is.",
        )
    usable = image[3] > 0
    if udm_file is not None:
        mask, _ = decode_raster(udm_file.read(), udm_file.where)
        if mask.shape[1:] != usable.shape:
            raise DataError(
                udm_file.where,
                [f"found {_size(mask.shape)}, expected {_size(image.shape)} as its image"],
                "Download the file again.",
            )
        usable &= (mask == 0).all(axis=0)
    image = np.where(usable, image, 0).astype(np.uint8)
    footprints = rasterise_footprints(
        label_file.read(), label_file.where, grid,
        pixels=source == "labels_match_pix", all_touched=all_touched,
    )  # fmt: skip
    return SeenMonth(image, grid, usable, footprints)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-2]}×{shape[-1]} pixels"
