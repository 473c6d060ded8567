"""LEVIR-CD as downloaded, cut into tiles of 256×256 pixels.

    python data_processing/prepare_levir.py LEVIR-CD/ data/LEVIR

Reads <input>/{train,val,test}/{A,B,label}/*.png. Training images are cut with stride 128 (49 tiles
of an image of 1024×1024: 21,805 in all), the others with stride 256 (16 tiles: 1,024 and 2,048),
row by row, into <output>/<split>/<part>/<name>/<name>_<k>.png. Steps as in the released CTMA
program.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.pairs.check import Pair
from data_processing.pairs.files import find_pairs
from data_processing.pairs.spec import LEVIR
from data_processing.pairs.tiling import (
    PARTS,
    TILE,
    Tile,
    new_folder,
    tile_origins,
    write_tiles,
)
from data_processing.scenes.spec import SPLITS
from utils.errors import DataError, run_program
from utils.fields import Loose
from utils.progress import progress, say
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line; each is also a flag, and these two need none."""

    input_dir: Loose[Path]  # folder of the downloaded data set
    output_dir: Loose[Path]  # folder to make; it must not be there yet


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

STRIDES = {"train": 128, "val": 256, "test": 256}


def main(arguments: Sequence[str] | None = None) -> None:
    """Cut all splits.

    Raises:
        DataError: Files are missing or do not go together; all of them are told.
        UserError: The output folder is there already.
    """
    settings = read_settings(Settings, arguments)
    if not settings.input_dir.is_dir():
        find_pairs(settings.input_dir, LEVIR, "train")  # says so
    from data_processing.pairs.dataset import open_pair_split  # brings PyTorch

    splits: dict[str, list[Pair]] = {}
    faults: list[str] = []
    for split in SPLITS:
        try:
            splits[split] = open_pair_split(settings.input_dir, LEVIR, split)
        except DataError as error:
            faults += error.faults
    small = [
        f"{pair.name}: found {pair.height}×{pair.width}, expected at least {TILE}×{TILE}"
        for pairs in splits.values()
        for pair in pairs
        if min(pair.height, pair.width) < TILE
    ]
    if faults or small:
        raise DataError(str(settings.input_dir), [*faults, *small], f"Expected:\n{LEVIR.tree()}")
    facts = {
        "data_set": LEVIR.title, "source": LEVIR.citation, "made_by": "prepare_levir.py",
        "tile": TILE, "strides": STRIDES,
        "images": {split: len(pairs) for split, pairs in splits.items()},
    }  # fmt: skip
    with new_folder(settings.output_dir, facts) as folder:
        for name, pairs in splits.items():
            count = sum(_cut(pair, name, folder) for pair in progress(pairs, name, unit="image"))
            say(f"{name}: {count} tiles of {len(pairs)} images, stride {STRIDES[name]}")


def _cut(pair: Pair, split: str, folder: Path) -> int:
    """Write the tiles of one pair; how many they are."""
    stem = pair.label.stem
    origins = tile_origins(pair.height, pair.width, STRIDES[split])
    tiles = [Tile(split, f"{stem}/{stem}_{k}", row, col) for k, (row, col) in enumerate(origins)]
    files = dict(zip(PARTS, (pair.first, pair.last, pair.label), strict=True))
    write_tiles(files, tiles, folder, whole=True, binary=False)
    return len(tiles)


if __name__ == "__main__":
    run_program(main)
