"""Patches per second from disk and from memory, per number of reading processes.

    python benchmarks/data_loading.py

Writes scenes into a temporary folder and serves their 64×64 patches in shuffled order through
utils.batches.Batches, as training does. The scenes are generated: a landscape of data_processing/
sample_data.py of 256×256 pixels, mirrored to the scene's size and shifted from scene to scene, as
float32 with deflate (6 dates, 4 bands) and as 8-bit RGBA with LZW (9 dates), in rows and in tiles
of 256×256. Four states are told apart:

  first pass    files are opened anew and every block is decoded at least once
  later passes  the processes hold files open, and blocks decoded as far as GDAL's cache reaches
                (5 % of the memory per process; the variable GDAL_CACHEMAX sets it)
  not kept      GDAL's cache takes 1 MiB: every window is decoded, as if the data were very large
  memory        all scenes were read into memory (--cache of the training programs)

The system's file cache is warm in all of them: emptying it needs the rights of an administrator,
so the disk itself is not measured. Prints a table and writes benchmarks/results/data_loading.json
with the conditions; the ratio is to the fastest training step in results/throughput.json.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import RESULTS, Measurement, report, spread
from data_processing.rasters.reading import close_rasters
from data_processing.sample.scene import draw_scene
from data_processing.scenes.dataset import SeriesDataset
from data_processing.scenes.patch_index import PatchOrigin
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import spec_by_name
from utils.batches import Batches
from utils.errors import UserError, run_program
from utils.fields import Natural, Positive
from utils.files import read_json
from utils.progress import progress
from utils.settings import read_settings

__all__ = ["Settings", "main"]


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    # which layouts
    datasets: tuple[Literal["dynamic", "spacenet7"], ...] = ("dynamic", "spacenet7")
    scene_size: Positive = 1024  # side in pixels
    scenes: Positive = 2  # how many
    workers: tuple[Natural, ...] = (0, 1, 2, 4)  # reading processes
    batch_sizes: tuple[Positive, ...] = (8, 96)  # patches at once
    rounds: Positive = 3


PATCH = 64
DRAWN = 256  # side of the landscape
NOT_KEPT_PATCHES = 128  # per pass, where every window is decoded
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Format:
    """Storage of a data set's images."""

    dataset: str
    dtype: str
    compress: str
    tiled: bool

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.dataset} {self.dtype} {self.compress} {'tiles' if self.tiled else 'rows'}"


FORMATS = [
    Format(dataset, dtype, compress, tiled)
    for dataset, dtype, compress in (
        ("dynamic", "float32", "deflate"),
        ("spacenet7", "uint8", "lzw"),
    )
    for tiled in (False, True)
]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table and write the results."""
    flags = read_settings(Settings, arguments)
    if flags.scene_size < PATCH:
        raise UserError(f"--scene-size: found {flags.scene_size}, expected {PATCH} or more.")
    formats = [form for form in FORMATS if form.dataset in flags.datasets]
    consumed = {form.dataset: _training_speed(form) for form in formats}
    rows: list[dict[str, Any]] = []
    cases = list(product(flags.workers, flags.batch_sizes))
    with tempfile.TemporaryDirectory() as folder:
        for number, form in enumerate(formats):
            scenes = Path(folder) / str(number)
            _write_scenes(scenes, form, flags.scenes, flags.scene_size)
            disk, memory = (_dataset(scenes, form, cache) for cache in (False, True))
            for workers, batch_size in progress(cases, f"measuring {form.name}", unit="case"):
                passes = _measure(disk, memory, workers, batch_size, flags.rounds)
                rows += [
                    _row(form, state, workers, batch_size, taken, consumed[form.dataset])
                    for state, taken in passes.items()
                ]
            close_rasters()
    conditions = {
        "scenes": flags.scenes,
        "scene_size": flags.scene_size,
        "patch_size": PATCH,
        "order": "shuffled, no augmentation",
        "data": "generated landscapes, see the program",
        "file_cache": "warm",
        "gdal": rasterio.__gdal_version__,
        "training_patches_per_second": consumed,
    }
    key = ("images", "from", "workers", "batch_size")
    report("data_loading", conditions, rows, key, folder=flags.output_dir)


def _training_speed(form: Format) -> float | None:
    """Patches that the fastest training step takes in a second; None where it was not measured."""
    path = RESULTS / "throughput.json"
    if not path.is_file():
        return None
    num_dates = spec_by_name(form.dataset).num_dates
    speeds = [
        float(row["patches_per_second"]["median"])
        for row in read_json(path)["rows"]
        if row["what"] == "training step" and row["num_dates"] == num_dates
    ]
    return max(speeds, default=None)


def _write_scenes(folder: Path, form: Format, count: int, size: int) -> None:
    """Write scenes in the processed layout, each a shifted copy of a mirrored landscape."""
    spec = spec_by_name(form.dataset)
    drawn = draw_scene(1, spec, "train", 0, min(size, DRAWN))
    beyond = size - drawn.moment.shape[0]
    images = np.pad(drawn.images, ((0, 0), (0, 0), (0, beyond), (0, beyond)), mode="symmetric")
    moment = np.pad(drawn.moment, ((0, beyond), (0, beyond)), mode="symmetric")
    assert images.dtype == form.dtype
    for number in range(count):
        shift = (37 * number, 59 * number)
        scene = folder / f"{drawn.name}_{number}"
        for date, image in zip(drawn.dates, images, strict=True):
            path = scene / spec.image_folder / spec.image_file(date, drawn.name)
            _write(path, np.roll(image, shift, axis=(1, 2)), form.compress, form.tiled)
        label = np.roll(moment, shift, axis=(0, 1))[None]
        _write(scene / spec.area_file, (label > 0).astype(np.uint8), "deflate", form.tiled)
        _write(scene / spec.moment_file, label, "deflate", form.tiled)


def _write(path: Path, bands: Any, compress: str, tiled: bool) -> None:
    """Write (C, H, W) as GeoTIFF."""
    profile = {
        "driver": "GTiff",
        "count": bands.shape[0],
        "height": bands.shape[1],
        "width": bands.shape[2],
        "dtype": bands.dtype.name,
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(3.0, 0.0, 500000.0, 0.0, -3.0, 5000000.0),
        "compress": compress,
    }
    if bands.shape[0] == 4 and bands.dtype == np.uint8:
        profile |= {"photometric": "RGB", "alpha": "YES"}
    if tiled:
        profile |= {"tiled": True, "blockxsize": 256, "blockysize": 256}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(bands)


def _measure(
    disk: SeriesDataset, memory: SeriesDataset, workers: int, batch_size: int, repeats: int
) -> dict[str, list[_Pass]]:
    """Passes over the patches of one format, by what they are served from."""

    def served(dataset: SeriesDataset) -> Batches:
        return Batches(dataset, batch_size, shuffle=True, num_workers=workers, device=CPU)

    passes: dict[str, list[_Pass]] = {"disk, first pass": []}
    for _ in range(repeats):
        close_rasters()
        batches = served(disk)
        passes["disk, first pass"].append(_pass(batches, 0))
    passes["disk, later passes"] = [_pass(batches, 1 + turn) for turn in range(repeats)]
    few = disk.origins[: NOT_KEPT_PATCHES * max(1, workers)]
    with rasterio.Env(GDAL_CACHEMAX=1 << 20):  # here and in the processes forked inside
        batches = served(SeriesDataset(disk.scenes, few, PATCH))
        _pass(batches, 0)
        passes["disk, not kept"] = [_pass(batches, 1 + turn) for turn in range(repeats)]
    batches = served(memory)
    _pass(batches, 0)
    passes["memory"] = [_pass(batches, 1 + turn) for turn in range(repeats)]
    return passes


def _row(
    form: Format, state: str, workers: int, batch_size: int, passes: Sequence[_Pass], training: Any
) -> dict[str, Any]:
    """A row of the result file: passes in one state."""
    speeds = [done.patches / done.seconds for done in passes]
    speed = statistics.median(speeds)
    return {
        "images": form.name,
        "num_dates": spec_by_name(form.dataset).num_dates,
        "from": state,
        "workers": workers,
        "batch_size": batch_size,
        "patches_per_pass": passes[0].patches,
        "patches_per_second": spread(speeds, 1),
        "patches_per_second_and_process": round(speed / max(1, workers), 1),
        "first_batch_seconds": spread([done.first_batch for done in passes], 4),
        "times_training": round(speed / training, 1) if training else None,
    }


@dataclass(frozen=True)
class _Pass:
    """Cost of one pass over the patches."""

    patches: int
    seconds: float
    first_batch: float


def _pass(batches: Batches, number: int) -> _Pass:
    """Serve all patches once."""
    patches, first = 0, 0.0
    begun = time.perf_counter()
    for batch in batches.epoch(number):
        first = first or time.perf_counter() - begun
        patches += len(batch["images"])
    return _Pass(patches, time.perf_counter() - begun, first)


def _dataset(folder: Path, form: Format, cache: bool = False) -> SeriesDataset:
    """All patches of all scenes."""
    scenes = [Scene(path, spec_by_name(form.dataset)) for path in sorted(folder.iterdir())]
    origins = [
        PatchOrigin(number, row, col)
        for number, scene in enumerate(scenes)
        for row in range(0, scene.height - PATCH + 1, PATCH)
        for col in range(0, scene.width - PATCH + 1, PATCH)
    ]
    return SeriesDataset(scenes, origins, PATCH, cache=cache)


if __name__ == "__main__":
    run_program(main)
