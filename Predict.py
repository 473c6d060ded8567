"""Map where and when your own city changed: a series of GeoTIFFs to change maps with dates.

    python Predict.py --images city/
    python Predict.py before.tif after.tif

Takes co-registered rasters of any size, one a date, with dates in their names. Writes
runs/predict/<time>/: change_area.tif, change_moment.tif, change_date.tif, change_score.tif,
quicklook.png, series.gif, report.html, summary.json, change.stac.json and styles for QGIS;
docs/predict.md explains each. A 7000×5000
series took the small shipped weights 22 minutes on a CPU (docs/performance.md); GPUs: not run.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from data_processing.own_series.finding import find_rasters
from data_processing.own_series.gathering import mask_words
from data_processing.own_series.options import is_computed
from data_processing.rasters.cloud_codes import CloudCodes
from mapping.products.files import PolygonFile
from utils.errors import UserError, run_program
from utils.fields import (
    Bare,
    Gigabytes,
    Loose,
    Natural,
    NonNegative,
    PatchSide,
    PathPattern,
    Positive,
    WeightsFile,
)
from utils.interruption import resumable
from utils.progress import say
from utils.settings import read_settings, to_dict

if TYPE_CHECKING:
    from mapping.model import Model
    from utils.processes import Processes

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line, ordered by how often it is edited; each is also a flag."""

    # folder, pattern or files; or a folder of folders, one an area
    images: Loose[tuple[PathPattern, ...] | None] = None
    # weights, .pth or .onnx; none = those in best_model/: for a pair, or of six dates
    checkpoint: WeightsFile | None = None
    output_dir: Path | None = None  # results; none = runs/predict/<time>
    overwrite: bool = False  # replace results in an output folder that is not empty
    resume: bool = False  # go on with the run in the output folder
    name: str | None = None  # of the place, in titles; none = that of the images' folder
    # series
    dates: str | None = None  # dates of the images in the order of their names, with commas
    # of more dates than the weights take: all, clearest:N, even, first, every:N, or a list
    choose_dates: str | None = None
    # one image a month, quarter or year from the clear pixels of all its dates
    composite: Literal["month", "quarter", "year"] | None = None
    composite_of: Literal["median", "medoid"] = "median"  # medoid = all bands of one date
    # numbers or names in the weights' order: 3,2,1,4 or, of files of one band, B02,B03,B04,B08
    bands: str | None = None
    bands_per_date: Positive | None = None  # of a file that holds several dates: give --dates, too
    assets: str | None = None  # of STAC items (--images items.json): blue,green,red,nir08
    align: bool = False  # resample other grids to that of the first image
    # values: auto, type, tags, landsat-c2, sentinel2-offset, sentinel2-by-baseline, 0.0001,-0.1
    scaling: str = "auto"
    # cloud masks as agencies ship them, with dates in their names; auto = computed from the images
    clouds: tuple[PathPattern, ...] | None = None
    cloud_codes: CloudCodes = "auto"  # what their values mean; auto = as they tell
    min_valid_dates: Positive | None = None  # dates at which a pixel must be seen; none = all
    # auto = 8-bit / 255, 16-bit / 10000; stored = as they are
    pixel_scale: Literal["checkpoint", "auto", "stored"] = "checkpoint"
    # calibrated = by the offset that the weights carry; plain = which is larger
    decision: Literal["calibrated", "plain"] = "calibrated"
    # results
    # files of changed regions; without a name changes.geojson
    polygons: Annotated[tuple[PolygonFile, ...], Bare(("changes.geojson",))] = ()
    min_area: NonNegative = 0.0  # square metres; smaller regions are left out of them
    web_map: bool = False  # write map.html: the maps over tiles that its reader's browser loads
    export_onnx: Path | None = None  # write the network as ONNX; images need not be given
    # speed
    batch_size: Positive | None = None  # tiles at a time; none = 8, of CTMA 1
    memory: Gigabytes = 2.0  # GB that a process may take, GPU memory aside
    # pixels; none = as trained (released weights: 64, of CTMA 256)
    tile_size: PatchSide | None = None
    overlap: Natural | None = None  # least overlap of tiles; none = half a tile
    share_cam: bool = False  # average per-window CAM weights, for any batch and size
    # auto = bfloat16 where the processor has it and the weights' maps agree, else float32
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    backend: Literal["torch", "onnx"] = "torch"  # onnx = run by onnxruntime
    compile: bool = False  # torch.compile: pays on some GPUs, not on CPUs seen so far
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    threads: Positive | None = None  # of a CPU; none = as many as help, measured at the start
    # dask = workers of a cluster (requirements-cluster.txt)
    executor: Literal["here", "dask"] = "here"
    scheduler: str | None = None  # address of a running cluster; none = one on this machine
    workers: Positive | None = None  # of a cluster on this machine; none = one a core


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def check(settings: Settings) -> None:
    """Look at settings that contradict each other, and at paths, before anything slow happens."""
    if settings.images is None and settings.export_onnx is None:
        raise UserError("--images: found none, expected a folder of GeoTIFFs, a pattern or files.")
    if settings.executor == "here" and (settings.scheduler or settings.workers):
        raise UserError("--scheduler, --workers: mean something with --executor dask; add it.")
    if settings.min_area and not settings.polygons:
        raise UserError("--min-area: means something with --polygons only; add that flag.")
    if is_computed(settings.clouds) and settings.cloud_codes != "auto":
        raise UserError("--cloud-codes: found it with --clouds auto, whose codes are known.")
    masks = mask_words(settings.images or (), settings.clouds)
    if settings.name is not None and not (settings.name.strip() and settings.name.isprintable()):
        raise UserError(f"--name: found {settings.name!r}, expected letters that can be printed.")
    for flag, words in (("--images", settings.images), ("--clouds", masks)):
        files = [word for word in words or () if not Path(word).is_dir()]
        if files:
            find_rasters(files, flag)


def loaded(
    settings: Settings, checkpoint: Path, processes: Processes
) -> tuple[Model, partial[Model]]:
    """The weights, ready, and how workers of a cluster load them: all in one number format."""
    from mapping.model import load_model

    load = partial(
        load_model, checkpoint.absolute(), processes.device_name(settings.device),
        tile_size=settings.tile_size, pixel_scale=settings.pixel_scale,
        share_cam=settings.share_cam, compiled=settings.compile, backend=settings.backend,
        decision=settings.decision,
    )  # fmt: skip
    model = load(precision=settings.precision)
    precision = processes.gather(model.precision)[0]  # processors differ, a map is of one format
    return replace(model, precision=precision), partial(load, precision=precision)


def main() -> None:
    """Read the weights, map every area."""
    settings = read_settings(Settings)
    check(settings)
    # the flags are right: now what takes seconds to import
    from data_processing.own_series.options import SeriesOptions
    from mapping.area import MapOptions
    from mapping.areas import check_output, map_areas, shipped_weights
    from mapping.cluster import DaskCluster
    from utils.processes import dask_client, join_processes
    from utils.run_folder import start_run

    processes = join_processes()
    if processes.size > 1 and settings.output_dir is None:
        raise UserError("several processes share one folder of results: give it by --output-dir.")
    if processes.size > 1 and settings.executor == "dask":
        raise UserError("--executor dask: found several processes of a launcher; start one alone.")
    if settings.images is not None and settings.output_dir is not None:
        check_output(settings.images, settings.clouds, settings.output_dir)
    checkpoint = settings.checkpoint or shipped_weights(settings.images or ())
    if settings.checkpoint is None:
        say(f"weights: {checkpoint}, shipped with this program (others: --checkpoint)")
    model, load = loaded(settings, checkpoint, processes)
    taken = {"checkpoint": checkpoint, "precision": model.precision}
    settings = replace(settings, **taken)  # for the records
    if settings.export_onnx is not None and processes.is_first:
        model.export(settings.export_onnx, settings.overwrite)
    if settings.images is None:
        return
    reading = SeriesOptions(
        settings.dates, settings.choose_dates, settings.bands, settings.align, settings.clouds,
        settings.cloud_codes, settings.min_valid_dates, model.pixel_scale, settings.composite,
        settings.composite_of, settings.scaling, bands_per_date=settings.bands_per_date,
        assets=settings.assets,
    )  # fmt: skip
    options = MapOptions(
        settings.overlap, settings.batch_size, settings.memory, settings.polygons,
        settings.min_area, settings.web_map, settings.resume, to_dict(settings), settings.threads,
    )  # fmt: skip
    folder = settings.output_dir
    if processes.is_first:
        folder = start_run("predict", settings, model.device)
    processes.wait_for_all()
    assert folder is not None
    with resumable(folder, processes.is_first), ExitStack() as stack:
        cluster = None
        if settings.executor == "dask":
            client = stack.enter_context(dask_client(settings.scheduler, settings.workers))
            cluster = DaskCluster(client, load)
        name = settings.name
        map_areas(settings.images, model, reading, options, folder, processes, name, cluster)
    processes.leave()
    if processes.is_first:
        say(f"maps, pictures, report: {folder}")


if __name__ == "__main__":
    run_program(main)
