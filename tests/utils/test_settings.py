"""Settings blocks and their flags (utils/settings.py)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import pytest

from utils.errors import UserError, run_program
from utils.fields import (
    Bare,
    Bounds,
    ExistingPath,
    Fraction,
    Loose,
    NonNegative,
    PathPattern,
    Positive,
    Width,
)
from utils.settings import REPOSITORY, read_settings, to_dict


@dataclass(frozen=True)
class Settings:
    """A block with every kind of field."""

    # paths
    data_root: Path = Path("data")  # folder of the scenes
    checkpoint: Path | None = None  # weights to start from
    index: PathPattern = "lists/a.csv"  # patch index
    # optimisation
    batch_size: int = 96  # patches per step
    lr: float = 1e-4  # learning rate
    clip: float | None = 10.0  # largest gradient norm
    shuffle: bool = True  # new order each epoch
    # a factor for each of the classes, in their order, which is a long story
    # that takes two lines
    factors: tuple[float, ...] = (5.5, 1.0)
    attention: Literal["spatial", "batch"] = "spatial"  # what attention runs over


def parsed(*arguments: str) -> Settings:
    return read_settings(Settings, arguments, prog="Train.py")


def message(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        parsed(*arguments)
    return str(caught.value)


def test_without_flags_only_paths_change_and_nothing_is_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = parsed()
    assert settings.data_root == REPOSITORY / "data"
    assert settings.index == str(REPOSITORY / "lists" / "a.csv")
    assert to_dict(settings) == to_dict(Settings())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "field", "expected"),
    [
        (["--batch-size", "8"], "batch_size", 8),
        (["--batch_size=8"], "batch_size", 8),
        (["--lr", "1e-3"], "lr", 1e-3),
        (["--lr", "-1e-3"], "lr", -1e-3),
        (["--lr=-.5"], "lr", -0.5),
        (["--clip", "none"], "clip", None),
        (["--clip", "2"], "clip", 2.0),
        (["--no-shuffle"], "shuffle", False),
        (["--no_shuffle"], "shuffle", False),
        (["--shuffle"], "shuffle", True),
        (["--shuffle", "no"], "shuffle", False),
        (["--shuffle=0"], "shuffle", False),
        (["--shuffle", "YES"], "shuffle", True),
        (["--factors", "5.5", "1", "-1"], "factors", (5.5, 1.0, -1.0)),
        (["--factors", "2,3"], "factors", (2.0, 3.0)),
        (["--factors=2,3,"], "factors", (2.0, 3.0)),
        (["--attention", "batch"], "attention", "batch"),
    ],
)
def test_a_flag_sets_its_field(arguments: list[str], field: str, expected: object) -> None:
    value = getattr(parsed(*arguments), field)
    assert value == expected
    assert type(value) is type(expected)


def test_a_list_ends_where_the_next_flag_begins() -> None:
    settings = parsed("--factors", "1", "2", "--batch-size", "4")
    assert settings.factors == (1.0, 2.0)
    assert settings.batch_size == 4


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--batchsize", "8"], ["unknown flag --batchsize", "did you mean --batch-size?"]),
        (["--batch", "8"], ["unknown flag --batch", "did you mean --batch-size?"]),
        (["--no-shufle"], ["did you mean --no-shuffle?"]),
        (["--no-lr"], ["unknown flag --no-lr"]),
        (["--zzz"], ["unknown flag --zzz", "--help"]),
        (["-b", "8"], ["unknown flag -b"]),
        (["--batch-size", "2.5"], ["--batch-size", "found '2.5'", "expected a whole number"]),
        (["--lr", "fast"], ["found 'fast'", "expected a number"]),
        (["--lr", "nan"], ["found 'nan'"]),
        (["--lr", "none"], ["found 'none'"]),
        (["--lr"], ["Missing value for argument '--lr'", "--help"]),
        (["--lr", "--no-shuffle"], ["Missing value for argument '--lr'"]),
        (["--factors"], ["--factors", "found no value"]),
        (["--factors", "1,x"], ["found 'x'"]),
        (["--attention", "time"], ["found 'time'", "one of spatial, batch"]),
        (["--shuffle", "maybe"], ["found 'maybe'"]),
        (["--shuffle=maybe"], ["--shuffle: found 'maybe'", "true or false"]),
        (["--no-shuffle=1"], ["found '1'"]),
        (["--lr", "1", "--lr=2"], ["--lr is given twice"]),
        (["--shuffle", "--no-shuffle"], ["--shuffle is given twice"]),
        (["8"], ["found '8'", "belongs to no flag"]),
        (["--batch-size", "8", "9"], ["found '9'", "belongs to no flag"]),
    ],
)
def test_a_wrong_argument_is_refused_in_plain_words(arguments: list[str], parts: list[str]) -> None:
    text = message(*arguments)
    assert text.startswith("Train.py: ")
    for part in parts:
        assert part in text


def test_an_unknown_flag_ends_a_program_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run_program(lambda: print(parsed("--epoch")))
    assert left.value.code == 2
    assert "unknown flag --epoch" in capsys.readouterr().err


def test_a_path_given_as_a_flag_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    settings = parsed("--data-root", "here", "--index", "b.csv", "--checkpoint", "~/w.pth")
    assert settings.data_root == tmp_path / "here"
    assert settings.index == str(tmp_path / "b.csv")
    assert settings.checkpoint == tmp_path / "home" / "w.pth"


def test_changed_values_are_printed_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    parsed("--batch-size", "8", "--no-shuffle", "--lr", "0.0001")
    assert capsys.readouterr().out == "changed: batch_size 96 → 8, shuffle true → false\n"


def test_help_shows_every_field_with_the_comment_beside_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        parsed("--batch-size", "8", "--help")
    shown = capsys.readouterr().out
    words = " ".join(re.sub(r"[^\w\s,.(){}:/-]", " ", shown).split())
    assert left.value.code == 0
    for text in (
        "--data-root PATH folder of the scenes (default: data)",
        "--checkpoint PATH weights to start from (default: none)",
        "--batch-size N patches per step (default: 96)",
        "--shuffle, --no-shuffle new order each epoch",
        "--factors X ... a factor for each of the classes, in their order, which is a long story "
        "that takes two lines (default: 5.5 1.0)",
        "--attention {spatial,batch} what attention runs over (default: spatial)",
        "--config PATH",
    ):
        assert text in words
    assert words.startswith("Settings blocks and their flags (utils/settings.py).")
    assert max(map(len, shown.splitlines())) <= 100


def test_settings_survive_json_with_repository_paths_as_written() -> None:
    content = json.loads(json.dumps(to_dict(parsed("--clip", "none"))))
    assert content["data_root"] == "data"
    assert content["checkpoint"] is None
    assert content["clip"] is None
    assert content["factors"] == [5.5, 1.0]


@dataclass(frozen=True)
class Bounded:
    """Numbers with bounds."""

    batch_size: Positive = 8  # patches
    width: Width = 64  # channels
    dropout: Fraction = 0.1  # share
    factors: tuple[NonNegative, ...] | None = None  # factors
    pair: tuple[NonNegative, NonNegative] | None = None  # two of them
    angle: Annotated[float, Bounds(-180, below=180)] = 0.0  # degrees


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--batch-size 0", "--batch-size: found '0', expected a whole number, at least 1"),
        ("--width 6", "found '6', expected a whole number, at least 4, less than 8192, a multiple"),
        ("--dropout 1", "--dropout: found '1', expected a number, at least 0, less than 1"),
        (
            "--factors 1,-2",
            "--factors: found '-2', expected a number, at least 0 (several",
        ),
        ("--pair 1", "--pair: found 1 values, expected a number, at least 0 (2 of them) or none"),
        ("--angle -181", "--angle: found '-181', expected a number, at least -180, less than 180"),
    ],
)
def test_numbers_out_of_range_are_told(flags: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_settings(Bounded, flags.split(), "Train.py")
    assert message in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        read_settings(Bounded, ["--width", "x", "--dropout", "2"], "Train.py")
    assert "--width" in str(caught.value)
    assert "--dropout" in str(caught.value)


def test_numbers_at_their_bounds_and_none_pass() -> None:
    flags = [
        "--batch-size",
        "1",
        "--dropout",
        "0",
        "--factors",
        "none",
        "--pair",
        "0,2",
        "--angle",
        "-180",
    ]
    taken = read_settings(Bounded, flags)
    assert (taken.batch_size, taken.dropout, taken.factors, taken.pair, taken.angle) == (
        1, 0, None, (0.0, 2.0), -180.0,
    )  # fmt: skip


ABSURD = ["inf", "-inf", "nan", "1e400", "9" * 400, "9" * 5000, "1e300", "", "1e", "½"]


@pytest.mark.parametrize("text", ABSURD, ids=lambda text: text[:8])
def test_absurd_numbers_are_refused_wherever_they_stand(tmp_path: Path, text: str) -> None:
    for flag in ("--batch-size", "--dropout", "--factors"):
        with pytest.raises(UserError, match="found"):
            read_settings(Bounded, [f"{flag}={text}"] if text else [flag, " "], "Train.py")
    for name in ("batch_size", "dropout"):
        for file, content in (
            (".yaml", f"{name}: {text or '[]'}"),
            (".json", f'{{"{name}": {text}}}'),
        ):
            config = tmp_path / f"config{file}"
            config.write_text(content, encoding="utf-8")
            with pytest.raises(UserError) as caught:
                read_settings(Bounded, ["--config", str(config)], "Train.py")
            assert len(str(caught.value)) < 400


@dataclass(frozen=True)
class LooseWords:
    """A program that takes arguments without a flag."""

    images: Loose[tuple[PathPattern, ...] | None] = None  # files
    overwrite: bool = False  # replace
    batch_size: int = 8  # tiles


@pytest.mark.parametrize(
    "line",
    [
        "before.tif after.tif --batch-size 2 --overwrite",
        "--overwrite before.tif after.tif --batch-size 2",
        "--batch-size 2 before.tif --overwrite true after.tif",
        "--images before.tif after.tif --overwrite --batch-size 2",
    ],
)
def test_arguments_without_a_flag_go_to_the_list_that_takes_them(
    line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings(LooseWords, line.split(), "Predict.py")
    assert settings.images == (str(tmp_path / "before.tif"), str(tmp_path / "after.tif"))
    assert (settings.overwrite, settings.batch_size) == (True, 2)


def test_a_list_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"found 'c.tif', which belongs to no flag"):
        read_settings(LooseWords, ["c.tif", "--images", "a.tif", "b.tif"], "Predict.py")


@dataclass(frozen=True)
class Formats:
    """A program whose flag says something without a value, too."""

    tables: Annotated[tuple[Literal["a.txt", "b.csv"], ...], Bare(("a.txt",))] = ()  # files
    batch_size: int = 8  # tiles


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ()),
        ("--tables", ("a.txt",)),
        ("--tables --batch-size 2", ("a.txt",)),
        ("--tables b.csv a.txt", ("b.csv", "a.txt")),
    ],
)
def test_a_flag_alone_has_the_value_that_stands_beside_its_type(
    line: str, expected: tuple[str, ...]
) -> None:
    assert read_settings(Formats, line.split(), "Predict.py").tables == expected


@dataclass(frozen=True)
class Needed:
    """A program that cannot do without two of its settings."""

    source: ExistingPath  # what to read
    kind: Literal["dynamic", "spacenet7"]  # which data set
    scores: ExistingPath | None = None  # more to read


def test_what_must_be_given_and_what_must_exist_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as caught:
        read_settings(Needed, [], "program.py")
    assert "--source: found nothing, expected a path" in str(caught.value)
    assert "--kind: found nothing, expected one of dynamic, spacenet7" in str(caught.value)
    flags = ["--source", str(tmp_path), "--kind", "dynamic"]
    assert read_settings(Needed, flags, "program.py") == Needed(tmp_path, "dynamic")
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match=r"--scores .*gone\.json: no such file, expected one"):
        read_settings(Needed, [*flags, "--scores", str(tmp_path / "gone.json")], "program.py")
    with pytest.raises(SystemExit):
        read_settings(Needed, ["--help"], "program.py")
    assert "(required)" in capsys.readouterr().out


def config(folder: Path, text: str, name: str = "run.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_wins_over_the_block_and_flags_win_over_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config(tmp_path, "batch-size: 8\nlr: 1e-3\nclip: null\nfactors: [2, 3]\nshuffle: no\n"
                            "data_root: elsewhere\ncheckpoint: ~/w.pth\n")  # fmt: skip
    settings = parsed("--config", file, "--batch-size", "4", "--shuffle")
    assert (settings.batch_size, settings.lr, settings.clip) == (4, 1e-3, None)
    assert (settings.factors, settings.shuffle) == ((2.0, 3.0), True)
    assert settings.data_root == REPOSITORY / "elsewhere"
    assert settings.checkpoint == Path.home() / "w.pth"
    assert "batch_size 96 → 4, lr 0.0001 → 0.001, clip 10.0 → none" in capsys.readouterr().out


def test_what_a_run_wrote_down_gives_the_same_settings_again(tmp_path: Path) -> None:
    first = parsed("--data-root", str(tmp_path), "--factors", "1", "--clip", "none", "--no-shuffle")
    text = json.dumps(to_dict(first))
    for name in ("settings.json", "settings.yaml"):
        assert parsed(f"--config={config(tmp_path, text, name)}") == first


BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n" for before, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("batch_siez: 8\nlr: 1\n", "unknown flag --batch_siez; did you mean --batch-size?"),
        ("- 1\n", "expected names with values"),
        ("lr: [\n", "no readable YAML"),
        ("lr: fast\nbatch_size: 2.5\n", "--batch-size: found '2.5'"),
        ("lr: [1, 2]\n", "--lr: found a list"),
        ("factors: [[1], 2]\n", "--factors: found a list"),
        ("index: {a: 1}\n", "--index: found a table"),
        ("attention: time\n", "one of spatial, batch"),
        ("lr: 2019-02-30\n", "--config"),
        ("lr: !!python/object/apply:os.getcwd []\n", "no readable YAML"),
        (BOMB, "found aliases"),
        ("lr: " + "[" * 40 + "]" * 40, "many levels"),
        ("lr: " + "1" * (2 << 20), "expected a short list"),
        ("\xe9".encode("latin-1").decode("latin-1") + "\0", "--config"),
        ("", "expected names with values"),
    ],
    ids=lambda text: text[:12],
)
def test_a_faulty_file_is_told(tmp_path: Path, text: str, part: str) -> None:
    file = config(tmp_path, text)
    found = message("--config", file)
    assert part in found
    assert file in found
    assert len(found) < 500


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "No such file" in message("--config", str(tmp_path / "none.yaml"))
    assert "--config" in message("--config", str(tmp_path))
    assert "Missing value" in message("--config")
