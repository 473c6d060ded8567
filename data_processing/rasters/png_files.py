"""Writing PNG files: tiles and maps of image pairs, as the released CTMA program stores them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio

from data_processing.rasters.reading import quiet
from utils.files import atomic_path

__all__ = ["write_png"]


def write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write (H, W) or (C, H, W) as PNG without a georeference, whole or not at all.

    Raises:
        OSError: When the file cannot be written.
    """
    bands = pixels if pixels.ndim == 3 else pixels[None]
    count, height, width = bands.shape
    profile = {"driver": "PNG", "height": height, "width": width, "count": count, "dtype": "uint8"}
    with atomic_path(path) as partial, quiet(), rasterio.open(partial, "w", **profile) as raster:
        raster.write(bands)
