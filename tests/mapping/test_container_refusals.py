"""Containers at fault end Predict.py with 2 or 3 and a whole message; nothing is written."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tests.helpers.cities import DATES, Outcome
from tests.helpers.scene_files import write_raster
from tests.helpers.web_server import serving

BANDS = ("B02", "B03", "B04", "B08")
Flags = list[Any]


@pytest.fixture(scope="module")
def images(city: Path) -> Any:
    """(T, C, H, W)."""
    stacked = []
    for path in sorted(city.iterdir()):
        with rasterio.open(path) as raster:
            stacked.append(raster.read())
    return np.stack(stacked)


@pytest.fixture(scope="module")
def server(city: Path) -> Iterator[str]:
    with serving(city) as (address, _):
        yield address


def cube_of(images: Any, path: Path, **changes: Any) -> Path:
    """A NetCDF cube on the grid of the city; changes are done to it by their names."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("rioxarray")
    rows, cols = images.shape[2:]
    cube = xarray.Dataset(
        {band: (("time", "y", "x"), images[:, k]) for k, band in enumerate(BANDS)},
        {
            "time": np.array(DATES, "datetime64[ns]"),
            "y": 5e6 - 3 * (np.arange(rows) + 0.5),
            "x": 5e5 + 3 * (np.arange(cols) + 0.5),
        },
    ).rio.write_crs(32633)
    for name, arguments in changes.items():
        cube = getattr(cube, name)(**arguments)
    cube.to_netcdf(path, engine="h5netcdf")
    return path


def no_time(images: Any, folder: Path, server: str) -> Flags:
    return [cube_of(images, folder / "cube.nc", isel={"time": 0})]


def not_ascending(images: Any, folder: Path, server: str) -> Flags:
    return [cube_of(images, folder / "cube.nc", isel={"time": [1, 0, 2, 3, 4, 5]})]


def other_dimensions(images: Any, folder: Path, server: str) -> Flags:
    return [cube_of(images, folder / "cube.nc", rename={"x": "column_of_pixels"})]


def no_such_band(images: Any, folder: Path, server: str) -> Flags:
    return [cube_of(images, folder / "cube.nc"), "--bands", "B02,B03,B04,B05"]


def no_such_mask(images: Any, folder: Path, server: str) -> Flags:
    return [cube_of(images, folder / "cube.nc"), "--clouds", "SCL"]


def dates_twice(images: Any, folder: Path, server: str) -> Flags:
    return [cube_of(images, folder / "cube.nc"), "--dates", ",".join(DATES)]


def http_error(images: Any, folder: Path, server: str) -> Flags:
    return [*(f"{server}/city_{date}.tif" for date in DATES[:5]), f"{server}/city_2019-12-01.tif"]


def asset_missing(images: Any, folder: Path, server: str) -> Flags:
    pytest.importorskip("pystac")
    features = []
    for number, date in enumerate(DATES):
        assets = {band: {"href": f"./{band}_{date}.tif"} for band in BANDS[: 3 + (number != 2)]}
        features.append(
            {"type": "Feature", "stac_version": "1.0.0", "id": date, "geometry": None, "links": [],
             "properties": {"datetime": f"{date}T10:00:00Z"}, "assets": assets}
        )  # fmt: skip
        for band, values in zip(BANDS, images[number], strict=True):
            write_raster(folder / f"{band}_{date}.tif", values)
    items = {"type": "FeatureCollection", "features": features}
    (folder / "items.json").write_text(json.dumps(items))
    return [folder / "items.json", "--assets", ",".join(BANDS)]


def mask_elsewhere(images: Any, folder: Path, server: str) -> Flags:
    for date in DATES:
        mask = np.zeros(images.shape[2:], np.uint8)
        write_raster(folder / "masks" / f"{date}.tif", mask, origin=(9e5, 5e6))
    return [cube_of(images, folder / "cube.nc"), "--clouds", folder / "masks"]


def granule_lacks_a_band(images: Any, folder: Path, server: str) -> Flags:
    for number, date in enumerate(DATES):
        for band, values in zip(BANDS, images[number], strict=True):
            if (number, band) != (3, "B04"):
                write_raster(folder / "granules" / f"{date}_{band}.tif", values)
    return [folder / "granules", "--bands", ",".join(BANDS)]


def stack_of_another_size(images: Any, folder: Path, server: str) -> Flags:
    write_raster(folder / "stack.tif", images.reshape(-1, *images.shape[2:])[:-1])
    return [folder / "stack.tif", "--bands-per-date", "4", "--dates", ",".join(DATES)]


def damaged_zip(images: Any, folder: Path, server: str) -> Flags:
    with zipfile.ZipFile(folder / "city.zip", "w") as archive:
        archive.writestr("a.tif", b"x" * 1000)
    (folder / "city.zip").write_bytes((folder / "city.zip").read_bytes()[:500])
    return [folder / "city.zip"]


@pytest.mark.parametrize(
    ("what", "code", "parts"),
    [
        (no_time, 3, ("cube.nc", "found the dimensions y, x", "expected dimensions", "cube.")),
        (not_ascending, 3, ("cube.nc", "found 2018-05-15, then", "expected dates", "sortby")),
        (other_dimensions, 3, ("cube.nc", "column_of_pixels", "expected dimensions", "rename")),
        (no_such_band, 3, ("cube.nc", "found the bands B02", "expected B05 as well", "Name bands")),
        (no_such_mask, 3, ("cube.nc", "found the bands B02", "expected SCL", "Name bands")),
        (dates_twice, 2, ("--dates", "found 2018-01-15", "expected none", "Leave it out")),
        (http_error, 3, ("2019-12-01.tif", "response code: 404", "the address right", "download")),
        (asset_missing, 3, ("items.json", "2018-09-15: found the assets", "expected B08", "Leave")),
        (mask_elsewhere, 3, ("masks", "lies beside the images", "expected a mask", "See --clouds")),
        (granule_lacks_a_band, 3, ("granules", "found the bands", "expected B04", "leave the")),
        (stack_of_another_size, 3, ("stack.tif", "found 23 bands", "a multiple of 4", "Say how")),
        (damaged_zip, 3, ("city.zip", "cannot be read", "expected a zip", "Copy or download")),
    ],
)  # fmt: skip
def test_containers_at_fault_are_refused_with_a_whole_message(
    predict: Callable[..., Outcome], images: Any, server: str, weights: Path, tmp_path: Path,
    what: Callable[[Any, Path, str], Flags], code: int, parts: tuple[str, ...],
) -> None:  # fmt: skip
    given = what(images, tmp_path, server)
    output = tmp_path / "maps"

    left, _, errors = predict("--images", *given, "--checkpoint", weights, "--output-dir", output)

    assert left == code, errors
    for part in parts:
        assert part in errors
    assert "Traceback" not in errors
    kept = {path.name for path in output.glob("*")} if output.exists() else set()
    assert kept <= {"settings.json", "environment.json"}
