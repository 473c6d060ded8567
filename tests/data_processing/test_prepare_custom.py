"""One's own images and labels to the processed layout (data_processing/prepare_custom.py)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing.own_series import computed_clouds
from data_processing.rasters.reading import header_of
from data_processing.scenes.check import check_scene, examine_scene
from data_processing.scenes.custom import custom_spec
from data_processing.scenes.spec import DYNAMIC, SPACENET7, DatasetSpec, own_spec, spec_by_name
from mapping.products import polygons as products
from mapping.products.regions import ChangedRegions
from tests.helpers.custom_city import (
    DAYS,
    City,
    H,
    W,
    city,
    growing,
    labelled,
    moment_of,
    place,
    write_images,
    write_masks,
    write_polygons,
)
from tests.helpers.scene_files import write_raster
from utils.errors import DataError, UserError
from utils.files import read_json

__all__ = ["city"]  # the fixture


# ──────────────────────────────────── every kind of label ────────────────────────────────────


def from_raster(city: City, classes: int) -> dict[str, Any]:
    write_raster(city.moment, labelled(classes))
    return {"moment_raster": city.moment}


def from_masks(city: City, classes: int) -> dict[str, Any]:
    return {"masks": write_masks(city.masks, growing(classes))}


def from_polygons(city: City, classes: int) -> dict[str, Any]:
    dated = [(place(k), DAYS[k] if k % 2 else DAYS[k].replace("-", "")) for k in range(1, classes)]
    return {"polygons": write_polygons(city.polygons, dated)}


@pytest.mark.parametrize("labels", [from_raster, from_masks, from_polygons])
@pytest.mark.parametrize("spec", [DYNAMIC, SPACENET7], ids=lambda spec: spec.name)
def test_every_kind_of_label_gives_class_k_for_every_k(
    labels: Callable[[City, int], dict[str, Any]], spec: DatasetSpec, tmp_path: Path
) -> None:
    city = City(tmp_path, spec)
    write_images(city.images, spec.num_dates, bands=4 if spec is DYNAMIC else 3)
    scene = city.run(**labels(city, spec.num_classes))
    np.testing.assert_array_equal(moment_of(scene, spec), labelled(spec.num_classes))
    assert check_scene(scene, spec) == []
    record = read_json(scene / "prepared.json")["scene"]
    assert record["dates"] == DAYS[: spec.num_dates]
    assert record["pixels_per_class"][1:] == [100] * (spec.num_classes - 1)


@pytest.mark.parametrize("name", ["changes.gpkg", "changes.geojson"])
def test_regions_of_a_map_become_labels_as_they_are(name: str, city: City) -> None:
    moment, dates = labelled(6), [date.fromisoformat(day) for day in DAYS[:6]]
    regions = ChangedRegions(moment, np.full_like(moment, 80), header_of(city.moment), dates)
    products.write_polygons(city.folder / name, regions)
    scene = city.run(polygons=city.folder / name)
    np.testing.assert_array_equal(moment_of(scene), moment)


@pytest.mark.parametrize("name", ["dynamic", "spacenet7"])
def test_a_prepared_scene_can_be_opened_and_trained_on(name: str, tmp_path: Path) -> None:
    from data_processing.scenes.dataset import cover_split, open_split

    spec = spec_by_name(name)
    city = City(tmp_path, spec)
    write_images(city.images, spec.num_dates, dtype="uint16" if spec is DYNAMIC else "uint8")
    city.run(**from_raster(city, spec.num_classes))
    covered = cover_split(city.root, spec, "train")
    found = {int(k) for sample in covered for k in sample["moment_label"].unique()}
    assert found == set(range(spec.num_classes))
    assert open_split(city.root, spec, "train")[0]["images"].shape == (spec.num_dates, 4, 64, 64)


@pytest.mark.parametrize(("event", "expected"), [("last", 4), ("first", 2), (None, 4)])
def test_of_several_changes_the_event_decides(city: City, event: str | None, expected: int) -> None:
    chosen = {} if event is None else {"event": event}
    there = np.zeros((6, H, W), np.uint8)
    there[2:4, 10:20, 10:20] = 1
    masks = write_masks(city.masks, there)
    polygons = write_polygons(
        city.polygons, [((10, 10, 10, 10), DAYS[4]), ((10, 10, 10, 10), DAYS[2])]
    )
    for name, flags in (("A", {"masks": masks}), ("B", {"polygons": polygons})):
        moment = moment_of(city.run(name=name, **flags, **chosen))
        assert set(np.unique(moment)) == {0, expected}
        assert (moment[10:20, 10:20] == expected).all()


def test_disappearance_does_not_count_where_only_appearance_is_asked_for(city: City) -> None:
    there = np.zeros((6, H, W), np.uint8)
    there[:3, :10, :10] = 1
    there[2:, 20:30, :10] = 1
    masks = write_masks(city.masks, there)
    assert set(np.unique(moment_of(city.run(masks=masks)))) == {0, 2, 3}
    appeared = city.run(name="Scene02", masks=masks, transitions="appear")
    assert set(np.unique(moment_of(appeared))) == {0, 2}


def test_masks_of_255_are_converted_and_255_with_its_tag_is_unknown(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write_masks(city.masks, [mask * np.uint8(255) for mask in growing(6)])
    np.testing.assert_array_equal(moment_of(city.run(masks=masks)), labelled(6))
    assert "values 0/255 are taken as 0/1" in capsys.readouterr().out
    unknown = np.array(growing(6), np.uint8)
    unknown[2, 6:11] = 255  # square 1 appears at date 1 and is not seen at date 2
    unknown[:, 60:] = 255
    tagged = write_masks(city.masks, unknown, nodata=255)
    expected = labelled(6)
    expected[60:] = 255
    np.testing.assert_array_equal(moment_of(city.run(name="B", masks=tagged)), expected)


def test_masks_of_other_dates_are_left_out(city: City, capsys: pytest.CaptureFixture[str]) -> None:
    write_images(city.images, 12)
    masks = write_masks(city.masks, growing(12))
    chosen = ",".join(DAYS[1:7])
    moment = moment_of(city.run(masks=masks, choose_dates=chosen))
    expected = labelled(7)
    expected[expected > 0] -= 1
    np.testing.assert_array_equal(moment, expected)
    said = capsys.readouterr().out
    assert "6 masks of dates that are not in the series are left out" in said
    assert "chosen by the rule" in said


def test_masks_by_month_go_with_images_by_day(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write_masks(city.masks, growing(6), [day[:7] for day in DAYS])
    np.testing.assert_array_equal(moment_of(city.run(masks=masks)), labelled(6))
    said = capsys.readouterr().out
    for line in (f"  city_{DAYS[1]}.tif: {DAYS[1]}", f"  mask_{DAYS[1][:7]}.tif: {DAYS[1][:7]}"):
        assert line in said
    assert "dates of masks from names (year-month):" in said


def test_polygons_outside_the_series_are_counted_and_said(
    city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    dates = ["2001-01", DAYS[0], "2099-12-31", DAYS[5], "2017-10-16T12:00:00Z", "2017/09"]
    polygons = write_polygons(
        city.polygons, [(place(k), date) for k, date in enumerate(dates, start=1)]
    )
    moment = moment_of(city.run(polygons=polygons))
    assert {k: int((moment == k).sum()) for k in np.unique(moment) if k} == {2: 100, 4: 100, 5: 100}
    assert "3 of 6 polygons changed on or before 2017-07-15 or after 2017-12-15" in (
        capsys.readouterr().out
    )


def test_polygons_in_degrees_and_another_property_are_understood(city: City) -> None:
    from rasterio.warp import transform_geom

    write_polygons(city.polygons, [(place(3), 20171015)], name="seen")
    content = json.loads(city.polygons.read_text("utf-8"))
    feature = content["features"][0]
    feature["geometry"] = transform_geom("EPSG:32633", "EPSG:4326", feature["geometry"])
    del content["crs"]
    city.polygons.write_text(json.dumps(content), "utf-8")
    moment = moment_of(city.run(polygons=city.polygons, date_field="seen", all_touched=True))
    assert int(((moment == 3) & (labelled(6) == 3)).sum()) == 100


# ─────────────────────────────────────────── images ───────────────────────────────────────────


def test_bands_are_picked_in_order_and_the_nodata_tag_is_kept(city: City) -> None:
    city.images = write_images(city.folder / "eight", bands=8, dtype="int16", nodata=-9999)
    scene = city.run(moment_raster=city.moment, bands="8,3,2,1")
    with (
        rasterio.open(scene / DYNAMIC.image_folder / f"{DAYS[0]}.tif") as written,
        rasterio.open(city.images / f"city_{DAYS[0]}.tif") as given,
    ):
        np.testing.assert_array_equal(written.read(), given.read([8, 3, 2, 1]))
        assert (written.nodata, written.dtypes[0]) == (-9999, "int16")
        assert (written.crs, written.transform) == (given.crs, given.transform)


@pytest.mark.parametrize("nodata", [None, 0])
def test_three_bands_get_an_alpha_band_from_the_nodata_tag(
    nodata: int | None, tmp_path: Path
) -> None:
    city = City(tmp_path, SPACENET7)
    write_images(city.images, 9, bands=3)
    for day in DAYS[:9]:
        with rasterio.open(city.images / f"city_{day}.tif") as raster:
            values = raster.read()
        values[:, :5] = 0
        write_raster(city.images / f"city_{day}.tif", values, nodata=nodata)
    scene = city.run(**from_raster(city, 9))
    name = f"global_monthly_2017_07_mosaic_{scene.name}.tif"
    with rasterio.open(scene / SPACENET7.image_folder / name) as raster:
        assert (raster.count, raster.nodata) == (4, nodata)
        assert (raster.read(4)[:5] == (255 if nodata is None else 0)).all()
        assert (raster.read(4)[5:] == 255).all()
    record = read_json(scene / "prepared.json")["scene"]
    assert record["pixels_without_data_at_some_date"] == (0 if nodata is None else 5 * W)


@pytest.mark.parametrize(("tag", "written"), [(None, np.nan), (-1.0, -1.0), (0.0, 0.0)])
def test_nan_is_no_data_in_the_scene(tag: float | None, written: float, city: City) -> None:
    for path in city.images.iterdir():
        values = np.full((4, H, W), 0.5, np.float32)
        values[1, :, :4] = np.nan
        write_raster(path, values, nodata=tag)
    scene = city.run(moment_raster=city.moment)
    report = examine_scene(scene, DYNAMIC)
    assert report.faults == []
    assert report.pixels is not None
    assert report.pixels.ignored == 4 * H
    assert report.info is not None
    np.testing.assert_equal(report.info.nodata, written)
    record = read_json(scene / "prepared.json")
    assert record["scene"]["pixels_without_data_at_some_date"] == 4 * H


def test_a_fourth_band_that_is_hardly_alpha_is_remarked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    city = City(tmp_path, SPACENET7)
    write_images(city.images, 9, bands=4, dtype="uint16")
    city.run(**from_raster(city, 9))
    assert "band 4 holds more than two values; it is taken as alpha" in capsys.readouterr().out


def test_dates_are_given_or_found_by_a_pattern(city: City) -> None:
    for number, path in enumerate(sorted(city.images.iterdir())):
        path.rename(path.with_name(f"step{number}.tif"))
    write_raster(city.images / "preview.tif", np.zeros((1, 4, 4), np.uint8))
    scene = city.run(
        images=f"{city.images}/step*.tif",
        dates="2020-01,2020-03,2020-04-20,20200501,2021-01,2021-02",
        moment_raster=city.moment,
    )
    dates = read_json(scene / "prepared.json")["scene"]["dates"]
    assert dates[:4] == ["2020-01-01", "2020-03-01", "2020-04-20", "2020-05-01"]


def test_a_given_month_agrees_with_a_day_in_the_name(city: City) -> None:
    given = ",".join(day[:7] for day in DAYS[:6])
    scene = city.run(moment_raster=city.moment, dates=given)
    assert read_json(scene / "prepared.json")["scene"]["dates"] == DAYS[:6]


def test_images_without_georeference_are_prepared_too(city: City) -> None:
    write_images(city.images, crs=None)
    write_raster(city.moment, labelled(6), crs=None)
    scene = city.run(moment_raster=city.moment)
    assert check_scene(scene, DYNAMIC) == []
    np.testing.assert_array_equal(moment_of(scene), labelled(6))


def test_labels_without_georeference_lie_on_the_images(city: City) -> None:
    write_raster(city.moment, labelled(6), crs=None)
    scene = city.run(moment_raster=city.moment)
    assert not any("georeference" in said for said in examine_scene(scene, DYNAMIC).warnings)


# ──────────────────────────────────── any bands, any dates ────────────────────────────────────


@pytest.mark.parametrize(("dates", "bands"), [(2, 1), (5, 6)])
def test_custom_takes_the_dates_and_bands_that_images_have(
    tmp_path: Path, dates: int, bands: int
) -> None:
    city = City(tmp_path, own_spec([f"band {n}" for n in range(bands)], dates))
    write_images(city.images, dates, bands=bands)
    scene = city.run(**from_raster(city, dates), band_names=",".join(city.spec.bands))
    assert custom_spec(city.root) == dataclasses.replace(city.spec, gsd=3.0)
    np.testing.assert_array_equal(moment_of(scene), labelled(dates))
    assert check_scene(scene, city.spec) == []


def test_scenes_of_custom_have_one_number_of_dates(tmp_path: Path) -> None:
    city = City(tmp_path, own_spec(["vv", "vh", "swir1", "x"], 5))
    write_images(city.images, 5)
    city.run(**from_raster(city, 5), band_names="vv,vh,swir1,x")
    write_images(city.images, 8)
    for scene in ("Scene01", "Scene02"):
        with pytest.raises(UserError, match=r"--num-dates: found 8, expected 5|--overwrite"):
            city.run(masks=write_masks(city.masks, growing(8)), name=scene, num_dates=8)
    more = city.run(masks=write_masks(city.masks, growing(8)), name="Scene02")
    assert len(read_json(more / "prepared.json")["scene"]["dates"]) == 5  # chosen, as for others
    few = write_images(tmp_path / "few", 3)
    with pytest.raises(DataError, match="found 3 dates"):
        city.run(masks=write_masks(city.masks, growing(8)), name="Scene03", images=few)


def test_computed_cloud_masks_hide_pixels_and_count_among_what_a_scene_is_made_with(
    city: City, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computed_clouds, "_version", lambda: "0")
    monkeypatch.setattr(
        computed_clouds, "_classes", lambda image, names: (image[..., 0] > 0.01).astype(np.uint8)
    )
    monkeypatch.setattr(computed_clouds, "GSD", 3.0)
    scene = city.run(moment_raster=city.moment, clouds="auto")
    record = read_json(scene / "prepared.json")["scene"]
    assert record["clouds"] == "auto"
    assert record["pixels_without_data_at_some_date"] > 0
    assert any("computed by ukis-csmask" in remark for remark in record["remarks"])
    with pytest.raises(UserError, match="made with other input or settings"):
        city.run(moment_raster=city.moment)
