"""Pictures of a mapped area: quicklook.png, series.gif and report.html.

All show the same reduced grid, north up, so that memory does not depend on the raster's size.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.own_series.series import RasterSeries
from data_processing.rasters.reading import read_reduced
from mapping.products.files import FILM, PROBABILITY, QUICKLOOK, REPORT, SCORE
from mapping.report.answer import answer_lines
from mapping.report.film import draw_series_gif
from mapping.report.grid import PictureGrid
from mapping.report.page import write_report
from mapping.report.quicklook import quicklook_figure
from mapping.report.visible import clear_dates, clear_shares, visible_series
from utils.codes import NO_DATA
from utils.pictures.layout import save_figure

__all__ = ["draw_area"]

LONGEST = 1024  # pixels of the longer side


def draw_area(folder: Path, series: RasterSeries, summary: Mapping[str, Any], shown: str) -> None:
    """Draw the pictures of an area whose maps stand in its folder.

    Args:
        folder: Of the area; gets the pictures.
        series: Its images.
        summary: Content of summary.json.
        shown: File of the map in it that is shown, of moments or areas.

    Raises:
        OSError: A file cannot be written.
    """
    grid = PictureGrid(series.grid, LONGEST)
    pairs = []
    for date in range(len(series.dates)):
        values, observed = series.reduced(date, grid.step)
        image, inside = grid.sample(values, grid.step, 0)
        pairs.append((image, grid.sample(observed, grid.step, 0)[0] & inside))
    series.close()
    pictures = visible_series(
        [image for image, _ in pairs], [mask for _, mask in pairs], series.spec.visible_bands
    )
    clear = clear_shares(pictures, [mask for _, mask in pairs])
    del pairs
    strength = PROBABILITY if summary.get("probability") else SCORE
    moment, score = (_map(folder / name, grid) for name in (shown, strength))
    scale, dates = grid.metres_per_pixel, series.dates
    clearest = clear_dates(clear)[1]
    figure = quicklook_figure(
        (pictures[0], pictures[-1], pictures[clearest]), clearest, moment, dates, series.name,
        answer_lines(summary, dates), scale, grid.north,
    )  # fmt: skip
    save_figure(figure, folder / QUICKLOOK)
    draw_series_gif(folder / FILM, pictures, dates, scale, grid.north, moment)
    write_report(folder / REPORT, summary, list(pictures), moment, score, dates, scale, clear)
    del figure
    gc.collect()  # parts of a figure refer to each other and hold its images until then


def _map(path: Path, grid: PictureGrid) -> NDArray[np.uint8]:
    """A map on the grid of the pictures."""
    values, _ = read_reduced(path, grid.step)
    picture: NDArray[np.uint8] = grid.sample(values[0], grid.step, NO_DATA)[0]
    return picture
