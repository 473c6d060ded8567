"""Is a data root sound? All faults of all scenes at once, and what is remarkable beside them.

    python data_processing/layout_check.py --data-root data --dataset dynamic

The full check goes once through all pixels (seconds for a split); the quick one reads headers
only. Nothing is changed. What the values are is shown by ``Dynamic_custom.py``,
``SpaceNet7_custom.py`` and ``Custom_custom.py``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.check import check_data_root
from data_processing.scenes.custom import dataset_spec
from data_processing.scenes.spec import DatasetName
from data_processing.scenes.splits import SplitChoice, chosen_splits
from utils.errors import run_program
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    data_root: Path = Path("data")  # folder that holds Images_<name>/
    dataset: DatasetName  # which data set
    split: SplitChoice = "all"  # one split only
    quick: bool = False  # headers only, no pixels


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Check a data root and say what was found."""
    settings = read_settings(Settings)
    spec = dataset_spec(settings.dataset, settings.data_root)
    report = check_data_root(
        settings.data_root, spec, chosen_splits(settings.split), full=not settings.quick
    )
    for warning in report.warnings:
        say(f"warning: {warning}")
    report.raise_if_faulty()
    kind = "headers" if settings.quick else "headers and pixels"
    say(f"{settings.data_root / spec.images_root}: {len(report.scenes)} scenes are sound ({kind}).")


if __name__ == "__main__":
    run_program(main)
