"""Rewrite a weights file: the authors' format to ours, shared CAM weights, 16 bits, for sharing.

    python models/weights/convert.py --checkpoint CAIMNet_Dynamic.pth --output converted.pth

Beside the output a sheet of the same name with .json says what is in it: network, data, settings,
commit, scores, SHA-256.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from utils.errors import UserError, run_program
from utils.fields import ExistingPath, PatchSide, WeightsFile
from utils.files import read_json, sha256, write_json
from utils.progress import say
from utils.settings import read_settings

__all__ = ["Settings", "main", "sheets"]


@dataclass(frozen=True)
class Settings:
    """Flags of the program."""

    checkpoint: WeightsFile  # weights file of ours or the authors'
    output: Path  # file to write
    scores: ExistingPath | None = None  # metrics.json of a Test program, for the sheet
    # what they learnt from, for sheet and file; results show the first sentence
    about: str = ""
    overwrite: bool = False  # replace an existing output
    share_cam: bool = False  # average per-window CAM weights into shared ones
    half: bool = False  # store the weights in 16 bits
    patch_size: PatchSide = 64  # training patch size of a released file, in pixels


def main() -> None:
    """Read, convert, write, describe."""
    settings = read_settings(Settings)
    sheet_path = settings.output.with_suffix(".json")
    for path in (settings.output, sheet_path):
        if path.exists() and not settings.overwrite:
            raise UserError(
                f"--output {settings.output}: {path.name} exists; name another, or add --overwrite."
            )
    sources = sheets(settings)
    # the flags are right: now what takes seconds to import
    from models.weights.checkpoint import load_checkpoint, save_checkpoint
    from models.weights.choosing import shared_cam

    loaded = load_checkpoint(settings.checkpoint, settings.patch_size)
    say(f"{settings.checkpoint}: {loaded.summary()}")
    for key in loaded.dropped:
        say(f"  dropped, without effect: {key}")
    if settings.share_cam:
        loaded = shared_cam(loaded)
    if settings.about:
        loaded.training["about"] = settings.about
    loaded.build()  # refuses weights that do not go together
    save_checkpoint(settings.output, dataclasses.replace(loaded, resume={}), settings.half)
    sheet: dict[str, Any] = {
        "file": settings.output.name,
        "sha256": sha256(settings.output),
        "bits": 16 if settings.half else 32,
        "about": loaded.training.get("about", ""),
        "origin": loaded.origin,
        "network": loaded.network,
        "arguments": loaded.arguments,
        "data": loaded.data,
        "training": loaded.training,
        "decision": loaded.decision,
        **sources,
    }
    write_json(sheet_path, sheet)
    say(f"written: {settings.output} ({settings.output.stat().st_size / 1e6:.1f} MB) and its sheet")


def sheets(settings: Settings) -> dict[str, Any]:
    """Parts of the sheet that come from files: the training's environment, a test's scores.

    Raises:
        UserError: A file is not what a program of ours writes.
    """
    parts: dict[str, Any] = {}
    beside = settings.checkpoint.parent / "environment.json"
    if beside.is_file():  # all but the command line, whose paths are of one machine only
        parts["trained_with"] = {k: v for k, v in _object(beside).items() if k != "command"}
    if settings.scores is not None:
        report = _object(settings.scores)
        protocol = report.get("protocol")
        if not isinstance(protocol, dict):
            raise UserError(
                f"--scores {settings.scores}: found no protocol in it, expected metrics.json as a "
                "Test program writes it."
            )
        named = {k: v for k, v in protocol.items() if k != "data_root"}
        parts["test"] = {**report, "protocol": named}
    return parts


def _object(path: Path) -> dict[str, Any]:
    """A JSON object in a file."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: it cannot be read ({error}), expected JSON as a program of ours writes it; "
            "restore the file, or move it away."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: found a {type(content).__name__}, expected a JSON object.")
    return content


if __name__ == "__main__":
    run_program(main)
