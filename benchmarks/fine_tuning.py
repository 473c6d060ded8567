"""A few labelled pairs: what they give on top of shipped weights, and from nothing.

    python benchmarks/fine_tuning.py --data-root data/flood_pairs --output-dir runs/floods

Trains Train_CTMA.py on 1, 4 and 16 labelled pairs, from shipped weights and anew, all for the same
number of steps, and scores pairs of another place (val/). No pair is kept back to choose an epoch:
the last weights are scored. The shipped weights are scored as they are, too (0 pairs). A row per
run goes into benchmarks/results/fine_tuning.csv; a run that has its row is not made again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import RESULTS, earlier_rows, run_program_measured
from data_processing.pairs.files import FIRST, LAST
from data_processing.rasters.reading import open_raster
from utils.codes import NO_DATA
from utils.errors import UserError, run_program
from utils.fields import Fraction, Positive, Seed, WeightsFile
from utils.files import read_json, sha256, write_csv_rows
from utils.progress import say
from utils.settings import read_settings

__all__ = ["ANEW", "Run", "Settings", "chosen", "compare_starts", "link", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    data_root: Path  # labelled pairs: train/ to learn from, val/ to be scored on
    output_dir: Path  # gets a folder per run
    scenes: tuple[Positive, ...] = (1, 4, 16)  # pairs to learn from, a run each
    seeds: tuple[Seed, ...] = (1, 2)  # of choice, order and new weights
    steps: Positive = 96  # of every run
    least_changed: Fraction = 0.05  # share of a pair that has to have changed to be chosen
    checkpoint: WeightsFile = Path("best_model/Pretrained_model_CTMA.pth")  # to start from
    results: Path = RESULTS / "fine_tuning.csv"  # gets a row per run


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

ANEW = "anew"
Run = tuple[Path | None, int, int]
FLAGS = ("--patch-size", 128, "--batch-size", 4, "--lr", 1e-3, "--schedule", "cosine")
SAME_SIZE = ("--width", 12, "--video-len", 4)  # of a new network, about as large as the shipped one


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and score every run that has no row yet."""
    settings = read_settings(Settings, arguments)
    shipped = settings.checkpoint
    runs: list[Run] = [(shipped, 0, 0)]
    runs += [(s, n, k) for k in settings.seeds for n in settings.scenes for s in (None, shipped)]
    compare_starts(settings.results, runs, settings.steps, lambda *run: _run(settings, *run))


def compare_starts(
    results: Path,
    runs: Sequence[Run],
    steps: int,
    run: Callable[[Path | None, int, int], dict[str, Any]],
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Every run that has no row yet.

    Args:
        results: Gets a row per run.
        runs: Weights to start from (None: from nothing), number of labelled scenes, seed.
        steps: Of every run but those on no scenes at all, which score the weights as they are.
        run: Gives a run's scores.
        settings: What else a training is told apart by.
    """
    rows = earlier_rows(results)
    for start, scenes, seed in runs:
        facts = {
            "start": start.name if start else ANEW, "sha256": sha256(start)[:12] if start else "",
            "seed": seed, "scenes": scenes, "steps": steps if scenes else 0,
            **{name: value if scenes else "" for name, value in settings.items()},
        }  # fmt: skip
        own = {name: str(value) for name, value in facts.items() if name != "sha256"}
        if any(own.items() <= row.items() for row in rows):
            continue
        row = {**facts, **run(start, scenes, seed)}
        say(", ".join(f"{name} {value}" for name, value in row.items()))
        rows = [*rows, row]
        write_csv_rows(results, rows)


def _run(settings: Settings, start: Path | None, scenes: int, seed: int) -> dict[str, Any]:
    """Train, unless on nothing at all, and score."""
    folder = settings.output_dir / f"{start.stem if start else ANEW}_{scenes}_{seed}"
    seconds, weights = 0.0, start
    common = ("--num-workers", 0, "--overwrite")
    if scenes:
        root = _subset(settings.data_root, folder / "data", chosen(settings, scenes, seed))
        repeats = max(settings.scenes) // scenes  # so that every epoch has as many steps
        epochs = max(1, settings.steps // (scenes * repeats))
        seconds, _ = run_program_measured(
            "Train_CTMA.py", *common, *FLAGS, "--data-root", root, "--output-dir", folder / "train",
            "--seed", seed, "--epochs", epochs, "--repeats", repeats, "--cache",
            *(SAME_SIZE if start is None else ("--checkpoint", start)),
        )  # fmt: skip
        weights = folder / "train/last.pth"
    run_program_measured(
        "Test_CTMA.py", *common, "--data-root", settings.data_root, "--checkpoint", weights,
        "--split", "val", "--output-dir", folder / "test",
    )  # fmt: skip
    report = read_json(folder / "test/metrics.json")
    scores = {key: round(report["area"][key], 4) for key in ("f1", "precision", "recall")}
    return {
        "scored": len(report["pairs"]),
        **{f"area_{key}": value for key, value in scores.items()},
        "training_seconds": round(seconds),
    }


def chosen(settings: Settings, number: int, seed: int) -> list[str]:
    """Names of the pairs to learn from; the first of them are those of a smaller number.

    Raises:
        UserError: There are not so many with enough changes.
    """
    labels = sorted((settings.data_root / "train/label").iterdir())
    names = [path.name for path in labels if _changed(path) >= settings.least_changed]
    if len(names) < number:
        raise UserError(
            f"--scenes: found {number}, expected {len(names)} at most, the training pairs of "
            f"which at least {100 * settings.least_changed:g} % changed."
        )
    order = np.random.default_rng(seed).permutation(len(names))[:number]
    return [names[place] for place in order]


def _changed(label: Path) -> float:
    """Share of a label's pixels that have changed."""
    with open_raster(label) as raster:
        values = raster.read(1)
    nothing = (0,) if set(np.unique(values)) <= {0, 255} else (0, NO_DATA)
    return float(np.isin(values, nothing, invert=True).mean())


def _subset(data_root: Path, root: Path, names: Sequence[str]) -> Path:
    """A data root of links to some pairs, which stand for training and validation alike."""
    for name in names:
        for part in (FIRST, LAST, "label"):
            for split in ("train", "val"):
                link(data_root / "train" / part / name, root / split / part / name)
    return root


def link(path: Path, target: Path) -> None:
    """A link to a file or folder, with the folders above it, where there is none yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.symlink(path.resolve(), target)


if __name__ == "__main__":
    run_program(main)
