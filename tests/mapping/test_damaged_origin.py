"""What Test_* say of a dataset.json that cannot be read: before any map is made, not after."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_processing.scenes.spec import DYNAMIC
from mapping.scoring import score_series
from Test_Dynamic import Settings
from tests.helpers.cities import write_weights
from utils.errors import DataError


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\x00\xff", b"[" * 100_000, b'{"generator": ' + b"9" * 500 + b"}", b"NaN"],
)
def test_a_damaged_dataset_json_is_said_before_the_maps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    folder = tmp_path / "Images_Dynamic"
    (folder / "test").mkdir(parents=True)
    (folder / "dataset.json").write_bytes(content)
    weights = write_weights(tmp_path / "w.pth")
    settings = Settings(data_root=tmp_path, checkpoint=weights, output_dir=tmp_path / "out")
    with pytest.raises(DataError):  # there is no scene
        score_series(DYNAMIC, settings)
    said = capsys.readouterr().out
    assert f"warning: {folder / 'dataset.json'}: " in said
    assert "metrics.json will not say how the data were made" in said
    assert not (tmp_path / "out").exists()
