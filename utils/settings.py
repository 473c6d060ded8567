"""Settings of the programs: a frozen dataclass at the top of a script, each field also a flag.

A script writes ``batch_size: Positive = 96  # patches per step`` and calls
``settings = read_settings(Settings)``; ``--batch-size 8`` changes the value for one run, and so
does a line ``batch_size: 8`` of a file given by ``--config``. The comment beside a field is its
text in ``--help``. Fields hold ``int``, ``float``, ``str``, ``bool``, ``Path``, ``Literal[...]``,
``X | None`` or ``tuple[X, ...]``. Whether values go together is for the program to judge.
"""

from __future__ import annotations

import dataclasses
import difflib
import io
import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from utils.errors import UserError
from utils.fields import (
    FALSE_WORDS,
    LOOSE,
    REPOSITORY,
    REQUIRED,
    TRUE_WORDS,
    Existing,
    Field,
    SettingsBlock,
    anchored,
    field_of,
    fields_of,
    plain,
    shown,
    texts_of,
    typed,
)
from utils.files import read_json, read_yaml
from utils.progress import say

__all__ = [
    "OF_ONE_START",
    "REPOSITORY",
    "from_dict",
    "read_settings",
    "run_settings",
    "to_dict",
]

OF_ONE_START = ("resume", "overwrite", "output_dir")
"""Settings that say how a program is started, not how it trains."""

NEGATIVE_NUMBER = re.compile(r"-(\d|\.\d|inf$)")

Block = TypeVar("Block", bound=SettingsBlock)


def read_settings(
    block: type[Block],
    argv: Sequence[str] | None = None,
    prog: str | None = None,
    base: Mapping[str, Any] | None = None,
    quiet: bool = False,
    must_exist: bool = True,
) -> Block:
    """Settings from the block's defaults, a file given by ``--config``, and flags; the last wins.

    Args:
        block: A frozen dataclass; its fields are the flags, those without default must be given.
        argv: Arguments without the program's name; those of the process if left out.
        prog: The program's name in messages; that of the process if left out.
        base: Values that stand for the defaults.
        quiet: Leave the line out that says which values differ from the defaults.
        must_exist: Refuse files that do not exist, where the block says that they must.

    Returns:
        An instance of the block. Every path in it is absolute: defaults and paths in files are
        relative to the repository, paths given as flags to the current folder.

    Raises:
        UserError: A flag is unknown, abbreviated, given twice or without its value, a value is
            of the wrong type, no choice or out of range, an argument belongs to no flag, or a
            file does not exist.
        SystemExit: With code 0 after ``--help``.
    """
    name = prog or Path(sys.argv[0]).name
    arguments = list(sys.argv[1:] if argv is None else argv)
    fields = {field.name: field for field in fields_of(block)}
    defaults = {n: anchored(field, field.default) for n, field in fields.items()} | dict(base or {})
    if any(argument in ("--help", "-h") for argument in arguments):
        say(_help_text(block, defaults, name))
        raise SystemExit(0)
    try:
        given, config = _arguments(block, fields, defaults, arguments, name)
        chosen = {} if config is None else _of_file(block, config)
        chosen |= typed({fields[n]: texts for n, texts in given.items()})
        values = defaults | chosen
        new = chosen.keys() if base else fields.keys()
        _check_existence(fields, values, new if must_exist else ())
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    changes = [
        f"{n} {shown(defaults[n])} → {shown(values[n])}"
        for n in fields
        if values[n] != defaults[n] and defaults[n] is not REQUIRED
    ]
    if changes and not quiet:
        say("changed: " + ", ".join(changes))
    return block(**values)


def run_settings(
    block: type[Block],
    released: Mapping[str, Any] | None = None,
    argv: Sequence[str] | None = None,
    improved: Mapping[str, Any] | None = None,
) -> Block:
    """Settings of a training program, those of the run it goes on with among them.

    With ``--resume`` the settings are those that the run in ``--output-dir`` began with; a flag
    given beside it wins, and is said aloud.

    Args:
        block: The script's; its fields must include resume and output_dir.
        released: Values that ``protocol="released"`` sets.
        argv: Arguments without the program's name; those of the process if left out.
        improved: Values that stand for the defaults with ``recipe="improved"``; flags win.

    Raises:
        UserError: As ``read_settings``; or there is no run to go on with.
    """
    asked: Any = read_settings(block, argv, quiet=True, must_exist=False)
    resumes = asked.resume and asked.output_dir is not None
    base = dict(improved or {}) if improved and asked.recipe == "improved" else {}
    base |= _stored(block, asked.output_dir) if resumes else {}
    chosen: Any = read_settings(block, argv, base=base)
    if improved and chosen.recipe == "improved":
        say(f"recipe improved, unless flags say otherwise: {dict(improved)}")
    if released is not None and chosen.protocol == "released":
        chosen = dataclasses.replace(chosen, **released)
        say(f"protocol released: {dict(released)}")
    return cast(Block, chosen)


def to_dict(settings: SettingsBlock, with_paths: bool = True) -> dict[str, Any]:
    """Settings as plain values for JSON, in the order of the fields.

    Args:
        settings: Instance of a block.
        with_paths: Whether to keep files and folders; weights files leave them out, since they
            travel and paths tell about the machine they were made on.

    Returns:
        Tuples as lists and paths as text: those inside the repository relative to it, as the
        defaults are written, all others as they are.
    """
    return {
        field.name: plain(getattr(settings, field.name))
        for field in fields_of(type(settings))
        if with_paths or not field.is_path
    }


def from_dict(block: type[SettingsBlock], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the block's fields hold them, from plain ones as ``to_dict`` gives them.

    Names that the block does not have are left out.

    Raises:
        UserError: Values are of the wrong type or out of range, with all of them.
    """
    fields = [field for field in fields_of(block) if field.name in values]
    return typed({field: texts_of(field, values[field.name]) for field in fields})


def _stored(block: type[SettingsBlock], folder: Path) -> dict[str, Any]:
    """The settings that a run began with; how it was started is left out."""
    path = folder / "settings.json"
    if not path.is_file():
        raise UserError(
            f"--resume: {folder} holds no settings.json, expected the folder of a run. Name it by "
            "--output-dir, or start again without --resume."
        )
    try:
        stored = {k: v for k, v in read_json(path).items() if k not in OF_ONE_START}
        return from_dict(block, stored)
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"--resume: {path} cannot be read ({error}), expected the settings as they were "
            "written; restore the file, or give all flags without --resume elsewhere."
        ) from error


@dataclasses.dataclass(frozen=True)
class _Texts:
    """Words of the command line for a field; they become a value where the field is known."""

    texts: list[str]


RULES = ConstructorRegistry()


@RULES.primitive_rule
def _texts_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Rule by which tyro takes values: as texts, all types but switches."""
    if info.type in (bool, type(None)) or dataclasses.is_dataclass(info.type):
        return None
    field = field_of("", info.type, None)
    letters = {int: "N", float: "X", str: "TEXT"}
    sign = "{" + ",".join(field.choices) + "}" if field.choices else letters.get(field.item, "PATH")
    sign = "PATH" if field.is_path else sign
    return PrimitiveConstructorSpec(
        nargs="*" if field.is_list else 1,
        metavar=f"{sign} ..." if field.is_list else sign,
        instance_from_str=_Texts,
        is_instance=lambda value: True,
        str_from_instance=lambda value: shown(value).split(" "),
    )


def _by_tyro(
    block: type[SettingsBlock], values: Mapping[str, Any], argv: list[str], prog: str
) -> tuple[Any, list[str]]:
    """The line as tyro reads it, and the words that it has no use for."""
    config = Annotated[Path | None, tyro.conf.arg(help="YAML or JSON file of settings; flags win")]
    line = dataclasses.make_dataclass(
        "Line",
        [
            ("settings", Annotated[block, tyro.conf.arg(name="")]),
            ("config", config, dataclasses.field(default=None)),
        ],
    )
    with redirect_stderr(io.StringIO()) as complaint:
        try:
            return tyro.cli(
                line, args=argv, prog=prog, description="", default=line(block(**values)),
                return_unknown_args=True, registry=RULES,
            )  # fmt: skip
        except SystemExit as end:
            if not end.code:
                raise
            words = re.sub(r"[^\w\s.,:;'()/=-]", " ", complaint.getvalue()).split()
            raise UserError(" ".join(words)) from None


def _help_text(block: type[SettingsBlock], defaults: Mapping[str, Any], prog: str) -> str:
    """The program's docstring as written, and tyro's list of flags."""
    with redirect_stdout(io.StringIO()) as flags, suppress(SystemExit):
        _by_tyro(block, {n: tyro.MISSING if v is REQUIRED else v for n, v in defaults.items()},
                 ["--help"], prog)  # fmt: skip
    about = (sys.modules[block.__module__].__doc__ or "").strip()
    paths = "Default paths are relative to the repository, paths given here to the current folder."
    return "\n\n".join([about, flags.getvalue().strip(), paths])


def _arguments(
    block: type[SettingsBlock],
    fields: Mapping[str, Field],
    defaults: Mapping[str, Any],
    argv: list[str],
    prog: str,
) -> tuple[dict[str, list[str]], Path | None]:
    """Texts by field that the arguments give, and the file of ``--config``."""
    argv = _switched(argv, fields)
    times = Counter(_name_of(word, fields) for word in argv if word.startswith("--"))
    values = {n: fields[n].any_value if v is REQUIRED else v for n, v in defaults.items()}
    line, rest = _by_tyro(block, values, argv, prog)
    faults = [_unknown(word, fields) for word in rest if _is_flag(word)]
    faults += [
        f"--{n.replace('_', '-')} is given twice; give it once" for n in times if times[n] > 1
    ]
    given = {name: getattr(line.settings, name) for name in fields if name in times}
    texts = {n: v.texts if isinstance(v, _Texts) else [str(v)] for n, v in given.items()}
    for name, field in fields.items():
        if LOOSE in field.notes and name not in texts and rest and not faults:
            taken = len(rest) if field.is_list else 1
            texts[name], rest = rest[:taken], rest[taken:]
    if rest and not faults:
        faults.append(f"found {rest[0]!r}, which belongs to no flag; --help lists the flags")
    if faults:
        raise UserError("; ".join(faults))
    return texts, Path(line.config.texts[0]) if line.config is not None else None


def _is_flag(word: str) -> bool:
    return word.startswith("-") and word != "-" and not NEGATIVE_NUMBER.match(word)


def _name_of(word: str, fields: Mapping[str, Field]) -> str:
    """The field that a flag sets; another name where it sets none."""
    name = word.partition("=")[0][2:].replace("-", "_")
    positive = name.removeprefix("no_")
    is_negation = name not in fields and positive in fields and fields[positive].item is bool
    return positive if is_negation else name


def _switched(argv: list[str], fields: Mapping[str, Field]) -> list[str]:
    """Arguments with ``--flag true`` and ``--flag=no`` as ``--flag`` and ``--no-flag``."""
    words: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        head, equals, value = word.partition("=")
        name = head[2:].replace("-", "_") if head.startswith("--") else ""
        if name in fields and fields[name].item is bool:
            if not equals and rest and rest[0].lower() in TRUE_WORDS + FALSE_WORDS:
                value, equals = rest.pop(0), "="
            if equals and value.lower() not in TRUE_WORDS + FALSE_WORDS:
                raise UserError(f"{head}: found {value!r}, expected true or false")
            word = f"--no-{head[2:]}" if equals and value.lower() in FALSE_WORDS else head
        words.append(word)
    return words


def _unknown(word: str, fields: Mapping[str, Field]) -> str:
    flags = [field.flag for field in fields.values()] + ["--config"]
    flags += [f"--no-{field.flag[2:]}" for field in fields.values() if field.item is bool]
    head = word.partition("=")[0]
    wanted = head.replace("_", "-").lower()
    near = [flag for flag in flags if wanted.startswith("--") and flag.startswith(wanted)]
    near += difflib.get_close_matches(wanted, flags, n=1, cutoff=0.6)
    return (
        f"unknown flag {head}; {f'did you mean {near[0]}?' if near else '--help lists the flags'}"
    )


def _of_file(block: type[SettingsBlock], path: Path) -> dict[str, Any]:
    """Values of a file of settings, YAML or, by its name, JSON."""
    try:
        content = read_json(path) if path.suffix.lower() == ".json" else read_yaml(path)
        if not isinstance(content, dict):
            raise ValueError(f"found {type(content).__name__}, expected names with values")
        values = {str(name).replace("-", "_"): value for name, value in content.items()}
        fields = {field.name: field for field in fields_of(block)}
        faults = [_unknown(f"--{name}", fields) for name in values if name not in fields]
        if faults:
            raise UserError("; ".join(faults))
        return from_dict(block, values)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--config {path}: {error}") from error


def _check_existence(
    fields: Mapping[str, Field], values: Mapping[str, Any], new: Collection[str]
) -> None:
    """Refuse settings that lack a value, and new ones whose file must exist and does not."""
    faults = []
    for name, field in fields.items():
        value = values[name]
        notes = [note for note in field.notes if isinstance(note, Existing) and name in new]
        if value is REQUIRED:
            faults.append(f"{field.flag}: found nothing, expected {field.expected}")
            continue
        for note in notes:
            if value is not None and not value.exists():
                faults.append(f"{field.flag} {value}: no such file, expected {note.expected}")
    if faults:
        raise UserError("; ".join(faults))
