"""Change maps of one series in memory, as ``predict_series`` gives them."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.products.rasters import date_of_moment

__all__ = ["SeriesMaps"]


@dataclass(frozen=True)
class SeriesMaps:
    """Change maps of one series on the grid of its images.

    Attributes:
        area: (H, W) uint8, 0 unchanged, 1 changed, 255 no data.
        moment: (H, W) uint8, 0 unchanged, k = changed between date k−1 and date k, 255 no data;
            None from a network for pairs. area = (moment > 0) everywhere.
        score: (H, W) uint8, 0 … 100, 50 and more where changed, 255 no data. It ranks pixels and
            is no calibrated probability.
        dates: T dates.
        profile: For ``rasterio.open(path, "w", **profile)`` of area, moment or score; ``date``
            needs ``{**profile, "dtype": "int32", "nodata": -1}``.
        remarks: What was decided while reading, in sentences.
    """

    area: NDArray[np.uint8]
    moment: NDArray[np.uint8] | None
    score: NDArray[np.uint8]
    dates: list[datetime.date]
    profile: dict[str, Any]
    remarks: list[str]

    @property
    def date(self) -> NDArray[np.int32]:
        """(H, W) int32, the first date on which a change is seen, yyyymmdd; 0 none, −1 no data.

        Raises:
            ValueError: The network gives no moments, so there are no dates.
        """
        if self.moment is None:
            raise ValueError(
                "SeriesMaps.date: this network says whether a pixel changed, not when; use area, "
                "or a network for time series."
            )
        return date_of_moment(self.dates)[self.moment]
