"""Pictures and maps as text inside a page, as fine as fits into a number of bytes.

Most pages are far below it; noise, and hundreds of dates, are made coarser until they fit.
"""

from __future__ import annotations

import base64
import io
import math
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from utils.codes import NO_DATA
from utils.pictures.colors import Pixels, moment_colors

__all__ = ["codes_as_text", "fallback_map", "gap_mask", "images_as_data", "within_bytes"]

IMAGE_BYTES = 1_500_000  # of all dates, as text
CODE_BYTES = 600_000  # of change map and score, as text
QUALITY = 86
CLOSER = 0.95  # a further step where the first one was not enough
LEAST_SIDE = 16  # pixels


def images_as_data(images: Sequence[Pixels]) -> list[str]:
    """Images (h, w, 3) as addresses of data, JPEG, smaller where all together are too large."""
    scale = 1.0
    while True:
        written = [_jpeg(image, scale) for image in images]
        total = sum(map(len, written))
        if total <= IMAGE_BYTES or scale * min(images[0].shape[:2]) <= LEAST_SIDE:
            return written
        scale *= CLOSER * math.sqrt(IMAGE_BYTES / total)


def within_bytes(moment: Pixels, score: Pixels | None) -> tuple[Pixels, Pixels | None]:
    """Change map and score, of every second pixel as often as is needed to fit."""
    while len(codes_as_text(moment, score)) > CODE_BYTES:
        moment, score = moment[::2, ::2], None if score is None else score[::2, ::2]
    return np.ascontiguousarray(moment), None if score is None else np.ascontiguousarray(score)


def codes_as_text(moment: Pixels, score: Pixels | None) -> str:
    """Map and score, row by row, packed."""
    codes = moment.tobytes() + (b"" if score is None else score.tobytes())
    return base64.b64encode(zlib.compress(codes, 9)).decode("ascii")


def fallback_map(moment: Pixels, num_classes: int) -> str:
    """The change map as an address of data, PNG, transparent where nothing changed."""
    picture = Image.fromarray(moment, "P")
    palette = np.full((256, 3), NO_DATA, np.uint8)
    palette[:num_classes] = moment_colors(num_classes)
    picture.putpalette(palette.tobytes())
    return _address(picture, "PNG", transparency=0, optimize=True)


def gap_mask(moment: Pixels) -> str:
    """Mask of what is not mapped, as an address of data, PNG; empty if all is."""
    gaps = moment == NO_DATA
    if not gaps.any():
        return ""
    picture = Image.fromarray(gaps.astype(np.uint8), "P")
    picture.putpalette(bytes(6))
    return _address(picture, "PNG", transparency=0, bits=1, optimize=True)


def _jpeg(image: Pixels, scale: float) -> str:
    picture = Image.fromarray(image)
    if scale < 1:
        size = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((next(size), next(size)), Image.Resampling.BOX)
    return _address(picture, "JPEG", quality=QUALITY, subsampling=0)


def _address(picture: Image.Image, kind: str, **options: int) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    text = base64.b64encode(stream.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{text}"
