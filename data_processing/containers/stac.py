"""STAC items: images at the addresses that an ItemCollection names, dates and clouds from it.

The file is what a search saved (``items.save_object("items.json")`` of pystac-client). Only the
assets that the user names are read; files of this machine only inside the collection's folder.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data_processing.containers.cube_files import require_packages
from data_processing.containers.stacks import BandStack, PartTags
from data_processing.containers.virtual import Address, is_address
from data_processing.rasters.sources import Raster
from utils.errors import DataError, UserError
from utils.fields import without_secrets
from utils.files import read_json

__all__ = ["ItemImages", "Items", "is_items"]

SUFFIXES = (".json", ".geojson")
ADVICE = "Save what a search finds: search.item_collection().save_object('items.json')."
ONE_TILE = (
    "Keep the items of one tile (query of the search), or load them with odc-stac, which puts "
    "tiles of a day together (docs/predict.md)."
)
OFFSET_TAKEN_OFF = "earthsearch:boa_offset_applied"  # beside an offset that tells the product's
LISTED = 12  # assets in a message


def is_items(path: Path) -> bool:
    """Whether a path is called as STAC collections of items are, and is there."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


@dataclass
class ItemImages:
    """The images of a collection.

    Attributes:
        images: One a date.
        dates: Of these, ascending.
        cover: Share of clouds by the items' properties, where all say so.
        remarks: What was decided for the user, in sentences.
    """

    images: list[Raster]
    dates: list[datetime.date]
    cover: list[float] | None
    remarks: list[str]


class Items:
    """The items of a collection.

    Args:
        path: JSON file of an ItemCollection.

    Raises:
        UserError: Packages for it are missing.
        DataError: It is none, or its items have no dates.
    """

    def __init__(self, path: Path) -> None:
        require_packages("pystac")
        import pystac

        self.path = path
        try:
            content = read_json(path)
            if not isinstance(content, dict) or content.get("type") != "FeatureCollection":
                raise ValueError("found no FeatureCollection")
            items = list(pystac.ItemCollection.from_dict(content).items)
        except Exception as error:  # pystac raises many kinds on what is no item
            line = (str(error).splitlines() or [type(error).__name__])[0][:200]
            fault = f"it is no STAC ItemCollection ({line})"
            raise DataError(str(path), [fault], ADVICE) from error
        dated = [(_date(item), item) for item in items]
        faults = [f"{item.id}: found no datetime" for date, item in dated if date is None]
        faults += [] if items else ["found no items"]
        if faults:
            raise DataError(str(path), faults, ADVICE)
        self._items: list[tuple[datetime.date, Any]] = sorted(
            ((date, item) for date, item in dated if date is not None), key=lambda pair: pair[0]
        )

    def images(self, assets: str | None, align: bool) -> ItemImages:
        """The images of all dates.

        Args:
            assets: The value of ``--assets``: names of the bands' assets in order, or of one that
                holds all bands.
            align: Whether bands of other grids are resampled to the finest of their date.

        Raises:
            UserError: No assets are named.
            DataError: Items lack some, lie where they may not be read, or share a date.
        """
        names = [name.strip() for name in (assets or "").split(",")]
        if not all(names):
            listed = ", ".join(sorted(self._items[0][1].assets)[:LISTED])
            raise UserError(
                f"--assets: found none, expected the names of the bands' assets in order; "
                f"{self.path.name} has {listed}."
            )
        faults = self._shared_dates()
        parts = [self._parts(item, names, faults) for _, item in self._items]
        if faults:
            advice = (
                ONE_TILE
                if faults[0].startswith("found the date")
                else ("Leave these items out, or name other --assets.")
            )
            raise DataError(str(self.path), faults, advice)
        images = [
            self._image(item, names, rasters, align)
            for (_, item), rasters in zip(self._items, parts, strict=True)
        ]
        remarks = [*self._hosts(parts), *self._offsets(names)]
        cover = self._cover()
        if cover is not None:
            shares = zip(self._items, cover, strict=True)
            listed = ", ".join(f"{date} {share:.0%}" for (date, _), share in shares)
            remarks.append(f"cloud cover by the items' properties: {listed}")
        return ItemImages(images, [date for date, _ in self._items], cover, remarks)

    def masks(self, asset: str) -> list[Raster]:
        """The rasters of an asset that holds masks, one a date.

        Raises:
            DataError: Items lack it.
        """
        faults: list[str] = []
        parts = [self._parts(item, [asset], faults) for _, item in self._items]
        if faults:
            raise DataError(str(self.path), faults, "Name another asset with --clouds.")
        return [rasters[0] for rasters in parts]

    def _image(
        self, item: Any, names: Sequence[str], rasters: Sequence[Raster], align: bool
    ) -> Raster:
        if len(names) == 1:
            return rasters[0]
        tags = [_tags(item, name) for name in names]
        return BandStack(str(item.id), str(self.path), rasters, names, align, tags, [self.path])

    def _parts(self, item: Any, names: Sequence[str], faults: list[str]) -> list[Raster]:
        """The rasters of some assets of an item."""
        missing = [name for name in names if name not in item.assets]
        if missing:
            listed = ", ".join(sorted(item.assets)[:LISTED]) or "none"
            faults.append(f"{item.id}: found the assets {listed}, expected {', '.join(missing)}")
            return []
        rasters: list[Raster] = []
        for name in names:
            href = str(item.assets[name].href)
            try:
                rasters.append(Address(href) if is_address(href) else self._file(href))
            except UserError as error:
                faults.append(f"{item.id}, {name}: {error}")
        return rasters

    def _file(self, href: str) -> Path:
        """A file of this machine inside the collection's folder.

        Raises:
            UserError: It lies elsewhere or is missing.
        """
        folder = self.path.parent.resolve()
        path = (folder / href.removeprefix("file://")).resolve()
        if "://" in href.removeprefix("file://") or not path.is_relative_to(folder):
            raise UserError(
                f"found {without_secrets(href)!r}, expected an address (http, https, s3, gs) or a "
                f"file in {folder}"
            )
        if not path.is_file():
            raise UserError(f"found no file {path}, expected the asset's")
        return path

    def _shared_dates(self) -> list[str]:
        ids: dict[datetime.date, list[str]] = {}
        for date, item in self._items:
            ids.setdefault(date, []).append(str(item.id))
        return [
            f"found the date {date} {len(each)} times ({', '.join(each)}), expected one item"
            for date, each in ids.items()
            if len(each) > 1
        ]

    def _hosts(self, parts: Sequence[Sequence[Raster]]) -> list[str]:
        """Servers at which images are read, in a sentence; none for files."""
        addresses = [str(raster) for rasters in parts for raster in rasters
                     if isinstance(raster, Address)]  # fmt: skip
        hosts = sorted({f"{urlsplit(a).scheme}://{urlsplit(a).netloc}" for a in addresses})
        return [f"{len(addresses)} assets are read at {', '.join(hosts)}"] if hosts else []

    def _offsets(self, names: Sequence[str]) -> list[str]:
        """Whether offsets of the items' metadata are left out, in a sentence."""
        if len(names) == 1 or not any(OFFSET_TAKEN_OFF in item.properties
                                      for _, item in self._items):  # fmt: skip
            return []
        return [
            f"offsets of the items' metadata are left out where {OFFSET_TAKEN_OFF} says that the "
            "values have them taken off"
        ]

    def _cover(self) -> list[float] | None:
        shares = [item.properties.get("eo:cloud_cover") for _, item in self._items]
        numbers = [s for s in shares if isinstance(s, int | float) and 0 <= s <= 100]
        return [share / 100 for share in numbers] if len(numbers) == len(shares) else None


def _date(item: Any) -> datetime.date | None:
    """The day of an item, or the first of its span."""
    stamp = item.datetime or item.common_metadata.start_datetime
    return stamp.date() if isinstance(stamp, datetime.datetime) else None


def _tags(item: Any, name: str) -> PartTags:
    """Fill value, scale and offset of an asset by its metadata, of STAC 1.0 and 1.1."""
    fields: Mapping[str, Any] = item.assets[name].extra_fields
    bands = fields.get("raster:bands") or fields.get("bands")
    first: Mapping[str, Any] = {}
    if isinstance(bands, list) and len(bands) == 1 and isinstance(bands[0], Mapping):
        first = bands[0]
    nodata = _number(first.get("nodata", fields.get("nodata")))
    scale = _number(first.get("scale", first.get("raster:scale", fields.get("raster:scale"))))
    offset = _number(first.get("offset", first.get("raster:offset", fields.get("raster:offset"))))
    if item.properties.get(OFFSET_TAKEN_OFF) is True:
        offset = None
    if scale is None and offset is None:
        return PartTags(nodata, None)
    return PartTags(nodata, (1.0 if scale is None else scale, offset or 0.0))


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
