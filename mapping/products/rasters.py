"""Change maps as georeferenced rasters: cloud-optimised GeoTIFFs on the grid of the images.

Maps come in slabs of rows and are written slab by slab, so that they may be larger than the memory.
Each file appears whole or not at all, with tags that say what its values mean.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.windows import Window

from data_processing.rasters.reading import RasterInfo, quiet
from data_processing.rasters.writing import create_raster, tiled_profile, written_whole
from mapping.products.files import AREA, DATE, MOMENT, PROBABILITY, SCORE, map_names
from utils.codes import NO_DATA
from utils.pictures.colors import NO_DATA_COLOR, moment_colors

__all__ = [
    "BLOCK",
    "NO_DATE",
    "date_number",
    "date_of_moment",
    "moment_tags",
    "source_tags",
    "value_colors",
    "write_change_rasters",
]

BLOCK = 512  # side of a stored block in pixels; slabs should have as many rows
NO_DATE = -1  # change_date.tif where nothing is said
TABLE = 256  # values of a byte
DRAFT = "draft_"  # begins the name of an unfinished raster

Slab = tuple[int, NDArray[np.uint8]]
RGBA = tuple[int, int, int, int]


class _Map(NamedTuple):
    """One raster: layer of the slabs, what its values become, nodata, tags, colours, unit."""

    layer: int
    values: NDArray[Any]
    nodata: int
    tags: Mapping[str, str]
    colors: Mapping[int, RGBA] | None = None
    unit: str = ""


def source_tags(weights: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a map that say what made it: the weights file, and what it learnt from."""
    return {
        "SOURCE": f"{weights['file']} {weights['sha256']}",
        "TRAINED_ON": str(weights["trained_on"]),
    }


def date_number(date: datetime.date) -> int:
    """A date as the number yyyymmdd."""
    return date.year * 10000 + date.month * 100 + date.day


def date_of_moment(dates: Sequence[datetime.date]) -> NDArray[np.int32]:
    """For each value of a change moment the first date on which the change is seen, yyyymmdd.

    Returns:
        (256,): 0 for "unchanged" and values that do not occur, ``NO_DATE`` for no data.
    """
    number = np.zeros(TABLE, np.int32)
    number[1 : len(dates)] = [date_number(date) for date in dates[1:]]
    number[NO_DATA] = NO_DATE
    return number


def moment_tags(dates: Sequence[datetime.date]) -> dict[str, str]:
    """Meaning of each value of a change moment."""
    changed = {f"MOMENT_{k}": f"changed {dates[k - 1]} - {dates[k]}" for k in range(1, len(dates))}
    return {"MOMENT_0": "unchanged", **changed}


def value_colors(num_classes: int) -> dict[int, RGBA]:
    """Colours of all values of a byte for programs that show rasters.

    Values that do not occur and no data are white: what a colour table leaves out is black.
    """
    colors = moment_colors(num_classes)
    table = {value: (*NO_DATA_COLOR, 255) for value in range(num_classes, TABLE)}
    for value, (red, green, blue) in enumerate(colors):
        table[value] = (int(red), int(green), int(blue), 255)
    return table


def write_change_rasters(
    folder: Path,
    scratch: Path,
    slabs: Iterable[Slab],
    grid: RasterInfo,
    dates: Sequence[datetime.date],
    tags: Mapping[str, str],
    score_tags: Mapping[str, str],
    moments: bool = True,
    probability_tags: Mapping[str, str] | None = None,
) -> Iterator[Slab]:
    """Write change_area.tif, change_moment.tif, change_date.tif, change_score.tif, and one more.

    change_probability.tif is written where the slabs have a probability.

    Args:
        folder: Where they go.
        scratch: An existing folder for unfinished files, on the same disk.
        slabs: First row, and (2 or 3, h, W) uint8 from top to bottom: change moment, score, and
            probability if it has tags.
        grid: Header whose size, CRS and transform they take.
        dates: T dates of the series.
        tags: Of all maps.
        score_tags: Of the score only: its formula.
        moments: Whether the network gives moments; if not, there is no map of them and of dates.
        probability_tags: Of the probability only: what it rests on; None if there is none.

    Yields:
        Each slab after it is written, for sums over the map; the files stand under their names
        when all are taken.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    maps = _maps(dates, tags, score_tags, probability_tags or {})
    maps = {name: maps[name] for name in map_names(moments, probability_tags is not None)}
    with ExitStack() as stack:
        drafts = {name: scratch / f"{DRAFT}{name}" for name in maps}
        for draft in drafts.values():
            draft.unlink(missing_ok=True)  # half of one may be there, from a full disk
        stack.enter_context(written_whole(*drafts.values()))
        rasters = {
            name: stack.enter_context(_draft(drafts[name], content, grid))
            for name, content in maps.items()
        }
        for row, slab in slabs:
            window = Window(0, row, grid.width, slab.shape[1])
            for name, content in maps.items():
                rasters[name].write(content.values[slab[content.layer]], 1, window=window)
            yield row, slab
    finished = {name: scratch / name for name in maps}
    for name, draft in drafts.items():
        _finish(draft, finished[name])
    for name, path in finished.items():
        os.replace(path, folder / name)


def _maps(
    dates: Sequence[datetime.date],
    tags: Mapping[str, str],
    score_tags: Mapping[str, str],
    probability_tags: Mapping[str, str],
) -> dict[str, _Map]:
    """All maps, by name of the file."""
    T, same = len(dates), np.arange(TABLE).astype(np.uint8)
    area = np.ones(TABLE, np.uint8)
    area[0], area[NO_DATA] = 0, NO_DATA
    date_tags = {
        f"CHANGE_DATE_{date_number(dates[k])}": f"changed {dates[k - 1]} - {dates[k]}"
        for k in range(1, T)
    }
    changed = {"AREA_0": "unchanged", "AREA_1": f"changed {dates[0]} - {dates[-1]}"}
    meaning = "first date on which the change is seen, yyyymmdd; 0 unchanged"
    return {
        AREA: _Map(0, area, NO_DATA, {**tags, **changed}, value_colors(2)),
        MOMENT: _Map(0, same, NO_DATA, {**tags, **moment_tags(dates)}, value_colors(T)),
        DATE: _Map(
            0, date_of_moment(dates), NO_DATE, {**tags, "CHANGE_DATE": meaning, **date_tags}
        ),
        SCORE: _Map(1, same, NO_DATA, {**tags, **score_tags}),
        PROBABILITY: _Map(2, same, NO_DATA, {**tags, **probability_tags}, unit="%"),
    }


def _draft(path: Path, content: _Map, grid: RasterInfo) -> Any:
    """An open raster to write into."""
    profile = {
        **tiled_profile(grid),
        "count": 1,
        "dtype": content.values.dtype.name,
        "nodata": content.nodata,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "bigtiff": "if_safer",
        "zlevel": 1,  # it is compressed again when all is there
    }
    raster = create_raster(path, profile)
    raster.update_tags(**content.tags)
    if content.unit:
        raster.set_band_description(1, Path(path.name.removeprefix(DRAFT)).stem)
        raster.units = (content.unit,)
    if content.colors:
        raster.write_colormap(1, dict(content.colors))
    return raster


def _finish(draft: Path, finished: Path) -> None:
    """A draft as it is handed out: cloud-optimised where this GDAL can, on the disk to its end."""
    options: dict[str, Any] = {"compress": "deflate", "bigtiff": "if_safer"}
    if _has_cog():
        options |= {"driver": "COG", "blocksize": BLOCK, "overview_resampling": "nearest"}
    else:
        options |= {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK}
    with written_whole(finished), quiet():
        rasterio.shutil.copy(draft, finished, **options)
    with finished.open("rb+") as stream:
        os.fsync(stream.fileno())
    draft.unlink()


def _has_cog() -> bool:
    """Whether this GDAL writes cloud-optimised GeoTIFFs."""
    with rasterio.Env() as gdal:
        return "COG" in gdal.drivers()
