"""Few labelled scenes of a series: made once, other places and years are scored, a row a run."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import few_scenes
from benchmarks.real_areas import Area
from data_processing.scenes.scene import Scene
from data_processing.scenes.spec import DYNAMIC
from data_processing.scenes.splits import find_scenes
from utils.errors import UserError
from utils.files import read_csv_rows

REPORT = {
    "area": {"f1": 0.5, "fpr": 0.01}, "moment": {"f1_macro_all": 0.4, "kappa": 0.3},
    "scenes": {"a": {}},
}  # fmt: skip


def series() -> Area:
    """Two years of 20 days each; every column of 32×40 pixels has a brightness of its own."""
    days = [datetime.date(year, 1, 1) + datetime.timedelta(15 * n) for year in (2003, 2004)
            for n in range(20)]  # fmt: skip
    rng = np.random.default_rng(0)
    images = 1000 + 50 * np.arange(40) + rng.integers(-20, 20, (len(days), 4, 32, 40))
    missing = np.zeros((len(days), 32, 40), np.bool_)
    missing[:, 0, :] = True
    days_of = np.array([day.toordinal() for day in days])
    return Area("a", images.astype(np.int16), days_of, missing=missing)


def values_of(scene: Scene) -> NDArray[np.generic]:
    return np.stack([iio.imread(path) for path in scene.image_paths]).transpose(0, 3, 1, 2)


def test_scenes_to_learn_from_and_to_be_scored_on_share_neither_place_nor_year(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        few_scenes, "run_program_measured", lambda *words: calls.append(words) or (1.2, 0.1)
    )
    monkeypatch.setattr(few_scenes, "read_json", lambda path: REPORT)
    monkeypatch.setattr(few_scenes, "landsat_series", lambda folder, share: series())
    (tmp_path / "w.pth").touch()
    flags = ["--landsat", "l", "--output-dir", str(tmp_path / "runs"), "--checkpoint",
             str(tmp_path / "w.pth"), "--results", str(tmp_path / "rows.csv"), "--scenes", "1", "2",
             "--seeds", "3", "--steps", "8"]  # fmt: skip
    for _ in range(2):
        few_scenes.main(flags)
    rows = read_csv_rows(tmp_path / "rows.csv")
    assert [(row["start"], row["scenes"]) for row in rows] == [
        ("w.pth", "0"), ("anew", "1"), ("w.pth", "1"), ("anew", "2"), ("w.pth", "2"),
    ]  # fmt: skip
    trained = [words for words in calls if words[0] == "Train_Dynamic.py"]
    epochs = [words[words.index("--epochs") + 1] for words in trained]
    assert epochs == [8, 8, 4, 4]  # as many steps
    root = tmp_path / "runs/w_2_3/data"
    learnt, scored = (
        [Scene(path, DYNAMIC) for path in find_scenes(root, DYNAMIC, split)]
        for split in ("train", "test")
    )
    assert (len(learnt), len(scored)) == (2, 3)
    assert {date.year for scene in learnt for date in scene.dates} == {2003}
    assert {date.year for scene in scored for date in scene.dates} == {2004}
    west, east = ([values_of(scene) for scene in scenes] for scenes in (learnt, scored))
    border = 1000 + 50 * 20  # brightness of the first column of the eastern half
    # changes may be brighter or darker than their place
    assert all(np.median(values[values > 0]) < border - 200 for values in west)
    assert all(np.median(values[values > 0]) > border + 200 for values in east)
    assert all((values[:, :, 0] == 0).all() for values in west)  # without data
    with pytest.raises(UserError, match="found 9, expected 6 at most"):
        few_scenes.main([word if word != "2" else "9" for word in flags])
