"""Kinds of files by their content, and the other files that they would make GDAL open.

A raster is data: nothing in it may make a program read files that are not part of it, or ask a
network for some. GDAL's own formats that point elsewhere (VRT, WMS, WMTS, WCS, tile indices) are
kept out by the list of formats in :func:`data_processing.rasters.reading.open_raster`; here is
what such a list cannot see.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from utils.errors import DataError

__all__ = [
    "ContentKind",
    "check_beside",
    "check_sources",
    "kind_of_bytes",
    "kind_of_content",
    "start_of",
]

LOOKED_AT = 4096  # bytes at the beginning of a file
MOST_VRT_BYTES = 32 << 20
POINTS_ELSEWHERE = "Name the files that hold the pixels, or write them as one GeoTIFF."
UNPACK = "Unpack it and name the folder of GeoTIFFs."
# how a file begins, after white space and an XML declaration → what it is and what to do
KINDS = (
    (b"<VRTDataset", "it is a VRT, a description of other rasters", POINTS_ELSEWHERE),
    (b"<GDAL_WMS", "it is the address of a map server (WMS)", POINTS_ELSEWHERE),
    (b"<WMS_", "it is the address of a map server (WMS)", POINTS_ELSEWHERE),
    (b"<WMT_MS", "it is the address of a map server (WMS)", POINTS_ELSEWHERE),
    (b"<GDAL_WMTS", "it is the address of a map server (WMTS)", POINTS_ELSEWHERE),
    (b"<Capabilities", "it is the answer of a map server (WMTS)", POINTS_ELSEWHERE),
    (b"<WCS_GDAL", "it is the address of a map server (WCS)", POINTS_ELSEWHERE),
    (b"<GDALTileIndex", "it is an index of other rasters (GTI)", POINTS_ELSEWHERE),
    (b"<html", "it is a web page", "A login may be missing: copy or download it again."),
    (b"<!doctype html", "it is a web page", "A login may be missing: copy or download it again."),
    (b"version https://git-lfs", "it is a Git-LFS pointer", "Fetch the file: git lfs pull"),
    (b"SQLite format 3", "it is a database (GeoPackage or MBTiles)",
     "Write its raster as GeoTIFF: gdal_translate in.gpkg out.tif"),
    (b"PK\x03\x04", "it is a zip archive", UNPACK),
    (b"\x1f\x8b", "it is a gzip archive", UNPACK),
    (b"%PDF", "it is a PDF", "Export the images as GeoTIFF."),
)  # fmt: skip


class ContentKind(NamedTuple):
    """Kind of a file that is no raster of its own, as a sentence, and what to do."""

    sentence: str
    advice: str


def start_of(path: Path) -> bytes | None:
    """The first bytes of a file; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(LOOKED_AT)
    except OSError:
        return None


def kind_of_content(path: Path) -> ContentKind | None:
    """Kind of a file by its first bytes, where that is known to be no raster of its own."""
    start = start_of(path)
    return None if start is None else kind_of_bytes(start)


def kind_of_bytes(start: bytes) -> ContentKind | None:
    """The same of the first bytes of a file."""
    if not start:
        return ContentKind("it is empty", "Nothing is in it: copy or download it again.")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<?xml"):
        text = text.partition(b"?>")[2].lstrip()
    while text.startswith(b"<!--"):
        text = text.partition(b"-->")[2].lstrip()
    for mark, sentence, advice in KINDS:
        if text[: len(mark)].lower() == mark.lower():
            return ContentKind(sentence, advice)
    return None


def check_beside(path: Path) -> None:
    """Refuse files beside a raster that would make GDAL open others in their place.

    Raises:
        DataError: A mask or overviews beside it are no raster of their own, or its .aux.xml names
            another file.
    """
    for suffix in (".msk", ".MSK", ".ovr", ".OVR"):
        beside = path.with_name(path.name + suffix)
        kind = kind_of_content(beside) if beside.is_file() and beside.stat().st_size else None
        if kind is not None:
            raise DataError(
                str(beside),
                [f"{kind.sentence}, expected the mask or overviews of the raster beside it"],
                "Remove it, or make it anew (gdaladdo).",
            )
    marks = path.with_name(f"{path.name}.aux.xml")
    if marks.is_file() and b"OVERVIEW_FILE" in marks.read_bytes()[:MOST_VRT_BYTES]:
        raise DataError(
            str(marks),
            ["it names another file as overview, expected none"],
            "Remove it; gdaladdo makes overviews of the raster itself.",
        )


def check_sources(path: Path) -> list[Path]:
    """The files that a VRT is put together from, each a plain file in its own folder.

    Args:
        path: The VRT, as a user named it.

    Raises:
        DataError: It is none, computes or warps, or names files outside of its folder.
    """
    where, folder = str(path), path.parent.resolve()
    advice = "Write it as GeoTIFF: gdal_translate in.vrt out.tif"
    try:
        if path.stat().st_size > MOST_VRT_BYTES:
            raise DataError(where, [f"found more than {MOST_VRT_BYTES >> 20} MiB of text"], advice)
        content = path.read_bytes()
        if b"<!" in content.replace(b"<!--", b""):  # entities may grow without bounds
            raise DataError(where, ["found a document type or entities, expected none"], advice)
        top = ElementTree.fromstring(content)  # noqa: S314 (nothing to expand in it)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(where, [f"it is no VRT ({error})"], advice) from error
    faults: list[str] = []
    if top.tag != "VRTDataset":
        faults.append(f"it is no VRT (found <{top.tag}>)")
    kinds = {element.get("subClass", "VRTSourcedRasterBand") for element in top.iter()}
    kinds -= {"VRTSourcedRasterBand"}
    if kinds:
        faults.append(f"found {', '.join(sorted(kinds))}, expected bands put together from files")
    resolved = []
    for name, base in dict.fromkeys(_named_files(top, folder)):
        source = (base / name).resolve()
        if "://" in name or name.startswith("/vsi") or not source.is_relative_to(folder):
            faults.append(f"it is made of {name!r}, expected files in its own folder")
        elif not source.is_file() or source.suffix.lower() == ".vrt":
            faults.append(f"it is made of {name!r}, expected a raster file in its folder")
        else:
            resolved.append(source)
    if faults:
        raise DataError(where, faults, advice)
    return resolved


def _named_files(top: ElementTree.Element, folder: Path) -> Iterator[tuple[str, Path]]:
    """Every text of a VRT that GDAL would open as a file, and the folder it is relative to."""
    for element in top.iter():
        name = element.tag.rpartition("}")[2].lower()
        marks = {key.lower(): value for key, value in element.items()}
        described = element.tag == "MDI" and "FILE" in marks.get("key", "").upper()
        if element is top or not (
            described or name.endswith(("filename", "dataset", "_file", "uri"))
        ):
            continue
        relative = marks.get("relativetovrt", "0") == "1"
        yield (element.text or "").strip(), folder if relative else Path.cwd()
