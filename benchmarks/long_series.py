"""Series of more dates than the weights take: areas and dates found, and what a tile costs.

    python benchmarks/long_series.py --series SERIES
    python benchmarks/long_series.py --cost

``SERIES`` holds a folder of 18 to 26 monthly images per area. Changes are inserted into each (the
seed's, other than those of any training; the places may be those that the weights learnt from).
Each is mapped three ways: nine dates evenly spread (``even``), all dates (``all``), and all dates
by a step detector that looks at each pixel alone (``step detector``). Every other area chooses the
offset of a way's decision, the rest is scored. Adds rows to benchmarks/results/long_series.csv.

``--cost`` measures how long a tile of N dates takes beside the same tile of as many dates as the
weights take, N/T times, and how much memory a batch of eight such tiles takes in a process of its
own; it writes benchmarks/results/long_series_cost.json.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.area_scores import blended
from benchmarks.baselines import step_scores
from benchmarks.measuring import (
    RESULTS,
    earlier_rows,
    in_turns,
    report,
    run_program_measured,
    spread,
)
from benchmarks.real_areas import Area, even_dates, filled, picked, spacenet7_series
from data_processing.scenes.insertion import InsertionRules, draw_insertions, insert_changes
from mapping.prediction import Predicts
from models.caim_net import CAIMNet
from models.long_series import LongSeries, dates_needed_later
from models.weights.checkpoint import load_checkpoint
from models.weights.offset_search import OFFSETS
from utils.device import autocast
from utils.errors import UserError, run_program
from utils.fields import Positive, Seed, WeightsFile
from utils.files import write_csv_rows
from utils.progress import progress, say
from utils.settings import REPOSITORY, read_settings

__all__ = ["Changes", "Settings", "inserted", "interval_days", "main", "mapped", "score"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    series: Path | None = None  # unlabelled series, a folder per area
    checkpoint: WeightsFile = REPOSITORY / "best_model" / "Pretrained_model_SpaceNet7.pth"
    side: Positive = 32  # pixels of a tile
    seed: Seed = 11  # of the inserted changes
    results: Path = RESULTS / "long_series.csv"  # gets a row per way
    cost: bool = False  # measure time instead
    lengths: tuple[Positive, ...] = (9, 24, 96)  # dates of the tiles that are timed
    rounds: Positive = 5  # of the timing
    once: Positive | None = None  # map a batch of tiles of so many dates, once, and nothing else


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

Floats = NDArray[np.float32]
BATCH = 8  # tiles, as Predict.py takes them
CHANGES = InsertionRules(most=10)
MONTH = 31  # days


@dataclass(frozen=True)
class Changes:
    """Changes that a way of mapping finds in an area.

    Attributes:
        lead: (H, W), log p of the best interval less log p of "unchanged".
        day: (H, W), the middle of that interval.
        label: (H, W), the true interval, 0 unchanged, −1 unknown.
        true_day: (H, W), its middle.
    """

    lead: Floats
    day: Floats
    label: NDArray[np.int64]
    true_day: Floats


def inserted(rng: np.random.Generator, area: Area, lenders: Sequence[Area]) -> Area:
    """An area with regions of other areas in it, from a date on; the label says from which."""
    images = area.values()
    label = np.zeros(images.shape[2:], np.int64)

    def donor(drawn: np.random.Generator) -> Floats:
        others = [one for one in lenders if one.name != area.name]
        lender = others[drawn.integers(len(others))]
        dates = np.abs(lender.days[None] - area.days[:, None]).argmin(axis=1)
        values = lender.values(dates, (slice(label.shape[0]), slice(label.shape[1])))
        gaps = None if lender.missing is None else lender.missing[dates]
        whole = values if gaps is None else filled(values, gaps)
        return np.rot90(whole, drawn.integers(4), (2, 3)).copy()

    images, label = insert_changes(images, label, draw_insertions(rng, images, donor, CHANGES))
    if area.missing is not None:
        images = np.where(area.missing[:, None], np.float32(0), images)
        label = np.where(area.missing.any(axis=0), -1, label)
    images = images.clip(0, 1)
    images[:, 3] = 1
    return Area(area.name, images, area.days, label)


def interval_days(days: NDArray[np.int64], moment: NDArray[np.int64]) -> Floats:
    """The middle of the interval of each pixel's moment; any day where that is not above 0."""
    middles = (days[:-1] + days[1:]) / 2
    return middles[moment - 1].astype(np.float32)


def changes_of(area: Area, days: NDArray[np.int64], log_prob: NDArray[np.floating[Any]]) -> Changes:
    """Changes in an area by log probabilities (n, H, W) of the intervals between some days."""
    assert area.label is not None
    lead = log_prob[1:] - log_prob[:1]
    return Changes(
        lead.max(axis=0).astype(np.float32),
        interval_days(days, lead.argmax(axis=0) + 1),
        area.label,
        interval_days(area.days, area.label),
    )


def mapped(network: Predicts, area: Area, shown: Area, side: int) -> Changes:
    """Changes in an area by a network that is shown these images of it."""
    prob = blended(network, shown, side).astype(np.float64)
    return changes_of(area, shown.days, np.log(np.maximum(prob, 1)))


def _ways(network: CAIMNet, side: int) -> dict[str, Callable[[Area], Changes]]:
    T = network.num_dates

    def even(area: Area) -> Changes:
        return mapped(network, area, picked(area, even_dates(len(area.days), T)), side)

    def every(area: Area) -> Changes:
        longer: Any = LongSeries(network, len(area.days))
        return mapped(longer, area, area, side)

    def steps(area: Area) -> Changes:
        scores = step_scores(area.images[:, :3].astype(np.float64))
        return changes_of(area, area.days, scores)

    return {"even": even, "all": every, "step detector": steps}


def score(changes: Sequence[Changes], offset: float) -> dict[str, float]:
    """Area F1, mean error of the dates of hits in days, share of them within a month."""
    counts = np.zeros(3)
    errors = [np.zeros(0, np.float32)]
    for one in changes:
        labelled, changed = one.label >= 0, one.label > 0
        positive = (one.lead > offset) & labelled
        hits = positive & changed
        counts += hits.sum(), (positive & ~changed).sum(), (changed & ~positive).sum()
        errors.append(np.abs(one.day - one.true_day)[hits])
    days = np.concatenate(errors)
    hit, false, missed = counts
    return {
        "area_f1": round(float(2 * hit / max(1, 2 * hit + false + missed)), 4),
        "days_off": round(float(days.mean()), 1) if len(days) else float("nan"),
        "within_a_month": round(float((days <= MONTH).mean()), 4) if len(days) else float("nan"),
    }


def _scored(flags: Settings, network: CAIMNet) -> list[dict[str, Any]]:
    assert flags.series is not None
    areas = spacenet7_series(flags.series)
    if len(areas) < 2:
        raise UserError(f"--series: found {len(areas)} areas in {flags.series}, expected two.")
    rng = np.random.default_rng(flags.seed)
    scenes = [inserted(rng, area, areas) for area in areas]
    rows = []
    for way, find in _ways(network, flags.side).items():
        changes = [find(scene) for scene in progress(scenes, way)]
        offset = max(OFFSETS, key=lambda one: score(changes[::2], float(one))["area_f1"])
        for split, part in (("val", changes[::2]), ("test", changes[1::2])):
            rows.append({"dates": way, "split": split, "areas": len(part),
                         "offset": round(float(offset), 2),
                         **score(part, float(offset))})  # fmt: skip
    return rows


def _timed(flags: Settings, network: CAIMNet) -> list[dict[str, Any]]:
    """Seconds of a tile of N dates, and of N/T tiles of T dates, measured in turns."""
    torch.manual_seed(flags.seed)
    rows = []
    for length in flags.lengths:
        longer = LongSeries(network, length)
        tile = torch.rand(1, length, network.in_channels, flags.side, flags.side)
        first = tile[:, : network.num_dates]

        def all_dates(longer: LongSeries = longer, tile: torch.Tensor = tile) -> None:
            with torch.inference_mode(), autocast(torch.device("cpu"), "bfloat16"):
                longer.predict(tile)

        def few_dates(first: torch.Tensor = first) -> None:
            with torch.inference_mode(), autocast(torch.device("cpu"), "bfloat16"):
                network.predict(first)

        times = in_turns({"all": all_dates, "few": few_dates}, flags.rounds)
        windows = longer.windows
        held = zip(windows, dates_needed_later(windows), strict=True)
        _, peak = run_program_measured(
            __file__, "--once", length, "--checkpoint", flags.checkpoint, "--side", flags.side
        )
        alone = float(np.median(times["few"])) * length / network.num_dates
        rows.append({"dates": length, "windows": len(windows),
                     "dates_held": max(len({*dates, *later}) for dates, later in held),
                     "pairs": sum(len(dates) - 1 for dates in windows),
                     "different_pairs": len({pair for one in windows for pair in pairwise(one)}),
                     "images_mb": round(4e-6 * BATCH * tile.numel(), 1),
                     "peak_mb": round(1000 * peak),
                     **spread(times["all"]), "separate_s": round(alone, 5),
                     "ratio": round(float(np.median(times["all"])) / alone, 2)})  # fmt: skip
    return rows


def _map_once(flags: Settings, network: CAIMNet, length: int) -> None:
    tiles = torch.rand(BATCH, length, network.in_channels, flags.side, flags.side)
    with torch.inference_mode(), autocast(torch.device("cpu"), "bfloat16"):
        LongSeries(network, length).predict(tiles)


def main(arguments: Sequence[str] | None = None) -> None:
    """Score the ways of mapping long series, or time them."""
    flags = read_settings(Settings, arguments)
    torch.set_num_threads(1)
    weights = load_checkpoint(flags.checkpoint)
    network: Any = weights.build().eval()
    if flags.once is not None:
        _map_once(flags, network, flags.once)
        return
    if flags.cost:
        facts = {"threads": 1, "precision": "bfloat16", "side": flags.side}
        report("long_series_cost", facts, _timed(flags, network), key=("dates",))
        return
    if flags.series is None:
        raise UserError("--series: found nothing, expected a folder per area; or --cost.")
    rows = _scored(flags, network)
    for row in rows:
        say(", ".join(f"{key} {value}" for key, value in row.items()))
    earlier = earlier_rows(flags.results)
    stamp = {"weights": flags.checkpoint.stem, "seed": flags.seed}
    same = {key: str(value) for key, value in stamp.items()}
    others = [row for row in earlier if not same.items() <= row.items()]
    write_csv_rows(flags.results, [*others, *({**stamp, **row} for row in rows)])


if __name__ == "__main__":
    run_program(main)
