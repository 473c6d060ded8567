"""Tables over seeds: means, spreads, differences of the same seed, and "not run"."""

from __future__ import annotations

from benchmarks.ablations import VARIANTS
from benchmarks.seed_tables import (
    IDEA,
    RECIPE,
    ablation_table,
    mean_sd,
    method_rows,
    seed_table,
    squares_table,
)


def row(variant: str, seed: int, area_f1: float, steps: int = 400) -> dict[str, str]:
    scores = {"val_area_f1": "0.5", "test_moment_f1": "0.4", "test_kappa": "0.3"}
    return {
        "variant": variant, "seed": str(seed), "steps": str(steps), "parameters": "12345",
        "test_area_f1": str(area_f1), "test_date_right": "", **scores,
    }  # fmt: skip


def cells(table: str, words: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {words} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_a_spread_is_that_of_a_sample_and_one_value_has_none() -> None:
    assert mean_sd(["0.5", "0.7"]) == "60.0 ± 14.1"
    assert mean_sd(["0.5"]) == "50.0"
    assert mean_sd(["", ""]) == "–"


def test_variants_stand_beside_full_of_the_same_seeds() -> None:
    rows = [row("full", 1, 0.5), row("full", 2, 0.7), row("cam_off", 2, 0.6)]
    table = ablation_table(rows, IDEA)
    assert cells(table, IDEA["cam_off"])[:5] == ["2", "12,345", "50.0", "60.0", "40.0"]
    assert cells(table, IDEA["cam_off"])[-2:] == ["-10.0", "0.0"]
    assert cells(table, IDEA["unet"])[:2] == ["not run", "–"]
    assert method_rows(rows)[0][0] == "small U-Net, not run"


def test_longer_trainings_have_lines_of_their_own() -> None:
    rows = [row("full", 1, 0.5), row("full", 1, 0.8, 4000), row("cam_off", 1, 0.9, 4000)]
    table = ablation_table(rows, IDEA)
    assert cells(table, IDEA["full"])[3] == "50.0"
    assert cells(table, f"{IDEA['full']}, 4,000 steps")[3] == "80.0"
    assert cells(table, f"{IDEA['cam_off']}, 4,000 steps")[-2] == "10.0"
    assert cells(table, IDEA["cam_off"])[0] == "not run"


def test_every_variant_has_its_words() -> None:
    assert {*IDEA, *RECIPE} - {"area_head_own"} == set(VARIANTS)


def test_seeds_that_did_not_run_are_said_not_to() -> None:
    scores = {"area_f1": "0.8582", "moment_f1_macro_all": "0.83", "moment_kappa": "0.84"}
    run = {"run": "9 dates, 4,000 steps, seed 1", "data": "test", "decision": "calibrated"}
    table = seed_table([{**run, **scores}, {**run, "decision": "plain", **scores}])
    assert cells(table, "seed 1")[0] == "85.82"
    assert cells(table, "seed 2")[0] == "not run"
    assert cells(table, "mean of 1")[0] == "85.8"


def test_squares_are_means_over_the_runs_of_a_start() -> None:
    rest = {"moment_f1_macro_all": "0.4", "moment_kappa": "0.3", "false_alarms": "0.01"}
    given = [
        ("4", "anew", "0.001", "0.5"), ("0", "w.pth", "", "0.8"), ("4", "anew", "0.001", "0.7"),
        ("4", "w.pth", "0.001", "0.9"),
    ]  # fmt: skip
    rows = [
        {"scenes": scenes, "start": start, "lr": rate, "area_f1": score, **rest}
        for scenes, start, rate, score in given
    ]
    lines = squares_table(rows).splitlines()[2:]
    assert [[cell.strip() for cell in line.split("|")[1:6]] for line in lines] == [
        ["0", "w.pth", "–", "1", "80.0"],
        ["4", "anew", "0.001", "2", "60.0 ± 14.1"],
        ["4", "w.pth", "0.001", "1", "90.0"],
    ]
