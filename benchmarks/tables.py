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
from functools import partial

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

NETWORKS = {"caim": "CAIM-Net", "ctma": "CTMA"}

Rows = Sequence[Mapping[str, Any]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the page in."""
    read_settings(Settings, arguments)
    text = filled(PAGE.read_text("utf-8"))
    with atomic_path(PAGE) as draft:
        draft.write_text(text, "utf-8")
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


def _memory() -> str:
    rows = _rows("memory")
    columns = list(dict.fromkeys((row["attention"], row["num_dates"]) for row in rows))
    lines: dict[str, list[str]] = {}
    for row in rows:
        name = f"{row['what']}{', recompute' if row['recompute'] else ''}, {row['dtype']}"
        lines.setdefault(name, []).append(f"{row['peak_gb']['median']:.2f}")
    head = ("Peak, GB", *(f"{attention}, {dates} dates" for attention, dates in columns))
    return markdown(head, [(name, *values) for name, values in lines.items()])


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


# Tables that show a row of a file in a line: by table the file, by heading how a cell is written.
BY_ROW: dict[str, tuple[str, dict[str, str]]] = {
    "throughput": ("throughput", {
        "Work": "{what}", "Dates": "{num_dates}", "Attention": "{attention}", "Format": "{dtype}",
        "Batch": "{batch_size}", "s per patch": "{seconds_per_patch[median]:.3f}",
        "Patches/s": "{patches_per_second[median]:.1f}",
        "Share": "{share_of_matrix_product:.0%}",
        "Share, attention counted": "{share_with_attention_products:.0%}",
        "Times plain": "{speedup_over_plain:.2f}",
    }),
    "bfloat16_maps": ("bfloat16_agreement", {
        "Data": "{data}", "Scene": "{scene}", "Pixels": "{pixels:,}",
        "Equal moment": "{equal_moment:.3%}",
        "Largest difference of an area score": "{area[largest]:.5f}",
        "Of a moment score": "{moment[largest]:.5f}",
    }),
    "bfloat16_training": ("bfloat16_training", {
        "Score": "{score}", "Epochs within": "{epochs_within} of {epochs}",
        "Mean difference": "{mean_difference:+.4f}",
        "From a rounded start": "{mean_difference_of_rounded_start:+.4f}",
        "Standard deviation over seeds": "{mean_float32_sd:.4f}",
    }),
    "compiled": ("compiled", {
        "Work": "{what}", "Dates": "{num_dates}", "Attention": "{attention}",
        "Compiled": "{compile}", "s per patch": "{seconds_per_patch[median]:.3f}",
        "Share": "{share_of_matrix_product:.0%}",
    }),
    "end_to_end": ("end_to_end", {
        "Network": "{network}", "Forward passes alone, s": "{bare_seconds[median]:.1f}",
        "Test_Dynamic.py, s": "{program_seconds[median]:.1f}", "Ratio": "{ratio:.3f}",
        "Peak memory, one scene": "{peak_gb_one_scene:.2f} GB",
        "All three scenes": "{peak_gb:.2f} GB",
    }),
    "predict_series": ("predict_series", {
        "Pixels": "{width}×{height}", "Tiles": "{tiles:,}", "Format": "{precision}",
        "Threads": "{threads}",
        "Network alone, s": "{network_seconds:.0f}", "Predict.py, s": "{program_seconds:.0f}",
        "Ratio": "{ratio:.3f}", "Mapping only, ratio": "{mapping_ratio:.3f}",
        "Mpx/s": "{megapixels_per_second:.3f}", "Peak memory": "{peak_gb:.2f} GB",
    }),
    "long_series": ("long_series_cost", {
        "Dates": "{dates}", "Choices of nine": "{windows}", "All dates, s": "{median:.2f}",
        "N/9 separate maps, s": "{separate_s:.2f}", "Ratio": "{ratio:.2f}",
        "Dates held": "{dates_held}", "Pairs, different ones": "{pairs}, {different_pairs}",
        "Images of 8 tiles, MB": "{images_mb:.0f}", "Peak memory, MB": "{peak_mb}",
    }),
    "metrics": ("metrics_cost", {
        "What": "{what}", "Classes": "{num_classes}", "How": "{how}",
        "s per 10⁸ pixels": "{seconds_per_1e8_pixels:.2f}",
    }),
    "pairs": ("pairs", {
        "Work": "{what}", "Format": "{dtype}", "s per pair": "{seconds[median]:.2f}",
        "GFLOP": "{gflop:.1f}", "GFLOP/s": "{gflops:.0f}",
        "Matrix product, GFLOP/s": "{matrix_product_gflops:.0f}",
        "Share": "{share_of_matrix_product:.0%}", "Times float32": "{times_float32:.2f}",
        "Peak, GB": "{peak_gb:.2f}",
    }),
    "compared": ("compare_networks", {
        "Network": "{network}", "Sees": "{sees}", "Parameters": "{parameters:,}",
        "GFLOP per patch": "{gflop_per_patch:.1f}",
        "s per patch": "{seconds_per_patch[median]:.3f}",
        "Peak, GB": "{peak_gb:.2f}", "Area precision": "{area_precision:.2%}",
        "Recall": "{area_recall:.2%}", "F1": "{area_f1:.2%}", "IoU": "{area_iou:.2%}",
    }),
}  # fmt: skip


def _by_row(file: str, forms: Mapping[str, str]) -> str:
    """A table of a line per row; where rows are of epochs, of those over all of them."""
    rows = [_shown(row) for row in _rows(file) if row.get("epoch", "all") == "all"]
    return markdown(list(forms), [[_cell(form, row) for form in forms.values()] for row in rows])


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what cells say beside its numbers."""
    shown = {"share_with_attention_products": None, **row}
    shown["compile"] = "yes" if row.get("compile") else "no"
    shown["network"] = NETWORKS.get(row.get("network", ""), row.get("network"))
    if "rows_seconds" in row:
        shown["mapping_ratio"] = row["rows_seconds"] / row["network_seconds"]
    return shown


def _cell(form: str, row: Mapping[str, Any]) -> str:
    key = re.findall(r"\{(\w+)", form)[0]
    return "–" if row[key] is None else form.format_map(row).replace("%", " %")


TABLES: Mapping[str, Callable[[], str]] = {
    **{name: partial(_by_row, *table) for name, table in BY_ROW.items()},
    "machine": _machine,
    "runs": _runs,
    "attention": _attention,
    "bfloat16": _bfloat16,
    "memory": _memory,
    "loading": _loading,
    "floors": _floors,
    "profile": _profile,
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
