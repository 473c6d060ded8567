"""Pictures and their colours (utils/pictures/)."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from utils.pictures.colors import (
    AGREEMENT_LEGEND,
    moment_colors,
    moment_legend,
    paint_agreement,
    paint_moments,
    shared_stretch,
    visible_image,
)
from utils.pictures.figures import (
    learning_curve_figure,
    overview_figure,
    patch_figure,
)
from utils.pictures.layout import save_figure
from utils.settings import REPOSITORY


def some_dates(T: int) -> list[date]:
    return [date(2018, 1, 1) + timedelta(days=120 * t) for t in range(T)]


def some_scene(T: int, H: int, W: int) -> tuple[Any, Any, Any, Any]:
    rng = np.random.default_rng(0)
    first, last = rng.integers(0, 255, (2, H, W, 3), dtype=np.uint8)
    truth = np.arange(H * W).reshape(H, W) % T
    truth[0, 0] = -1
    prediction = np.roll(truth, 1, axis=1)
    prediction[prediction < 0] = 255
    return first, last, truth, prediction.astype(np.uint8)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("T", [1, 2, 3, 6, 9, 24])
def test_moment_colors_are_distinct_and_ordered_from_dark_to_bright(T: int) -> None:
    colors = moment_colors(T)
    luminance = colors[1:] @ np.array([0.2126, 0.7152, 0.0722])
    assert colors.shape == (T, 3)
    assert colors.dtype == np.uint8
    assert tuple(colors[0]) == (225, 225, 225)
    assert len({*map(tuple, colors.tolist()), (255, 255, 255)}) == T + 1
    assert (np.diff(luminance) > 0).all()


@pytest.mark.parametrize("ground", [(20, 50, 25), (60, 130, 60), (30, 60, 110), (225, 225, 225)])
def test_moment_colors_differ_from_forest_meadow_water_and_unchanged(
    ground: tuple[int, int, int],
) -> None:
    for T in (2, 6, 9, 24):
        distance = np.abs(moment_colors(T)[1:].astype(int) - ground).max(axis=1)
        assert distance.min() > 55


@pytest.mark.parametrize("T", [0, 256])
def test_a_number_of_classes_without_colors_is_refused(T: int) -> None:
    with pytest.raises(ValueError, match="num_classes"):
        moment_colors(T)


def test_a_painted_map_takes_each_class_color_and_white_for_no_data() -> None:
    painted = paint_moments(np.array([[0, 1, 2], [-1, 255, 2]]), 3)
    colors = moment_colors(3)
    assert (painted[0] == colors).all()
    assert (painted[1, :2] == 255).all()


@pytest.mark.parametrize("moments", [np.array([[3]]), np.array([[-2]]), np.zeros((1, 2, 2))])
def test_a_map_with_other_values_or_axes_is_refused(moments: Any) -> None:
    with pytest.raises(ValueError, match="moments: found"):
        paint_moments(moments, 3)


def test_agreement_tells_hit_missed_false_alarm_unchanged_and_no_data() -> None:
    truth = np.array([[0, 1, 2, 0, -1, 1]])
    prediction = np.array([[0, 2, 0, 1, 1, 255]], np.uint8)
    color = {text.split(":")[0]: value for text, value in AGREEMENT_LEGEND}
    names = ["unchanged in both", "hit", "missed", "false alarm", "no data", "no data"]
    painted = paint_agreement(truth, prediction, 3)
    assert [tuple(pixel) for pixel in painted[0].tolist()] == [color[name] for name in names]


def test_a_legend_names_each_interval_by_its_two_dates() -> None:
    legend = moment_legend([date(2018, 1, 1), date(2018, 5, 1), date(2018, 9, 1)])
    assert [text for text, _ in legend] == [
        "unchanged",
        "changed 2018-01-01 – 2018-05-01",
        "changed 2018-05-01 – 2018-09-01",
        "no data",
    ]
    assert [color for _, color in legend[:-1]] == [tuple(c) for c in moment_colors(3).tolist()]


def test_images_with_a_shared_stretch_keep_their_difference() -> None:
    dark = np.linspace(0.0, 0.5, 400).reshape(1, 20, 20).repeat(3, axis=0)
    stretch = shared_stretch([dark, dark + 0.5], percentiles=(0.0, 100.0))
    assert visible_image(dark, (2, 1, 0), stretch).max() == 128
    assert visible_image(dark + 0.5, (2, 1, 0), stretch).min() == 128
    assert visible_image(dark, (2, 1, 0)).max() == 255


def test_a_stretch_leaves_out_invalid_and_non_finite_pixels() -> None:
    image = np.tile(np.linspace(1.0, 2.0, 100), (4, 10, 1))
    image[:, 0] = 0.0
    image[:, 1] = np.nan
    valid = np.ones((10, 100), bool)
    valid[0] = False
    low, high = shared_stretch([image], [valid], (0.0, 100.0))
    assert low.tolist() == [1.0] * 4
    assert high.tolist() == [2.0] * 4
    shown = visible_image(image, (2, 1, 0), valid=valid)
    assert (shown[0] == 255).all()
    assert (shown[1] == 0).all()


@pytest.mark.parametrize("fill", [0.0, 0.3, np.nan])
def test_an_image_without_contrast_is_shown_black(fill: float) -> None:
    assert (visible_image(np.full((4, 5, 7), fill), (2, 1, 0)) == 0).all()


def test_visible_bands_are_taken_in_the_order_red_green_blue() -> None:
    stretch = shared_stretch([np.array([0.0, 1.0]).reshape(1, 1, 2).repeat(4, 0)])
    blue_only = np.zeros((4, 1, 1))
    blue_only[0] = 1.0
    assert visible_image(blue_only, (2, 1, 0), stretch)[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("T", "H", "W"), [(2, 100, 100), (6, 32, 32), (24, 30, 200), (9, 300, 40), (24, 4, 400)]
)
def test_no_text_or_panel_of_an_overview_leaves_the_picture_or_overlaps(
    T: int, H: int, W: int
) -> None:
    scene = some_scene(T, H, W)
    figure = overview_figure(*scene, some_dates(T), "L15-0331E-1257N " * 9, "area F1 83.12 % " * 20)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [axes.get_window_extent(renderer) for axes in figure.axes]
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_an_overview_names_dates_panels_scores_and_every_legend_entry() -> None:
    dates = some_dates(9)
    shown = texts(overview_figure(*some_scene(9, 40, 40), dates, "Scene $x_1$", "area F1 80 %"))
    expected = ["Scene $x_1$", "area F1 80 %", "First image, 2018-01-01", "True change moment"]
    expected += [f"Last image, {dates[-1]}", "Predicted change moment", "Change area, agreement"]
    expected += [text for text, _ in (*moment_legend(dates), *AGREEMENT_LEGEND)]
    assert set(expected) <= set(shown)


def test_an_overview_has_one_scale_bar_where_the_ground_is_known() -> None:
    for metres, count in ((10.0, 1), (None, 0)):
        scene = some_scene(6, 40, 40)
        figure = overview_figure(*scene, some_dates(6), "Scene", metres_per_pixel=metres)
        assert texts(figure).count("100 m") == count


def test_an_overview_without_truth_shows_the_prediction_alone() -> None:
    first, last, _, prediction = some_scene(6, 40, 40)
    shown = texts(overview_figure(first, last, None, prediction, some_dates(6), "Scene"))
    assert "Predicted change moment" in shown
    assert not {"True change moment", "Change area, agreement"} & set(shown)


def test_the_written_overview_holds_the_colors_of_its_maps(tmp_path: Path) -> None:
    first, last, truth, _ = some_scene(6, 60, 60)
    first[:] = last[:] = 0
    truth[:, :] = 4
    prediction = np.full((60, 60), 2, np.uint8)
    path = tmp_path / "new" / "overview.png"
    save_figure(overview_figure(first, last, truth, prediction, some_dates(6), "Scene"), path)
    pixels = imageio.imread(path)[..., :3].reshape(-1, 3)
    count = {k: int((pixels == moment_colors(6)[k]).all(axis=1).sum()) for k in range(1, 6)}
    panel = 400 * 400  # pixels that a panel has at least
    assert min(count[2], count[4]) > panel
    assert 0 < max(count[1], count[3], count[5]) < 0.02 * panel  # the legend alone


def test_maps_of_different_size_are_refused() -> None:
    first, last, truth, prediction = some_scene(3, 20, 20)
    with pytest.raises(ValueError, match="found s"):
        overview_figure(first, last, truth[1:], prediction, some_dates(3), "")
    with pytest.raises(ValueError, match="First image"):
        overview_figure(first[1:], last, truth, prediction, some_dates(3), "")


def test_a_picture_that_cannot_be_finished_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "learning_curve.png"
    path.write_bytes(b"old")

    def full_disk(_figure: Figure, target: Path, **_: Any) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="disk full"):
        save_figure(learning_curve_figure([{"epoch": 1, "train_loss": 1.0}]), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["learning_curve.png"]


@pytest.mark.parametrize("T", [2, 9, 24])
def test_a_patch_picture_shows_every_date_once_and_the_label(T: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (T, 3, 16, 24), dtype=np.uint8)
    label = np.arange(16 * 24).reshape(16, 24) % T
    figure = patch_figure(images, label, some_dates(T), "Patch")
    shown = texts(figure)
    assert len(figure.axes) == T + 1
    assert all(shown.count(day.isoformat()) == 1 for day in some_dates(T))
    assert {text for text, _ in moment_legend(some_dates(T))} <= set(shown)
    save_figure(figure, tmp_path / "patch.png")
    assert imageio.imread(tmp_path / "patch.png").shape[0] > 200


def test_patch_images_without_their_dates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(3, 3, H, W\)"):
        patch_figure(np.zeros((2, 3, 8, 8), np.uint8), np.zeros((8, 8)), some_dates(3), "")


def test_a_learning_curve_takes_text_and_gaps_as_a_csv_file_gives_them() -> None:
    rows: list[dict[str, Any]] = [
        {"epoch": "1", "train_loss": "2.0", "val_loss": "", "val_area_f1": "0.1"},
        {"epoch": "2", "train_loss": "1.0", "val_loss": "1.5", "val_area_kappa": None},
    ]
    loss, scores = learning_curve_figure(rows).axes
    assert np.array_equal(loss.lines[0].get_xydata(), [[1, 2], [2, 1]])
    assert np.array_equal(loss.lines[1].get_ydata(), [np.nan, 1.5], equal_nan=True)
    assert [line.get_label() for line in scores.lines] == ["change area, F1"]


def test_a_learning_curve_shows_negative_kappa_and_the_learning_rate() -> None:
    rows = [{"epoch": e, "val_area_kappa": -0.2 * e, "learning_rate": 1e-4} for e in (1, 2)]
    figure = learning_curve_figure(rows)
    _, scores, rate = figure.axes
    assert scores.get_ylim()[0] < -0.4
    assert np.array_equal(rate.lines[0].get_ydata(), [1e-4, 1e-4])
    figure.draw_without_rendering()
    strip, curve = rate.get_position(), scores.get_position()
    assert strip.y1 < curve.y0
    assert strip.height < 0.4 * curve.height
    assert strip.width > 1.8 * curve.width


def test_a_learning_curve_before_the_first_epoch_says_so() -> None:
    assert "no values yet" in texts(learning_curve_figure([]))


def test_drawing_needs_no_pyplot() -> None:
    code = "import sys, utils.pictures.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("epochs", [1, 2, 3, 100])
def test_the_epoch_axis_counts_in_whole_epochs(epochs: int) -> None:
    rows = [{"epoch": e, "train_loss": 1.0} for e in range(1, epochs + 1)]
    ticks = learning_curve_figure(rows).axes[0].get_xticks()
    assert np.array_equal(ticks, np.round(ticks))
