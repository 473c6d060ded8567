"""Clear-cuts by a rule, and the scene made with them (data_processing/prepare_romania.py).

The real file is not part of the repository: a small cube of the same form, written as classic
NetCDF, takes its place. CAIM_NRT_WHEEL=<path of the wheel> runs the last test on the real one.
"""

from __future__ import annotations

import datetime
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.crs import CRS
from scipy.io import netcdf_file

from benchmarks.real_areas import sentinel_series
from data_processing import prepare_romania
from data_processing.labels.clear_cuts import (
    NEVER,
    Rule,
    cut_observations,
    forest_pixels,
    kept_groups,
    moment_of_cuts,
    usable_observations,
)
from data_processing.prepare_romania import DATES
from data_processing.scenes.check import check_data_root
from data_processing.scenes.spec import DYNAMIC
from utils.errors import DataError, UserError
from utils.files import read_json, sha256

RULE = Rule()
SIDE = 64
GREEN, BARE = 0.88, 0.40
FIRST = datetime.date(2015, 8, 1)
Numbers = npt.NDArray[Any]


def summers(*extra: datetime.date) -> list[datetime.date]:
    """The 1st and the 20th of June to September, 2017 to 2020, and the dates of the scene."""
    usual = [
        datetime.date(year, month, day)
        for year in range(2017, 2021)
        for month in range(6, 10)
        for day in (1, 20)
    ]
    return sorted({*usual, *DATES, *extra})


OBSERVED = summers()


def forest(*cuts: tuple[tuple[slice, slice], datetime.date]) -> Numbers:
    """NDVI (N, SIDE, SIDE): green with a season; bare from a date on where trees are cut."""
    ndvi = np.full((len(OBSERVED), SIDE, SIDE), GREEN)
    ndvi -= 0.03 * np.array([date.month == 9 for date in OBSERVED])[:, None, None]
    for place, date in cuts:
        ndvi[np.array([day >= date for day in OBSERVED]), *place] = BARE
    return ndvi


def cut_days(ndvi: Numbers) -> Numbers:
    """The observation at which the rule sees a cut."""
    return cut_observations(ndvi, forest_pixels(ndvi, OBSERVED, RULE), RULE)


# ───────────────────────────────────────── the rule ─────────────────────────────────────────


@pytest.mark.parametrize("k", [2, 3, 4, 5])
def test_a_cut_between_two_dates_of_the_scene_gets_the_interval(k: int) -> None:
    for date in (day for day in OBSERVED if DATES[k - 1] < day <= DATES[k]):
        cut = cut_days(forest((np.s_[4:8, 5:9], date)))
        moment = moment_of_cuts(cut, OBSERVED, DATES)
        assert (cut[4:8, 5:9] == OBSERVED.index(date)).all()
        assert (moment[4:8, 5:9] == k).all()
        assert (moment > 0).sum() == 16


def test_classes_end_with_their_date_and_leave_out_what_comes_before_and_after() -> None:
    days = [DATES[0], DATES[0] + datetime.timedelta(1), *DATES[1:], datetime.date(2020, 9, 1)]
    cut = np.array([[*range(len(days)), NEVER]])
    assert moment_of_cuts(cut, days, DATES).tolist() == [[0, 1, 1, 2, 3, 4, 5, 0, 0]]


def test_a_dip_that_passes_is_no_cut() -> None:
    ndvi = forest()
    start = OBSERVED.index(datetime.date(2018, 7, 20))
    ndvi[start, 4:8, 4:8] = BARE
    ndvi[start + 2, 4:8, 8:12] = BARE
    assert (cut_days(ndvi) == NEVER).all()


def test_bare_at_two_of_three_observations_is_a_cut_from_the_first_on() -> None:
    start = OBSERVED.index(datetime.date(2018, 7, 20))
    for second in (start + 1, start + 2):
        ndvi = forest()
        ndvi[[start, second], 4:8, 4:8] = BARE
        assert (cut_days(ndvi)[4:8, 4:8] == start).all()


def test_a_bad_year_of_all_trees_is_no_cut() -> None:
    ndvi = forest()
    ndvi[len(OBSERVED) // 2 :] -= 0.2
    assert (cut_days(ndvi) == NEVER).all()


def test_what_was_no_forest_at_first_is_never_cut() -> None:
    ndvi = forest((np.s_[4:8, 4:8], datetime.date(2019, 6, 20)))
    ndvi[[date.year == 2017 for date in OBSERVED], 4:8, 4:6] = 0.79
    assert (cut_days(ndvi)[4:8, 4:6] == NEVER).all()
    assert (cut_days(ndvi)[4:8, 6:8] != NEVER).all()


def test_clouds_delay_a_cut_and_few_observations_prevent_it() -> None:
    date = datetime.date(2019, 6, 20)
    ndvi = forest((np.s_[4:8, 4:8], date))
    start = OBSERVED.index(date)
    ndvi[start, 4, 4] = np.nan
    ndvi[2:start, 5, 5] = np.nan  # two clear observations before
    ndvi[start + 2 :, 6, 6] = np.nan  # one after
    cut = cut_days(ndvi)
    assert (cut[4, 4], cut[5, 5], cut[6, 6]) == (start + 1, NEVER, NEVER)
    assert cut[7, 7] == start


def test_a_pixel_never_seen_is_never_cut_and_nothing_warns() -> None:
    ndvi = forest()
    ndvi[:, 3, 3] = np.nan
    ndvi[7] = np.nan
    assert (cut_days(ndvi) == NEVER).all()


def test_groups_below_5_pixels_are_dropped_and_lines_too() -> None:
    changed = np.zeros((SIDE, SIDE), dtype=bool)
    changed[0:2, 0:2] = True  # four pixels
    changed[5, 0:12] = True  # a line, into which no square fits
    changed[8:12, 8:12] = True
    changed[12:15, 9] = True  # a tail of the square
    changed[7, 7] = True  # touches the square by its corner only
    kept = kept_groups(changed, RULE)
    expected = np.zeros_like(changed)
    expected[8:12, 8:12] = True
    expected[12:15, 9] = True
    np.testing.assert_array_equal(kept, expected)


def test_small_groups_count_neighbours_at_corners() -> None:
    changed = np.zeros((SIDE, SIDE), dtype=bool)
    changed[2:4, 2:4] = True
    changed[4, 4] = True  # the fifth
    assert kept_groups(changed, Rule(opened=2)).sum() == 4  # stays, but is no side of the square
    assert kept_groups(changed, Rule(opened=2, group=6)).sum() == 0


def test_observations_count_in_summer_from_2017_on_if_more_than_half_is_clear() -> None:
    dates = [datetime.date(2016, 7, 1), datetime.date(2017, 5, 31), datetime.date(2017, 6, 1)]
    dates += [datetime.date(2019, 9, 30), datetime.date(2019, 10, 1), datetime.date(2020, 7, 1)]
    clear = np.ones((len(dates), 2, 2), dtype=bool)
    assert usable_observations(dates, clear, RULE) == [2, 3, 5]
    clear[3, 0] = False  # half of it
    assert usable_observations(dates, clear, RULE) == [2, 5]


# ──────────────────────────────────────── the program ────────────────────────────────────────

CUT = [
    (np.s_[1:6, 1:6], datetime.date(2018, 6, 20)),  # class 2
    (np.s_[1:6, 9:15], datetime.date(2019, 6, 20)),  # class 3
    (np.s_[10:15, 4:8], datetime.date(2020, 7, 1)),  # class 5
    (np.s_[10:12, 12:14], datetime.date(2020, 7, 1)),  # four pixels
]


def write_cube(path: Path) -> dict[str, Numbers]:
    """A cube as the package's, in classic NetCDF; its bands."""
    ndvi, rng = forest(*CUT), np.random.default_rng(0)
    nir = rng.integers(2800, 3200, ndvi.shape)
    red = np.rint(nir * (1 - ndvi) / (1 + ndvi)).astype(int)
    blue, green = rng.integers(100, 600, (2, *ndvi.shape))
    scene_class = np.full(ndvi.shape, 4)
    cloud = OBSERVED.index(DATES[4])
    scene_class[cloud, 0:3], blue[cloud, 3] = 9, 1500  # a cloud, and haze beside it
    bands = {"B2": blue, "B3": green, "B4": red, "B8": nir, "SCL": scene_class}
    axes = {
        "time": [(date - FIRST).days for date in OBSERVED],
        "y": 2_533_000.0 - 10 * np.arange(SIDE),
        "x": 5_272_000.0 + 10 * np.arange(SIDE),
    }
    with netcdf_file(path, "w") as file:
        for name, values in axes.items():
            file.createDimension(name, len(values))
            axis = file.createVariable(name, "i4" if name == "time" else "f8", (name,))
            axis[:] = values
        file.variables["time"].units = f"days since {FIRST} 00:00:00"
        file.variables["time"].calendar = "proleptic_gregorian"
        file.createVariable("spatial_ref", "i4", ()).spatial_ref = CRS.from_epsg(3035).to_wkt()
        for name, values in bands.items():
            band = file.createVariable(name, "i2", ("time", "y", "x"))
            band[:] = values
            band.grid_mapping = "spatial_ref"
    return bands


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with a small cube, which the program takes for the known one."""
    cube, path = tmp_path / "cube.nc", tmp_path / "räder 1" / prepare_romania.WHEEL
    write_cube(cube)
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("nrt/__init__.py", "raise SystemExit('never imported')")
        archive.write(cube, prepare_romania.MEMBER)
    monkeypatch.setattr(prepare_romania, "MEMBER_BYTES", cube.stat().st_size)
    monkeypatch.setattr(prepare_romania, "MEMBER_SHA256", sha256(cube))
    return path


def run(wheel: Path, out: Path, *flags: str) -> Path:
    """Run the program; the scene's folder."""
    prepare_romania.main(["--source", str(wheel), "--data-root", str(out), *flags])
    return out / "Images_Dynamic" / "test" / "Scene01"


def read(path: Path) -> Numbers:
    with rasterio.open(path) as raster:
        values: Numbers = raster.read()
    return values


def test_images_and_labels_are_those_of_the_cube(wheel: Path, tmp_path: Path) -> None:
    scene = run(wheel, tmp_path / "out")
    bands = write_cube(tmp_path / "again.nc")
    for date in DATES:
        image = read(scene / "train_images" / f"{date}.tif")
        expected = [bands[name][OBSERVED.index(date)] for name in ("B2", "B3", "B4", "B8")]
        np.testing.assert_array_equal(image, np.stack(expected))
    moment = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for (place, _), k in zip(CUT, (2, 3, 5, 0), strict=True):
        moment[place] = k
    np.testing.assert_array_equal(read(scene / DYNAMIC.moment_file)[0], moment)
    np.testing.assert_array_equal(read(scene / DYNAMIC.area_file)[0], moment > 0)
    with rasterio.open(scene / DYNAMIC.area_file) as raster:
        assert raster.crs.to_epsg() == 3035
        assert tuple(raster.transform)[:6] == (10, 0, 5_271_995, 0, -10, 2_533_005)


def test_the_scene_is_one_that_the_programs_read(wheel: Path, tmp_path: Path) -> None:
    run(wheel, tmp_path / "out")
    report = check_data_root(tmp_path / "out", DYNAMIC, splits=["test"])
    assert not report.faults
    said = read_json(tmp_path / "out" / "Images_Dynamic" / "dataset.json")
    assert said["labels"].startswith("DERIVED")
    assert "EUPL-1.2" in said["licence"]
    assert "modified Copernicus Sentinel data 2017-2020" in said["licence"]
    assert said["settings"]["drop"] == -0.10
    (scene,) = said["scenes"]
    assert scene["dates"] == [str(date) for date in DATES]
    assert scene["pixels_per_class"] == [SIDE**2 - 25 - 30 - 20, 0, 25, 30, 0, 20]
    assert len(scene["observations"]) == len(OBSERVED)


def test_a_second_run_does_nothing(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = run(wheel, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in scene.parents[2].rglob("*")}
    capsys.readouterr()
    run(wheel, tmp_path / "out")
    assert "nothing done" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in scene.parents[2].rglob("*")}


def test_a_dry_run_writes_nothing(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(wheel, tmp_path / "out", "--dry-run")
    assert not (tmp_path / "out").exists()
    assert "test/Scene01 from romania_10m: 2017-07-11" in capsys.readouterr().out


def test_no_file_is_told_with_the_command_that_gets_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file at .*pip download --no-deps"):
        run(tmp_path / "none.whl", tmp_path / "out")


def test_a_damaged_wheel_is_refused(wheel: Path, tmp_path: Path) -> None:
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[: len(whole) // 2])  # cut short
    with pytest.raises(DataError, match="cannot be read as a wheel"):
        run(wheel, tmp_path / "out")
    middle = len(whole) // 2
    wheel.write_bytes(whole[:middle] + bytes(64) + whole[middle + 64 :])
    with pytest.raises(DataError, match=r"(?s)cannot be read as a wheel.*damaged"):
        run(wheel, tmp_path / "out")
    wheel.write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"cannot be read as a wheel"):
        run(wheel, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_file_is_refused(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("numpy/__init__.py", "")
    with pytest.raises(DataError, match="found no member nrt/data/"):
        run(other, tmp_path / "out")
    monkeypatch.setattr(prepare_romania, "MEMBER_SHA256", "0" * 64)
    with pytest.raises(DataError, match=r"(?s)found SHA-256 \w{16}.*made for that file alone"):
        run(wheel, tmp_path / "out")
    monkeypatch.setattr(prepare_romania, "MEMBER_BYTES", 14_017_443)
    with pytest.raises(DataError, match=r"found \d+ bytes, expected 14017443 bytes"):
        run(wheel, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_years_before_the_scene_are_a_series_to_learn_from(wheel: Path, tmp_path: Path) -> None:
    bands = write_cube(tmp_path / "again.nc")
    cloud = OBSERVED.index(DATES[4])
    series = sentinel_series(wheel, DATES[5].year, clear_share=0.8)
    expected = [day.toordinal() for day in OBSERVED if day.year < DATES[5].year]
    assert series.days.tolist() == expected
    assert np.array_equal(series.images[:, 3], bands["B8"][: len(expected)])
    assert series.missing is not None
    assert series.missing[cloud, 0:3].all()
    assert series.missing.sum() == 3 * SIDE
    assert sentinel_series(wheel, DATES[0].year, clear_share=0.8).days.size == 0  # no date of it


@pytest.mark.skipif("CAIM_NRT_WHEEL" not in os.environ, reason="needs the wheel of nrt 0.2.1")
def test_the_real_cube_has_1402_changed_pixels(tmp_path: Path) -> None:
    scene = run(Path(os.environ["CAIM_NRT_WHEEL"]), tmp_path / "out")
    moment = read(scene / DYNAMIC.moment_file)[0]
    assert np.bincount(moment.ravel()).tolist() == [8598, 0, 167, 705, 34, 496]
    assert read(scene / "train_images" / "2017-07-11.tif").dtype == np.uint16
