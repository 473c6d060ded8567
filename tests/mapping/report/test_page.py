"""The report page as a file (mapping/report/page.py, page.html and .css)."""

from __future__ import annotations

import base64
import json
import re
import zlib
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapping.report.embedding import CODE_BYTES, IMAGE_BYTES
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
from utils.pictures.colors import moment_colors, paint_moments


def data_of(page: Page) -> Any:
    return json.loads(page.one("report-data")["text"])


def test_the_page_loads_nothing_and_forbids_to(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    targets = [a[name] for _, a in page.elements for name in ("src", "href", "srcset") if name in a]
    (policy,) = page.all("meta", http_equiv="Content-Security-Policy")
    assert len(targets) > T
    assert all(target.startswith(("data:", "https://www.open")) for target in targets)
    (link,) = page.all("a")  # followed by hand only
    assert re.fullmatch(r"https://www\.openstreetmap\.org/\?[\w=&.#/-]+", link["href"])
    assert link["rel"] == "noreferrer noopener"
    namespace = "http://www.w3.org/2000/svg"
    rest = page.text.replace(link["href"].replace("&", "&amp;"), "").replace(namespace, "")
    assert not re.findall(r"https?:|@import|innerHTML|\beval\(", rest)
    assert all(target == "data:" for target in re.findall(r"url\((.{5})", rest))
    assert policy["content"].startswith("default-src 'none'; img-src data:; ")


def test_texts_of_the_summary_stay_texts(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{script}}\"'&"
    summary = some_summary(
        area=evil, remarks=[evil], gaps=[evil], settings={evil: evil}, outputs={evil: {}}
    )
    summary["score"]["formula"] = summary["checkpoint"]["trained_on"] = evil
    summary["environment"] = {"device": evil, "packages": {evil: evil}}
    summary["files"][0]["name"] = evil
    page = page_of(tmp_path, summary=summary)
    assert len(page.all("script")) == 2
    assert not [a for _, a in page.elements if "onerror" in a]
    assert page.all("h1")[0]["text"] == evil
    assert sum(evil in row for row in page.rows) >= 4
    assert evil in page.one("weights")["text"]


def test_texts_cannot_end_the_data_of_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mapping.report.page.day_texts", lambda dates: ["</script><!--"] * T)
    page = page_of(tmp_path)
    assert len(page.all("script")) == 2
    assert data_of(page)["labels"] == ["</script><!--"] * T


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


def test_the_codes_of_the_script_have_the_colors_of_the_map(tmp_path: Path) -> None:
    data = data_of(page_of(tmp_path))
    assert data["colors"] == moment_colors(T).tolist()
    assert len(data["scores"]) == 51  # from 50 on: below, the score is transparent


def test_without_scripts_the_map_lies_over_the_image(tmp_path: Path) -> None:
    (image,) = page_of(tmp_path).all("img", **{"class": "fallback"})
    shown = picture(image["src"], "RGBA")
    changed = (some_moment() > 0) & (some_moment() < 255)
    assert (shown[..., 3][changed] == 255).all()
    assert (shown[..., 3][some_moment() == 0] == 0).all()
    assert (shown[changed, :3] == paint_moments(some_moment(), T)[changed]).all()


def test_what_is_not_mapped_is_hatched_and_only_that(tmp_path: Path) -> None:
    gaps = page_of(tmp_path).one("gaps")
    (mask,) = {*re.findall(r"url\((data:[^)]+)\)", gaps["style"])}
    assert (picture(mask, "RGBA")[..., -1] == 255 * (some_moment() == 255)).all()
    whole = np.minimum(some_moment(), T - 1)
    assert 'id="gaps"' not in page_of(tmp_path, moment=whole).text


@pytest.mark.parametrize(("side", "num_dates"), [(512, 6), (256, 200)])
def test_a_page_of_noise_stays_below_three_megabytes(
    tmp_path: Path, side: int, num_dates: int
) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, side, side, 3), dtype=np.uint8)
    dates = [DATES[0] + timedelta(days=20 * t) for t in range(num_dates)]
    moment = rng.integers(0, num_dates, (side, side), dtype=np.uint8)
    score = rng.integers(0, 101, (side, side), dtype=np.uint8)
    files = [{"date": "d", "name": "n" * 60, "bytes": 1, "sha256": "0f" * 32}] * 5000
    path = write_page(
        tmp_path, summary={"files": files, "remarks": ["x" * 1_000_000]}, moment=moment,
        images=[noise[t % 4] for t in range(num_dates)], score=score, dates=dates,
    )  # fmt: skip
    assert path.stat().st_size < 3_000_000
    assert path.stat().st_size > 0.4 * (IMAGE_BYTES + CODE_BYTES)  # and is used


def test_the_table_holds_the_numbers_of_the_summary(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert page.rows[1:4] == [
        [str(DATES[k - 1]), str(DATES[k]), "2,500", "8.70 %", "50.0 %"] for k in (1, 2, 3)
    ]
    assert page.rows[4] == ["Changed", "7,500", "26.1 %", "50.0 %"]
    assert page.rows[5] == ["Unchanged", "21,200", "73.9 %", ""]
    assert page.rows[6] == ["Mapped", "28,800", "100 %", ""]
    assert page.rows[7] == ["Not mapped (share of the whole raster)", "1,250", "4.17 %", ""]


def test_areas_without_a_known_pixel_size_are_told_in_pixels(tmp_path: Path) -> None:
    summary = some_summary(hectares=None)
    for interval in summary["intervals"]:
        interval["hectares"] = None
    page = page_of(tmp_path, summary=summary, metres_per_pixel=None)
    assert page.rows[0][2] == "Pixels"
    assert [row[2] for row in page.rows[1:4]] == ["200", "200", "200"]
    assert page.one("headline")["text"] == "600\u00a0pixels changed"
    assert not page.all("div", **{"class": "scale"})


def test_the_bar_is_as_long_as_the_hectares_and_chooses_the_intervals(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    bar = [a for a in page.all("span") if "flex-grow" in a.get("style", "")]
    assert [a["data-moments"] for a in bar] == ["1", "2", "3"]
    assert all("flex-grow: 2500.0" in a["style"] for a in bar)
    buttons = [a for a in page.all("button") if "data-moments" in a]
    assert [a["data-moments"] for a in buttons] == ["1", "2", "3"]


def test_many_intervals_are_a_scale_with_years_that_can_be_chosen(tmp_path: Path) -> None:
    dates = [date(2000 + month // 12, month % 12 + 1, 1) for month in range(0, 120, 3)]
    images = [np.zeros((H, W, 3), np.uint8)] * len(dates)
    changes = {"images": images, "dates": dates, "summary": {}}
    page = page_of(tmp_path, moment=some_moment(len(dates)), **changes)
    years = [a for a in page.all("button") if "data-moments" in a]
    assert [a["text"] for a in years] == [str(year) for year in range(2000, 2010)]
    chosen = ",".join(a["data-moments"] for a in years)
    assert chosen == ",".join(map(str, range(1, len(dates))))
    assert len([a for a in page.all("span") if "data-moments" in a]) == len(dates) - 1


def test_the_table_of_many_intervals_prints_those_with_most_change(tmp_path: Path) -> None:
    dates = [DATES[0] + timedelta(days=20 * t) for t in range(60)]
    intervals = [
        {"moment": k, "from": str(start), "to": str(end), "pixels": k, "hectares": k / 10}
        for k, (start, end) in enumerate(pairwise(dates), start=1)
    ]
    changes = {"images": [np.zeros((H, W, 3), np.uint8)] * 60, "dates": dates}
    page = page_of(tmp_path, summary={"intervals": intervals}, **changes)
    minor = [a.get("class") == "minor" for a in page.all("tr")[1:60]]
    assert minor == [True] * 29 + [False] * 30


def test_origin_of_the_maps_is_told(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert [f"{DATES[0]}.tif", "1.2 MB", "0f" * 32] in page.rows
    assert ["change_moment.tif", "900 bytes", "cd" * 32] in page.rows
    for row in (
        ["Checkpoint", "best.pth"], ["Learnt from", "three towns"], ["SHA-256", "ab" * 32],
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
    assert not page.all("input", value="score")
    assert not page.all("a")
    assert len([a for a in page.all("button") if "data-moments" in a]) == T - 1


def test_a_pair_has_the_report_without_the_dates_and_opens_with_a_swipe(tmp_path: Path) -> None:
    moment = some_moment(2)
    page = page_of(tmp_path, summary={}, images=some_images(2), moment=moment, dates=DATES[:2])
    assert [a["value"] for a in page.all("input", name="kind")] == ["moment", "score", "none"]
    assert 'id="date"' not in page.text
    assert data_of(page)["swipe"] == 50
    assert data_of(page_of(tmp_path))["swipe"] is None


def test_the_page_opens_with_the_last_clear_date_and_swipes_between_clear_ones(
    tmp_path: Path,
) -> None:
    data = data_of(page_of(tmp_path, clear=[0.2, 0.97, 1.0, 0.5]))
    assert (data["start"], data["first"], data["last"]) == (3, 2, 3)


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


def test_a_calibrated_probability_takes_the_place_of_the_score(tmp_path: Path) -> None:
    summary = some_summary()
    summary["probability"] = {"error": 0.014, "changed_error": 0.05, "fitted_on": "<b>a</b>",
                              "measured_on": "two scenes"}  # fmt: skip
    summary["pixels"]["changed_from_80_percent"] = summary["pixels"]["changed"]
    for row in summary["intervals"]:
        row["pixels_from_80_percent"] = row["pixels"]
    page = page_of(tmp_path, summary=summary)
    data = data_of(page)
    assert (data["strength"], data["least"], data["percent"]) == ("Probability", 20, " %")
    assert len(data["scores"]) == 81
    assert "100 % of it has a probability of 80 % or more." in page.text.replace("\xa0", " ")
    assert "of pixels with 80 %, about 80 of 100 changed" in page.text
    assert "no calibrated probability" not in page.text
    assert "<b>a</b>" not in page.text


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
        ({"clear": [1.0]}, "clear: found 1, expected one per date, 4"),
        ({"summary": some_summary(intervals=[{"moment": 1}])}, "summary: found the intervals"),
    ],
)
def test_input_that_does_not_fit_together_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_page(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []
