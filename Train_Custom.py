"""Train CAIM-Net on one's own data: any bands, any number of dates (docs/data.md#your-own-data).

    python Train_Custom.py --data-root data
    python Train_Custom.py --data-root data --checkpoint best_model/Pretrained_model_Dynamic.pth
    torchrun --nproc_per_node 2 Train_Custom.py --data-root data
    python Train_Custom.py --resume --output-dir runs/train_custom/<time>

Writes runs/train_custom/<time>/: last.pth, best.pth (by validation moment F1), metrics.csv,
steps.jsonl, pictures, settings.json, environment.json (docs/training.md has all). The defaults are
the recipe "improved" of Train_Dynamic.py. Of weights for other dates or bands --checkpoint takes
over what fits (docs/training.md#from-weights-for-other-dates-or-bands).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_processing.scenes.custom import custom_spec
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
    data_root: Path = Path("data")  # folder that holds Images_Custom/
    output_dir: Path | None = None  # folder of this run; none = runs/train_custom/<time>
    # weights to start from, also those for other dates or bands; none = new ones
    checkpoint: WeightsFile | None = None
    overwrite: bool = False  # start afresh in an output folder that is not empty
    resume: bool = False  # go on with the run in --output-dir, with its settings
    # data
    patch_size: PatchSide = 64  # side of a patch in pixels
    stride: Positive = 64  # step between patches in pixels
    augment: bool = True  # flip and turn patches at random
    random_crops: bool = True  # windows anywhere in a scene, others every epoch
    insert_changes: Fraction = 0.6  # share of patches with changes of other scenes
    shuffle: bool = True  # new order of patches every epoch
    drop_last: bool = False  # leave a short last batch out
    ignore_invalid: bool = True  # leave pixels without data out of loss and scores
    # auto = 8-bit / 255, 16-bit / 10000; stored = as they are; none = as dataset.json says
    pixel_scale: Literal["auto", "stored"] | None = None
    num_workers: Workers | None = None  # reading processes; none = 2, on a CPU 0
    cache: bool = False  # keep all scenes in memory
    # model
    attention: Literal["spatial", "batch"] = "spatial"  # batch = as released
    cam: Literal["shared", "per_window"] = "shared"  # per_window = as released
    width: Width = 32  # channels of each date's features, D
    dropout: Fraction = 0.0  # of the transformer layer
    # weights of the temporal CAM at first: mean = those of a mean, released = around zero
    cam_start: Literal["released", "mean"] = "mean"
    # optimisation
    epochs: Positive = 100  # passes over the training patches
    batch_size: Positive = 16  # patches per step, over all processes
    lr: LearningRate = 2e-3  # learning rate of Adam
    schedule: Literal["step", "cosine"] = "cosine"  # course of the learning rate
    lr_milestones: tuple[Natural, ...] = (100,)  # epochs (from 0) at which steps lower it
    lr_factor: NonNegative = 0.5  # by how much a step lowers it
    weight_decay: NonNegative = 0.0  # of Adam
    clip_norm: ClipNorm | None = 4.0  # largest gradient norm, none = leave as is
    rebuild_optimizer: bool = False  # new optimiser every epoch
    area_factors: tuple[NonNegative, ...] | None = None  # loss factors: unchanged, changed
    moment_factors: tuple[NonNegative, ...] | None = None  # loss factors of the T moments
    # share that averaged weights keep at a step, which are then validated and kept; none = last
    average: Fraction | None = 0.998
    precision: Literal["float32", "bfloat16"] = "float32"  # bfloat16 = autocast
    # such as 8G: batches are computed in parts that fit; none = what the GPU has
    max_memory: str | None = None
    recompute: bool = False  # activation checkpointing: half the memory, more time
    compile: bool = False  # torch.compile: pays on some GPUs, not on CPUs seen so far
    # output
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    threads: Positive | None = None  # of a CPU; none = as many as help, measured at the start
    seed: Seed = 1  # of weights, order, dropout and augmentation
    deterministic: bool = False  # on GPUs: the same bits every time, slower
    # run trackers that get each epoch's numbers: tensorboard, wandb, mlflow, as far as installed
    log_with: tuple[str, ...] | None = None


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Read the settings, train."""
    settings = run_settings(Settings)
    dataset = custom_spec(settings.data_root)
    from training.program import caim_experiment, train  # takes seconds; the flags are right by now

    train(caim_experiment("train_custom", dataset, settings), settings)


if __name__ == "__main__":
    run_program(main)
