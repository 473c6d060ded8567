"""A look at the values of a series before the work begins: how much is seen, and what is odd.

Some hundred thousand pixels of each image are looked at, all of them where it is small.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_processing.own_series.clouds import CloudMask
from data_processing.own_series.image import OpenImage
from data_processing.own_series.options import Remarks, SeriesOptions
from data_processing.own_series.scaling import AUTO, Glance, ask_about_products
from data_processing.rasters.reading import RasterInfo
from data_processing.rasters.sources import folder_of
from data_processing.rasters.values import BRIGHTEST, PixelScale, odd_values
from data_processing.scenes.spec import DatasetSpec
from utils.errors import DataError

__all__ = ["look_at_values", "warnings_of"]

MOSTLY = 0.5  # share of pixels not seen at a date that is hardly meant
ADVICE = "Mend these files, or leave their dates out."
CLOUD_ADVICE = "See --clouds and --cloud-codes."


def look_at_values(
    dates: Sequence[datetime.date],
    images: Sequence[OpenImage],
    clouds: Sequence[CloudMask | None],
    headers: Sequence[tuple[str, RasterInfo]],
    spec: DatasetSpec,
    options: SeriesOptions,
    remarks: Remarks,
) -> list[float]:
    """Add what looks wrong in values, and the share of pixels that are not seen at each date.

    Args:
        dates: T dates.
        images: Those of the dates.
        clouds: Their cloud masks.
        headers: Names and headers of the images.
        spec: Facts of the images.
        options: How the series is read.
        remarks: Gets the sentences.

    Returns:
        The share of pixels that are not seen at each date.

    Raises:
        DataError: With all files that cannot be read, hold infinite values, are no masks, have
            alpha where the network takes a colour, or values that have to be asked about.
    """
    odd: list[tuple[str, str]] = []
    errors: list[tuple[str, DataError]] = []
    faults: list[str] = []
    unseen: list[float] = []
    glances: list[Glance] = []
    for date, image, mask, (name, info) in zip(dates, images, clouds, headers, strict=True):
        try:
            windows = image.windows_to_look_at()
            values, observed = image.look_at(windows)
        except DataError as error:
            errors.append((name, error))
            continue
        faults += _alpha_faults(name, info, image, values[:, observed], spec)
        try:
            observed = observed if mask is None else observed & ~mask.look_at_hidden(windows)
        except DataError as error:
            errors.append((mask.path.name if mask else name, error))
        shown = values[:, observed]
        if mask is None or observed.any():  # all under clouds is no remark on values
            odd += [(name, sentence) for sentence in _odd(shown, image, info, spec, options)]
        glances.append(Glance.at(date, image.path, name, shown[_colors(spec)]))
        unseen.append(1 - float(observed.mean()))
    if len(errors) == 1 and not faults:
        raise errors[0][1]
    faults += [f"{name}: {fault}" for name, error in errors for fault in error.faults]
    if faults:
        advice = ADVICE if options.clouds is None else f"{ADVICE} {CLOUD_ADVICE}"
        raise DataError(folder_of(images[0].path), faults, advice)
    if options.scaling == options.pixel_scale == AUTO:
        remarks.all += ask_about_products(glances, folder_of(images[0].path))
    remarks.all += warnings_of(odd)
    _say_shares(dates, unseen, options.clouds is not None, remarks)
    return unseen


def warnings_of(said: Sequence[tuple[str, str]]) -> list[str]:
    """Warnings from names and what is said of them, each sentence once."""
    names: dict[str, list[str]] = {}
    for name, sentence in said:
        names.setdefault(sentence, []).append(name)
    return [
        f"warning: {first}{f' and {len(more)} more' if more else ''}: {sentence}"
        for sentence, (first, *more) in names.items()
    ]


def _say_shares(
    dates: Sequence[datetime.date], unseen: Sequence[float], with_clouds: bool, remarks: Remarks
) -> None:
    """Say what is not seen at each date, of the pixels looked at; a warning where it is most."""
    if not any(unseen):
        remarks.all.append("every pixel looked at is seen at all dates")
        return
    listed = ", ".join(f"{date} {share:.1%}" for date, share in zip(dates, unseen, strict=True))
    remarks.all.append(f"not seen, of the pixels looked at: {listed}")
    most = [date for date, share in zip(dates, unseen, strict=True) if share > MOSTLY]
    if most:
        remarks.add_gaps([_mostly_unseen(most, with_clouds)])


def _mostly_unseen(dates: Sequence[datetime.date], with_clouds: bool) -> str:
    listed = ", ".join(map(str, dates))
    check = "the nodata tag, mask or alpha band of the images"
    if with_clouds:
        check = (
            f"--clouds (do their values mean what is said above? see --cloud-codes), and {check}"
        )
    return f"warning: most pixels are not seen at {listed}; check {check}"


def _alpha_faults(
    name: str, info: RasterInfo, image: OpenImage, shown: NDArray[Any], spec: DatasetSpec
) -> list[str]:
    """The fault of a band that is alpha and would be taken as a colour."""
    marked = None if info.alpha is None else info.alpha + 1
    if marked not in image.numbers or spec.bands[place := image.numbers.index(marked)] == "alpha":
        return []
    opaque = np.unique(shown[place])
    if not len(opaque) or opaque[-1] <= 0 or shown.dtype.kind == "f":
        return []
    if not set(opaque.tolist()) <= {0, np.iinfo(shown.dtype).max}:
        return []
    return [
        f"{name}: band {marked} is marked alpha and holds {', '.join(map(str, opaque))} only, "
        f"expected {spec.bands[place]}, see --bands"
    ]


def _colors(spec: DatasetSpec) -> list[int]:
    """Places of all bands but alpha."""
    return [place for place, band in enumerate(spec.bands) if band != "alpha"]


def _odd(
    shown: NDArray[Any],
    image: OpenImage,
    info: RasterInfo,
    spec: DatasetSpec,
    options: SeriesOptions,
) -> list[str]:
    """Remarks on values (C, n) of one image that look wrong."""
    colors = _colors(spec)
    scale: PixelScale = "auto" if options.pixel_scale == "auto" else "stored"
    zero = image.zero[colors] if image.scaling else 0
    odd = odd_values(shown[colors], scale, info.nodata is not None or info.masked, zero)
    if spec.alpha_band is None or not shown.size:
        return odd
    if scale == "auto" and info.dtype in ("uint16", "int16"):
        odd.append(f"alpha of 16 bits is divided by {BRIGHTEST}, expected 8 bits, 255 opaque")
    if len(np.unique(shown[spec.alpha_band])) > 1:
        odd.append(
            f"band {spec.alpha_band + 1} holds more than two values; it is taken as alpha: 0 means "
            "no data; is it alpha? (see --bands)"
        )
    return odd
