"""However a batch is divided, its loss and gradient are those of the whole (training/step.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.helpers.children import forked, in_two_ranks
from tests.helpers.easy_patches import TASK, EasyPatches, T, batches, easy_run, network
from tests.helpers.one_pass import one_pass
from training.losses import balanced_focal_loss, class_counts
from training.plan import TrainingPlan
from training.ranks import Ranks
from training.step import train_step
from training.tasks import CaimTask
from utils.batches import Share
from utils.memory import even_parts

PLAN = TrainingPlan(epochs=1, lr=0.1)
FACTORS = CaimTask(T, (5.5, 1.0), (5.5, 1.0, 2.0))


def uneven(number: int = 7) -> EasyPatches:
    """Patches with class shares of their own: some without change, some without labels."""
    patches = EasyPatches(number)
    patches.label[1:2] = -1
    patches.label[2:3, :6] = 2
    patches.label[3:4] = 0
    return patches


def gradient(ours: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in ours.parameters() if p.grad is not None])


def learnt(
    size: int,
    micro_batch: int | None = None,
    ranks: Ranks | None = None,
    recompute: bool = False,
    **arguments: Any,
) -> tuple[nn.Module, Tensor, dict[str, float], dict[str, float]]:
    """Network, gradient, losses and scores after one batch, without dropout, in float64."""
    ours = network(dropout=0.0, **arguments).double()
    ours.recompute = recompute
    shared = {"rank": ranks.rank, "ranks": ranks.size} if ranks else {}
    patches = uneven(size)
    patches.images = patches.images.double()
    served = batches(patches, size, **shared)
    sgd = torch.optim.SGD(ours.parameters())
    done = one_pass(ours, FACTORS, served, PLAN, 0, sgd, micro_batch, ranks)
    return ours, gradient(ours), done.losses, done.scores


def assert_equal(one: Any, other: Any) -> None:
    assert (one[1] - other[1]).norm() <= 1e-9 * other[1].norm()
    assert one[2] == pytest.approx(other[2], rel=1e-9)
    assert one[3] == other[3]
    for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 6])
def test_a_batch_in_parts_gives_the_loss_gradient_and_scores_of_the_whole(micro_batch: int) -> None:
    assert_equal(learnt(7, micro_batch), learnt(7))


def test_steps_in_parts_stay_with_those_of_whole_batches_to_1e_5() -> None:
    ends = []
    for micro_batch in (None, 3):
        ours = network(dropout=0.0)
        sgd = torch.optim.SGD(ours.parameters())  # Adam makes steps of gradients that are 0
        plan = TrainingPlan(epochs=1, lr=1e-2)
        for epoch in range(3):
            done = one_pass(ours, FACTORS, batches(uneven(8), 8), plan, epoch, sgd, micro_batch)
        ends.append((nn.utils.parameters_to_vector(ours.parameters()), done.losses))
    torch.testing.assert_close(ends[1][0], ends[0][0], rtol=0, atol=1e-5)
    assert ends[1][1] == pytest.approx(ends[0][1], rel=1e-5)


def test_parts_use_the_per_window_weights_of_their_place_in_the_batch() -> None:
    own = {"cam": "per_window", "cam_windows": (7, 8, 8)}
    whole, parts = learnt(7, **own), learnt(7, 2, **own)
    assert_equal(parts, whole)
    rows = whole[0].fine_moment1[0].weight.grad.view(7, -1)  # type: ignore[union-attr, operator]
    assert (rows.abs().sum(dim=1)[[0, 3, 6]] > 0).all()  # patch 1 has no label


def test_class_shares_of_each_part_alone_would_give_another_loss() -> None:
    """The test above can fail: this is what counting per part does."""
    patches = uneven(4)  # one part with little change, one with much
    prob = torch.rand(4, T, 8, 8, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    counts = class_counts(patches.label, T)
    halves = [(prob[part], patches.label[part]) for part in (slice(0, 2), slice(2, 4))]
    whole = balanced_focal_loss(prob, patches.label)
    known = sum(balanced_focal_loss(*half, counts=counts) for half in halves)
    alone = sum(balanced_focal_loss(*half) for half in halves) / 2
    torch.testing.assert_close(torch.as_tensor(known), whole)
    assert abs(float(alone) - float(whole)) > 1e-3


def test_a_part_without_labels_has_loss_and_gradients_of_zero() -> None:
    served = batches(EasyPatches(1), 1)
    (batch,) = served.epoch(0)
    matrices = TASK.matrices(torch.device("cpu"))
    run = easy_run(network(), PLAN, served)
    terms, norm = train_step(run, batch, Share(3, 3, 3), 0.1, matrices)
    assert TASK.counts(batch).tolist() == [0] * (2 + T)
    assert terms.tolist() == [0, 0, 0, 0]
    assert norm == 0
    assert matrices["area"].matrix().sum() == 0


@pytest.mark.parametrize(
    ("patches", "most", "sizes"),
    [(8, None, [8]), (8, 8, [8]), (9, 8, [4, 5]), (96, 64, [48, 48]), (7, 2, [2, 2, 1, 2])],
)
def test_parts_are_few_even_and_whole(patches: int, most: int | None, sizes: list[int]) -> None:
    parts = even_parts(patches, most)
    assert [part.stop - part.start for part in parts] == sizes
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert most is None or max(sizes) <= most


# ------------------------------------------------------------------ two processes (gloo)


def on_both(check: Callable[[Ranks], None]) -> None:
    def rank(_: int) -> None:
        ranks = Ranks()
        check(ranks)
        ranks.leave()

    assert in_two_ranks(rank) == [0, 0]


@forked
@pytest.mark.parametrize(
    ("size", "micro_batch", "recompute"),
    [(7, None, False), (7, 2, False), (1, None, False), (7, None, True)],
)
def test_two_processes_give_the_loss_gradient_and_scores_of_one(
    size: int, micro_batch: int | None, recompute: bool
) -> None:
    alone = learnt(size)
    on_both(lambda ranks: assert_equal(learnt(size, micro_batch, ranks, recompute), alone))
