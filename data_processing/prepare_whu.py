"""WHU-CD's large scene, cut into tiles of 256×256 pixels, split at random or by columns.

    python data_processing/prepare_whu.py WHU/ data/WHU
    python data_processing/prepare_whu.py WHU/ data/WHU_columns --split columns

Reads <input>/before/before.tif, after/after.tif and "change label/change_label.tif".

Split "random": tiles side by side, filled with 0 beyond the right and lower border, shuffled by a
seed and dealt out 80/10/10 (6,096, 762 and 762 of the scene's 7,620). Split "columns": the left
70 % with stride 128, in training where row and column are below √0.9 of its size, else in
validation; the right 30 % whole, as test/{A,B,label}/whole.png, for a sliding window. Overlapping
tiles there share pixels between training and validation, so that validation scores are too good.

Steps as in the released CTMA program.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.pairs.check import Pair, open_pairs
from data_processing.pairs.files import PairFiles
from data_processing.pairs.spec import WHU
from data_processing.pairs.tiling import (
    PARTS,
    TILE,
    Tile,
    new_folder,
    tile_origins,
    write_tiles,
)
from data_processing.rasters.reading import bound_decoded_blocks, read_window
from data_processing.rasters.writing import write_png
from utils.errors import DataError, run_program
from utils.fields import Loose, Seed
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "column_tiles", "main", "random_tiles"]

SEED = 114514  # of the released split

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line; each is also a flag, and the folders need none."""

    input_dir: Loose[Path]  # folder of the downloaded data set
    output_dir: Loose[Path]  # folder to make; it must not be there yet
    # random = tiles side by side, shuffled; columns = the right 30 % whole for the test
    split: Literal["random", "columns"] = "random"
    seed: Seed = SEED  # of the random split


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

FILES = ("before/before.tif", "after/after.tif", "change label/change_label.tif")
LEFT = 0.7  # of the columns, for training and validation
CORNER = 0.9**0.5  # of rows and of those columns, for training
STRIDE = 128


def main(arguments: Sequence[str] | None = None) -> None:
    """Check the scene, cut it.

    Raises:
        DataError: Files are missing or do not go together.
        UserError: The output folder is there already.
    """
    settings = read_settings(Settings, arguments)
    scene = _scene(settings.input_dir)
    files = dict(zip(PARTS, (scene.first, scene.last, scene.label), strict=True))
    if settings.split == "random":
        tiles = random_tiles(scene.height, scene.width, settings.seed)
    else:
        tiles = column_tiles(scene.height, scene.width)
    counts = Counter(tile.split for tile in tiles)
    facts = {
        "data_set": WHU.title, "source": WHU.citation, "made_by": "prepare_whu.py", "tile": TILE,
        "split": settings.split, "tiles": dict(counts), "size": [scene.height, scene.width],
        **({"seed": settings.seed} if settings.split == "random" else {"stride": STRIDE}),
    }  # fmt: skip
    with new_folder(settings.output_dir, facts) as folder:
        write_tiles(files, tiles, folder, whole=False, binary=True)
        if settings.split == "columns":
            _write_right_part(scene, files, folder)
            say("note: overlapping tiles share pixels between training and validation")
        listed = ", ".join(f"{split} {count}" for split, count in counts.items())
        say(f"tiles: {listed}")


def random_tiles(height: int, width: int, seed: int = SEED) -> list[Tile]:
    """Tiles side by side, dealt out to the splits by a shuffle; named by a counter per split."""
    origins = [(row, col) for row in range(0, height, TILE) for col in range(0, width, TILE)]
    order = list(range(len(origins)))
    random.Random(seed).shuffle(order)
    train, val = int(0.8 * len(order)), int(0.1 * len(order))
    parts = {
        "train": order[:train],
        "val": order[train : train + val],
        "test": order[train + val :],
    }
    tiles = [
        Tile(split, str(number), *origins[index])
        for split, chosen in parts.items()
        for number, index in enumerate(chosen)
    ]
    return sorted(tiles, key=lambda tile: (tile.row, tile.col))  # in the order of reading


def column_tiles(height: int, width: int) -> list[Tile]:
    """Overlapping tiles of the left part; named by a counter per split."""
    left = _left(width)
    counters: Counter[str] = Counter()
    tiles = []
    for row, col in tile_origins(height, left, STRIDE):
        inside = row < CORNER * height and col < CORNER * left
        split = "train" if inside else "val"
        tiles.append(Tile(split, str(counters[split]), row, col))
        counters[split] += 1
    return tiles


def _left(width: int) -> int:
    return int(LEFT * width)


def _scene(folder: Path) -> Pair:
    """The scene's three files, checked."""
    bound_decoded_blocks()
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            str(folder), [f"{name}: missing" for name in missing],
            f"Expected the three files {', '.join(FILES)} of {WHU.title}.",
        )  # fmt: skip
    (scene,) = open_pairs([PairFiles("scene", *(folder / name for name in FILES))], "nonzero")
    return scene


def _write_right_part(scene: Pair, files: dict[str, Path], folder: Path) -> None:
    """The test image, whole."""
    left = _left(scene.width)
    for part, path in files.items():
        pixels, _ = read_window(path, 0, left, scene.height, scene.width - left)
        if part == PARTS[2]:
            pixels = np.where(pixels[:1] != 0, 255, 0)
        write_png(folder / "test" / part / "whole.png", pixels.astype(np.uint8))
    say(f"test: one image of {scene.height}×{scene.width - left}, for --window-size 256")


if __name__ == "__main__":
    run_program(main)
