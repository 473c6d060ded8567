"""Is a data root sound? All faults of all scenes at once, and what is remarkable beside them.

    python data_processing/layout_check.py --data-root data --dataset dynamic

The full check goes once through all pixels (seconds for a split); the quick one reads headers
only. Nothing is changed. What the values are is shown by ``Dynamic_custom.py`` and
``SpaceNet7_custom.py``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.check import check_data_root
from data_processing.scenes.spec import DATASET_NAMES, spec_by_name
from data_processing.scenes.splits import REPOSITORY, add_split_flag, chosen_splits
from utils.errors import run_program
from utils.progress import say

__all__ = ["main"]


def main() -> None:
    """Check a data root and say what was found."""
    parser = argparse.ArgumentParser(
        description="Check a data root; all faults are listed at once.", allow_abbrev=False
    )
    parser.add_argument("--data-root", type=Path, default=REPOSITORY / "data")
    parser.add_argument("--dataset", choices=DATASET_NAMES, required=True)
    add_split_flag(parser)
    parser.add_argument("--quick", action="store_true", help="headers only, no pixels")
    flags = parser.parse_args()
    spec = spec_by_name(flags.dataset)
    report = check_data_root(
        flags.data_root, spec, chosen_splits(flags.split), full=not flags.quick
    )
    for warning in report.warnings:
        say(f"warning: {warning}")
    report.raise_if_faulty()
    kind = "headers" if flags.quick else "headers and pixels"
    say(f"{flags.data_root / spec.images_root}: {len(report.scenes)} scenes are sound ({kind}).")


if __name__ == "__main__":
    run_program(main)
