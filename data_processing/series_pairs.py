"""The first and the last date of every series, as a folder of image pairs.

    python data_processing/series_pairs.py --dataset dynamic --data-root data --output-dir pairs

Reads the processed layout of any of the data sets and writes, per scene,
<output>/<split>/{A,B,label}/<scene>.tif: the visible bands of the first date, those of the last
date, and the change area (255 = not known). Then CTMA can be trained on the scenes that CAIM-Net is
trained on: Train_CTMA.py --dataset folder.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.pairs.files import FIRST, LAST
from data_processing.pairs.tiling import new_folder
from data_processing.rasters.reading import read_window
from data_processing.rasters.writing import write_image, write_map
from data_processing.scenes.check import require_sound
from data_processing.scenes.custom import dataset_spec
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import SPLITS, DatasetName
from data_processing.scenes.splits import find_scenes
from utils.codes import NO_DATA
from utils.errors import run_program
from utils.progress import progress, say
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line; each is also a flag."""

    dataset: DatasetName  # which data set
    data_root: Path  # folder that holds Images_<name>/
    output_dir: Path  # it must not be there yet


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pairs of all splits that are there.

    Raises:
        DataError: Scenes are missing or at fault.
        UserError: The output folder is there already.
    """
    settings = read_settings(Settings, arguments)
    spec = dataset_spec(settings.dataset, settings.data_root)
    root = settings.data_root / spec.images_root
    splits = [split for split in SPLITS if (root / split).is_dir()] or list(SPLITS)
    folders = {split: find_scenes(settings.data_root, spec, split) for split in splits}
    facts = {
        "made_by": "series_pairs.py", "data_set": spec.title, "dates": "first and last",
        "bands": ["red", "green", "blue"],
        "scenes": {split: len(scenes) for split, scenes in folders.items()},
    }  # fmt: skip
    with new_folder(settings.output_dir, facts) as output:
        for split, scenes in folders.items():
            require_sound(settings.data_root, spec, scenes)
            for folder in progress(scenes, split, unit="scene"):
                write_scene_pair(Scene(folder, spec), output / split)
            say(f"{split}: {len(scenes)} pairs")


def write_scene_pair(scene: Scene, folder: Path) -> None:
    """Write A, B and label of one scene."""
    height, width = scene.height, scene.width
    for part, path in ((FIRST, scene.image_paths[0]), (LAST, scene.image_paths[-1])):
        stored, valid = read_window(path, 0, 0, height, width)
        alpha = scene.spec.alpha_band
        if alpha is not None:
            valid &= stored[alpha] > 0
        bands = np.where(valid, stored[list(scene.spec.visible_bands)], 0).astype(stored.dtype)
        write_image(folder / part / f"{scene.name}.tif", bands, scene.info, nodata=0)
    label = scene.read(0, 0, height, width)["area_label"]
    stored_label = np.where(label < 0, NO_DATA, label).astype(np.uint8)
    write_map(folder / "label" / f"{scene.name}.tif", stored_label, scene.info, NO_DATA)


if __name__ == "__main__":
    run_program(main)
