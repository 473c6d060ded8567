"""Masks of --clouds auto beside those that an agency ships: how many clouds, how much clear ground.

    python benchmarks/cloud_masks.py --images landsat/images --masks landsat/cfmask

Computes masks of every --step-th image by ukis-csmask, as Predict.py does, and counts pixels by the
classes of CFmask masks of the same days. CFmask is another program's guess, not the truth. Images
of which most has no data are left out. Writes a row into benchmarks/results/cloud_masks.csv.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import RESULTS
from data_processing.own_series.opening import open_raster_series
from data_processing.own_series.options import SeriesOptions
from data_processing.own_series.series import spec_for
from data_processing.rasters.reading import read_window
from utils.errors import UserError, run_program
from utils.fields import ExistingPath, Positive
from utils.files import write_csv_rows
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "main"]

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One value a line; each is also a flag."""

    images: ExistingPath  # folder of images: blue, green, red, nir, with days in their names
    masks: ExistingPath  # folder of CFmask masks of the same names
    step: Positive = 11  # every how many images one is taken
    scaling: str = "type"  # as of Predict.py; type = reflectance × 10000
    results: Path = RESULTS / "cloud_masks.csv"  # gets a row


# ─────────────────────────────── nothing below needs editing ───────────────────────────────

CLEAR, SHADOW, CLOUD, FILL = (0, 1), 2, 4, 255  # of CFmask; snow is neither
BANDS = ("blue", "green", "red", "nir")
MOSTLY = 0.5  # of an image without data


def main() -> None:
    """Compute masks, count, write a row.

    Raises:
        UserError: There are fewer than two images.
    """
    settings = read_settings(Settings)
    files = sorted(settings.images.glob("*.tif"))[:: settings.step]
    if len(files) < 2:
        raise UserError(f"--images: found {len(files)} images, expected 2 or more to take.")
    begun = time.process_time()
    spec = spec_for(BANDS, len(files))
    plain = open_raster_series(files, spec, SeriesOptions(scaling=settings.scaling))
    computed = SeriesOptions(clouds=("auto",), scaling=settings.scaling)
    masked = open_raster_series(files, spec, computed)
    counts = np.zeros((2, 3), np.int64)  # seen or hidden; clear, shadow, cloud
    images = 0
    for place, file in enumerate(masked.files):
        values, _ = read_window(settings.masks / Path(str(file)).name, 0, 0, masked.height,
                                masked.width)  # fmt: skip
        data = plain.read_stored(place)[1] & (values[0] != FILL)
        if data.mean() < MOSTLY:
            continue
        images += 1
        hidden = ~masked.read_stored(place)[1]
        for number, codes in enumerate((CLEAR, (SHADOW,), (CLOUD,))):
            here = data & np.isin(values[0], codes)
            counts[:, number] += [(here & ~hidden).sum(), (here & hidden).sum()]
    shares = counts[1] / np.maximum(1, counts.sum(axis=0))
    row = {
        "images": images, "pixels": int(counts.sum()), "step": settings.step,
        "clear_hidden": round(float(shares[0]), 4), "shadow_hidden": round(float(shares[1]), 4),
        "cloud_hidden": round(float(shares[2]), 4),
        "cpu_seconds_per_image": round((time.process_time() - begun) / len(files), 2),
    }  # fmt: skip
    write_csv_rows(settings.results, [row])
    say(", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    run_program(main)
