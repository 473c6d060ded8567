"""Step 1 for Custom, one's own data: write the scene lists Custom_Fsplit/F{train,val,test}.npy.

    python data_processing/Custom_Fsplit.py --data-root data

Lists the scene folders of Images_Custom/{train,val,test}/ inside the data root, sorted.
A second run replaces these lists only and says so. The next step is Custom_create_xys.py.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.custom import custom_spec
from data_processing.scenes.splits import SplitChoice, list_scenes
from utils.errors import run_program
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line; each is also a flag."""

    data_root: Path = Path("data")  # folder that holds Images_Custom/
    split: SplitChoice = "all"  # one split only


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Write the scene lists of Custom."""
    settings = read_settings(Settings)
    list_scenes(custom_spec(settings.data_root), settings.data_root, settings.split)


if __name__ == "__main__":
    run_program(main)
