"""Pairs as samples for training and scoring: whole tiles, or windows of them.

Values are scaled, never normalised by ImageNet's mean, as in the released program. Not in the
paper.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from data_processing.pairs.check import TIFF, Pair, PairScale, open_pairs
from data_processing.pairs.files import find_pairs
from data_processing.pairs.spec import PairSpec
from data_processing.rasters.reading import raster_info, read_window
from data_processing.rasters.values import LabelRule, decode_mask, fill_unseen, no_measurement
from data_processing.scenes.patch_index import PatchOrigin
from data_processing.scenes.spec import Split
from utils.codes import IGNORE
from utils.errors import DataError, UserError
from utils.tiling import TileGrid

__all__ = [
    "MULTIPLE",
    "PairDataset",
    "open_pair_split",
    "padded_size",
    "tiles",
    "training_windows",
    "whole",
]

MULTIPLE = 8  # height and width of what the network takes
HELD_FILES = 3  # decoded at the same time: both images and the label of one pair

Sample = dict[str, Any]
Transform = Callable[[Sample], Sample]
Decoded = tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]


class PairDataset(Dataset[Sample]):
    """Windows of pairs in the order of their origins.

    Each item is a dict: ``images`` (2, C, H, W) float32; ``area_label`` (H, W) int64, −1 = ignore;
    ``observed`` (H, W) bool, data in both images; ``aoi`` str, the pair's name; ``origin`` (2,)
    int64, top row and left column; ``scene_index`` int. A window that reaches beyond its image
    repeats the image's last row and column; there the label is ignored.

    Args:
        pairs: As ``open_pairs`` gives them.
        origins: One per window.
        size: Height and width of every window; None takes each pair as a whole, its sides
            rounded up to multiples of 8.
        transform: Called with the whole item, images and label together.
        repeats: How often each window is served.
        cache: Whether decoded files stay in memory.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        origins: Sequence[PatchOrigin],
        size: tuple[int, int] | None = None,
        transform: Transform | None = None,
        repeats: int = 1,
        cache: bool = False,
    ) -> None:
        self.scenes = list(pairs)
        self.origins = list(origins)
        self.size = size
        self.transform = transform
        self.repeats = repeats
        self.cache = cache
        self._held: OrderedDict[Path, Decoded] = OrderedDict()

    def __len__(self) -> int:
        """Windows, each counted as often as it is served."""
        return len(self.origins) * self.repeats

    def __getitem__(self, index: int) -> Sample:
        """The window at a position."""
        if not 0 <= index < len(self):  # ends a loop over the data set
            raise IndexError(f"window {index} of {len(self)}")
        scene_index, row, col = self.origins[index % len(self.origins)]
        pair = self.scenes[scene_index]
        height, width = self.size or padded_size(pair)
        window = (row, col, min(height, pair.height - row), min(width, pair.width - col))
        images, observed = self._images(pair, window)
        label = self._label(pair, window)
        label[~observed] = IGNORE
        missing = ((0, height - window[2]), (0, width - window[3]))
        sample: Sample = {
            "images": torch.from_numpy(np.pad(images, ((0, 0), (0, 0), *missing), mode="edge")),
            "area_label": torch.from_numpy(np.pad(label, missing, constant_values=IGNORE)),
            "observed": torch.from_numpy(np.pad(observed, missing)),
            "aoi": pair.name,
            "origin": torch.tensor([row, col]),
            "scene_index": scene_index,
        }
        return self.transform(sample) if self.transform else sample

    def __getstate__(self) -> dict[str, Any]:
        """State for another process, which decodes for itself."""
        return {**self.__dict__, "_held": OrderedDict()}

    def _images(
        self, pair: Pair, window: tuple[int, int, int, int]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Both images (2, C, h, w), scaled, gaps filled, and where both have data.

        Raises:
            DataError: Values that count as data are no measurements.
        """
        images, masks = [], []
        for path in (pair.first, pair.last):
            stored, data_mask = self._read(path, window)
            if pair.alpha is not None:
                data_mask = data_mask & (stored[pair.alpha] > 0)
            chosen = stored[list(pair.bands)]
            if chosen.dtype.kind in "if" and data_mask.any():
                counted = chosen[:, data_mask]
                fault = no_measurement(float(counted.min()), float(counted.max()))
                if fault:
                    raise DataError(str(path), [fault])
            images.append(chosen.astype(np.float32) / np.float32(pair.divisor))
            masks.append(data_mask)
        filled, observed = np.stack(images), np.stack(masks)
        if not observed.all():
            fill_unseen(filled, observed)
        return filled, np.asarray(observed.all(axis=0))

    def _label(self, pair: Pair, window: tuple[int, int, int, int]) -> npt.NDArray[np.int64]:
        stored, _ = self._read(pair.label, window)
        return decode_mask(
            stored[0], pair.label_info.nodata, pair.label_rule, pair.label_info.inverted
        )

    def _read(self, path: Path, window: tuple[int, int, int, int]) -> Decoded:
        """A window of a file; other files than TIFF can be decoded as a whole only."""
        if path.suffix.lower() in TIFF and not self.cache:
            return read_window(path, *window)
        if path not in self._held:
            info = raster_info(path)
            self._held[path] = read_window(path, 0, 0, info.height, info.width)
            while len(self._held) > HELD_FILES and not self.cache:
                self._held.popitem(last=False)
        stored, data_mask = self._held[path]
        row, col, height, width = window
        part = (slice(row, row + height), slice(col, col + width))
        return stored[(slice(None), *part)], data_mask[part]


def padded_size(pair: Pair) -> tuple[int, int]:
    """Height and width of a pair, rounded up to what the network takes."""
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in (pair.height, pair.width))
    return height, width


def whole(pairs: Sequence[Pair]) -> list[PatchOrigin]:
    """Origins that serve every pair as a whole."""
    return [PatchOrigin(index, 0, 0) for index in range(len(pairs))]


def tiles(pairs: Sequence[Pair], size: int, stride: int) -> list[PatchOrigin]:
    """Origins of square windows that cover every pair, the last ones shifted back to the border.

    Raises:
        UserError: The stride is larger than the window, so that pixels would be left out.
    """
    if stride > size:
        raise UserError(f"--stride: found {stride}, expected no more than the window, {size}.")
    return [
        PatchOrigin(index, row, col)
        for index, pair in enumerate(pairs)
        for row, col in TileGrid(pair.height, pair.width, size, size - stride).origins
    ]


def training_windows(
    pairs: Sequence[Pair], patch_size: int | None, stride: int | None
) -> tuple[list[PatchOrigin], tuple[int, int]]:
    """Origins and the one size of the windows that batches are made of.

    Args:
        pairs: Of a split.
        patch_size: Side of square windows; None takes every pair as a whole.
        stride: Step between windows; None takes the patch size.

    Raises:
        UserError: Pairs taken as a whole differ in size.
    """
    if patch_size is not None:
        return tiles(pairs, patch_size, stride or patch_size), (patch_size, patch_size)
    sizes = Counter(padded_size(pair) for pair in pairs)
    if len(sizes) > 1:
        shown = ", ".join(f"{n} of {h}×{w}" for (h, w), n in sizes.most_common(4))
        raise UserError(
            f"found pairs of several sizes ({shown}), expected one size, since a batch holds "
            "several; give --patch-size, for example 256."
        )
    return whole(pairs), next(iter(sizes))


def open_pair_split(
    data_root: Path,
    spec: PairSpec,
    split: Split,
    *,
    label_rule: LabelRule | None = None,
    bands: tuple[int, ...] | None = None,
    pixel_scale: PairScale = "auto",
    list_file: Path | None = None,
) -> list[Pair]:
    """Find and check the pairs of a split; arguments as of ``find_pairs`` and ``open_pairs``.

    Raises:
        DataError: With all faults.
    """
    files = find_pairs(data_root, spec, split, list_file)
    return open_pairs(files, label_rule or spec.label_rule, bands, pixel_scale)
