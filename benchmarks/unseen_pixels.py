"""Rules that fill a pixel not seen at a date: scores at and around gaps.

    python benchmarks/unseen_pixels.py --data-root data --dataset spacenet7

Cuts gaps of the form of clouds into the scenes of a split, each date by itself, and fills them by
each rule: "carried" (the value of the date before, before the first seen date of that one), "zero"
(0 in all bands) and "stored" (the cloud itself, bright, with alpha 0 where there is alpha). Scores
are told apart by place: "gap" (not seen at some date), "near" (seen at all, no farther than 8
pixels from a gap), "far", and without any gap for comparison. Adds its rows to
benchmarks/results/unseen_pixels.json; docs/differences.md shows them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import Measurement, report
from data_processing.own_series.series import RasterSeries, Window
from data_processing.rasters.values import fill_unseen
from data_processing.scenes.custom import dataset_spec
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import DatasetName, Split
from data_processing.scenes.splits import find_scenes
from mapping.model import Model, load_model
from mapping.prediction import predict_rows
from utils.errors import run_program
from utils.fields import Natural
from utils.metrics import area_scores, moment_scores
from utils.settings import REPOSITORY, read_settings
from utils.tiling import TileGrid

__all__ = ["Settings", "main"]


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    data_root: Path  # folder that holds Images_<name>/
    dataset: DatasetName  # which data set
    split: Split = "test"  # scenes to take
    checkpoint: Path | None = None  # none = the shipped weights
    shares: tuple[float, ...] = (0.1, 0.3)  # of each date that is not seen
    seeds: Natural = 2  # of repeated runs


RULES = ("carried", "zero", "stored")
PLACES = ("gap", "near", "far")
NEAR = 8  # pixels from a gap
CLOUD_SIZE = 6.0  # pixels, of the filter that draws clouds
CLOUD_BRIGHTNESS = 0.8


class Whole(NamedTuple):
    """A series in memory, as much of one as prediction asks for."""

    name: str
    images: NDArray[np.float32]

    def read(self, row: int, col: int, height: int, width: int) -> Window:
        """A window; beyond the images it is filled with edge values."""
        part = self.images[:, :, row : row + height, col : col + width]
        beyond = ((0, height - part.shape[2]), (0, width - part.shape[3]))
        observed = np.pad(np.ones(part.shape[2:], np.bool_), beyond)
        return Window(np.pad(part, ((0, 0), (0, 0), *beyond), mode="edge"), observed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one data set and write its rows."""
    flags = read_settings(Settings, arguments)
    spec = dataset_spec(flags.dataset, flags.data_root)
    shipped = REPOSITORY / f"best_model/Pretrained_model_{spec.name}.pth"
    model = load_model(flags.checkpoint or shipped, "cpu", precision="float32")
    scenes = [
        Scene(folder, spec).read(0, 0, *_size(folder, spec))
        for folder in find_scenes(flags.data_root, spec, flags.split)
    ]
    scenes = [scene for scene in scenes if (scene["moment_label"] > 0).any()]
    rows = [{"rule": "no gaps", "share": 0.0, **_row(_no_gaps(scenes, model))}]
    for share in flags.shares:
        sums = _sums(scenes, model, share, flags.seeds, spec.alpha_band)
        rows += [
            {"rule": rule, "share": share, "place": place, **_row(sums[rule, place])}
            for rule in RULES
            for place in PLACES
        ]
    conditions = {
        "dataset": spec.name,
        "weights": model.path.name,
        "scenes": len(scenes),
        "split": flags.split,
        "seeds": flags.seeds,
        "near_pixels": NEAR,
    }
    measured = [{**conditions, **row} for row in rows]
    report("unseen_pixels", {}, measured, ("dataset",), folder=flags.output_dir)


def _size(folder: Path, spec: Any) -> tuple[int, int]:
    scene = Scene(folder, spec)
    return scene.height, scene.width


def _no_gaps(scenes: Sequence[dict[str, Any]], model: Model) -> NDArray[np.int64]:
    K = model.num_dates
    total = np.zeros((K, K), np.int64)
    for scene in scenes:
        label = scene["moment_label"]
        total += _matrix(label, _moments(scene["images"], model), label >= 0, K)
    return total


def _sums(
    scenes: Sequence[dict[str, Any]], model: Model, share: float, seeds: int, alpha: int | None
) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Confusion matrices of the moment by rule and place, over scenes and seeds."""
    K = model.num_dates
    sums = {(rule, place): np.zeros((K, K), np.int64) for rule in RULES for place in PLACES}
    for number, scene in enumerate(scenes):
        for seed in range(seeds):
            observed = _clouds(scene["images"].shape, share, np.random.default_rng([seed, number]))
            label = scene["moment_label"]
            for rule, images in _filled(scene["images"], observed, alpha):
                moment = _moments(images, model)
                for place, mask in _places(observed).items():
                    sums[rule, place] += _matrix(label, moment, mask & (label >= 0), K)
    return sums


def _clouds(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask (T, H, W) of pixels seen between clouds: smoothed noise above the share's quantile."""
    T, _, H, W = shape
    noise = np.stack([gaussian_filter(rng.normal(size=(H, W)), CLOUD_SIZE) for _ in range(T)])
    limits = np.quantile(noise.reshape(T, -1), share, axis=1)
    observed: NDArray[np.bool_] = noise > limits[:, None, None]
    return observed


def _filled(
    images: NDArray[np.float32], observed: NDArray[np.bool_], alpha: int | None
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The images with their gaps filled by each rule."""
    hidden = ~observed[:, None]
    cloudy = np.where(hidden, np.float32(CLOUD_BRIGHTNESS), images)
    if alpha is not None:
        cloudy[:, alpha] = np.where(observed, images[:, alpha], 0)
    carried = cloudy.copy()
    fill_unseen(carried, observed)
    yield "carried", carried
    yield "zero", np.where(hidden, np.float32(0), images)
    yield "stored", cloudy


def _places(observed: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    gap = ~observed.all(axis=0)
    near = ~gap & (distance_transform_edt(~gap) <= NEAR)
    return {"gap": gap, "near": near, "far": ~gap & ~near}


def _moments(images: NDArray[np.float32], model: Model) -> NDArray[np.uint8]:
    """The change moment (H, W) as Predict.py maps it."""
    H, W = images.shape[2:]
    plan = model.plan(TileGrid(H, W, model.tile_size, model.tile_size // 4), None)
    source = cast(RasterSeries, Whole("scene", images))
    return np.concatenate(
        [rows.moment for rows in predict_rows(model.runner(), source, plan, 0, H)]
    )


def _matrix(label: Any, moment: Any, mask: Any, K: int) -> NDArray[np.int64]:
    cells = label[mask] * K + moment[mask]
    return np.bincount(cells, minlength=K * K).reshape(K, K)


def _row(matrix: NDArray[np.int64]) -> dict[str, Any]:
    changed = np.array(
        [[matrix[0, 0], matrix[0, 1:].sum()], [matrix[1:, 0].sum(), matrix[1:, 1:].sum()]]
    )
    moment = moment_scores(matrix)
    return {
        "pixels": int(matrix.sum()),
        "area_f1": round(area_scores(changed)["f1"], 4),
        "moment_kappa": round(moment["kappa"] or 0.0, 4),
        "moment_f1_macro_all": round(moment["f1_macro_all"] or 0.0, 4),
    }


if __name__ == "__main__":
    run_program(main)
