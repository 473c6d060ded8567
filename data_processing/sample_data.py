"""Write generated sample data in the processed layout, so that everything runs without downloads.

    python data_processing/sample_data.py --data-root data --dataset both

The scenes are drawn from random numbers: landscapes with seasons, clouds and sensor noise, in
which lasting events of known date happen. They are no observations and no results on them say
anything about real places. With the defaults (12 scenes of 256 × 256 pixels per data set) it takes
under a minute on two cores. Writes Images_Dynamic/ and Images_SpaceNet7/ under the data root, each
with a dataset.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.sample.scene import (
    DATASETS,
    SPLITS,
    SampleKind,
    draw_scene,
    scene_name,
    write_scene,
)
from utils.errors import UserError, run_program
from utils.files import read_json, write_json
from utils.progress import say

__all__ = ["GENERATOR", "GENERATOR_VERSION", "main", "write_sample_data"]

GENERATOR = "data_processing/sample_data.py"
GENERATOR_VERSION = 1
NOTE = (
    "Generated data, not observations: landscapes, weather and events are drawn from random "
    "numbers. Scores on it say whether the programs work, not how well they map real change."
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Write generated sample data in the processed layout.", allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--data-root",
        type=Path,
        default=Path(__file__).resolve().parents[1] / "data",
        help="folder that gets Images_Dynamic/ and Images_SpaceNet7/ (default: the repository's "
        "data/)",
    )
    add("--dataset", choices=("dynamic", "spacenet7", "both"), default="both")
    add("--scene-size", type=int, default=256, help="side in pixels, at least 64 (default 256)")
    add("--num-train", type=int, default=8, help="training scenes (default 8)")
    add("--num-val", type=int, default=2, help="validation scenes (default 2)")
    add("--num-test", type=int, default=2, help="test scenes (default 2)")
    add("--seed", type=int, default=1, help="seed, at least 0 (default 1)")
    add("--num-workers", type=int, default=2, help="processes, 0 = none beside (default 2)")
    add("--overwrite", action="store_true", help="replace sample data of other arguments")
    return parser


def _check(flags: argparse.Namespace) -> None:
    faults = []
    if flags.scene_size < 64:
        faults.append(f"--scene-size is {flags.scene_size}; give at least 64, the patch size.")
    for flag in ("num_train", "num_val", "num_test", "seed", "num_workers"):
        value = getattr(flags, flag)
        if value < 0:
            faults.append(f"--{flag.replace('_', '-')} is {value}; give 0 or more.")
    if not faults and flags.num_train + flags.num_val + flags.num_test == 0:
        faults.append("--num-train, --num-val and --num-test are all 0; ask for one scene.")
    if faults:
        raise UserError("\n".join(["sample_data.py cannot run with these flags:", *faults]))


def _write_one(task: tuple[int, str, str, int, int, str]) -> dict[str, Any]:
    """Draw and write one scene in a worker process; returns its record."""
    seed, key, split, index, size, root = task
    scene = draw_scene(seed, DATASETS[key], split, index, size)
    write_scene(Path(root), DATASETS[key], scene)
    return scene.record


def _earlier_run(folder: Path) -> dict[str, Any] | None:
    """The dataset.json of an earlier run, or None for a new folder.

    Raises:
        UserError: When the folder holds something this program did not write.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        found = read_json(folder / "dataset.json")
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("generator") != GENERATOR:
        raise UserError(
            f"{folder}: exists, and has no dataset.json of this program. It may be real data, so "
            "nothing was written. Give another --data-root, or move that folder away."
        )
    return found


def _remove_scenes(folder: Path, earlier: dict[str, Any]) -> None:
    """Remove the scenes that an earlier run lists, and nothing else."""
    for entry in earlier.get("scene_folders", []):
        split, name = Path(str(entry)).parts[-2:]
        if split in SPLITS:
            shutil.rmtree(folder / split / name, ignore_errors=True)
    for split in SPLITS:
        if (folder / split).is_dir() and not any((folder / split).iterdir()):
            (folder / split).rmdir()


def _is_whole(folder: Path, earlier: dict[str, Any]) -> bool:
    """Whether the earlier run came to its end and its scenes are still there."""
    return bool(earlier.get("complete")) and all(
        (folder / str(entry) / "change" / "bi_change.tif").is_file()
        for entry in earlier.get("scene_folders", [])
    )


def _prepare(folder: Path, arguments: dict[str, Any], overwrite: bool) -> bool:
    """Make the folder ready; False when the data asked for lies there already."""
    earlier = _earlier_run(folder)
    if earlier is None:
        return True
    same = earlier.get("arguments") == arguments and (
        earlier.get("generator_version") == GENERATOR_VERSION
    )
    if same and _is_whole(folder, earlier):
        return False
    if not same and not overwrite:
        raise UserError(
            f"{folder}: holds sample data made with {earlier.get('arguments')} (generator version "
            f"{earlier.get('generator_version')}); asked for {arguments} (version "
            f"{GENERATOR_VERSION}). Add --overwrite to replace it, or give another --data-root."
        )
    _remove_scenes(folder, earlier)
    return True


def _describe(kind: SampleKind, arguments: dict[str, Any]) -> dict[str, Any]:
    bands = ["blue", "green", "red", "nir"] if kind.key == "dynamic" else ["red", "green", "blue"]
    return {
        "generator": GENERATOR,
        "generator_version": GENERATOR_VERSION,
        "complete": False,
        "note": NOTE,
        "arguments": arguments,
        "seed": arguments["seed"],
        "event": "last",
        "event_rule": "a pixel that changes twice carries the interval of its last change; "
        "area = (moment > 0)",
        "transitions": "both",
        "classes": f"0 unchanged, k = changed between date k-1 and date k, k = 1…"
        f"{kind.num_dates - 1}",
        "bands": bands + (["alpha (0 = masked)"] if kind.key == "spacenet7" else []),
        "pixel_values": "surface reflectance 0…1, float32"
        if kind.key == "dynamic"
        else "natural colours 0…255, uint8",
    }


def _scene_counts(arguments: dict[str, Any]) -> list[tuple[str, int]]:
    return [(split, index) for split in SPLITS for index in range(int(arguments[f"num_{split}"]))]


def write_sample_data(
    data_root: Path, key: str, arguments: dict[str, Any], num_workers: int, overwrite: bool
) -> dict[str, Any] | None:
    """Write one data set.

    Args:
        data_root: Folder that gets Images_<name>/.
        key: "dynamic" or "spacenet7".
        arguments: scene_size, num_train, num_val, num_test, seed.
        num_workers: Processes; 0 or 1 work in this one.
        overwrite: Replace sample data made with other arguments.

    Returns:
        What dataset.json holds, or None when the same data lay there already.

    Raises:
        UserError: The folder is not this program's, or holds other sample data.
    """
    kind = DATASETS[key]
    folder = data_root / kind.folder
    if not _prepare(folder, arguments, overwrite):
        return None
    wanted = _scene_counts(arguments)
    size, seed = int(arguments["scene_size"]), int(arguments["seed"])
    tasks = [(seed, key, split, index, size, str(folder)) for split, index in wanted]
    content = _describe(kind, arguments)
    # before the first scene: a run that is killed leaves a folder that says it is not complete
    content["scene_folders"] = [
        f"{split}/{scene_name(seed, key, split, index)}" for split, index in wanted
    ]
    write_json(folder / "dataset.json", content)
    records = []
    with tqdm(total=len(tasks), desc=kind.folder, unit="scene", disable=None) as bar:
        for record in _results(tasks, num_workers):
            records.append(record)
            bar.update()
    content |= {"complete": True, "scenes": records}
    write_json(folder / "dataset.json", content)
    return content


def _results(
    tasks: list[tuple[int, str, str, int, int, str]], num_workers: int
) -> Iterator[dict[str, Any]]:
    """Records of the scenes in the order of the tasks."""
    if num_workers <= 1 or len(tasks) == 1:
        yield from map(_write_one, tasks)
        return
    with ProcessPoolExecutor(max_workers=num_workers) as pool:
        yield from pool.map(_write_one, tasks)


def _report(kind: SampleKind, content: dict[str, Any], folder: Path) -> None:
    totals = np.sum([scene["pixels_per_class"] for scene in content["scenes"]], axis=0)
    shares = " ".join(
        f"{name}: {100 * part:.2f} %"
        for name, part in zip(
            ["unchanged", *map(str, range(1, kind.num_dates))], totals / totals.sum(), strict=True
        )
    )
    say(f"{folder}: {len(content['scenes'])} scenes written, shares of the classes: {shares}")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the flags and write the data sets asked for.

    Raises:
        UserError: A flag cannot be used, or a folder is not this program's.
    """
    flags = _parser().parse_args(argv)
    _check(flags)
    names = ("scene_size", "num_train", "num_val", "num_test", "seed")
    arguments = {name: getattr(flags, name) for name in names}
    keys = ("dynamic", "spacenet7") if flags.dataset == "both" else (flags.dataset,)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores already
    for key in keys:
        _earlier_run(flags.data_root / DATASETS[key].folder)  # refuse before anything is written
    for key in keys:
        folder = flags.data_root / DATASETS[key].folder
        content = write_sample_data(
            flags.data_root, key, arguments, flags.num_workers, flags.overwrite
        )
        if content is None:
            say(f"{folder}: complete already, made with the same arguments; nothing done")
        else:
            _report(DATASETS[key], content, folder)
    say("These are generated data, not observations. Next:")
    for key in keys:
        name = DATASETS[key].folder.removeprefix("Images_")
        for step in ("Fsplit", "create_xys"):
            say(f"  python data_processing/{name}_{step}.py --data-root {flags.data_root}")


if __name__ == "__main__":
    run_program(main)
