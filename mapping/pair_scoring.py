"""From CTMA and a set of image pairs to change maps of whole pairs and their scores.

Windows come pair after pair; where they overlap, probabilities are averaged. Then every pixel is
decided and counted once, in one confusion matrix over all pairs.

Source: the released program's evaluation and its sliding window; metrics as there, and IoU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.weights.checkpoint import Checkpoint
from utils.batches import Batches, to_device
from utils.codes import IGNORE, NO_DATA
from utils.device import Precision, autocast, describe_device
from utils.errors import UserError
from utils.files import write_json
from utils.metrics import ConfusionMatrix, Matrix, area_scores
from utils.progress import progress

__all__ = ["PairLike", "PairResult", "pair_table", "score_pairs", "write_pair_scores"]

SHOWN = (("precision", "precision"), ("recall", "recall"), ("f1", "F1"), ("oa", "OA"),
         ("iou", "IoU"))  # fmt: skip


class PairLike(Protocol):
    """What scoring needs to know of a pair."""

    @property
    def name(self) -> str:
        """What results are called."""
        ...

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...


@dataclass
class PairResult:
    """Map and counts of one pair.

    Attributes:
        pair: The pair.
        area: (H, W) uint8 predicted change area 0/1, ``NO_DATA`` where an image has no data.
        area_label: (H, W) int64 truth, ``IGNORE`` where unknown.
        matrix: Confusion counts, rows truth.
    """

    pair: PairLike
    area: NDArray[np.uint8]
    area_label: NDArray[np.int64]
    matrix: Matrix


class _Canvas:
    """Collects the windows of one pair."""

    def __init__(self, pair: PairLike) -> None:
        H, W = pair.height, pair.width
        self.pair = pair
        self.prob = torch.zeros(H, W)
        self.visits = torch.zeros(H, W, dtype=torch.int16)
        self.observed = torch.zeros(H, W, dtype=torch.bool)
        self.label = torch.full((H, W), IGNORE, dtype=torch.int8)

    def add(self, prob: Tensor, window: Mapping[str, Tensor]) -> None:
        """Lay one window (h, w) down; the part beyond the pair is cut off."""
        row, col = window["origin"].tolist()
        h = min(prob.shape[0], self.pair.height - row)
        w = min(prob.shape[1], self.pair.width - col)
        there = (slice(row, row + h), slice(col, col + w))
        self.prob[there] += prob[:h, :w]
        self.visits[there] += 1
        self.observed[there] = window["observed"][:h, :w]
        self.label[there] = window["area_label"][:h, :w].to(torch.int8)

    def finish(self, threshold: float) -> PairResult:
        """Decide and count every pixel."""
        if not self.visits.all():
            raise ValueError(f"{self.pair.name}: some pixels lie in no window.")
        changed = (self.prob / self.visits > threshold).to(torch.uint8)
        matrix = ConfusionMatrix(2)
        matrix.update(self.label, changed)
        area = torch.where(self.observed, changed, NO_DATA).to(torch.uint8)
        return PairResult(
            self.pair, area.numpy(), self.label.to(torch.int64).numpy(), matrix.matrix()
        )


def score_pairs(
    network: nn.Module,
    batches: Batches,
    pairs: Sequence[PairLike],
    on_pair: Callable[[PairResult], None] | None,
    *,
    precision: Precision = "float32",
    threshold: float = 0.5,
) -> dict[str, Any]:
    """Run the network over pairs and score them; memory holds one pair's map at a time.

    Args:
        network: In eval mode on the device of the batches, with ``predict``.
        batches: Windows in the order of the pairs, with keys images, area_label, observed, origin,
            scene_index.
        pairs: The pairs that ``scene_index`` counts through.
        on_pair: Called with each finished pair, to write its map; None writes nothing.
        precision: Of the network's heavy part.
        threshold: Probability above which a pixel is changed.

    Returns:
        area: scores as fractions; confusion_matrix; pairs: scores per pair.

    Raises:
        UserError: There is no pair.
    """
    matrices: dict[str, Matrix] = {}
    canvas: _Canvas | None = None
    open_pair = -1

    def close() -> None:
        if canvas is not None:
            result = canvas.finish(threshold)
            matrices[result.pair.name] = result.matrix
            if on_pair is not None:
                on_pair(result)

    for cpu_batch in progress(batches.epoch(0), "scoring", len(batches), "batch"):
        batch = to_device(cpu_batch, batches.device)
        with autocast(batches.device, precision):
            changed = network.predict(batch["images"]).area_prob[:, 1].float().cpu()  # type: ignore[operator]
        for i, index in enumerate(cpu_batch["scene_index"].tolist()):
            if index != open_pair:
                close()
                open_pair, canvas = index, _Canvas(pairs[index])
            assert canvas is not None
            keys = ("origin", "observed", "area_label")
            canvas.add(changed[i], {key: cpu_batch[key][i] for key in keys})
    close()
    if not matrices:
        raise UserError("scoring: found no pairs, expected at least one in this subset.")
    total: Matrix = np.sum(list(matrices.values()), axis=0, dtype=np.int64)
    return {
        "area": area_scores(total),
        "confusion_matrix": {"rows": "truth", "columns": "prediction", "area": total.tolist()},
        "pairs": {name: _pair_row(matrix) for name, matrix in matrices.items()},
    }


def pair_table(report: Mapping[str, Any]) -> str:
    """The scores in percent as one small table."""
    if not np.any(report["confusion_matrix"]["area"]):
        return "No pixel was counted: none has both a label and data in both images. No scores."
    head = "".join(f"{caption:>11}" for _, caption in SHOWN)
    values = "".join(f"{100 * report['area'][key]:>11.2f}" for key, _ in SHOWN)
    return f"{'':<12}{head}\n{'change area':<12}{values}\npercent, of the change class"


def write_pair_scores(
    path: Path,
    report: Mapping[str, Any],
    settings: Any,
    weights: Checkpoint,
    device: torch.device,
) -> None:
    """Write metrics.json: the scores, and the protocol that they were taken by.

    Args:
        path: The file.
        report: What ``score_pairs`` returned.
        settings: The Test program's settings.
        weights: The weights that were scored, with the arguments in use.
        device: Where the network ran.
    """
    sliding = settings.window_size is not None
    protocol = {
        "name": "sliding window" if sliding else "whole pairs",
        "window_size": settings.window_size,
        "stride": settings.stride if sliding else None,
        "overlaps": "mean of the probabilities" if sliding else None,
        "pixels": "every pixel once; those without data in an image or label are left out",
        "threshold": settings.threshold,
        "subset": settings.subset,
        "label_rule": settings.label_rule,
        "pixel_scale": settings.pixel_scale,
        "batch_size": settings.batch_size,
        "precision": settings.precision,
        "averaging": "change class, one matrix over all pairs; 0/0 counts 0; fractions",
        "checkpoint": weights.facts(settings.checkpoint),
        "device": describe_device(device),
        "data_root": str(settings.data_root),
        "dataset": settings.dataset,
    }
    write_json(path, {**report, "protocol": protocol})


def _pair_row(matrix: Matrix) -> dict[str, Any]:
    scores = area_scores(matrix)
    return {"pixels": int(matrix.sum()), **{key: scores[key] for key, _ in SHOWN}}
