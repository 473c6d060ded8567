"""Score CAIM-Net on SpaceNet7 and write its maps.

    python Test_SpaceNet7.py --data-root data --checkpoint best_model/Pretrained_model_SpaceNet7.pth

Takes weights of ours and the authors' CAIMNet_SpaceNet7.pth. Writes runs/test_spacenet7/<time>/:
metrics.json, and per scene maps/<scene>/change_area.tif, change_moment.tif and overview.png.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_processing.scenes.dataset import cover_split, open_split
from data_processing.scenes.spec import SPACENET7 as DATASET
from mapping.scored_maps import SceneMapWriter
from mapping.scoring import score_scenes, score_table, write_scores
from models.weights.choosing import load_for_scoring
from utils.batches import Batches
from utils.device import choose_device
from utils.errors import run_program
from utils.execution import ready_to_run
from utils.progress import say
from utils.run_folder import start_run
from utils.settings import override, setting

# ──────────────────────────────────────── settings ────────────────────────────────────────


@dataclass(frozen=True)
class Settings:
    """One value a line, ordered by how often it is edited; each is also a flag."""

    # paths
    data_root: Path = setting(Path("data"), "folder that holds Images_SpaceNet7/", "paths")
    checkpoint: Path = setting(Path("best_model/Pretrained_model_SpaceNet7.pth"), "weights file")
    output_dir: Path | None = setting(None, "results; none = runs/test_spacenet7/<time>")
    overwrite: bool = setting(False, "replace results in an output folder that is not empty")
    # data
    split: Literal["train", "val", "test"] = setting("test", "scenes to score", "data")
    protocol: Literal["full", "released"] = setting(
        "full", "full = every pixel once; released = the patch index as it is"
    )
    patch_size: int | None = setting(
        None, "pixels; none = as trained (64 for released weights)", minimum=4, multiple_of=4
    )
    stride: int = setting(63, "step between the index's patches (protocol released)", minimum=1)
    overlap: int = setting(0, "least overlap of patches in pixels (protocol full)", minimum=0)
    pixel_scale: Literal["checkpoint", "auto", "stored"] = setting(
        "checkpoint", "auto = 8-bit / 255, 16-bit / 10000; stored = as they are"
    )
    ignore_invalid: bool = setting(True, "leave pixels without data out (released: no)")
    share_cam: bool = setting(False, "average per-window CAM weights, for any batch and size")
    # speed
    batch_size: int = setting(8, "patches at a time", "speed", minimum=1)
    precision: Literal["float32", "bfloat16"] = setting("float32", "bfloat16 = autocast")
    compile: bool = setting(False, "torch.compile: pays on some GPUs, not on CPUs seen so far")
    num_workers: int | None = setting(None, "reading processes; none = 2, on a CPU 0", minimum=0)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps")


# ─────────────────────────────── nothing below needs editing ───────────────────────────────


def main() -> None:
    """Load weights and scenes, score, write maps."""
    settings = override(Settings())
    device = choose_device(settings.device)
    weights = load_for_scoring(settings, DATASET.facts(DATASET.patch_size))
    patch_size = weights.data["patch_size"]
    released = settings.protocol == "released"
    reading = {
        "pixel_scale": weights.data["pixel_scale"],
        "ignore_invalid": settings.ignore_invalid and not released,
    }
    if released:
        patches = open_split(
            settings.data_root, DATASET, settings.split, patch_size, settings.stride,
            **reading,
        )  # fmt: skip
    else:
        patches = cover_split(
            settings.data_root, DATASET, settings.split, patch_size, settings.overlap,
            **reading,
        )  # fmt: skip
    folder = start_run("test_spacenet7", settings, device)
    report = score_scenes(
        ready_to_run(weights.build(), device, settings.precision, compiled=settings.compile),
        Batches(patches, settings.batch_size, num_workers=settings.num_workers, device=device),
        patches.scenes,
        SceneMapWriter(folder / "maps", source=settings.checkpoint.name),
        precision=settings.precision,
        counted_once=not released,
        blank_unseen=reading["ignore_invalid"],
        overlap=settings.overlap,
    )
    made = DATASET.provenance(settings.data_root)
    write_scores(folder / "metrics.json", report, settings, weights, device, made)
    say(score_table(report))
    say(f"scores: {folder / 'metrics.json'}; maps and pictures: {folder / 'maps'}")


if __name__ == "__main__":
    run_program(main)
