"""Areas mapped by the workers of a Dask cluster, on this machine or on many that share a disk.

Each area of a folder of areas is a task; a single area is cut into parts of its rows. Where a
worker dies, Dask gives its task to another: an area is begun anew, a part goes on with the rows
that are stored. Tiles are computed as without a cluster, so the maps are the same to the byte. What
a worker says is said here when its task is done.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from data_processing.containers.virtual import is_address
from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import SeriesOptions, is_computed
from data_processing.own_series.series import spec_for
from mapping.area import MapOptions, plan_of, store_rows
from mapping.areas import map_one
from mapping.model import Model
from utils.errors import CaimError, without_frames
from utils.processes import Processes
from utils.progress import progress, say

__all__ = ["DaskCluster"]

PARTS_PER_WORKER = 4  # so that a slow worker holds up a small part, and a death costs one

Value = TypeVar("Value")


class DaskCluster:
    """Workers of a cluster as ``mapping.areas`` takes them.

    Args:
        client: Of ``distributed``.
        load: Reads the weights; called once in each worker. Its files lie under the same paths
            there, as images and results do.
    """

    def __init__(self, client: Any, load: partial[Model]) -> None:
        self._client, self._load = client, load

    def rows_of(
        self, images: Sequence[str], reading: SeriesOptions, options: MapOptions, folder: Path
    ) -> Callable[[], None]:
        """A function that has the rows of one area stored."""

        part_of_area = partial(
            _store_part, self._load, _absolute(images), _anywhere(reading), options,
            folder.absolute(),
        )  # fmt: skip

        def store() -> None:
            number = max(1, PARTS_PER_WORKER * len(self._client.scheduler_info()["workers"]))
            parts = [Processes(rank, number) for rank in range(number)]
            tasks = self._client.map(part_of_area, parts, pure=False)
            for task in progress(tasks, "parts", unit="part"):
                _result(task)

        return store

    def areas(
        self, areas: Sequence[Path], reading: SeriesOptions, options: MapOptions, folder: Path
    ) -> Iterator[Callable[[], dict[str, Any]]]:
        """Functions that wait for the summaries of areas, in their order; all begin at once."""
        one_area = partial(_map_area, self._load, _anywhere(reading), options, folder.absolute())
        tasks = self._client.map(one_area, [area.absolute() for area in areas], pure=False)
        return (partial(_result, task) for task in tasks)


def _absolute(words: Sequence[str]) -> tuple[str, ...]:
    """Paths that mean the same from any folder; addresses as they are."""
    return tuple(word if is_address(word) else str(Path(word).absolute()) for word in words)


def _anywhere(reading: SeriesOptions) -> SeriesOptions:
    """Options whose paths mean the same from any folder."""
    clouds, computed = reading.clouds, reading.computed_clouds
    return replace(
        reading,
        clouds=clouds if clouds is None or is_computed(clouds) else _absolute(clouds),
        computed_clouds=computed and computed.absolute(),
    )


def _result(task: Any) -> Any:
    """Value of a task, once what it printed is printed here.

    Raises:
        DataError, UserError, CaimError: As in the worker.
    """
    text, value, error = task.result()
    for line in text.splitlines():
        say(line)
    if error is not None:
        raise error
    return value


# ─────────────────────────────────────── in a worker ───────────────────────────────────────

_models: dict[str, Model] = {}


def _model(load: partial[Model]) -> Model:
    """The weights, read when first asked for."""
    name = repr(load)
    if name not in _models:
        _models.clear()
        _models[name] = load()
    return _models[name]


def _saying(action: Callable[[], Value]) -> tuple[str, Value | None, CaimError | None]:
    """Lines that an action prints, and its value or the error to tell; Dask is not to try again."""
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            value = action()
    except CaimError as error:
        return text.getvalue(), None, without_frames(error)
    return text.getvalue(), value, None


def _map_area(
    load: partial[Model], reading: SeriesOptions, options: MapOptions, folder: Path, area: Path
) -> tuple[str, dict[str, Any] | None, CaimError | None]:
    return _saying(lambda: map_one(area, _model(load), reading, options, folder, Processes()))


def _store_part(
    load: partial[Model],
    images: Sequence[str],
    reading: SeriesOptions,
    options: MapOptions,
    folder: Path,
    part: Processes,
) -> tuple[str, None, CaimError | None]:
    def store() -> None:
        weights = _model(load)
        spec = spec_for(weights.bands, weights.num_dates)
        with (
            redirect_stdout(io.StringIO()),  # the remarks are those of the whole area
            closing(open_raster_series(images, spec, reading)) as series,
        ):
            model, plan = plan_of(series, weights, options)
            store_rows(series, model, plan, options, folder, part)

    return _saying(store)
