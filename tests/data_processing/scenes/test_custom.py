"""Custom: bands and dates of a data root stand in its dataset.json, and are refused all at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_processing.scenes.custom import GivenFacts, custom_spec, dataset_spec, facts_of
from data_processing.scenes.custom import planned_spec as planned
from data_processing.scenes.spec import DYNAMIC, own_spec
from utils.errors import DataError, UserError

FACTS = {"bands": ["blue", "green", "red", "nir", "swir1"], "num_dates": 12}


def root_with(folder: Path, content: Any) -> Path:
    """A data root whose dataset.json holds this."""
    (folder / "Images_Custom").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "Images_Custom/dataset.json").write_text(text)
    return folder


def scene(split: str, name: str, dates: int) -> dict[str, Any]:
    return {"split": split, "name": name, "dates": ["2020-01-01"] * dates}


def test_four_entries_written_by_hand_are_enough(tmp_path: Path) -> None:
    root = root_with(tmp_path, {**FACTS, "pixel_scale": "stored", "gsd": 10})
    spec = custom_spec(root)
    assert (spec.num_dates, spec.pixel_scale, spec.gsd) == (12, "stored", 10.0)
    assert spec.bands == ("blue", "green", "red", "nir", "swir1")
    assert spec.visible_bands == (2, 1, 0)
    assert dataset_spec("custom", root) == spec
    assert dataset_spec("dynamic", root) is DYNAMIC
    assert spec == custom_spec(root_with(root, facts_of(spec)))


@pytest.mark.parametrize(
    ("bands", "visible", "alpha"),
    [
        (["vv"], (0, 0, 0), None),
        (["vv", "vh"], (0, 1, 1), None),
        (["nir", "swir1", "swir2", "x"], (0, 1, 2), None),
        (["alpha", "red", "green", "blue"], (1, 2, 3), 0),
    ],
)
def test_any_bands_have_places_for_pictures(
    bands: list[str], visible: tuple[int, int, int], alpha: int | None
) -> None:
    spec = own_spec(bands, 2)
    assert (spec.visible_bands, spec.alpha_band) == (visible, alpha)


def test_all_faults_are_told_at_once_with_an_example(tmp_path: Path) -> None:
    wrong = {"bands": ["blue", "Blue"], "num_dates": 1, "pixel_scale": "big", "gsd": -1}
    with pytest.raises(DataError) as caught:
        custom_spec(root_with(tmp_path, wrong))
    assert len(caught.value.faults) == 4
    for part in ("each name once", "from 2 to 255", "auto or stored", "metres or null", '"bands"'):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["[1]", "{", "{}", {**FACTS, "bands": "blue"}, {**FACTS, "bands": []},
     {**FACTS, "bands": ["blue\n"]}, {**FACTS, "bands": [1]}, {**FACTS, "bands": ["b"] * 300},
     {**FACTS, "num_dates": "12"}, {**FACTS, "num_dates": True}, {**FACTS, "num_dates": 256},
     {**FACTS, "gsd": float("nan")}, {**FACTS, "pixel_scale": ["auto"]}],
)  # fmt: skip
def test_what_are_no_facts_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError, match=r"dataset\.json"):
        custom_spec(root_with(tmp_path, content))


def test_scenes_of_another_number_of_dates_are_listed(tmp_path: Path) -> None:
    scenes = [scene("train", "a", 12), scene("train", "b", 9), scene("test", "c", 13)]
    with pytest.raises(DataError) as caught:
        custom_spec(root_with(tmp_path, {**FACTS, "scenes": scenes}))
    assert caught.value.faults == [
        "train/b: found 9 dates, expected 12 as num_dates says",
        "test/c: found 13 dates, expected 12 as num_dates says",
    ]


@pytest.mark.parametrize("made", ["nothing", "root", "images"])
def test_a_root_without_facts_says_how_they_are_made(tmp_path: Path, made: str) -> None:
    root = tmp_path / "root"
    if made != "nothing":
        (root / "Images_Custom" if made == "images" else root).mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        custom_spec(root)
    for part in ("expected dataset.json", "prepare_custom.py --dataset custom", '"num_dates"'):
        assert part in str(caught.value)


def test_further_scenes_keep_the_facts_and_contradictions_name_all_flags(tmp_path: Path) -> None:
    root = root_with(tmp_path, {**FACTS, "scenes": [scene("train", "a", 12)]})
    images = GivenFacts(("x",), 7, gsd=3.0)
    assert planned(root, GivenFacts(), images, ("val", "b")) == custom_spec(root)
    with pytest.raises(UserError) as caught:
        planned(root, GivenFacts(("x",), 7, "stored"), images, ("val", "b"))
    for part in ("--band-names: found x", "--num-dates: found 7, expected 12", "--pixel-scale",
                 "train/a 12 dates"):  # fmt: skip
        assert part in str(caught.value)
    alone = planned(root, GivenFacts(("x",), 7), images, ("train", "a"))  # made again
    assert (alone.bands, alone.num_dates, alone.gsd) == (("x",), 7, 3.0)
    assert planned(root, GivenFacts(("y",)), images, None).bands == ("y",)  # all made anew


@pytest.mark.parametrize(
    ("asked", "images", "fault"),
    [
        (GivenFacts(), GivenFacts(num_dates=3), "--band-names: found none"),
        (GivenFacts(("a",)), GivenFacts(), "--num-dates: found none"),
        (GivenFacts(("a", "A")), GivenFacts(num_dates=3), "each name once"),
        (GivenFacts(("a",)), GivenFacts(num_dates=396), "num_dates: found 396"),
    ],
)
def test_what_is_missing_is_asked_for(
    tmp_path: Path, asked: GivenFacts, images: GivenFacts, fault: str
) -> None:
    with pytest.raises(UserError, match=fault):
        planned(tmp_path, asked, images, ("train", "a"))
