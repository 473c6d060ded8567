"""Header of a raster: what its file says of size, place, type, bands and no data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rasterio.enums import ColorInterp, MaskFlags

from data_processing.rasters.values import LARGEST_BYTE
from utils.errors import DataError

__all__ = ["COLORS", "RasterInfo", "has_own_mask", "header"]

BLACK, WHITE = 10, 245  # of 0…255: the brightest black and the darkest white of a colour table
COLORS = ("red", "green", "blue", "nir", "alpha")
FARTHEST = 1e12  # of coordinates in any unit; the Earth's are below 1e11 in millimetres
ORIENTATIONS = tuple("12345678")  # as EXIF numbers them


@dataclass(frozen=True)
class RasterInfo:
    """Header of a raster.

    Attributes:
        width: Columns.
        height: Rows.
        count: Bands.
        dtype: numpy name of the stored type.
        crs: ``rasterio.crs.CRS`` or None.
        transform: ``affine.Affine``; the identity where the file has no georeference.
        nodata: Value of the nodata tag or None.
        block_shape: Rows and columns of a stored block.
        pages: Pages of the file; 1 for a usual raster.
        band_names: Description of each band, None where the file gives none.
        alpha: Position of the band that the file calls alpha, from 0, or None.
        masked: Whether the file has a mask of its own, inside or as .msk beside it.
        colors: Colour mark of each band: red, green, blue, nir, alpha or None.
        palette: Red, green, blue, alpha of each stored value; empty without a colour table.
        white_is_zero: Whether small values are meant to be bright (MINISWHITE).
        orientation: EXIF number of the way up; 1 is as stored.
        scaling: Scale and offset of each band by the tags; empty where these say nothing.
        unrectified: What stands for a grid where there is none, or None.
    """

    width: int
    height: int
    count: int
    dtype: str
    crs: Any
    transform: Any
    nodata: float | None
    block_shape: tuple[int, int] = (1, 1)
    pages: int = 1
    band_names: tuple[str | None, ...] = ()
    alpha: int | None = None
    masked: bool = False
    colors: tuple[str | None, ...] = ()
    palette: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)
    white_is_zero: bool = False
    orientation: int = 1
    scaling: tuple[tuple[float, float], ...] = ()
    unrectified: str | None = None

    @property
    def inverted(self) -> bool:
        """Whether a binary raster shows 0 white and what is not 0 black."""
        if not self.palette:
            return self.white_is_zero
        zero, *others = (self.palette.get(value) for value in (0, 1, LARGEST_BYTE))
        shown_black = all(color is None or max(color[:3]) <= BLACK for color in others)
        return zero is not None and min(zero[:3]) >= WHITE and shown_black

    @property
    def georeferenced(self) -> bool:
        """Whether the file says where on Earth it lies."""
        return self.crs is not None or not self.transform.is_identity


def has_own_mask(raster: Any) -> bool:
    """Whether an open raster has a mask of its own; alpha bands and tags are none."""
    return bool(raster.mask_flag_enums and raster.mask_flag_enums[0] == [MaskFlags.per_dataset])


def header(raster: Any, where: str) -> RasterInfo:
    """Header of an open raster.

    Raises:
        DataError: Its place on Earth is no number.
    """
    numbers = tuple(raster.transform)[:6]
    if not all(abs(number) <= FARTHEST for number in numbers):  # NaN is not, either
        fault = f"found the transform {numbers}, expected numbers up to {FARTHEST:g}"
        advice = "Write anew where the raster lies, as with gdal_edit.py -a_ullr …"
        raise DataError(where, [fault], advice)
    colors = tuple(mark.name if mark.name in COLORS else None for mark in raster.colorinterp)
    structure = raster.tags(ns="IMAGE_STRUCTURE")
    orientation = raster.tags().get("EXIF_Orientation", "1").strip()
    scales = tuple(zip(raster.scales, raster.offsets, strict=True))
    points = "ground control points" if raster.gcps[0] else None
    unrectified = "rational polynomials (RPC)" if raster.tags(ns="RPC") else points
    palette: dict[int, tuple[int, int, int, int]] = {}
    with suppress(ValueError):  # a band that is marked as one and has none
        palette = raster.colormap(1) if raster.colorinterp[:1] == (ColorInterp.palette,) else {}
    return RasterInfo(
        width=raster.width,
        height=raster.height,
        count=raster.count,
        dtype=raster.dtypes[0] if raster.count else "none",
        crs=raster.crs,
        transform=raster.transform,
        nodata=raster.nodata if raster.count else None,
        block_shape=tuple(raster.block_shapes[0]) if raster.count else (1, 1),
        pages=max(1, len(raster.subdatasets)),
        band_names=tuple(raster.descriptions),
        alpha=colors.index("alpha") if "alpha" in colors else None,
        masked=has_own_mask(raster),
        colors=colors,
        palette=palette,
        white_is_zero=structure.get("MINISWHITE") == "YES",
        orientation=int(orientation) if orientation in ORIENTATIONS else 1,
        scaling=scales if set(scales) - {(1.0, 0.0)} else (),
        unrectified=unrectified if raster.transform.is_identity else None,
    )
