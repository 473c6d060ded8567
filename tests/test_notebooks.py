"""Notebooks of the documentation run as they stand, and show what they say they show."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib import pyplot

from utils.settings import REPOSITORY

NOTEBOOKS = sorted(REPOSITORY.glob("docs/notebooks/*.ipynb"))
MOST_BYTES = 150_000  # of a notebook with its outputs


def code_cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def run(source: str, names: dict[str, Any]) -> Any:
    """Execute a cell; the value of its last line, as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def first_word(text: str) -> str:
    """The first word, without numbers, whose last digits other machines round differently."""
    return re.sub(r"\d[\d.]*", "#", text.split()[0])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_what_is_stored_in_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("geopandas")
    pytest.importorskip("xarray")
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    backend = matplotlib.get_backend()
    pyplot.switch_backend("agg")
    names: dict[str, Any] = {"__name__": "notebook"}
    shown = 0
    for cell in code_cells(path):
        source = "".join(cell["source"])
        value = run(source, names)
        stored = [o["data"] for o in cell["outputs"] if o["output_type"] == "execute_result"]
        if stored:
            text = "".join(stored[0]["text/plain"])
            assert first_word(repr(value)) == first_word(text)
            assert ("text/html" in stored[0]) == hasattr(value, "_repr_html_")
            shown += 1
    pyplot.close("all")
    pyplot.switch_backend(backend)
    assert shown >= 4


def test_notebooks_hold_their_outputs_and_stay_small() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        kinds = {kind for cell in code_cells(path) for output in cell["outputs"]
                 for kind in output.get("data", {})}  # fmt: skip
        assert {"image/png", "text/html", "text/plain"} <= kinds
        assert path.stat().st_size < MOST_BYTES
