"""The pages of this folder as a site, for ``make docs``: what MkDocs does not do by itself.

Pages link to the code and to results beside docs/, as one reads them in a repository. Here README
and its like become pages, files that are linked to come along (code as pages with colours), the
notebook is shown with its outputs, and every link leads to its place in the site. The report of the
demo stands on the first page. MkDocs calls ``on_files`` and ``on_page_markdown`` (mkdocs.yml).
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
REPORT = "demo/predict/report.html"  # as `make demo` and `make docs` write it
# Pages that lie elsewhere in the repository → in the site.
ELSEWHERE = {
    "README.md": "readme.md",
    "SECURITY.md": "security.md",
    "best_model/README.md": "weights.md",
    "tests/golden/README.md": "golden.md",
}
LANGUAGES = {".py": "python", ".txt": "text", ".cff": "yaml", ".yaml": "yaml", "": "text"}
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
ADDRESS = re.compile(r"\w+:")  # https:, mailto:, the pictures of notebooks
FENCE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n"


@cache
def pages() -> dict[str, str]:
    """Pages written by people: place in the repository → in the site."""
    own = {f"docs/{path.name}": path.name for path in sorted((REPOSITORY / "docs").glob("*.md"))}
    notebooks = {
        f"docs/notebooks/{path.name}": f"notebooks/{path.stem}.md"
        for path in sorted((REPOSITORY / "docs/notebooks").glob("*.ipynb"))
    }
    return {**own, **ELSEWHERE, **notebooks}


def text_of(origin: str) -> str:
    """Markdown of a page, by its place in the repository."""
    text = (REPOSITORY / origin).read_text(encoding="utf-8")
    return notebook_text(text) if origin.endswith(".ipynb") else text


def links(text: str) -> Iterator[str]:
    """Targets of a page's links that are no addresses."""
    for part in FENCE.split(text)[::2]:
        targets = [target for _, target, _ in LINK.findall(part)]
        yield from (target for target in targets if not ADDRESS.match(target))


def place_of(target: Path) -> str | None:
    """Place in the site of a file or folder of the repository; None where it is missing."""
    name = target.relative_to(REPOSITORY).as_posix()
    if name in pages():
        return pages()[name]
    if target.is_dir():
        return f"source/{name}/index.md"
    if not target.is_file():
        return None
    if target.is_relative_to(REPOSITORY / "docs"):
        return target.relative_to(REPOSITORY / "docs").as_posix()
    return f"source/{name}.md" if target.suffix in LANGUAGES else f"source/{name}"


@cache
def sources() -> dict[str, Path]:
    """Files and folders that come along: place in the site → in the repository."""
    wanted: dict[str, Path] = {}
    for origin in pages():
        for link in links(text_of(origin)):
            target = _target(origin, link)
            place = place_of(target) if target is not None else None
            if place is None or place in pages().values():
                continue
            wanted[place] = target
            if target.is_dir():
                inside = [path for path in sorted(target.iterdir()) if path.is_file()]
                wanted |= {place_of(path): path for path in inside}
    inside_docs = REPOSITORY / "docs"
    return {
        place: path
        for place, path in wanted.items()
        if path.is_dir() or not path.is_relative_to(inside_docs)
    }


def relinked(text: str, origin: str, place: str) -> str:
    """Markdown with links to places in the site.

    Args:
        text: Of a page.
        origin: Its place in the repository.
        place: Its place in the site.
    """

    def moved(match: re.Match[str]) -> str:
        target = _target(origin, match[2])
        to = None if target is None else place_of(target)
        if to is None:
            return match[0]
        anchor = match[2].partition("#")[2]
        path = os.path.relpath(to, os.path.dirname(place) or ".").replace(os.sep, "/")
        return f"{match[1]}{path}{'#' if anchor else ''}{anchor}{match[3]}"

    parts = FENCE.split(text)
    parts[::2] = [LINK.sub(moved, part) for part in parts[::2]]
    return "".join(parts)


def _target(origin: str, link: str) -> Path | None:
    """The file that a link of a page leads to; None where it stays on the page or leaves."""
    path = link.partition("#")[0]
    if not path or ADDRESS.match(link):
        return None
    target = Path(os.path.normpath(REPOSITORY / Path(origin).parent / path))
    return target if target.is_relative_to(REPOSITORY) else None


def notebook_text(content: str) -> str:
    """Markdown of a notebook with its outputs."""
    parts = []
    for cell in json.loads(content)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
            if "image/png" in data:
                parts.append(f"![output](data:image/png;base64,{data['image/png'].strip()})")
            elif "text/html" in data:
                parts.append(re.sub(r"\n\s*", " ", data["text/html"]))
            else:
                text = data.get("text/plain", "".join(output.get("text", "")))
                parts.append(f"<pre>{html.escape(text)}</pre>")
    return "\n\n".join(parts)


def source_text(path: Path, place: str) -> str:
    """Markdown that shows a file of code, or lists a folder."""
    name = path.relative_to(REPOSITORY).as_posix()
    if path.is_dir():
        inside = [file for file in sorted(path.iterdir()) if file.is_file()]
        listed = [
            f"- [{file.name}]({os.path.relpath(place_of(file) or '', os.path.dirname(place))})"
            for file in inside
        ]
        return f"{UNSEARCHED}# {name}\n\n" + "\n".join(listed)
    text = path.read_text(encoding="utf-8")
    return f"{UNSEARCHED}# {name}\n\n````{LANGUAGES[path.suffix]}\n{text}\n````\n"


def framed(page: str) -> str:
    """A page whose links to other places open beside the site, which most refuse to be part of."""
    return re.sub(r'(<a )(href="https?:)', r'\1target="_blank" \2', page)


# ──────────────────────────────── what MkDocs calls ────────────────────────────────


def on_files(files: Any, config: Any) -> Any:
    """Add what does not lie in docs/."""
    from mkdocs.structure.files import File

    for origin, place in pages().items():
        if files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, content=text_of(origin)))
    for place, path in sources().items():
        shown = place.endswith(".md") and (path.is_dir() or path.suffix in LANGUAGES)
        content = {"content": source_text(path, place)} if shown else {"abs_src_path": str(path)}
        files.append(File.generated(config, place, **content))
    if (REPOSITORY / REPORT).is_file():
        text = (REPOSITORY / REPORT).read_text(encoding="utf-8")
        files.append(File.generated(config, "demo/report.html", content=framed(text)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to their places in the site."""
    place = page.file.src_uri
    origins = {place: origin for origin, place in pages().items()}
    return relinked(markdown, origins[place], place) if place in origins else markdown
