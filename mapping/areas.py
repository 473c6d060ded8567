"""Several areas in one run: a folder of folders, mapped one by one, with a table of them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from data_processing.own_series.finding import find_rasters, rasters_in
from data_processing.own_series.gathering import mask_words
from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import SeriesOptions, is_computed
from data_processing.own_series.series import spec_for
from mapping.area import MapOptions, map_area, refuse_among
from mapping.model import Model
from utils.errors import CaimError, DataError, UserError, without_frames
from utils.files import write_csv_rows
from utils.processes import Processes
from utils.progress import say
from utils.settings import REPOSITORY

__all__ = [
    "Cluster",
    "area_folders",
    "check_output",
    "map_areas",
    "map_one",
    "shipped_weights",
]

PAIR = 2  # images, for the network for pairs

CLOUDS = "clouds"  # folder of computed masks among an area's results
Fault = DataError | UserError


class Cluster(Protocol):
    """Workers that map areas, see ``mapping.cluster``."""

    def rows_of(
        self, images: Sequence[str], reading: SeriesOptions, options: MapOptions, folder: Path
    ) -> Callable[[], None]:
        """A function that has the rows of one area stored."""
        ...

    def areas(
        self, areas: Sequence[Path], reading: SeriesOptions, options: MapOptions, folder: Path
    ) -> Iterator[Callable[[], dict[str, Any]]]:
        """Functions that wait for the summaries of areas, in their order; all begin at once."""
        ...


AreaFault = tuple[str, Fault]  # an area, and what is wrong with it


def area_folders(images: Sequence[str]) -> list[Path]:
    """The areas of a folder of folders; none where the images are those of one area.

    Args:
        images: The value of ``--images``.
    """
    if len(images) != 1 or not Path(images[0]).is_dir() or _holds_rasters(Path(images[0])):
        return []
    folders = [path for path in Path(images[0]).iterdir() if path.is_dir()]
    return sorted(path for path in folders if path.name[0] != "." and _holds_rasters(path))


def shipped_weights(images: Sequence[str]) -> Path:
    """Weights in best_model/ that go with images: for a pair, or those of six dates.

    Args:
        images: The value of ``--images``; empty for none.

    Raises:
        UserError: There are no images.
    """
    areas = area_folders(images)
    first = [str(areas[0])] if areas else list(images)
    pair = bool(first) and len(find_rasters(first, "--images")) == PAIR
    return REPOSITORY / "best_model" / f"Pretrained_model_{'CTMA' if pair else 'Dynamic'}.pth"


def check_output(images: Sequence[str], clouds: Sequence[str] | None, folder: Path) -> None:
    """Look at where results go before anything is written there.

    Args:
        images: The value of ``--images``.
        clouds: The value of ``--clouds``.
        folder: Of the run.

    Raises:
        UserError: There are no images, or results would lie among images or masks.
    """
    try:
        str(folder).encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            f"--output-dir {str(folder)!r}: found a path that is no UTF-8 text, expected one that "
            "maps can be written to. Give another one."
        ) from error
    areas = area_folders(images)
    for area in areas:
        refuse_among(find_rasters([str(area)], "--images"), folder / area.name)
    if not areas:
        refuse_among(find_rasters(list(images), "--images"), folder)
        masks = mask_words(images, clouds)
        refuse_among(find_rasters(masks, "--clouds") if masks else [], folder)


def map_areas(
    images: Sequence[str],
    model: Model,
    reading: SeriesOptions,
    options: MapOptions,
    folder: Path,
    processes: Processes,
    name: str | None = None,
    cluster: Cluster | None = None,
) -> list[dict[str, Any]]:
    """Map one area into ``folder``, or each area of a folder of folders into one of its own.

    Areas at fault are told at the end, the others are mapped. ``areas.csv`` lists them all.

    Args:
        images: The value of ``--images``: files, a folder, a pattern, or a folder of folders.
        model: The weights.
        reading: How series are put together.
        options: How areas are mapped.
        folder: Of the run.
        processes: Those that share the work.
        name: Of the place, where it is one area; None = that of the images' folder.
        cluster: Has it done by workers of a cluster.

    Returns:
        Summaries of the areas that were mapped.

    Raises:
        UserError: A flag cannot be used as given, with any area.
        DataError: Images are missing or at fault.
        CaimError: The same, found by one of several processes in the middle of an area.
    """
    areas = area_folders(images)
    if not areas:
        spec = spec_for(model.bands, model.num_dates)
        own = _kept_in(folder, reading)
        with closing(open_raster_series(images, spec, own, name)) as series:
            by_workers = cluster.rows_of(images, own, options, folder) if cluster else None
            return [map_area(series, model, options, folder, processes, by_workers)]
    _check_flags(images[0], areas, reading, name)
    passed_over = _without_rasters(Path(images[0]), areas)
    if passed_over:
        say(f"no GeoTIFFs in {', '.join(passed_over)}: passed over")
    summaries, errors = _map_each(areas, model, reading, options, folder, processes, cluster)
    processes.wait_for_all()  # who leaves with an error ends the others
    _tell(errors, len(areas), folder / "areas.csv")
    return summaries


def _map_each(
    areas: Sequence[Path],
    model: Model,
    reading: SeriesOptions,
    options: MapOptions,
    folder: Path,
    processes: Processes,
    cluster: Cluster | None,
) -> tuple[list[dict[str, Any]], list[AreaFault]]:
    """Summaries of the areas that can be mapped, and faults of the others; their table."""
    summaries, rows, errors = list[dict[str, Any]](), list[dict[str, Any]](), list[AreaFault]()
    pending = cluster.areas(areas, reading, options, folder) if cluster else None
    for area in areas:
        begun = time.perf_counter()
        row: dict[str, Any] = {"area": area.name, "state": "mapped"}
        try:
            summary = (
                next(pending)()
                if pending
                else map_one(area, model, reading, options, folder, processes)
            )
            summaries.append(summary)
            row |= _row(summary) if summary else {}
        except (DataError, UserError) as error:
            say(f"{area.name}: not mapped. {error}")
            errors.append((area.name, without_frames(error)))
            row |= {"state": "at fault", "message": "; ".join(_sentences(error))}
        rows.append({**row, "seconds": f"{time.perf_counter() - begun:.1f}"})
        if processes.is_first:
            write_csv_rows(folder / "areas.csv", rows)
    return summaries, errors


def _tell(errors: Sequence[tuple[str, DataError | UserError]], number: int, table: Path) -> None:
    """Raise what was wrong with areas.

    Raises:
        UserError: It is the same mistake in all of them, a flag's.
        DataError: Some areas are at fault.
    """
    if not errors:
        return
    first = errors[0][1]
    if len(errors) == number and all(isinstance(error, UserError) for _, error in errors):
        raise first
    faults = [f"{name}: {sentence}" for name, error in errors for sentence in _sentences(error)]
    raise DataError(
        f"{len(errors)} of {number} areas", faults, f"The others are mapped; {table} lists all."
    )


def _sentences(error: DataError | UserError) -> list[str]:
    """Faults of an area, each with its place."""
    if isinstance(error, UserError) or not error.faults:
        return [str(error)]
    return [f"{error.where}: {fault}" for fault in error.faults]


def map_one(
    area: Path,
    model: Model,
    reading: SeriesOptions,
    options: MapOptions,
    folder: Path,
    processes: Processes,
) -> dict[str, Any]:
    """The summary of one of several areas.

    Raises:
        UserError: A flag does not go with its images.
        DataError: Its images are at fault.
        CaimError: The same, found by one of several processes while it reads: the others wait for
            it, so that all have to end.
    """
    own = _of_area(reading, area.name, folder / area.name)
    spec = spec_for(model.bands, model.num_dates)
    series = open_raster_series([area], spec, own, area.name)
    try:
        return map_area(series, model, options, folder / area.name, processes)
    except (DataError, UserError) as error:
        if processes.size > 1:
            raise CaimError(f"{area.name}: {error}") from error
        raise
    finally:
        series.close()


def _without_rasters(root: Path, areas: Sequence[Path]) -> list[str]:
    """Names of folders beside the areas that hold nothing to map."""
    folders = [path for path in root.iterdir() if path.is_dir() and path.name[0] != "."]
    return sorted(path.name for path in folders if path not in areas)


def _holds_rasters(folder: Path) -> bool:
    return bool(rasters_in(folder))


def _check_flags(
    root: str, areas: Sequence[Path], reading: SeriesOptions, name: str | None
) -> None:
    """Make sure that the flags go with several areas.

    Raises:
        UserError: One is for one area only, or cloud masks cannot be told apart by area.
    """
    for flag, value, rule in (
        ("--dates", reading.dates, "dates come from the names or tags of the images"),
        ("--name", name, "names are those of their folders"),
    ):
        if value is not None:
            raise UserError(
                f"{flag}: found {len(areas)} areas in {root}, expected one; for several areas "
                f"{rule}."
            )
    _check_clouds(reading, areas)


def _check_clouds(reading: SeriesOptions, areas: Sequence[Path]) -> None:
    """Make sure that cloud masks can be told apart by area.

    Raises:
        UserError: They lie in no folders with names of areas.
    """
    if reading.clouds is None or is_computed(reading.clouds):
        return
    root = Path(reading.clouds[0])
    if len(reading.clouds) != 1 or not root.is_dir():
        raise UserError(
            f"--clouds: found {', '.join(reading.clouds)}, expected a folder that holds a folder "
            "of masks for each area, named as the area."
        )
    if not any((root / area.name).is_dir() for area in areas):
        raise UserError(
            f"--clouds: found no folder {areas[0].name} … {areas[-1].name} in {root}, expected a "
            "folder of masks for each area, named as the area."
        )


def _kept_in(folder: Path, reading: SeriesOptions) -> SeriesOptions:
    """Options by which computed cloud masks are kept among the results of an area."""
    return replace(reading, computed_clouds=folder / CLOUDS)


def _of_area(reading: SeriesOptions, name: str, folder: Path) -> SeriesOptions:
    """Options for the series of one area: its cloud masks lie in a folder of its name.

    Args:
        reading: Options of all areas.
        name: Of the area.
        folder: Of its results.
    """
    if reading.clouds is None or is_computed(reading.clouds):
        return _kept_in(folder, reading)
    own = Path(reading.clouds[0]) / name
    if own.is_dir():
        return replace(reading, clouds=(str(own),))
    say(f"{name}: no folder of cloud masks, taken as clear")
    return replace(reading, clouds=None)


def _row(summary: Mapping[str, Any]) -> dict[str, Any]:
    """An area's row of the table."""
    hectares = summary["hectares"] or {}
    pixels = summary["pixels"]
    return {
        "first_date": summary["dates"][0],
        "last_date": summary["dates"][-1],
        "mapped_pixels": pixels["mapped"],
        "changed_pixels": pixels["changed"],
        "mapped_hectares": _number(hectares.get("mapped")),
        "changed_hectares": _number(hectares.get("changed")),
        **{f"pixels_moment_{row['moment']}": row["pixels"] for row in summary["intervals"]},
        **{
            f"hectares_moment_{row['moment']}": _number(row["hectares"])
            for row in summary["intervals"]
        },
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
