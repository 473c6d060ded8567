"""What decides on the maps of an area, so that a run can be gone on with and never mixes two.

A job is written down before the first tile and again in summary.json. Whether a finished or an
unfinished area belongs to the job at hand is decided here.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_processing.own_series.series import RasterSeries
from mapping.model import Model
from mapping.prediction import TilePlan
from utils.errors import UserError
from utils.files import read_json, sha256, write_json
from utils.run_folder import UNFINISHED

__all__ = ["begin", "finished", "job_of"]

PICTURES = ("report.html", "quicklook.png", "series.gif")
MAPS = ("change_area.tif", "change_moment.tif", "change_date.tif", "change_score.tif")
SHOWN = 60  # characters of a setting in a message

Job = Mapping[str, Any]


def job_of(series: RasterSeries, model: Model, plan: TilePlan) -> dict[str, Any]:
    """What decides on every pixel of the maps, as it comes back from a JSON file."""
    stamps = {}
    for path in (*series.files, *series.cloud_files):
        status = path.stat()
        stamps[str(path.resolve())] = [status.st_size, status.st_mtime_ns]
    job = {
        "images": stamps,
        "dates": [date.isoformat() for date in series.dates],
        "checkpoint": model.checksum,
        "pixel_scale": model.pixel_scale,
        "cam": model.weights.arguments.get("cam"),
        "precision": model.precision,
        "backend": model.backend,
        "tile_size": plan.grid.tile_size,
        "overlap": plan.grid.overlap,
        "reading": series.reading,
        "batch_size": plan.batch_size if model.mixes_batch else "any",
    }
    read_back: dict[str, Any] = json.loads(json.dumps(job))
    return read_back


def finished(folder: Path, job: Job, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of an area that was mapped to its end by the same job, None if it was not.

    Args:
        folder: Of the area.
        job: The job at hand.
        asked: What else decides on the files: polygons and their smallest area.

    Raises:
        UserError: It was mapped to its end by another job.
    """
    try:
        summary: dict[str, Any] = read_json(folder / "summary.json")
        before, outputs = summary["job"], summary["outputs"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    _refuse_another(folder, before, job)
    whole = summary.get("asked") == dict(asked)
    whole &= all((folder / name).is_file() for name in (*PICTURES, *outputs))
    whole = whole and all(sha256(folder / n) == facts["sha256"] for n, facts in outputs.items())
    return summary if whole else None


def begin(folder: Path, job: Job, resume: bool) -> None:
    """Make the folder for unfinished work, or make sure that the one there is of this job.

    Where it begins anew, results of an earlier run are removed, so that none stays beside new ones.

    Raises:
        UserError: The work there is of another job.
    """
    unfinished = folder / UNFINISHED
    record = unfinished / "job.json"
    if resume and record.is_file():
        _refuse_another(folder, read_json(record), job)
        return
    for name in ("summary.json", *PICTURES, *MAPS, "changes.geojson"):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write_json(record, job)


def _refuse_another(folder: Path, before: Job, job: Job) -> None:
    other = [
        _images(before.get(key, {}), job[key])
        if key == "images"
        else f"{key}: {_short(before.get(key))} there, {_short(job[key])} now"
        for key in job
        if before.get(key) != job[key]
    ]
    if other:
        raise UserError(
            f"--resume: {folder} was begun with other input or settings ({'; '.join(other)}). Give "
            "those of the first start again, or --overwrite instead of --resume to begin anew."
        )


def _images(before: Job, now: Job) -> str:
    """Which images differ."""
    names = sorted({name for name in {*before, *now} if before.get(name) != now.get(name)})
    listed = ", ".join(Path(name).name for name in names[:3]) + (" …" if len(names) > 3 else "")
    return f"images: {listed} differ"


def _short(value: Any) -> str:
    """A value as a message shows it."""
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
