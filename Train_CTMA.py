"""Train CTMA, the network for image pairs, on SVCD, LEVIR-CD, WHU-CD or a folder of pairs.

    python Train_CTMA.py --dataset levir --data-root data/LEVIR
    python Train_CTMA.py train --exp_config configs/levir.yaml

Learning rate, its course, epochs, repeats and fusion weights are the data set's unless given.
Writes runs/train_ctma/<time>/: last.pth, best.pth (by validation F1), metrics.csv,
learning_curve.png, settings.json, environment.json. The full recipe is meant for a GPU; a CPU
takes hours for an epoch of it (docs/results.md has times of small ones).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data_processing.pairs.authors_commands import authors_form
from data_processing.pairs.files import find_pairs
from data_processing.pairs.spec import PairSpec, pair_spec_by_name
from data_processing.rasters.values import LabelRule
from training.settings import TrainingSettings
from utils.errors import run_program
from utils.fields import (
    ClipNorm,
    ExistingPath,
    Fraction,
    Frames,
    LearningRate,
    Natural,
    NonNegative,
    PairSide,
    Positive,
    Seed,
    WeightsFile,
    Workers,
)
from utils.settings import run_settings

if TYPE_CHECKING:
    from data_processing.pairs.dataset import PairDataset

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """One value a line, ordered by how often it is edited; each is also a flag."""

    # paths
    dataset: Literal["svcd", "levir", "whu", "folder"] = "folder"  # whose layout, labels and recipe
    data_root: Path = Path("data/pairs")  # folder that holds train/ and val/
    output_dir: Path | None = None  # folder of this run; none = runs/train_ctma/<time>
    checkpoint: WeightsFile | None = None  # weights to start from; none = new ones
    # ImageNet weights of ResNet-34, a torchvision file (released: downloads it)
    resnet34: ExistingPath | None = None
    overwrite: bool = False  # start afresh in an output folder that is not empty
    resume: bool = False  # go on with the run in --output-dir, with its settings
    # data
    patch_size: PairSide | None = None  # cut pairs into squares of that side; none = whole pairs
    stride: Positive | None = None  # step between squares; none = their side
    augment: bool = True  # one of seven flips, turns, shifts per pair
    repeats: Positive | None = None  # how often an epoch serves each pair; none = the data set's
    shuffle: bool = True  # new order of pairs every epoch
    drop_last: bool = True  # leave a short last batch out
    # what counts as changed in labels; none = the data set's
    label_rule: Literal["exact", "nonzero", "above_127"] | None = None
    # three bands to take, from 1; none = those of an RGB image
    bands: tuple[Positive, ...] | None = None
    # auto = 8-bit / 255, reflectance = 16-bit / 10000, stored = float 0…1
    pixel_scale: Literal["auto", "reflectance", "stored"] = "auto"
    num_workers: Workers | None = None  # reading processes; none = 2, on a CPU 0
    cache: bool = False  # keep all pairs in memory
    # model
    fusion_weights: tuple[NonNegative, NonNegative] | None = None  # of decoders; none = data set's
    mask_threshold: Fraction = 0.5  # coarse probability that branch 2 looks at
    video_len: Frames = 8  # frames of the pseudo-video
    width: Positive = 32  # channels of the first S-Block; all others scale
    # optimisation
    epochs: Positive | None = None  # passes over the pairs; none = the data set's
    batch_size: Positive = 8  # pairs per step, over all processes
    lr: LearningRate | None = None  # learning rate of Adam; none = the data set's
    schedule: Literal["step", "cosine"] = "step"  # course of the learning rate
    # epochs (from 0) at which steps lower it; none = the data set's
    lr_milestones: tuple[Natural, ...] | None = None
    lr_factor: NonNegative | None = None  # by how much a step lowers it; none = the data set's
    weight_decay: NonNegative = 0.0  # of Adam
    clip_norm: ClipNorm | None = None  # largest gradient norm
    change_factor: NonNegative = 1.0  # weight of changed pixels in the loss
    precision: Literal["float32", "bfloat16"] = "float32"  # bfloat16 = autocast
    # such as 8G: batches are computed in parts that fit; none = what the GPU has
    max_memory: str | None = None
    compile: bool = False  # torch.compile
    # output
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    threads: Positive | None = None  # of a CPU; none = as many as help, measured at the start
    seed: Seed = 1  # of weights, order and augmentation
    deterministic: bool = False  # on GPUs: the same bits every time, slower
    # run trackers that get each epoch's numbers: tensorboard, wandb, mlflow, as far as installed
    log_with: tuple[str, ...] | None = None

    # no settings: the released program keeps its optimiser, and batch normalisation would count
    # what is computed again
    rebuild_optimizer = False
    recompute = False


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Open the data, build the network, train it."""
    settings = run_settings(Settings, argv=authors_form(Settings, "train"))
    spec = pair_spec_by_name(settings.dataset)
    find_pairs(settings.data_root, spec, "train")  # are they there?
    # the flags are right: now what takes seconds to import
    from models.weights.choosing import backbone_from
    from training.pair_task import PairTask
    from training.program import Experiment, train

    settings = with_recipe(settings, spec)
    width = settings.width
    arguments = {
        "in_channels": 3, "video_len": settings.video_len,
        "mask_threshold": settings.mask_threshold, "fusion_weights": settings.fusion_weights,
        "pair_widths": (width, 2 * width, 4 * width), "video_widths": (2 * width, 4 * width),
        "decoder_widths": (8 * width, 4 * width, 2 * width, width), "resnet_width": 2 * width,
    }  # fmt: skip
    experiment = Experiment(
        "train_ctma", "ctma", arguments, PairTask(settings.change_factor),
        lambda: [open_set(settings, spec, "train"), open_set(settings, spec, "val")],
        spec.facts(settings.pixel_scale), (0, 1, 2),
        prepare=backbone_from(settings.resnet34),
    )  # fmt: skip
    train(experiment, settings)


def with_recipe(settings: Settings, spec: PairSpec) -> Settings:
    """The settings with the data set's recipe wherever nothing else was asked for."""
    epochs = settings.epochs or spec.epochs
    usual: dict[str, Any] = {
        "epochs": epochs, "lr": spec.lr, "lr_factor": spec.lr_factor, "repeats": spec.repeats,
        "lr_milestones": spec.lr_milestones(epochs), "fusion_weights": spec.fusion_weights,
    }  # fmt: skip
    return replace(settings, **{k: v for k, v in usual.items() if getattr(settings, k) is None})


def open_set(settings: Settings, spec: PairSpec, split: Literal["train", "val"]) -> PairDataset:
    """Pairs of a split; those for training are changed at random and repeated."""
    from data_processing.pairs.dataset import PairDataset, open_pair_split, training_windows
    from data_processing.scenes.augmentation import OneOfSeven

    learning = split == "train"
    rule: LabelRule | None = settings.label_rule
    pairs = open_pair_split(
        settings.data_root, spec, split,
        label_rule=rule, bands=settings.bands, pixel_scale=settings.pixel_scale,
    )  # fmt: skip
    origins, size = training_windows(pairs, settings.patch_size, settings.stride)
    return PairDataset(
        pairs, origins, size, OneOfSeven() if learning and settings.augment else None,
        (settings.repeats or 1) if learning else 1, settings.cache,
    )  # fmt: skip


if __name__ == "__main__":
    run_program(main)
