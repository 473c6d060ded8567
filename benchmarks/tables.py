"""The tables of docs/performance.md, made from the files in benchmarks/results/.

    python benchmarks/tables.py

Rewrites what stands between "<!-- table: NAME -->" and "<!-- end of table -->"; the text around
stays. Numbers on that page come from here only, and a test compares page and files. To be run
after a benchmark has written its file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataclasses import dataclass

from benchmarks.measuring import RESULTS
from utils.errors import run_program
from utils.files import atomic_path, read_json
from utils.progress import say
from utils.settings import REPOSITORY, read_settings

__all__ = ["PAGE", "TABLES", "filled", "main", "markdown"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

PAGE = REPOSITORY / "docs" / "performance.md"
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.S)

NOT_RECORDED = "not recorded"  # stands for the conditions of rows where they were lost

Rows = Sequence[Mapping[str, Any]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the page in."""
    read_settings(Settings, arguments)
    text = filled(PAGE.read_text("utf-8"))
    with atomic_path(PAGE) as partial:
        partial.write_text(text, "utf-8")
    say(f"written: {PAGE}")


def filled(text: str, tables: Mapping[str, Callable[[], str]] | None = None) -> str:
    """A page with every table made anew; the rest as it is.

    Args:
        text: The page.
        tables: What makes each table; those of this module if left out.

    Raises:
        KeyError: The page asks for a table that is not known here.
    """
    makers = TABLES if tables is None else tables
    return BLOCK.sub(lambda block: f"{block[1]}{makers[block[2]]()}\n{block[3]}", text)


def _machine() -> str:
    """One line per machine that result files name, and which files."""
    files: dict[str, dict[str, None]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        for run in read_json(path)["runs"]:
            files.setdefault(_place(run), {})[path.stem] = None
    return "\n".join(f"- {text} ({', '.join(names)})" for text, names in files.items())


def _place(run: Mapping[str, Any]) -> str:
    if NOT_RECORDED in run:
        return "not recorded, for a part of the rows"
    processor = run["processor"]
    return (
        f"{processor['name']}, {processor['threads']} threads, {processor['vectors']}, "
        f"bfloat16: {processor['bfloat16']}; Python {run['python']}, "
        f"PyTorch {run['packages']['torch']}"
    )


def _runs() -> str:
    """Of files that hold rows of several runs: when, at which commit and how each was made."""
    lines: list[tuple[str, ...]] = []
    for path in sorted(RESULTS.glob("*.json")):
        file = read_json(path)
        numbers = [row["run"] for row in file["rows"]]
        for number, run in enumerate(file["runs"] if len(file["runs"]) > 1 else ()):
            about = f"[{path.stem}](../benchmarks/results/{path.name})"
            rows = str(numbers.count(number))
            if NOT_RECORDED in run:
                lines.append((about, rows, "not recorded", "not recorded", "not recorded"))
                continue
            commit = run["git_commit"][:7] + (", with changes" if run["git_changed"] else "")
            flags = run["command"].partition(".py ")[2] or "none"
            lines.append((about, rows, run["time"][:16], commit, flags))
    return markdown(("File", "Rows", "When, UTC", "Commit", "Flags"), lines)


def _attention() -> str:
    lines: dict[tuple[Any, ...], dict[str, Mapping[str, Any]]] = {}
    for row in _rows("attention"):
        key = (row["tokens"], row["channels"], row["what"])
        lines.setdefault(key, {})[row["how"]] = row
    ways = list(next(iter(lines.values())))
    return markdown(
        ("Tokens", "Channels", "Work", *(f"{way}, ms" for way in ways),
         "Blocks, times kernel in bfloat16"),
        [
            (
                *key, *(f"{1000 * row['seconds']['median']:.1f}" for row in rows.values()),
                f"{rows['blocks, bfloat16']['times_kernel']:.2f}",
            )
            for key, rows in lines.items()
        ],
    )  # fmt: skip


def _throughput() -> str:
    rows = _rows("throughput")
    return markdown(
        ("Work", "Dates", "Attention", "Format", "s per patch", "Patches/s", "Share",
         "Share, attention counted", "Times plain"),
        [
            (
                row["what"], row["num_dates"], row["attention"], row["dtype"],
                f"{row['seconds_per_patch']['median']:.3f}",
                f"{row['patches_per_second']['median']:.1f}",
                _percent(row["share_of_matrix_product"]),
                _percent(row.get("share_with_attention_products")),
                f"{row['speedup_over_plain']:.2f}",
            )
            for row in rows
        ],
    )  # fmt: skip


def _bfloat16() -> str:
    """Speed of bfloat16 over float32, by kind of work."""
    rows = _rows("throughput")
    keys = ("what", "num_dates", "attention")
    speed = {(*(row[k] for k in keys), row["dtype"]): row for row in rows}
    lines = []
    for row in rows:
        if row["dtype"] != "bfloat16":
            continue
        exact = speed[(*(row[k] for k in keys), "float32")]
        ratio = exact["seconds_per_patch"]["median"] / row["seconds_per_patch"]["median"]
        product = row["matrix_product_gflops"]["median"]
        lines.append(
            (
                *(row[k] for k in keys), f"{ratio:.2f}",
                f"{product / row['float32_matrix_product_gflops']['median']:.2f}",
            )
        )  # fmt: skip
    head = ("Work", "Dates", "Attention", "bfloat16, times float32", "Matrix product, the same")
    return markdown(head, lines)


def _compiled() -> str:
    return markdown(
        ("Work", "Dates", "Attention", "Compiled", "s per patch", "Share"),
        [
            (
                row["what"], row["num_dates"], row["attention"],
                "yes" if row["compile"] else "no",
                f"{row['seconds_per_patch']['median']:.3f}",
                _percent(row["share_of_matrix_product"]),
            )
            for row in _rows("compiled")
        ],
    )  # fmt: skip


def _memory() -> str:
    rows = _rows("memory")
    columns = list(dict.fromkeys((row["attention"], row["num_dates"]) for row in rows))
    lines: dict[str, list[str]] = {}
    for row in rows:
        name = row["what"] + (", recompute" if row["recompute"] else "")
        lines.setdefault(name, []).append(f"{row['peak_gb']['median']:.2f}")
    head = ("Peak, GB", *(f"{attention}, {dates} dates" for attention, dates in columns))
    return markdown(head, [(name, *values) for name, values in lines.items()])


def _end_to_end() -> str:
    return markdown(
        ("Network", "Forward passes alone, s", "Test_Dynamic.py, s", "Ratio",
         "Peak memory, one scene", "All three scenes"),
        [
            (
                row["network"], f"{row['bare_seconds']['median']:.1f}",
                f"{row['program_seconds']['median']:.1f}", f"{row['ratio']:.3f}",
                f"{row['peak_gb_one_scene']:.2f} GB", f"{row['peak_gb']:.2f} GB",
            )
            for row in _rows("end_to_end")
        ],
    )  # fmt: skip


def _metrics() -> str:
    return markdown(
        ("What", "Classes", "How", "s per 10⁸ pixels"),
        [
            (row["what"], row["num_classes"], row["how"], f"{row['seconds_per_1e8_pixels']:.2f}")
            for row in _rows("metrics_cost")
        ],
    )


def _loading() -> str:
    """Patches per second of the smallest batch, a row per format and state."""
    rows = _rows("data_loading")
    batch = min(row["batch_size"] for row in rows)
    workers = list(dict.fromkeys(row["workers"] for row in rows))
    fastest: dict[int, float] = {}
    for row in _rows("throughput"):
        if row["what"] == "training step":
            speed = row["patches_per_second"]["median"]
            fastest[row["num_dates"]] = max(speed, fastest.get(row["num_dates"], 0.0))
    lines: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["batch_size"] == batch:
            line = lines.setdefault((row["images"], row["from"]), [])
            rate = row["patches_per_second"]["median"]
            line.append(f"{rate:.0f} ({rate / fastest[row['num_dates']]:.0f}×)")
    head = ("Images", "From", *(f"{n} processes" for n in workers))
    return markdown(head, [(*key, *values) for key, values in lines.items()])


def _floors() -> str:
    (file,) = read_json(RESULTS / "where_time_goes.json")["runs"]
    forward = next(
        row for row in _rows("throughput")
        if (row["what"], row["num_dates"], row["attention"], row["dtype"])
        == ("forward", file["num_dates"], "batch", "float32")
    )  # fmt: skip
    rates = {name: rate["median"] for name, rate in file["rates"].items()}
    rates["matrix_product_gflops"] = forward["matrix_product_gflops"]["median"]
    gflop, megabytes = forward["gflop_per_patch"], file["traffic_mb_per_patch"]["forward"]
    least = file["least_mb_per_patch"]

    def milliseconds(amount: float, rate: str) -> str:
        return f"{1000 * amount / rates[rate]:.1f} ms"

    lines = [
        ("arithmetic", f"{gflop:.1f} GFLOP", milliseconds(gflop, "matrix_product_gflops"),
         f"matrix product, {rates['matrix_product_gflops']:.0f} GFLOP/s"),
        ("bytes that cannot be avoided", f"{least:.1f} MB",
         milliseconds(least / 1e3, "copy_in_memory_gb_per_s"),
         f"copying in memory, {rates['copy_in_memory_gb_per_s']:.1f} GB/s"),
        ("bytes that our operators read and write", f"{megabytes:.0f} MB",
         milliseconds(megabytes / 1e3, "copy_in_cache_gb_per_s"),
         f"copying in cache, {rates['copy_in_cache_gb_per_s']:.1f} GB/s"),
        ("the same", f"{megabytes:.0f} MB",
         milliseconds(megabytes / 1e3, "copy_in_memory_gb_per_s"),
         f"copying in memory, {rates['copy_in_memory_gb_per_s']:.1f} GB/s"),
        ("half of it, all into memory handed out anew", f"{megabytes / 2:.0f} MB",
         milliseconds(megabytes / 2e3, "fresh_memory_gb_per_s"),
         f"filling fresh memory, {rates['fresh_memory_gb_per_s']:.1f} GB/s"),
        ("measured", "", f"{1000 * forward['seconds_per_patch']['median']:.1f} ms", ""),
    ]  # fmt: skip
    return markdown(("Per patch", "Amount", "Time", "At"), lines)


def _profile() -> str:
    shares: dict[str, dict[str, float]] = {}
    for row in _rows("where_time_goes"):
        shares.setdefault(row["kind"], {})[row["what"]] = row["share"]
    head = ("Operators", "Forward", "Training step")
    return markdown(
        head, [(k, *(_percent(s.get(w)) for w in ("forward", "training step")))
               for k, s in shares.items()]
    )  # fmt: skip


def _bfloat16_maps() -> str:
    return markdown(
        ("Data", "Scene", "Pixels", "Equal moment", "Largest difference of an area score",
         "Of a moment score"),
        [
            (
                row["data"], row["scene"], f"{row['pixels']:,}", f"{row['equal_moment']:.3%}",
                f"{row['area']['largest']:.5f}", f"{row['moment']['largest']:.5f}",
            )
            for row in _rows("bfloat16_agreement")
        ],
    )  # fmt: skip


def _bfloat16_training() -> str:
    return markdown(
        ("Score", "Epochs within", "Mean difference", "From a rounded start",
         "Standard deviation over seeds"),
        [
            (
                row["score"], f"{row['epochs_within']} of {row['epochs']}",
                f"{row['mean_difference']:+.4f}", f"{row['mean_difference_of_rounded_start']:+.4f}",
                f"{row['mean_float32_sd']:.4f}",
            )
            for row in _rows("bfloat16_training")
            if row["epoch"] == "all"
        ],
    )  # fmt: skip


def _predict_series() -> str:
    return markdown(
        ("Pixels", "Tiles", "Network alone, s", "Predict.py, s", "Ratio", "Mapping only, ratio",
         "Mpx/s", "Peak memory"),
        [
            (
                f"{row['width']}×{row['height']}", f"{row['tiles']:,}",
                f"{row['network_seconds']:.0f}", f"{row['program_seconds']:.0f}",
                f"{row['ratio']:.3f}", f"{row['rows_seconds'] / row['network_seconds']:.3f}",
                f"{row['megapixels_per_second']:.3f}", f"{row['peak_gb']:.2f} GB",
            )
            for row in _rows("predict_series")
        ],
    )  # fmt: skip


def _pairs() -> str:
    return markdown(
        ("Work", "Format", "s per pair", "GFLOP", "GFLOP/s", "Matrix product, GFLOP/s", "Share",
         "Times float32", "Peak, GB"),
        [
            (
                row["what"], row["dtype"], f"{row['seconds']['median']:.2f}",
                f"{row['gflop']:.1f}", f"{row['gflops']:.0f}",
                f"{row['matrix_product_gflops']:.0f}", _percent(row["share_of_matrix_product"]),
                f"{row['times_float32']:.2f}", f"{row['peak_gb']:.2f}",
            )
            for row in _rows("pairs")
        ],
    )  # fmt: skip


def _compared() -> str:
    scores = ("precision", "recall", "f1", "iou")
    names = {"caim": "CAIM-Net", "ctma": "CTMA"}
    return markdown(
        ("Network", "Sees", "Parameters", "GFLOP per patch", "s per patch", "Peak, GB",
         "Area precision", "Recall", "F1", "IoU"),
        [
            (
                names[row["network"]], row["sees"], f"{row['parameters']:,}",
                f"{row['gflop_per_patch']:.1f}", f"{row['seconds_per_patch']['median']:.3f}",
                f"{row['peak_gb']:.2f}", *(f"{100 * row[f'area_{key}']:.2f}" for key in scores),
            )
            for row in _rows("compare_networks")
        ],
    )  # fmt: skip


TABLES: Mapping[str, Callable[[], str]] = {
    "machine": _machine,
    "runs": _runs,
    "attention": _attention,
    "throughput": _throughput,
    "bfloat16": _bfloat16,
    "bfloat16_maps": _bfloat16_maps,
    "bfloat16_training": _bfloat16_training,
    "compiled": _compiled,
    "memory": _memory,
    "end_to_end": _end_to_end,
    "predict_series": _predict_series,
    "metrics": _metrics,
    "loading": _loading,
    "floors": _floors,
    "profile": _profile,
    "pairs": _pairs,
    "compared": _compared,
}


def _rows(name: str) -> Rows:
    rows: Rows = read_json(RESULTS / f"{name}.json")["rows"]
    return rows


def markdown(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    """A table as Markdown: head and lines of cells."""
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in cells)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


if __name__ == "__main__":
    run_program(main)
