"""Step 3 for DynamicEarthNet: the dataset that serves patches; as a program, a look at a data root.

    python data_processing/Dynamic_custom.py --data-root data --split all

The program checks Images_Dynamic/ and the index folders, prints scenes, dates, sizes, bands,
value ranges and class balance, and draws one patch to <data root>/Dynamic_patch.png. It leaves
with exit code 3 and the list of all faults when something is wrong.

Source and licence: Toker et al., DynamicEarthNet (CVPR 2022), mediatum.ub.tum.de/1650201,
CC-BY-SA-4.0. PlanetFusion images, 3 m, bands blue, green, red, near infrared.
Alpha: none; no-data by the nodata tag or NaN.
On disk labels are 8-bit; 255 is "ignore" where the file's nodata tag is 255 (−1 in memory).

    Images_Dynamic/{train,val,test}/Scene01/
        train_images/2018_01.tif …    6 rasters of 4 bands; order by the date in the name
        change/bi_change.tif          0 unchanged, 1 changed
        change/multi_change.tif       0 unchanged, k = changed between date k−1 and date k (0…5)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.inspection import inspect
from data_processing.scenes.spec import DYNAMIC, Split
from data_processing.scenes.splits import SplitChoice
from utils.errors import run_program
from utils.fields import Positive
from utils.settings import read_settings

if TYPE_CHECKING:
    from data_processing.scenes.dataset import SeriesDataset

__all__ = ["Settings", "dynamic_dataset", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line; each is also a flag."""

    data_root: Path = Path("data")  # folder that holds Images_Dynamic/
    split: SplitChoice = "all"  # one split only
    patch_size: Positive = 64  # side in pixels
    stride: Positive = 64  # step in pixels
    picture: Path | None = None  # file to draw; none = <data root>/Dynamic_patch.png


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def dynamic_dataset(data_root: Path, split: Split, **options: Any) -> SeriesDataset:
    """Patches of a split of DynamicEarthNet, everything verified.

    Args:
        data_root: Folder that holds Images_Dynamic/ and the index folders.
        split: train, val or test.
        **options: As for :func:`data_processing.scenes.dataset.open_split`.

    Raises:
        DataError: When the data is missing or at fault, with all faults.
    """
    from data_processing.scenes.dataset import open_split  # brings PyTorch

    return open_split(data_root, DYNAMIC, split, **options)


def main() -> None:
    """Check a data root of DynamicEarthNet and show what it holds."""
    settings = read_settings(Settings)
    inspect(
        DYNAMIC, settings.data_root, settings.split, settings.patch_size, settings.stride,
        settings.picture,
    )  # fmt: skip


if __name__ == "__main__":
    run_program(main)
