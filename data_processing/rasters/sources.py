"""A raster that is not simply a file of this machine: its name, its files, how it is opened.

What there is of them lies in the room ``containers``; reading treats them as it treats files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data_processing.rasters.header import RasterInfo

__all__ = ["Raster", "Source", "files_of", "folder_of", "stamps_of"]

Stamp = tuple[int, int, int]  # size, time of the last change, number of the file


class Source(ABC):
    """The place of the pixels of one image. Its text is where it lies, for messages.

    Args:
        where: What it is called in full.
        name: What messages call it; dates are read from it, as from a file's name.
        folder: Where it lies, for messages and names of areas.
        files: Files and folders of this machine that it is made of.
    """

    first_band = 0  # bands of what is opened that stand before those of the image

    def __init__(self, where: str, name: str, folder: str, files: Sequence[Path] = ()) -> None:
        self.where, self.name, self.folder = where, name, folder
        self.files = tuple(files)

    def __str__(self) -> str:
        return self.where

    @abstractmethod
    def opened(self, drivers: Sequence[str]) -> Any:
        """An open raster: rasterio's dataset, or what reads like one.

        Args:
            drivers: GDAL's names of the formats that are expected.

        Raises:
            DataError: It is something else.
            RasterioError: It cannot be opened.
        """

    @abstractmethod
    def header(self, drivers: Sequence[str]) -> RasterInfo:
        """Its header, without reading pixels.

        Raises:
            DataError: It is something else, or cannot be opened.
        """


Raster = Path | Source


def files_of(raster: Raster) -> tuple[Path, ...]:
    """Files and folders of this machine that a raster is made of."""
    return raster.files if isinstance(raster, Source) else (raster,)


def folder_of(raster: Raster) -> str:
    """Place of a raster, for messages."""
    return raster.folder if isinstance(raster, Source) else str(raster.parent)


def stamps_of(rasters: Iterable[Raster]) -> dict[Path, Stamp]:
    """Sizes and times that tell files from others of the same name; of a folder what lies in it.

    Raises:
        OSError: A file is gone.
    """
    return {path: _stamp(path) for raster in rasters for path in files_of(raster)}


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    if not path.is_dir():
        return status.st_size, status.st_mtime_ns, status.st_ino
    inside = [entry.stat() for entry in path.iterdir()]  # of a store its metadata and variables
    sizes = sum(each.st_size for each in inside)
    return sizes, max((each.st_mtime_ns for each in inside), default=0), status.st_ino
