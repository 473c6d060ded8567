"""A sentence on the data that weights learnt from, for everybody who looks at their results.

The sentence is the first one of ``about`` in the sheet that lies beside the file (convert.py writes
it; it counts only if it names the file's checksum), else of ``about`` in the file itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.files import read_json

__all__ = ["UNKNOWN", "sheet_of", "trained_on"]

UNKNOWN = "not known"
LONGEST = 300  # characters
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def trained_on(path: Path, checksum: str, training: Mapping[str, Any]) -> str:
    """The data that the weights in a file learnt from, in a sentence.

    Args:
        path: The file.
        checksum: Its SHA-256.
        training: What the file itself says of its training.

    Returns:
        One line, without the full stop; ``UNKNOWN`` where nothing says it.
    """
    for about in (sheet_of(path, checksum).get("about"), training.get("about")):
        words = about.split() if isinstance(about, str) else []
        if words:
            sentence = SENTENCE_END.split(" ".join(words))[0].rstrip(".")
            return sentence if len(sentence) <= LONGEST else f"{sentence[:LONGEST]} …"
    return UNKNOWN


def sheet_of(path: Path, checksum: str) -> Mapping[str, Any]:
    """The sheet beside a weights file; empty where there is none of this very file.

    Args:
        path: The file.
        checksum: Its SHA-256.
    """
    try:
        sheet = read_json(path.with_suffix(".json"))
    except (OSError, ValueError):
        return {}
    own = isinstance(sheet, dict) and sheet.get("sha256") == checksum
    return sheet if own else {}
