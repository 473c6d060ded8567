"""Change maps of one's own series in a few lines of Python.

``from mapping import load_model, predict_series``; an example stands there. Everything is held in
memory; Predict.py does the same for rasters of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import SeriesOptions
from data_processing.own_series.series import spec_for
from data_processing.rasters.values import area_from_moment
from mapping.area import tile_grid
from mapping.model import Model
from mapping.prediction import predict_rows
from mapping.products.series_maps import SeriesMaps
from utils.codes import NO_DATA

__all__ = ["predict_series"]


def predict_series(
    images: str | Path | Sequence[str | Path],
    model: Model,
    *,
    overlap: int | None = None,
    batch_size: int | None = None,
    **options: Any,
) -> SeriesMaps:
    """Map one series in memory.

    Args:
        images: A folder, a pattern, or files with dates in their names.
        model: From ``load_model``.
        overlap: Least overlap of tiles in pixels; None = half a tile.
        batch_size: Tiles at a time; None = as usual for the network.
        **options: Fields of ``data_processing.own_series.series.SeriesOptions``: dates,
            choose_dates, bands, align, clouds, min_valid_dates.

    Returns:
        The same maps, byte for byte, as Predict.py writes.

    Raises:
        UserError: An argument cannot be used as given.
        DataError: Images are missing or at fault, with all faults.
    """
    given = [images] if isinstance(images, str | Path) else list(images)
    reading = SeriesOptions(pixel_scale=model.pixel_scale, **options)
    series = open_raster_series(given, spec_for(model.bands, model.num_dates), reading)
    model = model.for_dates(len(series.dates))
    grid = tile_grid(series, model, overlap)
    moment = np.empty((series.height, series.width), np.uint8)
    score = np.empty_like(moment)
    plan = model.plan(grid, batch_size)
    for rows in predict_rows(model.runner(), series, plan, 0, series.height):
        block = slice(rows.row, rows.row + len(rows.moment))
        moment[block], score[block] = rows.moment, rows.score
    series.close()
    profile = {
        "driver": "GTiff", "width": series.width, "height": series.height, "count": 1,
        "dtype": "uint8", "nodata": NO_DATA, "crs": series.grid.crs,
        "transform": series.grid.transform,
    }  # fmt: skip
    return SeriesMaps(
        area_from_moment(moment),
        moment if model.has_moments else None,
        score,
        series.dates,
        profile,
        series.remarks,
    )
