"""Series of small rasters as users have them, for tests of how series are opened and read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.transform import Affine

from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import SeriesOptions
from data_processing.own_series.series import RasterSeries, spec_for
from tests.helpers.scene_files import write_raster
from utils.errors import CaimError

__all__ = [
    "BGRN",
    "DAYS",
    "REVERSED",
    "RGBA",
    "change_header",
    "noise",
    "open_them",
    "refusal",
    "whole",
    "write_series",
]

BGRN = ("blue", "green", "red", "nir")
RGBA = ("red", "green", "blue", "alpha")
REVERSED = ("red", "green", "blue", "nir")
DAYS = ("2020-01-15", "2020-03-01", "2020-06-30", "2021-02-10")


def noise(
    dates: int = 3, bands: int = 4, size: tuple[int, int] = (20, 30), dtype: str = "uint16"
) -> NDArray[Any]:
    """(T, C, H, W) of values that are neither 0 nor 255."""
    values = np.random.default_rng(1).integers(1, 120, (dates, bands, *size))
    return (values * (40 if np.dtype(dtype).itemsize == 2 else 1)).astype(dtype)


def write_series(
    folder: Path, images: Sequence[NDArray[Any]] | None = None, **options: Any
) -> list[Path]:
    """Images ``city_<day>.tif`` in order of DAYS; options as for ``write_raster``."""
    images = noise() if images is None else images
    paths = [folder / f"city_{day}.tif" for day in DAYS[: len(images)]]
    for path, image in zip(paths, images, strict=True):
        write_raster(path, image, **options)
    return paths


def whole(series: RasterSeries) -> Any:
    """The window that is all of a series."""
    return series.read(0, 0, series.height, series.width)


def change_header(
    path: Path,
    colors: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    tags: dict[str, str] | None = None,
    transform: Affine | None = None,
) -> None:
    """Give a raster other colour marks, band descriptions, tags or place."""
    with rasterio.open(path, "r+") as raster:
        if colors is not None:
            raster.colorinterp = [ColorInterp[color] for color in colors]
        if names is not None:
            raster.descriptions = tuple(names)
        if tags is not None:
            raster.update_tags(**tags)
        if transform is not None:
            raster.transform = transform


def open_them(
    given: Any, network: Sequence[str] = BGRN, count: int = 3, **options: Any
) -> RasterSeries:
    """Open a series with these options."""
    return open_raster_series(given, spec_for(network, count), SeriesOptions(**options))


def refusal(kind: type[CaimError], given: Any, *args: Any, **options: Any) -> str:
    """What is said when a series is refused."""
    with pytest.raises(kind) as caught:
        open_them(given, *args, **options)
    return str(caught.value)
