"""A few validation patches and what was predicted for them through the epochs, as one picture.

The patches with the most changed pixels are chosen during the first validation; their predictions
stay for at most eight epochs, evenly spread over those done so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from utils.pictures.colors import NO_DATA_COLOR, moment_colors, paint_moments, visible_image
from utils.pictures.layout import Legend, Panel, map_figure, save_figure

__all__ = ["EpochMaps"]

NUM_PATCHES = 3
MOST_EPOCHS = 8

Predict = Callable[[Tensor], Tensor]


class EpochMaps:
    """Keeps and draws the predictions of some validation patches.

    Args:
        dataset: The validation patches.
        label_key: Entry of a patch that is the true map.
        num_classes: Classes of the map.
        visible_bands: Positions of red, green and blue; None takes what there is.
    """

    def __init__(
        self,
        dataset: Dataset[dict[str, Any]],
        label_key: str,
        num_classes: int,
        visible_bands: tuple[int, int, int] | None = None,
    ) -> None:
        self.dataset, self.label_key, self.num_classes = dataset, label_key, num_classes
        self.visible_bands = visible_bands
        self.chosen: list[int] = []
        self._most: list[tuple[int, int]] = []  # changed pixels, −index
        self._maps: dict[int, Tensor] = {}  # epoch → (N, H, W) uint8
        self._every = 1

    def choose(self, batch: Mapping[str, Any], first: int) -> None:
        """Note which patches of the first validation change most.

        Args:
            batch: Patches in the order of the data set, on the CPU.
            first: Index of the first one.
        """
        if self.chosen:
            return
        changed = (batch[self.label_key] > 0).flatten(1).sum(dim=1).tolist()
        numbers = [(number, -(first + place)) for place, number in enumerate(changed)]
        self._most = sorted([*self._most, *numbers], reverse=True)[:NUM_PATCHES]

    def add(self, epoch: int, predict: Predict) -> None:
        """Keep the predictions after an epoch.

        Args:
            epoch: From 1.
            predict: Images (N, T, C, H, W) on the CPU → maps (N, H, W).
        """
        if not self.chosen:
            self.chosen = sorted(-index for _, index in self._most)
        if not self.chosen:
            return
        images = default_collate([self.dataset[index]["images"] for index in self.chosen])
        self._maps[epoch] = predict(images).to(torch.uint8).cpu()
        while len(self._thinned()) > MOST_EPOCHS:
            self._every *= 2
        self._maps = {epoch: self._maps[epoch] for epoch in self._thinned()}

    def state(self) -> dict[str, Any]:
        """Chosen patches and their maps, as plain values and tensors."""
        return {"chosen": list(self.chosen), "every": self._every, "maps": dict(self._maps)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            KeyError, ValueError, TypeError: It is none of these patches.
        """
        chosen, every, maps = list(state["chosen"]), int(state["every"]), dict(state["maps"])
        if every < 1 or not all(0 <= index < len(self.dataset) for index in chosen):  # type: ignore[arg-type]
            raise ValueError(f"validation patches {chosen} are not among those at hand")
        if not all(self._is_map(map_, len(chosen)) for map_ in maps.values()):
            raise ValueError("validation maps are none of these patches")
        self.chosen, self._every = chosen, every
        self._maps = {int(epoch): map_ for epoch, map_ in maps.items()}

    def draw(self, path: Path) -> None:
        """Write the picture: a row per patch with images, truth, and predictions by epoch."""
        if not self._maps:
            return
        panels: list[Panel] = []
        for place, index in enumerate(self.chosen):
            sample = self.dataset[index]
            images, label = sample["images"].numpy(), sample[self.label_key].numpy()
            panels += self._images(images)
            panels.append(("Truth", paint_moments(label, self.num_classes)))
            panels += [
                (f"Epoch {epoch}", paint_moments(maps[place].numpy(), self.num_classes))
                for epoch, maps in sorted(self._maps.items())
            ]
        figure = map_figure(
            panels,
            1.5,
            "Predictions for validation patches through the epochs",
            "One row per patch: those with the most changed pixels.",
            [self._legend()],
            columns=3 + len(self._maps),
        )
        save_figure(figure, path)

    def _is_map(self, value: Any, patches: int) -> bool:
        """Whether a value is what ``add`` keeps for so many patches."""
        return (
            isinstance(value, Tensor)
            and value.dtype == torch.uint8
            and value.ndim == 3
            and len(value) == patches
            and bool((value < self.num_classes).all())
        )

    def _thinned(self) -> list[int]:
        """Epochs that stay: multiples of the spacing, the first and the last."""
        epochs = sorted(self._maps)
        return [e for e in epochs if e in (epochs[0], epochs[-1]) or e % self._every == 0]

    def _images(self, images: npt.NDArray[Any]) -> list[Panel]:
        C = images.shape[1]
        bands = self.visible_bands or ((2, 1, 0) if C >= 3 else (0, 0, 0))
        return [
            ("First image", visible_image(images[0], bands)),
            ("Last image", visible_image(images[-1], bands)),
        ]

    def _legend(self) -> Legend:
        colors = moment_colors(self.num_classes)
        names = ["unchanged", *(f"changed in interval {k}" for k in range(1, self.num_classes))]
        if self.num_classes == 2:
            names[1] = "changed"
        entries = [
            (name, tuple(map(int, color))) for name, color in zip(names, colors, strict=True)
        ]
        return ("Map", [*entries, ("no data", NO_DATA_COLOR)])  # type: ignore[list-item]
