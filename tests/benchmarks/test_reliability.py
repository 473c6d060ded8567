"""The diagram of probabilities on several data."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from benchmarks.reliability import main
from models.weights.probability import LeadCounts
from tests.helpers.cities import CURVE, write_weights
from utils.errors import UserError
from utils.files import sha256, write_json


def test_it_draws_what_tests_counted_with_these_weights_and_refuses_others(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "small.pth", {"probability": CURVE})
    leads = LeadCounts()
    prob = np.array([[0.6, 0.4], [0.4, 0.6]])
    leads.add(prob, np.array([0, 1]), half=0)
    counts = {"checkpoint": {"sha256": sha256(weights)}, "halves": leads.as_json()}
    write_json(tmp_path / "val.json", counts)
    write_json(tmp_path / "other.json", {**counts, "checkpoint": {"sha256": "ab"}})
    picture = tmp_path / "drawn.png"
    flags = ["--checkpoint", str(weights), "--title", "Two pixels", "--picture", str(picture)]

    with pytest.raises(UserError, match="other weights"):
        main([*flags, "--counts", f"test={tmp_path / 'other.json'}"])
    assert not picture.exists()
    main([*flags, "--counts", f"val={tmp_path / 'val.json'}"])
    assert iio.imread(picture).std() > 0

    bare = write_weights(tmp_path / "bare.pth")
    with pytest.raises(UserError, match="no probability"):
        main([*flags[2:], "--checkpoint", str(bare), "--counts", f"val={tmp_path / 'val.json'}"])
