"""The images that a user names as a list of one image a date, whatever they come in."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_processing.containers.cube_files import is_cube
from data_processing.containers.cubes import Cube, open_cube
from data_processing.containers.granules import stacks_by_band, without_masks
from data_processing.containers.stac import Items, is_items
from data_processing.containers.stacks import BandStack, date_ranges
from data_processing.own_series.finding import find_rasters
from data_processing.own_series.options import SeriesOptions, is_computed
from data_processing.rasters.grids import grid_faults
from data_processing.rasters.sources import Raster
from utils.errors import UserError

__all__ = ["Gathered", "from_cube", "gather", "is_container", "mask_words"]


@dataclass
class Gathered:
    """Images of a place.

    Attributes:
        rasters: One a date, in the order of their names or as given.
        dates: Of these, ascending, where what they come in says so.
        clouds: Their cloud masks, where these come with them.
        name: Of the area, where the container has one.
        cover: Share of clouds of each, where something else than masks tells.
        remarks: What was decided for the user, in sentences.
    """

    rasters: list[Raster]
    dates: list[datetime.date] | None = None
    clouds: list[Raster] | None = None
    cover: list[float] | None = None
    name: str | None = None
    remarks: list[str] = field(default_factory=list)


def is_container(words: Sequence[str | Path]) -> bool:
    """Whether images come in one file that says what bands and masks there are, such as a cube."""
    return len(words) == 1 and any(kind(Path(words[0])) for kind in (is_cube, is_items))


def mask_words(images: Sequence[str], clouds: Sequence[str] | None) -> list[str]:
    """Values of ``--clouds`` but those that name a band of the images' container."""
    if is_computed(clouds):
        return []
    inside = is_container(images)
    return [word for word in clouds or () if not inside or Path(word).exists()]


def gather(
    words: Sequence[str | Path], options: SeriesOptions, band_names: Sequence[str] | None
) -> Gathered:
    """The images of what a user names.

    Args:
        words: Values of ``--images``.
        options: How the series is read.
        band_names: Names that ``--bands`` gives, None where it gives numbers or nothing.

    Raises:
        UserError: A flag or word cannot be used as given.
        DataError: A container is at fault.
    """
    if is_container(words) and is_items(path := Path(words[0])):
        return replace(_from_items(Items(path), options), name=path.stem)
    if options.assets is not None:
        raise UserError(
            "--assets: found it without STAC items, expected --images items.json. Leave it out."
        )
    if is_container(words):
        path = Path(words[0])
        return replace(from_cube(open_cube(path), options, band_names), name=path.stem)
    rasters = find_rasters([str(word) for word in words], "--images")
    if options.bands_per_date is not None:
        ranges = date_ranges(rasters, options.bands_per_date)
        return Gathered(list(ranges))
    stacks = stacks_by_band(rasters, band_names, options.align) if band_names else None
    if stacks is None:
        images, masks = without_masks(rasters)
        return Gathered(images, remarks=_left_out(masks))
    return Gathered(list(stacks), remarks=_resampled_bands(stacks))


def from_cube(cube: Cube, options: SeriesOptions, band_names: Sequence[str] | None) -> Gathered:
    """The images of a cube, and the masks of it that ``--clouds`` names.

    Raises:
        UserError: ``--dates`` are given and the cube has some.
        DataError: The cube is at fault.
    """
    taken = cube.dates(band_names)
    if taken.dates is not None and options.dates is not None:
        raise UserError(
            f"--dates: found {options.dates}, expected none: the cube has a time axis with dates. "
            "Leave it out."
        )
    clouds = [list(cube.dates([name]).images) for name in _names_inside(options)]
    remarks = list(taken.remarks)
    if taken.dates is not None:
        remarks.append(f"dates from the time axis: {', '.join(map(str, taken.dates))}")
    masks: list[Raster] | None = list(clouds[0]) if clouds else None
    return Gathered(list(taken.images), taken.dates, masks, remarks=remarks)


def _from_items(items: Items, options: SeriesOptions) -> Gathered:
    """The images of STAC items, and the masks that ``--clouds`` names as an asset.

    Raises:
        UserError: ``--dates`` are given, or no assets.
        DataError: Items are at fault.
    """
    if options.dates is not None:
        raise UserError(
            f"--dates: found {options.dates}, expected none: the items have dates. Leave it out."
        )
    taken = items.images(options.assets, options.align)
    clouds = [items.masks(name) for name in _names_inside(options)]
    remarks = [*taken.remarks, f"dates from the items: {', '.join(map(str, taken.dates))}"]
    return Gathered(
        taken.images, taken.dates, clouds[0] if clouds else None, taken.cover, remarks=remarks
    )


def _names_inside(options: SeriesOptions) -> list[str]:
    """The value of ``--clouds`` where it names a part of the container; none where it is files.

    Raises:
        UserError: It names several parts.
    """
    clouds = () if is_computed(options.clouds) else options.clouds or ()
    names = [Path(word).name for word in clouds if not Path(word).exists()]
    if len(names) > 1:
        raise UserError(f"--clouds: found {', '.join(names)}, expected one name, or files.")
    return names


def _left_out(masks: Sequence[Raster]) -> list[str]:
    """Masks that lie among images, in a sentence."""
    if not masks:
        return []
    return [
        f"{len(masks)} files are masks by their names ({masks[0].name} …) and no images; --clouds "
        "takes them from the same folder"
    ]


def _resampled_bands(stacks: Sequence[BandStack]) -> list[str]:
    """Bands that have another grid than the finest one of their date, in sentences."""
    names: dict[str, None] = {}
    for stack in stacks if stacks[0].align else []:
        grid = min(stack.infos, key=lambda info: abs(info.transform.determinant))
        for name, info in zip(stack.band_names, stack.infos, strict=True):
            if grid_faults([("", grid), ("", info)]):
                names[name] = None
    if not names:
        return []
    return [f"bands resampled (bilinear) to the finest of their date: {', '.join(names)}"]
