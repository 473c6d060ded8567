"""Simple methods: they find a clean step at its date, and nothing where there is none."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.baselines import by_otsu, change_vectors, main, step_scores
from tests.helpers.scene_files import write_data_root

T, C, SIDE = 6, 3, 24


def series(moment: int, height: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(1)
    images = rng.normal(0.3, 0.01, (T, C, SIDE, SIDE))
    images[moment:, :, 4:12, 4:12] += height
    return images


@pytest.mark.parametrize("moment", range(1, T))
def test_a_clean_step_is_found_at_its_date(moment: int) -> None:
    scores = step_scores(series(moment), smooth=1)
    inside = scores[:, 5:11, 5:11]
    assert (inside.argmax(axis=0) == moment).all()
    assert (scores[:, 15:, 15:].argmax(axis=0) == 0).all()
    found = by_otsu(series(moment))
    assert (found[5:11, 5:11] == moment).all()
    assert (found[15:, 15:] == 0).mean() > 0.95


def test_light_that_changes_everywhere_alike_is_no_change() -> None:
    images = series(3, height=0.0)
    images[3:] += 0.3
    assert change_vectors(images).max() < 0.2
    assert (step_scores(images).argmax(axis=0) == 0).mean() > 0.99


def test_the_program_chooses_on_val_and_writes_a_row_per_method(tmp_path: Path) -> None:
    root = write_data_root(tmp_path / "data", "dynamic", size=96)
    results = tmp_path / "rows.csv"
    main(["--data-root", str(root), "--dataset", "dynamic", "--results", str(results)])
    with results.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["method"] for row in rows] == ["step detector", "CVA"]
    assert all(0 < float(row["area_f1"]) <= 1 for row in rows)
