"""From a network and a split to change maps of whole scenes and their scores.

Patches come in the data set's order, scene after scene. In the full protocol the fused moment
probabilities of overlapping patches are blended, and every pixel is decided and counted once;
in the released protocol each patch is decided and counted as it is served.

Protocols: docs/data.md.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mapping.blending import Blend, decide
from mapping.prediction import Predicts, TileRunner
from models import moment_label_from_prob
from models.weights.checkpoint import Checkpoint
from utils.batches import Batches
from utils.codes import IGNORE, NO_DATA
from utils.device import Precision, describe_device
from utils.errors import UserError
from utils.files import write_json
from utils.metrics import ConfusionMatrix, Matrix, area_scores, moment_errors, moment_scores
from utils.progress import progress, say
from utils.tiling import TileGrid

__all__ = ["SceneLike", "SceneResult", "score_scenes", "score_table", "write_scores"]


class SceneLike(Protocol):
    """What scoring needs to know of a scene."""

    name: str
    height: int
    width: int
    dates: Sequence[datetime.date]


@dataclass
class SceneResult:
    """Maps and counts of one scene.

    Attributes:
        scene: The scene.
        moment: (H, W) uint8 predicted change moment, ``NO_DATA`` where unknown.
        moment_label: (H, W) int64 truth, ``IGNORE`` where unknown or not covered.
        area_matrix, moment_matrix: Confusion counts, rows truth.
    """

    scene: SceneLike
    moment: NDArray[np.uint8]
    moment_label: NDArray[np.int64]
    area_matrix: Matrix
    moment_matrix: Matrix

    @property
    def area(self) -> NDArray[np.uint8]:
        """(H, W) uint8 predicted change area 0/1, ``NO_DATA`` where unknown."""
        changed = (self.moment > 0).astype(np.uint8)
        area: NDArray[np.uint8] = np.where(self.moment == NO_DATA, NO_DATA, changed)
        return area.astype(np.uint8)


class _Canvas:
    """Collects the patches of one scene."""

    def __init__(
        self, scene: SceneLike, prob: torch.Tensor, overlap: int, counted_once: bool, blank: bool
    ) -> None:
        H, W = scene.height, scene.width
        num_dates, side = prob.shape[0], prob.shape[-1]
        self.scene, self.blank = scene, blank
        grid = TileGrid(H, W, side, overlap) if counted_once else None
        self.blend = None if grid is None else Blend(grid, num_dates, 0, H)
        self.moment = torch.full((H, W), NO_DATA, dtype=torch.uint8)
        self.covered = torch.zeros(H, W, dtype=torch.bool)
        self.unseen = torch.zeros(H, W, dtype=torch.bool)
        self.moment_label = torch.full((H, W), IGNORE, dtype=torch.int64)
        self.area_label = torch.full((H, W), IGNORE, dtype=torch.int64)
        self.area_matrix = ConfusionMatrix(2)
        self.moment_matrix = ConfusionMatrix(num_dates)

    def add(self, patch: dict[str, torch.Tensor]) -> None:
        """Lay one patch (T, h, w) down; the part beyond the raster is cut off."""
        row, col = patch["origin"].tolist()
        h = min(patch["observed"].shape[0], self.scene.height - row)
        w = min(patch["observed"].shape[1], self.scene.width - col)
        there = (slice(row, row + h), slice(col, col + w))
        if self.blend is not None:
            self.blend.add(row, col, patch["moment_prob"].numpy())
        else:
            predicted = moment_label_from_prob(patch["moment_prob"][None, :, :h, :w])[0]
            self.moment[there] = predicted.to(torch.uint8)
            self._count(predicted, patch["moment_label"][:h, :w], patch["area_label"][:h, :w])
        self.covered[there] = True
        self.unseen[there] = ~patch["observed"][:h, :w]
        self.moment_label[there] = patch["moment_label"][:h, :w]
        self.area_label[there] = patch["area_label"][:h, :w]

    def finish(self) -> SceneResult:
        """Decide every pixel and count it, if that has not been done patch by patch."""
        if self.blend is not None:
            predicted = torch.from_numpy(decide(self.blend.take(self.scene.height))).long()
            self._count(predicted, self.moment_label, self.area_label)
            self.moment = torch.where(self.covered, predicted, NO_DATA).to(torch.uint8)
        if self.blank:
            self.moment = torch.where(self.unseen, NO_DATA, self.moment).to(torch.uint8)
        return SceneResult(
            self.scene,
            self.moment.numpy(),
            self.moment_label.numpy(),
            self.area_matrix.matrix(),
            self.moment_matrix.matrix(),
        )

    def _count(
        self, predicted: torch.Tensor, moment_label: torch.Tensor, area_label: torch.Tensor
    ) -> None:
        self.moment_matrix.update(moment_label, predicted)
        self.area_matrix.update(area_label, (predicted > 0).long())


def score_scenes(
    network: nn.Module,
    batches: Batches,
    scenes: Sequence[SceneLike],
    on_scene: Callable[[SceneResult], None],
    *,
    precision: Precision = "float32",
    counted_once: bool = True,
    blank_unseen: bool = True,
    overlap: int = 0,
) -> dict[str, Any]:
    """Run the network over a split and score it; memory holds one scene's maps at a time.

    Args:
        network: In eval mode on the device of the batches, with ``predict``.
        batches: Patches in scene order, with keys images, labels, observed, origin, scene_index.
        scenes: The scenes that ``scene_index`` counts through.
        on_scene: Called with each finished scene, to write its maps.
        precision: Of the network's heavy part.
        counted_once: Full protocol (blend overlaps, count each pixel once), or released.
        blank_unseen: Pixels without data at some date become ``NO_DATA`` in the maps.
        overlap: Least overlap of the patches in pixels, for the weights of the full protocol.

    Returns:
        area, moment: scores as fractions; confusion_matrix of both; scenes: scores per scene.
    """
    results: list[SceneResult] = []
    canvas: _Canvas | None = None
    open_scene = -1
    mixes_batch = bool(getattr(network, "mixes_batch", False))
    runner = TileRunner(cast(Predicts, network), batches.device, precision, mixes_batch)

    def close() -> None:
        if canvas is not None:
            results.append(canvas.finish())
            on_scene(results[-1])
            # maps are written; keep only the counts
            results[-1].moment = np.empty((0, 0), np.uint8)
            results[-1].moment_label = np.empty((0, 0), np.int64)

    for batch in progress(batches.epoch(0), "scoring", len(batches), "batch"):
        moment_prob, finished = runner.start(batch["images"])
        runner.wait(finished)
        for i, scene_index in enumerate(batch["scene_index"].tolist()):
            if scene_index != open_scene:
                close()
                if any(result.scene is scenes[scene_index] for result in results):
                    raise UserError(
                        f"scoring: found patches of {scenes[scene_index].name} after those of "
                        "another scene, expected all patches of a scene together; sort the index "
                        "by image_ID, or make it anew with create_xys."
                    )
                open_scene = scene_index
                scene, prob = scenes[scene_index], moment_prob[i]
                canvas = _Canvas(scene, prob, overlap, counted_once, blank_unseen)
            assert canvas is not None
            keys = ("origin", "observed", "moment_label", "area_label")
            canvas.add({"moment_prob": moment_prob[i], **{k: batch[k][i] for k in keys}})
    close()
    return _report(results)


def score_table(report: dict[str, Any]) -> str:
    """The scores in percent as one small table."""
    if not np.any(report["confusion_matrix"]["moment"]):
        return "No pixel was counted: none has both a label and data at every date. No scores."
    area, moment = report["area"], report["moment"]
    rows = [
        ("", "OA", "precision", "recall", "F1", "kappa", "IoU", "mIoU"),
        (
            "change area",
            *(
                _percent(area[k])
                for k in ("oa", "precision", "recall", "f1", "kappa", "iou", "miou")
            ),
        ),
        (
            "change moment",
            *(
                _percent(moment[k])
                for k in (
                    "oa",
                    "precision_macro_all",
                    "recall_macro_all",
                    "f1_macro_all",
                    "kappa",
                    "iou_macro_change",
                    "miou",
                )
            ),
        ),
    ]
    lines = ["".join(f"{cell:>{16 if i == 0 else 11}}" for i, cell in enumerate(r)) for r in rows]
    steps, days = moment["mae_steps"], moment["mae_days"]
    error = "none changed in both" if steps is None else f"{steps:.2f} steps, {days:.0f} days"
    return "\n".join(
        [
            *lines,
            "percent; area: change class; moment: mean over all classes, IoU over change classes",
            f"moment F1 over change classes {_percent(moment['f1_macro_change'])}; "
            f"moment error where both changed: {error}",
        ]
    )


def write_scores(
    path: Path,
    report: dict[str, Any],
    settings: Any,
    weights: Checkpoint,
    device: torch.device,
    provenance: dict[str, Any],
) -> None:
    """Write metrics.json: the scores, and the protocol that they were taken by.

    Args:
        path: The file.
        report: What ``score_scenes`` returned.
        settings: The Test program's settings.
        weights: The weights that were scored.
        device: Where the network ran.
        provenance: How the data were made, as far as they say; empty if they do not.
    """
    full = settings.protocol == "full"
    protocol = {
        "name": settings.protocol,
        "pixels": "every pixel once" if full else "patches of the index as they are served",
        "overlaps": "weighted mean of the moment probabilities"
        if full
        else "counted as often as served",
        "split": settings.split,
        "patch_size": weights.data["patch_size"],
        **({"overlap": settings.overlap} if full else {"stride": settings.stride}),
        "invalid_pixels": "left out" if full and settings.ignore_invalid else "counted",
        "pixel_scale": weights.data["pixel_scale"],
        "batch_size": settings.batch_size,
        "precision": settings.precision,
        "averaging": "area: change class; *_macro_all: plain mean over all classes; "
        "*_macro_change: without class 0; 0/0 counts 0; fractions",
        "checkpoint": weights.facts(settings.checkpoint),
        "device": describe_device(device),
        "data_root": str(settings.data_root),
        "dataset": provenance,
    }
    write_json(path, {**report, "protocol": protocol})
    if "note" in provenance:
        say(f"note: {provenance['note']}")


def _report(results: list[SceneResult]) -> dict[str, Any]:
    if not results:
        raise UserError("scoring: found no patches, expected at least one scene in this split.")
    area = _sum_of([r.area_matrix for r in results])
    moment = _sum_of([r.moment_matrix for r in results])
    days = moment_errors([r.moment_matrix for r in results], [r.scene.dates for r in results])
    return {
        "area": area_scores(area),
        "moment": {**moment_scores(moment), "mae_days": days},
        "confusion_matrix": {
            "rows": "truth",
            "columns": "prediction",
            "area": area.tolist(),
            "moment": moment.tolist(),
        },
        "scenes": {result.scene.name: _scene_row(result) for result in results},
    }


def _scene_row(result: SceneResult) -> dict[str, Any]:
    area, moment = area_scores(result.area_matrix), moment_scores(result.moment_matrix)
    return {
        "dates": [date.isoformat() for date in result.scene.dates],
        "pixels": int(result.moment_matrix.sum()),
        "area_f1": area["f1"],
        "area_fpr": area["fpr"],
        "moment_f1_macro_all": moment["f1_macro_all"],
        "moment_kappa": moment["kappa"],
    }


def _sum_of(matrices: Sequence[Matrix]) -> Matrix:
    """Sum of confusion matrices."""
    total: Matrix = np.sum(matrices, axis=0, dtype=np.int64)
    return total


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
