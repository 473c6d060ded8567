"""Granules as agencies deliver them: a folder a date, a file a band, names that say both.

Sentinel-2 (``T33UUP_20200705T100031_B02_10m.jp2``, .SAFE), Landsat Collection 2
(``LC08_L2SP_…_T1_SR_B2.TIF``), HLS (``HLS.S30.T53SMS.….v2.0.B02.tif``), and one's own
(``2020-07-05_red.tif``, ``2020-07-05/B04.tif``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from data_processing.containers.stacks import BandStack
from data_processing.rasters.date_patterns import DAY, read_name
from data_processing.rasters.sources import Raster, folder_of
from utils.errors import DataError

__all__ = ["SAFE", "is_granule", "mask_files", "safe_images", "stacks_by_band", "without_masks"]

SAFE = ".safe"
MASKS = ("SCL", "QA_PIXEL", "Fmask", "udm2")
RESOLUTION = re.compile(r"[-_.]?(\d{1,3})m$", re.IGNORECASE)
SUFFIX = re.compile(r"\.(tiff?|jp2|img|png|vrt)$", re.IGNORECASE)
NO_RESOLUTION = 0
OR = "|"  # between names of a band that differ between sensors


@dataclass
class _Granule:
    """The files of one date: by band the first alternative, and the finest of it."""

    name: str
    folder: str
    bands: dict[str, tuple[tuple[int, int], Raster]] = field(default_factory=dict)


def is_granule(folder: Path, rasters: Sequence[Raster]) -> bool:
    """Whether a folder holds the bands of one date, by its name and those of its rasters."""
    if folder.suffix.lower() == SAFE:
        return True
    reading = read_name(folder.name)
    if reading.rank is None or reading.rank > DAY or not rasters:
        return False
    days = {date for raster in rasters if (date := read_name(raster.name).certain) is not None}
    return len(days) <= 1


def safe_images(folder: Path) -> list[Raster]:
    """The images of a Sentinel-2 product folder (.SAFE), all bands and resolutions."""
    return list(sorted(folder.glob("GRANULE/*/IMG_DATA/**/*.jp2")))


def without_masks(rasters: Sequence[Raster]) -> tuple[list[Raster], list[Raster]]:
    """Images, and the cloud masks that lie among them by their names; all are images if none is."""
    masks = [raster for raster in rasters if any(_token(name, raster.name) for name in MASKS)]
    images = [raster for raster in rasters if raster not in masks]
    return (images, masks) if images else (list(rasters), [])


def mask_files(rasters: Sequence[Raster]) -> list[Raster]:
    """Of all files of granules those that are cloud masks, the finest of a date; all if none is."""
    masks: dict[str, tuple[int, Raster]] = {}
    for raster in rasters:
        for name in MASKS:
            match = _token(name, raster.name)
            if match is not None:
                rest, size = _rest(raster.name, match)
                key = f"{folder_of(raster)}/{rest}" if not read_name(rest).dates else rest
                if key not in masks or size < masks[key][0]:
                    masks[key] = (size, raster)
    return [raster for _, raster in masks.values()] or list(rasters)


def stacks_by_band(
    rasters: Sequence[Raster], names: Sequence[str], align: bool
) -> list[BandStack] | None:
    """One image a date from files of one band each.

    Args:
        rasters: Files of all bands and dates; those of other bands are passed over.
        names: Of the bands, as they stand in the files' names; B2 also means B02, and "B8A|B05" the
            first of them that a date has.
        align: See :class:`BandStack`.

    Returns:
        By name; None where no file's name holds any of the bands.

    Raises:
        DataError: With all dates that lack a band, and files that cannot be told apart.
    """
    granules: dict[str, _Granule] = {}
    faults: list[str] = []
    for raster in rasters:
        matches = [
            (name, rank, match)
            for name in names
            for rank, word in enumerate(name.split(OR))
            if (match := _token(word, raster.name))
        ]
        at_end = [each for each in matches if not RESOLUTION.sub("", _after(raster.name, each[2]))]
        if len(at_end) == 1:  # red_sea_2020-01-05_nir.tif
            matches = at_end
        if len(matches) > 1:
            listed = " and ".join(match[0] for _, _, match in matches)
            faults.append(f"{raster.name}: found {listed} in the name, expected one band")
        elif matches:
            faults += _put(granules, raster, *matches[0])
    if not granules and not faults:
        return None
    for granule in granules.values():
        missing = [name for name in names if name not in granule.bands]
        if missing:
            listed, expected = ", ".join(granule.bands), ", ".join(missing)
            faults.append(f"{granule.name}: found the bands {listed}, expected {expected} as well")
    first_names = [name.partition(OR)[0] for name in names]
    if faults:
        advice = "Add the missing files, leave the date out, or name other --bands."
        raise DataError(folder_of(rasters[0]), faults, advice)
    return [
        BandStack(g.name, g.folder, [g.bands[name][1] for name in names], first_names, align)
        for g in sorted(granules.values(), key=lambda granule: granule.name)
    ]


def _put(
    granules: dict[str, _Granule], raster: Raster, band: str, rank: int, match: re.Match[str]
) -> list[str]:
    """Add a file to its granule, in place of a coarser one; faults where one is there already."""
    rest, size = _rest(raster.name, match)
    folder = PurePath(folder_of(raster))
    if read_name(rest).dates:
        key = rest
    else:  # 2020-07-05/B04.tif
        key = f"{folder}/{rest}"
        rest = folder.name if read_name(folder.name).dates else rest or folder.name
    products = [part for part in folder.parts if part.lower().endswith(SAFE)]
    granule = granules.setdefault(
        key, _Granule(products[-1][: -len(SAFE)] if products else rest, str(folder))
    )
    place = (rank, size)
    if band not in granule.bands or place < granule.bands[band][0]:
        granule.bands[band] = (place, raster)
    elif place == granule.bands[band][0]:
        before = granule.bands[band][1]
        return [f"{raster.name}: found {match[0]} of {granule.name} twice, also {before}"]
    return []


def _token(band: str, name: str) -> re.Match[str] | None:
    """The last place where a band stands in a file's name."""
    numbered = re.fullmatch(r"(.*[A-Za-z_])0*(\d+\w?)", band)
    pattern = (
        f"{re.escape(numbered[1])}0*{re.escape(numbered[2])}" if numbered else (re.escape(band))
    )
    whole = re.compile(rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])", re.IGNORECASE)
    *_, match = [None, *whole.finditer(SUFFIX.sub("", name))]
    return match


def _rest(name: str, match: re.Match[str]) -> tuple[str, int]:
    """A file's name without band and resolution, and the resolution in metres; 0 without one."""
    before, after = SUFFIX.sub("", name)[: match.start()], _after(name, match)
    resolution = RESOLUTION.match(after)
    size = int(resolution[1]) if resolution else NO_RESOLUTION
    return (before.rstrip("-_.") + RESOLUTION.sub("", after)).strip("-_. "), size


def _after(name: str, match: re.Match[str]) -> str:
    """The part of a file's name behind a band."""
    return SUFFIX.sub("", name)[match.end() :]
