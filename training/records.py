"""The record a training leaves: tables of epochs and steps, pictures, TensorBoard's files.

metrics.csv has a row per epoch and steps.jsonl a line per step; both hold nothing but what follows
from data, settings and seed. Times are apart, in timing.csv. A resumed run cuts the files back to
its checkpoint and goes on. Only the first process writes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.checkpoints import Position
from training.epoch_maps import EpochMaps
from training.guards import writing
from utils.errors import UserError
from utils.files import atomic_path
from utils.metrics import Matrix
from utils.pictures.figures import confusion_figure, learning_curve_figure
from utils.pictures.layout import save_figure
from utils.run_folder import write_csv_rows

__all__ = ["Journal"]

LEFT_BY_EARLIER_RUNS = (
    "metrics.csv", "timing.csv", "steps.jsonl", "last.pth", "previous.pth", "best.pth",
    ".next.pth", "bad_batch.pth", "learning_curve.png", "confusion.png", "validation_maps.png",
)  # fmt: skip
DRAW_EVERY_S = 60.0  # drawing takes a second or two, short epochs less

Row = Mapping[str, Any]


class Journal:
    """The files of one run, but for its checkpoints.

    Args:
        folder: Of the run.
        writes: Whether this process writes; the others keep no record.
        tensorboard: Whether TensorBoard's files are written, too.

    Raises:
        UserError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, writes: bool = True, tensorboard: bool = False) -> None:
        self.folder, self.writes = folder, writes
        self._board = _open_board(folder) if tensorboard and writes else None
        self._drawn = time.monotonic()

    def begin(self) -> None:
        """Remove what an earlier run left (only --overwrite leads to a folder with any)."""
        if not self.writes:
            return
        for name in LEFT_BY_EARLIER_RUNS:
            (self.folder / name).unlink(missing_ok=True)
        self._remove_partial_files()

    def cut_back(self, position: Position, rows: Sequence[Row], timing: Sequence[Row]) -> None:
        """Make the tables those of a checkpoint, whatever a kill left there."""
        if not self.writes:
            return
        self._remove_partial_files()
        self._tables(rows, timing)
        path = self.folder / "steps.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if _is_before(line, position)]
        with writing(path), atomic_path(path) as partial:
            partial.write_text("".join(f"{line}\n" for line in kept), "utf-8")

    def steps(self, epoch: int, rows: Sequence[Row]) -> None:
        """Add lines to steps.jsonl, epoch and step counted from 1."""
        if not self.writes or not rows:
            return
        told = [{"epoch": epoch + 1, **row, "step": row["step"] + 1} for row in rows]
        path = self.folder / "steps.jsonl"
        with writing(path), path.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in told)

    def epoch(
        self,
        rows: Sequence[Row],
        timing: Sequence[Row],
        steps: int,
        matrices: Mapping[str, Matrix],
        maps: EpochMaps,
        is_last: bool,
    ) -> None:
        """Write an epoch down, and draw if the last drawing is long ago.

        Args:
            rows: metrics.csv with the new row last.
            timing: timing.csv likewise.
            steps: Steps so far, over all epochs.
            matrices: Confusion matrices of the validation split.
            maps: Validation maps through the epochs.
            is_last: Draw in any case.
        """
        if not self.writes:
            return
        self._tables(rows, timing)
        if self._board is not None:
            for name, value in {**rows[-1], **timing[-1]}.items():
                self._board.add_scalar(name.replace("_", "/", 1), float(value), steps)
            self._board.flush()
        if is_last or time.monotonic() - self._drawn > DRAW_EVERY_S:
            self.draw(rows, matrices, maps)

    def draw(self, rows: Sequence[Row], matrices: Mapping[str, Matrix], maps: EpochMaps) -> None:
        """Draw the pictures: learning curves, confusion matrices, maps through the epochs."""
        if not self.writes:
            return
        with writing(self.folder / "learning_curve.png"):
            save_figure(learning_curve_figure(rows), self.folder / "learning_curve.png")
            title = f"Validation split, epoch {rows[-1]['epoch']}"
            save_figure(confusion_figure(matrices, title), self.folder / "confusion.png")
            maps.draw(self.folder / "validation_maps.png")
        self._drawn = time.monotonic()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _tables(self, rows: Sequence[Row], timing: Sequence[Row]) -> None:
        for name, table in (("metrics.csv", rows), ("timing.csv", timing)):
            with writing(self.folder / name):
                if table:
                    write_csv_rows(self.folder / name, table)
                else:
                    (self.folder / name).unlink(missing_ok=True)

    def _remove_partial_files(self) -> None:
        """Remove what a kill in the middle of a write has left."""
        for path in self.folder.glob(".*.partial*"):
            path.unlink(missing_ok=True)


def _is_before(line: str, position: Position) -> bool:
    """Whether a line of steps.jsonl is whole and of a step that the checkpoint holds."""
    try:
        row = json.loads(line)
        place = (row["epoch"] - 1, row["step"] - 1)
    except (ValueError, KeyError, TypeError):
        return False
    return bool(place < (position.epoch, position.step))


def _open_board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            "--tensorboard: found no tensorboard in this Python, expected it installed; "
            "python -m pip install tensorboard, or leave the flag out (metrics.csv and steps.jsonl "
            "hold the same numbers)."
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
