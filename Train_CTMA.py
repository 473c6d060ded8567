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
from typing import Literal

from data_processing.pairs.dataset import PairDataset, open_pair_split, training_windows
from data_processing.pairs.spec import PairSpec, pair_spec_by_name
from data_processing.rasters.values import LabelRule
from data_processing.scenes.augmentation import OneOfSeven
from models.weights.choosing import backbone_from
from training.pair_task import PairTask
from training.program import Experiment, train
from utils.authors_commands import authors_form
from utils.errors import run_program
from utils.run_folder import run_settings
from utils.settings import setting

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line, ordered by how often it is edited; each is also a flag."""

    # paths
    dataset: Literal["svcd", "levir", "whu", "folder"] = setting(
        "folder", "whose layout, labels and recipe", "paths"
    )
    data_root: Path = setting(Path("data/pairs"), "folder that holds train/ and val/")
    output_dir: Path | None = setting(None, "folder of this run; none = runs/train_ctma/<time>")
    checkpoint: Path | None = setting(None, "weights to start from; none = new ones")
    resnet34: Path | None = setting(
        None, "ImageNet weights of ResNet-34, a torchvision file (released: downloads it)"
    )
    overwrite: bool = setting(False, "start afresh in an output folder that is not empty")
    resume: bool = setting(False, "go on with the run in --output-dir, with its settings")
    # data
    patch_size: int | None = setting(
        None, "cut pairs into squares of that side; none = whole pairs", "data",
        minimum=8, multiple_of=8,
    )  # fmt: skip
    stride: int | None = setting(None, "step between squares; none = their side", minimum=1)
    augment: bool = setting(True, "one of seven flips, turns, shifts per pair")
    repeats: int | None = setting(
        None, "how often an epoch serves each pair; none = the data set's", minimum=1
    )
    shuffle: bool = setting(True, "new order of pairs every epoch")
    drop_last: bool = setting(True, "leave a short last batch out")
    label_rule: Literal["exact", "nonzero", "above_127"] | None = setting(
        None, "what counts as changed in labels; none = the data set's"
    )
    bands: tuple[int, ...] | None = setting(
        None, "three bands to take, from 1; none = those of an RGB image", minimum=1
    )
    pixel_scale: Literal["auto", "reflectance", "stored"] = setting(
        "auto", "auto = 8-bit / 255, reflectance = 16-bit / 10000, stored = float 0…1"
    )
    num_workers: int | None = setting(None, "reading processes; none = 2, on a CPU 0", minimum=0)
    cache: bool = setting(False, "keep all pairs in memory")
    # model
    fusion_weights: tuple[float, float] | None = setting(
        None, "of the two decoders; none = the data set's", "model", minimum=0
    )
    mask_threshold: float = setting(
        0.5, "coarse probability that branch 2 looks at", minimum=0, below=1
    )
    video_len: int = setting(8, "frames of the pseudo-video", minimum=2)
    width: int = setting(32, "channels of the first S-Block; all others scale", minimum=1)
    # optimisation
    epochs: int | None = setting(
        None, "passes over the pairs; none = the data set's", "optimisation", minimum=1
    )
    batch_size: int = setting(8, "pairs per step, over all processes", minimum=1)
    lr: float | None = setting(
        None, "learning rate of Adam; none = the data set's", minimum=1e-12, below=10
    )
    schedule: Literal["step", "cosine"] = setting("step", "course of the learning rate")
    lr_milestones: tuple[int, ...] | None = setting(
        None, "epochs (from 0) at which steps lower it; none = the data set's", minimum=0
    )
    lr_factor: float | None = setting(
        None, "by how much a step lowers it; none = the data set's", minimum=0
    )
    weight_decay: float = setting(0.0, "of Adam", minimum=0)
    clip_norm: float | None = setting(None, "largest gradient norm", minimum=1e-9)
    change_factor: float = setting(1.0, "weight of changed pixels in the loss", minimum=0)
    precision: Literal["float32", "bfloat16"] = setting("float32", "bfloat16 = autocast")
    max_memory: str | None = setting(
        None, "such as 8G: batches are computed in parts that fit; none = what the GPU has"
    )
    compile: bool = setting(False, "torch.compile")
    # output
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps", "output")
    seed: int = setting(1, "of weights, order and augmentation", minimum=0, below=2**32)
    deterministic: bool = setting(False, "on GPUs: the same bits every time, slower")
    checkpoint_minutes: float | None = setting(
        15.0, "time between checkpoints within an epoch", minimum=0
    )
    tensorboard: bool = setting(False, "write TensorBoard's files, too (needs tensorboard)")

    recompute = False  # no setting: batch normalisation would count what is computed again


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Open the data, build the network, train it."""
    settings = run_settings(Settings(), argv=authors_form(Settings(), "train"))
    spec = pair_spec_by_name(settings.dataset)
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
    usual = {
        "epochs": epochs, "lr": spec.lr, "lr_factor": spec.lr_factor, "repeats": spec.repeats,
        "lr_milestones": spec.lr_milestones(epochs), "fusion_weights": spec.fusion_weights,
    }  # fmt: skip
    return replace(settings, **{k: v for k, v in usual.items() if getattr(settings, k) is None})


def open_set(settings: Settings, spec: PairSpec, split: Literal["train", "val"]) -> PairDataset:
    """Pairs of a split; those for training are changed at random and repeated."""
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
