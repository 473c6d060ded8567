"""The record a training leaves: tables of epochs and steps, pictures, run trackers.

metrics.csv has a row per epoch; it holds nothing but what follows from data, settings and seed.
Times are apart, in timing.csv. steps.jsonl has a line per step, as it happened: the steps of an
epoch that was done again after an interruption stand there twice. Only the first rank writes.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker

from training.checks import writing
from training.run import Run
from utils.errors import UserError
from utils.files import write_csv_rows
from utils.pictures.figures import confusion_figure, learning_curve_figure
from utils.pictures.layout import save_figure
from utils.progress import say

__all__ = ["Records", "check_trackers"]

LEFT_BY_EARLIER_RUNS = (
    "metrics.csv", "timing.csv", "steps.jsonl", "last.pth", "previous.pth", "best.pth",
    "bad_batch.pth", "learning_curve.png", "confusion.png", "validation_maps.png",
)  # fmt: skip
DRAW_EVERY_S = 60.0  # drawing takes a second or two, short epochs less

TRACKERS: dict[str, Callable[[Path], GeneralTracker]] = {
    "tensorboard": lambda folder: TensorBoardTracker("tensorboard", folder),
    "wandb": lambda folder: WandBTracker("caim-net", dir=str(folder), name=folder.name),
    "mlflow": lambda folder: MLflowTracker("caim-net", run_name=folder.name),
}


class Records:
    """The files of one run, but for its checkpoints.

    Args:
        folder: Of the run.
        writes: Whether this rank writes; the others keep no record.
        trackers: Run trackers that get each epoch's numbers, too.
    """

    def __init__(self, folder: Path, writes: bool = True, trackers: Sequence[str] = ()) -> None:
        self.folder, self.writes = folder, writes
        self._names = tuple(trackers) if writes else ()
        self._trackers: list[GeneralTracker] = []
        self._drawn = time.monotonic()

    def begin(self) -> None:
        """Remove what an earlier run left (only --overwrite leads to a folder with any).

        Raises:
            UserError: A tracker cannot be started.
        """
        if not self.writes:
            return
        for name in LEFT_BY_EARLIER_RUNS:
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "tensorboard", ignore_errors=True)
        self._start_trackers()

    def steps(self, epoch: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add lines to steps.jsonl.

        Args:
            epoch: From 0; in the file epochs and steps count from 1.
            rows: As ``EpochMetrics.read`` gives them.
        """
        if not self.writes or not rows:
            return
        path = self.folder / "steps.jsonl"
        lines = [json.dumps({"epoch": epoch + 1, **row, "step": row["step"] + 1}) for row in rows]
        with writing(path), path.open("a+b") as stream:
            if stream.tell() and stream.seek(-1, 2) >= 0 and stream.read() != b"\n":
                stream.write(b"\n")  # a kill has left half a line
            stream.write("".join(f"{line}\n" for line in lines).encode())

    def epoch(self, run: Run) -> None:
        """Write the run's last epoch down, and draw if the last drawing is long ago."""
        if not self.writes:
            return
        self._write_tables(run)
        self._track(run)
        is_last = run.epochs_done == run.plan.epochs
        if is_last or time.monotonic() - self._drawn > DRAW_EVERY_S:
            self.draw(run)

    def restore(self, run: Run) -> None:
        """Make tables those of the checkpoint that a run goes on from, and pictures at its end.

        Raises:
            UserError: A tracker cannot be started.
        """
        if not self.writes:
            return
        self._write_tables(run)
        if run.epochs_done < run.plan.epochs:
            self._start_trackers()
        elif run.rows:
            self.draw(run)

    def draw(self, run: Run) -> None:
        """Draw the pictures: learning curves, confusion matrices, maps through the epochs."""
        with writing(self.folder / "learning_curve.png"):
            save_figure(learning_curve_figure(run.rows), self.folder / "learning_curve.png")
            title = f"Validation split, epoch {run.epochs_done}"
            save_figure(confusion_figure(run.matrices, title), self.folder / "confusion.png")
            run.maps.draw(self.folder / "validation_maps.png")
        self._drawn = time.monotonic()

    def close(self) -> None:
        """Let the trackers finish."""
        for tracker in self._trackers:
            tracker.finish()

    def _start_trackers(self) -> None:
        self._trackers = [_started(name, self.folder) for name in self._names]

    def _write_tables(self, run: Run) -> None:
        for name, table in (("metrics.csv", run.rows), ("timing.csv", run.timing)):
            path = self.folder / name
            with writing(path):
                if table:
                    write_csv_rows(path, table)
                else:
                    path.unlink(missing_ok=True)

    def _track(self, run: Run) -> None:
        """Give the trackers the last epoch; one that fails is let go, the run is not."""
        numbers = {
            key.replace("train_", "train/", 1).replace("val_", "val/", 1): float(value)
            for key, value in {**run.rows[-1], **run.timing[-1]}.items()
        }
        for tracker in list(self._trackers):
            try:
                tracker.log(numbers, step=run.epochs_done * len(run.train))
            except Exception as error:  # a server that is gone, a full disk, a fault of theirs
                say(f"warning: {tracker.name} is given up, training goes on ({_short(error)})")
                self._trackers.remove(tracker)


def check_trackers(names: Sequence[str]) -> None:
    """Make sure that the trackers asked for are known and installed.

    Raises:
        UserError: One is not.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--log-with: found {name!r}, expected any of {', '.join(TRACKERS)}.")
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"--log-with: found no {name} in this Python, expected it installed; "
                f"python -m pip install {name}, or leave it out (metrics.csv and steps.jsonl hold "
                "the same numbers)."
            )


def _started(name: str, folder: Path) -> GeneralTracker:
    try:
        tracker = TRACKERS[name](folder)
        tracker.start()
    except Exception as error:  # no account, no server, a fault of theirs
        raise UserError(
            f"--log-with: {name} could not be started ({_short(error)}), expected it set up; see "
            "its own documentation, or leave it out."
        ) from error
    return tracker


def _short(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
