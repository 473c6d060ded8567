"""Facts of Custom from flags and images; the paper's data sets have theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from data_processing.own_series.bands import common_names
from data_processing.own_series.facts import FactSettings, spec_for_images
from data_processing.scenes.spec import DYNAMIC, DatasetSpec
from tests.helpers.scene_files import write_raster
from utils.errors import UserError


def image(path: Path, names: tuple[str | None, ...] = (), count: int = 3) -> Path:
    write_raster(path, np.ones((count, 4, 4), np.uint16))
    if names:
        with rasterio.open(path, "r+") as raster:
            raster.descriptions = names
    return path


def spec_of(folder: Path, file: Path, **flags: Any) -> DatasetSpec:
    settings = FactSettings(**{"dataset": "custom", **flags})
    return spec_for_images(settings, folder / "root", [file], 4, ("train", "a"))


def test_bands_are_named_by_the_files_or_by_the_flag(tmp_path: Path) -> None:
    named = image(tmp_path / "2020-01.tif", ("B04", "swir 1", "NIR"))
    assert spec_of(tmp_path, named).bands == ("red", "swir 1", "nir")
    assert spec_of(tmp_path, named, bands="3,1").bands == ("nir", "red")
    spec = spec_of(tmp_path, named, band_names="VV, VH,b")
    assert (spec.bands, spec.num_dates, spec.gsd) == (("VV", "VH", "blue"), 4, 3.0)


def test_files_that_name_some_bands_only_leave_it_to_the_flag(tmp_path: Path) -> None:
    half = image(tmp_path / "2020-01.tif", ("B04", None, "NIR"))
    with pytest.raises(UserError, match="--band-names: found none"):
        spec_of(tmp_path, half)
    with pytest.raises(UserError, match="--band-names: found none"):
        spec_of(tmp_path, half, bands="1,9")


def test_facts_of_the_papers_data_sets_are_fixed(tmp_path: Path) -> None:
    file = image(tmp_path / "2020-01.tif")
    assert spec_of(tmp_path, file, dataset="dynamic") is DYNAMIC
    with pytest.raises(UserError, match="--band-names, --num-dates: found together with"):
        spec_of(tmp_path, file, dataset="dynamic", band_names="a", num_dates=6)


def test_names_of_sentinel_2_are_common_where_b8_tells() -> None:
    assert common_names(["B2", "B3", "B4", "B8", "B11"]) == ("blue", "green", "red", "nir", "B11")
    assert common_names(["B1", "B2"]) == ("B1", "B2")
