"""The grid of a picture of a raster: north up, square pixels on the ground, few enough to look at.

Networks and maps stay on the raster's own grid; only what people look at comes onto this one, by
nearest neighbour. Drawing is in ``mapping.report.quicklook``. Warping into a local projection would
turn usual rasters by the convergence of theirs (in Romania, EPSG:3035: a quarter of the picture is
white, pixels are dropped), has no answer for local coordinates, and sees none of the masks.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyproj
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.transform import Affine
from rasterio.warp import transform

from data_processing.rasters.reading import RasterInfo

__all__ = ["PictureGrid"]

SQUARE = 1.05  # pixels whose sides differ by less are shown as they are: no column is dropped
LONGEST_PIXEL = 16.0  # sides of pixels are taken to differ by no more (near a pole), for memory
ALMOST = 0.05  # of a pixel: less of one makes no further row or column
LON_LAT = CRS.from_epsg(4326)
EARTH = pyproj.Geod(ellps="WGS84")
SMALLEST = 1e-9  # units of a pixel's sides
FLATTEST = 1e-6  # of a pixel's sides to each other, and of its area to their product


class PictureGrid:
    """A reduced grid of a raster for pictures.

    Up is the north of the raster's coordinate system, whichever way its rows run; pixels are
    square on the ground, so that x shrinks by the cosine of the latitude where the raster counts
    degrees. No pixel is finer than the raster's own. What is not referenced is taken as it is.

    Args:
        info: Header of the raster.
        longest: Pixels of the picture's longer side, at most.

    Attributes:
        height: Rows of the picture.
        width: Columns of the picture.
        step: Decimation that ``rasters.read_reduced`` needs for it.
        upright: The raster decimated by ``step`` is the picture already.
        metres_per_pixel: Ground width of a pixel at the centre; None where it is not known.
        north: Degrees clockwise from up to true north at the centre, −180 … 180: the convergence
            of the projection; None where it is not known.

    Raises:
        ValueError: ``longest`` is less than 1.
    """

    def __init__(self, info: RasterInfo, longest: int = 1024) -> None:
        if longest < 1:
            raise ValueError(f"longest: found {longest}, expected 1 pixel or more.")
        self.info = info
        ground = _ground(info)
        self._to_ground = _linear(info, ground)
        a, b, _, d, e, _ = self._to_ground[:6]
        H, W = info.height, info.width
        column, row = math.hypot(a, d), math.hypot(b, e)  # ground lengths of a pixel's sides
        self.upright = _upright(self._to_ground, H, W, column / row)
        if self.upright:
            self.step = -(-max(H, W) // longest)
            self.height, self.width = -(-H // self.step), -(-W // self.step)
            self._extent = (W * column, H * row)
        else:
            self._extent = (abs(a) * W + abs(b) * H, abs(d) * W + abs(e) * H)
            pixel = min(max(column, row), LONGEST_PIXEL * min(column, row))
            self.step = max(1, math.ceil((max(self._extent) / pixel - ALMOST) / longest))
            self.width, self.height = (_cells(side / pixel / self.step) for side in self._extent)
        measured = ground is not None
        self.metres_per_pixel = self._extent[0] / self.width if measured else None
        self.north = ground.north if ground is not None else None

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """(height, width) bool, where the picture shows the raster; False beside a rotated one."""
        return self._pixels[2]

    def sample(
        self, reduced: npt.NDArray[Any], step: int, fill: float
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """The picture of an array that covers the raster.

        Args:
            reduced: (C, ⌈H/step⌉, ⌈W/step⌉) or (⌈H/step⌉, ⌈W/step⌉), any type.
            step: How the raster was decimated, usually by the grid's own ``step``.
            fill: Value of the pixels beside the raster.

        Returns:
            Array (C, height, width) or (height, width) of the same type, and ``inside``.

        Raises:
            ValueError: The array does not have the raster's size divided by ``step``.
        """
        H, W = self.info.height, self.info.width
        size = (-(-H // step), -(-W // step)) if step >= 1 else None
        if reduced.ndim not in (2, 3) or reduced.shape[-2:] != size:
            raise ValueError(
                f"reduced: found shape {reduced.shape} at step {step}, expected two or three axes "
                f"that end with {size}, the raster's {H} × {W} pixels decimated by that step."
            )
        if self.upright and size == (self.height, self.width):
            return reduced.copy(), self.inside.copy()
        rows, cols, inside = self._pixels
        row = ((2 * rows + 1) * size[0]) // (2 * H)  # of the cell that a pixel's centre lies in
        col = ((2 * cols + 1) * size[1]) // (2 * W)
        picture = reduced[..., row, col]
        picture[..., ~inside] = np.array(fill, reduced.dtype)
        return picture, inside.copy()

    @cached_property
    def _pixels(
        self,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Row and column in the raster of each pixel's centre, and whether it lies there."""
        H, W = self.info.height, self.info.width
        across = (np.arange(self.width) + 0.5) / self.width
        down = (np.arange(self.height) + 0.5) / self.height
        if self.upright:
            rows, cols = np.meshgrid(down * H, across * W, indexing="ij")
        else:
            # from the raster's centre: corners cancel, and coordinates stay small and exact
            x = (across - 0.5)[None, :] * self._extent[0]
            y = (0.5 - down)[:, None] * self._extent[1]
            a, b, _, d, e, _ = (~self._to_ground)[:6]
            cols, rows = a * x + b * y + W / 2, d * x + e * y + H / 2
        inside = (rows >= 0) & (rows < H) & (cols >= 0) & (cols < W)
        return (
            np.clip(np.floor(rows), 0, H - 1).astype(np.int64),
            np.clip(np.floor(cols), 0, W - 1).astype(np.int64),
            inside,
        )


class _Ground(NamedTuple):
    """Metres on the ground per unit of the coordinates along x and y, and true north in degrees."""

    x: float
    y: float
    north: float


def _ground(info: RasterInfo) -> _Ground | None:
    """Ground under the coordinates of a raster's centre; None if they do not say."""
    if not info.crs or not _lies_somewhere(info.transform):
        return None
    x, y = info.transform @ (info.width / 2, info.height / 2)
    span = math.sqrt(abs(info.transform.determinant))
    try:
        lon, lat = transform(info.crs, LON_LAT, [x, x + span, x], [y, y, y + span])
    except (RasterioError, CPLE_BaseError):  # local coordinates, or those of another planet
        return None
    if not np.isfinite([*lon, *lat]).all() or max(map(abs, lat)) > 90:
        return None
    bearing, _, metres = EARTH.inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    if not min(metres) > 0:
        return None
    # a step along y bears so many degrees east of north; north lies as far on its other side
    return _Ground(metres[0] / span, metres[1] / span, 0.0 - float(bearing[1]))


def _lies_somewhere(matrix: Affine) -> bool:
    """Whether a transform gives pixels a place and an area that can be drawn."""
    a, b, _, d, e, _ = matrix[:6]
    column, row = math.hypot(a, d), math.hypot(b, e)
    if matrix.is_identity or not min(column, row) > max(SMALLEST, FLATTEST * max(column, row)):
        return False
    return bool(abs(a * e - b * d) > FLATTEST * column * row)  # columns and rows differ


def _linear(info: RasterInfo, ground: _Ground | None) -> Affine:
    """From columns and rows to metres (or units) east and north, without the origin."""
    if not _lies_somewhere(info.transform):
        return Affine.scale(1, -1)
    a, b, _, d, e, _ = info.transform[:6]
    x, y = (ground.x, ground.y) if ground is not None else (1.0, 1.0)
    return Affine(a * x, b * x, 0.0, d * y, e * y, 0.0)


def _upright(to_ground: Affine, height: int, width: int, ratio: float) -> bool:
    """Whether columns run east and rows south, and pixels are about square."""
    a, b, _, d, e, _ = to_ground[:6]
    straight = abs(b) * height < 0.5 * abs(a) and abs(d) * width < 0.5 * abs(e)
    return bool(a > 0 > e and straight and 1 / SQUARE < ratio < SQUARE)


def _cells(number: float) -> int:
    """Whole cells that hold about so many, at least one."""
    return max(1, math.ceil(number - ALMOST))
