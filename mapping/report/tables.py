"""The tables of the report page: areas per interval, files, network, settings, versions.

Every number and text comes from summary.json and is escaped here; the page around the tables is
made in ``mapping.report.page``.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from utils.pictures.colors import moment_colors

__all__ = ["amount", "escaped", "percent", "share", "tables"]

Summary = Mapping[str, Any]


class _Html(str):
    """Text that is HTML already; every other text in a table is escaped."""

    __slots__ = ()


def tables(summary: Summary, num_classes: int) -> str:
    """All sections with tables, in the order a reader asks for them.

    Args:
        summary: Content of summary.json; sections without content are left out.
        num_classes: T, which the colours of the intervals depend on.

    Returns:
        HTML.
    """
    sections: tuple[tuple[str, Callable[[], str]], ...] = (
        ("Areas", lambda: _areas(summary, num_classes)),
        ("What the score says", lambda: _score(summary.get("score"))),
        ("Images", lambda: _files(summary.get("files"))),
        ("Grid", lambda: _grid(summary.get("grid"))),
        ("Network", lambda: _network(summary.get("checkpoint"))),
        ("Settings", lambda: _pairs(summary.get("settings"))),
        ("Run", lambda: _run(summary)),
        ("Files written", lambda: _outputs(summary.get("outputs"))),
        ("Versions", lambda: _pairs(summary.get("environment"))),
    )
    filled = [(title, content()) for title, content in sections]
    return "\n".join(
        f"<section><h2>{title}</h2>{content}</section>" for title, content in filled if content
    )


def escaped(value: object) -> str:
    """A value of the summary as text that HTML takes as text."""
    if value is None:
        return "none"
    if isinstance(value, _Html):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{escaped(name)}: {escaped(entry)}" for name, entry in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(escaped(entry) for entry in value)
    return html.escape(str(value))


def amount(hectares: float | None, pixels: int) -> str:
    """An area in hectares where they are known, in pixels otherwise."""
    return f"{pixels:,} pixels" if hectares is None else f"{_hectares(hectares)} ha"


def share(part: float | None, whole: float | None) -> float | None:
    """Part of a whole, None where it cannot be told."""
    return None if part is None or not whole else part / whole


def percent(fraction: float | None) -> str:
    """A fraction in percent with two decimals; empty where it is not known."""
    if fraction is None:
        return ""
    return "< 0.01 %" if 0 < fraction < 0.00005 else f"{100 * fraction:.2f} %"


# ---------------------------------------------------------------------------------------- sections


def _areas(summary: Summary, num_classes: int) -> str:
    intervals = summary.get("intervals")
    if not intervals:
        return ""
    pixels, hectares = summary.get("pixels") or {}, summary.get("hectares") or {}
    in_hectares = all(entry.get("hectares") is not None for entry in intervals)
    colors = moment_colors(num_classes)
    largest = max(entry.get("share") or 0.0 for entry in intervals)
    rows = []
    for entry in intervals:
        part = entry.get("share") or 0.0
        color = f"rgb{tuple(colors[entry['moment']].tolist())}"
        swatch = f'<span class="swatch" style="background: {color}"></span> {entry["moment"]}'
        width = 100 * part / largest if largest else 0.0
        bar = f'<span style="width: {width:.1f}%; background: {color}"></span>' if part else ""
        size = _hectares(entry["hectares"]) if in_hectares else f"{entry['pixels']:,}"
        rows.append([_Html(swatch), entry["from"], entry["to"], size, percent(part), _Html(bar)])
    columns = (
        ("Interval", "short"),
        ("From", "short"),
        ("To", "short"),
        ("Hectares" if in_hectares else "Pixels", "number"),
        ("Share", "number"),
        ("", "bar"),
    )
    foot = _totals(pixels, hectares if in_hectares else None)
    caption = (
        "An interval lies between the last date without and the first date with the change. "
        "Shares are of the mapped area."
    )
    return _table(columns, rows, caption=caption, foot=foot, kind="areas")


def _totals(pixels: Summary, hectares: Summary | None) -> str:
    """Rows below the intervals: changed, unchanged, mapped, no data."""
    counted = pixels if hectares is None else hectares
    rows = [(name, title) for name, title in _TOTALS if _total(counted, name) is not None]
    lines = []
    for name, title in rows:
        size = _total(counted, name) or 0
        text = f"{size:,}" if hectares is None else _hectares(size)
        if name == "no_data":
            part = percent(share(pixels.get("no_data"), pixels.get("total")))
        else:
            part = percent(share(_total(pixels, name), pixels.get("mapped")))
        lines.append(
            f'<tr><th scope="row" colspan="3">{title}</th><td class="number">{escaped(text)}</td>'
            f'<td class="number">{escaped(part)}</td><td class="bar"></td></tr>'
        )
    return "".join(lines)


_TOTALS = (
    ("changed", "Changed in all intervals"),
    ("unchanged", "Unchanged"),
    ("mapped", "Mapped area"),
    ("no_data", "No data (share of the whole raster)"),
)


def _total(counted: Summary, name: str) -> float | None:
    if name != "unchanged":
        return counted.get(name)
    mapped, changed = counted.get("mapped"), counted.get("changed")
    return None if mapped is None or changed is None else mapped - changed


def _score(score: Summary | None) -> str:
    if not score:
        return ""
    text = (
        "<p>The score, 0 to 100, ranks pixels: where it is higher, the network saw clearer signs "
        "of change. It is no calibrated probability: a score of 80 does not mean that 80 of 100 "
        "such pixels changed.</p>"
    )
    named = {"Formula": _code(score.get("formula")), "Score 0 stands for": score.get("lower")}
    named["Score 100 stands for"] = score.get("upper")
    return text + _pairs({name: value for name, value in named.items() if value is not None})


def _files(files: Sequence[Summary] | None) -> str:
    columns = (("Date", "short"), ("File", ""), ("Size", "number"), ("SHA-256", ""))
    rows = [
        [
            entry.get("date"),
            entry.get("name"),
            _size(entry.get("bytes")),
            _code(entry.get("sha256")),
        ]
        for entry in files or ()
    ]
    return _table(columns, rows, kind="stack")


def _outputs(outputs: Summary | None) -> str:
    columns = (("File", ""), ("Size", "number"), ("SHA-256", ""))
    rows = [
        [name, _size(entry.get("bytes")), _code(entry.get("sha256"))]
        for name, entry in (outputs or {}).items()
    ]
    return _table(columns, rows, kind="stack")


def _grid(grid: Summary | None) -> str:
    if not grid:
        return ""
    named: dict[str, Any] = {"Size": f"{grid.get('width')} × {grid.get('height')} pixels"}
    named["Coordinate system"] = grid.get("crs") or "none: the raster has no place on the ground"
    if grid.get("transform"):
        named["Transform"] = ", ".join(f"{number:.10g}" for number in grid["transform"])
    area = grid.get("pixel_area_m2")
    if area:
        mean, low, high = (f"{area[name]:,.6g}" for name in ("mean", "min", "max"))
        spread = "" if low == high else f" (from {low} to {high} over the raster)"
        named["Area of a pixel"] = f"{mean} m²{spread}"
    return _pairs(named)


def _network(checkpoint: Summary | None) -> str:
    if not checkpoint:
        return ""
    titles = {"network": "Network", "file": "Checkpoint", "sha256": "SHA-256", "origin": "Origin"}
    titles |= {"bands": "Bands", "arguments": "Built with"}
    named = {title: checkpoint.get(key) for key, title in titles.items() if checkpoint.get(key)}
    if "SHA-256" in named:
        named["SHA-256"] = _code(named["SHA-256"])
    return _pairs(named)


def _run(summary: Summary) -> str:
    titles = {"tiles": "Tiles", "polygons": "Polygons", "seconds": "Seconds"}
    return _pairs({title: summary[key] for key, title in titles.items() if key in summary})


# ---------------------------------------------------------------------------------- forms of tables


def _table(
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[object]],
    caption: str = "",
    foot: str = "",
    kind: str = "",
) -> str:
    """A table with a heading row; columns are (title, class of the style sheet)."""
    if not rows:
        return ""
    head = "".join(
        f'<th scope="col"{_class(name)}>{escaped(title)}</th>'
        if title
        else f"<td{_class(name)}></td>"
        for title, name in columns
    )
    body = "".join(f"<tr>{_cells(columns, row)}</tr>" for row in rows)
    described = f'<p class="hint">{escaped(caption)}</p>' if caption else ""
    totals = f"<tfoot>{foot}</tfoot>" if foot else ""
    return (
        f'{described}<div class="scroll"><table{_class(kind)}><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody>{totals}</table></div>"
    )


def _cells(columns: Iterable[tuple[str, str]], row: Sequence[object]) -> str:
    return "".join(
        f"<td{_class(name)}>{'' if value is None else escaped(value)}</td>"
        for (_, name), value in zip(columns, row, strict=True)
    )


def _pairs(named: Summary | None) -> str:
    """A table of names and values."""
    if not named:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value)}</td></tr>'
        for name, value in named.items()
    )
    return f'<table class="pairs"><tbody>{rows}</tbody></table>'


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _code(value: object) -> _Html | None:
    return None if value is None else _Html(f"<code>{escaped(value)}</code>")


def _hectares(hectares: float) -> str:
    return "< 0.01" if 0 < hectares < 0.005 else f"{hectares:,.2f}"


def _size(count: int | None) -> str:
    """Bytes in a unit that can be read at a glance."""
    if count is None:
        return ""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
