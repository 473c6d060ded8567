"""Predict.py with flags that nobody means: always a sentence, and nothing under a final name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mapping.products.files import PRODUCTS
from tests.helpers.cities import Outcome, write_city

pytestmark = pytest.mark.slow

PATHS = (
    "x" * 5000, "y" * 300, "a/" * 2000, "\udcff", "file/x", "\0", "~", "", " ", "-", "/dev/null",
    "a\nb", "[", "*" * 50, "\u2028", "=1+1", "http://127.0.0.1/x",
)  # fmt: skip
NUMBERS = (
    "inf", "-inf", "nan", "9" * 400, "1e400", "-1", "0x10", "1_0", "٣", "", "1e-400", "2.5",
    "99999999999999999999", "--1", "1 2", "\0",
)  # fmt: skip
PATH_FLAGS = ("--images", "--checkpoint", "--clouds", "--export-onnx", "--output-dir")
NUMBER_FLAGS = (
    "--batch-size", "--tile-size", "--overlap", "--min-valid-dates", "--bands", "--dates",
    "--choose-dates", "--min-area",
)  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_absurd_flags_end_in_a_sentence(
    seed: int, weights: Path, predict: Callable[..., Outcome], tmp_path: Path
) -> None:
    write_city(tmp_path / "city", (20, 20))
    (tmp_path / "file").write_text("mine")
    rng = np.random.default_rng(seed)
    for _ in range(30):
        flags = {"--images": "city", "--checkpoint": str(weights), "--output-dir": "out"}
        flags["--memory"] = "0.1"  # too little, so that what is taken is refused before it is done
        if rng.random() < 0.5:
            flags[str(rng.choice(PATH_FLAGS))] = PATHS[rng.integers(len(PATHS))]
        else:
            flags[str(rng.choice(NUMBER_FLAGS))] = NUMBERS[rng.integers(len(NUMBERS))]
        code, _, said = predict(
            *(f"{flag}={value}" for flag, value in flags.items()), "--overwrite"
        )
        assert code in (2, 3), (flags, said)
        assert "Traceback" not in said
        assert len(said) < 10_000
    assert not [path for path in tmp_path.rglob("*") if path.name in PRODUCTS]
    assert (tmp_path / "file").read_text() == "mine"
