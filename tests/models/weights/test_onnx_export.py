"""Networks as ONNX files: same maps, self-describing, refused when damaged or not ours."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from models import CAIMNet, ChangeMaps
from models.weights import onnx_export
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from models.weights.onnx_export import TOLERANCE, Agreement, described, export_onnx
from models.weights.onnx_network import FORMAT, OnnxFacts, OnnxNetwork
from utils.errors import CaimError, CheckpointError, UserError
from utils.files import sha256
from utils.settings import REPOSITORY

SIZE = 16
VARIANTS: dict[str, dict[str, Any]] = {
    "two dates": {"num_dates": 2},

    "as released": {
        "num_dates": 2, "attention": "batch", "cam": "per_window", "cam_windows": (4, SIZE, SIZE),
    },
}  # fmt: skip
Exported = tuple[CAIMNet, Path, Agreement]


@cache
def network_like(variant: str) -> CAIMNet:
    torch.manual_seed(3)
    return CAIMNet(in_channels=3, width=8, **VARIANTS[variant]).eval()


def facts_of(network: CAIMNet, variant: str = "two dates") -> OnnxFacts:
    arguments = {"in_channels": 3, "width": 8, **VARIANTS[variant]}
    data = {"num_dates": network.num_dates, "bands": ["b", "g", "r"], "pixel_scale": "auto"}
    return OnnxFacts("caim_net", arguments, data, "ours", "ab" * 32)


def export(network: CAIMNet, path: Path, variant: str = "two dates", **other: Any) -> Agreement:
    options = {"num_dates": network.num_dates, "in_channels": 3, "tile_size": SIZE} | other
    return export_onnx(network, path, facts=facts_of(network, variant), **options)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Each variant is exported once, which takes seconds."""

    @cache
    def variant(name: str) -> Exported:
        path = tmp_path_factory.mktemp("onnx") / "network.onnx"
        return network_like(name), path, export(network_like(name), path, name)

    return variant


def batches(T: int, sizes: list[tuple[int, int, int]]) -> list[Tensor]:
    """Random images, images without change, with flat areas, and empty ones."""
    generator = torch.Generator().manual_seed(11)
    drawn = [torch.rand(B, T, 3, H, W, generator=generator) for B, H, W in sizes]
    still = [batch[:, :1].expand_as(batch) for batch in drawn]
    flat = [torch.where(torch.arange(batch.shape[4]) < 2, 0.3, batch) for batch in drawn]
    return drawn + still + flat + [torch.zeros_like(batch) for batch in drawn]


def assert_same_maps(found: ChangeMaps, expected: ChangeMaps, least: float = 0.999) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert other is not None
        assert one.shape == other.shape
        assert one.isfinite().all()
        assert (one - other).abs().max() <= TOLERANCE
    assert (found.moment_label() == expected.moment_label()).float().mean() >= least


def by_hand(gain: float = 1.0, T: int = 2) -> onnx.ModelProto:
    """A network of few operators: the softmax over dates of the mean of the bands times a gain."""
    shapes = {
        "images": ["B", T, 3, "H", "W"],
        "moment_prob": ["B", T, "H", "W"],
        "area_prob": ["B", 2, "H", "W"],
    }
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    constants = {"axes": np.array([2]), "gain": np.float32(gain), "start": np.array([0]),
                 "end": np.array([2]), "dates": np.array([1])}  # fmt: skip
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "gain"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["moment_prob"], axis=1),
        helper.make_node("Slice", ["scaled", "start", "end", "dates"], ["two"]),
        helper.make_node("Softmax", ["two"], ["area_prob"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "by_hand", [values["images"]], [values["moment_prob"], values["area_prob"]],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def file_by_hand(path: Path, variant: str = "two dates", **arguments: Any) -> Path:
    facts = facts_of(network_like(variant), variant)
    facts.arguments.update(arguments)
    path.write_bytes(described(by_hand(), facts))
    return path


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # an import of it fails then


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["two dates"])
def test_a_file_gives_the_maps_of_its_network_for_any_batch_and_size(
    variant: str, exported: Callable[[str], Exported]
) -> None:
    network, path, agreement = exported(variant)
    assert agreement.largest_difference <= TOLERANCE
    written = OnnxNetwork(path)
    for images in batches(network.num_dates, [(1, 16, 16), (3, 8, 24), (5, 4, 4)]):
        assert_same_maps(written.predict(images), network.predict(images))


@pytest.mark.slow
def test_a_file_of_a_network_as_released_gives_its_maps_for_batches_that_fit(
    exported: Callable[[str], Exported],
) -> None:
    network, path, _ = exported("as released")
    written = OnnxNetwork(path)
    for images in batches(2, [(1, 16, 16), (4, 16, 16)]):
        assert_same_maps(written.predict(images), network.predict(images))


@pytest.mark.slow
def test_an_exported_file_says_what_it_is_and_not_where_it_was_made(
    exported: Callable[[str], Exported],
) -> None:
    network, path, _ = exported("two dates")
    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert properties["format"] == FORMAT
    assert OnnxNetwork(path).facts == facts_of(network, "two dates")
    assert shapes == {
        "images": ["B", 2, 3, "4*h", "4*w"],
        "moment_prob": ["B", 2, "4*h", "4*w"],
        "area_prob": ["B", 2, "4*h", "4*w"],
    }
    assert list(path.parent.iterdir()) == [path]  # no second file with the weights
    assert str(REPOSITORY).encode() not in path.read_bytes()


@pytest.mark.slow
def test_exporting_is_quiet_repeatable_and_leaves_the_network_as_it_was(
    exported: Callable[[str], Exported],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    network, path, _ = exported("as released")
    again = tmp_path / "again.onnx"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        export(network, again, "as released")
    assert [str(warning.message) for warning in said] == []
    assert tuple(capfd.readouterr()) == ("", "")
    assert again.read_bytes() == path.read_bytes()
    assert network.block_pixels is not None
    assert "change_features" not in vars(network)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("gain", [1.0, float("nan")])
def test_a_file_that_disagrees_with_its_network_is_not_written(
    gain: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "_model", lambda *_: by_hand(gain))
    path = tmp_path / "network.onnx"
    path.write_bytes(b"an earlier file")
    with pytest.raises(CaimError, match=r"differs by (nan|\d).* expected at most 1e-04; no file"):
        export(network_like("two dates"), path)
    assert path.read_bytes() == b"an earlier file"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_exporter_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operator\nand a long graph")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(CaimError, match=r"opset 23 .RuntimeError: no such operator.,") as caught:
        export(network_like("two dates"), tmp_path / "network.onnx")
    assert "long graph" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(package, monkeypatch)
    with pytest.raises(UserError, match=f"package {package} .*pip install -r requirements-onnx"):
        export(network_like("two dates"), tmp_path / "network.onnx")


def test_predicting_needs_only_the_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_by_hand(tmp_path / "network.onnx")
    without("onnx", monkeypatch)
    without("onnxscript", monkeypatch)
    assert OnnxNetwork(path).num_dates == 2
    without("onnxruntime", monkeypatch)
    with pytest.raises(UserError, match=r"package onnxruntime .*pip install -r requirements-onnx"):
        OnnxNetwork(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile_size": 66}, "found tile size 66, expected a positive multiple of 4"),
        ({"num_dates": 3}, "found T=3 dates and C=3 bands"),
    ],
)
def test_sizes_that_the_network_does_not_take_are_refused_before_exporting(
    options: dict[str, int], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        export(network_like("two dates"), tmp_path / "network.onnx", **options)
    with pytest.raises(UserError, match="found a Linear to export, expected a CAIMNet"):
        export_onnx(
            torch.nn.Linear(1, 1), tmp_path / "a.onnx", num_dates=2, in_channels=3, tile_size=16,
            facts=facts_of(network_like("two dates")),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file, expected a network in an ONNX file"),
        (b"", "the file is empty, expected a network in an ONNX file"),
        (b"  <!DOCTYPE html><p>Sign in</p>", "found a web page"),
        (b"PK\x03\x04 weights", "found a torch file, expected an ONNX file; give it as --check"),
        (b"a note", "found no network that onnxruntime"),
        (by_hand().SerializeToString(), "found an ONNX file that does not say what it is"),
    ],
)
def test_what_is_no_network_of_ours_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "network.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        OnnxNetwork(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found a folder, expected a network in an ONNX file"):
        OnnxNetwork(tmp_path)
    with pytest.raises(UserError, match="found a folder, expected the name of an ONNX file"):
        export(network_like("two dates"), tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("format", "caim-net onnx 0", "found format 'caim-net onnx 0', expected 'caim-net onnx 1'"),
        ("arguments", "{", "its metadata cannot be used .JSONDecodeError"),
        ("arguments", "[1]", "arguments is no object"),
        ("arguments", '{"num_dates": 1e999}', "expected a finite number"),
        ("arguments", "[" * 5000, "nested"),
        ("arguments", '{"num_dates": -2, "in_channels": 3}', "num_dates is -2, expected 1"),
        ("arguments", '{"num_dates": 9, "in_channels": 3}', "metadata for 9 dates of 3 bands"),
        ("data", '{"bands": 7}', "data/bands are no names"),
        ("data", '{"pixel_scale": "loud"}', "data/pixel_scale is 'loud'"),
        ("decision", '["offset"]', "decision is no object"),
    ],
)
def test_edited_metadata_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = file_by_hand(tmp_path / "network.onnx")
    model = onnx.load(path)
    next(entry for entry in model.metadata_props if entry.key == name).value = text
    onnx.save(model, path)
    with pytest.raises(CheckpointError, match=message):
        OnnxNetwork(path)


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = file_by_hand(tmp_path / "network.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="found no network that onnxruntime"):
        OnnxNetwork(path)


def test_series_go_through_few_at_a_time_unless_the_network_mixes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = batches(2, [(5, 32, 32)])[0]
    sizes: dict[str, list[int]] = {"spatial": [], "batch": []}
    for attention, seen in sizes.items():
        written = OnnxNetwork(file_by_hand(tmp_path / f"{attention}.onnx", attention=attention))
        run = written._run

        def count(part: Tensor, run: Any = run, seen: list[int] = seen) -> Any:
            seen.append(len(part))
            return run(part)

        monkeypatch.setattr(written, "_run", count)
        assert_same_maps(written.predict(images), written.predict_at_once(images), least=1.0)
    assert sizes == {"spatial": [4, 1, 5], "batch": [5, 5]}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 16, 16), "add the batch axis"),
        ((1, 3, 3, 16, 16), "found T=3 dates and C=3 bands"),
        ((1, 2, 3, 16, 18), "expected whole multiples of 4"),
        ((1, 2, 3, 8, 16), "expected at most 4 of 16×16: per-window CAM weights"),
        ((5, 2, 3, 16, 16), "found a batch of 5 images of 16×16, expected at most 4"),
    ],
)
def test_images_that_the_network_does_not_take_are_refused(
    shape: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    written = OnnxNetwork(file_by_hand(tmp_path / "network.onnx", "as released"))
    with pytest.raises(ValueError, match=message):
        written.predict(torch.zeros(shape))


def test_a_device_that_onnxruntime_lacks_is_said_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    written = OnnxNetwork(file_by_hand(tmp_path / "network.onnx"), torch.device("cuda"))
    assert "cannot use cuda, the network runs on the CPU" in capsys.readouterr().out
    assert written.predict(torch.zeros(1, 2, 3, 4, 4)).moment_label().sum() == 0


def test_the_runtime_takes_as_many_threads_as_torch(tmp_path: Path) -> None:
    written = OnnxNetwork(file_by_hand(tmp_path / "network.onnx"))
    options = written._session.get_session_options()
    assert options.intra_op_num_threads == torch.get_num_threads()


def test_facts_of_a_checkpoint_name_its_file_by_its_digest(tmp_path: Path) -> None:
    path, network = tmp_path / "weights.pth", network_like("two dates")
    arguments = {"in_channels": 3, "num_dates": 2, "width": 8}
    data = {"bands": ["b", "g", "r"]}
    save_checkpoint(path, Checkpoint("caim_net", arguments, network.state_dict(), data=data))
    facts = OnnxFacts.of(load_checkpoint(path), path)
    assert facts == OnnxFacts("caim_net", arguments, data, "ours", sha256(path))
