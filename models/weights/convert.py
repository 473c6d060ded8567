"""Rewrite a weights file: the authors' format to ours, shared CAM weights, 16 bits, for sharing.

    python models/weights/convert.py --checkpoint CAIMNet_Dynamic.pth --output converted.pth

Beside the output a sheet of the same name with .json says what is in it: network, data, settings,
commit, scores, SHA-256.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
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

ORIGIN, SCORES = "trained_with", ("test", "test_real")  # parts of a sheet


@dataclass(frozen=True)
class Settings:
    """Flags of the program."""

    checkpoint: WeightsFile  # weights file of ours or the authors'
    output: Path  # file to write
    scores: ExistingPath | None = None  # metrics.json of a Test program, for the sheet
    # bfloat16_agreement.json of benchmarks/bfloat16.py, measured with this file, for sheet and file
    bfloat16: ExistingPath | None = None
    # NAME=FILE of reliability.json of Test programs, made with this file: a probability is fitted
    probability: tuple[str, ...] | None = None
    # the same of further data, on which its error is measured; none = by halves of the scenes
    probability_checks: tuple[str, ...] | None = None
    # what they learnt from, for sheet and file; results show the first sentence
    about: str = ""
    overwrite: bool = False  # replace an existing output
    share_cam: bool = False  # average per-window CAM weights into shared ones
    half: bool = False  # store the weights in 16 bits
    patch_size: PatchSide = 64  # training patch size of a released file, in pixels


def main() -> None:
    """Read, convert, write, describe."""
    settings = read_settings(Settings)
    _refuse_what_does_not_go_together(settings)
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
    from models.weights.sheet import sheet_of

    loaded = load_checkpoint(settings.checkpoint, settings.patch_size)
    say(f"{settings.checkpoint}: {loaded.summary()}")
    for key in loaded.dropped:
        say(f"  dropped, without effect: {key}")
    if settings.share_cam:
        loaded = shared_cam(loaded)
    if settings.bfloat16 is not None:
        loaded = dataclasses.replace(loaded, bfloat16=_agreement(settings, settings.bfloat16))
    if settings.probability:
        probability = _probability(settings, settings.probability)
        decision = {**loaded.decision, "probability": probability}
        loaded = dataclasses.replace(loaded, decision=decision)
    before = sheet_of(settings.checkpoint, sha256(settings.checkpoint))
    about = settings.about or before.get("about")
    if about:
        loaded.training["about"] = about
    loaded.build()  # refuses weights that do not go together
    save_checkpoint(settings.output, dataclasses.replace(loaded, resume={}), settings.half)
    sheet: dict[str, Any] = {
        "file": settings.output.name,
        "sha256": sha256(settings.output),
        "bits": _bits(settings),
        "about": loaded.training.get("about", ""),
        "origin": loaded.origin,
        "network": loaded.network,
        "arguments": loaded.arguments,
        "data": loaded.data,
        "training": loaded.training,
        "decision": loaded.decision,
        "bfloat16": loaded.bfloat16,
        **_older_parts(settings, before),
        **sources,
    }
    write_json(sheet_path, sheet)
    say(f"written: {settings.output} ({settings.output.stat().st_size / 1e6:.1f} MB) and its sheet")


def _refuse_what_does_not_go_together(settings: Settings) -> None:
    if settings.share_cam and (settings.bfloat16 is not None or settings.probability):
        raise UserError(
            "--share-cam: found it with --bfloat16 or --probability, measured on other maps than "
            "it makes; convert first, then measure the new file."
        )
    if settings.probability_checks and not settings.probability:
        raise UserError(
            "--probability-checks: found it alone, expected --probability beside it, the data "
            "that the probability is fitted on."
        )


def sheets(settings: Settings) -> dict[str, Any]:
    """Parts of the sheet that come from files: the training's environment, a test's scores.

    Raises:
        UserError: A file is not what a program of ours writes.
    """
    parts: dict[str, Any] = {}
    beside = settings.checkpoint.parent / "environment.json"
    if beside.is_file():  # all but the command line, whose paths are of one machine only
        parts[ORIGIN] = {k: v for k, v in _object(beside).items() if k != "command"}
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


def _older_parts(settings: Settings, before: Mapping[str, Any]) -> dict[str, Any]:
    """Parts of the sheet beside the file that was read which hold for the new one, too."""
    same = before.get("bits") == _bits(settings) and not settings.share_cam
    return {key: before[key] for key in (ORIGIN, *(SCORES if same else ())) if key in before}


def _bits(settings: Settings) -> int:
    return 16 if settings.half else 32


def _agreement(settings: Settings, results: Path) -> dict[str, Any]:
    """The agreement of maps in bfloat16 that a benchmark measured with this very file.

    Raises:
        UserError: The results hold no such measurement.
    """
    from models.weights.checkpoint import bfloat16_faults

    checksum = sha256(settings.checkpoint)
    rows = _object(results).get("rows")
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict) or row.get("checkpoint_sha256") != checksum:
            continue
        named = {"agreement": "equal_moment", "pixels": "pixels"}
        measured = {name: row.get(key) for name, key in named.items()}
        measured["measured_on"] = f"{row.get('data')}, {row.get('split')}"
        if row.get("scene") == "all" and not bfloat16_faults(measured):
            return measured
    raise UserError(
        f"--bfloat16 {results}: found no row of all scenes with checkpoint_sha256 "
        f"{checksum}, expected results of benchmarks/bfloat16.py agreement --checkpoint "
        f"{settings.checkpoint}."
    )


def _probability(settings: Settings, fit: Sequence[str]) -> dict[str, Any]:
    """The curve of a probability, fitted to what Test programs counted with this very file.

    Raises:
        UserError: A file holds no such counts, or too little to learn from.
    """
    from models.weights.probability import LeadCounts, calibrated, probability_faults

    checksum = sha256(settings.checkpoint)

    def counted(flag: str, given: Sequence[str]) -> dict[str, LeadCounts]:
        parts = {}
        for name, _, file in (each.rpartition("=") for each in given):
            content = _object(Path(file))
            try:
                if not name or content["checkpoint"]["sha256"] != checksum:
                    raise ValueError("made with other weights" if name else "no name before =")
                parts[name] = LeadCounts.from_json(content["halves"])
            except (LookupError, TypeError, ValueError) as error:
                raise UserError(
                    f"{flag} {name}={file}: found no counts to use ({error}), expected NAME= and "
                    "reliability.json as a Test program writes it with --checkpoint "
                    f"{settings.checkpoint}."
                ) from error
        return parts

    fitted = counted("--probability", fit)
    total = LeadCounts()
    for each in fitted.values():
        total.counts += each.counts
    checks = counted("--probability-checks", settings.probability_checks or ())
    curve = calibrated(total, "; ".join(fitted), checks)
    faults = probability_faults(curve) if curve else ["no changed or no unchanged pixels in a part"]
    if faults:
        raise UserError(
            f"--probability {' '.join(fit)}: {'; '.join(faults)}; expected scenes with both, and "
            "short names of the data."
        )
    say(
        f"probability: {curve['error']:.4f} off on average, {curve['changed_error']:.4f} where it "
        f"says 50 % or more, measured on {curve['measured_on']}"
    )
    return curve


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
