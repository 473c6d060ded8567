"""Predict.py on a large raster: its memory, and its speed against the bare network.

    python benchmarks/predict_series.py

Writes a series of 7000×5000 pixels and 6 dates into a temporary folder (generated landscapes,
repeated), runs Predict.py on it as a user would with the shipped weights, and times the network
alone on batches of tiles that lie in memory before, and after. With --heights the run is repeated
on rasters of other heights, whose memory must not differ. With several --precisions and --threads
the runs go in turns, --repeats times, each after the other on the same raster; what is quoted is
the run of the median time. Prints a table and writes benchmarks/results/predict_series.json.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import (
    PRODUCT_FLOP,
    Measurement,
    in_turns,
    matrix_product,
    report,
    run_program_measured,
    timed_device,
)
from data_processing.rasters.reading import open_raster
from data_processing.scenes.spec import DYNAMIC
from mapping.model import Model, load_model
from utils.device import Precision
from utils.errors import run_program
from utils.fields import Natural, Positive
from utils.files import read_json, sha256
from utils.progress import progress
from utils.settings import REPOSITORY, read_settings
from utils.tiling import TileGrid

__all__ = ["Settings", "main"]


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    rounds: Positive = 40  # of the network alone, before and after the run
    width: Positive = 5000  # of the raster in pixels
    heights: tuple[Positive, ...] = (7000,)  # of the raster in pixels
    batch_size: Positive = 8  # patches at once
    overlap: Natural | None = None  # least overlap of tiles; none = a quarter
    memory: float = 2.0  # GB that Predict.py may take
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    threads: tuple[Positive, ...] = (1,)  # of the network
    repeats: Positive = 1  # runs of each kind
    checkpoint: Path = REPOSITORY / "best_model" / "Pretrained_model_Dynamic.pth"


class Way(NamedTuple):
    """One way to run the program: the network in a number format, and threads."""

    model: Model
    threads: int


TILE = 500  # side of the generated scene that the raster is put together from


def main() -> None:
    """Write the series, run the program, time the network."""
    flags = read_settings(Settings)
    ways = list(product(flags.precisions, flags.threads))
    models = {one: load_model(flags.checkpoint, flags.device, precision=one)
              for one in flags.precisions}  # fmt: skip
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        pixels = _landscape(Path(scratch))
        for height in flags.heights:
            images = Path(scratch) / f"series_{height}"
            _write_series(images, pixels, height, flags.width)
            runs: dict[tuple[str, int], list[dict[str, Any]]] = {way: [] for way in ways}
            for _, (precision, threads) in product(range(flags.repeats), ways):
                way, maps = Way(models[precision], threads), Path(scratch) / "maps"
                runs[precision, threads].append(_measured(way, images, maps, height, flags))
                shutil.rmtree(maps)
            rows += [_middle(some) for some in runs.values()]
    conditions = {
        "series": "6 dates, 4 bands, uint16, deflate, tiles of 256; generated, repeated",
        "checkpoint": flags.checkpoint.name, "checkpoint_sha256": sha256(flags.checkpoint),
        "tile_size": models[flags.precisions[0]].tile_size, "repeats": flags.repeats,
        "batch_size": flags.batch_size, "memory_gb": flags.memory,
    }  # fmt: skip
    device, key = timed_device(flags.device), ("width", "height", "precision", "threads")
    report("predict_series", conditions, rows, key, device, flags.output_dir)


def _landscape(folder: Path) -> np.ndarray[Any, Any]:
    """A generated series (T, C, TILE, TILE)."""
    run_program_measured(
        "data_processing/sample_data.py", "--data-root", folder / "sample", "--dataset", "dynamic",
        "--scene-size", TILE, "--num-train", 1, "--num-val", 1, "--num-test", 1,
    )  # fmt: skip
    images = sorted((folder / "sample" / DYNAMIC.images_root / "test").rglob("2*.tif"))
    series = []
    for path in images:
        with open_raster(path) as raster:
            series.append(raster.read())
    return np.stack(series)


def _write_series(folder: Path, pixels: np.ndarray[Any, Any], height: int, width: int) -> None:
    """One large GeoTIFF a date, written in rows of blocks."""
    folder.mkdir()
    profile = {
        "driver": "GTiff", "height": height, "width": width, "count": pixels.shape[1],
        "dtype": pixels.dtype.name, "crs": "EPSG:32633", "compress": "deflate", "zlevel": 1,
        "transform": rasterio.Affine(3.0, 0.0, 500000.0, 0.0, -3.0, 5000000.0),
        "tiled": True, "blockxsize": 256, "blockysize": 256,
    }  # fmt: skip
    repeats = -(-width // TILE)
    for number, image in enumerate(progress(pixels, "writing series", unit="date")):
        path = folder / f"{2018 + number // 4}-{1 + 3 * (number % 4):02d}-01.tif"
        row_of_tiles = np.tile(image, (1, 1, repeats))[:, :, :width]
        with rasterio.open(path, "w", **profile) as raster:
            for row in range(0, height, TILE):
                count = min(TILE, height - row)
                window = rasterio.windows.Window(0, row, width, count)
                raster.write(row_of_tiles[:, :count], window=window)


def _middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run of the median time, with the times of all."""
    inorder = sorted(runs, key=lambda run: float(run["program_seconds"]))
    seconds = [run["program_seconds"] for run in inorder]
    return {**inorder[(len(runs) - 1) // 2], "program_seconds_of_all": seconds}


def _measured(way: Way, images: Path, maps: Path, height: int, flags: Settings) -> dict[str, Any]:
    """Time and memory of one run, the network's own time before and after it."""
    model = way.model
    torch.set_num_threads(way.threads)
    overlap = model.tile_size // 4 if flags.overlap is None else flags.overlap
    grid = TileGrid(height, flags.width, model.tile_size, overlap)
    before = _network_rate(model, flags)
    seconds, peak = run_program_measured(
        "Predict.py", "--images", images, "--checkpoint", flags.checkpoint, "--output-dir", maps,
        "--batch-size", flags.batch_size, "--overlap", overlap, "--memory", flags.memory,
        "--device", flags.device, "--precision", model.precision, "--threads", way.threads,
    )  # fmt: skip
    after = _network_rate(model, flags)
    per_batch = statistics.mean([before[0], after[0]])
    per_row = -(-len(grid.cols) // flags.batch_size)
    network = per_batch * per_row * len(grid.rows)
    summary = read_json(maps / "summary.json")
    return {
        "width": flags.width, "height": height, "precision": model.precision,
        "threads": way.threads, "tiles": len(grid.origins), "overlap": overlap,
        "program_seconds": round(seconds, 1), "rows_seconds": summary["seconds"],
        "network_seconds": round(network, 1),
        "network_ms_per_batch": [round(1000 * rate[0], 2) for rate in (before, after)],
        "sgemm_gflops": [round(rate[1], 1) for rate in (before, after)],
        "ratio": round(seconds / network, 4),
        "megapixels_per_second": round(height * flags.width / seconds / 1e6, 5),
        "peak_gb": round(peak, 3),
    }  # fmt: skip


def _network_rate(model: Model, flags: Settings) -> tuple[float, float]:
    """Seconds of the network alone per batch, and the machine's own rate in GFLOP/s beside it."""
    side, bands = model.tile_size, len(model.bands)
    images = torch.rand(flags.batch_size, model.num_dates, bands, side, side)
    runner = model.runner()

    def run() -> None:
        runner.wait(runner.start(images)[1])

    multiply = matrix_product(model.device)
    seconds = in_turns({"network": run, "product": multiply}, flags.rounds, warm_up=3)
    seconds_of = {name: statistics.median(values) for name, values in seconds.items()}
    return seconds_of["network"], PRODUCT_FLOP / seconds_of["product"] / 1e9


if __name__ == "__main__":
    run_program(main)
