"""Change maps of one series in memory, as ``predict_series`` gives them.

Shown in a notebook they are a picture and a table; ``plot``, ``polygons`` and ``to_xarray`` hand
them on to Matplotlib, GeoPandas and xarray.
"""

from __future__ import annotations

import base64
import datetime
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine

from data_processing.rasters.header import RasterInfo
from mapping.products.ground_area import PixelAreas
from mapping.products.polygons import gis_package
from mapping.products.rasters import date_of_moment
from mapping.products.regions import ChangedRegions, Region
from mapping.products.summary import AreaSums
from utils.codes import NO_DATA
from utils.pictures.colors import moment_legend, paint_moments

__all__ = ["SeriesMaps"]

PICTURE_SIDE = 480  # pixels of the longer side of the picture in a notebook, at most
SMALLEST_SHOWN = 320  # pixels of the screen about which small maps get
MOST_ROWS = 24  # of the table in a notebook
MOST_ENTRIES = 12  # of a legend; of more intervals some are named


@dataclass(frozen=True, repr=False)
class SeriesMaps:
    """Change maps of one series on the grid of its images.

    Attributes:
        area: (H, W) uint8, 0 unchanged, 1 changed, 255 no data.
        moment: (H, W) uint8, 0 unchanged, k = changed between date k−1 and date k, 255 no data;
            None from a network for pairs. area = (moment > 0) everywhere.
        score: (H, W) uint8, 0 … 100, 50 and more where changed, 255 no data. It ranks pixels and
            is no calibrated probability.
        dates: T dates.
        profile: For ``rasterio.open(path, "w", **profile)`` of area, moment or score; ``date``
            needs ``{**profile, "dtype": "int32", "nodata": -1}``.
        remarks: What was decided while reading, in sentences.
        probability: (H, W) uint8, calibrated probability of change in percent, 255 no data; None
            from weights without a good one.
    """

    area: NDArray[np.uint8]
    moment: NDArray[np.uint8] | None
    score: NDArray[np.uint8]
    dates: list[datetime.date]
    profile: dict[str, Any]
    remarks: list[str]
    probability: NDArray[np.uint8] | None = None

    @property
    def date(self) -> NDArray[np.int32]:
        """(H, W) int32, the first date on which a change is seen, yyyymmdd; 0 none, −1 no data.

        Raises:
            ValueError: The network gives no moments, so there are no dates.
        """
        if self.moment is None:
            raise ValueError(
                "SeriesMaps.date: this network says whether a pixel changed, not when; use area, "
                "or a network for time series."
            )
        return date_of_moment(self.dates)[self.moment]

    @property
    def summary(self) -> dict[str, Any]:
        """Pixels and hectares per interval, as in Predict.py's summary.json."""
        sums = AreaSums(PixelAreas(self._grid), len(self.dates))
        sums.add(0, self._classes, self.score, self.probability)
        return sums.summary(self.dates)

    def plot(self, ax: Any = None) -> Any:
        """Draw the change moment, or the area where there is none, with a legend of dates.

        Args:
            ax: Matplotlib axes to draw on; new ones if None.

        Returns:
            The axes.
        """
        from matplotlib.patches import Patch

        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.figure(figsize=(7, 5), layout="constrained").add_subplot()
        left, top = self._transform @ (0, 0)
        right, bottom = self._transform @ (self.area.shape[1], self.area.shape[0])
        placed = self._upright and not self._transform.is_identity
        ax.imshow(
            paint_moments(self._classes, len(self.dates)), interpolation="nearest",
            extent=(left, right, bottom, top) if placed else None,
        )  # fmt: skip
        if placed:
            ax.ticklabel_format(useOffset=False, style="plain")
        entries = [
            Patch(facecolor=(red / 255, green / 255, blue / 255), edgecolor="0.6", label=text)
            for text, (red, green, blue) in self._legend
        ]
        ax.legend(handles=entries, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        return ax

    def polygons(self, min_area: float = 0.0) -> Any:
        """Changed regions as a ``geopandas.GeoDataFrame`` in the images' coordinate system.

        Its columns are the fields of :class:`mapping.products.regions.Region`.

        Args:
            min_area: Regions of less ground, in m², are left out.

        Raises:
            UserError: GeoPandas is missing, or the images do not say where on Earth they lie.
        """
        geopandas = gis_package("geopandas")
        regions = ChangedRegions(
            self._classes, self.score, self._grid, self.dates, min_area_m2=min_area
        )
        rows = [region for batch in regions for region in batch]
        names = [name for name in Region._fields if name != "polygon"]
        columns = {name: [getattr(row, name) for row in rows] for name in names}
        frame = geopandas.GeoDataFrame(
            columns,
            geometry=[shapely.geometry.shape(row.polygon) for row in rows],
            crs=self._grid.crs.to_wkt(),
        )
        frame["date"] = gis_package("pandas").to_datetime(frame["date"])
        return frame

    def to_xarray(self) -> Any:
        """The maps as an ``xarray.Dataset`` with coordinates, as rioxarray reads them.

        ``change_date`` is a date there, NaT where nothing is seen to change.

        Raises:
            UserError: xarray is missing.
        """
        xarray = gis_package("xarray")
        H, W = self.area.shape
        coords: dict[str, Any] = {"spatial_ref": ((), 0, self._georeference())}
        if self._upright:
            coords["x"] = ("x", (self._transform @ (np.arange(W) + 0.5, np.full(W, 0.5)))[0])
            coords["y"] = ("y", (self._transform @ (np.full(H, 0.5), np.arange(H) + 0.5))[1])
        layers: dict[str, Any] = {"change_area": self.area, "change_score": self.score}
        if self.probability is not None:
            layers["change_probability"] = self.probability
        if self.moment is not None:
            layers["change_moment"] = self.moment
            layers["change_date"] = self._days[self.moment]
        variables = {
            name: (("y", "x"), values, self._meaning(name)) for name, values in layers.items()
        }
        dates = [date.isoformat() for date in self.dates]
        return xarray.Dataset(variables, coords, {"dates": dates, "remarks": list(self.remarks)})

    def __repr__(self) -> str:
        """Size, dates and the changed share in a line."""
        H, W = self.area.shape
        changed, mapped = np.sum(self.area == 1), max(1, np.sum(self.area != NO_DATA))
        return (
            f"SeriesMaps({W} × {H} pixels, {len(self.dates)} dates {self.dates[0]} … "
            f"{self.dates[-1]}, {100 * changed / mapped:.2f} % changed)"
        )

    def _repr_html_(self) -> str:
        """Picture and table for a notebook."""
        from PIL import Image

        step = -(-max(self.area.shape) // PICTURE_SIDE)
        painted = paint_moments(self._classes[::step, ::step], len(self.dates))
        width = painted.shape[1] * max(1, SMALLEST_SHOWN // max(painted.shape))
        with io.BytesIO() as stream:
            Image.fromarray(painted).save(stream, "PNG")
            picture = base64.b64encode(stream.getvalue()).decode()
        summary, colors = self.summary, [color for _, color in moment_legend(self.dates)]
        rows = "".join(
            "<tr><td><span style='display:inline-block;width:1em;height:1em;background:"
            f"rgb{colors[row['moment']]}'></span></td><td>{escape(row['from'])} – "
            f"{escape(row['to'])}</td><td>{row['pixels']:,}</td><td>{_hectares(row)}</td></tr>"
            for row in summary["intervals"][:MOST_ROWS]
        )
        more = len(summary["intervals"]) - MOST_ROWS
        rows += f"<tr><td></td><td colspan=3>and {more} more</td></tr>" if more > 0 else ""
        return (
            f"<div>{escape(repr(self))}</div><div style='display:flex;gap:1em'>"
            f"<img alt='change map' style='image-rendering:pixelated;width:{width}px' "
            f"src='data:image/png;base64,{picture}'><table><tr><th></th><th>changed between</th>"
            f"<th>pixels</th><th>hectares</th></tr>{rows}</table></div>"
        )

    # ──────────────────────────────── behind them ────────────────────────────────

    @property
    def _classes(self) -> NDArray[np.uint8]:
        """Moments, or the area where there are none."""
        return self.area if self.moment is None else self.moment

    @property
    def _transform(self) -> Affine:
        transform: Affine = self.profile["transform"]
        return transform

    @property
    def _upright(self) -> bool:
        """Whether rows and columns run along the axes of the coordinate system."""
        return bool(self._transform.b == 0 == self._transform.d)

    @property
    def _grid(self) -> RasterInfo:
        H, W = self.area.shape
        return RasterInfo(W, H, 1, "uint8", self.profile["crs"], self._transform, NO_DATA)

    @property
    def _days(self) -> NDArray[np.datetime64]:
        """The date of each moment, NaT for unchanged and no data."""
        days = np.full(256, np.datetime64("NaT", "s"))
        days[1 : len(self.dates)] = [np.datetime64(date, "s") for date in self.dates[1:]]
        return days

    @property
    def _legend(self) -> Sequence[tuple[str, tuple[int, int, int]]]:
        """Texts and colours; of many intervals evenly spaced ones."""
        first, *intervals, no_data = moment_legend(self.dates)
        count = min(len(intervals), MOST_ENTRIES)
        chosen = np.linspace(0, len(intervals) - 1, count).round().astype(int)
        return [first, *(intervals[place] for place in chosen), no_data]

    def _georeference(self) -> dict[str, Any]:
        """Attributes of ``spatial_ref``, as GDAL and rioxarray write it."""
        crs = self._grid.crs
        place = " ".join(map(repr, map(float, self._transform.to_gdal())))
        system = {} if crs is None else {"crs_wkt": crs.to_wkt(), "spatial_ref": crs.to_wkt()}
        return {**system, "GeoTransform": place}

    def _meaning(self, name: str) -> dict[str, Any]:
        """Attributes of a layer: what its values mean."""
        shared = {"grid_mapping": "spatial_ref"}
        if name == "change_date":
            return {**shared, "long_name": "first date on which the change is seen"}
        if name == "change_score":
            return {**shared, "_FillValue": NO_DATA, "long_name": "change score, ranks pixels"}
        if name == "change_probability":
            meaning = {"long_name": "calibrated probability of change", "units": "percent"}
            return {**shared, "_FillValue": NO_DATA, **meaning}
        texts = [text for text, _ in moment_legend(self.dates)[:-1]]
        texts = ["unchanged", "changed"] if name == "change_area" else texts
        return {
            **shared, "_FillValue": NO_DATA, "flag_values": list(range(len(texts))),
            "flag_meanings": " ".join(text.replace(" ", "_") for text in texts),
        }  # fmt: skip


def _hectares(row: dict[str, Any]) -> str:
    return "" if row["hectares"] is None else f"{row['hectares']:,.2f}"
