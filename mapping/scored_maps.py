"""Maps of scored scenes and pairs as files, and overview pictures of images, truth and maps."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from data_processing.pairs.check import Pair
from data_processing.rasters.reading import read_reduced
from data_processing.rasters.writing import write_map, write_png
from data_processing.scenes.scene import Scene
from mapping.decision import Choice, probability_of
from mapping.products.rasters import moment_tags, value_colors
from mapping.products.styles import area_style, map_styles, write_styles
from mapping.report.grid import PictureGrid
from mapping.scores import SceneResult
from models.weights.checkpoint import Checkpoint
from models.weights.probability import LeadCounts, calibration_error, reliability
from utils.codes import NO_DATA
from utils.files import write_json
from utils.metrics import area_scores, moment_scores
from utils.pictures.colors import Pixels, shared_stretch, visible_image
from utils.pictures.figures import overview_figure, pair_figure, reliability_figure
from utils.pictures.layout import save_figure

__all__ = ["write_pair_maps", "write_reliability", "write_scene_maps"]

PICTURE_SIDE = 1024  # largest side of a panel of the overview, in pixels
AREA_TAGS = {"AREA_0": "unchanged", "AREA_1": "changed"}
_LEADS = np.linspace(-12, 12, 481)
OWN = (_LEADS, 1 / (1 + np.exp(-_LEADS)))  # probability of two classes by the network itself


def write_scene_maps(folder: Path, result: SceneResult[Scene], source: Mapping[str, str]) -> None:
    """Write ``<folder>/<scene>/change_area.tif``, ``change_moment.tif`` and ``overview.png``.

    Both maps are uint8 on the grid of the scene's images, 255 = no data. Their tags hold the dates,
    styles for QGIS and GDAL lie beside them.
    Existing files of the same names are replaced.

    Args:
        folder: Where the scenes' folders go.
        result: Of a scene, with its maps.
        source: Tags of what made the maps.

    Raises:
        OSError: The folder cannot be written.
    """
    scene = result.scene
    target = folder / scene.name
    tags = {**source, "SCENE": scene.name}
    write_map(
        target / "change_area.tif", result.area, scene.info, NO_DATA, {**tags, **AREA_TAGS},
        value_colors(2),
    )  # fmt: skip
    write_map(
        target / "change_moment.tif", result.moment, scene.info, NO_DATA,
        {**tags, **moment_tags(scene.dates)}, value_colors(len(scene.dates)),
    )  # fmt: skip
    write_styles(target, map_styles(scene.dates))
    step = _step(scene)
    ends = (scene.image_paths[0], scene.image_paths[-1])
    first, last = _pictures(ends, step, scene.spec.visible_bands, scene.spec.alpha_band)
    figure = overview_figure(
        first, last, result.moment_label[::step, ::step], result.moment[::step, ::step],
        scene.dates, f"{scene.name}, in the layout of {scene.spec.title}", _scene_line(result),
        _metres_per_pixel(scene),
    )  # fmt: skip
    _save(figure, target / "overview.png")


def write_pair_maps(
    folder: Path, result: SceneResult[Pair], source: Mapping[str, str], draw: bool
) -> None:
    """Write ``maps/<name>.png``, ``maps/<name>.tif`` and, if asked, ``overviews/<name>.png``.

    The PNG is 0 unchanged, 255 changed, as the released program writes it; pixels without data are
    0 there. The GeoTIFF, written where the pair's first image is georeferenced, is 0, 1 and 255 for
    no data, on the image's grid. Existing files of the same names are replaced.

    Args:
        folder: Of the run.
        result: Of a pair, with its map.
        source: Tags of what made the maps, for the GeoTIFF.
        draw: Whether the overview is drawn.

    Raises:
        OSError: The folder cannot be written.
    """
    pair, area = result.scene, result.area
    changed = np.where(area == 1, 255, 0).astype(np.uint8)
    write_png(folder / "maps" / f"{pair.name}.png", changed)
    if pair.info.georeferenced:
        tags = {**source, "PAIR": pair.name, **AREA_TAGS}
        path = folder / "maps" / f"{pair.name}.tif"
        write_map(path, area, pair.info, NO_DATA, tags, value_colors(2))
        write_styles(path.parent, {pair.name: area_style()})
    if draw:
        step = _step(pair)
        first, last = _pictures((pair.first, pair.last), step, pair.bands, pair.alpha)
        figure = pair_figure(
            first, last, result.moment_label[::step, ::step], area[::step, ::step], pair.name,
            _pair_line(result), _metres_per_pixel(pair),
        )  # fmt: skip
        _save(figure, folder / "overviews" / f"{pair.name}.png")


def write_reliability(
    folder: Path,
    leads: LeadCounts,
    weights: Checkpoint,
    choice: Choice,
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """Write reliability.png, and reliability.json, from which convert.py makes a probability.

    Args:
        folder: Of the run.
        leads: Pixels by their lead.
        weights: That were scored; what they carry is not shown with the plain decision.
        choice: Of the decision.
        protocol: Of the scores.

    Returns:
        ``calibration`` for metrics.json: the error of the weights' probability on these scenes, and
        what it was when it was stored; nothing without one.

    Raises:
        OSError: The folder cannot be written.
    """
    facts = {key: protocol[key] for key in ("checkpoint", "split", "dataset")}
    write_json(folder / "reliability.json", {**facts, "halves": leads.as_json()})
    lines = {"network's own, p / (p + p of unchanged)": reliability(OWN, leads.all)}
    calibration, error = probability_of(weights, choice, "Test"), None
    if calibration is not None:
        curve = (calibration.leads, calibration.values)
        error = calibration_error(curve, leads.all)
        lines[f"calibrated, {100 * error:.1f} % off on average"] = reliability(curve, leads.all)
    title = f"{facts['checkpoint']['file']}, {facts['split']} scenes"
    _save(reliability_figure(lines, title), folder / "reliability.png")
    if calibration is None or not leads.all.any():
        return {}
    return {"calibration": {"error_here": error, **calibration.facts()}}


def _save(figure: Figure, path: Path) -> None:
    save_figure(figure, path)
    del figure
    gc.collect()  # parts of a figure refer to each other and hold its images until then


def _step(place: Scene | Pair) -> int:
    """Every how many pixels are drawn."""
    return -(-max(place.height, place.width) // PICTURE_SIDE)


def _metres_per_pixel(place: Scene | Pair) -> float | None:
    """Ground width of a pixel of the overview; None where it is not known."""
    grid = PictureGrid(place.info, PICTURE_SIDE)
    return grid.metres_per_pixel if grid.upright else None


def _pictures(
    files: Sequence[Path], step: int, bands: Sequence[int], alpha: int | None
) -> list[Pixels]:
    """Images as the eye would see them, with one stretch; white where there is no data."""
    images: list[NDArray[np.generic]] = []
    valid: list[NDArray[np.bool_]] = []
    for file in files:
        values, mask = read_reduced(file, step)
        valid.append(mask if alpha is None else mask & (values[alpha] > 0))
        images.append(values[list(bands)])
    stretch = shared_stretch(images, valid)
    return [
        visible_image(image, (0, 1, 2), stretch, mask)
        for image, mask in zip(images, valid, strict=True)
    ]


def _scene_line(result: SceneResult[Scene]) -> str:
    """The scores of a scene in a line."""
    if not result.moment_matrix.any():
        return "no labelled pixels in this scene, so there is no score"
    area, moment = area_scores(result.area_matrix), moment_scores(result.moment_matrix)
    if not result.moment_matrix[1:].any():
        return _false_alarms(area["fpr"])
    return (
        f"change area: F1 {100 * area['f1']:.1f} %, kappa {100 * area['kappa']:.1f} %; "
        f"change moment: kappa {100 * (moment['kappa'] or 0):.1f} %"
    )


def _pair_line(result: SceneResult[Pair]) -> str:
    """The scores of a pair in a line."""
    scores = area_scores(result.area_matrix)
    if not result.area_matrix[1].any():
        return _false_alarms(scores["fpr"])
    return (
        f"F1 {100 * scores['f1']:.1f} %, precision {100 * scores['precision']:.1f} %, "
        f"recall {100 * scores['recall']:.1f} %, IoU {100 * scores['iou']:.1f} %"
    )


def _false_alarms(rate: float) -> str:
    return f"no change in the truth; {100 * rate:.2f} % of the pixels are falsely called changed"
