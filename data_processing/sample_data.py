"""Write generated sample data in the processed layout, so that everything runs without downloads.

    python data_processing/sample_data.py --data-root data --dataset both

The scenes are drawn from random numbers: landscapes with seasons, clouds and sensor noise, in
which lasting events of known date happen. They are no observations and no results on them say
anything about real places. With the defaults (12 scenes of 256 × 256 pixels per data set) it takes
under a minute on two cores. Writes Images_Dynamic/ and Images_SpaceNet7/ under the data root, each
with a dataset.json, and their lists and patch index.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.raw.plan import Plan, RunSettings, SceneTask
from data_processing.raw.preparation import prepare, require_ours
from data_processing.scenes.spec import DATASET_NAMES, SPLITS, DatasetSpec, spec_by_name
from data_processing.scenes.writing import scene_bytes, write_scene
from utils.errors import UserError, run_program
from utils.fields import Bounds, Natural, Seed
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "main"]

SceneSide = Annotated[int, Bounds(minimum=64, below=2**15)]  # at least a patch
if TYPE_CHECKING:
    DatasetChoice = str
else:
    DatasetChoice = Literal[(*DATASET_NAMES, "both")]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """One value a line; each is also a flag. Those of all such programs stand in RunSettings."""

    dataset: DatasetChoice = "both"  # which layout
    scene_size: SceneSide = 256  # side in pixels
    num_train: Natural = 8  # training scenes
    num_val: Natural = 2  # validation scenes
    num_test: Natural = 2  # test scenes
    seed: Seed = 1  # of all random numbers


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

PROGRAM, VERSION = "sample_data.py", 2
NOTE = (
    "Generated data, not observations: landscapes, weather and events are drawn from random "
    "numbers. Scores on it say whether the programs work, not how well they map real change."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the settings and write the data sets asked for.

    Raises:
        UserError: A flag cannot be used, or a folder is not this program's.
    """
    settings = read_settings(Settings, arguments)
    if settings.num_train + settings.num_val + settings.num_test == 0:
        raise UserError("--num-train, --num-val and --num-test are all 0; ask for one scene.")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores already
    names = DATASET_NAMES if settings.dataset == "both" else (settings.dataset,)
    plans = [_plan(spec_by_name(name), settings) for name in names]
    for plan in plans:
        require_ours(plan, settings.overwrite)  # before any of them is written
    for plan in plans:
        prepare(plan, write_drawn, settings)
    say(NOTE)


def write_drawn(task: SceneTask, folder: Path) -> dict[str, Any]:
    """Draw a scene and write it."""
    from data_processing.sample.scene import draw_scene

    seed, spec, split, index, size = task.work
    scene = draw_scene(seed, spec, split, index, size)
    images = [
        (spec.image_file(date, scene.name), image)
        for date, image in zip(scene.dates, scene.images, strict=True)
    ]
    facts = write_scene(folder, spec, images, scene.grid, scene.moment, scene.valid)
    return {**facts, **scene.facts, "dates": [str(date) for date in scene.dates]}


def _plan(spec: DatasetSpec, settings: Settings) -> Plan:
    """The scenes to draw of a data set."""
    from data_processing.sample.scene import require_drawable, scene_name  # brings scipy

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
    size, seed = settings.scene_size, settings.seed
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
        for index in range(getattr(settings, f"num_{split}"))
    ]
    source = {"drawn_from": "random numbers"}
    rules = {"scene_size": size, "seed": seed}
    return Plan(PROGRAM, VERSION, spec, settings.data_root, source, rules, notes, tasks)


if __name__ == "__main__":
    run_program(main)
