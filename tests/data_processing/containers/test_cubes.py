"""Cubes, in files and in memory: the same series as files of one date; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_processing.own_series.in_memory import open_given_series
from data_processing.own_series.options import SeriesOptions
from data_processing.own_series.series import RasterSeries, spec_for
from data_processing.rasters.reading import set_decoded_bytes
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import BGRN, DAYS, noise, open_them, refusal, write_series
from utils.errors import CaimError, DataError, UserError

xarray = pytest.importorskip("xarray")
pytest.importorskip("rioxarray")

TIMES = np.array(DAYS[:3], "datetime64[ns]")


def cube(values: Any = None, crs: str | None = "EPSG:32633", **coords: Any) -> Any:
    """A DataArray (time, band, y, x) on the grid of the small series."""
    array = xarray.DataArray(
        noise() if values is None else values,
        dims=("time", "band", "y", "x"),
        coords={
            "time": TIMES,
            "band": ["B02", "B03", "B04", "B08"],
            "y": 5000000 - 3 * (np.arange(20) + 0.5),
            "x": 500000 + 3 * (np.arange(30) + 0.5),
            **coords,
        },
        name="reflectance",
    )
    return array.rio.write_crs(crs) if crs else array


def in_memory(images: Any, count: int = 3, **options: Any) -> RasterSeries:
    given = {key: options.pop(key, None) for key in ("dates", "place", "clouds")}
    return open_given_series(images, spec_for(BGRN, count), SeriesOptions(**options), **given)


def refused(kind: type[CaimError], images: Any, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        in_memory(images, **options)
    return str(caught.value)


def same(one: RasterSeries, other: RasterSeries, folder_name: str = "") -> None:
    """Pixels, data, dates, place."""
    for row, col, height, width in ((0, 0, 20, 30), (3, 5, 7, 11)):
        first, second = (s.read(row, col, height, width) for s in (one, other))
        np.testing.assert_array_equal(first.images, second.images)
        np.testing.assert_array_equal(first.observed, second.observed)
    np.testing.assert_array_equal(one.reduced(1, 3)[0], other.reduced(1, 3)[0])
    assert one.dates == other.dates
    assert (one.grid.crs, one.grid.transform) == (other.grid.crs, other.grid.transform)


@pytest.fixture
def files(tmp_path: Path) -> RasterSeries:
    """The same series as files; one date lacks some pixels."""
    images = gappy()
    write_series(tmp_path / "city", images, nodata=0)
    return open_them(tmp_path / "city")


def gappy() -> Any:
    images = noise()
    images[1, :, 4:9, 2:20] = 0
    return images


@pytest.mark.parametrize("form", ["array", "dataset", "other order", "south up", "dask"])
def test_a_cube_in_memory_gives_the_series_of_the_files(files: RasterSeries, form: str) -> None:
    data = cube(gappy())
    data.attrs["_FillValue"] = 0
    if form == "dataset":
        data = data.to_dataset("band")
        for name in data.data_vars:
            data[name].attrs["_FillValue"] = 0
        data["SCL"] = data["B02"].astype("uint8")
    elif form == "other order":
        data = data.transpose("y", "band", "x", "time").rename(x="lon_m", y="northing")
        data = data.rename(lon_m="easting")
    elif form == "dask":
        pytest.importorskip("dask")
        data = data.chunk(time=2, y=7, x=8)
    elif form == "south up":
        series = in_memory(data.isel(y=slice(None, None, -1)))
        assert series.grid.transform.e == 3
        np.testing.assert_array_equal(series.read_stored(0)[0], gappy()[0][:, ::-1])
        return
    same(files, in_memory(data))


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".cdf"])
@pytest.mark.parametrize("chunks", [None, (2, 4, 8, 16)])
def test_a_cube_in_a_file_gives_the_series_of_the_files(
    files: RasterSeries, tmp_path: Path, suffix: str, chunks: Any
) -> None:
    set_decoded_bytes(2000)  # fewer than a few blocks
    path = tmp_path / f"cube{suffix}"
    write_cube(path, cube(gappy().astype("int16")), chunks)
    same(files, open_them(path))
    set_decoded_bytes(64 << 20)
    assert open_them(path).name == "cube"


def write_cube(path: Path, data: Any, chunks: Any = None) -> None:
    """A file or store whose fill value is 0."""
    encoding: dict[str, Any] = {"_FillValue": 0}
    if path.suffix == ".zarr":
        form = {"chunks": chunks or data.shape}
        data.to_dataset().to_zarr(path, encoding={data.name: encoding | form}, zarr_format=2)
    elif path.suffix == ".cdf":
        data.to_dataset().to_netcdf(path, engine="scipy", encoding={data.name: encoding})
    else:
        encoding |= {"zlib": True, "chunksizes": chunks} if chunks else {}
        data.to_dataset().to_netcdf(path, engine="h5netcdf", encoding={data.name: encoding})


def test_bands_and_masks_of_a_cube_are_taken_by_name(tmp_path: Path) -> None:
    data = cube().to_dataset("band")
    data["SCL"] = (("time", "y", "x"), np.full((3, 20, 30), 4, np.uint8))
    data["SCL"][1, :5] = 9
    data["SCL"][0, 0, 0] = 6
    data = data[["SCL", "B08", "B04", "B03", "B02"]]
    data.to_netcdf(tmp_path / "cube.nc", engine="h5netcdf")

    series = open_them(
        tmp_path / "cube.nc", bands="B02,B03,b04,B08", clouds=(str(tmp_path / "SCL"),)
    )

    np.testing.assert_array_equal(series.read_stored(0)[0], noise()[0])
    assert series.read(0, 0, 20, 30).observed.mean() == 0.75
    assert "cloud masks, as their values tell: scl" in " ".join(series.remarks)
    assert "found the bands SCL, B08, B04, B03, B02, expected B8A as well" in refusal(
        DataError, tmp_path / "cube.nc", bands="B02,B03,B04,B8A"
    )
    assert "expected blue, green, red, nir" in refusal(DataError, tmp_path / "cube.nc")
    names = ("B02", "B03", "B04", "B08")
    same(series, in_memory(data, bands=names, clouds="SCL"))
    data["cloudy"] = data["SCL"] == 9
    same(series, in_memory(data, bands=names, clouds="cloudy"))


def test_scale_and_fill_of_a_cube_are_applied(tmp_path: Path) -> None:
    data = cube(gappy())
    encoding = {"dtype": "int16", "scale_factor": 0.0001, "add_offset": -0.1, "_FillValue": 0}
    (data.where(data > 0) * 0.0001 - 0.1).to_dataset(name="r").to_netcdf(
        tmp_path / "cube.nc", engine="h5netcdf", encoding={"r": encoding}
    )
    series = open_them(tmp_path / "cube.nc")
    window = series.read(0, 0, 20, 30)
    expected = gappy()[0] * np.float32(0.0001) - np.float32(0.1)
    np.testing.assert_allclose(window.images[0], expected, atol=1e-6)
    assert (~window.observed).sum() == 5 * 18


def test_degrees_and_missing_coordinates_are_said() -> None:
    degrees = cube(crs=None).rename(x="lon", y="lat")
    degrees = degrees.assign_coords(lon=15 + np.arange(30) * 1e-4, lat=45 - np.arange(20) * 1e-4)
    series = in_memory(degrees)
    assert series.grid.crs.to_epsg() == 4326
    assert any("taken as degrees, WGS 84" in remark for remark in series.remarks)
    bare = in_memory(cube().drop_vars(["x", "y"]))
    assert bare.grid.crs is None
    assert any("areas are counted in pixels" in remark for remark in bare.remarks)


def test_coordinates_of_corners_are_known_by_the_stored_transform() -> None:
    data = cube().rio.write_transform(cube().rio.transform())
    corners = data.assign_coords(x=data.x - 1.5, y=data.y + 1.5)
    for given in (data, corners, corners.isel(x=slice(3, None))):
        transform = in_memory(given).grid.transform
        shift = 9 if given.sizes["x"] < 30 else 0
        assert (transform.c, transform.f) == (500000 + shift, 5000000)
    coarse = data.coarsen(x=3, y=2).mean().astype("uint16")  # its stored transform is of old pixels
    transform = in_memory(coarse).grid.transform
    assert tuple(transform)[:6] == (9, 0, 500000, 0, -6, 5000000)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.isel(time=0), "found the dimensions band, y, x, expected dimensions called"),
        (lambda c: c.rename(time="epoch"), "found the dimensions epoch, band, y, x"),
        (lambda c: c.rename(x="column_number"), "expected dimensions called time"),
        (lambda c: c.expand_dims("level"), "found a dimension level as well"),
        (lambda c: c.isel(time=[1, 0, 2]), "found 2020-03-01, then 2020-01-15, expected dates"),
        (lambda c: c.isel(time=[0, 0, 2]), "found 2020-01-15, then 2020-01-15, expected dates"),
        (lambda c: c.assign_coords(time=[0, 1, 2]), "found 0 on the time axis, expected dates"),
        (lambda c: c.assign_coords(time=["a", "b", "c"]), "found a on the time axis"),
        (lambda c: c.assign_coords(x=np.arange(30.0) ** 2), "x: found coordinates that are not ev"),
        (lambda c: c.isel(band=[0, 1]), "found 2 bands, expected 4"),
        (lambda c: c.isel(x=slice(0, 0)), "expected values"),
        (lambda c: c.astype("int64"), "found type int64, expected one of uint8"),
        (lambda c: c.assign_attrs(scale_factor="two"), "as fill value, scale or offset"),
        (lambda c: c.isel(time=[0, 1]), "found 2 dates"),
        (lambda c: c.isel(band=[3, 2, 1, 0]), "its band names say nir, red, green, blue"),
    ],
)  # fmt: skip
def test_cubes_that_are_no_series_are_refused(change: Any, sentence: str) -> None:
    message = refused(DataError, change(cube()))
    assert sentence in message
    assert "the cube" in message


def test_dates_are_given_where_the_time_axis_has_none_and_only_there() -> None:
    bare = cube().drop_vars("time")
    assert in_memory(bare, dates=DAYS[:3]).dates[0].isoformat() == DAYS[0]
    assert "dates: found none, expected 3" in refused(UserError, bare)
    assert "the cube has a time axis" in refused(UserError, cube(), dates=DAYS[:3])


# ------------------------------------------------------------------------------- hostile files


def test_a_cube_that_reads_other_files_is_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    write_cube(tmp_path / "other.nc", cube())
    (tmp_path / "secret").write_bytes(bytes(range(256)) * 60)
    for name in ("link", "external", "virtual"):
        path = tmp_path / f"{name}.nc"
        write_cube(path, cube())
        with h5py.File(path, "r+") as file:
            del file["reflectance"]
            shape = (3, 4, 20, 30)
            if name == "link":
                file["reflectance"] = h5py.ExternalLink("other.nc", "reflectance")
            elif name == "external":
                place = [(str(tmp_path / "secret"), 0, 14400)]
                file.create_dataset("reflectance", shape, "u2", external=place)
            else:
                layout = h5py.VirtualLayout(shape, "u2")
                layout[:] = h5py.VirtualSource(str(tmp_path / "other.nc"), "reflectance", shape)
                file.create_virtual_dataset("reflectance", layout)
        assert "expected its own" in refusal(DataError, path)


def test_a_store_with_codecs_that_run_code_or_links_is_refused(tmp_path: Path) -> None:
    write_cube(tmp_path / "cube.zarr", cube())
    (tmp_path / "cube.zarr" / ".zmetadata").unlink()
    metadata = tmp_path / "cube.zarr" / "reflectance" / ".zarray"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"filters": [{"id": "pickle"}], "dtype": "|O"}))
    assert "found the codecs pickle" in refusal(DataError, tmp_path / "cube.zarr")
    metadata.write_text("{")
    assert "it is no metadata of a store" in refusal(DataError, tmp_path / "cube.zarr")
    metadata.write_text(json.dumps(content))
    (tmp_path / "cube.zarr" / "more").symlink_to("/etc")
    assert "more: found a link" in refusal(DataError, tmp_path / "cube.zarr")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"<html>", "it is a web page"), (b"", "it is empty"), (b"\x89HDF\r\n\x1a\n..", "cannot be"),
     (b"CDF\x01..", "cannot be read"), (b"II*\x00", "it is no NetCDF")],
)  # fmt: skip
def test_files_that_are_no_cubes_are_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "cube.nc").write_bytes(content)
    assert sentence in refusal(DataError, tmp_path / "cube.nc")
    (tmp_path / "store.zarr").mkdir()
    assert "found no .zarray" in refusal(DataError, tmp_path / "store.zarr")


def test_what_is_missing_to_read_cubes_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cube.nc").write_bytes(b"CDF\x01")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = refusal(UserError, tmp_path / "cube.nc")
    assert "found no xarray, rioxarray" in message
    assert "pip install -r requirements-cubes.txt" in message


def test_masks_of_files_serve_a_cube_and_have_to_lie_at_its_place(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), np.uint8)
    mask[:10] = 1
    write_raster(tmp_path / "clouds" / f"{DAYS[0]}.tif", mask)
    series = in_memory(cube(), clouds=[tmp_path / "clouds"])
    assert series.read(0, 0, 20, 30).observed.mean() == 0.5
    write_raster(tmp_path / "clouds" / f"{DAYS[0]}.tif", mask, origin=(9e5, 5e6))
    message = refused(DataError, cube(), clouds=[tmp_path / "clouds"])
    assert "lies beside the images" in message
