"""Predict.py from the command line to the files it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import imageio.v3 as iio
import numpy as np
import pytest
import rasterio

from mapping import load_model, predict_series
from mapping.products.files import POLYGONS
from models import CTMA
from models.weights.checkpoint import Checkpoint, save_checkpoint
from tests.helpers.children import forked, in_child
from tests.helpers.cities import CURVE, DATES, Outcome, summary_of, values, write_city
from tests.helpers.cities import write_weights as weights_file
from tests.helpers.scene_files import write_raster
from utils.files import hold_folder, read_json, sha256
from utils.settings import REPOSITORY

MAPS = ("change_area.tif", "change_moment.tif", "change_date.tif", "change_score.tif",
        "change_probability.tif")  # fmt: skip
STYLES = {
    *(name.replace(".tif", ".qml") for name in MAPS), *(f"{name}.aux.xml" for name in MAPS[:3]),
}  # fmt: skip
FILES = {
    *MAPS, *STYLES, "quicklook.png", "series.gif", "report.html", "summary.json", "settings.json",
    "environment.json", "change.stac.json",
}  # fmt: skip
QUICK = {**os.environ, "PYTHONIOENCODING": "utf-8", "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights with a calibrated probability."""
    folder = tmp_path_factory.mktemp("weights")
    return weights_file(folder / "small.pth", {"probability": CURVE})


@pytest.fixture(scope="module")
def mapped(city: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The results of a usual run in a process of its own, and what it said."""
    folder = tmp_path_factory.mktemp("results") / "die Karten"
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", folder)
    done = run(*flags, "--polygons", *POLYGONS, "--web-map")
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def run(*flags: str | Path | int, command: tuple[str, ...] = ()) -> Any:
    return subprocess.run(
        [sys.executable, *command, str(REPOSITORY / "Predict.py"), *map(str, flags)],
        capture_output=True, text=True, encoding="utf-8", env=QUICK, check=False,
    )  # fmt: skip


def stored(rows: Path) -> int:
    """Rows that an unfinished run says to be done."""
    return sum(rows.read_bytes()) if rows.is_file() else 0


def checksums(folder: Path) -> dict[str, str]:
    return {name: sha256(folder / name) for name in MAPS}


# ------------------------------------------------------------------ what a run leaves


def test_a_run_leaves_maps_pictures_report_and_numbers_and_nothing_half_done(
    mapped: tuple[Path, str],
) -> None:
    folder, said = mapped
    assert {path.name for path in folder.iterdir()} == FILES | {*POLYGONS, "map.html"}
    assert "my city: changed: " in said
    assert "bands are taken as blue, green, red, nir" in said
    assert "precision float32: these weights do not say how far" in said
    assert read_json(folder / "settings.json")["precision"] == "float32"  # what auto came to


def test_maps_lie_where_the_images_lie_and_say_what_they_mean(
    mapped: tuple[Path, str], city: Path
) -> None:
    folder, _ = mapped
    with rasterio.open(sorted(city.iterdir())[0]) as image:
        crs, transform, shape = image.crs, image.transform, image.shape
    for name, dtype, nodata in zip(
        MAPS, ("uint8", "uint8", "int32", "uint8", "uint8"), (255, 255, -1, 255, 255), strict=True
    ):
        with rasterio.open(folder / name) as raster:
            assert (raster.crs, raster.transform, raster.shape) == (crs, transform, shape)
            assert (raster.dtypes[0], raster.nodata) == (dtype, nodata)
            assert raster.profile["tiled"]
            assert raster.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
            tags = raster.tags()
            assert tags["AREA"] == "my city"
            assert tags["TRAINED_ON"] == "not known"  # these weights have no sheet
            if name == "change_moment.tif":
                assert tags["MOMENT_2"] == "changed 2018-05-15 - 2018-09-15"
            if name == "change_score.tif":
                assert tags["SCORE_FORMULA"].startswith("round(100 * (p - 0.45186")
            if name == "change_date.tif":
                assert tags["CHANGE_DATE_20180915"] == "changed 2018-05-15 - 2018-09-15"


def test_programs_find_names_and_colours_of_the_values_beside_the_maps(
    mapped: tuple[Path, str],
) -> None:
    folder, _ = mapped
    numbers = {day.replace("-", "") for day in DATES[1:]}
    entries = [
        entry.attrib["value"]
        for entry in ElementTree.parse(folder / "change_date.qml").iter("paletteEntry")
    ]
    assert entries == ["0", *sorted(numbers)]
    with rasterio.open(folder / "change_date.tif") as raster:
        assert any(Path(path).name == "change_date.tif.aux.xml" for path in raster.files)


def test_a_user_s_own_style_is_no_reason_to_map_an_area_again(
    city: Path, weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", "out")
    assert predict(*flags)[0] == 0
    (tmp_path / "out/change_moment.qml").write_text("mine")
    assert "complete already" in predict(*flags, "--resume")[1]
    assert (tmp_path / "out/change_moment.qml").read_text() == "mine"


def test_area_date_and_score_follow_from_the_moment(mapped: tuple[Path, str]) -> None:
    folder, _ = mapped
    area, moment, date, score, _ = (values(folder / name) for name in MAPS)
    assert len(np.unique(moment)) > 2  # weights at random, but not uniform
    assert np.array_equal(area, (moment > 0).astype(np.uint8))
    numbers = np.array([0, *(int(day.replace("-", "")) for day in DATES[1:])])
    assert np.array_equal(date, numbers[moment])
    assert (score[moment > 0] >= 50).all()
    assert (score[moment == 0] <= 50).all()


def test_weights_with_a_calibrated_probability_map_it_and_say_what_it_rests_on(
    mapped: tuple[Path, str],
) -> None:
    folder, said = mapped
    assert (
        "probabilities: 0.012 off on average, 0.034 where they say 50 % or more, measured" in said
    )
    with rasterio.open(folder / "change_probability.tif") as raster:
        percent, tags = raster.read(1), raster.tags()
        assert (raster.units, raster.descriptions) == (("%",), ("change_probability",))
    assert tags["PROBABILITY_ERROR"] == "0.0120"
    assert tags["PROBABILITY_FITTED_ON"] == "four drawn scenes"
    moment = values(folder / "change_moment.tif")
    assert percent[moment == 0].max() <= 40 <= percent[(moment > 0) & (moment < 255)].min()
    summary = summary_of(folder)
    assert summary["probability"]["error"] == 0.012
    assert summary["pixels"]["changed_from_80_percent"] == ((percent >= 80) & (moment > 0)).sum()
    page = (folder / "report.html").read_text(encoding="utf-8").replace("\xa0", " ")
    assert (
        "It was 1.2 % off on average, and 3.4 % where it says 50 % or more, measured on two" in page
    )
    assert "of it has a probability of 80 % or more." in page
    assert "Score above 60" not in page
    asset = json.loads((folder / "change.stac.json").read_text())["assets"]["change_probability"]
    assert (asset["unit"], asset["nodata"]) == ("%", 255)


def test_the_summary_counts_the_maps(mapped: tuple[Path, str], weights: Path) -> None:
    folder, _ = mapped
    summary, moment = summary_of(folder), values(folder / "change_moment.tif")
    assert summary["dates"] == list(DATES)
    assert [row["pixels"] for row in summary["intervals"]] == [
        int((moment == k).sum()) for k in range(1, 6)
    ]
    assert summary["pixels"]["changed"] == int((moment > 0).sum())
    hectares = sum(row["hectares"] for row in summary["intervals"])
    assert hectares == pytest.approx(summary["hectares"]["changed"])
    # pixels of 3 m near UTM's central meridian: the plane is 0.08 % larger than the ground
    assert hectares == pytest.approx(summary["pixels"]["changed"] * 9 / 0.9996**2 / 1e4, rel=1e-4)
    assert summary["checkpoint"]["sha256"] == sha256(weights)
    assert summary["checkpoint"]["trained_on"] == "not known"
    sure = (values(folder / "change_score.tif") > 60) & (moment > 0) & (moment < 255)
    assert summary["pixels"]["changed_above_60"] == sure.sum()
    assert summary["grid"]["centre"].keys() == {"longitude", "latitude"}
    assert summary["outputs"]["change_moment.tif"]["sha256"] == sha256(folder / MAPS[1])
    assert summary["score"]["lower"] == pytest.approx(0.45186, abs=1e-5)
    polygons = json.loads((folder / "changes.geojson").read_text(encoding="utf-8"))["features"]
    assert sum(f["properties"]["pixels"] for f in polygons) == summary["pixels"]["changed"]
    further = (*POLYGONS, "map.html", "change.stac.json")
    assert [summary["outputs"][name]["sha256"] for name in further] == [
        sha256(folder / name) for name in further
    ]
    assets = json.loads((folder / "change.stac.json").read_text())["assets"].values()
    assert all((folder / asset["href"]).is_file() for asset in assets)
    score = values(folder / "change_score.tif")[moment > 0]
    means = sum(f["properties"]["mean_score"] * f["properties"]["pixels"] for f in polygons)
    assert means == pytest.approx(score.sum(dtype=np.int64), abs=0.006 * len(score))


def test_pictures_and_report_show_the_series(mapped: tuple[Path, str]) -> None:
    folder, _ = mapped
    assert iio.imread(folder / "quicklook.png").shape[1] > 500
    assert len(iio.imread(folder / "series.gif")) == 6
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "my city" in page
    assert "2018-09-15" in page
    assert "The weights learnt from: not known." in page


def test_python_gives_the_same_maps_byte_for_byte(
    mapped: tuple[Path, str], city: Path, weights: Path
) -> None:
    folder, _ = mapped
    maps = predict_series(city, load_model(weights, "cpu"))
    found = (maps.area, maps.moment, maps.date, maps.score, maps.probability)
    for name, array in zip(MAPS, found, strict=True):
        assert np.array_equal(array, values(folder / name))
    with rasterio.open(folder / "change_moment.tif") as raster:
        assert maps.profile["transform"] == raster.transform
    assert [date.isoformat() for date in maps.dates] == list(DATES)


# ------------------------------------------------------------------ the same maps in other ways


def test_little_memory_and_other_batches_give_the_same_maps(
    mapped: tuple[Path, str],
    city: Path,
    weights: Path,
    predict: Callable[..., Outcome],
    tmp_path: Path,
) -> None:
    folder, _ = mapped
    flags = ("--images", city, "--checkpoint", weights)
    code, _, said = predict(*flags, "--output-dir", "low", "--memory", 200)
    assert (code, checksums(tmp_path / "low")) == (0, checksums(folder)), said
    code, *_ = predict(
        *flags, "--output-dir", "one", "--batch-size", 1, "--polygons", "--min-area", 1e9
    )
    polygons = json.loads((tmp_path / "one/changes.geojson").read_text("utf-8"))
    assert polygons["features"] == []  # the city is smaller
    same = values(tmp_path / "one/change_moment.tif") == values(folder / "change_moment.tif")
    assert code == 0
    assert same.mean() >= 0.9999


def test_two_processes_give_the_same_bytes(
    mapped: tuple[Path, str], city: Path, weights: Path, tmp_path: Path
) -> None:
    folder, _ = mapped
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", tmp_path / "two")
    done = run(*flags, "--polygons", command=launcher)
    assert done.returncode == 0, done.stderr
    assert checksums(tmp_path / "two") == checksums(folder)
    assert sha256(tmp_path / "two/changes.geojson") == sha256(folder / "changes.geojson")
    assert done.stdout.count("my city: changed:") == 1  # only the first process speaks


def test_onnx_gives_the_same_maps(predict: Callable[..., Outcome], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    drawn = np.random.default_rng(5).integers(1, 9999, (6, 4, 8, 8), np.uint16)
    for image, date in zip(drawn.repeat(8, axis=2).repeat(8, axis=3), DATES, strict=True):
        write_raster(tmp_path / f"fields/{date}.tif", image)
    shipped = REPOSITORY / "best_model/Pretrained_model_Dynamic.pth"
    for backend in ("torch", "onnx"):
        flags = ("--images", "fields", "--checkpoint", shipped, "--precision", "float32")
        code, _, said = predict(*flags, "--backend", backend, "--output-dir", backend)
        assert code == 0, said
    one, other = (values(tmp_path / name / "change_moment.tif") for name in ("torch", "onnx"))
    assert (one == other).mean() >= 0.999
    assert len(np.unique(one)) == 6  # every moment is there to be told apart
    assert (
        summary_of(tmp_path / "onnx")["checkpoint"] == summary_of(tmp_path / "torch")["checkpoint"]
    )


@pytest.fixture(scope="module")
def tall(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Any, ...], Path]:
    """Flags of a run that takes a while, and the maps it makes when nothing stops it."""
    folder = tmp_path_factory.mktemp("tall")
    images = write_city(folder / "images", (500, 40))
    flags = ("--images", images, "--checkpoint", weights, "--batch-size", 1, "--overlap", 4)
    done = run(*flags, "--output-dir", folder / "whole")
    assert done.returncode == 0, done.stderr
    return flags, folder / "whole"


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_no_half_file_and_goes_on_to_the_same_bytes(
    sent: int,
    tall: tuple[tuple[Any, ...], Path],
    predict: Callable[..., Outcome],
    tmp_path: Path,
) -> None:
    flags, whole = tall
    folder = tmp_path / "stopped"
    with subprocess.Popen(
        [sys.executable, str(REPOSITORY / "Predict.py"), *map(str, flags), "--output-dir", folder],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=QUICK,
    ) as program:  # fmt: skip
        rows = folder / ".unfinished/rows.done"
        while program.poll() is None and stored(rows) <= 60:
            time.sleep(0.01)
        program.send_signal(sent)
        said, _ = program.communicate(timeout=60)
    assert program.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[sent]
    assert not [
        path.name
        for path in folder.iterdir()
        if path.name in FILES - {"settings.json", "environment.json"}
    ]
    if sent != signal.SIGKILL:
        assert f"--output-dir {folder} --resume" in said
    assert 60 < stored(rows) < 500
    code, _, errors = predict(*flags, "--output-dir", folder, "--resume")
    assert code == 0, errors
    assert checksums(folder) == checksums(whole)
    assert not (folder / ".unfinished").exists()


def test_resuming_with_other_settings_is_refused_and_a_finished_run_is_left_alone(
    city: Path, weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", "out")
    assert predict(*flags)[0] == 0
    code, _, said = predict(*flags, "--resume", "--overlap", 4)
    assert (code, "overlap: 8 there, 4 now" in said) == (2, True)
    before = (tmp_path / "out/change_moment.tif").stat().st_mtime_ns
    code, said, _ = predict(*flags, "--resume")
    assert (code, "complete already" in said) == (0, True)
    assert (tmp_path / "out/change_moment.tif").stat().st_mtime_ns == before
    code, _, said = predict(*flags)
    assert (code, "--overwrite" in said, "--resume" in said) == (2, True, True)
    (tmp_path / "out/.unfinished").mkdir()
    job = {**summary_of(tmp_path / "out")["job"], "overlap": 7}
    (tmp_path / "out/.unfinished/job.json").write_text(json.dumps(job))
    (tmp_path / "out/summary.json").unlink()
    code, _, said = predict(*flags, "--resume")
    assert code == 2
    assert "overlap: 7 there, 8 now" in said


def test_a_pair_without_dates_gives_area_and_score_in_the_order_given(
    predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    small = {"pair_widths": (4, 4, 8), "video_widths": (4, 4), "decoder_widths": (8, 8, 4, 4)}
    network = CTMA(**small, resnet_width=4)  # type: ignore[arg-type]
    arguments = {"in_channels": 3, **small, "resnet_width": 4}
    data = {"bands": ["red", "green", "blue"], "num_dates": 2, "pixel_scale": "auto"}
    save_checkpoint(
        tmp_path / "pair.pth", Checkpoint("ctma", arguments, network.state_dict(), data=data)
    )
    rng = np.random.default_rng(0)
    for name in ("before", "after"):
        write_raster(tmp_path / f"{name}.tif", rng.integers(0, 255, (3, 70, 90)).astype(np.uint8))
    flags = ("before.tif", "after.tif", "--checkpoint", "pair.pth", "--tile-size", 64)
    code, said, errors = predict(*flags, "--output-dir", "pair", "--polygons")
    assert code == 0, errors
    assert "before.tif is taken as the image before, after.tif as the one after" in said
    maps = {"change_area.tif", "change_score.tif", "changes.geojson"}
    rest = FILES - set(MAPS) - STYLES - {"change.stac.json"}  # which wants dates
    rest |= {"change_area.qml", "change_area.tif.aux.xml", "change_score.qml"}
    assert {path.name for path in (tmp_path / "pair").iterdir()} == maps | rest
    area, score = (values(tmp_path / "pair" / name) for name in sorted(maps)[:2])
    assert set(np.unique(area)) <= {0, 1}
    assert (score[area == 1] >= 50).all()
    assert (score[area == 0] <= 50).all()
    maps_in_memory = predict_series(
        [tmp_path / "before.tif", tmp_path / "after.tif"],
        load_model(tmp_path / "pair.pth", "cpu", tile_size=64),
    )
    assert np.array_equal(maps_in_memory.area, area)
    assert maps_in_memory.moment is None
    with pytest.raises(ValueError, match="whether a pixel changed, not when"):
        _ = maps_in_memory.date
    code, _, errors = predict("--checkpoint", "pair.pth", "--export-onnx", "pair.onnx")
    assert (code, "expected a CAIMNet" in errors) == (2, True)
    (row,) = summary_of(tmp_path / "pair")["intervals"]
    assert (row["from"], row["to"], row["pixels"]) == ("before.tif", "after.tif", area.sum())


def test_resuming_makes_what_is_missing_or_asked_for_anew(
    city: Path, weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", "out", "--resume")
    assert predict(*flags[:-1])[0] == 0
    before = checksums(tmp_path / "out")
    assert predict(*flags, "--polygons")[0] == 0
    assert (tmp_path / "out/changes.geojson").is_file()
    (tmp_path / "out/report.html").unlink()
    (tmp_path / "out/change_area.tif").write_bytes(b"damaged")
    assert predict(*flags, "--polygons")[0] == 0
    assert (tmp_path / "out/report.html").is_file()
    assert checksums(tmp_path / "out") == before


@forked
@pytest.mark.parametrize("how", [(), ("--overwrite",), ("--resume",)])
def test_a_second_program_in_a_folder_is_refused(
    city: Path, weights: Path, predict: Callable[..., Outcome], tmp_path: Path, how: tuple[str, ...]
) -> None:
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", "out", *how)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/settings.json").write_text("{}")
    hold_folder(tmp_path / "out")

    def second() -> None:
        code, _, errors = predict(*flags)
        assert "another program is at work there" in errors
        sys.exit(code)

    assert in_child(second) == 2
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".lock", "settings.json"}


def test_results_of_an_earlier_run_do_not_stay_beside_new_ones(
    city: Path, weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    flags = ("--images", city, "--checkpoint", weights, "--output-dir", "out")
    assert predict(*flags, "--polygons", "changes.gpkg", "--web-map")[0] == 0
    (tmp_path / "out/notes.txt").write_text("mine")
    (tmp_path / "out/change_score.tif.aux.xml").write_text("statistics of the earlier map")
    assert predict(*flags, "--overwrite")[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {"notes.txt"}
