"""One area from its series to its folder of results: maps, numbers, pictures, report.

Rows of the maps are stored as they are finished, so that an interrupted run can go on and several
processes can share an area; when all rows are there, the first process writes everything else.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import torch

from data_processing.own_series.series import RasterSeries
from data_processing.rasters.reading import read_map, set_decoded_bytes
from data_processing.rasters.sources import Raster, files_of, stamps_of
from mapping.memory_budget import GB, divide_memory
from mapping.model import Model
from mapping.pipeline import WriteBehind
from mapping.prediction import MapRows, TilePlan, TileRunner, predict_rows
from mapping.products.files import (
    AREA,
    ITEM,
    MOMENT,
    PICTURES,
    SCORE,
    SUMMARY,
    WEB_MAP,
    PolygonFile,
    map_names,
)
from mapping.products.ground_area import PixelAreas
from mapping.products.polygons import check_formats, write_polygons
from mapping.products.rasters import BLOCK, source_tags, write_change_rasters
from mapping.products.regions import BYTES_PER_PIXEL, ChangedRegions
from mapping.products.stac import stac_item
from mapping.products.styles import map_styles, write_styles
from mapping.products.summary import (
    AreaSums,
    grid_facts,
    probability_tags,
    result_line,
    score_tags,
)
from mapping.products.web_map import check_web_map, write_web_map
from mapping.report.draw import draw_area
from mapping.unfinished import RowStore, begin, finished, job_of
from utils.device import GIB, peak_memory_gib
from utils.errors import UserError
from utils.execution import take_threads
from utils.files import sha256, write_json
from utils.memory import PeakMeter
from utils.processes import Processes
from utils.progress import say
from utils.run_folder import UNFINISHED, environment
from utils.tiling import TileGrid

__all__ = ["MapOptions", "map_area", "plan_of", "refuse_among", "store_rows", "tile_grid"]

CPU = torch.device("cpu")  # whose peak is that of this process
DISK_PER_PIXEL = 15  # bytes at most, of stored rows, drafts and results together
DISK_FOR_PICTURES = 64 << 20


@dataclass(frozen=True)
class MapOptions:
    """Options by which areas are mapped: the flags of Predict.py of the same names.

    Attributes:
        overlap: Least overlap of tiles in pixels; None = half a tile.
        batch_size: Tiles at a time; None = as usual for the network.
        memory: Most that a process shall hold, in GB.
        polygons: Files of changed regions, of ``mapping.products.files.POLYGONS``.
        min_area: Regions of less ground, in m², are left out of them.
        web_map: Whether map.html is written, a page that loads tiles from the network.
        resume: Whether an unfinished area is gone on with.
        settings: All settings of the run, for summaries.
        threads: Of a CPU; None = as many as help.
    """

    overlap: int | None = None
    batch_size: int | None = None
    memory: float = 2.0
    polygons: Sequence[PolygonFile] = ()
    min_area: float = 0.0
    web_map: bool = False
    resume: bool = False
    settings: Mapping[str, Any] | None = None
    threads: int | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """Settings that decide on which files there are, as JSON has them."""
        return {
            "polygons": list(self.polygons), "min_area": self.min_area, "web_map": self.web_map,
        }  # fmt: skip


def tile_grid(series: RasterSeries, model: Model, overlap: int | None) -> TileGrid:
    """The tiles of a series, usually as large as the model was trained with; if not, it remarks.

    Raises:
        UserError: The overlap is not smaller than a tile.
    """
    side = model.tile_size
    chosen = side // 2 if overlap is None else overlap
    if not 0 <= chosen < side:
        raise UserError(f"--overlap: found {chosen}, expected 0 … {side - 1}, less than a tile.")
    trained = model.weights.data.get("patch_size", side)
    if trained != side:
        series.remarks.append(f"tiles of {side} pixels; the weights were trained with {trained}")
    return TileGrid(series.height, series.width, side, chosen)


def refuse_among(rasters: Iterable[Raster], folder: Path) -> None:
    """Make sure that no maps are laid among images or masks, where the next run would take them.

    Raises:
        UserError: The folder holds some of the files, or links to them.
    """
    for path in dict.fromkeys(chain.from_iterable(map(files_of, rasters))):
        if folder.resolve() in (path.parent.resolve(), path.resolve().parent):
            raise UserError(
                f"--output-dir {folder}: found {path.name} in it, which goes into the maps, "
                "expected a folder of their own. Give another one."
            )


def map_area(
    series: RasterSeries,
    model: Model,
    options: MapOptions,
    folder: Path,
    processes: Processes | None = None,
    store_elsewhere: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Map one area and write its folder.

    Args:
        series: Its images.
        model: The weights.
        options: See :class:`MapOptions`.
        folder: Gets the results; ``.unfinished`` in it is removed at the end.
        processes: Those that share the work, each calling this with the same arguments.
        store_elsewhere: Has workers call :func:`store_rows`; what is missing then is made here.

    Returns:
        Content of summary.json; nothing in processes other than the first.

    Raises:
        UserError: Memory or disk do not suffice, or an unfinished run has other settings.
        DataError: An image cannot be read.
        CaimError: A tile does not fit into the GPU's memory.
    """
    processes = processes or Processes()
    refuse_among([*chain(*series.sources), *series.cloud_files], folder)
    areas = PixelAreas(series.grid)
    model, plan = plan_of(series, model, options)
    job = job_of(series, model, plan)
    earlier = finished(folder, job, options.asked) if options.resume else None
    processes.wait_for_all()  # before the first one changes anything there
    if earlier is not None:
        say(f"{series.name}: complete already, nothing done")
        return earlier
    if processes.is_first:
        for remark in series.remarks:
            say(f"{series.name}: {remark}")
        _check_products(series, areas, options)
        _check_disk(folder, series)
        begin(folder, job, options.resume, (series.height, plan.layers, series.width))
    processes.wait_for_all()
    begun = time.perf_counter()
    if store_elsewhere is not None:
        store_elsewhere()
    store = store_rows(series, model, plan, options, folder, processes)
    processes.wait_for_all()
    if not processes.is_first:
        return {}
    seconds = time.perf_counter() - begun
    results = folder / UNFINISHED / "results"
    results.mkdir(exist_ok=True)
    summary = _write_results(series, model, plan.grid, areas, options, results, store, seconds)
    for name in (*summary["outputs"], *summary["styles"], *PICTURES):  # all, or none
        os.replace(results / name, folder / name)
    write_json(folder / SUMMARY, {**summary, "asked": options.asked, "job": job})
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    say(f"{series.name}: {result_line(summary)}")
    return summary


# ───────────────────────────────────────── the rows ─────────────────────────────────────────


def plan_of(series: RasterSeries, model: Model, options: MapOptions) -> tuple[Model, TilePlan]:
    """The model for as many dates as the series has, and how its tiles are computed.

    Raises:
        UserError: The overlap is not smaller than a tile.
    """
    model = model.for_dates(len(series.dates))
    return model, model.plan(tile_grid(series, model, options.overlap), options.batch_size)


def store_rows(
    series: RasterSeries,
    model: Model,
    plan: TilePlan,
    options: MapOptions,
    folder: Path,
    processes: Processes,
) -> RowStore:
    """Compute and store the rows of an area that fall to this process and are not stored yet.

    Args:
        series, options, folder: As of :func:`map_area`, which has begun the folder.
        model, plan: See :func:`plan_of`.
        processes: Whose part of the rows; the others may be anywhere, at any time.
    """
    store = RowStore(folder / UNFINISHED, (series.height, plan.layers, series.width))
    mine = processes.part_of(list(pairwise((*plan.grid.rows, series.height))))
    gaps = store.gaps(mine[0][0], mine[-1][1]) if mine else []
    if not gaps:
        return store
    pixels = plan.grid.tile_size**2 * len(plan.grid.cols) * len(plan.grid.rows)
    take_threads(options.threads, model.device, pixels, measured=processes.size == 1)
    runner = model.runner()
    plan = _within_memory(runner, series, plan, options.memory)
    note = "" if processes.size == 1 else f", process {processes.rank}"

    def put(rows: MapRows) -> None:
        store.put(rows.row, rows.layers)

    with WriteBehind(put) as write:
        for first, last in gaps:
            for rows in predict_rows(runner, series, plan, first, last, note):
                write(rows)
    series.close()
    return store


def _within_memory(
    runner: TileRunner, series: RasterSeries, plan: TilePlan, memory: float
) -> TilePlan:
    """The plan with as much read at a time as memory allows, after a first batch of zeros.

    That batch shows what the network takes by itself.
    """
    grid, batch_size = plan.grid, plan.batch_size
    bands, T, side = len(series.spec.bands), len(series.dates), grid.tile_size
    meter = PeakMeter(CPU)
    meter.reset()
    runner.wait(runner.start(torch.zeros(batch_size, T, bands, side, side))[1])
    used = float(meter.peak())
    budget = divide_memory(
        memory, 0.0 if math.isnan(used) else used, grid, batch_size,
        plan.num_classes, series.bytes_per_pixel, T * bands, series.block_rows,
    )  # fmt: skip
    set_decoded_bytes(budget.cache_bytes)
    return replace(plan, chunk_tiles=budget.chunk_tiles)


# ──────────────────────────────────────── the results ────────────────────────────────────────


def _write_results(
    series: RasterSeries,
    model: Model,
    grid: TileGrid,
    areas: PixelAreas,
    options: MapOptions,
    folder: Path,
    store: RowStore,
    seconds: float,
) -> dict[str, Any]:
    """Maps, polygons, pictures and report of an area whose rows are stored, and its summary.

    Args:
        folder: Below the one for unfinished work: nothing has its final place yet.
    """
    sums = AreaSums(areas, model.num_dates)
    formula = score_tags(model.bounds, model.has_moments, model.decision.offset)
    calibration = None if model.calibration is None else model.calibration.facts()
    tags = {**source_tags(model.facts()), "AREA": series.name}
    slabs = write_change_rasters(
        folder, folder.parent, store.slabs(BLOCK), series.grid, series.dates, tags, formula,
        model.has_moments, None if calibration is None else probability_tags(calibration),
    )  # fmt: skip
    for row, slab in slabs:
        sums.add(row, *slab)
    summary: dict[str, Any] = {
        "area": series.name,
        "dates": [date.isoformat() for date in series.dates],
        "files": _files(series),
        "checkpoint": model.facts(),
        "grid": grid_facts(series.grid, areas),
        **sums.summary(series.dates),
        "score": {
            "formula": formula["SCORE_FORMULA"],
            "lower": model.bounds[0],
            "upper": model.bounds[1],
        },
        **({} if calibration is None else {"probability": calibration}),
        "tiles": {"size": grid.tile_size, "overlap": grid.overlap, "number": len(grid.origins)},
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "settings": dict(options.settings or {}),
        "remarks": list(series.remarks),
        "gaps": list(series.gaps),
        "environment": environment(model.device),
    }  # fmt: skip
    shown = MOMENT if model.has_moments else AREA
    names = map_names(model.has_moments, calibration is not None)
    names += _write_vectors(folder, series, areas, options, shown, summary)
    summary["outputs"] = {name: _checksum(folder / name) for name in names}
    item = stac_item(summary, series.grid, series.dates)
    if item is not None:
        write_json(folder / ITEM, item)
        summary["outputs"][ITEM] = _checksum(folder / ITEM)
    summary["styles"] = write_styles(folder, map_styles(series.dates))
    draw_area(folder, series, summary, shown)
    return summary


def _write_vectors(
    folder: Path,
    series: RasterSeries,
    areas: PixelAreas,
    options: MapOptions,
    shown: str,
    summary: dict[str, Any],
) -> list[str]:
    """Polygons and the web map, as far as they are asked for; names of the files.

    Args:
        shown: File of the map of moments or areas.
        summary: Gets how many polygons there are.
    """
    if options.polygons:
        regions = ChangedRegions(
            read_map(folder / shown), read_map(folder / SCORE), series.grid, series.dates, areas,
            options.min_area,
        )  # fmt: skip
        for name in options.polygons:
            summary["polygons"] = write_polygons(folder / name, regions)._asdict()
    if options.web_map:
        write_web_map(folder / WEB_MAP, folder, shown, series.name, series.dates)
    return [*options.polygons, *([WEB_MAP] if options.web_map else [])]


def _checksum(path: Path) -> dict[str, Any]:
    """The facts of a file, for the summary."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _files(series: RasterSeries) -> list[dict[str, Any]]:
    """The images of a series, for its summary; of one at an address its name alone is known."""
    facts = {
        path: _checksum(path)
        for path in stamps_of(chain(*series.sources))
        if path.is_file()  # a cube may be a folder
    }
    unknown = {"bytes": None, "sha256": None}
    rows = []
    for date, rasters in zip(series.dates, series.sources, strict=True):
        for raster in rasters:
            paths = files_of(raster)
            names = [raster.name] if len(paths) < 2 else [path.name for path in paths]
            sums = [facts.get(path, unknown) for path in paths] or [unknown]
            rows += [
                {"date": date.isoformat(), "name": name, **each}
                for name, each in zip(names, sums, strict=True)
            ]
    return rows


# ─────────────────────────────────── the job, before and after ───────────────────────────────────


def _check_products(series: RasterSeries, areas: PixelAreas, options: MapOptions) -> None:
    """Refuse at once what would fail when everything else is done."""
    if options.web_map:
        check_web_map(series.grid)
    if not options.polygons:
        return
    check_formats(options.polygons)
    if not areas.ellipsoidal:
        raise UserError(
            f"--polygons: {series.files[0]} does not say where on Earth it lies, expected a CRS, "
            "to place and measure the changes. Leave --polygons out."
        )
    needed = BYTES_PER_PIXEL * series.height * series.width + peak_memory_gib(CPU) * GIB
    if needed > options.memory * GB:
        raise UserError(
            f"--polygons: maps of {series.width}×{series.height} pixels are held as a whole for "
            f"it, which may take {needed / GB:.1f} GB; found --memory {options.memory:g}. Give "
            "more, or leave --polygons out."
        )


def _check_disk(folder: Path, series: RasterSeries) -> None:
    """Foresee a full disk."""
    folder.mkdir(parents=True, exist_ok=True)
    needed = DISK_PER_PIXEL * series.height * series.width + DISK_FOR_PICTURES
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {free / GB:.1f} GB are free, expected up to {needed / GB:.1f} GB for maps "
            f"of {series.width}×{series.height} pixels. Make room, or give another --output-dir."
        )
