"""Change maps of one's own series in a few lines of Python.

``from mapping import load_model, predict_series``; an example stands there. Everything is held in
memory; Predict.py does the same for rasters of any size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data_processing.own_series.in_memory import ArrayPlace, open_given_series
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
    images: Any,
    model: Model,
    *,
    dates: Any = None,
    crs: Any = None,
    transform: Any = None,
    nodata: float | None = None,
    clouds: Any = None,
    overlap: int | None = None,
    batch_size: int | None = None,
    **options: Any,
) -> SeriesMaps:
    """Map one series in memory.

    Args:
        images: Files as of Predict.py's ``--images``; an array (T, C, H, W); T arrays (C, H, W),
            also an iterator; or xarray's DataArray or Dataset, bands as an axis or variables.
        model: From ``load_model``.
        dates: Of the images in their order, each a date, datetime64 or text; a cube has its own.
        crs, transform: Where arrays lie on Earth, as rasterio takes both; None = not known.
        nodata: Value of arrays that means no data, beside NaN and numpy's masks.
        clouds: Files, or masks (T, H, W); of a cube also the name of a variable.
        overlap: Least overlap of tiles in pixels; None = half a tile.
        batch_size: Tiles at a time; None = as usual for the network.
        **options: Further fields of ``SeriesOptions``: choose_dates, bands, composite …

    Returns:
        The same maps, byte for byte, as Predict.py writes.

    Raises:
        UserError: An argument cannot be used as given.
        DataError: Images are missing or at fault, with all faults.
    """
    reading = SeriesOptions(pixel_scale=model.pixel_scale, **options)
    spec = spec_for(model.bands, model.num_dates)
    place = ArrayPlace(crs, transform, nodata)
    series = open_given_series(images, spec, reading, dates, place, clouds)
    model = model.for_dates(len(series.dates))
    grid = tile_grid(series, model, overlap)
    plan = model.plan(grid, batch_size)
    layers = np.empty((plan.layers, series.height, series.width), np.uint8)
    for rows in predict_rows(model.runner(), series, plan, 0, series.height):
        layers[:, rows.row : rows.row + len(rows.moment)] = rows.layers
    series.close()
    moment, score, *probability = layers
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
        *probability,
    )
