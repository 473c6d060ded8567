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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.inspection import inspect
from data_processing.scenes.spec import SPACENET7, Split
from data_processing.scenes.splits import SplitChoice
from utils.errors import run_program
from utils.fields import Positive
from utils.settings import read_settings

if TYPE_CHECKING:
    from data_processing.scenes.dataset import SeriesDataset

__all__ = ["Settings", "main", "spacenet7_dataset"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line; each is also a flag."""

    data_root: Path = Path("data")  # folder that holds Images_SpaceNet7/
    split: SplitChoice = "all"  # one split only
    patch_size: Positive = 64  # side in pixels
    stride: Positive = 63  # step in pixels
    picture: Path | None = None  # file to draw; none = <data root>/SpaceNet7_patch.png


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def spacenet7_dataset(data_root: Path, split: Split, **options: Any) -> SeriesDataset:
    """Patches of a split of SpaceNet7, everything verified.

    Args:
        data_root: Folder that holds Images_SpaceNet7/ and the index folders.
        split: train, val or test.
        **options: As for :func:`data_processing.scenes.dataset.open_split`.

    Raises:
        DataError: When the data is missing or at fault, with all faults.
    """
    from data_processing.scenes.dataset import open_split  # brings PyTorch

    return open_split(data_root, SPACENET7, split, **options)


def main() -> None:
    """Check a data root of SpaceNet7 and show what it holds."""
    settings = read_settings(Settings)
    inspect(
        SPACENET7, settings.data_root, settings.split, settings.patch_size, settings.stride,
        settings.picture,
    )  # fmt: skip


if __name__ == "__main__":
    run_program(main)
