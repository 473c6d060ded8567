"""A small report page to test with, and a reader of its elements. Used by the tests of the page."""

from __future__ import annotations

import base64
from datetime import date
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np

from mapping.report.page import write_report

__all__ = [
    "DATES",
    "H",
    "Page",
    "T",
    "W",
    "page_of",
    "picture",
    "some_images",
    "some_moment",
    "some_score",
    "some_summary",
    "write_page",
]

T, H, W = 4, 40, 60
DATES = [date(2018, 1, 1), date(2018, 5, 1), date(2018, 8, 15), date(2019, 1, 1)]


class Page(HTMLParser):
    """Elements of a page in order, each with its attributes and the text directly in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.inside: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, {**attributes, "text": ""}))
        if tag not in {"img", "input", "meta", "link", "br"}:
            self.inside.append(len(self.elements) - 1)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.elements[self.inside.pop()][0] != tag:
            continue

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.elements[self.inside[-1]][1]["text"] += data
        if {self.elements[number][0] for number in self.inside} & {"td", "th"}:
            self.rows[-1][-1] = (self.rows[-1][-1] + data).strip()

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        named = {name.replace("_", "-"): value for name, value in wanted.items()}
        return [a for name, a in self.elements if name == tag and named.items() <= a.items()]

    def one(self, name: str) -> dict[str, str]:
        (found,) = [attributes for _, attributes in self.elements if attributes.get("id") == name]
        return found


def some_moment(num_classes: int = T) -> Any:
    moment = np.zeros((H, W), np.uint8)
    moment[:20, 20:50] = np.arange(30) // 10 % (num_classes - 1) + 1  # three blocks of 20 × 10
    moment[30:, :10] = 255
    return moment


def some_summary(**changes: Any) -> dict[str, Any]:
    moment = some_moment()
    counts = [int((moment == k).sum()) for k in range(T)]
    mapped, no_data = sum(counts), int((moment == 255).sum())
    intervals = [
        {"moment": k, "from": str(start), "to": str(end), "pixels": counts[k]}
        | {"hectares": counts[k] * 12.5, "share": counts[k] / mapped}
        | {"pixels_above_60": counts[k] // 2}
        for k, (start, end) in enumerate(pairwise(DATES), start=1)
    ]
    pixels = {"total": H * W, "mapped": mapped, "no_data": no_data, "changed": sum(counts[1:])}
    pixels["changed_above_60"] = pixels["changed"] // 2
    summary: dict[str, Any] = {
        "area": "Old town",
        "dates": [str(day) for day in DATES],
        "files": [
            {"date": str(day), "name": f"{day}.tif", "bytes": 1_234_567, "sha256": "0f" * 32}
            for day in DATES
        ],
        "checkpoint": {
            "file": "best.pth",
            "sha256": "ab" * 32,
            "origin": "trained here",
            "trained_on": "three towns",
        }
        | {"network": "CAIM_Net", "arguments": {"num_dates": 4, "width": 32}},
        "grid": {"height": H, "width": W, "crs": "EPSG:32633", "pixel_area_m2": None}
        | {"centre": {"longitude": 15.0, "latitude": 43.35}}
        | {"transform": [10.0, 0.0, 500000.0, 0.0, -10.0, 4800000.0]},
        "pixels": pixels,
        "hectares": {name: 12.5 * pixels[name] for name in ("mapped", "changed", "no_data")},
        "intervals": intervals,
        "score": {"formula": "100 * (p - lower) / (upper - lower)", "lower": 0.452, "upper": 0.548},
        "settings": {"batch_size": 8, "align": False, "clouds": None},
        "outputs": {"change_moment.tif": {"sha256": "cd" * 32, "bytes": 900}},
        "remarks": ["One date was left out."],
        "environment": {"python": "3.11.2", "device": "cpu", "packages": {"torch": "2.13.0"}},
    }
    return {**summary, **changes}


def some_images(num_dates: int = T) -> list[Any]:
    """Plain images of 50, 80, 110 … grey, so that a screenshot tells which one is shown."""
    return [np.full((H, W, 3), 50 + 30 * t, np.uint8) for t in range(num_dates)]


def some_score() -> Any:
    score = np.where(some_moment() > 0, 80, 10).astype(np.uint8)
    score[some_moment() == 255] = 255
    return score


def write_page(folder: Path, **changes: Any) -> Path:
    given: dict[str, Any] = {
        "summary": some_summary(),
        "images": some_images(),
        "moment": some_moment(),
        "score": some_score(),
        "dates": DATES,
        "metres_per_pixel": 10.0,
    }
    path = folder / "report.html"
    write_report(path, **{**given, **changes})
    return path


def page_of(folder: Path, **changes: Any) -> Page:
    return Page(write_page(folder, **changes).read_text(encoding="utf-8"))


def picture(source: str, mode: str | None = None) -> Any:
    return imageio.imread(base64.b64decode(source.partition(",")[2]), mode=mode)
