"""A few labelled scenes: what they give on top of shipped weights, and from nothing.

    python benchmarks/fine_tuning.py --kind pairs --data-root data/floods --output-dir runs/floods
    python benchmarks/fine_tuning.py --kind spacenet7 --data-root data --output-dir runs/few

Trains Train_CTMA.py or Train_SpaceNet7.py on 1, 4 and 16 labelled places, from shipped weights and
anew, all for the same number of steps, and scores places of which none was trained on. No scene is
kept back to choose an epoch: the last weights are scored, by the plain decision. Weights that can
look at the data as they are, are scored before, too (0 places). A row per run goes into
benchmarks/results/fine_tuning.csv; a run that has its row is not made again.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import RESULTS, run_program_measured
from data_processing.rasters.reading import open_raster
from data_processing.scenes.spec import SPACENET7
from data_processing.scenes.splits import find_scenes
from utils.codes import NO_DATA
from utils.errors import UserError, run_program
from utils.fields import Fraction, Positive, Seed, WeightsFile
from utils.files import read_csv_rows, read_json, sha256, write_csv_rows
from utils.progress import say
from utils.settings import read_settings

__all__ = ["KINDS", "Kind", "Settings", "chosen", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    kind: Literal["pairs", "spacenet7"]  # image pairs or series
    data_root: Path  # labelled: train/ and val/ of pairs, or Images_SpaceNet7/
    output_dir: Path  # gets a folder per run
    scenes: tuple[Positive, ...] = (1, 4, 16)  # labelled places to learn from, a run each
    seeds: tuple[Seed, ...] = (1, 2)  # of choice, order and new weights
    steps: Positive = 128  # of every run
    least_changed: Fraction = 0.05  # share of a place that has to have changed to be chosen
    checkpoint: WeightsFile | None = None  # to start from; none = the shipped one of that kind
    results: Path = RESULTS / "fine_tuning.csv"  # gets a row per run


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

ANEW = "anew"
KEY = ("kind", "start", "sha256", "seed", "scenes", "steps")


@dataclass(frozen=True)
class Kind:
    """A kind of data, and how it is trained and scored.

    Attributes:
        train, test: Programs.
        checkpoint: Shipped weights to start from.
        flags: Of the training, beside folder, seed, epochs and what ``repeated`` says.
        anew: Further flags of a network that starts from nothing.
        per_scene: Steps that one place gives in an epoch.
        repeated: Whether an epoch can serve a place several times.
        as_they_are: Whether the weights can be scored before they learn from the places.
    """

    train: str
    test: str
    checkpoint: str
    flags: tuple[Any, ...]
    anew: tuple[Any, ...]
    per_scene: int
    repeated: bool
    as_they_are: bool


KINDS = {
    "pairs": Kind(
        "Train_CTMA.py", "Test_CTMA.py", "Pretrained_model_CTMA.pth",
        ("--patch-size", 128, "--batch-size", 4, "--lr", 1e-3, "--schedule", "cosine"),
        ("--width", 12, "--video-len", 4), 1, True, True,
    ),
    "spacenet7": Kind(
        "Train_SpaceNet7.py", "Test_SpaceNet7.py", "Pretrained_model_Dynamic.pth",
        ("--patch-size", 32, "--stride", 32, "--batch-size", 8, "--recipe", "improved",
         "--insert-changes", 0, "--precision", "bfloat16"),
        ("--width", 32), 2, False, False,
    ),
}  # fmt: skip


def main() -> None:
    """Train and score every run that has no row yet."""
    settings = read_settings(Settings)
    kind = KINDS[settings.kind]
    shipped = settings.checkpoint or Path("best_model") / kind.checkpoint
    rows = read_csv_rows(settings.results) if settings.results.is_file() else []
    runs: list[tuple[Path | None, int, int]] = [(shipped, 0, 0)] if kind.as_they_are else []
    runs += [(s, n, k) for k in settings.seeds for n in settings.scenes for s in (None, shipped)]
    for start, scenes, seed in runs:
        facts = {
            "kind": settings.kind, "start": start.name if start else ANEW,
            "sha256": sha256(start)[:12] if start else "", "seed": seed, "scenes": scenes,
            "steps": settings.steps if scenes else 0,
        }  # fmt: skip
        if any(all(str(facts[key]) == row[key] for key in KEY) for row in rows):
            continue
        row = {**facts, **_run(settings, start, scenes, seed)}
        say(", ".join(f"{name} {value}" for name, value in row.items()))
        rows = [*rows, row]
        write_csv_rows(settings.results, rows)


def _run(settings: Settings, start: Path | None, scenes: int, seed: int) -> dict[str, Any]:
    """Train, unless on no place at all, and score."""
    kind = KINDS[settings.kind]
    folder = settings.output_dir / f"{start.stem if start else ANEW}_{scenes}_{seed}"
    seconds, weights = 0.0, start
    if scenes:
        root = _subset(settings, folder / "data", chosen(settings, scenes, seed))
        repeats = max(settings.scenes) // scenes if kind.repeated else 1
        epochs = max(1, settings.steps // (scenes * kind.per_scene * repeats))
        seconds, _ = run_program_measured(
            kind.train, "--data-root", root, "--output-dir", folder / "train", "--overwrite",
            "--seed", seed, "--epochs", epochs, "--num-workers", 0, "--cache", *kind.flags,
            *(("--repeats", repeats) if kind.repeated else ()),
            *(kind.anew if start is None else ("--checkpoint", start)),
        )  # fmt: skip
        weights = folder / "train/last.pth"
    scored = ("--split", "val") if settings.kind == "pairs" else ()
    run_program_measured(
        kind.test, "--data-root", settings.data_root, "--checkpoint", weights, "--output-dir",
        folder / "test", "--overwrite", "--num-workers", 0, *scored,
    )  # fmt: skip
    report = read_json(folder / "test/metrics.json")
    moment = report.get("moment", {}).get("f1_macro_all")
    return {
        "scored": len(report.get("scenes", report.get("pairs"))),
        "area_f1": round(report["area"]["f1"], 4),
        "moment_f1_macro_all": "" if moment is None else round(moment, 4),
        "training_seconds": round(seconds),
    }


def chosen(settings: Settings, number: int, seed: int) -> list[str]:
    """Names of the places to learn from; the first of them are those of a smaller number.

    Raises:
        UserError: There are not so many with enough changes.
    """
    if settings.kind == "pairs":
        labels = {path.name: path for path in (settings.data_root / "train/label").iterdir()}
    else:
        scenes = find_scenes(settings.data_root, SPACENET7, "train")
        labels = {scene.name: scene / SPACENET7.moment_file for scene in scenes}
    names = [name for name in sorted(labels) if _changed(labels[name]) >= settings.least_changed]
    if len(names) < number:
        raise UserError(
            f"--scenes: found {number}, expected {len(names)} at most, the training places of "
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


def _subset(settings: Settings, root: Path, names: list[str]) -> Path:
    """A data root of links to some places, which stand for training and validation alike."""
    for split in ("train", "val"):
        for name in names:
            if settings.kind == "pairs":
                for part in ("A", "B", "label"):
                    _link(settings.data_root / "train" / part / name, root / split / part / name)
            else:
                images = SPACENET7.images_root
                source = settings.data_root / images / "train" / name
                _link(source, root / images / split / name)
    if settings.kind == "spacenet7":
        for split in ("train", "val"):
            run_program_measured(
                "data_processing/SpaceNet7_Fsplit.py", "--data-root", root, "--split", split
            )
            run_program_measured(
                "data_processing/SpaceNet7_create_xys.py", "--data-root", root, "--patch-size", 32,
                "--stride", 32, "--split", split,
            )  # fmt: skip
    return root


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        os.symlink(source.resolve(), target)


if __name__ == "__main__":
    run_program(main)
