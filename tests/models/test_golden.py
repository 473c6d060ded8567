"""The network, its loss and the scores against numbers of the authors' released program."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from models import CAIMNet, CAIMNetOutput
from models.weights.released_caim import RELEASED_KEYS, from_released
from tests.helpers.oracle import golden_numbers
from training.losses import LossTerms, caim_loss
from utils.metrics import ConfusionMatrix, area_scores, moment_scores

FIXTURES = ["dynamic", "spacenet7"]
PATCH_SIZE = 16
UNCHANGED_FACTOR = {"dynamic": 1.0, "spacenet7": 5.5}
CLIP_NORM = {"dynamic": None, "spacenet7": 4.0}
KEY_BIAS = "correlation.in_proj.bias"

# released stage → our module, and how its output is laid out there
STAGES = {
    "Encoder": ("encoder", "(b t) d h w -> (t b) d h w"),
    "BEConv": ("be_conv", "b e h w -> b e h w"),
    "Spatial_Attention": ("correlation", "b n e -> b n e"),
    "Temporal_Attention": ("temporal", "(b h w) s d -> b s d h w"),
    "Coarse_Change_Moment1": ("coarse_moment1", "b t h w -> (b h w) t"),
    "Coarse_Change_Moment2": ("coarse_moment2", "b t h w -> (b h w) t"),
    "Fine_Change_Moment1_2": ("fine_moment1.0", "b t h w -> (b h w) t"),
    "Fine_Change_Moment1_3": ("fine_moment1.1", "b t h w -> (b h w) t"),
    "Fine_Change_Moment2_2": ("fine_moment2.0", "b t h w -> (b h w) t"),
    "Fine_Change_Moment2_3": ("fine_moment2.1", "b t h w -> (b h w) t"),
}


@cache
def golden(name: str) -> dict[str, Any]:
    return golden_numbers(name)


def released_network(name: str) -> CAIMNet:
    """The fixture's network, in eval mode because the released numbers were taken so."""
    state = {
        key.removeprefix("state/"): torch.from_numpy(value)
        for key, value in golden(name).items()
        if key.startswith("state/")
    }
    released = from_released(state, patch_size=PATCH_SIZE)
    network = CAIMNet(**released.arguments)
    network.load_state_dict(released.state_dict)
    return network.eval()


def images(name: str) -> Tensor:
    return rearrange(torch.from_numpy(golden(name)["io/x"]), "t b c h w -> b t c h w")


def loss(name: str, output: CAIMNetOutput) -> LossTerms:
    labels = (torch.from_numpy(golden(name)[f"io/{kind}_label"]) for kind in ("area", "moment"))
    T, factor = output.moment_prob.shape[1], UNCHANGED_FACTOR[name]
    return caim_loss(output, *labels, (factor, 1.0), (factor, *[1.0] * (T - 1)))


def rows(maps: Tensor) -> Tensor:
    return rearrange(maps, "b k h w -> (b h w) k")


@cache
def stage_outputs(name: str) -> dict[str, Tensor]:
    network, found = released_network(name), {}

    def keep(stage: str, pattern: str, output: Tensor) -> None:
        sizes = {"b": len(images(name)), "h": PATCH_SIZE}
        used = {axis: size for axis, size in sizes.items() if axis in pattern.split("->")[0]}
        found[stage] = rearrange(output, pattern, **used)

    for stage, (path, pattern) in STAGES.items():
        network.get_submodule(path).register_forward_hook(
            lambda _module, _input, output, stage=stage, pattern=pattern: keep(
                stage, pattern, output
            )
        )
    with torch.inference_mode():
        network(images(name))
    return found


@pytest.mark.parametrize("stage", list(STAGES))
@pytest.mark.parametrize("name", FIXTURES)
def test_every_stage_gives_the_released_numbers(name: str, stage: str) -> None:
    expected = torch.from_numpy(golden(name)[f"stage/{stage}"])
    torch.testing.assert_close(stage_outputs(name)[stage], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FIXTURES)
def test_the_ten_outputs_are_the_released_ones(name: str) -> None:
    network = released_network(name)
    with torch.inference_mode():
        output = network(images(name))
        auxiliary = network.auxiliary_areas(output)
    found = [output.area_prob, output.moment_prob]
    for m in range(4):
        found += [auxiliary[:, m], output.fine_moment_prob[:, m]]
    for number, maps in enumerate(found):
        expected = torch.from_numpy(golden(name)[f"out/out{number}"])
        torch.testing.assert_close(rows(maps), expected, rtol=0, atol=1e-5)
        assert torch.equal(rows(maps).argmax(1), expected.argmax(1))


@pytest.mark.parametrize("name", FIXTURES)
def test_the_losses_are_the_released_ones(name: str) -> None:
    numbers = golden(name)
    with torch.inference_mode():
        terms = loss(name, released_network(name)(images(name)))
    assert terms.total.item() == pytest.approx(numbers["io/loss_total"].item(), abs=1e-6)
    assert terms.area.item() == pytest.approx(numbers["io/loss_area"].item(), abs=1e-6)
    assert terms.moment.item() == pytest.approx(numbers["io/loss_moment"].item(), abs=1e-6)
    assert terms.fine.item() == pytest.approx(numbers["io/loss_aux"].sum().item(), abs=1e-6)


@pytest.mark.parametrize("name", FIXTURES)
def test_every_gradient_is_the_released_one(name: str) -> None:
    network = released_network(name)
    loss(name, network(images(name))).total.backward()
    for ours, parameter in network.named_parameters():
        assert parameter.grad is not None
        found = parameter.grad
        expected = torch.from_numpy(golden(name)[f"grad/{RELEASED_KEYS[ours]}"])
        if ours.startswith("fine_moment"):
            expected = expected[..., 0]  # the other columns have no effect
        if ours == KEY_BIAS:
            # softmax does not see a shift of all keys, so the key part is rounding noise
            (query, key, value), (_, key_expected, _) = found.chunk(3), expected.chunk(3)
            assert max(key.abs().max(), key_expected.abs().max()) < 1e-6
            found = torch.cat((query, value))
            expected = torch.cat((expected.chunk(3)[0], expected.chunk(3)[2]))
        assert (found - expected).norm() <= 1e-4 * expected.norm(), ours


@pytest.mark.parametrize("name", FIXTURES)
def test_five_training_steps_give_the_released_losses(name: str) -> None:
    network = released_network(name)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    found = []
    for _ in range(5):
        optimizer.zero_grad()
        terms = loss(name, network(images(name)))
        terms.total.backward()
        if CLIP_NORM[name] is not None:
            nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM[name])
        optimizer.step()
        found.append(terms.total.item())
    assert found == pytest.approx(golden(name)["io/train_losses"].tolist(), rel=1e-4)


def confusion(name: str, task: str, num_classes: int) -> np.ndarray[Any, Any]:
    numbers = golden(name)
    matrix = ConfusionMatrix(num_classes)
    label = torch.from_numpy(numbers[f"io/{task}_label"]).flatten()
    matrix.update(label, torch.from_numpy(numbers[f"metric/pred_{task}"]))
    return matrix.matrix()


@pytest.mark.parametrize("name", FIXTURES)
def test_the_confusion_matrices_are_the_released_ones(name: str) -> None:
    numbers = golden(name)
    T = len(numbers["metric/multi_matrix"])
    (tn, fp), (fn, tp) = confusion(name, "area", 2).tolist()
    assert [[tp, fp], [fn, tn]] == numbers["metric/bi_matrix"].tolist()
    np.testing.assert_array_equal(confusion(name, "moment", T), numbers["metric/multi_matrix"])


@pytest.mark.parametrize("name", FIXTURES)
def test_the_scores_are_the_released_ones(name: str) -> None:
    numbers = golden(name)
    T = len(numbers["metric/multi_matrix"])
    area = area_scores(confusion(name, "area", 2))
    moment = moment_scores(confusion(name, "moment", T))
    names = ("oa", "precision", "recall", "f1", "kappa", "iou", "miou", "fpr", "fnr")
    found = [area[key] for key in names]
    assert found == pytest.approx(numbers["metric/bi"].tolist(), rel=1e-12)
    macro = ("oa", "precision_macro_all", "recall_macro_all", "f1_macro_all", "kappa")
    found = [moment[key] for key in (*macro, "iou_macro_change", "miou", "fnr")]
    expected = np.delete(numbers["metric/multi"], 7)  # the released FPR is not matched
    assert found == pytest.approx(expected.tolist(), rel=1e-12)
