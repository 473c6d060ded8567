"""Files of a raw distribution, by their path inside it: in folders, in zips, or in a tarball.

Archives are looked through before anything is taken from them: members that point outside, links
and encrypted members are refused. Zips are read in place. A compressed tarball cannot be, so the
files wanted are unpacked from it once.
"""

from __future__ import annotations

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

from utils.errors import DataError, UserError
from utils.files import atomic_path
from utils.progress import progress

__all__ = ["RawFile", "RawFiles", "find_files", "is_tarball", "list_tarball", "unpack_tarball"]

LARGEST_FILE = 1 << 30  # bytes; no raster or label file of either data set comes near
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
        """How messages name it."""
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
        folder: Where files are put, with the paths they have inside.
        wanted: Tells by a file's path whether it is needed.

    Returns:
        Files in the folder that belong to the archive.

    Raises:
        DataError: The archive is damaged, or holds links or members that point outside; what was
            unpacked before that was noticed stays and is used by the next try.
    """
    count = 0
    with _reading(tarball):
        for archive, member in _wanted_members(tarball, wanted, f"unpacking {tarball.name}"):
            _unpack_member(archive, member, folder / PurePosixPath(member.name))
            count += 1
    return count


def list_tarball(tarball: Path, wanted: Callable[[str], bool]) -> RawFiles:
    """The wanted files of a tarball without unpacking any; they can be named, not read.

    Args:
        tarball: The archive; gone through once, from its begin to its end.
        wanted: Tells by a file's path whether it is needed.

    Raises:
        DataError: As for :func:`unpack_tarball`.
    """
    files = {}
    with _reading(tarball):
        for _, member in _wanted_members(tarball, wanted, f"looking through {tarball.name}"):
            name = str(PurePosixPath(member.name))
            files[name] = RawFile(name, tarball, member.name, member.size, _mark(member))
    return RawFiles(tarball, files)


REFUSED = "No distribution holds such members; download the archive again from its page."


def _wanted_members(
    tarball: Path, wanted: Callable[[str], bool], label: str
) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The wanted files of a tarball, every member checked on the way."""
    with tarfile.open(tarball, "r|*") as archive:
        for member in progress(archive, label, unit="file"):
            fault = _member_fault(member.name, link=member.issym() or member.islnk())
            if fault or member.isdev():
                raise DataError(str(tarball), [fault or f"{member.name}: a device"], REFUSED)
            if member.isfile() and _is_wanted(member.name) and wanted(member.name):
                yield archive, member


@contextmanager
def _reading(tarball: Path) -> Iterator[None]:
    """Turn what goes wrong with an archive into a sentence that names it."""
    try:
        yield
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # no fault of the archive
            raise
        raise DataError(
            str(tarball),
            [f"the archive cannot be read ({error})"],
            "It is damaged or cut short: compare its size and checksum, download it again.",
        ) from error


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if target.is_file() and target.stat().st_size == member.size:
        return
    stream = archive.extractfile(member)
    assert stream is not None
    with atomic_path(target) as partial, partial.open("wb") as written:
        shutil.copyfileobj(stream, written, 1 << 20)
        written.close()
        os.utime(partial, ns=(_mark(member), _mark(member)))  # the same in every unpacking


def _mark(member: tarfile.TarInfo) -> int:
    """When a member was written, in nanoseconds, to the second."""
    return int(member.mtime) * 10**9


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
        fault = _member_fault(member.orig_filename, link=link)
        if member.flag_bits & 1:
            fault = f"{member.filename}: encrypted"
        if fault:
            faults.append(f"{path.name}: {fault}")
        elif not member.is_dir() and _is_wanted(member.filename):
            name = str(PurePosixPath(parent) / member.filename)
            files[name] = RawFile(name, path, member.filename, member.file_size, member.CRC)
    return files


def _member_fault(name: str, *, link: bool) -> str:
    """What is wrong with an archive member, '' if nothing."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or parts[0] == "/" or ".." in parts or re.match(r"[A-Za-z]:", name):
        return f"{name!r}: points outside the folder it is unpacked into"
    if link:
        return f"{name!r}: a link"
    return ""


def _is_wanted(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in Path(name).parts)


def _opened_zip(path: Path) -> zipfile.ZipFile:
    """A zip, kept open with its list of members, which takes long to read."""
    return _zip_of_process(path, os.getpid())


@lru_cache(maxsize=16)
def _zip_of_process(path: Path, process: int) -> zipfile.ZipFile:
    """A process has zips of its own: one that a fork inherits shares its place in the file."""
    return zipfile.ZipFile(path)
