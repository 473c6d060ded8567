"""Score CAIM-Net on DynamicEarthNet and write its maps.

    python Test_Dynamic.py --data-root data --checkpoint best_model/Pretrained_model_Dynamic.pth

Takes weights of ours and the authors' CAIMNet_Dynamic.pth. Writes runs/test_dynamic/<time>/:
metrics.json, and per scene maps/<scene>/change_area.tif, change_moment.tif and overview.png.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_processing.scenes.spec import DYNAMIC
from data_processing.scenes.splits import require_images
from mapping.scoring_settings import SeriesScoring
from utils.errors import run_program
from utils.fields import Natural, PatchSide, Positive, WeightsFile, Workers
from utils.settings import read_settings

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings(SeriesScoring):
    """One value a line, ordered by how often it is edited; each is also a flag."""

    # paths
    data_root: Path = Path("data")  # folder that holds Images_Dynamic/
    checkpoint: WeightsFile = Path("best_model/Pretrained_model_Dynamic.pth")  # weights file
    output_dir: Path | None = None  # results; none = runs/test_dynamic/<time>
    overwrite: bool = False  # replace results in an output folder that is not empty
    # data
    split: Literal["train", "val", "test"] = "test"  # scenes to score
    # full = every pixel once; released = the patch index as it is
    protocol: Literal["full", "released"] = "full"
    patch_size: PatchSide | None = None  # pixels; none = as trained (64 for released weights)
    stride: Positive = 64  # step between the index's patches (protocol released)
    # least overlap of patches in pixels (protocol full); none = half a patch
    overlap: Natural | None = None
    # auto = 8-bit / 255, 16-bit / 10000; stored = as they are
    pixel_scale: Literal["checkpoint", "auto", "stored"] = "checkpoint"
    ignore_invalid: bool = True  # leave pixels without data out (released: no)
    share_cam: bool = False  # average per-window CAM weights, for any batch and size
    # calibrated = by the offset that the weights carry; plain = which is larger (released: plain)
    decision: Literal["calibrated", "plain"] = "calibrated"
    # speed
    batch_size: Positive = 8  # patches at a time
    # auto = bfloat16 where the processor has it and the weights' maps agree, else float32
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False  # torch.compile: pays on some GPUs, not on CPUs seen so far
    num_workers: Workers | None = None  # reading processes; none = 2, on a CPU 0
    device: str = "auto"  # auto, cpu, cuda, cuda:1, mps
    threads: Positive | None = None  # of a CPU; none = as many as help, measured at the start


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Load weights and scenes, score, write maps."""
    settings = read_settings(Settings)
    require_images(settings.data_root, DYNAMIC)
    from mapping.scoring import score_series  # PyTorch is loaded for settings that can be used only

    score_series(DYNAMIC, settings)


if __name__ == "__main__":
    run_program(main)
