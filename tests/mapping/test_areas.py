"""Several areas in one run: which folders are areas, and what becomes of those at fault."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data_processing.own_series.options import SeriesOptions
from data_processing.own_series.series import RasterSeries
from mapping import areas as many_areas
from mapping.area import MapOptions
from mapping.areas import area_folders, map_areas
from tests.helpers.scene_files import write_raster
from tests.helpers.small_series import BGRN, DAYS, noise, write_series
from utils.errors import CaimError, DataError, UserError
from utils.files import read_csv_rows
from utils.processes import Processes

MODEL: Any = SimpleNamespace(bands=BGRN, num_dates=3)  # of a model, all that opening a series takes


class Mapped:
    """Stands for ``map_area``: notes what it gets, and fails for names that it was told."""

    def __init__(self) -> None:
        self.series: list[RasterSeries] = []
        self.folders: list[Path] = []
        self.failing: dict[str, Exception] = {}

    def __call__(
        self,
        series: RasterSeries,
        model: Any,
        options: Any,
        folder: Path,
        processes: Processes,
        store_elsewhere: None = None,
    ) -> dict[str, Any]:
        self.series.append(series)
        self.folders.append(folder)
        if series.name in self.failing:
            raise self.failing[series.name]
        if not processes.is_first:
            return {}
        interval = {"moment": 1, "pixels": 5, "hectares": 0.0045}
        return {
            "area": series.name, "dates": [str(date) for date in series.dates],
            "pixels": {"mapped": 600, "changed": 5},
            "hectares": {"mapped": 0.54, "changed": 0.0045}, "intervals": [interval],
        }  # fmt: skip


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> Mapped:
    stub = Mapped()
    monkeypatch.setattr(many_areas, "map_area", stub)
    return stub


Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``map_areas`` of the folder ``world`` into ``out``."""
    (tmp_path / "out").mkdir()

    def call(
        images: Path | None = None,
        processes: Processes | None = None,
        name: str | None = None,
        **how: Any,
    ) -> Any:
        return map_areas(
            [str(images or tmp_path / "world")], MODEL, SeriesOptions(**how), MapOptions(),
            tmp_path / "out", processes or Processes(), name,
        )  # fmt: skip

    return call


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Three areas."""
    for name in ("south", "north", "øst"):
        write_series(tmp_path / "world" / name)
    return tmp_path / "world"


def rows(tmp_path: Path) -> list[list[str]]:
    return [[row["area"], row["state"]] for row in read_csv_rows(tmp_path / "out" / "areas.csv")]


# ─────────────────────────────────────── which are areas ───────────────────────────────────────


def test_folders_with_rasters_are_areas_by_name(world: Path) -> None:
    (world / "empty").mkdir()
    (world / "notes").mkdir()
    (world / "notes" / "notes.txt").write_text("no raster")
    (world / "readme.txt").write_text("no folder")
    write_raster(world / ".hidden" / "a.tif", noise()[0])

    assert [path.name for path in area_folders([str(world)])] == ["north", "south", "øst"]


def test_a_folder_with_rasters_is_one_area_whatever_else_is_in_it(world: Path) -> None:
    write_raster(world / "city_2020-01-01.TIF", noise()[0])

    assert area_folders([str(world)]) == []


def test_what_systems_leave_beside_areas_makes_them_no_area(world: Path) -> None:
    (world / "._city_2020-01-15.tif").write_bytes(b"\0\5\26\7")
    (world / "empty").mkdir()
    (world / "empty" / "._a.tif").write_bytes(b"\0\5\26\7")

    assert [path.name for path in area_folders([str(world)])] == ["north", "south", "øst"]


def test_files_patterns_and_several_folders_are_no_areas(world: Path) -> None:
    file = str(world / "north" / f"city_{DAYS[0]}.tif")

    for given in ([file], [str(world / "*")], [str(world), str(world)], [str(world / "none")]):
        assert area_folders(given) == []


# ──────────────────────────────────────── what is mapped ────────────────────────────────────────


def test_one_area_takes_a_name_and_several_do_not(world: Path, mapped: Mapped, run: Run) -> None:
    run(world / "north", name="Nordhausen <b>")
    assert [series.name for series in mapped.series] == ["Nordhausen <b>"]
    with pytest.raises(UserError, match="--name: found 3 areas"):
        run(name="Nordhausen")


def test_one_area_is_mapped_into_the_folder_itself(
    world: Path, mapped: Mapped, run: Run, tmp_path: Path
) -> None:
    summaries = run(world / "north")

    assert [summary["area"] for summary in summaries] == ["north"]
    assert mapped.folders == [tmp_path / "out"]
    assert not (tmp_path / "out" / "areas.csv").exists()


@pytest.mark.usefixtures("world")
def test_each_area_is_mapped_into_its_own_folder_and_listed(
    mapped: Mapped, run: Run, tmp_path: Path
) -> None:
    summaries = run()

    names = ["north", "south", "øst"]
    assert [summary["area"] for summary in summaries] == names
    assert mapped.folders == [tmp_path / "out" / name for name in names]
    row = read_csv_rows(tmp_path / "out" / "areas.csv")[2]
    assert row["area"] == "øst"
    assert (row["first_date"], row["last_date"]) == (DAYS[0], DAYS[2])
    assert (row["changed_pixels"], row["hectares_moment_1"]) == ("5", "0.0045")


def test_folders_without_rasters_are_told(
    world: Path, mapped: Mapped, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    (world / "west").mkdir()

    run()

    assert "no GeoTIFFs in west: passed over" in "".join(capsys.readouterr())
    assert len(mapped.folders) == 3


def test_areas_at_fault_are_told_at_the_end_and_the_others_mapped(
    world: Path, mapped: Mapped, run: Run, tmp_path: Path
) -> None:
    write_raster(world / "north" / f"city_{DAYS[1]}.tif", noise(1, 5)[0])
    mapped.failing["south"] = DataError("some.tif", ["the raster cannot be read"])

    with pytest.raises(DataError) as caught:
        run()

    assert [series.name for series in mapped.series] == ["south", "øst"]
    assert rows(tmp_path) == [["north", "at fault"], ["south", "at fault"], ["øst", "mapped"]]
    message = str(caught.value)
    assert "2 of 3 areas: 2 faults found" in message
    assert "found bands 5, expected 4" in message
    assert "south: some.tif: the raster cannot be read" in message
    assert "areas.csv lists all" in message
    listed = read_csv_rows(tmp_path / "out" / "areas.csv")
    assert "found bands 5" in listed[0]["message"]
    assert "some.tif" in listed[1]["message"]


def test_an_area_with_fewer_dates_keeps_no_other_from_being_mapped(
    world: Path, mapped: Mapped, run: Run
) -> None:
    (world / "north" / f"city_{DAYS[2]}.tif").unlink()

    with pytest.raises(DataError, match=r"north: .*found 2 dates .* expected 3"):
        run()

    assert [series.name for series in mapped.series] == ["south", "øst"]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    "how", [{"bands": "1,2"}, {"min_valid_dates": 9}, {"dates": ",".join(DAYS[:3])}]
)
def test_a_flag_that_fits_no_area_is_the_users_mistake(
    mapped: Mapped, run: Run, how: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(how)).replace('_', '-')}"):
        run(**how)

    assert mapped.series == []


@pytest.mark.usefixtures("world")
def test_what_fails_inside_ends_the_run(mapped: Mapped, run: Run) -> None:
    mapped.failing["north"] = RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        run()


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("kind", [DataError, UserError])
def test_a_fault_that_one_of_several_processes_finds_ends_all(
    mapped: Mapped, run: Run, kind: type[CaimError]
) -> None:
    mapped.failing["north"] = kind("a file, whole story")

    with pytest.raises(CaimError, match="north: a file") as caught:
        run(processes=Processes(1, 2, 1))

    assert type(caught.value) is CaimError
    assert len(mapped.series) == 1


@pytest.mark.usefixtures("world", "mapped")
def test_only_the_first_process_writes_the_table(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "wait_for_all", lambda self: None)
    assert run(processes=Processes(1, 2, 1)) == [{}, {}, {}]
    assert not (tmp_path / "out" / "areas.csv").exists()


@pytest.mark.usefixtures("world")
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux")
def test_files_of_an_area_are_closed_before_the_next_one(mapped: Mapped, run: Run) -> None:
    run()

    links = [Path("/proc/self/fd", number) for number in os.listdir("/proc/self/fd")]
    held = [str(link.resolve()) for link in links if link.is_symlink()]
    assert not [name for name in held if "/world/" in name]


# ─────────────────────────────────────────── clouds ───────────────────────────────────────────


def write_clouds(folder: Path) -> None:
    write_raster(folder / f"mask_{DAYS[1]}.tif", np.eye(20, 30, dtype=np.uint8))


@pytest.mark.usefixtures("world")
def test_each_area_has_its_folder_of_clouds_and_one_without_is_told(
    mapped: Mapped, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clouds(tmp_path / "clouds" / "north")
    write_clouds(tmp_path / "clouds" / "øst")

    run(clouds=(str(tmp_path / "clouds"),))

    assert [len(series.cloud_files) for series in mapped.series] == [1, 0, 1]
    assert "south: no folder of cloud masks, taken as clear" in "".join(capsys.readouterr())


@pytest.mark.usefixtures("world")
def test_computed_masks_of_each_area_go_among_its_results(tmp_path: Path) -> None:
    reading = many_areas._of_area(SeriesOptions(clouds=("auto",)), "north", tmp_path / "north")
    assert (reading.clouds, reading.computed_clouds) == (("auto",), tmp_path / "north/clouds")
    many_areas._check_clouds(reading, [tmp_path / "north"])
    many_areas.check_output([str(tmp_path / "world")], ("auto",), tmp_path / "results")


@pytest.mark.usefixtures("world")
def test_clouds_that_cannot_be_told_apart_by_area_are_refused(
    mapped: Mapped, run: Run, tmp_path: Path
) -> None:
    write_clouds(tmp_path / "clouds")
    (tmp_path / "clouds" / "nord").mkdir()
    folder = str(tmp_path / "clouds")

    for clouds in ((folder,), (f"{folder}/*.tif",), (folder, folder)):
        with pytest.raises(UserError, match=r"--clouds: found .* named as the area"):
            run(clouds=clouds)

    assert mapped.series == []
