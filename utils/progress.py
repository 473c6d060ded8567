"""Progress of a program: a bar on a terminal, and lines that do not break it.

Of several processes that torchrun or accelerate have started, the first one speaks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TypeVar, cast

from tqdm import tqdm

from utils.errors import visible

__all__ = ["progress", "say"]

Item = TypeVar("Item")

# Signs that old Windows consoles cannot show, and what stands for them there.
PLAIN_SIGNS = str.maketrans({"→": "->", "–": "-", "−": "-", "×": "x", "±": "+-", "…": "..."})


def progress(
    iterable: Iterable[Item], label: str, total: int | None = None, unit: str = "patch"
) -> Iterable[Item]:
    """Show how far a loop has come; silent where stderr is no terminal (logs, pipes, tests).

    Args:
        iterable: What the loop runs over; its items are passed on unchanged.
        label: What is being done, shown before the bar.
        total: Number of items, where ``iterable`` has no length.
        unit: What one item is called in the rate.

    Returns:
        An iterable of the same items in the same order.
    """
    hidden = None if _speaks() else True  # None: shown on a terminal only
    bar = tqdm(
        iterable, desc=label, total=total, unit=unit, leave=False, dynamic_ncols=True,
        disable=hidden,
    )  # fmt: skip
    return cast(Iterable[Item], bar)


def say(text: str) -> None:
    """Write one line to stdout at once, above a running bar if there is one.

    Args:
        text: The line; signs the console cannot show are replaced by plain ones.
    """
    if not _speaks():
        return
    text = visible(text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.translate(PLAIN_SIGNS)
        text = plain.encode(encoding, errors="replace").decode(encoding)
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def _speaks() -> bool:
    """Whether this process is alone, or the first of several (RANK is set by what starts them)."""
    return os.environ.get("RANK", "0") == "0" or os.environ.get("WORLD_SIZE", "1") == "1"
