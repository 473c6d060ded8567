"""Every program's command line: quick, complete, and the same manners everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
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
HEAVY = (
    "accelerate", "dask", "matplotlib", "onnxruntime", "pandas", "scipy", "skimage",
    "sklearn", "torch", "xarray", "zarr",
)  # fmt: skip
# Runs a program with one line of flags after another; says of each how it left, what it wrote and
# which heavy modules were there by then.
WATCHER = f"""
import io, json, runpy, sys
from contextlib import redirect_stderr, redirect_stdout
program, lines = sys.argv[1], json.loads(sys.argv[2])
told = []
for flags in lines:
    sys.argv, text, code = [program, *flags], io.StringIO(), 0
    with redirect_stdout(text), redirect_stderr(text):
        try:
            runpy.run_path(program, run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
    told.append([code, [name for name in {HEAVY!r} if name in sys.modules], text.getvalue()])
print(json.dumps(told))
"""
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

Told = tuple[int, list[str], str]


def nowhere(program: str) -> list[str]:
    """Flags of a program that name a path that does not exist."""
    if Path(program).stem in SOURCES:
        return ["--source", "nowhere", "--data-root", "out"]
    return PATHS.get(program, ["--data-root", "nowhere"])


@cache
def told(program: str) -> list[Told]:
    """Exit code, heavy modules and output for a wrong flag, for --help, for a path not there."""
    lines = [["--conifg", "x.yaml"], ["--help"]]
    if Path(program).stem not in WRITES_THERE:
        lines.append(nowhere(program))
    done = subprocess.run(
        [sys.executable, "-c", WATCHER, str(REPOSITORY / program), json.dumps(lines)],
        cwd=REPOSITORY, capture_output=True, text=True, encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"}, check=True, timeout=60,
    )  # fmt: skip
    return [(code, heavy, text) for code, heavy, text in json.loads(done.stdout)]


def test_there_are_programs() -> None:
    assert len(PROGRAMS) >= 28


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_flag_is_refused_quickly_with_the_near_name(program: str) -> None:
    code, heavy, shown = told(program)[0]
    assert (code, heavy) == (2, [])
    assert "unknown flag --conifg; did you mean --config?" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_quick_and_says_something_about_every_flag(program: str) -> None:
    code, heavy, shown = told(program)[1]
    assert (code, heavy) == (0, [])
    text = " ".join(shown.split())
    assert re.search(r"--config PATH YAML or JSON", text)
    silent = re.findall(r"(--[\w-]+)(?: [A-Z{][^ ]*(?: \.\.\.)?)? \((?:default|required)", text)
    assert not silent
    headings = re.findall(r"(?:PATH|N|X|TEXT|\}|\.\.\.) (?:paths|data|model|speed|output) ", text)
    assert not headings  # a heading of the block that slipped into a field's text


@pytest.mark.parametrize("program", [p for p in PROGRAMS if Path(p).stem not in WRITES_THERE])
def test_a_path_that_does_not_exist_is_said_quickly(program: str) -> None:
    code, heavy, shown = told(program)[2]
    assert code in (2, 3)
    assert heavy == []
    assert "nowhere" in shown
    assert "Traceback" not in shown
