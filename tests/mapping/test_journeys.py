"""Ways from what agencies deliver to a map, each in one command, as a new user goes them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine

from mapping.products.files import PICTURES
from mapping.products.rasters import date_of_moment
from tests.helpers.cities import DATES, Outcome, summary_of, values
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import change_header

BANDS = ("B02", "B03", "B04", "B08")
SIDE = 24


def write_sentinel_2(folder: Path, dates: int = 12) -> list[datetime.date]:
    """Files of one band each and SCL masks of 20 m, as in R10m and R20m of products; their dates.

    Something is built between the sixth and the seventh date; the fourth is cloudy in a corner.
    """
    rng = np.random.default_rng(5)
    ground = rng.uniform(400, 1600, (4, SIDE, SIDE))
    days = [datetime.date(2020, 1, 5) + datetime.timedelta(30 * k) for k in range(dates)]
    for number, day in enumerate(days):
        image = ground + rng.normal(0, 40, ground.shape)
        image[:, 6:14, 6:14] += 3000 * (number > 5)
        classes = np.full((SIDE // 2, SIDE // 2), 4, np.uint8)
        classes[0, 0] = 6
        if number == 3:
            classes[8:, 8:] = 9
            image[:, 16:, 16:] = 9000
        stem = f"T33UUP_{day:%Y%m%d}T100031"
        for band, pixels in zip(BANDS, image, strict=True):
            write_raster(folder / f"{stem}_{band}_10m.tif", pixels.astype(np.uint16), nodata=0)
        mask = folder / f"{stem}_SCL_20m.tif"
        write_raster(mask, classes)
        change_header(mask, transform=Affine(6.0, 0.0, 500000.0, 0.0, -6.0, 5000000.0))
    return days


def test_twelve_sentinel_2_dates_with_scl_masks_become_a_dated_map_in_one_command(
    predict: Callable[..., Outcome], weights: Path, tmp_path: Path
) -> None:
    days = write_sentinel_2(tmp_path / "granules")

    code, said, errors = predict(
        "--images", tmp_path / "granules", "--bands", ",".join(BANDS),
        "--clouds", tmp_path / "granules", "--checkpoint", weights,
        "--output-dir", tmp_path / "maps",
    )  # fmt: skip

    assert code == 0, errors
    assert "all 12 dates used" in said
    assert "cloud masks, as their values tell: scl" in said
    assert f"{days[3]} 11.1%" in said  # not seen
    moment, date = (values(tmp_path / "maps" / f"change_{name}.tif") for name in ("moment", "date"))
    assert moment.shape == (SIDE, SIDE)
    assert (moment != 255).all()  # seen at eleven dates at least
    changed = moment > 0
    assert changed.any()
    np.testing.assert_array_equal(date[changed], date_of_moment(days)[moment[changed]])
    summary = summary_of(tmp_path / "maps")
    assert summary["dates"] == [day.isoformat() for day in days]
    assert len({row["sha256"] for row in summary["files"]}) == 4 * len(days)
    assert (tmp_path / "maps" / "report.html").is_file()


def test_many_landsat_dates_with_cfmask_become_a_quarterly_map_in_one_command(
    predict: Callable[..., Outcome], weights: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    ground = rng.uniform(400, 1600, (4, SIDE, SIDE))
    for number in range(32):  # every 16 or 17 days from January 2003 to June 2004
        day = datetime.date(2003, 1, 4) + datetime.timedelta(round(16.8 * number))
        image = ground + rng.normal(0, 40, ground.shape)
        image[:, 6:14, 6:14] += 3000 * (day.year == 2004)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if number % 2:  # half of them are mostly cloud
            mask[:, 4:] = 4
            image[:, :, 4:] = 9000
        name = f"LE07_{day:%Y%m%d}.tif"
        write_raster(tmp_path / "images" / name, image.astype(np.int16), nodata=-9999)
        write_raster(tmp_path / "cfmask" / name, mask, nodata=255)

    code, said, errors = predict(
        "--images", "images", "--clouds", "cfmask", "--cloud-codes", "cfmask",
        "--composite", "quarter", "--checkpoint", weights, "--output-dir", "maps",
    )  # fmt: skip

    assert code == 0, errors
    assert "32 images become 6 dates" in said
    summary = summary_of(tmp_path / "maps")
    assert summary["dates"][::3] == ["2003-01-01", "2003-10-01"]
    assert (values(tmp_path / "maps/change_moment.tif") != 255).all()  # no cloud is left


def test_an_xarray_cube_in_a_notebook_cell_becomes_arrays(city: Path, weights: Path) -> None:
    xarray = pytest.importorskip("xarray")
    rioxarray = pytest.importorskip("rioxarray")
    files = sorted(city.glob("*.tif"))
    cube = xarray.concat([rioxarray.open_rasterio(path) for path in files], "time")
    cube = cube.assign_coords(time=np.array(DATES, "datetime64[ns]"), band=[*BANDS])

    from mapping import load_model, predict_series

    model = load_model(weights)
    maps = predict_series(cube, model)

    expected = predict_series(city, model)
    array = predict_series(
        cube.values, model, dates=DATES, crs=cube.rio.crs, transform=cube.rio.transform()
    )
    for other in (expected, array):
        np.testing.assert_array_equal(maps.moment, other.moment)
        np.testing.assert_array_equal(maps.score, other.score)
        np.testing.assert_array_equal(maps.date, other.date)
        assert maps.profile == other.profile
    assert maps.moment.any()


def test_a_netcdf_cube_is_mapped_with_the_masks_in_it(
    predict: Callable[..., Outcome],
    city: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    xarray = pytest.importorskip("xarray")
    rioxarray = pytest.importorskip("rioxarray")
    pytest.importorskip("h5netcdf")
    monkeypatch.setattr("mapping.area.draw_area", without_pictures)
    cube = xarray.concat([rioxarray.open_rasterio(path) for path in sorted(city.iterdir())], "time")
    cube = cube.assign_coords(time=np.array(DATES, "datetime64[ns]"), band=[*BANDS])
    cube = cube.to_dataset("band")
    cube["scl"] = cube["B02"].astype("uint8") * 0 + np.uint8(4)
    cube["scl"][2, :9] = 9
    cube["scl"][0, 0, 0] = 6
    cube.to_netcdf(tmp_path / "my city.nc", engine="h5netcdf")

    flags = ("--images", tmp_path / "my city.nc", "--checkpoint", weights, "--clouds", "scl")
    code, said, errors = predict(
        *flags, "--bands", ",".join(BANDS), "--output-dir", tmp_path / "maps"
    )

    assert code == 0, errors
    assert "dates from the time axis: 2018-01-15" in said
    moment = values(tmp_path / "maps" / "change_moment.tif")
    assert (moment[:9] == 255).all()
    assert (moment[9:] != 255).all()
    summary = summary_of(tmp_path / "maps")
    assert summary["area"] == "my city"
    assert {row["name"] for row in summary["files"]} == set(DATES)
    assert len({row["sha256"] for row in summary["files"]}) == 1
    again = (*flags, "--bands", ",".join(BANDS), "--output-dir", tmp_path / "maps", "--resume")
    assert "complete already, nothing done" in predict(*again)[1]
    code, _, errors = predict(*flags, "--bands", "B02,B03,B04,B12", "--output-dir", tmp_path / "b")
    assert code == 3
    assert "expected B12 as well" in errors
    assert not list((tmp_path / "b").glob("change_*"))


def without_pictures(folder: Path, *_: object) -> None:
    for name in PICTURES:
        (folder / name).touch()
