"""Files of a raw distribution, by their path inside it: in folders, in zips, or in a tarball.

Archives are looked through before anything is taken from them: members that point outside, links,
encrypted members and sizes that no distribution has are refused. Zips are read in place. A
compressed tarball cannot be, so the files wanted are unpacked from it once.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, cast

from utils.errors import DataError, UserError
from utils.files import path_inside, write_json
from utils.progress import progress

__all__ = [
    "RawFile",
    "RawFiles",
    "find_files",
    "is_tarball",
    "list_tarball",
    "remove_unpacked",
    "unpack_tarball",
]

LARGEST_FILE = 256 << 20  # bytes; no raster or label file of either data set comes near
LARGEST_HEADER = 1 << 20  # bytes of a tarball's header; usual ones have 512
EXPANSION = 20  # times an archive's size that its members may have together,
LEAST_EXPANDED = 256 << 20  # beside so many bytes that any may have
MOST_MEMBERS = 200_000  # of a tarball; that of SpaceNet7 has about 12,000
UNPACKED = ".unpacked.json"  # in a folder that a tarball is unpacked into
TARBALLS = (".tar.gz", ".tgz", ".tar")
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)


@dataclass(frozen=True)
class RawFile:
    """One file of a distribution.

    Attributes:
        name: Path inside the distribution, with slashes.
        place: The file itself, or the zip that holds it.
        member: Its name in the zip, None for a file of its own.
        size: Bytes.
        mark: What changes when the content does: a zip's checksum, else the time of writing.
    """

    name: str
    place: Path
    member: str | None
    size: int
    mark: int

    @property
    def where(self) -> str:
        """Its name in messages."""
        return str(self.place) if self.member is None else f"{self.place}: {self.member}"

    def read(self) -> bytes:
        """All bytes.

        Raises:
            DataError: The file is gone, damaged or far larger than such files are.
        """
        if self.size > LARGEST_FILE:
            raise DataError(
                self.where,
                [f"found {self.size} bytes, expected less than {LARGEST_FILE}"],
                "This is no file of the distribution; download it again.",
            )
        try:
            if self.member is None:
                return self.place.read_bytes()
            return _opened_zip(self.place).read(self.member)
        except DAMAGED as error:
            raise DataError(
                self.where,
                [f"cannot be read ({error})"],
                "The file is damaged or cut short: copy or download it again.",
            ) from error


@dataclass(frozen=True)
class RawFiles:
    """All files of a distribution.

    Attributes:
        source: The folder or archive that was named.
        files: Every file by its path inside.
    """

    source: Path
    files: dict[str, RawFile]

    def matching(self, pattern: str) -> Iterator[tuple[re.Match[str], RawFile]]:
        """Files whose path matches a regular expression somewhere, in order of their paths."""
        compiled = re.compile(pattern, re.IGNORECASE)
        for name in sorted(self.files):
            match = compiled.search(name)
            if match:
                yield match, self.files[name]


def find_files(source: Path) -> RawFiles:
    """Everything below a folder, members of its zips included, or everything in one zip.

    Args:
        source: A folder or a zip. Names that begin with a dot and ``__MACOSX`` are left out.

    Raises:
        UserError: There is nothing of that name, or it is of another kind.
        DataError: A zip is damaged or holds what no distribution holds, all such faults at once.
    """
    if source.is_file() and source.suffix.lower() == ".zip":
        paths = [source]
    elif source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file())
    else:
        state = "there is nothing" if not source.exists() else "a file of another kind"
        raise UserError(
            f"--source: {state} at {source}, expected a folder or an archive of the raw data."
        )
    files: dict[str, RawFile] = {}
    faults: list[str] = []
    for path in progress(paths, "looking through the raw files", unit="file"):
        name = path.name if path == source else path.relative_to(source).as_posix()
        if path.suffix.lower() == ".zip":
            files |= _zip_members(path, str(PurePosixPath(name).parent), faults)
        elif _is_wanted(name):
            status = path.stat()
            files[name] = RawFile(name, path, None, status.st_size, status.st_mtime_ns)
    if faults:
        raise DataError(
            str(source),
            faults,
            "Nothing was taken from there. Download the archives again from the data set's page.",
        )
    return RawFiles(source, files)


def is_tarball(path: Path) -> bool:
    """Whether a path is a tarball by its name."""
    return path.name.lower().endswith(TARBALLS) and path.is_file()


def unpack_tarball(tarball: Path, folder: Path, wanted: Callable[[str], bool]) -> int:
    """Unpack the wanted files of a tarball; what lies there whole already is not written again.

    Args:
        tarball: The archive; gone through once, from its begin to its end.
        folder: Where files are put, with the paths they have inside; :func:`remove_unpacked`
            takes it away again.
        wanted: Tells by a file's path whether it is needed.

    Returns:
        Files in the folder that belong to the archive.

    Raises:
        DataError: The archive is damaged, or holds what no distribution holds; what was unpacked
            before that was noticed stays and is used by the next try.
        UserError: The folder is another one's.
    """
    if not _is_unpacked(folder) and (folder.is_symlink() or folder.exists()):
        raise UserError(
            f"{folder}: found a link, or a folder that no run has unpacked into. Nothing was "
            "written. Move it away."
        )
    write_json(folder / UNPACKED, {"tarball": str(tarball)})
    count = 0
    with _reading(tarball) as archive:
        for member in _wanted_members(archive, tarball, wanted, f"unpacking {tarball.name}"):
            target = folder / PurePosixPath(member.name)
            if not (target.is_file() and target.stat().st_size == member.size):
                archive.extract(member.replace(mtime=int(member.mtime)), folder, filter="data")
            count += 1
    return count


def remove_unpacked(folder: Path) -> None:
    """Remove a folder that :func:`unpack_tarball` has made, and no other."""
    if _is_unpacked(folder):
        shutil.rmtree(folder)


def list_tarball(tarball: Path, wanted: Callable[[str], bool]) -> RawFiles:
    """The wanted files of a tarball without unpacking any; they can be named, not read.

    Args:
        tarball: The archive; gone through once, from its begin to its end.
        wanted: Tells by a file's path whether it is needed.

    Raises:
        DataError: As for :func:`unpack_tarball`.
    """
    files = {}
    with _reading(tarball) as archive:
        for member in _wanted_members(archive, tarball, wanted, f"looking through {tarball.name}"):
            name = str(PurePosixPath(member.name))
            mark = int(member.mtime) * 10**9
            files[name] = RawFile(name, tarball, member.name, member.size, mark)
    return RawFiles(tarball, files)


REFUSED = "No distribution holds such members; download the archive again from its page."


class _SmallReads:
    """A stream that is read in small parts only.

    tarfile reads a header whole, however large it says it is.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.tell, self.seek = stream.tell, stream.seek

    def read(self, size: int) -> bytes:
        """So many bytes.

        Raises:
            tarfile.ReadError: No header has so many.
        """
        if not 0 <= size <= LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)


def _wanted_members(
    archive: tarfile.TarFile, tarball: Path, wanted: Callable[[str], bool], label: str
) -> Iterator[tarfile.TarInfo]:
    """The wanted files of a tarball, every member checked on the way."""
    most = LEAST_EXPANDED + EXPANSION * tarball.stat().st_size
    total = 0
    for count, member in enumerate(progress(archive, label, unit="file"), start=1):
        fault = _tar_fault(member)
        total += member.size
        if not fault and (max(total, archive.offset) > most or count > MOST_MEMBERS):
            fault = f"more than {most} bytes in {count} members, of so small an archive"
        if fault:
            raise DataError(str(tarball), [fault], REFUSED)
        if member.isfile() and _is_wanted(member.name) and wanted(member.name):
            yield member
    _require_end(archive)


def _require_end(archive: tarfile.TarFile) -> None:
    """Make sure that an archive ends here: tarfile takes any damaged header for the end.

    Raises:
        tarfile.ReadError: It does not.
        OSError: The checksum of the whole, if it has one, is another.
    """
    stream = archive.fileobj
    assert stream is not None
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("a damaged header, or no mark of the end")
    while rest := stream.read(LARGEST_HEADER):
        if any(rest):
            raise tarfile.ReadError("something behind the mark of the end")


def _tar_fault(member: tarfile.TarInfo) -> str:
    """Fault of a member of a tarball, '' if none."""
    if member.isdir() and not PurePosixPath(member.name).parts:
        return ""  # "./", the folder itself
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        return f"{member.name!r}: a device"
    if not 0 <= member.size <= LARGEST_FILE:
        return f"{member.name!r}: {member.size} bytes, expected less than {LARGEST_FILE}"
    return _name_fault(member.name, link=member.issym() or member.islnk())


@contextmanager
def _reading(tarball: Path) -> Iterator[tarfile.TarFile]:
    """A tarball to be read from its begin to its end; faults in it are said with its name."""
    try:
        with tarball.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(tarball) if packed else tarball.open("rb") as stream:
            small = _SmallReads(cast(IO[bytes], stream))
            with tarfile.open(fileobj=cast(IO[bytes], small), mode="r:") as archive:
                yield archive
    except (*DAMAGED, tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, UserError) or (isinstance(error, OSError) and error.errno is not None):
            raise  # no fault of the archive
        raise DataError(
            str(tarball),
            [f"the archive cannot be read ({error})"],
            "It is damaged or cut short: compare its size and checksum, download it again.",
        ) from error


def _is_unpacked(folder: Path) -> bool:
    return (folder / UNPACKED).is_file() and not folder.is_symlink()


def _zip_members(path: Path, parent: str, faults: list[str]) -> dict[str, RawFile]:
    """The files in a zip, as if it were unpacked where it lies."""
    try:
        members = _opened_zip(path).infolist()
    except DAMAGED as error:
        faults.append(f"{path.name}: cannot be read as a zip ({error})")
        return {}
    files = {}
    for member in members:
        link = stat.S_ISLNK(member.external_attr >> 16)
        fault = _name_fault(member.orig_filename, link=link)
        if member.flag_bits & 1:
            fault = f"{member.filename}: encrypted"
        if fault:
            faults.append(f"{path.name}: {fault}")
        elif not member.is_dir() and _is_wanted(member.filename):
            name = str(PurePosixPath(parent) / member.filename)
            files[name] = RawFile(name, path, member.filename, member.file_size, member.CRC)
    return files


def _name_fault(name: str, *, link: bool) -> str:
    """Fault of a member of an archive, '' if none."""
    try:
        path_inside(name)
    except ValueError as error:
        return str(error)
    return f"{name!r}: a link" if link else ""


def _is_wanted(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in Path(name).parts)


def _opened_zip(path: Path) -> zipfile.ZipFile:
    """A zip, kept open with its list of members, which takes long to read."""
    return _zip_of_process(path, os.getpid())


@lru_cache(maxsize=16)
def _zip_of_process(path: Path, process: int) -> zipfile.ZipFile:
    """A process has zips of its own: one that a fork inherits shares its place in the file."""
    return zipfile.ZipFile(path)
