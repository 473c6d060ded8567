"""The report page in a browser without a window (mapping/report/page.js and .css)."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import pytest

from tests.helpers.report_pages import DATES, H, Page, T, W, some_moment, write_page
from utils.pictures.colors import moment_colors

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--enable-logging=stderr",  # what a page writes on its console comes out there
    "--hide-scrollbars",
    "--virtual-time-budget=4000",
]


@pytest.fixture
def browser() -> str:
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    pytest.skip(f"none of {', '.join(BROWSERS)} is installed")


def run_browser(
    browser: str, path: Path, fragment: str, *flags: str, size: str = "1280,1000"
) -> tuple[str, list[str]]:
    """Open the page: what the browser prints, and what the page wrote on its console."""
    profile = path.parent / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    address = path.as_uri() + (f"#{fragment}" if fragment else "")
    command = [browser, *FLAGS, f"--user-data-dir={profile}", f"--window-size={size}", *flags]
    done = subprocess.run([*command, address], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def opened(browser: str, path: Path, fragment: str = "", size: str = "1280,1000") -> Page:
    text, complaints = run_browser(browser, path, fragment, "--dump-dom", size=size)
    assert not complaints
    return Page(text)


def screenshot(browser: str, path: Path, fragment: str) -> Any:
    target = path.parent / "shot.png"
    run_browser(browser, path, fragment, f"--screenshot={target}")
    return imageio.imread(target)[..., :3].astype(int)


def answer(
    browser: str, path: Path, script: str, fragment: str = "", size: str = "1280,1000"
) -> Any:
    """Run a script in a copy of the page; what it gives to ``tell`` comes back."""
    tell = "const tell = (value) => { document.title = JSON.stringify(value); };"
    use = (
        "const find = (id) => document.getElementById(id);"
        "const send = (id, kind, changes) => { Object.assign(find(id), changes);"
        " find(id).dispatchEvent(new Event(kind, { bubbles: true })); };"
        "const shown = (which) => [...document.querySelectorAll(which)]"
        ".filter((image) => !image.hidden && image.checkVisibility())"
        ".map((image) => image.dataset.date || image.dataset.moment || image.dataset.layer);"
    )
    copy = path.with_name("copy.html")
    page = path.read_text(encoding="utf-8")
    asked = f"<script>{{ {tell} {use} {script} }}</script></body>"
    copy.write_text(page.replace("</body>", asked), encoding="utf-8")
    (title,) = opened(browser, copy, fragment, size).all("title")
    return json.loads(title["text"])


def shown_date(page: Page) -> list[str]:
    return [a["data-date"] for a in page.all("img") if "data-date" in a and "hidden" not in a]


def shown_layers(page: Page) -> list[str]:
    layers = [a for a in page.all("img") if "data-layer" in a and "hidden" not in a]
    return [layer.get("data-moment", layer["data-layer"]) for layer in layers]


@pytest.mark.parametrize(
    ("fragment", "date", "layers", "fade"),
    [
        ("", DATES[3], ["1", "2", "3", "no-data"], 90),
        ("date=1&overlay=moment&fade=60", DATES[0], ["1", "2", "3", "no-data"], 60),
        ("date=3&overlay=until", DATES[2], ["1", "2", "no-data"], 90),
        ("date=1&overlay=until", DATES[0], ["no-data"], 90),
        ("date=2018-05-01&overlay=score&fade=0", DATES[1], ["score", "no-data"], 0),
        ("hide=1,3", DATES[3], ["2", "no-data"], 90),
        ("date=99&overlay=x&fade=101&hide=7,-1&zoom=3", DATES[3], ["1", "2", "3", "no-data"], 90),
    ],
)
def test_the_address_says_what_is_shown(
    tmp_path: Path, browser: str, fragment: str, date: Any, layers: list[str], fade: int
) -> None:
    page = opened(browser, write_page(tmp_path), fragment)
    assert shown_date(page) == [str(date)]
    assert shown_layers(page) == layers
    assert "hidden" not in page.one("overlay")
    assert float(page.one("overlay")["style"].removeprefix("opacity:").rstrip("%; ")) in (
        fade,
        fade / 100,
    )
    assert page.one("date-shown")["text"] == str(date)
    assert page.one("fade-shown")["text"] == f"{fade} %"


def test_the_controls_change_the_map_and_the_address(tmp_path: Path, browser: str) -> None:
    script = """
        const seen = [];
        const note = () => seen.push([shown('#images img'), shown('#overlay img')]);
        send('date', 'input', { value: 2 }); note();
        document.querySelector('[value=until]').click(); note();
        find('next').click(); note();
        document.querySelector('input[data-moment="1"]').click(); note();
        find('shown').click(); note();
        find('image').click(); note();
        send('fade', 'input', { value: 35 });
        setTimeout(() => tell([seen, location.hash, find('overlay').style.opacity]), 500);
    """
    seen, address, opacity = answer(browser, write_page(tmp_path), script)
    assert seen == [
        [[str(DATES[1])], ["1", "2", "3", "no-data"]],
        [[str(DATES[1])], ["1", "no-data"]],
        [[str(DATES[2])], ["1", "2", "no-data"]],
        [[str(DATES[2])], ["2", "no-data"]],
        [[str(DATES[2])], []],
        [[], []],
    ]
    assert address == "#date=3&overlay=none&fade=35&image=off&hide=1"
    assert float(opacity.rstrip("%")) in (35, 0.35)


def test_playing_goes_through_the_dates_and_stops_at_a_touch(tmp_path: Path, browser: str) -> None:
    script = """
        const seen = [];
        find('play').click();
        const watch = setInterval(() => seen.push(find('date').value), 900);
        setTimeout(() => { find('first').click(); clearInterval(watch); }, 3000);
        setTimeout(() => tell([seen, find('date').value, find('play').textContent]), 3900);
    """
    seen, date, label = answer(browser, write_page(tmp_path), script, "date=3")
    assert seen[:3] == ["4", "1", "2"]
    assert (date, label) == ("1", "Play")


def test_a_link_followed_on_the_open_page_is_obeyed(tmp_path: Path, browser: str) -> None:
    script = """
        location.hash = '#date=2&overlay=score&zoom=4';
        setTimeout(() => tell([shown('#images img'), shown('#overlay img'),
            find('picture').clientWidth / find('frame').clientWidth]), 300);
    """
    assert answer(browser, write_page(tmp_path), script) == [
        [str(DATES[1])], ["score", "no-data"], 4,
    ]  # fmt: skip


@pytest.mark.parametrize("zoom", [1, 2, 8])
def test_the_scale_bar_is_as_long_as_its_text_says(tmp_path: Path, browser: str, zoom: int) -> None:
    script = """
        const metres = find('picture').getBoundingClientRect().width / 60;
        tell([find('scale-bar').getBoundingClientRect().width / metres * 10,
            find('scale-text').textContent]);
    """
    length, text = answer(browser, write_page(tmp_path), script, f"zoom={zoom}")
    assert float(text.removesuffix(" m")) == pytest.approx(length, rel=0.01)


def test_pointing_at_the_map_reads_the_pixel_below(tmp_path: Path, browser: str) -> None:
    script = f"""
        const box = find('picture').getBoundingClientRect();
        const point = (row, column) => {{
            find('frame').dispatchEvent(new PointerEvent('pointermove', {{
                clientX: box.left + (column + 0.5) * box.width / {W},
                clientY: box.top + (row + 0.5) * box.height / {H} }}));
            return find('readout').textContent;
        }};
        setTimeout(() => tell([point(5, 35), point(25, 0), point(35, 5)]), 500);
    """
    assert answer(browser, write_page(tmp_path), script) == [
        "changed 2018-05-01 – 2018-08-15 · score 80 · x 500355, y 4799945",
        "unchanged · score 10 · x 500005, y 4799745",
        "no data · x 500055, y 4799645",
    ]


def test_the_picture_shows_the_overlay_in_its_colors_and_hides_it(
    tmp_path: Path, browser: str
) -> None:
    path = write_page(tmp_path)
    with_map = screenshot(browser, path, "fade=100")
    without = screenshot(browser, path, "fade=100&overlay=none")
    on_image = (without == 140).all(axis=2)  # the grey of the last date
    share = 1 / on_image.sum()
    for k, color in enumerate(moment_colors(T)[1:].astype(int), start=1):
        painted = on_image & (with_map == color).all(axis=2)
        assert painted.sum() * share == pytest.approx((some_moment() == k).mean(), abs=0.01)
    assert (on_image & (with_map == 140).all(axis=2)).sum() > 0.5 * on_image.sum()


@pytest.mark.parametrize("date", [1, 2])
def test_the_picture_shows_the_image_of_the_date(tmp_path: Path, browser: str, date: int) -> None:
    shot = screenshot(browser, write_page(tmp_path), f"date={date}&overlay=none")
    assert [(shot == 50 + 30 * t).all(axis=2).sum() > 100_000 for t in range(T)] == [
        t == date - 1 for t in range(T)
    ]


@pytest.mark.parametrize("width", [500, 800, 1280])
def test_the_page_is_as_wide_as_the_window(tmp_path: Path, browser: str, width: int) -> None:
    script = "tell([document.documentElement.scrollWidth, find('picture').clientWidth]);"
    page, picture = answer(browser, write_page(tmp_path), script, size=f"{width},900")
    assert page == width
    assert picture > 0.55 * width


def test_the_browser_reports_errors_of_a_page_and_keeps_it_from_loading(
    tmp_path: Path, browser: str
) -> None:
    path = write_page(tmp_path)
    loading = "document.body.appendChild(new Image()).src = 'http://127.0.0.1:9/pixel.png';"
    page = path.read_text(encoding="utf-8").replace("</body>", f"<script>{loading}</script></body>")
    path.write_text(page, encoding="utf-8")
    _, complaints = run_browser(browser, path, "", "--dump-dom")
    assert any("Content Security Policy" in line for line in complaints)
