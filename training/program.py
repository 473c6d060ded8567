"""What the training programs share: processes, device, data, network, folder, then ``fit``.

A script has its settings, opens its data and names its network; the rest is here. Not in the
paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from models import build_network
from models.weights.checkpoint import Checkpoint
from models.weights.choosing import network_to_train
from training.checkpoints import LAST, PREVIOUS, load_last
from training.loop import fit
from training.plan import TrainingPlan
from training.ranks import Ranks, chosen_device
from training.tasks import Task
from utils.batches import Batches
from utils.device import describe_device, make_deterministic, seed_everything
from utils.execution import ready_to_run
from utils.progress import say
from utils.run_folder import log_resumption, start_run
from utils.settings import to_dict

__all__ = ["Experiment", "train"]

Data = Sequence[Dataset[dict[str, Any]]]


@dataclass(frozen=True)
class Experiment:
    """What a training program trains.

    Attributes:
        name: Of the folder under runs/.
        network: Name for ``models.build_network``.
        arguments: Its constructor arguments.
        task: Loss and scores.
        open_data: Opens the training and the validation patches, everything verified.
        facts: What a weights file says of the data.
        visible_bands: Red, green and blue among the bands, for pictures.
        prepare: Called with a new network, not with one that starts from weights.
    """

    name: str
    network: str
    arguments: Mapping[str, Any]
    task: Task
    open_data: Callable[[], Data]
    facts: Mapping[str, Any] = field(default_factory=dict)
    visible_bands: tuple[int, int, int] | None = None
    prepare: Callable[[nn.Module], None] | None = None


def train(experiment: Experiment, settings: Any) -> None:
    """Train as the settings say; alone, or as one of the processes of accelerate or torchrun.

    Args:
        experiment: What is trained.
        settings: A script's block: data, model and optimisation flags (fields of ``TrainingPlan``
            among them), device, seed, output_dir, overwrite, resume, checkpoint, compile,
            recompute, deterministic.

    Raises:
        CaimError: As ``fit``, and whatever opening data and weights refuses.
    """
    device = chosen_device(settings.device)
    if settings.deterministic:
        make_deterministic()
    plan = TrainingPlan.from_settings(settings)
    ranks = Ranks(device, plan.precision)
    seed_everything(settings.seed)
    train_set, val_set = ranks.together(experiment.open_data)
    network, arguments = ranks.together(lambda: _network(experiment, settings))
    folder = ranks.by_first(lambda: _folder(experiment.name, settings, ranks))
    common: dict[str, Any] = {
        "num_workers": settings.num_workers, "device": ranks.device, "rank": ranks.rank,
        "ranks": ranks.size,
    }  # fmt: skip
    train_batches = Batches(
        train_set, settings.batch_size, shuffle=settings.shuffle, drop_last=settings.drop_last,
        seed=settings.seed, **common,
    )  # fmt: skip
    val_batches = Batches(val_set, settings.batch_size, **common)
    say(
        f"{train_batches.patches} training, {val_batches.patches} validation patches; "
        f"{describe_device(ranks.device)}"
    )
    _tell_of_processes(ranks, network, plan, settings.batch_size)
    best = fit(
        ready_to_run(
            network, ranks.device, plan.precision,
            compiled=settings.compile, recompute=settings.recompute,
        ),
        experiment.task,
        train_batches,
        val_batches,
        plan,
        folder,
        Checkpoint(
            experiment.network, arguments, {}, data=dict(experiment.facts),
            training={"settings": to_dict(settings, with_paths=False)},
        ),
        ranks=ranks,
        resume=settings.resume,
        visible_bands=experiment.visible_bands,
    )  # fmt: skip
    say(f"best epoch {best['epoch']}; weights, scores and pictures: {folder}")
    ranks.close()


def _network(experiment: Experiment, settings: Any) -> tuple[nn.Module, dict[str, Any]]:
    """The network and how it is built; a run that began from other weights keeps their form."""
    if settings.resume and settings.checkpoint is not None:
        folder = settings.output_dir
        if folder and any((folder / name).is_file() for name in (LAST, PREVIOUS)):
            last, _ = load_last(folder)
            return build_network(last.network, last.arguments), last.arguments
    network, arguments = network_to_train(
        experiment.arguments, settings.checkpoint, batch_size=settings.batch_size,
        patch_size=settings.patch_size, network=experiment.network,
    )  # fmt: skip
    if experiment.prepare and settings.checkpoint is None and not settings.resume:
        experiment.prepare(network)
    return network, arguments


def _folder(name: str, settings: Any, ranks: Ranks) -> Path:
    folder = start_run(name, settings, ranks.device)
    if settings.resume:
        log_resumption(folder, settings)
    return folder


def _tell_of_processes(
    ranks: Ranks, network: nn.Module, plan: TrainingPlan, batch_size: int
) -> None:
    """Say how a batch is shared, and what that changes for this network."""
    if ranks.size == 1:
        return
    say(f"{ranks.size} processes share each batch of {batch_size} patches")
    if getattr(network, "mixes_batch", False):
        share = -(-batch_size // ranks.size)
        say(
            f"attention over the whole batch of {batch_size}, gathered from all processes"
            if plan.gather_batch
            else f"warning: --attention batch mixes the {share} patches that a process holds, not "
            f"all {batch_size} of the batch; results differ from those of one process. "
            "--gather-batch attends over all, at the cost of sending them around."
        )
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules()):
        say("warning: batch normalisation sees the patches of one process, not the whole batch")
