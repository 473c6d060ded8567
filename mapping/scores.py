"""Scores of scenes: counts summed to a report, a table on screen, metrics.json with its protocol.

Scenes are series or pairs of images; a pair has two classes, and its moment is its area.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from data_processing.pairs.check import Pair
from data_processing.rasters.values import area_from_moment
from data_processing.scenes.scene import Scene
from mapping.decision import Decision
from mapping.scoring_settings import PairScoring, SeriesScoring
from models.weights.checkpoint import Checkpoint
from utils.device import describe_device
from utils.metrics import Matrix, area_scores, moment_errors, moment_scores

__all__ = [
    "Place",
    "SceneResult",
    "overlap_of",
    "pair_protocol",
    "pair_report",
    "pair_table",
    "series_protocol",
    "series_report",
    "series_table",
]

Place = TypeVar("Place", Scene, Pair)

PAIR_SCORES = (("precision", "precision"), ("recall", "recall"), ("f1", "F1"), ("oa", "OA"),
               ("iou", "IoU"))  # fmt: skip
AREA_SCORES = ("oa", "precision", "recall", "f1", "kappa", "iou", "miou")
MOMENT_SCORES = ("oa", "precision_macro_all", "recall_macro_all", "f1_macro_all", "kappa",
                 "iou_macro_change", "miou")  # fmt: skip


@dataclass
class SceneResult(Generic[Place]):
    """Maps and counts of one scene or pair.

    Attributes:
        scene: The scene or pair.
        moment: (H, W) uint8 predicted change moment, ``NO_DATA`` where unknown.
        moment_label: (H, W) int16 truth, ``IGNORE`` where unknown or not covered.
        area_matrix, moment_matrix: Confusion counts, rows truth.
    """

    scene: Place
    moment: NDArray[np.uint8]
    moment_label: NDArray[np.int16]
    area_matrix: Matrix
    moment_matrix: Matrix

    @property
    def area(self) -> NDArray[np.uint8]:
        """(H, W) uint8 predicted change area 0/1, ``NO_DATA`` where unknown."""
        return area_from_moment(self.moment)

    def let_go_of_maps(self) -> None:
        """Free the maps; the counts stay."""
        self.moment = np.empty((0, 0), np.uint8)
        self.moment_label = np.empty((0, 0), np.int16)


def series_report(results: Sequence[SceneResult[Scene]]) -> dict[str, Any]:
    """Scores of series as fractions.

    Returns:
        area and moment: scores; confusion_matrix of both; scenes: scores per scene.
    """
    area = _sum_of([result.area_matrix for result in results])
    moment = _sum_of([result.moment_matrix for result in results])
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


def pair_report(results: Sequence[SceneResult[Pair]]) -> dict[str, Any]:
    """Scores of pairs as fractions.

    Returns:
        area: scores; confusion_matrix; pairs: scores per pair.
    """
    area = _sum_of([result.area_matrix for result in results])
    return {
        "area": area_scores(area),
        "confusion_matrix": {"rows": "truth", "columns": "prediction", "area": area.tolist()},
        "pairs": {result.scene.name: _pair_row(result.area_matrix) for result in results},
    }


def series_table(report: Mapping[str, Any]) -> str:
    """The scores of series in percent as one small table."""
    if not np.any(report["confusion_matrix"]["moment"]):
        return "No pixel was counted: none has both a label and data at every date. No scores."
    area, moment = report["area"], report["moment"]
    rows = [
        ("", "OA", "precision", "recall", "F1", "kappa", "IoU", "mIoU"),
        ("change area", *(_percent(area[key]) for key in AREA_SCORES)),
        ("change moment", *(_percent(moment[key]) for key in MOMENT_SCORES)),
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


def pair_table(report: Mapping[str, Any]) -> str:
    """The scores of pairs in percent as one small table."""
    if not np.any(report["confusion_matrix"]["area"]):
        return "No pixel was counted: none has both a label and data in both images. No scores."
    head = "".join(f"{caption:>11}" for _, caption in PAIR_SCORES)
    values = "".join(f"{_percent(report['area'][key]):>11}" for key, _ in PAIR_SCORES)
    return f"{'':<12}{head}\n{'change area':<12}{values}\npercent, of the change class"


def series_protocol(
    settings: SeriesScoring,
    weights: Checkpoint,
    device: torch.device,
    decision: Decision,
    provenance: Mapping[str, Any],
) -> dict[str, Any]:
    """The protocol of scored series, for metrics.json.

    Args:
        settings: The Test program's settings.
        weights: The weights that were scored.
        device: Where the network ran.
        decision: Where a pixel counted as changed.
        provenance: How the data were made, as far as they say; empty if they do not.
    """
    full = settings.protocol == "full"
    overlap = overlap_of(settings.overlap, weights)
    return {
        "name": settings.protocol,
        "pixels": "every pixel once" if full else "patches of the index as they are served",
        "overlaps": "weighted mean of the moment probabilities"
        if full
        else "counted as often as served",
        "split": settings.split,
        "patch_size": weights.data["patch_size"],
        **({"overlap": overlap} if full else {"stride": settings.stride}),
        "decision": decision.facts(),
        "invalid_pixels": "left out" if full and settings.ignore_invalid else "counted",
        "pixel_scale": weights.data["pixel_scale"],
        "batch_size": settings.batch_size,
        "precision": settings.precision,
        "averaging": "area: change class; *_macro_all: plain mean over all classes; "
        "*_macro_change: without class 0; 0/0 counts 0; fractions",
        "checkpoint": weights.facts(settings.checkpoint),
        "device": describe_device(device),
        "data_root": str(settings.data_root),
        "dataset": dict(provenance),
    }


def overlap_of(given: int | None, weights: Checkpoint) -> int:
    """Least overlap of patches in pixels: half a patch, as in maps, unless given."""
    return int(weights.data["patch_size"]) // 2 if given is None else given


def pair_protocol(
    settings: PairScoring,
    path: Path,
    weights: Checkpoint,
    device: torch.device,
    decision: Decision,
) -> dict[str, Any]:
    """The protocol of scored pairs, for metrics.json.

    Args:
        settings: The Test program's settings, with the label rule in use.
        path: The weights file.
        weights: The weights that were scored, with the arguments in use.
        device: Where the network ran.
        decision: Where a pixel counted as changed.
    """
    sliding = settings.window_size is not None
    return {
        "name": "sliding window" if sliding else "whole pairs",
        "window_size": settings.window_size,
        "stride": settings.stride if sliding else None,
        "overlaps": "mean of the probabilities" if sliding else None,
        "pixels": "every pixel once; those without data in an image or label are left out",
        "threshold": settings.threshold if settings.threshold is not None else decision.threshold,
        "split": settings.split,
        "label_rule": settings.label_rule,
        "pixel_scale": settings.pixel_scale,
        "batch_size": settings.batch_size,
        "precision": settings.precision,
        "averaging": "change class, one matrix over all pairs; 0/0 counts 0; fractions",
        "checkpoint": weights.facts(path),
        "device": describe_device(device),
        "data_root": str(settings.data_root),
        "dataset": settings.dataset,
    }


def _scene_row(result: SceneResult[Scene]) -> dict[str, Any]:
    area, moment = area_scores(result.area_matrix), moment_scores(result.moment_matrix)
    return {
        "dates": [date.isoformat() for date in result.scene.dates],
        "pixels": int(result.moment_matrix.sum()),
        "area_f1": area["f1"],
        "area_fpr": area["fpr"],
        "moment_f1_macro_all": moment["f1_macro_all"],
        "moment_kappa": moment["kappa"],
    }


def _pair_row(matrix: Matrix) -> dict[str, Any]:
    scores = area_scores(matrix)
    return {"pixels": int(matrix.sum()), **{key: scores[key] for key, _ in PAIR_SCORES}}


def _sum_of(matrices: Sequence[Matrix]) -> Matrix:
    """Sum of confusion matrices."""
    total: Matrix = np.sum(matrices, axis=0, dtype=np.int64)
    return total


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
