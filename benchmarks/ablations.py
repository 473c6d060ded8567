"""The paper's idea and the recipe, one change at a time: short trainings, scored on val and test.

    python benchmarks/ablations.py --series SERIES --scenes Images_SpaceNet7

Data, windows and recipe are those of ``train_on_real.py`` for nine dates; a variant differs from
"full" in one thing (``VARIANTS``). All have as many steps, the learning rate's course among them.
Every variant with the first seed comes first, then the next seed. The decision's offset is chosen
on the validation scenes; the test scenes are scored once, at the end of a training. Each finished
training is a row of benchmarks/results/ablations.csv; started again, it goes on. ``area_head``
gives two rows: its area inferred from the moment, and (``area_head_own``) that of its own head.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import train_on_real
from benchmarks.area_scores import at_offset, searched
from benchmarks.measuring import RESULTS, earlier_rows
from benchmarks.network_variants import (
    AreaAlone,
    UNet,
    UNetLearner,
    WithAreaHead,
    WithoutCAM,
    one_branch,
    one_scale,
    without_attention,
    without_beconv,
    without_lstm,
)
from benchmarks.real_areas import Area, read_scenes
from benchmarks.real_learners import CaimLearner, Learner
from benchmarks.real_sources import (
    SPACENET7_MEAN,
    SPACENET7_SPREAD,
    Sources,
    caim_arguments,
    spacenet7_sources,
)
from benchmarks.real_windows import WindowMaker
from data_processing.scenes.spec import SPACENET7
from models import CAIMNet, start_cams
from utils.errors import UserError, run_program
from utils.fields import PatchSide, Positive, Seed, Width
from utils.files import write_csv_rows
from utils.progress import say
from utils.run_folder import environment
from utils.settings import read_settings

__all__ = ["VARIANTS", "Settings", "Variant", "ablate", "learner_of", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    series: Path  # unlabelled series, a folder per area
    scenes: Path  # labelled scenes, folder with train/, val/ and test/
    output_dir: Path = Path("runs/ablations")  # where trainings stand, to go on
    variants: tuple[str, ...] = ("all",)  # of VARIANTS, in this order
    seeds: tuple[Seed, ...] = (1, 2, 3)  # of weights and windows
    steps: Positive = 500  # of each training
    width: Width = 32  # channels of each date's features
    side: PatchSide = 32  # pixels of a window
    batch_size: Positive = 8  # windows per step
    results: Path = RESULTS / "ablations.csv"  # gets a row per variant and seed


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

SAVE_EVERY = 100  # steps
RELEASED_FACTOR = 5.5  # of "unchanged", SpaceNet7


@dataclass(frozen=True)
class Variant:
    """One difference from "full".

    Attributes:
        network: Makes the network.
        arguments: Of its constructor.
        settings: Of ``train_on_real``.
        rules: By which windows are drawn.
        unchanged_factor: Class factor of "unchanged".
        cams_started: Whether CAM weights start at +1/k² rather than symmetric around zero.
        standardised: Whether the inputs are.
    """

    network: Callable[..., Any] = CAIMNet
    arguments: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)
    unchanged_factor: float = 1.0
    cams_started: bool = True
    standardised: bool = True


VARIANTS: Mapping[str, Variant] = {
    "full": Variant(),
    "attention_none": Variant(without_attention),
    "attention_batch": Variant(arguments={"attention": "batch"}),
    "no_beconv": Variant(without_beconv),
    "no_lstm": Variant(without_lstm),
    "segmentation_only": Variant(partial(one_branch, False)),
    "cam_off": Variant(WithoutCAM),
    "cam_2_only": Variant(partial(one_scale, 0)),
    "area_head": Variant(WithAreaHead),
    "unet": Variant(UNet),
    "no_series": Variant(settings={"labelled": 1.0}, rules={"scene_changes": 0.0}),
    "no_averaging": Variant(settings={"average": 0.0}),
    "no_coarse_loss": Variant(settings={"coarse_weight": 0.0}),
    "released_factors": Variant(unchanged_factor=RELEASED_FACTOR),
    "symmetric_cams": Variant(cams_started=False),
    "raw_inputs": Variant(standardised=False),
    "stepwise_only": Variant(partial(one_branch, True)),
    "cam_4_only": Variant(partial(one_scale, 1)),
}
"""By the name in the results."""


class VariantLearner(CaimLearner):
    """CAIM-Net with what a variant changes.

    Args:
        variant: It.
        flags: Settings of ``train_on_real``.
    """

    def __init__(self, variant: Variant, flags: train_on_real.Settings) -> None:
        self.variant, self.unchanged_factor = variant, variant.unchanged_factor
        colours = len(SPACENET7_MEAN)
        scale = (SPACENET7_MEAN, SPACENET7_SPREAD)
        mean, spread = scale if variant.standardised else ((0.0,) * colours, (1.0,) * colours)
        arguments = {**caim_arguments(flags, SPACENET7), **variant.arguments}
        super().__init__(arguments, mean, spread, flags.coarse_weight)

    def built(self) -> CAIMNet:
        """A new network of the variant."""
        network: CAIMNet = self.variant.network(**self.arguments)
        if self.variant.cams_started:
            start_cams(network)
        return network


def learner_of(variant: Variant, flags: train_on_real.Settings) -> Learner:
    """The network of a variant behind its loss."""
    if variant.network is not UNet:
        return VariantLearner(variant, flags)
    arguments = {
        "in_channels": len(SPACENET7.bands), "num_dates": SPACENET7.num_dates,
        "mean": (*SPACENET7_MEAN, 0.0), "spread": (*SPACENET7_SPREAD, 1.0),
    }  # fmt: skip
    return UNetLearner(arguments)


def training(name: str, seed: int, flags: Settings, sources: Sources) -> train_on_real.Run:
    """The training of a variant, as far as it has come."""
    variant = VARIANTS[name]
    folder = flags.output_dir / f"{name}_{flags.steps}_steps_seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    settings = train_on_real.Settings(
        dataset="spacenet7", series=flags.series, scenes=flags.scenes, output_dir=folder,
        steps=flags.steps, width=flags.width, side=flags.side, batch_size=flags.batch_size,
        seed=seed, **variant.settings,
    )  # fmt: skip
    maker = sources.maker
    rules = replace(maker.rules, labelled=settings.labelled, **variant.rules)
    windows = WindowMaker([*maker.scenes, *maker.series], rules)
    chosen = replace(sources, maker=windows, learner=partial(learner_of, variant))
    return train_on_real.Run(settings, chosen)


def scores_of(network: Any, val: list[Area], test: list[Area], side: int) -> dict[str, Any]:
    """Scores on both splits at the offset that is best on val."""
    search = searched(network, val, side)
    offset = search.best()["offset"]
    row: dict[str, Any] = {"offset": offset}
    for split, counted in (("val", search), ("test", searched(network, test, side))):
        scores = at_offset(counted, offset)
        row |= {
            f"{split}_{short}": _rounded(scores[key])
            for short, key in (
                ("area_f1", "area_f1"), ("moment_f1", "moment_f1_macro_all"),
                ("kappa", "moment_kappa"), ("date_right", "date_right"),
            )
        }  # fmt: skip
    return row


def area_scores_of(network: Any, val: list[Area], test: list[Area], side: int) -> dict[str, Any]:
    """Scores of an area head of its own: of its areas alone."""
    scenes = (
        [replace(area, label=np.minimum(area.label, 1)) for area in areas if area.label is not None]
        for areas in (val, test)
    )
    row = scores_of(AreaAlone(network), *scenes, side)
    return {key: row[key] for key in ("offset", "val_area_f1", "test_area_f1")}


def ablate(flags: Settings, sources: Sources, test: list[Area]) -> None:
    """Train and score what has no row yet.

    Args:
        flags: Of the program.
        sources: Of "full".
        test: Labelled scenes, scored once a training.
    """
    commit = (environment()["git_commit"] or "")[:7]
    names = list(VARIANTS) if flags.variants == ("all",) else flags.variants
    for seed, name in ((seed, name) for seed in flags.seeds for name in names):
        if any(_same(row, name, seed, flags.steps) for row in earlier_rows(flags.results)):
            continue
        run = training(name, seed, flags, sources)
        while run.done < 1:
            run.learn()
            if run.step % SAVE_EVERY == 0:
                run.save()
        network = run.network()
        parameters = sum(p.numel() for p in run.model.parameters())
        common = {"seed": seed, "steps": run.step}
        facts = {"parameters": parameters, "seconds": round(run.used), "commit": commit}
        scores = scores_of(network, sources.val, test, flags.side)
        rows = [{"variant": name, **common, **scores, **facts}]
        if name == "area_head":
            own = area_scores_of(network, sources.val, test, flags.side)
            rows.append({"variant": f"{name}_own", **common, **own, **facts})
        write_csv_rows(flags.results, [*earlier_rows(flags.results), *rows])
        for row in rows:
            say(", ".join(f"{key} {value}" for key, value in row.items()))


def _same(row: Mapping[str, str], name: str, seed: int, steps: int) -> bool:
    return (row["variant"], row["seed"], row["steps"]) == (name, str(seed), str(steps))


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, score, write the rows."""
    flags = read_settings(Settings, arguments)
    unknown = [name for name in flags.variants if name not in VARIANTS and name != "all"]
    if unknown:
        raise UserError(
            f"ablations: found --variants {' '.join(unknown)}, expected some of "
            f"{', '.join(VARIANTS)}, or all."
        )
    torch.set_num_threads(1)
    given = train_on_real.Settings(
        dataset="spacenet7", series=flags.series, scenes=flags.scenes,
        output_dir=flags.output_dir, side=flags.side,
    )  # fmt: skip
    ablate(flags, spacenet7_sources(given), read_scenes(flags.scenes / "test", SPACENET7))


if __name__ == "__main__":
    run_program(main)
