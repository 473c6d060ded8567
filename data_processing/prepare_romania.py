"""A real scene in DynamicEarthNet's layout: clear-cuts in Romania, Sentinel-2, 6 dates.

    pip download --no-deps --dest demo/real nrt==0.2.1
    python data_processing/prepare_romania.py --source demo/real/nrt-0.2.1-py3-none-any.whl \
--data-root demo/real

The Python package nrt (EUPL-1.2) carries a cube of 140 Sentinel-2 observations of 100×100 pixels
of forest. Six of them become the images (blue, green, red, near infrared at 10 m, values as
stored), and a rule on the observations of four summers gives the change moment: the labels are
derived, not observed on the ground (``clear_cuts.py``). The package's file is read as a zip;
nothing is installed and none of its code is run. Takes seconds.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.transform import Affine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_processing.labels.clear_cuts import (
    Rule,
    clear_pixels,
    cut_observations,
    forest_pixels,
    kept_groups,
    moment_of_cuts,
    usable_observations,
    vegetation_index,
)
from data_processing.rasters.reading import RasterInfo, open_variable, quiet
from data_processing.raw.plan import Plan, RunSettings, SceneTask
from data_processing.raw.preparation import prepare
from data_processing.scenes.spec import DYNAMIC
from data_processing.scenes.writing import scene_bytes, write_scene
from utils.errors import DataError, UserError, run_program
from utils.settings import read_settings

__all__ = ["Cube", "Settings", "clear_cut_moment", "main", "read_cube", "wheel_cube", "write_area"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """One value a line; each is also a flag. Those of all such programs stand in RunSettings."""

    source: Path  # the file nrt-0.2.1-py3-none-any.whl


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

PROGRAM, VERSION = "prepare_romania.py", 1
WHEEL = "nrt-0.2.1-py3-none-any.whl"
MEMBER = "nrt/data/sentinel2_cube_subset_romania_10m.nc"
MEMBER_BYTES = 14_017_443
MEMBER_SHA256 = "10165376979ed20f988bef09bf79135ea415e741256ba50fd4fef679b1c1fa9d"
GET_IT = "Get it with: pip download --no-deps --dest demo/real nrt==0.2.1"
SIDE = 100  # pixels of the scene, for sizes told before anything is read
BANDS = ("B2", "B3", "B4", "B8")  # blue, green, red, near infrared
SCENE_CLASS = "SCL"  # what the producer's own classification takes a pixel for
DATES = tuple(
    datetime.date.fromisoformat(day)
    for day in ("2017-07-11", "2017-08-15", "2018-07-01", "2019-07-01", "2019-08-20", "2020-07-05")
)
RULE = Rule()
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
NOTES = {
    "data_set": "Sentinel-2 cube of a forest in Romania, from the Python package nrt 0.2.1 "
    "(European Commission, Joint Research Centre)",
    "licence": "EUPL-1.2; contains modified Copernicus Sentinel data 2017-2020",
    "labels": "DERIVED by a rule on NDVI from more observations than the 6 images "
    "(data_processing/labels/clear_cuts.py); not observed on the ground",
    "bands": list(DYNAMIC.bands),
    "sentinel2_bands": list(BANDS),
    "pixels": "reflectance · 10000 as stored, 10 m",
    "classes": "0 unchanged, k = forest cut between date k-1 and date k",
    "area": "(moment > 0)",
}


@dataclass(frozen=True)
class Cube:
    """All observations of the area.

    Attributes:
        dates: Of the N observations, in order.
        bands: (N, H, W) by name, as stored.
        grid: Where the pixels lie.
    """

    dates: list[datetime.date]
    bands: dict[str, NDArray[Any]]
    grid: RasterInfo


def main(arguments: Sequence[str] | None = None) -> None:
    """Plan and run.

    Raises:
        UserError: A flag cannot be used.
        DataError: The file is not the one that the labels are known for, or damaged.
    """
    settings = read_settings(Settings, arguments)
    content = _cube_file(settings.source)
    task = SceneTask(
        "Scene01", "test", "romania_10m", scene_bytes(DYNAMIC, SIDE, SIDE, 2),
        [(MEMBER, len(content), zlib.crc32(content))],
        {"dates": [str(date) for date in DATES]},
        content,
    )  # fmt: skip
    source = {
        "path": str(settings.source.resolve()),
        "member": MEMBER,
        "bytes": len(content),
        "sha256": MEMBER_SHA256,
    }
    plan = Plan(PROGRAM, VERSION, DYNAMIC, settings.data_root, source, asdict(RULE), NOTES, [task])
    prepare(plan, write_area, settings)


def write_area(task: SceneTask, folder: Path) -> dict[str, Any]:
    """Read the cube and write its scene.

    Raises:
        DataError: The cube cannot be read here.
    """
    cube = _cube_of(task.work)
    missing = [str(date) for date in DATES if date not in cube.dates]
    if missing:
        raise DataError(
            MEMBER,
            [f"found no observation of {', '.join(missing)}, expected all dates of the scene"],
            GET_IT,
        )
    moment, used = clear_cut_moment(cube, DATES, RULE)
    images = [
        (f"{date}.tif", np.stack([cube.bands[band][cube.dates.index(date)] for band in BANDS]))
        for date in DATES
    ]
    facts = write_scene(folder, DYNAMIC, images, cube.grid, moment)
    return {**facts, "observations": [str(date) for date in used]}


def clear_cut_moment(
    cube: Cube, dates: Sequence[datetime.date], rule: Rule
) -> tuple[NDArray[np.uint8], list[datetime.date]]:
    """The change moment of a cube's clear-cuts.

    Args:
        cube: All observations.
        dates: The T dates of the scene.
        rule: What a clear-cut is.

    Returns:
        (H, W) change moment, and the dates of the observations that it was derived from.
    """
    blue, _, red, nir = (cube.bands[band] for band in BANDS)
    clear = clear_pixels(cube.bands[SCENE_CLASS], blue, rule)
    used = usable_observations(cube.dates, clear, rule)
    observed = [cube.dates[number] for number in used]
    ndvi = vegetation_index(red[used], nir[used], clear[used])
    cut = cut_observations(ndvi, forest_pixels(ndvi, observed, rule), rule)
    moment = moment_of_cuts(cut, observed, dates)
    moment[~kept_groups(moment > 0, rule)] = 0
    return moment, observed


def wheel_cube(wheel: Path) -> Cube:
    """All observations in the package's wheel.

    Raises:
        UserError: There is no such file.
        DataError: It is no wheel, damaged, holds something else, or cannot be read here.
    """
    return _cube_of(_cube_file(wheel))


def _cube_of(content: bytes) -> Cube:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "cube.nc"  # GDAL reads NetCDF from files only
        path.write_bytes(content)
        return read_cube(path)


def read_cube(path: Path) -> Cube:
    """Read bands, scene classification, dates and grid of a NetCDF file.

    Raises:
        DataError: It cannot be opened, or does not say where and when.
    """
    # rows as stored, north first: without coordinates in degrees GDAL would take them for south
    # first and turn them round
    with rasterio.Env(GDAL_NETCDF_BOTTOMUP="NO") as env:
        if "netCDF" not in env.drivers():
            raise DataError(
                MEMBER,
                ["rasterio here has no netCDF driver, expected one as in rasterio's wheels"],
                "Install rasterio from PyPI: pip install --force-reinstall rasterio",
            )
        bands = {name: _variable(path, name) for name in (*BANDS, SCENE_CLASS)}
        x, y, days = (_variable(path, name).ravel() for name in ("x", "y", "time"))
        with _opened(path, BANDS[0]) as raster:
            crs, units = raster.crs, raster.tags().get("time#units", "")
    since = re.match(r"days since (\d{4}-\d{2}-\d{2})", units)
    if since is None:
        raise DataError(MEMBER, [f"found time units {units!r}, expected 'days since …'"], GET_IT)
    first = datetime.date.fromisoformat(since[1])
    width, height = float(x[1] - x[0]), float(y[1] - y[0])
    corner = (float(x[0]) - width / 2, float(y[0]) - height / 2)  # x and y are of pixel centres
    grid = RasterInfo(
        len(x), len(y), len(BANDS), bands[BANDS[0]].dtype.name, crs,
        Affine(width, 0.0, corner[0], 0.0, height, corner[1]), None,
    )  # fmt: skip
    return Cube([first + datetime.timedelta(days=int(day)) for day in days], bands, grid)


def _variable(path: Path, name: str) -> NDArray[Any]:
    """All values of a variable, (N, H, W)."""
    with _opened(path, name) as raster:
        values: NDArray[Any] = raster.read()
    return values


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Any]:
    """A variable as a raster, which lies nowhere: the file has pixel centres instead."""
    try:
        with quiet(), open_variable(path, name) as raster:
            yield raster
    except RasterioError as error:
        raise DataError(MEMBER, [f"variable {name} cannot be read ({error})"], GET_IT) from error


def _cube_file(wheel: Path) -> bytes:
    """The NetCDF file in the wheel, if it is the known one.

    Raises:
        UserError: There is no such file.
        DataError: It is no wheel, damaged, or holds something else.
    """
    if not wheel.is_file():
        raise UserError(f"--source: there is no file at {wheel}, expected {WHEEL}. {GET_IT}")
    try:
        with zipfile.ZipFile(wheel) as archive:
            size = archive.getinfo(MEMBER).file_size
            content = archive.read(MEMBER) if size == MEMBER_BYTES else b""
    except KeyError:
        raise DataError(
            str(wheel), [f"found no member {MEMBER}, expected the package nrt 0.2.1"], GET_IT
        ) from None
    except DAMAGED as error:
        raise DataError(
            str(wheel),
            [f"cannot be read as a wheel ({error}), expected {WHEEL}"],
            f"The file is damaged, cut short or another one. {GET_IT}",
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if size != MEMBER_BYTES or digest != MEMBER_SHA256:
        shown = f"{size} bytes" if size != MEMBER_BYTES else f"SHA-256 {digest[:16]}…"
        raise DataError(
            str(wheel),
            [
                f"{MEMBER}: found {shown}, expected {MEMBER_BYTES} bytes with SHA-256 "
                f"{MEMBER_SHA256[:16]}…"
            ],
            f"The rule and its dates were made for that file alone. {GET_IT}",
        )
    return content


if __name__ == "__main__":
    run_program(main)
