"""Writing one scene in the processed layout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_processing.rasters.reading import RasterInfo
from data_processing.rasters.values import area_from_moment
from data_processing.rasters.writing import write_image, write_map
from data_processing.scenes.spec import DatasetSpec
from utils.codes import NO_DATA

__all__ = ["VALID_FILE", "SceneImage", "scene_bytes", "write_scene"]

VALID_FILE = "change/valid.tif"  # for users to look at; programs take it from the images


class SceneImage(NamedTuple):
    """An image of a scene as it is written; arguments as of :func:`write_image`."""

    name: str
    bands: NDArray[Any]
    nodata: float | None = None
    data_mask: NDArray[np.bool_] | None = None


def write_scene(
    folder: Path,
    spec: DatasetSpec,
    images: Iterable[tuple[str, NDArray[Any]] | SceneImage],
    grid: RasterInfo,
    moment: NDArray[np.uint8],
    valid: NDArray[np.bool_] | None = None,
    nodata: float | None = None,
) -> dict[str, Any]:
    """Write images and labels of a scene.

    Args:
        folder: The scene's folder.
        spec: Facts of its data set.
        images: File name and values (C, H, W) of every date in order, or all that is known of
            them; taken one at a time.
        grid: Where the pixels lie.
        moment: (H, W) change moment, 255 unknown.
        valid: (H, W) pixels with data at every date; all of them if left out.
        nodata: Nodata tag of images that are given by name and values.

    Returns:
        Facts for ``dataset.json``: size, dates' files, pixels per class.
    """
    names = []
    for given in images:
        image = given if isinstance(given, SceneImage) else SceneImage(*given, nodata)
        path = folder / spec.image_folder / image.name
        write_image(path, image.bands, grid, image.nodata, spec.bands, image.data_mask)
        names.append(image.name)
    area = area_from_moment(moment)
    write_map(folder / spec.area_file, area, grid, nodata=NO_DATA)
    write_map(folder / spec.moment_file, moment, grid, nodata=NO_DATA)
    everywhere = np.ones(moment.shape, dtype=np.bool_)
    valid = everywhere if valid is None else valid
    write_map(folder / VALID_FILE, valid.astype(np.uint8), grid)
    counts = np.bincount(moment[moment != NO_DATA], minlength=spec.num_classes)
    return {
        "height": grid.height,
        "width": grid.width,
        "images": names,
        "pixels_per_class": [int(count) for count in counts],
        "pixels_without_label": int((moment == NO_DATA).sum()),
        "pixels_without_data_at_some_date": int((~valid).sum()),
    }


def scene_bytes(spec: DatasetSpec, height: int, width: int, itemsize: int) -> int:
    """Bytes that a scene takes at most: its pixels, uncompressed, and some for headers."""
    images = spec.num_dates * len(spec.bands) * height * width * itemsize
    return images + 3 * height * width + 4096 * (spec.num_dates + 3)
