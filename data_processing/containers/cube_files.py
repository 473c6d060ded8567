"""NetCDF files and Zarr stores opened lazily, if they hold nothing but their own values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_processing.rasters.contents import kind_of_bytes, start_of
from utils.errors import DataError, UserError

__all__ = ["CUBES", "is_cube", "open_cube_file", "require_packages", "unreadable"]

CUBES = (".nc", ".nc4", ".cdf", ".zarr")
HDF5, NETCDF3 = b"\x89HDF\r\n\x1a\n", b"CDF"
METADATA = (".zarray", ".zmetadata", "zarr.json")
# codecs of Zarr stores that only turn bytes into numbers
CODECS = {
    "blosc", "bytes", "bz2", "crc32c", "delta", "endian", "fixedscaleoffset", "gzip", "lz4", "lzma",
    "sharding_indexed", "shuffle", "transpose", "zlib", "zstd", "numcodecs.zlib",
    "numcodecs.shuffle", "numcodecs.delta", "numcodecs.fixedscaleoffset", "vlen-utf8",
}  # fmt: skip
LONGEST = 200  # characters of an error in a message
MOST_METADATA = 10_000  # folders with it in a store
MOST_BYTES = 64 << 20  # of a file of it
ADVICE = "Copy the cube with its values in it: xarray.open_dataset(…).to_netcdf(…)."


def is_cube(path: Path) -> bool:
    """Whether a path is called as cubes are, and is there."""
    return path.suffix.lower() in CUBES and path.exists()


def require_packages(*names: str) -> None:
    """Make sure that packages of requirements-cubes.txt can be imported.

    Raises:
        UserError: Some are missing.
    """
    import importlib.util

    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"cubes and STAC items: found no {', '.join(missing)}, expected the packages of "
            "requirements-cubes.txt. Install them: python -m pip install -r requirements-cubes.txt "
            "-c constraints.txt"
        )


def open_cube_file(path: Path) -> Any:
    """xarray's Dataset of a file or store, values as they are stored.

    Raises:
        UserError: Packages are missing.
        DataError: It is no cube, is damaged, or would read other files.
    """
    require_packages("xarray", "rioxarray")
    import xarray

    if path.is_dir():
        require_packages("zarr")
        _check_zarr(path)
        engine = "zarr"
    else:
        engine = _engine(path)
    try:
        return xarray.open_dataset(
            path.absolute(), engine=engine, mask_and_scale=False, decode_coords="all", cache=False,
            chunks=None,
        )  # fmt: skip
    except Exception as error:  # what these libraries raise on damaged files is of many kinds
        raise unreadable(str(path), error) from error


def unreadable(where: str, error: Exception) -> DataError:
    """An error of a library as a fault of the cube."""
    line = (str(error).splitlines() or [type(error).__name__])[0][:LONGEST]
    fault = f"the cube cannot be read ({line})"
    return DataError(where, [fault], "It is damaged or cut short: copy or download it again.")


def _engine(path: Path) -> str:
    """Name of what reads a file, by its content.

    Raises:
        DataError: It is no NetCDF, or would read other files.
    """
    start = start_of(path) or b""
    if start.startswith(NETCDF3):
        return "scipy"
    if not start.startswith(HDF5):
        kind = kind_of_bytes(start)
        what = kind.sentence if kind else "it is no NetCDF"
        fault = f"the cube cannot be read ({what}), expected NetCDF or a Zarr store"
        raise DataError(str(path), [fault], kind.advice if kind else "Copy or download it again.")
    require_packages("h5netcdf", "h5py")
    _check_hdf5(path)
    return "h5netcdf"


def _check_hdf5(path: Path) -> None:
    """Refuse what would make HDF5 read other files.

    Raises:
        DataError: There is such a thing.
    """
    import h5py

    faults: list[str] = []

    def look(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            faults.append(f"{name}: found a link into another file")
        elif isinstance(link, h5py.HardLink) and file.get(name, getclass=True) is h5py.Dataset:
            dataset = file[name]
            if dataset.external or dataset.is_virtual:
                faults.append(f"{name}: found values that lie in another file")

    try:
        with h5py.File(path, "r") as file:
            file.visititems_links(look)
    except Exception as error:  # what h5py raises on damaged files is of many kinds
        raise unreadable(str(path), error) from error
    if faults:
        raise DataError(str(path), [f"{fault}, expected its own" for fault in faults], ADVICE)


def _check_zarr(path: Path) -> None:
    """Refuse codecs that are not known to turn bytes into numbers only, and links out of it.

    Raises:
        DataError: There are such, or it is no store.
    """
    folders = [path, *sorted(p for p in path.rglob("*") if p.is_dir() or p.is_symlink())]
    faults = [f"{p.relative_to(path)}: found a link" for p in folders[1:] if p.is_symlink()]
    files = [folder / name for folder in folders[:MOST_METADATA] for name in METADATA]
    files = [file for file in files if file.is_file()]
    if not files:
        faults.append("found no .zarray, .zmetadata or zarr.json, expected a Zarr store")
    for file in files:
        try:
            if file.stat().st_size > MOST_BYTES:
                raise ValueError(f"found more than {MOST_BYTES >> 20} MiB")
            content = json.loads(file.read_bytes())  # attributes may hold NaN
        except (OSError, ValueError, RecursionError) as error:
            faults.append(f"{file.relative_to(path)}: it is no metadata of a store ({error})")
            continue
        unknown = sorted(set(_codecs(content)) - CODECS)
        if unknown:
            faults.append(f"{file.relative_to(path)}: found the codecs {', '.join(unknown)}")
    if faults:
        raise DataError(str(path), faults, ADVICE)


def _codecs(content: Any, inside: bool = False) -> Iterator[str]:
    """Names of codecs anywhere in a store's metadata."""
    if isinstance(content, list):
        for item in content:
            yield from _codecs(item, inside)
    elif isinstance(content, dict):
        if inside:
            yield from (str(content[key]) for key in ("id", "name") if key in content)
        for key, value in content.items():
            yield from _codecs(value, key in ("compressor", "filters", "codecs", "index_codecs"))
