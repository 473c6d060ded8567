"""The film of a series (mapping/report/film.py)."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest

from mapping.report.film import draw_series_gif
from utils.pictures.colors import moment_colors

STRIP = 34  # pixels below the images of a film


def some_dates(T: int) -> list[date]:
    return [date(2018, 1, 1) + timedelta(days=120 * t) for t in range(T)]


def some_series(T: int, H: int, W: int) -> Any:
    """Noise that stands still but for one brightening pixel."""
    series = np.random.default_rng(1).integers(0, 200, (1, H, W, 3)).astype(np.uint8)
    series = series.repeat(T, axis=0)
    series[:, 0, 0] = np.linspace(0, 255, T)[:, None]
    return series


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


@pytest.mark.parametrize("T", [2, 4, 24])
def test_a_film_outlines_a_change_from_its_date_on(tmp_path: Path, T: int) -> None:
    moment = np.zeros((100, 100), np.uint8)
    moment[10:30, 10:30], moment[60:80, 60:80], moment[:5] = 1, T - 1, 255
    series = np.full((T, 100, 100, 3), 90, np.uint8)
    draw_series_gif(tmp_path / "a.gif", series, some_dates(T), None, None, moment)
    frames = imageio.imread(tmp_path / "a.gif", index=None)[:, :600].astype(int)
    first, last = moment_colors(T)[[1, T - 1]].astype(int)
    inside = np.s_[:, 61, 100], np.s_[:, 361, 400]  # on the upper edges
    for t in range(T):
        assert (np.abs(frames[inside[0]][t] - first).max() < 60) == (t >= 1)
        assert (np.abs(frames[inside[1]][t] - last).max() < 60) == (t >= T - 1)
    assert (frames[0] == 90).all()
    assert (frames[-1][58, 100] == 255).all()  # the rim
    assert (frames[-1][120, 120] == 90).all()  # the ground inside is seen
