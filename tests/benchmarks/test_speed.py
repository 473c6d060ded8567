"""The speed benchmarks run, write what they say, and count arithmetic right (benchmarks/)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import growth, predict_series, throughput
from benchmarks.throughput import attention_flop_per_patch, flop_per_patch
from tests.helpers.plain_network import PlainCAIMNet
from utils.errors import UserError
from utils.files import read_json

TINY = ("--width", "8", "--patch-size", "8", "--device", "cpu")
ROW_KEYS = {
    "what", "num_dates", "attention", "dtype", "tf32", "compile", "batch_size", "patch_size",
    "width", "gflop_per_patch", "seconds_per_patch", "patches_per_second",
    "plain_seconds_per_patch",
    "speedup_over_plain", "matrix_product_gflops", "share_of_matrix_product",
}  # fmt: skip
SPREAD_KEYS = {"median", "min", "max", "repeats"}


# ------------------------------------------------------------------ arithmetic


@pytest.mark.parametrize(
    ("num_dates", "gflop", "attention_gflop"), [(6, 13.46, 21.47), (9, 30.96, 34.36)]
)
def test_arithmetic_of_the_paper_sizes_is_as_counted_by_hand(
    num_dates: int, gflop: float, attention_gflop: float
) -> None:
    assert flop_per_patch(num_dates, 64, 64, 4) / 1e9 == pytest.approx(gflop, abs=0.005)
    products = attention_flop_per_patch(num_dates, 64, 64)
    assert products / 1e9 == pytest.approx(attention_gflop, abs=0.005)


def test_arithmetic_of_a_small_network_is_the_sum_of_its_layers() -> None:
    # two dates, width 4, one band; multiply-adds of one pixel
    encoder = 9 * 1 * 16 + 9 * 16 * 4 + 1 * 16 + 16 * 4 + 9 * 4 * 4  # 944 per date
    be_conv = 9 * 4
    correlation = 4 * 12 + 4 * 4 + 4 * 16 + 16 * 4  # in, out, and both of the feed-forward part
    temporal = 4 * 8 + 2 * 8 + 3 * 2 * 2
    heads = 2 * 2 + 9 * 2 * 2 + 9 * 2 * 2
    cams = 4 * 2
    per_pixel = 2 * encoder + be_conv + correlation + temporal + heads + cams
    assert flop_per_patch(2, 4, 8, 1) == 2 * 64 * per_pixel
    assert attention_flop_per_patch(2, 4, 8) == 2 * 64 * 64 * 4 * 2


@pytest.mark.parametrize(("num_dates", "width", "in_channels"), [(2, 8, 3), (6, 8, 4), (9, 16, 4)])
def test_arithmetic_is_what_pytorch_counts(num_dates: int, width: int, in_channels: int) -> None:
    B, P = 3, 8
    network = PlainCAIMNet(in_channels, num_dates, width, attention="batch").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.rand(B, num_dates, in_channels, P, P))
    attention_over_batch = 4 * B * (num_dates - 1) * width * P * P
    expected = flop_per_patch(num_dates, width, P, in_channels) + attention_over_batch
    assert counter.get_total_flops() == B * expected


# ------------------------------------------------------------------ speed


@pytest.fixture(scope="module")
def speed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result file of a tiny run."""
    folder = tmp_path_factory.mktemp("speed")
    chosen = ("--num-dates", "2", "--batch-sizes", "2", "--rounds", "3", "--dtypes", "float32")
    throughput.main([*TINY, *chosen, "--output-dir", str(folder)])
    return read_json(folder / "throughput.json")


def test_speed_is_written_for_each_kind_of_work_and_attention(speed: Any) -> None:
    rows = speed["rows"]
    assert [(row["what"], row["attention"]) for row in rows] == [
        (what, attention)
        for what in ("forward", "training step")
        for attention in ("batch", "spatial")
    ]
    for row in rows:
        assert row.keys() >= ROW_KEYS
        assert (row["num_dates"], row["batch_size"], row["patch_size"]) == (2, 2, 8)
        assert (row["dtype"], row["tf32"], row["compile"]) == ("float32", False, False)
        assert ("share_with_attention_products" in row) == (row["attention"] == "spatial")
        for key in ("seconds_per_patch", "plain_seconds_per_patch", "matrix_product_gflops"):
            assert row[key].keys() == SPREAD_KEYS
            assert 0 < row[key]["min"] <= row[key]["median"] <= row[key]["max"]
            assert row[key]["repeats"] == 3
    (run,) = speed["runs"]
    assert {"processor", "device", "packages", "warm_up_rounds"} <= run.keys()


def test_ratios_follow_from_the_times(speed: Any) -> None:
    for row in speed["rows"]:
        seconds = row["seconds_per_patch"]["median"]
        speedup = row["plain_seconds_per_patch"]["median"] / seconds
        share = row["gflop_per_patch"] / seconds / row["matrix_product_gflops"]["median"]
        assert row["patches_per_second"]["median"] == pytest.approx(1 / seconds, rel=1e-3)
        assert row["speedup_over_plain"] == pytest.approx(speedup, rel=1e-3)
        assert row["share_of_matrix_product"] == pytest.approx(share, rel=1e-2)
        low, high = row["speedup_over_plain_by_round"]
        assert low <= high


def test_a_training_step_counts_three_forward_passes(speed: Any) -> None:
    forward, step = (
        next(row["gflop_per_patch"] for row in speed["rows"] if row["what"] == what)
        for what in ("forward", "training step")
    )
    assert forward == pytest.approx(flop_per_patch(2, 8, 8, 4) / 1e9, abs=1e-6)
    assert step == pytest.approx(3 * forward, abs=3e-6)


def test_emulated_bfloat16_is_not_measured_unless_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "bfloat16_unit", lambda: None)
    chosen = ("--num-dates", "2", "--batch-sizes", "1", "--rounds", "1", "--what", "forward")
    throughput.main([*TINY, *chosen, "--attention", "batch", "--output-dir", str(tmp_path)])
    assert "bfloat16: not run, this processor emulates it" in capsys.readouterr().out
    rows = read_json(tmp_path / "throughput.json")["rows"]
    assert [row["dtype"] for row in rows] == ["float32"]


# ------------------------------------------------------------------ growth


SIZES = ("--num-dates", "2", "3", "--patch-sizes", "4", "8", "--scene-sizes", "16", "32")


def test_growth_is_written_with_its_figure(tmp_path: Path) -> None:
    growth.main(
        [*TINY, *SIZES, "--batch-size", "2", "--rounds", "1", "--output-dir", str(tmp_path)]
    )
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    rows = read_json(tmp_path / "growth.json")["rows"]
    expected = {
        (grows, value, attention)
        for grows, values in (
            ("num_dates", (2, 3)),
            ("patch_size", (4, 8)),
            ("scene_size", (16, 32)),
        )
        for value in values
        for attention in ("batch", "spatial")
    }
    assert {(row["grows"], row[row["grows"]], row["attention"]) for row in rows} == expected
    for row in rows:
        assert row["seconds"].keys() == SPREAD_KEYS
        assert (row["slope_from_previous"] is None) == (row[row["grows"]] in (2, 4, 16))


def test_scenes_that_no_whole_number_of_patches_covers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="multiples of the patch size"):
        growth.main([*TINY, "--scene-sizes", "20", "--output-dir", str(tmp_path)])


def test_of_several_runs_of_a_program_the_middle_one_is_quoted() -> None:
    runs = [{"program_seconds": seconds, "precision": "float32"} for seconds in (3.0, 1.0, 2.0)]
    middle = predict_series._middle(runs)
    assert middle["program_seconds"] == 2.0
    assert middle["program_seconds_of_all"] == [1.0, 2.0, 3.0]
