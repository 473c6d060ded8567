"""The checkpoints of a run: last.pth after every epoch, previous.pth, the one before, and best.pth.

Each is written whole or not at all. Whenever a run is killed, last.pth or previous.pth is whole,
and going on from it gives the weights and the table of a run that was never interrupted (bit for
bit on a CPU); the epoch that was going on is done again.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from training.checks import writing
from training.run import Row, Run
from utils.errors import CheckpointError, UserError
from utils.progress import say

__all__ = ["BEST", "LAST", "PREVIOUS", "CheckpointManager", "LastCheckpoint", "TrainingState"]

LAST, PREVIOUS, BEST = "last.pth", "previous.pth", "best.pth"
NEXT = ".next.pth"  # whole, and on its way to become last.pth
MOST = 10**9  # no count in a checkpoint is larger


@dataclass(frozen=True)
class TrainingState:
    """State of a run after a whole epoch, beside its weights.

    Attributes:
        epochs_done: Whole epochs.
        optimizer: Moments by parameter.
        rows: metrics.csv.
        timing: timing.csv.
        data: What tells the data from other data.
        batch: What the micro-batch follows from.
        micro_batch: Patches at a time of each rank, None for all of its share.
        epochs_unchanged: Epochs in a row without a changed pixel predicted.
        matrices: Confusion matrices of the last validation.
        maps: Validation maps for the picture.
        steps: Of the optimiser.
        learning: Weights of the last step, where those of the file are averaged; else empty.
    """

    epochs_done: int
    optimizer: dict[int, dict[str, Tensor]]
    rows: list[Row]
    timing: list[Row]
    data: dict[str, Any]
    batch: dict[str, Any]
    micro_batch: int | None
    epochs_unchanged: int
    matrices: dict[str, Tensor]
    maps: dict[str, Any]
    steps: int
    learning: dict[str, Tensor]


@dataclass(frozen=True)
class LastCheckpoint:
    """The checkpoint that a run goes on from.

    Attributes:
        weights: With what the file says of them.
        state: What else the run needs.
        is_newest: Whether it is last.pth, not the one before.
    """

    weights: Checkpoint
    state: TrainingState
    is_newest: bool


class CheckpointManager:
    """Writes and reads the checkpoints in a run's folder.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last_is_whole = True

    def save(self, run: Run) -> None:
        """Write last.pth, then best.pth if the last epoch is the best so far.

        What last.pth was before becomes previous.pth, unless it is damaged.

        Raises:
            CaimError: The disk is full or the folder cannot be written.
        """
        last, state = self.folder / LAST, vars(_state_of(run))
        with writing(last):
            save_checkpoint(self.folder / NEXT, replace(run.checkpoint(), resume=state))
            if last.is_file() and self._last_is_whole:
                os.replace(last, self.folder / PREVIOUS)
            os.replace(self.folder / NEXT, last)
        self._last_is_whole = True
        self._save_best(run)

    def _save_best(self, run: Run) -> None:
        if run.rows and run.is_best:
            with writing(self.folder / BEST):
                save_checkpoint(self.folder / BEST, run.checkpoint())

    def load(self) -> LastCheckpoint | None:
        """The last whole checkpoint; None if the run was stopped before it wrote one.

        Raises:
            CheckpointError: There are checkpoints, and all are damaged.
        """
        paths = [self.folder / name for name in (LAST, PREVIOUS)]
        faults = []
        for path in paths if any(path.is_file() for path in paths) else ():
            try:
                last = _read(path)
            except CheckpointError as error:
                faults.append(str(error))
                continue
            if faults:
                say(
                    f"warning: {faults[0]}; going on from {path.name}, the last whole checkpoint. "
                    "The epochs since are done again."
                )
            return last
        if faults:
            raise CheckpointError(
                f"--resume: {self.folder} holds no whole checkpoint: {'; '.join(faults)}. "
                f"{BEST}, if there is one, can be started from: --checkpoint, with another "
                "--output-dir."
            )
        return None

    def restore(self, run: Run, last: LastCheckpoint) -> bool:
        """Set a run to where its last checkpoint was written.

        Returns:
            Whether the run's micro-batch is still that of the checkpoint; else it must be found.

        Raises:
            UserError: The data are others, or the batch of a network that mixes its patches.
            CheckpointError: Weights or optimiser do not fit the network.
        """
        state, self._last_is_whole = last.state, last.is_newest
        self._check_data(state.data, run.data_facts())
        self._check_batch(run, state.batch)
        try:
            _check_numbers(last.weights.state_dict)
            run.scored.load_state_dict(last.weights.state_dict)
            if run.averaged is not None:
                _check_numbers(state.learning)
                run.network.load_state_dict(state.learning)
            _load_moments(run.optimizer, state.optimizer)
            run.maps.restore(state.maps)
        except (LookupError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.folder / LAST}: its state does not fit the settings of this run "
                f"({(str(error) or type(error).__name__).splitlines()[0]}). Resume with the model "
                f"settings of {self.folder / 'settings.json'}."
            ) from error
        run.epochs_done, run.epochs_unchanged = state.epochs_done, state.epochs_unchanged
        run.steps = state.steps
        run.rows, run.timing = list(state.rows), list(state.timing)
        run.matrices = {name: counts.numpy() for name, counts in state.matrices.items()}
        same = state.batch == _batch_facts(run)
        run.micro_batch = state.micro_batch if same else None
        if run.ranks.is_first:
            self._save_best(run)  # in case that the run was killed just before it did
        return same

    def _check_data(self, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        differences = [
            f"{key} {then[key]} then, {now[key]} now"
            for key in then
            if key in now and now[key] != then[key]
        ]
        if differences:
            raise UserError(
                f"--resume: the training data of {self.folder} differ: {'; '.join(differences)}. "
                "Expected the same scenes, index and pixel values; give the --data-root, "
                "--patch-size and --stride of the run, or start another run from its weights: "
                f"--checkpoint {self.folder / LAST} with another --output-dir."
            )

    def _check_batch(self, run: Run, then: Mapping[str, Any]) -> None:
        before, now = then.get("batch_size"), run.train.batch_size
        if run.mixes_batch and before != now:
            raise UserError(
                f"--batch-size: found {now}, expected {before} as {self.folder} began: with "
                "--attention batch the patches of a batch are mixed, so another size makes another "
                f"network of the same weights. Leave the flag out, or start another run: "
                f"--checkpoint {self.folder / LAST} with another --output-dir."
            )


def _batch_facts(run: Run) -> dict[str, Any]:
    """Settings that the size of a micro-batch follows from."""
    return {
        "batch_size": run.train.batch_size,
        "max_memory": run.plan.max_memory,
        "processes": run.ranks.size,
    }


def _state_of(run: Run) -> TrainingState:
    return TrainingState(
        epochs_done=run.epochs_done,
        optimizer=run.optimizer.state_dict()["state"],
        rows=run.rows,
        timing=run.timing,
        data=run.data_facts(),
        batch=_batch_facts(run),
        micro_batch=run.micro_batch,
        epochs_unchanged=run.epochs_unchanged,
        matrices={name: torch.from_numpy(counts) for name, counts in run.matrices.items()},
        maps=run.maps.state(),
        steps=run.steps,
        learning={} if run.averaged is None else run.network.state_dict(),
    )


def _check_numbers(values: Mapping[str, Tensor]) -> None:
    """Make sure that weights or moments are numbers.

    Raises:
        ValueError: One is infinite or NaN.
    """
    for name, value in values.items():
        if not value.isfinite().all():
            raise ValueError(f"{name} is not finite")


def _load_moments(optimizer: torch.optim.Optimizer, moments: dict[int, dict[str, Tensor]]) -> None:
    """Give an optimiser the moments of a checkpoint; rates and decays stay those of the plan.

    Raises:
        ValueError, IndexError: They belong to other parameters, or are no numbers.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, values in moments.items():
        _check_numbers(values)
        for name, value in values.items():
            if value.shape not in (torch.Size(), parameters[number].shape):
                raise ValueError(f"{name} of parameter {number} has shape {tuple(value.shape)}")
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


# ─────────────────────────────────────── reading a file ───────────────────────────────────────


def _read(path: Path) -> LastCheckpoint:
    """A checkpoint of a run.

    Raises:
        CheckpointError: It is missing, damaged, of another version, or was edited.
    """
    if not path.is_file():
        raise CheckpointError(f"{path.name} is missing")
    _check_sums(path)
    weights = load_checkpoint(path)
    content = weights.resume
    names = [field.name for field in fields(TrainingState)]
    missing = [name for name in names if name not in content]
    if missing:
        raise CheckpointError(
            f"{path}: holds no {', '.join(missing)}, expected a run's state beside the weights; it "
            "is no last.pth of this version. Its weights can be started from: --checkpoint"
        )
    faults = [name for name in names if not _CHECKS[name](content[name])]
    if not faults and not len(content["rows"]) == len(content["timing"]) == content["epochs_done"]:
        faults = ["epochs_done"]
    if faults:
        raise CheckpointError(
            f"{path}: {', '.join(faults)} cannot be those of a run; the file was edited or damaged"
        )
    state = TrainingState(**{name: content[name] for name in names})
    return LastCheckpoint(weights, state, path.name == LAST)


def _check_sums(path: Path) -> None:
    """Compare the check sums within a torch file, which reading it does not do.

    Raises:
        CheckpointError: Bytes have changed, or some are missing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error})") from error
    if bad is not None:
        raise CheckpointError(f"{path} is damaged ({bad} has changed)")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MOST


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < MOST)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, dict)
        and all(isinstance(key, str) and _is_number(number) for key, number in row.items())
        for row in value
    )


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


def _are_moments(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_count(number)
        and isinstance(moments, dict)
        and all(isinstance(moment, Tensor) for moment in moments.values())
        for number, moments in value.items()
    )


def _are_matrices(value: Any) -> bool:
    return _is_mapping(value) and all(
        isinstance(counts, Tensor)
        and counts.dtype == torch.int64
        and counts.ndim == 2
        and counts.shape[0] == counts.shape[1]
        and bool((counts >= 0).all())
        for counts in value.values()
    )


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "epochs_done": _is_count,
    "optimizer": _are_moments,
    "rows": _is_table,
    "timing": _is_table,
    "data": _is_mapping,
    "batch": _is_mapping,
    "micro_batch": lambda value: value is None or (_is_count(value) and value > 0),
    "epochs_unchanged": _is_count,
    "matrices": _are_matrices,
    "maps": _is_mapping,
    "steps": _is_count,
    "learning": lambda value: (
        _is_mapping(value) and all(isinstance(each, Tensor) for each in value.values())
    ),
}
