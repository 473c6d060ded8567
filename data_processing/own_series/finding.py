"""A user's own rasters of one place: which files are named, and whether their headers fit.

Headers are compared before any pixel is read. Which dates they have is known to ``opening``.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_processing.containers.cube_files import is_cube
from data_processing.containers.granules import SAFE, is_granule, safe_images
from data_processing.containers.virtual import Address, is_address, members_of
from data_processing.rasters.dates import short_names
from data_processing.rasters.grids import grid_faults
from data_processing.rasters.reading import IMAGES, RasterInfo, header_of
from data_processing.rasters.sources import Raster
from data_processing.rasters.values import PIXEL_TYPES
from data_processing.scenes.spec import DatasetSpec
from utils.errors import DataError, UserError

__all__ = [
    "asked_bands",
    "different",
    "find_files",
    "find_rasters",
    "headers_of",
    "rasters_in",
    "unusable",
    "words_of_bands",
]

SUFFIXES = (".tif", ".tiff")  # what a folder is searched for, and if it holds none, for one kind of
OTHERS = (".jp2", ".vrt", ".img", ".png", ".jpg", ".jpeg", ".bmp", ".dat", ".bil", ".nc", ".h5")
ZIP = ".zip"
PACKED = (".tar", ".gz", ".tgz", ".7z", ".rar")
BESIDE = (".aux.xml", ".msk", ".ovr", ".tfw", ".prj", ".hdr")  # lies beside rasters and is none
LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")
LONGEST_NUMBER = 6  # digits of a band number, and one
SHOWN = 3  # names of a kind in a message
RGB = 3  # bands that an alpha band can be added to
OPAQUE = 255


def find_files(given: Sequence[str], flag: str) -> list[Path]:
    """Files of this machine that a flag names: folders, patterns such as ``city/*.tif``, files.

    Returns:
        Each once, sorted by name; where all are named one by one, in that order.

    Raises:
        UserError: Some of them name nothing, or something else.
    """
    rasters = find_rasters(given, flag)
    files = [raster for raster in rasters if isinstance(raster, Path)]
    if len(files) < len(rasters):
        raise UserError(
            f"{flag}: found an archive or an address, expected files. Unpack or download them."
        )
    return files


def find_rasters(given: Sequence[str], flag: str) -> list[Raster]:
    """Rasters that a flag names: as :func:`find_files`, and zip archives and addresses.

    Returns:
        Each once, sorted by name; where all are named one by one, in that order.

    Raises:
        UserError: Some of them name nothing.
        DataError: An archive cannot be used.
    """
    rasters: list[Raster] = []
    nothing: list[str] = []
    for word in given:
        here = [Address(word)] if is_address(word) else _rasters_at(word)
        nothing += [] if here else [word]
        rasters += here
    if nothing or not given:
        where = ", ".join(repr(word) + _why_nothing(word) for word in nothing[:SHOWN]) or "all"
        where += f" and {len(nothing) - SHOWN} more" if len(nothing) > SHOWN else ""
        raise UserError(
            f"{flag}: found no raster at {where}, expected a folder of "
            'GeoTIFFs, a pattern such as "city/*.tif" (in quotes), or files.'
        )
    packed = [raster.name for raster in rasters if raster.name.lower().endswith(PACKED)]
    if packed:
        raise UserError(
            f"{flag}: found {', '.join(packed)}, expected rasters or .zip. Unpack other archives "
            "and name the folder."
        )
    unique = {str(raster.resolve() if isinstance(raster, Path) else raster): raster
              for raster in rasters}  # fmt: skip
    if all(is_address(word) or _is_one_file(Path(word)) for word in given):
        return list(unique.values())
    return sorted(unique.values(), key=lambda raster: (raster.name, str(raster)))


def rasters_in(folder: Path) -> list[Raster]:
    """The images of a folder: its GeoTIFFs, else those of the only other kind, archives unpacked.

    A folder of granules gives the bands of all dates.

    Returns:
        Nothing where it holds none, or other kinds of rasters beside each other.
    """
    if folder.suffix.lower() == SAFE:
        return safe_images(folder)
    rasters = _images_of(folder)
    if rasters:
        return rasters
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        images = safe_images(inner) if inner.suffix.lower() == SAFE else _images_of(inner)
        rasters += images if is_granule(inner, images) else []
    return rasters


def _images_of(folder: Path) -> list[Raster]:
    """Images of a folder itself, see :func:`rasters_in`."""
    files = [file for file in folder.iterdir() if file.is_file() and file.name[0] != "."]
    files = [file for file in files if not file.name.lower().endswith(BESIDE)]
    tiffs = [file for file in files if file.suffix.lower() in SUFFIXES]
    if tiffs:
        return list(tiffs)
    kinds = {file.suffix.lower() for file in files} & {*OTHERS, ZIP}
    if len(kinds) != 1:
        return []
    kind = kinds.pop()
    images = sorted(file for file in files if file.suffix.lower() == kind)
    if kind == ZIP:
        return [member for file in images for member in members_of(file)]
    return list(images)


def _rasters_at(word: str) -> list[Raster]:
    """Rasters that a folder, file or pattern names on this machine."""
    path = Path(word)
    if is_cube(path):
        return [path]
    if path.is_dir():
        return rasters_in(path)
    files = [path]
    if not path.is_file():
        left = BESIDE + LEFT_BY_SYSTEMS
        files = [file for file in _matching(word) if not file.name.lower().endswith(left)]
    files = [file for file in files if file.is_file() and not file.name.startswith(".")]
    rasters: list[Raster] = []
    for file in files:
        rasters += members_of(file) if file.suffix.lower() == ZIP else [file]
    return rasters


def _is_one_file(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() != ZIP


def _matching(pattern: str) -> list[Path]:
    """Files of a pattern; folders that exist are taken by their names, brackets and all."""
    folder, rest = Path(pattern), list[str]()
    while not folder.is_dir() and folder != folder.parent:
        rest.insert(0, folder.name)
        folder = folder.parent
    if not rest or not folder.is_dir():
        return []
    names = glob.glob("/".join(rest), root_dir=folder, recursive=True)
    names += [] if names else glob.glob(pattern, recursive=True)  # brackets that are meant
    return [folder / name for name in names]


def _why_nothing(word: str) -> str:
    """Describe what lies where no raster was found, and what to do with it."""
    path = Path(word)
    if "://" in word or word.startswith("/vsi"):
        return " (an address of another kind: http, https, s3 and gs are read; or download it)"
    if glob.has_magic(word) and not path.exists():
        folders = [match for match in glob.glob(word) if Path(match).is_dir()]
        return f" (it matches {len(folders)} folders; name the one above them)" if folders else ""
    if not path.is_dir():
        return "" if path.exists() else " (does not exist)"
    counts = Counter(file.suffix.lower() for file in path.iterdir() if file.is_file())
    for suffix in PACKED:
        if counts[suffix]:
            return f" (it holds {counts[suffix]} {suffix} files; unpack them)"
    kinds = [suffix for suffix in (*OTHERS, ZIP) if counts[suffix]]
    if kinds:
        listed = ", ".join(f"{counts[suffix]} {suffix}" for suffix in kinds)
        return f' (it holds {listed} files; name those meant: "{path / "*"}{kinds[0]}")'
    return ""


def words_of_bands(
    text: str | None,
) -> tuple[tuple[int, ...] | None, tuple[str, ...] | None]:
    """The value of ``--bands`` as numbers from 1, or as names; neither where it is none of both."""
    words = tuple(word.strip() for word in (text or "").split(","))
    if not any(word.lstrip("+-").isdecimal() for word in words):
        return None, words if all(words) and len(set(words)) == len(words) else None
    numbers = tuple(int(word) for word in words if word.isdecimal() and len(word) < LONGEST_NUMBER)
    return (numbers if len(numbers) == len(words) and min(numbers) > 0 else None), None


def asked_bands(
    text: str | None, spec: DatasetSpec
) -> tuple[tuple[int, ...] | None, tuple[str, ...] | None]:
    """The value of ``--bands``: as numbers, or as names, or neither where it is not given.

    Raises:
        UserError: It is no list of as many bands as the data set has.
    """
    if text is None:
        return None, None
    numbers, names = words_of_bands(text)
    counts = {len(spec.bands)} | ({RGB} if spec.alpha_band == RGB else set())
    if len(numbers or names or ()) not in counts:
        expected = " or ".join(map(str, sorted(counts)))
        raise UserError(
            f"--bands: found {text!r}, expected {expected} numbers from 1 separated by commas, or "
            f"as many names as files or bands have them, in the order {', '.join(spec.bands)}."
        )
    return numbers, names


def headers_of(files: Sequence[Raster], faults: list[str]) -> list[tuple[str, RasterInfo]]:
    """Name and header of every file; what cannot be read is a fault."""
    headers: list[tuple[str, RasterInfo]] = []
    for file, name in short_names(files).items():
        try:
            headers.append((name, header_of(file, IMAGES)))
        except DataError as error:
            faults += [
                f"{name}: {'; '.join(filter(None, (fault, error.advice)))}"
                for fault in error.faults
            ]
    return headers


def unusable(
    name: str, info: RasterInfo, spec: DatasetSpec, bands: tuple[int, ...] | None
) -> list[str]:
    """Faults of the first image, which stands for all, that a network or the layout cannot take."""
    faults = []
    if info.palette:
        return [
            f"{name}: found a colour table, whose numbers are no measurements; write its colours "
            "(gdal_translate -expand rgb), or take the images that it was drawn from"
        ]
    if info.white_is_zero:
        faults.append(f"{name}: found small values that mean bright (MINISWHITE), expected dark")
    least, wanted = spec.patch_size, len(spec.bands)
    if min(info.height, info.width) < least:
        faults.append(
            f"{name}: found {info.height}×{info.width} pixels, expected {least}×{least} at least, "
            "the size of a patch"
        )
    if info.dtype not in PIXEL_TYPES:
        faults.append(f"{name}: found type {info.dtype}, expected one of {', '.join(PIXEL_TYPES)}")
    count = info.count if bands is None else len(bands)
    if bands is not None and max(bands) > info.count:
        faults.append(f"{name}: found {info.count} bands, expected {max(bands)}, see --bands")
    elif spec.alpha_band is not None and count == RGB:
        if info.dtype != "uint8":
            faults.append(
                f"{name}: found {RGB} bands of {info.dtype}, expected uint8 to make an alpha band "
                f"for, or {wanted} bands"
            )
    elif count != wanted:
        numbers = ",".join(map(str, range(1, wanted + 1)))
        remedy = f"; pick them in that order, for example --bands {numbers}"
        faults.append(
            f"{name}: found {count} bands, expected {wanted} ({', '.join(spec.bands)})"
            f"{remedy if count > wanted else ''}"
        )
    return faults


def different(headers: Sequence[tuple[str, RasterInfo]], *, grid: bool = True) -> list[str]:
    """Differences from the first image: bands and type, and unless told not to, the grid."""
    faults = grid_faults(headers) if grid else []
    first_name, first = headers[0]
    for name, info in headers[1:]:
        compared = [("bands", info.count, first.count), ("type", info.dtype, first.dtype)]
        for what, actual, expected in compared:
            if actual != expected:
                faults.append(f"{name}: found {what} {actual}, expected {expected} as {first_name}")
    return faults
