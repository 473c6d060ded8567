"""The tables of docs/results.md and of the README's results, made from docs/results/.

    python benchmarks/score_tables.py

Rewrites what stands between "<!-- table: NAME -->" and "<!-- end of table -->"; the text around
stays. A new result is a metrics.json of a Test program, copied into docs/results/ and named in
``ROWS`` below with the words that describe it. A test compares pages and files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataclasses import dataclass

from benchmarks.seed_tables import (
    IDEA,
    RECIPE,
    ablation_table,
    method_rows,
    rows_of,
    seed_table,
    squares_table,
)
from benchmarks.tables import filled, markdown
from utils.errors import run_program
from utils.files import atomic_path, read_csv_rows, read_json
from utils.progress import say
from utils.settings import REPOSITORY, read_settings

__all__ = ["PAGES", "ROWS", "TABLES", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

PAGES = (REPOSITORY / "docs" / "results.md", REPOSITORY / "README.md")
RESULTS = REPOSITORY / "docs" / "results"
MEASURED = REPOSITORY / "benchmarks" / "results"
SCORES = (
    "area F1", "area kappa", "moment F1", "moment F1, change", "moment kappa",
    "moment error, steps / days", "",
)  # fmt: skip

ROWS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "generated": (
        "generated test scenes, protocol full",
        {
            "sample_dynamic": "6 dates, best_model/Pretrained_model_Dynamic.pth",
            "sample_spacenet7": "9 dates, best_model/Pretrained_model_SpaceNet7.pth",
        },
    ),
    "inserted": (
        "real series, test split, protocol full",
        {
            "real_spacenet7_shipped": "best_model/Pretrained_model_SpaceNet7.pth",
            "real_spacenet7_improved": "`Train_SpaceNet7.py --recipe improved`: the "
            "28 training scenes, changes inserted on the fly",
            "real_spacenet7_ours": "before, from the 28 training scenes alone: no factor, "
            "lr 2e-3 cosine, width 32, 32×32 patches, augmentation",
            "real_spacenet7_recipe": "recipe (factor 5.5, lr 1e-4, width 64, 64×64 patches) at "
            "batch 8, stopped early",
        },
    ),
    "sentinel": ("protocol full", {"real_dynamic": "both scenes, one matrix"}),
}
"""Tables of docs/results.md: heading of the first column, and a row's words by result file."""

PAIR_ROWS: Mapping[str, str] = {
    "real_pairs_shipped": "8 pairs with inserted changes, best_model/Pretrained_model_CTMA.pth",
    "ctma_levir_overfit": "the 3 LEVIR-CD pairs it was trained on, last epoch",
    "ctma_flood_best": "22 floods, Albania; best epoch by these very pairs",
    "ctma_flood_last": "22 floods, Albania; last epoch",
}
"""The same of CTMA's table."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the pages in."""
    read_settings(Settings, arguments)
    for page in PAGES:
        text = filled(page.read_text("utf-8"), TABLES)
        with atomic_path(page) as partial:
            partial.write_text(text, "utf-8")
        say(f"written: {page}")


def _scores(name: str) -> Callable[[], str]:
    """The function that makes one of the tables of ``ROWS``."""
    heading, rows = ROWS[name]

    def make() -> str:
        lines = []
        for file, words in rows.items():
            area, moment = _result(file)["area"], _result(file)["moment"]
            shares = (
                area["f1"], area["kappa"], moment["f1_macro_all"], moment["f1_macro_change"],
                moment["kappa"],
            )  # fmt: skip
            error = f"{moment['mae_steps']:.2f} / {moment['mae_days']:.0f}"
            cells = [f"{100 * share:.2f}" for share in shares]
            lines.append((words, *cells, error, _record(file)))
        return markdown((heading, *SCORES), lines)

    return make


def _pairs() -> str:
    """Scores of CTMA."""
    scores = ("precision", "recall", "f1", "oa", "iou")
    return markdown(
        ("scored pairs", "precision", "recall", "F1", "OA", "IoU", ""),
        [
            (
                words, *(f"{100 * _result(file)['area'][key]:.2f}" for key in scores),
                _record(file),
            )
            for file, words in PAIR_ROWS.items()
        ],
    )  # fmt: skip


def _scenes() -> str:
    """Scores of each scene of the real Sentinel-2 series."""
    rows = _result("real_dynamic")["scenes"]
    return markdown(
        ("scene", "pixels", "area F1", "moment kappa", "unchanged pixels called changed"),
        [
            (
                name, f"{row['pixels']:,}", *(
                    f"{100 * row[key]:.2f}" for key in ("area_f1", "moment_kappa", "area_fpr")
                ),
            )
            for name, row in rows.items()
        ],
    )  # fmt: skip


def _overview() -> str:
    """The README's table."""
    clear_cuts = 100 * _result("real_dynamic")["scenes"]["Scene01"]["area_f1"]
    return markdown(
        ("", "DynamicEarthNet", "SpaceNet7"),
        [
            ("paper", *["tables not available to us"] * 2),
            ("authors' weights, this code", "not run (weights not available to us)", "not run"),
            ("shipped weights, *generated* test scenes",
             _pair("sample_dynamic"), _pair("sample_spacenet7")),
            ("shipped weights, real Sentinel-2 clear-cuts, *derived* labels",
             f"{clear_cuts:.1f} / – (one scene)", "–"),
            ("shipped weights, real series with *inserted* changes",
             "–", _pair("real_spacenet7_shipped")),
        ],
    )  # fmt: skip


def _pair(file: str) -> str:
    """Area F1 and moment F1 of a result."""
    result = _result(file)
    return f"{100 * result['area']['f1']:.1f} / {100 * result['moment']['f1_macro_all']:.1f}"


def _record(file: str) -> str:
    """Links to a result and to its training's settings and epochs, as far as they were kept."""
    endings = {"file": ".json", "settings": ".settings.json", "epochs": ".metrics.csv"}
    sheet = _result(file)["protocol"]["checkpoint"]["file"].removesuffix(".pth") + ".json"
    links = [
        f"[{text}](results/{file}{ending})"
        for text, ending in endings.items()
        if (RESULTS / f"{file}{ending}").is_file()
    ]
    if len(links) == 1 and (REPOSITORY / "best_model" / sheet).is_file():
        links.append(f"[sheet](../best_model/{sheet})")
    return ", ".join(links if len(links) > 1 else [*links, "training's record not kept"])


def _result(file: str) -> dict[str, Any]:
    content: dict[str, Any] = read_json(RESULTS / f"{file}.json")
    return content


def _methods() -> str:
    """Other methods beside the network, on the inserted test scenes."""
    methods = _measured("baselines.csv")
    shipped = _result("real_spacenet7_shipped")
    keys = ("area_f1", "moment_f1_macro_all", "moment_kappa")
    rows = [
        (row["method"], row["decision"], *(f"{100 * float(row[key]):.2f}" for key in keys))
        for row in methods
    ]
    rows += method_rows(rows_of("ablations.csv"))
    moment = shipped["moment"]
    scores = (shipped["area"]["f1"], moment["f1_macro_all"], moment["kappa"])
    offset = shipped["protocol"]["decision"]["offset"]
    rows.append(
        ("CAIM-Net, the shipped weights", f"offset {offset:+.2f} chosen on val",
         *(f"{100 * score:.2f}" for score in scores))
    )  # fmt: skip
    return markdown(("method", "decision", "area F1", "moment F1", "moment kappa"), rows)


def _weights() -> str:
    """Both decisions of the shipped weights on every kind of scenes."""
    rows = _measured("weights.csv")
    return markdown(
        ("weights", "scenes", "decision", "offset", "area F1", "moment F1", "unchanged pixels "
         "called changed", "right date where both changed", "calibration error"),
        [
            (
                row["run"], row["data"], row["decision"], f"{float(row['offset']):+.2f}",
                _percent(row["area_f1"]), _percent(row["moment_f1_macro_all"]),
                _percent(row["false_alarms"]), _percent(row["date_right"]),
                f"{float(row['calibration_error']):.3f}" if row["calibration_error"] else "–",
            )
            for row in rows
        ],
    )  # fmt: skip


def _trials() -> str:
    """Table of the trials for the weights of six dates."""
    rows = _measured("dynamic_trials.csv")
    columns = {
        "val_area_f1": "validation area F1", "clear_cuts_area_f1": "clear-cuts, area F1",
        "clear_cuts_at_their_best_offset": "the same at its best offset",
        "quiet_scene_false_alarms": "Scene02 called changed",
        "landsat_2004_false_alarms": "Landsat 2004 called changed",
    }  # fmt: skip
    return markdown(
        ("weights", "steps", "offset", *columns.values()),
        [
            (
                row["weights"], row["steps"], f"{float(row['offset']):+.2f}",
                *(f"{100 * float(row[key]):.1f}" if row[key] else "–" for key in columns),
            )
            for row in rows
        ],
    )  # fmt: skip


def _long_series() -> str:
    """All dates of a long series beside some of them and a method without training."""
    names = {"even": "9 dates, evenly spread", "all": "all 18 to 26 dates, fused"}
    rows = [
        (
            names.get(row["dates"], f"all dates, {row['dates']}"), row["split"],
            f"{float(row['offset']):+.2f}", _percent(row["area_f1"]), row["days_off"],
            _percent(row["within_a_month"]),
        )
        for row in _measured("long_series.csv")
    ]  # fmt: skip
    heads = ("dates", "areas", "offset, chosen on val", "area F1", "mean error of dates, days",
             "within a month")  # fmt: skip
    return markdown(heads, rows)


def _breaks() -> str:
    """CAIM-Net beside per-pixel breaks on the Landsat series."""
    rows = [
        (
            row["data"], row["method"], _percent(row["changed"]),
            _percent(row["changed_by_cold_too"]), _percent(row["area_f1"]),
            row["days_off"] or "–", _percent(row["within_a_month"]), row["seconds"],
        )
        for row in _measured("per_pixel_breaks.csv")
    ]  # fmt: skip
    heads = ("series", "method", "pixels changed", "of these by COLD too, of all pixels", "area F1",
             "mean error of dates, days", "within a month", "seconds")  # fmt: skip
    return markdown(heads, rows)


def _measured(name: str) -> list[dict[str, str]]:
    return read_csv_rows(MEASURED / name)


def _percent(text: str) -> str:
    return f"{100 * float(text):.2f}" if text else "–"


def _starts() -> str:
    """Networks for own data that began anew, and from weights for other dates and bands."""
    rows = _measured("takeover.csv")
    return markdown(
        ("start", "seed", "epochs", "training scenes", "area F1", "moment F1", "moment kappa",
         "moment error, days"),
        [
            (
                row["start"], row["seed"], row["epochs"], row["train_scenes"],
                *(f"{100 * float(row[key]):.2f}"
                  for key in ("area_f1", "moment_f1_macro_all", "moment_kappa")),
                row["mae_days"],
            )
            for row in rows
        ],
    )  # fmt: skip


def _failures(kind: str, heading: str) -> Callable[[], str]:
    """The function that makes the scores by scene or by class of the shipped weights."""

    def make() -> str:
        rows = [row for row in _measured("failures.csv") if row["kind"] == kind]
        keys = ("f1", "date_right", "false_alarms") if kind == "scene" else ("f1",)
        words = {"f1": "F1 of its change area" if kind == "scene" else "F1",
                 "date_right": "right date where both changed",
                 "false_alarms": "unchanged pixels called changed"}  # fmt: skip
        return markdown(
            ("weights", "scenes", heading, "pixels", "changed" if kind == "scene" else "called",
             *(words[key] for key in keys)),
            [
                (
                    row["run"], row["data"], row["of"], f"{int(row['pixels']):,}",
                    f"{int(row['changed']):,}", *(_percent(row[key]) for key in keys),
                )
                for row in rows
            ],
        )  # fmt: skip

    return make


def _fine_tuning() -> str:
    """Few labelled pairs, from shipped weights and anew."""
    keys = ("area_f1", "area_precision", "area_recall")
    return markdown(
        ("labelled pairs", "start", "seed", "steps", "F1", "precision", "recall"),
        [
            (
                row["scenes"], row["start"], row["seed"] if int(row["scenes"]) else "–",
                row["steps"], *(_percent(row[key]) for key in keys),
            )
            for row in sorted(
                _measured("fine_tuning.csv"), key=lambda row: (int(row["scenes"]), row["start"])
            )
        ],
    )  # fmt: skip


TABLES: Mapping[str, Callable[[], str]] = {
    "by_scene": _failures("scene", "scene"),
    "by_class": _failures("class", "class"),
    "fine_tuning": _fine_tuning,
    "squares": lambda: squares_table(_measured("few_scenes.csv")),
    "long": _long_series,
    "breaks": _breaks,
    **{name: _scores(name) for name in ROWS},
    "scenes": _scenes,
    "overview": _overview,
    "ctma": _pairs,
    "methods": _methods,
    "starts": _starts,
    "trials": _trials,
    "weights": _weights,
    "idea": lambda: ablation_table(rows_of("ablations.csv"), IDEA),
    "recipe": lambda: ablation_table(rows_of("ablations.csv"), RECIPE),
    "seeds": lambda: seed_table(rows_of("weights.csv")),
}


if __name__ == "__main__":
    run_program(main)
