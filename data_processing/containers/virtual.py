"""Files that GDAL reads where they lie: inside a zip archive, or at an address.

Beside such a file GDAL looks for nothing (masks, overviews, marks): only what the user named is
asked for. Which format it is its content says, from an explicit list as for files.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import RasterioIOError

from data_processing.rasters.header import RasterInfo, header
from data_processing.rasters.reading import open_with, reading
from data_processing.rasters.sources import Source
from utils.errors import DataError, UserError
from utils.fields import without_secrets

__all__ = ["Address", "Member", "is_address", "members_of"]

# Formats whose files hold their own pixels and need no other file beside them.
FORMATS = ("GTiff", "JP2OpenJPEG", "PNG", "JPEG", "BMP", "HFA")
SUFFIXES = (".tif", ".tiff", ".jp2", ".png", ".jpg", ".jpeg", ".bmp", ".img")
NO_RASTERS = (".zip", ".tar", ".gz", ".zarr", ".nc", ".vrt")
PREFIXES = {"http": "/vsicurl/", "https": "/vsicurl/", "s3": "/vsis3/", "gs": "/vsigs/"}
ALONE = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
PATIENCE = {
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "1",
}
LOOKED_AT = 4096  # bytes at the beginning of a file
ENCRYPTED = 1  # bit of a zip entry's flags
MOST_MEMBERS = 100_000


def is_address(word: str) -> bool:
    """Whether a word names something on a network that GDAL can read."""
    scheme, mark, rest = word.partition("://")
    return bool(mark and rest) and scheme.lower() in PREFIXES


class Virtual(Source):
    """A file behind one of GDAL's virtual paths.

    Args:
        gdal_name: That path.
        where, name, folder, files: See :class:`Source`.
    """

    def __init__(
        self, gdal_name: str, where: str, name: str, folder: str, files: Sequence[Path] = ()
    ) -> None:
        super().__init__(where, name, folder, files)
        self.gdal_name = gdal_name
        self._failure = ""  # GDAL says at the first try only what the matter is

    def opened(self, drivers: Sequence[str]) -> Any:
        """See :class:`Source`."""
        formats = [driver for driver in drivers if driver in FORMATS]
        if self._failure:
            raise RasterioIOError(self._failure)
        try:
            with rasterio.Env(**{**ALONE, **self._patience()}):
                return open_with(self.gdal_name, formats, self.where, self._start)
        except RasterioIOError as error:
            self._failure = str(error)
            raise

    def header(self, drivers: Sequence[str]) -> RasterInfo:
        """See :class:`Source`."""
        with reading(self.where), self.opened(drivers) as raster:
            return header(raster, self.where)

    def _patience(self) -> dict[str, str]:
        """Waiting and trying again, where the user's environment says nothing."""
        return {key: value for key, value in PATIENCE.items() if key not in os.environ}

    def _start(self) -> bytes | None:
        """The first bytes, to say what it is if it is no raster; None where they are far away."""
        return None


class Member(Virtual):
    """A raster inside a zip archive.

    Args:
        archive: The file.
        inner: Name inside it.
    """

    def __init__(self, archive: Path, inner: str) -> None:
        folder, name = (archive / inner).parent, PurePosixPath(inner).name
        gdal_name = f"/vsizip/{{{archive.absolute()}}}/{inner}"
        super().__init__(gdal_name, f"{archive}, {inner}", name, str(folder), [archive])
        self.inner = inner

    def _start(self) -> bytes | None:
        try:
            with zipfile.ZipFile(self.files[0]) as archive, archive.open(self.inner) as file:
                return file.read(LOOKED_AT)
        except Exception:  # damaged in one of many ways: GDAL has said what the matter is
            return None


class Address(Virtual):
    """A raster on a network, at an address that the user typed.

    Args:
        url: http://, https://, s3:// or gs://; a password in it, and what follows a question mark,
            is not shown.

    Raises:
        UserError: It is a pattern, an archive, or no address of a file.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        parts = urlsplit(url)
        shown = without_secrets(url)
        name = PurePosixPath(parts.path).name
        if "*" in parts.path or not parts.netloc or not name or name.lower().endswith(NO_RASTERS):
            raise UserError(
                f"{shown}: found no address of a raster, expected one for each image, such as "
                "https://host/city_2018-01-15.tif. Patterns and folders cannot be looked at over a "
                "network; download archives, and open cubes with xarray (docs/predict.md)."
            )
        prefix = PREFIXES[scheme.lower()]
        gdal_name = prefix + (url if prefix == "/vsicurl/" else rest)
        super().__init__(gdal_name, shown, name, shown.rpartition("/")[0])


def members_of(path: Path) -> list[Member]:
    """The rasters inside a zip archive, by name.

    Raises:
        DataError: It is no zip archive, damaged, encrypted, or holds no raster.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        fault = f"the archive cannot be read ({error}), expected a zip archive of rasters"
        raise DataError(str(path), [fault], "Copy or download it again.") from error
    rasters = [
        entry
        for entry in entries[:MOST_MEMBERS]
        if PurePosixPath(entry.filename).suffix.lower() in SUFFIXES
        and not any(part[:1] in (".", "_") for part in PurePosixPath(entry.filename).parts)
    ]
    faults = [
        f"{entry.filename}: found {what}, expected a plain file"
        for entry in rasters
        for what in (_oddity(entry),)
        if what
    ]
    if not rasters:
        faults.append(f"found {len(entries)} files and no raster ({', '.join(SUFFIXES)})")
    if faults:
        raise DataError(str(path), faults, "Unpack it, and name the folder of the images.")
    return [Member(path, entry.filename) for entry in sorted(rasters, key=lambda e: e.filename)]


def _oddity(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & ENCRYPTED:
        return "it encrypted"
    return "a link" if stat.S_ISLNK(entry.external_attr >> 16) else ""
