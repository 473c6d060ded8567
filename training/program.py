"""The common part of the training programs: processes, device, data, network, folder, then ``fit``.

A script has its settings and says what it trains, an ``Experiment``; the rest is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from data_processing.scenes.dataset import SeriesDataset, open_splits
from data_processing.scenes.spec import DatasetSpec
from data_processing.scenes.varied_patches import vary_patches
from models import start_cams
from models.weights.checkpoint import Checkpoint
from models.weights.choosing import network_to_train
from training.calibration import store_measured
from training.checkpoints import CheckpointManager, LastCheckpoint
from training.loop import fit
from training.plan import TrainingPlan
from training.ranks import Ranks, check_processes, chosen_device
from training.records import check_trackers
from training.run import Run
from training.settings import CaimSettings, TrainingSettings
from training.tasks import CaimTask, Task
from utils.batches import Batches
from utils.device import describe_device, make_deterministic, seed_everything
from utils.execution import ready_to_run, take_threads
from utils.files import hold_folder
from utils.progress import say
from utils.run_folder import log_resumption, start_run
from utils.settings import to_dict

__all__ = ["Experiment", "caim_experiment", "train"]

Data = Sequence[Dataset[dict[str, Any]]]
WHOLE_PAIR = 256  # pixels of a side of pairs that are taken as a whole, about
LONGEST_NAME = 100  # of a program, in weights files


@dataclass(frozen=True)
class Experiment:
    """A network, its task and its data, as a training program names them.

    Attributes:
        name: Of the folder under runs/.
        network: Name for ``models.build_network``.
        arguments: Its constructor arguments.
        task: Loss and scores.
        open_data: Opens the training and the validation patches, everything verified.
        facts: What a weights file says of the data.
        visible_bands: Red, green and blue among the bands, for pictures.
        prepare: Called with a new network, not with one that starts from weights.
        made_by: Program that made the data, if they say it.
    """

    name: str
    network: str
    arguments: Mapping[str, Any]
    task: Task
    open_data: Callable[[], Data]
    facts: Mapping[str, Any] = field(default_factory=dict)
    visible_bands: tuple[int, int, int] | None = None
    prepare: Callable[[nn.Module], None] | None = None
    made_by: str = ""


def caim_experiment(name: str, spec: DatasetSpec, settings: CaimSettings) -> Experiment:
    """CAIM-Net on a data set of scenes.

    Args:
        name: Of the folder under runs/.
        spec: Facts of the data set.
        settings: Of the training program.

    Raises:
        UserError: The number of class factors is wrong.
    """
    arguments: dict[str, Any] = {
        "in_channels": len(spec.bands), "num_dates": spec.num_dates,
        "width": settings.width, "dropout": settings.dropout,
        "attention": settings.attention, "cam": settings.cam,
    }  # fmt: skip
    if settings.cam == "per_window":
        arguments["cam_windows"] = (settings.batch_size, settings.patch_size, settings.patch_size)
    return Experiment(
        name,
        "caim_net",
        arguments,
        CaimTask(spec.num_classes, settings.area_factors, settings.moment_factors),
        lambda: _open_scenes(spec, settings),
        spec.facts(settings.patch_size, settings.pixel_scale or spec.pixel_scale),
        spec.visible_bands,
        start_cams if settings.cam_start == "mean" else None,
        str(spec.provenance(settings.data_root).get("generator", ""))[:LONGEST_NAME],
    )


def _open_scenes(spec: DatasetSpec, settings: CaimSettings) -> list[SeriesDataset]:
    """Training patches, varied as the settings say, and validation patches as they are."""
    scale = settings.pixel_scale or spec.pixel_scale
    train_set, val_set = open_splits(
        settings.data_root, spec, {"train": None, "val": None},
        settings.patch_size, settings.stride, cache=settings.cache,
        pixel_scale=scale, ignore_invalid=settings.ignore_invalid,
    )  # fmt: skip
    vary_patches(
        train_set, random_crops=settings.random_crops, insert_changes=settings.insert_changes,
        augment=settings.augment,
    )  # fmt: skip
    return [train_set, val_set]


def train(experiment: Experiment, settings: TrainingSettings) -> None:
    """Train as the settings say; alone, or as one of the processes of accelerate or torchrun.

    Args:
        experiment: What is trained.
        settings: Of the training program.

    Raises:
        CaimError: As ``fit``, and whatever opening data and weights refuses.
    """
    device = chosen_device(settings.device)
    if settings.deterministic:
        make_deterministic()
    plan = TrainingPlan.from_settings(settings)
    check_trackers(plan.log_with)
    ranks = Ranks(device, plan.precision)
    seed_everything(settings.seed)
    last = ranks.by_first(lambda: _last_checkpoint(settings))
    train_set, val_set = ranks.together(experiment.open_data)
    settings = _with_threads(settings, train_set, ranks)
    network, arguments = ranks.together(lambda: _network(experiment, settings, last, ranks))
    folder = ranks.by_first(lambda: _folder(experiment.name, settings, ranks))
    common: dict[str, Any] = {
        "num_workers": settings.num_workers, "device": ranks.device, "rank": ranks.rank,
        "ranks": ranks.size,
    }  # fmt: skip
    train_batches = Batches(
        train_set, settings.batch_size, shuffle=settings.shuffle, drop_last=settings.drop_last,
        seed=settings.seed, **common,
    )  # fmt: skip
    run = Run(
        ready_to_run(
            network, ranks.device, plan.precision,
            compiled=settings.compile, recompute=settings.recompute,
        ),
        experiment.task,
        plan,
        train_batches,
        Batches(val_set, settings.batch_size, **common),
        folder,
        Checkpoint(
            experiment.network, arguments, {}, data=dict(experiment.facts),
            training={
                "settings": to_dict(settings, with_paths=False),
                "about": _about(experiment, train_batches.patches),
            },
        ),
        ranks,
        experiment.visible_bands,
    )  # fmt: skip
    say(
        f"{run.train.patches} training, {run.val.patches} validation patches; "
        f"{describe_device(ranks.device)}"
    )
    if settings.resume and last is None:
        say(f"{folder} holds no checkpoint yet: beginning with the first step")
    best = fit(run, last)
    store_measured(run)
    say(f"best epoch {best['epoch']}; weights, scores and pictures: {folder}")
    ranks.leave()


def _with_threads(settings: TrainingSettings, patches: Any, ranks: Ranks) -> TrainingSettings:
    """The settings with the threads that are taken: a run that goes on has those it began with."""
    assert settings.epochs is not None
    pixels = len(patches) * (settings.patch_size or WHOLE_PAIR) ** 2 * settings.epochs
    by_hand = settings.resume or settings.deterministic or ranks.size > 1
    threads = take_threads(settings.threads, ranks.device, pixels, measured=not by_hand)
    return replace(settings, threads=threads)


def _about(experiment: Experiment, patches: int) -> str:
    """A sentence on what is learnt from, for everybody who maps with the weights."""
    layout = f"{patches:,} patches in the layout of {experiment.facts.get('name')}"
    return f"{layout}, made by {experiment.made_by}" if experiment.made_by else layout


def _last_checkpoint(settings: TrainingSettings) -> LastCheckpoint | None:
    if not settings.resume or settings.output_dir is None or not settings.output_dir.is_dir():
        return None
    hold_folder(settings.output_dir)  # nobody else changes its files from here on
    return CheckpointManager(settings.output_dir).load()


def _network(
    experiment: Experiment, settings: TrainingSettings, last: LastCheckpoint | None, ranks: Ranks
) -> tuple[nn.Module, dict[str, Any]]:
    """The network and how it is built: anew, from weights, or as the run that goes on has it."""
    if last is not None and settings.checkpoint is not None:  # its form came with those weights
        network, arguments = last.weights.build(), last.weights.arguments
    else:
        network, arguments = network_to_train(
            experiment.arguments, settings.checkpoint, batch_size=settings.batch_size,
            patch_size=settings.patch_size, network=experiment.network,
            bands=experiment.facts.get("bands"),
        )  # fmt: skip
        if experiment.prepare and settings.checkpoint is None and last is None:
            experiment.prepare(network)
    if ranks.size > 1:
        check_processes(ranks.size, network, settings.batch_size)
    return network, arguments


def _folder(name: str, settings: TrainingSettings, ranks: Ranks) -> Path:
    folder = start_run(name, settings, ranks.device)
    if settings.resume:
        log_resumption(folder, settings)
    return folder
