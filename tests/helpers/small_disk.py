"""A disk of a few hundred kB that can really be full, where the tests may mount one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["fill", "small_disk"]


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a small disk in memory at a place; the test is skipped where that is not allowed."""
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("no mount")
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        yield place
    finally:
        subprocess.run([umount, "--lazy", str(place)], check=True)


def fill(disk: Path, leave_kilobytes: int = 0) -> Path:
    """Fill a disk up but for some room; the file to delete for more of it."""
    ballast = disk / "ballast"
    room = shutil.disk_usage(disk).free - 1024 * leave_kilobytes
    ballast.write_bytes(bytes(max(0, room)))
    return ballast
