"""STAC items: images from the assets that the user names, with dates and clouds of the items."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import DAYS, noise, open_them, refusal
from tests.helpers.web_server import serving
from utils.errors import DataError, UserError

pytest.importorskip("pystac")

ASSETS = ("blue", "green", "red", "nir08")
NAMES = ",".join(ASSETS)


def write_items(
    folder: Path, base: str = ".", days: Any = DAYS[:3], **properties: Any
) -> dict[str, Any]:
    """Files of one band each and items.json, the newest item first; its content."""
    features = []
    for number, day in reversed(list(enumerate(days))):
        name = f"LC08_L2SP_199012_{day.replace('-', '')}_20200912_02_T1"
        assets = {}
        for band, values in zip(ASSETS, noise(len(days))[number], strict=True):
            write_raster(folder / f"{name}_{band}.tif", values, nodata=0)
            assets[band] = {"href": f"{base}/{name}_{band}.tif", "type": "image/tiff"}
        clouds = np.zeros((20, 30), np.uint8)
        clouds[: 5 * (number == 1)] = 1
        write_raster(folder / f"{name}_mask.tif", clouds)
        assets["mask"] = {"href": f"{base}/{name}_mask.tif"}
        features.append({
            "type": "Feature", "stac_version": "1.0.0", "id": name, "geometry": None,
            "properties": {"datetime": f"{day}T10:01:02Z", "eo:cloud_cover": 10.0 * number,
                           **properties},
            "links": [], "assets": assets, "stac_extensions": [],
        })  # fmt: skip
    content = {"type": "FeatureCollection", "features": features}
    save(folder, content)
    return content


def save(folder: Path, content: Any) -> None:
    (folder / "items.json").write_text(json.dumps(content))


def test_items_give_their_images_in_order_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    write_items(tmp_path)

    series = open_them(tmp_path / "items.json", assets=NAMES)

    for date, image in enumerate(noise()):
        np.testing.assert_array_equal(series.read_stored(date)[0], image)
    assert [str(date) for date in series.dates] == list(DAYS[:3])
    said = " ".join(series.remarks)
    assert f"cloud cover by the items' properties: {DAYS[0]} 0%, {DAYS[1]} 10%, {DAYS[2]} 20%" in (
        said
    )
    assert series.name == "items"


def test_assets_at_addresses_are_read_there_and_no_others(tmp_path: Path) -> None:
    with serving(tmp_path) as (address, asked):
        write_items(tmp_path, address)
        series = open_them(tmp_path / "items.json", assets=NAMES, clouds=("mask",))
        window = series.read(0, 0, 20, 30)
        series.close()
    assert window.observed.mean() == 0.75
    assert f"12 assets are read at {address}" in " ".join(series.remarks)
    assert {path.rpartition("_")[2] for path in asked} == {
        f"{name}.tif" for name in (*ASSETS, "mask")
    }


def test_the_clearest_dates_are_those_of_the_items_properties(tmp_path: Path) -> None:
    content = write_items(tmp_path, days=DAYS)
    for item, cover in zip(content["features"], (0, 90, 5, 80), strict=True):
        item["properties"]["eo:cloud_cover"] = cover
    save(tmp_path, content)
    series = open_them(tmp_path / "items.json", count=2, assets=NAMES, choose_dates="clearest:2")
    assert [str(date) for date in series.dates] == [DAYS[1], DAYS[3]]


@pytest.mark.parametrize("version", ["1.0", "1.1", "taken off"])
def test_scale_and_offset_of_the_metadata_count_unless_taken_off(
    tmp_path: Path, version: str
) -> None:
    more = {"earthsearch:boa_offset_applied": True} if version == "taken off" else {}
    content = write_items(tmp_path, **more)
    for item in content["features"]:
        for asset in item["assets"].values():
            if version == "1.1":
                asset["bands"] = [{"raster:scale": 0.0001, "raster:offset": -0.1}]
            else:
                asset["raster:bands"] = [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]
    save(tmp_path, content)
    series = open_them(tmp_path / "items.json", assets=NAMES)
    expected = noise()[0] * np.float32(0.0001) - (0 if more else np.float32(0.1))
    np.testing.assert_allclose(series.read(0, 0, 20, 30).images[0], expected, atol=1e-6)
    assert any("boa_offset_applied" in remark for remark in series.remarks) is bool(more)


def break_items(content: Any, what: str) -> None:
    _, second, third = content["features"]
    if what == "asset":
        del second["assets"]["nir08"]
    elif what == "date":
        second["properties"]["datetime"] = third["properties"]["datetime"]
    elif what == "no date":
        second["properties"]["datetime"] = None
    elif what == "no item":
        second["properties"] = [1]
    elif what == "elsewhere":
        second["assets"]["red"]["href"] = "/etc/passwd"
    elif what == "up":
        second["assets"]["red"]["href"] = "../../secret.tif"
    elif what == "scheme":
        second["assets"]["red"]["href"] = "ftp://user:key@host/a.tif"
    elif what == "missing":
        second["assets"]["red"]["href"] = "./none.tif"
    elif what == "none":
        content["features"] = []
    elif what == "else":
        content["type"] = "Catalog"
    else:
        content["features"] = [1]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("asset", "found the assets blue, green, mask, red, expected nir08"),
        ("date", "found the date 2020-01-15 2 times"),
        ("no date", "it is no STAC ItemCollection"),
        ("no item", "it is no STAC ItemCollection"),
        ("elsewhere", "found '/etc/passwd', expected an address"),
        ("up", "found '../../secret.tif', expected an address"),
        ("scheme", "found 'ftp://host/a.tif', expected an address"),
        ("missing", "found no file"),
        ("none", "found no items"),
        ("else", "found no FeatureCollection"),
        ("numbers", "it is no STAC ItemCollection"),
    ],
)
def test_items_that_are_no_series_are_refused(tmp_path: Path, what: str, sentence: str) -> None:
    content = write_items(tmp_path)
    break_items(content, what)
    save(tmp_path, content)
    message = refusal(DataError, tmp_path / "items.json", assets=NAMES)
    assert sentence in message
    assert "items.json" in message


def test_assets_are_asked_for_and_mean_nothing_elsewhere(tmp_path: Path) -> None:
    write_items(tmp_path)
    path = tmp_path / "items.json"
    assert "items.json has blue, green, mask, nir08, red" in refusal(UserError, path)
    assert "the items have dates" in refusal(UserError, path, assets=NAMES, dates="2020-01")
    assert "found 3 bands, expected 4" in refusal(DataError, path, assets="blue,green,red")
    assert "expected --images items.json" in refusal(UserError, tmp_path, assets=NAMES)
    assert "found the assets" in refusal(DataError, path, assets=NAMES, clouds=("qa_pixel",))
    with serving(tmp_path) as (address, _):
        write_items(tmp_path, f"{address}/gone")
        message = refusal(DataError, path, assets=NAMES)
    assert "HTTP response code: 404" in message
    assert "signed address" in message
