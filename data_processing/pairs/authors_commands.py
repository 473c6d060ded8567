"""The command form of the authors' CTMA program, translated into the settings of ours.

    Train_CTMA.py train --exp_config configs/levir.yaml --resume runs/x/last.pth
    Test_CTMA.py eval --exp_config configs/levir.yaml --resume runs/x/best.pth --save_on

A first word, a YAML file with settings, and ``--resume`` with a file. Flags and files may use the
authors' names (``--num_epochs``, ``--p2v_model.video_len``); what has no effect here is said. A
file ``a_b_c.yaml`` inherits from ``a.yaml`` and ``a_b.yaml`` beside it, as there.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from utils.errors import UserError
from utils.fields import FALSE_WORDS, REPOSITORY, TRUE_WORDS, SettingsBlock, fields_of
from utils.files import finite_number, read_yaml
from utils.progress import say

__all__ = ["authors_form"]

Word = Literal["train", "eval"]

PROGRAMS: dict[str, str] = {"train": "Train_CTMA.py", "eval": "Test_CTMA.py"}
ALIASES = {  # theirs → ours
    "num_epochs": "epochs", "p2v_model.video_len": "video_len", "subset": "split",
    "weights": "change_factor",
}  # fmt: skip
DATASETS = {"SVCD": "svcd", "LEVIRCD": "levir", "WHU": "whu"}
# theirs that are one thing here
FIXED = {
    "criterion": "WBCE", "model": "P2V", "optimizer": "Adam", "out_type": "logits",
    "p2v_model.in_ch": "3",
}  # fmt: skip
# theirs, without a setting here: written anyway, or said by another setting
WITHOUT_EFFECT = {
    "anew", "cmb_coeffs", "crop_size", "debug_on", "exp_dir", "load_optim", "log_off", "mu",
    "out_dir", "save_optim", "sched_on", "schedulers", "sigma", "suffix", "suffix_off", "tag",
    "tb_intvl", "tb_on", "tb_vis_bands", "tb_vis_norm", "track_intvl",
}  # fmt: skip
# settings that are given to both programs although one of them has no use for them
OF_ONE_PROGRAM = {
    "augment", "batch_size", "change_factor", "epochs", "lr", "lr_factor", "lr_milestones",
    "repeats", "save_on", "split", "video_len", "weight_decay",
}  # fmt: skip


def authors_form(
    block: type[SettingsBlock], word: Word, argv: Sequence[str] | None = None
) -> list[str]:
    """Arguments as flags of ours.

    Args:
        block: The script's, whose fields are the flags.
        word: What the program does, the first word that is accepted.
        argv: Arguments without the program's name; those of the process if left out.

    Returns:
        Flags; first those of the YAML file that are not given beside it.

    Raises:
        UserError: The word is the other program's, the YAML file cannot be used, a setting of
            theirs asks for what is not done here, or the file of ``--resume`` does not exist.
    """
    rest = list(sys.argv[1:] if argv is None else argv)
    theirs = bool(rest) and rest[0] in PROGRAMS
    if theirs and rest[0] != word:
        raise UserError(
            f"found the word {rest[0]!r}, expected {word!r} or none; for {rest[0]} run "
            f"{PROGRAMS[rest[0]]}."
        )
    fields = {field.name: field.is_path for field in fields_of(block)}
    file: Path | None = None
    inherits = True
    arguments: list[str] = []
    ignored: list[str] = []
    for head, values in _groups(rest[theirs:]):
        name = head[2:].replace("-", "_")
        if name == "exp_config":
            file = Path(_only(head, values))
        elif name == "inherit_off":
            inherits = False
        elif name == "resume" and values and values[0] not in TRUE_WORDS + FALSE_WORDS:
            arguments += _resumed(Path(_only(head, values)), word)
        elif _has_no_effect(name, values, fields, OF_ONE_PROGRAM if theirs else ()):
            ignored.append(head)
        else:
            ours, texts = _ours(name, values)
            flag = "--" + ours.replace("_", "-") if ours in fields else head
            arguments += [flag, *map(str, texts)]
    if ignored:
        say(f"without effect here: {', '.join(ignored)}")
    given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    given |= {"--" + flag[len("--no-") :] for flag in given if flag.startswith("--no-")}
    return [*(_of_file(file, fields, given, inherits) if file else ()), *arguments]


def _groups(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Flags with the words that follow them; words before the first flag stand alone."""
    head, values = "", list[str]()
    for argument in [*arguments, "--"]:
        if not argument.startswith("--"):
            values.append(argument)
            continue
        if head or values:
            yield (head, values) if head else (values[0], values[1:])
        head, equals, tail = argument.partition("=")
        values = [tail] if equals else []


def _only(flag: str, values: Sequence[str]) -> str:
    if len(values) != 1:
        listed = f"{len(values)} values" if values else "no value"
        raise UserError(f"{flag}: found {listed}, expected one file")
    return values[0]


def _has_no_effect(
    name: str, values: Sequence[Any], fields: Collection[str], of_one_program: Collection[str]
) -> bool:
    """Whether a setting of theirs means nothing here.

    Raises:
        UserError: It asks for something else than what is done here.
    """
    if name in FIXED:
        if [str(value) for value in values] != [FIXED[name]]:
            listed = " ".join(map(str, values)) or "no value"
            raise UserError(f"{name}: found {listed}, expected {FIXED[name]}, which is fixed here")
        return True
    ours = ALIASES.get(name, name)
    return ours not in fields and (name in WITHOUT_EFFECT or ours in of_one_program)


def _ours(name: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Name and values of ours for theirs.

    Raises:
        UserError: The two class weights are no numbers above 0.
    """
    if name == "dataset":
        values = [DATASETS.get(str(value), value) for value in values]
    elif name == "weights":
        try:
            unchanged, changed = (finite_number(str(value)) for value in values)
            values = [changed / unchanged]
        except (ValueError, ZeroDivisionError):
            raise UserError(
                f"weights: found {' '.join(map(str, values))}, expected two numbers, those of "
                "unchanged and changed pixels"
            ) from None
    return ALIASES.get(name, name), list(values)


def _resumed(path: Path, word: Word) -> list[str]:
    """Translate ``--resume <file>``: a run to go on with, or weights."""
    if not path.is_file():
        raise UserError(
            f"--resume: found no file {path}, expected weights. To train from the start leave "
            "--resume out."
        )
    run = path.resolve().parent
    of_a_run = path.name in ("last.pth", "previous.pth") and (run / "settings.json").is_file()
    if word == "train" and of_a_run:
        return ["--resume", "--output-dir", str(run)]
    return ["--checkpoint", str(path)]


def _of_file(
    path: Path, fields: Mapping[str, bool], given: Collection[str], inherits: bool
) -> list[str]:
    """The values of a YAML file, those it inherits among them, as flags; given ones left out."""
    flags: dict[str, list[str]] = {}
    ignored: list[str] = []
    unknown: list[str] = []
    for name, value in _inherited(path, inherits).items():
        values = value if isinstance(value, list) else [value]
        if _has_no_effect(name, values, fields, OF_ONE_PROGRAM):
            ignored.append(name)
            continue
        ours, values = _ours(name, values)
        if ours in fields:
            flags[ours] = _flag(ours, values, fields[ours])
        else:
            unknown.append(name)
    if unknown:
        raise UserError(
            f"{path}: found settings that are not known: {', '.join(sorted(unknown))}; expected "
            f"among: {', '.join(sorted(fields))}."
        )
    if ignored:
        say(f"{path.name}: without effect here: {', '.join(sorted(ignored))}")
    return [word for words in flags.values() if words[0] not in given for word in words]


def _flag(name: str, values: Sequence[Any], is_path: bool) -> list[str]:
    """Values of a YAML file as a flag; paths there are relative to the repository."""
    flag = "--" + name.replace("_", "-")
    if len(values) == 1 and isinstance(values[0], bool):
        return [flag, str(values[0]).lower()]
    texts = ["none" if value is None else str(value) for value in values]
    if is_path:
        texts = [text if text == "none" else str(REPOSITORY / text) for text in texts]
    return [flag, *texts]


def _inherited(path: Path, inherits: bool) -> dict[str, Any]:
    """The content of a YAML file over that of the files whose names it begins with, made flat."""
    words = path.stem.split("_")
    content: dict[str, Any] = {}
    for count in range(1 if inherits else len(words), len(words) + 1):
        part = path.with_name("_".join(words[:count]) + path.suffix)
        if part.is_file():
            content |= _content(part)
    if not path.is_file():
        raise UserError(f"--exp-config: found no file {path}, expected a YAML file.")
    return content


def _content(path: Path) -> dict[str, Any]:
    """The settings of a file by name; those within others as ``p2v_model.video_len``."""
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {type(content).__name__}, expected names with values.")
    return dict(_flat("", content))


def _flat(prefix: str, content: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value
