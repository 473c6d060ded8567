"""The rasters of a place that make up its series, fitting each other and the network.

Dates come from flags, names or tags; headers are compared before any pixel is read, and all faults
are told at once. Values are looked at in ``looking``, reading is in ``series``.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_processing.containers.stacks import BandStack
from data_processing.own_series.bands import (
    numbers_by_name,
    other_colors,
    other_names,
    without_alpha,
)
from data_processing.own_series.clouds import CloudMask, cloud_masks
from data_processing.own_series.composites import image_per_period, periods_of
from data_processing.own_series.computed_clouds import computed_masks
from data_processing.own_series.dating import (
    chosen_dates,
    clearest_dates,
    clearest_number,
    dated_files,
    refuse_stack,
)
from data_processing.own_series.finding import (
    asked_bands,
    different,
    headers_of,
    unusable,
)
from data_processing.own_series.gathering import Gathered, gather
from data_processing.own_series.image import OpenImage
from data_processing.own_series.looking import look_at_values, warnings_of
from data_processing.own_series.options import Remarks, SeriesOptions, is_computed
from data_processing.own_series.scaling import with_scaling
from data_processing.own_series.series import RasterSeries
from data_processing.own_series.stacked import image_of
from data_processing.rasters.grids import grid_faults, misplaced, on_earth, touch
from data_processing.rasters.reading import RasterInfo
from data_processing.rasters.sources import Raster, Source, folder_of
from data_processing.scenes.spec import IMAGE_FOLDERS, DatasetSpec
from utils.errors import DataError, UserError

__all__ = ["open_raster_series"]

ADVICE = "Bring all images to one type and number of bands."
OTHER_ADVICE = "Mend these files, or name others."
GRID_ADVICE = "Bring all images to one grid, or let --align resample them to that of the first."


def open_raster_series(
    given: str | Path | Sequence[str | Path] | Gathered,
    spec: DatasetSpec,
    options: SeriesOptions | None = None,
    name: str | None = None,
) -> RasterSeries:
    """Put the images of one place together and make sure that they fit each other and the network.

    Args:
        given: Files, a folder, or a pattern, or several of them; or images put together already.
        spec: Bands and number of dates that are expected; see ``spec_for``.
        options: See :class:`SeriesOptions`.
        name: Of the area; that of the images' folder if left out.

    Raises:
        UserError: A flag cannot be used as given.
        DataError: With all faults of dates and headers.
    """
    options = options or SeriesOptions()
    numbers, band_names = asked_bands(options.bands, spec)
    words = [given] if isinstance(given, str | Path) else given
    gathered = words if isinstance(words, Gathered) else gather(words, options, band_names)
    files = gathered.rasters
    where = folder_of(files[0])
    remarks = Remarks(all=list(gathered.remarks))
    refuse_stack(files, len(spec.bands), spec.num_dates)
    dated = _dated(words, gathered, spec, options, numbers, remarks.all)
    groups = periods_of(list(dated), options.composite)
    clearest = clearest_number(options, spec, len(groups))
    dates = list(groups)
    if clearest is None:
        dates = chosen_dates(dates, spec, options.choose_dates, where, remarks)
    paths = {date: dated[date] for period in dates for date in groups[period]}
    headers, numbers = _fitting(
        list(paths.values()), spec, options, numbers, band_names, where, remarks.all
    )
    first = headers[0][1]
    if options.align:
        remarks.all += _aligned(headers)
    headers = with_scaling(list(paths), list(paths.values()), headers, options.scaling, remarks.all)
    opened = {
        date: image_of(path, info, first, numbers, spec.alpha_band)
        for (date, path), (_, info) in zip(paths.items(), headers, strict=True)
    }
    masks = _masks(gathered, opened, paths, spec, options, remarks)
    unseen = look_at_values(list(paths), [*opened.values()], masks, headers, spec, options, remarks)
    if clearest is not None:
        if gathered.cover is not None and options.clouds is None:
            unseen = [max(pair) for pair in zip(unseen, gathered.cover, strict=True)]
        dates = clearest_dates(dates, unseen, clearest, remarks)
    needed = options.min_valid_dates
    _check_needed(spec.num_dates if needed is None else needed, len(dates), remarks)
    members = {period: groups[period] for period in dates}
    images, clouds = image_per_period(
        opened, dict(zip(paths, masks, strict=True)), members, options, remarks
    )
    left_out = [date for date in groups if date not in dates]
    label = name or gathered.name or _place_name(files[0])
    return RasterSeries(label, dates, images, clouds, spec, options, remarks, left_out)


def _dated(
    words: Sequence[str | Path] | Gathered,
    gathered: Gathered,
    spec: DatasetSpec,
    options: SeriesOptions,
    numbers: tuple[int, ...] | None,
    remarks: list[str],
) -> dict[datetime.date, Raster]:
    """Images by date, ascending; faults of headers are told together with those of dates.

    Raises:
        DataError: With all these faults.
    """
    files = gathered.rasters
    if gathered.dates is not None or isinstance(words, Gathered):
        assert gathered.dates is not None
        return dict(zip(gathered.dates, files, strict=True))
    try:
        return dated_files(words, files, spec, options.dates, remarks)
    except DataError as error:
        faults = list(error.faults)
        headers = headers_of(files, faults)
        faults += _header_faults(headers, spec, numbers, options.align) if headers else []
        advice = _one_band_each(headers) or error.advice
        raise DataError(folder_of(files[0]), faults, advice) from error


def _masks(
    gathered: Gathered,
    opened: Mapping[datetime.date, OpenImage],
    paths: Mapping[datetime.date, Raster],
    spec: DatasetSpec,
    options: SeriesOptions,
    remarks: Remarks,
) -> list[CloudMask | None]:
    """The cloud mask of each date: computed, from files or from what the images come in."""
    if is_computed(options.clouds):
        return computed_masks(opened, spec.bands, options.computed_clouds, remarks)
    grid = next(iter(opened.values())).grid
    own = None
    if gathered.clouds is not None:
        mask_of = dict(zip(gathered.rasters, gathered.clouds, strict=True))
        own = [mask_of[path] for path in paths.values()]
    return cloud_masks(options.clouds, options.cloud_codes, list(paths), grid, remarks, own)


def _check_needed(needed: int, count: int, remarks: Remarks) -> None:
    """Say at how many of the dates a pixel has to be seen.

    Raises:
        UserError: There are not as many.
    """
    if not 1 <= needed <= count:
        raise UserError(f"--min-valid-dates: found {needed}, expected 1 … {count}.")
    if needed < count:
        remarks.all.append(
            f"pixels seen at {needed} of {count} dates are mapped; a date without data keeps the "
            "value of the date before"
        )


def _place_name(file: Raster) -> str:
    """Name an area after its folder, or the one above a data set's image folder."""
    folder = Path(folder_of(file)) if isinstance(file, Source) else file.resolve().parent
    if folder.name in IMAGE_FOLDERS:
        folder = folder.parent
    return folder.name.removesuffix(".zip") or "area"


def _one_band_each(headers: Sequence[tuple[str, RasterInfo]]) -> str:
    """Advice where each file holds one band of a date; empty where that is not so."""
    if len(headers) <= 2 or any(info.count != 1 for _, info in headers):
        return ""
    return (
        "Each file holds one band: name the bands in the network's order as the files' names hold "
        "them, such as --bands B02,B03,B04,B08"
    )


# ────────────────────────────────────── headers and bands ──────────────────────────────────────


def _fitting(
    paths: Sequence[Raster],
    spec: DatasetSpec,
    options: SeriesOptions,
    numbers: tuple[int, ...] | None,
    band_names: Sequence[str] | None,
    where: str,
    remarks: list[str],
) -> tuple[list[tuple[str, RasterInfo]], tuple[int, ...] | None]:
    """Names and headers of images that fit each other and the network, and the bands to take.

    Raises:
        DataError: With all faults of headers.
    """
    faults: list[str] = []
    headers = headers_of(paths, faults)
    picked = options.bands is not None
    if headers and band_names is not None and not isinstance(paths[0], BandStack):
        numbers = numbers_by_name(band_names, headers, faults)
        if faults:
            raise DataError(where, faults, "Name bands by their numbers, or others.")
    if headers:
        numbers = numbers or without_alpha(headers[0][1], spec)
        faults += _header_faults(headers, spec, numbers, options.align)
    order = [] if faults else _other_order(headers, spec, numbers, picked, remarks)
    if order:
        raise DataError(where, order)
    if faults:
        raise DataError(where, faults, _advice(headers, options.align))
    return headers, numbers


def _advice(headers: Sequence[tuple[str, RasterInfo]], align: bool) -> str:
    """Advice where headers are at fault, beside what each fault says."""
    if headers and not align and grid_faults(headers):
        return GRID_ADVICE
    return ADVICE if headers and different(headers, grid=False) else OTHER_ADVICE


def _header_faults(
    headers: Sequence[tuple[str, RasterInfo]],
    spec: DatasetSpec,
    numbers: tuple[int, ...] | None,
    align: bool,
) -> list[str]:
    """Faults of headers: in the first one, which stands for all, and between them."""
    faults = unusable(*headers[0], spec, numbers or without_alpha(headers[0][1], spec))
    faults += different(headers, grid=not align)
    return faults + [f"{name}: {fault}" for name, info in headers if (fault := misplaced(info))]


def _other_order(
    headers: Sequence[tuple[str, RasterInfo]],
    spec: DatasetSpec,
    numbers: tuple[int, ...] | None,
    picked: bool,
    remarks: list[str],
) -> list[str]:
    """Faults where files say that their bands come in another order."""
    faults, understood = other_names(headers, spec, numbers)
    odd: list[tuple[str, str]] = []
    if not understood:
        remarks.append(f"bands are taken as {', '.join(spec.bands)}, the files do not name them")
        if not picked:
            wrong, warnings = other_colors(headers, spec, numbers)
            faults += wrong
            odd += warnings
    remarks += warnings_of(odd)
    return faults


# ─────────────────────────────────────────── grids ───────────────────────────────────────────


def _aligned(headers: Sequence[tuple[str, RasterInfo]]) -> list[str]:
    """Name the images that will be resampled, in sentences; none where they can not be."""
    (first_name, first), *others = headers
    moved = [name for name, info in others if grid_faults([(first_name, first), (name, info)])]
    places = [name for name, info in headers if not on_earth(info.crs)]
    if moved and places:
        raise DataError(
            "--align",
            [
                f"{name}: found no CRS of the Earth, expected one to resample from or to"
                for name in places
            ],
            "Write the CRS into these files, or bring them to one grid beforehand.",
        )
    beside = [name for name, info in others if name in moved and not touch(first, info)]
    if beside:
        raise DataError(
            "--align",
            [
                f"{name}: lies beside {first_name}, expected an image of its place"
                for name in beside
            ],
            "Leave it out, or mend its CRS or transform.",
        )
    return [f"{name}: resampled (bilinear) to the grid of {first_name}" for name in moved]
