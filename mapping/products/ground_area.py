"""Ground that a pixel covers, in m², in any coordinate system.

The plane of a map stretches the ground: by up to 0.1 % in UTM, four times at 60° in Web Mercator,
and degrees are no lengths at all. Here pixels are carried to the ellipsoid of their own coordinate
system and measured there. What is counted by these areas is not known here.

Method: at few positions of the raster (some 50 km apart), the outline of a pixel, or of a block
of pixels of some 200 m, is carried to longitude and latitude and measured as a geodesic polygon;
its edges are divided so that they bend as the raster's rows and columns do, which matters from
about 10 km on. Between the positions, areas follow cubic splines. Measured against closed forms,
a pixel is off by less than 10⁻⁷ on rasters of up to 2000 km, by up to 2 · 10⁻⁶ in degrees around
the globe (near the poles), and by up to 5 · 10⁻⁵ in Web Mercator around the globe (at its rim).
Rounding adds up to 3 · 10⁻⁵ where the whole raster has a side of few metres. The derivatives that
PROJ gives (pyproj's areal_scale) agree to 10⁻⁸ where a projection is one of the ellipsoid, and are
0.3 % off where it takes the Earth for a sphere (Web Mercator, Mollweide and others, which no name
tells), so that polygons are measured everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from scipy.interpolate import make_interp_spline
from scipy.ndimage import distance_transform_edt

from data_processing.rasters.reading import RasterInfo
from utils.errors import UserError

__all__ = ["PixelAreas"]

SPACING = 50_000.0  # metres between the positions that are measured
FEWEST, MOST = 5, 65  # positions along a side of the raster
MEASURED_SIDE = 200.0  # metres at least of what is measured; far smaller would drown in rounding
EDGE = 5_000.0  # metres at most between points of an outline
MOST_EDGES = 64  # parts of a side of an outline
BLOCK_PIXELS = 1 << 20  # whose areas are held at a time
PICKED = 257  # rows and columns among which the smallest and the largest pixel are looked for

Floats = NDArray[np.float64]


class PixelAreas:
    """The ground that each pixel of a raster covers.

    Args:
        info: Header of the raster.

    Attributes:
        ellipsoidal: Whether areas are true ones, measured on the ellipsoid.
        planar: Whether they are those of a local plane with a unit of length, of which nobody
            knows where on Earth it lies. Where neither holds (no coordinate system, no
            georeference, pixels that lie off the Earth), there are no areas.
    """

    def __init__(self, info: RasterInfo) -> None:
        self.height, self.width = info.height, info.width
        self.ellipsoidal = self.planar = False
        self._degree = 3  # of the splines
        self._pixel: tuple[float, float] | None = None
        self._earth: _Earth | None = None
        transform = info.transform
        self._determinant = transform.determinant
        if info.crs is None or transform.is_identity or transform.determinant == 0:
            return
        crs = pyproj.CRS.from_wkt(info.crs.to_wkt())
        self._earth = _Earth.of(crs)
        if self._earth is not None:
            self._measure(_Grid(self._earth, transform, info.height, info.width))
        elif crs.is_engineering and crs.axis_info:
            self._on_plane(transform, crs.axis_info[0].unit_conversion_factor or 1.0)

    @property
    def measured(self) -> bool:
        """Whether there are areas at all."""
        return self.ellipsoidal or self.planar

    @property
    def metres_per_pixel(self) -> tuple[float, float] | None:
        """Ground width and height of the pixel in the raster's centre, for scale bars."""
        return self._pixel

    def rows(self, row: int, count: int) -> Floats:
        """Areas in m² of the pixels of some rows.

        Args:
            row: The first one.
            count: How many.

        Returns:
            (count, W) float64.

        Raises:
            UserError: There are no areas: neither ``ellipsoidal`` nor ``planar``.
        """
        self._check()
        return self._between(np.arange(row, row + count)) @ self._across.T

    def sums(self, classes: NDArray[Any], num_classes: int, row: int = 0) -> Floats:
        """Ground in m² that each class of a map covers.

        Args:
            classes: (h, W) of an integer type, 0…num_classes − 1.
            num_classes: How many there are.
            row: Row of the raster at which the map begins.

        Returns:
            (num_classes,) float64.

        Raises:
            UserError: There are no areas.
        """
        total = np.zeros(num_classes)
        for start, stop in self._blocks(len(classes)):
            values = classes[start:stop].reshape(-1)
            areas = self.rows(row + start, stop - start).reshape(-1)
            total += np.bincount(values, weights=areas, minlength=num_classes)
        return total

    def perimeters(self, polygons: Sequence[Any]) -> Floats:
        """Lengths in m of polygons' outlines on the ground, around holes too.

        Args:
            polygons: N of shapely, in the coordinates of the raster.

        Returns:
            (N,) float64; not finite where a polygon leaves the Earth.

        Raises:
            UserError: Areas are not ``ellipsoidal``.
        """
        if self._earth is None:
            self._check()
            raise UserError(
                "perimeters: found a raster on a local plane, expected one that lies on the Earth."
            )
        rings, owner = shapely.get_rings(np.asarray(polygons, object), return_index=True)
        if self._pixel is not None:  # long edges bend as the raster's rows and columns do
            parts = EDGE / max(self._pixel)
            rings = shapely.segmentize(rings, parts * math.sqrt(abs(self._determinant)))
        points, ring = shapely.get_coordinates(rings, return_index=True)
        lon, lat = self._earth.lon_lat(*points.T)
        metres = self._earth.geod.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2]
        along = ring[1:] == ring[:-1]
        total = np.bincount(owner[ring[1:][along]], metres[along], minlength=len(polygons))
        return total.astype(np.float64, copy=False)  # whole numbers where there are none

    @cached_property
    def mean(self) -> float | None:
        """Mean area in m² over all pixels; None where there are no areas."""
        if not self.measured:
            return None
        down = np.zeros(self._nodes.shape[0])
        for start, stop in self._blocks(self.height):
            down += self._weights(self._node_rows, np.arange(start, stop)).sum(axis=0)
        return float(down @ self._nodes @ self._across.mean(axis=0)) / self.height

    @cached_property
    def min(self) -> float | None:
        """Area in m² of about the smallest pixel (of 257 × 257, the border among them)."""
        return None if self._picked is None else float(self._picked.min())

    @cached_property
    def max(self) -> float | None:
        """Area in m² of about the largest pixel, likewise."""
        return None if self._picked is None else float(self._picked.max())

    @cached_property
    def _picked(self) -> Floats | None:
        if not self.measured:
            return None
        rows, cols = (_positions(0, side - 1, PICKED) for side in (self.height, self.width))
        return self._between(np.round(rows)) @ self._across[np.round(cols).astype(np.intp)].T

    def _measure(self, grid: _Grid) -> None:
        """Take positions on the raster and measure the ground there."""
        self._pixel = grid.pixel
        height, width = (
            _side(side, None if grid.pixel is None else grid.pixel[axis])
            for side, axis in ((self.height, 1), (self.width, 0))
        )
        self._node_rows, self._node_cols = height.positions, width.positions
        nodes = grid.areas(height, width)
        on_earth = np.isfinite(nodes) & (nodes > 0)
        if not on_earth.any():  # the whole raster lies off the Earth
            self._pixel = None
            return
        if not on_earth.all():  # its corners do: there, the nearest area on it holds
            nearest = distance_transform_edt(~on_earth, return_distances=False, return_indices=True)
            nodes = nodes[tuple(nearest)]
            self._degree = 1  # a cubic spline would swing beside the rim
        self._nodes, self.ellipsoidal = nodes, True

    def _on_plane(self, transform: Any, metres: float) -> None:
        """Areas of a plane whose unit has so many metres."""
        self._node_rows = self._node_cols = np.zeros(1)
        self._nodes = np.full((1, 1), abs(transform.determinant) * metres**2)
        self._pixel = (
            math.hypot(transform.a, transform.d) * metres,
            math.hypot(transform.b, transform.e) * metres,
        )
        self.planar = True

    @cached_property
    def _across(self) -> Floats:
        """Weight of each position in each column (W, positions)."""
        return self._weights(self._node_cols, np.arange(self.width))

    def _between(self, rows: NDArray[Any]) -> Floats:
        """Areas of rows at the positions that were measured across (rows, positions)."""
        return self._weights(self._node_rows, rows) @ self._nodes

    def _weights(self, positions: Floats, at: NDArray[Any]) -> Floats:
        """Weight of each measured position in the spline through them (at, positions)."""
        count = len(positions)
        if count == 1:
            return np.ones((len(at), 1))
        weights: Floats = make_interp_spline(positions, np.eye(count), k=self._degree)(at)
        return weights

    def _blocks(self, height: int) -> Iterator[tuple[int, int]]:
        """First and one past the last of the rows that are gone through at a time."""
        step = max(1, BLOCK_PIXELS // self.width)
        for start in range(0, height, step):
            yield start, min(height, start + step)

    def _check(self) -> None:
        if not self.measured:
            raise UserError(
                "ground areas: found a raster without a coordinate system, or with pixels that "
                "lie nowhere on the Earth; expected one that says where it lies. Give it a "
                "coordinate system and a transform, as with gdal_edit.py -a_srs EPSG:… -a_ullr …"
            )


class _Side(NamedTuple):
    """Positions along a side of a raster, and how large what is measured there is.

    Attributes:
        positions: In pixels, 0 in the middle of the first one.
        extent: In pixels, 1 or more.
        parts: Into which an outline is divided along this side.
    """

    positions: Floats
    extent: float
    parts: int


def _side(pixels: int, metres: float | None) -> _Side:
    """Measuring points along a side of so many pixels, each of so many metres if that is known."""
    if metres is None:
        return _Side(_positions(0, pixels - 1, MOST), 1.0, 1)
    extent = max(1.0, min(MEASURED_SIDE / metres, pixels / 4))
    parts = min(MOST_EDGES, max(1, math.ceil(extent * metres / EDGE)))
    count = min(MOST, max(FEWEST, math.ceil(pixels * metres / SPACING)))
    first = (extent - 1) / 2
    return _Side(_positions(first, pixels - 1 - first, count), extent, parts)


def _positions(first: float, last: float, count: int) -> Floats:
    """So many positions from the first to the last; one along a side of one pixel."""
    return np.linspace(first, last, count) if last > first else np.array([first])


class _Earth(NamedTuple):
    """From a coordinate system to degrees on its own ellipsoid."""

    to_lon_lat: pyproj.Transformer
    degrees: float
    geod: pyproj.Geod

    @classmethod
    def of(cls, crs: pyproj.CRS) -> _Earth | None:
        """For a system, or None where nobody knows where it lies (local, geocentric)."""
        flat = crs.to_2d()
        turned = flat.type_name.startswith("Derived Geographic")  # with poles elsewhere
        geodetic = flat.source_crs if turned else flat.geodetic_crs
        if geodetic is None or flat.is_geocentric or not geodetic.axis_info:
            return None
        try:
            to_lon_lat = pyproj.Transformer.from_crs(flat, geodetic, always_xy=True)
        except ProjError:
            return None
        unit = geodetic.axis_info[0].unit_conversion_factor  # radians; grads occur in France
        degrees = 1.0 if math.isclose(unit, math.radians(1)) else math.degrees(unit)
        geod = geodetic.get_geod()
        return None if geod is None else cls(to_lon_lat, degrees, geod)

    def lon_lat(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Degrees; not finite where a place lies off the Earth."""
        lon, lat = self.to_lon_lat.transform(x, y)
        lon, lat = np.asarray(lon) * self.degrees, np.asarray(lat) * self.degrees
        return lon, np.where(np.abs(lat) <= 90 + 1e-9, np.clip(lat, -90, 90), np.nan)


class _Grid:
    """The pixels of a raster on the Earth.

    Attributes:
        pixel: Ground width and height in metres of the pixel in the centre, or None where that
            lies off the Earth.
    """

    def __init__(self, earth: _Earth, transform: Any, height: int, width: int) -> None:
        self._earth, self._transform = earth, transform
        row, col = (height - 1) // 2, (width - 1) // 2
        cols = np.array([col - 0.5, col + 0.5, col, col])
        rows = np.array([row, row, row - 0.5, row + 0.5])
        lon, lat = self._lon_lat(rows, cols)
        metres = earth.geod.inv(lon[[0, 2]], lat[[0, 2]], lon[[1, 3]], lat[[1, 3]])[2]
        measurable = np.isfinite(metres).all() and (metres > 0).all()
        self.pixel = (float(metres[0]), float(metres[1])) if measurable else None

    def areas(self, height: _Side, width: _Side) -> Floats:
        """Areas in m² per pixel (positions down, positions across); not finite off the Earth."""
        down, across = _outline(height, width)
        areas = np.empty((len(height.positions), len(width.positions)))
        for i, row in enumerate(height.positions):
            lon, lat = self._lon_lat(row + down, width.positions[:, None] + across)
            for j in range(len(width.positions)):
                areas[i, j] = abs(self._earth.geod.polygon_area_perimeter(lon[j], lat[j])[0])
        return areas / (height.extent * width.extent)

    def _lon_lat(self, rows: Floats, cols: Floats) -> tuple[Floats, Floats]:
        """Degrees of places in pixels, 0 in the middle of the first one."""
        x, y = self._transform @ (cols + 0.5, rows + 0.5)
        return self._earth.lon_lat(x, np.broadcast_to(y, np.shape(x)))


def _outline(height: _Side, width: _Side) -> tuple[Floats, Floats]:
    """Rows and columns, from its middle, of the points around what is measured."""
    down = np.linspace(-0.5, 0.5, height.parts, endpoint=False) * height.extent
    across = np.linspace(-0.5, 0.5, width.parts, endpoint=False) * width.extent
    top, left = np.full_like(across, down[0]), np.full_like(down, across[0])
    return np.r_[top, down, -top, -down], np.r_[across, -left, -across, left]
