"""A whole run of Test_Dynamic.py against the bare forward passes it contains, and its memory.

    python benchmarks/end_to_end.py

Makes test scenes of 1024×1024 pixels in a temporary folder (generated data), runs Test_Dynamic.py
on one scene and on all of them as a user would, and in turns the network alone on as many batches
that lie in memory. Prints a table and writes benchmarks/results/end_to_end.json.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import Measurement, report, run_program_measured, spread, timed_device
from data_processing.rasters.reading import open_raster
from data_processing.scenes.spec import DYNAMIC
from models import build_network
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from utils.errors import run_program
from utils.fields import Positive
from utils.progress import progress
from utils.settings import REPOSITORY, read_settings

__all__ = ["Settings", "main"]


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    scene_size: Positive = 1024  # side in pixels
    num_scenes: Positive = 3  # scenes
    batch_size: Positive = 8  # patches at once
    rounds: Positive = 3
    networks: tuple[Literal["shipped", "full"], ...] = ("shipped", "full")  # which weights


TILE = 256  # side of the generated scenes that the large ones are put together from


def main() -> None:
    """Make the scenes, then measure each network in rounds."""
    flags = read_settings(Settings)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        roots = _data_roots(folder, flags.scene_size, flags.num_scenes)
        rows = [_measured(n, folder, roots, flags) for n in flags.networks]
    conditions = {
        "scenes": f"{flags.num_scenes} generated ones, 6 dates",
        "scene_size": flags.scene_size,
        "batch_size": flags.batch_size,
        "num_workers": "as the program chooses",
    }
    device = timed_device(flags.device)
    report("end_to_end", conditions, rows, ("network",), device, flags.output_dir)


def _data_roots(folder: Path, size: int, number: int) -> dict[int, Path]:
    """A data root with one test scene and one with all of them."""
    root = folder / "all"
    run_program_measured(
        "data_processing/sample_data.py", "--data-root", root, "--dataset", "dynamic",
        "--scene-size", TILE, "--num-train", 1, "--num-val", 1, "--num-test", number,
    )  # fmt: skip
    for raster in (root / DYNAMIC.images_root / "test").rglob("*.tif"):
        _repeat(raster, size)
    single = folder / "one"
    shutil.copytree(root, single)
    for scene in sorted((single / DYNAMIC.images_root / "test").iterdir())[1:]:
        shutil.rmtree(scene)
    roots = {number: root, 1: single}
    for prepared in roots.values():
        run_program_measured("data_processing/Dynamic_Fsplit.py", "--data-root", prepared)
    return roots


def _repeat(path: Path, size: int) -> None:
    """Fill a raster of ``size`` × ``size`` with copies of a small one, in its place."""
    with open_raster(path) as raster:
        profile, values = raster.profile, raster.read()
    times = -(-size // values.shape[-1])
    with rasterio.open(path, "w", **{**profile, "height": size, "width": size}) as raster:
        raster.write(np.tile(values, (1, times, times))[:, :size, :size])


def _measured(name: str, folder: Path, roots: dict[int, Path], flags: Settings) -> dict[str, Any]:
    """Times and memory of one network."""
    checkpoint = _checkpoint(name, folder)
    bare, program, peaks = [], [], []
    call = (
        "Test_Dynamic.py", "--checkpoint", checkpoint, "--batch-size", flags.batch_size,
        "--device", flags.device, "--overwrite",
        "--output-dir", folder / "out", "--data-root",
    )  # fmt: skip
    for _ in progress(range(flags.rounds), f"{name} network", unit="round"):
        bare.append(_bare_seconds(checkpoint, flags))
        seconds, peak = run_program_measured(*call, roots[flags.num_scenes])
        program.append(seconds)
        peaks.append(peak)
    _, peak_of_one = run_program_measured(*call, roots[1])
    start, _ = run_program_measured("Test_Dynamic.py", "--help")
    return {
        "network": name,
        "bare_seconds": spread(bare, 2),
        "program_seconds": spread(program, 2),
        "ratio": round(spread(program)["median"] / spread(bare)["median"], 4),
        "start_seconds": round(start, 2),
        "peak_gb_one_scene": round(peak_of_one, 3),
        "peak_gb": round(max(peaks), 3),
    }


def _checkpoint(name: str, folder: Path) -> Path:
    """The shipped weights, or weights at random of the full width and patch size."""
    if name == "shipped":
        return REPOSITORY / "best_model" / "Pretrained_model_Dynamic.pth"
    torch.manual_seed(0)
    arguments = {"in_channels": 4, "num_dates": DYNAMIC.num_dates}
    state = build_network("caim_net", arguments).state_dict()
    facts = DYNAMIC.facts(DYNAMIC.patch_size)
    save_checkpoint(folder / "full.pth", Checkpoint("caim_net", arguments, state, data=facts))
    return folder / "full.pth"


def _bare_seconds(checkpoint: Path, flags: Settings) -> float:
    """Seconds of the network alone on as many batches as the program needs."""
    loaded = load_checkpoint(checkpoint)
    side, device = loaded.data["patch_size"], timed_device(flags.device)
    network = loaded.build().to(device)
    per_scene = (-(-flags.scene_size // side)) ** 2
    batches = -(-flags.num_scenes * per_scene // flags.batch_size)
    images = torch.rand(flags.batch_size, DYNAMIC.num_dates, 4, side, side, device=device)
    network.predict(images)
    begun = time.perf_counter()
    for _ in range(batches):
        network.predict(images).moment_prob.cpu()
    return time.perf_counter() - begun


if __name__ == "__main__":
    run_program(main)
