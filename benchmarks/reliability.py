"""A diagram of how far weights' probabilities of change are true, on several data side by side.

    python benchmarks/reliability.py --checkpoint best_model/Pretrained_model_SpaceNet7.pth \\
        --counts "val=runs/val/reliability.json" "test=runs/test/reliability.json" \\
        --title "Nine dates" --picture docs/images/reliability.png

Each reliability.json is one that a Test program left, see best_model/README.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.weights.checkpoint import load_checkpoint
from models.weights.probability import Calibration, LeadCounts, calibration_error, reliability
from utils.errors import UserError, run_program
from utils.fields import WeightsFile
from utils.files import read_json, sha256
from utils.pictures.figures import reliability_figure
from utils.pictures.layout import save_figure
from utils.settings import read_settings

__all__ = ["Settings", "main"]

MOST = 2  # lines that are told apart


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    checkpoint: WeightsFile  # whose probability is shown
    counts: tuple[str, ...]  # NAME=FILE of one or two reliability.json, made with these weights
    title: str  # of the diagram
    picture: Path  # where it is written


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the diagram."""
    settings = read_settings(Settings, arguments)
    calibration = Calibration.of(load_checkpoint(settings.checkpoint).decision)
    if calibration is None or len(settings.counts) > MOST:
        raise UserError(
            f"reliability: found {len(settings.counts)} --counts and "
            f"{'a' if calibration else 'no'} probability in {settings.checkpoint}, expected one "
            f"and at most {MOST}."
        )
    curve = (calibration.leads, calibration.values)
    checksum = sha256(settings.checkpoint)
    lines = {}
    for name, _, file in (word.rpartition("=") for word in settings.counts):
        content = read_json(Path(file))
        if content["checkpoint"]["sha256"] != checksum:
            raise UserError(f"--counts {name}={file}: found other weights. Run the test again.")
        counts = LeadCounts.from_json(content["halves"]).all
        errors = [100 * calibration_error(curve, counts, least) for least in (0, 0.5)]
        words = f"{name}: {errors[0]:.1f} % off on average, {errors[1]:.1f} % from 50 % on"
        lines[words] = reliability(curve, counts)
    save_figure(reliability_figure(lines, settings.title), settings.picture)


if __name__ == "__main__":
    run_program(main)
