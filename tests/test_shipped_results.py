"""The shipped weights are those their sheets describe; docs/results.md quotes its files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.score_tables import PAGES, PAIR_ROWS, TABLES
from benchmarks.score_tables import ROWS as NAMED_ROWS
from benchmarks.tables import filled
from models import CAIMNet
from models.weights.checkpoint import load_checkpoint
from utils.files import sha256
from utils.settings import REPOSITORY

WEIGHTS = REPOSITORY / "best_model"
RESULTS = REPOSITORY / "docs" / "results.md"
QUOTED = r"^\|(.+)\| \[file\]\((results/\w+\.json)\), .+ \|$"
ROWS = re.findall(QUOTED, RESULTS.read_text("utf-8"), re.M)


@pytest.mark.parametrize(("name", "num_dates"), [("Dynamic", 6), ("SpaceNet7", 9)])
def test_a_weights_file_is_the_one_its_sheet_describes(name: str, num_dates: int) -> None:
    path = WEIGHTS / f"Pretrained_model_{name}.pth"
    sheet = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert sheet["sha256"] == sha256(path) == sheet["test"]["protocol"]["checkpoint"]["sha256"]
    assert sheet["test"]["protocol"]["dataset"]["generator"].endswith("sample_data.py")
    weights = load_checkpoint(path)
    assert weights.arguments == sheet["arguments"]
    assert (weights.data["name"], weights.arguments["num_dates"]) == (name, num_dates)
    maps = weights.build().predict(torch.rand(1, num_dates, 4, 32, 32))  # type: ignore[operator]
    assert maps.area_prob.isfinite().all()


def test_weights_of_pairs_are_those_their_sheet_and_scores_describe() -> None:
    path = WEIGHTS / "Pretrained_model_CTMA.pth"
    sheet = json.loads(path.with_suffix(".json").read_text("utf-8"))
    scores = json.loads((RESULTS.parent / "results/real_pairs_shipped.json").read_text("utf-8"))
    assert sheet["sha256"] == sha256(path) == scores["protocol"]["checkpoint"]["sha256"]
    assert sheet["test_real"]["area"] == scores["area"]
    weights = load_checkpoint(path)
    assert json.loads(json.dumps(weights.arguments)) == sheet["arguments"]
    maps = weights.build().predict(torch.rand(1, 2, 3, 64, 64))  # type: ignore[operator]
    assert maps.area_prob.isfinite().all()


def numbers(scores: dict[str, Any]) -> list[str]:
    if "moment" not in scores:  # of pairs
        keys = ("precision", "recall", "f1", "oa", "iou")
        return [f"{100 * scores['area'][key]:.2f}" for key in keys]
    area, moment = scores["area"], scores["moment"]
    percent = [area["f1"], area["kappa"], moment["f1_macro_all"], moment["f1_macro_change"]]
    shown = [f"{100 * value:.2f}" for value in [*percent, moment["kappa"]]]
    return [*shown, f"{moment['mae_steps']:.2f} / {moment['mae_days']:.0f}"]


@pytest.mark.parametrize(("cells", "file"), ROWS)
def test_the_page_of_results_quotes_its_files(cells: str, file: str) -> None:
    shown = [cell.strip() for cell in cells.split("|")][1:]
    assert shown == numbers(json.loads((RESULTS.parent / file).read_text("utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_are_made_from_the_files(page: Path) -> None:
    text = page.read_text("utf-8")
    assert filled(text, TABLES) == text, "run: python benchmarks/score_tables.py"
    wrong = re.sub(r"(<!-- table: .*?\d)(\.\d)", r"\g<1>9\2", text, count=1, flags=re.S)
    assert wrong != text
    assert filled(wrong, TABLES) != wrong  # a number that no file holds is noticed


def test_every_table_is_shown_once() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    assert sorted(re.findall(r"<!-- table: (\w+) -->", text)) == sorted(TABLES)


def test_every_file_of_results_is_quoted() -> None:
    files = {
        f"results/{path.name}"
        for path in (RESULTS.parent / "results").glob("*.json")
        if not path.name.endswith(".settings.json")
    }
    assert {file for _, file in ROWS} == files
    assert files


def test_no_row_has_epochs_or_minutes_typed_into_its_words() -> None:
    rows = [PAIR_ROWS, *(named for _, named in NAMED_ROWS.values())]
    words = [text for named in rows for text in named.values()]
    assert words
    assert [text for text in words if re.search(r"epoch \d|\d+ epochs|\d+ min|\d+ h\b", text)] == []


def test_scores_beside_gaps_are_those_of_their_file() -> None:
    rows = json.loads((REPOSITORY / "benchmarks/results/unseen_pixels.json").read_text("utf-8"))
    score = {
        (row["dataset"], row.get("place"), row["rule"]): 100 * row["area_f1"]
        for row in rows["rows"]
        if row["share"] in (0, 0.1)
    }
    rules, names = ("carried", "zero", "stored"), ("Dynamic", "SpaceNet7")
    expected = []
    for name in names:
        expected += [*(score[name, "gap", rule] for rule in rules), score[name, None, "no gaps"]]
    expected += [score[name, "near", rule] for name in names for rule in rules]
    text = (REPOSITORY / "docs/differences.md").read_text("utf-8")
    (line,) = [line for line in text.splitlines() if "results/unseen_pixels.json" in line]
    assert [float(n) for n in re.findall(r"\d\d\.\d", line)] == pytest.approx(expected, abs=0.051)


def test_sizes_of_networks_on_the_map_of_the_paper_are_counted() -> None:
    sizes = [
        sum(parameter.numel() for parameter in CAIMNet(4, num_dates).parameters())
        for num_dates in (6, 9)
    ]
    text = (REPOSITORY / "docs/paper_map.md").read_text("utf-8")
    assert "{:,} for 6 dates, {:,} for 9".format(*sizes) in text
