"""The programs of the data package, run as users run them, from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.scene_files import scene_folder, write_data_root, write_raster

REPOSITORY = Path(__file__).resolve().parents[2]
INDEX = {"Dynamic": "Dynamic_xys_64_64", "SpaceNet7": "SpaceNet7_xys_64_63"}


def run(program: str, *flags: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of data_processing and collect what it prints."""
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "data_processing" / program), *flags],
        cwd=cwd,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SpaceNet7"])  # Dynamic: one split alone, below
def test_the_three_steps_run_from_another_folder(tmp_path: Path, name: str) -> None:
    root = write_data_root(tmp_path / "die daten é", name, size=127, index=False)
    for program in (f"{name}_Fsplit.py", f"{name}_create_xys.py"):
        first = run(program, "--data-root", root.name, cwd=tmp_path)
        assert (first.returncode, first.stdout.count("wrote")) == (0, 3), first.stderr
        again = run(program, "--data-root", root.name, cwd=tmp_path)
        assert (again.returncode, again.stdout.count("replaced")) == (0, 3), again.stderr
    assert sorted(path.name for path in root.iterdir()) == sorted(
        [f"Images_{name}", f"{name}_Fsplit", INDEX[name]]
    )
    look = run(f"{name}_custom.py", "--data-root", root.name, cwd=tmp_path)
    assert look.returncode == 0, look.stderr
    for part in ("127×127", "uint8", "class balance", "index of test: 1 scenes", "2018-01-01"):
        assert part in look.stdout
    assert (root / f"{name}_patch.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_look_at_a_faulty_root_lists_all_faults_and_leaves_with_3(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", 1, size=64)
    for split in ("train", "val"):
        label = scene_folder(root, "dynamic", split) / "change" / "bi_change.tif"
        write_raster(label, np.full((64, 64), 9, np.uint8))
    (root / INDEX["Dynamic"] / "myxys_test.csv").write_text("X,Y,image_ID\n1,0,0\n")
    look = run("Dynamic_custom.py", "--data-root", str(root), cwd=tmp_path)
    assert look.returncode == 3
    for part in ("train/Scene01", "val/Scene01", "found values 9", "1 rows point outside"):
        assert part in look.stderr
    assert not (root / "Dynamic_patch.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [f"{name}_{step}.py" for name in INDEX for step in ("Fsplit", "create_xys", "custom")],
)
def test_a_missing_data_root_leaves_with_3_and_two_ways_out(tmp_path: Path, program: str) -> None:
    result = run(program, "--data-root", "nowhere", cwd=tmp_path)
    assert result.returncode == 3
    for part in ("nowhere", "{train,val,test}", "--data-root", "sample_data.py"):
        assert part in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_the_index_needs_the_lists_and_says_so(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "spacenet7", size=64, index=False)
    result = run("SpaceNet7_create_xys.py", "--data-root", str(root), cwd=tmp_path)
    assert result.returncode == 3
    assert f"python data_processing/SpaceNet7_Fsplit.py --data-root {root}" in result.stderr


@pytest.mark.slow
def test_abbreviated_and_unknown_flags_are_errors(tmp_path: Path) -> None:
    for flag in ("--data", "--nonsense"):
        assert run("Dynamic_Fsplit.py", flag, "x", cwd=tmp_path).returncode == 2
    assert run("Dynamic_create_xys.py", "--stride", "0", cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_one_split_alone_goes_through_all_steps(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", {"test": 1}, size=100, index=False)
    flags = ["--data-root", str(root), "--split", "test"]
    assert run("Dynamic_Fsplit.py", *flags, cwd=tmp_path).returncode == 0
    assert run("Dynamic_create_xys.py", *flags, "--stride", "36", cwd=tmp_path).returncode == 0
    picture = tmp_path / "elsewhere" / "p.png"
    look = run(
        "Dynamic_custom.py", *flags, "--stride", "36", "--picture", str(picture), cwd=tmp_path
    )
    assert look.returncode == 0, look.stderr
    assert "index of test: 1 scenes, 4 patches" in look.stdout
    assert picture.is_file()


@pytest.mark.slow
def test_a_picture_that_cannot_be_written_is_skipped(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", size=64)
    (tmp_path / "file").write_text("no folder")
    look = run(
        "Dynamic_custom.py",
        "--data-root",
        str(root),
        "--picture",
        str(tmp_path / "file" / "p.png"),
        cwd=tmp_path,
    )
    assert look.returncode == 0, look.stderr
    assert "no picture" in look.stdout


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["dynamic", "spacenet7"])
def test_the_layout_check_says_that_a_root_is_sound(tmp_path: Path, dataset: str) -> None:
    root = write_data_root(tmp_path, dataset, size=64, index=False)
    result = run("layout_check.py", "--data-root", str(root), "--dataset", dataset, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "3 scenes are sound (headers and pixels)" in result.stdout
