"""Raw files that are empty, cut short or have flipped bytes end in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio

from data_processing.rasters.reading import decode_raster
from data_processing.raw.archives import RawFile
from data_processing.raw.dynamic import read_classes, read_image
from data_processing.raw.spacenet7 import read_month
from tests.helpers.raw_trees import AOI, months, write_dynamic_area, write_spacenet7_month
from utils.errors import DataError

Read = Callable[[Path], object]


def raw_file(path: Path) -> RawFile:
    return RawFile(path.name, path, None, path.stat().st_size, 0)


def damaged(content: bytes, number: int) -> Iterator[bytes]:
    """Nothing, text, parts of the file and files with flipped bytes, most of them in the header."""
    yield b""
    yield b"<html>404</html>"
    rng = np.random.default_rng(0)
    for turn in range(number):
        changed = bytearray(content)
        reach = 400 if turn % 2 else len(content)
        for place in rng.integers(0, min(reach, len(content)), int(rng.integers(1, 6))):
            changed[place] = int(rng.integers(256))
        yield bytes(changed[: int(rng.integers(1, len(content)))] if turn % 7 == 0 else changed)


def go_through(path: Path, read: Read) -> int:
    """Read a file in all its damaged states; how many were refused."""
    content, refused = path.read_bytes(), 0
    for state in damaged(content, 120):
        path.write_bytes(state)
        try:
            read(path)
        except DataError:
            refused += 1
    path.write_bytes(content)
    read(path)
    return refused


def test_files_of_dynamicearthnet(tmp_path: Path) -> None:
    write_dynamic_area(tmp_path, [np.full((16, 16), 4)], ["2018-01-01"])
    (label,) = (tmp_path / "labels").rglob("*.tif")
    (image,) = (tmp_path / "planet").rglob("*.tif")
    assert go_through(label, lambda path: read_classes(raw_file(path))) > 20
    assert go_through(image, lambda path: read_image(raw_file(path), True)) > 20


def test_files_of_spacenet7(tmp_path: Path) -> None:
    (month,) = months(1)
    write_spacenet7_month(tmp_path, month, {1: (2, 2, 5, 5)}, size=(16, 16), udm=(0, 0, 2, 2))
    paths = {
        "image": next((tmp_path / AOI / "images_masked").iterdir()),
        "labels": next((tmp_path / AOI / "labels_match").iterdir()),
        "udm": next((tmp_path / AOI / "UDM_masks").iterdir()),
    }

    def read(path: Path) -> object:
        files = {name: raw_file(file) for name, file in paths.items()}
        return read_month(files, "labels_match", False)

    for path in paths.values():
        assert go_through(path, read) > 10


def test_a_small_file_of_many_pixels_is_not_decoded() -> None:
    with rasterio.MemoryFile() as file:
        with file.open(
            driver="GTiff", width=60_000, height=60_000, count=4, dtype="int16", sparse_ok=True,
            tiled=True, blockxsize=4096, blockysize=4096, bigtiff="YES",
        ):  # fmt: skip
            pass
        content = file.read()
    assert len(content) < 1 << 20
    with pytest.raises(DataError, match="60000×60000 pixels"):
        decode_raster(content, "x.tif")
