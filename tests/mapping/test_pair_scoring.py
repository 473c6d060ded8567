"""Change maps of pairs from windows, their scores, and what training asks of the task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from torch import Tensor, nn

from data_processing.pairs.dataset import PairDataset, open_pair_split, tiles, whole
from data_processing.pairs.spec import FOLDER
from mapping.decision import Decision
from mapping.scores import SceneResult, pair_report, pair_table
from mapping.scoring import ScoringProtocol, score_scenes
from models import ChangeMaps, CTMAOutput
from tests.helpers.pair_files import change_label, write_pair, write_picture
from training.pair_task import PairTask
from utils.batches import Batches
from utils.codes import IGNORE, NO_DATA
from utils.metrics import area_scores
from utils.pictures.figures import pair_figure

CPU = torch.device("cpu")


class Brighter(nn.Module):
    """Says "changed" with the red of the second image."""

    def predict(self, images: Tensor) -> ChangeMaps:
        changed = images[:, 1, 0]
        return ChangeMaps(torch.stack((1 - changed, changed), dim=1), None)


class Corner(nn.Module):
    """Says 0.9 in a window that begins at a bright pixel, else 0.2."""

    def predict(self, images: Tensor) -> ChangeMaps:
        bright = (images[:, 0, 0, :1, :1] > 0.5).float()
        changed = (0.2 + 0.7 * bright).expand(-1, *images.shape[-2:])
        return ChangeMaps(torch.stack((1 - changed, changed), dim=1), None)


def scored(
    network: nn.Module, dataset: PairDataset, **options: Any
) -> tuple[Any, list[SceneResult]]:
    results: list[SceneResult] = []
    batches = Batches(dataset, options.pop("batch_size", 2), device=CPU)
    counts = score_scenes(
        network, batches, dataset.scenes, lambda result: results.append(replace(result)),
        protocol=ScoringProtocol(moments=False, flat=True, **options),
    )  # fmt: skip
    return pair_report(counts), results


def test_every_pixel_of_pairs_of_any_size_counts_once(tmp_path: Path) -> None:
    for number, size in enumerate([(20, 30), (16, 45)]):
        write_pair(tmp_path / "test", f"{number}.png", size, seed=number)
    pairs = open_pair_split(tmp_path, FOLDER, "test")

    windows, results = scored(
        Brighter(), PairDataset(pairs, tiles(pairs, 16, 8), (16, 16)), overlap=8
    )
    entire, _ = scored(Brighter(), PairDataset(pairs, whole(pairs)), batch_size=1)

    assert windows == entire
    assert np.sum(windows["confusion_matrix"]["area"]) == 20 * 30 + 16 * 45
    assert windows["area"]["f1"] == 1.0  # the test images are brighter where they change
    for number, result in enumerate(results):
        label = change_label(*[(20, 30), (16, 45)][number], seed=number)
        assert np.array_equal(result.area, label > 0)


def test_probabilities_of_overlapping_windows_are_averaged(tmp_path: Path) -> None:
    write_pair(tmp_path / "test", "a.png", (8, 16), label=np.zeros((8, 16), np.uint8))
    first = np.zeros((8, 16, 3), np.uint8)
    first[0, 0] = 255  # only the window at column 0 begins at a bright pixel
    write_picture(tmp_path / "test/A/a.png", first)
    pairs = open_pair_split(tmp_path, FOLDER, "test")
    dataset = PairDataset(pairs, tiles(pairs, 8, 4), (8, 8))  # columns 0, 4 and 8

    _, (result,) = scored(Corner(), dataset, overlap=4)
    _, (lower,) = scored(Corner(), dataset, overlap=4, decision=Decision.above(0.6))

    assert result.area[0].tolist() == [1] * 8 + [0] * 8  # 0.9, then (0.9 + 0.2) / 2, then 0.2
    assert lower.area[0].tolist() == [1] * 4 + [0] * 12


def test_pixels_without_data_are_neither_counted_nor_mapped(tmp_path: Path) -> None:
    write_pair(tmp_path / "test", "a.png")
    for part in ("A", "B"):
        rgba = np.full((16, 16, 4), 255, np.uint8)
        rgba[:, :5, 3] = 0
        write_picture(tmp_path / f"test/{part}/a.png", rgba)
    pairs = open_pair_split(tmp_path, FOLDER, "test")

    report, (result,) = scored(Brighter(), PairDataset(pairs, whole(pairs)))

    assert (result.area[:, :5] == NO_DATA).all()
    assert report["pairs"]["a"]["pixels"] == 16 * 11


def test_the_table_names_the_scores_in_percent() -> None:
    matrix = np.array([[90, 10], [5, 15]])
    report = {"area": area_scores(matrix), "confusion_matrix": {"area": matrix.tolist()}}
    lines = pair_table(report).splitlines()
    assert lines[0].split() == ["precision", "recall", "F1", "OA", "IoU"]
    assert lines[1].split()[2:] == ["60.00", "75.00", "66.67", "87.50", "50.00"]
    report["confusion_matrix"]["area"] = [[0, 0], [0, 0]]
    assert "No pixel was counted" in pair_table(report)


def test_the_picture_of_a_pair_shows_both_images_both_maps_and_their_agreement() -> None:
    image, label = np.zeros((16, 16, 3), np.uint8), change_label(16, 16) // 255

    figure = pair_figure(image, image, label, label, "name of the pair", "F1 100.0 %")

    shown = {text.get_text() for text in figure.findobj(Text)}
    for part in ("Before", "After", "True change area", "Predicted change area",
                 "Change area, agreement", "name of the pair", "F1 100.0 %",
                 "hit: changed in both"):  # fmt: skip
        assert part in shown
    without = pair_figure(image, image, None, label, "name").findobj(Text)
    assert "True change area" not in {text.get_text() for text in without}


def task_batch() -> tuple[CTMAOutput, dict[str, Tensor]]:
    logits = torch.tensor([[[2.0, -1.0], [0.5, -3.0]]])
    label = torch.tensor([[[1, 1], [0, IGNORE]]])
    return CTMAOutput(logits, torch.zeros_like(logits)), {"area_label": label}


def test_the_task_counts_scores_and_names_what_it_needs() -> None:
    task, (output, batch) = PairTask(), task_batch()
    matrices = task.matrices(CPU)

    task.update(output, batch, matrices)

    assert task.counts(batch).tolist() == [1, 2]
    assert task.maps(output).tolist() == [[[1, 0], [1, 0]]]
    scores = task.scores({"area": matrices["area"].matrix()})
    assert scores["area_f1"] == pytest.approx(0.5)
    assert task.selection.removeprefix("val_") in scores
    assert all(name.removeprefix("val_") in scores for name, _ in task.shown)


def test_the_terms_of_the_task_add_up_over_parts_of_a_batch() -> None:
    torch.manual_seed(0)
    task, label = PairTask(change_factor=2.0), torch.randint(-1, 2, (4, 8, 8))
    area, aux = torch.randn(4, 8, 8), torch.randn(4, 8, 8)
    counts = task.counts({"area_label": label})
    entire = task.terms(CTMAOutput(area, aux), {"area_label": label}, counts)
    parts = [
        task.terms(CTMAOutput(area[p], aux[p]), {"area_label": label[p]}, counts)
        for p in (slice(0, 1), slice(1, 4))
    ]
    torch.testing.assert_close(entire, parts[0] + parts[1])
    assert len(entire) == len(task.term_names)
