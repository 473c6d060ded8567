"""From a network and a series of any size to rows of its change maps, as a stream.

Tiles go row by row from top to bottom: one thread reads ahead and cuts them, the network runs on
batches of them, their probabilities are blended, and rows that no further tile touches are decided
and handed on. Memory follows from the raster's width and the tile's height, not from the raster's
height. Protocols: docs/predict.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_processing.own_series.series import RasterSeries
from mapping.blending import Blend
from mapping.decision import PLAIN, Decision, score_percent
from mapping.pipeline import read_ahead
from models import ChangeMaps
from models.weights.probability import Calibration
from utils.codes import NO_DATA
from utils.device import Precision, autocast
from utils.errors import CaimError, DataError
from utils.progress import progress, say
from utils.tiling import TileGrid

__all__ = [
    "MapRows",
    "Predicts",
    "TilePlan",
    "TileRunner",
    "predict_rows",
    "require_numbers",
]

BATCHES_AHEAD = 3  # that wait for the network at most


class Predicts(Protocol):
    """A network as prediction sees it."""

    def predict(self, images: Tensor) -> ChangeMaps:
        """Change maps of images (B, T, C, H, W)."""
        ...


class MapRows(NamedTuple):
    """Finished rows of the maps of one raster.

    Attributes:
        row: The first one.
        moment: (h, W) uint8, 0 … K−1, 255 no data. K = 2 from a network without moments.
        score: (h, W) uint8, 0 … 100, 255 no data.
        probability: (h, W) uint8, percent, 255 no data; None from weights without a good one.
    """

    row: int
    moment: NDArray[np.uint8]
    score: NDArray[np.uint8]
    probability: NDArray[np.uint8] | None = None

    @property
    def layers(self) -> NDArray[np.uint8]:
        """(2 or 3, h, W): moment, score, and probability where there is one."""
        return np.stack([layer for layer in self[1:] if layer is not None])


class TileRunner:
    """A network that takes tiles in batches; where a batch is too large for the GPU, in halves.

    Args:
        network: In eval mode, on its device.
        device: Where it runs.
        precision: Of its heavy part.
        whole_batches: Whether a tile's map depends on its batch, which then cannot be divided.
    """

    def __init__(
        self,
        network: Predicts,
        device: torch.device,
        precision: Precision = "float32",
        whole_batches: bool = False,
    ) -> None:
        self.network, self.device, self.precision = network, device, precision
        self.whole_batches = whole_batches
        self._most: int | None = None

    def start(self, images: Tensor) -> tuple[Tensor, Any]:
        """Begin with a batch (B, T, C, t, t) that lies on the CPU.

        Returns:
            Probabilities (B, K, t, t) on the CPU, to be looked at when :meth:`wait` has waited for
            the second value. A GPU computes meanwhile.

        Raises:
            CaimError: A single tile is too large for the GPU's memory.
        """
        while True:
            at_once = min(self._most or len(images), len(images))
            try:
                return self._run(images, at_once)
            except torch.OutOfMemoryError as error:
                if self.whole_batches:
                    raise CaimError(
                        f"{self.device}: out of memory with batches of {len(images)} tiles; with "
                        "these weights the batch is part of the result, so it is not divided. Use "
                        "a smaller --batch-size, or --share-cam for per-window CAM weights."
                    ) from error
                if at_once == 1:
                    raise CaimError(
                        f"{self.device}: one tile of {images.shape[-1]}×{images.shape[-1]} pixels "
                        "does not fit into its memory, expected room for one at least. Use "
                        "--precision bfloat16, another --device, or end other programs on it."
                    ) from error
                self._most = at_once // 2
                say(f"{self.device}: out of memory, going on with batches of {self._most} tiles")
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def wait(self, finished: Any) -> None:
        """Wait until a batch is there."""
        if finished is not None:
            finished.synchronize()

    def _run(self, images: Tensor, at_once: int) -> tuple[Tensor, Any]:
        parts = []
        for part in torch.split(images, at_once):
            with autocast(self.device, self.precision):
                maps = self.network.predict(part.to(self.device, non_blocking=True))
            parts.append(maps.area_prob if maps.moment_prob is None else maps.moment_prob)
        on_gpu = self.device.type == "cuda"
        prob = torch.cat(parts).float().to("cpu", non_blocking=on_gpu)
        finished = None
        if on_gpu:
            finished = torch.cuda.Event()  # type: ignore[no-untyped-call]
            finished.record(torch.cuda.current_stream(self.device))
        return prob, finished


def require_numbers(prob: Tensor, where: str) -> None:
    """Refuse probabilities that are no numbers: decided on, they would read "unchanged".

    Args:
        prob: Of any shape.
        where: What they belong to, for the message.

    Raises:
        DataError: Some are NaN or infinite.
    """
    if not prob.isfinite().all():
        raise DataError(
            where,
            ["found NaN or infinite probabilities from the network, expected numbers"],
            "Pixel values there may be no measurements (set the nodata tag, or see --pixel-scale), "
            "the weights may be damaged, or --precision float32 is needed.",
        )


@dataclass(frozen=True)
class TilePlan:
    """The plan by which a raster is gone through.

    Attributes:
        grid: Its tiles.
        num_classes: K of what is blended: T moments, or 2 where the network gives areas only.
        bounds: Smallest and largest probability of "changed", see ``models.area_prob_bounds``.
        batch_size: Tiles at a time.
        chunk_tiles: Tiles of a row of tiles that are read at a time, a multiple of the batch size.
        moments: Whether the network gives moments.
        decision: Where a pixel counts as changed.
        calibration: What gives a probability of change; None if none is mapped.
    """

    grid: TileGrid
    num_classes: int
    bounds: tuple[float, float]
    batch_size: int
    chunk_tiles: int
    moments: bool = True
    decision: Decision = PLAIN
    calibration: Calibration | None = None

    @property
    def layers(self) -> int:
        """Number of maps, with that of the probability if there is one."""
        return 2 if self.calibration is None else 3


class _Batch(NamedTuple):
    """Tiles of one row of tiles: top row, left columns, images and what is observed of each."""

    row: int
    cols: Sequence[int]
    images: NDArray[np.float32]
    observed: NDArray[np.bool_]


def predict_rows(
    runner: TileRunner,
    source: RasterSeries,
    plan: TilePlan,
    first: int,
    last: int,
    note: str = "",
) -> Iterator[MapRows]:
    """Rows ``first`` … ``last − 1`` of the maps of a series, from top to bottom.

    What a row of pixels gets does not depend on where the rows begin or end: all tiles that touch
    them are computed.

    Args:
        runner: The network.
        source: The series.
        plan: How it is gone through.
        first, last: Rows wanted.
        note: Added to the label of the progress bar.
    """
    tile_rows = plan.grid.rows_touching(first, last)
    band = _Band(plan, tile_rows[0])
    batches = _cut(source, plan, tile_rows)
    total = len(tile_rows) * -(-len(plan.grid.cols) // plan.batch_size)
    pending: tuple[_Batch, Tensor, Any] | None = None
    shown = progress(
        read_ahead(batches, BATCHES_AHEAD), f"mapping {source.name}{note}", total, "batch"
    )
    for batch in shown:
        if batch.row > band.first:
            if pending is not None:
                runner.wait(pending[2])
                band.add(*pending[:2])
                pending = None
            yield from band.take(batch.row, first, last)
        started = (batch, *runner.start(torch.from_numpy(batch.images)))
        if pending is not None:
            runner.wait(pending[2])
            band.add(*pending[:2])  # while a GPU works on the batch just begun
        pending = started
    if pending is not None:
        runner.wait(pending[2])
        band.add(*pending[:2])
    yield from band.take(last, first, last)


class _Band:
    """The rows that the current row of tiles touches."""

    def __init__(self, plan: TilePlan, first: int) -> None:
        self.plan, self.grid = plan, plan.grid
        grid = plan.grid
        self._blend = Blend(grid, plan.num_classes, first, grid.tile_size)
        self._observed = np.zeros((grid.tile_size, grid.width), np.bool_)

    @property
    def first(self) -> int:
        """The pixel row on top."""
        return self._blend.first

    def add(self, batch: _Batch, prob: Tensor) -> None:
        """Blend the tiles of a batch in."""
        columns = f"columns {min(batch.cols)}…{max(batch.cols)}"
        require_numbers(prob, f"tiles at row {batch.row}, {columns}")
        for col, tile, observed in zip(batch.cols, prob.numpy(), batch.observed, strict=True):
            self._blend.add(batch.row, col, tile)
            width = min(self.grid.tile_size, self.grid.width - col)
            self._observed[:, col : col + width] = observed[:, :width]

    def take(self, until: int, first: int, last: int) -> Iterator[MapRows]:
        """The rows above ``until`` as far as they are wanted; the band moves down to it."""
        row, count = self._blend.first, until - self._blend.first
        sums, observed = self._blend.take(count), self._observed[:count]
        skipped = max(0, first - row)
        wanted = slice(skipped, max(skipped, min(count, last - row)))
        if wanted.stop > wanted.start:
            sums, observed = sums[:, wanted], observed[wanted]
            yield self._decided(row + skipped, sums, observed)
        self._observed = np.roll(self._observed, -count, axis=0)

    def _decided(self, row: int, sums: NDArray[np.int32], observed: NDArray[np.bool_]) -> MapRows:
        """Maps (h, W) of blended sums (K, h, W)."""
        plan = self.plan
        score = score_percent(sums, plan.bounds, plan.moments, plan.decision)
        layers = [plan.decision.labels(sums), score]
        if plan.calibration is not None:
            layers.append(plan.calibration.percent(sums))
        return MapRows(row, *(np.where(observed, layer, np.uint8(NO_DATA)) for layer in layers))


def _cut(source: RasterSeries, plan: TilePlan, tile_rows: Sequence[int]) -> Iterator[_Batch]:
    """Batches of tiles, row of tiles by row of tiles, read in chunks."""
    grid, chunk_tiles, batch_size = plan.grid, plan.chunk_tiles, plan.batch_size
    side = grid.tile_size
    for row in tile_rows:
        for start in range(0, len(grid.cols), chunk_tiles):
            cols = grid.cols[start : start + chunk_tiles]
            left = min(cols)
            window = source.read(row, left, side, max(cols) + side - left)
            for begin in range(0, len(cols), batch_size):
                taken = cols[begin : begin + batch_size]
                parts = [slice(col - left, col - left + side) for col in taken]
                yield _Batch(
                    row,
                    taken,
                    np.stack([window.images[..., part] for part in parts]),
                    np.stack([window.observed[:, part] for part in parts]),
                )
            del window  # before the next one is read
