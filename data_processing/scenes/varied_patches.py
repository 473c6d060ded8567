"""Patches for training: anywhere in a scene, flipped and turned, with changes inserted on the fly.

The donors are the other scenes of the split, at their own dates and where they do not change
themselves. See docs/differences.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data_processing.rasters.values import PixelScale
from data_processing.scenes.augmentation import FlipRotate
from data_processing.scenes.dataset import SeriesDataset, Transform
from data_processing.scenes.insertion import InsertionRules, draw_insertions, insert_changes
from data_processing.scenes.scene import Scene

__all__ = ["InsertChanges", "vary_patches"]

TRIES = 20  # to find a donor window without change and without gaps

Sample = dict[str, Any]


class InsertChanges:
    """Inserts changes into a patch, with a probability.

    Random numbers follow from torch's global generator, which the loader seeds for each patch.

    Args:
        probability: Of a patch being changed; it then gets one to ``rules.most`` insertions.
        scenes: Of the training split. Those of validation and test are never donors.
        pixel_scale: As of the data set.
        rules: How changes are drawn.
    """

    def __init__(
        self,
        probability: float,
        scenes: Sequence[Scene],
        pixel_scale: PixelScale = "auto",
        rules: InsertionRules | None = None,
    ) -> None:
        self.probability = probability
        self.scenes = list(scenes)
        self.pixel_scale: PixelScale = pixel_scale
        self.rules = rules or InsertionRules()

    def __call__(self, sample: Sample) -> Sample:
        """Change the images and labels of a sample.

        Args:
            sample: An item of ``SeriesDataset``.

        Returns:
            A new dict; pixels whose label was "ignore" keep it.
        """
        if float(torch.rand(1)) >= self.probability:
            return sample
        rng = np.random.default_rng(int(torch.randint(2**62, (1,))))
        base, label = sample["images"].numpy(), sample["moment_label"].numpy()
        side = base.shape[2:]

        def cut(generator: np.random.Generator) -> NDArray[np.float32]:
            return self._donor(generator, sample["aoi"], (int(side[0]), int(side[1])))

        drawn = draw_insertions(rng, base, cut, self.rules, least=1)
        images, moment = insert_changes(base, label, drawn)
        alpha = self.scenes[0].spec.alpha_band
        if alpha is not None:
            images[:, alpha] = base[:, alpha]
        area = np.where(moment < 0, moment, (moment > 0).astype(np.int64))
        unknown = sample["area_label"].numpy() < 0
        return {
            **sample,
            "images": torch.from_numpy(images),
            "moment_label": torch.from_numpy(moment),
            "area_label": torch.from_numpy(np.where(unknown, -1, area)),
        }

    def _donor(
        self, rng: np.random.Generator, name: str, side: tuple[int, int]
    ) -> NDArray[np.float32]:
        """A window of another scene, turned at random, where nothing changes if one is found."""
        others = [scene for scene in self.scenes if scene.name != name] or self.scenes
        for _ in range(TRIES):
            scene = others[rng.integers(len(others))]
            row = int(rng.integers(max(1, scene.height - side[0] + 1)))
            col = int(rng.integers(max(1, scene.width - side[1] + 1)))
            window = scene.read(row, col, *side, self.pixel_scale)
            if window["observed"].all() and not window["moment_label"].any():
                break
        images = window["images"]
        turns = int(rng.integers(4)) if side[0] == side[1] else 2 * int(rng.integers(2))
        images = np.rot90(images, turns, (2, 3))
        return np.ascontiguousarray(images[..., ::-1] if rng.random() < 0.5 else images)


def vary_patches(
    patches: SeriesDataset, *, random_crops: bool, insert_changes: float, augment: bool
) -> SeriesDataset:
    """Have a training split serve other patches every time.

    Args:
        patches: The split; it is changed in place.
        random_crops: Windows anywhere in a scene rather than those of the index; an epoch has as
            many as the index.
        insert_changes: Probability of inserted changes in a patch.
        augment: Flip and turn patches at random.

    Returns:
        The same data set.
    """
    patches.random_crops = random_crops
    transforms: list[Transform] = []
    if insert_changes > 0:
        transforms.append(InsertChanges(insert_changes, patches.scenes, patches.pixel_scale))
    if augment:
        transforms.append(FlipRotate())
    patches.transform = _InTurn(transforms) if transforms else None
    return patches


class _InTurn:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, sample: Sample) -> Sample:
        for transform in self.transforms:
            sample = transform(sample)
        return sample
