"""Train on windows of real series with inserted changes, without end, and keep averaged weights.

    python benchmarks/train_on_real.py --dataset spacenet7 --series SERIES \\
        --scenes Images_SpaceNet7 --output-dir runs/real_spacenet7 --minutes 80
    python benchmarks/train_on_real.py --dataset dynamic --series LANDSAT \\
        --output-dir runs/real_dynamic
    python benchmarks/train_on_real.py --dataset pairs --series SERIES \\
        --scenes Images_SpaceNet7 --output-dir runs/real_pairs --side 64

``SERIES`` holds a folder of monthly images per area; ``LANDSAT`` images/ and cfmask/. This is how
the shipped weights were made (best_model/README.md). The learning rate follows the share of the
minutes that is used up, so that a run ends on time on a busy machine; how many steps that were is
written down. With ``--steps`` it follows these instead: the same flags then give the same weights,
interrupted or not. Started again with the same folder it goes on. Writes state.pth (to go on),
log.csv (validation as it goes) and weights.pth, a checkpoint with its decision. One CPU thread,
bfloat16 (pairs: float32).
"""

from __future__ import annotations

import csv
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.area_scores import agreed, at_offset, searched
from benchmarks.real_sources import SOURCES, Sources
from mapping.prediction import Predicts
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from utils.errors import run_program
from utils.fields import (
    Fraction,
    LearningRate,
    Natural,
    NonNegative,
    PatchSide,
    Positive,
    Seed,
    WeightsFile,
    Width,
)
from utils.files import atomic_path
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Run", "Settings", "learning_rate", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    dataset: Literal["spacenet7", "dynamic", "pairs"]  # what is learnt
    series: Path  # unlabelled series
    output_dir: Path  # folder of the run; one that holds a run goes on with it
    cube: Path | None = None  # dynamic: wheel of nrt 0.2.1; its Sentinel-2 years before 2017
    scenes: Path | None = None  # labelled scenes, folder with train/ and val/; dynamic: val/ alone
    scene_changes: Fraction = 0.3  # dynamic: of generated scenes' windows, with inserted changes
    clouds: Fraction = 0.05  # dynamic: of windows of the four bands, with a passing cloud
    colours: Path | None = None  # dynamic: unlabelled series of red, green, blue as four bands
    colour_share: Fraction = 0.4  # dynamic: of windows from these
    coarser: Fraction = 0.0  # dynamic: of windows of the four bands, at half the resolution
    quarters: Positive = 2  # of such a pixel, from which on it has changed
    regrown: Fraction = 0.0  # dynamic: of these windows, with cleared forest that turns green
    dimmed: Fraction = 0.0  # dynamic: of windows of the four bands, darker or brighter
    look_at: Path | None = None  # dynamic: a split's folder whose scores are only shown
    start_from: WeightsFile | None = None  # weights to begin with; none = new ones
    minutes: NonNegative = 80.0  # that the learning rate's course takes
    steps: Positive | None = None  # of the learning rate's course, in place of minutes
    stop_after: NonNegative | None = None  # minutes after which it stops, to go on later
    width: Width = 32  # channels of each date's features
    side: PatchSide = 32  # pixels of a window
    batch_size: Positive = 8  # windows per step
    lr: LearningRate = 2e-3  # highest learning rate of Adam
    average: Fraction = 0.998  # share of the averaged weights kept at a step
    coarse_weight: NonNegative = 0.05  # of the cross-entropy on the coarse logits
    labelled: Fraction = 0.5  # share of windows from labelled scenes
    generated: Natural = 768  # generated training scenes
    drawn: Fraction = 0.0  # spacenet7: share of windows of generated scenes
    visible_only: NonNegative = 0.8  # dynamic: times its noise from which a pixel is labelled
    held_out: Positive = 2004  # dynamic: year of the series kept back
    look_every: Positive = 500  # steps between validations
    seed: Seed = 1  # of weights and windows


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

CLIP_NORM = 4.0
LAST_LOSSES = 500  # that the log's loss is the mean of


def learning_rate(done: float, highest: float, warm: float = 0.02) -> float:
    """At a share of the run: a linear warm-up, then a cosine to one hundredth."""
    if done < warm:
        return highest * (done / warm + 0.02)
    turn = math.pi * (done - warm) / (1 - warm)
    return highest * (0.01 + 0.99 * 0.5 * (1 + math.cos(turn)))


class Run:
    """One training: network, optimiser, averaged weights, and where it stands.

    Args:
        flags: Of the program.
        sources: What it learns from, chooses by and looks at.
    """

    def __init__(self, flags: Any, sources: Sources) -> None:
        torch.manual_seed(flags.seed)
        self.flags, self.sources, self.folder = flags, sources, flags.output_dir
        self.learner = sources.learner(flags)
        if flags.start_from is not None:
            self.learner.start_from(load_checkpoint(flags.start_from).state_dict)
        self.model = self.learner.module.train()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=flags.lr)
        self.averaged = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.step, self.used = 0, 0.0
        self.losses: list[float] = []
        if (self.folder / "state.pth").is_file():
            self._go_on()

    def _go_on(self) -> None:
        state = torch.load(self.folder / "state.pth", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged, self.step, self.used = state["averaged"], state["step"], state["used"]
        say(f"going on after step {self.step}, {self.used / 60:.1f} minutes")

    @property
    def done(self) -> float:
        """Share of the run's steps, or of its minutes, that lies behind."""
        if self.flags.steps is not None:
            return self.step / float(self.flags.steps)
        return self.used / (60 * float(self.flags.minutes))

    def learn(self) -> None:
        """One step, on windows that follow from the seed and its number."""
        flags, began = self.flags, time.perf_counter()
        rng = np.random.default_rng([flags.seed, self.step])
        drawn = [self.sources.maker.draw(rng) for _ in range(flags.batch_size)]
        images, label = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.done, flags.lr)
        self.optimizer.zero_grad()
        loss = self.learner.loss(images, label)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.step += 1
        self.losses.append(loss.item())
        if not math.isfinite(self.losses[-1]):
            raise RuntimeError(f"the loss of step {self.step} is {self.losses[-1]}")
        decay = min(flags.average, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.averaged[key].lerp_(value, 1 - decay)
                else:  # counters of batch normalisation
                    self.averaged[key].copy_(value)
        self.used += time.perf_counter() - began

    def network(self) -> Predicts:
        """The network with the averaged weights, for images as they are."""
        network = self.learner.built().eval()
        network.load_state_dict(self.learner.weights(self.averaged))
        return cast("Predicts", network)

    def look(self, last: bool = False) -> None:
        """Score the averaged weights, write them, and what is needed to go on.

        Args:
            last: Whether the run ends here: then bfloat16 is compared with float32, too.
        """
        network = self.network()
        search = searched(network, self.sources.val, self.flags.side)
        best = search.best()
        row = {
            "step": self.step, "minutes": round(self.used / 60, 2),
            "loss": float(np.mean(self.losses[-LAST_LOSSES:])), "offset": best["offset"],
            **{f"plain_{key}": value for key, value in best["plain_scores"].items()},
            **{f"offset_{key}": value for key, value in best["scores"].items()},
        }  # fmt: skip
        for name, area in self.sources.watched.items():
            looked = searched(network, [area], self.flags.side)
            scores, own = at_offset(looked, best["offset"]), looked.best()
            keys = ("area_f1", "date_right", "false_alarms")
            row |= {f"{name}_{key}": scores[key] for key in keys if scores[key] is not None}
            row[f"{name}_at_its_best"] = own["scores"]["area_f1"]
            row[f"{name}_best_offset"] = own["offset"]
        _append(self.folder / "log.csv", row)
        say(", ".join(f"{key} {_short(value)}" for key, value in row.items()))
        measured: dict[str, Any] = {}
        if last:
            agreement = agreed(network, self.sources.val, self.flags.side, best["offset"])
            measured = agreement.facts(self.sources.chosen_on)
            say(f"bfloat16: {100 * measured['agreement']:.2f} % of labels as in float32")
        self._write(best, row, measured)
        self.save()

    def _write(self, best: dict[str, Any], row: dict[str, Any], measured: dict[str, Any]) -> None:
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(self.flags).items()}
        paths = ("series", "cube", "scenes", "colours", "output_dir", "look_at", "start_from")
        settings = {key: value for key, value in settings.items() if key not in paths}
        checkpoint = Checkpoint(
            self.learner.name, self.learner.arguments, self.learner.weights(self.averaged),
            data=self.sources.facts,
            training={"program": "benchmarks/train_on_real.py", "settings": settings, "last": row},
            decision={**best, "chosen_on": self.sources.chosen_on}, bfloat16=measured,
        )  # fmt: skip
        save_checkpoint(self.folder / "weights.pth", checkpoint)

    def save(self) -> None:
        """Write what is needed to go on."""
        with atomic_path(self.folder / "state.pth") as partial:
            torch.save(
                {
                    "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                    "averaged": self.averaged, "step": self.step, "used": self.used,
                },
                partial,
            )  # fmt: skip


def _append(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, row)
        if new:
            writer.writeheader()
        writer.writerow({key: _short(value) for key, value in row.items()})


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def main(arguments: Sequence[str] | None = None) -> None:
    """Train until the steps are made or the time is used up."""
    flags = read_settings(Settings, arguments)
    torch.set_num_threads(1)
    flags.output_dir.mkdir(parents=True, exist_ok=True)
    run = Run(flags, SOURCES[flags.dataset](flags))
    until = math.inf if flags.stop_after is None else 60 * flags.stop_after
    while run.done < 1 and run.used < until:
        run.learn()
        last = run.done >= 1 or run.used >= until
        if last or run.step % flags.look_every == 0:
            run.look(last)


if __name__ == "__main__":
    run_program(main)
