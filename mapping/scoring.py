"""From a network and scenes with labels to change maps of whole scenes and their scores.

Patches come in the data set's order, scene after scene; a pair of images is a scene with two
classes. Probabilities of overlapping patches are blended, and every pixel is decided and counted
once; in the released protocol for series each patch is decided and counted as it is served.

Protocols: docs/data.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, cast

import torch
from torch import Tensor, nn

from data_processing.pairs.dataset import PairDataset, open_pair_split, padded_size, tiles, whole
from data_processing.pairs.spec import PairSpec
from data_processing.rasters.reading import bound_decoded_blocks
from data_processing.scenes.dataset import SeriesDataset, cover_split, open_split
from data_processing.scenes.spec import DatasetSpec
from mapping.blending import Blend
from mapping.decision import PLAIN, Choice, Decision
from mapping.prediction import Predicts, TileRunner, require_numbers
from mapping.products.rasters import source_tags
from mapping.scored_maps import write_pair_maps, write_reliability, write_scene_maps
from mapping.scores import (
    Place,
    SceneResult,
    overlap_of,
    pair_protocol,
    pair_report,
    pair_table,
    series_protocol,
    series_report,
    series_table,
)
from mapping.scoring_settings import PairScoring, SeriesScoring
from models.weights.checkpoint import Checkpoint
from models.weights.choosing import load_for_scoring, load_pair_weights
from models.weights.precision import precision_for
from models.weights.probability import LeadCounts
from utils.batches import Batches
from utils.codes import IGNORE, NO_DATA
from utils.device import Precision, choose_device
from utils.errors import UserError
from utils.execution import ready_to_run, take_threads
from utils.files import write_json
from utils.metrics import ConfusionMatrix
from utils.progress import progress, say
from utils.run_folder import start_run
from utils.tiling import TileGrid

__all__ = ["ScoringProtocol", "score_pairs", "score_scenes", "score_series"]

DAMAGED = "dataset.json"  # its name among the facts says that it cannot be read
BLOCK_ROWS = 256  # of a map that are decided at a time


@dataclass(frozen=True)
class ScoringProtocol:
    """The way from patches to maps and counts.

    Attributes:
        moments: Whether the network gives moments; else the true moment is the true area.
        counted_once: Blend overlaps and count each pixel once; else decide and count patch by
            patch, as released.
        blank_unseen: Pixels without data at some date become ``NO_DATA`` in the maps.
        overlap: Least overlap of the patches in pixels.
        flat: Overlaps are averaged plainly, see ``TileGrid``.
        decision: Where a pixel counts as changed.
    """

    moments: bool = True
    counted_once: bool = True
    blank_unseen: bool = True
    overlap: int = 0
    flat: bool = False
    decision: Decision = PLAIN


def score_series(dataset: DatasetSpec, settings: SeriesScoring) -> None:
    """Load weights and scenes, score, write maps: what Test_Dynamic.py and Test_SpaceNet7.py do.

    Args:
        dataset: Facts of the data set.
        settings: The program's settings block.

    Raises:
        CaimError: Weights, data or arguments cannot be used.
    """
    device = choose_device(settings.device)
    weights = load_for_scoring(
        settings.checkpoint, dataset.facts(dataset.patch_size, dataset.pixel_scale),
        protocol=settings.protocol, patch_size=settings.patch_size, batch_size=settings.batch_size,
        pixel_scale=settings.pixel_scale, share_cam=settings.share_cam,
    )  # fmt: skip
    made = dataset.provenance(settings.data_root)
    if DAMAGED in made:
        say(
            f"warning: {settings.data_root / dataset.images_root / DAMAGED}: {made[DAMAGED]}; "
            "metrics.json will not say how the data were made. Restore the file."
        )
    full = settings.protocol == "full"
    choice: Choice = settings.decision if full else "plain"
    decision = Decision.of(weights, choice)
    leads = LeadCounts() if full else None
    exactly = "" if full else "--protocol released computes in it"
    precision = precision_for(settings.precision, weights, device, exactly)
    patches = _open_scenes(dataset, settings, weights)
    pixels = len(patches) * int(weights.data["patch_size"]) ** 2
    threads = take_threads(settings.threads, device, pixels)
    settings = replace(settings, precision=precision, threads=threads)  # taken, for the records
    folder = start_run(f"test_{dataset.name.lower()}", settings, device)
    maps, source = folder / "maps", source_tags(weights.facts(settings.checkpoint))
    results = score_scenes(
        ready_to_run(weights.build(), device, precision, compiled=settings.compile),
        Batches(patches, settings.batch_size, num_workers=settings.num_workers, device=device),
        patches.scenes,
        lambda result: write_scene_maps(maps, result, source),
        protocol=ScoringProtocol(
            counted_once=full,
            blank_unseen=patches.ignore_invalid,
            overlap=overlap_of(settings.overlap, weights),
            decision=decision,
        ),
        precision=precision,
        leads=leads,
    )
    report = series_report(results)
    protocol = series_protocol(settings, weights, device, decision, made)
    if leads is not None:
        report |= write_reliability(folder, leads, weights, choice, protocol)
    write_json(folder / "metrics.json", {**report, "protocol": protocol})
    if "note" in made:
        say(f"note: {made['note']}")
    say(series_table(report))
    say(f"scores: {folder / 'metrics.json'}; maps and pictures: {maps}")


def score_pairs(spec: PairSpec, settings: PairScoring) -> None:
    """Load weights and pairs, score, write maps: what Test_CTMA.py does.

    Args:
        spec: Facts of the data set.
        settings: The program's settings block.

    Raises:
        CaimError: Weights, data or arguments cannot be used.
    """
    settings = replace(settings, label_rule=settings.label_rule or spec.label_rule)
    device = choose_device(settings.device)
    path, weights = load_pair_weights(
        settings.checkpoint, spec.fusion_weights,
        {
            "fusion_weights": settings.fusion_weights,
            "mask_threshold": settings.mask_threshold,
            "video_len": settings.video_len,
        },
    )  # fmt: skip
    choice: Choice = "plain" if settings.threshold is not None else settings.decision
    decision = Decision.of(weights, choice)
    if settings.threshold is not None:
        decision = Decision.above(settings.threshold)
    precision = precision_for(settings.precision, weights, device)
    windows, batch_size = _open_pairs(spec, settings)
    pixels = sum(pair.height * pair.width for pair in windows.scenes)
    threads = take_threads(settings.threads, device, pixels)
    settings = replace(settings, precision=precision, threads=threads)  # taken, for the records
    folder = start_run("test_ctma", settings, device)

    def write(result: SceneResult[Any]) -> None:
        drawn.append(result.scene.name)
        write_pair_maps(folder, result, source, draw=len(drawn) <= settings.overviews)

    drawn: list[str] = []
    leads = LeadCounts()
    source = source_tags(weights.facts(path))
    results = score_scenes(
        ready_to_run(weights.build(), device, precision, compiled=settings.compile),
        Batches(windows, batch_size, num_workers=settings.num_workers, device=device),
        windows.scenes,
        write if settings.save_on else None,
        protocol=ScoringProtocol(
            moments=False,
            overlap=settings.window_size - settings.stride if settings.window_size else 0,
            flat=True,
            decision=decision,
        ),
        precision=precision,
        leads=leads,
    )
    report = pair_report(results)
    protocol = pair_protocol(settings, path, weights, device, decision)
    report |= write_reliability(folder, leads, weights, choice, protocol)
    write_json(folder / "metrics.json", {**report, "protocol": protocol})
    say(pair_table(report))
    maps = f"; maps: {folder / 'maps'}" if settings.save_on else ""
    say(f"scores: {folder / 'metrics.json'}{maps}")


def score_scenes(
    network: Predicts | nn.Module,
    batches: Batches,
    scenes: Sequence[Place],
    on_scene: Callable[[SceneResult[Place]], None] | None = None,
    *,
    protocol: ScoringProtocol,
    precision: Precision = "float32",
    leads: LeadCounts | None = None,
) -> list[SceneResult[Place]]:
    """Run the network over scenes and count; memory holds one scene's maps at a time.

    Args:
        network: In eval mode on the device of the batches, with ``predict``.
        batches: Patches in scene order, with keys images, area_label, observed, origin,
            scene_index, and moment_label if the network gives moments.
        scenes: The scenes or pairs that ``scene_index`` counts through.
        on_scene: Called with each finished scene, to write its maps; None writes nothing.
        protocol: How patches become maps, and pixels counts.
        precision: Of the network's heavy part.
        leads: Gets pixels that are counted once by their lead, half of the scenes in each half.

    Returns:
        The counts of every scene, without its maps.

    Raises:
        UserError: There is no patch, or patches of a scene do not come together.
        CaimError: The network gives no numbers, or a patch does not fit into the GPU's memory.
    """
    results: list[SceneResult[Place]] = []
    canvas: _Canvas[Place] | None = None
    mixes_batch = bool(getattr(network, "mixes_batch", False))
    runner = TileRunner(cast(Predicts, network), batches.device, precision, mixes_batch)

    def close() -> None:
        if canvas is not None:
            results.append(canvas.finish(leads))
            if on_scene is not None:
                on_scene(results[-1])
            results[-1].let_go_of_maps()

    keys = _KEYS if protocol.moments else {**_KEYS, "moment_label": "area_label"}
    open_scene = -1
    for batch in progress(batches.epoch(0), "scoring", len(batches), "batch"):
        prob, finished = runner.start(batch["images"])
        runner.wait(finished)
        for i, scene_index in enumerate(batch["scene_index"].tolist()):
            if scene_index != open_scene:
                close()
                scene = scenes[scene_index]
                _require_together(scene, results)
                open_scene = scene_index
                canvas = _Canvas(scene, prob.shape, protocol, len(results) % 2)
            assert canvas is not None
            canvas.add(prob[i], {key: batch[name][i] for key, name in keys.items()})
    close()
    if not results:
        raise UserError("scoring: found no patches, expected at least one scene in this split.")
    return results


_KEYS = {key: key for key in ("origin", "observed", "moment_label", "area_label")}


class _Canvas(Generic[Place]):
    """Collects the patches of one scene."""

    def __init__(self, scene: Place, shape: Any, protocol: ScoringProtocol, half: int) -> None:
        _, num_classes, *sides = shape
        size = (scene.height, scene.width)
        self.scene: Place = scene
        self.protocol: ScoringProtocol = protocol
        grid = TileGrid(*size, max(sides), protocol.overlap, protocol.flat)
        self.blend = Blend(grid, num_classes, 0, scene.height) if protocol.counted_once else None
        self.moment = torch.full(size, NO_DATA, dtype=torch.uint8)
        self.covered = torch.zeros(size, dtype=torch.bool)
        self.unseen = torch.zeros(size, dtype=torch.bool)
        self.moment_label = torch.full(size, IGNORE, dtype=torch.int16)
        self.area_label = torch.full(size, IGNORE, dtype=torch.int16)
        self.half = half
        self.area_matrix = ConfusionMatrix(2)
        self.moment_matrix = ConfusionMatrix(num_classes)

    def add(self, prob: Tensor, patch: Mapping[str, Tensor]) -> None:
        """Lay one patch (K, h, w) down; the part beyond the raster is cut off."""
        row, col = patch["origin"].tolist()
        require_numbers(prob, f"{self.scene.name}, patch at row {row}, column {col}")
        h = min(prob.shape[1], self.scene.height - row)
        w = min(prob.shape[2], self.scene.width - col)
        moment_label, area_label = patch["moment_label"][:h, :w], patch["area_label"][:h, :w]
        window = (slice(row, row + h), slice(col, col + w))
        if self.blend is not None:
            self.blend.add(row, col, prob.numpy())
        else:
            predicted = torch.from_numpy(self.protocol.decision.labels(prob[:, :h, :w].numpy()))
            self.moment[window] = predicted
            self._count(predicted, moment_label, area_label)
        self.covered[window] = True
        self.unseen[window] = ~patch["observed"][:h, :w]
        self.moment_label[window] = moment_label.to(torch.int16)
        self.area_label[window] = area_label.to(torch.int16)

    def finish(self, leads: LeadCounts | None = None) -> SceneResult[Place]:
        """Decide every pixel and count it, if that has not been done patch by patch."""
        if self.blend is not None:
            sums, self.blend = self.blend.take(self.scene.height), None
            for start in range(0, self.scene.height, BLOCK_ROWS):
                rows = slice(start, start + BLOCK_ROWS)
                predicted = torch.from_numpy(self.protocol.decision.labels(sums[:, rows]))
                self._count(predicted, self.moment_label[rows], self.area_label[rows])
                if leads is not None:
                    leads.add(sums[:, rows], self.area_label[rows].numpy(), self.half)
                self.moment[rows] = torch.where(self.covered[rows], predicted, NO_DATA)
        if self.protocol.blank_unseen:
            self.moment[self.unseen] = NO_DATA
        return SceneResult(
            self.scene,
            self.moment.numpy(),
            self.moment_label.numpy(),
            self.area_matrix.matrix(),
            self.moment_matrix.matrix(),
        )

    def _count(self, predicted: Tensor, moment_label: Tensor, area_label: Tensor) -> None:
        self.moment_matrix.update(moment_label, predicted)
        self.area_matrix.update(area_label, predicted > 0)


def _require_together(scene: Place, results: Sequence[SceneResult[Place]]) -> None:
    """Refuse an index that comes back to a scene whose maps are written."""
    if any(result.scene is scene for result in results):
        raise UserError(
            f"scoring: found patches of {scene.name} after those of another scene, expected all "
            "patches of a scene together; sort the index by image_ID, or make it anew with "
            "create_xys."
        )


def _open_scenes(
    dataset: DatasetSpec, settings: SeriesScoring, weights: Checkpoint
) -> SeriesDataset:
    """Patches of a split: all of its pixels, or those of the patch index."""
    side, scale = weights.data["patch_size"], weights.data["pixel_scale"]
    if settings.protocol == "released":
        return open_split(
            settings.data_root, dataset, settings.split, side, settings.stride,
            pixel_scale=scale, ignore_invalid=False,
        )  # fmt: skip
    return cover_split(
        settings.data_root, dataset, settings.split, side, overlap_of(settings.overlap, weights),
        pixel_scale=scale, ignore_invalid=settings.ignore_invalid,
    )  # fmt: skip


def _open_pairs(spec: PairSpec, settings: PairScoring) -> tuple[PairDataset, int]:
    """Whole pairs or sliding windows, and how many at a time."""
    bound_decoded_blocks()
    pairs = open_pair_split(
        settings.data_root, spec, settings.split, label_rule=settings.label_rule,
        bands=settings.bands, pixel_scale=settings.pixel_scale, list_file=settings.list_file,
    )  # fmt: skip
    side = settings.window_size
    if side is not None:
        windows = PairDataset(pairs, tiles(pairs, side, settings.stride), (side, side))
        return windows, settings.batch_size
    sizes = {padded_size(pair) for pair in pairs}
    return PairDataset(pairs, whole(pairs)), settings.batch_size if len(sizes) == 1 else 1
