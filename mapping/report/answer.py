"""The answer of a map in words: what changed, when, how sure, where; for page and quicklook.

Nothing is computed anew: every number comes from the summary, rounded to the three digits that are
known at best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

__all__ = [
    "amount",
    "answer_lines",
    "count_of_sure",
    "day_texts",
    "place_text",
    "rounded",
    "sentences",
    "share_text",
    "sure_text",
    "weights_text",
]

DIGITS = 3
MOST_DECIMALS = 6
HARDLY = 0.1  # share of the raster that is mapped, below which that is the first thing to say
WHOLE = 0.9995

Summary = Mapping[str, Any]


def rounded(number: float) -> str:
    """A number with three digits: 1,230, 14.5, 0.0346."""
    exact = float(f"{number:.{DIGITS}g}")
    if exact <= 0:
        return "0"
    decimals = max(0, DIGITS - 1 - math.floor(math.log10(exact)))
    text = f"{exact:,.{min(decimals, MOST_DECIMALS)}f}"
    return text.rstrip("0").rstrip(".") if exact < 1 else text


def amount(hectares: float | None, pixels: int) -> str:
    """An area in hectares where they are known, in pixels otherwise."""
    return f"{pixels:,} pixels" if hectares is None else f"{rounded(hectares)} ha"


def share_text(part: float, whole: float) -> str:
    """Part of a whole in percent, with three digits; only all of it is 100 %."""
    share = part / whole if whole else 0.0
    if WHOLE < share < 1:
        return "over 99.9 %"
    return "under 0.001 %" if 0 < share < 1e-5 else f"{rounded(100 * share)} %"


def day_texts(dates: Sequence[date]) -> list[str]:
    """Dates as texts: as months where all are the first of one, which is how months are stored."""
    if all(day.day == 1 for day in dates):
        return [f"{day:%Y-%m}" for day in dates]
    return [day.isoformat() for day in dates]


def place_text(summary: Summary) -> str:
    """Longitude and latitude of the centre; empty where they are not known."""
    centre = (summary.get("grid") or {}).get("centre")
    if not centre:
        return ""
    lat, lon = centre["latitude"], centre["longitude"]
    return f"{abs(lat):.4f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.4f}° {'E' if lon >= 0 else 'W'}"


def weights_text(summary: Summary) -> str:
    """A sentence on the data that the weights learnt from."""
    learnt = (summary.get("checkpoint") or {}).get("trained_on") or "not known"
    return f"The weights learnt from: {learnt}"


def answer_lines(summary: Summary, dates: Sequence[date]) -> str:
    """The answer in two lines, for pictures: change and time, and how sure that is."""
    answer = sentences(summary, dates)
    first = [f"{answer['headline']}.", answer.get("share", ""), answer.get("when", "")]
    second = [answer.get("sure", ""), f"{weights_text(summary)}."]
    return "\n".join(" ".join(filter(None, part)) for part in (first, second))


def sentences(summary: Summary, dates: Sequence[date]) -> dict[str, str]:
    """The answer: ``headline``, and where there is more to say ``share``, ``when`` and ``sure``.

    Args:
        summary: Content of summary.json.
        dates: The T dates of the series.
    """
    pixels, hectares = summary.get("pixels"), summary.get("hectares") or {}
    if not pixels:
        return {"headline": "No numbers at hand"}
    total, mapped, changed = pixels["total"], pixels["mapped"], pixels["changed"]
    if not mapped:
        return {
            "headline": "Nothing could be mapped",
            "share": "No pixel is seen at enough dates: clouds or missing data hide them all.",
        }
    visible = amount(hectares.get("mapped"), mapped)
    unseen = amount(hectares.get("no_data"), total - mapped)
    hidden = f"{unseen} more ({share_text(total - mapped, total)} of the area) are hidden."
    rest = f" {hidden}" if mapped < total else ""
    if changed:
        headline = f"{amount(hectares.get('changed'), changed)} changed"
        share = f"{share_text(changed, mapped)} of the {visible} seen.{rest}"
    else:
        headline = "No change found"
        share = f"None in the {visible} seen.{rest}"
    if mapped < HARDLY * total:
        share = f"{headline} there. What happened in the rest is not known."
        headline = f"Only {share_text(mapped, total)} could be mapped: {visible}"
    answer = {"headline": headline, "share": share}
    if not changed:
        return answer
    sure = count_of_sure(pixels, "changed")
    if sure is not None:
        part = share_text(sure, changed) if sure else "None"
        kind = sure_text(summary)
        answer["sure"] = f"{part} of it has a {kind}{'' if '%' in kind else ' (of 100)'}."
    if len(dates) > 2:
        answer["when"] = _when(summary, dates)
    return answer


def count_of_sure(counted: Mapping[str, Any], name: str) -> int | None:
    """Pixels of which the map is sure: by their probability, else by their score.

    Args:
        counted: Numbers of the summary, of all that changed or of an interval.
        name: "changed" or "pixels", as their keys begin.
    """
    sure: int | None = counted.get(f"{name}_from_80_percent", counted.get(f"{name}_above_60"))
    return sure


def sure_text(summary: Summary) -> str:
    """The measure by which a map is sure, in words."""
    return "probability of 80 % or more" if summary.get("probability") else "score above 60"


def _when(summary: Summary, dates: Sequence[date]) -> str:
    """The interval in which most changed."""
    texts = day_texts(dates)
    rows = summary.get("intervals") or []
    most = max(rows, key=lambda row: row["pixels"], default=None)
    if most is None:
        return ""
    k, whole = most["moment"], sum(row["pixels"] for row in rows)
    between = f"between {texts[k - 1]} and {texts[k]}"
    if most["pixels"] == whole:
        return f"All of it {between}."
    return f"Most {between}: {amount(most['hectares'], most['pixels'])}."
