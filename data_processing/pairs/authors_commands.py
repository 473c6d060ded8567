"""The command form of the authors' CTMA program, translated into the settings of ours.

    Train_CTMA.py train --exp_config configs/levir.yaml --resume runs/x/last.pth
    Test_CTMA.py eval --exp_config configs/levir.yaml --resume runs/x/best.pth --save_on

A first word, a YAML file with settings, and ``--resume`` with a file. Everything else is a flag of
ours. YAML files may use the authors' names for what has another name here; a file ``a_b_c.yaml``
inherits from ``a.yaml`` and ``a_b.yaml`` beside it, as there.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from utils.errors import UserError
from utils.fields import FALSE_WORDS, REPOSITORY, TRUE_WORDS, SettingsBlock, fields_of
from utils.files import read_yaml
from utils.progress import say

__all__ = ["authors_form"]

Word = Literal["train", "eval"]

PROGRAMS: dict[str, str] = {"train": "Train_CTMA.py", "eval": "Test_CTMA.py"}
ALIASES = {"num_epochs": "epochs"}  # theirs → ours
DATASETS = {"SVCD": "svcd", "LEVIRCD": "levir", "WHU": "whu"}
# theirs, without a setting here: fixed, written anyway, or said by another setting
WITHOUT_EFFECT = {
    "anew", "cmb_coeffs", "criterion", "crop_size", "debug_on", "exp_dir", "load_optim", "log_off",
    "model", "mu", "optimizer", "out_dir", "out_type", "save_optim", "sched_on", "schedulers",
    "sigma", "suffix", "suffix_off", "tag", "tb_intvl", "tb_on", "tb_vis_bands", "tb_vis_norm",
    "track_intvl",
}  # fmt: skip
SWITCHES = {"--anew", "--debug-on", "--log-off", "--suffix-off"}  # theirs, as flags


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
        UserError: The word is the other program's, the YAML file cannot be used, or the file of
            ``--resume`` does not exist.
    """
    rest = list(sys.argv[1:] if argv is None else argv)
    if rest and rest[0] in PROGRAMS:
        if rest[0] != word:
            raise UserError(
                f"found the word {rest[0]!r}, expected {word!r} or none; for {rest[0]} run "
                f"{PROGRAMS[rest[0]]}."
            )
        rest.pop(0)
    config: Path | None = None
    arguments: list[str] = []
    while rest:
        argument = rest.pop(0)
        head, equals, tail = argument.partition("=")
        flag = head.replace("_", "-") if head.startswith("--") else head
        if flag == "--exp-config":
            config = Path(tail if equals else _value(flag, rest))
        elif flag == "--resume" and (equals or _is_value(rest)):
            arguments += _resumed(Path(tail if equals else rest.pop(0)), word)
        elif flag in SWITCHES:
            say(f"{head}: without effect here")
        else:
            named = "--" + ALIASES.get(flag[2:].replace("-", "_"), flag[2:])
            arguments.append(named + equals + tail if head.startswith("--") else argument)
    given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    given |= {"--" + flag[len("--no-") :] for flag in given if flag.startswith("--no-")}
    return [*(_of_file(block, config, given) if config else ()), *arguments]


def _is_value(rest: Sequence[str]) -> bool:
    """Whether a file follows, not the next flag or a truth value."""
    return bool(rest) and not rest[0].startswith("-") and rest[0] not in TRUE_WORDS + FALSE_WORDS


def _value(flag: str, rest: list[str]) -> str:
    if not _is_value(rest):
        raise UserError(f"{flag}: found no value, expected a YAML file")
    return rest.pop(0)


def _resumed(path: Path, word: Word) -> list[str]:
    """What ``--resume <file>`` means: a run to go on with, or weights."""
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


def _of_file(block: type[SettingsBlock], path: Path, given: Collection[str]) -> list[str]:
    """The values of a YAML file, those it inherits among them, as flags; given ones left out."""
    known = {field.name: field.is_path for field in fields_of(block)}
    values: dict[str, Any] = {}
    ignored: list[str] = []
    unknown: list[str] = []
    for name, value in _inherited(path).items():
        if name == "p2v_model" and isinstance(value, Mapping):
            value, name = value.get("video_len", 8), "video_len"
        elif name == "weights" and isinstance(value, list) and len(value) == 2:
            value, name = value[1] / value[0], "change_factor"
        name = ALIASES.get(name, name)
        if name in known:
            values[name] = DATASETS.get(value, value) if name == "dataset" else value
        elif name in WITHOUT_EFFECT or name in ("video_len", "change_factor", *OF_TRAINING):
            ignored.append(name)
        else:
            unknown.append(name)
    if unknown:
        raise UserError(
            f"{path}: found settings that are not known: {', '.join(sorted(unknown))}; expected "
            f"among: {', '.join(sorted(known))}."
        )
    if ignored:
        say(f"{path.name}: without effect here: {', '.join(sorted(ignored))}")
    return [
        word
        for name, value in values.items()
        if "--" + name.replace("_", "-") not in given
        for word in _flag(name, value, known[name])
    ]


def _flag(name: str, value: Any, is_path: bool) -> list[str]:
    """A value of a YAML file as a flag; paths there are relative to the repository."""
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    items = value if isinstance(value, list) else [value]
    texts = ["none" if item is None else str(item) for item in items]
    if is_path:
        texts = [text if text == "none" else str(REPOSITORY / text) for text in texts]
    return [flag, *texts]


OF_TRAINING = (
    "augment", "batch_size", "epochs", "lr", "lr_factor", "lr_milestones",
    "repeats", "subset", "weight_decay",
)  # fmt: skip
"""Settings that a file shared by both programs may hold although one of them has no use for it."""


def _inherited(path: Path) -> dict[str, Any]:
    """The content of a YAML file over that of the files whose names it begins with."""
    words = path.stem.split("_")
    merged: dict[str, Any] = {}
    for count in range(1, len(words) + 1):
        part = path.with_name("_".join(words[:count]) + path.suffix)
        if part.is_file():
            merged = _merged(merged, _content(part))
    if not path.is_file():
        raise UserError(f"--exp-config: found no file {path}, expected a YAML file.")
    return merged


def _content(path: Path) -> Mapping[str, Any]:
    try:
        content = read_yaml(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: found {type(content).__name__}, expected names with values.")
    return content


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, the second one winning; maps within are merged name by name."""
    merged = dict(under)
    for name, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if nested else value
    return merged
