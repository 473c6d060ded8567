"""The report page in a browser without a window (mapping/report/page.js and .css)."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
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
    lines = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, [line for line in lines if "will-read-frequently" not in line]  # of ours


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
        "const shown = () => [...document.querySelectorAll('#picture img')]"
        ".filter((image) => !image.hidden).map((image) => image.dataset.date);"
        "const painted = () => { const size = find('fill');"
        " const { data } = size.getContext('2d').getImageData(0, 0, size.width, size.height);"
        " const counts = {}; for (let p = 0; p < data.length; p += 4) { const key ="
        " data[p + 3] ? [data[p], data[p + 1], data[p + 2]].join() : 'none';"
        " counts[key] = (counts[key] || 0) + 1; } return counts; };"
    )
    copy = path.with_name("copy.html")
    page = path.read_text(encoding="utf-8")
    asked = f"<script>{{ {tell} {use} {script} }}</script></body>"
    copy.write_text(page.replace("</body>", asked), encoding="utf-8")
    (title,) = opened(browser, copy, fragment, size).all("title")
    return json.loads(title["text"])


COLORS = [",".join(map(str, color)) for color in moment_colors(T).tolist()]
BLOCK = 200  # pixels of each interval
LATER = "setTimeout(() => tell(%s), 400);"  # when the codes are unpacked


@pytest.mark.parametrize(
    ("fragment", "dates", "moments", "fade"),
    [
        ("", [3], [1, 2, 3], 70),
        ("date=1&overlay=moment&fade=60", [0], [1, 2, 3], 60),
        ("date=3&overlay=until", [2], [1, 2], 70),
        ("date=2018-05-01&overlay=none&fade=0", [1], [], 0),
        ("hide=1,3&swipe=30", [0, 3], [2], 70),
        ("date=99&overlay=x&fade=101&hide=7,-1&zoom=3", [3], [1, 2, 3], 70),
    ],
)
def test_the_address_says_what_is_shown(
    tmp_path: Path, browser: str, fragment: str, dates: list[int], moments: list[int], fade: int
) -> None:
    script = LATER % "[shown(), painted(), find('fill').style.opacity]"
    images, counts, opacity = answer(browser, write_page(tmp_path), script, fragment)
    assert images == [str(DATES[t]) for t in dates]
    assert {key: n for key, n in counts.items() if key != "none"} == {
        COLORS[k]: BLOCK for k in moments
    }
    assert float(opacity) == fade / 100


def test_the_score_is_transparent_below_50(tmp_path: Path, browser: str) -> None:
    counts = answer(browser, write_page(tmp_path), LATER % "painted()", "overlay=score")
    assert sorted(counts.values()) == [3 * BLOCK, H * W - 3 * BLOCK]


def test_bar_and_legend_choose_intervals_and_the_address_keeps_it(
    tmp_path: Path, browser: str
) -> None:
    script = """
        setTimeout(() => {
            const states = [];
            const note = () => states.push([Object.keys(painted()).length - 1,
                find('filter').textContent, find('all').hidden]);
            const of = (tag, k) => document.querySelector(tag + '[data-moments="' + k + '"]');
            of('span', 1).click(); note();
            of('button', 3).click(); note();
            of('button', 1).click(); note();
            of('button', 3).click(); note();
            of('button', 2).click(); send('fade', 'input', { value: 35 });
            find('next').click(); find('previous').click();
            setTimeout(() => tell([states, location.hash]), 500);
        }, 400);
    """
    states, address = answer(browser, write_page(tmp_path), script)
    assert [state[0] for state in states] == [1, 2, 1, 3]
    assert states[0][1:] == ["Shown: 2018-01-01 – 2018-05-01, 2,500 ha", False]
    assert states[1][1] == "Shown: 2 intervals, 5,000 ha"
    assert states[3][2] is True
    assert address == "#date=3&overlay=moment&fade=35&hide=1,3"


def test_years_choose_their_intervals(tmp_path: Path, browser: str) -> None:
    dates = [date(2000 + month // 12, month % 12 + 1, 1) for month in range(0, 120, 6)]
    images = [np.full((H, W, 3), 90, np.uint8)] * len(dates)
    path = write_page(tmp_path, summary={}, images=images, dates=dates)  # moments 1…3
    script = """
        setTimeout(() => {
            const year = [...document.querySelectorAll('.marks button')];
            year[1].click();
            tell([year.map((mark) => mark.getAttribute('aria-pressed') === 'true'),
                Object.values(painted()).slice(0, -1).length, find('filter').textContent]);
        }, 400);
    """
    pressed, count, text = answer(browser, path, script)
    assert pressed == [False, True, *[False] * 8]
    assert count == 2  # moments 2 and 3 end in 2001
    assert text == "Shown: 2 intervals"


def test_swiping_shows_the_first_clear_date_beside_the_last(tmp_path: Path, browser: str) -> None:
    script = """
        find('compare').click();
        send('swipe', 'input', { value: 25 });
        const over = [...document.querySelectorAll('#picture img')].map((i) => i.style.clipPath);
        tell([shown(), over.filter((clip) => clip), find('left').textContent,
            find('right').textContent, find('compare').getAttribute('aria-pressed')]);
    """
    path = write_page(tmp_path, clear=[0.1, 1.0, 1.0, 0.2])
    images, clips, left, right, pressed = answer(browser, path, script, "date=1")
    assert images == [left, right] == [str(DATES[1]), str(DATES[2])]
    assert [clip.replace("0px", "0") for clip in clips] == ["inset(0 0 0 25%)"]
    assert pressed == "true"


def test_playing_goes_through_the_dates_and_stops_at_a_touch(tmp_path: Path, browser: str) -> None:
    script = """
        const days = [];
        find('play').click();
        const watch = setInterval(() => days.push(find('date').value), 900);
        setTimeout(() => { find('previous').click(); clearInterval(watch); }, 3000);
        setTimeout(() => tell([days, find('date').value, find('play').textContent]), 3900);
    """
    days, day, label = answer(browser, write_page(tmp_path), script, "date=3")
    assert days[:3] == ["4", "1", "2"]
    assert label == "Play"
    assert day in ("1", "2")


def test_a_link_followed_on_the_open_page_is_obeyed(tmp_path: Path, browser: str) -> None:
    script = """
        location.hash = '#date=2&overlay=score&zoom=4';
        setTimeout(() => tell([shown(), find('ramp').hidden,
            find('picture').clientWidth / find('frame').clientWidth]), 300);
    """
    assert answer(browser, write_page(tmp_path), script) == [[str(DATES[1])], False, 4]


@pytest.mark.parametrize("zoom", [1, 8])
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
            find('frame').dispatchEvent(new PointerEvent('pointerdown', {{
                clientX: box.left + (column + 0.5) * box.width / {W},
                clientY: box.top + (row + 0.5) * box.height / {H} }}));
            return find('readout').textContent;
        }};
        setTimeout(() => tell([point(5, 35), point(25, 0), point(35, 5)]), 500);
    """
    assert answer(browser, write_page(tmp_path), script) == [
        "2018-05-01 – 2018-08-15 · score 80 · x 500355, y 4799945",
        "unchanged · score 10 · x 500005, y 4799745",
        "not mapped · x 500055, y 4799645",
    ]


def test_the_map_is_painted_over_the_image_with_outlines(tmp_path: Path, browser: str) -> None:
    path = write_page(tmp_path)
    with_map = screenshot(browser, path, "fade=100")
    without = screenshot(browser, path, "fade=100&overlay=none")
    on_image = (without == 140).all(axis=2)  # the grey of the last date
    for k, color in enumerate(moment_colors(T)[1:].astype(int), start=1):
        painted = on_image & (with_map == color).all(axis=2)
        share = painted.sum() / on_image.sum()
        assert share == pytest.approx((some_moment() == k).sum() / (H * W - 100), abs=0.015)
    white = on_image & (with_map > 240).all(axis=2)
    assert white.sum() > 1000  # around each region
    assert (on_image & (with_map == 140).all(axis=2)).sum() > 0.5 * on_image.sum()


@pytest.mark.parametrize("size", ["390,844", "1280,900"])
def test_the_answer_is_in_sight_when_the_page_opens(
    tmp_path: Path, browser: str, size: str
) -> None:
    ends = "['headline', 'sure', 'weights', 'legend'].map((id) => find(id).getBoundingClientRect())"
    script = f"""tell([document.documentElement.scrollWidth, innerWidth, innerHeight,
        Math.max(...{ends}.map((box) => box.bottom)), find('date').getBoundingClientRect().bottom]);
    """
    width, inner, height, answer_end, slider_end = answer(
        browser, write_page(tmp_path), script, size=size
    )
    assert width == inner
    assert answer_end < height
    assert slider_end < height or size.startswith("390")


def test_the_page_has_no_fault_that_axe_finds(tmp_path: Path, browser: str) -> None:
    library = Path(__file__).parents[3] / "node_modules/axe-core/axe.min.js"
    if not library.is_file():
        pytest.skip("npm install axe-core: not done")
    path = write_page(tmp_path)
    rules = path.read_text(encoding="utf-8").replace(
        "script-src 'unsafe-inline'", "script-src 'unsafe-inline' 'unsafe-eval'"
    )
    code = library.read_text(encoding="utf-8")
    path.write_text(rules.replace("</body>", f"<script>{code}</script></body>"), encoding="utf-8")
    script = "axe.run().then((report) => tell(report.violations.map((fault) => fault.id)));"
    for size in ("390,844", "1280,900"):
        assert answer(browser, path, script, size=size) == []


def test_the_browser_reports_errors_of_a_page_and_keeps_it_from_loading(
    tmp_path: Path, browser: str
) -> None:
    path = write_page(tmp_path)
    loading = "document.body.appendChild(new Image()).src = 'http://127.0.0.1:9/pixel.png';"
    page = path.read_text(encoding="utf-8").replace("</body>", f"<script>{loading}</script></body>")
    path.write_text(page, encoding="utf-8")
    _, complaints = run_browser(browser, path, "", "--dump-dom")
    assert any("Content Security Policy" in line for line in complaints)
