"""CAIM-Net on hundreds of Landsat dates beside COLD, which looks for breaks pixel by pixel.

    python -m pip install pyxccd
    python benchmarks/per_pixel_breaks.py --landsat LANDSAT

``LANDSAT`` holds images/ and, under the same names, cfmask/. COLD (Zhu et al. 2020, PyPI
``pyxccd``) reads all clear observations; CAIM-Net the medians of each quarter, all of them
(``models.long_series``) or six evenly spread, its decision the one of its weights. All on the
series as it is, where nobody knows the truth and only their agreement is counted, and on the same
series with changes inserted (pixels where a step detector sees the series itself change are left
out). Writes benchmarks/results/per_pixel_breaks.csv.
"""

from __future__ import annotations

import datetime
import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.long_series import Changes, interval_days, mapped, score
from benchmarks.measuring import RESULTS
from benchmarks.real_areas import Area, even_dates, filled, landsat_series, picked
from benchmarks.real_sources import rolled
from benchmarks.real_windows import lasting_steps
from data_processing.own_series.composites import combined, periods_of
from data_processing.scenes.insertion import InsertionRules, draw_insertions, insert_changes
from models.long_series import LongSeries
from models.weights.checkpoint import load_checkpoint
from utils.errors import UserError, run_program
from utils.fields import Positive, Seed, WeightsFile
from utils.files import write_csv_rows
from utils.progress import progress, say
from utils.settings import REPOSITORY, read_settings

__all__ = ["Settings", "composites", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    landsat: Path  # holds images/ and cfmask/
    checkpoint: WeightsFile = REPOSITORY / "best_model" / "Pretrained_model_Dynamic.pth"
    side: Positive = 32  # pixels of a tile, as in training
    seed: Seed = 5  # of the inserted changes
    results: Path = RESULTS / "per_pixel_breaks.csv"


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

CHANGES = InsertionRules(
    most=24, side=(3.5, 26.0), shapes=(0.35, 0.35, 0.15, 0.08, 0.07), feathered=0.5,
    least_visible=1.0,
)  # fmt: skip
SCALE = 10000.0  # of COLD's numbers and penalty
PENALTY = 20.0  # that its authors suggest for them
FIRST_BREAK = 100  # change probability in per cent that COLD gives to a break, not to the end
ALL, SOME, COLD = METHODS = ("CAIM-Net, all quarters", "CAIM-Net, six quarters", "COLD")
GREEN, NIR = 2, 4  # bands, from 1, by which COLD leaves out clouds that the mask missed


def composites(area: Area) -> Area:
    """Medians of what is clear in each quarter, gaps filled, dated to the mean of their days."""
    assert area.missing is not None
    values, clear = area.values(), ~area.missing
    number = {int(day): index for index, day in enumerate(area.days)}
    quarters = periods_of([datetime.date.fromordinal(day) for day in number], "quarter")
    parts, gaps, days = [], [], []
    for dates in quarters.values():
        taken = [number[date.toordinal()] for date in dates]
        median, observed = combined(values[taken], clear[taken], "median")
        parts.append(median)
        gaps.append(~observed)
        days.append(int(area.days[taken].mean()))
    return Area(area.name, filled(np.stack(parts), np.stack(gaps)), np.array(days))


def _by_network(area: Area, quarters: Area, flags: Settings, every: bool) -> tuple[Changes, float]:
    """Changes by the network of all quarters or of some, and the offset of its decision."""
    weights = load_checkpoint(flags.checkpoint)
    network: Any = weights.build().eval()
    number = len(quarters.days)
    if every:
        network = LongSeries(network, number)
    else:
        quarters = picked(quarters, even_dates(number, network.num_dates))
    return mapped(network, area, quarters, flags.side), weights.offset


def _by_cold(area: Area) -> Changes:
    """The largest break of each pixel; lead 1 where there is one, −1 where not."""
    try:
        cold = importlib.import_module("pyxccd").cold_detect_flex
    except ImportError as error:
        raise UserError("pyxccd is not installed: python -m pip install pyxccd") from error
    assert area.label is not None
    assert area.missing is not None
    H, W = area.label.shape
    values = np.round(area.values() * SCALE).astype(np.int64)
    lead, day = np.full((H, W), -1.0, np.float32), np.zeros((H, W), np.float32)
    for row in progress(range(H), "COLD"):
        for col in range(W):
            observed = ~area.missing[:, row, col]
            series = np.ascontiguousarray(values[observed, :, row, col])
            quality = np.zeros(len(series), np.int64)
            try:
                segments = cold(area.days[observed], series, quality, PENALTY,
                                tmask_b1_index=GREEN, tmask_b2_index=NIR)  # fmt: skip
            except RuntimeError:
                continue  # too few observations for a model
            breaks = segments[segments["change_prob"] == FIRST_BREAK]
            if len(breaks):
                largest = breaks[np.linalg.norm(breaks["magnitude"], axis=1).argmax()]
                lead[row, col], day[row, col] = 1.0, largest["t_break"]
    return Changes(lead, day, area.label, interval_days(area.days, area.label))


def _inserted(area: Area, seed: int) -> Area:
    """The series with parts of itself, rolled, pasted in from a date on."""
    assert area.missing is not None
    rng = np.random.default_rng(seed)
    images = area.values()
    whole = filled(images, area.missing)

    label = np.zeros(images.shape[2:], np.int64)
    doubtful = lasting_steps(composites(area).images)
    drawn = draw_insertions(rng, images, lambda r: rolled(r, whole), CHANGES)
    images, label = insert_changes(images, label, drawn)
    label[(label == 0) & doubtful] = -1
    return Area("inserted", images.astype(np.float32), area.days, label, area.missing)


def main(arguments: Sequence[str] | None = None) -> None:
    """Map both ways, score what is known, count where they agree."""
    flags = read_settings(Settings, arguments)
    torch.set_num_threads(1)
    area = landsat_series(flags.landsat, clear_share=0.0)
    unlabelled = replace(area, label=np.zeros(area.images.shape[2:], np.int64))
    rows = []
    for data, series in (("as it is", unlabelled), ("inserted", _inserted(area, flags.seed))):
        quarters = composites(series)
        changes: dict[str, tuple[Changes, float]] = {}
        seconds = {}
        for method in METHODS:
            began = time.perf_counter()
            changes[method] = (
                (_by_cold(series), 0.0)
                if method == COLD
                else _by_network(series, quarters, flags, every=method == ALL)
            )
            seconds[method] = round(time.perf_counter() - began, 1)
        changed = {name: one.lead > offset for name, (one, offset) in changes.items()}
        for name, (one, offset) in changes.items():
            both = changed[name] & changed[COLD]
            apart = np.abs(one.day - changes[COLD][0].day)[both]
            rows.append(
                {
                    "data": data, "method": name, "dates": len(series.days), "offset": offset,
                    "changed": round(float(changed[name].mean()), 4),
                    "changed_by_cold_too": round(float(both.mean()), 4),
                    "median_days_from_cold": float(np.median(apart)) if len(apart) else "",
                    "seconds": seconds[name],
                    **(score([one], offset) if data == "inserted" else {}),
                }
            )  # fmt: skip
            say(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
    write_csv_rows(flags.results, rows)


if __name__ == "__main__":
    run_program(main)
