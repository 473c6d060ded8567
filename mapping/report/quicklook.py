"""Pictures of a series for people: first, last and change with dates, and the series as a film.

A scale bar and an arrow to the north stand below the images and hide nothing of them. Colours are
in ``utils.pictures.colors``, the layout is in ``utils.pictures.layout``; images come north up,
reduced by ``mapping.report.grid``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from PIL import Image, ImageDraw, ImageFont

from utils.files import atomic_path
from utils.pictures.colors import (
    Pixels,
    Stretch,
    moment_legend,
    paint_moments,
    shared_stretch,
    visible_image,
)
from utils.pictures.layout import FRAME, INK, Panel, map_figure

__all__ = [
    "clear_dates",
    "clear_shares",
    "draw_series_gif",
    "north_arrow",
    "quicklook_figure",
    "scale_bar",
    "visible_series",
]

DOTS = 180  # per inch at most; images up to LARGE_SIDE are shown pixel by pixel
SMALL_SIDE, LARGE_SIDE = 4.2, 5.7  # of a panel, inches
SCALE_SHARE = 0.2  # of the panel's width, about
STRIP_WIDTH, STRIP_MIDDLE, BAR_HEIGHT, ARROW = 1.6, 0.15, 0.045, 0.2  # inches
SCALE_POINTS = 10

CLEAR_SIDE = 128  # pixels of the longer side, on which clouds are looked for
WHITE, CLOUD = 230, 40  # levels of 255 in all colours; by how much a cloud is above the usual
AS_CLEAR = 0.05  # share by which a date may be less clear than the clearest

FRAME_SIDE = 640  # longest of a film, pixels
LEAST_FRAME = 330  # width that the text below an image needs
FRAME_STRIP = 34  # height of the strip below the image with date, scale and north
FRAME_TEXT = 15  # size of its letters
FRAME_MILLISECONDS = 1000
GREYS = 16  # of the 256 colours, for the strip and for white
PALETTE_SAMPLES = 100_000  # pixels of all dates that the colours are chosen from
PALETTE_ROUNDS = 6
FINER = 4  # the strip is drawn so many times larger, for smooth edges


def draw_series_gif(
    path: Path,
    images: Pixels,
    dates: Sequence[date],
    metres_per_pixel: float | None,
    north: float | None,
) -> None:
    """Write the series as a GIF that shows each date for a second, again and again.

    All frames share one palette without dithering: what does not change between two dates does
    not flicker. Small images are enlarged by a whole number, large ones are averaged.

    Args:
        path: The file.
        images: (T, H, W, 3) uint8, north up (``visible_series``).
        dates: The T dates.
        metres_per_pixel: Ground width of a pixel of ``images``; None leaves the scale bar out.
        north: Degrees clockwise from up to true north; None leaves the arrow out.

    Raises:
        ValueError: There is no image, or dates and images do not belong together.
        OSError: The file cannot be written.
    """
    if images.ndim != 4 or images.shape[3] != 3 or not len(images) == len(dates) > 0:
        raise ValueError(
            f"images: found shape {images.shape} for {len(dates)} dates, expected (T, H, W, 3) "
            "with one image for each of T ≥ 1 dates."
        )
    fitted, factor = _fit(images)
    palette = _shared_palette(fitted)
    enlarge = max(1, round(factor))
    metres = None if metres_per_pixel is None else metres_per_pixel / factor
    width = max(fitted.shape[2] * enlarge, LEAST_FRAME)
    frames = []
    for number, (image, day) in enumerate(zip(fitted, dates, strict=True), start=1):
        strip = _strip(width, f"{number} of {len(dates)}", day, metres, north)
        frame = _frame(image.repeat(enlarge, axis=0).repeat(enlarge, axis=1), strip)
        frames.append(frame.quantize(palette=palette, dither=Image.Dither.NONE))
    with atomic_path(Path(path)) as partial:
        frames[0].save(
            partial, format="GIF", save_all=True, append_images=frames[1:], loop=0,
            duration=FRAME_MILLISECONDS, optimize=False, disposal=1,
        )  # fmt: skip


def quicklook_figure(
    first: Pixels,
    last: Pixels,
    moment: npt.NDArray[Any],
    dates: Sequence[date],
    title: str,
    subtitle: str,
    metres_per_pixel: float | None,
    north: float | None,
) -> Figure:
    """First image, last image and change moment side by side.

    Args:
        first: (H, W, 3) uint8, the first date, north up (``visible_series``).
        last: (H, W, 3) uint8, the last date.
        moment: (H, W) integer, 0 … T−1; −1 or 255 for no data. Of a network without moments 0 and
            1, with two dates.
        dates: The T dates, two or more.
        title: Heading.
        subtitle: A line below it; may be empty.
        metres_per_pixel: Ground width of a pixel; None leaves the scale bar out.
        north: Degrees clockwise from up to true north; None leaves the arrow out.

    Raises:
        ValueError: Sizes differ, there are fewer than two dates, or the map holds other values.
    """
    T = len(dates)
    if T < 2:
        raise ValueError(f"dates: found {T}, expected two or more.")
    if moment.shape != first.shape[:2]:
        raise ValueError(
            f"moment: found shape {moment.shape}, expected {first.shape[:2]}, that of the images."
        )
    name = "Change area" if T == 2 else "Change moment"
    panels: list[Panel] = [
        (f"First image, {dates[0].isoformat()}", first),
        (f"Last image, {dates[-1].isoformat()}", last),
        (name, paint_moments(moment, T)),
    ]
    H, W = moment.shape
    side = min(max(math.sqrt(H * W) / DOTS, SMALL_SIDE), LARGE_SIDE)
    legends = [(name, moment_legend(dates))]
    figure = map_figure(panels, side, title, subtitle, legends)
    for axes in list(figure.axes):
        _add_scale(figure, axes, W, metres_per_pixel, north)
    return figure


def scale_bar(metres_per_pixel: float, pixels: float) -> tuple[str, float]:
    """A scale bar of a round length.

    Args:
        metres_per_pixel: Ground width of a pixel, above 0.
        pixels: Length that the bar shall have about.

    Returns:
        Its text, "500 m" or "2 km", and its exact length in pixels.

    Raises:
        ValueError: An argument is not a finite number above 0.
    """
    target = metres_per_pixel * pixels
    if not (0 < target < math.inf and metres_per_pixel > 0):
        raise ValueError(
            f"scale bar: found {metres_per_pixel} metres per pixel and {pixels} pixels, expected "
            "two numbers above 0."
        )
    power = math.floor(math.log10(target))
    rounds = [factor * 10.0**power for factor in (1, 2, 5, 10)]
    metres = min(rounds, key=lambda length: abs(math.log(length / target)))
    text = f"{metres / 1000:,.10g} km" if metres >= 1000 else f"{metres:.10g} m"
    return text, metres / metres_per_pixel


def north_arrow(size: float, north: float) -> list[tuple[float, float]]:
    """Corners (x, y) of an arrow to the north around (0, 0), y downwards.

    Args:
        size: Its length.
        north: Degrees clockwise from up.
    """
    angle = math.radians(north)
    sine, cosine = math.sin(angle), math.cos(angle)
    corners = ((0.0, -0.5), (0.34, 0.5), (0.0, 0.28), (-0.34, 0.5))
    return [(size * (x * cosine - y * sine), size * (x * sine + y * cosine)) for x, y in corners]


def visible_series(
    images: Sequence[npt.NDArray[Any]],
    valid: Sequence[npt.NDArray[np.bool_]],
    bands: tuple[int, int, int],
) -> Pixels:
    """The images of a series as the eye would see them, in colours that can be compared.

    One stretch serves all dates. It is found from each date's own, so that one date under clouds
    or snow does not darken the others.

    Args:
        images: T images (C, H, W), any unit. With one or two bands the first is shown in grey.
        valid: (H, W) bool of each date: other pixels are painted white.
        bands: Indices of red, green and blue among the C bands.

    Returns:
        (T, H, W, 3) uint8.

    Raises:
        ValueError: There is no image, or sizes or numbers differ.
    """
    if len(images) == 0 or len(images) != len(valid):
        raise ValueError(
            f"valid: found {len(valid)} masks for {len(images)} images, expected one each."
        )
    shape = images[0].shape
    for image, mask in zip(images, valid, strict=True):
        if image.shape != shape or mask.shape != shape[1:]:
            raise ValueError(
                f"images: found {image.shape} with mask {mask.shape}, expected {shape} and "
                f"{shape[1:]} as at the first date."
            )
    shown = (0, 0, 0) if shape[0] < 3 else bands
    chosen = [np.asarray(image)[list(shown)] for image in images]
    stretch = _typical_stretch(chosen, valid)
    return np.stack(
        [
            visible_image(image, (0, 1, 2), stretch, mask)
            for image, mask in zip(chosen, valid, strict=True)
        ]
    )


def clear_shares(pictures: Pixels, seen: Sequence[npt.NDArray[np.bool_]]) -> list[float]:
    """Share of each date that is seen and no cloud, as far as pictures tell.

    A cloud that no mask knows of is white where the place is not, in the middle of its dates.

    Args:
        pictures: (T, H, W, 3) uint8, with one stretch (``visible_series``).
        seen: (H, W) bool of each date.
    """
    step = -(-max(pictures.shape[1:3]) // CLEAR_SIDE)
    small = pictures[:, ::step, ::step].astype(np.float32)
    mask = np.stack([date_seen[::step, ::step] for date_seen in seen])
    small[~mask] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a pixel that is never seen has no median
        usual = np.nanmedian(small, axis=0)
    clear = mask & ~((small.min(axis=-1) > WHITE) & (usual.min(axis=-1) <= WHITE - CLOUD))
    return [float(share) for share in clear.mean(axis=(1, 2))]


def clear_dates(clear: Sequence[float]) -> tuple[int, int]:
    """First and last of the dates that are about as clear as the clearest one.

    Args:
        clear: Share of each date that is clear (``clear_shares``).
    """
    usable = [t for t, share in enumerate(clear) if share >= max(clear) - AS_CLEAR]
    return usable[0], usable[-1]


def _typical_stretch(
    images: Sequence[npt.NDArray[Any]], valid: Sequence[npt.NDArray[np.bool_]]
) -> Stretch:
    """A stretch between those of the dates; dates without data say nothing.

    Clouds make both ends brighter, shade and season the dark end darker: the lower quartile of
    the dark ends keeps shade visible, the median of the bright ends is not moved by clouds.
    """
    stretches = [
        shared_stretch([image], [mask])
        for image, mask in zip(images, valid, strict=True)
        if (np.isfinite(image).all(axis=0) & mask).any()
    ]
    if not stretches:
        return Stretch(np.zeros(3), np.ones(3))
    low = np.quantile([stretch.low for stretch in stretches], 0.25, axis=0)
    high = np.median([stretch.high for stretch in stretches], axis=0)
    return Stretch(low, np.where(high > low, high, low + 1.0))


def _add_scale(
    figure: Figure, axes: Any, pixels: int, metres_per_pixel: float | None, north: float | None
) -> None:
    """Scale bar and arrow to the north in the strip below a panel that is ``pixels`` wide."""
    width, height = figure.get_size_inches()
    box = axes.get_position()
    panel_width = box.width * width
    strip = max(panel_width, STRIP_WIDTH)
    left = (box.x0 + box.x1) / 2 * width - strip / 2
    middle = box.y0 * height - STRIP_MIDDLE  # inches above the bottom
    look: dict[str, Any] = {"facecolor": INK, "edgecolor": "none", "transform": figure.transFigure}
    if metres_per_pixel is not None:
        text, length = scale_bar(metres_per_pixel, SCALE_SHARE * strip / panel_width * pixels)
        bar = length * panel_width / pixels
        corner = (left / width, (middle - BAR_HEIGHT / 2) / height)
        figure.add_artist(Rectangle(corner, bar / width, BAR_HEIGHT / height, **look))
        _write(figure, left + bar + 0.08, middle, text, "left")
    if north is not None:
        x = left + strip - ARROW / 2
        corners = [
            ((x + dx) / width, (middle - dy) / height) for dx, dy in north_arrow(ARROW, north)
        ]
        figure.add_artist(Polygon(corners, closed=True, **look))
        _write(figure, x - ARROW / 2 - 0.04, middle, "N", "right")


def _write(figure: Figure, x: float, y: float, text: str, align: str) -> None:
    """Write small text, its middle ``y`` inches above the bottom."""
    width, height = figure.get_size_inches()
    figure.text(
        x / width, y / height, text, fontsize=SCALE_POINTS, color=INK, ha=align, va="center"
    )


def _fit(images: Pixels) -> tuple[Pixels, float]:
    """Images that fit into a frame, and pixels of the frame per pixel given.

    The factor is a whole number where images are yet to be enlarged, below 1 where they are
    averaged already.
    """
    _, H, W, _ = images.shape
    room = min(FRAME_SIDE / W, (FRAME_SIDE - FRAME_STRIP) / H)
    if room >= 1:
        return images, float(int(room))
    size = (max(1, int(W * room)), max(1, int(H * room)))
    averaged = [
        np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX)) for image in images
    ]
    return np.stack(averaged), size[0] / W


def _shared_palette(images: Pixels) -> Image.Image:
    """A picture with the 256 colours that serve all images best, greys of the strip among them."""
    pixels = images.reshape(1, -1, 3)
    sample = Image.fromarray(pixels[:, :: max(1, pixels.shape[1] // PALETTE_SAMPLES)])
    palette = sample.quantize(256 - GREYS, Image.Quantize.MEDIANCUT, kmeans=PALETTE_ROUNDS)
    greys = np.linspace(int(INK[1:3], 16), 255, GREYS).round().astype(int)
    colors = (palette.getpalette() or [])[: 3 * (256 - GREYS)]
    palette.putpalette([*colors, *greys.repeat(3).tolist()])
    return palette


def _frame(image: Pixels, strip: Image.Image) -> Image.Image:
    """An image in the middle above its strip."""
    height, width = image.shape[:2]
    frame = Image.new("RGB", (strip.width, height + FRAME_STRIP), "white")
    frame.paste(Image.fromarray(image), ((strip.width - width) // 2, 0))
    frame.paste(strip, (0, height))
    return frame


def _strip(
    width: int, place: str, day: date, metres_per_pixel: float | None, north: float | None
) -> Image.Image:
    """The grey strip below an image: date, place in the series, scale bar, arrow to the north."""
    strip = Image.new("L", (width * FINER, FRAME_STRIP * FINER), 255)
    pen = ImageDraw.Draw(strip)
    pen.rectangle((0, 0, width * FINER, FINER - 1), fill=int(FRAME[1:3], 16))
    ink, middle, size = int(INK[1:3], 16), FRAME_STRIP * FINER // 2, FRAME_TEXT * FINER
    bold, plain = _font("DejaVuSans-Bold.ttf", size), _font("DejaVuSans.ttf", size - 2 * FINER)
    x = 8.0 * FINER
    pen.text((x, middle), day.isoformat(), ink, bold, "lm")
    x += pen.textlength(day.isoformat(), bold) + 10 * FINER
    pen.text((x, middle), place, 110, plain, "lm")
    x = (width - 8.0) * FINER
    if north is not None:
        arrow = 18 * FINER
        corners = north_arrow(arrow, north)
        pen.polygon([(x - arrow / 2 + dx, middle + dy) for dx, dy in corners], fill=ink)
        pen.text((x - arrow - 3 * FINER, middle), "N", ink, plain, "rm")
        x -= arrow + pen.textlength("N", plain) + 16 * FINER
    if metres_per_pixel is not None:
        text, length = scale_bar(metres_per_pixel, SCALE_SHARE * width)
        pen.text((x, middle), text, ink, plain, "rm")
        x -= pen.textlength(text, plain) + 6 * FINER
        top = middle - 2 * FINER
        pen.rectangle((x - length * FINER, top, x - 1, top + 4 * FINER - 1), fill=ink)
    return strip.resize((width, FRAME_STRIP), Image.Resampling.BOX)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """One of the fonts that come with matplotlib, so that every machine draws the same."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
