"""Change maps in numbers: pixels and hectares per interval, for summary.json.

Areas are true ones on the ground, whatever the coordinate system.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.rasters.reading import RasterInfo
from mapping.products.ground_area import PixelAreas
from mapping.products.lon_lat import centre
from utils.codes import NO_DATA

__all__ = ["AreaSums", "grid_facts", "probability_tags", "result_line", "score_tags"]

HECTARE = 1e4  # m²
VALUES = 256  # of a byte
SURE = 60  # score; of changed pixels, how many lie above it is told
PROBABLE = 80  # percent; the same of probabilities: four of five such pixels, at least, changed


class AreaSums:
    """Pixels and ground per change moment, summed up slab by slab.

    Args:
        areas: Of the map's pixels.
        num_classes: T; classes of the change moment.
    """

    def __init__(self, areas: PixelAreas, num_classes: int) -> None:
        self.areas, self.num_classes = areas, num_classes
        self.pixels = np.zeros(VALUES, np.int64)
        self.sure = np.zeros(VALUES, np.int64)  # pixels whose score is above SURE
        self.probable: NDArray[np.int64] | None = None  # pixels of a probability from PROBABLE on
        self.ground = np.zeros(VALUES)

    def add(
        self,
        row: int,
        moment: NDArray[np.uint8],
        score: NDArray[np.uint8],
        probability: NDArray[np.uint8] | None = None,
    ) -> None:
        """Count rows (h, W) of maps that begin at pixel row ``row``.

        Args:
            row: The first one.
            moment, score: As in the maps.
            probability: Percent; None where there is no such map.
        """
        self.pixels += _by_moment(moment)
        self.sure += _by_moment(moment, score > SURE)
        if probability is not None:
            counted = _by_moment(moment, probability >= PROBABLE)
            self.probable = counted if self.probable is None else self.probable + counted
        if self.areas.measured:
            self.ground += self.areas.sums(moment, VALUES, row)

    def summary(self, dates: Sequence[datetime.date]) -> dict[str, Any]:
        """``pixels``, ``hectares`` (None where areas are not known) and ``intervals``."""
        hectares = self.ground / HECTARE
        mapped = int(self.pixels[: self.num_classes].sum())
        changed = slice(1, self.num_classes)
        intervals = [
            {
                "moment": k,
                "from": dates[k - 1].isoformat(),
                "to": dates[k].isoformat(),
                "pixels": int(self.pixels[k]),
                "hectares": float(hectares[k]) if self.areas.measured else None,
                "share": float(self.pixels[k] / mapped) if mapped else 0.0,
                "pixels_above_60": int(self.sure[k]),
                **self._probable("pixels", slice(k, k + 1)),
            }
            for k in range(1, self.num_classes)
        ]
        return {
            "pixels": {
                "total": int(self.pixels.sum()),
                "mapped": mapped,
                "no_data": int(self.pixels[NO_DATA]),
                "changed": int(self.pixels[changed].sum()),
                "changed_above_60": int(self.sure[changed].sum()),
                **self._probable("changed", changed),
            },
            "hectares": {
                "mapped": float(hectares[: self.num_classes].sum()),
                "no_data": float(hectares[NO_DATA]),
                "changed": float(hectares[changed].sum()),
            }
            if self.areas.measured
            else None,
            "intervals": intervals,
        }

    def _probable(self, name: str, moments: slice) -> dict[str, int]:
        """Number of probable pixels of some moments, where that is known."""
        if self.probable is None:
            return {}
        return {f"{name}_from_80_percent": int(self.probable[moments].sum())}


def _by_moment(
    moment: NDArray[np.uint8], counted: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Pixels by value of a map (h, W), all or those that are counted."""
    values = moment.reshape(-1) if counted is None else moment[counted]
    return np.bincount(values, minlength=VALUES)


def grid_facts(grid: RasterInfo, areas: PixelAreas) -> dict[str, Any]:
    """Size and place of the maps, for a summary."""
    return {
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs.to_string() if grid.crs is not None else None,
        "transform": list(grid.transform)[:6],
        "centre": centre(grid),
        "pixel_area_m2": {"mean": areas.mean, "min": areas.min, "max": areas.max}
        if areas.measured
        else None,
    }


def score_tags(bounds: tuple[float, float], moments: bool, offset: float = 0.0) -> dict[str, str]:
    """Meaning of a change score, for tags and summaries; without moments of an area alone."""
    low, high = bounds
    p = "softmax over p_0 and max p_k of the blended change moment" if moments else "blended"
    if offset:
        p += f", p_0 weighed by exp({offset:g}) before, all divided by their sum"
    return {
        "SCORE_FORMULA": f"round(100 * (p - {low:.6f}) / ({high:.6f} - {low:.6f})), p = "
        f"probability of the change area, {p}",
        "SCORE_LOWER": f"{low:.6f}",
        "SCORE_UPPER": f"{high:.6f}",
        "SCORE_MEANING": "50 and more where changed; it ranks pixels and is no calibrated "
        "probability",
    }


def probability_tags(calibration: Mapping[str, Any]) -> dict[str, str]:
    """Meaning of a map of probabilities, for its tags.

    Args:
        calibration: ``facts()`` of the curve that gave them.
    """
    return {
        "PROBABILITY_MEANING": "percent; of pixels with such a value so many have changed, in "
        "images like those that it was fitted on",
        "PROBABILITY_ERROR": f"{calibration['error']:.4f}",
        "PROBABILITY_ERROR_WHERE_CHANGED": f"{calibration['changed_error']:.4f}",
        "PROBABILITY_FITTED_ON": calibration["fitted_on"],
        "PROBABILITY_MEASURED_ON": calibration["measured_on"],
    }


def result_line(summary: Mapping[str, Any]) -> str:
    """The result of an area in one line, from its summary."""
    pixels, hectares = summary["pixels"], summary["hectares"]
    if not pixels["mapped"]:
        return "no pixel has data at enough dates"
    share = 100 * pixels["changed"] / pixels["mapped"]
    amount = f"{hectares['changed']:,.1f} ha" if hectares else f"{pixels['changed']:,} pixels"
    weights = summary["checkpoint"]["file"]
    return f"changed: {amount}, {share:.2f} % of what is mapped; weights: {weights}"
