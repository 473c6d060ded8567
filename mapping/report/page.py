"""The report of a prediction as one web page: pictures, the change map over them, tables.

The page stands alone: pictures are inside it as data, it asks no network for anything, and works
when opened from a folder. Its frame is ``page.html`` with ``.css`` and ``.js`` beside this
file; here the parts that depend on the prediction are made. Tables are in
``mapping.report.tables``, colours in ``utils.pictures.colors``. Nothing is computed anew: every
number comes from the summary.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import matplotlib
import numpy as np
import numpy.typing as npt

from mapping.report.tables import amount, escaped, percent, share, tables
from utils.codes import NO_DATA
from utils.files import atomic_path
from utils.pictures.colors import NO_DATA_COLOR, Pixels, moment_legend, paint_moments

__all__ = ["write_report"]

FADE = 90  # percent of opacity that the overlay starts with
ZOOMS = (1, 2, 4, 8)
JPEG_QUALITY = 88
STRIPE_COLOR = (170, 170, 170)  # of the hatching where there is no data; the style sheet has it too
NO_COLOR = (0, 0, 0, 0)
LONGEST_SCALE = 0.25  # of the width in sight


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
    parts = {
        **_head(summary, dates),
        **_map(images, moment, score, dates, metres_per_pixel),
        "legend": _legends(dates, summary, score is not None),
        "picture_note": _picture_note(summary, moment.shape),
        "north": " North is up." if (summary.get("grid") or {}).get("crs") else "",
        "sections": tables(summary, len(dates)),
        "json": _embedded(_page_data(summary, moment, score, dates, metres_per_pixel)),
    }
    page = _filled(parts)
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
    found = [(entry.get("moment"), entry.get("from"), entry.get("to")) for entry in intervals]
    expected = [(k, str(start), str(end)) for k, (start, end) in enumerate(pairwise(dates), 1)]
    if found != expected:
        raise ValueError(
            f"summary: found the intervals {found}, expected those of the dates, {expected}."
        )


# ------------------------------------------------------------------------------ frame and heading


def _filled(parts: Mapping[str, str]) -> str:
    """The page: each ``{{name}}`` of the frame is replaced; what is put in is not searched."""
    frame = Path(__file__).with_name("page.html")
    texts = dict(parts)
    for name, suffix in (("style", ".css"), ("script", ".js")):
        texts[name] = frame.with_suffix(suffix).read_text(encoding="utf-8").strip()
    return re.sub(
        r"\{\{(\w+)\}\}", lambda found: texts[found[1]], frame.read_text(encoding="utf-8")
    )


def _embedded(content: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(content, allow_nan=False).replace("<", "\\u003c")


def _head(summary: Mapping[str, Any], dates: Sequence[date]) -> dict[str, str]:
    first, last, T = escaped(dates[0]), escaped(dates[-1]), len(dates)
    remarks = "".join(f"<li>{escaped(remark)}</li>" for remark in summary.get("remarks") or ())
    return {
        "area": escaped(summary.get("area") or "Area without a name"),
        "lead": f"What changed, and when, between {first} and {last}: {T} dates, "
        + ("1 interval" if T == 2 else f"{T - 1} intervals"),
        "key_numbers": _key_numbers(summary),
        "remarks": f'<div class="note"><h2>Remarks</h2><ul>{remarks}</ul></div>' if remarks else "",
        "first_date": first,
        "last_date": last,
        "num_dates": str(T),
        "date_ticks": "".join(f'<option value="{t}"></option>' for t in range(1, T + 1)),
        "fade": str(FADE),
    }


def _key_numbers(summary: Mapping[str, Any]) -> str:
    pixels, hectares = summary.get("pixels") or {}, summary.get("hectares") or {}
    shares = (("changed", "Changed", "mapped"), ("mapped", "Mapped", "total"))
    entries = []
    for name, title, whole in (*shares, ("no_data", "No data", "total")):
        if name not in pixels:
            continue
        of = "of the mapped area" if whole == "mapped" else "of the whole raster"
        part = percent(share(pixels[name], pixels.get(whole)))
        note = f" <small>{escaped(part)} {of}</small>" if part else ""
        size = amount(hectares.get(name), pixels[name])
        entries.append(f"<div><dt>{title}</dt><dd>{escaped(size)}{note}</dd></div>")
    return f'<dl class="key">{"".join(entries)}</dl>' if entries else ""


# ---------------------------------------------------------------------------------- map and legend


def _map(
    images: Sequence[Pixels],
    moment: Pixels,
    score: Pixels | None,
    dates: Sequence[date],
    metres_per_pixel: float | None,
) -> dict[str, str]:
    h, w = moment.shape
    pictures = []
    for number, (image, day) in enumerate(zip(images, dates, strict=True), start=1):
        source = _as_data(image, "jpeg", quality=JPEG_QUALITY, subsampling=0)
        hidden = "" if number == len(dates) else " hidden"
        shown = escaped(day)
        pictures.append(
            f'<img data-date="{shown}" alt="Satellite image of {shown}" decoding="sync" '
            f'src="{source}"{hidden}>'
        )
    kinds = [("moment", "Change area" if len(dates) == 2 else "Change moment")]
    kinds += [("until", "Changes up to the date shown")] if len(dates) > 2 else []
    kinds += [("score", "Score")] if score is not None else []
    return {
        "shape": f"--shape: {w / h:.6f}",
        "images": "\n".join(pictures),
        "layers": "\n".join(_layers(moment, score, len(dates))),
        "overlay_label": "Change map: "
        + escaped("; ".join(text for text, _ in moment_legend(dates)[1:-1])),
        "kinds": "\n".join(
            f'<label><input type="radio" name="kind" value="{value}"'
            f"{' checked' if value == 'moment' else ''}> {title}</label>"
            for value, title in kinds
        ),
        "scale_bar": _scale_bar(metres_per_pixel, w),
    }


def _layers(moment: Pixels, score: Pixels | None, num_classes: int) -> list[str]:
    """The overlay as pictures that are transparent elsewhere: one per class, score, no data."""
    h, w = moment.shape
    painted = paint_moments(moment, num_classes)
    layers = []
    for k in range(1, num_classes):
        source = _as_data(_cut_out(painted, moment == k), "png")
        layers.append(f'<img data-layer="moment" data-moment="{k}" alt="" src="{source}">')
    layers = ['<div class="moments">', *layers, "</div>"]  # outlined as one
    if score is not None:
        colors = np.concatenate([_score_colors(), np.zeros((155, 3), np.uint8)])
        source = _as_data(_cut_out(colors[score], score != NO_DATA), "png")
        layers.append(f'<img data-layer="score" alt="" src="{source}" hidden>')
    if (moment == NO_DATA).any():
        stripe = max(1, round(max(h, w) / 256))
        on_stripe = (np.add.outer(np.arange(h), np.arange(w)) // stripe) % 4 == 0
        hatched = np.where(on_stripe[:, :, None], STRIPE_COLOR, NO_DATA_COLOR).astype(np.uint8)
        source = _as_data(_cut_out(hatched, moment == NO_DATA), "png")
        layers.append(f'<img data-layer="no-data" alt="" src="{source}">')
    return layers


def _cut_out(painted: Pixels, mask: npt.NDArray[np.bool_]) -> Pixels:
    """(h, w, 4): the colours where the mask holds, all zero and transparent elsewhere."""
    opaque = np.dstack([painted, np.full(mask.shape, 255, np.uint8)])
    cut: Pixels = np.where(mask[:, :, None], opaque, np.array(NO_COLOR, np.uint8))
    return cut


def _as_data(picture: Pixels, kind: str, **options: int) -> str:
    written = imageio.imwrite("<bytes>", picture, extension=f".{kind}", **dict[str, Any](options))
    return f"data:image/{kind};base64,{base64.b64encode(written).decode('ascii')}"


def _score_colors() -> Pixels:
    """(101, 3) uint8: the colour of every score, from dark to bright."""
    palette = matplotlib.colormaps["inferno"](np.linspace(0.0, 1.0, 101))[:, :3]
    colors: Pixels = np.round(255 * palette).astype(np.uint8)
    return colors


def _scales(metres_per_pixel: float | None, width: int) -> list[dict[str, Any]] | None:
    """Scale bar per zoom: a round length and its share of the width in sight."""
    if metres_per_pixel is None:
        return None
    scales = []
    for zoom in ZOOMS:
        in_sight = metres_per_pixel * width / zoom
        power = 10.0 ** math.floor(math.log10(LONGEST_SCALE * in_sight))
        metres = max(step * power for step in (1, 2, 5) if step * power <= LONGEST_SCALE * in_sight)
        text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
        scales.append({"text": text, "percent": round(100 * metres / in_sight, 3)})
    return scales


def _scale_bar(metres_per_pixel: float | None, width: int) -> str:
    scales = _scales(metres_per_pixel, width)
    if scales is None:
        return ""
    percent, text = scales[0]["percent"], scales[0]["text"]
    return (
        f'<div class="scale"><span id="scale-bar" style="width: {percent}%"></span>'
        f'<span id="scale-text">{text}</span></div>'
    )


def _legends(dates: Sequence[date], summary: Mapping[str, Any], has_score: bool) -> str:
    entries = moment_legend(dates)
    rows = []
    for k, (text, color) in enumerate(entries[1:-1], start=1):
        swatch = f'<span class="swatch" style="background: rgb{color}"></span>'
        tick = f'<input type="checkbox" data-moment="{k}" checked>'
        rows.append(f"<li><label>{tick}{swatch}{escaped(text)}</label></li>")
    through = (
        '<p class="key-line"><span class="swatch see-through"></span>unchanged: not coloured</p>'
    )
    no_data = '<p class="key-line"><span class="swatch hatched"></span>no data</p>'
    title = "Change area" if len(dates) == 2 else "Change moment"
    buttons = (
        '<div class="buttons"><button type="button" id="all">All</button>'
        '<button type="button" id="none">None</button></div>'
    )
    legend = (
        f'<fieldset class="legend" id="legend-moment"><legend>{title}</legend>'
        f"<ul>{''.join(rows)}</ul>{through}{no_data}{buttons}</fieldset>"
    )
    if not has_score:
        return legend
    stops = ", ".join(f"rgb{tuple(color.tolist())}" for color in _score_colors()[::10])
    return legend + (
        '<fieldset class="legend" id="legend-score" hidden><legend>Score</legend>'
        f'<div class="ramp" style="background: linear-gradient(90deg, {stops})"></div>'
        '<div class="ends"><span>0</span><span>50</span><span>100</span></div>'
        '<p class="hint">Ranks pixels; it is no calibrated probability.</p>'
        f"{no_data}</fieldset>"
    )


def _picture_note(summary: Mapping[str, Any], size: tuple[int, ...]) -> str:
    """How the picture differs from the raster that the numbers were counted on."""
    grid = summary.get("grid") or {}
    H, W = grid.get("height"), grid.get("width")
    if not H or not W or size == (H, W):
        return ""
    return (
        f'<p class="hint">The picture has {size[1]} × {size[0]} pixels, the raster {W} × {H}: '
        "small changes may be missing in the picture. Areas are counted on the raster.</p>"
    )


# ------------------------------------------------------------------------------ data of the script


def _page_data(
    summary: Mapping[str, Any],
    moment: Pixels,
    score: Pixels | None,
    dates: Sequence[date],
    metres_per_pixel: float | None,
) -> dict[str, Any]:
    h, w = moment.shape
    codes = moment.tobytes() + (b"" if score is None else score.tobytes())
    return {
        "dates": [str(day) for day in dates],
        "texts": [text for text, _ in moment_legend(dates)],
        "height": h,
        "width": w,
        "fade": FADE,
        "zooms": ZOOMS,
        "scale": _scales(metres_per_pixel, w),
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
