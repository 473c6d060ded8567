"""Archives of raw data: what no distribution holds is refused before it takes disk or memory."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from data_processing.raw import archives
from data_processing.raw.archives import (
    RawFile,
    find_files,
    list_tarball,
    remove_unpacked,
    unpack_tarball,
)
from utils.errors import DataError, UserError

resource = pytest.importorskip("resource")
MIB = 1 << 20
Change = Callable[[tarfile.TarInfo], None]


def header(name: str = "train/a.tif", **fields: object) -> bytes:
    """A header that says whatever it is told to say."""
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    return member.tobuf(tarfile.GNU_FORMAT)


def packed(path: Path, *parts: bytes) -> Path:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for part in parts:
            stream.write(part)
        stream.write(bytes(1024))
    return path


def tarball_of(path: Path, *names: str, content: bytes = b"x" * 700) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def everything(name: str) -> bool:
    return True


def refused(path: Path, folder: Path, words: str) -> None:
    """Both ways to go through it refuse it, with little memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=words):
        list_tarball(path, everything)
    with pytest.raises(DataError, match=words):
        unpack_tarball(path, folder, everything)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 200  # MiB


def test_usual_members_are_listed_and_unpacked_alike(tmp_path: Path) -> None:
    path = tarball_of(tmp_path / "x.tar.gz", "train/a/b.tif", "train/a/.hidden", "./train/c.tif")
    listed = list_tarball(path, everything).files
    assert unpack_tarball(path, tmp_path / "out", everything) == 2
    unpacked = find_files(tmp_path / "out").files
    assert {name: (f.size, f.mark) for name, f in listed.items()} == {
        name: (f.size, f.mark) for name, f in unpacked.items()
    }
    assert listed.keys() == {"train/a/b.tif", "train/c.tif"}
    stamp = (tmp_path / "out/train/a/b.tif").stat().st_ctime_ns
    (tmp_path / "out/train/c.tif").write_bytes(b"cut short")
    unpack_tarball(path, tmp_path / "out", everything)
    assert (tmp_path / "out/train/a/b.tif").stat().st_ctime_ns == stamp
    assert (tmp_path / "out/train/c.tif").stat().st_size == 700
    remove_unpacked(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_plain_tar_and_one_of_the_folder_itself_are_read(tmp_path: Path) -> None:
    (tmp_path / "raw/train").mkdir(parents=True)
    (tmp_path / "raw/train/a.tif").write_bytes(b"x")
    for mode, name in (("w", "x.tar"), ("w:gz", "x.tgz")):
        with tarfile.open(tmp_path / name, mode) as archive:  # type: ignore[call-overload]
            archive.add(tmp_path / "raw", ".")
        assert list(list_tarball(tmp_path / name, everything).files) == ["train/a.tif"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "../x.tif"}, "points outside"),
        ({"name": "/x.tif"}, "points outside"),
        ({"name": "a/../../x.tif"}, "points outside"),
        ({"name": "C:\\x.tif"}, "points outside"),
        ({"name": "..\\x.tif"}, "points outside"),
        ({"name": "a\nb.tif"}, "no readable path"),
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a link"),
        ({"type": tarfile.LNKTYPE, "linkname": "train/b"}, "a link"),
        ({"type": tarfile.SYMTYPE, "linkname": "b"}, "a link"),
        ({"type": tarfile.CHRTYPE}, "a device"),
        ({"type": tarfile.FIFOTYPE}, "a device"),
        ({"size": 5 << 30}, "bytes, expected less"),
        ({"size": -512}, "bytes, expected less|cannot be read"),
        ({"type": tarfile.XHDTYPE, "size": 4 << 30}, "a header of"),
        ({"type": tarfile.XHDTYPE, "size": -4096}, "a header of"),
        ({"type": tarfile.GNUTYPE_LONGNAME, "size": 4 << 30}, "a header of"),
        ({"type": tarfile.XGLTYPE, "size": 1 << 40}, "a header of"),
    ],
)
def test_members_that_no_distribution_has_are_refused(
    tmp_path: Path, fields: dict[str, object], words: str
) -> None:
    path = packed(tmp_path / "x.tar.gz", header(**fields), bytes(4096))  # type: ignore[arg-type]
    refused(path, tmp_path / "out", words)
    assert not list((tmp_path / "out").rglob("*.tif"))


def test_a_small_archive_that_unpacks_to_much_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LEAST_EXPANDED", 4 * MIB)
    part = bytes(MIB)
    members = [header(f"train/{n}.tif", size=MIB) + part for n in range(64)]
    path = packed(tmp_path / "x.tar.gz", *members)
    refused(path, tmp_path / "out", "so small an archive")
    written = sum(file.stat().st_size for file in (tmp_path / "out").rglob("*.tif"))
    assert written < 16 * MIB


def test_more_members_than_any_distribution_has_are_not_gone_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 1000)
    path = packed(tmp_path / "x.tar.gz", *[header(f"train/{n}.tif") for n in range(2000)])
    refused(path, tmp_path / "out", "so small an archive")


def test_headers_without_end_are_a_sentence(tmp_path: Path) -> None:
    long_name = header(type=tarfile.GNUTYPE_LONGNAME, size=512) + b"a".ljust(512, b"\0")
    path = packed(tmp_path / "x.tar.gz", *[long_name] * 5000)
    refused(path, tmp_path / "out", "cannot be read")


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_no_damage_ends_an_archive_early_in_silence(tmp_path: Path, suffix: str) -> None:
    whole = tarball_of(tmp_path / "x.tar.gz", *[f"train/{n}.tif" for n in range(6)])
    content = gzip.decompress(whole.read_bytes()) if suffix == ".tar" else whole.read_bytes()
    path = tmp_path / f"y{suffix}"
    path.write_bytes(content)
    expected = {name: file.size for name, file in list_tarball(path, everything).files.items()}
    step = 97 if suffix == ".tar" else 7
    for place in range(4, len(content), step):
        for damaged in (flipped(content, place), content[:place]):
            path.write_bytes(damaged)
            try:
                found = list_tarball(path, everything).files
            except DataError:
                continue
            # of plain archives the content has no checksum
            assert {name: file.size for name, file in found.items()} == expected


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


@pytest.mark.parametrize("kind", ["link", "folder", "file"])
def test_a_place_to_unpack_that_is_another_ones_is_left_alone(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "photo.jpg").write_text("mine")
    folder = tmp_path / ".unpacked-x"
    if kind == "link":
        folder.symlink_to(victim)
        unpack_tarball(tarball_of(tmp_path / "y.tar.gz", "train/a.tif"), victim / "own", everything)
    elif kind == "folder":
        victim.rename(folder)
    else:
        folder.write_text("mine")
    with pytest.raises(UserError, match=r"\.unpacked-x"):
        unpack_tarball(tarball_of(tmp_path / "x.tar.gz", "train/a.tif"), folder, everything)
    remove_unpacked(folder)
    assert folder.exists()
    assert not list(tmp_path.glob("victim/a.tif"))


def test_a_link_inside_the_unpacked_folder_is_not_written_through(tmp_path: Path) -> None:
    path = tarball_of(tmp_path / "x.tar.gz", "train/a.tif")
    (tmp_path / "victim").mkdir()
    unpack_tarball(path, tmp_path / "out", lambda name: False)
    (tmp_path / "out/train").symlink_to(tmp_path / "victim")
    with pytest.raises(DataError):
        unpack_tarball(path, tmp_path / "out", everything)
    assert not list((tmp_path / "victim").iterdir())


def test_a_large_file_in_a_zip_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_FILE", MIB)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.tif", bytes(4 * MIB))
    file: RawFile = find_files(tmp_path / "x.zip").files["a.tif"]
    with pytest.raises(DataError, match="expected less than"):
        file.read()
