"""Small processed scenes for tests, written with rasterio into a temporary folder.

Pixels are seeded noise with a step where the label says so; nothing here looks like a landscape
(that is ``data_processing/sample_data.py``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from data_processing.scenes.spec import SPLITS, DatasetSpec, spec_by_name

__all__ = [
    "DYNAMIC_DATES",
    "SPACENET7_DATES",
    "make_labels",
    "scene_folder",
    "write_data_root",
    "write_dynamic_scene",
    "write_raster",
    "write_spacenet7_scene",
]

DYNAMIC_DATES = ("2018_01", "2018_05", "2018_09", "2019_01", "2019_05", "2019_09")
SPACENET7_DATES = tuple(f"{2018 + month // 12}_{month % 12 + 1:02d}" for month in range(0, 27, 3))
HIGHEST = {"uint8": 255, "uint16": 10000, "int16": 10000}


def write_raster(
    path: Path,
    values: npt.NDArray[Any],
    *,
    nodata: float | None = None,
    crs: str | None = "EPSG:32633",
    origin: tuple[float, float] = (500000.0, 5000000.0),
    compression: str | None = "deflate",
    tiled: bool = False,
) -> None:
    """Write (C, H, W) or (H, W) as GeoTIFF; ``crs=None`` leaves the georeference out."""
    bands = values if values.ndim == 3 else values[None]
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "count": bands.shape[0],
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype.name,
        "nodata": nodata,
    }
    if crs is not None:
        profile |= {"crs": crs, "transform": Affine(3.0, 0.0, origin[0], 0.0, -3.0, origin[1])}
    if compression is not None:
        profile["compress"] = compression
    if tiled:
        profile |= {"tiled": True, "blockxsize": 16, "blockysize": 16}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # a damaged raster cannot be written over
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as raster:
            raster.write(bands)


def make_labels(
    height: int, width: int, num_dates: int, seed: int = 0
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Area (0/1) and moment (0…T−1), each (H, W): one rectangle per moment, every moment there."""
    rng = np.random.default_rng(seed)
    moment = np.zeros((height, width), dtype=np.uint8)
    side = max(1, min(height, width) // 4)
    for k in range(1, num_dates):
        row = int(rng.integers(0, max(1, height - side)))
        col = int(rng.integers(0, max(1, width - side)))
        moment[row : row + side, col : col + side] = k
    for k in range(1, min(num_dates, width)):
        moment[-1, k] = k
    return (moment > 0).astype(np.uint8), moment


def write_dynamic_scene(folder: Path, **options: Any) -> Path:
    """Write a DynamicEarthNet scene; options as for :func:`_write_scene`. Returns the folder."""
    return _write_scene(folder, spec_by_name("dynamic"), **options)


def write_spacenet7_scene(folder: Path, **options: Any) -> Path:
    """Write a SpaceNet7 scene; options as for :func:`_write_scene`. Returns the folder."""
    return _write_scene(folder, spec_by_name("spacenet7"), **options)


def scene_folder(root: Path, spec_name: str, split: str, number: int = 1) -> Path:
    """Folder of the n-th scene that :func:`write_data_root` writes into a split."""
    spec = spec_by_name(spec_name)
    name = f"Scene{number:02d}" if spec.name == "Dynamic" else f"L15-000{number}E-0001N_{split}"
    return root / spec.images_root / split / name


def write_data_root(
    root: Path,
    spec_name: str,
    scenes_per_split: int | Mapping[str, int] = 1,
    size: int | tuple[int, int] = 128,
    *,
    index: bool = True,
    patch_size: int | None = None,
    stride: int | None = None,
    **options: Any,
) -> Path:
    """Write a data root with train, val and test, with lists and patch index unless told not to.

    Args:
        root: The data root; made if missing.
        spec_name: ``dynamic`` or ``spacenet7``.
        scenes_per_split: One number for all splits, or one by split.
        size: Side, or height and width, in pixels.
        index: Whether to write scene lists and patch index too.
        patch_size: Of the index; default as in the data set's facts.
        stride: Of the index; likewise.
        **options: As for :func:`_write_scene`.

    Returns:
        The data root.
    """
    from data_processing.scenes.patch_index import write_patch_index
    from data_processing.scenes.splits import write_scene_lists

    spec = spec_by_name(spec_name)
    for split_number, split in enumerate(SPLITS):
        if isinstance(scenes_per_split, int):
            count = scenes_per_split
        else:
            count = scenes_per_split.get(split, 0)
        for number in range(1, count + 1):
            folder = scene_folder(root, spec_name, split, number)
            seed = options.get("seed", 0) + 100 * split_number + number
            origin = (500_000.0 + 100_000 * split_number, 4_990_000.0 + 10_000 * number)
            _write_scene(folder, spec, **{"origin": origin, **options, "size": size, "seed": seed})
    if index:
        write_scene_lists(root, spec)
        write_patch_index(root, spec, patch_size or spec.patch_size, stride or spec.stride)
    return root


def _write_scene(
    folder: Path,
    spec: DatasetSpec,
    *,
    size: int | tuple[int, int] = 128,
    dates: Sequence[str] | None = None,
    dtype: str = "uint8",
    labels: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
    images: npt.NDArray[Any] | None = None,
    nodata: float | None = None,
    label_nodata: float | None = None,
    crs: str | None = "EPSG:32633",
    origin: tuple[float, float] = (500000.0, 5000000.0),
    compression: str | None = "deflate",
    tiled: bool = False,
    seed: int = 0,
) -> Path:
    """Write one scene.

    Args:
        folder: The scene's folder.
        spec: Facts of the data set.
        size: Side, or height and width, in pixels.
        dates: As in file names, e.g. ``2018_01``; default: as many as the data set has.
        dtype: Stored type of the images.
        labels: Area and moment (H, W); default: rectangles of every moment.
        images: (T, C, H, W) to store instead of the seeded noise.
        nodata: Nodata tag of the images.
        label_nodata: Nodata tag of the labels.
        crs: None leaves the georeference out.
        origin: Coordinates of the upper left corner.
        compression: ``deflate``, ``lzw``, … or None.
        tiled: Blocks of 16×16 instead of strips.
        seed: Of noise and rectangles.
    """
    height, width = (size, size) if isinstance(size, int) else size
    usual = DYNAMIC_DATES if spec.name == "Dynamic" else SPACENET7_DATES
    dates = usual if dates is None else dates
    area, moment = make_labels(height, width, len(dates), seed) if labels is None else labels
    if images is None:
        images = _noise(moment, len(dates), spec, dtype, seed)
    for date, image in zip(dates, images, strict=True):
        name = f"{date}.tif"
        if spec.name == "SpaceNet7":
            name = f"global_monthly_{date}_mosaic_{folder.name}.tif"
        write_raster(
            folder / spec.image_folder / name,
            image,
            nodata=nodata,
            crs=crs,
            origin=origin,
            compression=compression,
            tiled=tiled,
        )
    for file, label in ((spec.area_file, area), (spec.moment_file, moment)):
        write_raster(
            folder / file, label, nodata=label_nodata, crs=crs, origin=origin,
            compression=compression,
        )  # fmt: skip
    return folder


def _noise(
    moment: npt.NDArray[Any], num_dates: int, spec: DatasetSpec, dtype: str, seed: int
) -> npt.NDArray[Any]:
    """(T, C, H, W) of a type: noise around 0.3 that steps to 0.7 from the moment on."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0.2, 0.4, size=(num_dates, len(spec.bands), *moment.shape))
    for date in range(num_dates):
        images[date][:, (moment > 0) & (moment <= date)] += 0.4
    if spec.alpha_band is not None:
        images[:, spec.alpha_band] = 1.0
    return (images * HIGHEST.get(dtype, 1)).astype(dtype)
