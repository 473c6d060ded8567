"""Cubes as xarray holds them: (time, band, y, x), or bands as variables, in memory or in a file.

NetCDF-4 is read by h5netcdf, NetCDF-3 by scipy, Zarr by zarr, each lazily; what a file is its
content says. A file must hold its own values: links, external storage and filters that run code
are refused.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio import Affine
from rasterio.crs import CRS

from data_processing.containers.arrays import ArrayImage, BlockCache
from data_processing.containers.cube_files import open_cube_file, unreadable
from data_processing.rasters.header import RasterInfo
from data_processing.rasters.name_dates import whole_date
from data_processing.rasters.sources import Source
from utils.errors import DataError

__all__ = ["Cube", "CubeDates", "open_cube"]

TIMES = ("time", "t", "date", "dates", "datetime", "time_counter")
BANDS = ("band", "bands", "channel", "channels", "variable", "spectral", "wavelength")
ROWS = ("y", "lat", "latitude", "northing", "row", "rows", "y_dim")
COLS = ("x", "lon", "longitude", "easting", "col", "cols", "x_dim")
GEOGRAPHIC = ("lon", "longitude")
UNEVEN = 0.01  # pixels by which coordinates may lie beside an even grid
FILLS = ("_FillValue", "missing_value", "nodata")
MASKS = ("scl", "qa_pixel", "pixel_qa", "fmask", "udm2", "cloud_mask", "cloudmask", "clouds")
LONGEST = 60  # characters of a value in a message
BLOCK_ROWS, BLOCK_COLS = 256, 4096  # of what has no blocks of its own
MOST_BLOCK_BYTES = 1 << 30  # of one block
EXPECTED = (
    f"expected dimensions called time ({', '.join(TIMES[1:4])}), y ({', '.join(ROWS[1:4])}) and x "
    f"({', '.join(COLS[1:4])}), and band ({', '.join(BANDS[1:3])}) or a variable for each band"
)


@dataclass
class CubeDates:
    """The images of a cube.

    Attributes:
        images: One a date.
        dates: Of these, ascending; None where the cube does not say.
        remarks: What was decided for the user, in sentences.
    """

    images: list[Source]
    dates: list[datetime.date] | None
    remarks: list[str] = field(default_factory=list)


def open_cube(path: Path) -> Cube:
    """Open a NetCDF file or a Zarr store.

    Raises:
        UserError: Packages for it are missing.
        DataError: It is none, or would read other files.
    """
    return Cube(open_cube_file(path), str(path), [path])


class Cube:
    """A DataArray or Dataset whose dimensions are known by name.

    Args:
        data: xarray's object.
        where: How messages name it.
        files: It is read from.

    Raises:
        DataError: It has no time axis, dimensions of unknown names, or nothing with rows and
            columns.
    """

    def __init__(self, data: Any, where: str, files: Sequence[Path] = ()) -> None:
        self.where, self.files = where, list(files)
        self._coords = data
        self._time = self._y = self._x = ""
        variables = (
            {str(n): v for n, v in data.data_vars.items()}
            if _is_dataset(data)
            else {str(data.name or "values"): data}
        )
        planes = {name: v for name, v in variables.items() if _dim(v, ROWS) and _dim(v, COLS)}
        if not planes:
            shown = "; ".join(f"{name} ({', '.join(map(str, v.dims))})"
                              for name, v in list(variables.items())[:6])  # fmt: skip
            raise DataError(where, [f"found {shown or 'no variables'}, {EXPECTED}"],
                            "Rename dimensions: cube.rename({'old': 'time'}).")  # fmt: skip
        stacked = [name for name, v in planes.items() if _dim(v, BANDS)]
        planes = {stacked[0]: planes[stacked[0]]} if len(stacked) == 1 else planes
        first = next(iter(planes.values()))
        dims = (_dim(first, TIMES), _dim(first, ROWS), _dim(first, COLS))
        self._check(planes, dims)
        self._time, self._y, self._x = (str(dim) for dim in dims)
        self.variables = _by_band(planes)

    def names(self) -> list[str]:
        """Bands, masks among them."""
        return list(self.variables)

    def dates(self, band_names: Sequence[str] | None) -> CubeDates:
        """The images of all dates.

        Args:
            band_names: Bands to take, in upper or lower case; None = all but masks.

        Raises:
            DataError: Bands are not there or differ in type, coordinates are not even, or dates
                do not ascend.
        """
        taken = self._taken(band_names)
        remarks: list[str] = []
        info = self._header(taken, remarks)
        dates = self._dates()
        count = next(iter(taken.values())).sizes[self._time]
        reader = _Reader(list(taken.values()), (self._time, self._y, self._x), info, self.where)
        names = [f"{date}" for date in dates] if dates else [f"date {k + 1}" for k in range(count)]
        images: list[Source] = [
            ArrayImage(name, self.where, info, reader.at(k), files=self.files)
            for k, name in enumerate(names)
        ]
        return CubeDates(images, dates, remarks)

    def _check(self, planes: Mapping[str, Any], dims: Sequence[str | None]) -> None:
        """Make sure that there is a time axis and nothing else.

        Raises:
            DataError: See above.
        """
        faults = []
        for name, variable in planes.items():
            time = _dim(variable, TIMES)
            others = [str(d) for d in variable.dims if d not in (*dims, _dim(variable, BANDS))]
            if time is None:
                listed = ", ".join(map(str, variable.dims))
                faults.append(f"{name}: found the dimensions {listed}, {EXPECTED}")
            elif 0 in variable.shape:
                faults.append(f"{name}: found the shape {variable.shape}, expected values")
            elif others:
                faults.append(f"{name}: found a dimension {', '.join(others)} as well, {EXPECTED}")
        if faults:
            advice = "Rename dimensions (cube.rename), take one of those not needed (cube.isel)."
            raise DataError(self.where, faults, advice)

    def _taken(self, band_names: Sequence[str] | None) -> dict[str, Any]:
        """Variables by band.

        Raises:
            DataError: Some are not there, or of another type than the first.
        """
        places = {name.lower(): name for name in self.variables}
        if band_names is None:
            asked = [name for name in self.variables if name.lower() not in MASKS]
        else:
            asked = [places.get(name.lower(), "") for name in band_names]
        if band_names is not None and not all(asked):
            missing = [name for name in band_names if name.lower() not in places]
            listed = ", ".join(self.variables)
            fault = f"found the bands {listed}, expected {', '.join(missing)} as well (--bands)"
            raise DataError(self.where, [fault], "Name bands as the cube does.")
        types = {name: np.dtype(self.variables[name].dtype).name for name in asked}
        if len(set(types.values())) > 1:
            listed = ", ".join(f"{name} {kind}" for name, kind in types.items())
            fault = f"found bands of several types ({listed}), expected one"
            raise DataError(self.where, [fault], "Name those that are images: --bands red,green,…")
        return {name: self.variables[name] for name in asked}

    def _dates(self) -> list[datetime.date] | None:
        """Dates of the time axis; None where it holds no values.

        Raises:
            DataError: They are no dates, or do not ascend.
        """
        if self._time not in self._coords.coords:
            return None
        values = list(self._coords[self._time].values)
        dates = [_date(value) for value in values]
        if None in dates:
            odd = str(values[dates.index(None)])[:LONGEST]
            fault = f"found {odd} on the time axis, expected dates"
            advice = "Give the axis dates (units 'days since 2018-01-01' in a file)."
            raise DataError(self.where, [fault], advice)
        ascending = [date for date in dates if date is not None]
        faults = [
            f"found {date}, then {later}, expected dates that ascend, each once"
            for date, later in pairwise(ascending)
            if later <= date
        ]
        if faults:
            advice = "Sort the cube (cube.sortby('time')), and put the images of a day together."
            raise DataError(self.where, faults, advice)
        return ascending

    def _header(self, taken: Mapping[str, Any], remarks: list[str]) -> RasterInfo:
        """One header for all dates."""
        variables = list(taken.values())
        first = variables[0]
        try:
            tags = [_tags(variable) for variable in variables]
        except (TypeError, ValueError) as error:
            fault = f"found {error} as fill value, scale or offset, expected a number"
            raise DataError(self.where, [fault], "Correct the attributes.") from error
        fills = {tag for tag, *_ in tags}
        scales = tuple((scale, offset) for _, scale, offset in tags)
        dates, rows, cols = _block(first, (self._time, self._y, self._x))
        nbytes = dates * rows * cols * np.dtype(first.dtype).itemsize
        if nbytes > MOST_BLOCK_BYTES:
            fault = f"found blocks of {nbytes / 1e9:.1f} GB, which are decoded as a whole"
            advice = "Write it in blocks: cube.chunk(y=512, x=512).to_zarr(…)."
            raise DataError(self.where, [fault], advice)
        return RasterInfo(
            width=first.sizes[self._x],
            height=first.sizes[self._y],
            count=len(taken),
            dtype="uint8" if first.dtype == np.bool_ else np.dtype(first.dtype).name,
            crs=self._crs(first, remarks),
            transform=self._transform(first),
            nodata=fills.pop() if len(fills) == 1 else None,
            block_shape=(rows, cols),
            band_names=tuple(taken),
            colors=(None,) * len(taken),
            scaling=scales if set(scales) - {(1.0, 0.0)} else (),
        )

    @property
    def _placed(self) -> bool:
        """Whether rows and columns have coordinates that are numbers."""
        return all(
            dim in self._coords.coords and self._coords[dim].dtype.kind in "iuf"
            for dim in (self._x, self._y)
        )

    def _crs(self, variable: Any, remarks: list[str]) -> CRS | None:
        import rioxarray  # noqa: F401 (gives xarray its accessor)

        if not self._placed:
            remarks.append("rows and columns have no coordinates: areas are counted in pixels")
            return None
        try:
            crs = self._stored_crs(variable)
        except Exception as error:  # PROJ's and rioxarray's are of many kinds
            fault = f"found a coordinate system that cannot be read ({str(error)[:LONGEST]})"
            advice = "Write it anew: cube.rio.write_crs('EPSG:32633')."
            raise DataError(self.where, [fault], advice) from error
        if crs is not None:
            return crs
        if self._x.lower() in GEOGRAPHIC:
            remarks.append(
                f"no coordinate system; coordinates called {self._y} and {self._x} are taken as "
                "degrees, WGS 84"
            )
            return CRS.from_epsg(4326)
        return None

    def _stored_crs(self, variable: Any) -> CRS | None:
        """As rioxarray finds it, or of a variable that no other one names."""
        for place in (variable, self._coords):
            crs = place.rio.crs
            if crs is not None:
                return CRS.from_user_input(crs)
        texts = {
            text
            for attributes in self._attributes()
            for text in (attributes.get("crs_wkt") or attributes.get("spatial_ref"),)
            if isinstance(text, str)
        }
        return CRS.from_wkt(texts.pop()) if len(texts) == 1 else None

    def _transform(self, variable: Any) -> Affine:
        """Rows and columns to coordinates, from those of the pixels' centres.

        Raises:
            DataError: They are not even.
        """
        if not self._placed:
            return Affine.identity()
        faults, lines = [], []
        for dim in (self._x, self._y):
            places = np.asarray(self._coords[dim].values, np.float64)
            step = (places[-1] - places[0]) / max(1, len(places) - 1)
            even = places[0] + step * np.arange(len(places))
            if len(places) > 1 and not np.abs(places - even).max() <= UNEVEN * abs(step):
                faults.append(f"{dim}: found coordinates that are not even, expected a grid")
            lines.append((float(places[0]), float(step)))
        if faults:
            raise DataError(self.where, faults, "Interpolate the cube to a grid (cube.interp).")
        stored = self._stored_transform()
        (left, width), (top, height) = (
            (start, step or size)  # of one column or row
            for (start, step), size in zip(lines, (stored.a, stored.e), strict=True)
        )
        half = 0.5 if not _at_corners(stored, left, width) else 0.0
        return Affine(width, 0, left - half * width, 0, height, top - half * height)

    def _stored_transform(self) -> Affine:
        """The transform that attributes give, as rioxarray and stackstac write it."""
        for attributes in self._attributes():
            text, numbers = attributes.get("GeoTransform"), attributes.get("transform")
            try:
                if isinstance(text, str):
                    return Affine.from_gdal(*map(float, text.split()))
                if numbers is not None:
                    return Affine(*map(float, tuple(numbers)[:6]))
            except (TypeError, ValueError):
                continue
        return Affine.identity()

    def _attributes(self) -> list[Mapping[str, Any]]:
        """Attributes of the whole and of everything in it."""
        variables = self._coords.variables if _is_dataset(self._coords) else self._coords.coords
        return [self._coords.attrs, *(variable.attrs for variable in variables.values())]


class _Reader:
    """Reads variables by slices; what lies in memory directly, else by blocks that are kept."""

    def __init__(
        self, variables: Sequence[Any], dims: tuple[str, str, str], info: RasterInfo, where: str
    ) -> None:
        self._where = where
        self._variables, self._dims, self._dtype = list(variables), dims, np.dtype(info.dtype)
        first = variables[0]
        if all(isinstance(v.variable._data, np.ndarray) for v in variables):
            self._arrays = [variable.transpose(*dims).values for variable in variables]
            return
        self._arrays = []
        time, rows, cols = (first.sizes[dim] for dim in dims)
        self._cache = BlockCache((time, rows, cols), _block(first, dims), self._load)

    def at(self, date: int) -> _Date:
        """The pixels of a date."""
        return _Date(self, date)

    def read(self, date: int, numbers: Sequence[int], rows: slice, cols: slice) -> NDArray[Any]:
        """Bands (C, h, w) in the machine's order of bytes."""
        if self._arrays:
            parts = [self._arrays[n - 1][date, rows, cols] for n in numbers]
        else:
            parts = [self._cache.read(n, date, rows, cols) for n in numbers]
        return np.stack(parts).astype(self._dtype, copy=False)

    def _load(self, band: int, dates: slice, rows: slice, cols: slice) -> NDArray[Any]:
        places = dict(zip(self._dims, (dates, rows, cols), strict=True))
        block = self._variables[band - 1].isel(places).transpose(*self._dims)
        try:
            return np.asarray(block.values)
        except Exception as error:  # what these libraries raise on damaged blocks is of many kinds
            raise unreadable(self._where, error) from error


@dataclass(frozen=True)
class _Date:
    """The pixels of one date, as :data:`data_processing.containers.arrays.Slices`."""

    reader: _Reader
    date: int

    def __call__(self, numbers: Sequence[int], rows: slice, cols: slice) -> NDArray[Any]:
        return self.reader.read(self.date, numbers, rows, cols)


def _is_dataset(data: Any) -> bool:
    return hasattr(data, "data_vars")


def _dim(variable: Any, names: Sequence[str]) -> str | None:
    """The dimension of a variable that is called so, None without one or with several."""
    dims = [str(dim) for dim in variable.dims if str(dim).lower() in names]
    return dims[0] if len(dims) == 1 else None


def _by_band(planes: Mapping[str, Any]) -> dict[str, Any]:
    """Variables (time, y, x) by band; one with a band axis gives several."""
    variables: dict[str, Any] = {}
    for name, variable in planes.items():
        axis = _dim(variable, BANDS)
        if axis is None:
            variables[name] = variable
            continue
        labels = variable[axis].values if axis in variable.coords else range(variable.sizes[axis])
        for number, label in enumerate(labels):
            text = str(label) if isinstance(label, str) else f"band {number + 1}"
            variables[text] = variable.isel({axis: number})
    return variables


def _block(variable: Any, dims: tuple[str, str, str]) -> tuple[int, int, int]:
    """Dates, rows and columns of a block in which a variable is stored."""
    sizes = variable.encoding.get("preferred_chunks") or {}
    if variable.chunks is not None:  # of dask
        sizes = {dim: max(parts) for dim, parts in zip(variable.dims, variable.chunks, strict=True)}
    usual = (1, BLOCK_ROWS, BLOCK_COLS)
    time, rows, cols = (
        max(1, min(int(sizes.get(dim, size)), variable.sizes[dim]))
        for dim, size in zip(dims, usual, strict=True)
    )
    return time, rows, cols


def _tags(variable: Any) -> tuple[float | None, float, float]:
    """Fill value, scale and offset that a variable says, where they are not applied yet.

    Raises:
        ValueError: They are no numbers.
    """
    tags = variable.attrs
    fill = next((tags[key] for key in FILLS if key in tags), None)
    numbers = [
        None if tag is None else float(np.ravel(tag)[0])
        for tag in (fill, tags.get("scale_factor", 1.0), tags.get("add_offset", 0.0))
    ]
    return numbers[0], numbers[1] or 0.0, numbers[2] or 0.0


def _date(value: Any) -> datetime.date | None:
    """The day of a value of a time axis; None where it is none."""
    if isinstance(value, np.datetime64):
        value = value.astype("datetime64[D]").astype(object)
    if isinstance(value, str):
        return whole_date(value)
    try:  # cftime has these, too
        return datetime.date(int(value.year), int(value.month), int(value.day))
    except (AttributeError, TypeError, ValueError):
        return None


def _at_corners(stored: Affine, left: float, width: float) -> bool:
    """Whether coordinates are those of pixels' corners, as a stored transform may tell."""
    if not width or abs(stored.a - width) > UNEVEN * abs(width):  # of another grid
        return False
    offset = (left - stored.c) / width % 1
    return bool(min(offset, 1 - offset) < UNEVEN)
