"""Do rasters lie on one grid: size, coordinate system, place.

Coordinate systems are compared by what they say of the ground, not by how they are written: a
height system beside them, a shift of zero or another order of axes makes no other grid.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.transform import array_bounds
from rasterio.warp import transform_bounds

from data_processing.rasters.reading import RasterInfo
from utils.errors import DataError

__all__ = [
    "crs_differences",
    "grid_differences",
    "grid_faults",
    "misplaced",
    "on_earth",
    "pixel_metres",
    "require_one_grid",
    "same_crs",
    "touch",
]

FARTHEST = 0.01  # pixels that two grids may be apart at any corner and still be one
METRES_A_DEGREE = 111_320.0  # of latitude
SMALLEST_PIXEL = 0.01  # units of a projected system
LONGEST_CRS = 80  # characters of a coordinate system in a message
NO_DATUM = ("unknown", "not specified", "unnamed", "undefined")  # how a datum's name begins then


def grid_faults(
    headers: Sequence[tuple[str, RasterInfo]], *, sizes: bool = True, lenient: bool = False
) -> list[str]:
    """Differences from the first raster, each beginning with the name of the other one.

    Args:
        headers: Name and header of each; the first one is the standard.
        sizes: Whether the numbers of rows and columns must be the same, too.
        lenient: Whether a raster that does not say where it lies is taken to lie on the grid.
    """
    (first_name, first), *others = headers
    return [
        f"{name}: {difference}"
        for name, info in others
        for difference in grid_differences(info, first, first_name, sizes=sizes, lenient=lenient)
    ]


def require_one_grid(
    area: str, headers: Sequence[tuple[str, RasterInfo]], *, sizes: bool = True
) -> None:
    """Make sure that rasters of an area lie on one grid; arguments as of :func:`grid_faults`.

    Raises:
        DataError: Some lie elsewhere than the first one, all of them told.
    """
    faults = grid_faults(headers, sizes=sizes)
    if faults:
        raise DataError(area, faults, "Bring all images of the area to one grid.")


def grid_differences(
    info: RasterInfo,
    first: RasterInfo,
    first_name: str,
    *,
    sizes: bool = True,
    lenient: bool = False,
) -> list[str]:
    """Differences of a raster's grid from another one's; arguments as of :func:`grid_faults`."""
    differences = []
    if sizes and (info.height, info.width) != (first.height, first.width):
        differences.append(
            f"found {info.height}×{info.width} pixels, expected {first.height}×{first.width} as "
            f"{first_name}"
        )
    placed = not (lenient and None in (info.crs, first.crs))
    if placed and not same_crs(info.crs, first.crs):
        actual, expected = _crs_texts(info.crs, first.crs)
        differences.append(f"found CRS {actual}, expected {expected} as {first_name}")
        return differences
    if lenient and (info.transform.is_identity or first.transform.is_identity):
        return differences
    apart = _pixels_apart(info, first)
    if not apart <= FARTHEST:
        differences.append(
            f"found transform {tuple(info.transform)[:6]}, expected "
            f"{tuple(first.transform)[:6]} as {first_name}, up to {apart:.4g} pixels apart"
        )
    return differences


def _pixels_apart(info: RasterInfo, first: RasterInfo) -> float:
    """Largest distance of corners from those of the first raster, in its pixels."""
    other, here = info.transform, first.transform
    if other == here:
        return 0.0
    if here.is_degenerate:
        return math.inf
    height, width = min(info.height, first.height), min(info.width, first.width)
    apart: list[float] = []
    turn = 360.0 if info.crs is not None and info.crs.is_geographic else math.inf  # 180 is −180
    moved = other.c - here.c
    moved -= turn * round(moved / turn) if math.isfinite(turn) else 0.0
    for col, row in ((0, 0), (width, 0), (0, height), (width, height)):
        x = (other.a - here.a) * col + (other.b - here.b) * row + moved
        y = (other.d - here.d) * col + (other.e - here.e) * row + other.f - here.f
        cols, rows = here.e * x - here.b * y, here.a * y - here.d * x  # times the determinant
        apart.append(math.hypot(cols, rows) / abs(float(here.determinant)))
    return max(apart)


def misplaced(info: RasterInfo) -> str | None:
    """The fault by which a raster cannot lie where it says; None where there is none."""
    if info.unrectified:
        return (
            f"found {info.unrectified} in place of a grid, expected a rectified image (gdalwarp "
            "makes one, for polynomials with -rpc and a terrain model)"
        )
    if info.transform.is_degenerate:
        return (
            f"found the transform {tuple(info.transform)[:6]}, whose pixels have no area; write "
            "anew where the raster lies (gdal_edit.py -a_ullr)"
        )
    if info.crs is None or info.transform.is_identity:
        return None
    ends = [info.transform @ corner for corner in ((0, 0), (info.width, info.height))]
    in_degrees = all(abs(x) <= 180 and abs(y) <= 90 for x, y in ends)
    size = math.sqrt(abs(info.transform.determinant))
    if info.crs.is_geographic and not all(abs(x) <= 540 and abs(y) <= 91 for x, y in ends):
        return (
            f"found coordinates such as {ends[0][0]:g}, {ends[0][1]:g} in {_crs_text(info.crs)}, "
            "expected degrees; give it the coordinate system of its numbers (gdal_edit.py -a_srs)"
        )
    if info.crs.is_projected and in_degrees and size < SMALLEST_PIXEL:
        return (
            f"found pixels of {size:g} at {ends[0][0]:g}, {ends[0][1]:g} in "
            f"{_crs_text(info.crs)}, expected metres; these look like degrees: give it their "
            "coordinate system (gdal_edit.py -a_srs EPSG:4326)"
        )
    return None


def pixel_metres(info: RasterInfo) -> float | None:
    """Side of a pixel on the ground, about, in metres; None without a georeference."""
    if info.crs is None or info.transform.is_identity:
        return None
    size = math.sqrt(abs(info.transform.determinant))
    if not info.crs.is_geographic:
        return float(size * info.crs.linear_units_factor[1])
    _, latitude = info.transform @ (info.width / 2, info.height / 2)
    narrowed = math.sqrt(max(0.0, math.cos(math.radians(latitude))))  # degrees of longitude are
    return float(size * METRES_A_DEGREE * narrowed)


# ──────────────────────────────────── coordinate systems ────────────────────────────────────


def on_earth(crs: CRS | None) -> bool:
    """Whether a coordinate system says where on Earth something lies, in two numbers."""
    return crs is not None and (crs.is_geographic or crs.is_projected)


def same_crs(one: CRS | None, other: CRS | None) -> bool:
    """Whether two coordinate systems give the same place on the ground the same numbers.

    Heights, shifts of zero, names and the order of axes do not count. A system that names an
    ellipsoid and no datum is taken to mean the other one's datum on that ellipsoid.
    """
    if one is None or other is None:
        return one is other
    return one == other or not crs_differences(one, other)


def crs_differences(one: CRS, other: CRS) -> list[str]:
    """Parts in which two coordinate systems differ, as "unit 0.3048, not 1"; none if the same."""
    from pyproj.exceptions import CRSError

    try:
        first, second = (_horizontal(crs.to_wkt(version="WKT2_2019")) for crs in (one, other))
    except CRSError:  # nothing that can be taken apart
        return [] if one == other else ["definition"]
    if first.equals(second, ignore_axis_order=True):
        return []
    parts = [_parts(crs) for crs in (first, second)]
    if parts[0]["kind"] != parts[1]["kind"]:
        parts = [{"kind": part["kind"]} for part in parts]
    if any(str(part.get("datum", "")).lower().startswith(NO_DATUM) for part in parts):
        parts = [{key: part[key] for key in part if key != "datum"} for part in parts]
    keys = dict.fromkeys(key for part in parts for key in part)
    actual, expected = ({key: part.get(key, "none") for key in keys} for part in parts)
    return [
        f"{key} {actual[key]}, not {expected[key]}" for key in keys if actual[key] != expected[key]
    ]


@functools.lru_cache(maxsize=64)
def _horizontal(wkt: str) -> Any:
    """The horizontal part of a coordinate system, as pyproj's CRS, without shifts of zero."""
    import pyproj

    crs: Any = pyproj.CRS.from_wkt(wkt)
    while crs.is_compound or crs.is_bound:
        if crs.is_compound:
            crs = crs.sub_crs_list[0]
            continue
        shift = crs.coordinate_operation
        if shift is None or any(shift.towgs84) or not shift.towgs84:
            return crs
        crs = crs.source_crs
    return crs.to_2d()


def _parts(crs: Any) -> dict[str, Any]:
    """Parts of a coordinate system of pyproj, in the words of messages."""
    parts: dict[str, Any] = {"kind": crs.type_name}
    if crs.is_bound:
        shift = crs.coordinate_operation
        parts["shift"] = list(shift.towgs84) if shift is not None else "unknown"
        crs = crs.source_crs
        parts["kind"] = crs.type_name
    if crs.ellipsoid is None:
        return {**parts, "name": crs.name}
    parts["datum"] = crs.datum.name.removesuffix(" ensemble") if crs.datum else "unknown"
    parts["ellipsoid"] = tuple(
        float(f"{size:.10g}")
        for size in (crs.ellipsoid.semi_major_metre, crs.ellipsoid.inverse_flattening)
    )
    meridian = crs.prime_meridian
    parts["prime meridian"] = meridian.longitude * meridian.unit_conversion_factor
    units = sorted({axis.unit_conversion_factor for axis in crs.axis_info})
    parts["unit"] = ", ".join(f"{unit:.10g}" for unit in units)
    projection = None if crs.is_geographic else crs.coordinate_operation
    if projection is not None:
        parts["projection"] = projection.method_name
        for param in projection.params:
            value = param.value * param.unit_conversion_factor  # radians, metres or a number
            value = math.degrees(value) if "itude" in param.name else value
            parts[param.name.lower()] = float(f"{value:.10g}")
    return parts


def _crs_texts(actual: CRS | None, expected: CRS | None) -> tuple[str, str]:
    """Two coordinate systems for a message: short, and with what differs where that is not seen."""
    texts = [_crs_text(actual), _crs_text(expected)]
    unclear = texts[0] == texts[1] or "…" in texts[0] + texts[1]
    if unclear and actual is not None and expected is not None:
        texts[0] += f" ({'; '.join(crs_differences(actual, expected))})"
    return texts[0], texts[1]


def _crs_text(crs: CRS | None) -> str:
    """A code where there is one, else the definition, cut off where it is long."""
    text = str(crs)
    return text if len(text) < LONGEST_CRS else text[:LONGEST_CRS] + "…"


def touch(grid: RasterInfo, other: RasterInfo) -> bool:
    """Whether two rasters have any ground in common, as far as their systems can be compared."""
    west, south, east, north = _bounds(grid)
    try:
        left, bottom, right, top = transform_bounds(other.crs, grid.crs, *_bounds(other))
    except (RasterioError, CPLE_BaseError):
        return True  # opening it will say more
    return bool(left < east and right > west and bottom < north and top > south)


def _bounds(info: RasterInfo) -> tuple[float, float, float, float]:
    """West, south, east, north of a raster, whichever way its rows and columns run."""
    one, two, three, four = array_bounds(info.height, info.width, info.transform)
    return min(one, three), min(two, four), max(one, three), max(two, four)
