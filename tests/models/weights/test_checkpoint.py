"""Weights files: what is written comes back, and what is no weights file is refused in words."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from data_processing.scenes.spec import DYNAMIC, SPACENET7
from models import CTMA, CAIMNet
from models.weights.checkpoint import (
    FORMAT,
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from models.weights.choosing import load_for_scoring, network_to_train
from models.weights.reading import read_state_file
from tests.helpers.oracle import random_released_state
from utils.errors import CheckpointError, UserError

ARGUMENTS = {"in_channels": 4, "num_dates": 6, "width": 8}


def checkpoint(**arguments: Any) -> Checkpoint:
    torch.manual_seed(0)
    arguments = ARGUMENTS | arguments
    network = CAIMNet(**arguments)
    data = DYNAMIC.facts(patch_size=8)
    return Checkpoint("caim_net", arguments, network.state_dict(), data=data)


def images(B: int = 2) -> torch.Tensor:
    return torch.rand(B, 6, 4, 8, 8, generator=torch.Generator().manual_seed(1))


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def edited(path: Path, **changes: Any) -> Path:
    """A file of ours with some of its entries replaced."""
    save_checkpoint(path, checkpoint())
    return saved(path, {**torch.load(path, weights_only=True), **changes})


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, patch_size=8).build()
    assert caught.value.exit_code == 2
    return str(caught.value)


# ------------------------------------------------------------------ there and back


@pytest.mark.parametrize("windows", [None, (2, 8, 8)])
def test_a_saved_network_gives_the_same_outputs_when_loaded(
    tmp_path: Path, windows: tuple[int, int, int] | None
) -> None:
    cam = {"cam": "per_window", "cam_windows": windows} if windows else {}
    before = checkpoint(attention="batch", **cam)
    save_checkpoint(tmp_path / "a.pth", before)
    after = load_checkpoint(tmp_path / "a.pth")
    assert (after.network, after.origin, after.data) == ("caim_net", "ours", before.data)
    maps = [each.build().predict(images()) for each in (before, after)]  # type: ignore[operator]
    assert torch.equal(maps[0].moment_prob, maps[1].moment_prob)


def test_training_facts_and_resume_state_come_back(tmp_path: Path) -> None:
    network = CAIMNet(**ARGUMENTS)
    optimizer = torch.optim.Adam(network.parameters())
    network(images()).moment_prob.square().sum().backward()
    optimizer.step()
    kept = Checkpoint(
        "caim_net",
        ARGUMENTS,
        network.state_dict(),
        training={"epoch": 3, "scores": {"f1": 0.25}, "settings": {"lr": None}},
        resume={"optimizer": optimizer.state_dict()},
    )
    save_checkpoint(tmp_path / "last.pth", kept)
    back = load_checkpoint(tmp_path / "last.pth")
    assert back.training == kept.training
    state = back.resume["optimizer"]["state"]
    assert torch.equal(state[0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    assert "epoch 3" in back.summary()


def test_half_storage_halves_the_file_and_comes_back_in_float32(tmp_path: Path) -> None:
    before = checkpoint(width=16)
    save_checkpoint(tmp_path / "whole.pth", before)
    save_checkpoint(tmp_path / "half.pth", before, half=True)
    sizes = [(tmp_path / name).stat().st_size for name in ("half.pth", "whole.pth")]
    assert sizes[0] < 0.65 * sizes[1]
    after = load_checkpoint(tmp_path / "half.pth")
    for name, value in before.state_dict.items():
        assert after.state_dict[name].dtype == torch.float32
        torch.testing.assert_close(after.state_dict[name], value, rtol=1e-3, atol=1e-6)
    maps = [each.build().predict(images()) for each in (before, after)]  # type: ignore[operator]
    torch.testing.assert_close(maps[0].moment_prob, maps[1].moment_prob, rtol=0, atol=2e-3)


def test_a_failing_write_leaves_the_old_file_and_no_part_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "best.pth"
    save_checkpoint(path, checkpoint())
    before = path.read_bytes()

    def break_off(_content: Any, partial: Path) -> None:
        Path(partial).write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", break_off)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, checkpoint(width=16))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["best.pth"]


# ------------------------------------------------------------------ no weights file


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"\xef\xbb\xbf\n  <html lang='zh'>", "web page"),
        (b"epoch,loss\n1,0.5\n", "found text"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "unknown bytes"),
        (b"PK\x03\x04" + bytes(200), "damaged or cut short"),
    ],
)
def test_a_file_that_is_no_torch_file_is_refused(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "CAIMNet_Dynamic.pth"
    path.write_bytes(content)
    text = refusal(path)
    assert part in text
    assert str(path) in text


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, zipped: bool, share: float) -> None:
    path = tmp_path / "a.pth"
    torch.save(checkpoint().state_dict, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "damaged or cut short" in refusal(path)


@pytest.mark.parametrize(
    "start", [b"\x80\x02a", b"\x80\x02K", b"\x80\x02.", b"\x80\x02M\x01", b"\x80\x02\x85\x86."]
)
def test_a_pickle_that_is_nonsense_is_refused(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(start)
    assert str(path) in refusal(path)


class Intruder:
    """Makes a folder as soon as it is unpickled, where any other command could stand."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, (str(self.marker),))


@pytest.mark.parametrize("way", ["torch", "old torch", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path: Path, way: str) -> None:
    path, marker = tmp_path / "a.pth", tmp_path / "intruded"
    content = {"state_dict": {}, "extra": Intruder(marker)}
    if way == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=way == "torch")
    text = refusal(path)
    assert not marker.exists()
    if way == "torch":
        assert "could run code" in text
    pickle.loads(pickle.dumps(Intruder(marker)))  # it would have worked
    assert marker.exists()


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", CAIMNet(**ARGUMENTS))
    assert "could run code" in refusal(path)


def test_a_missing_file_is_told_with_where_to_get_one(tmp_path: Path) -> None:
    text = refusal(tmp_path / "none.pth")
    assert "no such file" in text
    assert "best_model/README.md" in text
    assert "found a folder" in refusal(tmp_path)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state = dict(checkpoint().state_dict)
    state["be_conv.weight"] = torch.full_like(state["be_conv.weight"], float("nan"))
    with pytest.raises(CheckpointError, match=r"NaN or infinite values \(be_conv\.weight"):
        load_checkpoint(edited(tmp_path / "a.pth", state_dict=state)).build()


@pytest.mark.parametrize("content", [[1, 2], 3, torch.zeros(2)])
def test_a_torch_file_without_a_dictionary_is_refused(tmp_path: Path, content: Any) -> None:
    assert "expected a dictionary" in refusal(saved(tmp_path / "a.pth", content))


@pytest.mark.parametrize(
    "content",
    [
        {"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(1000)},
        {"model": {"conv1.weight": torch.zeros(64, 3, 7, 7)}},
        {"state_dict": 5},
        {},
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, content: Any) -> None:
    path = saved(tmp_path / "resnet.pth", content)
    assert "belongs to another network" in refusal(path)


# ------------------------------------------------------------------ files of ours at fault


def test_a_later_format_is_refused_by_name(tmp_path: Path) -> None:
    text = refusal(edited(tmp_path / "a.pth", format="caim-net checkpoint 9"))
    assert "caim-net checkpoint 9" in text
    assert FORMAT in text


def test_edited_arguments_are_told_with_every_tensor_that_does_not_fit(tmp_path: Path) -> None:
    text = refusal(edited(tmp_path / "a.pth", arguments=ARGUMENTS | {"num_dates": 9}))
    assert "be_conv.weight: found (40, 1, 3, 3), expected (64, 1, 3, 3)" in text
    assert "Likely cause" in text


def test_missing_and_surplus_tensors_are_told(tmp_path: Path) -> None:
    state = dict(checkpoint().state_dict)
    state["extra"] = state.pop("be_conv.weight")
    text = refusal(edited(tmp_path / "a.pth", state_dict=state))
    assert "be_conv.weight: missing, expected (40, 1, 3, 3)" in text
    assert "extra: found (40, 1, 3, 3), expected none" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "unet"},
        {"network": ["caim_net"]},
        {"arguments": {"depth": 3}},
        {"arguments": {"width": "wide"}},
        {"arguments": {"width": None}},
        {"arguments": 3},
        {"state_dict": 3},
        {"state_dict": {"be_conv.weight": 3}},
        {"data": 3},
        {"training": "none"},
    ],
)
def test_any_edited_entry_is_refused_in_words(tmp_path: Path, changes: dict[str, Any]) -> None:
    text = refusal(edited(tmp_path / "a.pth", **changes))
    assert "expected" in text or "cannot be built" in text


def test_an_entry_that_is_missing_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {"format": FORMAT, "network": "caim_net"})
    assert "arguments is missing; state_dict is missing" in refusal(path)


def test_a_file_with_keys_that_are_no_text_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth", {1: torch.zeros(2)})
    assert list(read_state_file(path)) == [1]


# ------------------------------------------------------------------ for the Test programs


def chosen(path: Path, data: dict[str, Any] | None = None, **changes: Any) -> Checkpoint:
    """What a Test program scores with, by default as Test_Dynamic.py asks for it."""
    usual = {"patch_size": None, "batch_size": 2, "pixel_scale": "checkpoint", "protocol": "full",
             "share_cam": False}  # fmt: skip
    return load_for_scoring(path, data or facts(), **(usual | changes))


def facts() -> dict[str, Any]:
    return DYNAMIC.facts(DYNAMIC.patch_size)


def ours_file(folder: Path, **arguments: Any) -> Path:
    save_checkpoint(folder / "ours.pth", checkpoint(**arguments))
    return folder / "ours.pth"


def released_file(folder: Path, num_dates: int = 6) -> Path:
    return saved(folder / "released.pth", random_released_state(num_dates, 8, (2, 8, 8)))


def test_patch_size_and_pixel_scale_come_from_the_file(tmp_path: Path) -> None:
    path = ours_file(tmp_path)
    data = chosen(path).data
    assert (data["patch_size"], data["pixel_scale"]) == (8, "auto")
    data = chosen(path, patch_size=16, pixel_scale="stored").data
    assert (data["patch_size"], data["pixel_scale"]) == (16, "stored")


def test_released_weights_of_six_dates_use_pixels_as_stored_and_of_nine_scaled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    six_facts = DYNAMIC.facts(DYNAMIC.patch_size, DYNAMIC.pixel_scale)
    six = chosen(released_file(tmp_path), six_facts, patch_size=8)
    assert six.data["pixel_scale"] == "stored"
    assert "as stored" in capsys.readouterr().out
    nine_facts = SPACENET7.facts(SPACENET7.patch_size, SPACENET7.pixel_scale)
    nine = chosen(released_file(tmp_path, 9), nine_facts, patch_size=8)
    assert nine.data["pixel_scale"] == "auto"


def test_the_released_protocol_takes_the_patches_of_the_index_with_weights_of_any_size(
    tmp_path: Path,
) -> None:
    path = ours_file(tmp_path)  # trained on patches of 8
    assert chosen(path).data["patch_size"] == 8
    assert chosen(path, protocol="released").data["patch_size"] == DYNAMIC.patch_size
    assert chosen(path, protocol="released", patch_size=16).data["patch_size"] == 16


def test_weights_of_the_other_data_set_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="6 dates of 4 bands, expected 9 of 4 for SpaceNet7"):
        chosen(ours_file(tmp_path), SPACENET7.facts(64))


def test_weights_of_other_bands_are_refused(tmp_path: Path) -> None:
    bands = ["red", "green", "blue", "nir"]
    with pytest.raises(CheckpointError, match="order of bands"):
        chosen(ours_file(tmp_path), facts() | {"bands": bands})


@pytest.mark.parametrize("changes", [{"batch_size": 3}, {"patch_size": 16}])
def test_per_window_weights_refuse_larger_batches_and_other_patches(
    tmp_path: Path, changes: dict[str, int]
) -> None:
    path = ours_file(tmp_path, cam="per_window", cam_windows=(2, 8, 8))
    chosen(path, batch_size=1)
    with pytest.raises(UserError) as caught:
        chosen(path, **changes)
    assert "batches of 2 patches of 8×8" in str(caught.value)
    assert "--share-cam" in str(caught.value)


def test_shared_cam_weights_lift_the_bounds_and_say_what_is_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = chosen(released_file(tmp_path), patch_size=8, batch_size=50, share_cam=True)
    assert "fine_moment2.1: shared; the spread over windows dropped: std" in capsys.readouterr().out
    assert loaded.arguments["cam"] == "shared"
    assert loaded.build().predict(images(3)).area_prob.shape == (3, 2, 8, 8)  # type: ignore[operator]


def test_sharing_weights_that_are_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--share-cam"):
        chosen(ours_file(tmp_path), share_cam=True)


# ------------------------------------------------------------------ for the Train programs


SIZES = {"batch_size": 2, "patch_size": 8}


def test_training_starts_from_new_weights_or_from_those_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = {**ARGUMENTS, "attention": "spatial", "cam": "shared"}
    network, arguments = network_to_train(wanted, None, **SIZES)
    assert arguments == wanted
    path = ours_file(tmp_path, attention="batch")
    network, arguments = network_to_train(wanted, path, **SIZES)
    assert arguments["attention"] == "batch"
    assert "attention" in capsys.readouterr().out
    for name, value in checkpoint().state_dict.items():
        assert torch.equal(network.state_dict()[name], value)


def test_training_from_per_window_weights_refuses_a_larger_batch(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batches of 2 patches of 8×8; found --batch-size 3"):
        network_to_train(ARGUMENTS, released_file(tmp_path), batch_size=3, patch_size=8)


def test_training_starts_from_released_weights_too(tmp_path: Path) -> None:
    network, arguments = network_to_train(dict(ARGUMENTS), released_file(tmp_path), **SIZES)
    assert arguments["cam_windows"] == (2, 8, 8)
    assert network.predict(images()).area_prob.isfinite().all()  # type: ignore[operator]


def test_training_goes_on_from_weights_of_pairs_that_leave_the_bands_to_their_default(
    tmp_path: Path,
) -> None:
    narrow = {"pair_widths": (8, 16, 32), "video_widths": (8, 16),
              "decoder_widths": (32, 16, 8, 8), "resnet_width": 8}  # fmt: skip
    path = tmp_path / "pairs.pth"
    save_checkpoint(path, Checkpoint("ctma", narrow, CTMA(in_channels=3, **narrow).state_dict()))
    asked = {"in_channels": 3, "video_len": 8}
    _, arguments = network_to_train(asked, path, batch_size=2, patch_size=None, network="ctma")
    assert arguments == {"in_channels": 3, **narrow}
    with pytest.raises(CheckpointError, match="in_channels=3"):
        network_to_train({"in_channels": 4}, path, batch_size=2, patch_size=None, network="ctma")
