"""Files are read without trusting them: numbers, depth and names (utils/files.py)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from utils import files
from utils.files import (
    atomic_path,
    finite_number,
    parse_json,
    path_inside,
    plain_name,
    read_json,
    remove_partial_files,
    whole_number,
    write_json,
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"a": NaN}',
        b"[1, -Infinity]",
        b"[1e999]",
        b"[" + b"9" * 400 + b"]",
        b"[" + b"9" * 5000 + b"]",
        b"[" * 200 + b"]" * 200,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b"[" * 100_000,
    ],
)
def test_json_that_no_program_writes_is_one_kind_of_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(content)
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        read_json(path)


def test_json_larger_than_such_files_are_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "x.json", list(range(100)))
    monkeypatch.setattr(files, "JSON_BYTES", 50)
    with pytest.raises(ValueError, match="at most 50"):
        read_json(tmp_path / "x.json")


def test_usual_json_comes_back_as_it_was(tmp_path: Path) -> None:
    content = {"a": [1, -2.5, 1e-300, None, True, "ä"], "b": {"c": [[[]]]}, "n": 2**63}
    write_json(tmp_path / "x.json", content)
    assert read_json(tmp_path / "x.json") == content
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]


OUTSIDE = ["/abs/victim", "../victim", "a/../../victim", "C:\\victim", "c:victim", "..\\victim",
           "\\\\host\\share", "", ".", "a\0b", "a\nb", "a\u2028b", "x" * 300, "\udcff"]  # fmt: skip


@pytest.mark.parametrize("text", [*OUTSIDE, None, 7, ["a"], {"a": 1}])
def test_paths_that_lead_elsewhere_are_refused(text: object) -> None:
    for check in (path_inside, plain_name):
        with pytest.raises(ValueError):
            check(text)


@pytest.mark.parametrize("text", ["a/b", "./a", "a/", ".hidden", "a.", " a", "a ", "a:b", "a*b"])
def test_names_of_several_parts_or_hidden_are_no_plain_names(text: str) -> None:
    with pytest.raises(ValueError):
        plain_name(text)


@pytest.mark.parametrize("text", ["Scene01", "L15-0331E-1257N_1327_3160_13", "Ω 1", "a..b"])
def test_usual_names_are_taken(text: str) -> None:
    assert plain_name(text) == text
    assert path_inside(f"./train\\{text}").as_posix() == f"train/{text}"


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("dataset.json", ".hidden", "x.partial", ".a.partial.d"):
        (tmp_path / name).write_text("mine")
    before = sorted(path.name for path in tmp_path.iterdir())
    with atomic_path(tmp_path / "dataset.json") as partial:
        left = tmp_path / partial.name.replace(partial.name.split(".")[2], "abcd_123")
        left.write_text("half")
        partial.write_text("whole")
    assert left.exists()
    remove_partial_files(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "text",
    ["inf", "-inf", "nan", "1e999", "9" * 400, "1_000", "٣", "0x10", "", " ", "1e", "--1", "1,5"],
)
def test_what_is_no_finite_number_of_a_sensible_length_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        finite_number(text)
    with pytest.raises(ValueError, match="expected a whole number"):
        whole_number(text)


def test_numbers_are_read_as_they_are_written() -> None:
    assert [finite_number(text) for text in ("2", "-.5", "1e-3", " 7. ", "+1E+2")] == [
        2.0, -0.5, 0.001, 7.0, 100.0,
    ]  # fmt: skip
    assert [whole_number(text) for text in ("0", "-12", str(2**64 - 1))] == [0, -12, 2**64 - 1]
    for text in ("1.0", str(2**64), "1e3"):
        with pytest.raises(ValueError, match="expected a whole number"):
            whole_number(text)


@pytest.mark.skipif(os.name == "nt", reason="names are no bytes there")
@pytest.mark.parametrize(
    "name", [b"x" * 250 + b".tif", "ä".encode() * 125 + b".tif", b"caf\xe9.tif", b"a\nb.tif"]
)
def test_any_name_that_the_system_takes_can_be_written(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    with atomic_path(path) as partial:
        partial.write_bytes(b"whole")
    partial.write_bytes(b"left by a kill")
    remove_partial_files(tmp_path)
    assert [child.read_bytes() for child in tmp_path.iterdir()] == [b"whole"]
