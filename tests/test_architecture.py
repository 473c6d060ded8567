"""How the repository is built: imports go one way, files stay small, nothing unsafe is called."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.helpers.repository import repository_files
from utils.settings import REPOSITORY

PACKAGES = ("data_processing", "models", "training", "mapping", "utils")
LONGEST_FILE = 450
LONGEST_FUNCTION = 60
MOST_FILES = 16  # of code in a folder: rooms, not corridors; a data set's three steps are one
STEP = re.compile(r"_(Fsplit|create_xys|custom)\.py$")

# Which rooms of ours a room may import, beside itself: exactly these folders. "(programs)" are the
# files that users run: nobody imports them.
D, M = "data_processing", "mapping"
RASTERS, SCENES, LABELS, OWN_SERIES, CONTAINERS = (
    f"{D}/{room}" for room in ("rasters", "scenes", "labels", "own_series", "containers")
)
TOOLS = {"utils", "utils/pictures"}
ALL_DATA = {RASTERS, SCENES, LABELS, OWN_SERIES, CONTAINERS}
ALL_DATA |= {f"{D}/{room}" for room in ("raw", "pairs", "sample")}
ROOMS: dict[str, set[str]] = {
    "utils": set(),
    "utils/pictures": {"utils"},
    "models": set(),
    "models/weights": {"models", "utils"},
    RASTERS: {"utils"},
    SCENES: {RASTERS, "utils", "utils/pictures"},
    LABELS: {RASTERS, "utils"},
    f"{D}/raw": {LABELS, SCENES, RASTERS, "utils"},
    CONTAINERS: {RASTERS, "utils"},
    OWN_SERIES: {CONTAINERS, SCENES, RASTERS, "utils"},
    f"{D}/pairs": {SCENES, RASTERS, "utils"},
    f"{D}/sample": {SCENES, RASTERS, "utils"},
    D: ALL_DATA | TOOLS,
    "training": {"models", "models/weights", SCENES} | TOOLS,
    f"{M}/products": {RASTERS} | TOOLS,
    f"{M}/report": {f"{M}/products", OWN_SERIES, RASTERS} | TOOLS,
    M: {f"{M}/products", f"{M}/report", "models", "models/weights"} | ALL_DATA | TOOLS,
}
# Of some rooms only these files are open to others.
DOORS = {
    (SCENES, OWN_SERIES): {"spec", "custom"},
    (SCENES, f"{D}/pairs"): {"spec", "patch_index"},
    (SCENES, "training"): {"spec", "dataset", "varied_patches"},  # of program.py, for two scripts
}


def programs() -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".py"]


def package_modules() -> list[Path]:
    return [path for path in programs() if package_of(path) in PACKAGES]


def package_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).parts
    return parts[0] if len(parts) > 1 else ""


def short(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Modules that a file imports anywhere, also inside functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{short(path)}: relative import"
            yield node.module or ""


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def test_there_is_something_to_look_at() -> None:
    assert len(package_modules()) > 20
    assert {package_of(path) for path in package_modules()} == set(PACKAGES)


def room_of(module: str) -> tuple[str, str]:
    """Folder and file of a module of ours: ("mapping/report", "page")."""
    parts = module.split(".")
    if (REPOSITORY.joinpath(*parts)).is_dir():
        return "/".join(parts), ""
    return "/".join(parts[:-1]), parts[-1]


def arrows() -> Iterator[tuple[Path, str, str, str]]:
    """File, its room, and room and file that it imports; only of ours."""
    for path in package_modules():
        for module in imports(path):
            if module.partition(".")[0] in PACKAGES:
                yield path, short(path.parent), *room_of(module)


def test_rooms_import_what_the_table_allows() -> None:
    wrong = [
        f"{short(path)} imports {room}/{file}"
        for path, here, room, file in arrows()
        if room != here and room not in ROOMS[here]
    ]
    wrong += [
        f"{short(path)} imports {room}/{file}, expected one of {sorted(DOORS[room, here])}"
        for path, here, room, file in arrows()
        if (room, here) in DOORS and file not in DOORS[room, here]
    ]
    assert not wrong


def test_the_table_has_all_rooms_and_no_way_back() -> None:
    assert {short(path.parent) for path in package_modules()} == set(ROOMS)
    left = {room: set(others) for room, others in ROOMS.items()}
    while left:  # rooms whose imports are all done, again and again
        done = {room for room, others in left.items() if not others}
        assert done, f"a circle among {sorted(left)}"
        left = {room: others - done for room, others in left.items() if room not in done}


def test_files_of_a_room_import_each_other_without_circles() -> None:
    left: dict[str, set[str]] = {short(path)[:-3]: set() for path in package_modules()}
    for path, _, room, file in arrows():
        left[short(path)[:-3]].add(f"{room}/{file or '__init__'}")
    while left:
        done = {name for name, others in left.items() if not others & left.keys()}
        assert done, f"a circle among {sorted(left)}"
        left = {name: others for name, others in left.items() if name not in done}


def test_nobody_imports_a_program() -> None:
    tested = {"tests", "benchmarks"}  # these may
    wrong = [
        f"{short(path)} imports {module}"
        for path in programs()
        if package_of(path) not in tested
        for module in imports(path)
        if (re.fullmatch(r"data_processing\.\w+", module) and room_of(module)[1])
        or module.startswith(("Train_", "Test_", "Predict", "tests", "benchmarks"))
    ]
    assert not wrong


def test_a_room_has_few_files() -> None:
    code = {STEP.sub("_<step>.py", path.as_posix()) for path in package_modules()}
    sizes = Counter(short(Path(path).parent) for path in code if not path.endswith("__init__.py"))
    assert not {room: size for room, size in sizes.items() if size > MOST_FILES}


def test_scripts_take_models_by_their_top_only() -> None:
    scripts = [path for path in programs() if path.parent == REPOSITORY]
    wrong = [
        f"{short(path)} imports {module}"
        for path in scripts
        for module in imports(path)
        if module.startswith("models.") and not module.startswith("models.weights")
    ]
    assert len(scripts) >= 4
    assert not wrong


def test_only_tests_and_benchmarks_import_tests() -> None:
    users = {package_of(p) for p in programs() if any(m.startswith("tests") for m in imports(p))}
    assert users <= {"tests", "benchmarks"}  # these compare ours with the plain network


def test_every_module_says_what_it_holds_and_what_is_public() -> None:
    wrong = []
    for path in package_modules():
        module = tree(path)
        assigned = [
            target.id
            for node in module.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        ]
        if not ast.get_docstring(module):
            wrong.append(f"{short(path)}: no docstring")
        holds_code = any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in module.body)
        if holds_code and "__all__" not in assigned:
            wrong.append(f"{short(path)}: no __all__")
    assert not wrong


def test_programs_and_tests_have_docstrings() -> None:
    undocumented = [
        short(p) for p in programs() if p.stat().st_size and not ast.get_docstring(tree(p))
    ]
    assert not undocumented


def test_public_names_exist_and_are_sorted() -> None:
    wrong = []
    for path in package_modules():
        for node in tree(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                defined = {name.id for name in ast.walk(tree(path)) if isinstance(name, ast.Name)}
                defined |= {getattr(item, "name", "") for item in ast.walk(tree(path))}
                wrong += [f"{short(path)}: {name}" for name in set(names) - defined]
    assert not wrong


def test_no_file_is_longer_than_can_be_read_at_once() -> None:
    lengths = {short(p): len(p.read_text(encoding="utf-8").splitlines()) for p in programs()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {}
    for path in programs():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                length = node.end_lineno - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long[f"{short(path)}: {node.name}"] = length
    assert not long


def test_weights_are_never_loaded_with_code_in_them() -> None:
    wrong = []
    for path in programs():
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            flags = {word.arg: ast.unparse(word.value) for word in node.keywords}
            where = f"{short(path)}, line {node.lineno}"
            if called(node) == "torch.load" and flags.get("weights_only") != "True":
                wrong.append(where)
            if called(node) == "np.load" and flags.get("allow_pickle", "False") != "False":
                wrong.append(where)
            if called(node).startswith("pickle.load") and package_of(path) != "tests":
                wrong.append(where)
    assert not wrong


def test_no_device_is_chosen_by_name_in_the_code() -> None:
    wrong = [
        f"{short(path)}, line {node.lineno}"
        for path in programs()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and called(node).endswith(".cuda")
    ]
    assert not wrong


def test_library_code_does_not_print_or_silence_warnings_for_all() -> None:
    wrong = []
    for path in package_modules():
        in_main = {
            id(node)
            for function in ast.walk(tree(path))
            if isinstance(function, ast.FunctionDef) and function.name == "main"
            for node in ast.walk(function)
        }
        speaks = short(path) == "utils/errors.py"  # where a program ends
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call) or id(node) in in_main:
                continue
            silences = called(node) == "warnings.filterwarnings"
            if silences or (called(node) == "print" and not speaks):
                wrong.append(f"{short(path)}, line {node.lineno}: {called(node)}")
    assert not wrong


def test_models_know_no_files_and_no_devices() -> None:
    foreign = {
        f"{short(path)} imports {module}"
        for path in package_modules()
        if short(path.parent) == "models"
        for module in imports(path)
        if module.partition(".")[0] not in {
            "__future__", "collections", "einops", "functools", "itertools", "math", "models",
            "torch", "typing",
        }
    }  # fmt: skip
    assert not foreign


def test_facts_of_a_data_set_are_asked_of_its_specification() -> None:
    wrong = [
        f"{short(path)}, line {node.lineno}: {ast.unparse(node)}"
        for path in package_modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Compare)
        and re.search(r"\b(DYNAMIC|SPACENET7)$|'(Dynamic|SpaceNet7)'$", ast.unparse(node))
    ]
    assert not wrong


def test_no_file_names_the_machine_it_was_written_on() -> None:
    # put together here so that this file does not name them either; /home/someone is made up
    places = ["/" + place for place in ("work/", "tmp/", "root/", "home/(?!someone)", "Users/")]
    pattern = re.compile(r"(?<![\w.:/<>])(" + "|".join([*places, r"(\.\./)?shared" + "/"]) + ")")
    wrong = []
    for path in repository_files():
        if path.suffix in {".npz", ".pth", ".png", ".tif", ".gz", ".jpg", ".gif"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                wrong.append(f"{short(path)}, line {number}: {line.strip()[:80]}")
    assert not wrong


NOT_NOUNS = {"found", "seen", "known", "there", "told", "kept", "wish"}
OTHER_TRADES = {
    "keeper",
    "tally",
    "guard",
    "guards",
    "journal",
}  # manager, metrics, checks, records
IN_JSON = {("data_processing/raw/plan.py", "found")}  # a key of dataset.json


def names_given(path: Path) -> Iterator[str]:
    """Names that a file gives: variables, attributes, fields, arguments, functions, classes."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name


def test_names_say_what_they_hold() -> None:
    wrong = set()
    for path in programs():
        if package_of(path) != "tests":
            for name in {path.stem, *names_given(path)}:
                words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().strip("_").split("_")
                if words[-1] in NOT_NOUNS or OTHER_TRADES & set(words):
                    wrong.add((short(path), name))
    assert wrong == IN_JSON


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Name and docstring of a module, its classes and its functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield f"{short(path)}: {getattr(node, 'name', 'the file')}", text


def test_docstrings_begin_with_what_a_thing_is_or_does() -> None:
    question = re.compile(r"(What|Which|How|Where|When|Who)\b")
    wrong = [
        name
        for path in programs()
        if package_of(path) != "tests"
        for name, text in docstrings(path)
        if question.match(text) or "not in the paper" in text.lower()  # docs/paper_map.md says so
    ]
    assert not wrong
