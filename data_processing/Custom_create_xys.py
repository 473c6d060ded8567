"""Step 2 for Custom, one's own data: write Custom_xys_64_64/myxys_{train,val,test}.csv.

    python data_processing/Custom_create_xys.py --data-root data --patch-size 64 --stride 64

Reads the scene lists of step 1 (Custom_Fsplit.py) and writes one row X,Y,image_ID per patch:
top row, left column, position of the scene in its list. A second run replaces these files only
and says so.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.custom import custom_spec
from data_processing.scenes.patch_index import index_patches
from data_processing.scenes.splits import SplitChoice
from utils.errors import run_program
from utils.fields import Positive
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line; each is also a flag."""

    data_root: Path = Path("data")  # folder that holds Images_Custom/
    patch_size: Positive = 64  # side in pixels
    stride: Positive = 64  # step in pixels
    split: SplitChoice = "all"  # one split only


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Write the patch index of Custom."""
    settings = read_settings(Settings)
    spec = custom_spec(settings.data_root)
    index_patches(spec, settings.data_root, settings.split, settings.patch_size, settings.stride)


if __name__ == "__main__":
    run_program(main)
