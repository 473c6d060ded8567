"""accelerate launch, by way of torchrun, runs the training scripts as they are on two processes.

torchrun by itself: tests/mapping/test_predict.py.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.scene_files import write_data_root
from utils.files import read_csv_rows
from utils.settings import REPOSITORY

SMALL = (
    "--patch-size", "32", "--stride", "32", "--num-workers", "0", "--batch-size", "4",
    "--width", "8", "--epochs", "1", "--device", "cpu", "--dropout", "0",
)  # fmt: skip
PORT = {"accelerate.commands.launch": "main_process_port"}

pytestmark = pytest.mark.slow


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """Flags of a training, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("alone")
    root = write_data_root(folder, "dynamic", 1, 64, patch_size=32, stride=32)
    flags = ["--data-root", str(root), *SMALL]
    done = run(str(REPOSITORY / "Train_Dynamic.py"), *flags, "--output-dir", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    return flags, folder / "one"


@pytest.mark.parametrize(
    "launcher",
    [
        ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"],
    ],
    ids=["accelerate"],
)
def test_launchers_start_the_same_script_with_two_processes(
    tmp_path: Path, launcher: list[str], alone: tuple[list[str], Path]
) -> None:
    flags, one = alone
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = ["-m", *launcher, f"--{PORT[launcher[0]]}", str(port)]
    done = run(
        *start, str(REPOSITORY / "Train_Dynamic.py"), *flags, "--output-dir", "two", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "2 processes share each batch of 4 patches" in done.stdout
    assert done.stdout.count("epoch 1/1") == 1  # the first process speaks
    rows = [read_csv_rows(folder / "metrics.csv")[0] for folder in (one, tmp_path / "two")]
    scores = [{k: v for k, v in row.items() if "f1" in k or "kappa" in k} for row in rows]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 10
