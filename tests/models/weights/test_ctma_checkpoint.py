"""Weights files of CTMA: ours, the authors' in every wrapping, ImageNet's, and what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import CTMA, build_network, load_backbone
from models.resnet34 import ResNet34
from models.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tests.models.test_ctma import SMALL, pairs, small
from utils.errors import CheckpointError


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    return str(caught.value)


@pytest.mark.parametrize("half", [False, True])
def test_what_is_saved_comes_back_with_its_arguments(tmp_path: Path, half: bool) -> None:
    network = small(fusion_weights=(0.7, 0.3), video_len=4)
    network.encoder_v.stem[1].num_batches_tracked.fill_(70_000)  # type: ignore[operator, union-attr]
    arguments = SMALL | {"fusion_weights": (0.7, 0.3), "video_len": 4}
    save_checkpoint(tmp_path / "w.pth", Checkpoint("ctma", arguments, network.state_dict()), half)

    loaded = load_checkpoint(tmp_path / "w.pth").build()

    tolerance = 0.1 if half else 0
    torch.testing.assert_close(
        loaded(pairs()).area_logits, network(pairs()).area_logits, rtol=tolerance, atol=tolerance
    )
    assert loaded.get_buffer("encoder_v.stem.1.num_batches_tracked") == 70_000


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_authors_files_are_recognised_by_their_keys(
    tmp_path: Path, wrapped: bool, prefix: str
) -> None:
    network = small()
    state = {prefix + key: value for key, value in network.state_dict().items()}
    content = {"epoch": 3, "state_dict": state, "optimizer": {}} if wrapped else state

    loaded = load_checkpoint(saved(tmp_path / "any.name", content))

    assert (loaded.network, loaded.origin) == ("ctma", "released")
    assert loaded.arguments == {"in_channels": 3, **SMALL}
    assert torch.equal(loaded.build()(pairs()).area_logits, network(pairs()).area_logits)


@pytest.mark.parametrize("score", [np.float64(0.5), np.float32(0.5)])
def test_a_score_stored_as_a_numpy_number_is_read_too(tmp_path: Path, score: Any) -> None:
    content = {"state_dict": small().state_dict(), "max_acc": (score, 3)}
    assert load_checkpoint(saved(tmp_path / "w.pth", content)).network == "ctma"


def test_a_pickle_that_holds_objects_is_refused_with_the_remedy(tmp_path: Path) -> None:
    content = {"state_dict": small().state_dict(), "args": argparse.Namespace(lr=1)}
    message = refusal(saved(tmp_path / "w.pth", content))
    assert "not opened" in message
    assert "rewrite it there with torch.save(model.state_dict(), ...)" in message


def test_surplus_tensors_are_dropped_and_named(tmp_path: Path) -> None:
    state = {**small().state_dict(), "extra.weight": torch.zeros(1)}
    assert load_checkpoint(saved(tmp_path / "w.pth", state)).dropped == ["extra.weight"]


def test_missing_and_misshapen_tensors_are_listed(tmp_path: Path) -> None:
    state = small().state_dict()
    del state["decoder2.conv_bottom.seq.1.weight"]
    state["conv_out_v.seq.0.weight"] = torch.zeros(1, 5, 1, 1)

    message = refusal(saved(tmp_path / "w.pth", state))

    assert "2 tensors do not fit" in message
    assert "decoder2.conv_bottom.seq.1.weight: missing, expected (8, 8, 3, 3)" in message
    assert "conv_out_v.seq.0.weight: found (1, 5, 1, 1), expected (1, 24, 1, 1)" in message


def test_a_related_network_of_the_same_program_is_refused(tmp_path: Path) -> None:
    state = {k: v for k, v in small().state_dict().items() if not k.startswith("encoder_p2")}
    assert "missing" in refusal(saved(tmp_path / "w.pth", state))


def test_the_file_of_full_size_has_the_arguments_of_the_paper() -> None:
    from models.weights.released_ctma import from_released_ctma

    with torch.device("meta"):
        arguments = from_released_ctma(CTMA().state_dict()).arguments

    with torch.device("meta"):
        assert sum(p.numel() for p in build_network("ctma", arguments).parameters()) == 30_475_203


def test_imagenet_weights_go_into_the_backbone_without_their_classifier() -> None:
    donor, network = ResNet34(3, width=4), small()
    state = {k: v for k, v in donor.state_dict().items() if "num_batches" not in k}  # old files
    state |= {"fc.weight": torch.zeros(1000, 32), "fc.bias": torch.zeros(1000)}

    load_backbone(network, state)

    image = torch.rand(1, 3, 32, 32)
    own = network.encoder_p1.backbone.resnet
    assert torch.equal(own(image), donor.eval()(image))


def test_other_imagenet_files_are_refused_with_all_faults() -> None:
    state = ResNet34(3, width=8).state_dict()
    with pytest.raises(ValueError, match="do not fit ResNet-34") as caught:
        load_backbone(small(), state)
    assert "conv1.weight: found (8, 3, 7, 7), expected (4, 3, 7, 7)" in str(caught.value)
