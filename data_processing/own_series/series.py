"""A series of rasters without labels, as prediction reads it: by windows, any size, gaps filled.

Where a date is not seen (nodata tag, NaN, alpha, mask, cloud mask) the pixel keeps its last seen
value, so that a gap makes no change of its own. Which rasters make a series and whether they fit
together is decided in ``series_opening``.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_processing.own_series.clouds import CloudMask
from data_processing.own_series.composites import CompositeImage
from data_processing.own_series.image import OpenImage
from data_processing.own_series.options import Remarks, SeriesOptions
from data_processing.rasters.reading import RasterInfo
from data_processing.rasters.values import PixelScale, fill_unseen, scale_pixels
from data_processing.scenes.spec import DatasetSpec, own_spec

__all__ = ["RasterSeries", "Window", "spec_for"]


class Window(NamedTuple):
    """A window of a series.

    Attributes:
        images: (T, C, h, w) float32, scaled as the network takes them.
        observed: (h, w) bool, seen at enough dates to be mapped.
    """

    images: NDArray[np.float32]
    observed: NDArray[np.bool_]


def spec_for(bands: Sequence[str], num_dates: int) -> DatasetSpec:
    """Facts of images without labels, in the form that checks of images take."""
    return dataclasses.replace(
        own_spec(bands, num_dates), name="Series", title="the training data", patch_size=1
    )


class RasterSeries:
    """The chosen images of one place, in order of date; made by ``open_raster_series``.

    Attributes:
        name: Of the area, in messages and files.
        dates: T dates, ascending.
        files: Their images, of composites the first.
        sources: All files behind each of them.
        grid: Header of the first one, on whose grid maps are written.
        spec: Facts of the images.
        remarks: What was decided for the user, in sentences.
        gaps: Those of them that say what is missing.
        left_out: Dates at hand that were not chosen.
        cloud_files: Its cloud masks.
        scaling: Scale and offset of the bands of each, see ``OpenImage``.
        reading: How values are taken from the files.
    """

    def __init__(
        self,
        name: str,
        dates: Sequence[datetime.date],
        images: Sequence[OpenImage | CompositeImage],
        clouds: Sequence[CloudMask | None],
        spec: DatasetSpec,
        options: SeriesOptions,
        remarks: Remarks,
        left_out: Sequence[datetime.date] = (),
    ) -> None:
        self.name, self.dates, self.spec = name, list(dates), spec
        self.files = [image.path for image in images]
        self.sources = [
            image.paths if isinstance(image, CompositeImage) else [image.path] for image in images
        ]
        self.grid: RasterInfo = images[0].grid
        self.remarks, self.gaps = list(remarks.all), list(remarks.gaps)
        self.left_out = list(left_out)
        self.height, self.width = self.grid.height, self.grid.width
        self._images, self._clouds = list(images), list(clouds)
        self.cloud_files = [mask.path for mask in clouds if mask is not None]
        for image in images:
            self.cloud_files += image.mask_paths if isinstance(image, CompositeImage) else []
        self.scaling = [image.scaling for image in images]
        self.reading = {
            "bands": [image.numbers for image in images],
            "align": options.align,
            "composite": [options.composite, options.composite_of],
            "cloud_codes": [mask.codes for mask in clouds if mask is not None],
            "min_valid_dates": options.min_valid_dates,
            "scaling": self.scaling,
        }
        self._scale: PixelScale = "stored" if options.pixel_scale == "stored" else "auto"
        self._needed = options.min_valid_dates or spec.num_dates

    def read(self, row: int, col: int, height: int, width: int) -> Window:
        """Read a window; what lies beyond the raster is filled with the nearest edge values.

        A pixel that is not seen at a date keeps the value of the date before, or takes that of
        the first date at which it is seen; one that is never seen is 0.

        Raises:
            DataError: A file cannot be read, holds infinite values, or a cloud mask is none.
        """
        h, w = min(height, self.height - row), min(width, self.width - col)
        pairs = [image.read(row, col, h, w) for image in self._images]
        observed_mask = np.stack([mask for _, mask in pairs])
        for date, clouds in enumerate(self._clouds):
            if clouds is not None:
                observed_mask[date] &= ~clouds.hidden(row, col, h, w)
        images = scale_pixels(np.stack([values for values, _ in pairs]), self._scale)
        if not observed_mask.all():
            fill_unseen(images, observed_mask)
        observed = observed_mask.sum(axis=0) >= self._needed
        if (h, w) != (height, width):
            beyond = ((0, height - h), (0, width - w))
            images = np.pad(images, ((0, 0), (0, 0), *beyond), mode="edge")
            observed = np.pad(observed, beyond)
        return Window(images, observed)

    def read_stored(self, date: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A whole image as it is stored, with the bands that are taken.

        Returns:
            Values (C, H, W) of the stored type, and (H, W) where it is seen: there is data and no
            cloud.

        Raises:
            DataError: As for :meth:`read`.
        """
        whole = (0, 0, self.height, self.width)
        values, data_mask = self._images[date].read(*whole)
        clouds = self._clouds[date]
        return values, data_mask if clouds is None else data_mask & ~clouds.hidden(*whole)

    def nodata(self, date: int) -> float | None:
        """Nodata tag of an image; None where its values are given out as reflectance."""
        image = self._images[date]
        return None if image.scaling else image.nodata

    def reduced(self, date: int, step: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """About every ``step``-th pixel of one date, for pictures.

        Returns:
            Values (C, ⌈H/step⌉, ⌈W/step⌉) of the stored type, and where there is data (clouds are
            data here).
        """
        return self._images[date].read_reduced(step)

    @property
    def itemsize(self) -> int:
        """Bytes of a value as images give it out, the largest of them."""
        return max(image.itemsize for image in self._images)

    @property
    def bytes_per_pixel(self) -> int:
        """Of all dates as stored."""
        item = self.itemsize
        composites = [image for image in self._images if isinstance(image, CompositeImage)]
        working = max((image.working_bytes for image in composites), default=0)
        return (item * len(self.dates) + working) * len(self.spec.bands)

    @property
    def block_rows(self) -> int:
        """Rows of the tallest stored block of all images."""
        return max(image.block_rows for image in self._images)

    def close(self) -> None:
        """Close the files; they are opened again when needed."""
        for image in (*self._images, *self._clouds):
            if image is not None:
                image.close()
