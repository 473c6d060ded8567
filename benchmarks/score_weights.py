"""Scores of weights on any folders of labelled scenes, both decisions, a row each into a CSV file.

    python benchmarks/score_weights.py --checkpoint best_model/Pretrained_model_SpaceNet7.pth \\
        --run shipped --data "test=data/Images_SpaceNet7/test" --val data/Images_SpaceNet7/val

Whole scenes, tiles overlapping by half, blended, bfloat16: what Test_*.py scores, several folders
at once. With ``--val``, how often pixels of a given score have really changed is learnt there
(isotonic regression), and the expected calibration error of that probability is given for every
folder. Rows are added to benchmarks/results/weights.csv; those of the same run are replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.area_scores import at_offset, blended
from benchmarks.measuring import RESULTS, earlier_rows
from benchmarks.real_areas import Area, read_scenes
from data_processing.scenes.spec import DYNAMIC, SPACENET7
from models.weights.checkpoint import Checkpoint, load_checkpoint
from models.weights.offset_search import OffsetSearch, lead_of
from utils.errors import run_program
from utils.fields import WeightsFile
from utils.files import sha256, write_csv_rows
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Evidence", "Settings", "calibration_error", "look_at", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    checkpoint: WeightsFile  # weights to score
    run: str  # what the rows call them
    data: tuple[str, ...]  # NAME=FOLDER of labelled scenes, one or more
    val: Path | None = None  # scenes that the probability is learnt on
    results: Path = RESULTS / "weights.csv"  # gets the rows


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

BINS = 15  # of equal width, of the calibration error
SIDE = 32  # of tiles, where a file does not tell


class Evidence:
    """Probabilities that weights give the labelled pixels of some scenes.

    Attributes:
        search: Counts at every offset.
        lead: Of each pixel.
        changed: Whether it has changed.
    """

    def __init__(self, weights: Checkpoint, areas: Sequence[Area]) -> None:
        network: Any = weights.build()
        side = int(weights.data.get("patch_size", SIDE))
        self.search = OffsetSearch(int(weights.arguments.get("num_dates", 2)))
        leads, changed = [], []
        for area in areas:
            assert area.label is not None
            prob, labelled = blended(network, area, side), area.label >= 0
            self.search.add(prob, area.label)
            leads.append(lead_of(prob[:, labelled]))
            changed.append(area.label[labelled] > 0)
        self.lead = np.concatenate(leads)
        self.changed = np.concatenate(changed)


def calibration_error(prob: NDArray[np.floating[Any]], changed: NDArray[np.bool_]) -> float:
    """Expected calibration error: how far shares of changed pixels are from their probability."""
    place = np.minimum((prob * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    said = np.bincount(place, prob, BINS)
    true = np.bincount(place, changed, BINS)
    return float(np.abs(said - true).sum() / max(1, count.sum()))


def look_at(folder: Path, num_dates: int) -> list[Area]:
    """The scenes of a folder, in the layout that goes with the number of dates."""
    return read_scenes(folder, SPACENET7 if num_dates == SPACENET7.num_dates else DYNAMIC)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score and write the rows."""
    flags = read_settings(Settings, arguments)
    weights = load_checkpoint(flags.checkpoint)
    num_dates = int(weights.arguments["num_dates"])
    learnt = None
    if flags.val:
        evidence = Evidence(weights, look_at(flags.val, num_dates))
        learnt = IsotonicRegression(out_of_bounds="clip").fit(evidence.lead, evidence.changed)
    rows = []
    for given in flags.data:
        name, folder = given.split("=", 1)
        evidence = Evidence(weights, look_at(Path(folder), num_dates))
        error = (
            ""
            if learnt is None
            else calibration_error(learnt.predict(evidence.lead), evidence.changed)
        )
        for decision, offset in (("plain", 0.0), ("calibrated", weights.offset)):
            scores = at_offset(evidence.search, offset)
            rows.append(
                {
                    "run": flags.run, "sha256": sha256(flags.checkpoint)[:12], "data": name,
                    "pixels": len(evidence.lead), "decision": decision, "offset": offset,
                    **{key: _rounded(value) for key, value in scores.items()},
                    "calibration_error": _rounded(error),
                }
            )  # fmt: skip
            say(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
    others = [row for row in earlier_rows(flags.results) if row["run"] != flags.run]
    write_csv_rows(flags.results, [*others, *rows])


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    run_program(main)
