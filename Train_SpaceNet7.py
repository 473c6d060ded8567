"""Train CAIM-Net on SpaceNet7 (9 dates, RGBA).

    python Train_SpaceNet7.py --data-root data
    torchrun --nproc_per_node 2 Train_SpaceNet7.py --data-root data
    python Train_SpaceNet7.py --resume --output-dir runs/train_spacenet7/<time>

Writes runs/train_spacenet7/<time>/: last.pth, best.pth (by validation moment F1), metrics.csv,
steps.jsonl, pictures, settings.json, environment.json (docs/training.md has all). The full recipe
is meant for a GPU; a CPU with bfloat16 manages small data (docs/results.md has times).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_processing.scenes.spec import SPACENET7 as DATASET
from data_processing.scenes.splits import require_images
from training.settings import CaimSettings
from utils.errors import run_program
from utils.fields import (
    ClipNorm,
    Fraction,
    LearningRate,
    Natural,
    NonNegative,
    PatchSide,
    Positive,
    Seed,
    WeightsFile,
    Width,
    Workers,
)
from utils.settings import run_settings

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings(CaimSettings):
    """One value a line, ordered by how often it is edited; each is also a flag."""

    # paths
    data_root: Path = Path("data")  # folder that holds Images_SpaceNet7/
    output_dir: Path | None = None  # folder of this run; none = runs/train_spacenet7/<time>
    checkpoint: WeightsFile | None = None  # weights to start from; none = new ones
    overwrite: bool = False  # start afresh in an output folder that is not empty
    resume: bool = False  # go on with the run in --output-dir, with its settings
    # data
    patch_size: PatchSide = 64  # side of a patch in pixels
    stride: Positive = 63  # step between patches in pixels
    augment: bool = False  # flip and turn patches at random (released: no)
    random_crops: bool = False  # windows anywhere in a scene, others every epoch (released: no)
    insert_changes: Fraction = 0.0  # share of patches with changes of other scenes (released: 0)
    shuffle: bool = True  # new order of patches every epoch (released: no)
    drop_last: bool = False  # leave a short last batch out (released: yes)
    ignore_invalid: bool = True  # leave pixels without data out of loss and scores
    # auto = 8-bit / 255, 16-bit / 10000; stored = as they are
    pixel_scale: Literal["auto", "stored"] = "auto"
    num_workers: Workers | None = None  # reading processes; none = 2, on a CPU 0
    cache: bool = False  # keep all scenes in memory
    # model
    attention: Literal["spatial", "batch"] = "spatial"  # batch = as released
    cam: Literal["shared", "per_window"] = "shared"  # per_window = as released
    width: Width = 64  # channels of each date's features, D
    dropout: Fraction = 0.1  # of the transformer layer
    # weights of the temporal CAM at first: mean = those of a mean, released = around zero
    cam_start: Literal["released", "mean"] = "released"
    # optimisation
    epochs: Positive = 100  # passes over the training patches
    batch_size: Positive = 64  # patches per step, over all processes
    lr: LearningRate = 1e-4  # learning rate of Adam
    schedule: Literal["step", "cosine"] = "step"  # course of the learning rate
    lr_milestones: tuple[Natural, ...] = (50,)  # epochs (from 0) at which steps lower it
    lr_factor: NonNegative = 0.5  # by how much a step lowers it
    weight_decay: NonNegative = 0.0  # of Adam
    clip_norm: ClipNorm | None = 4.0  # largest gradient norm, none = leave as is
    rebuild_optimizer: bool = False  # new optimiser every epoch (released: yes)
    area_factors: tuple[NonNegative, ...] | None = (5.5, 1.0)  # loss factors: unchanged, changed
    # loss factors of the 9 moments
    moment_factors: tuple[NonNegative, ...] | None = (5.5, *[1.0] * 8)
    # share that averaged weights keep at a step, which are then validated and kept; none = last
    average: Fraction | None = None
    precision: Literal["float32", "bfloat16"] = "float32"  # bfloat16 = autocast
    # such as 8G: batches are computed in parts that fit; none = what the GPU has
    max_memory: str | None = None
    recompute: bool = False  # activation checkpointing: half the memory, more time
    compile: bool = False  # torch.compile: pays on some GPUs, not on CPUs seen so far
    protocol: Literal["ours", "released"] = "ours"  # released = all of RELEASED below
    # improved = IMPROVED below in place of these defaults; flags win
    recipe: Literal["released", "improved"] = "released"
    # output
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    threads: Positive | None = None  # of a CPU; none = as many as help, measured at the start
    seed: Seed = 1  # of weights, order, dropout and augmentation
    deterministic: bool = False  # on GPUs: the same bits every time, slower
    # run trackers that get each epoch's numbers: tensorboard, wandb, mlflow, as far as installed
    log_with: tuple[str, ...] | None = None


RELEASED = {
    "shuffle": False, "drop_last": True, "ignore_invalid": False, "attention": "batch",
    "cam": "per_window", "rebuild_optimizer": True,
}  # fmt: skip

IMPROVED = {
    "random_crops": True, "insert_changes": 0.6, "augment": True, "lr": 2e-3,
    "schedule": "cosine", "average": 0.998, "cam_start": "mean", "dropout": 0.0,
    "area_factors": None, "moment_factors": None,
}  # fmt: skip

# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Read the settings, train."""
    settings = run_settings(Settings, RELEASED, improved=IMPROVED)
    require_images(settings.data_root, DATASET)
    from training.program import caim_experiment, train  # takes seconds; the flags are right by now

    train(caim_experiment("train_spacenet7", DATASET, settings), settings)


if __name__ == "__main__":
    run_program(main)
