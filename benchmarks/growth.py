"""Growth of CAIM-Net's time with the dates, the patch and the scene.

    python benchmarks/growth.py

Times forward passes, both kinds of attention, and writes benchmarks/results/growth.json and
growth.png: a figure of three panels with logarithmic axes and straight lines of the slopes that the
arithmetic leads to. They go over the number of dates, over the side of a patch, and over the side
of a scene that is cut into patches. The points of a panel are timed in turns, round by round, with
a product of two 2048×2048 matrices; figures are medians. Reading and writing files is not in them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measuring import (
    PRODUCT_FLOP,
    Measurement,
    in_turns,
    matrix_product,
    report,
    spread,
    timed_device,
)
from models import CAIMNet
from utils.device import describe_device, describe_processor
from utils.errors import UserError, run_program
from utils.fields import PatchSide, Positive, Width
from utils.files import atomic_path
from utils.progress import progress, say
from utils.settings import read_settings

__all__ = ["Settings", "growth_figure", "main"]

IN_CHANNELS = 4
INK, GUIDE = "#222222", "#777777"
CURVES = (  # attention, text, colour, marker
    ("spatial", "attention over a patch's pixels (“spatial”)", "#0072B2", "o"),
    ("batch", "attention over the batch (“batch”)", "#D55E00", "s"),
)


@dataclass(frozen=True, kw_only=True)
class Settings(Measurement):
    """One value a line; each is also a flag."""

    rounds: Positive = 3
    num_dates: tuple[Positive, ...] = (2, 3, 4, 6, 9, 12)  # first panel
    patch_sizes: tuple[PatchSide, ...] = (16, 32, 64, 128)  # second panel
    scene_sizes: tuple[Positive, ...] = (128, 256, 512)  # third panel
    patch_size: PatchSide = 64  # of the first and the third panel
    batch_size: Positive = 8
    width: Width = 32


@dataclass(frozen=True)
class Panel:
    """One question, and how its answer is drawn.

    Attributes:
        grows: The key of the rows that changes.
        title: Heading of the panel; names in braces stand for what is kept.
        x_label: Name of the axis that changes.
        y_label: Name of the time axis.
        guides: Attention whose last point a guide goes through, its power, text (none: not in
            the legend), line style.
    """

    grows: str
    title: str
    x_label: str
    y_label: str
    guides: tuple[tuple[str, int, str, str], ...]


PANELS = (
    Panel(
        "num_dates",
        "Number of dates\n(patches of {patch_size}×{patch_size} pixels)",
        "dates T of a series",
        "seconds per patch",
        (("spatial", 1, "slope of T", "--"), ("batch", 2, "slope of T²", ":")),
    ),
    Panel(
        "patch_size",
        "Side of a patch\n({num_dates} dates)",
        "side of a patch, pixels",
        "seconds per patch",
        (
            ("spatial", 4, "slope of side⁴ (pixels squared)", "--"),
            ("batch", 2, "slope of side² (pixels)", ":"),
        ),
    ),
    Panel(
        "scene_size",
        "Side of a scene\n({num_dates} dates, patches of {patch_size}×{patch_size} pixels)",
        "side of a scene, pixels",
        "seconds per scene",
        (
            ("spatial", 2, "slope of side² (pixels)", ":"),
            ("batch", 2, "", ":"),
        ),
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all panels, print the tables, write the results and the figure."""
    settings = read_settings(Settings, arguments)
    device = timed_device(settings.device)
    fixed = {"patch_size": settings.patch_size, "num_dates": 6, "batch_size": settings.batch_size}
    if any(side % settings.patch_size for side in settings.scene_sizes):
        raise UserError(
            f"--scene-sizes: found {settings.scene_sizes}, expected multiples of the patch size "
            f"{settings.patch_size}."
        )
    sizes = (settings.num_dates, settings.patch_sizes, settings.scene_sizes)
    rows: list[dict[str, Any]] = []
    panels = list(zip(PANELS, sizes, strict=True))
    for panel, values in progress(panels, "measuring", unit="panel"):
        cases = [
            {"grows": panel.grows, "attention": attention, **fixed, panel.grows: value}
            for attention, *_ in CURVES
            for value in sorted(set(values))
        ]
        rows += _measure(cases, settings.width, device, settings.rounds)
    conditions = {
        "what": "forward", "dtype": "float32", "width": settings.width, "cam": "shared",
        "warm_up_rounds": 1, **fixed,
    }  # fmt: skip
    report("growth", conditions, rows, (), device, settings.output_dir)
    caption = (
        f"Forward pass in evaluation, width {settings.width}, {IN_CHANNELS} bands, float32, at "
        f"most {settings.batch_size} patches at once. {describe_processor()['name']}: "
        f"{describe_device(device)}; PyTorch {torch.__version__}.\nPoints: medians of "
        f"{settings.rounds} rounds; bars: shortest to longest. Grey lines: slopes of the "
        "arithmetic for large sizes, laid through the last point."
    )
    with atomic_path(settings.output_dir / "growth.png") as partial:
        growth_figure(rows, settings.width, caption).savefig(partial, format="png", dpi=140)
    say(f"written: {settings.output_dir / 'growth.png'}")


def growth_figure(rows: Sequence[dict[str, Any]], width: int, caption: str) -> Figure:
    """The figure of three panels, not written.

    Args:
        rows: As in growth.json.
        width: D of the networks, for the title.
        caption: Lines below that say how it was measured.
    """
    figure = Figure(figsize=(16.0, 6.4), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    title = f"How the time of a CAIM-Net forward pass grows (width {width})"
    figure.suptitle(f"{title}\n", fontsize=16, color=INK)  # the legend stands in the empty line
    plots = figure.subplots(1, len(PANELS), squeeze=False)[0]
    for plot, panel in zip(plots, PANELS, strict=True):
        curves = _draw(plot, panel, [row for row in rows if row["grows"] == panel.grows])
    figure.legend(
        curves, [text for _, text, *_ in CURVES],
        loc="upper center", bbox_to_anchor=(0.5, 0.955), ncols=len(CURVES), fontsize=12,
        frameon=False,
    )  # fmt: skip
    figure.supxlabel(caption, fontsize=10.5, color=INK)
    return figure


def _measure(
    cases: Sequence[dict[str, Any]], width: int, device: torch.device, rounds: int
) -> list[dict[str, Any]]:
    """The cases with their seconds, all taken in turns."""
    actions: dict[Any, Callable[[], None]] = {
        number: _prediction(case, width, device) for number, case in enumerate(cases)
    }
    actions["matrix product"] = matrix_product(device)
    seconds: dict[Any, list[float]] = in_turns(actions, rounds)
    product_gflops = spread([PRODUCT_FLOP / t / 1e9 for t in seconds["matrix product"]], 2)
    rows = []
    for number, case in enumerate(cases):
        per_patch = 1 if "scene_size" in case else case["batch_size"]
        times = [taken / per_patch for taken in seconds[number]]
        row = {**case, "seconds": spread(times, 8), "matrix_product_gflops": product_gflops}
        before = rows[-1] if rows and rows[-1]["attention"] == case["attention"] else None
        row["slope_from_previous"] = _slope(before, row) if before else None
        rows.append(row)
    return rows


def _prediction(case: dict[str, Any], width: int, device: torch.device) -> Callable[[], None]:
    """A forward pass of one batch, or of all patches of a scene batch by batch."""
    T, P, B = case["num_dates"], case["patch_size"], case["batch_size"]
    torch.manual_seed(0)
    network = CAIMNet(IN_CHANNELS, T, width, case["attention"]).to(device).eval()
    if "scene_size" in case:
        side = case["scene_size"]
        scene = torch.rand(T, IN_CHANNELS, side, side, device=device)
        patches = rearrange(scene, "t c (y h) (x w) -> (y x) t c h w", h=P, w=P)
    else:
        patches = torch.rand(B, T, IN_CHANNELS, P, P, device=device)
    batches: tuple[Tensor, ...] = patches.split(B)

    def predict() -> None:
        for images in batches:
            network.predict(images)

    return predict


def _slope(before: dict[str, Any], row: dict[str, Any]) -> float:
    """The power of growth between two points, which is the slope on logarithmic axes."""
    time_ratio = row["seconds"]["median"] / before["seconds"]["median"]
    size_ratio = row[row["grows"]] / before[row["grows"]]
    return round(math.log(time_ratio) / math.log(size_ratio), 2)


def _draw(plot: Any, panel: Panel, rows: Sequence[dict[str, Any]]) -> list[Any]:
    """One panel: a curve for each kind of attention, which are returned, and the guides."""
    curves = []
    lows = [row["seconds"]["min"] for row in rows]
    highs = [row["seconds"]["max"] for row in rows]
    sizes = sorted({row[panel.grows] for row in rows})
    for attention, _, color, marker in CURVES:
        own = [row for row in rows if row["attention"] == attention]
        middle = [row["seconds"]["median"] for row in own]
        bars = [
            [row["seconds"]["median"] - row["seconds"]["min"] for row in own],
            [row["seconds"]["max"] - row["seconds"]["median"] for row in own],
        ]
        curve = plot.errorbar(
            [row[panel.grows] for row in own], middle, bars,
            color=color, marker=marker, ms=7, linewidth=2, elinewidth=1.2, capsize=4, zorder=3,
        )  # fmt: skip
        curves.append(curve)
    for attention, power, text, style in panel.guides:
        end = [row for row in rows if row["attention"] == attention][-1]["seconds"]["median"]
        line = [end * (size / sizes[-1]) ** power for size in sizes]
        plot.plot(sizes, line, style, color=GUIDE, linewidth=1.6, label=text or None, zorder=2)
    plot.set_xscale("log")
    plot.set_yscale("log")
    plot.set_ylim(min(lows) / 2, max(highs) * 2.5)  # room above for the legend
    plot.set_title(panel.title.format(**rows[0]), fontsize=12.5, color=INK)
    plot.set_xlabel(panel.x_label, fontsize=11.5)
    plot.set_ylabel(panel.y_label, fontsize=11.5)
    plot.xaxis.set_major_locator(FixedLocator(sizes))
    plot.xaxis.set_minor_locator(NullLocator())
    plot.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    plot.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    plot.yaxis.set_minor_locator(NullLocator())
    plot.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    plot.grid(True, color="#dddddd", linewidth=0.8)
    plot.spines[["top", "right"]].set_visible(False)
    plot.legend(loc="upper left", fontsize=10.5, framealpha=0.9, edgecolor="none", handlelength=3)
    return curves


if __name__ == "__main__":
    run_program(main)
