"""Weights files of strangers: wrapped in many ways, hostile, or something else."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models import CAIMNet
from models.weights import reading
from models.weights.checkpoint import FORMAT, Checkpoint, load_checkpoint, save_checkpoint
from models.weights.reading import WRAPPERS, is_plain, read_state_file
from tests.helpers.oracle import random_released_state
from utils.errors import CheckpointError
from utils.settings import REPOSITORY

ARGUMENTS = {"in_channels": 4, "num_dates": 6, "width": 8}
MEASURED = {"agreement": 0.999, "pixels": 100, "measured_on": "scenes"}


def network(**arguments: Any) -> CAIMNet:
    torch.manual_seed(0)
    return CAIMNet(**ARGUMENTS, **arguments).eval()


def ours(path: Path, **changes: Any) -> dict[str, Any]:
    """Content of a file of ours, some of its entries replaced."""
    save_checkpoint(path, Checkpoint("caim_net", ARGUMENTS, network().state_dict()))
    return {**torch.load(path, weights_only=True), **changes}


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, patch_size=8).build()
    assert caught.value.exit_code == 2
    return str(caught.value)


def same(found: Checkpoint, state: dict[str, Tensor]) -> bool:
    built = found.build().state_dict()
    return built.keys() == state.keys() and all(torch.equal(built[k], state[k]) for k in state)


# ------------------------------------------------------------------ wrapped in many ways


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_weights_under_any_usual_name_are_loaded_and_said(
    wrapper: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = network().state_dict()
    path = saved(tmp_path / "a.pth", {"epoch": 3, "score": torch.tensor(0.5), wrapper: state})
    assert same(load_checkpoint(path), state)
    said = capsys.readouterr().out
    assert f"under '{wrapper}'" in said
    assert "which do not say how the network is built" in said
    assert "attention spatial" in said


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod."])
@pytest.mark.parametrize("form", ["ours", "released", "bare"])
def test_what_wrappers_put_before_names_is_taken_off_and_said(
    prefix: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = network().state_dict()
    if form == "released":
        plain = random_released_state(6, 8, (2, 8, 8))
    state: Any = {prefix + key: value for key, value in plain.items()}
    path = tmp_path / "a.pth"
    saved(path, ours(path, state_dict=state) if form == "ours" else state)
    loaded = load_checkpoint(path, patch_size=8)
    assert f"'{prefix}' taken off" in capsys.readouterr().out
    saved(path, ours(path, state_dict=plain) if form == "ours" else plain)
    assert same(loaded, dict(load_checkpoint(path, patch_size=8).build().state_dict()))


def test_wrappers_in_wrappers_and_a_compiled_part_are_seen_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = network().state_dict()
    compiled = {key.replace("encoder.", "encoder._orig_mod."): v for key, v in state.items()}
    path = saved(tmp_path / "a.pth", {"ema": {"decay": 0.9, "module": compiled}, "step": 4})
    assert same(load_checkpoint(path), state)
    assert "under 'ema' → 'module', '_orig_mod.' taken off" in capsys.readouterr().out


def test_of_weights_and_their_running_average_the_plain_ones_are_taken_and_both_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = network().state_dict()
    average = {key: 2 * value for key, value in state.items()}
    path = saved(tmp_path / "a.pth", {"state_dict_ema": average, "state_dict": state})
    assert same(load_checkpoint(path), state)
    assert "under 'state_dict' (not 'state_dict_ema')" in capsys.readouterr().out


def test_a_file_of_ours_inside_another_dictionary_is_a_file_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    saved(path, {"net": ours(path, arguments=ARGUMENTS | {"attention": "batch"})})
    assert load_checkpoint(path).arguments["attention"] == "batch"


def test_parameters_alone_keep_their_cam_windows(tmp_path: Path) -> None:
    given = network(attention="batch", cam="per_window", cam_windows=(2, 8, 8))
    path = saved(tmp_path / "a.pth", given.state_dict())
    arguments = load_checkpoint(path, patch_size=8).arguments
    assert (arguments["cam_windows"], arguments["attention"]) == ((2, 8, 8), "batch")


def test_two_networks_in_one_dictionary_are_refused(tmp_path: Path) -> None:
    state = network().state_dict()
    both = {**state, **{f"module.{key}": value for key, value in state.items()}}
    assert "two parameters" in refusal(saved(tmp_path / "a.pth", both))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("zipped", [True, False])
def test_other_precisions_and_the_older_file_format_are_read(
    dtype: torch.dtype, zipped: bool, tmp_path: Path
) -> None:
    state = {key: value.to(dtype) for key, value in network().state_dict().items()}
    path = tmp_path / "a.pth"
    saved(path, ours(path, state_dict=state), _use_new_zipfile_serialization=zipped)
    assert same(load_checkpoint(path), {key: value.float() for key, value in state.items()})


# ------------------------------------------------------------------ something else


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0d71028b\nsize 19332096\n"
SAFETENSORS = (64).to_bytes(8, "little") + b'{"a":{"dtype":"F32"}}'.ljust(64) + bytes(4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (POINTER, r"pointer that Git LFS keeps .* git lfs pull"),
        (SAFETENSORS, "found a safetensors file"),
        (b'{"errno":31326,"error":"quota"}', "found text"),
        (b"PK\x03\x04" + bytes(200), "damaged or cut short"),
        (b"\x1f\x8b\x08" + bytes(100), "found unknown bytes"),
    ],
)
def test_what_is_no_weights_file_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


# ------------------------------------------------------------------ hostile


def test_a_compressed_archive_that_unpacks_to_more_than_it_is_is_not_opened(tmp_path: Path) -> None:
    plain = saved(tmp_path / "plain.pth", {"a": torch.zeros(1 << 20)})
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for entry in source.namelist():
            out.writestr(entry, source.read(entry))
    assert path.stat().st_size < 100_000
    assert "unpacks to 4," in refusal(path)


def test_a_file_larger_than_any_of_ours_is_not_opened(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"a": torch.zeros(2)})
    with path.open("ab") as stream:
        stream.truncate(reading.MOST_BYTES + 1)  # takes no room on the disk
    assert "2,147,483,649 bytes" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {"be_conv.weight": torch.zeros(1).expand(1 << 30)}},
        {"a": [torch.zeros(1).expand(1 << 29), {"b": torch.zeros(1).expand(1 << 29)}]},
    ],
)
def test_views_that_would_fill_the_memory_are_refused(content: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", content)
    assert path.stat().st_size < 10_000
    assert "tensors of 4,294,967,296 bytes together" in refusal(path)


def test_lists_of_lists_of_the_same_lists_are_refused(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep, deep]
    assert "made to fill the memory" in refusal(saved(tmp_path / "a.pth", {"a": deep}))


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(3, dtype=torch.complex64), "be_conv.weight: found complex numbers"),
        (torch.zeros(3).to_sparse(), "found a sparse"),
        (torch.zeros(3, device="meta"), "found a sparse, quantised or empty tensor"),
    ],
)
@pytest.mark.parametrize("form", ["ours", "bare"])
def test_tensors_that_are_no_plain_numbers_are_refused(
    tensor: Tensor, message: str, form: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    state = {**network().state_dict(), "be_conv.weight": tensor}
    saved(path, ours(path, state_dict=state) if form == "ours" else state)
    assert message in refusal(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": {**ARGUMENTS, "width": 10**30}}, "plain values of usual size"),
        ({"arguments": {**ARGUMENTS, "width": 10**9}}, "cannot be built"),
        ({"arguments": {**ARGUMENTS, "width": 10**6}}, "do not fit"),
        ({"arguments": {**ARGUMENTS, "width": -8}}, ""),
        ({"arguments": {**ARGUMENTS, "width": 8.5}}, ""),
        ({"arguments": {**ARGUMENTS, "num_dates": True}}, "num_dates is True"),
        ({"arguments": {**ARGUMENTS, "num_dates": 10**9}}, "num_dates is 1000000000"),
        ({"arguments": {**ARGUMENTS, "in_channels": "4"}}, "in_channels is '4'"),
        ({"arguments": {**ARGUMENTS, "dropout": float("nan")}}, "plain values of usual size"),
        ({"arguments": {**ARGUMENTS, "attention": "x" * 10**6}}, "plain values of usual size"),
        ({"arguments": {**ARGUMENTS, 3: 4}}, "plain values of usual size"),
        ({"data": {"bands": [[[[]]]]}}, "data/bands are no names"),
        ({"data": {"bands": "blue"}}, "data/bands are no names"),
        ({"data": {"pixel_scale": ["auto"]}}, "data/pixel_scale"),
        ({"data": {"patch_size": 1e308}}, "plain values of usual size"),
        ({"data": {"patch_size": 0}}, "data/patch_size is 0"),
        ({"data": {"patch_size": 64.0}}, "data/patch_size is 64.0"),
        ({"training": {"epoch": float("inf")}}, "plain values of usual size"),
        ({"training": {"settings": torch.zeros(3)}}, "plain values of usual size"),
        ({"decision": [1]}, "decision is a list, expected a dict"),
        ({"bfloat16": 0.999}, "bfloat16 is a float, expected a dict"),
        ({"bfloat16": {"pixels": 9, "measured_on": "x"}}, "bfloat16/agreement is None"),
        ({"bfloat16": {**MEASURED, "agreement": 1.5}}, "bfloat16/agreement is 1.5, expected"),
        ({"bfloat16": {**MEASURED, "agreement": True}}, "bfloat16/agreement is True"),
        ({"bfloat16": {**MEASURED, "agreement": float("nan")}}, "plain values of usual size"),
        ({"bfloat16": {**MEASURED, "pixels": 0}}, "bfloat16/pixels is 0"),
        ({"bfloat16": {**MEASURED, "measured_on": "x\x1b[2J"}}, "bfloat16/measured_on"),
        ({"state_dict": {"a": "b"}}, "expected tensors only"),
        ({"network": 7}, "network is a int"),
    ],
)
def test_absurd_facts_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    saved(path, ours(path, **changes))
    assert message in refusal(path)


@pytest.mark.parametrize(
    "key", [10**5000, (1, (2, 3)), None, "k" * 10**6], ids=["number", "tuple", "none", "long"]
)
def test_keys_that_are_no_names_are_passed_over_or_shown_in_part(key: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {key: torch.zeros(2), "b": {key: torch.zeros(2)}})
    message = refusal(path)
    assert "expected" in message
    assert len(message) < 2000


def test_facts_nested_without_end_are_refused(tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(40):
        deep = [deep]
    assert not is_plain(deep)
    path = tmp_path / "a.pth"
    assert "nested deeper" in refusal(saved(path, ours(path, training={"a": deep})))


@pytest.mark.parametrize("seed", range(6))
def test_files_with_random_damage_end_in_a_sentence(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path / "a.pth"
    whole = saved(path, ours(path), _use_new_zipfile_serialization=seed % 2 == 0).read_bytes()
    for _ in range(25):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(damaged), rng.integers(1, 20)):
            damaged[position] = rng.integers(256)
        path.write_bytes(bytes(damaged[: rng.integers(1, len(damaged) + 1)]))
        with contextlib.suppress(CheckpointError):  # any other error fails the test
            load_checkpoint(path).build()


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    for name, content in (("a.pth", {"format": FORMAT, "x": Evil()}), ("b.pth", Evil())):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(content, protocol=2))
        assert "more than tensors" in refusal(path) or "damaged" in refusal(path)
        assert "more than tensors" in refusal(saved(path, content))
    assert not (tmp_path / "ran").exists()


def test_reading_keeps_the_content_as_it_is(tmp_path: Path) -> None:
    content = {"a": torch.arange(3), "b": {"c": [1, 2.5, "x", None, True]}}
    found = read_state_file(saved(tmp_path / "a.pth", content))
    assert found["b"] == content["b"]
    assert torch.equal(found["a"], content["a"])


# ------------------------------------------------------------------ nothing is sent


QUIET = """
import os, socket, sys, time
import utils
def refuse(*_, **__):
    raise AssertionError("a socket")
socket.socket.connect = socket.create_connection = refuse
from models.weights.onnx_network import onnx_package
import accelerate
runtime = onnx_package("onnxruntime")
from onnx import TensorProto, helper
values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", values[:1], values[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
import numpy as np
session = runtime.InferenceSession(model.SerializeToString())
session.run(None, {"x": np.zeros(1, np.float32)})
time.sleep(1)
if os.path.isdir("/proc/self/fd"):
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    held = [os.readlink(link) for link in links if os.path.islink(link)]
    assert not [one for one in held if "socket" in one or "telemetry" in one], held
"""


@pytest.mark.slow
def test_no_library_opens_a_socket_or_leaves_a_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    places = {name: str(home) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "TMPDIR")}
    asked = {"ORT_DISABLE_TELEMETRY": "0", "DO_NOT_TRACK": "0"}  # is overruled
    environment = {**os.environ, **places, **asked, "XDG_CACHE_HOME": str(home / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", QUIET], cwd=REPOSITORY, env=environment, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    left = [path for path in home.rglob("*") if path.is_file()]
    assert not left
