"""Codes of labels and maps that every part of the project shares."""

from __future__ import annotations

__all__ = ["IGNORE", "NO_DATA"]

IGNORE = -1
"""Label in memory of a pixel that counts neither in the loss nor in the scores."""

NO_DATA = 255
"""The same on disk: label files with nodata tag 255, and map pixels about which nothing is said."""
