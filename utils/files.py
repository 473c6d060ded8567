"""Files: written so that a reader never sees half of one, read without trusting what they say.

And folders that one program at a time writes: locks that the system forgets with their program.
"""

from __future__ import annotations

import atexit
import csv
import errno
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from utils.errors import UserError, at_program_end
from utils.progress import say

__all__ = [
    "LOCK",
    "atomic_path",
    "finite_number",
    "hold_folder",
    "holding",
    "is_web_page",
    "parse_json",
    "path_inside",
    "plain_name",
    "read_csv_rows",
    "read_json",
    "read_yaml",
    "remove_partial_files",
    "sha256",
    "whole_number",
    "write_csv_rows",
    "write_json",
]

JSON_BYTES = 256 << 20  # at most; the largest that a program writes is far below
JSON_DEPTH = 100
NUMBER_SIGNS = 100  # of a number that somebody wrote, at most; no quantity has more
LARGEST_WHOLE = 2**64 - 1
YAML_BYTES = 1 << 20  # of settings somebody typed
YAML_DEPTH = 16
FORMULA = re.compile(r"[\s'\"]*[=+\-@＝＋－＠]|[\t\r\n]")  # as a spreadsheet takes a cell
NAME_BYTES = 255  # of a file's or folder's name, as file systems have it
PARTIAL_BYTES = 48  # of a file's name that its unfinished one shows
# as atomic_path names them
PARTIAL_FILE = re.compile(r"\..*\.[a-z0-9_]{8}\.partial(\.[^.]*)?", re.DOTALL)
LOCK = ".lock"  # hidden, in the folder
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # as file systems without locks say

_held: dict[Path, tuple[int, BaseFileLock]] = {}  # process that locked it, and the lock


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``final`` that takes its name when the block succeeds.

    Args:
        final: Where the file shall stand; its folder is made if missing.

    Yields:
        A path with the same suffix in the same folder, to be written to.

    Raises:
        OSError: When the folder cannot be written or the disk is full; ``final`` is untouched.
    """
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    begin = os.fsdecode(os.fsencode(final.stem)[:PARTIAL_BYTES])
    handle, name = tempfile.mkstemp(
        dir=final.parent, prefix=f".{begin}.", suffix=f".partial{final.suffix}"
    )
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        partial.chmod(0o644)
        os.replace(partial, final)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented UTF-8 JSON, whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_path(path) as partial:  # file names may hold bytes that are no letters
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> Any:
    """Read a UTF-8 JSON file.

    Raises:
        OSError: It cannot be read.
        ValueError: As for :func:`parse_json`, or it is larger than such files are.
    """
    size = Path(path).stat().st_size
    if size > JSON_BYTES:
        raise ValueError(f"found {size} bytes, expected at most {JSON_BYTES}")
    return parse_json(Path(path).read_bytes())


def parse_json(content: bytes) -> Any:
    """The content of a JSON text; a byte-order mark is passed over.

    Raises:
        ValueError: It is no UTF-8 JSON, nested deeper than any of ours, or holds numbers that are
            not finite or have more digits than any quantity.
    """
    try:
        value = json.loads(
            content.decode("utf-8-sig"),
            parse_int=whole_number,
            parse_float=finite_number,
            parse_constant=finite_number,
        )
    except RecursionError:
        raise ValueError("found values nested without end") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > JSON_DEPTH:
            raise ValueError(f"found values nested deeper than {JSON_DEPTH} levels")
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
            if isinstance(part, dict | list)
        ]
    return value


def write_csv_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file whole or not at all; its columns are those of all rows, as first met.

    A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (
        atomic_path(Path(path)) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writerow({column: _no_formula(column) for column in columns})
        writer.writerows({key: _no_formula(value) for key, value in row.items()} for row in rows)


def _no_formula(value: Any) -> Any:
    """A cell that a spreadsheet shows as it is; numbers stay numbers, also as text."""
    if not isinstance(value, str) or FORMULA.match(value) is None:
        return value
    try:
        finite_number(value)
    except ValueError:
        return f"'{value}"
    return value


def read_csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as text by column name."""
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def finite_number(text: str) -> float:
    """A number as somebody wrote it, in plain digits.

    Raises:
        ValueError: It is none, not finite, or longer than any quantity.
    """
    form = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
    number = float(text) if _is_written(text, form) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"found {_shown(text)}, expected a finite number")
    return number


def whole_number(text: str) -> int:
    """A whole number as somebody wrote it, in plain digits.

    Raises:
        ValueError: It is none, or has more than 64 bits.
    """
    number = int(text) if _is_written(text, r"[+-]?\d+") else LARGEST_WHOLE + 1
    if abs(number) > LARGEST_WHOLE:
        raise ValueError(f"found {_shown(text)}, expected a whole number of 64 bits at most")
    return number


def _is_written(text: str, form: str) -> bool:
    """Whether a text has the form of a number and not too many signs."""
    text = text.strip()
    return len(text) <= NUMBER_SIGNS and re.fullmatch(form, text, re.ASCII) is not None


def path_inside(text: object) -> PurePosixPath:
    """A relative path that a file names, once it is sure that it stays below where it is put.

    Args:
        text: What the file says, of any type; both slashes are understood.

    Raises:
        ValueError: It is no text, holds signs that cannot be seen, is too long, absolute, or
            goes up.
    """
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError(f"{_shown(text)}: no readable path")
    path = PurePosixPath(text.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", text):
        raise ValueError(f"{_shown(text)}: points outside the folder it belongs to")
    if any(len(part.encode()) > NAME_BYTES for part in path.parts):
        raise ValueError(f"{_shown(text)}: a name longer than {NAME_BYTES} bytes")
    return path


def plain_name(text: object) -> str:
    """A folder's name that a file or a user gives, once it is sure to be one on every system.

    Raises:
        ValueError: As for :func:`path_inside`, or it has several parts, signs that some system
            does not allow, or is hidden.
    """
    path = path_inside(text)
    name = path.name
    if name != text or set(name) & set(':*?"<>|') or name[0] in ". " or name[-1] in ". ":
        raise ValueError(f"{_shown(text)}: no plain name of one folder")
    return name


def _shown(text: object) -> str:
    """A value for a message, cut where it is long."""
    shown = repr(text)
    return shown if len(shown) < 100 else f"{shown[:90]}…{shown[-1]}"


def remove_partial_files(folder: Path) -> None:
    """Remove what :func:`atomic_path` left in a folder, or below, whose process was killed."""
    for path in folder.rglob(".*.partial*"):
        if PARTIAL_FILE.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def read_yaml(path: Path) -> Any:
    """Read a UTF-8 YAML file that anybody may have written: plain values, no aliases.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no YAML, holds aliases or tags, or is too large or too deep.
    """
    import yaml  # most programs run without one

    with Path(path).open("rb") as stream:
        content = stream.read(YAML_BYTES + 1)
    if len(content) > YAML_BYTES:
        raise ValueError(f"found more than {YAML_BYTES} bytes, expected a short list of values")
    depth = 0
    try:
        for event in yaml.parse(content, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > YAML_DEPTH or isinstance(event, yaml.AliasEvent):
                raise ValueError("found aliases or many levels, expected plain names and values")
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(f"found no readable YAML ({str(error).splitlines()[0]})") from error


def is_web_page(head: bytes) -> bool:
    """Whether a file that begins like this is a web page, as failed downloads leave them."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script", b"<!--"))


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits, read in blocks."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


# ────────────────────────────────── one program at a time ──────────────────────────────────


def hold_folder(folder: Path) -> None:
    """Keep other programs out of a folder of results until this one ends, however it ends.

    The lock is the system's, so that none stays behind a process that was killed. Where a file
    system has no locks, a file with the process's number takes its place; one of a process that
    is gone is taken over. Of several processes that share a job the first one holds the folder.

    Raises:
        UserError: Another program is at work there.
        OSError: The folder cannot be written.
    """
    if _acquire(folder, "--output-dir", wait=False):
        at_program_end(_release_folders)


@contextmanager
def holding(folder: Path, flag: str, wait: bool = False) -> Iterator[None]:
    """Keep other programs out of a folder, made if missing, for as long as the context lasts.

    Args:
        folder: The folder.
        flag: What the user named it by, for the message.
        wait: Whether to wait for the end of another program, said aloud.

    Raises:
        UserError: Another program is at work there.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    is_new = _acquire(folder, flag, wait)
    try:
        yield
    finally:
        if is_new:
            _release(folder.resolve() / LOCK)


def _acquire(folder: Path, flag: str, wait: bool) -> bool:
    """Lock a folder; whether this process had not done so before."""
    path = folder.resolve() / LOCK
    if _held.get(path, (None,))[0] == os.getpid():
        return False
    try:
        lock = _locked(path, 0)
    except Timeout as error:
        if not wait:
            raise UserError(
                f"{flag} {folder}: another program is at work there, expected none; wait for its "
                f"end, or name another folder. If there is none on any machine, delete {path}."
            ) from error
        say(f"{folder}: another program is at work there; going on when it has ended")
        lock = _locked(path, -1)
    _held[path] = (os.getpid(), lock)
    return True


def _locked(path: Path, timeout: float) -> BaseFileLock:
    """The lock of the system, or where it has none a file.

    Raises:
        Timeout: Another program has it; seconds, −1 = for ever.
    """
    try:
        lock: BaseFileLock = FileLock(path, timeout=timeout, thread_local=False)
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        lock = SoftFileLock(path, timeout=timeout, thread_local=False)
        lock.acquire()
    return lock


@atexit.register
def _release_folders() -> None:
    for path in list(_held):
        _release(path)


def _release(path: Path) -> None:
    process, lock = _held.pop(path)
    if process != os.getpid():
        return
    if not isinstance(lock, SoftFileLock):
        with suppress(OSError):  # while it is held, so that nobody else's is removed
            path.unlink(missing_ok=True)
    lock.release()
