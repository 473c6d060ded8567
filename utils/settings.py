"""Settings of the programs: a frozen dataclass at the top of a script, each field also a flag.

A script writes ``batch_size: int = setting(96, "patches per step")`` and calls
``settings = override(Settings())``; ``--batch-size 8`` then changes the value for one run.
Fields hold ``int``, ``float``, ``str``, ``bool``, ``Path``, ``Literal[...]``, ``X | None`` or
``tuple[X, ...]``. Whether values go together is for the program to judge, not for this module.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import os
import re
import sys
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from utils.errors import UserError
from utils.progress import say

__all__ = ["REPOSITORY", "from_dict", "override", "program_parser", "setting", "to_dict"]

REPOSITORY: Path = Path(__file__).resolve().parents[1]

Value = TypeVar("Value")
Settings = TypeVar("Settings")

TRUE_WORDS = ("true", "yes", "1", "on")
FALSE_WORDS = ("false", "no", "0", "off")
NEGATIVE_NUMBER = re.compile(r"-(\d|\.\d|inf$)")
HELP_WIDTH = 100
HELP_INDENT = 34


def program_parser(text: str | None, **options: Any) -> argparse.ArgumentParser:
    """A parser for a program without a settings block, whose help is its docstring as written.

    Args:
        text: The program's ``__doc__``.
        **options: Further arguments of ``argparse.ArgumentParser``.
    """
    return argparse.ArgumentParser(
        description=text,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )


def setting(
    default: Value,
    help: str,
    group: str | None = None,
    path: bool = False,
    minimum: float | None = None,
    below: float | None = None,
    multiple_of: int | None = None,
    flagless: bool = False,
) -> Value:
    """A field of a settings dataclass, with the text that ``--help`` shows.

    Args:
        default: The value when no flag is given; must not be mutable.
        help: What the value means, with its unit.
        group: Heading in ``--help``; without one, the group of the field above.
        path: The value is a file or folder although its type is ``str``. Default paths are
            relative to the repository, paths given as flags to the shell's current folder.
        minimum: Least value of a number.
        below: A number must be smaller than this.
        multiple_of: A whole number must be a multiple of this.
        flagless: The field, a list, takes the arguments that belong to no flag.

    Returns:
        A dataclass field; typed as the value so that type checkers see the field's type.
    """
    bounds = {"minimum": minimum, "below": below, "multiple_of": multiple_of}
    metadata = {
        "help": help, "group": group, "path": path, "bounds": bounds, "flagless": flagless,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=metadata)


def override(
    settings: Settings,
    argv: Sequence[str] | None = None,
    prog: str | None = None,
    quiet: bool = False,
) -> Settings:
    """Settings with the values that the command line gives, and one line that says which changed.

    Args:
        settings: Instance of a dataclass; its values are the defaults.
        argv: Arguments without the program's name; those of the process if left out.
        prog: The program's name in messages; that of the process if left out.
        quiet: Leave the line out.

    Returns:
        An instance of the same class. Every path in it is absolute.

    Raises:
        UserError: A flag is unknown, abbreviated, given twice or without its value, a value is
            of the wrong type, no choice or out of range, or an argument belongs to no flag.
        SystemExit: With code 0 after ``--help``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = prog or Path(sys.argv[0]).name
    fields = _fields_of(settings)
    if any(argument in ("--help", "-h") for argument in arguments):
        say(_help_text(settings, fields, name))
        raise SystemExit(0)
    base = {field.flag: _anchored(field, getattr(settings, field.name)) for field in fields}
    try:
        given = _parse(arguments, {field.flag: field for field in fields})
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    values = {field.name: given.get(field.flag, base[field.flag]) for field in fields}
    faults = [text for field in fields for text in _out_of_range(field, values[field.name])]
    if faults:
        raise UserError(f"{name}: {'; '.join(faults)}")
    changes = [
        f"{field.name} {_shown(base[field.flag])} → {_shown(values[field.name])}"
        for field in fields
        if values[field.name] != base[field.flag]
    ]
    if changes and not quiet:
        say("changed: " + ", ".join(changes))
    return cast(Settings, dataclasses.replace(cast(Any, settings), **values))


def to_dict(settings: Any, with_paths: bool = True) -> dict[str, Any]:
    """Settings as plain values for JSON, in the order of the fields.

    Args:
        settings: Instance of a dataclass.
        with_paths: Whether to keep files and folders; weights files leave them out, since they
            travel and paths tell about the machine they were made on.

    Returns:
        Tuples as lists and paths as text: those inside the repository relative to it, as the
        defaults are written, all others as they are.
    """
    return {
        field.name: _plain(getattr(settings, field.name))
        for field in _fields_of(settings)
        if with_paths or not field.is_path
    }


def from_dict(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """Settings with values as ``to_dict`` gives them; what is not among them stays."""
    changed = {
        field.name: _typed(field, values[field.name])
        for field in _fields_of(settings)
        if field.name in values
    }
    return cast(Settings, dataclasses.replace(cast(Any, settings), **changed))


def _typed(field: _Field, value: Any) -> Any:
    """A plain value as its field holds it."""
    if value is None:
        return None
    if field.is_list:
        return tuple(field.item_kind(item) if field.is_path else item for item in value)
    return field.kind(value) if field.is_path else value


@dataclasses.dataclass(frozen=True)
class _Field:
    """One setting: its name, type and texts. ``kind`` is the type without ``| None``."""

    name: str
    kind: Any
    optional: bool
    is_path: bool
    help: str
    group: str
    bounds: Mapping[str, float | None]
    flagless: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def is_list(self) -> bool:
        return get_origin(self.kind) is tuple

    @property
    def item_kind(self) -> Any:
        return get_args(self.kind)[0] if self.is_list else self.kind


def _fields_of(settings: Any) -> list[_Field]:
    hints = get_type_hints(type(settings))
    fields = []
    group = "settings"
    for field in dataclasses.fields(settings):
        if not field.init:
            continue
        group = field.metadata.get("group") or group
        kind = hints[field.name]
        parts = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
        kinds = [part for part in parts if part is not type(None)]
        if len(kinds) != 1:
            raise TypeError(f"setting {field.name}: found type {kind}, expected one type or None")
        item = get_args(kinds[0])[0] if get_origin(kinds[0]) is tuple else kinds[0]
        fields.append(
            _Field(
                name=field.name,
                kind=kinds[0],
                optional=len(parts) > len(kinds),
                is_path=item is Path or bool(field.metadata.get("path")),
                help=str(field.metadata.get("help", "")),
                group=group,
                bounds=field.metadata.get("bounds", {}),
                flagless=bool(field.metadata.get("flagless")),
            )
        )
    return fields


def _parse(arguments: list[str], by_flag: dict[str, _Field]) -> dict[str, Any]:
    """Values by flag, as the arguments give them."""
    given: dict[str, Any] = {}
    rest, loose = list(arguments), list[str]()
    taker = next((field for field in by_flag.values() if field.flagless), None)
    while rest:
        argument = rest.pop(0)
        if not _is_flag(argument):
            if taker is None:
                text = "which belongs to no flag; --help lists the flags"
                raise UserError(f"found {argument!r}, {text}")
            loose.append(argument)
            continue
        head, equals, tail = argument.partition("=")
        flag = head.replace("_", "-")
        negated = flag not in by_flag and _is_negation(flag, by_flag)
        if negated:
            flag = "--" + flag.removeprefix("--no-")
        if flag not in by_flag:
            raise UserError(_unknown(head, by_flag))
        field = by_flag[flag]
        if flag in given:
            raise UserError(f"{flag} is given twice; give it once")
        if negated:
            if equals:
                raise UserError(f"{head} takes no value; write {head} or {flag} true/false")
            given[flag] = False
        else:
            texts = [tail] if equals else _take_values(field, rest, taker is not None)
            given[flag] = _convert_all(field, texts, equals=bool(equals))
    if taker is not None and loose:
        if taker.flag in given:
            raise UserError(
                f"found {loose[0]!r} beside {taker.flag}; give all of them in one place"
            )
        given[taker.flag] = _convert_all(taker, loose, equals=False)
    return given


def _is_flag(argument: str) -> bool:
    return argument.startswith("-") and argument != "-" and not NEGATIVE_NUMBER.match(argument)


def _is_negation(flag: str, by_flag: dict[str, _Field]) -> bool:
    positive = by_flag.get("--" + flag.removeprefix("--no-"))
    return flag.startswith("--no-") and positive is not None and positive.kind is bool


def _unknown(flag: str, by_flag: dict[str, _Field]) -> str:
    known = list(by_flag)
    known += [f"--no-{f.flag[2:]}" for f in by_flag.values() if f.kind is bool]
    wanted = flag.replace("_", "-").lower()
    close = [name for name in known if wanted.startswith("--") and name.startswith(wanted)]
    close += difflib.get_close_matches(wanted, known, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}?" if close else "--help lists the flags"
    return f"unknown flag {flag}; {hint}"


def _take_values(field: _Field, rest: list[str], others_may_follow: bool = False) -> list[str]:
    """Remove a field's values from the front of the remaining arguments."""
    if field.kind is bool and (not rest or _is_flag(rest[0])):
        return ["true"]
    if field.kind is bool and others_may_follow and rest[0].lower() not in TRUE_WORDS + FALSE_WORDS:
        return ["true"]
    taken: list[str] = []
    while rest and not _is_flag(rest[0]) and (field.is_list or not taken):
        taken.append(rest.pop(0))
    if not taken:
        raise UserError(f"{field.flag}: found no value, expected {_expected(field)}")
    return taken


def _out_of_range(field: _Field, value: Any) -> list[str]:
    """What is wrong with a setting's numbers; nothing where it has no bounds or is none."""
    minimum, below, step = (field.bounds.get(k) for k in ("minimum", "below", "multiple_of"))
    wanted = [
        f"at least {minimum:g}" if minimum is not None else "",
        f"less than {below:g}" if below is not None else "",
        f"a multiple of {step:g}" if step is not None else "",
    ]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and (
            (minimum is not None and number < minimum)
            or (below is not None and number >= below)
            or (step is not None and number % step)
        ):
            expected = ", ".join(text for text in wanted if text)
            return [f"{field.flag}: found {number:g}, expected {expected}"]
    return []


def _convert_all(field: _Field, texts: list[str], equals: bool) -> Any:
    choices = get_args(field.item_kind) if get_origin(field.item_kind) is Literal else ()
    if field.optional and [text.lower() for text in texts] == ["none"] and "none" not in choices:
        return None
    if not field.is_list:
        return _convert(field, texts[0])
    if not field.is_path:
        texts = [part.strip() for text in texts for part in text.removesuffix(",").split(",")]
    if equals and texts == [""]:
        return ()
    lengths = get_args(field.kind)
    if lengths[-1] is not Ellipsis and len(texts) != len(lengths):
        raise UserError(f"{field.flag}: found {len(texts)} values, expected {len(lengths)}")
    return tuple(_convert(field, text) for text in texts)


def _convert(field: _Field, text: str) -> Any:
    """One value from its text. Raises UserError with what was found and expected."""
    kind = field.item_kind
    try:
        if get_origin(kind) is Literal:
            return {str(choice): choice for choice in get_args(kind)}[text]
        if kind is bool:
            return {**dict.fromkeys(TRUE_WORDS, True), **dict.fromkeys(FALSE_WORDS, False)}[
                text.lower()
            ]
        if field.is_path:
            if not text:
                raise ValueError
            return kind(os.path.abspath(os.path.expanduser(text)))
        value = kind(text)
        if kind is float and math.isnan(value):
            raise ValueError
    except (KeyError, ValueError):
        raise UserError(f"{field.flag}: found {text!r}, expected {_expected(field)}") from None
    return value


def _expected(field: _Field) -> str:
    kind = field.item_kind
    if get_origin(kind) is Literal:
        text = "one of " + ", ".join(str(choice) for choice in get_args(kind))
    elif kind is bool:
        text = "true or false"
    elif field.is_path:
        text = "a path"
    else:
        text = {int: "a whole number", float: "a number", str: "text"}.get(kind, str(kind))
    if field.is_list:
        text += " (several may be given)"
    return text + (" or none" if field.optional else "")


def _anchored(field: _Field, value: Any) -> Any:
    """A default with its paths made absolute from the repository's root."""
    if value is None or not field.is_path:
        return value
    if isinstance(value, tuple):
        return tuple(_anchored(field, item) for item in value)
    return type(value)(os.path.abspath(REPOSITORY / Path(value).expanduser()))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Path | str) and Path(value).is_absolute():
        path = Path(value)
        return (
            path.relative_to(REPOSITORY).as_posix()
            if path.is_relative_to(REPOSITORY)
            else str(value)
        )
    return str(value) if isinstance(value, Path) else value


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(_shown(item) for item in value) or "(empty)"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(_plain(value))


def _help_text(settings: Any, fields: list[_Field], name: str) -> str:
    summary = (sys.modules[type(settings).__module__].__doc__ or "").strip().split("\n\n")[0]
    lines = [f"usage: python {name} [--flag value ...]", *summary.splitlines()]
    group = ""
    for field in fields:
        if field.group != group:
            group = field.group
            lines += ["", f"{group}:"]
        lines += _help_lines(field, getattr(settings, field.name))
    lines += [
        "",
        "  --help".ljust(HELP_INDENT) + "show this text",
        "",
        "Default paths are relative to the repository, paths given here to the current folder.",
    ]
    return "\n".join(lines)


def _help_lines(field: _Field, default: Any) -> Iterator[str]:
    if get_origin(field.item_kind) is Literal:
        values = "{" + ",".join(str(choice) for choice in get_args(field.item_kind)) + "}"
    elif field.is_path:
        values = "PATH"
    else:
        values = {int: "N", float: "X", str: "TEXT"}.get(field.item_kind, "")
    head = f"  {field.flag}" + (f"/--no-{field.flag[2:]}" if field.kind is bool else f" {values}")
    head += " ..." if field.is_list else ""
    body = f"{field.help} (default: {_shown(default)})".strip()
    lines = textwrap.wrap(body, HELP_WIDTH - HELP_INDENT, break_on_hyphens=False)
    if len(head) >= HELP_INDENT - 1:
        yield head
        head = ""
    for line in lines:
        yield head.ljust(HELP_INDENT) + line
        head = ""
