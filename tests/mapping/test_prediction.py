"""The stream from a series to rows of its maps (mapping/prediction.py)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mapping.decision import PROB_UNIT
from mapping.prediction import Predicts, TilePlan, TileRunner, predict_rows
from models import CAIMNet, ChangeMaps, area_prob_bounds
from utils.errors import CaimError, DataError
from utils.tiling import TileGrid

CPU = torch.device("cpu")
T = 6


class Window(NamedTuple):
    images: NDArray[np.float32]
    observed: NDArray[np.bool_]


class Noise:
    """A series of seeded noise, filled beyond its borders."""

    name = "noise"

    def __init__(self, height: int, width: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.height, self.width = height, width
        self.images = rng.random((T, 4, height, width), np.float32)
        self.observed = rng.random((height, width)) > 0.1
        self.windows: list[tuple[int, int, int, int]] = []

    def read(self, row: int, col: int, height: int, width: int) -> Window:
        self.windows.append((row, col, height, width))
        h, w = min(height, self.height - row), min(width, self.width - col)
        beyond = ((0, height - h), (0, width - w))
        part = (..., slice(row, row + h), slice(col, col + w))
        images = np.pad(self.images[part], ((0, 0), (0, 0), *beyond), mode="edge")
        return Window(images, np.pad(self.observed[part], beyond))


class Small:
    """A network that does not take more than so many tiles at a time."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, list[int]()

    def predict(self, images: Tensor) -> ChangeMaps:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("too many")
        self.taken.append(len(images))
        moment_prob = images[:, :, 0].softmax(dim=1)
        return ChangeMaps(moment_prob[:, :2], moment_prob)


@pytest.fixture(scope="module")
def network() -> CAIMNet:
    torch.manual_seed(0)
    return CAIMNet(num_dates=T, width=8).eval()


def plan(grid: TileGrid, batch_size: int = 4, chunk_tiles: int = 64) -> TilePlan:
    bounds = area_prob_bounds("caim_net", {"num_dates": T})
    return TilePlan(grid, T, bounds, batch_size, chunk_tiles)


def mapped(
    network: Predicts, source: Noise, tiles: TilePlan, first: int = 0, last: int | None = None
) -> NDArray[np.uint8]:
    """Moment and score (2, h, W) of some rows."""
    last = source.height if last is None else last
    parts = list(predict_rows(TileRunner(network, CPU), source, tiles, first, last))
    assert [part.row for part in parts] == [
        first + sum(len(p.moment) for p in parts[:n]) for n in range(len(parts))
    ]
    return np.concatenate([np.stack([part.moment, part.score]) for part in parts], axis=1)


def plainly(network: CAIMNet, source: Noise, grid: TileGrid) -> NDArray[np.int64]:
    """The change moment by a literal weighted mean in float64, 255 where not observed."""
    t, o = grid.tile_size, max(1, grid.overlap)
    edge = np.minimum(np.arange(t) + 1, t - np.arange(t)).clip(max=o)
    total = np.zeros((T, grid.height + t, grid.width + t))
    for row, col in grid.origins:
        images = torch.from_numpy(source.read(row, col, t, t).images)[None]
        prob = network.predict(images).moment_prob
        assert prob is not None
        weighted = prob[0].double().numpy() * np.outer(edge, edge)
        total[:, row : row + t, col : col + t] += weighted
    total = total[:, : grid.height, : grid.width]
    total /= total.sum(axis=0)
    label = np.where(total[1:].max(axis=0) > total[0], total[1:].argmax(axis=0) + 1, 0)
    return np.where(source.observed, label, 255)


@pytest.mark.parametrize("size", [(61, 47), (16, 16), (9, 40), (5, 3)])
@pytest.mark.parametrize("overlap", [0, 4])
def test_maps_are_the_decision_of_the_weighted_mean(
    network: CAIMNet, size: tuple[int, int], overlap: int
) -> None:
    source, grid = Noise(*size), TileGrid(*size, 16, overlap)
    moment, score = mapped(network, source, plan(grid))
    assert (moment != plainly(network, source, grid)).mean() < 0.005  # near-ties
    assert ((moment == 255) == ~source.observed).all()
    assert ((score == 255) == ~source.observed).all()
    assert (score[source.observed & (moment > 0)] >= 50).all()


def test_the_order_of_tiles_and_what_is_read_at_a_time_change_no_byte(network: CAIMNet) -> None:
    source, grid = Noise(61, 90), TileGrid(61, 90, 16, 4)
    expected = mapped(network, source, plan(grid))
    for seed, chunk_tiles in enumerate((4, 8, 64)):
        shuffled = TileGrid(61, 90, 16, 4)
        order = np.random.default_rng(seed).permutation(len(grid.cols))
        shuffled.__dict__["cols"] = tuple(grid.cols[i] for i in order)
        found = mapped(network, source, plan(shuffled, chunk_tiles=chunk_tiles))
        assert np.array_equal(found, expected)


def test_any_part_of_the_rows_is_the_same_part_of_the_map(network: CAIMNet) -> None:
    source, grid = Noise(61, 33), TileGrid(61, 33, 16, 6)
    whole = mapped(network, source, plan(grid))
    for first, last in ((0, 20), (20, 61), (30, 31), (57, 61)):
        assert np.array_equal(
            mapped(network, source, plan(grid), first, last), whole[:, first:last]
        )


def test_the_batch_size_changes_hardly_a_pixel(network: CAIMNet) -> None:
    source, grid = Noise(128, 128), TileGrid(128, 128, 16, 4)
    maps = [mapped(network, source, plan(grid, b, 8 * b))[0] for b in (1, 3, 8)]
    for other in maps[1:]:
        assert (other == maps[0]).mean() >= 0.9999


def test_reading_goes_down_the_raster_and_never_holds_more_than_a_row_of_tiles(
    network: CAIMNet,
) -> None:
    source, grid = Noise(200, 90), TileGrid(200, 90, 16, 4)
    mapped(network, source, plan(grid, 4, chunk_tiles=4))
    assert {height for _, _, height, _ in source.windows} == {16}
    assert max(width for *_, width in source.windows) <= 4 * 16
    rows = [row for row, *_ in source.windows]
    assert rows == sorted(rows)
    assert len(source.windows) == len(grid.rows) * 2


def test_out_of_memory_halves_the_batch_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    source, grid = Noise(40, 60), TileGrid(40, 60, 16, 4)
    small, large = Small(2), Small(100)
    assert np.array_equal(
        mapped(small, source, plan(grid, 8, 8)), mapped(large, source, plan(grid, 8, 8))
    )
    assert max(small.taken) == 2
    said = capsys.readouterr().out
    assert said.count("out of memory") == 1  # five tiles a row: two at a time from then on
    assert "going on with batches of 2 tiles" in said


def test_a_single_tile_that_does_not_fit_is_a_clear_end() -> None:
    with pytest.raises(CaimError, match=r"one tile of 16×16 pixels does not fit.*--precision"):
        mapped(Small(0), Noise(16, 16), plan(TileGrid(16, 16, 16)))


def test_batches_that_are_part_of_the_result_are_not_divided() -> None:
    runner = TileRunner(Small(2), CPU, whole_batches=True)
    with pytest.raises(CaimError, match=r"--batch-size.*--share-cam"):
        runner.start(torch.zeros(4, T, 4, 16, 16))


def test_probabilities_that_are_no_numbers_are_no_map() -> None:
    class Sick(Small):
        def predict(self, images: Tensor) -> ChangeMaps:
            maps = super().predict(images)
            assert maps.moment_prob is not None
            return ChangeMaps(maps.area_prob, maps.moment_prob * float("nan"))

    with pytest.raises(
        DataError, match=r"(?s)tiles at row 0, .*found NaN or infinite probabilities"
    ):
        mapped(Sick(100), Noise(20, 20), plan(TileGrid(20, 20, 16, 4)))


def test_a_source_that_fails_stops_the_stream_with_its_own_error(network: CAIMNet) -> None:
    class Broken(Noise):
        def read(self, row: int, col: int, height: int, width: int) -> Window:
            if row > 20:
                raise OSError("the drive was pulled out")
            return super().read(row, col, height, width)

    with pytest.raises(OSError, match="pulled out"):
        mapped(network, Broken(61, 30), plan(TileGrid(61, 30, 16, 4)))


def test_a_network_without_moments_is_blended_by_its_areas() -> None:
    class Areas:
        def predict(self, images: Tensor) -> ChangeMaps:
            changed = images[:, -1, 0] / 1.0
            return ChangeMaps(torch.stack([1 - changed, changed], dim=1), None)

    source, grid = Noise(20, 20), TileGrid(20, 20, 16, 4)
    tiles = TilePlan(grid, 2, (0.0, 1.0), 4, 4, moments=False)
    moment, score = mapped(Areas(), source, tiles)
    prob = source.images[-1, 0][source.observed]
    assert np.array_equal(moment[source.observed], (prob > 0.5).astype(np.uint8))
    assert np.abs(score[source.observed] - 100 * prob).max() <= 0.5 + 1e-3
    assert PROB_UNIT == 2**30


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_gives_nearly_the_same_maps() -> None:
    torch.manual_seed(0)
    network = CAIMNet(num_dates=T, width=8).eval()
    source, grid = Noise(128, 128), TileGrid(128, 128, 16, 4)
    expected = mapped(network, source, plan(grid, 8, 8))[0]
    runner = TileRunner(network.to("cuda"), torch.device("cuda"))
    parts = list(predict_rows(runner, source, plan(grid, 8, 8), 0, 128))
    found = np.concatenate([part.moment for part in parts])
    assert (found == expected).mean() >= 0.999
