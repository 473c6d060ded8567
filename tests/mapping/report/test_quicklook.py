"""The quicklook and the film of a series (mapping/report/quicklook.py)."""

from __future__ import annotations

import math
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text

from mapping.report.quicklook import (
    draw_series_gif,
    north_arrow,
    quicklook_figure,
    scale_bar,
    visible_series,
)
from utils.pictures.colors import moment_colors, moment_legend
from utils.pictures.layout import save_figure

STRIP = 34  # pixels below the images of a film


def some_dates(T: int) -> list[date]:
    return [date(2018, 1, 1) + timedelta(days=120 * t) for t in range(T)]


def some_maps(T: int, H: int, W: int) -> tuple[Any, Any, Any]:
    first, last = np.random.default_rng(0).integers(0, 255, (2, H, W, 3), dtype=np.uint8)
    return first, last, (np.arange(H * W).reshape(H, W) % T).astype(np.uint8)


def some_series(T: int, H: int, W: int) -> Any:
    """Noise that stands still but for one brightening pixel."""
    series = np.random.default_rng(1).integers(0, 200, (1, H, W, 3)).astype(np.uint8)
    series = series.repeat(T, axis=0)
    series[:, 0, 0] = np.linspace(0, 255, T)[:, None]
    return series


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def bars(figure: Figure) -> list[Rectangle]:
    return [
        artist
        for artist in figure.findobj(Rectangle)
        if artist in figure.artists and artist.get_height() * figure.get_figheight() < 0.06
    ]


@pytest.mark.parametrize(
    ("metres_per_pixel", "pixels", "text", "length"),
    [
        (10.0, 20, "200 m", 20.0),
        (10.0, 26, "200 m", 20.0),
        (10.0, 34, "500 m", 50.0),
        (4.777, 205, "1 km", 209.34),
        (10.0, 50, "500 m", 50.0),
        (10.0, 80, "1 km", 100.0),
        (0.5, 0.2, "0.1 m", 0.2),
        (250.0, 900, "200 km", 800.0),
        (1111.0, 1000, "1,000 km", 900.09),
    ],
)
def test_a_scale_bar_is_round_and_about_as_long_as_wished(
    metres_per_pixel: float, pixels: float, text: str, length: float
) -> None:
    found, exact = scale_bar(metres_per_pixel, pixels)
    assert found == text
    assert exact == pytest.approx(length, rel=1e-4)
    assert 0.6 < exact / pixels < 1.6


@pytest.mark.parametrize(
    ("metres", "pixels"), [(0.0, 10), (-1.0, -10), (math.nan, 10), (1.0, 0), (math.inf, 1)]
)
def test_a_scale_without_length_is_refused(metres: float, pixels: float) -> None:
    with pytest.raises(ValueError, match="scale bar: found"):
        scale_bar(metres, pixels)


@pytest.mark.parametrize(
    ("north", "tip"),
    [(0.0, (0, -5)), (90.0, (5, 0)), (-90.0, (-5, 0)), (30.0, (2.5, -4.330))],
)
def test_the_arrow_points_clockwise_from_up(north: float, tip: tuple[float, float]) -> None:
    assert north_arrow(10.0, north)[0] == pytest.approx(tip, abs=1e-3)


@pytest.mark.parametrize("T", [2, 6, 9])
def test_a_quicklook_names_dates_panels_and_every_legend_entry(T: int) -> None:
    dates = some_dates(T)
    figure = quicklook_figure(*some_maps(T, 40, 60), dates, "City $x_1$", "12 ha", 10.0, 0.0)
    expected = ["City $x_1$", "12 ha", f"First image, {dates[0]}", f"Last image, {dates[-1]}"]
    expected += [text for text, _ in moment_legend(dates)]
    shown = texts(figure)
    assert set(expected) <= set(shown)
    assert ("Change moment" in shown, "Change area" in shown) == (T > 2, T == 2)


def test_each_panel_has_a_scale_bar_of_its_length_and_an_arrow() -> None:
    figure = quicklook_figure(*some_maps(3, 100, 100), some_dates(3), "", "", 10.0, 45.0)
    figure.draw_without_rendering()
    panel = figure.axes[0].get_position().width
    assert [bar.get_width() / panel for bar in bars(figure)] == pytest.approx([0.2] * 3)
    assert texts(figure).count("200 m") == texts(figure).count("N") == 3
    arrows = [artist for artist in figure.artists if isinstance(artist, Polygon)]
    corners = arrows[0].get_xy() * figure.get_size_inches()
    tip, back = corners[0] - corners[2]  # from the notch to the tip: right and up alike
    assert len(arrows) == 3
    assert tip == pytest.approx(back)
    assert tip > 0


def test_below_a_narrow_panel_the_scale_bar_is_still_to_be_seen() -> None:
    figure = quicklook_figure(*some_maps(3, 1000, 7), some_dates(3), "", "", 10.0, None)
    panel = figure.axes[0].get_position().width
    (bar, *_), (text,) = bars(figure), {text for text in texts(figure) if text.endswith("m")}
    assert text == "500 m"
    assert bar.get_width() / panel == pytest.approx(500 / 70)
    assert bar.get_width() * figure.get_figwidth() > 0.2


def test_an_unknown_scale_or_north_is_left_out() -> None:
    figure = quicklook_figure(*some_maps(3, 50, 50), some_dates(3), "", "", None, None)
    assert not bars(figure)
    assert not [artist for artist in figure.artists if isinstance(artist, Polygon)]
    assert "N" not in texts(figure)


@pytest.mark.parametrize(
    ("T", "H", "W"), [(2, 100, 100), (6, 32, 32), (24, 30, 200), (9, 300, 40), (6, 1, 1)]
)
def test_nothing_in_a_quicklook_leaves_the_picture_or_overlaps(T: int, H: int, W: int) -> None:
    figure = quicklook_figure(
        *some_maps(T, H, W), some_dates(T), "Lower Valley " * 9, "km² " * 60, 12.3, -38.0
    )
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    parts = [*figure.texts, *figure.axes, *bars(figure)]
    parts += [artist for artist in figure.artists if isinstance(artist, Polygon)]
    boxes = [part.get_window_extent(renderer) for part in parts]
    boxes = [box for box in boxes if box.width > 0]
    for number, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_a_written_quicklook_shows_the_map_pixel_by_pixel(tmp_path: Path) -> None:
    first, last, _ = some_maps(4, 60, 60)
    first[:] = last[:] = 0
    moment = np.full((60, 60), 2, np.uint8)
    moment[:, 30:] = 255
    paths = [tmp_path / name / "quicklook.png" for name in ("a", "b")]
    for path in paths:
        figure = quicklook_figure(first, last, moment, some_dates(4), "City", "", 10.0, 0.0)
        save_figure(figure, path)
    pixels = imageio.imread(paths[0])[..., :3].reshape(-1, 3)
    count = int((pixels == moment_colors(4)[2]).all(axis=1).sum())
    assert 0.5 * 440**2 < count < 0.5 * 480**2
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [path.name for path in paths[0].parent.iterdir()] == ["quicklook.png"]


def test_maps_of_different_size_and_single_dates_are_refused() -> None:
    first, last, moment = some_maps(3, 20, 20)
    with pytest.raises(ValueError, match=r"moment: found shape \(19, 20\), expected \(20, 20\)"):
        quicklook_figure(first, last, moment[1:], some_dates(3), "", "", None, None)
    with pytest.raises(ValueError, match="Last image"):
        quicklook_figure(first, last[1:], moment, some_dates(3), "", "", None, None)
    with pytest.raises(ValueError, match="dates: found 1"):
        quicklook_figure(first, last, moment, some_dates(1), "", "", None, None)


@pytest.mark.parametrize(
    ("H", "W", "height", "width"),
    [
        (100, 100, 600, 600),  # enlarged six times
        (128, 64, 512, 330),  # four times, beside it white: the text needs its width
        (1200, 900, 606, 454),
        (10, 1000, 6, 640),
        (1, 1, 606, 606),
        (606, 640, 606, 640),
    ],
)
def test_a_film_has_a_frame_per_date_of_the_right_size(
    tmp_path: Path, H: int, W: int, height: int, width: int
) -> None:
    path = tmp_path / "series.gif"
    draw_series_gif(path, some_series(3, H, W), some_dates(3), 10.0, 0.0)
    frames = imageio.imread(path, index=None)
    assert frames.shape == (3, height + STRIP, width, 3)
    assert max(frames.shape[1:3]) <= 640
    for number in range(3):
        facts = imageio.immeta(path, index=number)
        assert (facts["duration"], facts["loop"]) == (1000, 0)


def test_a_film_is_still_where_nothing_changes_and_true_in_colour(tmp_path: Path) -> None:
    series = some_series(4, 100, 100)
    series[:, 50:, 50:] = 255
    draw_series_gif(tmp_path / "a.gif", series, some_dates(4), None, None)
    frames = imageio.imread(tmp_path / "a.gif", index=None).astype(int)
    assert (frames[1:, :600, 6:] == frames[0, :600, 6:]).all()
    assert (frames[:, 300:600, 300:] == 255).all()
    assert np.abs(frames[:, 3:600:6, 3::6] - series).mean() < 9  # noise fills the colour space
    assert (np.diff(frames[:, 3, 3].sum(axis=1)) > 0).all()
    assert all((frames[t, 600:] != frames[t + 1, 600:]).any() for t in range(3))


def test_few_colours_stay_exact_in_a_film(tmp_path: Path) -> None:
    series = np.zeros((2, 30, 30, 3), np.uint8)
    series[0, :10], series[1, 10:20] = (200, 40, 80), (4, 200, 100)
    draw_series_gif(tmp_path / "a.gif", series, some_dates(2), None, None)
    frames = imageio.imread(tmp_path / "a.gif", index=None).astype(int)
    np.testing.assert_allclose(frames[:, 10:600:20, 10::20], series, atol=1)


def test_the_scale_bar_of_a_film_has_its_length_in_pixels(tmp_path: Path) -> None:
    for name, H, metres in (("enlarged", 100, 10.0), ("reduced", 1212, 10.0)):
        path = tmp_path / f"{name}.gif"
        draw_series_gif(path, some_series(2, H, H), some_dates(2), metres, None)
        strip = imageio.imread(path, index=0)[-STRIP:, :, 0]
        dark = (strip[STRIP // 2] < 60).astype(int)
        runs = np.flatnonzero(np.diff(dark, prepend=0, append=0)).reshape(-1, 2)
        longest = int((runs[:, 1] - runs[:, 0]).max())
        ground = {"enlarged": 200, "reduced": 2000}[name]
        shown = {"enlarged": 10.0 / 6, "reduced": 20.0}[name]
        assert longest == pytest.approx(ground / shown, abs=1.5)


def test_the_bytes_of_a_film_do_not_change(tmp_path: Path) -> None:
    for name in ("a.gif", "b.gif"):
        draw_series_gif(tmp_path / name, some_series(3, 40, 50), some_dates(3), 10.0, 12.0)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_a_film_without_a_date_for_each_image_is_refused(tmp_path: Path) -> None:
    for series, T in ((some_series(3, 4, 4), 2), (some_series(3, 4, 4)[..., 0], 3)):
        with pytest.raises(ValueError, match=r"images: found shape .* expected \(T, H, W, 3\)"):
            draw_series_gif(tmp_path / "a.gif", series, some_dates(T), None, None)
    with pytest.raises(ValueError, match="T ≥ 1"):
        draw_series_gif(tmp_path / "a.gif", some_series(1, 4, 4)[:0], [], None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_cannot_be_finished_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "series.gif"
    path.write_bytes(b"old")

    def full_disk(_image: Any, target: Path, **_: Any) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("PIL.Image.Image.save", full_disk)
    with pytest.raises(OSError, match="disk full"):
        draw_series_gif(path, some_series(2, 4, 4), some_dates(2), None, None)
    assert [child.read_bytes() for child in tmp_path.iterdir()] == [b"old"]


def test_a_series_is_shown_with_one_stretch_and_white_where_there_is_no_data() -> None:
    image = np.linspace(100.0, 200.0, 400).reshape(1, 20, 20).repeat(4, axis=0)
    valid = np.ones((20, 20), bool)
    valid[3, 4] = False
    shown = visible_series([image, image + 50], [valid, valid], (2, 1, 0))
    assert shown.shape == (2, 20, 20, 3)
    assert shown.dtype == np.uint8
    assert (shown[:, 3, 4] == 255).all()
    # equal values are shown alike at both dates
    first = shown[0, 15, 0].astype(int)  # 175.2
    second = shown[1, 5, 0].astype(int)  # 175.1
    assert np.abs(first - second).max() <= 1
    assert 0 < first[0] < 255


def test_a_date_under_clouds_does_not_darken_the_others() -> None:
    image = np.random.default_rng(0).integers(100, 200, (3, 30, 30)).astype(np.uint16)
    clouds = np.full((3, 30, 30), 9000, np.uint16)
    valid = np.ones((30, 30), bool)
    clear = visible_series([image] * 3, [valid] * 3, (0, 1, 2))
    mixed = visible_series([image, image, image, clouds], [valid] * 4, (0, 1, 2))
    assert np.abs(mixed[0].astype(int) - clear[0]).max() <= 3
    assert (mixed[3] == 255).all()


@pytest.mark.parametrize("C", [1, 2])
def test_images_without_colour_are_grey_by_their_first_band(C: int) -> None:
    images = np.random.default_rng(0).uniform(0, 1, (2, C, 10, 10))
    shown = visible_series(list(images), [np.ones((10, 10), bool)] * 2, (2, 1, 0)).astype(int)
    assert (shown[..., 0] == shown[..., 1]).all()
    assert (shown[..., 0] == shown[..., 2]).all()
    assert np.corrcoef(shown[0, :, :, 0].ravel(), images[0, 0].ravel())[0, 1] > 0.99


def test_red_green_and_blue_are_taken_by_their_positions() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (4, 10, 10))
    shown = visible_series([image], [np.ones((10, 10), bool)], (2, 1, 0))[0]
    for place, band in enumerate((2, 1, 0)):
        assert np.corrcoef(shown[..., place].ravel(), image[band].ravel())[0, 1] > 0.99


def test_dates_without_any_data_are_white_and_say_nothing_about_the_stretch() -> None:
    image = np.random.default_rng(0).uniform(100, 200, (3, 10, 10))
    none, all_ = np.zeros((10, 10), bool), np.ones((10, 10), bool)
    shown = visible_series([image, image * 0], [all_, none], (0, 1, 2))
    np.testing.assert_array_equal(shown[0], visible_series([image], [all_], (0, 1, 2))[0])
    assert (shown[1] == 255).all()
    assert (visible_series([image], [none], (0, 1, 2)) == 255).all()


def test_series_of_different_sizes_or_numbers_are_refused() -> None:
    image, mask = np.zeros((3, 4, 5)), np.ones((4, 5), bool)
    with pytest.raises(ValueError, match="found 1 masks for 2 images"):
        visible_series([image, image], [mask], (0, 1, 2))
    with pytest.raises(ValueError, match=r"found \(3, 4, 4\).*expected \(3, 4, 5\)"):
        visible_series([image, image[..., 1:]], [mask, mask], (0, 1, 2))
    with pytest.raises(ValueError, match="0 images"):
        visible_series([], [], (0, 1, 2))
