"""From which windows ``train_on_real`` learns, by which scenes it chooses, at which it looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_areas import (
    Area,
    filled,
    generated_scenes,
    landsat_series,
    quiet_series,
    read_scenes,
    sentinel_series,
    spacenet7_series,
    split_years,
)
from benchmarks.real_bands import (
    Coarser,
    Dimmed,
    Draws,
    Mixture,
    Reflectance,
    Regrown,
    coarser_scene,
    fewer_dates,
)
from benchmarks.real_learners import CaimLearner, Learner, PairLearner
from benchmarks.real_windows import DrawRules, WindowMaker, lasting_steps, short_windows
from data_processing.prepare_romania import DATES
from data_processing.scenes.insertion import InsertionRules, draw_insertions, insert_changes
from data_processing.scenes.spec import DYNAMIC, SPACENET7, DatasetSpec

__all__ = [
    "SOURCES",
    "SPACENET7_MEAN",
    "SPACENET7_SPREAD",
    "Sources",
    "caim_arguments",
    "inserted_scenes",
    "rolled",
    "spacenet7_sources",
]

SEED_SCENES = 96  # generated training scenes per seed, from seed 1 on
VAL_SCENES = 12
SPACENET7_MEAN, SPACENET7_SPREAD = (0.465, 0.407, 0.298), (0.23, 0.18, 0.17)
PAIR_ARGUMENTS: dict[str, Any] = {
    "pair_widths": (12, 24, 48), "video_widths": (16, 32), "decoder_widths": (96, 48, 24, 12),
    "resnet_width": 16, "video_len": 4,
}  # fmt: skip
SCENE_YEAR = DATES[0].year  # the Sentinel-2 scene's first; the cube's years before it are learnt
KEPT_SERIES = 3  # of the year that is kept back


@dataclass(frozen=True)
class Sources:
    """Data and network of a training.

    Attributes:
        facts: What a weights file says of the data.
        learner: Makes what is trained.
        maker: Windows to learn from.
        val: Labelled scenes that the decision's offset is chosen by.
        chosen_on: What they are, in words.
        watched: Scenes whose scores are shown as it goes, and decide nothing.
    """

    facts: dict[str, Any]
    learner: Callable[[Any], Learner]
    maker: Draws
    val: list[Area]
    chosen_on: str
    watched: dict[str, Area] = field(default_factory=dict)


def spacenet7_sources(flags: Any) -> Sources:
    """All months of the training areas, and labelled scenes of the same areas."""
    areas = spacenet7_series(flags.series) + read_scenes(flags.scenes / "train", SPACENET7)
    return Sources(
        SPACENET7.facts(flags.side),
        lambda given: _caim(given, SPACENET7, SPACENET7_MEAN, SPACENET7_SPREAD),
        WindowMaker(
            areas,
            DrawRules(side=flags.side, labelled=flags.labelled, drawn=flags.drawn),
            drawn=_generated(flags.generated, SPACENET7) if flags.drawn else (),
        ),
        read_scenes(flags.scenes / "val", SPACENET7),
        "the validation scenes, inserted changes in other areas",
    )


def dynamic_sources(flags: Any) -> Sources:
    """Generated scenes, a Landsat series without a year, and a Sentinel-2 cube's first years."""
    learnt, held_out = split_years(landsat_series(flags.series, clear_share=0.8), flags.held_out)
    changes = InsertionRules(
        side=(3.5, 26.0),
        shapes=(0.35, 0.35, 0.15, 0.08, 0.07),
        feathered=0.5,
        visible_only=flags.visible_only,
    )
    rules = DrawRules(
        dates=6, side=flags.side, labelled=flags.labelled, reversed=0.3, own=1.0,
        scene_donors=0.25, scene_changes=flags.scene_changes, jittered=0.3, alpha=None,
        ignore_steps=True,
        transient=flags.clouds,
        carried_cloud=0.4,
        changes=changes,
    )  # fmt: skip
    areas = [learnt, *_generated(flags.generated, DYNAMIC)]
    if flags.cube:
        areas.append(sentinel_series(flags.cube, SCENE_YEAR, clear_share=0.6))
    maker: Draws = WindowMaker(areas, rules, short_windows)
    if flags.coarser:
        double = WindowMaker(areas, replace(rules, side=2 * flags.side), short_windows)
        coarse = Coarser(double, flags.quarters)
        maker = Mixture((maker, coarse), (1 - flags.coarser, flags.coarser))
    maker = Dimmed(Regrown(maker, flags.regrown), flags.dimmed)
    val = generated_scenes([1], "val", VAL_SCENES)
    val += [coarser_scene(area, flags.quarters) for area in val if flags.coarser]
    val += inserted_scenes(held_out, changes, seed=99, num_dates=rules.dates)
    quiet = quiet_series(held_out, KEPT_SERIES, rules.dates)
    watched = {f"landsat {number}": area for number, area in enumerate(quiet, start=1)}
    if flags.look_at:
        watched |= {area.name: area for area in read_scenes(flags.look_at, DYNAMIC)}
    resolution = ", at half their resolution, too," if flags.coarser else ""
    chosen_on = (
        f"generated validation scenes{resolution} and insertions into the series of "
        f"{flags.held_out}"
    )
    if flags.colours:
        series = WindowMaker(
            spacenet7_series(flags.colours),
            DrawRules(dates=6, side=flags.side, labelled=0, transient=0.2, carried_cloud=0.4),
        )
        shares = (1 - flags.colour_share, flags.colour_share)
        maker = Mixture((maker, Reflectance(series)), shares)
    if flags.scenes:
        val += _fewer_dates(read_scenes(flags.scenes / "val", SPACENET7), rules.dates)
        chosen_on += " and validation scenes of colours"
    return Sources(
        DYNAMIC.facts(flags.side),
        lambda given: _caim(given, DYNAMIC, (0.0,) * 4, (0.05, 0.06, 0.08, 0.15)),
        maker,
        val,
        chosen_on,
        watched,
    )


def pair_sources(flags: Any) -> Sources:
    """Two months of the training areas; first and last date of the validation scenes."""
    rules = DrawRules(dates=2, side=flags.side, labelled=0.0, other_dates=0.3)
    val = [_ends(area) for area in read_scenes(flags.scenes / "val", SPACENET7)]
    return Sources(
        {
            "name": "pairs", "num_dates": 2, "bands": ["red", "green", "blue"],
            "patch_size": flags.side, "pixel_scale": "auto",
        },
        lambda given: PairLearner(PAIR_ARGUMENTS),
        WindowMaker(spacenet7_series(flags.series), rules),
        val,
        "first and last date of the validation scenes, inserted changes in other areas",
    )  # fmt: skip


def _generated(number: int, spec: DatasetSpec) -> list[Area]:
    """Generated training scenes, of as many seeds as it takes."""
    seeds = range(1, 1 + -(-number // SEED_SCENES))
    return generated_scenes(seeds, "train", SEED_SCENES, spec)[:number]


def _fewer_dates(scenes: list[Area], number: int) -> list[Area]:
    """Scenes of nine dates at fewer, in four bands; the same ones every time."""
    rng = np.random.default_rng(7)
    chosen = [np.sort(rng.choice(SPACENET7.num_dates, number, replace=False)) for _ in scenes]
    return [fewer_dates(one, dates, rng) for one, dates in zip(scenes, chosen, strict=True)]


def _ends(area: Area) -> Area:
    """First and last date of a scene as a pair: changed or not."""
    assert area.label is not None
    label = np.where(area.label > 0, 1, area.label)
    return Area(area.name, area.images[[0, -1]][:, :3], area.days[[0, -1]].copy(), label)


def _caim(
    flags: Any,
    spec: DatasetSpec,
    mean: tuple[float, ...],
    spread: tuple[float, ...],
) -> CaimLearner:
    return CaimLearner(caim_arguments(flags, spec), mean, spread, flags.coarse_weight)


def caim_arguments(flags: Any, spec: DatasetSpec) -> dict[str, Any]:
    """Constructor arguments of CAIM-Net."""
    return {
        "in_channels": len(spec.bands), "num_dates": spec.num_dates, "width": flags.width,
        "dropout": 0.0,
    }  # fmt: skip


def inserted_scenes(area: Area, changes: InsertionRules, seed: int, num_dates: int) -> list[Area]:
    """Whole scenes of an unlabelled area with many changes inserted, to choose by."""
    rng = np.random.default_rng(seed)
    many = replace(changes, most=24, least_visible=max(1.0, changes.least_visible))
    scenes = []
    for part in quiet_series(area, KEPT_SERIES, num_dates):
        assert part.label is not None
        images, missing = part.values(), part.missing
        doubtful = lasting_steps(images)
        whole = images if missing is None else filled(images, missing)
        drawn = draw_insertions(rng, images, lambda r, whole=whole: rolled(r, whole), many)
        images, label = insert_changes(images, part.label, drawn)
        label[(label == 0) & doubtful] = -1
        scenes.append(Area("inserted", images, part.days, label, missing))
    return scenes


def rolled(rng: np.random.Generator, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """A place itself, rolled by at least a quarter of its sides."""
    shift = [int(rng.integers(side // 4, 3 * side // 4)) for side in images.shape[2:]]
    return np.roll(images, shift, (2, 3))


SOURCES: dict[str, Callable[[Any], Sources]] = {
    "spacenet7": spacenet7_sources,
    "dynamic": dynamic_sources,
    "pairs": pair_sources,
}
