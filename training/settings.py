"""Settings that the blocks of the training programs hold, for the code that reads them.

The blocks stand in the programs, with what each setting means; nothing slow is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

__all__ = ["CaimSettings", "TrainingSettings"]


class TrainingSettings:
    """Settings of every training program.

    None in the course of training stands for what the data set's recipe fills in before.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    output_dir: Path | None
    checkpoint: Path | None
    overwrite: bool
    resume: bool
    patch_size: int | None
    shuffle: bool
    drop_last: bool
    num_workers: int | None
    epochs: int | None
    batch_size: int
    lr: float | None
    schedule: Literal["step", "cosine"]
    lr_milestones: tuple[int, ...] | None
    lr_factor: float | None
    weight_decay: float
    clip_norm: float | None
    rebuild_optimizer: bool
    precision: Literal["float32", "bfloat16"]
    max_memory: str | None
    recompute: bool
    compile: bool
    device: str
    threads: int | None
    seed: int
    deterministic: bool
    log_with: tuple[str, ...] | None

    average: float | None = None


class CaimSettings(TrainingSettings):
    """Settings that the training programs of CAIM-Net have beside the common ones."""

    data_root: Path
    patch_size: int
    stride: int
    augment: bool
    ignore_invalid: bool
    pixel_scale: Literal["auto", "stored"] | None
    cache: bool
    random_crops: bool
    insert_changes: float
    attention: Literal["spatial", "batch"]
    cam: Literal["shared", "per_window"]
    width: int
    dropout: float
    cam_start: Literal["released", "mean"]
    area_factors: tuple[float, ...] | None
    moment_factors: tuple[float, ...] | None
