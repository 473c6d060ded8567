"""The report of a prediction as one web page: pictures, the change map over them, tables.

The page stands alone: pictures are inside it as data, it asks no network for anything, and works
when opened from a folder. It is a Jinja2 template, ``page.html`` with ``.css`` and ``.js`` beside
this file, which escapes every value; here the values are made ready for it. Nothing is computed
anew: every number comes from the summary.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import jinja2
import matplotlib
import numpy as np
import numpy.typing as npt

from mapping.report.quicklook import SCALE_SHARE, scale_bar
from utils.codes import NO_DATA
from utils.files import atomic_path
from utils.pictures.colors import (
    NO_DATA_COLOR,
    Pixels,
    moment_colors,
    moment_legend,
    paint_moments,
)

__all__ = ["amount", "percent", "write_report"]

FADE = 90  # percent of opacity that the overlay starts with
ZOOMS = (1, 2, 4, 8)
JPEG = {"quality": 88, "subsampling": 0}
STRIPE_COLOR = (170, 170, 170)  # of the hatching where there is no data; the style sheet has it too
NO_COLOR = (0, 0, 0, 0)
SCORES = 101  # 0 … 100
TOTALS = (
    ("changed", "Changed in all intervals"),
    ("unchanged", "Unchanged"),
    ("mapped", "Mapped area"),
    ("no_data", "No data (share of the whole raster)"),
)
NETWORK = (
    ("network", "Network"), ("file", "Checkpoint"), ("sha256", "SHA-256"), ("origin", "Origin"),
    ("bands", "Bands"), ("arguments", "Built with"),
)  # fmt: skip
RUN = (("tiles", "Tiles"), ("polygons", "Polygons"), ("seconds", "Seconds"))


def write_report(
    path: Path,
    summary: Mapping[str, Any],
    images: Sequence[Pixels],
    moment: Pixels,
    score: Pixels | None,
    dates: Sequence[date],
    metres_per_pixel: float | None = None,
) -> None:
    """Write the report page of one area.

    Args:
        path: The file, report.html.
        summary: Content of summary.json; parts that are missing are left out of the page.
        images: T images (h, w, 3) uint8, stretched, north up, all of one size; pictures of about
            1000 pixels a side are a good measure, the page holds them all.
        moment: (h, w) uint8 on the same grid: 0 unchanged, 1 … T−1, 255 no data.
        score: (h, w) uint8, 0 … 100, 255 no data; None where there is none.
        dates: The T dates in order.
        metres_per_pixel: Ground size of a pixel of the pictures; None leaves out the scale bar.

    Raises:
        ValueError: Sizes, types or values do not fit together, or the intervals of the summary
            are not those of the dates.
        OSError: The file cannot be written.
    """
    _check_pictures(images, moment, score, dates)
    _check_numbers(summary, dates, metres_per_pixel)
    T, (h, w) = len(dates), moment.shape
    scales = _scales(metres_per_pixel, w)
    page = _template().render(
        area=summary.get("area") or "Area without a name",
        summary=summary,
        dates=[str(day) for day in dates],
        key_numbers=_key_numbers(summary),
        height=h,
        width=w,
        fade=FADE,
        map_title="Change area" if T == 2 else "Change moment",
        images=[
            (str(day), _as_data(image, "jpeg")) for day, image in zip(dates, images, strict=True)
        ],
        layers=_layers(moment, score, T),
        intervals=moment_legend(dates)[1:-1],
        scales=scales,
        score_colors=_score_colors()[::10].tolist(),
        areas=_areas(summary, T),
        grid=_grid(summary.get("grid") or {}),
        network=_named(summary.get("checkpoint") or {}, NETWORK),
        run=_named(summary, RUN),
        page_data=_page_data(summary, moment, score, dates, scales),
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
    if score is not None and ((score > 100) & (score != NO_DATA)).any():
        raise ValueError(
            f"score: found values up to {score[score != NO_DATA].max()}, expected 0 … 100, and "
            f"{NO_DATA} for no data."
        )


def _check_numbers(
    summary: Mapping[str, Any], dates: Sequence[date], metres_per_pixel: float | None
) -> None:
    if metres_per_pixel is not None and not 0 < metres_per_pixel < math.inf:
        raise ValueError(f"metres_per_pixel: found {metres_per_pixel}, expected more than 0.")
    intervals = summary.get("intervals")
    if not intervals:
        return
    listed = [(entry.get("moment"), entry.get("from"), entry.get("to")) for entry in intervals]
    expected = [(k, str(start), str(end)) for k, (start, end) in enumerate(pairwise(dates), 1)]
    if listed != expected:
        raise ValueError(
            f"summary: found the intervals {listed}, expected those of the dates, {expected}."
        )


# ------------------------------------------------------------------------------------ template


def _template() -> jinja2.Template:
    """The page with its style sheet and script, and how values are written in it."""
    here = Path(__file__)
    frame = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here.parent), autoescape=True, trim_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )  # fmt: skip
    frame.filters |= {"bytes": _bytes, "percent": percent, "rgb": _rgb, "shown": _shown}
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


def percent(fraction: float | None) -> str:
    """A fraction in percent with two decimals; empty where it is not known."""
    if fraction is None:
        return ""
    return "< 0.01 %" if 0 < fraction < 0.00005 else f"{100 * fraction:.2f} %"


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


# ------------------------------------------------------------------------------------- numbers


def amount(hectares: float | None, pixels: int) -> str:
    """An area in hectares where they are known, in pixels otherwise."""
    return f"{pixels:,} pixels" if hectares is None else f"{_hectares(hectares)} ha"


def _hectares(hectares: float) -> str:
    return "< 0.01" if 0 < hectares < 0.005 else f"{hectares:,.2f}"


def _share(part: float | None, whole: float | None) -> float | None:
    """Part of a whole, None where it cannot be told."""
    return None if part is None or not whole else part / whole


def _key_numbers(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Changed, mapped and no data as amounts and shares."""
    pixels, hectares = summary.get("pixels") or {}, summary.get("hectares") or {}
    numbers = []
    for name, title, whole in (
        ("changed", "Changed", "mapped"),
        ("mapped", "Mapped", "total"),
        ("no_data", "No data", "total"),
    ):
        if name not in pixels:
            continue
        of = "of the mapped area" if whole == "mapped" else "of the whole raster"
        part = percent(_share(pixels[name], pixels.get(whole)))
        size = amount(hectares.get(name), pixels[name])
        numbers.append({"title": title, "amount": size, "part": f"{part} {of}" if part else ""})
    return numbers


def _areas(summary: Mapping[str, Any], num_classes: int) -> dict[str, Any] | None:
    """The table of intervals, and below them changed, unchanged, mapped, no data."""
    intervals = summary.get("intervals")
    if not intervals:
        return None
    in_hectares = all(entry.get("hectares") is not None for entry in intervals)
    colors = moment_colors(num_classes)
    largest = max(entry.get("share") or 0.0 for entry in intervals) or 1.0
    rows = [
        {
            **entry,
            "color": colors[entry["moment"]],
            "size": _hectares(entry["hectares"]) if in_hectares else f"{entry['pixels']:,}",
            "share": entry.get("share") or 0.0,
            "bar": 100 * (entry.get("share") or 0.0) / largest,
        }
        for entry in intervals
    ]
    pixels = summary.get("pixels") or {}
    counted = (summary.get("hectares") or {}) if in_hectares else pixels
    totals = [
        {
            "title": title,
            "size": _hectares(size) if in_hectares else f"{size:,}",
            "share": _share(_total(pixels, name), pixels.get(whole)),
        }
        for name, title in TOTALS
        if (size := _total(counted, name)) is not None
        for whole in ("total" if name == "no_data" else "mapped",)
    ]
    return {"unit": "Hectares" if in_hectares else "Pixels", "rows": rows, "totals": totals}


def _total(counted: Mapping[str, Any], name: str) -> float | None:
    if name != "unchanged":
        return counted.get(name)
    mapped, changed = counted.get("mapped"), counted.get("changed")
    return None if mapped is None or changed is None else mapped - changed


def _grid(grid: Mapping[str, Any]) -> dict[str, str]:
    """Size and place of the maps, line by line."""
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


def _layers(moment: Pixels, score: Pixels | None, num_classes: int) -> dict[str, Any]:
    """The overlay as pictures that are transparent elsewhere: one per class, score, no data."""
    h, w = moment.shape
    painted = paint_moments(moment, num_classes)
    cut_out = [_cut_out(painted, moment == k) for k in range(1, num_classes)]
    layers: dict[str, Any] = {"moments": [_as_data(layer, "png") for layer in cut_out]}
    if score is not None:
        colors = np.concatenate([_score_colors(), np.zeros((256 - SCORES, 3), np.uint8)])
        layers["score"] = _as_data(_cut_out(colors[score], score != NO_DATA), "png")
    if (moment == NO_DATA).any():
        stripe = max(1, round(max(h, w) / 256))
        on_stripe = (np.add.outer(np.arange(h), np.arange(w)) // stripe) % 4 == 0
        hatched = np.where(on_stripe[:, :, None], STRIPE_COLOR, NO_DATA_COLOR).astype(np.uint8)
        layers["no_data"] = _as_data(_cut_out(hatched, moment == NO_DATA), "png")
    return layers


def _cut_out(painted: Pixels, mask: npt.NDArray[np.bool_]) -> Pixels:
    """(h, w, 4): the colours where the mask holds, all zero and transparent elsewhere."""
    opaque = np.dstack([painted, np.full(mask.shape, 255, np.uint8)])
    cut: Pixels = np.where(mask[:, :, None], opaque, np.array(NO_COLOR, np.uint8))
    return cut


def _as_data(picture: Pixels, kind: str) -> str:
    options: dict[str, Any] = JPEG if kind == "jpeg" else {}
    written = imageio.imwrite("<bytes>", picture, extension=f".{kind}", **options)
    return f"data:image/{kind};base64,{base64.b64encode(written).decode('ascii')}"


def _score_colors() -> Pixels:
    """(101, 3) uint8: the colour of every score, from dark to bright."""
    palette = matplotlib.colormaps["inferno"](np.linspace(0.0, 1.0, SCORES))[:, :3]
    colors: Pixels = np.round(255 * palette).astype(np.uint8)
    return colors


def _scales(metres_per_pixel: float | None, width: int) -> list[dict[str, Any]] | None:
    """Scale bar per zoom: its text, and its share of the width in sight in percent."""
    if metres_per_pixel is None:
        return None
    bars = [scale_bar(metres_per_pixel, SCALE_SHARE * width / zoom) for zoom in ZOOMS]
    return [
        {"text": text, "percent": round(100 * zoom * length / width, 3)}
        for zoom, (text, length) in zip(ZOOMS, bars, strict=True)
    ]


def _page_data(
    summary: Mapping[str, Any],
    moment: Pixels,
    score: Pixels | None,
    dates: Sequence[date],
    scales: list[dict[str, Any]] | None,
) -> dict[str, Any]:
    """Data for the script of the page; codes are map and score, row by row, packed."""
    h, w = moment.shape
    codes = moment.tobytes() + (b"" if score is None else score.tobytes())
    return {
        "dates": [str(day) for day in dates],
        "texts": [text for text, _ in moment_legend(dates)],
        "height": h,
        "width": w,
        "fade": FADE,
        "zooms": ZOOMS,
        "scale": scales,
        "ground": _ground(summary.get("grid") or {}, h, w),
        "codes": base64.b64encode(zlib.compress(codes, 9)).decode("ascii"),
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
