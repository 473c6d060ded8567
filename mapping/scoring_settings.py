"""Fields of the settings blocks of Test_*.py, in their order there.

Defaults, bounds and help stand in the scripts. Nothing heavy is imported here, so that a script
has its block before PyTorch is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["PairScoring", "SeriesScoring"]


@dataclass(frozen=True)
class SeriesScoring:
    """Scoring of scenes of image series."""

    data_root: Path
    checkpoint: Path
    output_dir: Path | None
    overwrite: bool
    split: Literal["train", "val", "test"]
    protocol: Literal["full", "released"]
    patch_size: int | None
    stride: int
    overlap: int | None
    pixel_scale: Literal["checkpoint", "auto", "stored"]
    ignore_invalid: bool
    share_cam: bool
    decision: Literal["calibrated", "plain"]
    batch_size: int
    precision: Literal["auto", "float32", "bfloat16"]
    compile: bool
    num_workers: int | None
    device: str
    threads: int | None


@dataclass(frozen=True)
class PairScoring:
    """Scoring of image pairs."""

    dataset: Literal["svcd", "levir", "whu", "folder"]
    data_root: Path
    checkpoint: Path | None
    output_dir: Path | None
    overwrite: bool
    split: Literal["train", "val", "test"]
    list_file: Path | None
    window_size: int | None
    stride: int
    threshold: float | None
    decision: Literal["calibrated", "plain"]
    label_rule: Literal["exact", "nonzero", "above_127"] | None
    bands: tuple[int, ...] | None
    pixel_scale: Literal["auto", "reflectance", "stored"]
    fusion_weights: tuple[float, float] | None
    mask_threshold: float | None
    video_len: int | None
    batch_size: int
    precision: Literal["auto", "float32", "bfloat16"]
    compile: bool
    num_workers: int | None
    device: str
    threads: int | None
    save_on: bool
    overviews: int
