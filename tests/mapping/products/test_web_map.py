"""map.html: layers in their place, names as text, and refused where web maps end."""

from __future__ import annotations

import base64
import datetime
import re
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import Affine

from data_processing.rasters.header import RasterInfo
from data_processing.rasters.writing import write_map
from mapping.products.web_map import check_web_map, write_web_map
from utils.errors import UserError

pytest.importorskip("folium")

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
NAME = "Alt </script><script>alert(1)</script> & Neu"


def grid(crs: str | None, transform: Affine = UTM) -> RasterInfo:
    return RasterInfo(60, 40, 1, "uint8", crs and CRS.from_user_input(crs), transform, 255)


def page(folder: Path, num_dates: int = 4) -> str:
    """The page of a map whose left third changed, and whose right third has no data."""
    moment = np.zeros((40, 60), np.uint8)
    moment[:, :20], moment[:, 40:] = 2, 255
    score = np.where(moment == 2, 80, np.where(moment == 255, 255, 10)).astype(np.uint8)
    for name, values in (("change_moment.tif", moment), ("change_score.tif", score)):
        write_map(folder / name, values, grid("EPSG:32633"), 255)
    dates = [datetime.date(2019, 1, 1) + datetime.timedelta(16 * k) for k in range(num_dates)]
    write_web_map(folder / "map.html", folder, "change_moment.tif", NAME, dates)
    return (folder / "map.html").read_text(encoding="utf-8")


def test_changes_are_painted_and_all_else_lets_the_map_below_through(tmp_path: Path) -> None:
    text = page(tmp_path)
    layers = re.findall(r"data:image/png;base64,([\w+/=]+)", text)
    assert len(layers) == 2  # change and score
    for layer in layers:
        pixels = iio.imread(base64.b64decode(layer))
        column = pixels.shape[1] // 6
        middle = pixels[pixels.shape[0] // 2]
        assert middle[column, 3] == 255
        assert not middle[3 * column :, 3].any()
    south, west, north, east = map(float, re.search(
        r"\[\[([\d.]+), ([\d.]+)\], \[([\d.]+), ([\d.]+)\]\]", text).groups())  # type: ignore[union-attr]  # fmt: skip
    assert (west, north) == pytest.approx((15.0, 45.1535), abs=1e-3)
    assert (east - west, north - south) == pytest.approx((600 / 78_700, 400 / 111_150), rel=0.02)


def test_a_probability_is_shown_in_place_of_the_score(tmp_path: Path) -> None:
    write_map(
        tmp_path / "change_probability.tif",
        np.full((40, 60), 70, np.uint8),
        grid("EPSG:32633"),
        255,
    )
    text = page(tmp_path)
    assert "probability, 20 % and more" in text
    assert "score, 50 and more" not in text


def test_nothing_but_leaflet_and_tiles_is_loaded(tmp_path: Path) -> None:
    text = page(tmp_path)
    loaded = re.findall(r'(?:src|href)="https?://([^/"]+)[^"]*"', text)
    assert len(set(loaded)) == 1
    tiles = re.findall(r'tileLayer\(\s*"https?://([^/"]+)', text)
    assert tiles == ["tile.openstreetmap.org", "server.arcgisonline.com"]


def test_names_are_text_and_not_markup(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert "<script>alert" not in text
    assert "Alt &lt;/script&gt;" in text


@pytest.mark.parametrize(("num_dates", "entries"), [(4, 3), (13, 12), (40, 2)])
def test_the_legend_stays_small(tmp_path: Path, num_dates: int, entries: int) -> None:
    assert len(re.findall(r"20\d\d-\d\d-\d\d – 20", page(tmp_path, num_dates))) == entries


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (None, UTM),
        ("EPSG:4326", Affine(0.1, 0, 178.5, 0, -0.1, 10)),
        ("EPSG:3413", Affine(1000, 0, -15_000, 0, -1000, 15_000)),
    ],
)
def test_areas_where_web_maps_end_are_refused(crs: str | None, transform: Affine) -> None:
    check_web_map(grid("EPSG:32633"))
    with pytest.raises(UserError, match=r"--web-map: found .*, expected .*\. Leave"):
        check_web_map(grid(crs, transform))


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "folium", None)
    with pytest.raises(UserError, match=r"folium.*pip install -r requirements-webmap\.txt"):
        check_web_map(grid("EPSG:32633"))
