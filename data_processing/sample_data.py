"""Write generated sample data in the processed layout, so that everything runs without downloads.

    python data_processing/sample_data.py --data-root data --dataset both

The scenes are drawn from random numbers: landscapes with seasons, clouds and sensor noise, in
which lasting events of known date happen. They are no observations and no results on them say
anything about real places. With the defaults (12 scenes of 256 × 256 pixels per data set) it takes
under a minute on two cores. Writes Images_Dynamic/ and Images_SpaceNet7/ under the data root, each
with a dataset.json, and their lists and patch index.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.raw.plan import Plan, SceneTask
from data_processing.raw.preparation import add_run_flags, prepare, require_ours
from data_processing.sample.scene import draw_scene, require_drawable, scene_name
from data_processing.scenes.spec import DATASET_NAMES, SPLITS, DatasetSpec, spec_by_name
from data_processing.scenes.writing import scene_bytes, write_scene
from utils.errors import UserError, run_program
from utils.progress import say
from utils.settings import program_parser

__all__ = ["main"]

PROGRAM, VERSION = "sample_data.py", 2
SMALLEST = 64  # side of a scene: that of a patch
NOTE = (
    "Generated data, not observations: landscapes, weather and events are drawn from random "
    "numbers. Scores on it say whether the programs work, not how well they map real change."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the flags and write the data sets asked for.

    Raises:
        UserError: A flag cannot be used, or a folder is not this program's.
    """
    flags = _parser().parse_args(arguments)
    _check(flags)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores already
    names = DATASET_NAMES if flags.dataset == "both" else (flags.dataset,)
    plans = [_plan(spec_by_name(name), flags) for name in names]
    for plan in plans:
        require_ours(plan, flags.overwrite)  # before any of them is written
    for plan in plans:
        prepare(plan, write_drawn, flags)
    say(NOTE)


def write_drawn(task: SceneTask, folder: Path) -> dict[str, Any]:
    """Draw a scene and write it."""
    seed, spec, split, index, size = task.work
    scene = draw_scene(seed, spec, split, index, size)
    images = [
        (spec.image_file(date, scene.name), image)
        for date, image in zip(scene.dates, scene.images, strict=True)
    ]
    facts = write_scene(folder, spec, images, scene.grid, scene.moment, scene.valid)
    return {**facts, **scene.facts, "dates": [str(date) for date in scene.dates]}


def _plan(spec: DatasetSpec, flags: argparse.Namespace) -> Plan:
    """What to draw of a data set."""
    require_drawable(spec)
    masked = spec.alpha_band is not None
    notes = {
        "note": NOTE,
        "event": "last",
        "event_rule": "a pixel that changes twice carries the interval of its last change; "
        "area = (moment > 0)",
        "transitions": "both",
        "classes": f"0 unchanged, k = changed between date k-1 and date k, k = 1…"
        f"{spec.num_dates - 1}",
        "bands": list(spec.bands),
        "pixel_values": "natural colours 0…255, uint8; alpha 0 = masked"
        if masked
        else "surface reflectance 0…1, float32",
    }
    size, seed = flags.scene_size, flags.seed
    tasks = [
        SceneTask(
            name=scene_name(seed, spec, split, index),
            split=split,
            area="random numbers",
            nbytes=scene_bytes(spec, size, size, 1 if masked else 4),
            inputs=[],
            facts={},
            work=(seed, spec, split, index, size),
        )
        for split in SPLITS
        for index in range(getattr(flags, f"num_{split}"))
    ]
    source = {"drawn_from": "random numbers"}
    settings = {"scene_size": size, "seed": seed}
    return Plan(PROGRAM, VERSION, spec, flags.data_root, source, settings, notes, tasks)


def _parser() -> argparse.ArgumentParser:
    parser = program_parser(__doc__)
    add = parser.add_argument
    add("--dataset", choices=(*DATASET_NAMES, "both"), default="both")
    add("--scene-size", type=int, default=256, help="side in pixels, at least 64 (default 256)")
    add("--num-train", type=int, default=8, help="training scenes (default 8)")
    add("--num-val", type=int, default=2, help="validation scenes (default 2)")
    add("--num-test", type=int, default=2, help="test scenes (default 2)")
    add("--seed", type=int, default=1, help="seed, at least 0 (default 1)")
    add_run_flags(parser, "Images_<name>/ of each data set")
    return parser


def _check(flags: argparse.Namespace) -> None:
    faults = []
    if flags.scene_size < SMALLEST:
        faults.append(f"--scene-size is {flags.scene_size}; give at least 64, the patch size.")
    for flag in ("num_train", "num_val", "num_test", "seed", "num_workers"):
        value = getattr(flags, flag)
        if value < 0:
            faults.append(f"--{flag.replace('_', '-')} is {value}; give 0 or more.")
    if not faults and flags.num_train + flags.num_val + flags.num_test == 0:
        faults.append("--num-train, --num-val and --num-test are all 0; ask for one scene.")
    if faults:
        raise UserError("\n".join(["sample_data.py cannot run with these flags:", *faults]))


if __name__ == "__main__":
    run_program(main)
