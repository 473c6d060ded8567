"""Files and flags that nobody means, seeded: each ends in a map or in a sentence, and nothing else.

What must hold is in tests/helpers/watching.py; what is tried in tests/helpers/hostile.py.
"""

from __future__ import annotations

import functools
import json
import shutil
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import Predict
from data_processing import layout_check, prepare_spacenet7
from data_processing.labels.footprints import rasterise_footprints
from data_processing.rasters.reading import close_rasters, raster_info
from mapping.model import load_model
from mapping.products.files import PICTURES
from models.weights import convert
from tests.helpers.cities import DATES, write_city
from tests.helpers.hostile import (
    TEXTS,
    VALUES,
    absurd,
    damaged,
    odd_json,
    other_formats,
    sidecars,
    tensors,
    tiff_tags,
)
from tests.helpers.raw_trees import AOI, months, write_spacenet7_month
from tests.helpers.scene_files import write_data_root, write_raster
from tests.helpers.watching import Guard, guarding
from utils.fields import fields_of

pytestmark = pytest.mark.slow

SIZE = (16, 16)
TOO_LITTLE = ("--memory", "0.1")  # what is taken is refused before it is mapped
SAYING_WHERE = (b"SRS", b"Transform", b"GCP", b"nan", b"1\n", b"999", b"http", b"table")


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mapping.area.draw_area", without_drawing)
    monkeypatch.setattr("utils.run_folder.environment", lambda *_: {})  # asks git and pip
    with guarding(tmp_path / "out", tmp_path, monkeypatch) as guard:
        yield guard


def without_drawing(folder: Path, *_: object) -> None:
    """In place of the pictures, which take most of the time of a small map."""
    for name in PICTURES:
        (folder / name).touch()


@pytest.fixture
def one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are read once: what is tried is something else."""
    monkeypatch.setattr("mapping.model.load_model", functools.cache(load_model))


def mapped(guard: Guard, city: Path, weights: Path, *flags: object) -> str:
    shutil.rmtree(guard.output, ignore_errors=True)
    said = guard.run(
        Predict.main,
        "--images",
        city,
        "--checkpoint",
        weights,
        "--output-dir",
        guard.output,
        *flags,
    )
    close_rasters()
    return said


# ------------------------------------------------------------------------------------- rasters


@pytest.mark.parametrize("seed", range(2))
def test_damaged_rasters(
    seed: int, guard: Guard, weights: Path, tmp_path: Path, one_model: None
) -> None:
    city = write_city(tmp_path / "city", SIZE, compression=[None, "deflate"][seed])
    file = city / f"city_{DATES[2]}.tif"
    sound = file.read_bytes()
    rng = np.random.default_rng(seed)
    for number in range(24):
        file.write_bytes((tiff_tags if number % 2 else damaged)(rng, sound))
        mapped(guard, city, weights)
    assert guard.codes.keys() == {0, 3}


def test_files_that_are_no_rasters(
    guard: Guard, weights: Path, tmp_path: Path, one_model: None
) -> None:
    city = write_city(tmp_path / "city", SIZE)
    write_raster(tmp_path / "secret.tif", np.full((4, *SIZE), 1234, np.uint16))
    file = city / f"city_{DATES[2]}.tif"
    for content in other_formats(guard.address, str(tmp_path / "secret.tif")).values():
        file.write_bytes(content)
        mapped(guard, city, weights)
    assert guard.codes.keys() == {3}


@pytest.mark.parametrize("crs", ["EPSG:32633", None])
def test_files_beside_a_raster(
    crs: str | None, guard: Guard, weights: Path, tmp_path: Path, one_model: None
) -> None:
    city = write_city(tmp_path / "city", SIZE, crs=crs)
    write_raster(tmp_path / "secret.tif", np.full((4, *SIZE), 1234, np.uint16))
    name = f"city_{DATES[2]}.tif"
    for beside, content in sidecars(name, guard.address, str(tmp_path / "secret.tif")).items():
        if crs is None and not any(mark in content for mark in SAYING_WHERE):
            continue
        file = city / beside.partition(" ")[0]
        file.write_bytes(content)
        mapped(guard, city, weights, *(() if crs else TOO_LITTLE))
        file.unlink()


# ---------------------------------------------------------------------------------- containers


@pytest.mark.parametrize("kind", ["zip", "nc", "cdf", "zarr"])
def test_damaged_archives_and_cubes(
    kind: str, guard: Guard, weights: Path, tmp_path: Path, one_model: None
) -> None:
    city = write_city(tmp_path / "city", SIZE)
    path = tmp_path / f"container.{kind}"
    damageable = [path]
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in city.iterdir():
                archive.write(file, file.name)
    else:
        cube = cube_of_city(city)
        if kind == "zarr":
            cube.to_zarr(path, zarr_format=2)
            damageable = sorted(file for file in path.rglob("*") if file.is_file())
        else:
            cube.to_netcdf(path, engine="scipy" if kind == "cdf" else "h5netcdf")
    sound = {file: file.read_bytes() for file in damageable}
    rng = np.random.default_rng(0)
    for _ in range(10):
        file = damageable[int(rng.integers(len(damageable)))]
        file.write_bytes(damaged(rng, sound[file]))
        mapped(guard, path, weights, *TOO_LITTLE)
        file.write_bytes(sound[file])
    assert guard.codes.keys() <= {2, 3}


def cube_of_city(city: Path) -> Any:
    xarray = pytest.importorskip("xarray")
    rioxarray = pytest.importorskip("rioxarray")
    files = sorted(city.iterdir())
    cube = xarray.concat([rioxarray.open_rasterio(path) for path in files], "time")
    cube = cube.assign_coords(time=np.array(DATES, "datetime64[ns]"), band=[*"bgrn"])
    return cube.to_dataset("band")


def test_stac_items_that_nobody_means(
    guard: Guard, weights: Path, tmp_path: Path, one_model: None
) -> None:
    pytest.importorskip("pystac")
    city = write_city(tmp_path / "city", SIZE)
    features = [
        {"type": "Feature", "stac_version": "1.0.0", "id": date, "geometry": None, "links": [],
         "properties": {"datetime": f"{date}T10:00:00Z", "eo:cloud_cover": 5},
         "assets": {"all": {"href": f"./city/city_{date}.tif",
                            "raster:bands": [{"scale": 0.0001, "offset": 0, "nodata": 0}]}}}
        for date in DATES
    ]  # fmt: skip
    items = {"type": "FeatureCollection", "features": features}
    path, rng = city.parent / "items.json", np.random.default_rng(1)
    for _ in range(40):
        content = odd_json(rng, items)
        if b"localhost" not in content:  # an address in it is one that the user named
            path.write_bytes(content)
            mapped(guard, path, weights, "--assets", "all", *TOO_LITTLE)


# ------------------------------------------------------------------------------------- weights


def test_weights(guard: Guard, weights: Path, tmp_path: Path) -> None:
    city = write_city(tmp_path / "city", SIZE)
    sound = torch.load(weights, weights_only=True)
    rng = np.random.default_rng(0)
    file = tmp_path / "odd.pth"
    for number in range(24):
        if number % 3 == 0:
            file.write_bytes(damaged(rng, weights.read_bytes()))
        elif number % 3 == 1:
            plain = {key: value for key, value in sound.items() if key != "state_dict"}
            torch.save({**absurd(rng, plain), "state_dict": sound["state_dict"]}, file)
        else:
            names = list(sound["state_dict"])
            name = names[int(rng.integers(len(names)))]
            odd = tensors(rng, sound["state_dict"][name])()
            state = {**sound["state_dict"], name: odd}
            torch.save({**sound, "state_dict": state} if number % 2 else state, file)
        mapped(guard, city, file, *(() if number % 9 == 2 else TOO_LITTLE))
    for content in TEXTS[::3]:
        file.write_bytes(content)
        mapped(guard, city, file)


def test_sheets_beside_weights(guard: Guard, weights: Path, tmp_path: Path) -> None:
    guard.output.mkdir()
    shutil.copy(weights, tmp_path / "w.pth")
    rng = np.random.default_rng(0)
    sheet = {"protocol": {"name": "full", "data_root": "a"}, "area": {"f1": 0.5, "n": [1, 2]}}
    for name in ("environment.json", "metrics.json"):
        for _ in range(12):
            (tmp_path / "environment.json").write_text("{}")
            (tmp_path / "metrics.json").write_text(json.dumps(sheet))
            (tmp_path / name).write_bytes(odd_json(rng, sheet))
            guard.run(
                convert.main, "--checkpoint", "w.pth", "--output", "out/w.pth", "--overwrite",
                "--scores", "metrics.json",
            )  # fmt: skip


# ----------------------------------------------------------------------------- lists and index


def test_lists_of_scenes_and_indexes_of_patches(guard: Guard, tmp_path: Path) -> None:
    root = write_data_root(tmp_path / "data", "dynamic", 1, size=64)
    rng = np.random.default_rng(0)
    lists, index = root / "Dynamic_Fsplit/Ftest.npy", root / "Dynamic_xys_64_64/myxys_test.csv"
    before = {path: path.read_bytes() for path in (lists, index)}
    for number in range(32):
        path = (lists, index)[number % 2]
        content = damaged(rng, before[path])
        if path == index and number % 4 == 1:
            cells = [str(VALUES[int(rng.integers(len(VALUES)))])[:200] for _ in range(3)]
            content = ("X,Y,image_ID\n" + ",".join(cells) + "\n").encode(errors="replace")
        elif path == lists and number % 4 == 0:
            value = VALUES[int(rng.integers(len(VALUES)))]
            np.save(path, np.array([value], dtype=object), allow_pickle=True)
            content = path.read_bytes()
        path.write_bytes(content)
        guard.run(layout_check.main, "--data-root", root, "--dataset", "dynamic")
        path.write_bytes(before[path])


# --------------------------------------------------------------------------------- YAML and JSON


def test_settings_in_files(guard: Guard, weights: Path, tmp_path: Path) -> None:
    write_city(tmp_path / "city", SIZE)
    rng = np.random.default_rng(0)
    sound = {
        "images": ["city"], "checkpoint": str(weights), "output_dir": "out", "bands": "1,2,3,4",
        "batch_size": 2, "polygons": True, "min_area": 1.5, "clouds": None, "precision": "float32",
    }  # fmt: skip
    for number in range(70):
        file = tmp_path / ("odd.json" if number % 2 else "odd.yaml")
        content = odd_json(rng, sound)
        if number % 4 == 0:
            content = yaml.safe_dump(absurd(rng, sound)).encode()
        file.write_bytes(content)
        guard.run(Predict.main, "--config", file, "--output-dir", "out", "--overwrite", *TOO_LITTLE,
                  allowed=(2, 3))  # fmt: skip
        file.unlink()


def test_records_of_an_unfinished_area(guard: Guard, weights: Path, tmp_path: Path) -> None:
    city = write_city(tmp_path / "city", SIZE)
    mapped(guard, city, weights, "--polygons")
    summary = json.loads((guard.output / "summary.json").read_text())
    settings = json.loads((guard.output / "settings.json").read_text())
    rng = np.random.default_rng(0)
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", guard.output, "--polygons")
    for number in range(20):
        for path in guard.output.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        hidden = guard.output / ".unfinished"
        hidden.mkdir()
        (guard.output / "settings.json").write_text(json.dumps(settings))
        job = odd_json(rng, summary["job"])
        if number % 5 == 0:
            (guard.output / "settings.json").write_bytes(odd_json(rng, settings))
        elif number % 5 == 1:
            (guard.output / "summary.json").write_bytes(odd_json(rng, summary))
        elif number % 5 == 2:
            job = json.dumps(summary["job"]).encode()
            np.save(hidden / "rows.npy", np.zeros(3))
            (hidden / "rows.done").write_bytes(rng.bytes(int(rng.integers(20))))
        (hidden / "job.json").write_bytes(job)
        guard.run(Predict.main, *flags, "--resume", allowed=(0, 1, 2, 3))


@pytest.mark.parametrize("name", ["dataset.json", "audit.json", "prepared.json"])
def test_records_of_a_data_root(name: str, guard: Guard, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "mine.txt").write_text("mine")
    raw, root = tmp_path / "raw", guard.output
    for month in months(9):
        write_spacenet7_month(raw, month, {1: (4, 4, 4, 4)}, size=(64, 64))
    (tmp_path / "split.json").write_text('{"others": {"counts": {"test": 9}}}')
    flags = ("--source", raw, "--data-root", root, "--num-workers", "0", "--split-file",
             tmp_path / "split.json")  # fmt: skip
    guard.run(prepare_spacenet7.main, *flags, allowed=(0,))
    file = next(root.rglob(name))
    sound = json.loads(file.read_bytes())
    rng = np.random.default_rng(0)
    for number in range(20):
        file.parent.mkdir(parents=True, exist_ok=True)
        content = odd_json(rng, sound)
        if name == "dataset.json" and number % 2:
            scene = absurd(rng, {"name": AOI, "split": "test"})
            content = json.dumps({**sound, "scenes": [{**sound["scenes"][0], **scene}]}).encode()
        file.write_bytes(content)
        guard.run(prepare_spacenet7.main, *flags, *(["--overwrite"] * (number % 3 > 0)))


def test_footprints(guard: Guard, tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", np.zeros((1, 32, 32), np.uint8))
    grid = raster_info(tmp_path / "a.tif")
    ring = [
        [500010.0, 4999990.0],
        [500040.0, 4999990.0],
        [500040.0, 4999950.0],
        [500010.0, 4999990.0],
    ]
    sound = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
        "features": [
            {"type": "Feature", "properties": {"Id": 1},
             "geometry": {"type": "Polygon", "coordinates": [ring]}},
            {"type": "Feature", "properties": {"Id": 2}, "geometry": {
                "type": "GeometryCollection",
                "geometries": [{"type": "MultiPolygon", "coordinates": [[ring]]}]}},
        ],
    }  # fmt: skip
    rng = np.random.default_rng(0)
    for number in range(150):
        content = odd_json(rng, sound)
        if number % 10 == 0:
            named = {"type": "name", "properties": {"name": f"{guard.address}/{number}"}}
            content = json.dumps({**sound, "crs": named}).encode()
        guard.run(lambda content=content: rasterise_footprints(content, "a.geojson", grid))
    assert guard.codes.keys() == {0, 3}


# -------------------------------------------------------------------------------------- flags


PROGRAMS = (
    "Train_Dynamic", "Train_SpaceNet7", "Train_CTMA", "Test_Dynamic", "Test_SpaceNet7", "Test_CTMA",
    "Train_Custom", "Test_Custom",
    *(f"data_processing.{name}" for name in (
        "Dynamic_Fsplit", "SpaceNet7_create_xys", "Dynamic_custom", "layout_check",
        "prepare_custom", "insert_changes", "Custom_create_xys", "Custom_custom",
        "prepare_dynamic", "prepare_levir", "prepare_romania", "prepare_spacenet7", "prepare_whu",
        "sample_data", "series_pairs",
    )), "models.weights.convert",
)  # fmt: skip
WORDS = (
    *(str(value)[:300] for value in VALUES), "inf", "9" * 400, "1e-400", "0x10", "1_0", "--1",
    "*" * 50, "a/" * 2000, "~",
    "http://127.0.0.1/x", "-", "/dev/null", "\udcff", "\0",
    "file/x", "y" * 300, "[", "٣", "2.5", "1 2",
)  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_flags(program: str, guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    sound = {"--data-root": "file/x", "--output-dir": "out", "--source": "file/x",
             "--scene-size": "32", "--num-train": "1", "--num-val": "1",
             "--num-test": "1"}  # fmt: skip
    with_odd_flags(guard, program, sound, 10)


def test_flags_of_predict(
    guard: Guard, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    city = write_city(tmp_path / "city", SIZE)
    guard.output.mkdir()
    (guard.output / "file").write_text("mine")
    monkeypatch.chdir(guard.output)
    sound = {"--images": str(city), "--checkpoint": str(weights), "--output-dir": "out",
             TOO_LITTLE[0]: TOO_LITTLE[1]}  # fmt: skip
    with_odd_flags(guard, "Predict", sound, 60)


def with_odd_flags(guard: Guard, program: str, sound: dict[str, str], number: int) -> None:
    """Run a program with one flag that nobody means, several times."""
    module = import_module(program)
    rng = np.random.default_rng(0)
    flags = [field.flag for field in fields_of(module.Settings)]
    base = {flag: value for flag, value in sound.items() if flag in flags}
    odd = [flag for flag in flags if flag not in (TOO_LITTLE[0], "--export-onnx")]
    if program.endswith("sample_data"):
        odd.remove("--data-root")  # where any name is right
    for _ in range(number):
        flag, word = odd[int(rng.integers(len(odd)))], WORDS[int(rng.integers(len(WORDS)))]
        if flag == "--output-dir" and word.startswith(".."):
            continue  # elsewhere, as a user wants it
        given = base | {flag: word}
        guard.run(module.main, *(f"{name}={value}" for name, value in given.items()))
