"""Scores from confusion matrices against scikit-learn on raw pixels (utils/metrics.py)."""

from __future__ import annotations

import datetime
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from utils.metrics import (
    ConfusionMatrix,
    Matrix,
    area_scores,
    f1_per_class,
    moment_errors,
    moment_scores,
)

AREA_NAMES = {"oa", "precision", "recall", "f1", "kappa", "iou", "miou", "fpr", "fnr"}
MOMENT_NAMES = {
    "oa",
    "kappa",
    "precision_macro_all",
    "recall_macro_all",
    "f1_macro_all",
    "f1_macro_change",
    "iou_macro_change",
    "miou",
    "fpr",
    "fnr",
    "mae_steps",
}


def pixels(K: int, seed: int = 0, ignored: float = 0.1) -> tuple[Any, Any]:
    """Truth with −1 for ignored pixels, and a prediction that is often right."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, K, (3, 20, 21))
    prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, K, truth.shape))
    return np.where(rng.random(truth.shape) < ignored, -1, truth), prediction


def matrix_of(truth: Any, prediction: Any, K: int) -> Matrix:
    matrix = ConfusionMatrix(K)
    matrix.update(torch.from_numpy(truth), torch.from_numpy(prediction))
    return matrix.matrix()


# ------------------------------------------------------------------ the matrix


def test_rows_are_truth_columns_prediction_and_ignored_pixels_do_not_count() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([0, 0, 2, -1, 1]), torch.tensor([0, 1, 1, 2, 1]))
    assert matrix.matrix().tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert matrix.matrix().dtype == np.int64


@pytest.mark.parametrize("K", [2, 6, 9])
def test_batches_add_up_to_the_matrix_of_all_pixels(K: int) -> None:
    truth, prediction = pixels(K)
    matrix = ConfusionMatrix(K)
    for part in range(3):
        matrix.update(torch.from_numpy(truth[part]), torch.from_numpy(prediction[part]))
    known = truth >= 0
    expected = sklearn_metrics.confusion_matrix(truth[known], prediction[known], labels=range(K))
    np.testing.assert_array_equal(matrix.matrix(), expected)


def test_a_matrix_without_pixels_is_zero() -> None:
    matrix = ConfusionMatrix(4)
    matrix.update(torch.full((5,), -1), torch.zeros(5, dtype=torch.int64))
    assert matrix.matrix().tolist() == [[0] * 4] * 4


def test_a_matrix_without_any_pixel_is_zero() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.int64))
    assert matrix.matrix().tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("K", [2, 6, 9, 14, 15, 40])
def test_many_pixels_are_counted_in_blocks_of_any_length(
    K: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, prediction = pixels(K, seed=K)
    whole = matrix_of(truth, prediction, K)
    for block in (1, 7, 1260, 10_000):
        monkeypatch.setattr("utils.metrics.BLOCK_PIXELS", block)
        np.testing.assert_array_equal(matrix_of(truth, prediction, K), whole)
    expected = np.zeros((K, K), np.int64)
    np.add.at(expected, (truth[truth >= 0], prediction[truth >= 0]), 1)
    np.testing.assert_array_equal(whole, expected)


@pytest.mark.parametrize("label_type", [torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("type_", [torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64])
def test_integers_of_every_type_are_counted(label_type: torch.dtype, type_: torch.dtype) -> None:
    truth, prediction = (torch.from_numpy(values) for values in pixels(2))
    matrix = ConfusionMatrix(2)
    matrix.update(truth.to(label_type), prediction.to(type_))
    np.testing.assert_array_equal(matrix.matrix(), matrix_of(truth.numpy(), prediction.numpy(), 2))


def test_parts_of_larger_maps_are_counted_as_they_lie() -> None:
    truth, prediction = pixels(6)
    matrix = ConfusionMatrix(6)
    matrix.update(*(torch.from_numpy(values)[:, ::2, 3:].mT for values in (truth, prediction)))
    part = (slice(None), slice(None, None, 2), slice(3, None))
    expected = matrix_of(truth[part].copy(), prediction[part].copy(), 6)
    np.testing.assert_array_equal(matrix.matrix(), expected)


@pytest.mark.parametrize("strange", [3, 4, 255, 256, 259, 2**32, 2**62])
def test_a_label_above_all_classes_is_told_and_not_counted_as_another(strange: int) -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([0, strange, 2]), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"found 1 pixels whose label.*expected 0…2"):
        matrix.matrix()


@pytest.mark.parametrize("strange", [-(2**40), -257, -256, -1, 3, 255, 256, 2**32 + 1])
def test_a_prediction_that_is_no_class_is_told_where_the_pixel_counts(strange: int) -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor([-1, 1]), torch.tensor([strange, 2]))
    assert matrix.matrix().sum() == 1
    matrix.update(torch.tensor([0, 1]), torch.tensor([strange, strange]))
    with pytest.raises(ValueError, match="found 2 pixels"):
        matrix.matrix()


def test_labels_far_below_0_do_not_count_either() -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([-1, -2, -255, -256, -(2**50), 1]), torch.ones(6).long())
    assert matrix.matrix().tolist() == [[0, 0], [0, 1]]


def test_labels_and_predictions_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels of shape \(2, 3\).*of shape \(3, 2\)"):
        ConfusionMatrix(2).update(torch.zeros(2, 3).long(), torch.zeros(3, 2).long())


def test_the_matrix_is_a_copy_that_later_pixels_do_not_change() -> None:
    matrix = ConfusionMatrix(2)
    before = matrix.matrix()
    matrix.update(torch.tensor([1]), torch.tensor([1]))
    assert before.sum() == 0


def test_counting_on_other_devices_does_not_look_at_the_values() -> None:
    matrix = ConfusionMatrix(6, "meta")  # holds no values: looking at one raises
    label = torch.zeros(2, 64, 64, dtype=torch.int64, device="meta")
    matrix.update(label, label)
    with pytest.raises(NotImplementedError):
        matrix.matrix()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("K", [2, 6, 9, 40])
def test_a_gpu_counts_the_same(K: int) -> None:
    truth, prediction = pixels(K, seed=K)
    matrix = ConfusionMatrix(K, "cuda")
    matrix.update(torch.from_numpy(truth).to("cuda"), torch.from_numpy(prediction).to("cuda"))
    np.testing.assert_array_equal(matrix.matrix(), matrix_of(truth, prediction, K))


# ------------------------------------------------------------------ scores


@pytest.mark.parametrize("seed", range(3))
def test_area_scores_agree_with_scikit_learn_on_pixels(seed: int) -> None:
    truth, prediction = pixels(2, seed)
    scores = area_scores(matrix_of(truth, prediction, 2))
    y, p = truth[truth >= 0], prediction[truth >= 0]
    expected = {
        "oa": sklearn_metrics.accuracy_score(y, p),
        "precision": sklearn_metrics.precision_score(y, p),
        "recall": sklearn_metrics.recall_score(y, p),
        "f1": sklearn_metrics.f1_score(y, p),
        "kappa": sklearn_metrics.cohen_kappa_score(y, p),
        "iou": sklearn_metrics.jaccard_score(y, p),
        "miou": sklearn_metrics.jaccard_score(y, p, average="macro"),
        "fpr": (p[y == 0] == 1).mean(),
        "fnr": (p[y == 1] == 0).mean(),
    }
    assert set(scores) == AREA_NAMES
    assert scores == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("K", [2, 6, 9])
def test_moment_scores_agree_with_scikit_learn_on_pixels(K: int) -> None:
    truth, prediction = pixels(K, seed=K)
    scores = moment_scores(matrix_of(truth, prediction, K))
    y, p = truth[truth >= 0], prediction[truth >= 0]
    changed = range(1, K)
    both = (y > 0) & (p > 0)
    expected = {
        "oa": sklearn_metrics.accuracy_score(y, p),
        "kappa": sklearn_metrics.cohen_kappa_score(y, p),
        "precision_macro_all": sklearn_metrics.precision_score(y, p, average="macro"),
        "recall_macro_all": sklearn_metrics.recall_score(y, p, average="macro"),
        "f1_macro_all": sklearn_metrics.f1_score(y, p, average="macro"),
        "f1_macro_change": sklearn_metrics.f1_score(y, p, average="macro", labels=changed),
        "iou_macro_change": sklearn_metrics.jaccard_score(y, p, average="macro", labels=changed),
        "miou": sklearn_metrics.jaccard_score(y, p, average="macro"),
        "fpr": np.mean([(p[y != k] == k).mean() for k in range(K)]),
        "fnr": np.mean([(p[y == k] != k).mean() for k in range(K)]),
        "mae_steps": np.abs(y[both] - p[both]).mean(),
    }
    assert set(scores) == MOMENT_NAMES
    assert scores == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((3, 3), int),
        np.diag([7, 0, 0]),
        np.diag([0, 0, 7]),
        np.array([[0, 5, 0], [0, 0, 0], [0, 0, 0]]),
        np.array([[5, 0, 0], [5, 0, 0], [5, 0, 0]]),
        np.array([[3, 4, 0], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_undefined_scores_are_zero_and_nobody_is_warned(matrix: Matrix) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = moment_scores(matrix) | area_scores(matrix[:2, :2])
    assert all(np.isfinite(value) for key, value in scores.items() if key != "mae_steps")
    assert scores["kappa"] == 0


def test_a_class_that_is_nowhere_counts_zero_in_the_plain_means() -> None:
    scores = moment_scores(np.diag([8, 2, 0, 0]))
    assert scores["f1_macro_all"] == pytest.approx(2 / 4)
    assert scores["f1_macro_change"] == pytest.approx(1 / 3)
    assert scores["miou"] == pytest.approx(2 / 4)
    assert scores["fnr"] == 0
    assert scores["fpr"] == 0


def test_perfect_and_perfectly_wrong_areas() -> None:
    perfect = area_scores(np.diag([90, 10]))
    assert [perfect[k] for k in ("oa", "f1", "kappa", "iou", "fpr", "fnr")] == [1, 1, 1, 1, 0, 0]
    wrong = area_scores(np.diag([90, 10])[::-1])
    assert [wrong[k] for k in ("oa", "f1", "iou", "fpr", "fnr")] == [0, 0, 0, 1, 1]
    assert wrong["kappa"] < 0


def test_false_positives_are_told_by_class_against_the_rest() -> None:
    matrix = np.array([[90, 10, 0], [0, 5, 5], [0, 0, 20]])
    per_class = [0 / 30, 10 / 120, 5 / 110]
    assert moment_scores(matrix)["fpr"] == pytest.approx(np.mean(per_class))


def test_more_pixels_than_32_bits_can_count_change_no_score() -> None:
    small = np.array([[90, 10, 3], [2, 5, 5], [1, 0, 20]])
    large = small * 10**10
    assert large.dtype == np.int64
    assert moment_scores(large) == pytest.approx(moment_scores(small), rel=1e-12)
    assert area_scores(large[:2, :2]) == pytest.approx(area_scores(small[:2, :2]), rel=1e-12)


# ------------------------------------------------------------------ errors in time

FOUR = np.array([[50, 9, 9, 9], [9, 4, 2, 1], [9, 0, 0, 3], [9, 0, 0, 0]])


def dates(*texts: str) -> list[datetime.date]:
    return [datetime.date.fromisoformat(text) for text in texts]


def test_the_moment_error_in_steps_counts_pixels_changed_in_both_only() -> None:
    assert moment_errors([FOUR], [range(4)]) == pytest.approx((2 * 1 + 1 * 2 + 3 * 1) / 10)
    assert moment_scores(FOUR)["mae_steps"] == pytest.approx(0.7)


def test_the_moment_error_in_days_uses_the_dates_of_each_scene() -> None:
    early = dates("2018-01-01", "2018-02-01", "2018-02-11", "2018-03-01")
    late = dates("2019-01-01", "2019-02-01", "2019-02-02", "2020-02-01")
    first = 2 * 10 + 1 * 28 + 3 * 18
    second = 2 * 1 + 1 * 365 + 3 * 364
    assert moment_errors([FOUR], [early]) == pytest.approx(first / 10)
    assert moment_errors([FOUR, FOUR], [early, late]) == pytest.approx((first + second) / 20)


def test_scenes_weigh_by_their_pixels() -> None:
    other = np.diag([5, 90, 0, 0])
    assert moment_errors([FOUR, other], [range(4)] * 2) == pytest.approx(7 / 100)


def test_without_a_pixel_changed_in_both_there_is_no_error() -> None:
    nothing = np.array([[50, 9], [7, 0]])
    assert moment_errors([nothing], [range(2)]) is None
    assert moment_errors([], []) is None
    assert moment_scores(nothing)["mae_steps"] is None


def test_matrices_and_dates_must_be_equally_many() -> None:
    with pytest.raises(ValueError):
        moment_errors([FOUR, FOUR], [range(4)])


@pytest.mark.parametrize("K", [2, 6])
def test_f1_alone_is_that_of_all_scores(K: int) -> None:
    matrix = matrix_of(*pixels(K), K)
    matrix[0, :] = 0  # a class that is predicted and never true
    scores = moment_scores(matrix)
    assert f1_per_class(matrix).mean() == scores["f1_macro_all"]
    assert f1_per_class(matrix)[1:].mean() == scores["f1_macro_change"]
    assert not f1_per_class(np.zeros((K, K), np.int64)).any()
