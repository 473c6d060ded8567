"""Dates of images from their file names. Not in the paper.

Positions in a name are never relied on: a date is found by its form and its plausibility.
"""

from __future__ import annotations

import datetime
import re

__all__ = ["FIRST_YEAR", "LAST_YEAR", "UnknownDate", "date_from_name"]

FIRST_YEAR = 1980
LAST_YEAR = 2100

# Looked for at every position, so that an implausible number does not hide a date behind it.
_FULL = re.compile(r"(?<!\d)(\d{4})([-_. ]?)(\d{2})\2(\d{2})(?!\d)")
_MONTH = re.compile(r"(?<!\d)(\d{4})[-_. ]?(\d{2})(?!\d)")


class UnknownDate(datetime.date):
    """Stands where an image of a pair has no date: in its place in the order, shown by its name.

    Args:
        position: 0 for the image before, 1 for the one after.
        label: What is shown instead of a date.
    """

    label: str

    def __new__(cls, position: int, label: str) -> UnknownDate:
        """A date before all real ones, in the order of the positions."""
        stand_in = super().__new__(cls, 1, 1, 1 + position)
        stand_in.label = label
        return stand_in

    def isoformat(self) -> str:
        """The label."""
        return self.label

    def __str__(self) -> str:
        """The label."""
        return self.label


def date_from_name(name: str) -> datetime.date | None:
    """The first plausible date in a file name.

    Understood are YYYYMMDD, YYYY-MM-DD and YYYY_MM_DD, and without a day YYYYMM, YYYY-MM and
    YYYY_MM, which stand for the 1st of the month. Plausible are the years 1980…2100 and days
    that exist.

    Args:
        name: File name, with or without folders and suffix.

    Returns:
        The date, or None when the name holds none.
    """
    stem = re.split(r"[\\/]", name)[-1]
    for position in range(len(stem)):
        full = _FULL.match(stem, position)
        if full:
            date = _plausible(int(full[1]), int(full[3]), int(full[4]))
            if date:
                return date
        month = _MONTH.match(stem, position)
        if month:
            date = _plausible(int(month[1]), int(month[2]), 1)
            if date:
                return date
    return None


def _plausible(year: int, month: int, day: int) -> datetime.date | None:
    """The date of these numbers, or None where there is none in the accepted years."""
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None
