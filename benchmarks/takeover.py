"""Few scenes of one's own: weights that start anew against weights for other dates and bands.

    python benchmarks/takeover.py --data-root data --output-dir runs/takeover

Trains Train_Custom.py on a data root of Custom twice for every number of epochs, once from nothing
and once from --checkpoint, whose tensors are taken over as far as they fit, and scores the test
scenes with Test_Custom.py. All else is the same. Writes a row per run into
benchmarks/results/takeover.csv; rows of other runs stay.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import RESULTS, earlier_rows, run_program_measured
from data_processing.scenes.custom import custom_spec
from data_processing.scenes.splits import find_scenes
from utils.errors import run_program
from utils.fields import PatchSide, Positive, Seed, WeightsFile, Width
from utils.files import read_json, write_csv_rows
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    data_root: Path  # folder that holds Images_Custom/
    output_dir: Path  # gets a folder per run
    # weights for other dates or bands
    checkpoint: WeightsFile = Path("best_model/Pretrained_model_Dynamic.pth")
    epochs: tuple[Positive, ...] = (2, 8)  # passes over the training patches, a run each
    seeds: tuple[Seed, ...] = (1,)  # of order, crops, insertions and new weights
    patch_size: PatchSide = 32  # side in pixels; the index must be there, with as large a stride
    batch_size: Positive = 8  # patches per step
    width: Width = 32  # of networks that start anew: that of the checkpoint
    results: Path = RESULTS / "takeover.csv"  # gets a row per run


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

KEY = ("start", "seed", "epochs", "dates", "bands", "train_scenes")


def main() -> None:
    """Train and score every pair of runs."""
    settings = read_settings(Settings)
    rows = earlier_rows(settings.results)
    for epochs in settings.epochs:
        for seed in settings.seeds:
            for start in ("anew", settings.checkpoint.name):
                row = scores_of(start, seed, epochs, settings)
                say(", ".join(f"{name} {value}" for name, value in row.items()))
                same = [tuple(str(old[name]) for name in KEY) for old in rows]
                mine = tuple(str(row[name]) for name in KEY)
                rows = [old for old, key in zip(rows, same, strict=True) if key != mine] + [row]
                write_csv_rows(settings.results, rows)


def scores_of(start: str, seed: int, epochs: int, settings: Settings) -> dict[str, Any]:
    """Train once and score the test scenes; facts and scores as a row."""
    folder = settings.output_dir / f"{Path(start).stem}_{epochs}_{seed}"
    common = ("--data-root", settings.data_root, "--overwrite", "--num-workers", 0)
    side = settings.patch_size
    checkpoint = () if start == "anew" else ("--checkpoint", settings.checkpoint)
    seconds, _ = run_program_measured(
        "Train_Custom.py", *common, "--output-dir", folder / "train", "--seed", seed,
        "--epochs", epochs, "--patch-size", side, "--stride", side, "--batch-size",
        settings.batch_size, "--width", settings.width, "--precision", "bfloat16", "--cache",
        *checkpoint,
    )  # fmt: skip
    run_program_measured(
        "Test_Custom.py", *common, "--output-dir", folder / "test",
        "--checkpoint", folder / "train/best.pth",
    )  # fmt: skip
    report = read_json(folder / "test/metrics.json")
    spec = custom_spec(settings.data_root)
    return {
        "start": start, "seed": seed, "epochs": epochs, "dates": spec.num_dates,
        "bands": " ".join(spec.bands),
        "train_scenes": len(find_scenes(settings.data_root, spec, "train")),
        "test_scenes": len(report["scenes"]),
        "area_f1": round(report["area"]["f1"], 4),
        "moment_f1_macro_all": round(report["moment"]["f1_macro_all"], 4),
        "moment_kappa": round(report["moment"]["kappa"], 4),
        "mae_days": report["moment"]["mae_days"] and round(report["moment"]["mae_days"], 1),
        "training_seconds": round(seconds),
    }  # fmt: skip


if __name__ == "__main__":
    run_program(main)
