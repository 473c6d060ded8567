"""Tables over seeds: mean and standard deviation of what ablations and long trainings gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from benchmarks.measuring import RESULTS, earlier_rows
from benchmarks.tables import markdown

__all__ = [
    "IDEA",
    "RECIPE",
    "ablation_table",
    "mean_sd",
    "method_rows",
    "rows_of",
    "seed_table",
    "squares_table",
]

IDEA: Mapping[str, str] = {
    "full": "the whole network (spatial attention)",
    "attention_none": "no attention: each pixel attends to itself",
    "attention_batch": "attention over the batch, as released",
    "no_beconv": "plain depthwise convolution in BEConv's place",
    "no_lstm": "no LSTM: each interval alone",
    "segmentation_only": "segmentation branch alone, in both places",
    "stepwise_only": "stepwise branch alone, in both places",
    "cam_off": "no CAM: coarse logits summed",
    "cam_2_only": "CAM of 2 pixels alone, in both places",
    "cam_4_only": "CAM of 4 pixels alone, in both places",
    "area_head": "area head trained beside; area inferred from moment",
    "area_head_own": "area head trained beside; area of the head",
    "unet": "U-Net on stacked dates, cross-entropy",
}
"""Variants of the network by their words."""

RECIPE: Mapping[str, str] = {
    "full": "all of it",
    "no_series": "no unlabelled series, no insertion: the 28 labelled scenes",
    "no_averaging": "last weights instead of averaged ones",
    "no_coarse_loss": "no cross-entropy on the coarse logits",
    "released_factors": "the released class factors (5.5 for unchanged)",
    "symmetric_cams": "CAM weights started symmetric around zero",
    "raw_inputs": "inputs not standardised",
}
"""Parts of the recipe by what stands in their place."""

SCORES = ("area_f1", "moment_f1", "kappa", "date_right")
MAIN = "9 dates, 4,000 steps, seed "  # how rows of weights.csv of the main training begin
MAIN_SEEDS = ("1", "2", "3", "4", "5")
SHORT = "400"  # steps of most trainings; others are named
TARGET, AIM = (0.83, 0.82, 0.81), (0.90, 0.89, 0.88)
NOT_RUN = "not run"

Rows = Sequence[Mapping[str, str]]


def mean_sd(values: Sequence[str]) -> str:
    """Mean ± standard deviation (n − 1) in percent; of one value without a spread, of none –."""
    shares = [100 * float(value) for value in values if value]
    if not shares:
        return "–"
    if len(shares) == 1:
        return f"{shares[0]:.1f}"
    return f"{np.mean(shares):.1f} ± {np.std(shares, ddof=1):.1f}"


def rows_of(name: str) -> Rows:
    """Rows of a file of results; none if it is not there."""
    return earlier_rows(RESULTS / name)


def differences(rows: Rows, own: Rows, key: str) -> list[str]:
    """Excess of a variant's own rows over "full" in the trainings of the same seed and steps."""
    full = {(row["seed"], row["steps"]): row[key] for row in rows if row["variant"] == "full"}
    return [
        str(float(row[key]) - float(full[row["seed"], row["steps"]]))
        for row in own
        if row[key] and (row["seed"], row["steps"]) in full
    ]


def _lengths(rows: Rows) -> list[str]:
    """Steps of trainings, from short to long."""
    return sorted({row["steps"] for row in rows} | {SHORT}, key=int)


def ablation_table(rows: Rows, variants: Mapping[str, str]) -> str:
    """A line per variant: test scores over its seeds, and beside "full" of the same seeds."""
    heads = (
        "variant", "seeds", "parameters", "val area F1", "area F1", "moment F1", "moment kappa",
        "right date where both changed", "area F1 less full", "moment F1 less full",
    )  # fmt: skip
    lines = []
    for (variant, words), steps in product(variants.items(), _lengths(rows)):
        own = [row for row in rows if (row["variant"], row["steps"]) == (variant, steps)]
        if not own:
            if steps == SHORT:
                lines.append((words, NOT_RUN, *["–"] * (len(heads) - 2)))
            continue
        scores = [mean_sd([row[f"test_{key}"] for row in own]) for key in SCORES]
        beside = [
            "–" if variant == "full" else mean_sd(differences(rows, own, f"test_{key}"))
            for key in SCORES[:2]
        ]
        words += "" if steps == SHORT else f", {int(steps):,} steps"
        lines.append(
            (
                words, ", ".join(row["seed"] for row in own), f"{int(own[0]['parameters']):,}",
                mean_sd([row["val_area_f1"] for row in own]), *scores, *beside,
            )
        )  # fmt: skip
    return markdown(heads, lines)


def method_rows(rows: Rows) -> list[tuple[str, ...]]:
    """The U-Net, and CAIM-Net trained as shortly, as rows of the table of methods."""
    names = {"unet": "small U-Net", "full": "CAIM-Net"}
    methods = []
    for variant, words in names.items():
        own = [row for row in rows if (row["variant"], row["steps"]) == (variant, SHORT)]
        scores = [mean_sd([row[f"test_{key}"] for row in own]) for key in SCORES[:3]]
        trained = f"{own[0]['steps']} steps, {len(own)} seeds" if own else NOT_RUN
        methods.append((f"{words}, {trained}", "offset chosen on val", *scores))
    return methods


def seed_table(rows: Rows) -> str:
    """Test scores of the main training by seed, their mean, and the marks set for them."""
    keys = ("area_f1", "moment_f1_macro_all", "moment_kappa")
    calibrated = {
        row["run"].removeprefix(MAIN): row
        for row in rows
        if row["run"].startswith(MAIN) and (row["data"], row["decision"]) == ("test", "calibrated")
    }
    lines: list[tuple[str, ...]] = []
    for seed in MAIN_SEEDS:
        row = calibrated.get(seed)
        scores = [f"{100 * float(row[key]):.2f}" for key in keys] if row else [NOT_RUN, "–", "–"]
        lines.append((f"seed {seed}", *scores))
    spread = [mean_sd([row[key] for row in calibrated.values()]) for key in keys]
    lines.append((f"mean of {len(calibrated)}", *spread))
    lines += [
        (words, *(f"{100 * mark:.0f}" for mark in marks))
        for words, marks in (("to be reached", TARGET), ("aimed at", AIM))
    ]
    return markdown(("9 dates, 4,000 steps", "area F1", "moment F1", "moment kappa"), lines)


def squares_table(rows_of_runs: Rows) -> str:
    """Few labelled squares, from shipped weights and anew: means over halves and seeds."""
    runs: dict[tuple[int, str, str], list[Mapping[str, str]]] = {}
    for row in rows_of_runs:
        runs.setdefault((int(row["scenes"]), row["start"], row["lr"]), []).append(row)
    keys = ("area_f1", "moment_f1_macro_all", "moment_kappa", "false_alarms")
    return markdown(
        ("labelled squares", "start", "learning rate", "runs", "area F1", "moment F1",
         "moment kappa", "unchanged pixels called changed"),
        [
            (squares, start, rate or "–", len(rows),
             *(mean_sd([row[key] for row in rows]) for key in keys))
            for (squares, start, rate), rows in sorted(runs.items())
        ],
    )  # fmt: skip
