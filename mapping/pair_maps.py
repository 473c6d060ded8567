"""Writing what CTMA says about a pair: its map as PNG and GeoTIFF, and an overview picture.

The released program writes the PNG.
"""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np

from data_processing.pairs.check import Pair
from data_processing.rasters.reading import read_reduced
from data_processing.rasters.writing import write_map, write_png
from mapping.pair_scoring import PairResult
from utils.codes import NO_DATA
from utils.metrics import area_scores
from utils.pictures.colors import moment_colors, shared_stretch, visible_image
from utils.pictures.pair_figure import draw_pair

__all__ = ["PairMapWriter"]

PICTURE_SIDE = 1024  # largest side of a panel of the overview, in pixels


class PairMapWriter:
    """Writes ``maps/<name>.png``, ``maps/<name>.tif`` and ``overviews/<name>.png``.

    The PNG is 0 unchanged, 255 changed, as the released program writes it; pixels without data are
    0 there. The GeoTIFF, written where the pair's first image is georeferenced, is 0, 1 and 255 for
    no data, on the image's grid.

    Args:
        folder: Of the run.
        source: What made the maps, for the GeoTIFF's tags.
        overviews: Pictures are drawn of so many pairs, the first ones.
    """

    def __init__(self, folder: Path, source: str, overviews: int) -> None:
        self.folder, self.source, self.overviews = folder, source, overviews
        self._drawn = 0

    def __call__(self, result: PairResult) -> None:
        """Write one pair's maps; existing ones of the same names are replaced.

        Raises:
            OSError: The folder cannot be written.
        """
        pair = result.pair
        assert isinstance(pair, Pair)
        changed = np.where(result.area == 1, 255, 0).astype(np.uint8)
        write_png(self.folder / "maps" / f"{pair.name}.png", changed)
        if pair.info.georeferenced:
            colors = {
                value: (int(r), int(g), int(b), 255)
                for value, (r, g, b) in enumerate(moment_colors(2))
            }
            tags = {"SOURCE": self.source, "PAIR": pair.name, "AREA_0": "unchanged",
                    "AREA_1": "changed"}  # fmt: skip
            path = self.folder / "maps" / f"{pair.name}.tif"
            write_map(path, result.area, pair.info, NO_DATA, tags, colors)
        if self._drawn < self.overviews:
            self._drawn += 1
            _draw(self.folder / "overviews" / f"{pair.name}.png", result, pair)
            gc.collect()  # parts of a figure refer to each other and hold its images until then


def _draw(path: Path, result: PairResult, pair: Pair) -> None:
    step = -(-max(pair.height, pair.width) // PICTURE_SIDE)
    images, seen = [], []
    for file in (pair.first, pair.last):
        values, mask = read_reduced(file, step)
        seen.append(mask if pair.alpha is None else mask & (values[pair.alpha] > 0))
        images.append(values[list(pair.bands)])
    stretch = shared_stretch(images, seen)
    first, last = (
        visible_image(image, (0, 1, 2), stretch, mask)
        for image, mask in zip(images, seen, strict=True)
    )
    scores = area_scores(result.matrix)
    if result.matrix[1].any():
        line = (
            f"F1 {100 * scores['f1']:.1f} %, precision {100 * scores['precision']:.1f} %, "
            f"recall {100 * scores['recall']:.1f} %, IoU {100 * scores['iou']:.1f} %"
        )
    else:
        line = (
            "no change in the truth; "
            f"{100 * scores['fpr']:.2f} % of the pixels are falsely called changed"
        )
    label, area = result.area_label[::step, ::step], result.area[::step, ::step]
    draw_pair(path, first, last, label, area, pair.name, line)
