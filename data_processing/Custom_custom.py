"""Step 3 for Custom, one's own data: the dataset that serves patches; as a program, a look at it.

    python data_processing/Custom_custom.py --data-root data --split all

The program checks Images_Custom/ and the index folders, prints scenes, dates, sizes, bands,
value ranges and class balance, and draws one patch to <data root>/Custom_patch.png. It leaves
with exit code 3 and the list of all faults when something is wrong.

Source: one's own images with labels (prepare_custom.py), or with inserted changes
(insert_changes.py). Bands, number of dates, pixel scale and ground sampling distance are the same
for all scenes of a data root and stand in Images_Custom/dataset.json. A band named alpha is 0 where
there is no data; no-data also by the nodata tag, NaN or a mask.
On disk labels are 8-bit; 255 is "ignore" where the file's nodata tag is 255 (−1 in memory).

    Images_Custom/{train,val,test}/Scene01/
        images/2018-01-05.tif …       T rasters; order by the date in the name
        change/bi_change.tif          0 unchanged, 1 changed
        change/multi_change.tif       0 unchanged, k = changed between date k−1 and date k (0…T−1)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.scenes.custom import custom_spec
from data_processing.scenes.inspection import inspect
from data_processing.scenes.spec import Split
from data_processing.scenes.splits import SplitChoice
from utils.errors import run_program
from utils.fields import Positive
from utils.settings import read_settings

if TYPE_CHECKING:
    from data_processing.scenes.dataset import SeriesDataset

__all__ = ["Settings", "custom_dataset", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line; each is also a flag."""

    data_root: Path = Path("data")  # folder that holds Images_Custom/
    split: SplitChoice = "all"  # one split only
    patch_size: Positive = 64  # side in pixels
    stride: Positive = 64  # step in pixels
    picture: Path | None = None  # file to draw; none = <data root>/Custom_patch.png


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def custom_dataset(data_root: Path, split: Split, **options: Any) -> SeriesDataset:
    """Patches of a split of Custom, everything verified.

    Args:
        data_root: Folder that holds Images_Custom/ and the index folders.
        split: train, val or test.
        **options: As for :func:`data_processing.scenes.dataset.open_split`.

    Raises:
        DataError: When the data is missing or at fault, with all faults.
    """
    from data_processing.scenes.dataset import open_split  # brings PyTorch

    return open_split(data_root, custom_spec(data_root), split, **options)


def main() -> None:
    """Check a data root of Custom and show what it holds."""
    settings = read_settings(Settings)
    inspect(
        custom_spec(settings.data_root), settings.data_root, settings.split,
        settings.patch_size, settings.stride, settings.picture,
    )  # fmt: skip


if __name__ == "__main__":
    run_program(main)
