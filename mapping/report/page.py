"""The report of a prediction as one web page: the answer, the map over its images, the numbers.

The page stands alone: pictures are inside it as data, it asks no network for anything, and works
when opened from a folder. It is a Jinja2 template, ``page.html`` with ``.css`` and ``.js`` beside
this file, which escapes every value; here the values are made ready for it. Nothing is computed
anew: every number comes from the summary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from mapping.products.styles import PROBABILITY_RAMP, SCORE_RAMP
from mapping.report.answer import day_texts, place_text, sentences, sure_text, weights_text
from mapping.report.embedding import (
    codes_as_text,
    fallback_map,
    gap_mask,
    images_as_data,
    within_bytes,
)
from mapping.report.numbers import numbers_of
from mapping.report.visible import clear_dates
from utils.codes import NO_DATA
from utils.files import atomic_path
from utils.pictures.colors import Pixels, moment_colors
from utils.pictures.scale import SCALE_SHARE, scale_bar

__all__ = ["write_report"]

FADE = 70  # percent of opacity that the map starts with
MIDDLE = 50  # percent of the width, where a swipe starts
ZOOMS = (1, 2, 4, 8)
MOST_FILES = 500  # listed; summary.json has all
LONGEST_REMARK = 20_000  # characters
NETWORK = (
    ("network", "Network"), ("file", "Checkpoint"), ("sha256", "SHA-256"), ("origin", "Origin"),
    ("trained_on", "Learnt from"), ("bands", "Bands"), ("arguments", "Built with"),
)  # fmt: skip
RUN = (("tiles", "Tiles"), ("polygons", "Polygons"), ("seconds", "Seconds"))
SCORE = (("formula", "Formula"), ("lower", "Score 0 stands for"), ("upper", "Score 100 stands for"))
PROBABILITY = (
    ("error", "Mean error of the probability"),
    ("changed_error", "The same where it is 50 % or more"), ("fitted_on", "Fitted on"),
    ("measured_on", "Error measured on"),
)  # fmt: skip

Summary = Mapping[str, Any]


def write_report(
    path: Path,
    summary: Summary,
    images: Sequence[Pixels],
    moment: Pixels,
    score: Pixels | None,
    dates: Sequence[date],
    metres_per_pixel: float | None = None,
    clear: Sequence[float] | None = None,
) -> None:
    """Write the report page of one area, less than 3 MB whatever the pictures hold.

    Args:
        path: The file, report.html.
        summary: Content of summary.json; parts that are missing are left out of the page.
        images: T images (h, w, 3) uint8, stretched, north up, all of one size; pictures of about
            1000 pixels a side are a good measure, the page holds them all.
        moment: (h, w) uint8 on the same grid: 0 unchanged, 1 … T−1, 255 no data.
        score: (h, w) uint8, 0 … 100, 255 no data; the probability where the summary has one; None
            where there is neither.
        dates: The T dates in order.
        metres_per_pixel: Ground size of a pixel of the pictures; None leaves out the scale bar.
        clear: Share of each date that is clear; the page opens with the last one that is about as
            clear as the clearest. None takes all as equal.

    Raises:
        ValueError: Sizes, types or values do not fit together, or the intervals of the summary
            are not those of the dates.
        OSError: The file cannot be written.
    """
    _check_pictures(images, moment, score, dates)
    _check_numbers(summary, dates, metres_per_pixel, clear)
    shown = _shown_dates([1.0] * len(dates) if clear is None else clear)
    metres_wide = None if metres_per_pixel is None else metres_per_pixel * moment.shape[1]
    moment, score = within_bytes(moment, score)
    scales = _scales(metres_wide)
    numbers = numbers_of(summary, dates)
    page = _template().render(
        summary=summary,
        answer={name: _unbroken(text) for name, text in sentences(summary, dates).items()},
        map_link=_map_link(summary, metres_wide),
        dates=[str(day) for day in dates],
        labels=day_texts(dates),
        pair=len(dates) == 2,
        start=shown["start"],
        gap_mask=gap_mask(moment),
        images=images_as_data(images),
        fallback=fallback_map(moment, len(dates)),
        **_strength(summary),
        scales=scales,
        **numbers,
        **_origin(summary),
        page_data=_page_data(summary, moment, score, dates)
        | {"scale": scales, "sizes": numbers["sizes"], "unit": numbers["short_unit"], **shown},
    )
    with atomic_path(path) as partial:  # names of files may hold bytes that are no letters
        partial.write_bytes(page.encode("utf-8", errors="backslashreplace"))


def _check_pictures(
    images: Sequence[Pixels], moment: Pixels, score: Pixels | None, dates: Sequence[date]
) -> None:
    if len(dates) < 2 or list(dates) != sorted(set(dates)):
        raise ValueError(f"dates: found {[*map(str, dates)]}, expected two or more in order.")
    if len(images) != len(dates):
        raise ValueError(f"images: found {len(images)}, expected one per date, {len(dates)}.")
    if moment.ndim != 2:
        raise ValueError(f"moment: found shape {moment.shape}, expected two axes (h, w).")
    arrays = {f"image {t}": (image, (*moment.shape, 3)) for t, image in enumerate(images, start=1)}
    arrays["moment"] = (moment, moment.shape)
    if score is not None:
        arrays["score"] = (score, moment.shape)
    for name, (array, size) in arrays.items():
        if array.shape != size or array.dtype != np.uint8 or array.size == 0:
            raise ValueError(
                f"{name}: found {array.shape} {array.dtype}, expected {size} uint8, not empty."
            )
    for name, values, most in (("moments", moment, len(dates) - 1), ("score", score, 100)):
        if values is not None and ((values > most) & (values != NO_DATA)).any():
            raise ValueError(
                f"{name}: found values up to {values[values != NO_DATA].max()}, expected 0 … "
                f"{most}, and {NO_DATA} for no data."
            )


def _check_numbers(
    summary: Summary,
    dates: Sequence[date],
    metres_per_pixel: float | None,
    clear: Sequence[float] | None,
) -> None:
    if metres_per_pixel is not None and not 0 < metres_per_pixel < math.inf:
        raise ValueError(f"metres_per_pixel: found {metres_per_pixel}, expected more than 0.")
    if clear is not None and len(clear) != len(dates):
        raise ValueError(f"clear: found {len(clear)}, expected one per date, {len(dates)}.")
    intervals = summary.get("intervals")
    if not intervals:
        return
    given = [(entry.get("moment"), entry.get("from"), entry.get("to")) for entry in intervals]
    expected = [(k, str(start), str(end)) for k, (start, end) in enumerate(pairwise(dates), 1)]
    if given != expected:
        raise ValueError(
            f"summary: found the intervals {given}, expected those of the dates, {expected}."
        )


# ------------------------------------------------------------------------------------ template


def _template() -> jinja2.Template:
    """The page with its style sheet and script, and how values are written in it."""
    here = Path(__file__)
    frame = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here.parent), autoescape=True, trim_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )  # fmt: skip
    frame.filters |= {"bytes": _bytes, "rgb": _rgb, "shown": _shown}
    frame.policies["json.dumps_kwargs"] = {"allow_nan": False}
    for name, suffix in (("style", ".css"), ("script", ".js")):
        frame.globals[name] = here.with_suffix(suffix).read_text(encoding="utf-8").strip()
    return frame.get_template(here.with_suffix(".html").name)


def _shown(value: Any) -> str:
    """A value of the summary as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_shown(entry)}" for name, entry in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_shown(entry) for entry in value)
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_REMARK else f"{text[:LONGEST_REMARK]} …"


def _unbroken(text: str) -> str:
    """A sentence whose numbers keep their units beside them."""
    return re.sub(r"(?<=\d) (?=ha|%|pixels)", "\u00a0", text)


def _rgb(color: Any) -> str:
    """A colour as style sheets have it."""
    red, green, blue = (int(level) for level in color)
    return f"rgb({red}, {green}, {blue})"


def _bytes(count: Any) -> str:
    """Bytes in a unit that can be read at a glance; empty where the number is not known."""
    if not isinstance(count, int):
        return ""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


# ------------------------------------------------------------------------------ where it is from


def _map_link(summary: Summary, metres_wide: float | None) -> str:
    """OpenStreetMap with a mark at the centre; empty where that is not known."""
    centre = (summary.get("grid") or {}).get("centre")
    if not centre:
        return ""
    lat, lon = float(centre["latitude"]), float(centre["longitude"])
    zoom = 14 if not metres_wide else min(17, max(2, round(math.log2(4e7 / metres_wide))))
    return f"https://www.openstreetmap.org/?mlat={lat:.5f}&mlon={lon:.5f}#map={zoom}/{lat:.5f}/{lon:.5f}"


def _origin(summary: Summary) -> dict[str, Any]:
    """Place, images, settings and versions of the maps, most of it for the part that is folded."""
    files = list(summary.get("files") or ())
    said = {name: [_cut(text) for text in summary.get(name) or ()] for name in ("gaps", "remarks")}
    outputs = [{"name": name, **facts} for name, facts in (summary.get("outputs") or {}).items()]
    made = {
        "Score": _named(summary.get("score") or {}, SCORE),
        "Probability": _named(summary.get("probability") or {}, PROBABILITY),
        "Grid": _grid(summary.get("grid") or {}),
        "Network": _named(summary.get("checkpoint") or {}, NETWORK),
        "Settings": summary.get("settings") or {},
        "Run": _named(summary, RUN),
        "Versions": summary.get("environment") or {},
    }
    return {
        **said,
        "area": summary.get("area") or "Area without a name",
        "place": place_text(summary),
        "weights": weights_text(summary),
        "source_files": files[:MOST_FILES],
        "more_files": max(0, len(files) - MOST_FILES),
        "outputs": outputs,
        "made": {title: named for title, named in made.items() if named},
    }


def _grid(grid: Mapping[str, Any]) -> dict[str, str]:
    """Place of the maps, line by line."""
    if not grid:
        return {}
    named = {"Size": f"{grid.get('width')} × {grid.get('height')} pixels"}
    named["Coordinate system"] = grid.get("crs") or "none: the raster has no place on the ground"
    if grid.get("transform"):
        named["Transform"] = ", ".join(f"{number:.10g}" for number in grid["transform"])
    area = grid.get("pixel_area_m2")
    if area:
        mean, low, high = (f"{area[name]:,.6g}" for name in ("mean", "min", "max"))
        spread = "" if low == high else f" (from {low} to {high} over the raster)"
        named["Area of a pixel"] = f"{mean} m²{spread}"
    return named


def _named(content: Mapping[str, Any], titles: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Entries that are there, by their titles."""
    return {title: content[name] for name, title in titles if content.get(name)}


# ------------------------------------------------------------------------------------ pictures


def _shown_dates(clear: Sequence[float]) -> dict[str, Any]:
    """Numbers, from 1, of the date that the page opens with, and of the two to swipe between.

    These are the first and the last one that are clear; it opens with the latter. Two images are
    swiped from the start.
    """
    T = len(clear)
    first, last = (0, 1) if T == 2 else clear_dates(clear)
    swipe = MIDDLE if T == 2 else None
    return {"start": last + 1, "first": first + 1, "last": last + 1, "swipe": swipe}


def _scales(metres_wide: float | None) -> list[dict[str, Any]] | None:
    """Scale bar per zoom: its text, and its share of the width in sight in percent."""
    if metres_wide is None:
        return None
    bars = [scale_bar(metres_wide, SCALE_SHARE / zoom) for zoom in ZOOMS]
    return [
        {"text": text, "percent": round(100 * zoom * length, 3)}
        for zoom, (text, length) in zip(ZOOMS, bars, strict=True)
    ]


def _ramp(summary: Summary) -> Sequence[tuple[int, str]]:
    """Values and colours of probability or score, as QGIS shows them; below the first one none."""
    return PROBABILITY_RAMP if summary.get("probability") else SCORE_RAMP


def _strength(summary: Summary) -> dict[str, Any]:
    """Words for probability or score, and the colours of its legend."""
    ramp = _ramp(summary)
    least, most = ramp[0][0], ramp[-1][0]
    stops = (f"{color} {100 * (value - least) / (most - least):g}%" for value, color in ramp)
    return {
        "strength": "Probability" if summary.get("probability") else "Score",
        "ramp": ", ".join(stops),
        "sure_column": sure_text(summary).capitalize(),
    }


def _ramp_colors(summary: Summary) -> Pixels:
    """(n, 3) uint8: the colour of every whole value from the first one that is shown to 100."""
    values = [value for value, _ in _ramp(summary)]
    stops = np.array([list(bytes.fromhex(text[1:])) for _, text in _ramp(summary)])
    shown = np.arange(values[0], values[-1] + 1)
    levels = [np.interp(shown, values, channel) for channel in stops.T]
    colors: Pixels = np.round(np.stack(levels, axis=1)).astype(np.uint8)
    return colors


def _page_data(
    summary: Summary, moment: Pixels, score: Pixels | None, dates: Sequence[date]
) -> dict[str, Any]:
    """The data of the page's script; codes are map and score, row by row, packed."""
    h, w = moment.shape
    labels = day_texts(dates)
    spans = [f"{start} – {end}" for start, end in pairwise(labels)]
    return {
        "dates": [str(day) for day in dates],
        "labels": labels,
        "texts": ["unchanged", *spans, "not mapped"],
        "colors": moment_colors(len(dates)).tolist(),
        "scores": _ramp_colors(summary).tolist(),
        "least": _ramp(summary)[0][0],
        "strength": "Probability" if summary.get("probability") else "Score",
        "percent": " %" if summary.get("probability") else "",
        "height": h,
        "width": w,
        "fade": FADE,
        "zooms": ZOOMS,
        "has_score": score is not None,
        "ground": _ground(summary.get("grid") or {}, h, w),
        "codes": codes_as_text(moment, score),
    }


def _ground(grid: Mapping[str, Any], h: int, w: int) -> list[float] | None:
    """Left, top, steps to the right and down per pixel of the picture, decimals to show.

    None where the raster has no place on the ground or its rows do not run from west to east: the
    picture is north up then, and its pixels are no longer those of the raster.
    """
    step_x, skew_x, left, skew_y, step_y, top = grid.get("transform") or (0,) * 6
    if not grid.get("crs") or skew_x or skew_y or step_x <= 0 or step_y >= 0:
        return None
    step_x, step_y = step_x * grid["width"] / w, step_y * grid["height"] / h
    return [left, top, step_x, step_y, max(0, math.ceil(-math.log10(step_x)))]
