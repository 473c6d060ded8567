"""Series of more dates than the weights take, from files to maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mapping import load_model, predict_series
from models import CAIMNet
from models.long_series import LongSeries
from tests.helpers.cities import Outcome, summary_of, values
from tests.helpers.scene_files import write_raster
from utils.errors import UserError

DATES = [f"201{8 + month // 12}-{month % 12 + 1:02d}-15" for month in range(10)]
SIZE = 16  # one tile of the small weights


@pytest.fixture(scope="module")
def long_city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images of one tile with a change from the seventh on."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(5)
    base = rng.uniform(500, 1500, size=(4, SIZE, SIZE))
    for number, date in enumerate(DATES):
        image = base + rng.normal(0, 30, size=base.shape)
        image[:, 4:12, 4:12] += 3000 * (number >= 6)
        write_raster(folder / f"city_{date}.tif", image.clip(1, 9999).astype(np.uint16))
    return folder


def test_all_dates_are_used_by_default_and_dated_to_the_interval(
    predict: Callable[..., Outcome], long_city: Path, weights: Path, tmp_path: Path
) -> None:
    code, shown, _ = predict(
        "--images", long_city, "--checkpoint", weights, "--output-dir", tmp_path / "maps"
    )
    assert code == 0
    assert "all 10 dates used: the network takes 6 at a time" in shown
    assert summary_of(tmp_path / "maps")["dates"] == DATES
    moment = values(tmp_path / "maps" / "change_moment.tif")
    date = values(tmp_path / "maps" / "change_date.tif")
    numbers = np.array([0, *(int(text.replace("-", "")) for text in DATES[1:])])
    assert np.array_equal(numbers[moment], date)
    assert moment.max() <= 9


def test_maps_are_those_of_the_network_over_all_choices(long_city: Path, weights: Path) -> None:
    model = load_model(weights, "cpu")
    maps = predict_series(long_city, model)
    assert isinstance(model.network, CAIMNet)
    images = [values_of(path) / np.float32(10000) for path in sorted(long_city.glob("*.tif"))]
    series = torch.from_numpy(np.stack(images))[None]
    expected = LongSeries(model.network, 10).predict(series).moment_label()[0]
    assert maps.moment is not None
    assert np.array_equal(maps.moment, expected.numpy())


def values_of(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    import rasterio

    with rasterio.open(path) as raster:
        bands: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = raster.read().astype(np.float32)
    return bands


def test_a_rule_still_chooses_as_many_as_the_network_takes(long_city: Path, weights: Path) -> None:
    maps = predict_series(long_city, load_model(weights, "cpu"), choose_dates="even")
    assert len(maps.dates) == 6


def test_pixels_need_not_be_seen_at_all_dates(tmp_path: Path, weights: Path) -> None:
    for number, date in enumerate(DATES):
        image = np.full((4, SIZE, SIZE), 1000, np.uint16)
        image[:, :2] = 0 if number in (1, 4, 5) else 1000  # seen at 7 of 10
        image[:, 2:4] = 0 if number < 5 else 1000  # seen at 5 of 10
        write_raster(tmp_path / f"city_{date}.tif", image, nodata=0)
    maps = predict_series(tmp_path, load_model(weights, "cpu"))
    assert (maps.area[:2] != 255).all()
    assert (maps.area[2:4] == 255).all()


def test_a_network_that_cannot_be_run_that_way_says_what_helps(
    long_city: Path, weights: Path
) -> None:
    model = load_model(weights, "cpu")
    other = type(model)(**{**vars(model), "network": object(), "backend": "onnx"})
    with pytest.raises(UserError, match="--choose-dates even"):
        predict_series(long_city, other)
