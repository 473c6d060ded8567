"""prepare_custom takes images in every container that Predict takes: the scene is the same."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing.scenes.spec import own_spec
from tests.helpers.custom_city import DAYS, City, city, moment_of
from tests.helpers.scene_files import write_raster

__all__ = ["city"]  # the fixture

BANDS = ("B02", "B03", "B04", "B08")


def images_of(city: City) -> Any:
    """(T, C, H, W) of the city's files."""
    stacked = []
    for path in sorted(city.images.iterdir()):
        with rasterio.open(path) as raster:
            stacked.append(raster.read())
    return np.stack(stacked)


def in_a_zip(city: City) -> dict[str, Any]:
    with zipfile.ZipFile(city.folder / "city.zip", "w") as archive:
        for path in city.images.iterdir():
            archive.write(path, path.name)
    return {"images": city.folder / "city.zip"}


def as_granules(city: City) -> dict[str, Any]:
    for day, image in zip(DAYS, images_of(city), strict=False):
        for band, values in zip(BANDS, image, strict=True):
            name = f"T33UUP_{day.replace('-', '')}T100031_{band}_10m.tif"
            write_raster(city.folder / "granules" / name, values)
    return {"images": city.folder / "granules", "bands": ",".join(BANDS)}


def in_one_file(city: City) -> dict[str, Any]:
    images = images_of(city)
    write_raster(city.folder / "stack.tif", images.reshape(-1, *images.shape[2:]))
    return {"images": city.folder / "stack.tif", "bands_per_date": 4, "dates": ",".join(DAYS[:6])}


def in_a_cube(city: City) -> dict[str, Any]:
    xarray = pytest.importorskip("xarray")
    rioxarray = pytest.importorskip("rioxarray")
    files = sorted(city.images.iterdir())
    cube = xarray.concat([rioxarray.open_rasterio(path) for path in files], "time")
    cube = cube.assign_coords(time=np.array(DAYS[:6], "datetime64[ns]"), band=[*BANDS])
    cube.to_dataset("band").to_netcdf(city.folder / "cube.nc", engine="h5netcdf")
    return {"images": city.folder / "cube.nc", "bands": ",".join(BANDS)}


@pytest.mark.parametrize("container", [in_a_zip, as_granules, in_one_file, in_a_cube])
def test_scenes_are_the_same_from_every_container(
    city: City, container: Callable[[City], dict[str, Any]]
) -> None:
    expected = city.run(moment_raster=city.moment, name="Files")

    scene = city.run(moment_raster=city.moment, **container(city))

    assert np.array_equal(moment_of(scene), moment_of(expected))
    names = sorted(path.name for path in (expected / city.spec.image_folder).iterdir())
    assert names == sorted(path.name for path in (scene / city.spec.image_folder).iterdir())
    for name in names:
        with (
            rasterio.open(expected / city.spec.image_folder / name) as one,
            rasterio.open(scene / city.spec.image_folder / name) as other,
        ):
            np.testing.assert_array_equal(one.read(), other.read())
            assert (one.crs, one.transform) == (other.crs, other.transform)


def test_the_facts_of_a_custom_data_set_come_from_named_bands(city: City) -> None:
    custom = City(city.folder, own_spec([*BANDS], 6))
    custom.run(moment_raster=city.moment, **as_granules(city))
    facts = json.loads((city.root / "Images_Custom" / "dataset.json").read_text())
    assert facts["bands"] == ["blue", "green", "red", "nir"]
    assert facts["num_dates"] == 6
