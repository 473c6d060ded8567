"""Step 3 for SpaceNet7: the dataset that serves patches; as a program, a look at a data root.

    python data_processing/SpaceNet7_custom.py --data-root data --split all

The program checks Images_SpaceNet7/ and the index folders, prints scenes, dates, sizes, bands,
value ranges and class balance, and draws one patch to <data root>/SpaceNet7_patch.png. It leaves
with exit code 3 and the list of all faults when something is wrong.

Source and licence: Van Etten et al., SpaceNet 7 / MUDS (CVPR 2021), registry.opendata.aws/spacenet,
CC-BY-SA-4.0. Planet monthly mosaics, about 4.8 m, bands red, green, blue, alpha.
Alpha 0 means no data at that date.
On disk labels are 8-bit; 255 is "ignore" where the file's nodata tag is 255 (−1 in memory).

    Images_SpaceNet7/{train,val,test}/L15-0331E-1257N_1327_3160_13/
        images_masked/global_monthly_2018_01_mosaic_L15-….tif …    9 rasters RGBA, 8-bit
        change/bi_change.tif             0 unchanged, 1 changed
        change/multi_change_last.tif     0 unchanged, k = changed between date k−1 and k (0…8)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.dataset import SeriesDataset, open_split
from data_processing.scenes.inspection import custom_program
from data_processing.scenes.spec import SPACENET7, Split
from utils.errors import run_program

__all__ = ["main", "spacenet7_dataset"]


def spacenet7_dataset(data_root: Path, split: Split, **options: Any) -> SeriesDataset:
    """Patches of a split of SpaceNet7, everything verified.

    Args:
        data_root: Folder that holds Images_SpaceNet7/ and the index folders.
        split: train, val or test.
        **options: As for :func:`data_processing.scenes.dataset.open_split`.

    Raises:
        DataError: When the data is missing or at fault, with all faults.
    """
    return open_split(data_root, SPACENET7, split, **options)


def main() -> None:
    """Check a data root of SpaceNet7 and show what it holds."""
    custom_program(SPACENET7)


if __name__ == "__main__":
    run_program(main)
