"""Checks that end a training in plain words: numbers not finite, lost data, memory, a full disk.

Each error says what to do, and the files of the run stay as they were after the last checkpoint.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from utils.errors import CaimError, DataError
from utils.files import atomic_path
from utils.metrics import Matrix
from utils.progress import say

__all__ = [
    "COLLAPSE_EPOCHS",
    "clear_memory_errors",
    "keep_batch",
    "not_finite",
    "reading_failure",
    "unchanged_everywhere",
    "warn_of_collapse",
    "writing",
]

COLLAPSE_EPOCHS = 5
"""After so many epochs in a row without a single changed pixel predicted, a warning is given."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NEXT_TO_NOTHING = 16 << 20  # bytes
KILLED = ("is killed by signal", "exited unexpectedly")
NO_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")


def not_finite(
    epoch: int, step: int, loss: float, gradient: float, scenes: Sequence[str], batch: str
) -> CaimError:
    """The error for a loss or gradient that is no finite number.

    Args:
        epoch, step: Counted from 0.
        loss: Of the batch.
        gradient: Norm of its gradient.
        scenes: Names of the scenes of the batch.
        batch: Where the batch lies now, as a sentence; may be empty.
    """
    names = ", ".join(sorted(set(scenes))) or "unknown"
    return CaimError(
        f"training: the loss is {loss} and the norm of its gradient {gradient} in epoch "
        f"{epoch + 1}, step {step + 1}, scenes {names}; expected finite numbers. {batch}"
        "Check these scenes with data_processing/*_custom.py, lower --lr, or use "
        "--precision float32. last.pth holds the weights before this epoch."
    )


def keep_batch(path: Path, batch: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Write a batch that broke the training to a file, for a look; a sentence that says where."""
    try:
        with atomic_path(path) as partial:
            torch.save({"batch": dict(batch), **facts}, partial)
    except (OSError, RuntimeError) as error:
        return f"The batch could not be written to {path} ({error}). "
    return f'The batch lies there: torch.load("{path}", weights_only=True)["batch"]. '


def reading_failure(error: Exception) -> CaimError | None:
    """The error to show for one that came while a batch was read; None for a fault of ours."""
    text = str(error)
    if isinstance(error, CaimError):  # one from a reading process brings its traceback along
        return type(error)(_own_words(error)) if text.startswith("Caught ") else error
    if isinstance(error, RuntimeError) and any(sign in text for sign in KILLED):
        return CaimError(
            f"training: a reading process was killed ({text.splitlines()[0]}), expected it to live "
            "as long as the run. Often memory ran out, or shared memory in a container: use "
            "--num-workers 0, leave --cache out, or give more memory."
        )
    if isinstance(error, OSError) or type(error).__module__.startswith("rasterio"):
        return DataError(
            "training: a batch could not be read",
            [f"{_reason(text) or type(error).__name__}, expected the files that were there at "
             "the start"],
            "Were scenes moved or deleted, or is a disk not mounted? Put them back and resume.",
        )  # fmt: skip
    return None


@contextmanager
def clear_memory_errors(batch_size: int, micro_batch: int | None) -> Iterator[None]:
    """Turn "out of memory" in a step into an error that names the flag to set.

    Raises:
        CaimError: Memory ran out inside.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        is_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not is_memory and not any(sign in str(error).lower() for sign in NO_MEMORY):
            raise
        at_once = micro_batch or batch_size
        raise CaimError(
            f"training: out of memory with {at_once} patches at a time "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}). Give "
            "--max-memory, for example --max-memory 8G: batches are then computed in parts that "
            "fit, with the same result. Or --recompute, or a smaller --batch-size."
        ) from error


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turn a failing write into an error that says what is left.

    Raises:
        CaimError: The disk is full, or the place cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        system = _system_error(error)
        if system is None and "inline_container" not in str(error):  # torch.save's own words
            raise
        text = str(system or error).splitlines()[0]
        full = system.errno in FULL if system else _is_nearly_full(what)
        cause = "the disk is full" if full else "it cannot be written"
        raise CaimError(
            f"{what}: {cause} ({text}). What was finished before is whole; make room or give "
            "rights, then go on with --resume."
        ) from error


def unchanged_everywhere(matrices: Mapping[str, Matrix]) -> bool:
    """Whether no pixel at all was predicted as changed, although some are labelled so."""
    matrix = matrices["area"]
    return bool(matrix[1:].sum() > 0 and matrix[:, 1:].sum() == 0)


def warn_of_collapse(epochs: int) -> None:
    """Say that nothing is called changed, once, when it has been so for some epochs.

    Args:
        epochs: In a row, up to now.
    """
    if epochs == COLLAPSE_EPOCHS:
        say(
            f"warning: for {epochs} epochs no pixel of the validation split was called changed. "
            "That may pass, but often does not: try a higher --lr, a smaller --batch-size, "
            "--augment, or --area-factors none --moment-factors none."
        )


def _own_words(error: CaimError) -> str:
    """The message of an error that a reading process has handed on inside a traceback."""
    kind = type(error)
    return str(error).rpartition(f"{kind.__module__}.{kind.__qualname__}: ")[2].strip()


def _reason(text: str) -> str:
    """An error in one line; one from a reading process ends with its own words."""
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    return lines[-1] if lines[0].startswith("Caught ") else lines[0]


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's error among those that led to this one."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _is_nearly_full(path: Path) -> bool:
    """Whether the disk of a file has next to no room."""
    try:
        return shutil.disk_usage(path.parent).free < NEXT_TO_NOTHING
    except OSError:
        return False
