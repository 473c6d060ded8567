"""Do rasters lie on one grid: size, coordinate system, place."""

from __future__ import annotations

import math
from collections.abc import Sequence

from data_processing.rasters.reading import RasterInfo
from utils.errors import DataError

__all__ = ["grid_faults", "same_grid"]


FARTHEST = 0.01  # pixels that two grids may be apart at any corner and still be one


def grid_faults(headers: Sequence[tuple[str, RasterInfo]]) -> list[str]:
    """Differences of size and place from the first image."""
    faults = []
    (first_name, first), *others = headers
    for name, info in others:
        if (info.height, info.width) != (first.height, first.width):
            faults.append(
                f"{name}: found {info.height}×{info.width} pixels, expected "
                f"{first.height}×{first.width} as {first_name}"
            )
        if info.crs != first.crs:
            faults.append(
                f"{name}: found CRS {_crs_text(info)}, expected {_crs_text(first)} as {first_name}"
            )
        elif _pixels_apart(info, first) > FARTHEST:
            faults.append(
                f"{name}: found transform {tuple(info.transform)[:6]}, expected "
                f"{tuple(first.transform)[:6]} as {first_name}, up to "
                f"{_pixels_apart(info, first):.4g} pixels apart"
            )
    return faults


def _pixels_apart(info: RasterInfo, first: RasterInfo) -> float:
    """How far corners lie from those of the first image, in its pixels."""
    there, here = info.transform, first.transform
    if there == here:
        return 0.0
    if here.is_degenerate:
        return math.inf
    height, width = min(info.height, first.height), min(info.width, first.width)
    apart: list[float] = []
    for col, row in ((0, 0), (width, 0), (0, height), (width, height)):
        x = (there.a - here.a) * col + (there.b - here.b) * row + there.c - here.c
        y = (there.d - here.d) * col + (there.e - here.e) * row + there.f - here.f
        cols, rows = here.e * x - here.b * y, here.a * y - here.d * x  # times the determinant
        apart.append(math.hypot(cols, rows) / abs(float(here.determinant)))
    return max(apart)


def _crs_text(info: RasterInfo) -> str:
    """A CRS for a message: short, where it has a code or a name."""
    text = str(info.crs)
    return text if len(text) < 80 else text[:80] + "…"


def same_grid(area: str, grids: Sequence[tuple[str, RasterInfo]], *, sizes: bool = False) -> None:
    """Make sure that rasters of an area have the same origin, pixel size and coordinate system.

    Args:
        area: How messages name it.
        grids: File name and header of each.
        sizes: Whether the numbers of rows and columns must be the same, too.

    Raises:
        DataError: Some lie elsewhere than the first one, all of them told.
    """
    (first_name, first), *others = grids
    faults = []
    for name, grid in others:
        if sizes and (grid.height, grid.width) != (first.height, first.width):
            faults.append(
                f"{name}: found {grid.height}×{grid.width} pixels, expected "
                f"{first.height}×{first.width} as {first_name}"
            )
        elif grid.crs != first.crs:
            faults.append(f"{name}: found CRS {grid.crs}, expected {first.crs} as {first_name}")
        elif not grid.transform.almost_equals(first.transform, 1e-3 * abs(first.transform.a)):
            faults.append(
                f"{name}: found transform {tuple(grid.transform)[:6]}, expected "
                f"{tuple(first.transform)[:6]} as {first_name}"
            )
    if faults:
        raise DataError(area, faults, "Bring all images of the area to one grid.")
