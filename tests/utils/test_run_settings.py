"""A resumed run has the settings it began with; flags given beside --resume win."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from utils.errors import UserError
from utils.files import write_json
from utils.run_folder import log_resumption
from utils.settings import run_settings, to_dict


@dataclass(frozen=True)
class Settings:
    """As those of a training program."""

    data_root: Path = Path("data")  # a folder
    output_dir: Path | None = None  # a folder
    overwrite: bool = False  # whether
    resume: bool = False  # whether
    epochs: int = 100  # passes
    lr: float = 1e-4  # rate
    factors: tuple[float, ...] | None = None  # numbers
    device: str = "auto"  # which
    protocol: Literal["ours", "released"] = "ours"  # which
    shuffle: bool = True  # whether


def begun(folder: Path, *flags: str) -> Settings:
    """A run's folder with the settings that it began with."""
    folder.mkdir(exist_ok=True)
    first = run_settings(Settings, {}, ["--output-dir", str(folder), *flags])
    write_json(folder / "settings.json", to_dict(first))
    return first


def test_a_resumed_run_takes_the_settings_it_began_with(tmp_path: Path) -> None:
    first = begun(
        tmp_path, "--data-root", str(tmp_path / "d"), "--epochs", "7", "--factors", "1", "2.5",
        "--overwrite",
    )  # fmt: skip
    again = run_settings(Settings, {}, ["--output-dir", str(tmp_path), "--resume"])
    assert (again.epochs, again.factors) == (7, (1.0, 2.5))
    assert again.data_root == first.data_root
    assert (again.resume, again.overwrite, again.output_dir) == (True, False, tmp_path)


def test_a_flag_beside_resume_wins_and_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(tmp_path, "--epochs", "7", "--lr", "0.5")
    flags = ["--resume", "--output-dir", str(tmp_path), "--lr", "0.25"]
    again = run_settings(Settings, {}, flags)
    assert (again.epochs, again.lr) == (7, 0.25)
    log_resumption(tmp_path, again)
    log_resumption(tmp_path, again)
    lines = (tmp_path / "resumed.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["changed"] for line in lines] == [{"lr": [0.5, 0.25]}] * 2
    shown = capsys.readouterr().out
    assert "lr 0.5 → 0.25" in shown
    assert "other settings than at first: lr 0.5 → 0.25" in shown


def test_the_released_protocol_holds_in_a_resumed_run(tmp_path: Path) -> None:
    released = {"shuffle": False}
    first = run_settings(Settings, released, ["--protocol", "released"])
    write_json(tmp_path / "settings.json", to_dict(first))
    again = run_settings(Settings, released, ["--resume", "--output-dir", str(tmp_path)])
    assert not first.shuffle
    assert (again.protocol, again.shuffle) == ("released", False)


def test_a_folder_without_settings_or_with_broken_ones_is_told(tmp_path: Path) -> None:
    flags = ["--resume", "--output-dir", str(tmp_path)]
    with pytest.raises(UserError, match=r"holds no settings\.json"):
        run_settings(Settings, {}, flags)
    (tmp_path / "settings.json").write_text("{half")
    with pytest.raises(UserError, match=r"settings\.json cannot be read"):
        run_settings(Settings, {}, flags)
