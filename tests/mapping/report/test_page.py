"""The report page as a file (mapping/report/page.py, page.html and .css)."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapping.report.page import STRIPE_COLOR, amount, percent
from tests.helpers.report_pages import (
    DATES,
    H,
    Page,
    T,
    W,
    page_of,
    picture,
    some_images,
    some_moment,
    some_score,
    some_summary,
    write_page,
)
from utils.pictures.colors import UNCHANGED_COLOR, paint_moments
from utils.settings import REPOSITORY


def data_of(page: Page) -> Any:
    return json.loads(page.one("report-data")["text"])


def test_the_page_loads_nothing_and_forbids_to(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    targets = [a[name] for _, a in page.elements for name in ("src", "href", "srcset") if name in a]
    (policy,) = page.all("meta", http_equiv="Content-Security-Policy")
    assert len(targets) >= 2 * T
    assert all(target.startswith("data:") for target in targets)
    assert not re.findall(r"https?:|url\(|@import|innerHTML|\beval\(", page.text)
    assert policy["content"].startswith("default-src 'none'; img-src data:; ")


def test_texts_of_the_summary_stay_texts(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{script}}\"'&"
    summary = some_summary(area=evil, remarks=[evil], settings={evil: evil}, outputs={evil: {}})
    summary["score"]["formula"] = summary["checkpoint"]["origin"] = evil
    summary["environment"] = {"device": evil, "packages": {evil: evil}}
    summary["files"][0]["name"] = evil
    page = page_of(tmp_path, summary=summary)
    assert len(page.all("script")) == 2
    assert not [a for _, a in page.elements if "onerror" in a]
    assert page.all("h1")[0]["text"] == evil
    assert sum(evil in row for row in page.rows) >= 4


def test_texts_cannot_end_the_data_of_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [("</script><!--", (1, 2, 3))] * (T + 1)
    monkeypatch.setattr("mapping.report.page.moment_legend", lambda dates: entries)
    page = page_of(tmp_path)
    assert len(page.all("script")) == 2
    assert data_of(page)["texts"] == ["</script><!--"] * (T + 1)


def test_a_file_name_that_is_no_text_does_not_hinder_the_page(tmp_path: Path) -> None:
    summary = some_summary(area=b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert "caf\\udce9" in page_of(tmp_path, summary=summary).text


def test_the_images_are_inside_the_page_and_the_last_one_is_shown(tmp_path: Path) -> None:
    images = [image for image in page_of(tmp_path).all("img") if "data-date" in image]
    assert [image["data-date"] for image in images] == [str(day) for day in DATES]
    assert all(image["data-date"] in image["alt"] for image in images)
    assert ["hidden" in image for image in images] == [True, True, True, False]
    for image, given in zip(images, some_images(), strict=True):
        assert np.abs(picture(image["src"]).astype(int) - given).max() <= 3  # JPEG


def test_the_layers_together_are_the_map_in_its_colors(tmp_path: Path) -> None:
    layers = page_of(tmp_path).all("img", data_layer="moment")
    painted = paint_moments(some_moment(), T)
    for k, layer in enumerate(layers, start=1):
        shown = picture(layer["src"])
        assert (shown[..., 3] == 255 * (some_moment() == k)).all()
        assert (shown[some_moment() == k, :3] == painted[some_moment() == k]).all()
    assert [layer["data-moment"] for layer in layers] == ["1", "2", "3"]


def test_places_without_data_are_hatched_and_only_they(tmp_path: Path) -> None:
    (layer,) = page_of(tmp_path).all("img", data_layer="no-data")
    shown = picture(layer["src"])
    assert (shown[..., 3] == 255 * (some_moment() == 255)).all()
    assert {*shown[some_moment() == 255, 0].tolist()} == {255, STRIPE_COLOR[0]}
    whole = np.minimum(some_moment(), T - 1)
    assert not page_of(tmp_path, moment=whole).all("img", data_layer="no-data")


def test_style_sheet_and_pictures_use_the_same_colors() -> None:
    style = (REPOSITORY / "mapping/report/page.css").read_text(encoding="utf-8")
    assert f".see-through {{ background: rgb{UNCHANGED_COLOR};" in style
    assert f"rgb{STRIPE_COLOR} 4px" in style


def test_the_table_of_areas_holds_the_numbers_of_the_summary(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert page.rows[1:4] == [
        [str(k), str(DATES[k - 1]), str(DATES[k]), "2,500.00", "8.70 %", ""] for k in (1, 2, 3)
    ]
    assert page.rows[4] == ["Changed in all intervals", "7,500.00", "26.09 %", ""]
    assert page.rows[5] == ["Unchanged", "21,250.00", "73.91 %", ""]
    assert page.rows[6] == ["Mapped area", "28,750.00", "100.00 %", ""]
    assert page.rows[7] == ["No data (share of the whole raster)", "1,250.00", "4.17 %", ""]


def test_areas_without_a_known_pixel_size_are_told_in_pixels(tmp_path: Path) -> None:
    summary = some_summary(hectares=None)
    for interval in summary["intervals"]:
        interval["hectares"] = None
    page = page_of(tmp_path, summary=summary, metres_per_pixel=None)
    assert page.rows[0][3] == "Pixels"
    assert [row[3] for row in page.rows[1:4]] == ["200", "200", "200"]
    assert page.rows[4][1] == "600"
    assert "600 pixels" in page.text
    assert not page.all("div", **{"class": "scale"})


def test_origin_of_the_maps_is_told(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert [str(DATES[0]), f"{DATES[0]}.tif", "1.2 MB", "0f" * 32] in page.rows
    assert ["change_moment.tif", "900 bytes", "cd" * 32] in page.rows
    for row in (
        ["Checkpoint", "best.pth"], ["SHA-256", "ab" * 32],
        ["Built with", "num_dates: 4, width: 32"],
        ["batch_size", "8"], ["align", "no"], ["clouds", "none"], ["packages", "torch: 2.13.0"],
        ["Formula", "100 * (p - lower) / (upper - lower)"], ["Score 100 stands for", "0.548"],
    ):  # fmt: skip
        assert row in page.rows
    assert "It is no calibrated probability" in page.text
    assert "One date was left out." in page.text


def test_parts_that_the_summary_lacks_are_left_out(tmp_path: Path) -> None:
    page = page_of(tmp_path, summary={}, score=None, metres_per_pixel=None)
    assert page.rows == []
    assert not page.all("img", data_layer="score")
    assert not page.all("input", value="score")
    assert len(page.all("img", data_layer="moment")) == T - 1


def test_a_pair_has_one_interval_called_change_area(tmp_path: Path) -> None:
    moment = some_moment(2)
    page = page_of(tmp_path, summary={}, images=some_images(2), moment=moment, dates=DATES[:2])
    assert [a["value"] for a in page.all("input", name="kind")] == ["moment", "score"]
    assert "Change area" in [a["text"].strip() for a in page.all("label")]


@pytest.mark.parametrize(
    ("metres", "width", "text", "percent_of_width"),
    [
        (10, 60, "100 m", 16.667),
        (4.777, 1024, "1 km", 20.443),
        (0.5, 30, "2 m", 13.333),
        (30, 7000, "50 km", 23.81),
        (0.002, 100, "0.05 m", 25.0),
    ],
)
def test_the_scale_bar_has_a_round_length(
    tmp_path: Path, metres: float, width: int, text: str, percent_of_width: float
) -> None:
    images, moment = [np.zeros((4, width, 3), np.uint8)] * T, np.zeros((4, width), np.uint8)
    changes = {"images": images, "moment": moment, "score": None, "metres_per_pixel": metres}
    page = page_of(tmp_path, summary={}, **changes)
    assert page.one("scale-text")["text"] == text
    assert page.one("scale-bar")["style"] == f"width: {percent_of_width}%"


def test_the_codes_for_the_pointer_are_the_map_and_the_score(tmp_path: Path) -> None:
    codes = zlib.decompress(base64.b64decode(data_of(page_of(tmp_path))["codes"]))
    assert codes == some_moment().tobytes() + some_score().tobytes()


def test_coordinates_are_those_of_the_raster_that_the_picture_was_made_from(tmp_path: Path) -> None:
    summary = some_summary()
    summary["grid"] |= {"height": 10 * H, "width": 10 * W}
    page = page_of(tmp_path, summary=summary)
    assert data_of(page)["ground"] == [500000.0, 4800000.0, 100.0, -100.0, 0]
    assert "The picture has 60 × 40 pixels, the raster 600 × 400" in page.text


@pytest.mark.parametrize(
    "changes", [{"crs": None}, {"transform": [0, 10, 0, 10, 0, 0]}, {"transform": None}]
)
def test_a_raster_without_a_north_up_place_gets_no_coordinates(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    summary = some_summary()
    summary["grid"] |= changes
    assert data_of(page_of(tmp_path, summary=summary))["ground"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dates": DATES[:1]}, "dates: found"),
        ({"dates": [*DATES[:3], DATES[0]]}, "dates: found"),
        ({"images": some_images()[:3]}, "images: found 3, expected one per date, 4"),
        ({"images": [*some_images()[:3], np.zeros((H, 9, 3), np.uint8)]}, "image 4: found"),
        ({"images": [*some_images()[:3], np.zeros((H, W, 3))]}, "image 4: found .* float64"),
        ({"moment": np.full((H, W), T, np.uint8)}, "moments: found"),
        ({"moment": some_moment()[None]}, "moment: found"),
        ({"score": np.full((H, W), 101, np.uint8)}, "score: found values up to 101"),
        ({"score": np.zeros((H, 9), np.uint8)}, "score: found"),
        ({"metres_per_pixel": 0.0}, "metres_per_pixel: found 0.0"),
        ({"metres_per_pixel": float("nan")}, "metres_per_pixel: found nan"),
        ({"summary": some_summary(intervals=[{"moment": 1}])}, "summary: found the intervals"),
    ],
)
def test_input_that_does_not_fit_together_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_page(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []


def test_small_amounts_are_not_called_nothing() -> None:
    assert [percent(share) for share in (0.0, 1e-6, 0.00005, None)] == [
        "0.00 %", "< 0.01 %", "0.01 %", "",
    ]  # fmt: skip
    assert [amount(size, 3) for size in (0.0, 0.001, 1234.5, None)] == [
        "0.00 ha", "< 0.01 ha", "1,234.50 ha", "3 pixels",
    ]  # fmt: skip
