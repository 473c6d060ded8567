"""Going on with a run: its position, its two last checkpoints, and what may have changed since.

last.pth is written whole or not at all; the one before stays as previous.pth. Whenever a run is
killed, one of them is whole, and going on from it gives the weights and the table of a run that was
never interrupted (bit for bit on a CPU).
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.guards import writing
from utils.errors import CheckpointError, UserError
from utils.progress import say

__all__ = ["LAST", "PREVIOUS", "Position", "RunState", "check_data", "keep_last", "load_last"]

LAST, PREVIOUS = "last.pth", "previous.pth"
NEXT = ".next.pth"  # whole, and on its way to become last.pth

Row = dict[str, Any]


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    Attributes:
        epoch: The epoch that is going on, or begins, from 0.
        step: Steps of it that are done; all of them when only validation is left.
        patches: Patches of its order that these steps have served: the sampler's position.
    """

    epoch: int = 0
    step: int = 0
    patches: int = 0


@dataclass
class RunState:
    """What a run needs to go on, beside the weights.

    Attributes:
        position: Where it stands.
        optimizer: The optimiser's state.
        scaler: That of a loss scaler, empty without one.
        schedule: The learning rate at the position, and what it follows from.
        random: States of the random generators, one entry per process; empty at the beginning of
            an epoch, which seeds them anew.
        tally: What the broken-off epoch has counted; empty at its beginning.
        rows: metrics.csv up to the last whole epoch.
        timing: timing.csv likewise.
        order: What the order of patches follows from: batch size, seed, shuffle, drop_last.
        data: What tells the data from other data.
        processes: How many trained.
        micro_batch: Patches at a time of each process, None for all of its share.
        unchanged: Epochs in a row without a changed pixel predicted.
        maps: Validation maps kept for the picture.
    """

    position: Position
    optimizer: dict[str, Any]
    scaler: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)
    random: list[dict[str, Any]] = field(default_factory=list)
    tally: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    timing: list[Row] = field(default_factory=list)
    order: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    processes: int = 1
    micro_batch: int | None = None
    unchanged: int = 0
    maps: dict[str, Any] = field(default_factory=dict)


def keep_last(folder: Path, checkpoint: Checkpoint, state: RunState) -> None:
    """Write last.pth; what it was before becomes previous.pth.

    Args:
        folder: Of the run.
        checkpoint: Weights and facts; ``resume`` is filled in here.
        state: What the run needs to go on.

    Raises:
        CaimError: The disk is full or the folder cannot be written; the files before are whole.
    """
    waiting = folder / NEXT
    content = {name: getattr(state, name) for name in state.__dataclass_fields__}
    content["position"] = asdict(state.position)
    with writing(folder / LAST):
        save_checkpoint(waiting, replace(checkpoint, resume=content))
        if (folder / LAST).is_file():
            os.replace(folder / LAST, folder / PREVIOUS)
        os.replace(waiting, folder / LAST)
        _settle(folder)


def load_last(folder: Path) -> tuple[Checkpoint, RunState]:
    """The last whole checkpoint of a run.

    Raises:
        UserError: There is none.
        CheckpointError: Both files are damaged.
    """
    faults = []
    for name in (LAST, NEXT, PREVIOUS):
        path = folder / name
        if not path.is_file():
            faults += [f"{name} is missing"] if name != NEXT else []
            continue
        try:
            _check_sums(path)
            checkpoint = load_checkpoint(path)
            state = _state_of(checkpoint, path)
        except CheckpointError as error:
            faults.append(str(error))
            continue
        if faults:
            say(
                f"warning: {faults[0]}; going on from {name}, the last whole checkpoint. What was "
                "done since is done again."
            )
        return checkpoint, state
    if not any((folder / name).is_file() for name in (LAST, PREVIOUS)):
        raise UserError(
            f"--resume: {folder} holds no last.pth, expected one after the first epoch; nothing "
            "was finished there. Start again with --overwrite."
        )
    raise CheckpointError(
        f"--resume: {folder} holds no whole checkpoint: {'; '.join(faults)}. best.pth, if there "
        "is one, can be started from: --checkpoint, with another --output-dir."
    )


def check_data(folder: Path, state: RunState, data: Mapping[str, Any]) -> None:
    """Refuse to go on with other data than the run began with.

    Args:
        folder: Of the run, for the message.
        state: Of the checkpoint.
        data: Facts of the training data at hand.

    Raises:
        UserError: Something differs.
    """
    differences = [
        f"{key} {state.data[key]} then, {data[key]} now"
        for key in state.data
        if key in data and data[key] != state.data[key]
    ]
    if differences:
        raise UserError(
            f"--resume: the training data of {folder} differ: {'; '.join(differences)}. Expected "
            "the same scenes, index and pixel values; give the --data-root, --patch-size and "
            "--stride of the run, or start another run from its weights: --checkpoint "
            f"{folder / LAST} with another --output-dir."
        )


def _state_of(checkpoint: Checkpoint, path: Path) -> RunState:
    """The state in a checkpoint; one of an older version stands at the end of its epoch."""
    content = dict(checkpoint.resume)
    if "optimizer" not in content or "rows" not in content:
        raise CheckpointError(
            f"{path}: holds weights only, expected a run's state beside them; it is no last.pth."
        )
    position = content.pop("position", {"epoch": int(checkpoint.training["epoch"])})
    known = RunState.__dataclass_fields__.keys()
    return RunState(
        Position(**position), **{key: value for key, value in content.items() if key in known}
    )


def _check_sums(path: Path) -> None:
    """Compare the check sums within a torch file, which reading it does not do.

    Raises:
        CheckpointError: Bytes have changed, or some are missing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error})") from error
    if bad is not None:
        raise CheckpointError(f"{path} is damaged ({bad} has changed)")


def _settle(folder: Path) -> None:
    """Make sure that the new names last, where the system can promise it."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
