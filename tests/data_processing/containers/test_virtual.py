"""Images inside zip archives and at addresses: the same series as files, nothing else asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from mapping.products.files import PICTURES
from tests.helpers.cities import DATES, Outcome, summary_of
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import DAYS, noise, open_them, refusal, write_series
from tests.helpers.web_server import serving
from utils.errors import DataError, UserError


def zipped(folder: Path, name: str, inside: str = "", **entries: bytes) -> Path:
    """An archive of all files of a folder, below a folder inside it."""
    archive = folder.parent / name
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        for path in sorted(folder.iterdir()):
            content.write(path, f"{inside}{path.name}")
        for entry, text in entries.items():
            content.writestr(entry, text)
    return archive


def test_a_zip_archive_gives_the_series_of_its_rasters(tmp_path: Path) -> None:
    write_series(tmp_path / "city")
    archive = zipped(tmp_path / "city", "Stadt 1 {a}.zip", "Ü b/", **{"__MACOSX/._a.tif": b"x"})

    series = open_them(archive)

    np.testing.assert_array_equal(series.read_stored(2)[0], noise()[2])
    assert [str(date) for date in series.dates] == list(DAYS[:3])
    assert {path for image in series.files for path in image.files} == {archive}


def test_a_folder_of_archives_gives_one_series(tmp_path: Path) -> None:
    for path in write_series(tmp_path / "source"):
        (tmp_path / "each" / path.stem).mkdir(parents=True)
        path.rename(tmp_path / "each" / path.stem / path.name)
    for folder in sorted((tmp_path / "each").iterdir()):
        zipped(folder, f"{folder.name}.zip").rename(tmp_path / f"{folder.name}.zip")
    series = open_them(tmp_path)
    np.testing.assert_array_equal(series.read_stored(1)[0], noise()[1])


@pytest.mark.parametrize("what", ["empty", "damaged", "no raster", "else", "link"])
def test_archives_that_cannot_be_used_are_refused(tmp_path: Path, what: str) -> None:
    write_series(tmp_path / "city")
    archive = zipped(tmp_path / "city", "city.zip")
    content = archive.read_bytes()
    if what in ("empty", "damaged"):
        archive.write_bytes(b"" if what == "empty" else content[: len(content) // 2])
    elif what == "link":
        with zipfile.ZipFile(archive, "a") as zipped_files:
            entry = zipfile.ZipInfo("2020-09-01.tif")
            entry.external_attr = 0o120777 << 16
            zipped_files.writestr(entry, "/etc/passwd")
    elif what == "else":
        with zipfile.ZipFile(archive, "a") as zipped_files:
            zipped_files.writestr("city_2020-09-01.tif", "<VRTDataset/>")
    else:
        with zipfile.ZipFile(archive, "w") as zipped_files:
            zipped_files.writestr("a.txt", "x")
    message = refusal(DataError, archive)
    assert str(archive) in message
    assert {
        "empty": "the archive cannot be read",
        "damaged": "the archive cannot be read",
        "no raster": "found 1 files and no raster",
        "else": "it is a VRT",
        "link": "found a link, expected a plain file",
    }[what] in message


def test_addresses_give_the_pixels_of_the_files_and_only_they_are_asked_for(
    predict: Callable[..., Outcome],
    city: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = sorted(city.iterdir())
    (city / f"{files[0].name}.msk").write_bytes(b"not asked for")
    monkeypatch.setattr("mapping.area.draw_area", lambda *_: without_pictures(tmp_path))
    with serving(city) as (address, asked):
        addresses = [f"{address}/{path.name}?signature=secret" for path in files]
        series = open_them(addresses, count=6)
        flags = ("--checkpoint", weights, "--output-dir", tmp_path / "out")
        code, said, errors = predict("--images", *addresses, *flags)
        stored = [series.read_stored(date)[0] for date in range(6)]
    (city / f"{files[0].name}.msk").unlink()

    assert code == 0, errors
    for values, path in zip(stored, files, strict=True):
        with rasterio.open(path) as raster:
            np.testing.assert_array_equal(values, raster.read())
    assert {path.partition("?")[0] for path in asked} == {f"/{path.name}" for path in files}
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").glob("*.*"))
    assert b"signature=secret" not in written + (said + errors).encode()
    summary = summary_of(tmp_path / "out")
    assert [row["name"] for row in summary["files"]] == [f"city_{date}.tif" for date in DATES]


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_buckets_are_read_by_their_own_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    write_series(tmp_path / "bucket" / "a b")
    with serving(tmp_path) as (address, asked):
        for key, value in {
            "AWS_S3_ENDPOINT": address.removeprefix("http://"), "AWS_HTTPS": "NO",
            "AWS_VIRTUAL_HOSTING": "FALSE", "AWS_NO_SIGN_REQUEST": "YES",
            "CPL_GS_ENDPOINT": f"{address}/", "GS_NO_SIGN_REQUEST": "YES",
        }.items():  # fmt: skip
            monkeypatch.setenv(key, value)
        series = open_them([f"{scheme}://bucket/a b/city_{day}.tif" for day in DAYS[:3]])
        np.testing.assert_array_equal(series.read_stored(1)[0], noise()[1])
        series.close()
    assert {path.partition("?")[0] for path in asked} == {
        f"/bucket/a%20b/city_{day}.tif" for day in DAYS[:3]
    }
    assert series.name == "a b"


def without_pictures(folder: Path) -> None:
    for name in PICTURES:
        (folder / "out" / ".unfinished" / "results" / name).touch()


def test_an_address_without_a_raster_is_refused_with_what_the_server_says(tmp_path: Path) -> None:
    write_series(tmp_path)
    (tmp_path / "city_2020-03-01.tif").write_text("<html>login")
    (tmp_path / "city_2020-06-30.tif").unlink()
    with serving(tmp_path) as (address, asked):
        message = refusal(DataError, [f"{address}/city_{day}.tif" for day in DAYS[:3]])

    assert "HTTP response code: 404" in message
    assert "may you read it (login, key, signed address)?" in message
    assert {path for path in asked if "2020-06-30" not in path} == {
        f"/city_{day}.tif" for day in DAYS[:2]
    }


def test_a_server_that_does_not_answer_is_data_at_fault() -> None:
    message = refusal(DataError, [f"http://127.0.0.1:1/city_{day}.tif" for day in DAYS[:3]])
    assert "Could not connect to server" in message


def test_label_masks_and_tables_of_areas_stay_files(tmp_path: Path) -> None:
    from data_processing.own_series.finding import find_files

    write_raster(tmp_path / "a.tif", noise()[0])
    with pytest.raises(UserError, match="found an archive or an address, expected files"):
        find_files([str(tmp_path), "https://localhost:1/b.tif"], "--masks")
