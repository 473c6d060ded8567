"""Fields of settings: their types, their bounds, and their values from text.

``batch_size: Positive`` is a whole number from 1 on; ``Annotated[float, Bounds(0, below=1)]`` says
the same for any other. Text is what flags, YAML and JSON give; it is judged in one place, here.
"""

from __future__ import annotations

import dataclasses
import os
import types
from collections.abc import Mapping
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Protocol,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from utils.errors import UserError
from utils.files import finite_number, whole_number

__all__ = [
    "FALSE_WORDS",
    "LOOSE",
    "REPOSITORY",
    "REQUIRED",
    "TRUE_WORDS",
    "Bare",
    "Bounds",
    "ClipNorm",
    "Existing",
    "ExistingPath",
    "Field",
    "Fraction",
    "Frames",
    "Gigabytes",
    "LearningRate",
    "Loose",
    "Natural",
    "NonNegative",
    "PairSide",
    "PatchSide",
    "PathPattern",
    "Positive",
    "Seed",
    "SettingsBlock",
    "WeightsFile",
    "Width",
    "Workers",
    "anchored",
    "field_of",
    "fields_of",
    "plain",
    "shown",
    "texts_of",
    "typed",
    "without_secrets",
]

REPOSITORY: Path = Path(__file__).resolve().parents[1]


class SettingsBlock(Protocol):
    """Any dataclass, such as the settings at the top of a script."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


REQUIRED = dataclasses.MISSING  # the default of a field that must be given

TRUE_WORDS = ("true", "yes", "1", "on")
FALSE_WORDS = ("false", "no", "0", "off")
LONGEST_SHOWN = 40  # signs of a text in a message
LARGEST_NUMBER = 1e15  # no setting is near it, and it can be computed with


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Bounds of a number; written beside its type as ``Annotated[int, Bounds(minimum=1)]``."""

    minimum: float | None = None
    below: float | None = None
    multiple_of: int | None = None

    def hold(self, number: float) -> bool:
        """Whether a number lies within them."""
        return (
            (self.minimum is None or number >= self.minimum)
            and (self.below is None or number < self.below)
            and (self.multiple_of is None or number % self.multiple_of == 0)
        )

    def __str__(self) -> str:
        parts = (
            (self.minimum, "at least {:.12g}"),
            (self.below, "less than {:.12g}"),
            (self.multiple_of, "a multiple of {:g}"),
        )
        return ", ".join(text.format(number) for number, text in parts if number is not None)


class Note:
    """A remark beside a field's type that is no number's bounds."""


IS_PATH, LOOSE = Note(), Note()


@dataclasses.dataclass(frozen=True)
class Bare(Note):
    """A flag of a list may stand without values; then it has these."""

    values: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Existing(Note):
    """The path must exist; ``expected`` says what should be there, for messages."""

    expected: str = "one that exists"


Value = TypeVar("Value")

Positive = Annotated[int, Bounds(minimum=1)]
Natural = Annotated[int, Bounds(minimum=0)]
NonNegative = Annotated[float, Bounds(minimum=0)]
Fraction = Annotated[float, Bounds(minimum=0, below=1)]
PatchSide = Annotated[int, Bounds(minimum=4, below=2**16, multiple_of=4)]
PairSide = Annotated[int, Bounds(minimum=8, below=2**16, multiple_of=8)]
Width = Annotated[int, Bounds(minimum=4, below=2**13, multiple_of=4)]
Frames = Annotated[int, Bounds(minimum=2, below=2**10)]
LearningRate = Annotated[float, Bounds(minimum=1e-12, below=10)]
ClipNorm = Annotated[float, Bounds(minimum=1e-9)]
Gigabytes = Annotated[float, Bounds(minimum=0.1, below=2**20)]
Seed = Annotated[int, Bounds(minimum=0, below=2**32)]
Workers = Annotated[int, Bounds(minimum=0, below=1025)]
PathPattern = Annotated[str, IS_PATH]  # a file, a folder, or several such as city/*.tif
ExistingPath = Annotated[Path, Existing()]
WEIGHTS = "a weights file (.pth); best_model/README.md says where weights come from"
WeightsFile = Annotated[Path, Existing(WEIGHTS)]
Loose = Annotated[
    Value, LOOSE
]  # also takes arguments without a flag: one, a list all that are left


@dataclasses.dataclass(frozen=True)
class Field:
    """One setting: its name, the type of one value, and what may be written for it."""

    name: str
    item: Any
    default: Any
    is_list: bool
    count: int | None  # of a list's values; None: any number
    optional: bool
    notes: tuple[object, ...]

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def is_path(self) -> bool:
        """Whether its values are files, folders or patterns of them."""
        return self.item is Path or IS_PATH in self.notes

    @property
    def choices(self) -> dict[str, Any]:
        """The values of a ``Literal`` by their text; empty for other types."""
        of_literal = get_args(self.item) if get_origin(self.item) is Literal else ()
        return {str(choice): choice for choice in of_literal}

    @property
    def any_value(self) -> Any:
        """A value that the field may have, for places that must be filled."""
        value = next(iter(self.choices.values())) if self.choices else self.item()
        return (value,) if self.is_list else value

    @property
    def expected(self) -> str:
        """The values that may be written, for messages."""
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        if self.choices:
            text = "one of " + ", ".join(self.choices)
        else:
            text = "a path" if self.is_path else words[self.item]
        text = ", ".join([text, *(str(note) for note in self.notes if isinstance(note, Bounds))])
        if self.is_list:
            text += f" ({self.count or 'several'} of them)"
        return text + (" or none" if self.optional else "")


def fields_of(block: type[SettingsBlock]) -> list[Field]:
    """The settings of a block in its order."""
    hints = get_type_hints(block, include_extras=True)
    return [field_of(f.name, hints[f.name], f.default) for f in dataclasses.fields(block)]


def field_of(name: str, hint: Any, default: Any) -> Field:
    """A setting from its type as written.

    Raises:
        TypeError: The type is none that a setting may have.
    """
    outer, notes = _without_notes(hint)
    parts = get_args(outer) if get_origin(outer) in (Union, types.UnionType) else (outer,)
    kinds = [part for part in parts if part is not type(None)]
    if len(kinds) != 1:
        raise TypeError(f"setting {name}: found type {hint}, expected one type or None")
    kind, of_kind = _without_notes(kinds[0])
    is_list = get_origin(kind) is tuple
    items = get_args(kind) if is_list else (kind,)
    item, of_item = _without_notes(items[0])
    return Field(
        name=name,
        item=item,
        default=default,
        is_list=is_list,
        count=len(items) if is_list and items[-1] is not Ellipsis else None,
        optional=len(parts) > len(kinds),
        notes=(*notes, *of_kind, *of_item),
    )


def _without_notes(hint: Any) -> tuple[Any, tuple[object, ...]]:
    if get_origin(hint) is not Annotated:
        return hint, ()
    kind, *notes = get_args(hint)
    return kind, tuple(notes)


def anchored(field: Field, value: Any) -> Any:
    """A default with its paths made absolute from the repository's root."""
    if value is None or value is REQUIRED or not field.is_path:
        return value
    if isinstance(value, tuple):
        return tuple(anchored(field, item) for item in value)
    return field.item(os.path.abspath(REPOSITORY / Path(value).expanduser()))


def texts_of(field: Field, value: Any) -> list[str]:
    """A plain value as a flag would give it; paths are relative to the repository.

    Raises:
        UserError: It is a table, or a list where one value is expected.
    """
    values = value if field.is_list and isinstance(value, list | tuple) else [value]
    if any(isinstance(item, list | tuple | dict) for item in values):
        kind = "a table" if isinstance(value, dict) else "a list"
        raise UserError(f"{field.flag}: found {kind}, expected {field.expected}")
    texts = ["none" if item is None else str(item) for item in values]
    if field.is_path and value is not None:
        texts = [str(REPOSITORY / text) if text[:1] not in ("", "~") else text for text in texts]
    return texts or [""]


def typed(texts: Mapping[Field, list[str]]) -> dict[str, Any]:
    """Values by name, from their texts.

    Raises:
        UserError: Texts are none of the field's values, with all of them.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    for field, words in texts.items():
        try:
            values[field.name] = _value(field, words)
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError("; ".join(faults))
    return values


def _value(field: Field, texts: list[str]) -> Any:
    if field.optional and [text.lower() for text in texts] == ["none"]:
        return None
    if not field.is_list:
        return _item(field, texts[0])
    if texts == [""]:
        return ()
    bare = [text for note in field.notes if isinstance(note, Bare) for text in note.values]
    texts = texts or bare
    if not field.is_path:
        texts = [part.strip() for text in texts for part in text.removesuffix(",").split(",")]
    if not texts or (field.count is not None and len(texts) != field.count):
        kind = f"{len(texts)} values" if texts else "no value"
        raise UserError(f"{field.flag}: found {kind}, expected {field.expected}")
    return tuple(_item(field, text) for text in texts)


def _item(field: Field, text: str) -> Any:
    try:
        if field.choices:
            return field.choices[text]
        if field.item is bool:
            return (TRUE_WORDS + FALSE_WORDS).index(text.lower()) < len(TRUE_WORDS)
        if field.is_path:
            if not text or "\0" in text:
                raise ValueError
            if "://" in text and field.item is str:  # an address
                return text
            return field.item(os.path.abspath(Path(text).expanduser()))
        if field.item is str:
            return text
        number = whole_number(text) if field.item is int else finite_number(text)
        if abs(number) > LARGEST_NUMBER or not all(
            note.hold(number) for note in field.notes if isinstance(note, Bounds)
        ):
            raise ValueError
    except (KeyError, ValueError, RuntimeError):  # RuntimeError: no home folder for ~
        shown = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
        raise UserError(f"{field.flag}: found {shown!r}, expected {field.expected}") from None
    return number


def plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, str) and "://" in value:
        return without_secrets(value)
    if isinstance(value, Path | str) and Path(value).is_absolute():
        path = Path(value)
        inside = path.is_relative_to(REPOSITORY)
        return path.relative_to(REPOSITORY).as_posix() if inside else str(value)
    return str(value) if isinstance(value, Path) else value


def without_secrets(address: str) -> str:
    """An address as it may be written down: without a password or signature; other texts as is."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    path = rest.partition("?")[0]
    host, slash, name = path.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{name}"


def shown(value: Any) -> str:
    """A value as messages and help show it."""
    if isinstance(value, tuple):
        return " ".join(shown(item) for item in value) or "(empty)"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(plain(value))
