"""The loss against hand-made tables and a literal float64 version (training/losses.py)."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor

from models import CAIMNetOutput, CTMAOutput
from tests.helpers import oracle
from training.losses import FINE_WEIGHT, balanced_focal_loss, caim_loss, ctma_loss
from utils.codes import IGNORE


def table(rows: list[list[float]]) -> Tensor:
    """Probabilities (1, K, 1, W) of W pixels, one row per pixel."""
    return torch.tensor(rows, dtype=torch.float64).T[None, :, None]


def labels(values: list[int]) -> Tensor:
    return torch.tensor(values)[None, None]


def random_prob(K: int, seed: int = 0, size: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, K, size, size + 1, generator=generator).double().softmax(1)


def random_label(K: int, ignored: float = 0.2, size: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(K)
    label = torch.randint(K, (2, size, size + 1), generator=generator)
    return torch.where(torch.rand(label.shape, generator=generator) < ignored, -1, label)


def focal(p: float) -> float:
    return -log(p + 1e-10) * (1 - p) ** 2


HALF = [[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("label", "factors", "expected"),
    [
        # three unchanged (weight 1 − 3/4), one changed (1 − 1/4), divided by 4 pixels · 2 classes
        (
            [0, 0, 1, 0],
            None,
            (0.25 * (focal(0.9) + focal(0.6) + focal(0.5)) + 0.75 * focal(0.7)) / 8,
        ),
        # ignored pixels count neither in the shares nor in the mean
        ([0, -1, 1, -1], None, (0.5 * focal(0.9) + 0.5 * focal(0.7)) / 4),
        # a factor multiplies its class
        ([0, -1, 1, -1], (5.5, 1.0), (5.5 * 0.5 * focal(0.9) + 0.5 * focal(0.7)) / 4),
        # one class alone has share 1, so weight 0
        ([0, 0, 0, 0], None, 0.0),
        ([1, 1, -1, 1], None, 0.0),
        ([-1, -1, -1, -1], None, 0.0),
    ],
)
def test_the_loss_of_a_few_pixels_is_what_one_computes_by_hand(
    label: list[int], factors: Any, expected: float
) -> None:
    loss = balanced_focal_loss(table(HALF), labels(label), factors)
    assert loss.item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_an_absent_class_changes_only_the_denominator() -> None:
    two = balanced_focal_loss(table(HALF), labels([0, 0, 1, 0]))
    with_third = table([[*row, 0.0] for row in HALF])
    three = balanced_focal_loss(with_third, labels([0, 0, 1, 0]))
    assert three.item() == pytest.approx(two.item() * 2 / 3)


@pytest.mark.parametrize("K", range(2, 10))
def test_the_loss_agrees_with_a_literal_version_for_any_number_of_classes(K: int) -> None:
    prob, label = random_prob(K), random_label(K)
    factors = [1 + 0.5 * k for k in range(K)]
    expected = oracle.focal_loss(prob.numpy(), label.numpy(), factors)
    assert balanced_focal_loss(prob, label, factors).item() == pytest.approx(expected, rel=1e-12)
    plain = oracle.focal_loss(prob.numpy(), label.numpy(), [1.0] * K)
    assert balanced_focal_loss(prob, label).item() == pytest.approx(plain, rel=1e-12)
    single = balanced_focal_loss(prob.float(), label)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("label", [0, 2, -1])
@pytest.mark.parametrize("certain", [0, 2])
def test_loss_and_gradient_stay_finite_for_uniform_labels_and_certain_predictions(
    label: int, certain: int
) -> None:
    prob = torch.zeros(1, 3, 4, 4)
    prob[:, certain] = 1
    prob.requires_grad_()
    loss = balanced_focal_loss(prob, torch.full((1, 4, 4), label))
    loss.backward()
    assert loss.item() == 0
    assert prob.grad is not None
    assert prob.grad.isfinite().all()


def test_all_ignored_gives_exactly_zero_gradient() -> None:
    prob = random_prob(4).requires_grad_()
    balanced_focal_loss(prob, torch.full((2, 6, 7), -1)).backward()
    assert prob.grad is not None
    assert prob.grad.eq(0).all()


def test_ignored_pixels_get_no_gradient_and_their_number_does_not_matter() -> None:
    prob, label = random_prob(3).requires_grad_(), random_label(3)
    loss = balanced_focal_loss(prob, label)
    loss.backward()
    assert prob.grad is not None
    assert prob.grad.transpose(0, 1)[:, label < 0].eq(0).all()
    more = torch.cat((prob.detach(), random_prob(3, seed=5)))
    padded = torch.cat((label, torch.full_like(label, -1)))
    assert balanced_focal_loss(more, padded).item() == pytest.approx(loss.item(), rel=1e-12)


def test_a_wrong_certain_prediction_has_a_finite_gradient() -> None:
    prob = torch.tensor([[1.0, 0.0], [0.5, 0.5]]).T[None, :, None].requires_grad_()
    loss = balanced_focal_loss(prob, labels([1, 0]))
    loss.backward()
    assert loss.item() == pytest.approx((0.5 * -log(1e-10) + 0.5 * focal(0.5)) / 4, rel=1e-5)
    assert prob.grad is not None
    assert prob.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 6, 7), (2, 42), (2, 1, 6, 7)])
def test_labels_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"found labels .* expected"):
        balanced_focal_loss(random_prob(3), torch.zeros(shape, dtype=torch.int64))


def test_a_wrong_number_of_factors_is_refused() -> None:
    with pytest.raises(ValueError, match="found 2 class factors, expected 3"):
        balanced_focal_loss(random_prob(3), random_label(3), (5.5, 1.0))


# ------------------------------------------------------------------ the six terms together


def random_output(T: int) -> CAIMNetOutput:
    fine = torch.stack([random_prob(T, seed) for seed in range(4)], dim=1)
    return CAIMNetOutput(random_prob(2, 8), random_prob(T, 9), fine)


def test_the_total_is_moment_plus_area_plus_a_quarter_of_each_fine_moment() -> None:
    output, moment, area = random_output(6), random_label(6), random_label(2)
    area_factors, moment_factors = (5.5, 1.0), (5.5, *[1.0] * 5)
    terms = caim_loss(output, area, moment, area_factors, moment_factors)
    literal = [
        oracle.focal_loss(output.area_prob.numpy(), area.numpy(), area_factors),
        oracle.focal_loss(output.moment_prob.numpy(), moment.numpy(), moment_factors),
        *(
            oracle.focal_loss(output.fine_moment_prob[:, m].numpy(), moment.numpy(), moment_factors)
            for m in range(4)
        ),
    ]
    found = [terms.area.item(), terms.moment.item(), terms.fine.item()]
    assert found == pytest.approx([*literal[:2], sum(literal[2:])], rel=1e-12)
    total = literal[0] + literal[1] + 0.25 * sum(literal[2:])
    assert FINE_WEIGHT == 0.25
    assert terms.total.item() == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("value", [0, -1])
def test_a_batch_without_change_or_without_labels_has_a_finite_loss(value: int) -> None:
    output = CAIMNetOutput(*(field.detach().requires_grad_() for field in random_output(9)))
    label = torch.full((2, 6, 7), value)
    terms = caim_loss(output, label, label)
    terms.total.backward()
    assert [term.item() for term in terms] == [0.0] * 4
    assert all(f.grad is not None and bool(f.grad.isfinite().all()) for f in output)


def test_labels_are_only_read() -> None:
    label = random_label(6)
    before = label.clone()
    caim_loss(random_output(6), (label > 0).long(), label)
    assert torch.equal(label, before)


# ------------------------------------------------------------------ CTMA


def pair_output(B: int = 2, side: int = 4) -> tuple[CTMAOutput, Tensor]:
    generator = torch.Generator().manual_seed(5)
    area, aux = (torch.randn(B, side, side, generator=generator) for _ in range(2))
    label = torch.randint(0, 2, (B, side, side), generator=generator)
    return CTMAOutput(area, aux), label


def test_ctmas_loss_is_the_areas_cross_entropy_plus_four_tenths_of_the_coarse_ones() -> None:
    output, label = pair_output()
    terms = ctma_loss(output, label)
    plain = torch.nn.functional.binary_cross_entropy_with_logits
    area, aux = plain(output.area_logits, label.float()), plain(output.aux_logits, label.float())
    torch.testing.assert_close(torch.stack(list(terms)), torch.stack((area + 0.4 * aux, area, aux)))


def test_ctmas_loss_leaves_ignored_pixels_out_and_adds_up_over_parts() -> None:
    output, label = pair_output()
    label[0, :2] = IGNORE
    whole = ctma_loss(output, label)
    parts = [
        ctma_loss(CTMAOutput(*(logits[i : i + 1] for logits in output)), label[i : i + 1],
                  (label >= 0).sum())
        for i in range(2)
    ]  # fmt: skip
    torch.testing.assert_close(whole.total, parts[0].total + parts[1].total)
    seen = ctma_loss(CTMAOutput(output.area_logits[1:], output.aux_logits[1:]), label[1:])
    label[0] = IGNORE
    torch.testing.assert_close(ctma_loss(output, label).total, seen.total)


def test_ctmas_loss_is_zero_with_zero_gradients_where_nothing_is_labelled() -> None:
    output, label = pair_output()
    for logits in output:
        logits.requires_grad_()
    loss = ctma_loss(output, torch.full_like(label, IGNORE)).total
    loss.backward()
    assert loss.item() == 0
    assert not any(logits.grad.any() for logits in output)


def test_a_change_factor_weighs_changed_pixels_only() -> None:
    output, _ = pair_output()
    ones, zeros = torch.ones(2, 4, 4, dtype=torch.long), torch.zeros(2, 4, 4, dtype=torch.long)
    torch.testing.assert_close(
        ctma_loss(output, ones, change_factor=3.0).total, 3 * ctma_loss(output, ones).total
    )
    assert ctma_loss(output, zeros, change_factor=3.0).total == ctma_loss(output, zeros).total
