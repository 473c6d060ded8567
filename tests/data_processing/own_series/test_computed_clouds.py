"""--clouds auto: masks by a network that the test brings, and by ukis-csmask where it is there."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing.own_series import computed_clouds
from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import SeriesOptions, is_computed
from data_processing.own_series.series import RasterSeries, spec_for
from tests.helpers.scene_files import write_raster
from utils.errors import DataError, UserError

BGRN = ("blue", "green", "red", "nir")
DAYS = ("2020-01-05", "2020-02-05", "2020-03-05")
SIDE = 40
CLOUD = 6000  # stored; 0.6


class Bright:
    """Stands for CSmask: bright is cloud, dark near infrared is shadow."""

    shapes: list[tuple[int, ...]]
    calls: list[dict[str, Any]]

    def __init__(self, img: Any, band_order: list[str], **options: Any) -> None:
        assert img.dtype == np.float32
        type(self).shapes.append(img.shape)
        type(self).calls.append({"band_order": band_order, **options})
        blue, nir = (img[..., band_order.index(name)] for name in ("blue", "nir"))
        self.csm = np.where(blue > 0.5, 1, np.where(nir < 0.01, 2, 0)).astype(np.uint8)[..., None]


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> type[Bright]:
    module = ModuleType("ukis_csmask.mask")
    Bright.shapes, Bright.calls = [], []
    module.CSmask = Bright  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ukis_csmask", ModuleType("ukis_csmask"))
    monkeypatch.setitem(sys.modules, "ukis_csmask.mask", module)
    monkeypatch.setattr(computed_clouds, "GSD", 3.0)  # the pixels of write_raster
    return Bright


def images(folder: Path, bands: int = 4, dtype: str = "uint16") -> Path:
    """Clear ground; a cloud at the second date, a shadow at the third."""
    rng = np.random.default_rng(0)
    for number, day in enumerate(DAYS):
        values = rng.integers(400, 900, (bands, SIDE, SIDE)).astype(dtype)
        if number == 1:
            values[:, 5:15, 8:20] = CLOUD
        if number == 2:
            values[3:4, 30:34, 30:40] = 50
        write_raster(folder / f"{day}.tif", values)
    return folder


def opened(folder: Path, bands: tuple[str, ...] = BGRN, **options: Any) -> RasterSeries:
    given = SeriesOptions(clouds=("auto",), min_valid_dates=3, **options)
    return open_raster_series([folder], spec_for(bands, 3), given)


def hidden(series: RasterSeries, date: int) -> Any:
    return ~series.read_stored(date)[1]


def test_clouds_and_shadows_are_not_seen_and_the_package_is_named(tmp_path: Path) -> None:
    series = opened(images(tmp_path / "city"))
    assert [int(hidden(series, date).sum()) for date in range(3)] == [0, 120, 40]
    assert hidden(series, 1)[5:15, 8:20].all()
    assert not series.read(0, 0, SIDE, SIDE).observed[31, 35]
    (said,) = [remark for remark in series.gaps if "ukis-csmask" in remark]
    for part in ("from blue, green, red, nir", "shadows are drawn too large"):
        assert part in said
    assert Bright.calls[0]["product_level"] == "l2a"


def test_auto_is_a_word_unless_a_folder_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [("auto",), (str(tmp_path / "auto"),), ("masks/auto",), ("auto", "auto"), None]
    assert [is_computed(word) for word in words] == [True, True, False, False, False]
    (tmp_path / "auto").mkdir()
    assert not any(is_computed(word) for word in words)


def test_masks_are_removed_with_the_series_unless_a_folder_keeps_them(tmp_path: Path) -> None:
    city = images(tmp_path / "city")
    series = opened(city)
    folder = series.cloud_files[0].parent  # type: ignore[union-attr]
    assert len(list(folder.glob("*.tif"))) == 3
    del series
    gc.collect()
    assert not folder.exists()
    kept = tmp_path / "results" / "clouds"
    series = opened(city, computed_clouds=kept)
    assert sorted(path.name for path in kept.iterdir()) == [f"{day}.tif" for day in DAYS]
    again = open_raster_series([city], spec_for(BGRN, 3), SeriesOptions(clouds=(str(kept),)))
    np.testing.assert_array_equal(hidden(again, 1), hidden(series, 1))


def test_kept_masks_are_computed_again_for_changed_images_only(tmp_path: Path) -> None:
    city, kept = images(tmp_path / "city"), tmp_path / "clouds"
    opened(city, computed_clouds=kept)
    assert len(Bright.shapes) == 3
    opened(city, computed_clouds=kept)
    assert len(Bright.shapes) == 3
    write_raster(city / f"{DAYS[0]}.tif", np.full((4, SIDE, SIDE), CLOUD, np.uint16))
    (kept / f"{DAYS[1]}.tif").write_bytes(b"damaged")
    series = opened(city, computed_clouds=kept)
    assert len(Bright.shapes) == 5
    assert hidden(series, 0).all()


def test_blocks_with_their_surroundings_give_the_mask_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = images(tmp_path / "city")
    whole = [hidden(opened(city), date) for date in range(3)]
    Bright.shapes.clear()
    monkeypatch.setattr(computed_clouds, "SIDE", 16)
    monkeypatch.setattr(computed_clouds, "MARGIN", 4)
    monkeypatch.setattr(computed_clouds, "READ_PIXELS", 100)
    series = opened(city)
    for date in range(3):
        np.testing.assert_array_equal(hidden(series, date), whole[date])
    assert len(Bright.shapes) == 3 * 9
    assert max(Bright.shapes) == (24, 24, 4)


def test_fine_images_are_seen_at_the_resolution_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computed_clouds, "GSD", 30.0)
    city = images(tmp_path / "city")
    values = np.full((4, SIDE, SIDE), CLOUD, np.uint16)
    values[:, :10, :10] = 9000  # of one square, but nine tenths of it have no data
    values[:, :10, 1:10] = 0
    values[0, :10, 0] = 300
    write_raster(city / f"{DAYS[0]}.tif", values, nodata=0)
    kept = tmp_path / "clouds"
    series = opened(city, computed_clouds=kept)
    assert set(Bright.shapes) == {(4, 4, 4)}
    with rasterio.open(kept / f"{DAYS[0]}.tif") as raster:
        assert (raster.shape, raster.transform.a) == ((4, 4), 30.0)
        np.testing.assert_array_equal(raster.read(1), [[0, 1, 1, 1], *[[1] * 4] * 3])
    assert not hidden(series, 0)[:10, 0].any()  # clear at blue 0.03
    assert hidden(series, 0)[10:].all()
    assert any("at 1/10 of the resolution" in remark for remark in series.remarks)


def test_six_bands_go_by_their_names(tmp_path: Path) -> None:
    names = ("swir2", "nir", "red", "green", "blue", "swir1")
    opened(images(tmp_path / "city", bands=6), names)
    order = ["blue", "green", "red", "nir", "swir16", "swir22"]
    assert Bright.calls[0]["band_order"] == order


@pytest.mark.parametrize(
    ("bands", "count", "dtype", "fault"),
    [
        (("red", "green", "blue"), 3, "uint16", "nir missing"),
        (BGRN, 4, "uint8", "found 8-bit values"),
    ],
)
def test_images_that_are_none_for_the_network_are_refused(
    tmp_path: Path, bands: tuple[str, ...], count: int, dtype: str, fault: str
) -> None:
    city = tmp_path / "city"
    for day in DAYS:
        write_raster(city / f"{day}.tif", np.full((count, SIDE, SIDE), 90, dtype))
    with pytest.raises(UserError, match=fault):
        opened(city, bands)


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ukis_csmask.mask", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-clouds\.txt"):
        opened(images(tmp_path / "city"), computed_clouds=tmp_path / "clouds")
    assert not (tmp_path / "clouds").exists()


def test_an_image_that_cannot_be_read_leaves_no_half_mask(tmp_path: Path) -> None:
    city = images(tmp_path / "city")
    damaged = city / f"{DAYS[2]}.tif"
    damaged.write_bytes(damaged.read_bytes()[:-3000])
    with pytest.raises(DataError):
        opened(city, computed_clouds=tmp_path / "clouds")
    tifs = sorted(path.name for path in (tmp_path / "clouds").glob("*.tif"))
    assert tifs == [f"{day}.tif" for day in DAYS[:2]]


def test_the_package_itself_takes_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # no stub
    pytest.importorskip("ukis_csmask.mask", reason="requirements-clouds.txt is not installed")
    values = np.random.default_rng(1).uniform(0.02, 0.3, (70, 40, 4)).astype(np.float32)
    classes = computed_clouds._classes(values, BGRN)
    assert classes.shape == (70, 40)
    assert set(np.unique(classes)) <= {0, 1, 2}
