"""From patches to scene maps and scores, with stand-ins for the network (mapping/scoring.py)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from data_processing.scenes.dataset import cover_split, open_split
from data_processing.scenes.spec import DYNAMIC
from mapping.scores import SceneResult, series_report, series_table
from mapping.scoring import ScoringProtocol, score_scenes
from models import ChangeMaps
from tests.helpers.scene_files import write_data_root
from utils.batches import Batches
from utils.errors import CaimError, UserError
from utils.tiling import TileGrid

T = 3
DATES = [datetime.date(2018, 1, 1), datetime.date(2018, 5, 1), datetime.date(2019, 1, 1)]
CPU = torch.device("cpu")


@dataclass
class PlainScene:
    """A scene in memory whose images tell the network what to answer."""

    name: str
    height: int
    width: int
    seed: int = 0
    dates: Sequence[datetime.date] = field(default_factory=lambda: DATES)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        shape = (self.height, self.width)
        self.answer = torch.from_numpy(rng.integers(0, T, shape))
        self.label = torch.where(torch.from_numpy(rng.random(shape)) < 0.7, self.answer, 0)
        self.observed = torch.ones(shape, dtype=torch.bool)


class Patches(Dataset[dict[str, Any]]):
    """Patches of plain scenes at given places; outside a scene labels are −1."""

    def __init__(
        self, scenes: list[PlainScene], origins: list[tuple[int, int, int]], size: int
    ) -> None:
        self.scenes, self.origins, self.size = scenes, origins, size

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene_index, row, col = self.origins[index]
        scene = self.scenes[scene_index]

        def window(values: Tensor, fill: int) -> Tensor:
            part = values[row : row + self.size, col : col + self.size]
            beyond = (0, self.size - part.shape[1], 0, self.size - part.shape[0])
            return nn.functional.pad(part, beyond, value=fill)

        label = window(scene.label, -1)
        answer = window(scene.answer, 0)
        return {
            "images": torch.stack([answer, torch.full_like(answer, index)]).float()[None],
            "moment_label": label,
            "area_label": torch.where(label < 0, -1, (label > 0).long()),
            "observed": window(scene.observed, 0).bool(),
            "origin": torch.tensor([row, col]),
            "aoi": scene.name,
            "scene_index": scene_index,
        }


class Obedient(nn.Module):
    """Predicts, with certainty, the moment that the first band holds."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_sizes: list[int] = []

    def predict(self, images: Tensor) -> ChangeMaps:
        self.batch_sizes.append(len(images))
        moment = nn.functional.one_hot(images[:, 0, 0].long(), T).permute(0, 3, 1, 2).float()
        return ChangeMaps(torch.stack((moment[:, 0], 1 - moment[:, 0]), 1), moment)


class ByPatch(nn.Module):
    """Predicts the same probabilities all over a patch, by the patch's number."""

    def __init__(self, prob_by_patch: list[list[float]]) -> None:
        super().__init__()
        self.prob_by_patch = torch.tensor(prob_by_patch)

    def predict(self, images: Tensor) -> ChangeMaps:
        prob = self.prob_by_patch[images[:, 0, 1, 0, 0].long()]
        moment = prob[:, :, None, None].expand(-1, -1, *images.shape[-2:])
        return ChangeMaps(moment[:, :2], moment)


def covering(scenes: list[PlainScene], size: int, overlap: int = 0) -> Patches:
    origins = [
        (index, row, col)
        for index, scene in enumerate(scenes)
        for row, col in TileGrid(scene.height, scene.width, size, overlap).origins
    ]
    return Patches(scenes, origins, size)


def score(
    network: nn.Module, patches: Patches, batch_size: int = 4, **options: Any
) -> tuple[dict[str, Any], list[SceneResult]]:
    """Report and results, the maps copied because scoring lets go of them."""
    results: list[SceneResult] = []

    def keep(result: SceneResult) -> None:
        results.append(SceneResult(**{**vars(result)}))

    batches = Batches(patches, batch_size, device=CPU)
    protocol = ScoringProtocol(**options)
    counts = score_scenes(network, batches, patches.scenes, keep, protocol=protocol)
    return series_report(counts), results


# ------------------------------------------------------------------ full protocol


@pytest.mark.parametrize("size", [(33, 41), (16, 16), (17, 8)])
@pytest.mark.parametrize("overlap", [0, 5])
def test_every_pixel_is_counted_once_on_any_size(size: tuple[int, int], overlap: int) -> None:
    scene = PlainScene("Scene01", *size)
    report, (result,) = score(Obedient(), covering([scene], 16, overlap), overlap=overlap)
    expected = np.zeros((T, T), int)
    np.add.at(expected, (scene.label.numpy(), scene.answer.numpy()), 1)
    assert report["confusion_matrix"]["moment"] == expected.tolist()
    assert np.sum(report["confusion_matrix"]["area"]) == size[0] * size[1]
    assert report["scenes"]["Scene01"]["pixels"] == size[0] * size[1]
    np.testing.assert_array_equal(result.moment, scene.answer.numpy())
    np.testing.assert_array_equal(result.moment_label, scene.label.numpy())


def test_the_area_map_is_where_the_moment_is_above_zero() -> None:
    scene = PlainScene("Scene01", 20, 20)
    scene.observed[3:5] = False
    _, (result,) = score(Obedient(), covering([scene], 16))
    seen = result.moment != 255
    np.testing.assert_array_equal(result.area[seen], result.moment[seen] > 0)
    assert (result.area[~seen] == 255).all()
    assert result.area.dtype == result.moment.dtype == np.uint8
    assert (~seen).sum() == 2 * 20


def test_pixels_without_data_stay_in_the_maps_where_asked() -> None:
    scene = PlainScene("Scene01", 20, 20)
    scene.observed[3:5] = False
    _, (result,) = score(Obedient(), covering([scene], 16), blank_unseen=False)
    np.testing.assert_array_equal(result.moment, scene.answer.numpy())


def test_overlapping_patches_are_averaged_before_deciding() -> None:
    scene = PlainScene("Scene01", 4, 12)
    patches = Patches([scene], [(0, 0, 0), (0, 0, 4)], 8)
    network = ByPatch([[0.5, 0.1, 0.4], [0.3, 0.4, 0.3]])
    _, (result,) = score(network, patches, batch_size=1)
    # left alone: unchanged; right alone: moment 1; together 0.8, 0.5, 0.7: unchanged
    assert result.moment.tolist() == [[0] * 8 + [1] * 4] * 4
    network = ByPatch([[0.5, 0.1, 0.4], [0.1, 0.4, 0.5]])
    _, (result,) = score(network, patches)
    assert result.moment.tolist() == [[0] * 4 + [2] * 8] * 4


def test_a_scene_smaller_than_a_patch_is_cut_from_it() -> None:
    scene = PlainScene("Scene01", 5, 9)
    report, (result,) = score(Obedient(), covering([scene], 16))
    assert result.moment.shape == (5, 9)
    assert np.sum(report["confusion_matrix"]["moment"]) == 45
    np.testing.assert_array_equal(result.moment, scene.answer.numpy())


def test_ignored_pixels_do_not_count_but_are_mapped() -> None:
    scene = PlainScene("Scene01", 16, 16)
    scene.label[:4] = -1
    report, (result,) = score(Obedient(), covering([scene], 16))
    assert report["scenes"]["Scene01"]["pixels"] == 12 * 16
    np.testing.assert_array_equal(result.moment, scene.answer.numpy())
    assert (result.moment_label[:4] == -1).all()


def test_a_scene_without_any_label_is_mapped_and_scores_nothing() -> None:
    unlabelled, labelled = PlainScene("Scene01", 16, 16), PlainScene("Scene02", 16, 16, seed=1)
    unlabelled.label[:] = -1
    report, results = score(Obedient(), covering([unlabelled, labelled], 16))
    assert report["scenes"]["Scene01"]["pixels"] == 0
    assert report["scenes"]["Scene01"]["area_f1"] == 0
    assert report["scenes"]["Scene02"]["pixels"] == 256
    np.testing.assert_array_equal(results[0].moment, unlabelled.answer.numpy())


# ------------------------------------------------------------------ released protocol


def test_where_patches_overlap_each_is_counted_and_the_later_one_is_mapped() -> None:
    scene = PlainScene("Scene01", 4, 12)
    scene.label[:] = 1
    patches = Patches([scene], [(0, 0, 0), (0, 0, 3)], 8)
    network = ByPatch([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    report, (result,) = score(network, patches, batch_size=1, counted_once=False)
    assert report["confusion_matrix"]["moment"][1] == [4 * 8, 4 * 8, 0]
    assert result.moment.tolist() == [[0] * 3 + [1] * 8 + [255]] * 4
    backwards = Patches([scene], [(0, 0, 3), (0, 0, 0)], 8)
    _, (result,) = score(ByPatch([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]]), backwards, counted_once=False)
    assert result.moment.tolist() == [[1] * 8 + [0] * 3 + [255]] * 4


def test_pixels_that_no_patch_covers_are_no_data_and_do_not_count() -> None:
    scene = PlainScene("Scene01", 20, 20)
    patches = Patches([scene], [(0, 0, 0)], 16)
    report, (result,) = score(Obedient(), patches, counted_once=False)
    assert np.sum(report["confusion_matrix"]["moment"]) == 256
    assert (result.moment[16:] == 255).all()
    assert (result.area[:, 16:] == 255).all()
    assert (result.moment_label[16:] == -1).all()
    np.testing.assert_array_equal(result.moment[:16, :16], scene.answer[:16, :16].numpy())


# ------------------------------------------------------------------ no numbers


class Sick(Obedient):
    """Has no number for one pixel of the second patch."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def predict(self, images: Tensor) -> ChangeMaps:
        maps = super().predict(images)
        assert maps.moment_prob is not None
        for prob in maps:
            prob[images[:, 0, 1, 0, 0] == 1, 0, 3, 5] = self.number
        return maps


@pytest.mark.parametrize("counted_once", [True, False])
@pytest.mark.parametrize("moments", [True, False])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_never_unchanged(
    counted_once: bool, moments: bool, number: float
) -> None:
    scene = PlainScene("Scene01", 16, 32)
    with pytest.raises(CaimError, match=r"Scene01, patch at row 0, column 16: .*\n.*NaN") as caught:
        score(Sick(number), covering([scene], 16), counted_once=counted_once, moments=moments)
    assert caught.value.exit_code == 3


# ------------------------------------------------------------------ batches and scenes


@pytest.mark.parametrize("counted_once", [True, False])
def test_a_short_last_batch_and_batches_across_scenes_lose_nothing(counted_once: bool) -> None:
    scenes = [PlainScene(f"Scene{n:02d}", 20, 20, seed=n) for n in range(3)]
    network = Obedient()
    patches = covering(scenes, 10)
    report, results = score(network, patches, batch_size=5, counted_once=counted_once)
    assert network.batch_sizes == [5, 5, 2]
    assert [result.scene.name for result in results] == ["Scene00", "Scene01", "Scene02"]
    for scene, result in zip(scenes, results, strict=True):
        np.testing.assert_array_equal(result.moment, scene.answer.numpy())
        assert report["scenes"][scene.name]["pixels"] == 400


def test_the_batch_size_changes_no_score() -> None:
    scenes = [PlainScene(f"Scene{n:02d}", 19, 23, seed=n) for n in range(2)]
    patches = covering(scenes, 8, 2)
    reports = [score(Obedient(), patches, b, overlap=2)[0] for b in (1, 7, 100)]
    assert reports[0] == reports[1] == reports[2]


def test_a_scene_is_handed_on_before_the_one_after_the_next_is_read() -> None:
    scenes = [PlainScene(f"Scene{n:02d}", 16, 16, seed=n) for n in range(4)]
    network, done_after = Obedient(), []
    patches = covering(scenes, 16)
    score_scenes(
        network,
        Batches(patches, 1, device=CPU),
        scenes,
        lambda _: done_after.append(len(network.batch_sizes)),
        protocol=ScoringProtocol(),
    )
    assert done_after == [2, 3, 4, 4]


def test_maps_are_let_go_after_they_are_handed_on() -> None:
    scenes = [PlainScene(f"Scene{n:02d}", 16, 16, seed=n) for n in range(2)]
    seen: list[SceneResult] = []
    batches = Batches(covering(scenes, 16), 2, device=CPU)
    score_scenes(Obedient(), batches, scenes, seen.append, protocol=ScoringProtocol())
    assert [result.moment.size for result in seen] == [0, 0]


def test_an_index_that_comes_back_to_a_scene_is_refused_instead_of_writing_half_maps() -> None:
    scenes = [PlainScene(f"Scene{n:02d}", 8, 16, seed=n) for n in range(2)]
    patches = Patches(scenes, [(0, 0, 0), (1, 0, 0), (0, 0, 8), (1, 0, 8)], 8)
    with pytest.raises(CaimError, match="Scene00"):
        score(Obedient(), patches, counted_once=False)


def test_without_any_patch_scoring_refuses() -> None:
    with pytest.raises(UserError, match="expected at least one scene"):
        score(Obedient(), Patches([], [], 16))


# ------------------------------------------------------------------ the report


def test_days_follow_the_dates_of_each_scene() -> None:
    early, late = PlainScene("Scene01", 4, 4), PlainScene("Scene02", 4, 4)
    late.dates = [date.replace(year=date.year + 1) for date in DATES]
    late.dates[2] = datetime.date(2029, 5, 1)
    for scene in (early, late):
        scene.label[:], scene.answer[:] = 1, 2
    report, _ = score(Obedient(), covering([early, late], 4))
    days = [(scene.dates[2] - scene.dates[1]).days for scene in (early, late)]
    assert report["moment"]["mae_days"] == pytest.approx(sum(days) / 2)
    assert report["moment"]["mae_steps"] == 1


def test_the_table_shows_percent_and_copes_with_no_error() -> None:
    scene = PlainScene("Scene01", 8, 8)
    scene.label[:], scene.answer[:] = 0, 0
    scene.answer[0, 0] = 1
    report, _ = score(Obedient(), covering([scene], 8))
    table = series_table(report)
    assert "98.44" in table
    assert "none changed in both" in table
    scene.label[0, 0] = 2
    table = series_table(score(Obedient(), covering([scene], 8))[0])
    assert "1.00 steps, 245 days" in table


class FromImages(nn.Module):
    """Calls a pixel changed in the first interval where its first date is dark."""

    def predict(self, images: Tensor) -> ChangeMaps:
        changed = (images[:, 0, 0] < 0.3).float()
        moment = torch.zeros(len(images), 6, *images.shape[-2:])
        moment[:, 0], moment[:, 1] = 1 - changed, changed
        return ChangeMaps(torch.stack((1 - changed, changed), 1), moment)


def test_scenes_on_disk_are_covered_and_counted_like_scenes_in_memory(tmp_path: Path) -> None:
    root = write_data_root(tmp_path, "dynamic", 2, size=(37, 29), patch_size=16, stride=15)
    full = cover_split(root, DYNAMIC, "test", 16)
    maps: dict[str, Any] = {}
    counts = score_scenes(
        FromImages(),
        Batches(full, 4, device=CPU),
        full.scenes,
        lambda result: maps.setdefault(result.scene.name, result.moment.copy()),
        protocol=ScoringProtocol(),
    )
    report = series_report(counts)
    for scene in full.scenes:
        dark = scene.read(0, 0, 37, 29)["images"][0, 0] < np.float32(0.3)
        np.testing.assert_array_equal(maps[scene.name], dark.astype(np.uint8))
    assert [entry["pixels"] for entry in report["scenes"].values()] == [37 * 29] * 2
    index = open_split(root, DYNAMIC, "test", 16, 15)
    served = Batches(index, 4, device=CPU)
    released = ScoringProtocol(counted_once=False)
    report = series_report(score_scenes(FromImages(), served, index.scenes, protocol=released))
    assert [entry["pixels"] for entry in report["scenes"].values()] == [2 * 16 * 16] * 2
