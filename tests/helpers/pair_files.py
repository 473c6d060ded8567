"""Small data sets of image pairs for tests: seeded noise, brighter where the label says changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import numpy.typing as npt

from tests.helpers.scene_files import write_raster

__all__ = ["change_label", "pair_images", "write_pair", "write_pairs", "write_picture"]

Picture = npt.NDArray[Any]


def change_label(height: int, width: int, seed: int = 0) -> Picture:
    """(H, W) uint8, 0 or 255: one rectangle of a quarter of the image."""
    rng = np.random.default_rng(seed)
    row, col = int(rng.integers(height // 2 + 1)), int(rng.integers(width // 2 + 1))
    label = np.zeros((height, width), np.uint8)
    label[row : row + height // 2, col : col + width // 2] = 255
    return label


def pair_images(label: Picture, seed: int = 0) -> tuple[Picture, Picture]:
    """Two (H, W, 3) uint8 images, the second brighter where the label is not 0."""
    rng = np.random.default_rng(seed)
    first, last = (rng.integers(60, 100, (*label.shape, 3)) for _ in range(2))
    last = last + 120 * (label > 0)[..., None]
    return first.astype(np.uint8), last.astype(np.uint8)


def write_picture(path: Path, pixels: Picture) -> Path:
    """Write (H, W) or (H, W, C) by suffix; TIFF gets a georeference."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        write_raster(path, pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
    else:
        iio.imwrite(path, pixels)
    return path


def write_pair(
    folder: Path,
    name: str = "one.png",
    size: tuple[int, int] = (16, 16),
    seed: int = 0,
    label_folder: str = "label",
    label: Picture | None = None,
) -> None:
    """Write A/<name>, B/<name> and <label_folder>/<name>."""
    label = change_label(*size, seed) if label is None else label
    first, last = pair_images(label, seed)
    for part, pixels in (("A", first), ("B", last), (label_folder, label)):
        write_picture(folder / part / name, pixels)


def write_pairs(
    root: Path, splits: Sequence[str] = ("train", "val", "test"), count: int = 2,
    size: tuple[int, int] = (16, 16), suffix: str = ".png",
) -> Path:  # fmt: skip
    """A root of the layout of ``--dataset folder``."""
    for offset, split in enumerate(splits):
        for number in range(count):
            write_pair(root / split, f"{number:03d}{suffix}", size, seed=10 * offset + number)
    return root
