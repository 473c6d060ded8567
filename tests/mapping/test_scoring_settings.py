"""Every setting of the Test programs reaches the work that it is for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import Test_CTMA
import Test_Dynamic
from data_processing.pairs.spec import pair_spec_by_name
from data_processing.scenes.spec import DYNAMIC
from mapping import scoring
from models import CTMA, CAIMNet
from models.weights import precision
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tests.helpers.pair_files import write_pairs
from tests.helpers.scene_files import write_data_root
from utils.files import read_json

# Other settings than the defaults, and what shows that they reached the work. Paths, devices, the
# decision, and what is read from weights have tests of their own.
SERIES: dict[str, Any] = {
    "split": "val", "overlap": 4, "pixel_scale": "auto", "ignore_invalid": False, "batch_size": 5,
    "precision": "bfloat16", "compile": True,
}  # fmt: skip
PAIRS: dict[str, Any] = {
    "split": "val", "window_size": 16, "stride": 8, "label_rule": "above_127", "bands": (3, 2, 1),
    "fusion_weights": (0.9, 0.1), "mask_threshold": 0.3, "video_len": 4, "batch_size": 5,
    "precision": "bfloat16", "compile": True, "save_on": False,
}  # fmt: skip
MEASURED = {"agreement": 0.999, "pixels": 4096, "measured_on": "validation scenes"}
NARROW = {"pair_widths": (8, 16, 32), "video_widths": (8, 16), "decoder_widths": (32, 16, 8, 8),
          "resnet_width": 8}  # fmt: skip


class BegunError(Exception):
    """Scoring would begin now."""


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a Test program would score, filled as it begins."""
    given: dict[str, Any] = {}

    def ready(network: Any, device: Any, precision: str, compiled: bool) -> Any:
        given.update(network=network, network_precision=precision, compile=compiled)
        return network

    def begin(network: Any, batches: Any, scenes: Any, on_scene: Any, **options: Any) -> None:
        given.update(options, patches=batches.dataset, batch_size=batches.batch_size)
        given.update(scenes=scenes, writes=on_scene is not None)
        raise BegunError

    monkeypatch.setattr(scoring, "ready_to_run", ready)
    monkeypatch.setattr(scoring, "score_scenes", begin)
    return given


def weights(path: Path, name: str, network: Any, arguments: dict[str, Any]) -> Path:
    save_checkpoint(path, Checkpoint(name, arguments, network(**arguments).state_dict()))
    return path


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Test_Dynamic.Settings:
    folder = tmp_path_factory.mktemp("series")
    root = write_data_root(folder, "dynamic", 1, 64, patch_size=16, stride=32)
    arguments = {"in_channels": 4, "num_dates": 6, "width": 8}
    return Test_Dynamic.Settings(
        data_root=root, checkpoint=weights(folder / "a.pth", "caim_net", CAIMNet, arguments),
        patch_size=16, stride=64, output_dir=folder / "out", overwrite=True, device="cpu",
    )  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Test_CTMA.Settings:
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(folder, ["val", "test"], count=1, size=(32, 32))
    path = weights(folder / "a.pth", "ctma", CTMA, {"in_channels": 3, **NARROW})
    return Test_CTMA.Settings(
        data_root=folder, checkpoint=path, output_dir=folder / "out", overwrite=True, device="cpu"
    )  # fmt: skip


def seen_of_series(work: dict[str, Any]) -> dict[str, Any]:
    patches, protocol = work["patches"], work["protocol"]
    assert protocol.blank_unseen == patches.ignore_invalid
    assert work["precision"] == work["network_precision"]
    side = len({row for _, row, _ in patches.origins})
    assert protocol.overlap == 16 - 48 // (side - 1)  # tiles of 16 over 64 pixels
    return {
        "split": work["scenes"][0].split, "overlap": protocol.overlap,
        "pixel_scale": patches.pixel_scale, "ignore_invalid": patches.ignore_invalid,
        "batch_size": work["batch_size"], "precision": work["precision"],
        "compile": work["compile"],
    }  # fmt: skip


def seen_of_pairs(work: dict[str, Any]) -> dict[str, Any]:
    network, patches, (pair,) = work["network"], work["patches"], work["scenes"]
    assert work["precision"] == work["network_precision"]
    side = patches.size[0] if patches.size else 0  # 0: whole pairs
    return {
        "split": pair.first.parents[1].name, "window_size": side,
        "stride": side - work["protocol"].overlap, "label_rule": pair.label_rule,
        "bands": tuple(band + 1 for band in pair.bands), "fusion_weights": network.fusion_weights,
        "mask_threshold": network.mask_threshold, "video_len": network.video_len,
        "batch_size": work["batch_size"], "precision": work["precision"],
        "compile": work["compile"], "save_on": work["writes"],
    }  # fmt: skip


def test_settings_of_series_reach_the_work(series: Any, work: dict[str, Any]) -> None:
    with pytest.raises(BegunError):
        scoring.score_series(DYNAMIC, series)
    usual = seen_of_series(work)
    with pytest.raises(BegunError):
        scoring.score_series(DYNAMIC, replace(series, **SERIES))
    assert seen_of_series(work) == SERIES
    assert [name for name, value in SERIES.items() if usual[name] == value] == []


def test_the_released_protocol_reads_the_index_of_its_stride(
    series: Any, work: dict[str, Any]
) -> None:
    with pytest.raises(BegunError):
        scoring.score_series(DYNAMIC, replace(series, protocol="released", stride=32))
    protocol = work["protocol"]
    assert (protocol.counted_once, protocol.blank_unseen, len(work["patches"])) == (False, False, 4)


@pytest.mark.parametrize(
    ("kind", "protocol", "taken"),
    [("series", "full", "bfloat16"), ("series", "released", "float32"), ("pairs", "", "bfloat16")],
)
def test_auto_takes_bfloat16_where_maps_agree_and_the_records_say_what_was_taken(
    kind: str, protocol: str, taken: str, series: Any, pairs: Any, work: dict[str, Any],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(precision, "bfloat16_fault", lambda device: "")
    settings = series if kind == "series" else pairs
    weights = replace(load_checkpoint(settings.checkpoint), bfloat16=MEASURED)
    save_checkpoint(tmp_path / "a.pth", weights)
    settings = replace(settings, checkpoint=tmp_path / "a.pth", output_dir=tmp_path / "out")
    spec: Any = DYNAMIC if kind == "series" else pair_spec_by_name("folder")
    if protocol:
        settings = replace(settings, protocol=protocol, stride=32)
    with pytest.raises(BegunError):
        getattr(scoring, f"score_{kind}")(spec, settings)
    assert work["precision"] == work["network_precision"] == taken
    assert read_json(tmp_path / "out" / "settings.json")["precision"] == taken


def test_settings_of_pairs_reach_the_work(pairs: Any, work: dict[str, Any]) -> None:
    spec = pair_spec_by_name("folder")
    with pytest.raises(BegunError):
        scoring.score_pairs(spec, pairs)
    usual = seen_of_pairs(work)
    with pytest.raises(BegunError):
        scoring.score_pairs(spec, replace(pairs, **PAIRS))
    assert seen_of_pairs(work) == PAIRS
    assert len(work["patches"]) == 9  # windows of 16 over 32 pixels by steps of 8
    assert [name for name, value in PAIRS.items() if usual[name] == value] == []
