"""The quicklook of a series (mapping/report/quicklook.py)."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text

from mapping.report.quicklook import quicklook_figure
from utils.pictures.colors import moment_colors
from utils.pictures.layout import save_figure


def some_dates(T: int) -> list[date]:
    return [date(2018, 1, 2) + timedelta(days=120 * t) for t in range(T)]


def some_maps(T: int, H: int, W: int) -> tuple[Any, Any, Any]:
    first, last = np.random.default_rng(0).integers(0, 255, (2, H, W, 3), dtype=np.uint8)
    moment = (np.arange(H * W).reshape(H, W) % T).astype(np.uint8)
    return (first, last, last), 1, moment


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def bars(figure: Figure) -> list[Rectangle]:
    return [
        artist
        for artist in figure.findobj(Rectangle)
        if artist in figure.artists and artist.get_height() * figure.get_figheight() < 0.06
    ]


@pytest.mark.parametrize("T", [2, 6, 9])
def test_a_quicklook_names_dates_panels_and_every_legend_entry(T: int) -> None:
    dates = some_dates(T)
    figure = quicklook_figure(*some_maps(T, 40, 60), dates, "City $x_1$", "12 ha", 10.0, 0.0)
    expected = ["City $x_1$", "12 ha", f"First image, {dates[0]}", f"Last image, {dates[-1]}"]
    expected += [f"Changes on the image of {dates[1]}"]
    expected += [f"{start} – {end}" for start, end in pairwise(dates)]
    shown = texts(figure)
    assert set(expected) <= set(shown)
    assert ("Changed" in shown, "Change area" in shown) == (T > 2, T == 2)


def test_the_legend_of_many_intervals_names_years() -> None:
    figure = quicklook_figure(*some_maps(24, 40, 60), some_dates(24), "", "", None, None)
    years = [text for text in texts(figure) if text.isdigit()]
    assert years == [str(year) for year in range(2018, 2026)]


def test_one_scale_bar_and_one_arrow_serve_all_panels() -> None:
    figure = quicklook_figure(*some_maps(3, 100, 100), some_dates(3), "", "", 10.0, 45.0)
    figure.draw_without_rendering()
    panel = figure.axes[0].get_position().width
    assert [bar.get_width() / panel for bar in bars(figure)] == pytest.approx([0.2])
    assert texts(figure).count("200 m") == texts(figure).count("N") == 1
    arrows = [artist for artist in figure.artists if isinstance(artist, Polygon)]
    corners = arrows[0].get_xy() * figure.get_size_inches()
    tip, back = corners[0] - corners[2]  # from the notch to the tip: right and up alike
    assert len(arrows) == 1
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


def test_a_written_quicklook_shows_the_change_on_the_clear_image(tmp_path: Path) -> None:
    images = tuple(np.full((60, 60, 3), level, np.uint8) for level in (10, 20, 30))
    moment = np.zeros((60, 60), np.uint8)
    moment[10:50, 10:50] = 2
    paths = [tmp_path / name / "quicklook.png" for name in ("a", "b")]
    for path in paths:
        figure = quicklook_figure(
            (images[0], images[1], images[2]), 2, moment, some_dates(4), "City", "", 10.0, 0.0
        )
        save_figure(figure, path)
    pixels = imageio.imread(paths[0])[..., :3].reshape(-1, 3)
    counts = [int((pixels == level).all(axis=1).sum()) for level in (10, 20, 30)]
    assert counts[0] == pytest.approx(counts[1], rel=0.02)
    assert 0.9 * counts[0] < counts[2] < 0.99 * counts[0]  # outlines, the ground is seen
    assert (pixels == moment_colors(4)[2]).all(axis=1).sum() > 1000
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [path.name for path in paths[0].parent.iterdir()] == ["quicklook.png"]


def test_maps_of_different_size_and_single_dates_are_refused() -> None:
    images, shown, moment = some_maps(3, 20, 20)
    with pytest.raises(ValueError, match=r"moment: found shape \(19, 20\), expected \(20, 20\)"):
        quicklook_figure(images, shown, moment[1:], some_dates(3), "", "", None, None)
    other = (images[0], images[1][1:], images[2])
    with pytest.raises(ValueError, match=r"image: found shape \(19, 20, 3\)"):
        quicklook_figure(other, shown, moment, some_dates(3), "", "", None, None)
    with pytest.raises(ValueError, match="dates: found 1"):
        quicklook_figure(images, shown, moment, some_dates(1), "", "", None, None)
