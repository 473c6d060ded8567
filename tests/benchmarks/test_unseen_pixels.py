"""docs/differences.md quotes what the file of the measurement says."""

from __future__ import annotations

from utils.files import read_json
from utils.settings import REPOSITORY


def test_the_row_on_unseen_pixels_quotes_the_file() -> None:
    rows = read_json(REPOSITORY / "benchmarks/results/unseen_pixels.json")["rows"]
    page = (REPOSITORY / "docs/differences.md").read_text("utf-8")
    (line,) = [text for text in page.splitlines() if text.startswith("| pixels not seen")]
    shown = [row for row in rows if row["share"] in (0.0, 0.1) and row.get("place") != "far"]
    assert len(shown) == 14
    assert all(f"{100 * row['area_f1']:.1f}" in line for row in shown)
