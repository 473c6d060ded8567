"""Step 2 for DynamicEarthNet: write the patch index Dynamic_xys_64_64/myxys_{train,val,test}.csv.

    python data_processing/Dynamic_create_xys.py --data-root data --patch-size 64 --stride 64

Reads the scene lists of step 1 (Dynamic_Fsplit.py) and writes one row X,Y,image_ID per patch:
top row, left column, position of the scene in its list. A second run replaces these files only
and says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.patch_index import create_xys_program
from data_processing.scenes.spec import DYNAMIC
from utils.errors import run_program

__all__ = ["main"]


def main() -> None:
    """Write the patch index of DynamicEarthNet."""
    create_xys_program(DYNAMIC)


if __name__ == "__main__":
    run_program(main)
