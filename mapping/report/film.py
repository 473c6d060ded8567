"""A series as a film: each date for a second, outlines of changes from their date on.

Images come north up, reduced by ``mapping.report.grid``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mapping.report.answer import day_texts
from utils.codes import NO_DATA
from utils.files import atomic_path
from utils.pictures.colors import Pixels, moment_colors
from utils.pictures.layout import FRAME, INK
from utils.pictures.outlines import WHITE, outlines
from utils.pictures.scale import SCALE_SHARE, north_arrow, scale_bar

__all__ = ["draw_series_gif"]

FRAME_SIDE = 640  # longest of a film, pixels
LEAST_FRAME = 330  # width that the text below an image needs
FRAME_STRIP = 34  # height of the strip below the image with date, scale and north
FRAME_TEXT = 15  # size of its letters
FRAME_MILLISECONDS = 1000
COLORS = 256
GREYS = 16  # of the colours, for the strip and for white
MOST_OUTLINES = 16  # of the colours, for intervals
PALETTE_SAMPLES = 20_000  # pixels of all dates that the colours are chosen from
PALETTE_ROUNDS = 6
FINER = 4  # the strip is drawn so many times larger, for smooth edges


def draw_series_gif(
    path: Path,
    images: Pixels,
    dates: Sequence[date],
    metres_per_pixel: float | None,
    north: float | None,
    moment: npt.NDArray[Any] | None = None,
) -> None:
    """Write the series as a GIF that shows each date for a second, again and again.

    From the first date with it on each change is outlined in the colour of its interval.

    All frames share one palette without dithering: what does not change between two dates does
    not flicker. Small images are enlarged by a whole number, large ones are averaged.

    Args:
        path: The file.
        images: (T, H, W, 3) uint8, north up (``visible_series``).
        dates: The T dates.
        metres_per_pixel: Ground width of a pixel of ``images``; None leaves the scale bar out.
        north: Degrees clockwise from up to true north; None leaves the arrow out.
        moment: (H, W) integer change moment, 0 … T−1; −1 or 255 for no data. None draws none.

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
    T, enlarge = len(dates), max(1, round(factor))
    palette, table = _shared_palette(fitted, T)
    labels = np.zeros(images.shape[1:3], np.uint8) if moment is None else moment
    labels = _nearest(labels, fitted.shape[1:3]).repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    texts = day_texts(dates)
    metres = None if metres_per_pixel is None else metres_per_pixel / factor
    width = max(fitted.shape[2] * enlarge, LEAST_FRAME)
    frames = []
    for t, image in enumerate(fitted):
        strip = _strip(width, f"{t + 1} of {T}", texts[t], metres, north)
        large = image.repeat(enlarge, axis=0).repeat(enlarge, axis=1)
        frame = _frame(large, strip).quantize(palette=palette, dither=Image.Dither.NONE)
        lines = table[outlines(np.where(labels <= t, labels, 0))]  # interval k ends at date k
        mask = Image.fromarray(np.where(lines, 255, 0).astype(np.uint8))
        frame.paste(Image.fromarray(lines), ((width - large.shape[1]) // 2, 0), mask)
        frames.append(frame)
    with atomic_path(Path(path)) as partial:
        frames[0].save(
            partial, format="GIF", save_all=True, append_images=frames[1:], loop=0,
            duration=FRAME_MILLISECONDS, optimize=False, disposal=1,
        )  # fmt: skip


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


def _nearest(labels: npt.NDArray[Any], size: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Labels at another size, 0 where there is no data."""
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in zip(size, labels.shape, strict=True)
    )
    near = labels[np.ix_(rows, columns)]
    return np.where((near < 0) | (near == NO_DATA), 0, near).astype(np.uint8)


def _shared_palette(images: Pixels, num_classes: int) -> tuple[Image.Image, npt.NDArray[np.uint8]]:
    """Colours that serve all images best, those of the strip and of outlines among them.

    Returns:
        A picture with 256 colours, and (256,) the place in it of each value of ``outlines``.
    """
    colors = moment_colors(num_classes)[1:]
    count = min(len(colors), MOST_OUTLINES)
    of_moment = np.arange(len(colors)) * count // max(1, len(colors))
    lines = colors[[int(np.flatnonzero(of_moment == place).mean()) for place in range(count)]]
    free = COLORS - GREYS - count
    pixels = images.reshape(1, -1, 3)
    sample = Image.fromarray(pixels[:, :: max(1, pixels.shape[1] // PALETTE_SAMPLES)])
    palette = sample.quantize(free, Image.Quantize.MEDIANCUT, kmeans=PALETTE_ROUNDS)
    greys = np.linspace(int(INK[1:3], 16), 255, GREYS).round().astype(int)
    chosen = (palette.getpalette() or [])[: 3 * free]
    chosen += [0] * (3 * free - len(chosen))  # images of few colours need less
    palette.putpalette([*chosen, *greys.repeat(3).tolist(), *lines.reshape(-1).tolist()])
    table = np.zeros(COLORS, np.uint8)
    table[1:num_classes] = free + GREYS + of_moment
    table[WHITE] = free + GREYS - 1
    return palette, table


def _frame(image: Pixels, strip: Image.Image) -> Image.Image:
    """An image in the middle above its strip."""
    height, width = image.shape[:2]
    frame = Image.new("RGB", (strip.width, height + FRAME_STRIP), "white")
    frame.paste(Image.fromarray(image), ((strip.width - width) // 2, 0))
    frame.paste(strip, (0, height))
    return frame


def _strip(
    width: int, place: str, day: str, metres_per_pixel: float | None, north: float | None
) -> Image.Image:
    """The grey strip below an image: date, place in the series, scale bar, arrow to the north."""
    strip = Image.new("L", (width * FINER, FRAME_STRIP * FINER), 255)
    pen = ImageDraw.Draw(strip)
    pen.rectangle((0, 0, width * FINER, FINER - 1), fill=int(FRAME[1:3], 16))
    ink, middle, size = int(INK[1:3], 16), FRAME_STRIP * FINER // 2, FRAME_TEXT * FINER
    bold, plain = _font("DejaVuSans-Bold.ttf", size), _font("DejaVuSans.ttf", size - 2 * FINER)
    x = 8.0 * FINER
    pen.text((x, middle), day, ink, bold, "lm")
    x += pen.textlength(day, bold) + 10 * FINER
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
