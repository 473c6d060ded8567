"""Which rasters make up a series, in which order, and what is refused before any pixel is read."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine

from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import DAYS, change_header, noise, open_them, refusal, write_series
from utils.errors import DataError, UserError

PLACE = Affine(3, 0, 500000, 0, -3, 5000000)  # where write_raster puts its rasters


def dates_of(series: Any) -> list[str]:
    return [date.isoformat() for date in series.dates]


# ─────────────────────────────────────────── files ───────────────────────────────────────────


def test_a_folder_a_pattern_a_path_and_a_list_name_the_same_series(tmp_path: Path) -> None:
    folder = tmp_path / "Städte [neu] und 都市"
    paths = write_series(folder)
    escaped = str(folder).replace("[", "[[]") + "/*"
    given: list[Any] = [folder, str(folder), [folder], escaped, paths, paths[::-1]]

    opened = [open_them(one) for one in given]

    assert all(series.files == paths for series in opened)
    assert opened[0].name == folder.name


def test_what_lies_beside_rasters_is_passed_over(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    for name in (".city_2022-01-01.tif", "._city_2020-01-15.tif", "notes.txt"):
        (tmp_path / name).write_text("no raster")
    for end in (".aux.xml", ".ovr", ".msk"):
        (tmp_path / f"{paths[0].name}{end}").write_text("<PAMDataset/>")

    assert open_them(tmp_path).files == paths
    (tmp_path / "notes.txt").unlink()
    assert open_them(str(tmp_path / "*")).files == paths


def test_no_file_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    for given in (tmp_path / "empty", tmp_path / "missing", str(tmp_path / "*.tif"), ""):
        message = refusal(UserError, given)

        assert "--images: found no raster at" in message
        assert repr(str(given)) in message
    assert "--images: found no raster at all" in refusal(UserError, [])
    assert "matches 1 folders; name the one above" in refusal(UserError, str(tmp_path / "*/"))


def test_files_that_cannot_be_read_are_all_named(tmp_path: Path) -> None:
    paths = write_series(tmp_path, compression=None)
    paths[0].write_bytes(b"")
    paths[1].write_text("<html>login</html>")

    message = refusal(DataError, tmp_path)

    assert "2 faults" in message
    assert f"{paths[0].name}: the raster cannot be read" in message
    assert f"{paths[1].name}: the raster cannot be read" in message


def test_a_truncated_file_is_refused_before_the_work_begins(tmp_path: Path) -> None:
    paths = write_series(tmp_path, compression=None)
    whole = paths[1].read_bytes()
    paths[1].write_bytes(whole[: len(whole) // 2])

    assert paths[1].name in refusal(DataError, tmp_path)


# ─────────────────────────────────────────── dates ───────────────────────────────────────────


def test_images_come_in_the_order_of_their_dates_whatever_their_names(tmp_path: Path) -> None:
    paths = [tmp_path / f"{letter}_{day}.tif" for letter, day in zip("cab", DAYS, strict=False)]
    for path, image in zip(paths, noise(), strict=True):
        write_raster(path, image)

    series = open_them([paths[1], paths[2], paths[0]])

    assert series.files == paths
    assert dates_of(series) == list(DAYS[:3])


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("TIFFTAG_DATETIME", "2020:04:02 10:11:12"),
        ("ACQUISITION_DATE", "2020-04-02"),
        ("acquisitionDate", "2020-04-02T10:11:12.5Z"),
        ("DATE_ACQUIRED", "20200402"),
    ],
)
def test_a_date_is_taken_from_the_tags_where_the_name_has_none(
    tmp_path: Path, tag: str, text: str
) -> None:
    paths = write_series(tmp_path)
    moved = paths[1].rename(tmp_path / "a second one.tif")
    change_header(moved, tags={tag: text})

    series = open_them(tmp_path)

    assert series.files == [paths[0], moved, paths[2]]
    assert dates_of(series)[1] == "2020-04-02"
    assert any(moved.name in remark and tag.upper() in remark for remark in series.remarks)


def test_a_tag_of_acquisition_wins_over_the_time_of_writing(tmp_path: Path) -> None:
    path = write_series(tmp_path)[1].rename(tmp_path / "second.tif")
    change_header(
        path, tags={"TIFFTAG_DATETIME": "2023:01:01 00:00:00", "ACQUISITION_DATE": "2020-04-02"}
    )

    assert dates_of(open_them(tmp_path))[1] == "2020-04-02"


def test_files_of_the_same_name_in_several_folders_keep_their_own_dates(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "image.tif" for folder in ("c", "a", "b")]
    for path, image, day in zip(paths, noise(), DAYS, strict=False):
        write_raster(path, image)
        change_header(path, tags={"ACQUISITION_DATE": day})

    series = open_them(str(tmp_path / "*" / "image.tif"))

    assert series.files == paths


def test_without_any_date_the_remedy_is_named(tmp_path: Path) -> None:
    write_series(tmp_path)[0].rename(tmp_path / "first.tif")

    message = refusal(DataError, tmp_path)

    assert "first.tif: found no date in the name nor in a tag" in message
    assert "--dates" in message


def test_given_dates_order_files_without_dates_in_their_names(tmp_path: Path) -> None:
    for name, image in zip("abc", noise(), strict=True):
        write_raster(tmp_path / f"{name}.tif", image)

    series = open_them(tmp_path, dates="2021-05-01, 2019-05-01,2020-05")

    assert [file.name for file in series.files] == ["b.tif", "c.tif", "a.tif"]
    assert series.dates[0] == datetime.date(2019, 5, 1)


def test_a_repeated_date_is_refused_and_both_files_named(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_raster(tmp_path / "again_2020-03-01.tif", noise()[0])
    write_raster(tmp_path / "deeper" / "city_2020-06-30.tif", noise()[0])

    message = refusal(DataError, [tmp_path, tmp_path / "deeper"])

    assert (
        "city_2020-03-01.tif: found the date 2020-03-01 twice, also in again_2020-03-01" in message
    )
    here, deeper = (
        str(folder / "city_2020-06-30.tif") for folder in (tmp_path, tmp_path / "deeper")
    )
    assert f"{deeper}: found the date 2020-06-30 twice, also in {here}" in message


def test_a_date_given_twice_or_in_name_and_tags_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    change_header(paths[1].rename(tmp_path / "x.tif"), tags={"DATE": DAYS[0]})

    assert f"x.tif: found the date {DAYS[0]} twice" in refusal(DataError, tmp_path)


def test_given_dates_that_contradict_names_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path)

    message = refusal(UserError, tmp_path, dates="2020-01-15,2020-03-02,2020-06-30")

    assert "city_2020-03-01.tif: found 2020-03-02 given, 2020-03-01 in the name" in message
    assert "leave --dates out if the names are right" in message


@pytest.mark.parametrize("text", ["2020-01-15,2020-03-01", "2020-01-15,soon,2020-06-30", ""])
def test_given_dates_must_be_dates_and_as_many_as_images(tmp_path: Path, text: str) -> None:
    write_series(tmp_path)

    message = refusal(UserError, tmp_path, dates=text)

    assert repr(text) in message
    assert "for 3 images" in message


def test_fewer_dates_than_the_network_takes_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path)

    message = refusal(DataError, tmp_path, count=6)

    assert "found 3 dates (2020-01-15, 2020-03-01, 2020-06-30), expected 6" in message


@pytest.mark.parametrize("dated", [True, False])
def test_two_images_for_a_network_of_more_dates_are_told_of_the_network_for_pairs(
    tmp_path: Path, dated: bool
) -> None:
    files = write_series(tmp_path, noise(dates=2))
    if not dated:
        named = zip(files, ("a.tif", "b.tif"), strict=True)
        files = [file.rename(tmp_path / name) for file, name in named]

    message = refusal(DataError, files, count=6)

    assert "CTMA" in message
    assert "docs/ctma.md" in message


def test_more_dates_are_all_used_and_chosen_aloud_with_a_rule(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise(4))

    for rule in (None, "all"):
        series = open_them(tmp_path, choose_dates=rule)
        assert series.files == paths
        assert any("all 4 dates used" in remark for remark in series.remarks)
    series = open_them(tmp_path, choose_dates="even")

    assert series.files == [paths[0], paths[2], paths[3]]
    assert any("3 of 4 dates chosen by the rule 'even'" in remark for remark in series.remarks)


def test_more_than_two_images_for_a_network_for_pairs_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, noise(4))

    assert "--choose-dates even" in refusal(UserError, tmp_path, count=2)


@pytest.mark.parametrize("rule", ["evenly", "every:0", "2020-01-15,2020-03-01", "last"])
def test_a_rule_that_is_none_is_refused_by_its_flag(tmp_path: Path, rule: str) -> None:
    write_series(tmp_path, noise(4))

    assert refusal(UserError, tmp_path, choose_dates=rule).startswith("--choose-dates")


def test_dates_that_are_listed_but_not_there_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, noise(4))

    message = refusal(DataError, tmp_path, choose_dates="2020-01-15,2020-03-01,2022-01-01")

    assert "--choose-dates" in message
    assert "2022-01-01" in message


def test_images_that_are_not_chosen_may_be_broken(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise(4))
    paths[1].write_bytes(b"")

    assert len(open_them(tmp_path, choose_dates="even").dates) == 3


def test_least_number_of_valid_dates_lies_between_one_and_all(tmp_path: Path) -> None:
    write_series(tmp_path)

    for number in (0, 4):
        assert f"found {number}, expected 1 … 3" in refusal(
            UserError, tmp_path, min_valid_dates=number
        )


# ─────────────────────────────────────────── headers ───────────────────────────────────────────

OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "crs": ({"crs": "EPSG:32634"}, "found CRS EPSG:32634, expected EPSG:32633"),
    "no georeference": ({"crs": None}, "found CRS None, expected EPSG:32633"),
    "half a pixel": ({"origin": (500001.5, 5000000.0)}, "up to 0.5 pixels apart"),
    "hundredths": ({"origin": (500000.0, 4999999.91)}, "up to 0.03 pixels apart"),
    "size": ({"size": (20, 31)}, "found 20×31 pixels, expected 20×30"),
    "bands": ({"bands": 5}, "found bands 5, expected 4"),
    "type": ({"dtype": "uint8"}, "found type uint8, expected uint16"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_header_is_refused_with_both_names_and_the_difference(
    tmp_path: Path, what: str
) -> None:
    options, difference = OTHERS[what]
    write_series(tmp_path)
    image = {key: options[key] for key in ("size", "bands", "dtype") if key in options}
    raster = {key: options[key] for key in options if key not in image}
    write_raster(tmp_path / f"city_{DAYS[1]}.tif", noise(1, **image)[0], **raster)

    message = refusal(DataError, tmp_path)

    assert "1 fault found" in message
    assert f"city_{DAYS[1]}.tif: found" in message
    assert difference in message
    assert f"as city_{DAYS[0]}.tif" in message


def test_pixels_of_slightly_other_size_are_another_grid(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise(3, size=(20, 300)))
    change_header(paths[1], transform=Affine(3.002, 0, 500000, 0, -3, 5000000))

    assert "up to 0.2 pixels apart" in refusal(DataError, tmp_path)


def test_rounding_of_a_place_makes_no_other_grid(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    change_header(paths[1], transform=Affine(3.0000001, 0, 500000.001, 0, -3, 5000000))

    assert open_them(tmp_path).files == paths


def test_all_faults_of_headers_are_told_at_once(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    write_raster(paths[1], noise(1, 5, dtype="uint8")[0], crs="EPSG:3857")
    write_raster(paths[2], noise(1, size=(21, 30))[0], origin=(0.0, 0.0))

    message = refusal(DataError, tmp_path)

    assert "5 faults found" in message
    assert "--align" in message


def test_a_file_of_several_pages_is_refused(tmp_path: Path) -> None:
    paths = write_series(tmp_path)
    tifffile.imwrite(paths[1], np.ones((3, 20, 30), np.uint8), photometric="minisblack")
    pages = "found 3 pages, expected one raster with bands"

    assert f"{paths[1].name}: {pages}" in refusal(DataError, tmp_path)


def test_types_that_networks_do_not_take_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, noise().astype("int32"))

    assert "found type int32, expected one of uint8" in refusal(DataError, tmp_path)


def test_images_without_georeference_make_a_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path, crs=None)

    series = open_them(tmp_path)

    assert series.files == paths
    assert not series.grid.georeferenced


@pytest.mark.parametrize("angle", [30, 90])
def test_a_turned_grid_makes_a_series(tmp_path: Path, angle: int) -> None:
    paths = write_series(tmp_path)
    for path in paths:
        change_header(path, transform=PLACE @ Affine.rotation(angle))

    assert open_them(tmp_path).files == paths
    change_header(paths[1], transform=PLACE @ Affine.rotation(angle + 1))
    assert "pixels apart" in refusal(DataError, tmp_path)


def test_ground_control_points_are_no_grid(tmp_path: Path) -> None:
    paths = write_series(tmp_path, crs=None)
    points = [GroundControlPoint(r, c, 10 + c / 9, 50 - r / 9) for r in (0, 19) for c in (0, 29)]
    for path in paths:
        with pytest.warns(NotGeoreferencedWarning), rasterio.open(path, "r+") as raster:
            raster.gcps = (points, "EPSG:4326")

    assert "found ground control points in place of a grid, expected a rectified image" in refusal(
        DataError, tmp_path
    )
