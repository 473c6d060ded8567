"""Writing what a network says about a scene: georeferenced maps and an overview picture."""

from __future__ import annotations

import gc
from pathlib import Path

from data_processing.rasters.reading import read_reduced
from data_processing.rasters.writing import write_map
from data_processing.scenes.scene import Scene
from mapping.products.rasters import moment_tags, value_colors
from mapping.scoring import SceneResult
from utils.codes import NO_DATA
from utils.metrics import area_scores, moment_scores
from utils.pictures.figures import draw_overview, shared_stretch, visible_image

__all__ = ["SceneMapWriter"]

PICTURE_SIDE = 1024  # largest side of a panel of the overview, in pixels


class SceneMapWriter:
    """Writes ``<folder>/<scene>/change_area.tif``, ``change_moment.tif`` and ``overview.png``.

    Both maps are uint8 on the grid of the scene's images, 255 = no data. Their tags hold the dates.

    Args:
        folder: Where the scenes' folders go.
        source: What made the maps, for the tags.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self.folder, self.source = folder, source

    def __call__(self, result: SceneResult) -> None:
        """Write one scene's maps; existing ones of the same names are replaced.

        Raises:
            OSError: The folder cannot be written.
        """
        scene = result.scene
        assert isinstance(scene, Scene)
        target = self.folder / scene.name
        tags = {"SOURCE": self.source, "SCENE": scene.name}
        write_map(
            target / "change_area.tif", result.area, scene.info, NO_DATA,
            {**tags, "AREA_0": "unchanged", "AREA_1": "changed"}, value_colors(2),
        )  # fmt: skip
        write_map(
            target / "change_moment.tif", result.moment, scene.info, NO_DATA,
            {**tags, **moment_tags(scene.dates)}, value_colors(len(scene.dates)),
        )  # fmt: skip
        self._overview(result, scene, target / "overview.png")
        gc.collect()  # parts of a figure refer to each other and hold its images until then

    def _overview(self, result: SceneResult, scene: Scene, path: Path) -> None:
        step = -(-max(scene.height, scene.width) // PICTURE_SIDE)
        pair = [read_reduced(scene.image_paths[date], step) for date in (0, -1)]
        alpha = scene.spec.alpha_band
        valid = [mask if alpha is None else mask & (values[alpha] > 0) for values, mask in pair]
        stretch = shared_stretch([values for values, _ in pair], valid)
        first, last = (
            visible_image(values, scene.spec.visible_bands, stretch, mask)
            for (values, _), mask in zip(pair, valid, strict=True)
        )
        area, moment = area_scores(result.area_matrix), moment_scores(result.moment_matrix)
        if not result.moment_matrix.any():
            scores = "no labelled pixels in this scene, so there is no score"
        elif result.moment_matrix[1:].any():
            scores = (
                f"change area: F1 {100 * area['f1']:.1f} %, kappa {100 * area['kappa']:.1f} %; "
                f"change moment: kappa {100 * (moment['kappa'] or 0):.1f} %"
            )
        else:
            scores = (
                "no change in the truth; "
                f"{100 * area['fpr']:.2f} % of the pixels are falsely called changed"
            )
        draw_overview(
            path, first, last, result.moment_label[::step, ::step],
            result.moment[::step, ::step], scene.dates,
            f"{scene.name}, in the layout of {scene.spec.title}", scores,
        )  # fmt: skip
