"""What an interrupted program says (utils/interruption.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from utils.errors import Terminated
from utils.interruption import resumable, resume_command


def test_the_command_names_the_folder_and_asks_to_resume() -> None:
    given = ["Predict.py", "--images", "my city", "--overwrite"]
    assert resume_command(Path("runs/x"), given) == (
        "python Predict.py --images 'my city' --output-dir runs/x --resume"
    )


@pytest.mark.parametrize(
    "flag", [["--output-dir", "here"], ["--output-dir=here"], ["--output_dir=h"]]
)
def test_a_folder_that_was_given_is_not_given_again(flag: list[str]) -> None:
    command = resume_command(Path("runs/x"), ["Predict.py", *flag, "--resume"])
    assert command == " ".join(["python", "Predict.py", *flag, "--resume"])


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Terminated])
def test_a_stopped_program_says_how_to_go_on_and_ends_all_the_same(
    stop: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(stop), resumable(Path("runs/x")):
        raise stop
    assert "--resume" in capsys.readouterr().out


def test_other_errors_are_not_explained_as_interruptions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="bug"), resumable(Path("runs/x")):
        raise ValueError("bug")
    assert capsys.readouterr().out == ""
