"""Train CAIM-Net on DynamicEarthNet (6 dates, 4 bands).

    python Train_Dynamic.py --data-root data
    torchrun --nproc_per_node 2 Train_Dynamic.py --data-root data
    python Train_Dynamic.py --resume --output-dir runs/train_dynamic/<time>

Writes runs/train_dynamic/<time>/: last.pth, best.pth (by validation moment F1), metrics.csv,
steps.jsonl, pictures, settings.json, environment.json (docs/training.md has all). The full recipe
is meant for a GPU; a CPU with bfloat16 manages small data (docs/results.md has times).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_processing.scenes.augmentation import FlipRotate
from data_processing.scenes.dataset import open_splits
from data_processing.scenes.spec import DYNAMIC as DATASET
from training.program import Experiment, train
from training.tasks import CaimTask
from utils.errors import run_program
from utils.run_folder import run_settings
from utils.settings import setting

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line, ordered by how often it is edited; each is also a flag."""

    # paths
    data_root: Path = setting(Path("data"), "folder that holds Images_Dynamic/", "paths")
    output_dir: Path | None = setting(None, "folder of this run; none = runs/train_dynamic/<time>")
    checkpoint: Path | None = setting(None, "weights to start from; none = new ones")
    overwrite: bool = setting(False, "start afresh in an output folder that is not empty")
    resume: bool = setting(False, "go on with the run in --output-dir, with its settings")
    # data
    patch_size: int = setting(64, "side of a patch in pixels", "data", minimum=4, multiple_of=4)
    stride: int = setting(64, "step between patches in pixels", minimum=1)
    augment: bool = setting(False, "flip and turn patches at random (released: no)")
    shuffle: bool = setting(True, "new order of patches every epoch (released: no)")
    drop_last: bool = setting(False, "leave a short last batch out (released: yes)")
    ignore_invalid: bool = setting(True, "leave pixels without data out of loss and scores")
    pixel_scale: Literal["auto", "stored"] = setting(
        "auto", "auto = 8-bit / 255, 16-bit / 10000; stored = as they are"
    )
    num_workers: int | None = setting(None, "reading processes; none = 2, on a CPU 0", minimum=0)
    cache: bool = setting(False, "keep all scenes in memory")
    # model
    attention: Literal["spatial", "batch"] = setting("spatial", "batch = as released", "model")
    cam: Literal["shared", "per_window"] = setting("shared", "per_window = as released")
    width: int = setting(64, "channels of each date's features, D", minimum=4, multiple_of=4)
    dropout: float = setting(0.1, "of the transformer layer", minimum=0, below=1)
    # optimisation
    epochs: int = setting(100, "passes over the training patches", "optimisation", minimum=1)
    batch_size: int = setting(96, "patches per step, over all processes", minimum=1)
    lr: float = setting(1e-4, "learning rate of Adam", minimum=1e-12, below=10)
    schedule: Literal["step", "cosine"] = setting("step", "course of the learning rate")
    lr_milestones: tuple[int, ...] = setting(
        (100,), "epochs (from 0) at which steps lower it", minimum=0
    )
    lr_factor: float = setting(0.5, "by how much a step lowers it", minimum=0)
    weight_decay: float = setting(0.0, "of Adam", minimum=0)
    clip_norm: float | None = setting(
        4.0, "largest gradient norm (released: without effect)", minimum=1e-9
    )
    rebuild_optimizer: bool = setting(False, "new optimiser every epoch (released: yes)")
    area_factors: tuple[float, ...] | None = setting(
        None, "loss factors: unchanged, changed", minimum=0
    )
    moment_factors: tuple[float, ...] | None = setting(
        None, "loss factors of the 6 moments", minimum=0
    )
    precision: Literal["float32", "bfloat16"] = setting("float32", "bfloat16 = autocast")
    max_memory: str | None = setting(
        None, "such as 8G: batches are computed in parts that fit; none = what the GPU has"
    )
    gather_batch: bool = setting(
        False, "attention batch, several processes: attend over all of them"
    )
    recompute: bool = setting(False, "activation checkpointing: half the memory, more time")
    compile: bool = setting(False, "torch.compile: pays on some GPUs, not on CPUs seen so far")
    protocol: Literal["ours", "released"] = setting("ours", "released = all of RELEASED below")
    # output
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps", "output")
    seed: int = setting(1, "of weights, order, dropout and augmentation", minimum=0, below=2**32)
    deterministic: bool = setting(False, "on GPUs: the same bits every time, slower")
    checkpoint_minutes: float | None = setting(
        15.0, "time between checkpoints within an epoch", minimum=0
    )
    tensorboard: bool = setting(False, "write TensorBoard's files, too (needs tensorboard)")


RELEASED = {
    "shuffle": False, "drop_last": True, "ignore_invalid": False, "attention": "batch",
    "cam": "per_window", "rebuild_optimizer": True, "clip_norm": None,
    "pixel_scale": "stored",
}  # fmt: skip

# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Open the data, build the network, train it."""
    settings = run_settings(Settings(), RELEASED)
    arguments = {
        "in_channels": len(DATASET.bands), "num_dates": DATASET.num_dates,
        "width": settings.width, "dropout": settings.dropout,
        "attention": settings.attention, "cam": settings.cam,
    }  # fmt: skip
    if settings.cam == "per_window":
        arguments["cam_windows"] = (settings.batch_size, settings.patch_size, settings.patch_size)
    experiment = Experiment(
        "train_dynamic",
        "caim_net",
        arguments,
        CaimTask(DATASET.num_classes, settings.area_factors, settings.moment_factors),
        lambda: open_splits(
            settings.data_root, DATASET,
            {"train": FlipRotate() if settings.augment else None, "val": None},
            settings.patch_size, settings.stride, cache=settings.cache,
            pixel_scale=settings.pixel_scale, ignore_invalid=settings.ignore_invalid,
        ),
        DATASET.facts(settings.patch_size, settings.pixel_scale),
        DATASET.visible_bands,
    )  # fmt: skip
    train(experiment, settings)


if __name__ == "__main__":
    run_program(main)
