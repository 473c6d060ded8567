"""The documentation as a site (make docs): every page has its place, every link leads to one."""

from __future__ import annotations

import importlib.util
import json
import re
from types import ModuleType
from typing import Any

import pytest

from utils.settings import REPOSITORY


@pytest.fixture(scope="module")
def site() -> ModuleType:
    found = importlib.util.spec_from_file_location("site_hooks", REPOSITORY / "docs/site.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_link_of_every_page_leads_to_a_file_of_the_site(site: Any) -> None:
    places = {*site.pages().values(), *site.sources()}
    docs = REPOSITORY / "docs"
    broken = []
    for origin, place in site.pages().items():
        for link in site.links(site.relinked(site.text_of(origin), origin, place)):
            path = link.partition("#")[0]
            target = (docs / place).parent.joinpath(path).resolve() if path else docs / place
            name = target.relative_to(docs).as_posix() if target.is_relative_to(docs) else link
            if name not in places and not target.is_file():
                broken.append((origin, link))
    assert not broken
    assert len(site.sources()) > 50  # code that pages link to comes along


def test_links_keep_their_headings_and_code_stays_as_it_is(site: Any) -> None:
    text = "[a](../best_model/README.md#x) [b](data.md) `[c](data.md)` [d](https://e.f) [g](#h)"
    assert site.relinked(text, "docs/predict.md", "predict.md") == (
        "[a](weights.md#x) [b](data.md) `[c](data.md)` [d](https://e.f) [g](#h)"
    )
    moved = site.relinked("[a](docs/data.md#x) [b](models/caim_net.py)", "README.md", "readme.md")
    assert moved == "[a](data.md#x) [b](source/models/caim_net.py.md)"
    assert site.relinked("[a](../predict.md)", "docs/notebooks/a.ipynb", "notebooks/a.md") == (
        "[a](../predict.md)"
    )


def test_the_contents_list_every_page_once(site: Any) -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"[\w/]+\.md\b", text[text.index("\nnav:") :])
    assert sorted(listed) == sorted(site.pages().values())
    assert listed[0] == "index.md"


def test_a_notebook_becomes_a_page_with_its_outputs(site: Any) -> None:
    outputs = [
        {"output_type": "stream", "text": ["a <b>\n"]},
        {"data": {"text/html": ["<table>\n  <tr></tr>\n", "</table>"], "text/plain": "t"}},
        {"data": {"image/png": "QUJD\n", "text/plain": "<Figure>"}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": ["x = 1"], "outputs": outputs},
    ]
    assert site.notebook_text(json.dumps({"cells": cells})) == (
        "# Title\ntext\n\n```python\nx = 1\n```\n\n<pre>a &lt;b&gt;\n</pre>\n\n"
        "<table> <tr></tr> </table>\n\n![output](data:image/png;base64,QUJD)"
    )


def test_the_first_page_is_the_report_of_the_demo(site: Any) -> None:
    page = (REPOSITORY / "docs/index.md").read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert 'src="demo/report.html"' in page
    assert f"REPORT := {site.REPORT}\n" in makefile
    assert site.framed('<a href="https://a.b" rel="c"><a href="#d">') == (
        '<a target="_blank" href="https://a.b" rel="c"><a href="#d">'
    )
