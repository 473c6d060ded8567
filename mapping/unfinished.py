"""An area that is not finished: what decides on its maps, and the rows that are done.

A job is written down before the first tile and again in summary.json. Whether a finished or an
unfinished area belongs to the job at hand is decided here, so that a run can be gone on with and
never mixes two. Several processes store rows of one area at the same time.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.own_series.series import RasterSeries
from data_processing.rasters.sources import Source, stamps_of
from mapping.model import Model
from mapping.prediction import TilePlan
from mapping.products.files import PICTURES, PRODUCTS, SUMMARY
from mapping.products.summary import result_line
from utils.errors import CaimError, UserError
from utils.files import read_json, remove_partial_files, sha256, write_json
from utils.run_folder import UNFINISHED

__all__ = ["RowStore", "begin", "finished", "job_of"]

ADVICE = "Run again with --overwrite, without --resume."
SHOWN = 60  # characters of a setting in a message

Job = Mapping[str, Any]


def job_of(series: RasterSeries, model: Model, plan: TilePlan) -> dict[str, Any]:
    """Everything that decides on pixels of the maps, as it comes back from a JSON file."""
    rasters = (*chain(*series.sources), *series.cloud_files)
    stamps = {
        str(path.resolve()): [size, time] for path, (size, time, _) in stamps_of(rasters).items()
    }
    others: dict[str, list[int]] = {str(r): [] for r in rasters if isinstance(r, Source)}
    job = {
        "images": {**others, **stamps},
        "dates": [date.isoformat() for date in series.dates],
        "checkpoint": model.checksum,
        "pixel_scale": model.pixel_scale,
        "decision": model.decision.offset,
        "probability": model.calibration is not None,
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
        summary: dict[str, Any] = read_json(folder / SUMMARY)
        before, outputs = dict(summary["job"]), dict(summary["outputs"])
        sums = {name: str(facts["sha256"]) for name, facts in outputs.items() if name in PRODUCTS}
        result_line(summary)
        for row in summary["intervals"]:
            _ = row["moment"], row["pixels"], row["hectares"], summary["dates"][row["moment"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # missing, or no summary that this program wrote
    _refuse_another(folder, before, job)
    whole = summary.get("asked") == dict(asked)
    whole &= sums.keys() == outputs.keys()
    whole &= all((folder / name).is_file() for name in (*PICTURES, *sums))
    whole = whole and all(sha256(folder / name) == digest for name, digest in sums.items())
    return summary if whole else None


def begin(folder: Path, job: Job, resume: bool, shape: tuple[int, int, int]) -> None:
    """Make the folder for unfinished work, or make sure that the one there is of this job.

    Where it begins anew, results of an earlier run are removed, so that none stays beside new ones.

    Args:
        folder: Of the area; no other run may work in it.
        job: The job at hand.
        resume: Whether unfinished work is gone on with.
        shape: Height of the area's rasters, number of maps that are stored, width.

    Raises:
        UserError: The work there is of another job, or its record is damaged.
    """
    unfinished = folder / UNFINISHED
    record = unfinished / "job.json"
    remove_partial_files(folder)
    if resume and record.is_file():
        _refuse_another(folder, _read_record(record), job)
        return
    for name in PRODUCTS:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    RowStore(unfinished, shape).create()
    write_json(record, job)


def _read_record(record: Path) -> Job:
    try:
        return dict(read_json(record))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{record}: the record of the run is damaged ({error}). {ADVICE}"
        ) from error


class RowStore:
    """Finished rows of the maps of one raster, in a file of the whole map and a list of rows.

    Rows are written by their place in the file, not through a memory map: a full disk is an error
    then and no signal, and processes on several machines do not overwrite each other's pages. A
    row counts once the list says so, after its values are on the disk.

    Args:
        folder: Where the two files lie.
        shape: Height of the raster, number of maps, width of the raster.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self.height, self._shape = shape[0], shape
        self._values, self._list = Path(folder) / "rows.npy", Path(folder) / "rows.done"

    def create(self) -> None:
        """Make both files, with no row done; they take no room on the disk yet."""
        np.lib.format.open_memmap(self._values, "w+", np.uint8, self._shape).flush()
        self._list.write_bytes(bytes(self.height))

    def put(self, row: int, rows: NDArray[np.uint8]) -> None:
        """Store rows (maps, h, W) that begin at pixel row ``row``.

        Raises:
            OSError: The disk is full or cannot be written.
        """
        whole_row = self._shape[1] * self._shape[2]
        begin = self._values.stat().st_size - self.height * whole_row
        content = np.ascontiguousarray(rows.swapaxes(0, 1)).tobytes()
        _write_at(self._values, begin + row * whole_row, content)
        _write_at(self._list, row, bytes([1]) * rows.shape[1])

    def gaps(self, first: int, last: int) -> list[tuple[int, int]]:
        """Rows of ``first`` … ``last − 1`` that are not stored, as (first, last) of each gap.

        Raises:
            CaimError: The files are damaged.
        """
        self._open()
        done = np.frombuffer(self._list.read_bytes(), np.uint8)[first:last] == 1
        steps = np.flatnonzero(np.diff(done, prepend=True, append=True)) + first
        return [(int(begin), int(end)) for begin, end in steps.reshape(-1, 2)]

    def slabs(self, rows: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """All rows in order: the first row and (maps, h, W) of slabs of ``rows`` rows.

        Raises:
            CaimError: Rows are missing, or the files are damaged.
        """
        missing = self.gaps(0, self.height)
        if missing:
            raise CaimError(
                f"{self._values}: found no rows {missing[0][0]}…{missing[0][1] - 1}, expected all "
                f"{self.height}; another process may have failed. Run again with --resume."
            )
        for row in range(0, self.height, rows):
            values = self._open()  # anew, since pages of a map that stays open count as memory
            yield row, np.array(values[row : row + rows]).swapaxes(0, 1)

    def _open(self) -> NDArray[np.uint8]:
        """The whole store (H, maps, W), read from the disk as it is needed."""
        try:
            values: NDArray[np.uint8] = np.load(self._values, mmap_mode="r", allow_pickle=False)
            done = self._list.stat().st_size
        except (OSError, ValueError, EOFError) as error:
            raise CaimError(f"{self._values}: the rows are damaged ({error}). {ADVICE}") from error
        if (values.shape, values.dtype.name, done) != (self._shape, "uint8", self.height):
            raise CaimError(
                f"{self._values}: found {values.shape} {values.dtype} and a list of {done} rows, "
                f"expected {self._shape} uint8 and {self.height}. {ADVICE}"
            )
        return values


def _write_at(path: Path, place: int, content: bytes) -> None:
    """Write into the middle of a file, on the disk to its end."""
    with path.open("rb+") as stream:
        stream.seek(place)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _refuse_another(folder: Path, before: Job, job: Job) -> None:
    other = [
        _images(before.get(key), job[key])
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


def _images(recorded: Any, now: Job) -> str:
    """Name the images that differ."""
    before = recorded if isinstance(recorded, Mapping) else {}
    names = sorted({name for name in {*before, *now} if before.get(name) != now.get(name)})
    listed = ", ".join(Path(name).name for name in names[:3]) + (" …" if len(names) > 3 else "")
    return f"images: {listed} differ"


def _short(value: Any) -> str:
    """A value as a message shows it."""
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
