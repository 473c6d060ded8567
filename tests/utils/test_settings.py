"""Settings blocks and their flags (utils/settings.py)."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pytest

from utils.errors import UserError, run_program
from utils.settings import REPOSITORY, override, setting, to_dict


@dataclass(frozen=True)
class Settings:
    """A block with every kind of field."""

    data_root: Path = setting(Path("data"), "folder of the scenes", group="paths")
    checkpoint: Path | None = setting(None, "weights to start from")
    index: str = setting("lists/a.csv", "patch index", path=True)
    batch_size: int = setting(96, "patches per step", group="optimisation")
    lr: float = setting(1e-4, "learning rate")
    clip: float | None = setting(10.0, "largest gradient norm")
    shuffle: bool = setting(True, "new order each epoch")
    factors: tuple[float, ...] = setting((5.5, 1.0), "factor per class")
    attention: Literal["spatial", "batch"] = setting("spatial", "what attention runs over")


def parsed(*arguments: str) -> Settings:
    return override(Settings(), arguments, prog="Train.py")


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
        (["--lr"], ["--lr", "found no value"]),
        (["--lr", "--no-shuffle"], ["--lr", "found no value"]),
        (["--factors", "1,x"], ["found 'x'"]),
        (["--attention", "time"], ["found 'time'", "one of spatial, batch"]),
        (["--shuffle", "maybe"], ["found 'maybe'", "true or false"]),
        (["--no-shuffle=1"], ["--no-shuffle takes no value"]),
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


def test_help_shows_every_field_with_its_text_default_and_group(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        parsed("--batch-size", "8", "--help")
    shown = capsys.readouterr().out
    assert left.value.code == 0
    for field in fields(Settings):
        assert f"--{field.name.replace('_', '-')}" in shown
        assert field.metadata["help"] in shown
    for text in ("paths:", "optimisation:", "(default: 96)", "{spatial,batch}", "/--no-shuffle"):
        assert text in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_settings_survive_json_with_repository_paths_as_written() -> None:
    content = json.loads(json.dumps(to_dict(parsed("--clip", "none"))))
    assert content["data_root"] == "data"
    assert content["checkpoint"] is None
    assert content["clip"] is None
    assert content["factors"] == [5.5, 1.0]


@dataclass(frozen=True)
class Bounded:
    batch_size: int = setting(8, "patches", minimum=1)
    width: int = setting(64, "channels", minimum=4, multiple_of=4)
    dropout: float = setting(0.1, "share", minimum=0, below=1)
    factors: tuple[float, ...] | None = setting(None, "factors", minimum=0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch-size", "0"], "--batch-size: found 0, expected at least 1"),
        (["--width", "6"], "--width: found 6, expected at least 4, a multiple of 4"),
        (["--dropout", "1"], "--dropout: found 1, expected at least 0, less than 1"),
        (["--factors", "1,-2"], "--factors: found -2, expected at least 0"),
    ],
)
def test_numbers_out_of_range_are_told(flags: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        override(Bounded(), flags, "Train.py")
    assert message in str(caught.value)


def test_numbers_at_their_bounds_and_none_pass() -> None:
    taken = override(Bounded(), ["--batch-size", "1", "--dropout", "0", "--factors", "none"])
    assert (taken.batch_size, taken.dropout, taken.factors) == (1, 0, None)


@dataclass(frozen=True)
class Loose:
    images: tuple[str, ...] | None = setting(None, "files", path=True, flagless=True)
    overwrite: bool = setting(False, "replace")
    batch_size: int = setting(8, "tiles")


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
    found = override(Loose(), line.split(), "Predict.py")
    assert found.images == (str(tmp_path / "before.tif"), str(tmp_path / "after.tif"))
    assert (found.overwrite, found.batch_size) == (True, 2)


def test_a_list_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match=r"found '.*c.tif' beside --images"):
        override(Loose(), ["c.tif", "--images", "a.tif", "b.tif"], "Predict.py")
