"""Step 1 for DynamicEarthNet: write the scene lists Dynamic_Fsplit/F{train,val,test}.npy.

    python data_processing/Dynamic_Fsplit.py --data-root data

Lists the scene folders of Images_Dynamic/{train,val,test}/ inside the data root, sorted.
A second run replaces these lists only and says so. The next step is Dynamic_create_xys.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.spec import DYNAMIC
from data_processing.scenes.splits import fsplit_program
from utils.errors import run_program

__all__ = ["main"]


def main() -> None:
    """Write the scene lists of DynamicEarthNet."""
    fsplit_program(DYNAMIC)


if __name__ == "__main__":
    run_program(main)
