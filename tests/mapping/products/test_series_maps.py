"""Maps in memory: drawn, shown in a notebook, and handed on to GeoPandas and xarray."""

from __future__ import annotations

import base64
import datetime
import re
import sys
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from matplotlib.figure import Figure
from rasterio.crs import CRS
from rasterio.transform import Affine

from data_processing.rasters.dates import UnknownDate
from mapping.products.series_maps import SeriesMaps
from utils.errors import UserError

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
DATES = [datetime.date(2018 + k, 3, 5) for k in range(4)]


def some_maps(dates: Any = DATES, crs: str | None = "EPSG:32633", **changes: Any) -> SeriesMaps:
    """A square of moment 2 and one of moment 3; the last column has no data."""
    moment = np.zeros((30, 40), np.uint8)
    moment[5:15, 5:15], moment[20:24, 20:24], moment[:, -1] = 2, 3, 255
    profile = {"driver": "GTiff", "crs": crs and CRS.from_user_input(crs), "transform": UTM}
    given = {
        "area": np.where(moment == 255, 255, moment > 0).astype(np.uint8),
        "moment": moment,
        "score": np.where(moment == 2, 80, np.where(moment == 255, 255, 60)).astype(np.uint8),
        "dates": list(dates),
        "profile": profile,
        "remarks": ["one date was left out"],
        **changes,
    }
    return SeriesMaps(**given)


def pair() -> SeriesMaps:
    return some_maps(
        [UnknownDate(0, "<b>before</b>.tif"), UnknownDate(1, "after.tif")], moment=None
    )


def test_regions_are_a_table_with_dates_and_sizes_in_the_images_system() -> None:
    pytest.importorskip("geopandas")
    frame = some_maps().polygons()
    assert frame.crs.to_epsg() == 32633
    assert frame["moment"].tolist() == [2, 3]
    assert [str(date)[:10] for date in frame["date"]] == ["2020-03-05", "2021-03-05"]
    assert frame["mean_score"].tolist() == [80, 60]
    assert frame.geometry.area.tolist() == [10_000, 1_600]
    assert len(some_maps().polygons(min_area=5000)) == 1
    assert len(some_maps(moment=np.zeros((30, 40), np.uint8)).polygons()) == 0
    assert pair().polygons()["date"].isna().all()


def test_xarray_has_coordinates_dates_and_meanings() -> None:
    xarray = pytest.importorskip("xarray")
    found = some_maps().to_xarray()
    assert isinstance(found, xarray.Dataset)
    assert found["change_moment"].sel(x=500_055, y=4_999_945).item() == 2
    at = found["change_date"].sel(x=500_055, y=4_999_945).values
    assert at == np.datetime64("2020-03-05")
    assert np.isnat(found["change_date"].values[[0, 0], [0, -1]]).all()
    assert found["spatial_ref"].attrs["GeoTransform"] == "500000.0 10.0 0.0 5000000.0 0.0 -10.0"
    assert CRS.from_wkt(found["spatial_ref"].attrs["crs_wkt"]).to_epsg() == 32633
    attributes = found["change_moment"].attrs
    assert len(attributes["flag_meanings"].split()) == len(attributes["flag_values"]) == 4
    assert found.attrs["dates"] == [str(date) for date in DATES]
    assert set(pair().to_xarray().data_vars) == {"change_area", "change_score"}
    turned = {"driver": "GTiff", "crs": None, "transform": UTM @ Affine.rotation(30)}
    assert "x" not in some_maps(profile=turned).to_xarray().coords


def test_a_drawing_lies_in_its_place_and_names_the_dates() -> None:
    ax = some_maps().plot(Figure().add_subplot())
    assert ax.images[0].get_extent() == [500_000, 500_400, 4_999_700, 5_000_000]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(texts) == 5
    assert "2019-03-05 – 2020-03-05" in texts[2]
    many = [datetime.date(2010, 1, 1) + datetime.timedelta(16 * k) for k in range(200)]
    legend = some_maps(many).plot(Figure().add_subplot()).get_legend().get_texts()
    assert len(legend) == 14
    assert str(many[-1]) in legend[-2].get_text()


def test_a_notebook_shows_a_picture_and_a_table() -> None:
    html = some_maps()._repr_html_()
    (picture,) = re.findall(r"base64,([\w+/=]+)", html)
    assert iio.imread(base64.b64decode(picture)).shape == (30, 40, 3)
    assert re.findall(r"<td>([\d,.]+)</td>", html)[:4] == ["0", "0.00", "100", "1.00"]
    assert "40 × 30 pixels, 4 dates 2018-03-05 … 2021-03-05, 9.91 % changed" in html
    assert (
        "and 175 more"
        in some_maps(
            [datetime.date(2010, 1, 1) + datetime.timedelta(16 * k) for k in range(200)]
        )._repr_html_()
    )
    assert "<b>" not in pair()._repr_html_()
    assert "1.00" not in some_maps(crs=None)._repr_html_()


def test_large_maps_are_shown_small() -> None:
    side = 2000
    moment = np.zeros((side, 40), np.uint8)
    html = some_maps(moment=moment, area=moment, score=moment)._repr_html_()
    assert len(html) < 10_000


@pytest.mark.parametrize(("package", "call"), [("geopandas", "polygons"), ("xarray", "to_xarray")])
def test_a_missing_package_is_one_sentence(
    package: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package}.*pip install -r requirements-gis\.txt"):
        getattr(some_maps(), call)()
