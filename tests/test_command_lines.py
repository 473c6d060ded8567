"""Every program's command line: quick, complete, and the same manners everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from utils.settings import REPOSITORY

PROGRAMS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in [
        *REPOSITORY.glob("[TP]*.py"),
        *REPOSITORY.glob("data_processing/*.py"),
        REPOSITORY / "models/weights/convert.py",
    ]
    if path.name != "__init__.py"
)
# Seconds to import, and of no use to a wrong flag.
HEAVY = ("accelerate", "matplotlib", "scipy", "skimage", "sklearn", "torch")
CPU_SECONDS = 0.7  # on an idle machine; the tests allow twice as much, as others may run beside
# Runs a program and says which modules it had when it ended, what it cost and how it left.
WATCHER = f"""
import json, runpy, sys, time
program, sys.argv = sys.argv[1], sys.argv[1:]
try:
    runpy.run_path(program, run_name="__main__")
except SystemExit as end:
    code = end.code
heavy = [name for name in {HEAVY!r} if name in sys.modules]
print(json.dumps([code, heavy, time.process_time()]))
"""


def watched(program: str, *flags: str) -> tuple[int, list[str], float, str]:
    """Exit code, heavy modules, CPU seconds and output of a program."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHER, str(REPOSITORY / program), *flags],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=True,
        timeout=60,
    )
    *lines, facts = done.stdout.splitlines()
    code, heavy, seconds = json.loads(facts)
    return code or 0, heavy, seconds, "\n".join(lines) + done.stderr


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 28


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_quick_and_says_something_about_every_flag(program: str) -> None:
    code, heavy, seconds, shown = watched(program, "--help")
    assert (code, heavy) == (0, [])
    assert seconds < 2 * CPU_SECONDS
    text = " ".join(shown.split())
    assert re.search(r"--config PATH YAML or JSON", text)
    silent = re.findall(r"(--[\w-]+)(?: [A-Z{][^ ]*(?: \.\.\.)?)? \((?:default|required)", text)
    assert not silent
    headings = re.findall(r"(?:PATH|N|X|TEXT|\}|\.\.\.) (?:paths|data|model|speed|output) ", text)
    assert not headings  # a heading of the block that slipped into a field's text


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_flag_is_refused_quickly_with_the_near_name(program: str) -> None:
    code, heavy, seconds, shown = watched(program, "--conifg", "x.yaml")
    assert (code, heavy) == (2, [])
    assert seconds < 2 * CPU_SECONDS
    assert "unknown flag --conifg; did you mean --config?" in shown
    assert "Traceback" not in shown


# What a user mistypes most: a folder or file that is not there.
PATHS = {
    "Predict.py": ["--images", "nowhere"],
    "Train_CTMA.py": ["--data-root", "nowhere"],
    "Test_CTMA.py": ["--data-root", "nowhere", "--checkpoint", "best_model/README.md"],
    "data_processing/insert_changes.py": ["--images", "nowhere", "--dataset", "dynamic"],
    "Test_Custom.py": ["--data-root", "nowhere", "--checkpoint", "best_model/README.md"],
    "data_processing/layout_check.py": ["--data-root", "nowhere", "--dataset", "dynamic"],
    "data_processing/prepare_custom.py": [
        "--images", "nowhere/*.tif", "--masks", "m", "--dataset", "dynamic", "--split", "test",
        "--name", "Scene01",
    ],
    "data_processing/prepare_levir.py": ["nowhere", "out"],
    "data_processing/prepare_whu.py": ["nowhere", "out"],
    "data_processing/series_pairs.py": [
        "--data-root", "nowhere", "--dataset", "dynamic", "--output-dir", "out",
    ],
    "models/weights/convert.py": ["--checkpoint", "nowhere.pth", "--output", "out.pth"],
}  # fmt: skip
SOURCES = ("prepare_dynamic", "prepare_romania", "prepare_spacenet7")
WRITES_THERE = ("sample_data",)  # a data root that does not exist is made


@pytest.mark.parametrize("program", [p for p in PROGRAMS if Path(p).stem not in WRITES_THERE])
def test_a_path_that_does_not_exist_is_said_quickly(program: str) -> None:
    flags = PATHS.get(program, ["--data-root", "nowhere"])
    if Path(program).stem in SOURCES:
        flags = ["--source", "nowhere", "--data-root", "out"]
    code, heavy, seconds, shown = watched(program, *flags)
    assert code in (2, 3)
    assert heavy == []
    assert seconds < 2 * CPU_SECONDS
    assert "nowhere" in shown
    assert "Traceback" not in shown
