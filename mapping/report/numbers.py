"""Numbers of a report by interval: bar, legend and table, and groups of years where there are many.

Every number comes from the summary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from mapping.report.answer import amount, count_of_sure, day_texts, rounded, share_text
from utils.pictures.colors import moment_colors

__all__ = ["numbers_of"]

MOST_ROWS = 12  # intervals that are listed one by one; more are a scale with marks of years
MOST_YEARS, MOST_SPANS = 10, 6  # marks of the scale, single years or several each
MOST_SIZES = 6  # marks that have room for hectares below them
MOST_PRINTED = 30  # rows of the table

Row = dict[str, Any]


def numbers_of(summary: Mapping[str, Any], dates: Sequence[date]) -> dict[str, Any]:
    """Rows of the page by interval, their sums and groups.

    Args:
        summary: Content of summary.json; without intervals in it there are no amounts.
        dates: The T dates.

    Returns:
        ``rows`` of all intervals, ``groups`` of them where they are many, ``totals``, ``weighed``
        (something changed), ``unit``, ``short_unit`` and ``sizes`` by moment.
    """
    entries = summary.get("intervals") or [{} for _ in range(len(dates) - 1)]
    in_hectares = all(entry.get("hectares") is not None for entry in entries)
    key = "hectares" if in_hectares else "pixels"
    counts = [float(entry.get(key) or 0) for entry in entries]
    pixels, labels, colors = (
        summary.get("pixels") or {},
        day_texts(dates),
        moment_colors(len(dates)),
    )
    printed = sorted(range(len(counts)), key=lambda index: -counts[index])[:MOST_PRINTED]
    rows = [
        {
            "moment": k,
            "text": f"{labels[k - 1]} – {labels[k]}",
            "from": labels[k - 1],
            "to": labels[k],
            "year": dates[k].year,
            "days": (dates[k] - dates[k - 1]).days,
            "color": colors[k],
            "weight": counts[k - 1],
            "minor": k - 1 not in printed,
            "part": _whole_percent(counts[k - 1], sum(counts)),
            **_counted(entry, pixels),
        }
        for k, entry in enumerate(entries, start=1)
    ]
    return {
        "rows": rows,
        "groups": _groups(rows, key) if len(rows) > MOST_ROWS else [],
        "totals": _totals(summary) if summary.get("intervals") else [],
        "weighed": any(counts),
        "unit": "Hectares" if in_hectares else "Pixels",
        "short_unit": "ha" if in_hectares else "pixels",
        "sizes": [None, *(entry.get(key) for entry in entries)],
    }


def _whole_percent(part: float, whole: float) -> str:
    """Part of a whole in percent, at a glance."""
    if not part:
        return ""
    return f"{100 * part / whole:.0f} %" if part >= 0.01 * whole else "< 1 %"


def _counted(entry: Mapping[str, Any], pixels: Mapping[str, Any]) -> Row:
    """The columns of an interval or of a sum of them."""
    if entry.get("pixels") is None:
        return {"size": "", "count": "", "share": "", "sure": ""}
    hectares, count = entry.get("hectares"), entry["pixels"]
    sure = count_of_sure(entry, "pixels")
    return {
        "size": amount(hectares, count),
        "count": f"{count:,}" if hectares is None else rounded(hectares),
        "share": share_text(count, pixels.get("mapped", 0)) if count else "",
        "sure": share_text(sure, count) if sure is not None and count else "",
    }


def _groups(rows: Sequence[Row], key: str) -> list[Row]:
    """Intervals by the year in which they end, by several where there are many."""
    years = rows[-1]["year"] - rows[0]["year"] + 1
    step = 1 if years <= MOST_YEARS else -(-years // MOST_SPANS)
    groups = []
    for start, members in groupby(
        rows, lambda row: row["year"] - (row["year"] - rows[0]["year"]) % step
    ):
        group = list(members)
        total = sum(row["weight"] for row in group)
        size = amount(total, 0) if key == "hectares" else f"{int(total):,}"
        last = group[-1]["year"]
        groups.append(
            {
                "text": f"{start}" if last == start else f"{start}–{last % 100:02d}",
                "moments": ",".join(str(row["moment"]) for row in group),
                "days": sum(row["days"] for row in group),
                "size": size if total else "",
            }
        )
    if len(groups) > MOST_SIZES:
        groups = [{**group, "size": ""} for group in groups]
    return groups


def _totals(summary: Mapping[str, Any]) -> list[Row]:
    """Changed, unchanged, mapped; and no data where there is any."""
    pixels, hectares = summary.get("pixels") or {}, summary.get("hectares") or {}
    if not pixels:
        return []

    def total(title: str, names: Sequence[str], whole: str, sure: int | None = None) -> Row:
        count, ground = (
            [counted[name] for name in names] if counted else [] for counted in (pixels, hectares)
        )
        entry = {
            "pixels": count[0] - sum(count[1:]),
            "hectares": ground[0] - sum(ground[1:]) if ground else None,
            "pixels_above_60": sure,
        }
        return {"title": title, **_counted(entry, {"mapped": pixels[whole]})}

    rows = [
        total("Changed", ["changed"], "mapped", count_of_sure(pixels, "changed")),
        total("Unchanged", ["mapped", "changed"], "mapped"),
        total("Mapped", ["mapped"], "mapped"),
    ]
    if pixels["no_data"]:
        rows.append(total("Not mapped (share of the whole raster)", ["no_data"], "total"))
    return rows
