"""What README and docs say that a machine can check: commands, flags, links, names, targets."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from data_processing.pairs.authors_commands import ALIASES, FIXED, WITHOUT_EFFECT
from tests.helpers.repository import repository_files
from utils.settings import REPOSITORY, read_settings

README = REPOSITORY / "README.md"
PAGES = sorted(
    [
        README,
        REPOSITORY / "SECURITY.md",
        *REPOSITORY.glob("docs/*.md"),
        *REPOSITORY.glob("best_model/*.md"),
    ]
)
PACKAGES = ("data_processing", "models", "training", "mapping", "utils")
CODE = sorted(
    [
        *REPOSITORY.glob("*.py"),
        *(p for name in PACKAGES for p in REPOSITORY.glob(f"{name}/**/*.py")),
    ]
)
# requirements-docs.txt names releases itself: what it brings is not installed for the tests
REQUIREMENTS = sorted(
    set(REPOSITORY.glob("requirements*.txt")) - {REPOSITORY / "requirements-docs.txt"}
)
NOT_FOR_TESTS = {"ukis-csmask"}  # 145 MB; without it one test is skipped
OTHER_PROGRAMS = {"gdal_edit.py"}  # of GDAL
OTHER_PROGRAMS_FLAGS = {"--help", "--extra-index-url", "--index-url"}  # of every program, of pip
PACKAGE_OF_MODULE = {
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "PIL": "pillow",
    "yaml": "pyyaml",
}


def _name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _code_blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of the fenced blocks."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _prose(text: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def _inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", _prose(text))


def _page_lines(text: str) -> list[str]:
    """Every line of code on a page, in blocks and in sentences."""
    return [line for _, block in _code_blocks(text) for line in block.splitlines()] + _inline_code(
        text
    )


def _commands(lines: list[str]) -> Iterator[list[str]]:
    """Program and arguments of each call of a Python file."""
    for line in lines:
        words = shlex.split(line) if re.match(r"\s*(\S*python3?|\$\(RUN\)) ", line) else []
        if len(words) > 1 and words[1].endswith(".py") and "*" not in words[1]:
            yield words[1:]


def _page_commands() -> list[tuple[str, list[str]]]:
    return [(_name(page), call) for page in PAGES for call in _commands(_page_lines(_text(page)))]


def _makefile_target(name: str) -> str:
    """The lines of a target."""
    found = re.search(rf"^{name}:.*\n((?:\t.*\n)+)", _text(REPOSITORY / "Makefile"), re.MULTILINE)
    assert found is not None
    return found[1]


def _makefile_commands() -> list[list[str]]:
    return list(_commands(_text(REPOSITORY / "Makefile").splitlines()))


@functools.cache
def _program(name: str) -> ModuleType:
    """A program as a module; its main is not run."""
    path = REPOSITORY / name
    module_name = "program_" + re.sub(r"\W", "_", name)
    found = importlib.util.spec_from_file_location(module_name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[module_name] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


@functools.cache
def _flags(name: str) -> frozenset[str]:
    """The flags that a program's --help lists."""
    shown, arguments = StringIO(), sys.argv
    sys.argv = [name, "--help"]
    try:
        with redirect_stdout(shown), pytest.raises(SystemExit):
            _program(name).main()
    finally:
        sys.argv = arguments
    return frozenset(re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", shown.getvalue()))


def _slug(heading: str) -> str:
    """The anchor that a heading gets on the web."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    return {_slug(h) for h in re.findall(r"^#+ (.+)$", _prose(_text(page)), re.MULTILINE)}


def _links(page: Path) -> list[str]:
    """Targets of a page's links and pictures that lie in this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", _prose(_text(page)))
    return [target for target in targets if "://" not in target]


def _target(page: Path, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return (page.parent / path if path else page), anchor


def test_readme_is_short_enough_to_be_read() -> None:
    assert len(_text(README).splitlines()) <= 220


def _folder_lines(block: str) -> list[str]:
    return re.findall(r"^(\w+)/ {2,}\S", block, re.MULTILINE)


def _reading_path() -> list[Path]:
    """The files that the README says to read, in order; ``models/{a,b}.py`` names two."""
    (section,) = re.findall(r"^## Where is what\n(.*?)^## ", _text(README), re.M | re.S)
    names = []
    for code in _inline_code(section):
        head, _, rest = code.partition("{")
        parts, _, end = rest.partition("}")
        names += [head + part + end for part in parts.split(",")]
    return [REPOSITORY / name for name in names]


def test_readme_says_what_each_folder_of_the_code_holds() -> None:
    assert list(PACKAGES) in [_folder_lines(block) for _, block in _code_blocks(_text(README))]


def test_the_code_can_be_read_in_an_afternoon() -> None:
    path = _reading_path()
    assert path[0] == README
    assert len(path) == len(set(path)) == 21
    assert sum(len(_text(file).splitlines()) for file in path) <= 4500


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_files_named_on_pages_exist(page: Path) -> None:
    files = {_name(path) for path in repository_files() if path.suffix == ".py"}
    files |= {Path(name).name for name in files}
    prose = re.sub(r"\]\([^)\s]*\)", "]", _prose(_text(page)))
    named = set(re.findall(r"(?<![\w*<{}])[\w/]+\.py\b", prose))
    assert named <= files | OTHER_PROGRAMS


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_to_python_files_are_called_as_these_files(page: Path) -> None:
    links = re.findall(r"\[([\w/]+\.py)\]\(([^)\s#]+\.py)", _prose(_text(page)))
    assert [(text, link) for text, link in links if Path(text).name != Path(link).name] == []


def test_there_are_commands_to_check() -> None:
    assert len(_page_commands()) >= 15
    assert len(_makefile_commands()) == 9


@pytest.mark.parametrize(("page", "call"), _page_commands(), ids=lambda v: str(v)[:60])
def test_commands_on_pages_name_programs_and_flags_that_exist(page: str, call: list[str]) -> None:
    _check_call(call, page)


@pytest.mark.parametrize("call", _makefile_commands(), ids=lambda call: str(call[0]))
def test_commands_of_make_name_programs_and_flags_that_exist(call: list[str]) -> None:
    _check_call(call, "Makefile")


def _check_call(call: list[str], where: str) -> None:
    program, arguments = call[0], call[1:]
    assert (REPOSITORY / program).is_file(), f"{where}: no program {program}"
    if program in ("Train_CTMA.py", "Test_CTMA.py"):
        arguments = _without_the_authors_form(arguments)
    given = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    assert given <= _flags(program) | OTHER_PROGRAMS_FLAGS, f"{where}: {shlex.join(call)}"
    settings: Any = getattr(_program(program), "Settings", None)
    if settings is not None and "--help" not in arguments:
        read_settings(
            settings, arguments, program, must_exist=False
        )  # raises on values of the wrong type


def _without_the_authors_form(arguments: list[str]) -> list[str]:
    """Arguments as flags of ours: no first word, no YAML file, no file to resume."""
    kept: list[str] = []
    rest = [word.replace("_", "-") if word.startswith("--") else word for word in arguments]
    if rest and rest[0] in ("train", "eval"):
        rest.pop(0)
    while rest:
        word = rest.pop(0)
        if word == "--exp-config":
            assert (REPOSITORY / rest.pop(0)).is_file()
        elif word == "--resume" and rest and rest[0].endswith(".pth"):
            rest.pop(0)
        elif word == "--subset":
            kept.append("--split")
        else:
            kept.append(word)
    return kept


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_flags_named_in_sentences_exist_in_some_program(page: Path) -> None:
    programs = sorted({call[0] for _, call in _page_commands()})
    known = OTHER_PROGRAMS_FLAGS.union(*(_flags(program) for program in programs))
    named = {
        flag
        for code in _inline_code(_text(page))
        if not code.startswith(("unknown flag", "make "))
        for flag in re.findall(r"(?<![\w-])--[a-z][\w.-]*", code)
    }
    authors = {*ALIASES, *FIXED, *WITHOUT_EFFECT, "exp_config", "inherit_off"}
    assert {flag.replace("_", "-") for flag in named - {f"--{name}" for name in authors}} <= known


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    broken = []
    for link in _links(page):
        path, anchor = _target(page, link)
        if not path.exists() or (anchor and anchor not in _anchors(path)):
            broken.append(link)
    assert not broken


def test_pages_that_the_code_mentions_exist() -> None:
    broken = []
    for file in CODE:
        for name, anchor in re.findall(r"((?:docs|best_model)/\w+\.md)(?:#([\w-]+))?", _text(file)):
            page = REPOSITORY / name
            if not page.is_file() or (anchor and anchor not in _anchors(page)):
                broken.append(f"{_name(file)}: {name}#{anchor}")
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_make_targets_named_on_pages_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text(REPOSITORY / "Makefile"), re.MULTILINE))
    named = {
        found[1]
        for line in _page_lines(_text(page))
        if (found := re.match(r"\s*make ([a-z-]+)\b", line))
    }
    assert named <= targets


def test_readme_gives_the_demo_command_by_command() -> None:
    blocks = [_commands(block.splitlines()) for _, block in _code_blocks(_text(README))]
    demo = list(_commands(_makefile_target("demo").splitlines()))
    assert len(demo) == 5
    assert demo in [list(calls) for calls in blocks]


def test_readme_quotes_what_the_demo_says_at_its_end() -> None:
    said = re.findall(r"^\t@echo '(.*)'$", _makefile_target("demo"), re.MULTILINE)
    assert said
    assert "\n".join(said) + "\n" in [block for _, block in _code_blocks(_text(README))]


def test_the_network_snippet_of_the_readme_runs() -> None:
    snippets = [
        block
        for language, block in _code_blocks(_text(README))
        if language == "python" and "CAIMNet(" in block
    ]
    names: dict[str, Any] = {}
    exec(snippets[0], names)
    assert names["moment"].shape == (1, 64, 64)
    assert bool((names["area"] == (names["moment"] > 0)).all())


def test_python_snippets_are_python() -> None:
    for page in PAGES:
        for language, block in _code_blocks(_text(page)):
            if language == "python":
                ast.parse(block)


def test_the_paper_map_names_classes_and_functions_that_exist() -> None:
    cells = re.findall(r"\[\w+\.py\]\(\.\./([\w/]+)\.py\)\s+((?:`[\w.]+`(?:,\s*)?)+)",
                       _text(REPOSITORY / "docs" / "paper_map.md"))  # fmt: skip
    assert len(cells) > 25
    for module_path, names in cells:
        for name in re.findall(r"`([\w.]+)`", names):
            thing: Any = import_module(module_path.replace("/", "."))
            for part in name.split("."):
                thing = getattr(thing, part)


def test_every_requirement_has_a_reason() -> None:
    assert len(REQUIREMENTS) >= 5
    for file in REQUIREMENTS:
        lines = [line for line in _text(file).splitlines() if line.strip()]
        packages = [line for line in lines if not line.startswith(("#", "-r "))]
        assert packages
        for line in packages:
            assert re.fullmatch(r"[\w-]+(==|>=)[\d.]+  # \S.*", line), line


def test_the_tested_releases_are_named_of_every_package_and_meet_the_bounds() -> None:
    lines = _text(REPOSITORY / "constraints.txt").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    release = {pin.name: str(pin.specifier).removeprefix("==") for pin in pins}
    assert len(release) == len(pins)
    waiting = [
        Requirement(line.partition("#")[0])
        for file in REQUIREMENTS
        for line in _text(file).splitlines()
        if line[:1] not in "#-"
    ]
    looked_at: set[str] = set()
    while waiting:
        wish = waiting.pop()
        name = canonicalize_name(wish.name)
        assert wish.specifier.contains(release[name], prereleases=True), wish
        if name in looked_at:
            continue
        looked_at.add(name)
        try:
            needed = map(Requirement, importlib.metadata.requires(name) or [])
        except importlib.metadata.PackageNotFoundError:
            assert name in NOT_FOR_TESTS
            continue
        waiting += [one for one in needed if one.marker is None]  # others: of some systems, extras
    assert "-c constraints.txt" in _text(REPOSITORY / "Makefile")


def test_every_package_that_the_programs_import_is_required() -> None:
    texts = [_text(file) for file in REQUIREMENTS if "dev" not in file.name]
    required = {name for text in texts for name in re.findall(r"^([\w-]+)[=>]=", text, re.M)}
    ours = {*PACKAGES, *(path.stem for path in CODE)}
    imported: set[str] = set()
    for path in CODE:
        for node in ast.walk(ast.parse(_text(path))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - ours
    assert {PACKAGE_OF_MODULE.get(name, name) for name in foreign} <= required
    assert "torch==2.13.0  #" in _text(REPOSITORY / "requirements.txt")


def test_ci_lints_and_tests_with_the_same_makefile() -> None:
    script = _text(REPOSITORY / ".ci" / "run")
    assert script.startswith("#!/usr/bin/env bash\n")
    assert [line.split()[-1] for line in script.splitlines() if line.startswith("make ")] == [
        "check",
        "test",
    ]
